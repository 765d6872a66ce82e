"""EVPTrack learns two videos by heart, and what it carries solves what a single frame cannot (slow)."""

import pytest
import torch
from evptrack.prompts import SpatioTemporalEncoder
from helpers.centre_learning import FeatureTracker, auc_before_and_after, both_right
from helpers.centre_trackers import centre_model
from torch import nn


@pytest.mark.slow
def test_two_videos_are_learned():
    options = {"INPUT__SOT__TEMPLATE_SIZE": 64, "INPUT__SOT__SEARCH_SIZE": 128, "MODEL__CENTRE_HEAD__WIDTH": 64}
    options["MODEL__EVPTRACK__PROMPT__PATCH_SIZES"] = [18, 16, 14]
    model = centre_model("EVPTrack", "timm://learning_hivit", **options)
    before, after = auc_before_and_after(model)
    assert min(after) > 75 and max(before) < 30, (before, after)


class Prompts(nn.Module):
    """One prompt, the mean of the carried tokens, and the encoder that makes them, on features."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.project = nn.Linear(width, width, bias=False)
        self.encoder = SpatioTemporalEncoder(channels=width, heads=4)

    def fresh(self, z):
        return z

    def forward(self, z, x, carried, blocks):
        prompt = self.project(carried.mean(dim=1, keepdim=True))
        tokens = blocks(torch.cat([prompt, z, x], dim=1))
        return tokens[:, -x.shape[1] :], self.encoder(z, x, carried)


@pytest.mark.slow
def test_what_is_carried_tells_twins_apart():
    with_state, without = (
        both_right(lambda: FeatureTracker(Prompts()), carry=carry, steps=4000, seed=0) for carry in (True, False)
    )
    assert with_state > 0.75 and without < 0.15, (with_state, without)
