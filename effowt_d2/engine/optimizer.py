"""Optimizer groups, assigned by module object, never by parameter name."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from detectron2.config import CfgNode
from torch import nn

from effowt_d2.modeling.transfer.ownership import OwnedParameter, owned_parameters
from effowt_d2.utils.checks import check_positive

__all__ = ["build_optimizer", "keep_settings"]

logger = logging.getLogger(__name__)


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of ``SOLVER.OPTIMIZER``, with one group per part, learning rate and weight decay.

    Args:
        cfg: reads ``SOLVER``.
        model: its frozen parameters are in no group.

    Raises:
        ValueError: an unknown optimizer, a decay that is not above 0, or a model without trained parameters.
    """
    solver = cfg.SOLVER
    check_positive("SOLVER.TOWER_LAYER_DECAY", solver.TOWER_LAYER_DECAY)
    groups: dict[tuple, dict] = {}
    for owned in owned_parameters(model):
        lr, decay = _learning_rate(solver, owned), _weight_decay(solver, owned)
        name = owned.part.name
        group = groups.setdefault((name, lr, decay), {"params": [], "lr": lr, "weight_decay": decay, "part": name})
        group["params"].append(owned.parameter)
    if not groups:
        raise ValueError("the model has no parameter that trains")
    if solver.OPTIMIZER == "adamw":
        return torch.optim.AdamW(list(groups.values()), lr=solver.BASE_LR, weight_decay=solver.WEIGHT_DECAY)
    if solver.OPTIMIZER == "sgd":
        return torch.optim.SGD(
            list(groups.values()),
            lr=solver.BASE_LR,
            momentum=solver.MOMENTUM,
            nesterov=solver.NESTEROV,
            weight_decay=solver.WEIGHT_DECAY,
        )
    raise ValueError(f"SOLVER.OPTIMIZER is '{solver.OPTIMIZER}'; it can be adamw or sgd")


def _learning_rate(solver: CfgNode, owned: OwnedParameter) -> float:
    rate = solver.BASE_LR * (owned.part.lr_factor * solver.TOWER_LAYER_DECAY**owned.part.depth)
    return rate * solver.BIAS_LR_FACTOR if owned.name == "bias" else rate


def _weight_decay(solver: CfgNode, owned: OwnedParameter) -> float:
    """Matrices and kernels decay; biases as WEIGHT_DECAY_BIAS says (None: as they do); norms, gates, and what a module
    names in ``scales``, of any shape, as WEIGHT_DECAY_NORM says."""
    if owned.name in getattr(owned.module, "scales", ()):
        return solver.WEIGHT_DECAY_NORM
    if owned.parameter.ndim > 1:
        return solver.WEIGHT_DECAY
    weight = getattr(owned.module, "weight", None)
    of_norm = weight is not None and weight.ndim == 1
    if owned.name == "bias" and not of_norm:
        return solver.WEIGHT_DECAY if solver.WEIGHT_DECAY_BIAS is None else solver.WEIGHT_DECAY_BIAS
    return solver.WEIGHT_DECAY_NORM


# of a group: what the config sets and no step changes
_SETTINGS = ("initial_lr", "weight_decay", "momentum", "nesterov")


@contextmanager
def keep_settings(optimizer: torch.optim.Optimizer, scheduler: torch.optim.lr_scheduler.LRScheduler) -> Iterator[None]:
    """Within, a state is loaded into optimizer and scheduler; learning rates, weight decay and momentum of the config
    stay, and which of them are others than before is logged."""
    configured = [{name: group[name] for name in _SETTINGS if name in group} for group in optimizer.param_groups]
    yield
    changes = set()
    for group, wanted in zip(optimizer.param_groups, configured):
        for name, value in wanted.items():
            if group[name] != value:
                changes.add(f"{name.removeprefix('initial_')} of {group['part']}: {group[name]:g} -> {value:g}")
        if group["initial_lr"] != wanted["initial_lr"]:
            # the place in the schedule stays
            group["lr"] = (
                group["lr"] * wanted["initial_lr"] / group["initial_lr"]
                if group["initial_lr"]
                else (wanted["initial_lr"])
            )
        group.update(wanted)
    scheduler.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
    if changes:
        logger.warning(
            "the config's learning rates and weight decays (SOLVER) differ from the checkpoint's and are used: %s",
            "; ".join(sorted(changes)),
        )
