"""The backbone under Detectron2's own models, straight from its model zoo."""

import re

import pytest
import torch
from detectron2 import model_zoo
from detectron2.config import LazyConfig, instantiate
from detectron2.modeling import META_ARCH_REGISTRY, build_model
from detectron2.solver import build_optimizer
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from helpers import ROOT
from helpers.configs import plugin_config
from omegaconf import OmegaConf

from effowt_d2 import model_zoo as effowt_zoo
from effowt_d2.data import MAPPERS
from effowt_d2.engine import EVALUATORS
from effowt_d2.modeling.backbone import EffOWTBackbone, lazy_effowt_backbone
from effowt_d2.modeling.side.mixers import MIXERS
from effowt_d2.modeling.transfer.strategy import STRATEGIES

YAML = (
    "COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml",
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml",
    "Misc/cascade_mask_rcnn_R_50_FPN_1x.yaml",
    "COCO-Detection/retinanet_R_50_FPN_1x.yaml",
    "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x.yaml",
)
LAZY = (
    "common/models/mask_rcnn_fpn.py",
    "common/models/retinanet.py",
    "common/models/fcos.py",
    "common/models/mask_rcnn_vitdet.py",
)
# one step of the stock learning rate from a random start may already burst a head
SMALL_STEP = 1e-3


def config(name, **transfer):
    """A stock config; only what belongs to the backbone is set, and the device."""
    cfg = plugin_config()
    cfg.merge_from_file(model_zoo.get_config_file(name))
    cfg.SOLVER.BASE_LR = SMALL_STEP
    cfg.MODEL.BACKBONE.NAME = "build_effowt_backbone"
    cfg.MODEL.VLM.NAME, cfg.MODEL.VLM.WEIGHTS = "ShapesCLIP-S-16", "effowt://ShapesCLIP-S-16"
    cfg.MODEL.VLM.CANVAS, cfg.MODEL.TRANSFER.OUT_CHANNELS = 8, 64
    for key, value in transfer.items():
        cfg.MODEL.TRANSFER[key] = value
    return cfg


def lazy_model(name):
    """A stock LazyConfig model with its backbone replaced."""
    try:
        node = model_zoo.get_config(name).model
    except RuntimeError as error:
        pytest.skip(f"this Detectron2 has no such model: {error}")
    if name.endswith("fcos.py"):
        try:
            instantiate(node.head)
        except ValueError as error:
            pytest.skip(f"this Detectron2's FCOS head does not build under this torch: {error}")
    node.backbone = lazy_effowt_backbone()
    keys = node.backbone.cfg.MODEL
    keys.VLM.NAME, keys.VLM.WEIGHTS, keys.VLM.CANVAS = "ShapesCLIP-S-16", "effowt://ShapesCLIP-S-16", 8
    if "input_format" not in node:
        node.backbone.cfg.INPUT.FORMAT = "BGR"
    if "roi_heads" in node:
        # fewer regions through the full-size heads: it is the backbone that is tested
        node.proposal_generator.post_nms_topk, node.roi_heads.batch_size_per_image = (50, 50), 32
    return node


def picture(height, width):
    """A training input with two objects, and everything any of the models may ask of it."""
    boxes = torch.tensor([[10.0, 12.0, 50.0, 60.0], [30.0, 5.0, 80.0, 44.0]])
    masks = torch.zeros(2, height, width, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist()):
        mask[y0:y1, x0:x1] = True
    objects = Instances(
        (height, width), gt_boxes=Boxes(boxes), gt_classes=torch.tensor([0, 3]), gt_masks=BitMasks(masks)
    )
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    stuff = torch.randint(0, 54, (height, width))
    return {"image": image, "instances": objects, "sem_seg": stuff, "height": height, "width": width}


def train_a_step(model, optimizer):
    """Forward, backward and a step on two images of different sizes, so that there is padding.

    Returns the names of the backbone's parameters that a gradient reached; no others changed.
    """
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    with EventStorage():
        losses = model.train()([picture(128, 96), picture(100, 128)])
    assert losses and all(loss.isfinite() for loss in losses.values()), losses
    sum(losses.values()).backward()
    reached = {name for name, p in model.backbone.named_parameters() if p.grad is not None and p.grad.any()}
    optimizer.step()
    changed = {name for name, value in model.backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and changed <= reached
    return reached


def check_side_network_trained(backbone, reached, levels):
    """A gradient reached all that leads to the levels in use, and nothing of the tower."""
    unused = () if "p2" in levels else ("strategy.side.fusion.outputs.0.",)
    trained = {name for name, p in backbone.named_parameters() if p.requires_grad}
    assert not any(name.startswith("tower.") for name in trained)
    assert reached == {name for name in trained if not name.startswith(unused)}


def infer(model):
    inputs = [{**picture(96, 128), "height": 192, "width": 256}, picture(64, 80)]
    with torch.no_grad():
        outputs = model.eval()(inputs)
    for output, x in zip(outputs, inputs):
        found = output["instances"]
        assert found.image_size == (x["height"], x["width"])
        assert found.pred_boxes.tensor.isfinite().all() and found.scores.isfinite().all()
    return outputs


@pytest.mark.parametrize("name", YAML)
def test_stock_configs_train_and_infer_with_the_backbones_keys_alone(name):
    torch.manual_seed(0)
    cfg = config(name)
    model = build_model(cfg)
    assert isinstance(model.backbone, EffOWTBackbone)
    assert type(model).__name__ == cfg.MODEL.META_ARCHITECTURE
    reached = train_a_step(model, build_optimizer(cfg, model))
    retinanet = cfg.MODEL.META_ARCHITECTURE == "RetinaNet"
    check_side_network_trained(model.backbone, reached, cfg.MODEL.RETINANET.IN_FEATURES if retinanet else ("p2",))
    outputs = infer(model)
    if cfg.MODEL.META_ARCHITECTURE == "PanopticFPN":
        assert outputs[0]["sem_seg"].shape[-2:] == (192, 256) and outputs[0]["panoptic_seg"][0].shape == (192, 256)


@pytest.mark.parametrize("name", ["zero_shot", "full"])
def test_the_other_strategies_do_as_well(name):
    torch.manual_seed(0)
    cfg = config(YAML[0], STRATEGY=name)
    model = build_model(cfg)
    reached = train_a_step(model, build_optimizer(cfg, model))
    assert any(n.startswith("tower.") for n in reached) == (name == "full")
    assert reached == {n for n, p in model.backbone.named_parameters() if p.requires_grad}
    infer(model)


@pytest.mark.parametrize("name", LAZY)
def test_stock_lazy_models_train_and_infer(name):
    torch.manual_seed(0)
    node = lazy_model(name)
    model = instantiate(node)
    trained = [p for p in model.parameters() if p.requires_grad]
    reached = train_a_step(model, torch.optim.SGD(trained, lr=SMALL_STEP))
    check_side_network_trained(model.backbone, reached, node.get("head_in_features", ("p2",)))
    infer(model)


def test_reported_levels_are_correct():
    backbone = build_model(config(YAML[0])).backbone.eval()
    with torch.no_grad():
        levels = backbone(torch.randn(1, 3, 128, 160))
    reported = backbone.output_shape()
    assert list(levels) == list(reported) == ["p2", "p3", "p4", "p5", "p6", "p7"]
    for name, level in levels.items():
        stride = reported[name].stride
        assert level.shape == (1, reported[name].channels, -(-128 // stride), -(-160 // stride)), name
    assert torch.equal(levels["p7"], levels["p6"][..., ::2, ::2])


def test_lazy_and_yaml_describe_the_same_backbone():
    node = lazy_model(LAZY[0])
    node.backbone.cfg.MODEL.TRANSFER.OUT_CHANNELS = 64
    node.pixel_mean, node.pixel_std, node.input_format = [10.0, 20.0, 30.0], [2.0, 3.0, 4.0], "RGB"
    cfg = config(YAML[1])
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD, cfg.INPUT.FORMAT = [10.0, 20.0, 30.0], [2.0, 3.0, 4.0], "RGB"
    torch.manual_seed(0)
    ours = instantiate(node.backbone).eval()
    torch.manual_seed(0)
    theirs = build_model(cfg).backbone.eval()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        a, b = ours(images), theirs(images)
    assert all(torch.equal(a[k], b[k]) for k in b)


def test_the_lazy_example_takes_keys_from_the_command_line():
    config = LazyConfig.load(str(ROOT / "configs/quick/lazy_mask_rcnn.py"))
    config = LazyConfig.apply_overrides(config, ["model.backbone.cfg.MODEL.TRANSFER.STRATEGY=zero_shot"])
    assert OmegaConf.to_container(config.model.backbone.cfg)["MODEL"]["VLM"]["NAME"] == "ShapesCLIP-S-16"
    torch.manual_seed(0)
    model = instantiate(config.model)
    assert type(model.backbone.strategy).__name__ == "Pyramid"
    infer(model)


@pytest.fixture
def written():
    """Names that the Python of docs/plugin.md leaves behind, and its models in order; registrations are undone."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/plugin.md").read_text(), re.S)
    names, models = {}, []
    torch.manual_seed(0)
    for block in blocks:
        exec(block, names)
        models += [names.pop("model")] if "model" in names else []
    yield names, models
    for registered, name in (
        (STRATEGIES._found, "bottleneck"),
        (MIXERS._found, "shifted"),
        (MAPPERS._found, "detectron2"),
        (EVALUATORS._found, "coco_by_class"),
        (META_ARCH_REGISTRY._obj_map, "MyTracker"),
    ):
        registered.pop(name, None)


def test_the_page_about_plugins_runs(written):
    names, models = written
    assert [type(model).__name__ for model in models] == ["RetinaNet", "GeneralizedRCNN", "RetinaNet", "RetinaNet"]
    for model in models:
        infer(model)
    assert MAPPERS.get("detectron2") is names["make_mapper"]
    assert EVALUATORS.get("coco_by_class") is names["make_evaluator"]
    (*_, own, shifted), cfg = models, names["cfg"]
    blocks = shifted.backbone.strategy.side.stages[0].blocks
    assert all(type(block.interaction.mixer) is names["ShiftedMixer"] for block in blocks)
    assert type(own.backbone.strategy) is names["Bottleneck"]
    reached = train_a_step(own, build_optimizer(cfg, own))
    assert any(name.startswith("strategy.adapter.") for name in reached)
    parts = [p for part in own.backbone.trained_parts() for m in part.modules for p in m.parameters()]
    assert {id(p) for p in parts} == {id(p) for p in own.backbone.parameters() if p.requires_grad}
    tracker = effowt_zoo.get_config("quick/shapes_ow_effowt.yaml")
    tracker.MODEL.META_ARCHITECTURE = "MyTracker"
    assert build_model(tracker).start().tracker.memory_frames == 30
