"""Batches of images and texts by number: the same number gives the same batch, so that a run can be continued.

Shapes: B images of S x S pixels with a class, T texts of classes; b images with captions, C captions, b <= C.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from .packed import PackedImages
from .texts import class_text
from .vocabulary import Row, Vocabulary

__all__ = ["Batch", "PairBatches", "random_crop"]

_SMALLEST_CROP = 0.35  # fraction of the area
logger = logging.getLogger(__name__)


class Batch(NamedTuple):
    """Images (B + b, S, S, 3) uint8, those with captions last."""

    images: Tensor
    classes: Tensor
    """(B,) number of the class of each image."""
    kinds: Tensor
    """(B,) number of one of its kinds, or -1."""
    texts: list[str]
    """T texts of classes."""
    text_classes: Tensor
    """(T,) the class that each text is about: all different, and all of ``classes`` and ``kinds`` among them."""
    captions: list[str]
    """C captions, those of the b captioned images first; the others are of images that are not in the batch."""
    names: list[str]
    """Words of the dictionary, and below what each of them means."""
    meanings: list[str]

    @property
    def all_texts(self) -> tuple[list[str], list[str], list[str], list[str]]:
        """All texts: of classes, captions, words and meanings."""
        return self.texts, self.captions, self.names, self.meanings


class PairBatches:
    """Draws batches from packed sources.

    A class with more images is drawn more often, by the square root of their number.

    Args:
        vocabulary: the classes.
        sources: images with labels or captions; images whose label is no id of the vocabulary are skipped.
        batch: images in a batch.
        texts: texts of classes in a batch, at least; the classes of the images and their kinds come first.
        captioned: fraction of a batch that has captions, where there are such images; at least one image then.
        captions: captions in a batch.
        dictionary: words with descriptions, of which there need be no images: they teach the text tower what the
            names of classes it never saw mean. Words without a description are passed over.
        words: words of the dictionary in a batch.
        seed: of the order.

    Attributes:
        without_images: names of the classes that have no images and are no kind of a class that has.
        without_word: labels that are no id of the vocabulary, with the number of their images.

    Raises:
        ValueError: fewer than two classes have images.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        sources: Sequence[PackedImages],
        *,
        batch: int = 256,
        texts: int = 384,
        captioned: float = 0.04,
        captions: int = 64,
        dictionary: Sequence[Row] = (),
        words: int = 96,
        seed: int = 0,
    ) -> None:
        self.vocabulary, self.sources, self.seed = vocabulary, list(sources), seed
        self._members: dict[int, list[tuple[int, int]]] = {}
        self._captioned: list[tuple[int, int]] = []
        self.without_word: dict[str, int] = {}
        self._sort_images()
        self._classes = np.array(sorted(self._members))
        if len(self._classes) < 2:
            raise ValueError(f"contrastive training needs images of two classes, got {len(self._classes)}")
        weights = np.sqrt([len(self._members[number]) for number in self._classes])
        self._weights = weights / weights.sum()
        self._used = sorted({k for n in self._members for k in (n, *self.vocabulary.kinds[n])})
        self.without_images = [row.names[0] for n, row in enumerate(vocabulary) if n not in set(self._used)]
        self._captioned_count = max(1, round(captioned * batch)) if self._captioned and batch > 1 else 0
        self._count, self._texts, self._captions = batch - self._captioned_count, texts, captions
        self._dictionary, self._words = [row for row in dictionary if row.description], words
        self._report()

    def _sort_images(self) -> None:
        for source, packed in enumerate(self.sources):
            for i, (label, captions) in enumerate(zip(packed.labels, packed.captions)):
                if captions:
                    self._captioned.append((source, i))
                elif label in self.vocabulary.index:
                    self._members.setdefault(self.vocabulary.index[label], []).append((source, i))
                else:
                    self.without_word[label] = self.without_word.get(label, 0) + 1

    def _report(self) -> None:
        images = sum(map(len, self._members.values()))
        logger.info("%d images of %d classes, %d with captions", images, len(self._classes), len(self._captioned))
        if self._dictionary:
            logger.info("%d words of the dictionary", len(self._dictionary))
        if self.without_word:
            count, names = sum(self.without_word.values()), sorted(self.without_word)
            logger.warning("%d images of %d labels without a word skipped: %s", count, len(names), names[:10])
        if self.without_images:
            logger.warning("%d classes without images: %s", len(self.without_images), self.without_images[:10])

    def __call__(self, step: int, *, size: int) -> Batch:
        """The batch of a step, with images of ``size`` pixels."""
        random = np.random.default_rng([self.seed, step])
        classes = random.choice(self._classes, size=self._count, p=self._weights)
        places = [self._members[n][random.integers(len(self._members[n]))] for n in classes]
        of_kind = [self.vocabulary.kinds[n] for n in classes]
        kinds = np.array([k[random.integers(len(k))] if k else -1 for k in of_kind])
        needed = dict.fromkeys([*classes.tolist(), *kinds[kinds >= 0].tolist()])
        others = [n for n in random.permutation(self._used).tolist() if n not in needed]
        about = [*needed, *others[: max(0, self._texts - len(needed))]]
        captions, captioned = self._draw_captions(random)
        images = [random_crop(self.sources[s].images[i], size, random) for s, i in places + captioned]
        return Batch(
            torch.from_numpy(np.stack(images)),
            torch.from_numpy(classes),
            torch.from_numpy(kinds),
            [class_text(self.vocabulary, n, random) for n in about],
            torch.tensor(about),
            captions,
            *self._draw_words(random),
        )

    def _draw_words(self, random: np.random.Generator) -> tuple[list[str], list[str]]:
        if not self._dictionary:
            return [], []
        chosen = random.choice(len(self._dictionary), size=min(self._words, len(self._dictionary)), replace=False)
        rows = [self._dictionary[i] for i in chosen]
        return [row.names[random.integers(len(row.names))] for row in rows], [row.description for row in rows]

    def _draw_captions(self, random: np.random.Generator) -> tuple[list[str], list[tuple[int, int]]]:
        if not self._captioned_count:
            return [], []
        chosen = random.permutation(len(self._captioned))[: max(self._captions, self._captioned_count)]
        places = [self._captioned[i] for i in chosen]
        texts = [self.sources[s].captions[i] for s, i in places]
        return [t[random.integers(len(t))] for t in texts], places[: self._captioned_count]


def random_crop(image: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """A random part of an image, mirrored half of the time: (S, S, 3) to (size, size, 3)."""
    side = image.shape[0]
    area, aspect = random.uniform(_SMALLEST_CROP, 1), np.exp(random.uniform(-1, 1) * np.log(4 / 3))
    width = min(side, max(1, round(side * np.sqrt(area * aspect))))
    height = min(side, max(1, round(side * np.sqrt(area / aspect))))
    left, top = random.integers(side - width + 1), random.integers(side - height + 1)
    part = image[top : top + height, left : left + width]
    way = cv2.INTER_AREA if width * height > 1.5 * size * size else cv2.INTER_LINEAR
    part = cv2.resize(np.ascontiguousarray(part), (size, size), interpolation=way)
    return np.ascontiguousarray(part[:, ::-1]) if random.random() < 0.5 else part
