"""Names for tracks: words of a vocabulary, chosen by the vision-language model's own two towers; and sentences about them,
from a model such as LLaVA."""

from .best_crops import BestCrops
from .describer import Description, ImageDescriber, check_describer
from .namer import TrackNamer
from .vocabulary import read_vocabulary

__all__ = ["BestCrops", "Description", "ImageDescriber", "TrackNamer", "check_describer", "read_vocabulary"]
