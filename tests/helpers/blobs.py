"""Three coloured blocks that move to the right, for BlobTracker to find, and the command line on them."""

import numpy as np

from effowt_d2.cli.track import main
from effowt_d2.video import open_frames

COLORS = ((255, 80, 80), (80, 255, 80), (80, 80, 255))
SIZE = (96, 64)


def corner(number: int, t: int) -> tuple[int, int]:
    """The upper left corner of a block, which is 16 wide and 12 high, in frame t."""
    return 4 + 3 * t + 2 * number, 4 + 20 * number


def make_frame(t: int) -> np.ndarray:
    frame = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    for number, color in enumerate(COLORS):
        x, y = corner(number, t)
        frame[y : y + 12, x : x + 16] = color
    return frame


def run(config_file, *arguments) -> int:
    """The exit code of effowt-track."""
    return main(["--config-file", str(config_file), *map(str, arguments)])


def count(path) -> int:
    """The frames of a video or folder."""
    with open_frames(path) as frames:
        return len(list(frames))
