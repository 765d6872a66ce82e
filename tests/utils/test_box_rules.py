"""Which boxes are refused, and what boxes beyond their images look like."""

import numpy as np
import pytest

from effowt_d2.utils.box_rules import exceeds_image, is_sound, looks_like, without_pixels

SIZE = np.array([[640.0, 480.0]])


def random_boxes(count=200, sizes=SIZE):
    """Boxes inside their images: x, y, width, height."""
    rng = np.random.default_rng(0)
    corners = np.sort(rng.random((2, count, 2)), axis=0) * sizes
    return np.concatenate([corners[0], corners[1] - corners[0]], axis=1)


def test_the_rule():
    boxes = [
        [1, 2, 3, 4],
        [1, 2, 0, 0],
        [-5, 2, 3, 4],
        [1, 2, -1, 4],
        [1, 2, 3, -1e-9],
        [np.nan, 0, 1, 1],
        [0, 0, np.inf, 1],
    ]
    assert is_sound(np.array(boxes)).tolist() == [True, True, True, False, False, False, False]


def test_boxes_that_show_nothing_and_boxes_that_are_cut():
    boxes = np.array(
        [[1, 2, 3, 4], [1, 2, 0, 4], [640, 5, 9, 9], [5, -9, 9, 9], [630, 5, 20, 9], [639, 5, 2, 9], [-3, 5, 9, 9]],
        float,
    )
    sizes = np.repeat(SIZE, len(boxes), axis=0)
    assert without_pixels(boxes, sizes).tolist() == [False, True, True, True, False, False, False]
    assert exceeds_image(boxes, sizes).tolist() == [False, False, True, True, True, False, True]
    assert (
        not exceeds_image(boxes[4:5], np.zeros((1, 2))).any() and not without_pixels(boxes[2:3], np.zeros((1, 2))).any()
    )


@pytest.mark.parametrize(
    "kind, word", [("pixels", ""), ("corners", "corners"), ("normalised", "0..1"), ("swapped", "swapped")]
)
def test_what_boxes_look_like(kind, word):
    boxes, sizes = random_boxes(), np.repeat(SIZE, 200, axis=0)
    if kind == "corners":
        boxes[:, 2:] += boxes[:, :2]
    elif kind == "normalised":
        boxes /= np.tile(SIZE, 2)
    elif kind == "swapped":
        sizes = sizes[:, ::-1]
    found = looks_like(boxes, sizes)
    assert word in found and bool(found) == bool(word)


def test_nothing_is_suspected_without_sizes_or_boxes():
    assert looks_like(random_boxes() * 3, np.zeros((200, 2))) == "" == looks_like(np.zeros((0, 4)), np.zeros((0, 2)))
    # tiny boxes in tiny images are no fractions
    assert looks_like(np.ones((5, 4)), np.full((5, 2), 4.0)) == ""
