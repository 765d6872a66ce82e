"""What a resuming run reports, and what is kept of files that it cannot use."""

import errno
import io
import os

import pytest
import torch
from helpers.messages import assert_says, lacks, raises

from effowt_d2.checkpoint import DiskFullError, EffOWTCheckpointer
from effowt_d2.utils.files import is_disk_full, write_atomically


class Counter:
    """A checkpointable, which makes a checkpointer one of a training run."""

    def __init__(self):
        self.count = 0

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def damage(file):
    file.write_bytes(file.read_bytes()[:-100])
    return file.read_bytes()


@pytest.fixture
def run(make_small, tmp_path):
    checkpointer = EffOWTCheckpointer(make_small(), str(tmp_path), trainer=Counter())
    for iteration in (9, 19, 29):
        checkpointer.save(f"model_{iteration}", iteration=iteration)
    return checkpointer


def test_unusable_files_are_kept_when_their_names_are_written_again(run, tmp_path):
    newest, older = damage(tmp_path / "model_29.pth"), damage(tmp_path / "model_19.pth")
    assert run.resume_or_load("", resume=True)["iteration"] == 9
    for iteration in (19, 29):
        run.save(f"model_{iteration}", iteration=iteration)
    assert (tmp_path / "model_19.pth.unusable").read_bytes() == older
    assert (tmp_path / "model_29.pth.unusable").read_bytes() == newest
    assert run.resume_or_load("", resume=True)["iteration"] == 29
    # once more: the first one kept is not replaced; and a good file is
    again = damage(tmp_path / "model_29.pth")
    assert run.resume_or_load("", resume=True)["iteration"] == 19
    for _ in range(2):
        run.save("model_29", iteration=29)
    assert (tmp_path / "model_29.pth.unusable").read_bytes() == newest
    assert (tmp_path / "model_29.pth.unusable.2").read_bytes() == again
    assert len(os.listdir(tmp_path)) == 7  # three checkpoints, three kept, the tag


def of_other_world(file, processes):
    data = torch.load(file, weights_only=True)
    if processes is None:
        del data["effowt"]["processes"]  # as versions before wrote it
    else:
        data["effowt"]["processes"] = processes
    torch.save(data, file)


@pytest.mark.parametrize("processes, reported", [(8, True), (1, False), (None, False)])
def test_another_number_of_processes_is_reported(run, tmp_path, caplog, processes, reported):
    of_other_world(tmp_path / "model_29.pth", processes)
    assert run.resume_or_load("", resume=True)["iteration"] == 29
    assert (not lacks(caplog.text, "run of 8", 1)) == reported


def test_evaluation_does_not_care_for_the_number_of_processes(run, make_small, tmp_path, caplog):
    of_other_world(tmp_path / "model_29.pth", 8)
    EffOWTCheckpointer(make_small(), str(tmp_path)).resume_or_load("", resume=True)
    assert "processes" not in caplog.text


def test_a_full_disk_reports_its_size(tmp_path):
    def write(stream):
        torch.save(torch.zeros(1000), stream)
        if stream.seekable():  # the file itself, not what measures it
            raise OSError(errno.ENOSPC, "No space left on device")

    with raises(DiskFullError, "file", os.strerror(errno.ENOSPC)) as caught:
        write_atomically(str(tmp_path / "file"), write)
    assert is_disk_full(caught.value) and os.listdir(tmp_path) == []
    whole = io.BytesIO()
    torch.save(torch.zeros(1000), whole)
    assert_says(caught.value, f"{len(whole.getvalue()):,} bytes")
    assert not is_disk_full(OSError(errno.EACCES, "Permission denied"))
