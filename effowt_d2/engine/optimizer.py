"""Which parameter is in which optimizer group: decided by module object, never by a piece of a name."""

import torch
from detectron2.config import CfgNode
from torch import nn

from effowt_d2.modeling.transfer.ownership import OwnedParameter, owned_parameters
from effowt_d2.utils.checks import check_positive

__all__ = ["build_optimizer"]


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
    """Matrices and kernels decay; biases as WEIGHT_DECAY_BIAS says (None: as they do); norms, gates and scales
    as WEIGHT_DECAY_NORM says."""
    if owned.parameter.ndim > 1:
        return solver.WEIGHT_DECAY
    weight = getattr(owned.module, "weight", None)
    of_norm = weight is not None and weight.ndim == 1
    if owned.name == "bias" and not of_norm:
        return solver.WEIGHT_DECAY if solver.WEIGHT_DECAY_BIAS is None else solver.WEIGHT_DECAY_BIAS
    return solver.WEIGHT_DECAY_NORM
