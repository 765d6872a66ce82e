"""The base of the trackers of given objects: training on crops, and videos frame by frame.

Shapes: T targets of a video, B targets of all videos of a call. Boxes are x0, y0, x1, y1 in pixels of the frame.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from effowt_d2.utils.arguments import bad_argument

from .crops import ContextCrop, check_frame
from .encoder import JointEncoder
from .head import HeadOutput
from .maps import clip_boxes, is_valid, map_boxes, unmap_boxes
from .square_crop import SquareCrop
from .state import Reference, TrackState
from .window import HannProduct, WindowSelection

__all__ = ["SingleObjectTracker"]


@dataclass
class _Video:
    """The state of a video for loops that hand over frame after frame; None before its first one."""

    state: TrackState | None = None


class SingleObjectTracker(nn.Module):
    """Follows the objects whose boxes are given in the first frame.

    A subclass defines what is remembered (:meth:`remember`, :meth:`admit`) and computes responses (:meth:`react`, and
    :meth:`look` from what is remembered).

    Args:
        backbone: encodes templates and search crops.
        template, search: crop policies.
        selection: chooses a cell of a response.
        input_format: order of the frames' channels, ``BGR`` or ``RGB``.
    """

    follows_boxes = True

    def __init__(
        self,
        *,
        backbone: JointEncoder,
        template: ContextCrop | SquareCrop,
        search: ContextCrop | SquareCrop,
        selection: WindowSelection | HannProduct,
        input_format: str = "RGB",
    ):
        super().__init__()
        if input_format not in ("BGR", "RGB"):
            raise bad_argument("input_format", f"must be BGR or RGB, got {input_format!r}")
        self.backbone = backbone
        self.template = template
        self.search = search
        self.selection = selection
        self.input_format = input_format

    @property
    def device(self) -> torch.device:
        return self.backbone.mean.device

    # what a subclass is

    def losses(self, samples: Sequence[dict]) -> dict[str, Tensor]:
        """The losses of training samples, see :class:`sot.data.training.ClipMapper`."""
        raise NotImplementedError

    def training_references(self, samples: Sequence[dict]) -> list[Reference]:
        """The R references of B samples: crops (B, 3, S, S) and masks (B, h, w) each."""
        crops = self.backbone.normalise(torch.stack([x["templates"] for x in samples]).to(self.device))
        boxes = torch.stack([x["template_boxes"] for x in samples])
        masks = self.backbone.foreground(boxes.flatten(0, 1)).unflatten(0, boxes.shape[:2]).to(self.device)
        return [Reference(*pair) for pair in zip(crops.unbind(1), masks.unbind(1))]

    def training_searches(self, samples: Sequence[dict]) -> list[tuple[Tensor, Tensor]]:
        """The search crops (B, 3, S, S) of each of the T search frames, and the boxes (B, 4) in pixels of them."""
        crops = self.backbone.normalise(torch.stack([x["searches"] for x in samples]).to(self.device))
        boxes = torch.stack([x["search_boxes"] for x in samples]).to(self.device)
        return list(zip(crops.unbind(1), boxes.unbind(1)))

    @property
    def references_seen(self) -> int:
        """R, how many references a target is compared with in a frame."""
        return 1

    def first_state(self, targets: int) -> Tensor | None:
        """What of the network's output is its input in the next frame, at the start; None for nothing."""
        return None

    def react(
        self, references: Sequence[Reference], crops: Tensor, state: Tensor | None
    ) -> tuple[HeadOutput, Tensor | None]:
        """One pass of the network, which keeps nothing.

        Args:
            references: R, of B targets each.
            crops: (B, 3, S, S) normalised search crops.
            state: as of :meth:`first_state`, or of the frame before.

        Returns:
            The responses and the new state.
        """
        raise NotImplementedError

    def remember(self, reference: Reference) -> Any:
        """The memory of a video that begins, of its targets in the first frame."""
        raise NotImplementedError

    def look(self, states: Sequence[TrackState], crops: Tensor) -> tuple[HeadOutput, Sequence[Any]]:
        """Find the targets.

        Args:
            states: of several videos.
            crops: (B, 3, S, S) normalised search crops of all their targets.

        Returns:
            The responses of all targets, and the new memory of each video.
        """
        raise NotImplementedError

    def bound(self, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """Found boxes (T, 4), cut to a frame of (height, width) pixels."""
        return clip_boxes(boxes, size)

    def admit(self, state: TrackState, image: Tensor, tracks: Instances) -> Any:
        """The memory after a frame, whose tracks are found: that of ``state``, unless frames are kept."""
        return state.memory

    # what all do

    @torch.no_grad()
    def start(self, frame: Tensor, boxes: Tensor | Sequence[Sequence[float]]) -> TrackState:
        """Begin a video.

        Args:
            frame: (3, H, W) in 0..255, in ``input_format``.
            boxes: (T, 4) of the targets; there may be none.

        Raises:
            ValueError: the frame or a box cannot be used; a box of NaN, without an area or outside of the frame is named.
        """
        image, boxes = self._rgb(frame), torch.as_tensor(boxes, dtype=torch.float64).reshape(-1, 4).cpu()
        inside = clip_boxes(boxes, image.shape[-2:])
        for number, (box, good) in enumerate(zip(boxes.tolist(), (is_valid(boxes) & is_valid(inside)).tolist())):
            if not good:
                height, width = image.shape[-2:]
                raise bad_argument(
                    f"boxes[{number}]", f"must have an area in the frame of {width} x {height} pixels, got {box}"
                )
        padding = self.search.padding(image)
        return TrackState(boxes, padding, 0, self.remember(self.refer(image, boxes, padding)))

    def step(self, state: TrackState, frame: Tensor) -> tuple[TrackState, Instances]:
        """Go on in a video.

        Args:
            state: of :meth:`start` or the last step; it stays as it is.
            frame: as for :meth:`start`; it may have another size.

        Returns:
            The new state, and the T targets as ``pred_boxes``, ``scores`` in 0..1, ``track_ids`` 0..T-1 and
            ``pred_classes`` 0.

        Raises:
            ValueError: the frame cannot be used, or there is no state: :meth:`start` comes first.
        """
        ((after, tracks),) = self.step_all([state], [frame])
        return after, tracks

    @torch.no_grad()
    def step_all(self, states: Sequence[TrackState], frames: Sequence[Tensor]) -> list[tuple[TrackState, Instances]]:
        """:meth:`step` of several videos, whose targets run through the model as one batch."""
        if not all(isinstance(state, TrackState) for state in states):
            raise bad_argument("state", "must be that of start(frame, boxes), which comes before the first step")
        images = [self._rgb(frame) for frame in frames]
        seen = [[self.search(i, box, s.padding) for box in s.boxes] for s, i in zip(states, images)]
        crops = [crop.pixels for video in seen for crop in video]
        if not crops:
            return [self._empty(state, image) for state, image in zip(states, images)]
        output, memories = self.look(states, self.backbone.normalise(torch.stack(crops) / 255))
        chosen = self.selection(*output)
        boxes, scores = chosen.boxes.double().cpu() * self.search.size, chosen.confidences
        results, first = [], 0
        for state, image, memory, video in zip(states, images, memories, seen):
            part = slice(first, first + len(video))
            first += len(video)
            maps = [crop.map for crop in video]
            results.append(self._placed(replace(state, memory=memory), image, maps, boxes[part], scores[part]))
        return results

    def _placed(
        self, state: TrackState, image: Tensor, maps: list[Tensor], boxes: Tensor, scores: Tensor
    ) -> tuple[TrackState, Instances]:
        size = image.shape[-2:]
        if maps:
            boxes = self.bound(unmap_boxes(torch.stack(maps), boxes), size)
        # a box that is none is reported if it is finite, and the search goes on where the target was before
        reported = torch.where(boxes.isfinite().all(dim=1, keepdim=True), boxes, state.boxes)
        kept = torch.where(is_valid(reported)[:, None], reported, state.boxes)
        tracks = _instances(size, reported, scores)
        after = replace(state, boxes=kept, frame=state.frame + 1)
        return replace(after, memory=self.admit(after, image, tracks)), tracks

    def _empty(self, state: TrackState, image: Tensor) -> tuple[TrackState, Instances]:
        none = torch.zeros(0, device=self.device)
        return replace(state, frame=state.frame + 1), _instances(image.shape[-2:], state.boxes, none)

    def refer(self, image: Tensor, boxes: Tensor, padding: Tensor) -> Reference:
        """Template crops around boxes (T, 4) of an RGB image, and which of their tokens show the targets."""
        crops = [self.template(image, box, padding) for box in boxes]
        inside = [map_boxes(crop.map, box) for crop, box in zip(crops, boxes)]
        size = self.template.size
        pixels = torch.stack([c.pixels for c in crops]) if crops else image.new_zeros(0, 3, size, size).float()
        boxes = torch.stack(inside) if inside else boxes
        foreground = self.backbone.foreground(boxes).to(self.device)
        return Reference(self.backbone.normalise(pixels / 255), foreground)

    def _rgb(self, frame: Tensor) -> Tensor:
        image = check_frame(frame).to(self.device)
        return image.flip(0) if self.input_format == "BGR" else image

    def forward(self, batched_inputs: list[dict]) -> Any:
        """
        Args:
            batched_inputs: in training, samples of :class:`sot.data.training.ClipMapper`. Otherwise frames: dicts with
                ``image`` (3, H, W) in ``input_format``, ``state`` of :meth:`start_video`, and in the first frame of a video
                ``given_boxes``; ``height`` and ``width``, those of the file, scale boxes.

        Returns:
            In training a dict of losses; otherwise per frame a dict with ``instances``, see :meth:`step`, and the ``seconds``
            that it took.

        Raises:
            ValueError: the first frame of a video has no ``given_boxes``.
        """
        if self.training:
            return self.losses(batched_inputs)
        return [self._infer(x) for x in batched_inputs]

    def start_video(self, x: dict, numbers: Iterator[int]) -> _Video:
        """What :class:`effowt_d2.modeling.meta_arch.RunningVideo` keeps of a video."""
        return _Video()

    def _infer(self, x: dict) -> dict:
        begin, image, video = time.perf_counter(), x["image"], x.get("state") or _Video()
        height, width = x.get("height", image.shape[-2]), x.get("width", image.shape[-1])
        scale = torch.tensor([image.shape[-1] / width, image.shape[-2] / height] * 2, dtype=torch.float64)
        if video.state is None:
            if "given_boxes" not in x:
                raise bad_argument(
                    "given_boxes", f"are missing in the first frame, {x.get('file_name', 'without a name')}"
                )
            given = torch.as_tensor(x["given_boxes"], dtype=torch.float64).reshape(-1, 4)
            video.state = self.start(image, given * scale)
            tracks = _instances(image.shape[-2:], video.state.boxes, torch.ones(len(given), device=self.device))
        else:
            video.state, tracks = self.step(video.state, image)
        boxes = tracks.pred_boxes.tensor.double() / scale
        return {
            "instances": _instances((height, width), boxes, tracks.scores),
            "seconds": time.perf_counter() - begin,
        }


def _instances(size: tuple[int, int], boxes: Tensor, scores: Tensor) -> Instances:
    made = Instances(tuple(size))
    made.pred_boxes = Boxes(boxes)
    made.scores = scores.float().cpu()
    made.track_ids = torch.arange(len(boxes))
    made.pred_classes = torch.zeros(len(boxes), dtype=torch.int64)
    return made
