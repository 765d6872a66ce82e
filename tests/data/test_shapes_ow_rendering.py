"""ShapesOW is rendered once, whole, and again when its parameters change."""

import multiprocessing
import os
import time

from helpers.messages import raises

from effowt_d2.data.datasets.shapes_ow import load_shapes_ow_images
from effowt_d2.data.shapes_ow import ImageSplit, ensure_rendered


def test_a_rendered_split_is_kept_and_a_changed_one_is_rendered_again(tmp_path):
    calls = []

    def write(folder):
        calls.append(folder)
        (folder / "content").write_text(str(len(calls)))

    target = tmp_path / "split"
    for parameters in ({"a": 1}, {"a": 1}, {"a": 2}):
        ensure_rendered(target, parameters=parameters, write=write)
    assert len(calls) == 2 and (target / "content").read_text() == "2"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".split-")]


def test_a_failed_rendering_leaves_nothing_behind(tmp_path):
    def fail(folder):
        (folder / "half").write_text("x")
        raise RuntimeError("disk full")

    with raises(RuntimeError, "disk full"):
        ensure_rendered(tmp_path / "split", parameters={}, write=fail)
    assert not (tmp_path / "split").exists()
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def _slow_write(folder):
    time.sleep(0.5)
    (folder / str(os.getpid())).write_text("")


def _ensure(target):
    ensure_rendered(target, parameters={"a": 1}, write=_slow_write)


def test_several_processes_render_once(tmp_path):
    target = tmp_path / "split"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_ensure, args=(target,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len([path for path in target.iterdir() if path.name != "stamp.json"]) == 1


def test_a_folder_that_cannot_be_written_is_named_before_rendering(tmp_path):
    (tmp_path / "file").write_text("")
    with raises(PermissionError, "DETECTRON2_DATASETS"):
        load_shapes_ow_images(ImageSplit(), tmp_path / "file" / "shapes_ow" / "train")
