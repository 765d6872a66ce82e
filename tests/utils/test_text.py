"""Text files by their byte order mark."""

import codecs

import pytest
from helpers.messages import raises

from effowt_d2.utils.text import read_text

TEXT = "clip_ä\nb\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
        codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
    ],
)
def test_any_mark(tmp_path, data):
    (tmp_path / "names.txt").write_bytes(data)
    assert read_text(tmp_path / "names.txt") == TEXT


@pytest.mark.parametrize("data, encoding", [(b"ab\xff", "utf-8"), (codecs.BOM_UTF16_LE + b"a\x00b", "utf-16")])
def test_what_is_no_text(tmp_path, data, encoding):
    (tmp_path / "names.txt").write_bytes(data)
    with raises(ValueError, tmp_path / "names.txt", encoding):
        read_text(tmp_path / "names.txt")
