"""Image sizes and learning rates by step."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["learning_rate", "parse_stages", "size_at"]


def parse_stages(texts: Sequence[str]) -> list[tuple[int, int]]:
    """``["64:2000", "96:500"]`` to ``[(64, 2000), (96, 500)]``: image size in pixels, and steps of that size.

    Raises:
        ValueError: a stage is not of that form or has no steps, or the size is no multiple of 16.
    """
    stages = []
    for text in texts:
        size, _, steps = text.partition(":")
        if not (size.isdecimal() and steps.isdecimal() and int(size) and int(steps)) or int(size) % 16:
            raise ValueError(f"--stages: expected SIZE:STEPS, a multiple of 16 and 1 or more, got {text!r}")
        stages.append((int(size), int(steps)))
    return stages


def size_at(step: int, stages: Sequence[tuple[int, int]]) -> int:
    """Image size of a step; the last stage's from its end on."""
    for size, steps in stages:
        if step < steps:
            return size
        step -= steps
    return stages[-1][0]


def learning_rate(step: int, *, warmup: int, decay: int, steps: int) -> float:
    """Fraction of the peak rate: linear warm-up, constant, and linear to zero over the last ``decay`` steps.

    A run is continued from any checkpoint before the decay, with more steps.
    """
    return min(1.0, (step + 1) / max(1, warmup), (steps - step) / max(1, decay))
