"""The memories by themselves: rows that don't know each other, nothing changed before training, order that counts."""

import pytest
import torch
from conftest import tiny_memory
from helpers.messages import raises
from helpers.tiny_detector import CHANNELS, level_shapes
from track_memory import MEMORIES

from effowt_d2.modeling.roi_heads import ReIDHead
from effowt_d2.tracking import Looks, MovingAverage, Tracker

LEARNED = ("queries", "tokens")


def make(kind, trained=True, **options):
    """A memory, by default with a correction as training leaves it: not zero."""
    cfg = tiny_memory(**options)
    torch.manual_seed(3)
    memory = MEMORIES.get(kind)(cfg, ReIDHead(cfg, level_shapes())).eval()
    if trained and kind in LEARNED:
        torch.nn.init.normal_(memory.correct.weight, std=0.3)
    return memory


def looks(seed, count=4):
    generator = torch.Generator().manual_seed(seed)
    return Looks(torch.randn(count, 16, generator=generator), torch.randn(count, 49, CHANNELS, generator=generator))


def run(memory, frames):
    state = memory.init(frames[0])
    for frame in frames[1:]:
        state = memory.step(state, frame)
    return memory.embedding(state)


@pytest.mark.parametrize("kind", MEMORIES.names())
def test_before_training_it_is_the_moving_average(kind):
    frames = [looks(seed) for seed in range(5)]
    average = MovingAverage(momentum=0.4)
    found = run(make(kind, trained=False, MODEL__TRACK_MEMORY__MOMENTUM=0.4), frames)
    torch.testing.assert_close(found, run(average, frames), rtol=0, atol=0)


@pytest.mark.parametrize("kind", MEMORIES.names())
def test_tracks_do_not_see_each_other(kind):
    memory, frames = make(kind), [looks(seed) for seed in range(5)]
    together = run(memory, frames)
    for row in range(4):
        alone = run(memory, [frame.rows(torch.tensor([row])) for frame in frames])
        torch.testing.assert_close(alone, together[row : row + 1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", LEARNED)
def test_the_correction_knows_earlier_looks_and_their_order(kind):
    memory = make(kind)
    first, second, last = (looks(seed) for seed in (1, 2, 3))

    def correction(*frames):
        state = memory.init(frames[0])
        for frame in frames[1:]:
            state = memory.step(state, frame)
        return memory.correct(memory.recall(state[2:]))

    seen = correction(first, second, last)
    assert (seen - correction(second, first, last)).abs().max() > 1e-6
    assert (seen - correction(first, second, second)).abs().max() > 1e-6


def test_a_queue_of_no_query_forgets():
    memory = make("queries", MODEL__TRACK_MEMORY__LENGTH=0)
    last = looks(3)
    states = [memory.step(memory.init(looks(seed)), last) for seed in (1, 2)]
    assert torch.equal(*(memory.recall(state[2:]) for state in states))


@pytest.mark.parametrize("kind", LEARNED)
def test_embeddings_alone_are_refused(kind):
    with raises(ValueError, "tokens"):
        make(kind).init(Looks(torch.zeros(1, 16)))


def test_a_tracker_goes_by_the_memory_it_is_told_of():
    """Two objects swap their embeddings, and their tokens tell them apart."""
    memory = make("queries", trained=False)
    tokens = looks(7, count=2).tokens
    embeddings = torch.eye(2, 16) * 3
    boxes = torch.tensor([[0.0, 0, 10, 10], [50, 0, 60, 10]])

    class ByTokens(type(memory)):
        def embedding(self, state):
            # what is remembered of an object is the other one's embedding
            return state[0][:, -1].flip(1).roll(2, 1)

    memory.__class__ = ByTokens
    for weight, expected in ((0.0, [0, 1]), (1.0, [1, 0])):
        tracker = Tracker(match_score=0.5, momentum=1.0)
        tracker.remember_by(memory, weight)
        tracker.update(boxes, torch.tensor([0.9, 0.8]), embeddings, 0, tokens)
        assert tracker.update(boxes, torch.tensor([0.9, 0.8]), embeddings, 1, tokens).tolist() == expected
    with raises(ValueError, "weight", 1.5):
        tracker.remember_by(memory, 1.5)
