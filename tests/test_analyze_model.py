"""Counts of full-size models without their weights, and what is counted against other ways to count it."""

import json
import resource

import analyze_model  # noqa: E402
import pytest
import torch
from fvcore.nn import FlopCountAnalysis

from effowt_d2 import model_zoo
from effowt_d2.analysis import count_flops, count_saved_bytes, made_up_batch
from effowt_d2.engine import make_config

# the specification's budget: tower, side network
REFERENCE = {
    "vit_b16": (86_192_640, 1_034_732),
    "eva02_b16": (86_263_040, 1_034_732),
    "vit_l14": (303_966_208, 3_837_103),
    "eva02_l14": (304_105_152, 3_837_103),
    "vit_h14": (632_076_800, 7_012_335),
    "eva01_g14": (1_012_588_928, 10_537_297),
}
TINY = """
MODEL.VLM.NAME ShapesCLIP-S-16 MODEL.VLM.WEIGHTS effowt://ShapesCLIP-S-16 MODEL.SIDE.BLOCKS [1,1,1]
MODEL.TRANSFER.OUT_CHANNELS 32 MODEL.RPN.CONV_DIMS [-1] MODEL.SIDE.MAX_FRACTION 0.0
MODEL.ROI_BOX_HEAD.NUM_CONV 1 MODEL.ROI_BOX_HEAD.CONV_DIM 32 MODEL.ROI_BOX_HEAD.FC_DIM 32
MODEL.REID.NUM_CONV 1 MODEL.REID.CONV_DIM 32 MODEL.REID.FC_DIM 32 MODEL.REID.DIM 16
""".split()


def config(name="vit_b16", *options):
    return make_config(file(name), options)


def file(name="vit_b16"):
    return model_zoo.get_config_file(f"EffOWT/effowt_{name}.yaml")


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("name", REFERENCE)
def test_reference_totals_without_allocating_the_model(name, tmp_path):
    before = peak_memory()
    assert analyze_model.main(["--config-file", file(name), "--json", str(tmp_path / "out.json")]) == 0
    figures = json.loads((tmp_path / "out.json").read_text())
    tower, side = REFERENCE[name]
    parts = figures["parameters"]
    assert parts["tower"] == {"frozen": tower, "trained": 0}
    found = sum(part["trained"] for key, part in parts.items() if key.startswith("side: "))
    assert found == side
    heads = sum(parts[key]["trained"] for key in ("RPN", "cascade heads", "ReID"))
    assert round(heads / 1e6, 2) == pytest.approx(62.29, abs=0.015)
    assert figures["ratios"] == pytest.approx(
        {
            "side/tower": side / tower,
            "side/full model": side / (tower + side + heads),
            "trained/total": (side + heads) / (tower + side + heads),
        }
    )
    # the weights of the smallest tower alone would take 345 MB
    assert peak_memory() - before < 200e6


def test_flops_of_a_full_size_tower_without_allocating_it():
    before = peak_memory()
    figures = analyze_model.analyze(config("vit_l14"), size=(1024, 1024), flops=True, memory=False)
    # every token through 24 blocks of 12 d^2 weights, queries with keys and weights with values, the patches
    tokens, d = 1 + 64 * 64, 1024
    expected = 24 * (tokens * 12 * d * d + 2 * tokens * tokens * d) + (tokens - 1) * d * 3 * 14 * 14
    assert figures["flops"]["parts"]["tower"] == expected
    assert peak_memory() - before < 400e6


@pytest.mark.parametrize("strategy,trained", [("zero_shot", 70.1), ("full", 374.1)])
def test_other_strategies_on_vit_l14(strategy, trained):
    figures = analyze_model.analyze(config(f"vit_l14_{strategy}"), size=(1024, 1024), flops=False, memory=False)
    total = sum(part["trained"] + part["frozen"] for part in figures["parameters"].values())
    # the specification counts the tower's unused last projection as trained
    unused = 1024 * 768 + 2 * 1024 if strategy == "full" else 0
    found = figures["ratios"]["trained/total"] * total + unused
    assert found / 1e6 == pytest.approx(trained, abs=0.06)
    assert figures["ratios"]["side/tower"] is None
    assert "neck" in figures["parameters"]


def test_flops_equal_fvcores():
    cfg = config("vit_b16", *TINY, "MODEL.TRANSFER.STRATEGY", "zero_shot")
    found = count_flops(analyze_model.build(cfg, "meta"), (128, 128), proposals=5, detections=3)
    model = analyze_model.build(cfg, "cpu").eval()
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
    tiny = [*TINY, "MODEL.SIDE.SIM.KIND"]
    parts = {
        kind: count_flops(
            analyze_model.build(config("vit_b16", *tiny, kind), "meta"), (128, 128), proposals=1, detections=1
        )["side or neck"]
        for kind in ("axes", "axial")
    }
    # the diagonals of a 32 x 32 map: sums of squared lengths, 48 channels
    pairs = 2 * sum(min(d, 64 - d) ** 2 for d in range(1, 64))
    assert parts["axes"] - parts["axial"] >= pairs * 48


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


def test_memory_of_the_strategies(capsys):
    saved = {}
    for strategy in ("side", "full", "zero_shot"):
        cfg = config("vit_b16", *TINY, "MODEL.TRANSFER.STRATEGY", strategy)
        model = analyze_model.build(cfg, "cpu").train()
        saved[strategy] = count_saved_bytes(model, made_up_batch(1, (128, 128)))
    # no graph in a frozen tower
    assert "tower" not in saved["side"] and "tower" not in saved["zero_shot"]
    assert saved["full"]["tower"] > 6 * 2 * 65 * 192 * 4
    assert any(name.startswith("side: stage") for name in saved["side"])
    assert {"RPN", "cascade heads", "ReID"} <= set(saved["side"])


def test_tables_and_errors(capsys, tmp_path):
    arguments = ["--config-file", file(), "--flops", "--memory", "--size", "128", "128", "--opts", *TINY]
    assert analyze_model.main(arguments) == 0
    printed = capsys.readouterr().out
    for text in ("side: stage 1/4", "side/tower: ", "side/full model: ", "trained/total: ", "MiB", "G multiply-adds"):
        assert text in printed
    bad = {
        "gone.yaml: no such file": ["--config-file", str(tmp_path / "gone.yaml")],
        "NO.SUCH": ["--config-file", file(), "--opts", "NO.SUCH", "1"],
        "multiples of 64": ["--config-file", file(), "--flops", "--size", "100", "128"],
        "MAX_FRACTION allows 0.100%": ["--config-file", file(), "--opts", "MODEL.SIDE.MAX_FRACTION", "0.001"],
    }
    for message, arguments in bad.items():
        assert analyze_model.main(arguments) == 2
        assert message in capsys.readouterr().err
