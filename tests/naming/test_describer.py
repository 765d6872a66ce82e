"""Sentences about tracks from a tiny random LLaVA, and what cannot describe."""

import sys

import numpy as np
import pytest
import torch
from helpers.configs import plugin_config
from helpers.llava_folder import write_llava
from helpers.messages import raises

pytest.importorskip("transformers", reason="the extra describe is not installed")

from effowt_d2.naming import BestCrops, ImageDescriber, check_describer
from effowt_d2.naming.describer import MissingPackageError
from effowt_d2.video import FrameTracks

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
KEYS = {"DESCRIBE.MAX_TOKENS": 5, "DESCRIBE.PROMPT": "what is this thing ?"}


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    return str(write_llava(tmp_path_factory.mktemp("llava")))


@torch.no_grad()
def test_the_text_is_what_the_model_generates(llava):
    import transformers
    from PIL import Image

    found = ImageDescriber(plugin_config(KEYS), llava)(IMAGE)
    model = transformers.LlavaForConditionalGeneration.from_pretrained(llava).eval()
    processor = transformers.AutoProcessor.from_pretrained(llava)
    text = "USER: <image>\nwhat is this thing ? ASSISTANT:"
    inputs = processor(images=Image.fromarray(IMAGE), text=text, return_tensors="pt")
    said = model.generate(**inputs, max_new_tokens=5, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert found.text == processor.decode(said, skip_special_tokens=True) and found.text
    assert found.tokens == len(said) <= 5
    assert found.image_tokens == found.kept_tokens == 36 and found.seconds > 0


def test_mustdrop_leaves_fewer_image_tokens(llava):
    pytest.importorskip("mustdrop", reason="projects/MustDrop is not installed")
    describer = ImageDescriber(plugin_config(KEYS, DESCRIBE__DROP="mustdrop-64"), llava)
    # all windows of a uniform image look alike, and merge: 6 x 6 patches are 2 x 2 windows
    uniform = np.full_like(IMAGE, 128)
    first, second = describer(uniform), describer(uniform)
    assert (first.image_tokens, first.kept_tokens) == (36, 4)
    # the context leaves nothing behind
    assert (first.text, first.kept_tokens) == (second.text, second.kept_tokens)


def test_what_cannot_describe(llava, tmp_path, monkeypatch):
    import transformers

    transformers.BertConfig().save_pretrained(tmp_path / "bert")
    with raises(ValueError, "describe", "llava_next", "bert"):
        check_describer(str(tmp_path / "bert"))
    with raises(OSError, tmp_path / "nothing"):
        check_describer(str(tmp_path / "nothing"))
    with raises(ValueError, "DESCRIBE.DROP", "mustdrop-65", "mustdrop-64-vizwiz"):
        ImageDescriber(plugin_config(DESCRIBE__DROP="mustdrop-65"), llava)
    monkeypatch.setitem(sys.modules, "mustdrop", None)
    with raises(MissingPackageError, "mustdrop", "DESCRIBE.DROP"):
        check_describer(llava, "mustdrop-64")
    check_describer(llava)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with raises(MissingPackageError, "transformers"):
        check_describer(llava)


def frame(index, box, score, colour):
    image = np.zeros((60, 80, 3), np.uint8)
    x0, y0, x1, y1 = box
    image[y0:y1, x0:x1] = colour
    boxes, ids = np.array([box], dtype=float), np.array([3])
    return FrameTracks(index, index / 10, str(index), image, boxes, ids, np.array([score]))


def test_the_best_crops_of_a_track():
    crops = BestCrops(context=0.0)
    crops.update(frame(0, (10, 10, 20, 20), 0.5, (0, 0, 255)))
    crops.update(frame(1, (10, 10, 50, 50), 0.9, (255, 0, 0)))
    crops.update(frame(10, (10, 10, 40, 40), 0.9, (0, 255, 0)))
    assert crops.ids() == [3]
    (best,) = crops.best(3, 1)
    # BGR blue is RGB blue
    assert best.time == pytest.approx(0.1) and best.pixels().shape == (336, 336, 3)
    assert best.pixels()[168, 168].argmax() == 2 and best.pixels()[168, 168].max() > 240
    assert [crop.time for crop in crops.best(3, 2)] == pytest.approx([0.1, 1.0])
    assert crops.best(4) == []
    small = BestCrops(tracks=1)
    for track_id in (1, 2):
        one = frame(track_id, (0, 0, 9, 9), 0.5, (9, 9, 9))
        one.ids = np.array([track_id])
        small.update(one)
    assert small.ids() == [2]
