"""AQATrack learns two videos by heart, and its queue solves what a single frame cannot (slow)."""

import pytest
import torch
from aqatrack.decoder import QueryQueue, TemporalQueryDecoder
from helpers.centre_learning import FeatureTracker, auc_before_and_after, both_right
from helpers.centre_trackers import centre_model
from sot.modulation import ResponseModulation
from torch import nn


@pytest.mark.slow
def test_two_videos_are_learned():
    options = {"INPUT__SOT__TEMPLATE_SIZE": 64, "INPUT__SOT__SEARCH_SIZE": 128, "MODEL__CENTRE_HEAD__WIDTH": 64}
    model = centre_model("AQATrack", "timm://learning_hivit", **options)
    before, after = auc_before_and_after(model)
    assert min(after) > 75 and max(before) < 30, (before, after)


class Queue(nn.Module):
    """The queue, the decoder and the fusion, on features."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.decoder = TemporalQueryDecoder(channels=width, layers=2, heads=4, dropout=0.0)
        self.queue, self.fusion = QueryQueue(), ResponseModulation()

    def fresh(self, z):
        return self.queue.empty(len(z), z.shape[-1], z.device)

    def forward(self, z, x, carried, blocks):
        tokens = blocks(torch.cat([z, x], dim=1))
        query = self.decoder(self.queue.history(*carried, self.training), tokens)
        _, fused = self.fusion(tokens[:, None, z.shape[1] :], query[:, None])
        return fused[:, 0], self.queue.push(*carried, query)


@pytest.mark.slow
def test_the_queue_tells_twins_apart():
    with_queue, without = (
        both_right(lambda: FeatureTracker(Queue()), carry=carry, steps=2000, seed=1) for carry in (True, False)
    )
    assert with_queue > 0.8 and without < 0.15, (with_queue, without)
