"""Pruning by Fisher importances: they are mean squared gradients, and nothing else of the model is touched."""

import pytest
import torch
from helpers import small_shapes
from helpers.messages import raises

from effowt_d2 import model_zoo
from effowt_d2.data import build_train_loader
from effowt_d2.engine import OpenWorldTrainer
from effowt_d2.engine.fisher import prune_by_fisher


@pytest.fixture(scope="module")
def cfg(tmp_path_factory):
    cfg = model_zoo.get_config("quick/shapes_ow_effowt.yaml")
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("small_train",), ()
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.DATALOADER.NUM_WORKERS = (96,), 0
    cfg.MODEL.SIDE.INIT, cfg.MODEL.SIDE.FISHER_SAMPLES = "fisher", 2
    folder = tmp_path_factory.mktemp("fisher")
    cfg.OUTPUT_DIR = str(folder)
    with small_shapes.registered(folder):
        yield cfg


def samples(cfg):
    return (sample for batch in build_train_loader(cfg) for sample in batch)


def test_the_side_network_changes_and_the_tower_does_not(cfg):
    model = OpenWorldTrainer.build_model(cfg)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    prune_by_fisher(cfg, model, samples(cfg))
    assert all(p.grad is None for p in model.parameters())
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed and all(k.startswith("backbone.strategy.side.stages.") for k in changed)
    assert not any(p.requires_grad for p in model.backbone.tower.parameters())
    source = model.backbone.tower.block_weights(model.backbone.strategy.taps[0]).q
    copied = model.backbone.strategy.side.stages[0].blocks[0].attn.qkv.weight.chunk(3)[0]
    assert torch.isin(copied, source).all()


def test_no_samples_are_an_error(cfg):
    model = OpenWorldTrainer.build_model(cfg)
    with raises(ValueError, "fisher", "DATASETS.TRAIN"):
        prune_by_fisher(cfg, model, [])
    none = cfg.clone()
    none.MODEL.SIDE.FISHER_SAMPLES = 0
    with raises(ValueError, "FISHER_SAMPLES", 0):
        prune_by_fisher(none, model, samples(cfg))
