"""The parts of the script that trains a VLM: loss, towers, schedule, optimizers, and changes of images."""

import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch.nn import functional as F
from vlm_lab.augment import change_colours, cut_and_paste, step_generator
from vlm_lab.evaluation import compared_classes, zero_shot
from vlm_lab.loss import caption_loss, class_loss, related_classes
from vlm_lab.muon import make_optimizers, orthogonalise
from vlm_lab.schedule import learning_rate, parse_stages, size_at
from vlm_lab.state import load_state, save_state
from vlm_lab.towers import encode_images, encode_texts, position_window

from effowt_d2.assets import register_vlm_configs
from effowt_d2.data.image_text import Row, Sample, Vocabulary, pack


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
    for wrong in ("64", "60:5", "x:1", "0:3", "32:0", "32:-1", "32:2:1", "32:²"):
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


# the state of a run

SETTINGS = {"model": "A", "seed": 0, "words_content": "1a", "lr": 0.1, "folder": [["x", "64"]]}


def small_run(decay=0.0):
    torch.manual_seed(0)
    layer = torch.nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(layer.parameters(), weight_decay=decay)
    layer(torch.ones(2)).sum().backward()
    optimizer.step()
    return layer, [optimizer]


@pytest.fixture
def last(tmp_path):
    save_state(tmp_path / "last.pt", *small_run(), step=3, settings=SETTINGS)
    return tmp_path / "last.pt"


def test_a_run_goes_on_from_its_state(last, caplog):
    layer, optimizers = torch.nn.Linear(2, 3), [torch.optim.AdamW(torch.nn.Linear(2, 3).parameters())]
    assert load_state(last, layer, optimizers, settings=SETTINGS) == 3 and not caplog.text
    assert torch.equal(layer.weight, small_run()[0].weight)
    assert optimizers[0].state_dict()["state"][0]["step"] == 1


def test_a_state_without_settings_is_taken(last):
    state = torch.load(last)
    del state["settings"]
    torch.save(state, last)
    assert load_state(last, *small_run(), settings=SETTINGS) == 3


@pytest.mark.parametrize("name, value", [("model", "B"), ("seed", 1), ("words_content", "2b")])
def test_a_run_of_another_model_seed_or_vocabulary_is_not_continued(last, name, value):
    with pytest.raises(ValueError, match=f"last.pt is of another run.*: {name} {SETTINGS[name]} → {value}"):
        load_state(last, *small_run(), settings=SETTINGS | {name: value})


def test_changed_settings_are_named_and_used(last, caplog):
    layer, optimizers = small_run(decay=0.5)
    load_state(last, layer, optimizers, settings=SETTINGS | {"lr": 0.2, "new": 1})
    assert "last.pt was made with other settings: lr 0.1 → 0.2" in caplog.text and "new" not in caplog.text
    assert optimizers[0].param_groups[0]["weight_decay"] == 0.5


@pytest.mark.parametrize(
    "content, message",
    [
        (lambda old: old[: len(old) // 2], "truncated or damaged"),
        (lambda old: b"", "not a checkpoint"),
        (lambda old: b"hello", "not a checkpoint"),
        ({"state_dict": {"weight": torch.ones(2)}}, r"holds the keys \['state_dict'\], and no \['model', 'optim"),
        ([1, 2], "holds a list"),
        (
            {"step": 1, "model": {"weight": torch.ones(3, 2), "bias": torch.ones(3)}, "optimizers": []},
            "no optimizers of this model",
        ),
    ],
    ids=["truncated", "empty", "text", "weights", "a list", "no optimizers"],
)
def test_what_is_no_state_is_refused(last, content, message):
    if callable(content):
        last.write_bytes(content(last.read_bytes()))
    else:
        torch.save(content, last)
    with pytest.raises(ValueError, match=message) as error:
        load_state(last, *small_run(), settings=SETTINGS)
    assert "last.pt" in str(error.value) and "\n" not in str(error.value)


# accuracy


@pytest.fixture
def pictures(tmp_path):
    samples = []
    for i, label in enumerate("ddcxc"):
        Image.new("RGB", (32, 32), (50 * i, 99, 99)).save(tmp_path / f"{i}.png")
        samples.append(Sample(str(tmp_path / f"{i}.png"), label))
    return pack(samples, tmp_path / "packed", side=32)


WORDS = Vocabulary(
    [Row(("d",), ("dog",), ("a",)), Row(("c",), ("cat",)), Row(("a",), ("animal",)), Row(("z",), ("zebra",))]
)


@pytest.mark.parametrize("count, images", [(0, 4), (3, 3), (50, 4)])
def test_no_image_counts_twice_and_none_without_a_word(model, pictures, count, images):
    tokenizer = open_clip.get_tokenizer("RealCLIP-S-16")
    scores = zero_shot(model, tokenizer, WORDS, pictures, size=192, count=count)
    assert scores["images"] == images and scores["classes"] == 2


def test_two_classes_are_compared_at_least():
    assert compared_classes(WORDS, ["d", "d", "c", "x"]) == [0, 1]
    assert compared_classes(WORDS, ["d"], among="all") == [0, 1, 3]
    for labels in ([], ["x"], ["d", "d"]):
        with pytest.raises(ValueError, match="two classes"):
            compared_classes(WORDS, labels)


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
