"""LoRAT and SPMTrack learn to follow the clips that they are trained on, in closed loop; what history is good for (slow).

Thresholds and settings are those of the specifications' prototypes.
"""

import cv2
import numpy as np
import pytest
from helpers.overfit import closed_loop, forget, overfit
from sot.data.made_clips import MadeClip, make_clips
from spmtrack.memory import MemoryPolicy

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _forget():
    yield
    forget()


def test_lorat_follows_one_clip(tmp_path):
    options = {"SOLVER__MAX_ITER": 800, "SOLVER__BASE_LR": 4e-3}
    assert closed_loop(*overfit("LoRAT", "lora", make_clips(1, frames=24), tmp_path, **options)) > 70


def spmtrack(clips, folder, steps, **options):
    given = {"INPUT__SOT__SAMPLER": "clip", "SOLVER__MAX_ITER": steps, "SOLVER__BASE_LR": 2e-3}
    # 1 / sqrt(64)
    return overfit("SPMTrack", "tmoe", clips, folder, MODEL__SPMTRACK__RESPONSE_SCALE=0.125, **{**given, **options})


def test_spmtrack_follows_one_clip(tmp_path):
    assert closed_loop(*spmtrack(make_clips(1, frames=24), tmp_path, 500)) > 70


def changing_clip(name, seed, frames=24, size=(96, 128)):
    """A target whose texture turns into another one, beside an object that looks as the target did at first."""
    random = np.random.default_rng(seed)
    textures = [
        cv2.resize(random.integers(0, 255, (8, 8, 3), dtype=np.uint8), (28, 24), interpolation=cv2.INTER_CUBIC)
        for _ in range(2)
    ]
    background = cv2.resize(random.integers(90, 150, (8, 10, 3), dtype=np.uint8), size[::-1])
    phase = random.uniform(0, 2 * np.pi, 2)
    images, boxes = [], []
    for frame in range(frames):
        part = frame / (frames - 1)
        # two lanes, so that the objects never hide each other
        x = round(45 + 35 * np.sin(phase[0] + 0.25 * frame))
        other = round(45 + 35 * np.sin(phase[1] + 0.2 * frame))
        image = background.copy()
        image[56:80, other : other + 28] = textures[0]
        image[14:38, x : x + 28] = cv2.addWeighted(textures[0], 1 - part, textures[1], part, 0)
        images.append(image)
        boxes.append([x, 14, x + 28, 38])
    return MadeClip(name, np.stack(images), np.array(boxes, dtype=float), np.ones(frames, dtype=bool))


@pytest.mark.parametrize("seed", range(5))
def test_history_does_not_lose_where_the_target_changes(seed, tmp_path, record_property):
    clips = [changing_clip(f"changing-{n + 1}", 10 * seed + n) for n in range(3)]
    cfg, model = spmtrack(clips, tmp_path, 500, SEED=seed)
    found = {}
    for history in ("halves", "first"):
        model.memory = MemoryPolicy(history=history)
        found[history] = closed_loop(cfg, model)
    record_property("AUC", found)
    print(f"seed {seed}: {found}")
    assert found["halves"] > found["first"] - 1
