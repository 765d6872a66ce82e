"""MOTChallenge: folders of sequences with ``seqinfo.ini`` and ``gt/gt.txt``, or one text file of a video."""

import configparser
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from effowt_d2.utils.text import read_text

from .document import Annotation, Category, Dataset, DatasetError, Image, Video

__all__ = ["read_mot", "read_mot_lines"]

_EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# MOT16 to MOT20 name their classes by these numbers; files without a class have one category
_NAMES = (
    "pedestrian, person on vehicle, car, bicycle, motorbike, non-motorized vehicle, static person, distractor, "
    "occluder, occluder on the ground, occluder full, reflection, crowd"
).split(", ")
_OBJECT = "object"


@dataclass(frozen=True)
class _Sequence:
    """A sequence: its name, its text file (None for a test split), its images in order by frame number."""

    name: str
    labels: Path | None
    frames: dict[int, str]
    width: int | None = None
    height: int | None = None
    fps: float | None = None


def read_mot(source: Path, file: str, image_root: Path) -> Dataset:
    """Read a sequence, a folder of sequences (also nested), or one text file of a video.

    Lines are ``frame,id,left,top,width,height,flag,class,visibility``; labels with a flag of 0 are skipped, as
    MOTChallenge does. Lines of ten columns, which the demo writes, have no class: their one category is "object".
    Ids of videos count from 1, those of images from 0, in order of the sequences' names; ``frame_index`` counts from 0.

    Args:
        source: the folder, or the text file, whose frames are then the images in ``image_root`` in natural order.
        file: name for messages.
        image_root: the folder that the sequences' image folders are in, at the same places as below ``source``.

    Raises:
        DatasetError: no sequence was found, or a line or ``seqinfo.ini`` is malformed; file and line are named.
    """
    sequences = [_one_file(source, image_root)] if source.is_file() else list(_sequences(source, image_root, file))
    images: list[Image] = []
    annotations: list[Annotation] = []
    videos: list[Video] = []
    left_out: Counter = Counter()
    for number, sequence in enumerate(sequences, 1):
        ids = {frame: len(images) + place for place, frame in enumerate(sequence.frames)}
        width, height = sequence.width, sequence.height
        videos.append(Video(id=number, name=sequence.name, fps=sequence.fps, width=width, height=height))
        images += [
            Image(id=ids[n], file_name=name, video_id=number, frame_index=n - 1, width=width, height=height)
            for n, name in sequence.frames.items()
        ]
        if sequence.labels is not None:
            annotations += _labels(sequence.labels, sequence.name, number, ids, left_out)
    used = {annotation.category_id for annotation in annotations}
    return Dataset(
        file=file,
        format="mot",
        images=images,
        annotations=annotations,
        videos=videos,
        categories=[Category(id=number, name=_category(number)) for number in sorted(used)],
        annotated=any(sequence.labels is not None for sequence in sequences),
        left_out=left_out,
    )


def _category(number: int) -> str:
    if number == 0:
        return _OBJECT
    return _NAMES[number - 1] if 0 < number <= len(_NAMES) else f"class {number}"


def _one_file(source: Path, image_root: Path) -> _Sequence:
    frames = dict(enumerate(_images_of(image_root), 1))
    if not frames:
        raise DatasetError(f"{source}: the image folder {image_root} holds no images for its frames")
    return _Sequence(name=source.stem, labels=source, frames=frames)


def _sequences(source: Path, image_root: Path, file: str) -> Iterator[_Sequence]:
    folders = []
    for root, inside, files in os.walk(source):
        inside.sort()
        if "seqinfo.ini" in files or (Path(root) / "gt" / "gt.txt").is_file():
            folders.append(Path(root))
            inside.clear()
    if not folders:
        raise DatasetError(f"{file}: no folder in it has a seqinfo.ini or a gt/gt.txt, as MOTChallenge sequences do")
    for folder in folders:
        yield _sequence(folder, folder.relative_to(source), image_root)


def _sequence(folder: Path, place: Path, image_root: Path) -> _Sequence:
    info = _info(folder / "seqinfo.ini") if (folder / "seqinfo.ini").is_file() else {}
    images = place / str(info.get("imdir", "img1"))
    found = {_number(name): name for name in _images_of(image_root / images)}
    length = info.get("seqlength", max(found, default=0))
    # names may have any number of digits; where a file is missing, that of MOTChallenge
    extension = info.get("imext", ".jpg")
    frames = {i: (images / found.get(i, f"{i:06d}{extension}")).as_posix() for i in range(1, length + 1)}
    if not frames:
        raise DatasetError(f"{folder}: no seqLength in seqinfo.ini and no images in {image_root / images}")
    labels = folder / "gt" / "gt.txt"
    return _Sequence(
        name=info.get("name", place.as_posix() if place.parts else folder.resolve().name),
        labels=labels if labels.is_file() else None,
        frames=frames,
        width=info.get("imwidth"),
        height=info.get("imheight"),
        fps=info.get("framerate"),
    )


def _info(path: Path) -> dict:
    kinds = {"seqlength": int, "imwidth": int, "imheight": int, "framerate": float, "name": str, "imdir": str}
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(read_text(path))
        values = {key: value for key, value in parser.items("Sequence") if value}
        return {key: kinds.get(key, str)(value) for key, value in values.items()}
    except (configparser.Error, ValueError) as error:
        raise DatasetError(f"{path}: {' '.join(str(error).split())}") from None


def _images_of(folder: Path) -> list[str]:
    """Names of the images in a folder, in natural order; none where there is no folder."""
    names = [n for n in os.listdir(folder) if n.lower().endswith(_EXTENSIONS)] if folder.is_dir() else []
    names = [name for name in names if not name.startswith(".")]
    return sorted(names, key=lambda name: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", name)])


def _number(name: str) -> int:
    digits = re.findall(r"\d+", Path(name).stem)
    return int(digits[-1]) if digits else 0


def _labels(path: Path, name: str, video: int, ids: dict[int, int], left_out: Counter) -> Iterator[Annotation]:
    for number, values in read_mot_lines(path):
        where = f"{path}: line {number}"
        frame, track, flag = int(values[0]), int(values[1]), values[6] if len(values) > 6 else 1
        if frame not in ids:
            raise DatasetError(f"{where}: frame {frame} is none of the {len(ids)} frames of '{name}'")
        if flag == 0:
            left_out["flag 0"] += 1
            continue
        category = _class(values)
        box = (values[2], values[3], values[4], values[5])
        yield Annotation(image_id=ids[frame], category_id=category, bbox=box, video_id=video, track_id=track)


def _class(values: list[float]) -> int:
    """The class of a line of eight or nine columns; 0 for a line that has none."""
    return int(values[7]) if len(values) in (8, 9) and 0 < values[7] < 2**31 else 0


def read_mot_lines(path: Path) -> Iterator[tuple[int, list[float]]]:
    """The lines of a MOTChallenge text file: line number and the 6 to 10 numbers of the line.

    Raises:
        DatasetError: a line is malformed; file and line are named.
    """
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.strip():
            yield number, _numbers(line, f"{path}: line {number}")


def _numbers(line: str, where: str) -> list[float]:
    try:
        values = [float(part) for part in line.strip().rstrip(",").split(",")]
    except ValueError:
        values = []
    if not 6 <= len(values) <= 10 or not all(v == v // 1 for v in values[:2]):
        raise DatasetError(f"{where}: expected frame,id,left,top,width,height and up to 4 numbers more, got {line!r}")
    return values
