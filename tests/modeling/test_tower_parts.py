"""The parts of a tower's embedding, for models that put tokens of several images together themselves."""

import pytest
import torch
from helpers.tiny_clip import register_clips, vit

from effowt_d2.modeling.tower.builder import build_tower
from effowt_d2.modeling.tower.tokens import Tokens


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    register_clips(tmp_path_factory.mktemp("clips"), {"tiny-parts": vit()})
    torch.manual_seed(0)
    return build_tower("tiny-parts", "", allow_random=True, canvas=0)


def test_the_parts_make_up_the_embedding(tower):
    images = torch.randn(2, 3, 64, 64)
    patches = tower.patches(images)
    assert patches.shape == (2, 64, 4, 4) and tower.positions().shape == (64, 4, 4) and not patches.requires_grad
    placed = (patches + tower.positions()).flatten(2).transpose(1, 2)
    torch.testing.assert_close(tower.enter(placed), tower.embed(images).patches)


def test_the_final_norm_is_that_of_the_trunk(tower):
    x = torch.randn(2, 5, 64)
    assert tower.finish(x).equal(tower.trunk.ln_post(x)) and not tower.finish(x).requires_grad
    assert tower.finish(x.requires_grad_()).requires_grad


def test_tokens_of_two_images_see_each_other(tower):
    one, two, other = (tower.embed(torch.randn(1, 3, 64, 64)).patches for _ in range(3))
    alone, _ = tower.run(Tokens(two, prefix=0, grid=(4, 4)))
    joint, _ = tower.run(Tokens(torch.cat([one, two], dim=1), prefix=16, grid=(4, 4)))
    changed, _ = tower.run(Tokens(torch.cat([other, two], dim=1), prefix=16, grid=(4, 4)))
    assert joint.patches.shape == alone.x.shape
    assert not torch.allclose(joint.patches, alone.x, atol=1e-4)
    assert not torch.allclose(joint.patches, changed.patches, atol=1e-4)


def test_sides_are_multiples_of_the_stride(tower):
    with pytest.raises(ValueError, match="16.*50"):
        tower.patches(torch.zeros(1, 3, 64, 50))
