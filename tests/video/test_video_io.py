"""Readers: every source, what is chosen from it, and what is wrong with it."""

import itertools
import os
import time

import cv2
import numpy as np
import pytest
from helpers.made_mkv import hide_frame, set_times
from helpers.made_mp4 import set_durations, turn_right
from helpers.made_videos import make_folder, make_frame, make_video, number_of
from helpers.messages import raises

from effowt_d2.video import open_frames
from effowt_d2.video.camera_reader import CameraReader


def numbers(source, **choice) -> list[int]:
    with open_frames(source, **choice) as frames:
        read = [(frame.index, number_of(frame.image)) for frame in frames]
        assert len(read) == frames.length - frames.skipped
    assert all(index == number for index, number in read)
    return [index for index, _ in read]


@pytest.fixture(params=["avi", "mp4", "folder", "jpg folder", "glob", "list"])
def source(request, tmp_path):
    """Twelve frames at 10 frames per second."""
    if request.param in ("avi", "mp4"):
        codec = "MJPG" if request.param == "avi" else "mp4v"
        return make_video(tmp_path / f"v.{request.param}", 12, codec=codec)
    folder = make_folder(tmp_path / "frames", 12, extension=".jpg" if request.param == "jpg folder" else ".png")
    if request.param == "glob":
        return str(folder / "*.png")
    if request.param == "list":
        return [folder / f"frame{number}.png" for number in range(12)]
    return folder


def test_every_source_gives_every_frame_in_order(source):
    assert numbers(source) == list(range(12))


@pytest.mark.parametrize(
    "choice, expected",
    [
        (dict(stride=5), [0, 5, 10]),
        (dict(start=0.3), list(range(3, 12))),
        (dict(end=0.3), [0, 1, 2]),
        (dict(start=0.25, end=0.75, stride=2), [3, 5, 7]),
        (dict(end=99.0, stride=100), [0]),
    ],
)
def test_stride_and_time_range_choose_frames(source, choice, expected):
    with open_frames(source) as frames:
        fps = dict(fps=10.0) if frames.fps == 30 else {}
    assert numbers(source, **choice, **fps) == expected


@pytest.mark.parametrize("size", [(64, 48), (48, 64), (65, 47), (2, 2), (640, 16)])
def test_sizes_of_videos(tmp_path, size):
    with open_frames(make_video(tmp_path / "v.avi", 3, size)) as frames:
        shapes = [frame.image.shape for frame in frames]
    # OpenCV's own writer drops the odd row and column
    assert shapes == [(size[1] // 2 * 2, size[0] // 2 * 2, 3)] * 3


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (33, 17)])
def test_sizes_of_images(tmp_path, size):
    with open_frames(make_folder(tmp_path / "f", 2, size)) as frames:
        assert [frame.image.shape for frame in frames] == [(size[1], size[0], 3)] * 2


def test_times_of_a_variable_frame_rate_are_those_of_the_container(tmp_path):
    durations = [0.1] * 6 + [0.4] * 6
    path = set_durations(make_video(tmp_path / "v.mp4", 12, codec="mp4v"), durations)
    times = np.cumsum([0, *durations[:-1]])
    with open_frames(path) as frames:
        assert frames.fps == pytest.approx(12 / 3.0)
        read = [(frame.index, number_of(frame.image), frame.time) for frame in frames]
        assert frames.skipped == 0
    assert [(index, number) for index, number, _ in read] == [(n, n) for n in range(12)]
    assert [time for _, _, time in read] == pytest.approx(times.tolist(), abs=1e-3)
    # a range is one of times: at a mean of 4 frames a second it would be frames 2 to 5
    with open_frames(path, start=0.5, end=1.4) as frames:
        assert [frame.index for frame in frames] == [5, 6, 7]


@pytest.mark.parametrize("extension, codec", [("mkv", "mp4v"), ("webm", "VP80")])
def test_a_container_without_a_count_is_counted(tmp_path, extension, codec):
    times = [0.0, 0.03, 0.1, 0.5, 0.6, 0.63, 1.3, 1.8, 2.2, 2.9, 3.0, 3.3]
    path = set_times(make_video(tmp_path / f"v.{extension}", 12, codec=codec), times, rate=30)
    nominal = cv2.VideoCapture(str(path))
    assert (nominal.get(cv2.CAP_PROP_FPS), nominal.get(cv2.CAP_PROP_FRAME_COUNT)) == (30, 100)
    with open_frames(path) as frames:
        assert frames.fps == pytest.approx(11 / 3.3) and frames.length == 12
        read = [(number_of(frame.image), frame.time) for frame in frames]
        assert frames.skipped == 0
    assert read == [(number, pytest.approx(moment, abs=1e-3)) for number, moment in enumerate(times)]


def test_packets_without_an_image_are_no_loss(tmp_path):
    path = hide_frame(make_video(tmp_path / "v.webm", 12, codec="VP80"), 5)
    with open_frames(path) as frames:
        assert len(list(frames)) == 11
        assert frames.skipped == 0 and frames.hidden == 1 and frames.fps == 10


@pytest.mark.parametrize("extension, codec", [("avi", "MJPG"), ("mp4", "mp4v"), ("mkv", "mp4v")])
@pytest.mark.parametrize("fps", [29.97, 24.0])
def test_times_of_a_constant_frame_rate(tmp_path, extension, codec, fps):
    path = make_video(tmp_path / f"v.{extension}", 15, fps=fps, codec=codec)
    with open_frames(path, start=5 / fps, end=11 / fps) as frames:
        read = [(frame.index, frame.time) for frame in frames]
        assert frames.fps == pytest.approx(fps, rel=1e-5)
    assert [index for index, _ in read] == [5, 6, 7, 8, 9, 10]
    assert [time for _, time in read] == pytest.approx([index / fps for index, _ in read], abs=1.1e-3)


def test_a_turned_video_comes_as_it_is_shown(tmp_path):
    path = tmp_path / "v.mp4"
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, :16] = 255
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for _ in range(3):
        writer.write(picture)
    writer.release()
    with open_frames(turn_right(path)) as frames:
        images = [frame.image for frame in frames]
    assert [image.shape for image in images] == [(64, 48, 3)] * 3
    # what was on the left is on top
    assert images[0][:12].min() > 200 and images[0][20:].max() < 50


@pytest.mark.parametrize("kind", ["list", "stack", "generator"])
def test_arrays_are_a_source(kind):
    arrays = [make_frame(number) for number in range(12)]
    sources = {"list": arrays, "stack": np.stack(arrays), "generator": (array for array in arrays)}
    with open_frames(sources[kind], stride=4, start=0.1, fps=10) as frames:
        read = [(frame.index, number_of(frame.image), frame.name, frame.time) for frame in frames]
        assert frames.length == (None if kind == "generator" else 3)
    assert read == [(n, n, f"{n:06d}", pytest.approx(n / 10)) for n in (1, 5, 9)]


@pytest.mark.parametrize(
    "array, data",
    [
        (np.zeros((4, 5), np.uint8), (1, "(4, 5)", "uint8", "(H, W, 3)")),
        (np.zeros((4, 5, 3)), (1, "float64", "uint8", "(H, W, 3)")),
        (np.zeros((0, 5, 3), np.uint8), (1, "(0, 5, 3)")),
        ("frame.png", (1, "str")),
    ],
)
def test_arrays_that_are_no_frames_are_reported(array, data):
    with open_frames([make_frame(0), array]) as frames, raises(ValueError, *data):
        list(frames)


def test_fps_comes_from_the_video_and_from_the_option_for_images(tmp_path):
    with open_frames(make_video(tmp_path / "v.avi", 3, fps=25)) as frames:
        assert frames.fps == 25
    folder = make_folder(tmp_path / "f", 2)
    with open_frames(folder) as frames, open_frames(folder, fps=4) as slow:
        assert (frames.fps, slow.fps) == (30, 4)


def test_grey_and_transparent_images_become_bgr(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 5), 77, np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), np.full((4, 5, 4), 77, np.uint8))
    with open_frames(str(tmp_path / "*.png")) as frames:
        assert [(frame.image.shape, frame.image.dtype.name) for frame in frames] == [((4, 5, 3), "uint8")] * 2


@pytest.mark.parametrize("extension", [".png", ".jpg"])
def test_corrupt_images_are_skipped_and_counted(tmp_path, extension):
    folder = make_folder(tmp_path / "f", 5, extension=extension)
    whole = (folder / f"frame1{extension}").read_bytes()
    (folder / f"frame1{extension}").write_bytes(whole[: len(whole) * 3 // 4])
    (folder / f"frame3{extension}").write_bytes(b"")
    with open_frames(folder) as frames:
        assert [frame.index for frame in frames] == [0, 2, 4]
        assert frames.skipped == 2


def test_a_jpeg_with_a_whole_thumbnail_before_the_cut_is_still_seen_as_cut(tmp_path):
    rng = np.random.default_rng(0)
    data = cv2.imencode(".jpg", rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))[1].tobytes()
    thumbnail = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    with_thumbnail = data[:2] + segment + data[2:]
    (tmp_path / "0.jpg").write_bytes(with_thumbnail)
    (tmp_path / "1.jpg").write_bytes(with_thumbnail[:-500])
    (tmp_path / "2.jpg").write_bytes(with_thumbnail + b"more")
    with open_frames(tmp_path) as frames:
        assert [frame.index for frame in frames] == [0, 2]
        assert frames.skipped == 1


def test_corrupt_frames_in_a_video_are_skipped_and_counted(tmp_path):
    path = make_video(tmp_path / "v.avi", 12, size=(320, 240))
    data = bytearray(path.read_bytes())
    starts = [place for place in range(len(data)) if data[place : place + 3] == b"\xff\xd8\xff"]
    assert len(starts) == 12
    for number in (4, 7):
        data[starts[number] : starts[number] + 300] = bytes(300)
    path.write_bytes(data)
    left = [0, 1, 2, 3, 5, 6, 8, 9, 10, 11]
    cases = ((dict(), left, 2), (dict(end=0.6), left[:5], 1), (dict(start=0.5), left[4:], 1))
    for choice, expected, skipped in cases:
        with open_frames(path, **choice) as frames:
            assert [(frame.index, number_of(frame.image)) for frame in frames] == [(n, n) for n in expected]
            assert frames.skipped == skipped


def test_a_video_cut_short_gives_what_is_there(tmp_path):
    path = make_video(tmp_path / "v.avi", 12, size=(320, 240))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    with open_frames(path) as frames:
        read = [number_of(frame.image) for frame in frames]
        assert frames.skipped == 12 - len(read)
    assert 2 <= len(read) < 12
    assert read == list(range(len(read)))


def test_a_matroska_video_cut_short_counts_what_is_missing(tmp_path):
    path = make_video(tmp_path / "v.mkv", 12, size=(320, 240), codec="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    read = numbers(path)
    assert read == list(range(len(read))) and 2 <= len(read) < 12
    with open_frames(path) as frames:
        assert 12 - len(list(frames)) == frames.skipped and frames.length == 12


def test_a_corrupt_frame_in_matroska_is_skipped_and_counted(tmp_path):
    path = make_video(tmp_path / "v.mkv", 12, size=(320, 240), codec="MJPG")
    data = bytearray(path.read_bytes())
    starts = [place for place in range(len(data)) if data[place : place + 3] == b"\xff\xd8\xff"]
    assert len(starts) == 12
    data[starts[4] : starts[4] + 300] = bytes(300)
    path.write_bytes(data)
    with open_frames(path) as frames:
        assert [number_of(frame.image) for frame in frames] == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]
        assert frames.skipped == 1


def test_what_can_not_be_opened(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("this is not a video\n" * 100)
    with raises(ValueError, text):
        open_frames(text)
    (tmp_path / "empty").mkdir()
    with raises(ValueError, tmp_path / "empty"):
        open_frames(tmp_path / "empty")
    with raises(FileNotFoundError, "nowhere.mp4"):
        open_frames(tmp_path / "nowhere.mp4")
    with raises(FileNotFoundError, tmp_path / "*.jpg"):
        open_frames(str(tmp_path / "*.jpg"))
    with raises(ValueError, "empty"):
        open_frames([])
    folder = make_folder(tmp_path / "f", 1)
    with raises(FileNotFoundError, "gone.png"):
        open_frames([folder / "frame0.png", folder / "gone.png"])
    with raises(ValueError, text):
        open_frames([folder / "frame0.png", text])


def test_a_video_without_frames(tmp_path):
    path = make_video(tmp_path / "v.avi", 1)
    data = path.read_bytes()
    start = data.index(b"movi")
    (tmp_path / "none.avi").write_bytes(data[:start] + b"movi")
    with raises(ValueError, "none.avi"):
        open_frames(tmp_path / "none.avi")


@pytest.mark.parametrize(
    "choice, data",
    [
        (dict(stride=0), ("stride", 0)),
        (dict(start=-1.0), ("start", -1.0)),
        (dict(start=2.0, end=1.0), ("start", "end", 2.0, 1.0)),
        (dict(start=5.0), (5.0,)),
        (dict(fps=0.0), (0.0,)),
    ],
)
def test_bad_choices(tmp_path, choice, data):
    with raises(ValueError, *data):
        open_frames(make_folder(tmp_path / "f", 3), **choice)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_video(tmp_path):
    path = make_video(tmp_path / "v.avi", 1)
    path.chmod(0)
    with raises(PermissionError, path):
        open_frames(path)


@pytest.mark.parametrize("source", ["97", 97])
def test_a_missing_camera(source, capfd):
    with raises(ValueError, 97):
        open_frames(source)
    assert capfd.readouterr().err == ""


def test_numbers_in_names_sort_as_numbers(tmp_path):
    for name in ("b2.png", "b10.png", "a3.png", "b.png", "1.png"):
        cv2.imwrite(str(tmp_path / name), make_frame(0))
    with open_frames(tmp_path) as frames:
        assert [frame.name for frame in frames] == ["1", "a3", "b", "b2", "b10"]


def test_the_clock_of_a_camera_starts_with_the_reading(tmp_path):
    # OpenCV opens files and cameras alike
    with CameraReader(str(make_video(tmp_path / "v.avi", 3)), stride=1, start=0.0, end=0.3) as frames:
        # a model is built
        time.sleep(0.4)
        times = [frame.time for frame in itertools.islice(frames, 3)]
    assert len(times) == 3 and 0 <= times[0] < 0.1


def test_a_video_is_read_once(tmp_path):
    path = make_video(tmp_path / "v.avi", 3)
    with open_frames(path) as frames:
        assert len(list(frames)) == 3
        with raises(RuntimeError, path):
            iter(frames)
    closed = open_frames(path)
    closed.close()
    with raises(RuntimeError, path):
        list(closed)


def test_a_stop_ends_the_frames_and_the_search_for_them(tmp_path):
    path = make_video(tmp_path / "v.avi", 12)
    asked = []
    with open_frames(path, stop=lambda: len(asked) == 3) as frames:
        for frame in frames:
            asked.append(frame.index)
        assert asked == [0, 1, 2] and frames.skipped == 0
    # before the first frame, while the file is read through
    with raises(InterruptedError, "v.avi"):
        open_frames(path, start=0.5, stop=lambda: True)
