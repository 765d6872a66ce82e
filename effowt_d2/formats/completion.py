"""Fills missing fields by the rules in docs/own_data.md, and counts them."""

from pathlib import Path

from PIL import Image as PillowImage

from .document import Category, Dataset, DatasetError
from .masks import box_of_mask

__all__ = ["complete", "image_size"]

_ROTATED = (5, 6, 7, 8)  # values of EXIF's orientation that exchange width and height
_ORIENTATION = 0x0112


def complete(dataset: Dataset, image_root: Path | None) -> Dataset:
    """Fill, in place, what the dataset's format lets out; counts go to ``dataset.filled``.

    Args:
        dataset: as its reader returned it.
        image_root: where images are, whose headers give sizes that the file lacks; None: images are not needed.

    Raises:
        DatasetError: a label has neither box nor mask, or a mask is malformed; an image has no file name, or a size
            is missing and the image cannot be read.
    """
    _complete_videos(dataset)
    _complete_images(dataset, image_root)
    _complete_annotations(dataset)
    if not dataset.categories:
        used = sorted({annotation.category_id for annotation in dataset.annotations})
        dataset.categories.extend(Category(id=number, name=f"category {number}") for number in used)
        dataset.filled["categories"] += len(used)
    return dataset


def _complete_videos(dataset: Dataset) -> None:
    for video in dataset.videos:
        for key, value in (("name", str(video.id)), ("neg_category_ids", []), ("not_exhaustive_category_ids", [])):
            if getattr(video, key) is None:
                setattr(video, key, value)
                dataset.filled[f"videos.{key}"] += 1


def _complete_images(dataset: Dataset, image_root: Path | None) -> None:
    videos = {video.id: video for video in dataset.videos}
    for number, image in enumerate(dataset.images):
        if image_root is not None:
            if not image.file_name:
                raise DatasetError(f"{dataset.file}: images {number}: id {image.id}: the field 'file_name' is missing")
            image.file_name = _slashes(image.file_name, image_root)
        if image.width is not None and image.height is not None:
            continue
        video = videos.get(image.video_id) if image.video_id is not None else None
        if video is not None and video.width and video.height:
            image.width, image.height = video.width, video.height
        elif image_root is not None:
            image.width, image.height = _size_of_file(image.file_name, image_root, dataset.file)
        dataset.filled["images.width, height"] += image.width is not None


def _slashes(name: str, image_root: Path) -> str:
    if "\\" in name and not (image_root / name).is_file():
        return name.replace("\\", "/")
    return name


def _size_of_file(name: str, image_root: Path, file: str) -> tuple[int, int]:
    try:
        return image_size(image_root / name)
    except (OSError, ValueError, SyntaxError, PillowImage.DecompressionBombError) as error:
        raise DatasetError(
            f"{file}: image {name} has no width and height, and {image_root / name} cannot be read: {error}"
        ) from None


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image as its viewers show it, from the header alone.

    Raises:
        OSError: it is missing or no image.
    """
    with PillowImage.open(path) as image:
        width, height = image.size
        return (height, width) if image.getexif().get(_ORIENTATION) in _ROTATED else (width, height)


def _complete_annotations(dataset: Dataset) -> None:
    filled = dataset.filled
    video_of = {image.id: image.video_id for image in dataset.images}
    for number, annotation in enumerate(dataset.annotations):
        if annotation.bbox is None:
            annotation.bbox = _box(dataset, number)
            filled["annotations.bbox"] += 1
        annotation.segmentation = None
        if annotation.area is None:
            annotation.area = annotation.bbox[2] * annotation.bbox[3]
            filled["annotations.area"] += 1
        if annotation.iscrowd is None:
            annotation.iscrowd = 0
            filled["annotations.iscrowd"] += 1
        annotation.iscrowd = int(annotation.iscrowd)
        if dataset.is_video and annotation.video_id is None:
            annotation.video_id = video_of.get(annotation.image_id)
            filled["annotations.video_id"] += 1


def _box(dataset: Dataset, number: int) -> tuple:
    annotation = dataset.annotations[number]
    where = f"{dataset.file}: annotations {number}: image_id {annotation.image_id}"
    try:
        box = box_of_mask(annotation.segmentation) if annotation.segmentation is not None else None
    except ValueError as error:
        raise DatasetError(f"{where}: 'segmentation': {error}") from None
    if box is None:
        raise DatasetError(f"{where}: it has no 'bbox', and no 'segmentation' to take one from")
    return tuple(box)
