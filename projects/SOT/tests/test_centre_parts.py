"""Square crops, centre head, loss, sampler and encoder beyond what was recorded: edges, properties, bad input."""

import math

import numpy as np
import pytest
import torch
from helpers.golden_centre import golden_hivit  # noqa: F401  (it makes the tower known)
from sot.centre_head import LEAST, CentreHead, CentreMaps
from sot.centre_loss import CentreLoss, centre_heatmaps
from sot.centre_tracker import keep_in_frame
from sot.data.frame_clips import FrameClipMapper, draw_rolls
from sot.data.sampling import LaterSampler
from sot.data.sequence import TargetSequence
from sot.embedding import SeparatePositions
from sot.encoder import JointEncoder
from sot.maps import map_boxes, unmap_boxes
from sot.square_crop import SquareCrop

from effowt_d2.formats import DatasetError
from effowt_d2.modeling.tower import build_tower

BOXES = torch.tensor(
    [[40.0, 30, 61, 47], [-9, 20, 12, 44], [90, 70, 131, 99], [3.25, 4.5, 10.75, 60], [0, 0, 119, 89]],
    dtype=torch.float64,
)


@pytest.mark.parametrize("box", BOXES)
def test_one_map_goes_there_and_back_and_shows_the_pixels(box):
    policy, image = (
        SquareCrop(size=63, factor=3.0),
        torch.arange(90 * 120).reshape(1, 90, 120).expand(3, -1, -1).float(),
    )
    crop = policy(image, box)
    assert crop.map.equal(policy.label_maps(box)) and crop.map[0, 0].item() == pytest.approx(
        63 / policy.region(box).side
    )
    torch.testing.assert_close(unmap_boxes(crop.map, map_boxes(crop.map, box)), box, rtol=0, atol=1e-9)
    # the crop's value at a pixel's middle is the image's there, which grows by 1 along a row and by 120 along a column
    x, y = map_boxes(crop.map, torch.tensor([60.5, 45.5, 60.5, 45.5], dtype=torch.float64))[:2].tolist()
    if 2 < x < 61 and 2 < y < 61:
        found = crop.pixels[0, math.floor(y - 0.5) : math.floor(y + 1.5), math.floor(x - 0.5) : math.floor(x + 1.5)]
        assert found.min() <= 45 * 120 + 60 <= found.max()


def test_a_crop_at_the_edge_shows_the_last_column_unless_it_is_the_releases():
    image = torch.full((3, 20, 20), 200, dtype=torch.uint8)
    box = torch.tensor([10.0, 10, 20, 20], dtype=torch.float64)
    here, there = (SquareCrop(size=20, factor=2.0, released=r)(image, box).pixels for r in (False, True))
    assert here[0, 14, 14] == 200 and here[0, 14, 15] == 0 and there[0, 14, 14] == 0 and there[0, 13, 13] == 200


def test_a_crop_beside_the_image_is_black_and_is_known_to_be():
    policy, image = SquareCrop(size=16, factor=2.0), torch.full((3, 20, 20), 200, dtype=torch.uint8)
    far = torch.tensor([60.0, 60, 70, 70], dtype=torch.float64)
    assert policy(image, far).pixels.eq(0).all() and not policy.shows(image, far) and policy.shows(image, far - 45)
    assert policy.region(torch.tensor([5.0, 5, 5, 9])).side == 0
    for argument, value in (("size", 0), ("factor", 0.5)):
        with pytest.raises(ValueError, match=f"{argument}.*{value}"):
            SquareCrop(**{"size": 16, argument: value})


def test_boxes_stay_in_frames_smaller_than_the_margin():
    boxes = torch.tensor([[-5.0, -5, 3, 3], [50, 50, 60, 60], [2, 3, 2.5, 3.5]], dtype=torch.float64)
    assert keep_in_frame(boxes, (6, 40)).tolist() == [[0, 0, 10, 6], [30, 0, 40, 6], [2, 0, 12, 6]]


def test_a_box_put_into_maps_comes_out():
    for box in torch.rand(20, 2, 2).sort(dim=1).values.flatten(1):
        centre, sides = (box[:2] + box[2:]) / 2 * torch.tensor([7, 5]), box[2:] - box[:2]
        column, row = centre.long().tolist()
        scores, offsets = torch.full((1, 5, 7), LEAST), torch.zeros(1, 2, 5, 7)
        scores[0, row, column], offsets[0, :, row, column] = 0.9, centre - torch.tensor([column, row])
        maps = CentreMaps(scores, sides.view(1, 2, 1, 1).expand(-1, -1, 5, 7), offsets)
        torch.testing.assert_close(maps.best_boxes()[0], box, rtol=0, atol=1e-6)
    tied = CentreMaps(torch.ones(1, 5, 7), torch.ones(1, 2, 5, 7), torch.zeros(1, 2, 5, 7))
    assert tied.best_boxes().tolist() == [[-0.5, -0.5, 0.5, 0.5]]


@pytest.mark.parametrize("towers", [2, 3])
def test_the_head_has_as_many_towers_and_bounded_outputs(towers):
    head = CentreHead(channels=8, width=16, towers=towers).eval()
    maps = head(1e4 * torch.randn(2, 8, 5, 5))
    assert len(head.towers) == towers and maps.offsets.shape == maps.sizes.shape == (2, 2, 5, 5)
    assert all(LEAST <= part.min() and part.max() <= 1 - LEAST for part in (maps.scores, maps.sizes))
    for argument, value in (("towers", 4), ("width", 12), ("channels", 0)):
        with pytest.raises(ValueError, match=f"{argument}.*{value}"):
            CentreHead(**{"channels": 8, argument: value})


def test_a_batch_without_a_centre_has_a_loss_and_a_gradient():
    head = CentreHead(channels=4, width=8)
    losses = CentreLoss()(head(torch.randn(2, 4, 3, 3)), torch.tensor([[1.5, 1.5, 2, 2], [-1, -1, -0.5, -0.5]]))
    assert centre_heatmaps(torch.tensor([[1.5, 1.5, 2, 2]]), (3, 3)).max() < 1
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert all(p.grad.isfinite().all() for p in head.parameters()) and head.towers["score"][0][0].weight.grad.any()


def test_the_exact_radius_keeps_the_overlap():
    sides = torch.tensor([[0.5, 0.3]]) * 40
    boxes = torch.cat([20 - sides / 2, 20 + sides / 2], dim=1) / 40
    wide, exact = (centre_heatmaps(boxes, (40, 40), name)[0] for name in ("released", "exact"))
    reach = int((exact[20] > 0).sum()) // 2
    assert 0 < reach < int((wide[20] > 0).sum()) // 2 and exact[20, 20] == wide[20, 20] == 1

    def overlap(r):  # of a box that is moved by r, shrunk by r or grown by r at every side
        (w, h), area = sides[0].tolist(), sides.prod().item()
        moved = (w - r) * (h - r)
        return min(moved / (2 * area - moved), (w - 2 * r) * (h - 2 * r) / area, area / ((w + 2 * r) * (h + 2 * r)))

    assert overlap(reach) >= 0.7 > overlap(reach + 1)
    with pytest.raises(ValueError, match="radius.*released.*exact.*half"):
        CentreLoss(radius="half")


def sequence(visible):
    visible = np.array(visible, dtype=bool)
    boxes = np.tile([0.0, 0, 5, 5], (len(visible), 1))
    return TargetSequence("made", [f"{n}.jpg" for n in range(len(visible))], boxes, visible)


def test_search_frames_come_later_and_in_order_if_asked():
    np.random.seed(0)
    shown = sequence([n % 3 != 1 for n in range(60)])
    for order in ("shuffled", "sorted"):
        drawn = [LaterSampler(searches=4, max_gap=10, order=order)(shown) for _ in range(40)]
        assert all(0 < s - d.references[0] < 10 and s % 3 != 1 for d in drawn for s in d.searches)
        assert all(list(d.searches) == sorted(d.searches) for d in drawn) == (order == "sorted")
    still = TargetSequence("still", ["a.jpg"], np.array([[0.0, 0, 5, 5]]), still=True)
    assert LaterSampler(searches=2)(still) == ((0,), (0, 0))


def test_sequences_that_show_too_little():
    sampler = LaterSampler(searches=4)
    assert not sampler.fits(sequence([True] * 19)) and sampler.fits(sequence([True] * 20))
    assert not sampler.fits(sequence([True] * 10 + [False] * 20)) and sampler.fits(sequence([True] * 11 + [False] * 20))
    # a far frame is reached in the end, one without a later one never
    far = LaterSampler(searches=2, max_gap=1)(sequence([True] + [False] * 200 + [True]))
    assert far == ((0,), (201, 201))
    with pytest.raises(DatasetError, match="made"):
        sampler(sequence([False] * 30 + [True]))
    for argument, value in (("searches", 0), ("max_gap", -1), ("order", "backwards")):
        with pytest.raises(ValueError, match=argument) as error:
            LaterSampler(**{argument: value})
        assert str(value) in str(error.value)


def test_clips_whose_crops_would_be_empty_are_not_made():
    template, search = SquareCrop(size=16), SquareCrop(size=32, factor=4.0)
    mapper = FrameClipMapper(sampler=None, template=template, search=search, scale=0.0, shift=0.0)
    frames = [np.full((40, 60, 3), 100, dtype=np.uint8)] * 3
    np.random.seed(0)
    boxes = torch.tensor([[10.0, 10, 20, 20]] * 3, dtype=torch.float64)
    made = mapper.process(frames, boxes, draw_rolls(3, augment=False))
    torch.testing.assert_close(made["search_boxes"], torch.tensor([[12.0, 12, 20, 20]] * 2, dtype=torch.float64))
    for bad in ([10.0, 10, 10, 20], [math.nan] * 4, [200.0, 10, 210, 20]):
        boxes[2] = torch.tensor(bad)
        assert mapper.process(frames, boxes, draw_rolls(3, augment=False)) is None


@pytest.mark.parametrize("sizes, name", [((40, 96), "template_size"), ((32, 100), "search_size")])
def test_sides_that_are_no_multiple_of_the_stride_are_named(sizes, name):
    tower = build_tower("timm://golden_hivit", "", allow_random=True)
    with pytest.raises(ValueError, match=f"{name}.*16"):
        JointEncoder(tower=tower, template_size=sizes[0], search_size=sizes[1], embedding=SeparatePositions)


def test_position_tables_train_with_the_tower_and_not_without():
    for frozen in (True, False):
        tower = build_tower("timm://golden_hivit", "", allow_random=True, frozen=frozen)
        encoder = JointEncoder(tower=tower, template_size=32, search_size=64, embedding=SeparatePositions)
        assert isinstance(encoder.embedding.search_positions, torch.nn.Parameter) != frozen
        assert ("embedding.search_positions" in encoder.state_dict()) != frozen
        # the table of the pre-training grid is not used here, so the tower still trains as a whole
        assert not tower.vit.pos_embed.requires_grad and tower.base.all_train != frozen
        assert tower.vit.norm.weight.requires_grad != frozen


def test_types_tell_a_frozen_tower_which_tokens_are_the_targets():
    torch.manual_seed(0)
    grids = {"positions": torch.randn(8, 4, 4), "template_grid": (2, 2), "search_grid": (4, 4)}
    plain, typed = SeparatePositions(**grids), SeparatePositions(**grids, type_std=2.0)
    small, large = torch.randn(3, 8, 2, 2), torch.randn(3, 8, 4, 4)
    shown = torch.tensor([[[True, False], [False, False]]]).expand(3, 2, 2)
    added = typed.template(small, shown) - plain.template(small, shown)
    torch.testing.assert_close(added[1], typed.types[[1, 0, 0, 0]])
    torch.testing.assert_close(typed.search(large) - plain.search(large), typed.types[2].expand(3, 16, 8))
    assert 1.0 < typed.types.std() < 3.0 and plain.types is None
    assert set(typed.state_dict()) == {"types"} and not plain.state_dict() and not typed.of_tower
    assert SeparatePositions(**grids, trains=True, type_std=2.0).of_tower
    with pytest.raises(ValueError, match="type_std.*-1.0"):
        SeparatePositions(**grids, type_std=-1.0)
