"""The whole model: detects objects of any class, embeds them, and tracks them through a video."""

from collections.abc import Iterator

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import ImageList, Instances
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from effowt_d2.modeling.layers.labelled_images import LabelledImages
from effowt_d2.modeling.roi_heads import ReIDHead, ReIDLoss, ReIDPair, ReIDSampler
from effowt_d2.tracking import Tracker
from effowt_d2.utils.arguments import bad_argument, config_keys

from .tracker_config import build_tracker
from .video_state import VideoState

__all__ = ["OpenWorldTracker"]

_REID_KEYS = {
    "batch_size": "MODEL.REID.BATCH_SIZE_PER_IMAGE",
    "kind": "MODEL.REID.LOSS",
    "weight": "MODEL.REID.LOSS_WEIGHT",
}
"""Keys that have another name than the argument that they give."""


@META_ARCH_REGISTRY.register()
class OpenWorldTracker(GeneralizedRCNN):
    """A two-stage detector with a ReID head, trained on two views of still images and run on videos.

    Any Detectron2 backbone will do. One with a true attribute ``takes_image_sizes`` gets the valid area of each
    image as ``backbone(x, image_sizes=[(h, w), ...])``.

    Args:
        reid_head: boxes to embeddings.
        reid_sampler: draws the RoIs of a view that the ReID loss sees.
        reid_loss: the loss of their embeddings.
        tracker: embeddings to track ids; every video has a copy of it.
        **kwargs: those of :class:`detectron2.modeling.GeneralizedRCNN`.

    Raises:
        ValueError: there is no proposal generator.
    """

    @configurable
    def __init__(
        self, *, reid_head: ReIDHead, reid_sampler: ReIDSampler, reid_loss: ReIDLoss, tracker: Tracker, **kwargs
    ):
        super().__init__(**kwargs)
        _check_proposals(self.proposal_generator)
        self.reid_head = reid_head
        self.reid_sampler = reid_sampler
        self.reid_loss = reid_loss
        self.tracker = tracker

    @classmethod
    def from_config(cls, cfg):
        ret = super().from_config(cfg)
        with config_keys("MODEL", proposal_generator="MODEL.PROPOSAL_GENERATOR.NAME"):
            _check_proposals(ret["proposal_generator"])
        with config_keys("MODEL.REID", **_REID_KEYS):
            ret["reid_head"] = ReIDHead(cfg, ret["backbone"].output_shape())
            ret["reid_sampler"] = ReIDSampler(cfg)
            ret["reid_loss"] = ReIDLoss(cfg)
        ret["tracker"] = build_tracker(cfg.TRACKER)
        return ret

    def start(self, *, frame_rate: float | None = None, numbers: Iterator[int] | None = None) -> VideoState:
        """Begin a video. Its state is the caller's: several videos may be under way, one model sees them all.

        Args:
            frame_rate: processed frames per second, needed only with ``TRACKER.MEMORY_SECONDS``.
            numbers: see :class:`VideoState`.
        """
        return VideoState(self.tracker, frame_rate=frame_rate, numbers=numbers)

    def start_video(self, x: dict, numbers: Iterator[int]) -> VideoState:
        """Begin the video whose first frame is ``x``, see :class:`RunningVideo`."""
        return self.start(frame_rate=x.get("frame_rate"), numbers=numbers)

    def step(self, state: VideoState, frames: list[dict]) -> tuple[VideoState, list[Instances]]:
        """Go on in a video.

        Args:
            state: of :meth:`start` or the last step; it is changed.
            frames: the next ones, as for :meth:`inference`.

        Returns:
            The state, and the Instances of each frame.
        """
        return state, [output["instances"] for output in self([dict(frame, state=state) for frame in frames])]

    def associate(self, state: VideoState, instances: Instances, frame_index: int) -> Tensor:
        """Track ids of a frame's detections, see :meth:`VideoState.associate`."""
        return state.associate(instances, frame_index)

    def forward(self, batched_inputs: list[dict]):
        """
        Args:
            batched_inputs: one dict per image with ``image`` (C, H, W) in ``INPUT.FORMAT``, and

                * in training ``instances`` (``gt_boxes``, ``gt_classes`` all 0), optionally ``complete``, false where
                  objects are not labelled, and optionally ``reference``, a dict with the same of a second view of
                  the same image. With it the instances of
                  both carry ``gt_ids`` (int64), the same for the same object and -1 for unknown;
                * otherwise see :meth:`inference`.

        Returns:
            In training a dict of losses, always with the same keys; otherwise what :meth:`inference` returns.
        """
        if not self.training:
            return self.inference(batched_inputs)
        paired = [i for i, x in enumerate(batched_inputs) if "reference" in x]
        views = list(batched_inputs) + [batched_inputs[i]["reference"] for i in paired]
        images = LabelledImages(self.preprocess_image(views), [x.get("complete", True) for x in views])
        targets = [x["instances"].to(self.device) for x in views]
        features = self._features(images)
        proposals, losses = self.proposal_generator(images, features, targets)
        _, detector_losses = self.roi_heads(images, features, proposals, targets)
        if self.vis_period > 0 and get_event_storage().iter % self.vis_period == 0:
            self.visualize_training(batched_inputs, proposals)
        references = {i: len(batched_inputs) + n for n, i in enumerate(paired)}
        reid_losses = self._reid_losses(images, features, proposals, targets, references)
        return {**losses, **detector_losses, **reid_losses}

    def _features(self, images: ImageList) -> dict[str, Tensor]:
        if getattr(self.backbone, "takes_image_sizes", False):
            return self.backbone(images.tensor, image_sizes=images.image_sizes)
        return self.backbone(images.tensor)

    def _add_looks(
        self, results: list[Instances], features: dict[str, Tensor], image_sizes: list[tuple[int, int]]
    ) -> None:
        """What the tracker compares, as fields of the results: boxes and looks stay together when empty boxes are dropped."""
        embeddings = self.reid_head(features, [x.pred_boxes for x in results], image_sizes)
        for result, embedding in zip(results, embeddings):
            result.embeddings = embedding

    def _reid_losses(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances],
        references: dict[int, int],
    ) -> dict[str, Tensor]:
        """Losses between each view and its reference, given as places in the batch: {key view: reference view}."""
        boxes = [x.proposal_boxes[:0] for x in proposals]
        ids = [torch.zeros(0, dtype=torch.int64, device=self.device) for _ in proposals]
        for key, reference in references.items():
            for view in (key, reference):
                boxes[view], ids[view] = self.reid_sampler(proposals[view], targets[view])
            # a background key is in no pair: its embedding would be thrown away
            on_object = ids[key] >= 0
            boxes[key], ids[key] = boxes[key][on_object], ids[key][on_object]
        # the head runs even without a box, and the losses are 0 then: every rank of a job has the same graph
        embeddings = self.reid_head(features, boxes, images.image_sizes)
        pairs = references or {0: 0}
        return self.reid_loss([ReIDPair(embeddings[k], ids[k], embeddings[r], ids[r]) for k, r in pairs.items()])

    def inference(
        self,
        batched_inputs: list[dict],
        detected_instances: list[Instances] | None = None,
        do_postprocess: bool = True,
    ) -> list:
        """Detect, and track where the inputs are frames of videos.

        Args:
            batched_inputs: one dict per image with ``image`` and optionally ``height`` and ``width``, the size of the
                output. A frame of a video also has ``state``, of :meth:`start`, and ``frame_index``, its place in the
                processed sequence; frames of a batch are associated in their order. Frames of datasets get their
                state from :class:`RunningVideo`.
            detected_instances: boxes and scores to use in place of the model's own, in pixels of ``image``.
            do_postprocess: scale the results to the output size and track.

        Returns:
            Per image {"instances": Instances} with ``pred_boxes`` in pixels of the output, ``scores``,
            ``pred_classes`` and, for frames of videos, ``track_ids`` (N,) int64, where -1 is none. Without
            postprocessing, the Instances alone, in pixels of ``image`` and without ids.
        """
        if self.training:
            raise RuntimeError("inference in training mode; call model.eval() first")
        frames = [_frame_of(x) for x in batched_inputs]
        images = self.preprocess_image(batched_inputs)
        features = self._features(images)
        if detected_instances is None:
            proposals, _ = self.proposal_generator(images, features, None)
            results, _ = self.roi_heads(images, features, proposals, None)
        else:
            results = [x.to(self.device) for x in detected_instances]
        if not do_postprocess:
            return results
        if any(frame is not None for frame in frames):
            self._add_looks(results, features, images.image_sizes)
        outputs = []
        for x, frame, result, (height, width) in zip(batched_inputs, frames, results, images.image_sizes):
            result = detector_postprocess(result, x.get("height", height), x.get("width", width))
            if frame is not None:
                result.track_ids = self.associate(frame[0], result, frame[1])
            for name in {"embeddings", "tokens"} & result.get_fields().keys():
                result.remove(name)
            outputs.append({"instances": result})
        return outputs


def _check_proposals(proposal_generator: nn.Module | None) -> None:
    if proposal_generator is None:
        raise bad_argument("proposal_generator", "is missing (PrecomputedProposals): the model makes its own proposals")


def _frame_of(x: dict) -> tuple[VideoState, int] | None:
    """(state, frame index) of an input, None for a still image."""
    name = x.get("file_name", f"of video {x.get('video_id')!r}")
    if x.get("state") is None:
        if x.get("video_id") is not None:
            raise ValueError(
                f"frame {name} has a video_id but no state: hand the frames to RunningVideo(model), or call start and step"
            )
        return None
    if x.get("frame_index") is None:
        raise ValueError(f"frame {name} has a state but no frame_index, its place in the processed sequence")
    return x["state"], x["frame_index"]
