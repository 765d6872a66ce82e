"""A long JSON list read in pieces: millions of results fit into memory as arrays, not as Python objects."""

import gc
import json
import os
import re
from collections.abc import Iterator

from tqdm import tqdm

__all__ = ["read_json_list"]

CHUNK = 1 << 18  # characters read at once; larger pieces parse more slowly, for they leave the cache
SPACE = re.compile(r"\s*")


def read_json_list(
    path: str, error: type[Exception], progress: bool | None = None, chunk: int = CHUNK
) -> Iterator[list]:
    """Read a file holding one JSON list of objects, piece by piece.

    Args:
        path: the file, UTF-8.
        error: exception class raised for a file that is cut off, malformed or no list.
        progress: True shows a bar, False none, None only on a terminal.
        chunk: characters to read at once.

    Yields:
        Lists of consecutive entries; together they are ``json.load``'s list.
    """
    hidden = None if progress is None else not progress
    bar = tqdm(total=os.path.getsize(path), unit="B", unit_scale=True, desc="reading results", disable=hidden)
    # the text at hand always starts with what precedes an entry: "[" before the first, "," before any other
    text, separator, count = "", "[", 0
    with bar, open(path, encoding="utf-8") as file:
        while True:
            # steps grow with the text, so that the work stays linear where an entry is longer than a chunk
            more = _read(file, max(chunk, len(text)), path, error)
            text = (text + more).lstrip()
            if text[:1] not in ("", separator):
                break
            entries, text = _take(text)
            if entries:
                yield entries
                separator, count = ",", count + len(entries)
            bar.update(len(more))
            if not more:
                break
        text = (text + _read(file, -1, path, error)).strip()
    if text != "]" and not (separator == "[" and re.fullmatch(r"\[\s*\]", text)):
        raise error(f"{path}: {_what_is_wrong(text, separator, count)}")


def _read(file, size: int, path: str, error: type[Exception]) -> str:
    try:
        return file.read(size)
    except UnicodeDecodeError as problem:
        raise error(f"{path}: not a UTF-8 text file ({problem})") from None


def _take(text: str) -> tuple:
    """Whole entries from the front of the text, and the text behind them.

    Cutting behind the last closing brace either gives whole entries or, when the brace lies inside an
    unfinished one, text that does not parse; then nothing is taken and the caller reads on.
    """
    cut = text.rfind("}") + 1
    collecting = gc.isenabled()
    gc.disable()  # it would search every few hundred new objects for cycles, which JSON cannot have
    try:
        return json.loads(f"[{text[1:cut]}]"), text[cut:]
    except json.JSONDecodeError:
        return [], text
    finally:
        if collecting:
            gc.enable()


def _what_is_wrong(text: str, separator: str, count: int) -> str:
    """Describe text that does not continue a list of which ``count`` entries were read."""
    if separator == "[" and not text.startswith("["):
        return f"expected a JSON list of results, the file starts with {text[:40]!r}"
    decoder, position = json.JSONDecoder(), 0
    while text[position : position + 1] == separator:
        start = SPACE.match(text, position + 1).end()
        try:
            _, end = decoder.raw_decode(text, start)
        except json.JSONDecodeError as problem:
            return f"entry {count} is cut off or malformed ({problem.msg}): {text[start : start + 80]!r}"
        position = SPACE.match(text, end).end()
        separator, count = ",", count + 1
    if text[position:] == "]":
        return f"the entries of the list must be objects, got {text[:80]!r}"
    if position == len(text):
        return f"the file is cut off after {count} entries: the list is not closed"
    return f"after {count} entries expected ',' or the end of the list, got {text[position : position + 40]!r}"
