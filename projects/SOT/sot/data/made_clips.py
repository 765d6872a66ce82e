"""Made-up clips: a textured rectangle that moves over noise, with its exact box, and folders of them in every layout."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from effowt_d2.data.images import write_image
from effowt_d2.utils.boxes import xyxy_to_xywh
from effowt_d2.utils.registry import Registry

__all__ = ["WRITERS", "MadeClip", "make_clip", "make_clips"]

WRITERS: Registry[Callable[[Path, Sequence["MadeClip"]], None]] = Registry(
    "layouts that are written", argument="layout"
)
"""``write(root, clips)`` by layout: those of :data:`sot.data.layouts.LAYOUTS`, "coco", "tao" and "mot"."""


@dataclass(frozen=True)
class MadeClip:
    """A clip and its truth.

    Attributes:
        name: such as "rectangle-3"; the part before the number is LaSOT's class.
        frames: (N, H, W, 3) uint8 BGR.
        boxes: (N, 4) whole x0, y0, x1, y1 of the target, also where it is not drawn.
        present: (N,) bool: it is drawn.
        others: boxes and presence of more objects, which the layout "tao" alone has.
        categories: of the target and of each of the others.
    """

    name: str
    frames: np.ndarray
    boxes: np.ndarray
    present: np.ndarray
    others: Sequence[tuple[np.ndarray, np.ndarray]] = ()
    categories: Sequence[str] = ("rectangle",)


def make_clip(
    name: str,
    *,
    frames: int = 24,
    size: tuple[int, int] = (96, 128),
    absent: range = range(0),
    seed: int = 0,
) -> MadeClip:
    """Make a clip; the same arguments give the same clip.

    Args:
        name: of the sequence.
        frames: number of frames.
        size: (height, width).
        absent: frames that do not show the target.
        seed: of texture, background and path.
    """
    random = np.random.default_rng(seed)
    background = _texture(random, size, 12, (90, 150))
    target = _texture(random, (48, 48), 6, (0, 255))
    boxes = _path(random, frames, size)
    present = np.ones(frames, dtype=bool)
    present[list(absent)] = False
    images = [_draw(background, target, box if shown else None) for box, shown in zip(boxes, present)]
    return MadeClip(name, np.stack(images), boxes, present)


def make_clips(count: int, *, seed: int = 0, **options) -> list[MadeClip]:
    """``rectangle-1``, ``rectangle-2``, ...; options as :func:`make_clip`, whose seeds count up."""
    return [make_clip(f"rectangle-{n + 1}", seed=seed + n, **options) for n in range(count)]


def _texture(random: np.random.Generator, size: tuple[int, int], cell: int, levels: tuple[int, int]) -> np.ndarray:
    small = random.integers(*levels, size=(max(2, size[0] // cell), max(2, size[1] // cell), 3), dtype=np.uint8)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)


def _path(random: np.random.Generator, frames: int, size: tuple[int, int]) -> np.ndarray:
    """Whole boxes inside the image, on slow sines in place and size."""
    time = np.arange(frames)[:, None]
    phase, speed = random.uniform(0, 2 * np.pi, 4), random.uniform(0.06, 0.16, 4)
    waves = (np.sin(phase + speed * time) + 1) / 2
    image = np.array(size[::-1])
    sides = image * (0.18 + 0.12 * waves[:, 2:])
    corner = waves[:, :2] * (image - sides)
    whole = np.round(np.concatenate([corner, corner + sides], axis=1))
    return np.clip(whole, 0, np.tile(image, 2))


def _draw(background: np.ndarray, target: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    image = background.copy()
    if box is not None:
        x0, y0, x1, y1 = box.astype(int)
        image[y0:y1, x0:x1] = cv2.resize(target, (x1 - x0, y1 - y0))
    return image


def _images(folder: Path, clip: MadeClip, name: str = "{:08d}.jpg", first: int = 1) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    names = [name.format(index + first) for index in range(len(clip.frames))]
    for file, frame in zip(names, clip.frames):
        write_image(folder / file, frame)
    return names


def _text(path: Path, values: np.ndarray, delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, values, fmt="%d", delimiter=delimiter)


def _seen_boxes(clip: MadeClip) -> np.ndarray:
    """x, y, width, height, zeros without a target, as in layouts without flags."""
    return xyxy_to_xywh(clip.boxes) * clip.present[:, None]


def _lasot(root: Path, clips: Sequence[MadeClip], first_pixel: int) -> None:
    for clip in clips:
        folder = root / clip.name.rsplit("-", 1)[0] / clip.name
        _images(folder / "img", clip)
        _text(folder / "groundtruth.txt", xyxy_to_xywh(clip.boxes) + [first_pixel, first_pixel, 0, 0])
        # the first half of an absence is an occlusion, the rest out of view
        hidden, half = ~clip.present, np.cumsum(~clip.present) <= (~clip.present).sum() // 2
        _text(folder / "full_occlusion.txt", (hidden & half)[None])
        _text(folder / "out_of_view.txt", (hidden & ~half)[None])
        (folder / "nlp.txt").write_text("a rectangle on noise\n")
    for file in ("training_set.txt", "testing_set.txt"):
        (root / file).write_text("".join(f"{clip.name}\n" for clip in clips))


@WRITERS.register("lasot")
def _write_lasot(root: Path, clips: Sequence[MadeClip]) -> None:
    _lasot(root, clips, 1)


@WRITERS.register("lasot_ext")
def _write_lasot_ext(root: Path, clips: Sequence[MadeClip]) -> None:
    _lasot(root, clips, 0)


@WRITERS.register("got10k")
def _write_got10k(root: Path, clips: Iterable[MadeClip]) -> None:
    """One clip after the other, so that there may be more than memory holds."""
    names = []
    for clip in clips:
        names.append(clip.name)
        folder = root / clip.name
        _images(folder, clip)
        _text(folder / "groundtruth.txt", xyxy_to_xywh(clip.boxes))
        _text(folder / "absence.label", ~clip.present)
        _text(folder / "cover.label", 8 * clip.present)
        height, width = clip.frames.shape[1:3]
        about = f"[METAINFO]\nobject_class: {clip.categories[0]}\nresolution: ({width}, {height})\n"
        (folder / "meta_info.ini").write_text(about, encoding="utf-8")
    (root / "list.txt").write_text("".join(f"{name}\n" for name in names))


@WRITERS.register("trackingnet")
def _write_trackingnet(root: Path, clips: Sequence[MadeClip]) -> None:
    for number, clip in enumerate(clips):
        part = root / f"TRAIN_{number % 2}"
        _images(part / "frames" / clip.name, clip, "{}.jpg", first=0)
        _text(part / "anno" / f"{clip.name}.txt", _seen_boxes(clip))


@WRITERS.register("tnl2k")
def _write_tnl2k(root: Path, clips: Sequence[MadeClip]) -> None:
    for clip in clips:
        _images(root / clip.name / "imgs", clip, "{:05d}.png")
        _text(root / clip.name / "groundtruth.txt", _seen_boxes(clip))
        (root / clip.name / "language.txt").write_text("a rectangle on noise")


@WRITERS.register("mot")
def _write_mot(root: Path, clips: Sequence[MadeClip]) -> None:
    for clip in clips:
        _images(root / clip.name / "img1", clip, "{:06d}.jpg")
        height, width = clip.frames.shape[1:3]
        (root / clip.name / "seqinfo.ini").write_text(
            f"[Sequence]\nname={clip.name}\nimDir=img1\nseqLength={len(clip.frames)}\nimWidth={width}\nimHeight={height}\n"
        )
        boxes, seen = xyxy_to_xywh(clip.boxes), np.flatnonzero(clip.present)
        rows = [[index + 1, 1, *boxes[index], 1, 1, 1] for index in seen]
        _text(root / clip.name / "gt" / "gt.txt", np.array(rows))


@WRITERS.register("tao")
def _write_tao(root: Path, clips: Iterable[MadeClip]) -> None:
    _document(root, clips, videos=True)


@WRITERS.register("coco")
def _write_coco(root: Path, clips: Iterable[MadeClip]) -> None:
    _document(root, clips, videos=False)


def _document(root: Path, clips: Iterable[MadeClip], *, videos: bool) -> None:
    """``annotations.json`` beside ``frames/``, clip after clip; as COCO, every frame is a still image with its target."""
    content: dict = {name: [] for name in ("images", "annotations", *(("videos", "tracks") if videos else ()))}
    images, annotations = content["images"], content["annotations"]
    categories: dict[str, int] = {}
    for video, clip in enumerate(clips, 1):
        height, width = clip.frames.shape[1:3]
        objects = [(clip.boxes, clip.present), *(clip.others if videos else ())]
        numbers = [categories.setdefault(name, len(categories) + 1) for name in clip.categories[: len(objects)]]
        first = len(content["tracks"]) + 1 if videos else 0
        for index, file in enumerate(_images(root / "frames" / clip.name, clip)):
            image = {"id": len(images) + 1, "file_name": f"{clip.name}/{file}", "height": height, "width": width}
            images.append({**image, "video_id": video, "frame_index": index} if videos else image)
            for track, ((boxes, present), number) in enumerate(zip(objects, numbers), first):
                if present[index]:
                    box = xyxy_to_xywh(boxes[index]).tolist()
                    label = {"id": len(annotations) + 1, "image_id": image["id"], "category_id": number, "bbox": box}
                    place = {"video_id": video, "track_id": track} if videos else {}
                    annotations.append({**label, **place, "area": box[2] * box[3], "iscrowd": 0})
        if videos:
            content["videos"].append({"id": video, "name": clip.name})
            content["tracks"] += [
                {"id": track, "video_id": video, "category_id": number} for track, number in enumerate(numbers, first)
            ]
    content["categories"] = [{"id": number, "name": name} for name, number in categories.items()]
    (root / "annotations.json").write_text(json.dumps(content))
