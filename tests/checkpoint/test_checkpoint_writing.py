"""Files are there whole or not at all, and a run goes on from the newest good one."""

import errno
import multiprocessing
import os
import signal

import pytest
import torch
from helpers.full_disk import no_file_above
from helpers.messages import assert_says, raises

from effowt_d2.checkpoint import EffOWTCheckpointer, UnreadableCheckpointError
from effowt_d2.utils.files import write_atomically


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_full_disk_is_reported_and_changes_nothing(make_small, tmp_path):
    (tmp_path / "model.pth").write_bytes(b"old")
    (tmp_path / "last_checkpoint").write_text("older.pth")
    before = contents(tmp_path)
    with no_file_above(2048), raises(OSError, "model.pth", os.strerror(errno.EFBIG)):
        EffOWTCheckpointer(make_small(), str(tmp_path)).save("model")
    assert contents(tmp_path) == before


def test_a_folder_that_cannot_be_written(make_small, tmp_path):
    (tmp_path / "file").write_text("")
    with raises(OSError, tmp_path / "file", os.strerror(errno.ENOTDIR)):
        EffOWTCheckpointer(make_small(), str(tmp_path / "file")).save("model")
    with raises(OSError, tmp_path / "gone", os.strerror(errno.ENOENT)):
        EffOWTCheckpointer(make_small(), str(tmp_path / "gone")).save("model")


def write_and_die(file):
    def write(stream):
        stream.write(b"half")
        stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    write_atomically(file, write)


def test_a_process_killed_while_writing_leaves_the_old_file(make_small, tmp_path):
    checkpointer = EffOWTCheckpointer(make_small(), str(tmp_path))
    checkpointer.save("model", iteration=1)
    before = contents(tmp_path)
    writer = multiprocessing.get_context("fork").Process(target=write_and_die, args=(str(tmp_path / "model.pth"),))
    writer.start()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    assert contents(tmp_path) == {**before, "model.pth.tmp": b"half"}
    assert checkpointer.resume_or_load("", resume=True)["iteration"] == 1
    assert [os.path.basename(file) for file in checkpointer.get_all_checkpoint_files()] == ["model.pth"]
    # what was left over is in nobody's way
    checkpointer.save("model", iteration=2)
    assert "model.pth.tmp" not in contents(tmp_path)


def test_rights_are_those_of_any_new_file(make_small, tmp_path):
    EffOWTCheckpointer(make_small(), str(tmp_path)).save("model")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "model.pth").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.fixture
def run(make_small, tmp_path):
    """Three checkpoints whose head says at which iteration they were written; the names don't sort that way."""
    model = make_small()
    checkpointer = EffOWTCheckpointer(model, str(tmp_path))
    for iteration, name in ((9, "z"), (19, "a"), (29, "m")):
        torch.nn.init.constant_(model.head[0].bias, iteration)
        checkpointer.save(name, iteration=iteration)
    return checkpointer


def cut(file):
    file.write_bytes(file.read_bytes()[:-100])


def test_damaged_newest_checkpoint_is_reported_and_the_one_before_taken(run, tmp_path, caplog):
    cut(tmp_path / "m.pth")
    (tmp_path / "notes.pth").write_text("not a checkpoint")
    torch.save({"model": {}, "iteration": 99}, tmp_path / "foreign.pth")
    assert run.resume_or_load("", resume=True)["iteration"] == 19
    assert run.model.head[0].bias.tolist() == [19] * 8
    assert_says(caplog.text, tmp_path / "m.pth", tmp_path / "a.pth")


def test_two_damaged_ones_and_a_deleted_one(run, tmp_path):
    (tmp_path / "m.pth").unlink()
    cut(tmp_path / "a.pth")
    assert run.resume_or_load("", resume=True)["iteration"] == 9


def test_no_good_checkpoint_is_an_error_not_a_new_start(run, tmp_path):
    for name in ("m", "a", "z"):
        cut(tmp_path / f"{name}.pth")
    with raises(UnreadableCheckpointError, tmp_path):
        run.resume_or_load("", resume=True)


def test_nothing_to_resume_loads_the_path(make_small, run, tmp_path):
    (tmp_path / "new").mkdir()
    fresh = EffOWTCheckpointer(make_small(), str(tmp_path / "new"))
    fresh.resume_or_load(str(tmp_path / "z.pth"), resume=True)
    assert fresh.model.head[0].bias.tolist() == [9] * 8
