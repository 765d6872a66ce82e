"""What a config imports is there in every process of a run: those that are launched, and their data workers."""

import json
import os

import pytest
from helpers import ROOT
from helpers.processes import environment, run_python

# pixels come through a path handler that only this module registers, also in the data worker that reads them
PROJECT = """
import io, multiprocessing
import numpy as np
from PIL import Image
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.utils.file_io import PathHandler, PathManager
from torch import nn

multiprocessing.set_start_method("{start_method}", force=True)


def add_config(cfg):
    cfg.MODEL.DRAWN = CfgNode()
    cfg.MODEL.DRAWN.WIDTH = 2


class Drawn(PathHandler):
    def _get_supported_prefixes(self):
        return ["drawn://"]

    def _open(self, path, mode="r", buffering=-1, **kwargs):
        stream = io.BytesIO()
        Image.fromarray(np.full((32, 32, 3), 90, dtype=np.uint8)).save(stream, "png")
        return io.BytesIO(stream.getvalue())


PathManager.register_handler(Drawn())


def records():
    box = dict(bbox=[4, 4, 20, 20], bbox_mode=0, category_id=0, iscrowd=0)
    one = dict(height=32, width=32, annotations=[box])
    return [dict(one, file_name=f"drawn://{{number}}.png", image_id=number) for number in range(4)]


DatasetCatalog.register("drawn", records)


@META_ARCH_REGISTRY.register()
class Brightness(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.layer = nn.Linear(1, cfg.MODEL.DRAWN.WIDTH)

    def forward(self, samples):
        values = [sample["image"].float().mean().reshape(1) / 255 for sample in samples]
        return dict(loss=sum((self.layer(value) ** 2).sum() for value in values))
"""
CONFIG = """
_BASE_: effowt://quick/shapes_ow_effowt.yaml
IMPORTS: ("drawing_project",)
MODEL: {META_ARCHITECTURE: Brightness, BACKBONE: {NAME: build_resnet_backbone}, DRAWN: {WIDTH: 3}}
DATASETS: {TRAIN: [drawn], TEST: []}
DATALOADER: {NUM_WORKERS: 1}
INPUT: {MIN_SIZE_TRAIN: [32]}
SOLVER: {MAX_ITER: 2, IMS_PER_BATCH: 2, WARMUP_ITERS: 0}
"""


@pytest.mark.parametrize(
    "launcher, options, start_method",
    [
        pytest.param((), ("--num-gpus", "2"), "forkserver", marks=pytest.mark.slow),
        pytest.param(
            ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "1"),
            (),
            "spawn",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_processes_have_what_the_config_imports(tmp_path, launcher, options, start_method):
    (tmp_path / "drawing_project.py").write_text(PROJECT.format(start_method=start_method))
    (tmp_path / "config.yaml").write_text(CONFIG)
    command = [*launcher, ROOT / "train_net.py", "--config-file", tmp_path / "config.yaml"]
    output = tmp_path / "output"
    path = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    run_python(*command, *options, "OUTPUT_DIR", output, env={**environment(), **path})
    assert json.loads((output / "metrics.json").read_text().splitlines()[-1])["iteration"] == 1
    written = (output / "config.yaml").read_text()
    assert "drawing_project" in written and "WIDTH: 3" in written
