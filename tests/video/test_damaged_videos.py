"""What is missing from a damaged video is counted; what its header claims is not believed."""

import struct

import pytest
from helpers.made_media import cut, encode
from helpers.made_videos import number_of
from helpers.messages import raises

from effowt_d2.video import open_frames

# file name, arguments of the encoder, whether the header says how many frames are missing
CUT = {
    "mp4, index first": ("v.mp4", dict(options={"movflags": "faststart"}), True),
    "mp4, fragments": ("v.mp4", dict(options={"movflags": "frag_keyframe+empty_moov"}), False),
    "avi": ("v.avi", {}, True),
    "avi, MJPEG": ("v.avi", dict(codec="mjpeg", pix_fmt="yuvj420p"), True),
    "mkv": ("v.mkv", {}, True),
    "webm": ("v.webm", dict(codec="libvpx-vp9"), True),
    "flv": ("v.flv", {}, True),
    "ts": ("v.ts", {}, False),
    "wmv": ("v.wmv", dict(codec="wmv2"), False),
    "mxf": ("v.mxf", dict(codec="mpeg2video", fps=25), True),
    "ivf": ("v.ivf", dict(codec="libvpx"), True),
}


@pytest.mark.parametrize("kind", CUT)
def test_a_video_that_is_cut_short(tmp_path, kind):
    name, settings, counted = CUT[kind]
    # large frames, so that the cut is not in the header
    path = cut(encode(tmp_path / name, 40, size=(320, 240), **settings), 0.6)
    with open_frames(path) as frames:
        numbers = [frame.index for frame in frames]
        assert any(str(path) in note for note in frames.notes)
        if counted:
            assert frames.length == 40 and frames.skipped == 40 - len(numbers)
        else:
            assert frames.skipped == frames.length - len(numbers) <= 2
    assert numbers == list(range(len(numbers))) and 2 <= len(numbers) < 40


def test_a_range_before_the_cut_lacks_nothing(tmp_path):
    path = cut(encode(tmp_path / "v.mkv", 40, size=(320, 240)), 0.6)
    with open_frames(path, end=0.5) as frames:
        assert len(list(frames)) == 5 and frames.skipped == 0


@pytest.mark.parametrize("name", ["v.mp4", "v.mov"])
def test_a_video_cut_before_its_index_can_not_be_opened(tmp_path, name):
    path = cut(encode(tmp_path / name, 40), 0.6)
    with raises(ValueError, path):
        open_frames(path)


def test_frames_in_flight_are_not_lost_with_a_damaged_last_one(tmp_path):
    # raw: nothing but the decoder notices the damage
    path = encode(tmp_path / "v.m2v", 20, codec="mpeg2video", fps=25, size=(320, 240))
    data = path.read_bytes()
    last = data.rindex(b"\0\0\1\0")
    path.write_bytes(data[: last + 12])
    with open_frames(path) as frames:
        assert len(list(frames)) == 19 and frames.skipped == 1


def test_frames_that_a_damaged_cluster_swallows_are_counted(tmp_path):
    path = encode(tmp_path / "v.mkv", 30, size=(320, 240), options={"cluster_time_limit": "500"})
    data = bytearray(path.read_bytes())
    middle = data.index(b"\x1f\x43\xb6\x75", len(data) // 2) - 3000
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(data)
    with open_frames(path) as frames:
        given = [(frame.index, frame.time) for frame in frames]
        assert frames.length == 30 and frames.skipped == 30 - len(given) > 0
    assert all(time == pytest.approx(index / 10, abs=1.1e-3) for index, time in given)
    assert given[-1][0] == 29


def _set_avi_length(data: bytearray) -> None:
    data[48:52] = struct.pack("<I", 1000)
    stream = data.index(b"strh") + 8
    data[stream + 32 : stream + 36] = struct.pack("<I", 1000)


def _set_mp4_length(data: bytearray) -> None:
    for box in (b"mvhd", b"mdhd"):
        place = data.index(box) + 4 + 16
        data[place : place + 4] = struct.pack(">I", 1 << 30)


def _set_mkv_length(data: bytearray) -> None:
    place = data.index(b"\x44\x89\x88") + 3
    data[place : place + 8] = struct.pack(">d", 1e9)


@pytest.mark.parametrize(
    "name, lie", [("v.avi", _set_avi_length), ("v.mp4", _set_mp4_length), ("v.mkv", _set_mkv_length)]
)
def test_a_header_that_claims_a_wrong_length(tmp_path, name, lie):
    path = encode(tmp_path / name)
    data = bytearray(path.read_bytes())
    lie(data)
    path.write_bytes(data)
    with open_frames(path) as frames:
        assert [number_of(frame.image) for frame in frames] == list(range(12))
        assert (frames.length, frames.skipped, frames.fps) == (12, 0, 10)


def test_a_video_without_its_first_key_frame_starts_where_it_can(tmp_path):
    path = encode(tmp_path / "v.ts", 12, gop=4)
    whole = path.read_bytes()
    packets = [whole[n : n + 188] for n in range(0, len(whole), 188)]
    # tables, then the packets from the second frame on
    starts = [n for n, packet in enumerate(packets) if packet[1] & 0x40 and (packet[1] & 0x1F) == 1 and packet[2] == 0]
    path.write_bytes(b"".join([*packets[: starts[0]], *packets[starts[1] :]]))
    with open_frames(path) as frames:
        given = [(frame.index, number_of(frame.image), frame.time) for frame in frames]
        assert frames.skipped == 0 and frames.hidden == 3
    assert given == [(n, n + 4, pytest.approx(n / 10, abs=1e-3)) for n in range(8)]


def test_what_is_no_video(tmp_path):
    files = {"text.mp4": b"no video " * 99, "empty.mkv": b"", "notes.txt": b"\x1b[31mred\n" * 99, "one.ts": b"G" * 188}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with raises(ValueError, name):
            open_frames(tmp_path / name)
