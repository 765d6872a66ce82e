"""Text files by their byte order mark."""

import codecs
import os
from pathlib import Path

__all__ = ["read_text"]

# the mark of UTF-32 begins with that of UTF-16
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: str | os.PathLike) -> str:
    """The content of a text file in UTF-8, or in the encoding that its byte order mark names; without the mark.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not text in that encoding.
    """
    data = Path(path).read_bytes()
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{os.fspath(path)}: not {encoding} text: {error.reason} at byte {error.start}") from None
