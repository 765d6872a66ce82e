"""Changes to an mp4 file that OpenCV can't write itself: frame durations, and how the picture is to be turned."""

import struct
from pathlib import Path


def set_durations(path: Path, seconds: list[float]) -> Path:
    """Give every frame its own duration, as a phone's camera does."""
    data = bytearray(path.read_bytes())
    scale = struct.unpack(">I", data[_find(data, b"mdhd") + 20 :][:4])[0]
    entries = b"".join(struct.pack(">II", 1, round(scale * duration)) for duration in seconds)
    table = struct.pack(">I4sII", 16 + len(entries), b"stts", 0, len(seconds)) + entries
    old = _find(data, b"stts")
    size = struct.unpack(">I", data[old : old + 4])[0]
    for box in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        start = _find(data, box)
        grown = struct.unpack(">I", data[start : start + 4])[0] + len(table) - size
        data[start : start + 4] = struct.pack(">I", grown)
    data[old : old + size] = table
    # the edit list still has the old length
    edits = _find(data, b"edts") + 4
    data[edits : edits + 4] = b"free"
    path.write_bytes(data)
    return path


def turn_right(path: Path) -> Path:
    """Have the picture shown turned by 90 degrees clockwise, as of a phone held upright."""
    data = bytearray(path.read_bytes())
    matrix = _find(data, b"tkhd") + 8 + 40
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def _find(data: bytearray, box: bytes) -> int:
    """Where a box begins; the index lies behind the pictures, so the last one is it."""
    return data.rindex(box) - 4
