"""Tiny trackers, a dataset of synthetic clips, and a clip to follow objects in."""

import cv2
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers.tiny_clip import register_clips, vit
from helpers.tiny_trackers import tracker_config
from sot.data.catalog import register_sequences
from sot.data.layouts import read_layout
from sot.data.made_clips import WRITERS, make_clip, make_clips

from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.engine import OpenWorldTrainer


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Name of a tiny plain ViT known to open_clip: width 64, depth 4, heads 4, patch 16, grid 4 x 4."""
    register_clips(tmp_path_factory.mktemp("open_clip_configs"), {"tiny-vit": vit()})
    return "tiny-vit"


@pytest.fixture
def made_dataset(tmp_path):
    """Name of a dataset of two clips of 8 frames in GOT-10k's layout."""
    WRITERS.get("got10k")(tmp_path / "clips", make_clips(2, frames=8))
    register_sequences("lorat_made", lambda: read_layout("got10k", tmp_path / "clips"))
    yield "lorat_made"
    DatasetCatalog.remove("lorat_made")
    MetadataCatalog.remove("lorat_made")


@pytest.fixture(scope="session")
def followed_clip():
    """A clip of 5 frames of 128 x 96 pixels."""
    return make_clip("clip", frames=5, seed=4)


@pytest.fixture(scope="session")
def trained(tiny, followed_clip, tmp_path_factory):
    """Folder with a tiny tracker, ``config.yaml`` and ``model.pth``, the checkpoint of another one, and a clip's frames."""
    folder = tmp_path_factory.mktemp("following")
    torch.manual_seed(0)
    model = OpenWorldTrainer.build_model(tracker_config("lorat", "LoRAT", tiny, MODEL__PEFT__METHOD="none"))
    weights = {f"visual.{name}": value for name, value in model.backbone.tower.trunk.state_dict().items()}
    torch.save(weights, folder / "tower.pth")
    cfg = tracker_config(
        "lorat", "LoRAT", tiny, MODEL__PEFT__METHOD="none", MODEL__VLM__WEIGHTS=str(folder / "tower.pth")
    )
    cfg.MODEL.WEIGHTS = str(folder / "model.pth")
    (folder / "config.yaml").write_text(cfg.dump())
    for name in ("model", "other"):
        EffOWTCheckpointer(OpenWorldTrainer.build_model(cfg), str(folder)).save(name)
    (folder / "frames").mkdir()
    for number, frame in enumerate(followed_clip.frames):
        cv2.imwrite(str(folder / "frames" / f"{number:03d}.png"), frame)
    return folder
