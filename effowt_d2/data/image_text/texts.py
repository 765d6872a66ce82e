"""Texts about an image of a class: a name, a kind or the description, in a sentence."""

from __future__ import annotations

import numpy as np

from .vocabulary import Vocabulary

__all__ = ["TEMPLATES", "class_text"]

TEMPLATES = (
    "a photo of a {}",
    "a photo of the {}",
    "a picture of a {}",
    "a close-up photo of a {}",
    "a small photo of a {}",
    "a cropped photo of a {}",
    "there is a {} in the photo",
    "{}",
)
"""Sentences for a name, in training and for zero-shot recognition."""

_FIRST_NAME, _KIND, _DESCRIPTION = 0.6, 0.1, 0.1


def class_text(vocabulary: Vocabulary, number: int, random: np.random.Generator) -> str:
    """A random text of a class. The first name is the most likely; now and then its kind or description is added."""
    row = vocabulary[number]
    name = row.names[0]
    if random.random() > _FIRST_NAME:
        name = row.names[random.integers(len(row.names))]
    more = random.random()
    if more < _DESCRIPTION and row.description:
        return f"{name}, {row.description}"
    kinds = vocabulary.kinds[number]
    if more < _DESCRIPTION + _KIND and kinds:
        name = f"{name}, a {vocabulary[kinds[random.integers(len(kinds))]].names[0]}"
    return TEMPLATES[random.integers(len(TEMPLATES))].format(name)
