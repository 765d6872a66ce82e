"""Changes to a Matroska or WebM file that OpenCV can't write itself: times of frames, and frames that aren't shown."""

import struct
from pathlib import Path

_CLUSTER, _DURATION, _BLOCK = b"\x1f\x43\xb6\x75", b"\x44\x89\x88", 0xA3


def set_times(path: Path, seconds: list[float], rate: float) -> Path:
    """Show every frame at its own time, as a screen recorder does, under a nominal rate."""
    data = bytearray(path.read_bytes())
    blocks = _blocks(data)
    assert len(blocks) == len(seconds)
    for block, time in zip(blocks, seconds):
        data[block + 3 : block + 5] = struct.pack(">h", round(1000 * time))
    _put(data, _DURATION, struct.pack(">d", 1000 * seconds[-1] + 1000 / rate))
    # the time a frame is shown for, in nanoseconds
    _put(data, b"\x23\xe3\x83\x84", struct.pack(">I", round(1e9 / rate)))
    path.write_bytes(data)
    return path


def hide_frame(path: Path, number: int) -> Path:
    """Make a VP8 frame one that only others are predicted from."""
    data = bytearray(path.read_bytes())
    data[_blocks(data)[number] + 6] &= ~0x10
    path.write_bytes(data)
    return path


def _blocks(data: bytearray) -> list[int]:
    """Where the blocks of the only cluster begin; their sizes take a byte each."""
    places = range(data.index(_CLUSTER), len(data) - 6)
    return [n for n in places if data[n] == _BLOCK and data[n + 2] == 0x81 and data[n + 5] in (0, 0x80)]


def _put(data: bytearray, element: bytes, value: bytes) -> None:
    start = data.index(element) + len(element)
    data[start : start + len(value)] = value
