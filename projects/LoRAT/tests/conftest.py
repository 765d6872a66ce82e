"""Tiny trackers, and a dataset of synthetic clips."""

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers.tiny_clip import register_clips, vit
from sot.data.catalog import register_sequences
from sot.data.layouts import read_layout
from sot.data.made_clips import WRITERS, make_clips


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
