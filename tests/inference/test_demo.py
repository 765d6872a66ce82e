"""demo.py from the command line on, with a stand-in model that finds bright blobs for the real tracker."""

import csv
import errno
import json
import os
import signal

import cv2
import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from helpers.configs import plugin_config
from helpers.full_disk import no_file_above
from helpers.made_mp4 import set_durations, turn_right
from helpers.made_videos import make_video
from helpers.messages import assert_says, lacks
from helpers.stand_in import BlobTracker

import demo
from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.video import open_frames

COLORS = ((255, 80, 80), (80, 255, 80), (80, 80, 255))
SIZE = (96, 64)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(BlobTracker, "built", 0)


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    keys = {"MODEL.META_ARCHITECTURE": "BlobTracker", "MODEL.WEIGHTS": str(folder / "model.pth")}
    # frames are doubled on their way into the model, so boxes must be brought back
    cfg = plugin_config({**keys, "INPUT.MIN_SIZE_TEST": 2 * SIZE[1], "INPUT.MAX_SIZE_TEST": 1000})
    EffOWTCheckpointer(build_model(cfg), str(folder)).save("model")
    (folder / "config.yaml").write_text(cfg.dump())
    return folder / "config.yaml"


def corner(number: int, t: int) -> tuple[int, int]:
    return 4 + 3 * t + 2 * number, 4 + 20 * number


def make_frame(t: int) -> np.ndarray:
    frame = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    for number, color in enumerate(COLORS):
        x, y = corner(number, t)
        frame[y : y + 12, x : x + 16] = color
    return frame


@pytest.fixture
def folder(tmp_path):
    """Twelve frames of three coloured blocks that move to the right."""
    path = tmp_path / "frames"
    path.mkdir()
    for t in range(12):
        cv2.imwrite(str(path / f"{t}.png"), make_frame(t))
    return path


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"mp4v"), 10, SIZE)
    for t in range(12):
        writer.write(make_frame(t))
    writer.release()
    return path


def run(config_file, *arguments) -> int:
    return demo.main(["--config-file", str(config_file), *map(str, arguments)])


def count(path) -> int:
    with open_frames(path) as frames:
        return len(list(frames))


@pytest.mark.parametrize("output", ["out.mp4", "out.webm", "out.avi", "out"])
@pytest.mark.parametrize("kind", ["video", "folder", "glob", "list"])
def test_every_input_into_every_output(config_file, video, folder, tmp_path, kind, output):
    images = sorted(folder.iterdir())
    source = {"video": [video], "folder": [folder], "glob": [folder / "*.png"], "list": images}[kind]
    assert run(config_file, "--output", tmp_path / output, "--input", *source) == 0
    assert count(tmp_path / output) == 12


def test_results_are_the_objects_in_pixels_of_the_frame_with_lasting_ids(config_file, folder, tmp_path):
    assert run(config_file, "--input", folder, "--results", tmp_path / "r.json") == 0
    results = json.loads((tmp_path / "r.json").read_text())
    assert len(results) == 36
    rows = {}
    for result in results:
        rows.setdefault(result["track_id"], []).append(result)
    assert sorted(len(row) for row in rows.values()) == [12, 12, 12]
    for row in rows.values():
        number = round((row[0]["bbox"][1] - 4) / 20)
        for t, result in enumerate(row):
            assert result["image_id"] == t
            assert result["bbox"] == pytest.approx([*corner(number, t), 16, 12], abs=1.5)
            assert 0.5 < result["score"] <= 1


def test_mot_and_csv_agree_with_the_json(config_file, video, tmp_path):
    for ending in ("json", "txt", "csv"):
        assert run(config_file, "--input", video, "--results", tmp_path / f"r.{ending}") == 0
    tao = json.loads((tmp_path / "r.json").read_text())
    mot = [line.split(",") for line in (tmp_path / "r.txt").read_text().splitlines()]
    numbers = [(int(line[0]) - 1, int(line[1]) - 1) for line in mot]
    assert numbers == [(r["image_id"], r["track_id"]) for r in tao]
    assert [[float(value) for value in line[2:6]] for line in mot] == [r["bbox"] for r in tao]
    with open(tmp_path / "r.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["time"]) for row in rows] == pytest.approx([r["image_id"] / 10 for r in tao])
    assert rows[-1]["name"] == "clip:000011"


def test_the_drawn_video_differs_from_the_frames_only_where_tracks_are(config_file, folder, tmp_path):
    assert run(config_file, "--input", folder, "--output", tmp_path / "out", "--trails", "5") == 0
    drawn, plain = cv2.imread(str(tmp_path / "out" / "000005.jpg")), make_frame(5)
    changed = np.abs(drawn.astype(int) - plain).max(axis=2) > 60
    for number in range(3):
        x, y = corner(number, 5)
        assert changed[y : y + 12, x - 1 : x + 1].any()
    assert not changed[:, 60:].any()


def test_stride_keeps_source_numbers_but_the_memory_counts_processed_frames(config_file, folder, tmp_path):
    choice = ["--stride", 4, "--start", 0.1, "--end", 1.1, "--fps", 10]
    # with source numbers the gap of 4 frames would be beyond a memory of 1
    options = ["--opts", "TRACKER.MEMORY_FRAMES", 1]
    outputs = ["--results", tmp_path / "r.json", "--output", tmp_path / "out.avi"]
    assert run(config_file, "--input", folder, *outputs, *choice, *options) == 0
    results = json.loads((tmp_path / "r.json").read_text())
    assert sorted({result["image_id"] for result in results}) == [1, 5, 9]
    assert len({result["track_id"] for result in results}) == 3
    with open_frames(tmp_path / "out.avi") as frames:
        assert frames.fps == pytest.approx(2.5)


def test_score_threshold_and_max_side(config_file, folder, tmp_path):
    results = ["--input", folder, "--results", tmp_path / "r.json"]
    assert run(config_file, *results, "--score-threshold", "1.0") == 0
    kept = json.loads((tmp_path / "r.json").read_text())
    assert all(result["score"] >= 1 for result in kept) and len(kept) < 36
    assert run(config_file, *results, "--max-side", 48, "--score-threshold", 0) == 0
    # at half size a pixel of the model is two of the frame
    assert {result["bbox"][0] % 2 for result in json.loads((tmp_path / "r.json").read_text())} == {0}


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (33, 65)])
def test_odd_frames_run(config_file, tmp_path, size):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((size[1], size[0], 3), 200, np.uint8))
    arguments = ["--output", tmp_path / "out.mp4", "--max-side", 200]
    assert run(config_file, "--input", tmp_path / "a.png", *arguments) == 0
    assert count(tmp_path / "out.mp4") == 1


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


def test_unreadable_frames_are_skipped_and_told(config_file, folder, tmp_path, capsys):
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:60])
    assert run(config_file, "--input", folder, "--output", tmp_path / "out.mp4") == 0
    assert count(tmp_path / "out.mp4") == 11
    output = capsys.readouterr().out
    assert_says(output, "11 frames", "3 tracks", "1 unreadable")


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


def test_missing_weights_and_config_are_told(config_file, folder, tmp_path, capsys):
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


def test_all_outputs_of_a_run_at_once(config_file, video, tmp_path, capsys):
    files = [tmp_path / name for name in ("r.json", "r.cocovid.json", "r.txt", "r.csv")]
    results = [argument for file in files for argument in ("--results", file)]
    outputs = ["--output", tmp_path / "out.mp4", "--report", tmp_path / "r.html"]
    assert run(config_file, "--input", video, *results, *outputs, "--no-labels") == 0
    printed = capsys.readouterr().out
    for file in (*files, tmp_path / "out.mp4", tmp_path / "r.html"):
        assert file.stat().st_size and not lacks(printed, f"{file} (12 frames)")
    shares = printed.split("time: ")[1].splitlines()[0].split(", ")
    assert {share.rsplit(" ", 1)[0] for share in shares} >= {"decoding", "scaling", "heads", "drawing", "writing"}
    assert 97 <= sum(int(share.rsplit(" ", 1)[1].rstrip("%")) for share in shares) <= 103


def test_a_video_of_variable_frame_rate_and_its_times(config_file, video, tmp_path):
    set_durations(video, [0.1] * 6 + [0.4] * 6)
    outputs = ["--output", tmp_path / "out.mp4", "--results", tmp_path / "r.csv"]
    assert run(config_file, "--input", video, *outputs) == 0
    assert count(tmp_path / "out.mp4") == 12
    with open(tmp_path / "r.csv", newline="") as file:
        times = sorted({float(row["time"]) for row in csv.DictReader(file)})
    assert times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0, 1.4, 1.8, 2.2, 2.6], abs=1e-3)


def test_an_upright_video_gives_boxes_in_the_picture_as_shown(config_file, video, tmp_path):
    turn_right(video)
    outputs = ["--output", tmp_path / "out.avi", "--results", tmp_path / "r.json"]
    assert run(config_file, "--input", video, *outputs) == 0
    with open_frames(tmp_path / "out.avi") as frames:
        assert {frame.image.shape for frame in frames} == {(SIZE[0], SIZE[1], 3)}
    first = [result["bbox"] for result in json.loads((tmp_path / "r.json").read_text()) if result["image_id"] == 0]
    x, y = corner(0, 0)
    # turned clockwise: what was y counts from the right, what was x from the top
    assert any(box == pytest.approx([SIZE[1] - y - 12, x, 12, 16], abs=2) for box in first)


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
    assert_says(printed.err, "demo.py", "CUDA out of memory")
    assert_says(printed.out, "r.json (5 frames)")
    assert {result["image_id"] for result in json.loads((tmp_path / "r.json").read_text())} == set(range(5))


def test_an_older_file_is_not_listed_where_the_new_one_failed(config_file, folder, tmp_path, capsys):
    (tmp_path / "out.mp4").write_text("old")
    # the encoder doesn't report that its file ends here; the check of the finished one does
    with no_file_above(2500):
        code = run(config_file, "--input", folder, "--output", tmp_path / "out.mp4", "--results", tmp_path / "r.txt")
    printed = capsys.readouterr()
    assert code == 2
    assert_says(printed.err, tmp_path / "out.mp4", "12 frames")
    assert (tmp_path / "out.mp4").read_text() == "old"
    assert "out.mp4" not in printed.out
    assert_says(printed.out, "r.txt (12 frames)")


def test_a_lost_track_is_remembered_for_a_second(config_file, folder, tmp_path):
    names = [folder / "0.png", *[tmp_path / "empty.png"] * 15, folder / "1.png"]
    cv2.imwrite(str(tmp_path / "empty.png"), np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    # away for 15 frames: longer than the 10 of the preset
    arguments = ["--fps", 20, "--results", tmp_path / "r.csv", "--input", *names]
    for choice, tracks in (([], 3), (["--memory", 0.5], 6)):
        assert run(config_file, *choice, *arguments) == 0
        with open(tmp_path / "r.csv", newline="") as file:
            assert len({row["track_id"] for row in csv.DictReader(file)}) == tracks


def test_the_progress_bar_counts_the_boxes_shown(config_file, folder, tmp_path, capsys):
    assert run(config_file, "--input", folder, "--results", tmp_path / "r.json") == 0
    assert "boxes=3" in capsys.readouterr().err


@pytest.mark.parametrize("choice, told", [((), True), (("--labels", "id,score"), False)])
def test_letters_that_can_not_be_drawn_are_told_once(config_file, tmp_path, capsys, choice, told):
    (tmp_path / "words.txt").write_text("disc\nétoile\nMünze\n")
    arguments = ["--vocabulary", tmp_path / "words.txt", "--output", tmp_path / "o.avi", *choice]
    # told at the start of a run, so one that goes no further shows it; the stand-in has no tower to name with
    assert run(config_file, "--input", tmp_path / "gone.mp4", *arguments) == 2
    assert capsys.readouterr().err.count("étoile") == told


def test_the_zoo_is_known_by_name(tmp_path):
    clip = make_video(tmp_path / "v.avi", 2)
    arguments = ["--input", clip, "--results", tmp_path / "r.json", "--max-side", 64, "--device", "cpu"]
    assert run("quick/shapes_ow_effowt.yaml", *arguments) == 0
    assert isinstance(json.loads((tmp_path / "r.json").read_text()), list)
