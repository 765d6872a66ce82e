"""Images of any bit depth become 8 bits by one rule, in training and evaluation; nothing saturates."""

import cv2
import numpy as np
import pytest
from detectron2.data import transforms as T
from helpers import shared_data
from helpers.full_disk import no_file_above
from helpers.messages import raises
from PIL import Image

from effowt_d2.data import FrameMapper, ImageReadError, TwoViewMapper
from effowt_d2.data.images import read_record_image, write_image
from effowt_d2.utils.files import DiskFullError
from effowt_d2.utils.pixels import to_uint8


def noise(top, shape=(20, 30), dtype=np.uint16):
    return np.random.default_rng(0).integers(0, top + 1, shape).astype(dtype)


def read(path, image_format="BGR"):
    return read_record_image({"file_name": str(path)}, image_format)


@pytest.mark.parametrize("top", [50_000, 65_535, 4095])
@pytest.mark.parametrize("extension", ["png", "tif"])
@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
def test_integers_of_more_than_8_bits(tmp_path, top, extension, shape):
    pixels = noise(top, shape)
    cv2.imwrite(str(tmp_path / f"x.{extension}"), pixels)
    image = read(tmp_path / f"x.{extension}")
    expected = to_uint8(pixels if len(shape) == 3 else np.repeat(pixels[..., None], 3, axis=2))
    assert image.dtype == np.uint8 and (image == expected).all()
    assert (read(tmp_path / f"x.{extension}", "RGB")[:, :, ::-1] == expected).all()
    assert len(np.unique(image)) > 150


def test_alpha_is_omitted(tmp_path):
    pixels = noise(4095, (20, 30, 4))
    cv2.imwrite(str(tmp_path / "x.png"), pixels)
    assert (read(tmp_path / "x.png") == to_uint8(pixels[:, :, :3])).all()


def test_floats(tmp_path):
    pixels = noise(1000, dtype=np.float32) / 1000
    pixels[0, 0] = 1
    cv2.imwrite(str(tmp_path / "x.tif"), pixels)
    assert (read(tmp_path / "x.tif")[:, :, 0] == to_uint8(pixels)).all()
    cv2.imwrite(str(tmp_path / "x.tif"), pixels * 255)
    with raises(ImageReadError, tmp_path / "x.tif", "255.0"):
        read(tmp_path / "x.tif")


def test_8_bits_are_read_as_detectron2_does(tmp_path):
    from detectron2.data.detection_utils import read_image

    for mode in ("L", "RGB", "RGBA", "P", "1", "CMYK"):
        path = tmp_path / f"{mode}.{'tif' if mode == 'CMYK' else 'png'}"
        Image.fromarray(noise(255, (20, 30, 3), np.uint8)).convert(mode).save(path)
        assert (read(path) == read_image(str(path), format="BGR")).all()


def test_orientation_of_deep_images(tmp_path):
    image = Image.fromarray(noise(4095))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "x.tif", exif=exif)
    assert read(tmp_path / "x.tif").shape == (30, 20, 3)


def test_training_and_evaluation_see_the_same_pixels():
    path = shared_data("..", "cases", "training", "x16", "0.png")
    record = {"file_name": str(path), "width": 128, "height": 96, "image_id": 1}
    frame = FrameMapper(min_size=0, max_size=1000, image_format="BGR")(record)
    view = TwoViewMapper(augmentations=[T.NoOpTransform()], image_format="BGR")({**record, "annotations": []})
    assert (frame["image"] == view["image"]).all()
    # all pixels of it are above 255
    assert frame["image"].float().std() > 20 and (frame["image"] == 255).float().mean() < 0.01


@pytest.mark.parametrize("size", [(96, 128), (128, 97)])
def test_sizes_that_differ_from_the_record(size):
    path = shared_data("..", "cases", "training", "x16", "0.png")
    with raises(ImageReadError, path, 128, 96):
        read_record_image({"file_name": str(path), "width": size[0], "height": size[1]}, "BGR")


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("side", [8, 100])
def test_images_are_written_whole_or_not_at_all(tmp_path, name, side):
    image = noise(255, (side, side, 3), np.uint8)
    with no_file_above(200), raises(DiskFullError, tmp_path / name):
        write_image(tmp_path / name, image)
    assert not list(tmp_path.iterdir())
    write_image(tmp_path / name, image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    cv2.imwrite(str(tmp_path / f"other-{name}"), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    assert (tmp_path / name).read_bytes() == (tmp_path / f"other-{name}").read_bytes()
