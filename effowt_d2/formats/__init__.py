"""Readers of common annotation formats into one form, completed and checked."""

from .document import Annotation, Category, Dataset, DatasetError, Image, Video
from .read import FORMATS, read_dataset
from .registered import read_registered

__all__ = [
    "FORMATS",
    "Annotation",
    "Category",
    "Dataset",
    "DatasetError",
    "Image",
    "Video",
    "read_dataset",
    "read_registered",
]
