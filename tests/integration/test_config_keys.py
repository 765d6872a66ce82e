"""Every configuration key of the plugin is read by something that runs."""

import numpy as np
import pytest
from detectron2.config import CfgNode
from helpers import small_shapes
from helpers.configs import plugin_keys
from helpers.llava_folder import write_llava

from effowt_d2 import VideoTracker, model_zoo
from effowt_d2.data.datasets.registration import register_datasets
from effowt_d2.engine import OpenWorldTrainer, check_config
from effowt_d2.naming import TrackNamer

SEEN = set()


class Recorder(CfgNode):
    """A config node that remembers which of its keys were asked for."""

    def __getattr__(self, name):
        value = super().__getattr__(name)
        SEEN.add(f"{self.__dict__.get('recorded_as')}{name}")
        return value

    def __getitem__(self, name):
        SEEN.add(f"{self.__dict__.get('recorded_as')}{name}")
        return super().__getitem__(name)


def recorder(node, path=""):
    made = Recorder()
    made.__dict__["recorded_as"] = path
    for key, value in node.items():
        # the constructor would make plain nodes of them
        dict.__setitem__(made, key, recorder(value, f"{path}{key}.") if isinstance(value, CfgNode) else value)
    return made


RUNS = (
    ("DATA.SCALING", "lsj", "DATA.LSJ_SIZE", 96, "MODEL.PEFT.METHOD", "tmoe", "MODEL.PEFT.RANK", 4),
    ("SOLVER.AMP.ENABLED", True, "MODEL.TOKENS.REDUCTION", "sparse", "MODEL.PEFT.METHOD", "dense_adapter"),
    ("MODEL.SIDE.INIT", "l1", "MODEL.TOKENS.REDUCTION", "merge"),
    ("MODEL.TRANSFER.STRATEGY", "full"),
)


def describe(cfg, folder):
    """A track, by a tiny random model; without transformers there is nothing that reads the keys."""
    pytest.importorskip("transformers", reason="the extra describe is not installed")
    model = str(write_llava(folder / "llava"))
    tracker = VideoTracker(cfg, weights=model_zoo.get_checkpoint_url("quick/shapes_ow_effowt"), describe=model)
    list(tracker.track([np.zeros((64, 64, 3), np.uint8)]))


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Keys read while models of several kinds are built, trained for a step, and evaluated, and names are given."""
    folder = tmp_path_factory.mktemp("config_keys")
    cfg = model_zoo.get_config("quick/shapes_ow_effowt.yaml")
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("small_train",), ("small_val",)
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST, cfg.DATALOADER.NUM_WORKERS = (96,), 96, 0
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.WARMUP_ITERS = 1, 0
    with small_shapes.registered(folder):
        for run in RUNS:
            part = recorder(cfg.clone())
            part.merge_from_list(["OUTPUT_DIR", str(folder / "output"), *run])
            register_datasets(part)
            check_config(part, eval_only=False, num_processes=1)
            trainer = OpenWorldTrainer(part)
            trainer.resume_or_load(resume=False)
            trainer.train()
        TrackNamer(recorder(cfg.clone()), ["disc"])
        describe(recorder(cfg.clone()), folder)
    VideoTracker(recorder(cfg.clone()), weights=model_zoo.get_checkpoint_url("quick/shapes_ow_effowt"))
    return SEEN


@pytest.mark.parametrize("key", plugin_keys())
def test_every_key_is_read(seen, key):
    assert key in seen
