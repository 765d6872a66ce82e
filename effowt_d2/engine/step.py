"""One training step: mixed precision on any device, gradient clipping, and a stop when a loss is not finite."""

import time
from collections.abc import Iterable, Mapping, Sequence

import torch
from detectron2.config import CfgNode
from detectron2.engine import SimpleTrainer
from torch import nn

from effowt_d2.modeling.tower.precision import PRECISIONS
from effowt_d2.utils.arguments import bad_argument, config_keys

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
        ValueError: there is no such number format.
    """
    with config_keys("SOLVER.AMP"):
        return Precision(device, cfg.SOLVER.AMP.DTYPE if cfg.SOLVER.AMP.ENABLED else None)


def inference_autocast(cfg: CfgNode) -> torch.autocast:
    """The context that a model is evaluated in, with the number format of ``TEST.PRECISION`` on ``MODEL.DEVICE``.

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
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[Sequence[dict]],
        optimizer: torch.optim.Optimizer,
        *,
        precision: Precision,
        clip: CfgNode,
    ):
        super().__init__(model, data_loader, optimizer)
        self.precision = precision
        self.clip = clip

    def run_step(self) -> None:
        """Take one step.

        Raises:
            FloatingPointError: a loss is infinite or NaN; names the losses and the files of the batch. The
                weights are those before the step.
        """
        start = time.perf_counter()
        batch = next(self._data_loader_iter)
        data_time = time.perf_counter() - start
        # first, so that the gradients of the step before are not in memory beside all activations
        self.optimizer.zero_grad()
        with self.precision.autocast():
            losses = self.model(batch)
        total = sum(losses.values())
        self._check_finite(total, losses, batch)
        self.precision.scaler.scale(total).backward()
        self._write_metrics(losses, data_time)
        self.precision.scaler.unscale_(self.optimizer)
        clip_gradients(self.optimizer, self.clip)
        self.precision.scaler.step(self.optimizer)
        self.precision.scaler.update()

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
