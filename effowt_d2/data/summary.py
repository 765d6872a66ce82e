"""Summary of a dataset: sizes, groups, filled fields, anomalies."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from effowt_d2.evaluation.groups import CategoryGroups
from effowt_d2.evaluation.sanity import layout_warning
from effowt_d2.formats import Dataset
from effowt_d2.utils.box_rules import exceeds_image, is_sound, without_pixels

__all__ = ["box_arrays", "describe", "describe_groups", "anomalies"]

logger = logging.getLogger(__name__)

_NAMES = 6


def describe(name: str, dataset: Dataset, groups: CategoryGroups | None) -> str:
    """Sizes, boxes, objects by group, and what was filled in or skipped, a line each.

    Boxes are dropped and clipped in training only; scoring takes them as they are.

    Args:
        name: what to call it.
        dataset: as it was read.
        groups: its groups of categories; None where nothing defines them.
    """
    labels = dataset.annotations
    parts = [f"{len(dataset.images)} images"]
    if dataset.is_video:
        parts += [f"{len(dataset.videos)} videos", f"{_objects(dataset)} objects"]
    parts += [
        f"{len(labels)} labels" if dataset.annotated else "no annotations",
        f"{len(dataset.categories)} categories",
    ]
    lines = [f"dataset '{name}', read as {dataset.format}: {', '.join(parts)}"]
    lines += [_box_line(dataset), *describe_groups(dataset, groups)] if labels else []
    filled = {field: count for field, count in dataset.filled.items() if count}
    if filled:
        lines.append("filled in: " + ", ".join(f"{field} ({count})" for field, count in filled.items()))
    if dataset.left_out:
        lines.append("skipped by the format: " + ", ".join(f"{n} labels with {r}" for r, n in dataset.left_out.items()))
    return "\n  ".join(lines)


def describe_groups(dataset: Dataset, groups: CategoryGroups | None) -> list[str]:
    """Objects, labels and the most frequent categories of each group; objects of still images are labels."""
    if groups is None:
        return ["no groups: the file has no 'open_world' and its categories are not TAO's; DATA.CLASSES can name them"]
    ids = np.array([label.category_id for label in dataset.annotations], dtype=np.int64)
    lines, rest = [], np.ones(len(ids), dtype=bool)
    for group in ("known", "unknown", "distractor"):
        members = groups.members(group, ids)
        rest &= ~members
        lines.append(f"{group}: {_group_line(dataset, members)}")
    return [*lines, f"in no group: {_group_line(dataset, rest)}"] if rest.any() else lines


def anomalies(dataset: Dataset) -> list[str]:
    """Usable data that looks wrong: boxes outside images, empty videos, images listed twice, mixed tracks."""
    found = []
    if dataset.annotations:
        problem = layout_warning(*box_arrays(dataset))
        found += [problem] if problem else []
    used = {image.video_id for image in dataset.images}
    empty = [video.name for video in dataset.videos if video.id not in used]
    found += [_counted(empty, "videos have no frames")] if empty else []
    names = Counter(image.file_name for image in dataset.images if image.file_name)
    twice = [name for name, count in names.items() if count > 1]
    found += [_counted(twice, "image files are listed more than once")] if twice else []
    if dataset.is_video:
        categories: dict[tuple, set] = {}
        for label in dataset.annotations:
            categories.setdefault((label.video_id, label.track_id), set()).add(label.category_id)
        mixed = [f"{track} of video {video}" for (video, track), ids in categories.items() if len(ids) > 1]
        found += [_counted(mixed, "tracks have labels of several categories")] if mixed else []
    return found


def box_arrays(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The (N, 4) boxes of a dataset, and the (N, 2) width and height of their images; 0 where it is not known."""
    sizes: Mapping[int, tuple] = {image.id: (image.width or 0, image.height or 0) for image in dataset.images}
    labels = dataset.annotations
    boxes = np.array([label.bbox for label in labels], dtype=np.float64).reshape(-1, 4)
    return boxes, np.array([sizes.get(a.image_id, (0, 0)) for a in labels], dtype=np.float64).reshape(-1, 2)


def _box_line(dataset: Dataset) -> str:
    boxes, sizes = box_arrays(dataset)
    sound = is_sound(boxes)
    dropped = sound & without_pixels(boxes, sizes)
    clipped = sound & ~dropped & exceeds_image(boxes, sizes)
    return (
        f"boxes: {len(boxes)} labels, {dropped.sum()} dropped (no pixel in the image), {clipped.sum()} clipped (outside "
        f"the image), {(~sound).sum()} refused"
    )


def _objects(dataset: Dataset) -> int:
    return len({(label.video_id, label.track_id) for label in dataset.annotations})


def _group_line(dataset: Dataset, members: np.ndarray) -> str:
    labels = [label for label, inside in zip(dataset.annotations, members.tolist()) if inside]
    counts = Counter(dataset.category_names.get(label.category_id, "?") for label in labels)
    names = [name for name, _ in counts.most_common(_NAMES)]
    listed = ", ".join(names) + (", ..." if len(counts) > _NAMES else "")
    objects = f"{len({(a.video_id, a.track_id) for a in labels})} objects, " if dataset.is_video else ""
    return f"{objects}{len(labels)} labels" + (f" ({listed})" if names else "")


def _counted(values: Sequence[str], what: str) -> str:
    return f"{len(values)} {what}: {', '.join(values[:3])}" + (", ..." if len(values) > 3 else "")
