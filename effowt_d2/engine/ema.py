"""Exponential moving average of the trained parameters, for evaluation and checkpoints."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.state_dicts import check_tensors

__all__ = ["AveragingCheckpointer", "ParameterAverage", "restore_parameters"]

STATE_MISMATCH = "the average's state (SOLVER.EMA) does not fit the model, which is left as it was"


class ParameterAverage:
    """The average ``a`` of every parameter ``p`` that requires a gradient: ``a <- d a + (1 - d) p``.

    With ``n`` updates behind it, ``d`` is min(decay, (1 + n) / (10 + n)), so that a short run is not averaged with
    its own beginning. Frozen parameters are not copied, buffers are not averaged.

    Args:
        model: not wrapped in DistributedDataParallel; every process keeps an average of its own, which are equal
            as its parameters are.
        decay: at least 0 and below 1.

    Raises:
        ValueError: another decay.
    """

    def __init__(self, model: nn.Module, decay: float):
        if not 0 <= decay < 1:
            raise bad_argument("decay", f"must be at least 0 and below 1, got {decay}")
        self.decay = decay
        self._parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._applied = False
        self.restart()

    def restart(self) -> None:
        """Reset the average to the current parameters."""
        self.updates = 0
        # what the parameters do not hold: the average, and while it is applied, the parameters themselves
        self._other = {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters as a step left them."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, parameter in self._parameters.items():
            self._other[name].lerp_(parameter, 1 - decay)
        self.updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the parameters hold the average; may be nested."""
        if self._applied:
            yield
            return
        self._exchange()
        self._applied = True
        try:
            yield
        finally:
            self._applied = False
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        # copied and not rebound: DistributedDataParallel and optimizers know the parameters by their memory
        for name, parameter in self._parameters.items():
            value = parameter.clone()
            parameter.copy_(self._other[name])
            self._other[name].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """The parameters as trained, and the number of updates; the average is what the model's own state dict
        holds while it is applied.

        Raises:
            RuntimeError: it is not applied.
        """
        if not self._applied:
            raise RuntimeError("a checkpoint's model is the average: save within ParameterAverage.applied()")
        return {"parameters": dict(self._other), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint whose model, the average, has been loaded into the model.

        Raises:
            CheckpointError: it has other parameters; the model is left as it is.
        """
        check_tensors(state["parameters"], self._parameters, problem=STATE_MISMATCH)
        self.restart()
        self.updates = state["updates"]
        _copy(state["parameters"], self._parameters)


def restore_parameters(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Put the parameters as trained back into a model that was loaded with their average, to go on without one.

    Args:
        state: of :meth:`ParameterAverage.state_dict`.

    Raises:
        CheckpointError: it has other parameters; the model is left as it is.
    """
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    check_tensors(state["parameters"], parameters, problem=STATE_MISMATCH)
    _copy(state["parameters"], parameters)


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter]) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(values[name])


class AveragingCheckpointer(EffOWTCheckpointer):
    """Saves the average as the model.

    Args:
        average: of the model, whose state is among the checkpointables.
    """

    def __init__(self, *args: Any, average: ParameterAverage, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.average = average

    def save(self, name: str, **kwargs: Any) -> None:
        """See :meth:`EffOWTCheckpointer.save`."""
        with self.average.applied():
            super().save(name, **kwargs)
