"""The vectorised tracker against a slow one written as the specification reads: one pair at a time."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch

from effowt_d2.tracking import PRESETS, Tracker
from effowt_d2.tracking.assignment import assign_hungarian
from effowt_d2.tracking.similarity import bi_softmax, pairwise_iou


def iou(first, second) -> float:
    width = max(0.0, min(first[2], second[2]) - max(first[0], second[0]))
    height = max(0.0, min(first[3], second[3]) - max(first[1], second[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    union = sum(areas) - width * height
    return width * height / union if union > 0 else 0.0


class SlowTracker:
    """Greedy association over dictionaries, in double precision."""

    def __init__(self, settings):
        self.s = settings
        self.tracks = {}  # id -> dict(e, box, last)
        self.backdrops = []
        self.count = 0

    def similarity(self, candidates, entries):
        dots = [[float(c["e"] @ m["e"]) for m in entries] for c in candidates]
        table = []
        for i, c in enumerate(candidates):
            row = []
            for j, m in enumerate(entries):
                over_memory = math.exp(dots[i][j]) / sum(math.exp(value) for value in dots[i])
                over_detections = math.exp(dots[i][j]) / sum(math.exp(other[j]) for other in dots)
                cosine = dots[i][j] / np.linalg.norm(c["e"]) / np.linalg.norm(m["e"])
                value = ((over_memory + over_detections) / 2 + cosine) / 2
                weight = self.s["iou_weight"]
                value = (1 - weight) * value + weight * iou(c["box"], m["box"])
                row.append(value if cosine > self.s["cosine_floor"] else -math.inf)
            table.append(row)
        return table

    def update(self, boxes, scores, embeddings, frame):
        s = self.s
        ids = [-1] * len(boxes)
        self.tracks = {k: v for k, v in self.tracks.items() if frame - v["last"] <= s["memory_frames"]}
        self.backdrops = [b for b in self.backdrops if frame - b["last"] <= s["backdrop_frames"]]
        order = sorted(range(len(boxes)), key=lambda i: -scores[i])
        candidates = []
        for place, i in enumerate(order):
            most = max([iou(boxes[i], boxes[k]) for k in order[:place]], default=0.0)
            distractor = scores[i] < s["distractor_score"] and most > s["distractor_iou"]
            if scores[i] > s["keep_score"] and not distractor and most <= s["max_overlap"]:
                candidates.append(dict(i=i, e=embeddings[i], box=boxes[i], last=frame))
        names = list(self.tracks)
        entries = [self.tracks[name] for name in names] + self.backdrops
        table = self.similarity(candidates, entries)
        taken = set()
        for c, row in zip(candidates, table):
            free = [j for j in range(len(entries)) if j not in taken]
            best = max(free, key=lambda j: row[j], default=None)
            if best is not None and row[best] > s["match_score"] and best < len(names):
                taken.add(best)
                ids[c["i"]] = names[best]
        for c in candidates:
            name = ids[c["i"]]
            if name >= 0:
                old = self.tracks[name]["e"]
                self.tracks[name] = dict(c, e=(1 - s["momentum"]) * old + s["momentum"] * c["e"])
            elif scores[c["i"]] > s["init_score"]:
                ids[c["i"]] = self.count
                self.tracks[self.count] = c
                self.count += 1
            elif s["backdrop_frames"]:
                self.backdrops.append(c)
        return ids


VARIANTS = {
    "tao": PRESETS["tao"],
    "qdtrack": PRESETS["qdtrack"],
    "backdrops": dict(PRESETS["tao"], init_score=0.6, keep_score=0.1, backdrop_frames=3, memory_frames=2),
    "overlap": dict(PRESETS["tao"], iou_weight=0.4, cosine_floor=0.2, max_overlap=0.6, momentum=0.5),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_the_slow_reference(variant, seed):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(25, 12)) * 1.2
    places = rng.uniform(0, 300, size=(25, 2))
    fast, slow = Tracker(**VARIANTS[variant]), SlowTracker(VARIANTS[variant])
    frame, seen, continued = 0, set(), 0
    for _ in range(40):
        frame += int(rng.integers(1, 4))
        chosen = rng.choice(25, size=rng.integers(0, 25), replace=False)
        embeddings = base[chosen] + rng.normal(size=(len(chosen), 12)) * 0.4
        corners = places[chosen] + rng.normal(size=(len(chosen), 2)) * 5
        boxes = np.concatenate([corners, corners + rng.uniform(20, 120, size=corners.shape)], axis=1)
        scores = rng.uniform(size=len(chosen))
        tensors = [torch.from_numpy(array).float() for array in (boxes, scores, embeddings)]
        expected = slow.update(*(tensor.double().numpy() for tensor in tensors), frame)
        assert fast.update(*tensors, frame).tolist() == expected, f"frame {frame}"
        continued += len(seen & set(expected) - {-1})
        seen |= set(expected)
    assert continued > 40  # the video did exercise the matching


def test_pairwise_iou_equals_the_plain_one():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 50, size=(40, 2))
    boxes = np.concatenate([corners, corners + rng.integers(0, 3, size=(40, 2)) * 20.0], axis=1)
    expected = [[iou(first, second) for second in boxes] for first in boxes]
    tensor = torch.from_numpy(boxes)
    np.testing.assert_allclose(pairwise_iou(tensor, tensor), expected, atol=1e-12)


def test_bi_softmax_is_one_for_a_single_pair():
    assert bi_softmax(torch.tensor([[-7.0]])).item() == 1.0


def test_hungarian_equals_trying_every_pairing():
    rng = np.random.default_rng(0)
    for _ in range(50):
        table = rng.uniform(size=(4, 5))
        chosen = assign_hungarian(table, num_tracks=5, threshold=0.6)
        got = sum(table[row, column] for row, column in enumerate(chosen) if column >= 0)
        worth = np.where(table > 0.6, table, 0)
        best = max(sum(worth[range(4), way]) for way in permutations(range(5), 4))
        assert got == pytest.approx(best)
        assert all(table[row, column] > 0.6 for row, column in enumerate(chosen) if column >= 0)
