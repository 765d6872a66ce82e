"""Converts a decoded frame to square pixels, upright, BGR."""

from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from .orientation import UPRIGHT, Turn, turn_of_matrix, turned

__all__ = ["FrameConverter"]

# a damaged header may claim any; real ones lie between 0.5 (stereo side by side) and 2 (anamorphic film)
_WIDEST_PIXEL = 8

# without it, colours come out a level or two too dark
_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND


class FrameConverter:
    """Turns decoded frames into (H, W, 3) BGR uint8 arrays.

    Args:
        stream: the frames' stream. Its pixel shape counts, as containers correct that of the codec; once the codec
            changes its mind, that of the codec.
    """

    def __init__(self, stream: av.VideoStream) -> None:
        self._stream, self._reformatter = stream, VideoReformatter()
        self._codec_shape = stream.codec_context.sample_aspect_ratio
        self._turned_for: tuple[int, int, int] | None = None
        self._turn = UPRIGHT

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        width, height = square_size(frame.width, frame.height, self._pixel_shape())
        shown = self._reformatter.reformat(frame, width, height, format="bgr24", threads=1, interpolation=_EXACT)
        return turned(shown.to_ndarray(), self._turn_of(frame))

    def _turn_of(self, frame: av.VideoFrame) -> Turn:
        # the side data and its frame refer to each other: asked for at every frame, they would pile up
        key = (frame.rotation, frame.width, frame.height)
        if key != self._turned_for:
            found = "DISPLAYMATRIX" in frame.side_data
            # the stubs know one kind of side data
            matrix = bytes(frame.side_data["DISPLAYMATRIX"]) if found else b""  # type: ignore[typeddict-item]
            self._turn = turn_of_matrix(matrix) if found else UPRIGHT
            self._turned_for = key
        return self._turn

    def _pixel_shape(self) -> Fraction | None:
        codec_shape = self._stream.codec_context.sample_aspect_ratio
        return codec_shape if codec_shape != self._codec_shape else self._stream.sample_aspect_ratio


def square_size(width: int, height: int, pixel_shape: Fraction | None) -> tuple[int, int]:
    """Width and height in square pixels; no side gets smaller, as in browsers.

    Args:
        pixel_shape: width of a pixel by its height; None or 0: unknown.
    """
    if not pixel_shape or not Fraction(1, _WIDEST_PIXEL) <= pixel_shape <= _WIDEST_PIXEL:
        return width, height
    if pixel_shape > 1:
        return round(width * pixel_shape), height
    return width, round(height / pixel_shape)
