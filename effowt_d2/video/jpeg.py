"""Detects truncated JPEG files."""

import re

import cv2
import numpy as np

__all__ = ["is_whole_jpeg"]

_END = b"\xff\xd9"

# in the data of a scan a marker is 0xFF with another byte behind it than zero, a restart or a fill byte
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

# markers without a length behind them
_BARE = {0x01, 0xD8, *range(0xD0, 0xD8)}


def is_whole_jpeg(data: bytes) -> bool:
    """Whether no part of the image is missing.

    Data behind the end marker (a phone's motion photo) does no harm. A missing end marker doesn't either where the
    last scan is whole: then the decoder needs nothing of what comes behind it.
    """
    place = _end_of_scans(data)
    if place is None:
        return False
    if data[place : place + 2] == _END:
        return True
    # a decoder that lacks data makes something up from what is there, so other data gives another image
    first, second = (np.frombuffer(data + tail + _END, np.uint8) for tail in (b"", b"\x5a" * 4096))
    decoded, same = (cv2.imdecode(encoded, cv2.IMREAD_COLOR) for encoded in (first, second))
    return decoded is not None and same is not None and bool((decoded == same).all())


def _end_of_scans(data: bytes) -> int | None:
    """Position of the end marker, or of the end of the data if it is missing; None without a scan before it."""
    place, scans = 2, 0
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            # what doesn't belong to any segment is skipped, as decoders do
            found = _MARKER.search(data, place)
            if not found:
                break
            place = found.start()
        marker = data[place + 1]
        if marker == 0xFF or marker in _BARE:
            place += 1 if marker == 0xFF else 2
        elif marker == 0xD9:
            return place if scans else None
        elif marker == 0xDA:
            scans += 1
            found = _MARKER.search(data, place + 2 + int.from_bytes(data[place + 2 : place + 4], "big"))
            if not found:
                break
            place = found.start()
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    if data[place : place + 2] == _END and scans:
        return place
    return len(data) if scans else None
