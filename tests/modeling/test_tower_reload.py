"""Weights that are loaded into a tower after its first forward pass count as if they had been there before."""

import pytest
import torch
from helpers.tiny_clip import register_clips, vit

from effowt_d2.modeling.tower import build_tower


@pytest.fixture(scope="module", autouse=True)
def clips(tmp_path_factory):
    register_clips(tmp_path_factory.mktemp("open_clip"), {"reload-a": vit(layers=2, head_width=32)})


def tower(seed, **options):
    torch.manual_seed(seed)
    return build_tower("reload-a", "", allow_random=True, canvas=6, **options)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_positions_and_hash_are_those_of_the_new_weights(precision):
    images = torch.randn(1, 3, 64, 64)
    wanted, model = tower(1, precision=precision), tower(0, precision=precision).finalise()
    weights = {key: value.clone() for key, value in wanted.state_dict().items()}
    wanted.finalise()
    before, _ = model.weights_hash(), model(images)
    model.load_state_dict(weights)
    assert model.weights_hash() == wanted.weights_hash() != before
    for found, expected in zip(model(images), wanted(images)):
        assert torch.equal(found, expected)
    assert model.weights_hash() == wanted.weights_hash()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_state_dict_without_the_tower_changes_nothing(precision):
    model = torch.nn.ModuleDict({"tower": tower(0, precision=precision).finalise(), "head": torch.nn.Linear(2, 2)})
    images = torch.randn(1, 3, 64, 64)
    before, taps = model["tower"].weights_hash(), model["tower"](images)
    model.load_state_dict(torch.nn.ModuleDict({"head": torch.nn.Linear(2, 2)}).state_dict(), strict=False)
    assert model["tower"].weights_hash() == before
    assert all(torch.equal(a, b) for a, b in zip(model["tower"](images), taps))


def test_a_tower_that_trains_places_tokens_by_its_present_positions():
    model, images = tower(0, frozen=False), torch.randn(1, 3, 64, 64)
    before = model(images)
    with torch.no_grad():
        model.trunk.positional_embedding.add_(torch.randn_like(model.trunk.positional_embedding))
    fresh = tower(0, frozen=False)
    fresh.load_state_dict(model.state_dict())
    for old, found, expected in zip(before, model(images), fresh(images)):
        assert torch.equal(found, expected) and not torch.equal(found, old)
