"""A long JSON list read in pieces: millions of results fit into memory as arrays, not as Python objects."""

import json
import os
import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
from tqdm import tqdm

from effowt_d2.utils.typed import as_typed_list

__all__ = ["read_json_list"]

Entry = TypeVar("Entry")

CHUNK = 1 << 18  # bytes read at once; larger pieces are no faster and need more memory
AFTER_ENTRY = re.compile(rb"\s*(,\s*\{|\]\s*\Z)")


def read_json_list(
    path: str, kind: type[Entry], error: type[Exception], progress: bool | None = None, chunk: int = CHUNK
) -> Iterator[list[Entry]]:
    """Read a file holding one JSON list of objects, piece by piece.

    Args:
        path: the file, UTF-8.
        kind: type of the objects, a ``msgspec.Struct`` or ``dict``.
        error: exception class raised for a file that is cut off, malformed or no list, and for an object that is
            not of the type; file, entry, field and value are named.
        progress: True shows a bar, False none, None only on a terminal.
        chunk: bytes to read at once.

    Yields:
        Lists of consecutive entries, each a ``kind``; together they are the file's list.
    """
    hidden = None if progress is None else not progress
    bar = tqdm(total=os.path.getsize(path), unit="B", unit_scale=True, desc="reading results", disable=hidden)
    decoder = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]
    # the buffered text always starts with what precedes an entry: "[" before the first, "," before any other
    text, separator, count = b"", b"[", 0
    with bar, open(path, "rb") as file:
        while True:
            # steps grow with the text, so that the work stays linear where an entry is longer than a chunk
            more = file.read(max(chunk, len(text)))
            text = (text + more).lstrip()
            if text[:1] not in (b"", separator):
                break
            cut = _behind_last_entry(text)
            piece = b"[" + text[1:cut] + b"]"
            try:
                entries = decoder.decode(piece)
            except msgspec.DecodeError:  # an entry of another type, or malformed in msgspec's strict view
                entries = as_typed_list(_plain(piece, path, error), kind, f"{path}: entry", error, count)
            if entries:
                yield entries
                text, separator, count = text[cut:], b",", count + len(entries)
            bar.update(len(more))
            if not more:
                break
        if text[:1] == b"]":
            text += file.read()
    text = text.strip()
    if text != b"]" and not (separator == b"[" and re.fullmatch(rb"\[\s*\]", text)):
        raise error(f"{path}: {_describe_fault(_decoded(text, path, error), separator.decode(), count)}")


def _behind_last_entry(text: bytes) -> int:
    """End of the last complete entry: behind the last brace that the next entry or the end of the list follows.

    Where entries hold lists of objects, that brace may lie inside an unfinished entry; then the piece does not parse,
    and the caller reads on.
    """
    place = text.rfind(b"}")
    while place >= 0 and not AFTER_ENTRY.match(text, place + 1):
        place = text.rfind(b"}", 0, place)
    return place + 1


def _plain(piece: bytes, path: str, error: type[Exception]) -> list[Any]:
    """A list as the json module reads it, which knows NaN and Infinity too; empty where it is malformed."""
    try:
        return json.loads(_decoded(piece, path, error))
    except json.JSONDecodeError:
        return []


def _decoded(text: bytes, path: str, error: type[Exception]) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as problem:
        raise error(f"{path}: not a UTF-8 text file ({problem})") from None


def _describe_fault(text: str, separator: str, count: int) -> str:
    """Describe text that does not continue a list of which ``count`` entries were read."""
    if separator == "[" and not text.startswith("["):
        return f"expected a JSON list of results, the file starts with {text[:40]!r}"
    decoder, position = json.JSONDecoder(), 0
    while text[position : position + 1] == separator:
        start = _skip_whitespace(text, position + 1)
        try:
            _, end = decoder.raw_decode(text, start)
        except json.JSONDecodeError as problem:
            return f"entry {count} is cut off or malformed ({problem.msg}): {text[start : start + 80]!r}"
        position = _skip_whitespace(text, end)
        separator, count = ",", count + 1
    if text[position:] == "]":
        return f"the entries of the list must be objects, got {text[:80]!r}"
    if position == len(text):
        return f"the file is cut off after {count} entries: the list is not closed"
    return f"after {count} entries expected ',' or the end of the list, got {text[position : position + 40]!r}"


def _skip_whitespace(text: str, position: int) -> int:
    while text[position : position + 1].isspace():
        position += 1
    return position
