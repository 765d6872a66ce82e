"""Vocabularies: what people write into text files."""

import logging

import pytest

from effowt_d2.evaluation.groups import tao_groups
from effowt_d2.naming import read_vocabulary


def test_words_and_phrases_in_order(tmp_path):
    file = tmp_path / "words.txt"
    file.write_bytes("\ufeff# what we look for\r\n  dog\r\n\r\ntraffic   light\t\n  # none\nça va\nC# book".encode())
    assert read_vocabulary(file) == read_vocabulary(str(file)) == ["dog", "traffic light", "ça va", "C# book"]


def test_repeated_words_are_left_out_and_told(tmp_path, caplog):
    file = tmp_path / "words.txt"
    file.write_text("dog\ncat\nDog\n\ncat\n")
    with caplog.at_level(logging.WARNING):
        assert read_vocabulary(file) == ["dog", "cat"]
    assert "line 3, 'Dog', repeats line 1" in caplog.text and "line 5, 'cat', repeats line 2" in caplog.text


@pytest.mark.parametrize(
    "content, message",
    [(b"", "is empty"), (b"\n# only\n   \n", "empty: none of its 3 lines"), (b"caf\xe9\n", "not UTF-8 text: byte 3")],
)
def test_files_without_words(tmp_path, content, message):
    file = tmp_path / "words.txt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"words.txt .*{message}"):
        read_vocabulary(file)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.txt: no such file.*'tao'"):
        read_vocabulary(tmp_path / "nowhere.txt")
    with pytest.raises(ValueError, match="is a folder"):
        read_vocabulary(tmp_path)


def test_the_categories_of_tao():
    words = read_vocabulary("tao")
    groups = tao_groups()
    assert len(words) == len(set(words)) == 369
    assert {"dog", "trash_can", "bus_(vehicle)", "camel", "person"} <= set(words)
    # COCO's classes are 78 of them
    assert len(groups.known) == 78 < len(words)
