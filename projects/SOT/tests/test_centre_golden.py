"""Crops, heat maps, losses, selection, sampling and clips against the numbers recorded from AQATrack and EVPTrack."""

import random

import numpy as np
import pytest
import torch
from helpers.golden import below, golden, golden_manifest
from sot.centre_head import CentreMaps
from sot.centre_loss import CentreLoss, centre_heatmaps, focal_loss
from sot.centre_tracker import keep_in_frame
from sot.data.frame_clips import ClipRolls, FrameClipMapper, moved_box
from sot.data.sampling import LaterSampler
from sot.data.sequence import TargetSequence
from sot.losses import overlaps
from sot.maps import map_boxes, unmap_boxes
from sot.square_crop import SquareCrop
from sot.window import HannProduct, hann_window

from effowt_d2.utils.boxes import xywh_to_xyxy, xyxy_to_xywh

SYSTEMS = pytest.mark.parametrize("system", ["aqatrack", "evptrack"])


def corners(boxes):
    return torch.from_numpy(xywh_to_xyxy(boxes.numpy()))


def centres(boxes):
    """cx, cy, w, h."""
    return torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], dim=1)


def equal(found, expected, atol=1e-6):
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


@SYSTEMS
def test_crops_have_the_same_bytes_and_maps(system):
    numbers = golden(f"{system}/geometry")
    image = numbers["image"].permute(2, 0, 1)
    for number in range(14):
        case = below(numbers, f"case{number:02d}/")
        policy = SquareCrop(size=64, factor=case["factor"].item(), released=True)
        box, pred = corners(case["box"][None])[0], case["pred"]
        crop = policy(image, box)
        assert crop.pixels.permute(1, 2, 0).to(torch.uint8).equal(case["crop"]), number
        equal(crop.map[0, :1], case["resize_factor"])
        found = unmap_boxes(crop.map, 64 * torch.cat([pred[:2] - pred[2:] / 2, pred[:2] + pred[2:] / 2]))
        equal(found, corners(case["back"][None])[0])
        equal(keep_in_frame(found, image.shape[-2:]), corners(case["back_clipped"][None])[0])
        true = map_boxes(policy.label_maps(box), corners(case["gt_box"][None])[0]) / 64
        equal(true, corners(case["gt_in_crop"][None])[0])
        # pad_mask has no use: padding is what is neither image nor black by content
        assert policy.shows(image, box) == (not case["pad_mask"].all())


@SYSTEMS
def test_losses_of_hand_picked_cases(system):
    numbers = golden(f"{system}/loss_cases")
    heat = centre_heatmaps(corners(numbers["heat_boxes"].double()), (7, 7))
    equal(heat, numbers["heat"])
    pred = numbers["focal_pred"][:, 0]
    torch.testing.assert_close(focal_loss(pred, heat)[None], numbers["focal_all"])
    torch.testing.assert_close(torch.stack([focal_loss(*one) for one in zip(pred, heat)]), numbers["focal_each"])
    torch.testing.assert_close(focal_loss(pred, numbers["focal_nopos_heat"])[None], numbers["focal_nopos"])
    found, true = numbers["box_pred_cxcywh"], corners(numbers["box_target_xywh"])
    iou, giou = overlaps(
        torch.cat([found[:, :2] - found[:, 2:] / 2, found[:, :2] + found[:, 2:] / 2], 1), true.clamp(0, 1)
    )
    equal(iou, numbers["iou"])
    equal(giou, numbers["giou"])
    # maps of one cell, which names the predicted box
    maps = CentreMaps(torch.full((5, 1, 1), 0.5), found[:, 2:, None, None], found[:, :2, None, None])
    losses = CentreLoss()(maps, true)
    torch.testing.assert_close(losses["loss_giou"][None], 2 * numbers["giou_loss"])
    torch.testing.assert_close(losses["loss_l1"][None], 5 * numbers["l1_loss"])


@SYSTEMS
def test_windows_ties_and_clipping(system):
    numbers = golden(f"{system}/window")
    maps = CentreMaps(numbers["score"][:, 0], numbers["size"], numbers["offset"])
    equal(hann_window((9, 9))[1:-1, 1:-1], numbers["hann"][0, 0])
    equal(HannProduct.responses(maps.scores), numbers["response"][:, 0])
    equal(centres(HannProduct()(maps.scores, maps.boxes()).boxes), numbers["box_window"])
    equal(centres(maps.best_boxes()), numbers["box_plain"])
    kept = keep_in_frame(corners(numbers["clip_in"]), tuple(numbers["clip_image_hw"].tolist()))
    equal(kept, corners(numbers["clip_out"]))


@SYSTEMS
def test_the_same_frames_are_drawn(system):
    numbers, manifest = golden(f"{system}/data"), golden_manifest(system)
    rules = manifest["rules"]["sampler"]
    sampler = LaterSampler(searches=rules["T"], max_gap=rules["max_gap"])
    videos = [
        [below(numbers, "sampler/")[f"visible_{n}"].numpy().astype(bool) for n in of] for of in ((0, 1, 2, 5), (3, 4))
    ]
    source = random.Random(manifest["seed"])
    for row in numbers["sampler/draws"].tolist():
        (dataset,) = source.choices(range(3), weights=[1, 1, 1])
        if dataset == 2:
            drawn = [2, source.randint(0, 6), 1, 1, 1, 1, 1]
        else:
            while True:
                number = source.randint(0, len(videos[dataset]) - 1)
                shown = videos[dataset][number]
                if sampler.fits(sequence_of(shown)):
                    break
            frames = sampler.draw(shown, source)
            drawn = [dataset, number, *frames.references, *frames.searches]
        assert drawn == row


def sequence_of(visible):
    boxes = np.tile([0.0, 0, 1, 1], (len(visible), 1))
    return TargetSequence("made", [f"{n}.jpg" for n in range(len(visible))], boxes, visible)


@SYSTEMS
@pytest.mark.parametrize("clip", [0, 1, 2])
def test_clips_are_processed_alike(system, clip):
    numbers, rules = golden(f"{system}/data"), golden_manifest(system)["rules"]["processing"]
    given = below(numbers, f"processing/{clip}/")
    rolls = rules["rolls_in_order"][str(clip)]
    brightness, flips = (
        [value for name, value in rolls if name == kind] for kind in ("ToTensorAndJitter", "RandomHorizontalFlip_Norm")
    )
    torch.manual_seed(rules["seeds_used"][str(clip)])
    # per box two normal numbers, then two uniform ones from 0 to 1
    noise = np.stack([torch.cat([torch.randn(2), 2 * torch.rand(2) - 1]).numpy() for _ in range(5)])
    drawn = ClipRolls(bool(rolls[0][1]), bool(rolls[1][1]), noise, np.array(brightness), np.array(flips, dtype=bool))
    template, search = (SquareCrop(size=size, factor=factor, released=True) for size, factor in ((32, 2.0), (48, 4.0)))
    mapper = FrameClipMapper(sampler=None, template=template, search=search, scale=0.5, shift=3.5 / 2)
    frames, boxes = list(numbers["processing/frames"].numpy()), corners(numbers["processing/boxes"].double())
    sample = mapper.process(frames, boxes, drawn)
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    equal((sample["templates"][0] - mean) / std, given["template_image"], 1e-5)
    equal((sample["searches"][:2] - mean) / std, given["search_images"], 1e-5)
    for name, size in (("template", 32), ("search", 48)):
        found = torch.from_numpy(xyxy_to_xywh((sample[f"{name}_boxes"] / size).numpy()))
        equal(found.float(), given[f"{name}_anno"], 1e-5)
    for place, box in enumerate(boxes):
        _, box = mapper._frame(frames[0], box, drawn)
        around = box if not place else moved_box(box, noise[place], scale=0.5, shift=3.5 / 2)
        wanted = torch.cat([given["jittered_template"], given["jittered_search"]])[place]
        equal(torch.from_numpy(xyxy_to_xywh(around[None].numpy()))[0].float(), wanted, 1e-4)


@SYSTEMS
def test_every_recorded_tensor_is_compared(system):
    # masks of padding, which the release computes and ignores; what they decide is compared
    named = {f"processing/{clip}/search_pad_mask" for clip in range(3)}
    data = {name for name in golden(f"{system}/data") if not name.startswith("sampler/")} - named
    kinds = {name.rsplit("/", 1)[-1] for name in data}
    assert kinds == {
        *("boxes", "frames", "template_image", "search_images"),
        *(f"{what}_{of}" for what in ("jittered",) for of in ("template", "search")),
        *(f"{of}_anno" for of in ("template", "search")),
    }
    assert len({name.rsplit("/", 1)[-1] for name in golden(f"{system}/geometry")}) == 11
    assert len(golden(f"{system}/loss_cases")) == 13 and len(golden(f"{system}/window")) == 10
