"""Which parameter is in which optimizer group: decided by module object, never by a piece of a name."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from detectron2.config import CfgNode
from torch import nn

from effowt_d2.modeling.transfer.ownership import TrainedPart

__all__ = ["OwnedParameter", "build_optimizer", "owned_parameters"]


@dataclass(frozen=True)
class OwnedParameter:
    """A trained parameter, the module it sits in, and the part of the model it belongs to.

    Attributes:
        name: name within its module, such as "bias".
        kind: "side", "neck", "tower" or "heads".
        depth: layers of the tower behind it.
    """

    parameter: nn.Parameter
    module: nn.Module
    name: str
    kind: str
    depth: int


def owned_parameters(model: nn.Module) -> list[OwnedParameter]:
    """Every parameter of ``model`` that requires a gradient, once each.

    The parts come from ``model.backbone.trained_parts()`` where there is such a method; everything else that
    trains is "heads".

    Raises:
        ValueError: a parameter belongs to two parts that train differently.
    """
    backbone = getattr(model, "backbone", None)
    parts = backbone.trained_parts() if hasattr(backbone, "trained_parts") else []
    owner: dict[nn.Parameter, TrainedPart] = {}
    for part in parts:
        for module in part.modules:
            for parameter in module.parameters():
                other = owner.setdefault(parameter, part)
                if (other.kind, other.depth) != (part.kind, part.depth):
                    raise ValueError(
                        f"a parameter of shape {tuple(parameter.shape)} belongs to two parts: '{other.name}' "
                        f"({other.kind}, depth {other.depth}) and '{part.name}' ({part.kind}, depth {part.depth})"
                    )
    heads = TrainedPart("heads", (), "heads")
    owned = []
    for module, name, parameter in _distinct_parameters(model):
        if parameter.requires_grad:
            part = owner.get(parameter, heads)
            owned.append(OwnedParameter(parameter, module, name, part.kind, part.depth))
    return owned


def _distinct_parameters(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    seen = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter not in seen:
                seen.add(parameter)
                yield module, name, parameter


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of ``SOLVER.OPTIMIZER``, with one group per part, learning rate and weight decay.

    Args:
        cfg: reads ``SOLVER``.
        model: its frozen parameters are in no group.

    Raises:
        ValueError: an unknown optimizer, or a model without trained parameters.
    """
    solver = cfg.SOLVER
    groups: dict[tuple, dict] = {}
    for owned in owned_parameters(model):
        lr, decay = _learning_rate(solver, owned), _weight_decay(solver, owned)
        group = groups.setdefault(
            (owned.kind, lr, decay), {"params": [], "lr": lr, "weight_decay": decay, "part": owned.kind}
        )
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
    rate = solver.BASE_LR
    if owned.kind == "side":
        rate *= solver.SIDE_LR_FACTOR
    elif owned.kind == "tower":
        rate *= solver.TOWER_LR_FACTOR * solver.TOWER_LAYER_DECAY**owned.depth
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
