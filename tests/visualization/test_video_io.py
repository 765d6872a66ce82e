"""Readers: every source, what is chosen from it, and what is wrong with it."""

import os

import cv2
import numpy as np
import pytest
from effowt_d2.visualization import open_frames

from made_videos import make_folder, make_frame, make_video, number_of


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
    folder = make_folder(tmp_path / "frames", 12, ending=".jpg" if request.param == "jpg folder" else ".png")
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


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_corrupt_images_are_skipped_and_counted(tmp_path, ending):
    folder = make_folder(tmp_path / "f", 5, ending=ending)
    whole = (folder / f"frame1{ending}").read_bytes()
    (folder / f"frame1{ending}").write_bytes(whole[: len(whole) * 3 // 4])
    (folder / f"frame3{ending}").write_bytes(b"")
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
    cases = ((dict(), left, 2), (dict(end=0.6), left[:5], 1), (dict(start=0.5), left[4:], 2))
    for choice, expected, skipped in cases:
        with open_frames(path, **choice) as frames:
            assert [(frame.index, number_of(frame.image)) for frame in frames] == [(n, n) for n in expected]
            assert frames.skipped == skipped


def test_a_video_cut_short_gives_what_is_there(tmp_path):
    path = make_video(tmp_path / "v.avi", 12, size=(320, 240))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_frames(path) as frames:
        read = [number_of(frame.image) for frame in frames]
        assert frames.skipped == 12 - len(read)
    assert 2 <= len(read) < 12
    assert read == list(range(len(read)))


def test_what_can_not_be_opened(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("this is not a video\n" * 100)
    with pytest.raises(ValueError, match="text.mp4 can't be opened as a video"):
        open_frames(text)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no images"):
        open_frames(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="nowhere.mp4"):
        open_frames(tmp_path / "nowhere.mp4")
    with pytest.raises(FileNotFoundError, match="no glob that matches"):
        open_frames(str(tmp_path / "*.jpg"))
    with pytest.raises(ValueError, match="list of input images is empty"):
        open_frames([])
    folder = make_folder(tmp_path / "f", 1)
    with pytest.raises(FileNotFoundError, match="gone.png"):
        open_frames([folder / "frame0.png", folder / "gone.png"])
    with pytest.raises(ValueError, match="text.mp4 is not an image"):
        open_frames([folder / "frame0.png", text])


def test_a_video_without_frames(tmp_path):
    path = make_video(tmp_path / "v.avi", 1)
    data = path.read_bytes()
    start = data.index(b"movi")
    (tmp_path / "none.avi").write_bytes(data[:start] + b"movi")
    with pytest.raises(ValueError, match="none.avi (is a video without frames|can't be opened)"):
        open_frames(tmp_path / "none.avi")


@pytest.mark.parametrize(
    "choice, message",
    [
        (dict(stride=0), "stride must be at least 1, got 0"),
        (dict(start=-1.0), "needs 0 <= start < end"),
        (dict(start=2.0, end=1.0), "needs 0 <= start < end"),
        (dict(start=5.0), "no frame from 5.0 s"),
        (dict(fps=0.0), "frames per second must be above 0"),
    ],
)
def test_bad_choices(tmp_path, choice, message):
    with pytest.raises(ValueError, match=message):
        open_frames(make_folder(tmp_path / "f", 3), **choice)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_video(tmp_path):
    path = make_video(tmp_path / "v.avi", 1)
    path.chmod(0)
    with pytest.raises(PermissionError, match="v.avi is not readable"):
        open_frames(path)


def test_a_missing_webcam():
    with pytest.raises(ValueError, match="webcam 97 can't be opened"):
        open_frames("97")


def test_numbers_in_names_sort_as_numbers(tmp_path):
    for name in ("b2.png", "b10.png", "a3.png", "b.png", "1.png"):
        cv2.imwrite(str(tmp_path / name), make_frame(0))
    with open_frames(tmp_path) as frames:
        assert [frame.name for frame in frames] == ["1", "a3", "b", "b2", "b10"]
