"""What is written is what was read: frames, times, colours and sound."""

from fractions import Fraction

import av
import numpy as np
import pytest
from helpers.made_media import add_sound, encode
from helpers.made_videos import make_frame, number_of
from helpers.messages import raises

from effowt_d2.video import encoders, open_frames, open_writer

VARYING = [0.0, 0.03, 0.1, 0.5, 0.6, 0.63, 1.3, 1.8, 2.2, 2.9, 3.0, 3.3]
TIMED = [extension for extension in encoders.VIDEO_ENCODERS if extension != ".avi"]


def copy(source, target, stop_after=None, **choice):
    """Read and write again, as the command line does it; the times written and the notes."""
    with open_frames(source, **choice) as frames, open_writer(target, frames.rate, sound=frames.sound) as writer:
        times = []
        for frame in frames:
            writer.write(frame.image, frame.index, frame.time)
            times.append(frame.time)
            if len(times) == stop_after:
                break
    return times, writer.notes


def read(path) -> tuple[list[int], list[float]]:
    with open_frames(path) as frames:
        given = [(number_of(frame.image), frame.time) for frame in frames]
    return [number for number, _ in given], [time for _, time in given]


def sound_of(path) -> list[tuple[float, bytes]]:
    """Seconds and bytes of the packets of sound."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
        return [(float(packet.pts * packet.time_base), bytes(packet)) for packet in packets]


@pytest.mark.parametrize("extension", TIMED)
@pytest.mark.parametrize("times", [VARYING, [n * 1001 / 30000 for n in range(12)], [2.0 * n for n in range(12)]])
def test_frames_keep_their_times(tmp_path, extension, times):
    source = encode(tmp_path / "v.mkv", times=times)
    written, _ = copy(source, tmp_path / f"out{extension}")
    assert read(tmp_path / f"out{extension}") == (list(range(12)), pytest.approx(written, abs=1.1e-3))


@pytest.mark.parametrize("choice", [dict(start=0.55), dict(stride=3), dict(end=1.0)])
def test_times_count_from_the_first_frame_written(tmp_path, choice):
    source = encode(tmp_path / "v.mp4", times=VARYING)
    written, _ = copy(source, tmp_path / "out.mp4", **choice)
    assert len(written) < 12
    assert read(tmp_path / "out.mp4")[1] == pytest.approx([time - written[0] for time in written], abs=1e-3)


@pytest.mark.parametrize("extension", [".mp4", ".mov"])
def test_what_a_browser_needs(tmp_path, extension):
    path = tmp_path / f"out{extension}"
    copy(encode(tmp_path / "v.mp4", times=VARYING), path)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert not stream.codec_context.has_b_frames
        # until the last frame was shown for as long as the mean
        assert container.duration / av.time_base == pytest.approx(VARYING[-1] * 12 / 11, abs=0.04)
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("extension", encoders.VIDEO_ENCODERS)
def test_colours_are_kept(tmp_path, extension):
    colors = np.array([[40, 40, 220], [40, 200, 40], [220, 60, 40], [128, 128, 128]], np.uint8)
    image = colors.repeat(32, 0)[None].repeat(96, 0)
    with open_writer(tmp_path / f"out{extension}", 10) as writer:
        for index in range(3):
            writer.write(image, index, index / 10)
    with open_frames(tmp_path / f"out{extension}") as frames:
        shown = next(iter(frames)).image
    centres = shown[48, 16::32].astype(int)
    assert np.abs(centres - colors).max() <= 8, centres


@pytest.mark.parametrize("extension", [".mp4", ".mov", ".mkv"])
def test_sound_is_copied(tmp_path, extension):
    source = add_sound(encode(tmp_path / "silent.mp4", 24), tmp_path / "v.mp4")
    _, notes = copy(source, tmp_path / f"out{extension}")
    before, after = sound_of(source), sound_of(tmp_path / f"out{extension}")
    assert notes == [] and [data for _, data in after] == [data for _, data in before]
    shift = after[0][0] - before[0][0]
    assert [time for time, _ in after] == pytest.approx([time + shift for time, _ in before], abs=1.1e-3)
    # a container without edit lists moves the frames as well
    assert shift == pytest.approx(0 if extension != ".mkv" else -before[0][0], abs=1.1e-3)


def test_sound_of_a_range_begins_and_ends_with_it(tmp_path):
    source = add_sound(encode(tmp_path / "silent.mp4", 24), tmp_path / "v.mp4")
    copy(source, tmp_path / "out.mp4", start=0.5, end=1.5)
    before, after = dict((data, time) for time, data in sound_of(source)), sound_of(tmp_path / "out.mp4")
    assert [before[data] - 0.5 for _, data in after] == pytest.approx([time for time, _ in after], abs=1e-3)
    assert -0.1 <= after[0][0] <= 0 and after[-1][0] == pytest.approx(1.0, abs=0.05)


def test_sound_ends_where_a_run_was_stopped(tmp_path):
    source = add_sound(encode(tmp_path / "silent.mp4", 24), tmp_path / "v.mp4")
    copy(source, tmp_path / "out.mp4", stop_after=5)
    assert sound_of(tmp_path / "out.mp4")[-1][0] == pytest.approx(0.5, abs=0.05)


def test_sound_is_omitted_where_frames_are(tmp_path):
    source = add_sound(encode(tmp_path / "silent.mp4", 24), tmp_path / "v.mp4")
    copy(source, tmp_path / "out.mp4", stride=2)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio


def test_sound_that_does_not_fit_is_noted(tmp_path):
    source = add_sound(encode(tmp_path / "silent.mp4", 24), tmp_path / "v.mp4")
    written, notes = copy(source, tmp_path / "out.webm")
    assert any("aac" in note and "out.webm" in note for note in notes)
    assert read(tmp_path / "out.webm")[1] == pytest.approx(written, abs=1e-3)


def test_a_missing_encoder_is_reported_with_those_that_are_there(tmp_path, monkeypatch):
    monkeypatch.setattr(encoders, "VIDEO_ENCODERS", {".mp4": ("no_such_encoder",), ".avi": ("mjpeg",)})
    with raises(OSError, ".mp4", "no_such_encoder", ".avi"):
        open_writer(tmp_path / "out.mp4", 10)
    assert list(tmp_path.iterdir()) == []


def test_frames_that_an_encoder_does_not_take(tmp_path):
    with raises(OSError, "20000x16", "libvpx"), open_writer(tmp_path / "out.webm", 10) as writer:
        writer.write(make_frame(0, (20000, 16)), 0, 0.0)
    assert list(tmp_path.iterdir()) == []


def test_rates_of_a_constant_rate_are_exact(tmp_path):
    rate = Fraction(30000, 1001)
    with open_writer(tmp_path / "out.mp4", float(rate)) as writer:
        for number in range(40):
            writer.write(make_frame(number), number, number / float(rate))
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].average_rate == rate
