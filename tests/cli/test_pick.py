"""``effowt-track --pick``: boxes drawn into the first frame, in its own pixels, and where that can't be done."""

import argparse

import cv2
import numpy as np
import pytest

from effowt_d2.cli.pick import check_picking, draw_boxes, pick_boxes
from effowt_d2.cli.track import main


def arguments(*files, **options):
    given = {"stride": 1, "start": 0.0, "end": None, "fps": None, "timeout": 10.0}
    return argparse.Namespace(input=list(files), **{**given, **options})


@pytest.fixture
def drawn(monkeypatch):
    """What a user draws, which needs a display and a hand; the images shown are kept."""
    shown = []

    def select(title, image, **options):
        shown.append(image)
        return np.array([[10, 20, 30, 40], [5, 5, 0, 9]])

    monkeypatch.setattr(cv2, "selectROIs", select)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None)
    return shown


def test_boxes_are_in_pixels_of_the_frame(drawn):
    # the second has no area; a large image is shown smaller
    assert draw_boxes(np.zeros((100, 200, 3), np.uint8), "a") == [(10, 20, 40, 60)]
    assert draw_boxes(np.zeros((1280, 2560, 3), np.uint8), "b") == [(20, 40, 80, 120)]
    assert [image.shape[:2] for image in drawn] == [(100, 200), (640, 1280)]


def test_the_first_frame_that_is_tracked_is_shown(drawn, tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((50, 80, 3), 50 * number, np.uint8))
    assert pick_boxes(arguments(str(tmp_path), start=1.0, fps=1.0)) == [(10, 20, 40, 60)]
    assert (drawn[0] == 50).all()


def test_nothing_drawn_is_an_error(drawn, monkeypatch, tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((50, 80, 3), np.uint8))
    monkeypatch.setattr(cv2, "selectROIs", lambda *_, **__: ())
    with pytest.raises(ValueError, match="no box"):
        pick_boxes(arguments(str(tmp_path)))


def test_without_a_display_there_is_an_error_before_the_model_is_built(monkeypatch, capsys, tmp_path):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(ValueError, match="DISPLAY"):
        check_picking(arguments(str(tmp_path)))
    monkeypatch.setenv("DISPLAY", ":0")
    check_picking(arguments(str(tmp_path)))
    with pytest.raises(ValueError, match="standard input"):
        check_picking(arguments("-"))
    with pytest.raises(SystemExit):
        main(["--input", str(tmp_path), "--results", "t.json", "--pick", "--box", "1,2,3,4"])
    assert "--pick" in capsys.readouterr().err
