"""Labelled and captioned images as pairs of image and text, for contrastive training."""

from .packed import PackedImages, pack
from .sources import Sample, box_samples, caption_samples, folder_samples
from .vocabulary import Row, Vocabulary, name_key, read_rows, read_vocabulary

__all__ = [
    "PackedImages",
    "Row",
    "Sample",
    "Vocabulary",
    "box_samples",
    "caption_samples",
    "folder_samples",
    "name_key",
    "pack",
    "read_rows",
    "read_vocabulary",
]
