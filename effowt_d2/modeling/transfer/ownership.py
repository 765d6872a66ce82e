"""Trained parts of a model, identified by module object, never by name."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from effowt_d2.modeling.peft import PEFT
from effowt_d2.modeling.tower.tower import Tower

__all__ = ["OwnedParameter", "TrainedPart", "owned_parameters", "parameter_count", "tower_parts"]


@dataclass(frozen=True)
class TrainedPart:
    """Modules that are trained alike.

    Attributes:
        name: for reports and optimizer groups; several parts may share one.
        modules: whose trainable parameters belong to the part.
        lr_factor: learning rate, as a multiple of the base rate.
        depth: tower layers between the part and the tower's output, for layer-wise learning-rate decay.
    """

    name: str
    modules: tuple[nn.Module, ...]
    lr_factor: float = 1.0
    depth: int = 0


def tower_parts(tower: Tower, *, tower_lr_factor: float = 1.0, peft_lr_factor: float = 1.0) -> list[TrainedPart]:
    """Trained parts of a tower: its layers, unless it is frozen, and attached modules.

    Args:
        tower: the tower.
        tower_lr_factor, peft_lr_factor: learning rates of the layers and of what a PEFT method attached, as multiples of the base
            rate; that of a token reduction is 1.
    """
    parts = []
    if not tower.frozen:
        layers = [tuple(tower.embedding()), *((block,) for block in tower.blocks)]
        behind = range(tower.depth, -1, -1)
        parts = [TrainedPart("tower", layer, tower_lr_factor, depth) for layer, depth in zip(layers, behind)]
    for name, modules in tower.attached_parts().items():
        parts.append(TrainedPart(name, tuple(modules), peft_lr_factor if name == PEFT else 1.0))
    return parts


@dataclass(frozen=True)
class OwnedParameter:
    """A trained parameter, the module it sits in, and the part of the model it belongs to.

    Attributes:
        name: name within its module, such as "bias".
    """

    parameter: nn.Parameter
    module: nn.Module
    name: str
    part: TrainedPart


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
        for parameter in (parameter for module in part.modules for parameter in module.parameters()):
            other = owner.setdefault(parameter, part)
            if _training(other) != _training(part):
                raise ValueError(
                    f"a parameter of shape {tuple(parameter.shape)} belongs to two parts, "
                    f"{_describe(other)} and {_describe(part)}"
                )
    heads = TrainedPart("heads", ())
    return [
        OwnedParameter(parameter, module, name, owner.get(parameter, heads))
        for module, name, parameter in _distinct_parameters(model)
        if parameter.requires_grad
    ]


def _training(part: TrainedPart) -> tuple[str, float, int]:
    return part.name, part.lr_factor, part.depth


def _describe(part: TrainedPart) -> str:
    return f"{part.name!r} (lr_factor {part.lr_factor}, depth {part.depth})"


def _distinct_parameters(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    seen = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter not in seen:
                seen.add(parameter)
                yield module, name, parameter


def parameter_count(module: nn.Module) -> int:
    """Number of parameters, trained or not."""
    return sum(parameter.numel() for parameter in module.parameters())
