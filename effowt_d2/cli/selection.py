"""Filters of tracks: by region of the image, by name."""

import argparse
from collections.abc import Sequence

import numpy as np

from effowt_d2.video import FrameTracks
from effowt_d2.video.mask import read_mask

__all__ = ["Selection"]


class Selection:
    """Filter of tracks by ``--mask`` and ``--only``.

    Args:
        args: the command line.
        words: the vocabulary.

    Raises:
        FileNotFoundError, ValueError: the mask can't be read, or ``--only`` has a word that is not in the vocabulary.
    """

    def __init__(self, args: argparse.Namespace, words: Sequence[str]) -> None:
        self._mask = read_mask(args.mask) if args.mask else None
        self._only = [word.strip() for word in args.only.split(",")] if args.only else None
        unknown = [word for word in self._only or () if word not in words]
        if unknown:
            some = ", ".join(words[:10]) or "none, give --vocabulary"
            raise ValueError(
                f"--only {args.only}: {unknown[0]!r} is not in the vocabulary ({len(words)} words: {some})"
            )

    def __call__(self, tracks: FrameTracks) -> FrameTracks:
        """The same frame with the tracks that are kept."""
        if self._mask:
            tracks = tracks.where(self._mask.keep(tracks.boxes, (tracks.image.shape[1], tracks.image.shape[0])))
        if self._only is not None:
            tracks = tracks.where(np.array([name in self._only for name in tracks.names or ()], dtype=bool))
        return tracks
