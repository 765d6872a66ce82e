"""A model that finds coloured blocks, and twelve frames of them."""

import cv2
import helpers.dummy_model  # noqa: F401  (registers the model)
import pytest
from detectron2.modeling import build_model
from helpers.blobs import SIZE, make_frame
from helpers.configs import plugin_config

from effowt_d2.checkpoint import EffOWTCheckpointer


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    keys = {"MODEL.META_ARCHITECTURE": "BlobTracker", "MODEL.WEIGHTS": str(folder / "model.pth")}
    # frames are doubled on their way into the model, so boxes must be brought back
    cfg = plugin_config({**keys, "INPUT.MIN_SIZE_TEST": 2 * SIZE[1], "INPUT.MAX_SIZE_TEST": 1000})
    EffOWTCheckpointer(build_model(cfg), str(folder)).save("model")
    (folder / "config.yaml").write_text(cfg.dump())
    return folder / "config.yaml"


@pytest.fixture
def folder(tmp_path):
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
