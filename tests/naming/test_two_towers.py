"""Both towers from one file, and errors of files that hold only one."""

import numpy as np
import open_clip
import pytest
import torch
from helpers.colour_clip import NAME, TEXT
from helpers.messages import assert_says
from helpers.tiny_clip import register_clips
from safetensors.torch import save_file

from effowt_d2.modeling.tower import build_tower
from effowt_d2.naming import TrackNamer
from effowt_d2.naming.two_towers import load_two_towers


@pytest.fixture
def state(colour_file):
    return torch.load(colour_file)["state_dict"]


def pictures(size, count=3):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def embeddings(towers):
    return towers.embed_images(pictures(towers.image_size)), towers.embed_words(["dog", "traffic_light"], ["a {}."])


def expected(name, file, size):
    """By open_clip's own loader, tokenizer and pixel values."""
    model, _, transform = open_clip.create_model_and_transforms(name, pretrained=file)
    normalize = transform.transforms[-1]
    pixels = torch.stack([normalize(torch.from_numpy(p).permute(2, 0, 1) / 255) for p in pictures(size)])
    tokens = open_clip.get_tokenizer(name)(["a dog.", "a traffic light."])
    with torch.no_grad():
        return model.eval().encode_image(pixels, normalize=True), model.encode_text(tokens, normalize=True)


def assert_same(found, wanted):
    for a, b in zip(found, wanted):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_they_embed_as_open_clip_does(colour_file):
    towers = load_two_towers(NAME, colour_file, device="cpu")
    assert_same(embeddings(towers), expected(NAME, colour_file, 32))
    assert towers.image_size == 32


def test_a_word_is_the_mean_of_its_texts(colour_file):
    towers = load_two_towers(NAME, colour_file, device="cpu")
    alone = [towers.embed_words(["dog"], [template]) for template in ("a {}.", "{}")]
    both = torch.nn.functional.normalize(sum(alone), dim=-1)
    torch.testing.assert_close(towers.embed_words(["dog"], ["a {}.", "{}"]), both)
    assert not torch.allclose(*alone)


@pytest.fixture
def of_timm(tmp_path):
    """Name and file of a CLIP model whose vision half is one of timm's."""
    eva = {"timm_model_name": "eva02_tiny_patch14_224", "timm_pool": "token", "timm_proj": None, "image_size": 224}
    register_clips(tmp_path, {"tiny-eva": {"text_cfg": TEXT, "custom_text": True, "vision_cfg": eva}})
    torch.manual_seed(0)
    save_file(open_clip.create_model("tiny-eva", load_weights=False).state_dict(), tmp_path / "clip.safetensors")
    return "tiny-eva", str(tmp_path / "clip.safetensors")


@pytest.mark.parametrize("given", [False, True])
def test_models_of_timm(of_timm, given):
    name, file = of_timm
    # the rotary positions of a detector's EVA are those of its canvas: such a tower is of no use for crops
    tower = build_tower(name, file, canvas=8) if given else None
    towers = load_two_towers(name, file, device="cpu", tower=tower)
    assert_same(embeddings(towers), expected(name, file, towers.image_size))
    assert not given or towers._model.visual is not tower.trunk


def test_a_text_half_in_the_old_layout(of_timm, tmp_path):
    name, file = of_timm
    state = open_clip.factory.load_state_dict(file)
    torch.save({key.removeprefix("text."): value for key, value in state.items()}, tmp_path / "old.pt")
    old = load_two_towers(name, str(tmp_path / "old.pt"), device="cpu")
    assert_same(embeddings(old), embeddings(load_two_towers(name, file, device="cpu")))


def test_the_weights_of_a_frozen_tower_are_in_memory_once(cfg, colour_file):
    tower = build_tower(NAME, colour_file, canvas=8)
    before = tower.weights_hash()
    shared = load_two_towers(NAME, colour_file, device="cpu", tower=tower)
    assert shared._model.visual is tower.trunk
    assert_same(embeddings(shared), expected(NAME, colour_file, 32))
    assert not any(p.requires_grad for p in tower.parameters()) and tower.weights_hash() == before
    # one that trains will not stay what the text tower was trained with
    trained = build_tower(NAME, colour_file, canvas=8, frozen=False)
    own = load_two_towers(NAME, colour_file, device="cpu", tower=trained)
    assert own._model.visual is not trained.trunk and any(p.requires_grad for p in trained.parameters())
    words = TrackNamer(cfg, ["red"], tower=tower)
    assert words._towers._model.visual is tower.trunk


def test_a_shared_tower_of_lower_precision(colour_file):
    tower = build_tower(NAME, colour_file, canvas=8).bfloat16()
    shared = load_two_towers(NAME, colour_file, device="cpu", tower=tower)
    found, wanted = embeddings(shared)[0], expected(NAME, colour_file, 32)[0]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, atol=0.03, rtol=0.03)


def refused(name, weights, error=ValueError):
    with pytest.raises(error) as caught:
        load_two_towers(name, weights, device="cpu")
    return str(caught.value)


def test_files_without_a_text_tower(state, tmp_path):
    file = str(tmp_path / "vision.pt")
    for extra in ({}, {"logit_scale": state["logit_scale"]}):
        torch.save({**{k: v for k, v in state.items() if k.startswith("visual.")}, **extra}, file)
        assert_says(refused(NAME, file), file, "text tower")


def test_a_detection_checkpoint_of_eva(tmp_path):
    state = {f"backbone.net.{key}": torch.zeros(1, 5, 8) for key in ("pos_embed", "blocks.0.attn.proj.weight")}
    torch.save(state, tmp_path / "eva.pth")
    assert_says(refused(NAME, str(tmp_path / "eva.pth")), tmp_path / "eva.pth", "text tower", "EVA")


def test_files_that_do_not_fit(state, tmp_path):
    file = str(tmp_path / "clip.pt")
    lacking = {**state, "ln_final.extra": torch.zeros(2)}
    del lacking["token_embedding.weight"]
    torch.save(lacking, file)
    message = refused(NAME, file)
    assert_says(message, file, "tiny-colours", "token_embedding.weight", "ln_final.extra")


def test_no_weights_at_all(tmp_path):
    assert_says(refused(NAME, ""), "weights", "CLIP")
    assert "nowhere.pt: no such file" in refused(NAME, str(tmp_path / "nowhere.pt"), FileNotFoundError)
    (tmp_path / "bad.pt").write_bytes(b"nonsense")
    assert "bad.pt" in refused(NAME, str(tmp_path / "bad.pt"))
