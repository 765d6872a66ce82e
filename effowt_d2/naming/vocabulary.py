"""Vocabularies: words for the names of tracks."""

import logging
import os
from pathlib import Path

from effowt_d2.assets.paths import ROOT
from effowt_d2.assets.tao import tao_vocabulary

__all__ = ["COMMON", "SYNONYM", "TAO", "read_vocabulary"]

TAO = "tao"
"""Names a shipped vocabulary: TAO's categories."""
COMMON = "common"
"""Names a shipped vocabulary: everyday objects, COCO's classes with synonyms."""

SYNONYM = "\t"
"""Stands between a word and its synonyms."""

logger = logging.getLogger(__name__)


def read_vocabulary(source: str | os.PathLike) -> list[str]:
    """Words or phrases, one a line, each with its synonyms behind tabs.

    Empty lines and lines that start with # are skipped, runs of blanks become one. A word that came before, in
    whatever case, is skipped with a warning in the log.

    Args:
        source: a UTF-8 text file, or "tao" or "common" for a shipped one.

    Returns:
        The words as they are written, in the order of the file; a word with synonyms is joined with them by tabs.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, is not UTF-8 text, or holds no word.
    """
    if source == TAO:
        return tao_vocabulary()
    path = ROOT / "common_words.txt" if source == COMMON else Path(source)
    if path.is_dir():
        raise ValueError(f"the vocabulary {path} is a folder; expected a text file with one word or phrase a line")
    if not path.is_file():
        raise FileNotFoundError(
            f"the vocabulary {path}: no such file; expected a text file with one word or phrase a line, {TAO!r} or {COMMON!r}"
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"the vocabulary {path} is not UTF-8 text: byte {error.start} is not part of it") from None
    words = _words(lines, path)
    if not words:
        raise ValueError(
            f"the vocabulary {path} is empty: none of its {len(lines)} lines holds a word; "
            "expected one word or phrase a line (# starts a comment)"
        )
    return words


def _words(lines: list[str], path: Path) -> list[str]:
    first: dict[str, int] = {}
    words = []
    for number, line in enumerate(lines, start=1):
        if line.lstrip().startswith("#"):
            continue
        # a word with its synonyms
        new = []
        for word in filter(None, (" ".join(part.split()) for part in line.split(SYNONYM))):
            if word.casefold() in first:
                before = first[word.casefold()]
                logger.warning("%s: line %d, %r, repeats line %d and is dropped", path, number, word, before)
            else:
                first[word.casefold()] = number
                new.append(word)
        if new:
            words.append(SYNONYM.join(new))
    return words
