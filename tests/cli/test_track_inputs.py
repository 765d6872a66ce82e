"""Exit codes and notes of the command line for inputs of every kind."""

import contextlib
import csv
import json
import os
import shutil
import signal
import socket
from pathlib import Path

import cv2
import pytest
from helpers.blobs import make_frame
from helpers.made_media import cut, encode
from helpers.messages import assert_says

from effowt_d2.cli import track

CASES = {
    "turned.mkv": ({}, 0, ()),
    "a:b.mp4": ({}, 0, ()),
    "raw.h264": ({}, 0, ()),
    "varying.mp4": (dict(times=[0, 0.1, 0.5, 0.6, 1.1, 1.2, 1.3, 1.9, 2.0, 2.1, 2.4, 2.5]), 0, ()),
    "cut.mkv": ({}, 0, ("cut.mkv",)),
    "cut.mp4": ({}, 2, ("cut.mp4",)),
}

SHARED = Path(__file__).parents[3] / "shared/cases/video"
# files that failed once: exit code, frames, seconds of the last one
FAILED = {
    "av1.mp4": (0, 20, 1.9),
    "base.mp4": (0, 20, 1.9),
    "bit16_12bit_signal.png": (0, 1, 0.0),
    "motion_photo.jpg": (0, 1, 0.0),
    "raw.h264": (0, 20, 1.9),
    "rot90.mp4": (0, 20, 1.9),
    "sar.mp4": (0, 20, 1.9),
    "sound.mp4": (0, 20, 1.9),
    "stack.tif": (0, 6, 0.5),
    "trimmed.mp4": (0, 14, 1.3),
    "_._IMG_1.jpg_appledouble.bin": (2, 0, None),
}


def run(config_file, source, results, *more) -> int:
    return track.main(["--config-file", str(config_file), "--input", str(source), "--results", str(results), *more])


@pytest.mark.parametrize("name", CASES)
def test_exit_codes_of_inputs(config_file, tmp_path, capsys, name):
    settings, code, messages = CASES[name]
    path = encode(tmp_path / name, size=(320, 240), **settings)
    if name.startswith("cut"):
        cut(path, 0.6)
    assert run(config_file, path, tmp_path / "r.csv") == code
    printed = capsys.readouterr()
    assert (tmp_path / "r.csv").exists() == (code == 0)
    assert_says(printed.err if code else printed.out, *messages)


@pytest.mark.parametrize("name", FAILED)
def test_exit_codes_of_inputs_that_failed(config_file, tmp_path, capsys, name):
    if not (SHARED / name).is_file():
        pytest.skip(f"{SHARED / name} is not here")
    code, count, last = FAILED[name]
    outputs = ["--output", str(tmp_path / "frames"), "--fps", "10"]
    assert run(config_file, SHARED / name, tmp_path / "r.csv", *outputs) == code
    printed = capsys.readouterr()
    if code:
        assert_says(printed.err, name)
        return
    assert_says(printed.out, f"{count} frames", "0 unreadable")
    assert len(list((tmp_path / "frames").iterdir())) == count
    with open(tmp_path / "r.csv", newline="") as file:
        times = [float(row["time"]) for row in csv.DictReader(file)]
    # a frame without a blob has no row
    assert max(times, default=last) <= last + 1e-3


def test_a_hidden_file_beside_an_image_is_no_frame(config_file, tmp_path, capsys):
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not here")
    (tmp_path / "images").mkdir()
    shutil.copy(SHARED / "motion_photo.jpg", tmp_path / "images" / "IMG_1.jpg")
    shutil.copy(SHARED / "_._IMG_1.jpg_appledouble.bin", tmp_path / "images" / "._IMG_1.jpg")
    assert run(config_file, tmp_path / "images", tmp_path / "r.json") == 0
    assert_says(capsys.readouterr().out, "1 frames", "0 unreadable")


def test_a_name_of_any_bytes_is_printed(config_file, tmp_path, capsys):
    path = cut(encode(tmp_path / b"v\xff.mkv".decode("utf-8", "surrogateescape"), size=(320, 240)), 0.6)
    assert run(config_file, path, tmp_path / "r.json") == 0
    assert_says(capsys.readouterr().out, "note", r"v\udcff.mkv")


@pytest.mark.parametrize("kind", ["folder", "list", "video"])
def test_coco_vid_names_the_video_and_its_files(config_file, tmp_path, kind):
    video = encode(tmp_path / "clip.mp4", 3, size=(320, 240))
    folders = [tmp_path / "shots" / "left", tmp_path / "shots" / "right"]
    for folder in folders:
        folder.mkdir(parents=True)
        for name in ("a.png", "b.png"):
            cv2.imwrite(str(folder / name), make_frame(0))
    source = {"folder": folders[:1], "list": [folder / "a.png" for folder in folders], "video": [video]}[kind]
    arguments = ["--config-file", config_file, "--results", tmp_path / "r.cocovid.json", "--input", *source]
    assert track.main(list(map(str, arguments))) == 0
    found = json.loads((tmp_path / "r.cocovid.json").read_text())
    names = {"folder": "left", "list": "shots", "video": "clip.mp4"}
    files = {
        "folder": ["a.png", "b.png"],
        "list": ["left/a.png", "right/a.png"],
        "video": ["000000.jpg", "000001.jpg", "000002.jpg"],
    }
    assert found["videos"][0]["name"] == names[kind]
    assert [image["file_name"] for image in found["images"]] == files[kind]


def test_every_file_may_have_a_name_of_any_bytes(config_file, tmp_path):
    stem = str(tmp_path / b"v\xff".decode("utf-8", "surrogateescape"))
    source = encode(Path(f"{stem}.mp4"), size=(320, 240))
    targets = [f"{stem}.csv", f"{stem}.json", f"{stem}.txt", f"{stem}.cocovid.json"]
    results = [word for target in targets for word in ("--results", target)]
    arguments = ["--output", f"{stem}.webm", "--report", f"{stem}.html", *results]
    with open(tmp_path / "printed", "w", encoding="utf-8") as printed, contextlib.redirect_stdout(printed):
        assert track.main(["--config-file", str(config_file), "--input", str(source), *arguments]) == 0
    assert all(os.path.getsize(target) for target in [*targets, f"{stem}.webm", f"{stem}.html"])


def test_a_url_that_does_not_answer(config_file, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v.mp4"
        assert run(config_file, url, tmp_path / "r.json", "--timeout", "0.2") == 2
    assert_says(capsys.readouterr().err, url, "0.2")
    assert not (tmp_path / "r.json").exists()


def test_a_stop_while_a_url_does_not_answer(config_file, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v.mp4"
        # comes while the address is waited for: the handler runs in the main thread
        before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        try:
            assert run(config_file, url, tmp_path / "r.json", "--timeout", "60") == 130
        finally:
            signal.signal(signal.SIGALRM, before)
    assert_says(capsys.readouterr().err, url)
