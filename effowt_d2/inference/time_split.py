"""Time of each stage of a run, measured outside the model."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

__all__ = ["MODEL_STAGES", "TimeSplit", "watch_model"]

MODEL_STAGES = ("scaling", "tower", "side network", "heads", "association")
"""What the parts of a model and the scaling of frames are booked under; "heads" is the rest of the model."""

Item = TypeVar("Item")


class TimeSplit:
    """Seconds per stage. Stages may lie in each other; a moment counts for the innermost one only.

    Args:
        device: what the stages compute on. A GPU is waited for at both ends of a stage, as it works on
            behind Python's back.
        enabled: whether anything is measured. Waiting for a GPU costs time, so nothing is without this.

    Attributes:
        seconds: by stage, in the order they first began.
    """

    def __init__(self, device: torch.device | str = "cpu", *, enabled: bool = True) -> None:
        self.seconds: dict[str, float] = {}
        self.enabled = enabled
        self._device = torch.device(device)
        self._open: list[str] = []
        self._since = 0.0

    def _add_elapsed(self) -> None:
        """Credit the time since the last change to the stage that is open."""
        if self._device.type == "cuda":
            # without a device this would take memory of the first GPU and wait for that one
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def _enter(self, name: str) -> None:
        self._add_elapsed()
        self.seconds.setdefault(name, 0.0)
        self._open.append(name)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Everything inside counts for ``name``."""
        if not self.enabled:
            yield
            return
        depth = len(self._open)
        self._enter(name)
        try:
            yield
        finally:
            self._add_elapsed()
            # hooks of a module that raised never come to their end
            del self._open[depth:]

    def each(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """The same items; the time it takes to get them counts for ``name``."""
        iterator = iter(items)
        end = object()
        while True:
            with self.stage(name):
                item = next(iterator, end)
            if item is end:
                return
            yield item

    def timed(self, name: str, function: Callable) -> Callable:
        """The same function; its calls count for ``name``."""

        def call(*args, **kwargs):
            with self.stage(name):
                return function(*args, **kwargs)

        return call

    def watch(self, name: str, module: nn.Module) -> None:
        """Count the forward passes of a module from now on for ``name``."""

        def leave(*_) -> None:
            self._add_elapsed()
            self._open.pop()

        module.register_forward_pre_hook(lambda *_: self._enter(name))
        module.register_forward_hook(leave)

    def describe(self, total: float) -> str:
        """Shares of ``total`` seconds as a line of text; what was not measured is "other"."""
        parts = {**self.seconds, "other": max(0.0, total - sum(self.seconds.values()))}
        return ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in parts.items())


def watch_model(times: TimeSplit, model: nn.Module) -> None:
    """Book the parts of a model under their names in :data:`MODEL_STAGES`, as far as it has them.

    Args:
        times: takes the times.
        model: an ``OpenWorldTracker``, or any model with some of its parts.
    """
    if not times.enabled:
        return
    backbone, associate = getattr(model, "backbone", None), getattr(model, "associate", None)
    if backbone is not None:
        has_tower = isinstance(getattr(backbone, "tower", None), nn.Module)
        times.watch("side network" if has_tower else "tower", backbone)
        if has_tower:
            times.watch("tower", backbone.tower)
    if associate is not None:
        model.associate = times.timed("association", associate)
