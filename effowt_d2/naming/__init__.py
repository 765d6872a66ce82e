"""Names for tracks: words of a vocabulary, chosen by the vision-language model's own two towers."""

from .namer import TrackNamer
from .vocabulary import read_vocabulary

__all__ = ["TrackNamer", "read_vocabulary"]
