"""Writers: as many frames come out as went in, files appear whole, and what can't be written."""

import csv
import errno
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from helpers.full_disk import no_file_above
from helpers.made_videos import make_frame, number_of
from helpers.messages import assert_says, raises
from pycocotools.coco import COCO

from effowt_d2.evaluation.results_io import load_results
from effowt_d2.utils.files import DiskFullError
from effowt_d2.video import FrameTracks, open_frames, open_results, open_writer
from effowt_d2.video.encoders import VIDEO_ENCODERS
from effowt_d2.video.results import RESULT_EXTENSIONS


def write_frames(path, count, size=(64, 48), fps=10.0):
    with open_writer(path, fps) as writer:
        for number in range(count):
            writer.write(make_frame(number, size), number, number / fps)


@pytest.mark.parametrize("ending", VIDEO_ENCODERS)
@pytest.mark.parametrize("size", [(64, 48), (48, 64), (65, 47), (1, 1), (1, 40)])
def test_videos_hold_the_frames_they_were_given(tmp_path, ending, size):
    path = tmp_path / f"out{ending}"
    write_frames(path, 12, size)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with open_frames(path) as frames:
        read = list(frames)
    assert frames.fps == pytest.approx(10)
    width, height = (max(16, side + side % 2) for side in size)
    assert {frame.image.shape for frame in read} == {(height, width, 3)}
    assert [number_of(frame.image) for frame in read] == list(range(12))


@pytest.mark.parametrize("fps", [0.5, 29.97, 120.0])
@pytest.mark.parametrize("ending", VIDEO_ENCODERS)
def test_frame_rates_are_kept(tmp_path, ending, fps):
    write_frames(tmp_path / f"out{ending}", 40, fps=fps)
    with open_frames(tmp_path / f"out{ending}") as frames:
        assert len(list(frames)) == 40
        assert frames.fps == pytest.approx(fps, rel=0.02)


@pytest.mark.parametrize("size", [(64, 48), (1, 1), (65, 47)])
def test_folders_hold_a_file_per_frame_named_by_its_index(tmp_path, size):
    with open_writer(tmp_path / "out", 10) as writer:
        for index in (0, 5, 10):
            writer.write(make_frame(index, size), index, index / 10)
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == ["000000.jpg", "000005.jpg", "000010.jpg"]
    image = cv2.imread(str(tmp_path / "out" / "000005.jpg"))
    assert image.shape == (size[1], size[0], 3) and number_of(image) == 5


def test_a_folder_with_the_frames_of_another_run_is_refused(tmp_path):
    for name in ("notes.txt", "12.jpg", "cover.jpg"):
        (tmp_path / name).write_text("not a frame of ours")
    with open_writer(tmp_path, 10) as writer:
        writer.write(make_frame(7), 7, 0.7)
    with raises(FileExistsError, "000007.jpg"):
        open_writer(tmp_path, 10)


def test_old_frames_of_a_folder_are_replaced_where_that_is_asked_for(tmp_path):
    for name in ("000003.jpg", "000099.jpg", "cover.jpg"):
        (tmp_path / name).write_text("old")
    with open_writer(tmp_path, 10, overwrite=True) as writer:
        assert (tmp_path / "000099.jpg").exists()
        writer.write(make_frame(3), 3, 0.3)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["000003.jpg", "cover.jpg"]
    assert number_of(cv2.imread(str(tmp_path / "000003.jpg"))) == 3


def test_a_frame_of_another_size_is_fitted_into_the_video(tmp_path):
    with open_writer(tmp_path / "out.avi", 10) as writer:
        writer.write(make_frame(3, (64, 48)), 0, 0.0)
        writer.write(make_frame(19, (200, 50)), 1, 0.1)
        writer.write(make_frame(19, (8, 12)), 2, 0.2)
    with open_frames(tmp_path / "out.avi") as frames:
        first, wide, tall = (frame.image for frame in frames)
    assert first.shape == wide.shape == tall.shape == (48, 64, 3)
    assert number_of(wide[:14]) == 19 and wide[20:].max() < 20
    assert number_of(tall[:, :30]) == 19 and tall[:, 36:].max() < 20


def test_an_interrupted_video_is_whole_up_to_there(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        with open_writer(tmp_path / "out.mp4", 10) as writer:
            for number in range(7):
                writer.write(make_frame(number), number, number / 10)
            raise KeyboardInterrupt
    with open_frames(tmp_path / "out.mp4") as frames:
        assert len(list(frames)) == 7


@pytest.mark.parametrize("name", ["out.mp4", "out.json", "out.txt", "out.csv"])
def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path, name):
    path = tmp_path / name
    path.write_text("old")
    opened = open_writer(path, 10) if name == "out.mp4" else open_results(path)
    with opened as writer:
        assert path.read_text() == "old"
        if name == "out.mp4":
            writer.write(make_frame(0), 0, 0.0)
        else:
            writer.write(some_tracks(0))
        assert path.read_text() == "old"
    assert path.read_bytes() != b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["out.mp4", "out.json"])
def test_nothing_is_touched_without_frames(tmp_path, name):
    (tmp_path / name).write_text("old")
    with open_writer(tmp_path / name, 10) if name == "out.mp4" else open_results(tmp_path / name):
        pass
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(name, "old")]


@pytest.mark.parametrize("name", ["out.mp4", "out.avi", "out.webm"])
def test_a_video_that_can_not_be_written_to_its_end_has_no_name(tmp_path, name):
    noise = np.random.default_rng(0)
    with raises(OSError, name), no_file_above(200_000), open_writer(tmp_path / name, 10) as writer:
        for number in range(200):
            writer.write(noise.integers(0, 255, (240, 320, 3), dtype=np.uint8), number, number / 10)
    assert not (tmp_path / name).exists()


def test_unknown_extensions_name_the_known_ones(tmp_path):
    with raises(ValueError, ".gif", ".mp4", ".webm"):
        open_writer(tmp_path / "out.gif", 10)
    with raises(ValueError, ".xml", ".cocovid.json", ".json", ".txt", ".csv"):
        open_results(tmp_path / "out.xml")
    with raises(ValueError, 0):
        open_writer(tmp_path / "out.mp4", 0)


@pytest.mark.parametrize("opener", [lambda path: open_writer(path, 10), open_results])
def test_places_that_can_not_be_written(tmp_path, opener):
    (tmp_path / "file").write_text("in the way")
    ending = ".mp4" if opener is not open_results else ".json"
    with raises(NotADirectoryError, tmp_path / "file"):
        opener(tmp_path / "file" / f"out{ending}")
    made = tmp_path / "made" / "deep" / f"out{ending}"
    opener(made)
    assert made.parent.is_dir()


def test_results_into_a_folder(tmp_path):
    (tmp_path / "a.json").mkdir()
    with raises(IsADirectoryError, "a.json"):
        open_results(tmp_path / "a.json")


def some_tracks(index: int, count: int = 2) -> FrameTracks:
    boxes = np.array([[1.5, 2, 11.25, 22], [30, 40, 30, 45]], dtype=np.float32)[:count]
    ids, scores = np.array([7, 3])[:count], np.array([0.75, 0.5], dtype=np.float32)[:count]
    return FrameTracks(index, index / 10, f"f{index}", make_frame(index), boxes, ids, scores)


def write_results(path, counts=(2, 0, 1)):
    with open_results(path) as writer:
        for index, count in enumerate(counts):
            writer.write(some_tracks(5 * index, count))


def test_tao_json(tmp_path):
    write_results(tmp_path / "r.json")
    common = dict(category_id=1, video_id=1)
    assert json.loads((tmp_path / "r.json").read_text()) == [
        dict(common, image_id=0, bbox=[1.5, 2, 9.75, 20], score=0.75, track_id=7),
        dict(common, image_id=0, bbox=[30, 40, 0, 5], score=0.5, track_id=3),
        dict(common, image_id=10, bbox=[1.5, 2, 9.75, 20], score=0.75, track_id=7),
    ]


def test_files_to_the_byte(tmp_path):
    for ending in RESULT_EXTENSIONS:
        write_results(tmp_path / f"r{ending}", counts=(0, 1, 2))
    assert (tmp_path / "r.json").read_text() == (
        '[\n{"image_id": 5, "video_id": 1, "category_id": 1, "track_id": 7, "bbox": [1.5, 2.0, 9.75, 20.0], "score": 0.75}'
        ',\n{"image_id": 10, "video_id": 1, "category_id": 1, "track_id": 7, "bbox": [1.5, 2.0, 9.75, 20.0], "score": 0.75}'
        ',\n{"image_id": 10, "video_id": 1, "category_id": 1, "track_id": 3, "bbox": [30.0, 40.0, 0.0, 5.0], "score": 0.5}'
        "\n]\n"
    )
    assert (tmp_path / "r.txt").read_text().splitlines()[0] == "6,8,1.5,2.0,9.75,20.0,0.75,-1,-1,-1"
    assert (tmp_path / "r.csv").read_text().splitlines()[:2] == [
        "frame,time,name,track_id,x,y,width,height,score",
        "5,0.5,f5,7,1.5,2.0,9.75,20.0,0.75",
    ]
    lines = (tmp_path / "r.cocovid.json").read_text().splitlines()
    assert lines[:4] == [
        '{"videos": [{"id": 1, "name": "r", "height": 48, "width": 64}],',
        '"categories": [{"id": 1, "name": "object"}],',
        '"annotations": [',
        '{"id": 1, "instance_id": 8, "track_id": 8, "image_id": 6, "video_id": 1, "category_id": 1, "iscrowd": 0, '
        '"bbox": [1.5, 2.0, 9.75, 20.0], "area": 195.0, "score": 0.75},',
    ]
    assert lines[6:9] == [
        "],",
        '"images": [',
        '{"id": 1, "video_id": 1, "frame_id": 0, "file_name": "000000.jpg", "time": 0.0, "height": 48, "width": 64},',
    ]
    assert lines[-1] == "]}" and len(lines) == 12


def test_what_a_demo_writes_an_evaluation_reads(tmp_path):
    write_results(tmp_path / "r.json")
    results = load_results(tmp_path / "r.json")
    assert results.image_id.tolist() == [0, 0, 10] and results.track_id.tolist() == [7, 3, 7]
    assert results.bbox.tolist()[:2] == [[1.5, 2, 9.75, 20], [30, 40, 0, 5]] and set(results.video_id) == {1}


def test_mot_text(tmp_path):
    write_results(tmp_path / "r.txt")
    assert (tmp_path / "r.txt").read_text().splitlines() == [
        "1,8,1.5,2.0,9.75,20.0,0.75,-1,-1,-1",
        "1,4,30.0,40.0,0.0,5.0,0.5,-1,-1,-1",
        "11,8,1.5,2.0,9.75,20.0,0.75,-1,-1,-1",
    ]


def test_csv(tmp_path):
    write_results(tmp_path / "r.csv")
    with open(tmp_path / "r.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["time"], row["name"], row["track_id"]) for row in rows] == [
        ("0", "0.0", "f0", "7"),
        ("0", "0.0", "f0", "3"),
        ("10", "1.0", "f10", "7"),
    ]
    assert [float(rows[1][key]) for key in ("x", "y", "width", "height", "score")] == [30, 40, 0, 5, 0.5]


def test_coco_vid_as_pycocotools_reads_it(tmp_path):
    write_results(tmp_path / "clip.cocovid.json")
    assert [file.name for file in tmp_path.iterdir()] == ["clip.cocovid.json"]
    coco = COCO(tmp_path / "clip.cocovid.json")
    assert coco.dataset["videos"] == [dict(id=1, name="clip", height=48, width=64)]
    images = coco.loadImgs([1, 6, 11])
    place = [(image["frame_id"], image["video_id"], image["file_name"], image["time"]) for image in images]
    assert place == [
        (0, 1, "000000.jpg", 0.0),
        (5, 1, "000005.jpg", 0.5),
        (10, 1, "000010.jpg", 1.0),
    ]
    assert [len(coco.getAnnIds(imgIds=image["id"])) for image in images] == [2, 0, 1]
    first, second, third = coco.loadAnns([1, 2, 3])
    assert (first["instance_id"], second["instance_id"], third["instance_id"]) == (8, 4, 8)
    assert (second["bbox"], second["area"], second["score"]) == ([30, 40, 0, 5], 0, 0.5)
    assert coco.loadCats(first["category_id"]) == [dict(id=1, name="object")]


def test_names_are_written_where_there_are_some(tmp_path):
    tracks = some_tracks(0)
    tracks.names, tracks.name_scores = ["red, ball", ""], np.array([0.25, 0.0])
    for ending in (".json", ".csv", ".cocovid.json"):
        with open_results(tmp_path / f"r{ending}") as writer:
            writer.write(tracks)
    with open(tmp_path / "r.csv", newline="") as file:
        rows = [(row["track_id"], row["label"], row["label_score"]) for row in csv.DictReader(file)]
    assert rows == [("7", "red, ball", "0.25"), ("3", "", "")]
    tao = json.loads((tmp_path / "r.json").read_text())
    coco = json.loads((tmp_path / "r.cocovid.json").read_text())["annotations"]
    for named, unnamed in (tao, coco):
        assert (named["name"], named["name_score"]) == ("red, ball", 0.25) and "name" not in unnamed
    assert tracks.above(0.6).names == ["red, ball"] and tracks.above(0.6).name_scores.tolist() == [0.25]


def test_coco_vid_has_the_video_the_files_and_the_words(tmp_path):
    tracks = some_tracks(0)
    tracks.names, tracks.name_scores, tracks.file = ["dog", ""], np.array([0.5, 0.0]), "left/a.png"
    with open_results(tmp_path / "r.cocovid.json", video="clip.mp4", words=["cat", "object", "dog"]) as writer:
        writer.write(tracks)
    coco = COCO(tmp_path / "r.cocovid.json")
    assert coco.dataset["videos"][0]["name"] == "clip.mp4" and coco.loadImgs([1])[0]["file_name"] == "left/a.png"
    assert coco.loadCats(coco.getCatIds()) == [
        dict(id=1, name="object"),
        dict(id=2, name="cat"),
        dict(id=3, name="dog"),
    ]
    assert [entry["category_id"] for entry in coco.loadAnns([1, 2])] == [3, 1]


@pytest.mark.parametrize("ending", RESULT_EXTENSIONS)
def test_names_of_any_bytes_make_files_that_load(tmp_path, ending):
    odd = b'v\xff "a",\nb'.decode("utf-8", "surrogateescape")
    tracks = some_tracks(0)
    tracks.name = tracks.file = odd
    with open_results(tmp_path / f"{odd}{ending}", video=odd) as writer:
        writer.write(tracks)
    text = next(tmp_path.iterdir()).read_text(encoding="utf-8")
    if ending == ".csv":
        assert [row["name"] for row in csv.DictReader(text.splitlines(keepends=True))] == ['v\\udcff "a",\nb'] * 2
    elif ending == ".cocovid.json":
        found = json.loads(text)
        # the bytes of the file come back
        assert (
            os.fsencode(found["images"][0]["file_name"]) == os.fsencode(odd) == os.fsencode(found["videos"][0]["name"])
        )
    else:
        assert len(json.loads(text) if ending == ".json" else text.splitlines()) == 2


@pytest.mark.parametrize("ending", RESULT_EXTENSIONS)
def test_results_on_a_full_disk_keep_the_frames_before(tmp_path, ending):
    path = tmp_path / f"r{ending}"
    with raises(OSError, path) as caught:
        with open_results(path) as writer, no_file_above(5000):
            for index in range(1000):
                writer.write(some_tracks(index))
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == [path]
    text = path.read_text()
    if ending == ".json":
        frames = {row["image_id"] for row in json.loads(text)}
    elif ending == ".cocovid.json":
        frames = {row["image_id"] - 1 for row in json.loads(text)["annotations"]}
    else:
        lines = text.splitlines()[ending == ".csv" :]
        assert text.endswith("\n") and len({line.count(",") for line in lines}) == 1
        frames = {int(line.split(",")[0]) - (ending == ".txt") for line in lines}
    assert frames == set(range(writer.frames)) and writer.frames > 10
    assert_says(caught.value, writer.frames)


def test_a_coco_vid_file_that_can_not_be_joined_reports_where_its_parts_are(tmp_path):
    with pytest.raises(OSError) as caught:
        with open_results(tmp_path / "r.cocovid.json") as writer:
            for index in range(10):
                writer.write(some_tracks(index))
            size = next(tmp_path.glob(".partial-*-r.cocovid.json")).stat().st_size
            with no_file_above(size + 100):
                writer.close()
    parts = sorted(tmp_path.iterdir())
    assert len(parts) == 2 and all(str(part) in str(caught.value) for part in parts)
    assert len(json.loads(parts[1].read_text())["annotations"]) == 20


def test_a_folder_on_a_full_disk_keeps_whole_images(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    with open_writer(tmp_path / "out", 10) as writer:
        writer.write(picture[:16, :16], 0, 0.0)
        with no_file_above(2000), pytest.raises(DiskFullError) as caught:
            writer.write(picture, 1, 0.1)
    assert str(tmp_path / "out" / "000001.jpg") in str(caught.value)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["000000.jpg"]


FILL = """
import os, sys, cv2, numpy as np
from effowt_d2.video import open_writer
assert "effowt_d2.engine" not in sys.modules, "the engine is only for who asks for VideoTracker"
rng = np.random.default_rng(0)
for path in sys.argv[1:]:
    try:
        with open_writer(path, 10) as writer:
            for index in range(1000):
                writer.write(rng.integers(0, 255, (240, 320, 3), dtype=np.uint8), index, index / 10)
    except OSError as error:
        print(error)
        capture, count = cv2.VideoCapture(path), 0
        while capture.grab():
            count += 1
        print(writer.frames, count)
        capture.release()
    os.unlink(path)
"""


@pytest.mark.slow
def test_a_video_on_a_full_disk_is_whole_up_to_there(tmp_path):
    # a disk of its own, small enough to fill: a file system in memory, in a namespace of the child's
    outputs = f"{tmp_path}/out.mp4 {tmp_path}/out.avi"
    mount = f"mount -t tmpfs -o size=20m none {tmp_path} && exec {sys.executable} -c '{FILL}' {outputs}"
    try:
        done = subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, text=True, timeout=300)
    except FileNotFoundError:
        pytest.skip("unshare, which makes a file system for the test, is not installed")
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no file system can be made here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    assert len(lines) == 4
    for message, counts in (lines[:2], lines[2:]):
        written, found = map(int, counts.split())
        assert "only 15 MiB left on the disk, 16 are needed" in message and f"ends after {written} frames" in message
        assert found == written > 10


@pytest.mark.parametrize("ending", RESULT_EXTENSIONS)
def test_frames_without_tracks_make_a_sound_file(tmp_path, ending):
    write_results(tmp_path / f"r{ending}", counts=(0, 0))
    text = (tmp_path / f"r{ending}").read_text()
    if ending == ".cocovid.json":
        document = json.loads(text)
        assert document["annotations"] == [] and [image["id"] for image in document["images"]] == [1, 6]
    elif ending == ".json":
        assert json.loads(text) == []
    else:
        assert len(text.splitlines()) == (ending == ".csv")


def test_tracks_above_a_score():
    kept = some_tracks(0).above(0.75)
    assert kept.ids.tolist() == [7] and kept.boxes.shape == (1, 4) and kept.scores.tolist() == [0.75]
