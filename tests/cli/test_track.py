"""effowt-track from its arguments on, with a dummy model that finds bright blobs for the real tracker."""

import csv
import json

import av
import cv2
import numpy as np
import pytest
from helpers.blobs import SIZE, corner, count, make_frame, run
from helpers.made_media import add_sound, encode
from helpers.made_mp4 import set_durations, turn_right
from helpers.made_videos import make_video
from helpers.messages import assert_says, lacks

from effowt_d2.video import open_frames


@pytest.mark.parametrize("output", ["out.mp4", pytest.param("out.webm", marks=pytest.mark.slow), "out.avi", "out"])
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
    for extension in ("json", "txt", "csv"):
        assert run(config_file, "--input", video, "--results", tmp_path / f"r.{extension}") == 0
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
    assert run(config_file, *results, "--overwrite", "--max-side", 48, "--score-threshold", 0) == 0
    # at half size a pixel of the model is two of the frame
    assert {result["bbox"][0] % 2 for result in json.loads((tmp_path / "r.json").read_text())} == {0}


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (33, 65)])
def test_odd_frames_run(config_file, tmp_path, size):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((size[1], size[0], 3), 200, np.uint8))
    arguments = ["--output", tmp_path / "out.mp4", "--max-side", 200]
    assert run(config_file, "--input", tmp_path / "a.png", *arguments) == 0
    assert count(tmp_path / "out.mp4") == 1


def test_all_outputs_of_a_run_at_once(config_file, video, tmp_path, capsys):
    files = [tmp_path / name for name in ("r.json", "r.cocovid.json", "r.txt", "r.csv")]
    results = [argument for file in files for argument in ("--results", file)]
    outputs = ["--output", tmp_path / "out.mp4", "--report", tmp_path / "r.html"]
    assert run(config_file, "--input", video, *results, *outputs, "--no-labels", "--profile") == 0
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
    with open_frames(tmp_path / "out.mp4") as frames:
        written = [frame.time for frame in frames]
    with open(tmp_path / "r.csv", newline="") as file:
        times = sorted({float(row["time"]) for row in csv.DictReader(file)})
    assert times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0, 1.4, 1.8, 2.2, 2.6], abs=1e-3)
    assert written == pytest.approx(times, abs=1e-3)


def test_an_upright_video_gives_boxes_in_the_image_as_shown(config_file, video, tmp_path):
    turn_right(video)
    outputs = ["--output", tmp_path / "out.avi", "--results", tmp_path / "r.json"]
    assert run(config_file, "--input", video, *outputs) == 0
    with open_frames(tmp_path / "out.avi") as frames:
        assert {frame.image.shape for frame in frames} == {(SIZE[0], SIZE[1], 3)}
    first = [result["bbox"] for result in json.loads((tmp_path / "r.json").read_text()) if result["image_id"] == 0]
    x, y = corner(0, 0)
    # turned clockwise: what was y counts from the right, what was x from the top
    assert any(box == pytest.approx([SIZE[1] - y - 12, x, 12, 16], abs=2) for box in first)


def test_a_lost_track_is_remembered_for_a_second(config_file, folder, tmp_path):
    names = [folder / "0.png", *[tmp_path / "empty.png"] * 15, folder / "1.png"]
    cv2.imwrite(str(tmp_path / "empty.png"), np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    # away for 15 frames: longer than the 10 of the preset
    arguments = ["--fps", 20, "--results", tmp_path / "r.csv", "--overwrite", "--input", *names]
    for choice, tracks in (([], 3), (["--memory", 0.5], 6)):
        assert run(config_file, *choice, *arguments) == 0
        with open(tmp_path / "r.csv", newline="") as file:
            assert len({row["track_id"] for row in csv.DictReader(file)}) == tracks


@pytest.mark.parametrize("stride, streams", [(1, ["video", "audio"]), (2, ["video"])])
def test_sound_is_copied_where_no_frame_is_omitted(config_file, tmp_path, stride, streams):
    source = add_sound(encode(tmp_path / "silent.mp4"), tmp_path / "v.mp4")
    assert run(config_file, "--input", source, "--output", tmp_path / "out.mp4", "--stride", stride) == 0
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == streams


def test_what_does_not_fit_into_the_output_is_noted(config_file, tmp_path, capsys):
    source = add_sound(encode(tmp_path / "silent.mp4"), tmp_path / "v.mp4")
    assert run(config_file, "--input", source, "--output", tmp_path / "out.webm") == 0
    assert_says(capsys.readouterr().out, "note", "aac", "out.webm")


def test_the_progress_bar_counts_the_boxes_shown(config_file, folder, tmp_path, capsys):
    assert run(config_file, "--input", folder, "--results", tmp_path / "r.json") == 0
    assert "boxes=3" in capsys.readouterr().err


def test_the_zoo_is_known_by_name(tmp_path):
    clip = make_video(tmp_path / "v.avi", 2)
    arguments = ["--input", clip, "--results", tmp_path / "r.json", "--max-side", 64, "--device", "cpu"]
    assert run("quick/shapes_ow_effowt.yaml", *arguments) == 0
    assert isinstance(json.loads((tmp_path / "r.json").read_text()), list)
