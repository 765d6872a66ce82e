"""What of a tower trains, where gradients are computed, and what a checkpoint leaves out: by identity of tensors."""

import copy
import dataclasses

import pytest
import torch
from helpers.messages import raises
from helpers.tiny_backbone import tiny_backbone
from torch import nn

from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.modeling.tower import BlockHook, build_tower

IMAGES = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))


def attach(tower, block=2, role="q"):
    """A site adapter that starts at zero."""
    adapter = nn.Linear(64, 64, bias=False)
    nn.init.zeros_(adapter.weight)
    tower.adapters[str(block)] = nn.ModuleDict({role: adapter})
    return adapter


def saved_keys(model, tmp_path):
    EffOWTCheckpointer(model, str(tmp_path)).save("model")
    return set(torch.load(tmp_path / "model.pth", weights_only=True)["model"])


def test_gradients_reach_what_is_attached_and_nothing_else(tower):
    plain = tower(IMAGES)[-1]
    adapter = attach(tower)
    tower.train()
    taps = tower(IMAGES)
    assert torch.equal(taps[-1], plain) and tower.frozen and tower.trains
    # blocks before the first trained part keep no graph
    assert [tap.requires_grad for tap in taps] == [False, False, True, True]
    taps[-1].square().sum().backward()
    assert adapter.weight.grad.abs().max() > 0 and all(p.grad is None for p in tower.trunk.parameters())
    assert not tower.trunk.training and tower.adapters.training
    adapter.requires_grad_(False)
    assert not tower.trains and not tower(IMAGES)[-1].requires_grad


class Beside(nn.Module):
    """Adds a trained vector to every block's output."""

    def __init__(self):
        super().__init__()
        self.vector = nn.Parameter(torch.zeros(64))

    def start(self):
        vector = self.vector

        class Hook(BlockHook):
            def beside_feed(self, number, tokens):
                return vector.expand_as(tokens.x)

        return Hook()


def test_a_companion_runs_in_every_pass_and_trains(tower):
    plain = tower(IMAGES)
    tower.companions["beside"] = Beside()
    assert all(torch.equal(a, b) for a, b in zip(tower(IMAGES), plain))
    tower(IMAGES)[-1].square().sum().backward()
    assert tower.companions["beside"].vector.grad.abs().max() > 0
    nn.init.ones_(tower.companions["beside"].vector)
    torch.testing.assert_close(tower(IMAGES)[0], plain[0] + 1, rtol=0, atol=1e-5)


def test_tokens_that_train_outside_get_their_gradient(tower):
    tokens = tower.embed(IMAGES)
    vector = torch.zeros(64, requires_grad=True)
    last, _ = tower.run(dataclasses.replace(tokens, x=tokens.x + vector))
    last.x.square().sum().backward()
    assert vector.grad.abs().max() > 0


def test_a_checkpoint_leaves_out_loaded_tensors_that_do_not_train(tiny, tmp_path):
    model = tiny_backbone(tiny)
    frozen = {f"tower.{name}" for name in model.tower.state_dict()}
    attach(model.tower)
    assert saved_keys(model, tmp_path) == set(model.state_dict()) - frozen
    assert "tower.adapters.2.q.weight" in saved_keys(model, tmp_path)
    # a tensor is what it is under any name, and a part that trains is in the file
    model.other_path = model.tower.trunk.ln_pre
    model.tower.trunk.transformer.resblocks[3].mlp.c_fc.bias.requires_grad = True
    keys = saved_keys(model, tmp_path)
    assert {key for key in keys if key in frozen} == {"tower.trunk.transformer.resblocks.3.mlp.c_fc.bias"}
    assert not any(key.startswith("other_path") for key in keys)


def test_a_wrapped_layer_is_still_the_one_that_was_loaded(tiny, tmp_path):
    model = tiny_backbone(tiny)
    mlp = model.tower.trunk.transformer.resblocks[0].mlp
    mlp.c_fc = nn.Sequential(mlp.c_fc, nn.Linear(256, 256))
    kept = {key for key in saved_keys(model, tmp_path) if "resblocks.0.mlp.c_fc" in key}
    assert {key.rpartition("c_fc.")[2] for key in kept} == {"1.weight", "1.bias"}


def test_what_is_attached_comes_back_and_the_hash_is_that_of_the_file(tiny, tmp_path):
    model, other = tiny_backbone(tiny), tiny_backbone(tiny)
    attached = [attach(m.tower) for m in (model, other)]
    before = model.tower.weights_hash()
    nn.init.normal_(attached[0].weight)
    model.tower.trunk.transformer.resblocks[3].mlp.c_fc.bias.requires_grad = True
    other.tower.trunk.transformer.resblocks[3].mlp.c_fc.bias.requires_grad = True
    with torch.no_grad():
        model.tower.trunk.transformer.resblocks[3].mlp.c_fc.bias.add_(1)
    assert model.tower.weights_hash() == before
    EffOWTCheckpointer(model, str(tmp_path)).save("model")
    EffOWTCheckpointer(other).load(str(tmp_path / "model.pth"))
    assert torch.equal(attached[1].weight, attached[0].weight)
    assert all(torch.equal(a, b) for a, b in zip(model.tower(IMAGES), other.tower(IMAGES)))


def test_a_trained_tower_of_which_a_part_is_frozen_later_resumes(tiny, tmp_path):
    model, other = (tiny_backbone(tiny, "MODEL.TRANSFER.STRATEGY", "full") for _ in range(2))
    for backbone in (model, other):
        backbone.tower.trunk.conv1.requires_grad_(False)
    with torch.no_grad():
        model.tower.trunk.ln_pre.bias.add_(1)
    assert "tower.trunk.conv1.weight" not in saved_keys(model, tmp_path)
    EffOWTCheckpointer(other).load(str(tmp_path / "model.pth"))
    assert torch.equal(other.tower.trunk.ln_pre.bias, model.tower.trunk.ln_pre.bias)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_what_is_attached_keeps_its_dtype_in_a_rounded_tower(tiny, precision):
    torch.manual_seed(0)
    tower = build_tower(tiny, "", allow_random=True, canvas=8, precision=precision)
    tower.companions["beside"] = Beside()
    with raises(RuntimeError, tiny, "finalise()"):
        tower(IMAGES)
    tower.finalise()
    assert tower.companions["beside"].vector.dtype is torch.float32
    assert {p.dtype for p in tower.trunk.parameters()} == {getattr(torch, precision)}


def test_a_copy_owns_its_own_tensors(tower):
    twin = copy.deepcopy(tower)
    twin.base.set_trained(True)
    assert tower.frozen and not twin.frozen and twin.weights_hash() == tower.weights_hash()
