"""Boxes that the user draws into the first frame, where there is a display."""

import argparse
import os
import sys

import cv2
import numpy as np

from effowt_d2.video import open_frames

__all__ = ["check_picking", "draw_boxes", "pick_boxes"]

_LARGEST = 1280


def check_picking(args: argparse.Namespace) -> None:
    """Make sure that boxes can be drawn.

    Raises:
        ValueError: there is no display, or the input can be read only once.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        # OpenCV would end the whole process
        raise ValueError(
            "--pick needs a display, and neither DISPLAY nor WAYLAND_DISPLAY names one; give --box X,Y,W,H"
        )
    if "-" in args.input:
        raise ValueError("--pick reads the first frame before tracking begins, which standard input (-) does not allow")


def pick_boxes(args: argparse.Namespace) -> list[tuple[float, ...]]:
    """Show the first frame of the input that will be tracked; returns the boxes drawn, x0, y0, x1, y1 in its pixels.

    Raises:
        ValueError: nothing was drawn, or OpenCV was built without windows.
    """
    choice = dict(stride=args.stride, start=args.start, end=args.end, fps=args.fps, timeout=args.timeout)
    with open_frames(args.input, **choice) as frames:
        first = next(iter(frames), None)
        if first is None:
            raise ValueError(f"{frames.name}: none of the chosen frames could be read")
    boxes = draw_boxes(first.image, first.name)
    if not boxes:
        raise ValueError(f"--pick: no box was drawn in {first.name}")
    return boxes


def draw_boxes(image: np.ndarray, title: str) -> list[tuple[float, ...]]:
    """Let the user draw boxes with the mouse: Enter after each, Escape after the last.

    Args:
        image: (H, W, 3) BGR; shown with a longest side of at most 1280 pixels.
        title: of the window.

    Raises:
        ValueError: OpenCV was built without windows.
    """
    scale = min(1.0, _LARGEST / max(image.shape[:2]))
    shown = image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    try:
        drawn = cv2.selectROIs(f"{title}: a box and Enter for each object, then Escape", shown, showCrosshair=False)
        cv2.destroyAllWindows()
    except cv2.error as error:
        raise ValueError(f"--pick: OpenCV can't open a window ({error.err or error}); give --box X,Y,W,H") from None
    sides = np.array([image.shape[1] / shown.shape[1], image.shape[0] / shown.shape[0]] * 2)
    drawn = np.reshape(drawn, (-1, 4)).astype(float)
    drawn[:, 2:] += drawn[:, :2]
    return [tuple(box) for box in (drawn * sides).tolist() if box[2] > box[0] and box[3] > box[1]]
