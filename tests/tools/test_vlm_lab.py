"""The parts of the script that trains a VLM: loss, towers, schedule, optimizers, and changes of images."""

import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch.nn import functional as F
from vlm_lab.augment import change_colours, cut_and_paste, step_generator
from vlm_lab.loss import caption_loss, class_loss, related_classes
from vlm_lab.muon import make_optimizers, orthogonalise
from vlm_lab.schedule import learning_rate, parse_stages, size_at
from vlm_lab.towers import encode_images, encode_texts, position_window

from effowt_d2.assets import register_vlm_configs


@pytest.fixture(scope="module")
def model():
    register_vlm_configs()
    torch.manual_seed(0)
    return open_clip.create_model("RealCLIP-S-16", load_weights=False).eval()


# loss


def test_texts_that_are_also_true_are_neither_positive_nor_negative():
    """Classes: 0 poodle (a dog), 1 cat, 2 dog."""
    related = related_classes([(2,), (), ()])
    logits = torch.randn(3, 3)
    order = torch.tensor([2, 0, 1])
    common = {"text_classes": order, "also_true": related[:, order]}
    loss = class_loss(logits, torch.tensor([0, 1, 2]), **common)
    poodle = F.cross_entropy(logits[0, [1, 2]], torch.tensor(0))  # dog is left out
    cat = F.cross_entropy(logits[1], torch.tensor(2))
    dog = F.cross_entropy(logits[2, [0, 2]], torch.tensor(0))  # it may be a poodle
    torch.testing.assert_close(loss, (poodle + cat + dog) / 3)
    kinds = class_loss(logits, torch.tensor([2, -1, -1]), **common)
    torch.testing.assert_close(kinds, F.cross_entropy(logits[0, [0, 2]], torch.tensor(0)))
    assert class_loss(logits, torch.tensor([-1, -1, -1]), **common) == 0


def test_captions_are_contrasted_both_ways():
    logits = torch.tensor([[9.0, 0, 0], [0, 9, 0]])
    assert caption_loss(logits) < 1e-2 < 1 < caption_loss(logits.flip(0))


# towers


def test_the_towers_are_open_clips(model):
    images = torch.randint(0, 256, (2, 192, 192, 3), dtype=torch.uint8)
    preprocess = image_transform_v2(PreprocessCfg(size=192), is_train=False)
    pixels = torch.stack([preprocess(Image.fromarray(i.numpy())) for i in images])
    tokens = open_clip.get_tokenizer("RealCLIP-S-16")(["a dog", "a photo of a very small cat on a mat", "x"])
    with torch.no_grad():
        ours = encode_images(model.visual, images, step=0), encode_texts(model, tokens)
        theirs = model.encode_image(pixels, normalize=True), model.encode_text(tokens, normalize=True)
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_small_images_visit_all_places_of_the_position_table():
    table = torch.arange(144.0).reshape(1, 144, 1)
    corners = {position_window(table, cells=4, step=step)[0, 0].item() for step in range(81)}
    assert len(corners) == 81
    first = position_window(table, cells=4, step=0)[0, :, 0].tolist()
    assert first == [12 * y + x for y in range(4) for x in range(4)]


# schedule and optimizers


def test_stages_and_rates():
    stages = parse_stages(["64:3", "96:2"])
    assert [size_at(step, stages) for step in range(7)] == [64, 64, 64, 96, 96, 96, 96]
    rates = [learning_rate(step, warmup=2, decay=4, steps=10) for step in range(10)]
    assert rates == [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    for wrong in ("64", "60:5", "x:1", "0:3"):
        with pytest.raises(ValueError, match=wrong):
            parse_stages([wrong])


def test_every_parameter_is_in_one_optimizer(model):
    optimizers = make_optimizers(model, lr=1e-3, muon_lr=1e-3, weight_decay=0.1)
    inside = [id(p) for o in optimizers for g in o.param_groups for p in g["params"]]
    assert sorted(inside) == sorted(id(p) for p in model.parameters())


def test_orthogonalised_matrices_have_singular_values_near_one():
    for shape in ((16, 48), (48, 16)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert values.min() > 0.6 and values.max() < 1.3, values


# changes of images


def test_a_part_of_the_image_before_is_pasted():
    images = torch.arange(4, dtype=torch.uint8)[:, None, None, None].expand(4, 32, 32, 3)
    pasted, own = cut_and_paste(images, step_generator(0, 5))
    assert 0 < own < 1, "the step of this test has a rectangle of some size"
    for i, image in enumerate(pasted):
        assert set(image.unique().tolist()) == {i, (i - 1) % 4}
        assert (image == i).float().mean().item() == pytest.approx(own)


def test_changes_belong_to_the_step():
    images = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8)
    first, again, other = (change_colours(images, step_generator(7, step)) for step in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.min() >= 0 and first.max() <= 255
    change = first / images.clamp_min(1)
    assert change[0].mean() != pytest.approx(change[1].mean().item(), rel=1e-3), "each image has a change of its own"
