"""Boxes and the region of the image that they must be in."""

import numpy as np
import pytest

from effowt_d2.video.mask import RegionMask


@pytest.mark.parametrize("size", [(40, 20), (400, 200), (41, 21)])
def test_boxes_are_kept_by_half_of_their_area(size):
    inside = np.zeros((20, 40), bool)
    inside[:, :20] = True
    scale = np.array([size[0] / 40, size[1] / 20] * 2)
    boxes = np.array([[0, 0, 10, 10], [15, 5, 24, 9], [18, 5, 26, 9], [30, 0, 40, 20], [-30, 0, 10, 5], [35, 0, 90, 5]])
    assert RegionMask(inside).keep(boxes * scale, size).tolist() == [True, True, False, False, True, False]


def test_boxes_outside_and_none():
    mask = RegionMask(np.ones((4, 4), bool))
    assert mask.keep(np.array([[50.0, 50, 60, 60], [3, 3, 3, 3]]), (10, 10)).tolist() == [True, True]
    assert mask.keep(np.zeros((0, 4)), (10, 10)).tolist() == []
