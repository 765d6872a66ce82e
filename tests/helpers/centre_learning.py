"""Two videos that AQATrack and EVPTrack learn by heart, and a task on features that a single frame cannot solve.

Shapes: B clips, T frames, d channels, a grid of 4 x 4 cells.
"""

import random
from collections.abc import Callable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from timm.models import register_model
from timm.models.vision_transformer import Block
from torch import Tensor, nn

LOOKS, CELLS, TEMPLATE, FRAMES = 4, 16, 2, 4
"""Channels of a look, cells of a frame, tokens of a template, frames of a clip."""


@register_model
def learning_hivit(pretrained=False, num_classes=0, **_):
    # projects, which helpers of the package's own tests do without
    from sot.hivit import HiViT

    return HiViT(embed_dim=64, num_heads=4, depth=4, stem_depths=(2, 2), num_classes=num_classes)


# two videos


def made_video(seed: int) -> tuple[np.ndarray, Tensor]:
    """24 frames (N, 120, 160, 3) RGB and boxes (N, 4): a textured square that grows from 20 to 23 pixels and loses its texture,
    a plain square beside it, and noise."""
    noise = np.random.default_rng(seed)
    texture = cv2.resize(noise.integers(0, 256, (5, 5, 3), dtype=np.uint8), (24, 24), interpolation=cv2.INTER_NEAREST)
    colour, other = noise.integers(60, 200, 3), noise.integers(60, 200, 3)
    phase, frames, boxes = noise.uniform(0, 2 * np.pi), [], []
    for t in range(24):
        frame = np.full((120, 160, 3), 110.0)
        wave = np.array([np.sin(phase + 0.15 * t), np.cos(phase + 0.15 * t)])
        # on the other side of the middle, so that neither covers the other
        target, decoy = (np.array([80, 60]) + sign * np.array([50, 38]) * wave for sign in (1, -1))
        x, y = (int(round(v)) for v in decoy)
        frame[y - 10 : y + 10, x - 10 : x + 10] = other
        side = 20 + round(3 * t / 23)
        x, y = (int(round(v - side / 2)) for v in target)
        fade = t / 23
        frame[y : y + side, x : x + side] = (1 - fade) * texture[:side, :side] + fade * colour
        frames.append((frame + noise.normal(0, 6, frame.shape)).clip(0, 255).astype(np.uint8))
        boxes.append([x, y, x + side, y + side])
    return np.stack(frames), torch.tensor(boxes, dtype=torch.float64)


def tracked_auc(model: nn.Module, videos: list[tuple[np.ndarray, Tensor]]) -> list[float]:
    """AUC in percent of each video, tracked from its first frame in closed loop."""
    from sot.data.sequence import TargetSequence
    from sot.evaluation import evaluate_one_pass

    found, model = [], model.eval()
    for frames, boxes in videos:
        images = torch.from_numpy(frames).permute(0, 3, 1, 2)
        state, track = model.start(images[0], boxes[:1]), [boxes[0].numpy()]
        for image in images[1:]:
            state, _ = model.step(state, image)
            track.append(state.boxes[0].numpy())
        sequence = TargetSequence("made", ["a.png"] * len(boxes), boxes.numpy())
        found.append(evaluate_one_pass([sequence], {"made": np.stack(track)}, "pytracking", "default").headline["AUC"])
    return found


def learn_videos(model: nn.Module, videos: list[tuple[np.ndarray, Tensor]], *, steps: int = 300) -> None:
    """AdamW at 1e-3, a tenth of it in the last third, on batches of 8 clips of 4 frames in order of time."""
    from sot.data.frame_clips import FrameClipMapper, draw_rolls
    from sot.data.sampling import LaterSampler

    np.random.seed(0)
    torch.manual_seed(0)
    sampler = LaterSampler(searches=4, max_gap=24, order="sorted")
    mapper = FrameClipMapper(sampler=sampler, template=model.template, search=model.search, scale=0.25, shift=1.0)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=1e-4)

    def sample() -> dict:
        frames, boxes = videos[np.random.randint(len(videos))]
        drawn = None
        while drawn is None:
            chosen = sampler.draw(np.ones(len(boxes), dtype=bool), random.Random(int(np.random.randint(2**31))))
            numbers = [*chosen.references, *chosen.searches]
            drawn = mapper.process([frames[n] for n in numbers], boxes[numbers], draw_rolls(5, augment=False))
        return drawn

    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2 * steps // 3])
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        sum(model([sample() for _ in range(8)]).values()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        schedule.step()


def auc_before_and_after(model: nn.Module) -> tuple[list[float], list[float]]:
    """AUC of two videos before and after they are learned."""
    videos = [made_video(1), made_video(2)]
    before = tracked_auc(model, videos)
    learn_videos(model, videos)
    return before, tracked_auc(model, videos)


# twin clips


class Twins:
    """Clips in which the target's look fades from A to C and a distractor's from B to D, and their twins, in which C and D are
    exchanged: the last frame alone does not tell which of the two is the target.

    Attributes:
        template: (B, 2, 4) look A.
        frames: T of (B, 16, 4).
        cells: (T, B) where the target is.
    """

    def __init__(self, batch: int, generator: torch.Generator):
        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        start, end = normal(2, batch, LOOKS), normal(2, batch, LOOKS)
        self.template = start[0][:, None] + 0.1 * normal(batch, TEMPLATE, LOOKS)
        self.frames, self.cells, self._others = [], torch.zeros(FRAMES, batch, dtype=torch.long), []
        rows = torch.arange(batch)
        for t in range(1, FRAMES + 1):
            looks = (1 - t / FRAMES) * start + t / FRAMES * end
            places = torch.rand(batch, CELLS, generator=generator).argsort(dim=1)[:, :2]
            frame = 0.1 * normal(batch, CELLS, LOOKS)
            for look, place in zip(looks, places.T):
                frame[rows, place] += look
            self.frames.append(frame)
            self.cells[t - 1] = places[:, 0]
            self._others.append(places[:, 1])
        self._start, self._end, self._normal = start, end, normal

    def twin(self) -> "Twins":
        """The same with other ends; its last frame is the same, with the target in the other place."""
        made = object.__new__(Twins)
        made.template, made.cells, made.frames = self.template, self.cells.clone(), list(self.frames)
        rows, batch = torch.arange(len(self.template)), len(self.template)
        for t in range(1, FRAMES):
            looks = (1 - t / FRAMES) * self._start + t / FRAMES * self._end.flip(0)
            frame = 0.1 * self._normal(batch, CELLS, LOOKS)
            frame[rows, self.cells[t - 1]] += looks[0]
            frame[rows, self._others[t - 1]] += looks[1]
            made.frames[t - 1] = frame
        made.cells[-1] = self._others[-1]
        return made


class FeatureTracker(nn.Module):
    """Template and frame in two blocks, and scores of cells.

    Args:
        memory: ``fresh(z)`` gives what is carried at first, and a call with z, x, what is carried and the blocks the features of
            the frame (B, 16, d) and what is carried on.
    """

    def __init__(self, memory: nn.Module, width: int = 32):
        super().__init__()
        self.template, self.search = nn.Linear(LOOKS, width), nn.Linear(LOOKS, width)
        self.places = nn.Parameter(0.02 * torch.randn(1, CELLS, width))
        self.blocks = nn.Sequential(*(Block(width, 4, qkv_bias=True) for _ in range(2)), nn.LayerNorm(width))
        # no norm in front: a fusion may tell places apart by the length of their features alone
        self.score = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        self.memory = memory

    def forward(self, clip: Twins, carry: bool) -> Tensor:
        """Scores (T, B, 16); without ``carry`` every frame starts afresh."""
        z, scores = self.template(clip.template), []
        carried = self.memory.fresh(z)
        for frame in clip.frames:
            x = self.search(frame) + self.places
            features, after = self.memory(z, x, carried, self.blocks)
            scores.append(self.score(features)[..., 0])
            carried = after if carry else self.memory.fresh(z)
        return torch.stack(scores)


def both_right(make: Callable[[], FeatureTracker], *, carry: bool, steps: int, seed: int) -> float:
    """Trains on clips, and gives the fraction of pairs of twins whose targets are both found in the last frame."""
    torch.manual_seed(seed)
    model, generator = make(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    for _ in range(steps):
        clip = Twins(64, generator)
        optimizer.zero_grad()
        F.cross_entropy(model(clip, carry).flatten(0, 1), clip.cells.flatten()).backward()
        optimizer.step()
    clip = Twins(1000, generator)
    right = torch.ones(1000, dtype=torch.bool)
    with torch.no_grad():
        for one in (clip, clip.twin()):
            right &= model.eval()(one, carry)[-1].argmax(dim=1) == one.cells[-1]
    return right.float().mean().item()
