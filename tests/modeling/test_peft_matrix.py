"""Every PEFT method under every neck and token reduction: steps, saving, loading, inference; resuming; two processes."""

from itertools import product

import pytest
import torch
from helpers import FOLDER
from helpers.processes import run_python
from helpers.tiny_backbone import backbone_config, tiny_backbone
from helpers.two_ranks_peft import METHODS, Model, all_gradients

from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.engine import build_optimizer

NECKS, REDUCTIONS = ("pyramid", "side"), ("none", "sparse", "merge")
ALL = list(product(("none", *METHODS), NECKS, REDUCTIONS))
# each pair of method and neck with one reduction, in turn; all triples are slow
FAST = {(m, n, REDUCTIONS[(i + 2 * j) % 3]) for i, m in enumerate(("none", *METHODS)) for j, n in enumerate(NECKS)}
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))


def options(method, neck="pyramid", reduction="none"):
    keys = ("MODEL.PEFT.METHOD", method, "MODEL.PEFT.RANK", 4, "MODEL.TRANSFER.NECK", neck)
    return (*keys, "MODEL.TOKENS.REDUCTION", reduction, "MODEL.TOKENS.BLOCKS", [1], "SOLVER.WEIGHT_DECAY", 0.5)


def make(tiny, chosen, seed=0):
    model = Model(tiny_backbone(tiny, *chosen))
    if seed:
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in (p for p in model.parameters() if p.requires_grad):
                parameter.add_(torch.randn_like(parameter))
    return model, build_optimizer(backbone_config(tiny, *chosen), model)


def steps(model, optimizer, count):
    model.train()
    for _ in range(count):
        optimizer.zero_grad()
        model(IMAGES).backward()
        optimizer.step()


def snapshot(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize(
    "chosen", [c if c in FAST else pytest.param(c, marks=pytest.mark.slow) for c in ALL], ids=lambda c: "-".join(c)
)
def test_steps_saves_loads_and_infers(tiny, tmp_path, chosen):
    model, optimizer = make(tiny, options(*chosen))
    before = snapshot(model)
    steps(model, optimizer, 3)
    after, trained = model.state_dict(), {name for name, p in model.named_parameters() if p.requires_grad}
    for name, value in before.items():
        # weight decay included, and the gate statistics of TMoE are not in the state
        assert torch.equal(value, after[name]) == (name not in trained), name
    assert {p for group in optimizer.param_groups for p in group["params"]} == {
        p for p in model.parameters() if p.requires_grad
    }
    EffOWTCheckpointer(model, str(tmp_path)).save("model")
    stored = torch.load(tmp_path / "model.pth", weights_only=True)["model"]
    assert trained <= set(stored) and any(".tower.trunk." in name for name in stored) == (chosen[0] == "full")
    other, _ = make(tiny, options(*chosen), seed=1)
    EffOWTCheckpointer(other).load(str(tmp_path / "model.pth"))
    with torch.inference_mode():
        for one, two in zip(*(m.eval().backbone(IMAGES).values() for m in (model, other))):
            assert one.isfinite().all() and torch.equal(one, two)


@pytest.mark.parametrize("method", ["lora", "tmoe", "dense_adapter"])
def test_resuming_equals_going_on(tiny, tmp_path, method):
    chosen = options(method)
    model, optimizer = make(tiny, chosen)
    steps(model, optimizer, 2)
    EffOWTCheckpointer(model, str(tmp_path), optimizer=optimizer).save("model")
    steps(model, optimizer, 2)
    other, resumed = make(tiny, chosen, seed=1)
    EffOWTCheckpointer(other, str(tmp_path), optimizer=resumed).resume_or_load("")
    steps(other, resumed, 2)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    one = all_gradients()
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    run_python(*launcher, FOLDER / "two_ranks_peft.py", tmp_path / "gradients.pt")
    two = torch.load(tmp_path / "gradients.pt", weights_only=True)
    assert one.keys() == two.keys() and {name.split()[0] for name in one} == set(METHODS)
    for name, grad in one.items():
        torch.testing.assert_close(two[name], grad, rtol=1e-4, atol=1e-5 * float(grad.abs().max()) + 1e-9)
