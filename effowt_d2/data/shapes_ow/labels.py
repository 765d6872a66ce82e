"""From an owner map to boxes, masks and areas of what is visible, in COCO's conventions."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask

from .vocabulary import NOVEL_SHAPES, all_categories, ids_of_shapes, known_shapes

MIN_VISIBLE = 0.25
"""An object is annotated where at least this fraction of it is in the frame and not covered."""


def visible_part(owners: np.ndarray, index: int, whole_area: int) -> dict | None:
    """Label of one object.

    Args:
        owners: (H, W) int16 owner map of the finished frame.
        index: the object's number in the map.
        whole_area: its area in pixels if nothing hid it.

    Returns:
        ``bbox`` [x, y, width, height], ``area`` and ``segmentation`` (compressed RLE) of the visible part, or
        None where less than ``MIN_VISIBLE`` of the object is visible.
    """
    mask = owners == index
    area = int(np.count_nonzero(mask))
    if area < max(1.0, MIN_VISIBLE * whole_area):
        return None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "bbox": [float(value) for value in box],
        "area": float(area),
        "segmentation": {"size": list(encoded["size"]), "counts": encoded["counts"].decode("ascii")},
    }


def category_records() -> list[dict]:
    """The ``categories`` list of an annotation file, with the words apart beside the name."""
    return [
        {
            "id": c.id,
            "name": c.name,
            "synset": c.name,
            "shape": c.shape,
            "texture": c.texture,
            "colour": c.colour,
        }
        for c in all_categories()
    ]


def open_world_groups(known: int) -> dict:
    """Top-level entries of an annotation file that define known classes.

    Args:
        known: 4, 8 or 16 known shapes.

    Returns:
        ``open_world`` with the ``known`` and ``distractor`` ids, every other id being unknown, as the
        evaluator reads it; and ``novel_category_ids``: those of the unknown that never appear in a training
        image.
    """
    groups = {"known": ids_of_shapes(known_shapes(known)), "distractor": []}
    return {"open_world": groups, "novel_category_ids": ids_of_shapes(NOVEL_SHAPES)}
