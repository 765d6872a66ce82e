"""One training step: mixed precision on any device, gradient clipping, and a stop when a loss is not finite."""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from detectron2.config import CfgNode
from detectron2.engine import SimpleTrainer
from torch import nn

from effowt_d2.modeling.tower.precision import PRECISIONS
from effowt_d2.utils.arguments import bad_argument, config_keys
from effowt_d2.utils.checks import check_count

__all__ = ["Precision", "StepTrainer", "clip_gradients", "inference_autocast", "training_precision"]

_DTYPES = {name: dtype for name, dtype in PRECISIONS.items() if name != "float32"}


class Precision:
    """Mixed precision of a run; float16 losses are scaled.

    Args:
        device: device type the model is on, "cuda" or "cpu".
        dtype: "bfloat16", "float16", or None for full precision.

    Raises:
        ValueError: another dtype.
    """

    def __init__(self, device: str, dtype: str | None):
        if dtype is not None and dtype not in _DTYPES:
            raise bad_argument("dtype", f"must be one of {', '.join(_DTYPES)}, got {dtype!r}")
        self.device = device
        self.dtype = _DTYPES.get(dtype)
        self.scaler = torch.amp.GradScaler(device, enabled=self.dtype is torch.float16)

    def autocast(self) -> torch.autocast:
        """The context that the model's forward pass runs in."""
        return torch.autocast(self.device, dtype=self.dtype or torch.bfloat16, enabled=self.dtype is not None)


def training_precision(cfg: CfgNode, device: str) -> Precision:
    """The precision that ``SOLVER.AMP`` describes, for a model on a device of that type.

    Raises:
        ValueError: unknown dtype.
    """
    with config_keys("SOLVER.AMP"):
        return Precision(device, cfg.SOLVER.AMP.DTYPE if cfg.SOLVER.AMP.ENABLED else None)


def inference_autocast(cfg: CfgNode) -> torch.autocast:
    """The context that a model is evaluated in, with the dtype of ``TEST.PRECISION`` on ``MODEL.DEVICE``.

    Boxes, scores and embeddings come out as float32, and tracks are associated in float32.

    Raises:
        ValueError: there is no such precision.
    """
    name = cfg.TEST.PRECISION
    if name not in PRECISIONS:
        raise ValueError(f"TEST.PRECISION is '{name}'; it can be float32, {' or '.join(_DTYPES)}")
    dtype = _DTYPES.get(name)
    return torch.autocast(torch.device(cfg.MODEL.DEVICE).type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


class StepTrainer(SimpleTrainer):
    """Detectron2's simple trainer with mixed precision, clipping and a report of the batch that broke.

    Args:
        model, data_loader, optimizer: as in Detectron2.
        precision: of forward and backward passes.
        clip: ``SOLVER.CLIP_GRADIENTS``.
        accumulate: batches whose mean gradient makes a step.

    Raises:
        ValueError: ``accumulate`` is less than 1.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[Sequence[dict]],
        optimizer: torch.optim.Optimizer,
        *,
        precision: Precision,
        clip: CfgNode,
        accumulate: int = 1,
    ):
        super().__init__(model, data_loader, optimizer)
        self.precision = precision
        self.clip = clip
        self.accumulate = check_count("accumulate", accumulate)

    def run_step(self) -> None:
        """Take one step.

        Raises:
            FloatingPointError: a loss is infinite or NaN; names the losses and the files of the batch. The
                weights are those before the step.
        """
        data_time, means = 0.0, {}
        for number in range(self.accumulate):
            start = time.perf_counter()
            batch = next(self._data_loader_iter)
            data_time += time.perf_counter() - start
            if number == 0:
                # not before there is a batch, and before the activations, so that the gradients of the step before
                # are not in memory beside them
                self.optimizer.zero_grad()
            with self._synchronised(number == self.accumulate - 1):
                losses = self._backward(batch)
            for name, loss in losses.items():
                means[name] = means[name] + loss / self.accumulate if name in means else loss / self.accumulate
        self._write_metrics(means, data_time)
        self.precision.scaler.unscale_(self.optimizer)
        clip_gradients(self.optimizer, self.clip)
        self.precision.scaler.step(self.optimizer)
        self.precision.scaler.update()

    def _backward(self, batch: Sequence[dict]) -> dict[str, torch.Tensor]:
        """Accumulate the gradients of the batch; returns its losses."""
        with self.precision.autocast():
            losses = self.model(batch)
        total = sum(losses.values())
        self._check_finite(total, losses, batch)
        self.precision.scaler.scale(total / self.accumulate if self.accumulate > 1 else total).backward()
        return {name: loss.detach() for name, loss in losses.items()}

    def _synchronised(self, now: bool) -> AbstractContextManager:
        """The processes exchange gradients once per step, with the last batch."""
        return nullcontext() if now or not hasattr(self.model, "no_sync") else self.model.no_sync()

    def _check_finite(self, total: torch.Tensor, losses: Mapping[str, torch.Tensor], batch: Sequence[dict]) -> None:
        if not torch.isfinite(total):
            values = {name: loss.item() for name, loss in losses.items()}
            files = [sample.get("file_name", "(no file name)") for sample in batch]
            raise FloatingPointError(
                f"the loss is not finite at iteration {self.iter}: {values}; the batch on this process: {files}"
            )

    def state_dict(self) -> dict:
        return {**super().state_dict(), "grad_scaler": self.precision.scaler.state_dict()}

    def load_state_dict(self, state_dict: dict) -> None:
        super().load_state_dict(state_dict)
        if state_dict["grad_scaler"]:
            self.precision.scaler.load_state_dict(state_dict["grad_scaler"])


def clip_gradients(optimizer: torch.optim.Optimizer, clip: CfgNode) -> None:
    """Clip the gradients of everything that the optimizer holds, in place.

    Args:
        clip: ``SOLVER.CLIP_GRADIENTS``; with CLIP_TYPE "value" every entry is clipped to CLIP_VALUE, with
            "norm" every parameter's norm, with "full_model" the norm of all together.

    Raises:
        ValueError: another CLIP_TYPE.
    """
    if not clip.ENABLED:
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if clip.CLIP_TYPE == "value":
        nn.utils.clip_grad_value_(parameters, clip.CLIP_VALUE)
    elif clip.CLIP_TYPE == "norm":
        for parameter in parameters:
            nn.utils.clip_grad_norm_(parameter, clip.CLIP_VALUE, clip.NORM_TYPE)
    elif clip.CLIP_TYPE == "full_model":
        nn.utils.clip_grad_norm_(parameters, clip.CLIP_VALUE, clip.NORM_TYPE)
    else:
        raise ValueError(f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE is '{clip.CLIP_TYPE}'; it can be value, norm or full_model")
