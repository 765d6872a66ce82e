"""Videos made on the spot: the brightness of a frame encodes its number."""

from pathlib import Path

import cv2
import numpy as np

# brightness between neighbouring frames, wide enough to survive lossy codecs
STEP = 12


def make_frame(number: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    return np.full((size[1], size[0], 3), 10 + STEP * (number % 20), dtype=np.uint8)


def number_of(image: np.ndarray) -> int:
    return round((float(image.mean()) - 10) / STEP)


def make_video(path: Path, count: int, size: tuple[int, int] = (64, 48), fps: float = 10, codec: str = "MJPG") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), fps, size)
    assert writer.isOpened()
    for number in range(count):
        writer.write(make_frame(number, size))
    writer.release()
    return path


def make_folder(folder: Path, count: int, size: tuple[int, int] = (64, 48), extension: str = ".png") -> Path:
    folder.mkdir()
    for number in range(count):
        # no leading zeros: alphabetical order would be wrong
        assert cv2.imwrite(str(folder / f"frame{number}{extension}"), make_frame(number, size))
    return folder
