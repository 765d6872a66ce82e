"""The tracker: detections of one frame in, track ids out.

Letters: N detections, D candidates among them, M tracks in memory, P backdrops, E embedding channels.
"""

import numpy as np
import torch
from torch import Tensor

from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.checks import check_choice, check_count, check_number, check_positive

from .assignment import ASSIGNMENTS
from .checks import check_detections, check_frame_index
from .memory import Memory
from .motion import MOTIONS
from .similarity import APPEARANCES, appearance, pairwise_iou
from .track_state import Looks, MovingAverage, TrackState

__all__ = ["Tracker"]


class Tracker:
    """Associates detections with remembered tracks, one frame after the other.

    Causal and deterministic; all state is on the instance. Scores and similarities pass a threshold only if
    they are above it.

    Args:
        init_score: an unmatched detection starts a track above this score.
        keep_score: detections at or below this score are dropped.
        match_score: a detection continues a track above this similarity.
        memory_frames: a track unseen for more frames than this is forgotten.
        memory_seconds: the same in seconds, in place of ``memory_frames``; :meth:`reset` needs the frame rate then.
        momentum: weight of the new embedding in a track's embedding, at least 0.01.
        backdrop_frames: unassigned detections compete with the tracks for this many frames; 0: never.
        distractor_score: detections scored below this leave if they overlap a better one.
        distractor_iou: overlap above which they leave, before the matching; 1: none does.
        cosine_floor: pairs whose cosine is not above this never match; -1: off.
        assignment: ``"greedy"`` in score order, or ``"hungarian"``.
        iou_weight: weight of the box IoU in the similarity.
        motion: ``"none"``, or ``"constant_velocity"`` to move remembered boxes before the overlap is taken.
        appearance: ``"bisoftmax_cosine"`` (their mean), ``"bisoftmax"`` or ``"cosine"``.
        history: past embeddings a track is matched by; 1: the newest only.
        max_overlap: overlap above which detections of any score leave for a better one; 1: none does.

    The defaults are the preset ``"tao"``.

    Raises:
        ValueError: a setting is out of its range.
    """

    def __init__(
        self,
        *,
        init_score: float = 1e-4,
        keep_score: float = 1e-4,
        match_score: float = 0.5,
        memory_frames: int = 10,
        memory_seconds: float | None = None,
        momentum: float = 0.8,
        history: int = 1,
        backdrop_frames: int = 0,
        distractor_score: float = 0.5,
        distractor_iou: float = 0.3,
        max_overlap: float = 1.0,
        appearance: str = "bisoftmax_cosine",
        cosine_floor: float = -1.0,
        assignment: str = "greedy",
        iou_weight: float = 0.0,
        motion: str = "none",
    ) -> None:
        self.init_score = check_number("init_score", init_score, high=1.0)
        self.keep_score = check_number("keep_score", keep_score, high=1.0)
        self.match_score = check_number("match_score", match_score, high=1.0)
        self.memory_frames: int | None = check_count("memory_frames", memory_frames, 1)
        self.memory_seconds: float | None = None
        if memory_seconds is not None:
            self.memory_seconds = check_positive("memory_seconds", memory_seconds)
            self.memory_frames = None
        self.backdrop_frames = check_count("backdrop_frames", backdrop_frames, 0)
        self.distractor_score = check_number("distractor_score", distractor_score, high=1.0)
        self.distractor_iou = check_number("distractor_iou", distractor_iou, high=1.0)
        self.max_overlap = check_number("max_overlap", max_overlap, high=1.0)
        self.cosine_floor = check_number("cosine_floor", cosine_floor, -1.0, 1.0)
        self.assignment = check_choice("assignment", assignment, ASSIGNMENTS)
        self.iou_weight = check_number("iou_weight", iou_weight, high=1.0)
        self.motion = check_choice("motion", motion, MOTIONS)
        self.appearance = check_choice("appearance", appearance, APPEARANCES)
        if motion != "none" and self.iou_weight == 0:
            raise bad_argument("motion", f"is {motion!r}, which acts through iou_weight, but that is 0")
        # at 0 a track would keep the first embedding forever
        momentum = check_number("momentum", momentum, 0.01, 1.0)
        self.track_state: TrackState | None = None
        self.state_weight = 0.0
        self._averages = [
            MovingAverage(momentum=momentum, history=check_count("history", history, 1)),
            MovingAverage(momentum=momentum),
        ]
        self._tracks, self._backdrops = map(Memory, self._averages)
        self._next_id = 0
        self._last_frame: int | None = None

    def __len__(self) -> int:
        """Tracks in memory."""
        return len(self._tracks)

    def remember_by(self, track_state: TrackState, weight: float) -> None:
        """Remember looks in a second way beside the moving average; what was remembered before is forgotten.

        Args:
            track_state: its embeddings are compared with those of the detections as the averages are.
            weight: of the similarity to them, against that to the averages.
        """
        self.state_weight = check_number("weight", weight, high=1.0)
        self.track_state = track_state
        states = [track_state] if self.state_weight > 0 else []
        self._tracks, self._backdrops = (Memory(average, *states) for average in self._averages)

    def reset(self, frame_rate: float | None = None) -> None:
        """Forget every track, as before the first frame of a video. Ids go on, unique over videos.

        Args:
            frame_rate: processed frames per second of the video that follows, which ``memory_seconds`` counts by.
        """
        self._tracks.clear()
        self._backdrops.clear()
        self._last_frame = None
        if self.memory_seconds is not None:
            # a track is remembered for one frame at least, or none would ever go on
            self.memory_frames = max(1, round(self.memory_seconds * frame_rate)) if frame_rate else None

    def update(
        self, boxes: Tensor, scores: Tensor, embeddings: Tensor, frame_index: int, tokens: Tensor | None = None
    ) -> Tensor:
        """Give each detection of the next frame a track id.

        Args:
            boxes: (N, 4) x1, y1, x2, y2 in pixels.
            scores: (N,).
            embeddings: (N, E), normalised or not; all three on one device.
            frame_index: place of the frame in the processed sequence; a gap counts as empty frames.
            tokens: (N, L, C), for a ``track_state`` that needs them.

        Returns:
            (N,) int64 ids on the same device, unique in the frame; -1 for detections that carry none: dropped
            by score or overlap, or like no track and not sure enough to start one.

        Raises:
            ValueError: shapes that do not fit, a value that is not finite, an inverted box, or a frame_index
                that does not increase; the tracker is as before then. ``memory_seconds`` is set and :meth:`reset`
                got no frame rate.
        """
        memory_frames = self.memory_frames
        if memory_frames is None:
            raise bad_argument(
                "memory_seconds",
                f"is {self.memory_seconds:g}, but the frame rate of this video is not known: pass frame_rate "
                "(see docs/tracking.md), or set memory_frames instead",
            )
        frame_index = check_frame_index(frame_index, self._last_frame)
        # inference mode in here: memory filled under a caller's inference mode must stay writable outside it
        with torch.inference_mode():
            channels = self._tracks.channels or self._backdrops.channels
            check_detections(boxes, scores, embeddings, channels)
            self._tracks.forget(frame_index - memory_frames)
            self._backdrops.forget(frame_index - self.backdrop_frames)
            looks = Looks(embeddings.float(), None if tokens is None else tokens.float())
            ids = self._associate(boxes.float(), scores.float(), looks, frame_index)
        self._last_frame = frame_index
        return torch.from_numpy(ids).to(boxes.device)

    def _associate(self, boxes: Tensor, scores: Tensor, looks: Looks, frame_index: int) -> np.ndarray:
        ids = np.full(len(boxes), -1, dtype=np.int64)
        candidates = self._candidates(boxes, scores)
        if len(candidates) == 0:
            return ids
        boxes, looks = boxes[candidates], looks.rows(candidates)
        sure = scores[candidates].cpu().numpy() > self.init_score
        places = candidates.cpu().numpy()

        similarity = self._similarity(boxes, looks.embeddings, frame_index)
        columns = ASSIGNMENTS[self.assignment](similarity, len(self._tracks), self.match_score)
        matched = columns >= 0
        born = ~matched & sure
        rows = np.flatnonzero(matched)
        ids[places[rows]] = self._tracks.ids[columns[rows]]
        self._tracks.update(columns[rows], looks.rows(rows), boxes[rows], frame_index)

        rows = np.flatnonzero(born)
        new_ids = np.arange(self._next_id, self._next_id + len(rows))
        self._next_id += len(rows)
        ids[places[rows]] = new_ids
        self._tracks.append(new_ids, looks.rows(rows), boxes[rows], frame_index)
        if self.backdrop_frames:
            rows = np.flatnonzero(~matched & ~born)
            self._backdrops.append(np.full(len(rows), -1), looks.rows(rows), boxes[rows], frame_index)
        return ids

    def _candidates(self, boxes: Tensor, scores: Tensor) -> Tensor:
        """Indices of the (D,) detections that take part, best score first; ties by their boxes, whatever their order."""
        order = torch.from_numpy(np.lexsort((*boxes.T.flip(0).cpu().numpy(), -scores.cpu().numpy()))).to(scores.device)
        scores = scores[order]
        keep = scores > self.keep_score
        if min(self.distractor_iou, self.max_overlap) < 1:
            boxes = boxes[order]
            overlap = pairwise_iou(boxes, boxes).tril_(-1)
            most = overlap.amax(dim=1) if len(order) else scores
            keep &= most <= self.max_overlap
            keep &= (most <= self.distractor_iou) | (scores >= self.distractor_score)
        return order[keep]

    def _similarity(self, boxes: Tensor, embeddings: Tensor, frame_index: int) -> np.ndarray:
        """(D, M + P) similarities to the tracks and then the backdrops."""
        sources = [memory for memory in (self._tracks, self._backdrops) if len(memory)]
        if not sources:
            return np.empty((len(boxes), 0), dtype=np.float32)
        remembered = torch.cat([memory.embeddings() for memory in sources])
        similarity, cosines = appearance(embeddings, remembered, self.appearance)
        if self.state_weight > 0:
            learned = torch.cat([memory.embeddings(1) for memory in sources])
            similarity = torch.lerp(similarity, appearance(embeddings, learned, self.appearance)[0], self.state_weight)
        if self.iou_weight > 0:
            expected = torch.cat([memory.boxes(frame_index, self.motion) for memory in sources])
            similarity = torch.lerp(similarity, pairwise_iou(boxes, expected), self.iou_weight)
        if self.cosine_floor > -1:
            similarity = similarity.masked_fill(cosines <= self.cosine_floor, -torch.inf)
        return similarity.cpu().numpy()
