"""The shipped vision-language model knows the words of ShapesOW; its captions, and the script that trains it."""

import importlib.util
import subprocess
import sys

import numpy as np
import open_clip
import pytest
import torch
from helpers import ROOT
from helpers.messages import assert_says, raises
from shapes_lab.captions import captioned_batch, captioned_image, single_object
from shapes_lab.zero_shot import category_embeddings, normalise, zero_shot_accuracy

from effowt_d2.assets import SHAPES_CLIP, register_vlm_configs, vlm_checkpoint
from effowt_d2.data.shapes_ow.vocabulary import COLOURS, SHAPES, TEXTURES, all_categories


@pytest.fixture(scope="module")
def model():
    register_vlm_configs()
    return open_clip.create_model(SHAPES_CLIP, pretrained=str(vlm_checkpoint())).eval()


@pytest.fixture(scope="module")
def tokenizer():
    register_vlm_configs()
    return open_clip.get_tokenizer(SHAPES_CLIP)


def test_zero_shot_accuracy_is_far_above_chance(model, tokenizer):
    # a random stream that neither training nor the figures in the docs use
    pairs = [single_object(np.random.default_rng([7, 99, index])) for index in range(160)]
    images = torch.from_numpy(np.stack([image for image, _ in pairs]))
    scores = zero_shot_accuracy(model, tokenizer, images, [look.category_id for _, look in pairs])
    chance = {
        "category": 1 / len(all_categories()),
        "shape": 1 / len(SHAPES),
        "texture": 1 / len(TEXTURES),
        "colour": 1 / len(COLOURS),
    }
    assert scores["category"] > 20 * chance["category"], scores
    assert scores["shape"] > 5 * chance["shape"], scores
    assert scores["texture"] > 2 * chance["texture"], scores
    assert scores["colour"] > 5 * chance["colour"], scores


def test_an_untrained_model_is_at_chance(tokenizer):
    torch.manual_seed(0)
    untrained = open_clip.create_model(SHAPES_CLIP).eval()
    pairs = [single_object(np.random.default_rng([7, 99, index])) for index in range(64)]
    images = torch.from_numpy(np.stack([image for image, _ in pairs]))
    scores = zero_shot_accuracy(untrained, tokenizer, images, [look.category_id for _, look in pairs])
    assert scores["category"] < 0.05 and scores["shape"] < 0.2, scores


def test_texts_of_all_categories_are_distinct_unit_vectors(model, tokenizer):
    texts = category_embeddings(model, tokenizer, templates=["{}"])
    assert texts.shape == (len(all_categories()), 128)
    assert torch.allclose(texts.norm(dim=1), torch.ones(len(texts)))
    nearest = (texts @ texts.T - 2 * torch.eye(len(texts))).max()
    assert nearest < 0.9999


def test_no_caption_is_cut(tokenizer):
    end = tokenizer([""])[0, 1].item()
    for index in range(4):
        _, captions = captioned_batch(seed=5, index=index, batch=32, size=64)
        tokens = tokenizer(captions)
        assert (tokens[:, -1] == 0).all(), "the last position is padding, so nothing was cut"
        assert (tokens == end).any(dim=1).all()


def test_batches_depend_on_seed_and_index_only():
    images, captions = captioned_batch(seed=1, index=5, batch=4, size=64)
    again, same = captioned_batch(seed=1, index=5, batch=4, size=64)
    assert np.array_equal(images, again) and captions == same
    assert captions != captioned_batch(seed=1, index=6, batch=4, size=64)[1]
    assert captions != captioned_batch(seed=2, index=5, batch=4, size=64)[1]


def test_a_caption_names_what_is_drawn():
    for index in range(20):
        _, caption = captioned_image(np.random.default_rng(index), shapes=["key"], textures=["plain"], colours=["red"])
        assert "red plain key" in caption


def test_too_small_an_image_is_an_error():
    with raises(ValueError, 52, 32):
        captioned_image(np.random.default_rng(0), size=32)


def test_normalise_is_clips():
    pixel = torch.full((1, 1, 1, 3), 255, dtype=torch.uint8)
    expected = (1 - torch.tensor(open_clip.OPENAI_DATASET_MEAN)) / torch.tensor(open_clip.OPENAI_DATASET_STD)
    assert torch.allclose(normalise(pixel).flatten(), expected)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("train_shapes_vlm", ROOT / "tools" / "train_shapes_vlm.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_script(script, monkeypatch, output):
    options = [
        "--steps",
        "4",
        "--small",
        "2",
        "--warmup",
        "1",
        "--batch",
        "8",
        "--workers",
        "0",
        "--threads",
        "1",
    ]
    monkeypatch.setattr(sys, "argv", ["train_shapes_vlm.py", "--output", str(output), "--eval-count", "8", *options])
    threads = torch.get_num_threads()
    script.main()
    torch.set_num_threads(threads)


def test_words_of_no_caption_are_zeros_and_take_no_room(script, model, tmp_path):
    torch.manual_seed(0)
    start = open_clip.create_model(SHAPES_CLIP)
    words = start.token_embedding.weight.detach().clone()
    with torch.no_grad():
        start.token_embedding.weight[[7, 40000]] += 1
    script.export(tmp_path / "saved.pt", start, words)
    saved = torch.load(tmp_path / "saved.pt", weights_only=True)["state_dict"]
    assert saved["token_embedding.weight"].any(dim=1).nonzero()[:, 0].tolist() == [7, 40000]
    for name, tensor in start.state_dict().items():
        assert name == "token_embedding.weight" or saved[name].equal(tensor.half()), name
    whole = sum(tensor.nbytes for tensor in saved.values())
    assert (tmp_path / "saved.pt").stat().st_size < whole - saved["token_embedding.weight"].nbytes
    # the shipped one: the words of all captions, begin and end
    assert model.token_embedding.weight.any(dim=1).sum() == 64


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="the training script needs torch 2.9")
def test_training_moves_every_part_and_repeats_bit_for_bit(script, tmp_path, monkeypatch):
    states = []
    for name in ("first.pt", "second.pt"):
        run_script(script, monkeypatch, tmp_path / name)
        states.append(torch.load(tmp_path / name, weights_only=True)["state_dict"])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    trained = open_clip.create_model(SHAPES_CLIP, pretrained=str(tmp_path / "first.pt")).state_dict()
    torch.manual_seed(0)
    fresh = open_clip.create_model(SHAPES_CLIP).state_dict()
    still = [name for name in fresh if torch.allclose(trained[name], fresh[name], atol=5e-4)]
    # key biases get no gradient of their own, but they share a tensor with those of queries and values
    assert still == [], still


def test_small_images_use_a_wandering_window_of_the_positions(script, model):
    table = model.visual.positional_embedding
    pixels = torch.rand(2, 3, 128, 128)
    whole = script.encode(model.visual, pixels, script.window(table, cells=8, step=5))
    assert torch.equal(whole, model.visual(pixels)), "the whole picture goes open_clip's own way"
    corners = {tuple(script.window(table, cells=4, step=step)[1, :4].tolist()) for step in range(25)}
    assert len(corners) == 25, "25 steps visit all 25 places"
    grid = table[1:].unflatten(0, (8, 8))
    assert torch.equal(script.window(table, cells=4, step=0)[1:].unflatten(0, (4, 4)), grid[:4, :4])


def test_whitened_patches_have_unit_spread(script):
    untrained = open_clip.create_model(SHAPES_CLIP)
    images = torch.from_numpy(captioned_batch(seed=3, index=0, batch=64)[0])
    script.whiten_patches(untrained, images)
    patches = untrained.visual.conv1(normalise(images)).permute(1, 0, 2, 3).flatten(1)
    covariance = torch.cov(patches)
    spread = covariance.diagonal()
    assert spread.max() <= 1.001 and spread.max() > 0.99
    assert (covariance - torch.diag(spread)).abs().max() < 1e-3, "no two filters say the same"


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="the training script needs torch 2.9")
def test_training_script_refuses_a_missing_folder(tmp_path):
    script = [
        sys.executable,
        str(ROOT / "tools" / "train_shapes_vlm.py"),
        "--output",
        str(tmp_path / "no" / "x.pt"),
    ]
    ended = subprocess.run(script, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 2
    assert_says(ended.stderr, tmp_path / "no")
