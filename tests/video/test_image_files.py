"""Folders and images: which files count, their order, and what is damaged."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from helpers.made_videos import make_frame, number_of
from helpers.messages import raises
from PIL import Image

from effowt_d2.video import open_frames
from effowt_d2.video.image_files import natural_order

NOISE = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)


def jpeg(image=NOISE, **settings) -> bytes:
    flags = [value for name, number in settings.items() for value in (getattr(cv2, f"IMWRITE_JPEG_{name}"), number)]
    return cv2.imencode(".jpg", image, flags)[1].tobytes()


def indices(source) -> list[int]:
    with open_frames(source) as frames:
        read = [frame.index for frame in frames]
        assert len(read) + frames.skipped == frames.length
        assert bool(frames.skipped) == any("can't be decoded" in note for note in frames.notes)
        return read


def test_hidden_files_of_other_systems_are_ignored(tmp_path):
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), make_frame(number))
        (tmp_path / f"._{number}.jpg").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "notes.txt"):
        (tmp_path / name).write_bytes(b"not an image")
    (tmp_path / "3.jpg").mkdir()
    assert indices(tmp_path) == [0, 1]
    # a shell's * gives those that don't begin with a dot
    given = [tmp_path / name for name in ("._0.jpg", "0.jpg", "1.jpg", "Thumbs.db", ".DS_Store", "desktop.ini")]
    assert indices(given) == [0, 1]
    with raises(ValueError, "notes.txt"):
        open_frames([*given, tmp_path / "notes.txt"])


def test_numbers_of_every_script_and_length_sort_as_numbers(tmp_path):
    long = "9" * 200
    names = ["a²", "a2", "a10", f"a{long}", f"a{long}0", "b٢", "b١٠", "b०११", "c01", "c1", "c001", "c02"]
    ordered = sorted((tmp_path / f"{name}.png" for name in reversed(names)), key=natural_order)
    places = {path.stem: place for place, path in enumerate(ordered)}
    for smaller, larger in [("a2", "a10"), ("a10", f"a{long}"), (f"a{long}", f"a{long}0")]:
        assert places[smaller] < places[larger]
    assert places["b٢"] < places["b١٠"] < places["b०११"]
    assert places["c001"] < places["c01"] < places["c1"] < places["c02"]


def test_data_behind_the_end_of_a_jpeg_does_no_harm(tmp_path):
    # a scan marker without an end marker in it
    (tmp_path / "0.jpg").write_bytes(jpeg() + b"....ftypmp42" + b"\xff\xda" * 50)
    (tmp_path / "1.jpg").write_bytes(jpeg(PROGRESSIVE=1) + bytes(100))
    assert indices(tmp_path) == [0, 1]


@pytest.mark.parametrize("settings", [{}, dict(PROGRESSIVE=1), dict(RST_INTERVAL=2)])
def test_a_jpeg_without_its_end_marker_is_whole_unless_its_scan_is_cut(tmp_path, settings):
    data = jpeg(**settings)
    (tmp_path / "0.jpg").write_bytes(data[:-2])
    (tmp_path / "1.jpg").write_bytes(data[:-40])
    (tmp_path / "2.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "3.jpg").write_bytes(data)
    assert indices(tmp_path) == [0, 3]
    with open_frames(tmp_path) as frames:
        first, last = (frame.image for frame in frames)
    assert (first == last).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".tif"])
def test_images_are_turned_as_exif_specifies(tmp_path, extension, orientation):
    shown = np.zeros((32, 48, 3), np.uint8)
    shown[:16, :24], shown[16:, :24], shown[:16, 24:] = 250, 150, 80
    undo = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]
    transposes = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    stored = Image.fromarray(shown)
    stored = stored if undo == 1 else stored.transpose(Image.Transpose(transposes[undo]))
    exif = Image.Exif()
    exif[274] = orientation
    settings = dict(lossless=True) if extension == ".webp" else {}
    stored.save(tmp_path / f"a{extension}", exif=exif, **settings)
    with open_frames(tmp_path / f"a{extension}") as frames:
        image = next(iter(frames)).image
    assert image.shape == shown.shape and np.abs(image.astype(int) - shown).mean() < 5


def _png_of_size(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IDAT" + zlib.compress(bytes(1000))
    chunks = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in (head, body)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_images_that_claim_absurd_sizes_are_skipped(tmp_path):
    huge = jpeg().replace(struct.pack(">HH", 64, 96), struct.pack(">HH", 65000, 65000), 1)
    (tmp_path / "0.jpg").write_bytes(huge)
    (tmp_path / "1.png").write_bytes(_png_of_size(100_000, 100_000))
    (tmp_path / "2.png").write_bytes(_png_of_size(2**31 - 1, 2**31 - 1))
    bmp = bytearray(cv2.imencode(".bmp", NOISE)[1].tobytes())
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    (tmp_path / "3.bmp").write_bytes(bmp)
    Image.fromarray(NOISE).save(tmp_path / "4.tif")
    tif = bytearray((tmp_path / "4.tif").read_bytes())
    for tag, value in ((256, 1 << 17), (257, 1 << 17)):
        place = tif.index(struct.pack("<HH", tag, 4 if struct.pack("<HH", tag, 4) in tif else 3))
        tif[place : place + 12] = struct.pack("<HHII", tag, 4, 1, value)
    (tmp_path / "4.tif").write_bytes(tif)
    (tmp_path / "5.gif").write_bytes(b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(40))
    cv2.imwrite(str(tmp_path / "6.png"), make_frame(3))
    assert indices(tmp_path) == [6]


def test_damage_of_every_format_is_skipped_and_counted(tmp_path):
    for number, extension in enumerate((".avif", ".bmp", ".gif", ".jpg", ".png", ".tif", ".webp")):
        path = tmp_path / f"{number}{extension}"
        Image.fromarray(NOISE).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (tmp_path / "7.png").write_bytes(b"")
    (tmp_path / "8.gif").write_bytes(b"<html>not found</html>")
    cv2.imwrite(str(tmp_path / "9.png"), make_frame(3))
    assert indices(tmp_path) == [9]


def test_16_bits_become_8_by_the_range_of_the_signal(tmp_path):
    top = {"12.png": 4095, "16.png": 65535, "10.tif": 1023}
    for name, value in top.items():
        image = np.zeros((4, 6), np.uint16)
        image[:2] = value
        cv2.imwrite(str(tmp_path / name), image)
        with open_frames(tmp_path / name) as frames:
            assert next(iter(frames)).image[:, 0, 0].tolist() == [255, 255, 0, 0], name
    cv2.imwrite(str(tmp_path / "float.tif"), np.full((4, 6), 0.5, np.float32))
    cv2.imwrite(str(tmp_path / "wide.tif"), np.full((4, 6), 200.0, np.float32))
    with open_frames([tmp_path / "float.tif", tmp_path / "wide.tif"]) as frames:
        assert [frame.image[0, 0].tolist() for frame in frames] == [[128] * 3]
        assert frames.skipped == 1 and any("200.0" in note for note in frames.notes)


def test_heic_names_the_library_it_needs(tmp_path):
    try:
        import pillow_heif
    except ImportError:
        (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
        for source in (tmp_path, tmp_path / "a.heic"):
            with raises(ValueError, "a.heic", "pillow-heif"):
                open_frames(source)
        return
    pillow_heif.register_heif_opener()
    Image.fromarray(make_frame(7)).save(tmp_path / "a.heic")
    with open_frames(tmp_path) as frames:
        assert [number_of(frame.image) for frame in frames] == [7]
