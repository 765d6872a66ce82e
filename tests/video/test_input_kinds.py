"""Every kind of input: the number of its frames, their order, times and sizes."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.made_media import encode, join
from helpers.made_mp4 import turn_right
from helpers.made_videos import make_frame, make_video, number_of
from PIL import Image

from effowt_d2.video import open_frames

VARYING = [0.0, 0.03, 0.1, 0.5, 0.6, 0.63, 1.3, 1.8, 2.2, 2.9, 3.0, 3.3]
CASES = Path(__file__).parents[3] / "shared/cases/video"

# file name, arguments of the encoder
VIDEOS = {
    "mp4, H.264": ("v.mp4", {}),
    "mp4, frames out of order": ("v.mp4", dict(b_frames=True)),
    "mp4, index first": ("v.mp4", dict(options={"movflags": "faststart"})),
    "mp4, fragments": ("v.mp4", dict(options={"movflags": "frag_keyframe+empty_moov"})),
    "mp4, HEVC of 10 bits": ("v.mp4", dict(codec="libx265", pix_fmt="yuv420p10le")),
    "mp4, AV1": ("v.mp4", dict(codec="libsvtav1")),
    "mp4, MPEG-4": ("v.mp4", dict(codec="mpeg4")),
    "mp4, varying rate": ("v.mp4", dict(times=VARYING)),
    "mp4, varying rate, frames out of order": ("v.mp4", dict(times=VARYING, b_frames=True)),
    "mp4, a frame every 2 s": ("v.mp4", dict(fps=0.5)),
    "mp4, 240 a second": ("v.mp4", dict(fps=240)),
    "mp4, 1000 a second": ("v.mp4", dict(fps=1000)),
    "mp4, wide pixels": ("v.mp4", dict(pixel_shape=Fraction(4, 3), shown=(85, 48))),
    "mp4, name with a colon": ("a:b.mp4", {}),
    "mp4, name with a pattern": ("v%03d.mp4", {}),
    "mp4, name of no encoding": (b"v\xff\xfe.mp4".decode("utf-8", "surrogateescape"), {}),
    "mp4, name like an address": ("http:v.mp4", {}),
    "mov, H.264": ("v.mov", dict(b_frames=True)),
    "mov, PNG": ("v.mov", dict(codec="png", pix_fmt="rgb24")),
    "mov, ProRes of 10 bits": ("v.mov", dict(codec="prores_ks", pix_fmt="yuv422p10le")),
    "mkv, H.264": ("v.mkv", dict(b_frames=True)),
    "mkv, varying rate": ("v.mkv", dict(times=VARYING)),
    "mkv, 29.97 a second": ("v.mkv", dict(fps=30000 / 1001)),
    "mkv, high pixels": ("v.mkv", dict(pixel_shape=Fraction(1, 2), shown=(64, 96))),
    "mkv, FFV1 of odd size": ("v.mkv", dict(codec="ffv1", size=(65, 47), pix_fmt="yuv444p")),
    "mkv, FFV1 of 16-bit grey": ("v.mkv", dict(codec="ffv1", pix_fmt="gray16le")),
    "mkv, MJPEG": ("v.mkv", dict(codec="mjpeg", pix_fmt="yuvj420p")),
    "webm, VP8": ("v.webm", dict(codec="libvpx")),
    "webm, VP9": ("v.webm", dict(codec="libvpx-vp9")),
    "webm, AV1": ("v.webm", dict(codec="libsvtav1")),
    "avi, H.264": ("v.avi", {}),
    "avi, frames out of order": ("v.avi", dict(b_frames=True)),
    "avi, MJPEG": ("v.avi", dict(codec="mjpeg", pix_fmt="yuvj420p")),
    "flv": ("v.flv", dict(b_frames=True)),
    "wmv": ("v.wmv", dict(codec="wmv2")),
    "3gp, H.263 with its wide pixels": ("v.3gp", dict(codec="h263", size=(176, 144), shown=(192, 144))),
    "ts": ("v.ts", dict(b_frames=True)),
    "ts, wide pixels": ("v.ts", dict(pixel_shape=Fraction(4, 3), shown=(85, 48))),
    "mpg": ("v.mpg", dict(codec="mpeg2video", fps=25)),
    "mxf": ("v.mxf", dict(codec="mpeg2video", fps=25)),
    "nut": ("v.nut", {}),
    "ivf": ("v.ivf", dict(codec="libvpx")),
    "raw H.264 with a rate": ("v.h264", dict(b_frames=True)),
    "raw HEVC with a rate": ("v.hevc", dict(codec="libx265")),
    "raw MPEG-2 with a rate": ("v.m2v", dict(codec="mpeg2video", fps=25)),
    "gif": ("v.gif", dict(codec="gif", pix_fmt="rgb8")),
    "apng": ("v.apng", dict(codec="apng", pix_fmt="rgb24")),
}


def read(source, **choice) -> tuple[list[int], list[float], list[tuple[int, int]]]:
    """Numbers, times and sizes of the frames, none of which is lost."""
    with open_frames(source, **choice) as frames:
        given = [(frame.index, number_of(frame.image), frame.time) for frame in frames]
        assert frames.skipped == 0 and frames.length == len(given)
        assert [index for index, _, _ in given] == list(range(given[0][0], given[0][0] + len(given)))
        return [number for _, number, _ in given], [time for _, _, time in given], frames.sizes


@pytest.mark.parametrize("kind", VIDEOS)
def test_a_video_gives_every_frame_at_its_time_in_its_shape(tmp_path, kind):
    name, settings = VIDEOS[kind]
    settings = dict(settings)
    shown = settings.pop("shown", settings.get("size", (64, 48)))
    path = encode(tmp_path / name, **settings)
    times = settings.get("times") or [n / settings.get("fps", 10) for n in range(12)]
    assert read(path) == (list(range(12)), pytest.approx(times, abs=1.1e-3), [shown])
    # the same frames where the reading starts in the middle
    start = (times[6] + times[7]) / 2
    assert read(path, start=start)[:2] == (list(range(7, 12)), pytest.approx(times[7:], abs=1.1e-3))


@pytest.mark.parametrize("name, settings", [("v.ts", {}), ("v.mpg", dict(codec="mpeg2video", fps=25)), ("v.mkv", {})])
def test_the_times_of_a_joined_file_continue(tmp_path, name, settings):
    part = encode(tmp_path / name, **settings)
    numbers, times, _ = read(join(tmp_path / f"joined{part.suffix}", [part, part]))
    assert numbers == [*range(12), *range(12)]
    assert times == pytest.approx([n / settings.get("fps", 10) for n in range(24)], abs=1e-3)
    assert read(tmp_path / f"joined{part.suffix}", start=times[15] - 1e-3)[0] == list(range(3, 12))


def test_frames_of_a_stream_that_changes_its_size_keep_theirs(tmp_path):
    parts = [encode(tmp_path / "a.ts"), encode(tmp_path / "b.ts", size=(32, 48))]
    with open_frames(join(tmp_path / "joined.ts", parts)) as frames:
        shapes = [frame.image.shape for frame in frames]
        assert frames.sizes == [(64, 48), (32, 48)]
        assert any("32x48" in note and "12" in note for note in frames.notes)
    assert shapes == [(48, 64, 3)] * 12 + [(48, 32, 3)] * 12


def test_a_raw_stream_has_the_rate_that_is_given(tmp_path):
    path = encode(tmp_path / "v.h264")
    assert read(path, fps=5)[1] == pytest.approx([n / 5 for n in range(12)])
    assert read(path, fps=5, start=0.5)[0] == list(range(3, 12))
    unknown = encode(tmp_path / "v.mjpeg", codec="mjpeg", pix_fmt="yuvj420p")
    with open_frames(unknown) as frames:
        assert frames.fps == 30 and any("30" in note for note in frames.notes)


def test_a_rate_for_a_video_with_times_is_noted(tmp_path):
    with open_frames(encode(tmp_path / "v.mp4"), fps=5) as frames:
        assert frames.fps == 10 and any("5" in note for note in frames.notes)


def test_a_turned_video_is_upright_and_its_size_that_shown(tmp_path):
    path = turn_right(make_video(tmp_path / "v.mp4", 12, codec="mp4v"))
    assert read(path) == (list(range(12)), pytest.approx([n / 10 for n in range(12)]), [(48, 64)])


STILLS = {
    ".avif": dict(quality=90), ".bmp": {}, ".gif": {}, ".jfif": dict(format="JPEG"), ".jpg": {}, ".pgm": {}, ".png": {},
    ".ppm": {}, ".tif": dict(compression="tiff_lzw"), ".webp": dict(lossless=True),
}  # fmt: skip


@pytest.mark.parametrize("extension", STILLS)
def test_a_folder_of_images(tmp_path, extension):
    for number in range(3):
        picture = Image.fromarray(make_frame(number)).convert("L" if extension == ".pgm" else "RGB")
        picture.save(tmp_path / f"{number}{extension}", **STILLS[extension])
    assert read(tmp_path, fps=10) == ([0, 1, 2], pytest.approx([0, 0.1, 0.2]), [(64, 48)])


ANIMATED = {
    ".avif": dict(save_all=True, quality=90), ".gif": dict(save_all=True), ".png": dict(save_all=True),
    ".webp": dict(save_all=True, lossless=True),
}  # fmt: skip


@pytest.mark.parametrize("extension", ANIMATED)
def test_an_animation_gives_all_frames_at_their_times(tmp_path, extension):
    pictures = [Image.fromarray(make_frame(number)) for number in range(4)]
    path = tmp_path / f"a{extension}"
    pictures[0].save(path, append_images=pictures[1:], duration=[100, 200, 300, 400], **ANIMATED[extension])
    assert read(path) == ([0, 1, 2, 3], pytest.approx([0, 0.1, 0.3, 0.6]), [(64, 48)])
    # among others it lasts as long, the others 1 / fps
    cv2.imwrite(str(tmp_path / "b.bmp"), make_frame(4))
    assert read([path, tmp_path / "b.bmp"], fps=5)[:2] == ([0, 1, 2, 3, 4], pytest.approx([0, 0.1, 0.3, 0.6, 1.0]))


def test_frames_without_a_time_last_as_long_as_in_browsers(tmp_path):
    pictures = [Image.fromarray(make_frame(number)) for number in range(3)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=0)
    assert read(tmp_path / "a.gif")[1] == pytest.approx([0, 0.1, 0.2])


def test_a_tiff_gives_all_pages_but_reduced_copies(tmp_path):
    pictures = [Image.fromarray(make_frame(number)) for number in range(4)]
    pictures[0].save(tmp_path / "a.tif", save_all=True, append_images=pictures[1:])
    assert read(tmp_path / "a.tif", fps=10)[0] == [0, 1, 2, 3]
    # NewSubfileType 1 in the third directory
    small = Image.fromarray(np.zeros((24, 32, 3), np.uint8))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    pictures[0].save(tmp_path / "b.tif", save_all=True, append_images=[pictures[1], small, pictures[2]])
    assert read(tmp_path / "b.tif", fps=10)[0] == [0, 1, 2]


# file, arguments; frames, seconds between them, size, hidden frames
SHARED = {
    "base.mp4": ({}, 20, 0.1, (320, 240), 0),
    "trimmed.mp4": ({}, 14, 0.1, (320, 240), 6),
    "sar.mp4": ({}, 20, 0.1, (512, 288), 0),
    "rot90.mp4": ({}, 20, 0.1, (240, 320), 0),
    "sound.mp4": ({}, 20, 0.1, (320, 240), 0),
    "av1.mp4": ({}, 20, 0.1, (320, 240), 0),
    "raw.h264": (dict(fps=10), 20, 0.1, (320, 240), 0),
    "stack.tif": (dict(fps=10), 6, 0.1, (320, 240), 0),
    "bit16_12bit_signal.png": ({}, 1, 0.1, (320, 240), 0),
    "motion_photo.jpg": ({}, 1, 0.1, (320, 240), 0),
}


@pytest.mark.parametrize("name", SHARED)
def test_inputs_that_failed(name):
    if not (CASES / name).is_file():
        pytest.skip(f"{CASES / name} is not here")
    choice, count, step, size, hidden = SHARED[name]
    with open_frames(CASES / name, **choice) as frames:
        times = [frame.time for frame in frames]
        assert (frames.sizes, frames.skipped, frames.hidden, frames.length) == ([size], 0, hidden, count)
    assert times == pytest.approx([n * step for n in range(count)], abs=1e-3)
