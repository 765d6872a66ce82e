"""Categories of ShapesOW: "colour texture shape"; groups depend on the shape.

The order of ``SHAPES`` is the definition of the groups, so it must not change: the first 4, 8 or 16 shapes
are the known ones (nested), the last ``len(NOVEL_SHAPES)`` never appear in training images, and everything
between is drawn there without a label, as unlabelled objects are in COCO.
"""

from __future__ import annotations

from dataclasses import dataclass

SHAPES = (
    # known with 4 classes
    "disc", "star", "arrow", "house",
    # ... with 8
    "cross", "crescent", "fish", "frame",
    # ... with 16
    "heart", "triangle", "key", "chevron", "clover", "hourglass", "mushroom", "bar",
    # never labelled
    "ring", "bolt", "drop", "comb", "dumbbell", "tree",
    # never in a training image
    "gear", "propeller", "hook", "dome", "zigzag", "leaf",
)  # fmt: skip
TEXTURES = ("plain", "striped", "dotted", "checkered", "marbled")
COLOURS = {
    "red": (214, 40, 40),
    "orange": (245, 133, 24),
    "yellow": (240, 214, 50),
    "green": (52, 160, 60),
    "cyan": (55, 200, 205),
    "blue": (45, 85, 215),
    "purple": (130, 55, 175),
    "pink": (245, 130, 190),
}
"""Colour name to RGB in 0..255."""

KNOWN_COUNTS = (4, 8, 16)
DEFAULT_KNOWN = 8
NOVEL_SHAPES = SHAPES[22:]
TEMPLATES = (
    "a photo of a {}.",
    "a picture of a {}.",
    "a small {}.",
    "a large {}.",
    "a {} in a cluttered scene.",
    "there is a {} here.",
    "{}",
)


@dataclass(frozen=True)
class Category:
    """One category of the benchmark.

    Attributes:
        id: category id, from 1.
        shape, texture, colour: its three words.
    """

    id: int
    shape: str
    texture: str
    colour: str

    @property
    def name(self) -> str:
        """The words in caption order, such as ``"red striped star"``."""
        return f"{self.colour} {self.texture} {self.shape}"


def category_id(*, shape: str, texture: str, colour: str) -> int:
    """Return the id (from 1) of a category.

    Raises:
        KeyError: a word outside the vocabulary.
    """
    indices = []
    for word, words in ((shape, SHAPES), (texture, TEXTURES), (colour, tuple(COLOURS))):
        if word not in words:
            raise KeyError(f"'{word}' is not a word of ShapesOW; expected one of {', '.join(words)}")
        indices.append(words.index(word))
    return 1 + (indices[0] * len(TEXTURES) + indices[1]) * len(COLOURS) + indices[2]


def all_categories() -> list[Category]:
    """Every category in order of its id."""
    return [
        Category(category_id(shape=shape, texture=texture, colour=colour), shape, texture, colour)
        for shape in SHAPES
        for texture in TEXTURES
        for colour in COLOURS
    ]


def known_shapes(count: int = DEFAULT_KNOWN) -> tuple[str, ...]:
    """Shapes labelled in training.

    Args:
        count: 4, 8 or 16; a smaller set is contained in each larger one.

    Raises:
        ValueError: any other count.
    """
    if count not in KNOWN_COUNTS:
        raise ValueError(f"ShapesOW has no set of {count} known shapes; it has {KNOWN_COUNTS}")
    return SHAPES[:count]


def unlabelled_shapes(count: int = DEFAULT_KNOWN) -> tuple[str, ...]:
    """Shapes drawn in training images without a label, when ``count`` shapes are known."""
    known = known_shapes(count)
    return tuple(shape for shape in SHAPES if shape not in known and shape not in NOVEL_SHAPES)


def ids_of_shapes(shapes: tuple[str, ...]) -> list[int]:
    """Ids of all categories with one of the shapes, ascending."""
    return [category.id for category in all_categories() if category.shape in shapes]


def prompts(template: str = "a photo of a {}.") -> dict[int, str]:
    """A text for each category, for a zero-shot text tower.

    Args:
        template: a text with one ``{}`` for the category's words.

    Returns:
        Category id to text.
    """
    return {category.id: template.format(category.name) for category in all_categories()}
