"""Cells that a box touches, and the choice of one: recorded masks, positives and selections, and hand grids."""

import pytest
import torch
from helpers.golden import golden
from sot.cells import touched_cells
from sot.window import WindowSelection, hann_window


def test_the_release_marks_the_same_cells():
    numbers = golden("lorat/geometry")
    boxes = numbers["template.box_in_crop"]
    for mode in ("train", "track"):
        assert touched_cells(boxes, (5, 5), (40, 40)).equal(numbers[f"mask.{mode}"].bool())
    assert touched_cells(numbers["positives.boxes"], (8, 8), (112, 112)).equal(numbers["positives.map"].bool())


def cells(box, grid=(4, 6), size=(40, 60)):
    found = touched_cells(torch.tensor([box], dtype=torch.float64), grid, size)[0]
    return {(row, column) for row, column in found.nonzero().tolist()}


@pytest.mark.parametrize(
    "box, expected",
    [
        ([12.0, 22, 18, 28], {(2, 1)}),
        # on the edges of a cell
        ([10.0, 20, 20, 30], {(2, 1)}),
        # thin, along a row
        ([5.0, 14.9, 45, 15.1], {(1, column) for column in range(5)}),
        # the whole crop, and more
        ([-20.0, -20, 100, 100], {(row, column) for row in range(4) for column in range(6)}),
        # partly outside
        ([-30.0, 35, 4, 90], {(3, 0)}),
        # outside
        ([70.0, 10, 80, 20], set()),
    ],
)
def test_hand_grids(box, expected):
    assert cells(box) == expected


@pytest.mark.parametrize("kind", ["select", "select_rect"])
def test_the_release_chooses_the_same(kind):
    numbers = golden("lorat/geometry")
    scores, width_height = numbers[f"{kind}.score_map"], numbers[f"{kind}.size_wh"]
    torch.testing.assert_close(hann_window(scores.shape[1:]), numbers[f"{kind}.window"])
    chosen = WindowSelection(weight=0.45)(scores, numbers[f"{kind}.boxes"])
    assert chosen.cells.equal(numbers[f"{kind}.cell"])
    torch.testing.assert_close(chosen.confidences, numbers[f"{kind}.confidence"])
    torch.testing.assert_close(chosen.boxes * width_height.repeat(2), numbers[f"{kind}.box"])


def test_the_weight_of_the_window_decides():
    scores = torch.full((1, 5, 5), -3.0)
    scores[0, 0, 0] = 0.5
    boxes = torch.arange(25.0).view(1, 5, 5, 1).expand(1, 5, 5, 4)
    assert WindowSelection(weight=0.0)(scores, boxes).cells.tolist() == [0]
    assert WindowSelection(weight=0.9)(scores, boxes).cells.tolist() == [12]
    with pytest.raises(ValueError, match="weight.*1.5"):
        WindowSelection(weight=1.5)
