"""Names for tracks, frame by frame."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from detectron2.config import CfgNode, configurable

from effowt_d2.modeling.tower import Tower
from effowt_d2.utils.arguments import bad_argument, config_keys
from effowt_d2.utils.checks import check_choice, check_count, check_number

from .crops import BACKGROUNDS, clip_boxes, square_crop
from .two_towers import TwoTowers, load_two_towers
from .views import TrackViews
from .vocabulary import SYNONYM

__all__ = ["TrackNamer"]


class TrackNamer:
    """Gives each track the word of a vocabulary that suits its best views so far.

    A view is a crop of the frame around the track's box. Its words' probabilities are the softmax of the cosines of
    image and text embeddings, times the model's trained scale; a track's are the mean over its views, weighted by
    detection score and visible area. Names of a frame depend on it and on earlier ones.

    ``TrackNamer(cfg, vocabulary, device=None, tower=None)`` reads a config; ``device`` is ``MODEL.DEVICE`` by default,
    and ``tower``, a detector's tower, saves a second copy of its weights (see ``load_two_towers``).

    Args:
        towers: the CLIP model.
        vocabulary: different words or phrases, at least one. Synonyms follow a word behind tabs: their probabilities are
            added to its own, and the word is the name.
        templates: texts around a word, each with one ``{}``.
        context, max_zoom, background: of the crops, see ``square_crop``.
        views: views a name is pooled over, at most.
        budget: crops that go through the image tower per frame, at most.
        min_score: a track whose best word is less probable than this has no name.
        background_words: words that compete with the vocabulary; a track that one of them suits best has no name.

    Raises:
        ValueError: a value that makes no sense; the message names the argument, and the key of a config.
    """

    @configurable
    def __init__(
        self,
        *,
        towers: TwoTowers,
        vocabulary: Sequence[str],
        templates: Sequence[str] = ("a photo of a {}.",),
        context: float = 0.25,
        max_zoom: float = 0.0,
        background: str = "keep",
        views: int = 4,
        budget: int = 8,
        min_score: float = 0.0,
        background_words: Sequence[str] = (),
    ) -> None:
        _check_vocabulary(vocabulary)
        _check_settings(templates, context, max_zoom, background, views, budget, min_score)
        _check_background_words(background_words, vocabulary)
        entries = [entry.split(SYNONYM) for entry in [*vocabulary, *background_words]]
        self.vocabulary = [words[0] for words in entries[: len(vocabulary)]]
        self._towers = towers
        self._words = towers.embed_words([word for words in entries for word in words], templates)
        self._starts = np.cumsum([0, *(len(words) for words in entries[:-1])])
        self._min_score = min_score
        self._crop = {"size": towers.image_size, "context": context, "max_zoom": max_zoom, "background": background}
        self._limit = views
        self._budget = budget
        self.reset()

    @classmethod
    def from_config(
        cls,
        cfg: CfgNode,
        vocabulary: Sequence[str],
        device: str | torch.device | None = None,
        tower: Tower | None = None,
    ) -> dict:
        naming, vlm = cfg.NAMING, cfg.MODEL.VLM
        settings = {
            "templates": naming.TEMPLATES,
            "context": naming.CONTEXT,
            "max_zoom": naming.MAX_ZOOM,
            "background": naming.BACKGROUND,
            "views": naming.VIEWS,
            "budget": naming.BUDGET,
            "min_score": naming.MIN_SCORE,
        }
        # before the towers are loaded
        _check_vocabulary(vocabulary)
        with config_keys("NAMING"):
            _check_settings(**settings)
            _check_background_words(naming.BACKGROUND_WORDS, vocabulary)
        with config_keys("MODEL.VLM"):
            towers = load_two_towers(
                vlm.NAME,
                vlm.WEIGHTS,
                device=cfg.MODEL.DEVICE if device is None else device,
                unsafe_pickle=cfg.MODEL.UNSAFE_PICKLE,
                tower=tower,
            )
        return {"towers": towers, "vocabulary": vocabulary, "background_words": naming.BACKGROUND_WORDS, **settings}

    def reset(self) -> None:
        """Forget all tracks; to be called between videos."""
        self._views = TrackViews(limit=self._limit)

    def fresh(self) -> "TrackNamer":
        """One for another video, with the same model; both go on independently."""
        other = copy.copy(self)
        other.reset()
        return other

    def update(
        self, image_bgr: np.ndarray, boxes: np.ndarray, ids: np.ndarray, scores: np.ndarray
    ) -> tuple[list[str], np.ndarray]:
        """Take in a frame.

        Args:
            image_bgr: (H, W, 3) uint8.
            boxes: (N, 4) x1, y1, x2, y2 in pixels; they may reach over the image's edge.
            ids: (N,) track ids, all different; a negative one stands for no track.
            scores: (N,) detection scores, 0..1.

        Returns:
            N names and (N,) float64 confidences in 0..1, pooled over each track so far. A track that was not looked at
            yet, because of the budget or because nothing of it is to be seen, has the name "" and confidence 0. So has one
            that no word suits well enough, or a background word best.

        Raises:
            ValueError: shapes that differ, values that are not finite, or an id that occurs twice. Nothing was changed.
        """
        _check_frame(image_bgr, boxes, ids, scores)
        clipped = clip_boxes(np.asarray(boxes, dtype=np.float64), *image_bgr.shape[:2])
        # -1 marks detections without a track; there may be many
        rows = np.flatnonzero(np.asarray(ids) >= 0)
        qualities = np.prod(clipped[:, 2:] - clipped[:, :2], axis=1) * np.asarray(scores, dtype=np.float64)
        track_ids = np.asarray(ids)[rows].tolist()
        chosen = [int(rows[place]) for place in self._views.wanted(track_ids, qualities[rows].tolist(), self._budget)]
        if chosen:
            crops = np.stack([square_crop(image_bgr, clipped[row], **self._crop) for row in chosen])
            for row, probabilities in zip(chosen, self._probabilities(crops)):
                self._views.add(int(ids[row]), float(qualities[row]), probabilities)
        self._views.forget_oldest()
        return self._answer(ids)

    def names(self) -> dict[int, tuple[str, float]]:
        """Name and confidence of every track since the last reset, by id."""
        return {track_id: self._named(*best) for track_id, best in self._views.best().items()}

    def _probabilities(self, crops: np.ndarray) -> np.ndarray:
        """(K, S, S, 3) -> (K, V) float32; background words are the last of V."""
        cosines = self._towers.embed_images(crops) @ self._words.T
        probabilities = torch.softmax(self._towers.scale * cosines, dim=1).cpu().numpy()
        return np.add.reduceat(probabilities, self._starts, axis=1)

    def _answer(self, ids: np.ndarray) -> tuple[list[str], np.ndarray]:
        best = self._views.best()
        pairs = [self._named(*best.get(int(track_id), (-1, 0.0))) for track_id in ids]
        return [name for name, _ in pairs], np.array([confidence for _, confidence in pairs], dtype=np.float64)

    def _named(self, word: int, confidence: float) -> tuple[str, float]:
        if not 0 <= word < len(self.vocabulary) or confidence < self._min_score:
            return "", 0.0
        return self.vocabulary[word], confidence


def _check_vocabulary(vocabulary: Sequence[str]) -> None:
    if isinstance(vocabulary, str):
        raise ValueError(f"the vocabulary must be a list of words, got the text {vocabulary!r}; see read_vocabulary")
    if not len(vocabulary):
        raise ValueError("the vocabulary is empty: tracks can't be named without words")
    words = [word for entry in vocabulary for word in entry.split(SYNONYM)]
    if len(set(words)) != len(words):
        twice = sorted({word for word in words if words.count(word) > 1})
        raise ValueError(f"the words {twice} are in the vocabulary more than once")


def _check_background_words(words: Sequence[str], vocabulary: Sequence[str]) -> None:
    if isinstance(words, str):
        raise bad_argument("background_words", f"must be a list of words, got the text {words!r}")
    both = sorted(set(words) & {word for entry in vocabulary for word in entry.split(SYNONYM)})
    if both or len(set(words)) != len(words):
        raise bad_argument(
            "background_words", f"must have each word once and none of the vocabulary, got {words}; both: {both}"
        )


def _check_settings(
    templates: Sequence[str],
    context: float,
    max_zoom: float,
    background: str,
    views: int,
    budget: int,
    min_score: float,
) -> None:
    whole = not isinstance(templates, str) and all(isinstance(text, str) for text in templates)
    if not whole or not templates or any(text.count("{}") != 1 for text in templates):
        raise bad_argument("templates", f"must be texts with one {{}} each, got {templates!r}")
    check_number("context", context)
    check_number("max_zoom", max_zoom)  # 0: no limit
    check_choice("background", background, BACKGROUNDS)
    check_count("views", views)
    check_count("budget", budget)
    check_number("min_score", min_score, high=1.0)


def _check_frame(image: np.ndarray, boxes: np.ndarray, ids: np.ndarray, scores: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"the frame must be (H, W, 3) uint8 and not empty, got {image.shape} {image.dtype}")
    count = len(ids)
    if boxes.shape != (count, 4) or ids.shape != (count,) or scores.shape != (count,):
        raise ValueError(
            f"boxes, ids and scores must be (N, 4), (N,) and (N,), got {boxes.shape}, {ids.shape} and {scores.shape}"
        )
    if not np.isfinite(boxes).all() or not np.isfinite(scores).all():
        raise ValueError("boxes and scores must be finite")
    if (boxes[:, 2:] < boxes[:, :2]).any():
        raise ValueError("boxes must be x1, y1, x2, y2 with x1 <= x2 and y1 <= y2")
    tracked = ids[ids >= 0]
    if len(np.unique(tracked)) != len(tracked):
        raise ValueError(f"a track id occurs twice in a frame: {sorted(tracked.tolist())}")
