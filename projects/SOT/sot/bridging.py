"""Open-world tracking that follows an object through the frames in which the detector misses it.

frame          t     t+1    t+2    t+3
detector       7      -      -      7
follower       |----> 7 ---> 7      |         as long as it is sure, MAX_FRAMES at most
given out      7      7      7      7
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_model
from detectron2.structures import Boxes, Instances
from torch import Tensor

from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.engine import find_config, make_config
from effowt_d2.modeling.meta_arch import OpenWorldTracker, VideoState
from effowt_d2.tracking.similarity import pairwise_iou
from effowt_d2.utils.arguments import bad_argument, config_keys
from effowt_d2.utils.checks import check_count, check_number
from sot.state import TrackState
from sot.tracker import SingleObjectTracker

__all__ = ["Bridge", "BridgedTracker"]

_SAME_OBJECT = 0.5
"""A followed box that overlaps a detection by more is that object, whatever its track."""


@dataclass(frozen=True)
class _Followed:
    """A track: the follower's state since it was last detected, its score then, and frames since."""

    state: TrackState
    score: float
    missed: int = 0


class _BridgedVideo(VideoState):
    """A video's tracks, and the followed ones by id."""

    followed: dict[int, _Followed]


class Bridge:
    """Finds the tracks that have no detection in a frame.

    Args:
        follower: a tracker of given objects.
        max_frames: frames in a row that a track is followed without a detection.
        min_score: a box that the follower finds with a lower score ends the bridge.
        min_track_score: only tracks detected with at least this score are followed.
        flip: frames have the other order of channels than the follower's.
    """

    def __init__(
        self,
        follower: SingleObjectTracker,
        *,
        max_frames: int = 5,
        min_score: float = 0.5,
        min_track_score: float = 0.3,
        flip: bool = False,
    ):
        self.follower = follower
        self.max_frames = check_count("max_frames", max_frames)
        self.min_score = check_number("min_score", min_score, 0, 1)
        self.min_track_score = check_number("min_track_score", min_track_score, 0, 1)
        self.flip = flip

    def __call__(
        self, followed: dict[int, _Followed], image: Tensor, found: Instances
    ) -> tuple[dict[int, _Followed], Instances]:
        """
        Args:
            followed: tracks of the frames so far, by id.
            image: (3, H, W) in 0..255.
            found: the frame's ``pred_boxes`` in its own size, which may differ from the image's, ``scores`` and ``track_ids``.

        Returns:
            The tracks now, and the frame with the bridged tracks behind the others, scored by the detection before times
            the follower's score.
        """
        image = image.flip(0) if self.flip else image
        height, width = found.image_size
        scale = torch.tensor([image.shape[-1] / width, image.shape[-2] / height] * 2, dtype=torch.float64)
        present = set(found.track_ids.tolist())
        missing = {number: one for number, one in followed.items() if number not in present}
        steps = self.follower.step_all([one.state for one in missing.values()], [image] * len(missing))
        kept, boxes, scores = {}, [], []
        for (number, one), (state, tracks) in zip(missing.items(), steps):
            confidence, box = float(tracks.scores), tracks.pred_boxes.tensor.cpu() / scale
            overlaps = pairwise_iou(box.float(), found.pred_boxes.tensor.cpu().float())
            if one.missed < self.max_frames and confidence >= self.min_score and not (overlaps > _SAME_OBJECT).any():
                kept[number] = _Followed(state, one.score, one.missed + 1)
                boxes.append(box)
                scores.append(one.score * confidence)
        if kept:
            found = Instances.cat([found, _instances(found, list(kept), torch.cat(boxes), scores)])
        return {**self._seen(image, found[: len(found) - len(kept)], scale), **kept}, found

    def _seen(self, image: Tensor, found: Instances, scale: Tensor) -> dict[int, _Followed]:
        """The detected tracks, each as it is now."""
        boxes = found.pred_boxes.tensor.cpu().double() * scale
        rows = zip(found.track_ids.tolist(), boxes, found.scores.tolist())
        chosen = ((number, box, score) for number, box, score in rows if number >= 0 and score >= self.min_track_score)
        return {number: _Followed(self.follower.start(image, box[None]), score) for number, box, score in chosen}


def _instances(like: Instances, numbers: list[int], boxes: Tensor, scores: list[float]) -> Instances:
    """Tracks with the fields, dtypes and device of ``like``."""
    made, device = Instances(like.image_size), like.scores.device
    made.pred_boxes = Boxes(boxes.to(like.pred_boxes.tensor))
    made.scores = torch.tensor(scores, dtype=like.scores.dtype, device=device)
    made.pred_classes = torch.zeros(len(numbers), dtype=torch.int64, device=device)
    made.track_ids = torch.tensor(numbers, device=device)
    return made


@META_ARCH_REGISTRY.register()
class BridgedTracker(OpenWorldTracker):
    """An open-world tracker that bridges missed frames; without a follower it is as its base.

    Args:
        bridge: finds missing tracks; None for none. The follower's weights are no part of this model's checkpoints.
        **kwargs: see :class:`effowt_d2.modeling.meta_arch.OpenWorldTracker`.
    """

    @configurable
    def __init__(self, *, bridge: Bridge | None = None, **kwargs):
        super().__init__(**kwargs)
        self.bridge = bridge

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        node = cfg.MODEL.SOT.BRIDGE
        options = {"max_frames": node.MAX_FRAMES, "min_score": node.MIN_SCORE, "min_track_score": node.MIN_TRACK_SCORE}
        with config_keys("MODEL.SOT.BRIDGE"):
            follower = build_follower(node.CONFIG, node.WEIGHTS, cfg.MODEL.DEVICE) if node.CONFIG else None
            flip = follower is not None and follower.input_format != cfg.INPUT.FORMAT
            bridge = Bridge(follower, flip=flip, **options) if follower else None
        return {**super().from_config(cfg), "bridge": bridge}

    def start(self, *, frame_rate: float | None = None, numbers: Iterator[int] | None = None) -> VideoState:
        video = _BridgedVideo(self.tracker, frame_rate=frame_rate, numbers=numbers)
        video.followed = {}
        return video

    def inference(
        self,
        batched_inputs: list[dict],
        detected_instances: list[Instances] | None = None,
        do_postprocess: bool = True,
    ) -> list:
        outputs = super().inference(batched_inputs, detected_instances, do_postprocess)
        if self.bridge is not None and do_postprocess:
            for x, output in zip(batched_inputs, outputs):
                video = x.get("state")
                if video is not None:
                    found = self.bridge(video.followed, x["image"].to(self.device), output["instances"])
                    video.followed, output["instances"] = found
        return outputs


def build_follower(config: str, weights: str, device: str) -> SingleObjectTracker:
    """A trained tracker of given objects.

    Raises:
        ValueError: the config is that of another model, or there are no weights.
        FileNotFoundError: there is no such file.
    """
    cfg = make_config(find_config(config), ["MODEL.DEVICE", device])
    model = build_model(cfg).eval()
    if not isinstance(model, SingleObjectTracker):
        raise bad_argument("config", f"must be that of a tracker of given objects, got {cfg.MODEL.META_ARCHITECTURE}")
    source = weights or cfg.MODEL.WEIGHTS
    if not source:
        raise bad_argument("weights", f"are missing: {config} names none either")
    EffOWTCheckpointer(model, complete=True).load(source)
    return model
