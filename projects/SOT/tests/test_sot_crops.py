"""Crops and their maps: the recorded crops of LoRAT's release to the pixel, hand cases, and boxes there and back."""

import pytest
import torch
from helpers.golden import golden
from sot.crops import ContextCrop, channel_means, check_frame, take_crop
from sot.maps import clip_boxes, is_valid, map_boxes, rasterise, unmap_boxes


def recorded(kind):
    """The crops of a kind, and the policy and padding that made them; cells are 8 pixels, the grid 5 x 5 or 8 x 8."""
    numbers = golden("lorat/geometry")
    size, factor, padding = {"template": (40, 2.0, "image_mean"), "search": (64, 4.0, "search_pad")}[kind]
    count = len(numbers[f"{kind}.crop"])
    return numbers, ContextCrop(size=size, factor=factor), numbers[padding], numbers["boxes"][:count]


@pytest.mark.parametrize("kind", ["template", "search"])
def test_the_release_cuts_the_same_crops(kind):
    numbers, policy, padding, boxes = recorded(kind)
    maps = policy.maps(boxes)
    torch.testing.assert_close(maps, numbers[f"{kind}.params"], rtol=0, atol=1e-6)
    image = numbers["image"].permute(2, 0, 1)
    torch.testing.assert_close(channel_means(image), numbers["image_mean"])
    crops = [policy(image, box, padding) for box in boxes]
    torch.testing.assert_close(
        torch.stack([c.map for c in crops]), numbers[f"{kind}.params_adjusted"], rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(torch.stack([c.pixels for c in crops]), numbers[f"{kind}.crop"], rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["template", "search"])
def test_the_release_maps_boxes_the_same(kind):
    numbers, _, _, boxes = recorded(kind)
    maps = numbers[f"{kind}.params_adjusted"]
    torch.testing.assert_close(map_boxes(maps, boxes), numbers[f"{kind}.box_in_crop"], rtol=0, atol=1e-6)
    back = unmap_boxes(maps, numbers[f"{kind}.crop_box"])
    # the release divides in float32
    torch.testing.assert_close(back, numbers[f"{kind}.crop_box_in_image"], rtol=0, atol=1e-5)
    clipped = clip_boxes(back, numbers["image"].shape[:2])
    torch.testing.assert_close(clipped, numbers[f"{kind}.crop_box_in_image_clipped"], rtol=0, atol=1e-5)


def test_the_release_rasterises_the_same():
    numbers = golden("lorat/geometry")
    assert rasterise(numbers["raster.in"]).equal(numbers["raster.out"].double())


def test_the_formulas_hold_in_a_hand_case():
    (scale, shift) = ContextCrop(size=224, factor=4.0).maps(torch.tensor([10.0, 20, 50, 40], dtype=torch.float64))
    # w 40, h 20: context sides 130 and 110
    expected = 224 / (130 * 110) ** 0.5
    torch.testing.assert_close(scale, torch.full((2,), expected, dtype=torch.float64))
    torch.testing.assert_close(shift, 112 - expected * torch.tensor([30.0, 30.0], dtype=torch.float64))


def test_small_boxes_are_raised_about_their_centre():
    small, raised = torch.tensor([[50.0, 50, 50.5, 52], [45.25, 46, 55.25, 56]], dtype=torch.float64)
    policy = ContextCrop(size=64, factor=4.0, min_side=10.0)
    torch.testing.assert_close(policy.maps(small), policy.maps(raised))


def test_boxes_go_there_and_back(seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, 71, 93), generator=generator, dtype=torch.uint8)
    for _ in range(50):
        corner = torch.rand(2, generator=generator, dtype=torch.float64) * 130 - 30
        box = torch.cat([corner, corner + 0.5 + 70 * torch.rand(2, generator=generator, dtype=torch.float64)])
        crop = ContextCrop(size=55, factor=3.0)(image, box, channel_means(image))
        torch.testing.assert_close(unmap_boxes(crop.map, map_boxes(crop.map, box)), box, rtol=0, atol=1e-3)
        assert crop.pixels.shape == (3, 55, 55) and crop.pixels.isfinite().all()


def test_a_crop_shows_the_pixels_that_its_map_describes():
    # a ramp, on which bilinear sampling is exact
    rows, columns = torch.meshgrid(torch.arange(60.0), torch.arange(80.0), indexing="ij")
    image = torch.stack([columns, rows, torch.zeros_like(rows)])
    crop = ContextCrop(size=48, factor=2.0)(
        image, torch.tensor([30.0, 22, 50, 38], dtype=torch.float64), torch.zeros(3)
    )
    scale, shift = crop.map
    centres = torch.arange(48) + 0.5
    inner = slice(4, -4)
    torch.testing.assert_close(
        crop.pixels[0, 20, inner], ((centres - shift[0]) / scale[0] - 0.5)[inner], rtol=0, atol=1e-3
    )
    torch.testing.assert_close(
        crop.pixels[1, inner, 20], ((centres - shift[1]) / scale[1] - 0.5)[inner], rtol=0, atol=1e-3
    )


def test_a_crop_that_misses_the_image_is_padding():
    image = torch.full((3, 20, 30), 7, dtype=torch.uint8)
    requested = ContextCrop(size=16).maps(torch.tensor([200.0, 200, 210, 210], dtype=torch.float64))
    crop = take_crop(image, requested, 16, torch.tensor([1.0, 2.0, 3.0]))
    assert crop.pixels.equal(torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1).expand(3, 16, 16))
    assert crop.map.equal(requested.float())


@pytest.mark.parametrize("shape", [(20, 30), (1, 20, 30), (3, 0, 30), (2, 3, 20, 30)])
def test_a_frame_has_three_channels_and_pixels(shape):
    with pytest.raises(ValueError, match="frame") as error:
        check_frame(torch.zeros(shape))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("argument, value", [("size", 0), ("factor", 0.5), ("min_side", -1.0)])
def test_a_policy_refuses_what_cannot_be(argument, value):
    with pytest.raises(ValueError, match=argument) as error:
        ContextCrop(**{"size": 16, argument: value})
    assert str(value) in str(error.value)


def test_valid_boxes_are_finite_and_have_an_area():
    nan, inf = float("nan"), float("inf")
    boxes = torch.tensor([[0, 0, 1, 1], [0, 0, 0, 1], [1, 0, 0, 1], [nan, 0, 1, 1], [0, 0, inf, 1], [-5, -5, -4, -4]])
    assert is_valid(boxes).tolist() == [True, False, False, False, False, True]
