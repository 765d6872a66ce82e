"""Corners to corner and size, and back, for arrays and tensors."""

import numpy as np
import pytest
import torch

from effowt_d2.utils.boxes import xywh_to_xyxy, xyxy_to_xywh

CORNERS, SIZES = [[1.0, 2.0, 11.5, 22.0], [-3.0, 0.0, -3.0, 5.0]], [[1.0, 2.0, 10.5, 20.0], [-3.0, 0.0, 0.0, 5.0]]


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_both_ways_and_the_given_boxes_stay(make):
    corners, sizes = make(CORNERS), make(SIZES)
    assert type(xyxy_to_xywh(corners)) is type(corners)
    assert xyxy_to_xywh(corners).tolist() == SIZES and xywh_to_xyxy(sizes).tolist() == CORNERS
    assert corners.tolist() == CORNERS and sizes.tolist() == SIZES


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_one_box_no_box_and_more_dimensions(make):
    assert xyxy_to_xywh(make(CORNERS[0])).tolist() == SIZES[0]
    assert xyxy_to_xywh(make(CORNERS)[:0]).shape == (0, 4)
    assert xywh_to_xyxy(make([SIZES])).tolist() == [CORNERS]
    assert str(xyxy_to_xywh(make([0, 1, 2, 4])).dtype).endswith("int64")


def test_gradients_pass():
    boxes = torch.tensor(CORNERS, requires_grad=True)
    xyxy_to_xywh(boxes)[:, 2:].sum().backward()
    assert boxes.grad.tolist() == [[-1.0, -1.0, 1.0, 1.0]] * 2
