"""What the side network makes again in the backward pass: the same gradients to the bit, and less memory."""

import pytest
import torch
from helpers.tiny_backbone import tiny_backbone

from effowt_d2.modeling.layers import attention
from effowt_d2.modeling.layers.recompute import recomputed
from effowt_d2.modeling.side import block, fusion, sparse_interaction
from effowt_d2.modeling.side import network as side_network

USERS = (attention, block, fusion, side_network, sparse_interaction)


def build(tiny, *options):
    return tiny_backbone(tiny, *options, MODEL__SIDE__BLOCKS=[2, 1, 1], MODEL__SIDE__WINDOWS=[4, 4, 0]).train()


def run(model, image_sizes, dtype=None):
    """Bytes that autograd saved, levels, and gradients by name."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 96, 128, generator=generator)
    storages = {}
    known = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            storages[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            levels = model(images, image_sizes=image_sizes)
    saved = sum(storage.nbytes() for storage in storages.values())
    sum((level * torch.randn(level.shape, generator=generator)).sum() for level in levels.values()).backward()
    return saved, levels, {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("image_sizes", [None, [(96, 128), (70, 90)]])
@pytest.mark.parametrize(
    "options",
    [(), ("MODEL.SIDE.SIM.SCALES", [4, 8, 16], "MODEL.SIDE.FUSION.OUTPUT_CONV", False)],
)
def test_nothing_but_the_memory_changes(tiny, monkeypatch, options, image_sizes):
    lean = run(build(tiny, *options), image_sizes)
    stages = run(build(tiny, *options, "MODEL.SIDE.CHECKPOINT", [True, True, True]), image_sizes)
    for user in USERS:
        monkeypatch.setattr(user, "recomputed", lambda function, *args: function(*args))
    plain = run(build(tiny, *options), image_sizes)
    for _, levels, gradients in (lean, stages):
        assert all(torch.equal(levels[name], plain[1][name]) for name in plain[1])
        assert gradients.keys() == plain[2].keys()
        assert all(torch.equal(gradients[name], plain[2][name]) for name in gradients)
    assert stages[0] < lean[0] < 0.7 * plain[0], (stages[0], lean[0], plain[0])


def test_under_autocast(tiny, monkeypatch):
    lean = run(build(tiny), None, torch.bfloat16)
    for user in USERS:
        monkeypatch.setattr(user, "recomputed", lambda function, *args: function(*args))
    plain = run(build(tiny), None, torch.bfloat16)
    assert all(torch.equal(lean[2][name], plain[2][name]) for name in plain[2]) and lean[0] < plain[0]


def test_the_last_product_is_not_made_twice():
    calls = []

    class Linear(torch.nn.Linear):
        def forward(self, x):
            calls.append("before")
            y = super().forward(x)
            calls.append("after")
            return y

    linear = Linear(4, 4)
    x = torch.randn(2, 4, requires_grad=True)
    recomputed(lambda x: linear(x.sin()), x).sum().backward()
    # the second run stops where the product saves its input
    assert calls == ["before", "after", "before"]
    with torch.no_grad():
        assert recomputed(linear, x).grad_fn is None
