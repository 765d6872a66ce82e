"""Files and folders take their names when they are whole."""

import errno
import os
from pathlib import Path

import pytest
from helpers.full_disk import no_file_above
from helpers.messages import raises

from effowt_d2.utils.files import DiskFullError, partial_name, publish, whole_folder, write_atomically


def contents(folder):
    return {file.name: file.read_text() for file in folder.iterdir()}


@pytest.mark.parametrize("durable", [True, False])
def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path, durable):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write(stream):
        stream.write(b"new")
        stream.flush()
        assert path.read_text() == "old"

    write_atomically(path, write, durable=durable)
    assert contents(tmp_path) == {"a.txt": "new"}


@pytest.mark.parametrize("durable", [True, False])
def test_what_fails_leaves_the_old_file_alone(tmp_path, durable):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with no_file_above(1000), raises(DiskFullError, path, "1,001"):
        write_atomically(path, lambda stream: stream.write(b"x" * 1001), durable=durable)
    with pytest.raises(KeyError):
        write_atomically(path, lambda stream: {}["of the writer"], durable=durable)
    assert contents(tmp_path) == {"a.txt": "old"}


def test_a_file_that_grew_under_another_name(tmp_path):
    path = tmp_path / "clip.cocovid.json"
    partial = partial_name(path)
    assert partial.parent == tmp_path and partial.name != path.name and partial.name.endswith(path.name)
    partial.write_text("whole")
    path.write_text("old")
    publish(partial, path)
    assert contents(tmp_path) == {path.name: "whole"}


def test_a_folder_takes_its_name_too(tmp_path):
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial" / "a.txt").write_text("a")
    publish(tmp_path / "partial", tmp_path / "whole")
    assert os.listdir(tmp_path) == ["whole"] and contents(tmp_path / "whole") == {"a.txt": "a"}
    with pytest.raises(OSError) as error:
        publish(tmp_path / "gone", tmp_path / "whole")
    assert error.value.errno == errno.ENOENT and contents(tmp_path / "whole") == {"a.txt": "a"}


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_appears_when_it_is_whole(tmp_path, exists):
    path = tmp_path / "new" / "made"
    if exists:
        path.mkdir(parents=True)
    with whole_folder(path) as folder:
        (folder / "a.txt").write_text("a")
        assert not path.exists() or not os.listdir(path)
    assert os.listdir(path.parent) == ["made"] and contents(path) == {"a.txt": "a"}
    with raises(OSError, path, "empty"), whole_folder(path):
        pass


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_folder_that_fails_leaves_nothing(tmp_path, error):
    with pytest.raises(error), whole_folder(tmp_path / "made") as folder:
        (folder / "a.txt").write_text("a")
        raise error
    assert not os.listdir(tmp_path)


def test_folders_that_cannot_be_replaced_are_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with raises(OSError, "current folder"), whole_folder(Path(".")):
        pass
    (tmp_path / "file").write_text("")
    with raises(OSError, tmp_path / "file"), whole_folder(tmp_path / "file"):
        pass
    assert os.listdir(tmp_path) == ["file"]
