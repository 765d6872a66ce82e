"""Constant velocity, in pixels per frame: a gap counts by its frames, when a box is expected and when it is seen again."""

import numpy as np
import torch

from effowt_d2.tracking import Looks, MovingAverage
from effowt_d2.tracking.memory import Memory
from effowt_d2.tracking.motion import blend_velocity, predict_boxes


def box(x):
    return torch.tensor([[x, 0.0, x + 10, 10]])


def test_a_box_moves_by_its_velocity_for_every_frame_since():
    expected = predict_boxes(box(0.0), torch.tensor([[4.0, 1.0]]), torch.tensor([3.0]))
    assert expected.tolist() == [[12, 3, 22, 13]]


def test_a_velocity_is_that_of_one_frame():
    moved = box(6.0) - box(0.0)
    first = blend_velocity(torch.zeros(1, 2), moved, torch.tensor([3.0]), torch.tensor([True]))
    later = blend_velocity(torch.zeros(1, 2), moved, torch.tensor([3.0]), torch.tensor([False]))
    assert (first.tolist(), later.tolist()) == ([[2, 0]], [[1, 0]])


def test_a_memory_counts_the_frames_of_a_gap():
    memory = Memory(MovingAverage(momentum=0.5))
    memory.append(np.array([7]), Looks(torch.eye(4)[:1]), box(0.0), 0)
    memory.update(np.array([0]), Looks(torch.eye(4)[:1]), box(6.0), 3)
    assert memory.boxes(8, "constant_velocity").tolist() == box(16.0).tolist()
    assert memory.boxes(8, "none").tolist() == box(6.0).tolist()
