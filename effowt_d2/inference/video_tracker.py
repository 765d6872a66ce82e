"""Tracking in three lines: a model by name, a video in, boxes with ids out."""

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode

from effowt_d2.model_zoo import DEFAULT
from effowt_d2.naming import BestCrops, Description, ImageDescriber, TrackNamer, read_vocabulary
from effowt_d2.video import FrameReader, FrameSource, FrameTracks, open_frames
from effowt_d2.video.best_views import MOST_VIEWS

from .time_split import TimeSplit
from .tracking_config import make_tracking_config
from .video_predictor import VideoPredictor, check_following, check_weights

__all__ = ["VideoTracker"]


class VideoTracker:
    """Finds and follows every object in a video.

    .. code-block:: python

        tracker = VideoTracker()
        for frame in tracker.track("video.mp4"):
            print(frame.time, frame.ids, frame.boxes)

    Frames are read, tracked and let go one at a time, so an hour of video needs no more memory than a minute. Several
    videos may be under way at once; each gives what it gives alone.

    Args:
        cfg_or_zoo_name: a config, a YAML file, or the name of a zoo config; a name brings the trained weights. By
            default the model of photographs.
        weights: checkpoint in place of the config's.
        device: "cpu", "cuda", "cuda:1", ...; None: the config's, or the CPU where there is no CUDA.
        precision: "float32", "bfloat16" or "float16"; None: the config's ``TEST.PRECISION``.
        max_side: longest side of a frame inside the model, in pixels; None: the config's. Boxes are in pixels of
            the frame in any case.
        memory: how many seconds a lost track is remembered; None: ``TRACKER.MEMORY_SECONDS`` or ``MEMORY_FRAMES`` of
            the config or ``opts``, or 1 second where none is set (the frames of a preset suit one frame a second).
        score_threshold: least score of a box that is given out; all of them are tracked. None: the config's
            ``TEST.SHOWN_SCORE``.
        vocabulary: words to name tracks with: a list, a text file with one a line, "common" or "tao"; None: no names.
        describe: LLaVA or LLaVA-NeXT of transformers that describes tracks (:meth:`descriptions`), a folder or a name on the Hugging
            Face hub; None: none.
        opts: config keys and values in turn, such as ``("TRACKER.PRESET", "simowt")``.
        profile: whether ``times`` measures; a GPU is waited for at every stage then, which costs speed.

    Attributes:
        cfg: the config of the model.
        times: seconds spent per stage so far; empty unless ``profile``.

    Raises:
        FileNotFoundError: no such config, checkpoint or vocabulary.
        ValueError: there are no weights, or a setting is wrong; the text names it.
        MissingPackageError: ``describe`` needs a package that is missing.
    """

    def __init__(
        self,
        cfg_or_zoo_name: CfgNode | str | Path = DEFAULT,
        *,
        weights: str | Path | None = None,
        device: str | None = None,
        precision: str | None = None,
        max_side: int | None = None,
        memory: float | None = None,
        score_threshold: float | None = None,
        vocabulary: str | Path | Sequence[str] | None = None,
        describe: str | Path | None = None,
        opts: Sequence = (),
        profile: bool = False,
    ) -> None:
        choice = dict(weights=weights, device=device, precision=precision, max_side=max_side, memory=memory)
        self.cfg = make_tracking_config(cfg_or_zoo_name, **choice, opts=opts)
        self.score_threshold = self.cfg.TEST.SHOWN_SCORE if score_threshold is None else score_threshold
        if not 0 <= self.score_threshold <= 1:
            raise ValueError(f"the score threshold (TEST.SHOWN_SCORE) must be in [0, 1], got {self.score_threshold}")
        # what can be wrong is looked at before the model is built
        check_weights(self.cfg)
        words = read_vocabulary(vocabulary) if isinstance(vocabulary, (str, Path)) else vocabulary
        if describe is not None and not 1 <= self.cfg.DESCRIBE.VIEWS <= MOST_VIEWS:
            raise ValueError(f"DESCRIBE.VIEWS must be 1 to {MOST_VIEWS}, got {self.cfg.DESCRIBE.VIEWS}")
        self._describer = None if describe is None else ImageDescriber(self.cfg, str(describe))
        self._crops: BestCrops | None = None
        self._predictor = VideoPredictor(self.cfg, profile=profile)
        self._numbers = itertools.count()
        self._namer = None if words is None else self._build_namer(list(words))

    def _build_namer(self, words: list[str]) -> TrackNamer:
        tower = getattr(getattr(self._predictor.model, "backbone", None), "tower", None)
        return TrackNamer(self.cfg, words, device=torch.device(self.cfg.MODEL.DEVICE), tower=tower)

    @property
    def times(self) -> TimeSplit:
        """Seconds spent per stage so far; callers may add stages of their own."""
        return self._predictor.times

    def track(
        self,
        source: FrameSource | FrameReader,
        *,
        stride: int = 1,
        start: float = 0.0,
        end: float | None = None,
        fps: float | None = None,
        restart_ids: bool = False,
    ) -> Iterator[FrameTracks]:
        """Track through a video.

        Args:
            source: a video file, a folder of images, a glob or list of images, the number of a camera, an iterable of
                (H, W, 3) BGR uint8 arrays, or what :func:`effowt_d2.video.open_frames` returned.
            stride: take every ``stride``-th frame.
            start, end: range in seconds; ``end`` None: to the end.
            fps: frames per second of images and arrays; None: 30. A video knows its own.
            restart_ids: count ids from 0, as if this were the tracker's only video; otherwise they are unique over all of
                its videos.

        Returns:
            An iterator over the frames taken, with what was found in each. It raises RuntimeError where the open video
            was read before.

        Raises:
            FileNotFoundError, PermissionError, ValueError: the source can't be read, see ``open_frames``; at once.
        """
        check_following(self.cfg, given=False)
        if isinstance(source, FrameReader):
            if (stride, start, end, fps) != (1, 0.0, None, None):
                raise ValueError("frames that are open already have a stride, a range and a rate: give them there")
            return self._run(source, restart_ids)
        return self._run(open_frames(source, stride=stride, start=start, end=end, fps=fps), restart_ids)

    def follow(
        self,
        source: FrameSource | FrameReader,
        boxes: Sequence[Sequence[float]] | np.ndarray | FrameTracks,
        *,
        stride: int = 1,
        start: float | None = None,
        end: float | None = None,
        fps: float | None = None,
        restart_ids: bool = False,
    ) -> Iterator[FrameTracks]:
        """Follow given objects through a video, with a model such as LoRAT.

        .. code-block:: python

            tracker = VideoTracker("lorat.yaml", weights="lorat.pth")
            for frame in tracker.follow("video.mp4", [[40, 30, 120, 90]]):
                print(frame.time, frame.boxes[0], frame.scores[0])

        Args:
            source, stride, start, end, fps, restart_ids: as for :meth:`track`.
            boxes: (T, 4) x0, y0, x1, y1 of the objects, in pixels of the first frame that is taken. Or tracks in a frame
                of the same source, such as ``found.where(found.ids == 7)`` of :meth:`track`: they keep their ids, and
                are followed from that frame on; with frames that are open already, from the next one.

        Returns:
            An iterator over the frames taken. Each has all T objects, whatever their scores; the first one as given.

        Raises:
            ValueError: the model finds objects itself, there is no box, or the source can't be read; at once. A box without
                an area in the frame, or another first frame than that of the tracks; with the first frame.
        """
        tracks = boxes if isinstance(boxes, FrameTracks) else None
        given = np.asarray(boxes if tracks is None else tracks.boxes, dtype=np.float64)
        if given.ndim != 2 or given.shape[1] != 4 or not len(given):
            raise ValueError(f"boxes must be (T, 4) x0, y0, x1, y1 with T of at least 1, got the shape {given.shape}")
        check_following(self.cfg, given=True)
        numbers = None if restart_ids else self._numbers
        if tracks is not None:
            numbers = iter(tracks.ids.tolist())
        if isinstance(source, FrameReader):
            if (stride, start, end, fps) != (1, None, None, None):
                raise ValueError("frames that are open already have a stride, a range and a rate: give them there")
            return self._follow(source, given, numbers)
        if start is None:
            start = 0.0 if tracks is None else tracks.time
        source = open_frames(source, stride=stride, start=start, end=end, fps=fps)
        return self._follow(source, given, numbers, None if tracks is None else tracks.index)

    def _follow(
        self, frames: FrameReader, boxes: np.ndarray, numbers: Iterator[int] | None, first: int | None = None
    ) -> Iterator[FrameTracks]:
        namer, crops = self._begin_video()
        with frames:
            for tracks in self._predictor.follow(self.times.each("decoding", frames), boxes, numbers=numbers):
                if first not in (None, tracks.index):
                    raise ValueError(
                        f"{frames.name}: the tracks are of frame {first}, the first one taken is {tracks.index}"
                    )
                first = None
                yield self._named(tracks, namer, crops)

    def _begin_video(self) -> tuple[TrackNamer | None, BestCrops | None]:
        """What a video collects by track, of its own: other videos may be under way."""
        naming = self.cfg.NAMING
        choice = {"context": naming.CONTEXT, "max_zoom": naming.MAX_ZOOM, "background": naming.BACKGROUND}
        self._namer = self._namer.fresh() if self._namer else None
        self._crops = BestCrops(**choice) if self._describer else None
        return self._namer, self._crops

    def _named(self, tracks: FrameTracks, namer: TrackNamer | None, crops: BestCrops | None) -> FrameTracks:
        if crops is not None:
            with self.times.stage("views"):
                crops.update(tracks)
        if namer:
            with self.times.stage("naming"):
                found = namer.update(tracks.image, tracks.boxes, tracks.ids, tracks.scores)
                tracks.names, tracks.name_scores = found
        return tracks

    def _run(self, frames: FrameReader, restart_ids: bool) -> Iterator[FrameTracks]:
        namer, crops = self._begin_video()
        numbers = None if restart_ids else self._numbers
        with frames:
            for tracks in self._predictor.track(self.times.each("decoding", frames), frames.rate, numbers=numbers):
                yield self._named(tracks.above(self.score_threshold), namer, crops)

    def names(self) -> dict[int, tuple[str, float]]:
        """Name and confidence of every track of the video begun last, by id; empty without a vocabulary."""
        return self._namer.names() if self._namer else {}

    def descriptions(self, ids: Collection[int] | None = None) -> Iterator[tuple[int, list[Description]]]:
        """Describe tracks of the video begun last, by their best views so far (``DESCRIBE.VIEWS``).

        .. code-block:: python

            tracker = VideoTracker(describe="llava-hf/llava-1.5-7b-hf")
            frames = list(tracker.track("video.mp4"))
            for track_id, views in tracker.descriptions():
                print(track_id, views[0].text)

        Args:
            ids: of the tracks; None: all of them.

        Yields:
            id, and what the model says about each view, in order of time; by ascending id. Nothing without ``describe``.
        """
        if self._describer is None or self._crops is None:
            return
        for track_id in self._crops.ids():
            if ids is None or track_id in ids:
                with self.times.stage("describing"):
                    crops = self._crops.best(track_id, self.cfg.DESCRIBE.VIEWS)
                    said = [replace(self._describer(crop.pixels()), time=crop.time) for crop in crops]
                yield track_id, said
