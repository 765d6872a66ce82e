"""A full disk, and data workers that die: a clear end, and nothing lost."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from detectron2.data import DatasetCatalog
from helpers import dummy_model
from helpers.messages import raises
from helpers.processes import SCRIPT, TIMEOUT, environment

from effowt_d2.checkpoint import DiskFullError
from effowt_d2.data import FrameMapper, TwoViewMapper, build_train_loader, build_video_test_loader
from effowt_d2.data.worker_watch import DataWorkerError, WorkerWatch
from effowt_d2.engine.failures import SetupError, cut_half_line, explained_failures, explained_setup
from effowt_d2.formats import DatasetError, read_dataset

# run in a user's own mount namespace, where a small disk of one's own needs no rights
SMALL_DISK = """
mount -t tmpfs -o size=240k tmpfs "$1" || exit 77
shift
"$@" 2> "$OUT/first.txt"; echo $? > "$OUT/first.code"
ls "$FOLDER" > "$OUT/first.ls"; cp "$FOLDER"/*.pth "$FOLDER/last_checkpoint" "$OUT"
mount -o remount,size=8m "$FOLDER"
exec "$@" --resume
"""


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_it_continues_when_there_is_room(shapes, tmp_path):
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("no mount namespaces here: a full disk is tested with a limit to the file size only")
    small, out = tmp_path / "small", tmp_path / "out"
    small.mkdir()
    out.mkdir()
    config = tmp_path / "config.yaml"
    config.write_text(dummy_model.config(small, SOLVER__MAX_ITER=12, DATASETS__TEST=()).dump())
    command = ["unshare", "-rm", "sh", "-c", SMALL_DISK, "sh", small, sys.executable, SCRIPT, "--config-file", config]
    variables = {**environment(shapes), "OUT": str(out), "FOLDER": str(small)}
    done = subprocess.run(list(map(str, command)), env=variables, capture_output=True, text=True, timeout=TIMEOUT)
    if done.returncode == 77:
        pytest.skip(f"cannot mount here: {done.stderr}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (out / "first.code").read_text() == "1\n"
    lines = (out / "first.txt").read_text().splitlines()
    (message,) = [line for line in lines if line.startswith("train_net.py: error: ")]
    assert f"{small}/model_0000005.pth could not be written: No space left on device; it takes " in message
    needed, free = (int(word.replace(",", "")) for word in message.split() if word.replace(",", "").isdigit())
    assert needed == (out / "model_0000002.pth").stat().st_size > free > 0
    # the checkpoint before is whole and still the newest, and nothing half-written is left
    assert (out / "last_checkpoint").read_text() == "model_0000002.pth"
    assert "tmp" not in (out / "first.ls").read_text() and "model_0000005" not in (out / "first.ls").read_text()
    assert torch.load(out / "model_0000002.pth", weights_only=True)["iteration"] == 2
    assert "Starting training from iteration 3" in done.stdout


def test_other_files_of_a_full_disk_are_reported_too(tmp_path):
    with raises(DiskFullError, "OUTPUT_DIR", tmp_path, os.strerror(errno.ENOSPC), "--resume"):
        with explained_failures(str(tmp_path)):
            try:
                raise KeyError("what is closed after a failure may fail too")
            finally:
                with open("/dev/full", "w") as full:
                    full.write("anything")
    with pytest.raises(KeyError), explained_failures(str(tmp_path)):
        raise KeyError("not of ours")


def test_what_a_run_was_given_is_told_from_faults_of_other_code(tmp_path):
    with raises(SetupError, "gone.json") as caught, explained_setup():
        read_dataset(tmp_path / "gone.json")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    (tmp_path / "bad.json").write_text("[")
    with raises(SetupError, "bad.json") as caught, explained_setup():
        read_dataset(tmp_path / "bad.json")
    assert isinstance(caught.value.__cause__, DatasetError)
    with raises(ValueError) as caught, explained_setup():
        torch.zeros(2).numpy().reshape(3)
    assert not isinstance(caught.value, SetupError)


def test_half_written_line_is_cut_off(tmp_path, caplog):
    file = tmp_path / "metrics.json"
    cut_half_line(str(file))
    assert not file.exists()
    file.write_text('{"iteration": 19}\n{"iterat')
    cut_half_line(str(file))
    assert file.read_text() == '{"iteration": 19}\n' and file.name in caplog.text
    cut_half_line(str(file))
    assert file.read_text() == '{"iteration": 19}\n'


def test_a_run_continues_in_whole_lines(shapes, tmp_path):
    (tmp_path / "metrics.json").write_text('{"iteration": 1')
    dummy_model.train(dummy_model.config(tmp_path, SOLVER__MAX_ITER=2, DATASETS__TEST=()))
    assert [json.loads(line)["iteration"] for line in (tmp_path / "metrics.json").read_text().splitlines()] == [1]


def deadly(mapper, name, end):
    """A mapper in whose hands the process dies when it comes to the file."""

    def map_record(record):
        if record["file_name"].endswith(name):
            end()
        return mapper(record)

    return map_record


def kill_self():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    "end, data",
    [(kill_self, ("Killed", "000003.jpg", "memory")), (lambda: os._exit(3), ("exit code 3", "000003.jpg"))],
)
def test_a_training_worker_that_dies_is_named_with_its_file(shapes, tmp_path, end, data):
    cfg = dummy_model.config(tmp_path, DATALOADER__NUM_WORKERS=2)
    loader = build_train_loader(cfg, deadly(TwoViewMapper(cfg), "000003.jpg", end))
    with raises(DataWorkerError, *data), explained_failures(str(tmp_path)):
        for _ in zip(range(20), loader):
            time.sleep(0.01)  # as a step would, where torch may report the death as well


def test_a_death_that_is_reported_while_the_error_is_explained(tmp_path, monkeypatch):
    def die(*_):
        raise RuntimeError("DataLoader worker (pid 41) exited unexpectedly with exit code 3.")

    watch, files = WorkerWatch([{"file_name": "a.jpg"}], 1), WorkerWatch.files
    watch._notes[:] = torch.tensor([[41, 0]])
    signal.signal(signal.SIGUSR1, die)
    try:
        # as torch's handler: in the middle of anything, once
        ends = iter([lambda: os.kill(os.getpid(), signal.SIGUSR1)])
        monkeypatch.setattr(WorkerWatch, "files", lambda self: (next(ends, int)(), files(self))[1])
        with raises(DataWorkerError, "exit code 3", "41", "a.jpg"), explained_failures(str(tmp_path)):
            raise ConnectionResetError("the worker is gone")
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def test_an_inference_worker_that_dies_is_named_with_its_file(shapes, tmp_path):
    cfg = dummy_model.config(tmp_path, DATALOADER__NUM_WORKERS=1)
    name = DatasetCatalog.get("mini_val")[5]["file_name"]
    loader = build_video_test_loader(cfg, "mini_val", deadly(FrameMapper(cfg), name, kill_self))
    with raises(DataWorkerError, "Killed", name), explained_failures(str(tmp_path)):
        list(loader)
