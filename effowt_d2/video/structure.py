"""Detects truncated video files by the sizes in their container, without reading packets.

FFmpeg reads a file that was cut short like a shorter one. The outermost elements of most containers declare how long the
file has to be.
"""

import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

__all__ = ["Structure", "read_structure"]


class Structure(NamedTuple):
    """``cut``: the end of the file is missing. ``damaged``: a part inside can't be parsed."""

    cut: bool = False
    damaged: bool = False


def read_structure(path: Path) -> Structure:
    """The structure of a file; one of an unknown format counts as whole."""
    if not os.path.getsize(path):
        return Structure()
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for fits, read in _READERS:
            if fits(data):
                return read(data)
    return Structure()


def _number(data: mmap.mmap, place: int, size: int) -> int:
    return int.from_bytes(data[place : place + size], "big")


def _read_boxes(data: mmap.mmap) -> Structure:
    """mp4, mov and their kin: boxes one behind the other."""
    place, kinds = 0, set()
    while place + 8 <= len(data):
        size, kind = _number(data, place, 4), data[place + 4 : place + 8]
        if not kind.isalnum() or size == 0:
            # something behind the video, or a box that goes on to the end
            return Structure()
        kinds.add(kind)
        place += max(8, _number(data, place + 8, 8) if size == 1 else size)
    return Structure(cut=place > len(data) or b"moov" not in kinds)


def _read_riff(data: mmap.mmap) -> Structure:
    """AVI: one RIFF chunk, or several of 1 GB."""
    place = 0
    while data[place : place + 4] == b"RIFF":
        place += 8 + int.from_bytes(data[place + 4 : place + 8], "little")
    return Structure(cut=place > len(data))


_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_EBML_KNOWN = {
    *(_EBML, _SEGMENT, _CLUSTER, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367),
    *(0xEC, 0xBF, 0xE7, 0xA3, 0xA0, 0xAB, 0xA7, 0xAF, 0x5854),
}


def _read_ebml(data: mmap.mmap) -> Structure:
    """Matroska and WebM: elements, of which segments and clusters hold others."""
    place, end = 0, 0
    while place + 12 <= len(data):
        head = data[place : place + 12]
        id_size = 9 - head[0].bit_length()
        if id_size > 4 or int.from_bytes(head[:id_size], "big") not in _EBML_KNOWN or not head[id_size]:
            # bytes behind the segment are none of its business
            return Structure(cut=end > len(data), damaged=place < end)
        identity = int.from_bytes(head[:id_size], "big")
        length = 9 - head[id_size].bit_length()
        size = int.from_bytes(head[id_size : id_size + length], "big") & ((1 << 7 * length) - 1)
        unknown = size == (1 << 7 * length) - 1
        place += id_size + length
        if identity == _SEGMENT:
            end = len(data) if unknown else place + size
        elif identity != _CLUSTER and not unknown:
            place += size
    return Structure(cut=max(place, end) > len(data))


_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def _read_asf(data: mmap.mmap) -> Structure:
    """WMV: the file properties hold the size of the file."""
    place = data.find(_ASF_FILE, 0, 1 << 16)
    return Structure(cut=place >= 0 and int.from_bytes(data[place + 40 : place + 48], "little") > len(data))


_MXF = bytes.fromhex("060e2b34020501010d0102010102")


def _read_mxf(data: mmap.mmap) -> Structure:
    """The header gives the position of the footer."""
    value = 17 + (data[16] & 0x7F if data[16] & 0x80 else 0)
    return Structure(cut=_number(data, value + 24, 8) >= len(data))


def _read_ts(data: mmap.mmap) -> Structure:
    """Packets of one size."""
    size = next(size for size in (188, 192, 204) if _has_period(data, size))
    return Structure(cut=len(data) % size != 0)


def _has_period(data: mmap.mmap, size: int) -> bool:
    offset = 4 if size == 192 else 0
    return len(data) > 3 * size and all(data[offset + n * size] == 0x47 for n in range(4))


def _read_flv(data: mmap.mmap) -> Structure:
    """Behind each tag stands its size."""
    tag = len(data) - 4 - _number(data, len(data) - 4, 4)
    return Structure(cut=tag < 9 or _number(data, tag + 1, 3) != len(data) - 4 - tag - 11)


def _read_ogg(data: mmap.mmap) -> Structure:
    """The last page is marked as such."""
    page = data.rfind(b"OggS")
    lengths = data[page + 27 : page + 27 + data[page + 26]] if page + 27 <= len(data) else b""
    whole = bool(lengths) and page + 27 + len(lengths) + sum(lengths) <= len(data)
    return Structure(cut=not whole or not data[page + 5] & 4)


_READERS: list[tuple[Callable[[mmap.mmap], bool], Callable[[mmap.mmap], Structure]]] = [
    (lambda data: data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp"), _read_boxes),
    (lambda data: data[:4] == b"RIFF", _read_riff),
    (lambda data: _number(data, 0, 4) == _EBML, _read_ebml),
    (lambda data: data[:16] == _ASF, _read_asf),
    (lambda data: data[:14] == _MXF and len(data) > 64, _read_mxf),
    (lambda data: data[:3] == b"FLV" and len(data) > 13, _read_flv),
    (lambda data: data[:4] == b"OggS", _read_ogg),
    (lambda data: any(_has_period(data, size) for size in (188, 192, 204)), _read_ts),
]
