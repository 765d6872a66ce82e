"""Pruning by Fisher importances: they are mean squared gradients, and nothing else of the model is touched."""

import pytest
import torch
from detectron2.config import instantiate
from detectron2.utils.env import seed_all_rng
from effowt_ablations import add_config
from effowt_ablations.fisher import Fisher
from helpers import small_shapes
from helpers.configs import plugin_config
from helpers.messages import raises
from omegaconf import OmegaConf

from effowt_d2 import model_zoo
from effowt_d2.data import build_train_loader
from effowt_d2.engine import OpenWorldTrainer
from effowt_d2.modeling.backbone import lazy_effowt_backbone


@pytest.fixture(scope="module")
def cfg(tmp_path_factory):
    cfg = plugin_config()
    add_config(cfg)
    cfg.merge_from_file(model_zoo.get_config_file("quick/shapes_ow_effowt.yaml"))
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
    assert model.backbone.needs_samples
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.backbone.initialise(samples(cfg))
    assert all(p.grad is None for p in model.parameters())
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed and all(k.startswith("backbone.strategy.side.stages.") for k in changed)
    assert not any(p.requires_grad for p in model.backbone.tower.parameters())
    source = model.backbone.tower.block_weights(model.backbone.strategy.taps[0]).q
    copied = model.backbone.strategy.side.stages[0].blocks[0].attn.qkv.weight.chunk(3)[0]
    assert torch.isin(copied, source).all()


def test_importances_are_mean_squared_gradients(cfg):
    model = OpenWorldTrainer.build_model(cfg)
    two = [sample for sample, _ in zip(samples(cfg), range(2))]
    fisher = Fisher(cfg=cfg, fisher_samples=2)
    alone = [Fisher(cfg=cfg, fisher_samples=1) for _ in two]
    tap = model.backbone.strategy.taps[0]

    def importance(of, given):
        seed_all_rng(0)
        return of.importances(model.backbone.tower, [tap], given)[tap].fc1

    first = importance(alone[0], two[:1])
    assert (first >= 0).all() and (first > 0).any()
    assert torch.equal(first, importance(alone[0], two)), "no more samples are looked at than asked for"
    both = importance(fisher, two)
    assert (2 * both - first >= -1e-6 * both.max()).all() and not torch.equal(both, first)


def test_the_trainer_cuts_the_side_network_before_training(cfg):
    weights = {}
    for init in ("scratch", "fisher"):
        own = cfg.clone()
        own.MODEL.SIDE.INIT = init
        seed_all_rng(0)
        model = OpenWorldTrainer(own).model
        weights[init] = {name: p.clone() for name, p in model.named_parameters() if p.requires_grad}
    changed = {n for n, weight in weights["scratch"].items() if not torch.equal(weight, weights["fisher"][n])}
    assert changed and all(name.startswith("backbone.strategy") for name in changed), changed


def test_no_samples_are_an_error(cfg):
    model = OpenWorldTrainer.build_model(cfg)
    with raises(ValueError, "MODEL.SIDE.INIT", "DATASETS.TRAIN"):
        model.backbone.initialise([])


def test_a_lazy_backbone_has_no_model_to_take_gradients_of():
    node = lazy_effowt_backbone()
    node.cfg.MODEL.VLM.ALLOW_RANDOM, node.cfg.MODEL.SIDE.INIT = True, "fisher"
    # the node reads pixel statistics of the model around it
    model = {"backbone": node, "pixel_mean": [0, 0, 0], "pixel_std": [1, 1, 1], "input_format": "BGR"}
    config = OmegaConf.create({"model": model}, flags={"allow_objects": True})
    with raises(ValueError, "MODEL.SIDE.INIT", "fisher"):
        instantiate(config.model.backbone)
