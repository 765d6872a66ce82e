"""Motion models: the expected position of a remembered box.

Letters: M memory entries. Boxes are (x1, y1, x2, y2) in pixels, velocities those of the box centre in pixels
per frame.
"""

from torch import Tensor

__all__ = ["MOTIONS", "blend_velocity", "predict_boxes"]

MOTIONS = ("none", "constant_velocity")

# half the new observation, half the past: detection jitter of one frame must not throw the prediction
_NEW_FRACTION = 0.5


def predict_boxes(boxes: Tensor, velocities: Tensor, elapsed: Tensor) -> Tensor:
    """Move boxes along their velocity; their size stays, so a long gap cannot turn a box inside out.

    Args:
        boxes: (M, 4) last seen boxes.
        velocities: (M, 2) centre velocities.
        elapsed: (M,) frames since each box was seen.

    Returns:
        (M, 4) predicted boxes.
    """
    return boxes + (velocities * elapsed[:, None]).repeat(1, 2)


def blend_velocity(velocities: Tensor, moved: Tensor, elapsed: Tensor, first_time: Tensor) -> Tensor:
    """Velocities after a new observation.

    Args:
        velocities: (M, 2) velocities so far.
        moved: (M, 4) new box minus last seen box.
        elapsed: (M,) frames between the two, at least 1.
        first_time: (M,) bool, True where no velocity was known; there the observation counts in full.

    Returns:
        (M, 2) velocities.
    """
    observed = (moved[:, :2] + moved[:, 2:]) / (2 * elapsed[:, None])
    blended = velocities + _NEW_FRACTION * (observed - velocities)
    return observed.where(first_time[:, None], blended)
