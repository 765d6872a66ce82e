"""A tiny CLIP model that is right by construction: it knows colours."""

import math

import numpy as np
import open_clip
import torch

from effowt_d2.naming.two_towers import TwoTowers
from helpers.configs import plugin_config
from helpers.tiny_clip import register_clips

NAME = "tiny-colours"
COLOURS = {"red": (0, 0, 200), "green": (0, 200, 0), "blue": (200, 0, 0), "white": (255, 255, 255)}
"""Word to BGR."""

TEXT = {"context_length": 8, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
_VISION = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}


def write_colour_clip(folder) -> str:
    """Register the model NAME and write its weights file.

    Both towers are random, but for the last matrix of the text tower: it is solved such that the text embedding of
    each colour's word is the image embedding of a picture of that colour.
    """
    register_clips(folder, {NAME: {"vision_cfg": _VISION, "text_cfg": TEXT}})
    torch.manual_seed(0)
    model = open_clip.create_model(NAME, load_weights=False).eval()
    towers = TwoTowers(
        model,
        tokenize=open_clip.get_tokenizer(NAME),
        pixel_mean=open_clip.OPENAI_DATASET_MEAN,
        pixel_std=open_clip.OPENAI_DATASET_STD,
    )
    pictures = towers.embed_images(np.stack([solid(colour)[:, :, ::-1] for colour in COLOURS.values()])).clone()
    solved = model.text_projection
    with torch.no_grad():
        model.text_projection = torch.nn.Parameter(torch.eye(32))
        texts = model.encode_text(open_clip.get_tokenizer(NAME)(list(COLOURS)))
        solved.copy_(torch.linalg.lstsq(texts.double(), pictures.double()).solution)
        model.text_projection = solved
        # so that a colour's own word has a probability of nearly 1
        others = (pictures @ pictures.T)[~torch.eye(len(COLOURS), dtype=torch.bool)]
        model.logit_scale.fill_(math.log(10 / (1 - others.max())))
    torch.save({"state_dict": model.state_dict()}, folder / "clip.pt")
    return str(folder / "clip.pt")


def colour_config(weights: str):
    """A config of that model; crops are the box and nothing else, texts the word and nothing else."""
    keys = {"MODEL.VLM.NAME": NAME, "MODEL.VLM.WEIGHTS": weights}
    return plugin_config({**keys, "NAMING.TEMPLATES": ["{}"], "NAMING.CONTEXT": 0.0})


def solid(colour, height=32, width=32):
    """A picture of one colour, as (height, width, 3) uint8."""
    return np.full((height, width, 3), colour, np.uint8)
