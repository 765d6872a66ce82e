"""Vocabularies: what people write into text files."""

import logging

import pytest
from helpers.messages import assert_says, raises

from effowt_d2.evaluation.groups import tao_groups
from effowt_d2.naming import read_vocabulary


def test_words_and_phrases_in_order(tmp_path):
    file = tmp_path / "words.txt"
    file.write_bytes("\ufeff# what we look for\r\n  dog\r\n\r\ntraffic   light\t\n  # none\nça va\nC# book".encode())
    assert read_vocabulary(file) == read_vocabulary(str(file)) == ["dog", "traffic light", "ça va", "C# book"]


def test_repeated_words_are_omitted_and_reported(tmp_path, caplog):
    file = tmp_path / "words.txt"
    file.write_text("dog\ncat\nDog\n\ncat\n")
    with caplog.at_level(logging.WARNING):
        assert read_vocabulary(file) == ["dog", "cat"]
    for record, data in zip(caplog.records, (("line 3", "Dog", "line 1"), ("line 5", "cat", "line 2")), strict=True):
        assert_says(record.getMessage(), *data)


def test_synonyms_follow_a_word_behind_tabs(tmp_path, caplog):
    file = tmp_path / "words.txt"
    file.write_text("dog\tpuppy \t  young   dog\ncat\tDog\tkitten\tcat\n")
    with caplog.at_level(logging.WARNING):
        assert read_vocabulary(file) == ["dog\tpuppy\tyoung dog", "cat\tkitten"]
    for record, data in zip(caplog.records, (("line 2", "Dog", "line 1"), ("line 2", "cat")), strict=True):
        assert_says(record.getMessage(), *data)


@pytest.mark.parametrize(
    "content, data",
    [(b"", "empty"), (b"\n# only\n   \n", 3), (b"caf\xe9\n", "byte 3")],
)
def test_files_without_words(tmp_path, content, data):
    file = tmp_path / "words.txt"
    file.write_bytes(content)
    with raises(ValueError, file, data):
        read_vocabulary(file)


def test_no_file(tmp_path):
    with raises(FileNotFoundError, "nowhere.txt", "tao"):
        read_vocabulary(tmp_path / "nowhere.txt")
    with raises(ValueError, tmp_path, "folder"):
        read_vocabulary(tmp_path)


def test_the_categories_of_tao():
    words = read_vocabulary("tao")
    groups = tao_groups()
    assert len(words) == len(set(words)) == 369
    assert {"dog", "trash_can", "bus_(vehicle)", "camel", "person"} <= set(words)
    # COCO's classes are 78 of them
    assert len(groups.known) == 78 < len(words)


def test_the_common_words():
    words = read_vocabulary("common")
    heads = [entry.split("\t")[0] for entry in words]
    assert len(words) == len(set(heads)) == 80 and {"person", "traffic light", "teddy bear"} <= set(heads)
    assert words[0].startswith("person\tman\twoman\t")
