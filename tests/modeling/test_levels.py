"""MODEL.TRANSFER.LEVELS: which levels come out, and that nothing is built or trained for others."""

import pytest
import torch
import torch.distributed as dist
from detectron2 import model_zoo
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from helpers.configs import plugin_config
from helpers.messages import raises
from helpers.tiny_backbone import tiny_backbone
from torch.nn.parallel import DistributedDataParallel

from effowt_d2.modeling.layers.levels import LEVELS, check_levels, levels_to_build, with_coarser

DENSE = ["p3", "p4", "p5", "p6", "p7"]
ALL = list(LEVELS)


def build(tiny, strategy, levels):
    return tiny_backbone(tiny, MODEL__TRANSFER__STRATEGY=strategy, MODEL__TRANSFER__LEVELS=levels)


@pytest.mark.parametrize("levels", [DENSE, ["p2", "p3", "p4", "p5"], ["p6"], ["p5", "p3"]])
@pytest.mark.parametrize("strategy", ["side", "zero_shot", "full"])
def test_exactly_the_levels_come_out_as_among_all(tiny, strategy, levels):
    every, some = build(tiny, strategy, ALL), build(tiny, strategy, levels)
    weights = every.state_dict()
    assert some.state_dict().keys() <= weights.keys()
    some.load_state_dict({key: weights[key] for key in some.state_dict()})
    images, sizes = torch.randn(2, 3, 64, 96), [(64, 96), (40, 50)]
    expected, found = every(images, sizes), some(images, sizes)
    assert list(found) == sorted(levels) == list(some.output_shape())
    assert all(torch.equal(found[name], expected[name]) for name in levels)
    assert {name: spec.stride for name, spec in some.output_shape().items()} == {k: LEVELS[k] for k in sorted(levels)}
    sum(level.square().sum() for level in found.values()).backward()
    assert all(p.grad is not None for p in some.parameters() if p.requires_grad)
    if "p2" not in levels:
        assert some.state_dict().keys() < weights.keys()


@pytest.mark.parametrize("levels", [["p1", "p3"], [], ["p3", "p3"]])
def test_levels_that_do_not_exist_name_the_key_and_the_known_ones(tiny, levels):
    with raises(ValueError, "MODEL.TRANSFER.LEVELS", levels, ALL):
        build(tiny, "side", levels)


def test_coarse_levels_take_every_second_cell():
    p4 = torch.arange(35.0).reshape(1, 1, 5, 7)
    levels = with_coarser({"p4": p4}, ["p5", "p6", "p7"])
    assert levels["p5"][0, 0].tolist() == [[0, 2, 4, 6], [14, 16, 18, 20], [28, 30, 32, 34]]
    assert levels["p6"][0, 0].tolist() == [[0, 4], [28, 32]] and levels["p7"].tolist() == [[[[0]]]]
    with raises(KeyError, "p2"):
        with_coarser({"p4": p4}, ["p2"])


def test_what_has_to_be_made():
    assert check_levels(["p7", "p3"]) == ("p3", "p7")
    assert levels_to_build(["p3", "p7"], ["p2", "p3", "p4"]) == ("p3", "p4")
    assert levels_to_build(["p2", "p3"], ["p2", "p3", "p4"]) == ("p2", "p3")


def picture(seed):
    generator = torch.Generator().manual_seed(seed)
    objects = Instances((64, 96), gt_boxes=Boxes(torch.tensor([[4.0, 4.0, 60.0, 50.0]])), gt_classes=torch.tensor([3]))
    return {"image": torch.randint(0, 256, (3, 64, 96), generator=generator, dtype=torch.uint8), "instances": objects}


def two_steps(rank, folder, levels):
    """One of two processes: steps of RetinaNet under DistributedDataParallel, which complains in the second one."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", world_size=2, rank=rank)
    cfg = plugin_config()
    cfg.merge_from_file(model_zoo.get_config_file("COCO-Detection/retinanet_R_50_FPN_1x.yaml"))
    cfg.MODEL.DEVICE, cfg.MODEL.BACKBONE.NAME = "cpu", "build_effowt_backbone"
    cfg.MODEL.VLM.NAME, cfg.MODEL.VLM.WEIGHTS = "ShapesCLIP-S-16", "effowt://ShapesCLIP-S-16"
    cfg.MODEL.VLM.CANVAS, cfg.MODEL.TRANSFER.OUT_CHANNELS = 8, 32
    cfg.MODEL.SIDE.BLOCKS, cfg.MODEL.TRANSFER.LEVELS = [1, 1, 1], levels
    torch.manual_seed(0)
    model = build_model(cfg).train()
    parallel = DistributedDataParallel(model)
    with EventStorage():
        for step in range(2):
            sum(parallel([picture(2 * step + rank)]).values()).backward()
    gradients = {name: p.grad for name, p in model.backbone.named_parameters() if p.requires_grad}
    torch.save(gradients, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_a_dense_detector_trains_on_two_processes(tmp_path):
    torch.multiprocessing.spawn(two_steps, args=(str(tmp_path), DENSE), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert ranks[0] and ranks[0].keys() == ranks[1].keys()
    assert all(gradient is not None and torch.equal(gradient, ranks[1][name]) for name, gradient in ranks[0].items())


@pytest.mark.slow
def test_with_a_level_that_nobody_reads_it_does_not(tmp_path):
    with raises(torch.multiprocessing.ProcessRaisedException, "find_unused_parameters"):
        torch.multiprocessing.spawn(two_steps, args=(str(tmp_path), ALL), nprocs=2)
