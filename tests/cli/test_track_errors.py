"""demo.py and what goes wrong: bad input before the model is built, an interrupt, a full disk."""

import errno
import json
import os
import signal

import pytest
import torch
from helpers.blobs import count, run
from helpers.dummy_model import BlobTracker
from helpers.full_disk import no_file_above
from helpers.messages import assert_says

RESULTS = ("--results", "r.json")
BAD = (
    (("gone.mp4", *RESULTS), ["gone.mp4"]),
    (("text.mp4", *RESULTS), ["text.mp4"]),
    (("empty", *RESULTS), ["empty"]),
    (("frames", "--output", "out.gif"), [".gif", ".mp4"]),
    (("frames", "--results", "r.xml"), [".xml", ".json"]),
    (("frames", "--output", "text.mp4/out.mp4"), ["text.mp4"]),
    (("frames", "--output", "frames"), ["frames"]),
    (("frames", *RESULTS, "--stride", "0"), ["stride", 0]),
    (("frames", *RESULTS, "--max-side", "0"), [0]),
    (("frames", *RESULTS, "--opts", "NO.SUCH", "1"), ["NO.SUCH"]),
    (("frames", *RESULTS, "--opts", "MODEL.WEIGHTS"), ["MODEL.WEIGHTS"]),
    (("frames", *RESULTS, "--opts", "MODEL.WEIGHTS", ""), ["MODEL.WEIGHTS"]),
    (("frames", *RESULTS, "--memory", "nan"), ["nan"]),
    (("frames", *RESULTS, "--end", "inf"), ["end", "inf"]),
    (("frames", "--report", "r.html", "--gt", "clip.json", "--results", "clip.json"), ["clip.json", "--gt"]),
    (("frames", "--vocabulary", "words.txt", "--results", "./words.txt"), ["words.txt", "--vocabulary"]),
    (("frames/*.png", "--output", "frames"), ["frames"]),
    (("linked/0.png", "frames/1.png", "--output", "linked"), ["linked"]),
    (("linked/0.png", "linked/1.png", "--output", "./frames"), ["./frames"]),
    (("frames", "--output", "old"), ["old", "000003.jpg"]),
    (("frames", "--results", "clip.json"), ["clip.json", "--overwrite"]),
    (("frames", "--output", "text.mp4", *RESULTS), ["text.mp4", "--overwrite"]),
    (("97", *RESULTS), [97]),
    (("frames", *RESULTS, "--results", "r.xml"), [".xml", ".cocovid.json", ".json", ".txt", ".csv"]),
    (("frames", *RESULTS, "--results", "./r.json"), ["r.json", "--results"]),
    (("frames", *RESULTS, "--device", "toaster"), ["toaster"]),
    (("frames", *RESULTS, "--device", "cuda:77"), ["cuda:77"]),
    (("frames", *RESULTS, "--vocabulary", "none.txt"), ["none.txt"]),
    (("frames", *RESULTS, "--vocabulary", "text.mp4"), ["text.mp4"]),
    (("frames", "--report", "report.pdf"), ["report.pdf"]),
    (("frames", "--report", "r.html", "--gt", "none.json"), ["none.json"]),
    (("frames", "--output", "o", "--trails", "-1"), ["trails", -1]),
    (("frames", *RESULTS, "--score-threshold", "30"), [30]),
)


@pytest.mark.parametrize("arguments, data", BAD, ids=lambda given: " ".join(map(str, given)))
def test_errors_come_before_the_model_is_built(config_file, folder, tmp_path, capsys, monkeypatch, arguments, data):
    monkeypatch.setattr(BlobTracker, "built", 0)
    (tmp_path / "text.mp4").write_text("# not a video")
    (tmp_path / "clip.json").write_text("{}")
    (tmp_path / "words.txt").write_text("disc")
    for name in ("empty", "linked", "old"):
        (tmp_path / name).mkdir()
    (tmp_path / "old" / "000003.jpg").write_text("a frame of another run")
    for name in ("0.png", "1.png"):
        (tmp_path / "linked" / name).symlink_to(folder / name)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert run(config_file, "--input", *arguments) == 2
    assert_says(capsys.readouterr().err, *data)
    assert BlobTracker.built == 0
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("option", ["--weights", "--config-file"])
def test_the_files_of_the_model_are_not_written_over(config_file, folder, tmp_path, capsys, option):
    # endings of results, as people may choose them
    file = tmp_path / "model.json"
    file.write_bytes(config_file.read_bytes() if option == "--config-file" else b"weights")
    before = file.read_bytes()
    assert run(config_file, "--input", folder, "--results", file, option, file) == 2
    assert_says(capsys.readouterr().err, file, option)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "content, word",
    [
        (b"just some words", "mapping"),
        (b"- a\n- b", "mapping"),
        (b"", "mapping"),
        (b"MODEL:\n  WEIGHTS: \xff\xfe", "0xff"),
        (b"MODEL: \x00", "special characters"),
    ],
)
def test_files_that_are_no_configs(folder, tmp_path, capsys, content, word):
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    assert run(file, "--input", folder, "--results", tmp_path / "r.json") == 2
    assert_says(capsys.readouterr().err, file, word)


def test_missing_weights_and_config_are_reported(config_file, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(BlobTracker, "built", 0)
    arguments = ["--input", folder, "--results", tmp_path / "r.json"]
    assert run(tmp_path / "gone.yaml", *arguments) == 2
    assert_says(capsys.readouterr().err, tmp_path / "gone.yaml")
    assert run(config_file, *arguments, "--opts", "MODEL.WEIGHTS", tmp_path / "gone.pth") == 2
    assert_says(capsys.readouterr().err, tmp_path / "gone.pth")
    assert BlobTracker.built == 0
    assert not (tmp_path / "r.json").exists()


def test_nothing_to_write_is_a_usage_error(config_file, folder, capsys):
    with pytest.raises(SystemExit):
        run(config_file, "--input", folder)
    assert_says(capsys.readouterr().err, "--output", "--results", "--report")
    with pytest.raises(SystemExit):
        run(config_file, "--input", folder, "--results", "r.json", "--gt", "gt.json")
    assert_says(capsys.readouterr().err, "--report")
    with pytest.raises(SystemExit):
        run(config_file, "--input", folder, "--output", "o", "--labels", "id,size")
    assert_says(capsys.readouterr().err, "id,size", "id, name, score")


def test_ctrl_c_finishes_the_files(config_file, video, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(BlobTracker, "on_frame", {4: lambda: signal.raise_signal(signal.SIGINT)})
    before = signal.getsignal(signal.SIGINT)
    outputs = ["--output", tmp_path / "out.mp4", "--results", tmp_path / "r.json"]
    assert run(config_file, "--input", video, *outputs) == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert count(tmp_path / "out.mp4") == 5
    results = json.loads((tmp_path / "r.json").read_text())
    assert {result["image_id"] for result in results} == {0, 1, 2, 3, 4}
    assert_says(capsys.readouterr().out, "5 frames", "stopped")


def test_unreadable_frames_are_skipped_and_reported(config_file, folder, tmp_path, capsys):
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:60])
    assert run(config_file, "--input", folder, "--output", tmp_path / "out.mp4") == 0
    assert count(tmp_path / "out.mp4") == 11
    output = capsys.readouterr().out
    assert_says(output, "11 frames", "3 tracks", "1 unreadable")


def test_a_full_disk_ends_the_run_and_leaves_what_was_done(config_file, folder, tmp_path, capsys):
    files = ["--results", tmp_path / "r.json", "--results", tmp_path / "r.csv"]
    with no_file_above(2600):
        code = run(config_file, "--input", folder, *files)
    assert code == 2
    done = {result["image_id"] for result in json.loads((tmp_path / "r.json").read_text())}
    assert 0 < len(done) < 12 and done == set(range(len(done)))
    printed = capsys.readouterr()
    assert_says(printed.err, os.strerror(errno.EFBIG), f"{len(done)} frames")
    assert_says(printed.out, f"r.json ({len(done)} frames)", f"r.csv ({len(done)} frames)")
    assert {path.name for path in tmp_path.iterdir()} == {"frames", "r.json", "r.csv"}


def run_out_of_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_a_gpu_out_of_memory_leaves_what_was_done(config_file, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(BlobTracker, "on_frame", {5: run_out_of_memory})
    assert run(config_file, "--input", folder, "--results", tmp_path / "r.json") == 2
    printed = capsys.readouterr()
    assert_says(printed.err, "CUDA out of memory")
    assert_says(printed.out, "r.json (5 frames)")
    assert {result["image_id"] for result in json.loads((tmp_path / "r.json").read_text())} == set(range(5))


def test_an_older_file_is_not_listed_where_the_new_one_failed(config_file, folder, tmp_path, capsys):
    (tmp_path / "out.mp4").write_text("old")
    # the index of the video, written last, finds no room
    with no_file_above(2500):
        code = run(
            config_file,
            "--input",
            folder,
            "--output",
            tmp_path / "out.mp4",
            "--results",
            tmp_path / "r.txt",
            "--overwrite",
        )
    printed = capsys.readouterr()
    assert code == 2
    assert_says(printed.err, "out.mp4", "12 frames")
    assert (tmp_path / "out.mp4").read_text() == "old"
    assert "out.mp4" not in printed.out
    assert_says(printed.out, "r.txt (12 frames)")


@pytest.mark.parametrize("choice, reported", [((), True), (("--labels", "id,score"), False)])
def test_letters_that_can_not_be_drawn_are_reported_once(config_file, tmp_path, capsys, choice, reported):
    (tmp_path / "words.txt").write_text("disc\nétoile\nMünze\n")
    arguments = ["--vocabulary", tmp_path / "words.txt", "--output", tmp_path / "o.avi", *choice]
    # reported at the start of a run, so one that goes no further shows it; the dummy has no tower to name with
    assert run(config_file, "--input", tmp_path / "gone.mp4", *arguments) == 2
    assert capsys.readouterr().err.count("étoile") == reported
