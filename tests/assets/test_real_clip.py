"""The shipped vision-language model of photographs knows words, and what is on pictures it was not trained on."""

import numpy as np
import open_clip
import pytest
import torch
from helpers import shared_data

from effowt_d2.assets import register_vlm_configs, vlm_checkpoint
from effowt_d2.data.image_text import box_samples
from effowt_d2.data.image_text.sources import read_square

NAME = "RealCLIP-S-16"
# COCO's classes by their number
COCO = {
    0: "person",
    2: "car",
    4: "airplane",
    6: "train",
    15: "cat",
    16: "dog",
    20: "elephant",
    22: "zebra",
    53: "pizza",
}


@pytest.fixture(scope="module")
def embed():
    register_vlm_configs()
    model = open_clip.create_model(NAME, pretrained=str(vlm_checkpoint(NAME))).eval()
    tokenizer = open_clip.get_tokenizer(NAME)
    mean, std = (torch.tensor(v)[:, None, None] for v in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD))

    @torch.no_grad()
    def embed(things):
        if isinstance(things[0], str):
            return model.encode_text(tokenizer([f"a photo of a {word}" for word in things]), normalize=True)
        pixels = torch.from_numpy(np.stack(things)).permute(0, 3, 1, 2) / 255
        return model.encode_image((pixels - mean) / std, normalize=True)

    return embed


def test_kinds_of_things_are_near_their_names(embed):
    kinds = {"poodle": "dog", "persian cat": "cat", "sports car": "car", "school bus": "bus", "goldfish": "fish"}
    kinds |= {"rocking chair": "chair", "beer bottle": "bottle", "goose": "bird", "plantain": "banana"}
    names = sorted(kinds.values())
    nearest = (embed(list(kinds)) @ embed(names).T).argmax(dim=1)
    assert [names[i] for i in nearest] == list(kinds.values())


def test_objects_of_photographs_are_recognised(embed):
    folder = shared_data("real")
    samples = box_samples(folder / "annotations.json", images=folder / "img", split="val", min_side=64, per_class=12)
    wanted = {f"coco{number}": name for number, name in COCO.items()}
    samples = [sample for sample in samples if sample.label in wanted]
    words = list(wanted.values())
    found = (embed([read_square(sample, 192) for sample in samples]) @ embed(words).T).argmax(dim=1)
    right = [words[i] == wanted[sample.label] for i, sample in zip(found, samples)]
    assert len(samples) > 30 and np.mean(right) > 0.5


def test_words_of_no_caption_take_no_room():
    words = torch.load(vlm_checkpoint(NAME), weights_only=True)["state_dict"]["token_embedding.weight"]
    assert (~words.any(dim=1)).sum() == 26995
