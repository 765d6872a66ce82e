"""Exclusion lists in any encoding, with either slash; entries that match nothing are listed."""

import pytest
from helpers import shared_data
from helpers.messages import assert_says, raises

from effowt_d2.data.exclusion import ExclusionList

RECORDS = [{"file_name": "/data/frames/clip_a/0001.jpg"}, {"file_name": r"D:\frames\clip_b\0002.jpg"}]


def listed(tmp_path, text, encoding="utf-8"):
    (tmp_path / "list.txt").write_bytes(text.encode(encoding))
    return ExclusionList(str(tmp_path / "list.txt"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("entry", ["clip_a", "frames/clip_a", "frames\\clip_a\\", "./clip_a/0001.jpg", "clip_b/0002"])
def test_entries_that_match(tmp_path, encoding, entry):
    excluded = listed(tmp_path, f"# comment\r\nother\r\n{entry}  # seen\r\n", encoding)
    with raises(ValueError, "mine", tmp_path / "list.txt", 1, entry.replace("\\", "/").strip("./")):
        excluded.check("mine", RECORDS)
    assert_says(excluded.unused(RECORDS), "1 of 2", "other")


def test_entries_that_match_nothing_are_listed(tmp_path):
    excluded = listed(tmp_path, "\n".join(f"name_{n:02d}" for n in range(30)))
    excluded.check("mine", RECORDS)
    message = excluded.unused(RECORDS)
    assert_says(message, "30 of 30", tmp_path / "list.txt", "name_00", "name_09")
    assert "name_10" not in message
    assert listed(tmp_path, "clip_a\nclip_b").unused(RECORDS) == ""


def test_lists_that_cannot_be_read(tmp_path):
    with raises(FileNotFoundError, tmp_path / "gone.txt"):
        ExclusionList(str(tmp_path / "gone.txt"))
    with raises(ValueError, tmp_path / "list.txt", "utf-8"):
        listed(tmp_path, "clip_ä", "latin-1")
    assert ExclusionList("").unused(RECORDS) == ""


def test_the_list_of_a_user():
    excluded = ExclusionList(str(shared_data("..", "cases", "training", "exclusion_bom.txt")))
    with raises(ValueError, "mine", "clip_a"):
        excluded.check("mine", RECORDS)
