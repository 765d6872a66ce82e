"""Crops of objects: square, the right part, the right size, never empty."""

import numpy as np
import pytest

from effowt_d2.naming.crops import clip_boxes, square_crop

PLAIN = dict(size=32, context=0.0, max_zoom=0.0, background="keep")


def crop(image, box, **changes):
    return square_crop(image, np.array(box, dtype=np.float64), **{**PLAIN, **changes})


def test_at_its_own_size_it_is_the_part_of_the_frame_in_rgb(noise):
    assert np.array_equal(crop(noise, (20, 30, 52, 62)), noise[30:62, 20:52, ::-1])


def test_without_magnification_the_surroundings_fill_it(noise):
    # a box of 8 x 4 around (44, 52) in a picture of 32 x 32
    assert np.array_equal(crop(noise, (40, 50, 48, 54), max_zoom=1.0), noise[36:68, 28:60, ::-1])
    twice = crop(noise, (40, 50, 48, 54), max_zoom=2.0, context=0.5)
    assert np.array_equal(twice, crop(noise, (36, 44, 52, 60)))


def test_at_the_frames_edge_it_moves_inside(noise):
    assert np.array_equal(crop(noise, (0, 0, 6, 10), max_zoom=1.0), noise[:32, :32, ::-1])
    assert np.array_equal(crop(noise, (120, 90, 128, 96), max_zoom=1.0), noise[64:, 96:, ::-1])


def test_outside_a_small_frame_its_border_continues(noise):
    small = noise[:20, :24]
    found = crop(small, (8, 8, 12, 12), max_zoom=1.0)
    rows, columns = np.clip(np.arange(-6, 26), 0, 19), np.clip(np.arange(-6, 26), 0, 23)
    assert np.array_equal(found, small[rows][:, columns, ::-1])


def test_a_large_object_is_averaged_not_sampled():
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.ptp(crop(stripes, (0, 0, 128, 128))) <= 1 and crop(stripes, (0, 0, 128, 128)).mean() == 100


def test_blurred_surroundings_keep_the_box_as_it_is(noise):
    box = (40, 50, 48, 54)
    kept, blurred = (crop(noise, box, max_zoom=1.0, background=how) for how in ("keep", "blur"))
    inside = np.zeros((32, 32), bool)
    inside[14:18, 12:20] = True
    assert np.array_equal(kept[inside], blurred[inside])
    assert blurred[~inside].std() < kept[~inside].std() / 5


@pytest.mark.parametrize("background", ["keep", "blur"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (96, 128)])
@pytest.mark.parametrize("box", [(-5, -5, 0.2, 0.1), (0, 0, 1, 1), (0.4, 0.4, 0.6, 1e9), (-1e9, -1e9, 1e9, 1e9)])
def test_it_is_there_whatever_the_box(shape, box, background):
    image = np.full((*shape, 3), 7, np.uint8)
    clipped = clip_boxes(np.array([box], dtype=np.float64), *shape)[0]
    found = square_crop(image, clipped, **{**PLAIN, "background": background, "context": 0.3})
    assert found.shape == (32, 32, 3) and found.dtype == np.uint8 and (found == 7).all()


def test_clipping():
    boxes = np.array([[-5.0, -5, 10, 10], [90, 40, 130, 60], [200, 200, 210, 210]])
    assert clip_boxes(boxes, 50, 100).tolist() == [[0, 0, 10, 10], [90, 40, 100, 50], [100, 50, 100, 50]]
