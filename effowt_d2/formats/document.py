"""An annotated dataset, whatever format it was read from, with every field filled in."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from msgspec import Meta, Struct

__all__ = ["Annotation", "Category", "Dataset", "DatasetError", "Image", "Video"]

Id = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Side = Annotated[int, Meta(gt=0)]
Box = Annotated[tuple[float, float, float, float], Meta(description="a box is [x, y, width, height] in pixels")]
Flag = Annotated[int, Meta(ge=0, le=1)] | bool


class DatasetError(ValueError):
    """A dataset that cannot be used; the message names the file, the entry or image, and the value."""


class Video(Struct, kw_only=True):
    """A video; ``fps`` is the rate that ``frame_index`` counts at."""

    id: Id
    name: str | None = None
    width: Side | None = None
    height: Side | None = None
    fps: Annotated[float, Meta(gt=0)] | None = None
    neg_category_ids: list[Id] | None = None
    not_exhaustive_category_ids: list[Id] | None = None


class Image(Struct, kw_only=True, gc=False):
    """A still image, or a frame where it has a ``video_id``; ``file_name`` is relative to the image folder.

    Scoring needs neither file names nor sizes.
    """

    id: Id
    file_name: str = ""
    width: Side | None = None
    height: Side | None = None
    video_id: Id | None = None
    frame_index: Id | None = None

    @property
    def title(self) -> str:
        """Name in messages."""
        return self.file_name or f"id {self.id}"


class Annotation(Struct, kw_only=True, gc=False):
    """A labelled box: x, y, width, height in pixels. ``track_id`` is given in videos."""

    image_id: Id
    category_id: Id
    id: Id | None = None
    bbox: Box | None = None
    area: float | None = None
    iscrowd: Flag | None = None
    video_id: Id | None = None
    track_id: Id | None = None
    segmentation: Any = None


class Category(Struct, kw_only=True):
    """A category; several may share a name."""

    id: Id
    name: str


@dataclass(frozen=True)
class Dataset:
    """A dataset as it was read and completed.

    Attributes:
        file: what messages call it.
        format: name of the format it was read as.
        images, annotations, videos, categories: its entries; still images have no videos.
        open_world: the file's own groups of categories, ids or names, or None.
        annotated: False for a split whose file brings no annotations.
        filled: per field that the file lacks, how many entries got it.
        left_out: per reason, annotations that the format itself excludes.
    """

    file: str
    format: str
    images: Sequence[Image]
    annotations: Sequence[Annotation]
    videos: list[Video]
    categories: list[Category]
    open_world: Mapping | None = None
    annotated: bool = True
    filled: Counter = field(default_factory=Counter)
    left_out: Counter = field(default_factory=Counter)

    @property
    def is_video(self) -> bool:
        return bool(self.videos)

    @property
    def category_names(self) -> dict[int, str]:
        """Names by id."""
        return {category.id: category.name for category in self.categories}

    def without_images(self, image_ids: Sequence[int]) -> "Dataset":
        """The same without these images and their annotations; of a video all frames go, and the video too."""
        gone = set(image_ids)
        videos = {image.video_id for image in self.images if image.id in gone} - {None}
        images = [i for i in self.images if i.id not in gone and i.video_id not in videos]
        kept = {image.id for image in images}
        return replace(
            self,
            images=images,
            annotations=[a for a in self.annotations if a.image_id in kept],
            videos=[video for video in self.videos if video.id not in videos],
        )

    def content(self) -> dict:
        """The dataset as a JSON document: TAO's layout for videos, COCO's for still images."""
        content: dict[str, Any] = {
            "info": {},
            "licenses": [],
            "images": [_plain(image) for image in self.images],
            "categories": [_plain(category) for category in self.categories],
        }
        if self.annotated:
            # COCO's evaluation takes the id 0 for "none"
            content["annotations"] = [{**_plain(a), "id": i} for i, a in enumerate(self.annotations, 1)]
        if self.is_video:
            content["videos"] = [_plain(video) for video in self.videos]
            content["tracks"] = self._tracks()
        if self.open_world is not None:
            content["open_world"] = self.open_world
        return content

    def _tracks(self) -> list[dict]:
        first = {(a.video_id, a.track_id): a.category_id for a in reversed(self.annotations)}
        return [{"id": track, "video_id": video, "category_id": c} for (video, track), c in sorted(first.items())]


def _plain(entry: Struct) -> dict:
    values = {name: getattr(entry, name) for name in entry.__struct_fields__ if name != "segmentation"}
    return {name: value for name, value in values.items() if value is not None}
