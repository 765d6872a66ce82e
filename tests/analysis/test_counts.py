"""What is counted of a model, against other ways to count it."""

import weakref

import torch
from analyze_model import build
from fvcore.nn import FlopCountAnalysis
from helpers.tiny_zoo import TINY, zoo_file

from effowt_d2.analysis import count_flops, count_saved_bytes, dummy_batch
from effowt_d2.engine import make_config


def tiny(*options):
    return make_config(zoo_file(), [*TINY, *options])


def test_flops_equal_fvcores():
    cfg = tiny("MODEL.TRANSFER.STRATEGY", "zero_shot")
    found = count_flops(build(cfg, "meta"), (128, 128), proposals=5, detections=3)
    model = build(cfg, "cpu").eval()
    levels = [torch.zeros(1, 32, 128 // stride, 128 // stride) for stride in (4, 8, 16, 32, 64)]
    regions = torch.zeros(5, 32, 7, 7)
    assert found["RPN"] == fvcore(model, lambda *x: model.proposal_generator.rpn_head(list(x)), *levels)
    heads, reid = model.roi_heads, model.reid_head
    assert found["ReID"] == fvcore(model, lambda x: reid.embed(reid.fc(reid.convs(x))), regions[:3])
    cascade = sum(fvcore(model, lambda x, k=k: heads.box_predictor[k](heads.box_head[k](x)), regions) for k in range(3))
    assert found["cascade heads"] == cascade
    last = torch.zeros(1, 192, 8, 8)
    pixels = torch.zeros(1, 3, 128, 128)
    neck = fvcore(model, lambda x: list(model.backbone.strategy(pixels, {5: x}, None).values()), last)
    assert found["side or neck"] == neck
    # 6 blocks: attention of 65 tokens, which fvcore does not know
    attention = 6 * 2 * 65 * 65 * 192
    assert found["tower"] == attention + fvcore(model, lambda x: model.backbone.tower(x, taps=[5]), pixels)


class Call(torch.nn.Module):
    def __init__(self, model, call):
        super().__init__()
        self.model = model
        self.call = call

    def forward(self, *inputs):
        return self.call(*inputs)


def fvcore(model, call, *inputs):
    """Without norms and resizing, which it counts too."""
    with torch.no_grad():
        analysis = FlopCountAnalysis(Call(model, call).eval(), inputs).unsupported_ops_warnings(False)
        counts = analysis.uncalled_modules_warnings(False).tracer_warnings("none").by_operator()
    return sum(counts[name] for name in ("conv", "linear", "addmm", "matmul", "bmm"))


def test_flops_of_the_sparse_interaction_are_at_least_its_interactions():
    parts = {
        len(axes): count_flops(build(tiny("MODEL.SIDE.SIM.AXES", axes), "meta"), (128, 128), proposals=1, detections=1)
        for axes in (["row", "column", "diagonal", "antidiagonal"], ["row", "column"])
    }
    # the diagonals of a 32 x 32 map: sums of squared lengths, 48 channels
    pairs = 2 * sum(min(d, 64 - d) ** 2 for d in range(1, 64))
    assert parts[4]["side or neck"] - parts[2]["side or neck"] >= pairs * 48


def test_saved_bytes_are_those_of_the_graph():
    class Squares(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = torch.nn.Linear(4, 4)
            self.roi_heads = torch.nn.Tanh()

        def forward(self, batch):
            x = self.backbone(batch)  # keeps its input: 2 x 4 floats
            y = self.roi_heads(x)  # keeps its output: 2 x 4 floats
            return {"loss": (y * y).sum()}  # keeps y, which is there already

    assert count_saved_bytes(Squares(), torch.zeros(2, 4)) == {"backbone": 32, "cascade heads": 32}


def test_counting_leaves_nothing_of_the_graph():
    kept = []

    class Exponential(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(4))

        def forward(self, batch):
            y = (batch * self.weight).exp()  # keeps its output, which holds the graph
            kept.append(weakref.ref(y))
            return {"loss": y.sum()}

    assert count_saved_bytes(Exponential(), torch.ones(2, 4)) == {"other": 64}
    assert kept[0]() is None


def test_memory_of_the_strategies():
    saved = {}
    for strategy in ("side", "full", "zero_shot"):
        cfg = tiny("MODEL.TRANSFER.STRATEGY", strategy)
        model = build(cfg, "cpu").train()
        saved[strategy] = count_saved_bytes(model, dummy_batch(1, (128, 128)))
    # no graph in a frozen tower
    assert "tower" not in saved["side"] and "tower" not in saved["zero_shot"]
    assert saved["full"]["tower"] > 6 * 2 * 65 * 192 * 4
    assert {"side: taps", "side: transitions", "side: stage 1/4"} <= set(saved["side"])
    # less than a map of the side network at its finest stride
    assert saved["side"]["other"] < 2 * 32 * 32 * 48 * 4
    assert {"RPN", "cascade heads", "ReID"} <= set(saved["side"])
