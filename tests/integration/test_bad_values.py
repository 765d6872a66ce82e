"""Every configuration key of the plugin that can have a wrong value names itself, before anything is trained or run."""

from contextlib import contextmanager
from functools import reduce

import pytest
from detectron2.modeling import build_model
from helpers.configs import plugin_config, plugin_keys, set_keys
from helpers.messages import raises
from torch import nn

from effowt_d2 import VideoTracker, model_zoo
from effowt_d2.data.mappers import TwoViewMapper
from effowt_d2.engine import build_optimizer
from effowt_d2.engine.step import inference_autocast
from effowt_d2.modeling.meta_arch import build_tracker
from effowt_d2.naming import TrackNamer

NAN = float("nan")
# of each key below MODEL
MODEL = {
    "VLM.NAME": "ViT-B-61",
    "VLM.WEIGHTS": "effowt://nothing",
    "VLM.CANVAS": -1,
    "VLM.WINDOW": -1,
    "VLM.GLOBAL_BLOCKS": [99],
    "VLM.PRECISION": "int8",
    "VLM.COMPILE": "gcc",
    "VLM.STRIDE": 8,
    "VLM.DROP_PATH": 1.5,
    "TOKENS.REDUCTION": "half",
    "TOKENS.BLOCKS": [99],
    "TOKENS.KEEP_RATES": [0.0],
    "TOKENS.WINDOW": -1,
    "TOKENS.SCORE": "loudest",
    "TOKENS.REBUILD": "blur",
    "TOKENS.MERGE_WINDOW": 1,
    "TOKENS.MERGE_THRESHOLD": NAN,
    "TRANSFER.STRATEGY": "half",
    "TRANSFER.NECK": "half",
    "TRANSFER.OUT_CHANNELS": 0,
    "TRANSFER.LEVELS": ["p1"],
    "PEFT.METHOD": "lorra",
    "PEFT.RANK": 10_000,
    "PEFT.ALPHA": NAN,
    "PEFT.SCALE_RULE": "half",
    "PEFT.DROPOUT": 1.5,
    "PEFT.INIT": "zeros",
    "PEFT.SITES": ["qkv"],
    "PEFT.TMOE.NUM_EXPERTS": 0,
    "PEFT.ADAPTER.VARIANT": "figure",
    "PEFT.ADAPTER.DIM": 10_000,
    "PEFT.ADAPTER.SCALE": NAN,
    "SIDE.REDUCTION": 7,
    "SIDE.TOPOLOGY": "circle",
    "SIDE.BLOCKS": [3, 2],
    "SIDE.MLP_RATIO": [4, 2, 0],
    "SIDE.TAPS": [0, 1],
    "SIDE.TAP_SHARING": "none",
    "SIDE.WINDOWS": [16, -1, 0],
    "SIDE.INIT": "zeros",
    "SIDE.TAP_INIT": "zeros",
    "SIDE.CHECKPOINT": [True],
    "SIDE.MAX_FRACTION": NAN,
    "SIDE.GATE.KIND": "open",
    "SIDE.GATE.TEMPERATURE": NAN,
    "SIDE.GATE.VALUE": 1.0,
    "SIDE.SIM.SCALES": [5],
    "SIDE.SIM.KIND": "dots",
    "SIDE.SIM.AXES": ["row", "row"],
    "SIDE.SIM.RANGE": 0,
    "SIDE.SIM.GROUPS": 7,
    "SIDE.SIM.FUSION": "product",
    "SIDE.FUSION.KIND": "first",
    "ROI_HEADS.SCORE": "mean",
    "REID.DIM": 0,
    "REID.NUM_CONV": -1,
    "REID.CONV_DIM": 0,
    "REID.NUM_GROUPS": 7,
    "REID.FC_DIM": 0,
    "REID.POOLER_RESOLUTION": 0,
    "REID.BATCH_SIZE_PER_IMAGE": 0,
    "REID.POSITIVE_FRACTION": 1.5,
    "REID.NEGATIVES_PER_POSITIVE": -1.0,
    "REID.POSITIVE_IOU": NAN,
    "REID.NEGATIVE_IOU": 0.8,
    "REID.LOSS": "triplet",
    "REID.LOSS_WEIGHT": NAN,
    "REID.AUX_WEIGHT": -1.0,
    "REID.AUX_MARGIN": 2.0,
    "REID.AUX_NEGATIVES_PER_POSITIVE": -1.0,
}
NAMING = {"TEMPLATES": ["a photo"], "CONTEXT": -0.5, "MAX_ZOOM": NAN, "BACKGROUND": "grey", "VIEWS": 0, "BUDGET": 0}
NAMING |= {"MIN_SCORE": 1.5, "BACKGROUND_WORDS": ["sky", "sky"]}
DESCRIBE = {"PROMPT": " ", "MAX_TOKENS": 0, "VIEWS": 5, "DROP": "mustdrop-65"}
VIEWS = {"SCALING": "bicubic", "COLOR_JITTER": NAN, "MIN_BOX_SIDE": NAN}
SOLVER = {"OPTIMIZER": "lion", "TOWER_LAYER_DECAY": 0.0}
FACTORS = {"SIDE_LR_FACTOR": "side", "TOWER_LR_FACTOR": "full", "PEFT_LR_FACTOR": "full"}
TRACKER = tuple(plugin_config().TRACKER)
# in tests/engine/test_trainer.py, since a trainer reads them
OF_THE_TRAINER = {"SOLVER.ACCUMULATE", "SOLVER.AMP.DTYPE", "SOLVER.EMA.DECAY"}


@pytest.fixture
def cfg():
    return set_keys(model_zoo.get_config("quick/shapes_ow_effowt.yaml"), {"MODEL.DEVICE": "cpu"})


@contextmanager
def refused(cfg, node, key, value):
    """Inside, a config with this value is used; lists are looked for in the message by the key alone."""
    *parents, name = f"{node}.{key}".split(".")
    # without a check of the type, as configs in Python are written
    reduce(getattr, parents, cfg)[name] = value
    shown = [] if isinstance(value, list) or value == "" else [value]
    with raises((ValueError, FileNotFoundError), f"{node}.{key}", *shown):
        yield


def test_no_key_is_forgotten():
    nodes = {
        "MODEL": MODEL,
        "NAMING": NAMING,
        "DESCRIBE": DESCRIBE,
        "TRACKER": TRACKER,
        "SOLVER": {**SOLVER, **FACTORS},
    }
    tested = {f"{node}.{key}" for node, keys in nodes.items() for key in keys} | OF_THE_TRAINER
    plugin = {key for key in plugin_keys() if key.split(".")[0] in nodes}
    switches = {key for key in plugin if isinstance(reduce(getattr, key.split("."), plugin_config()), bool)}
    assert tested == plugin - switches


@pytest.mark.parametrize("key", MODEL)
def test_models(cfg, key):
    # with windows, so that global blocks are read
    cfg.MODEL.VLM.WINDOW = 4
    if key.startswith("TOKENS."):
        cfg.MODEL.TOKENS.REDUCTION = "merge" if "MERGE" in key else "sparse"
    if key.startswith("PEFT."):
        method = {"TMOE": "tmoe", "ADAPTER": "dense_adapter"}.get(key.split(".")[1], "lora")
        cfg.MODEL.PEFT.METHOD = method
    with refused(cfg, "MODEL", key, MODEL[key]):
        build_model(cfg)


@pytest.mark.parametrize("rate", [-0.5, 1.5, NAN, "much", True])
def test_keep_rates(cfg, rate):
    cfg.MODEL.TOKENS.REDUCTION = "sparse"
    cfg.MODEL.TOKENS.KEEP_RATES = [0.7, rate]
    with raises(ValueError, "MODEL.TOKENS.KEEP_RATES", rate):
        build_model(cfg)


def test_tokens_taken_out_behind_the_last_tap(cfg):
    cfg.MODEL.TOKENS.REDUCTION = "sparse"
    cfg.MODEL.TOKENS.BLOCKS, cfg.MODEL.SIDE.TAPS = [1, 5], [0, 1, 2, 3]
    with raises(ValueError, "MODEL.TOKENS.BLOCKS", 5, 3):
        build_model(cfg)


@pytest.mark.parametrize("key", TRACKER)
def test_trackers(cfg, key):
    with refused(cfg, "TRACKER", key, "some"):
        build_tracker(cfg.TRACKER)


@pytest.mark.parametrize("key", NAMING)
def test_naming(cfg, key):
    with refused(cfg, "NAMING", key, NAMING[key]):
        TrackNamer(cfg, ["disc"])


@pytest.mark.parametrize("key", DESCRIBE)
def test_descriptions(cfg, key, tmp_path):
    for package in ("transformers", "mustdrop"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    with refused(cfg, "DESCRIBE", key, DESCRIBE[key]):
        VideoTracker(cfg, weights=model_zoo.get_checkpoint_url("quick/shapes_ow_effowt"), describe=tmp_path)


@pytest.mark.parametrize("key, value", [("NAME", "ViT-B-61"), ("WEIGHTS", ""), ("WEIGHTS", "effowt://nothing")])
def test_the_towers_of_naming(cfg, key, value):
    with refused(cfg, "MODEL.VLM", key, value):
        TrackNamer(cfg, ["disc"])


@pytest.mark.parametrize("key", VIEWS)
def test_views(cfg, key):
    with refused(cfg, "DATA", key, VIEWS[key]):
        TwoViewMapper(cfg)


@pytest.mark.parametrize("key", SOLVER)
def test_optimizers(cfg, key):
    with refused(cfg, "SOLVER", key, SOLVER[key]):
        build_optimizer(cfg, nn.Linear(1, 1))


@pytest.mark.parametrize("key", FACTORS)
def test_factors_of_learning_rates(cfg, key):
    cfg.MODEL.TRANSFER.STRATEGY = FACTORS[key]
    with refused(cfg, "SOLVER", key, NAN):
        build_model(cfg)


def test_precision_of_inference(cfg):
    with refused(cfg, "TEST", "PRECISION", "int8"):
        inference_autocast(cfg)
