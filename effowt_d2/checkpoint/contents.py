"""Contents of a checkpoint: the trained tensors, and a header that identifies their model."""

import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import detectron2
import numpy as np
import torch
from detectron2.utils import comm
from torch import Tensor, nn

from effowt_d2.modeling.tower.tower import Tower
from effowt_d2.utils.tensor_files import CheckpointError
from effowt_d2.version import __version__

__all__ = [
    "HEADER",
    "check_header",
    "frozen_keys",
    "guarded_towers",
    "make_header",
    "plain",
    "trained_state",
]

logger = logging.getLogger(__name__)

HEADER = "effowt"
"""Key of the header in the file; checkpoints without it are foreign ones."""
FORMAT = 1


def frozen_keys(model: nn.Module) -> list[str]:
    """Keys of the model's state dict whose tensors a tower was loaded with and that do not train, buffers included."""
    left_out = {id(tensor) for tower in _towers(model).values() for tensor in tower.base.left_out()}
    return [key for key, tensor in model.state_dict(keep_vars=True).items() if id(tensor) in left_out]


def _towers(model: nn.Module) -> dict[str, Tower]:
    # a tower may be reached by several paths
    return {p: m for p, m in model.named_modules(remove_duplicate=False) if isinstance(m, Tower)}


def trained_state(model: nn.Module) -> "OrderedDict[str, Tensor]":
    """The model's state dict, with its version numbers, less :func:`frozen_keys`."""
    state = model.state_dict()
    for key in frozen_keys(model):
        del state[key]
    return state


def make_header(model: nn.Module, config: str) -> dict[str, Any]:
    """The header: format, config, number of processes, versions, and name and hash of each tower by its place in the
    model."""
    return {
        "format": FORMAT,
        "config": config,
        "processes": comm.get_world_size(),
        "towers": _describe(model),
        "versions": {
            "effowt_d2": __version__,
            "detectron2": detectron2.__version__,
            "torch": str(torch.__version__),
        },
    }


def _describe(model: nn.Module) -> dict[str, dict[str, Any]]:
    """The hash identifies the tensors that are not in the file, so a tower that is stored as a whole has none. What is
    attached to a tower stands beside it, by name."""
    return {
        path: {"name": tower.name, "weights_hash": None if tower.base.all_train else tower.weights_hash()}
        | tower.attached
        for path, tower in _towers(model).items()
    }


def check_header(header: Mapping, model: nn.Module, file: str, *, only_warn: bool = False) -> None:
    """Make sure that a checkpoint belongs to the towers of the model; ``only_warn`` logs that it doesn't.

    Raises:
        CheckpointError: other towers, other weights in them, or a format of a newer version.
    """
    if header["format"] > FORMAT:
        raise CheckpointError(
            f"{file} has format {header['format']}, written by effowt_d2 {header['versions']['effowt_d2']}; "
            f"this is effowt_d2 {__version__}, which reads formats up to {FORMAT}"
        )
    stored, present = header["towers"], _describe(model)
    if stored != present:
        what = (
            "with something else attached to its tower" if _loaded(stored) == _loaded(present) else "on another tower"
        )
        problem = (
            f"{file} was trained {what}.\n  stored:  {_format_towers(stored)}\n  present: {_format_towers(present)}"
        )
        if only_warn:
            logger.warning(problem)
            return
        raise CheckpointError(
            f"{problem}\nIts other parts mean nothing on other features: set MODEL.VLM.NAME, MODEL.VLM.WEIGHTS, "
            "MODEL.TRANSFER and MODEL.PEFT to those of the config stored in the checkpoint"
        )


def _loaded(towers: Mapping) -> dict:
    """The loaded tensors of the towers, without attached modules."""
    return {path: (tower["name"], tower["weights_hash"]) for path, tower in towers.items()}


def _format_towers(towers: Mapping) -> str:
    def one(path: str, tower: Mapping) -> str:
        weights = "trained" if tower["weights_hash"] is None else f"frozen, weights {tower['weights_hash']}"
        attached = {name: settings for name, settings in tower.items() if name not in ("name", "weights_hash")}
        return f"{tower['name']} at {path!r}, {weights}" + (f", with {attached}" if attached else "")

    return "; ".join(one(path, tower) for path, tower in towers.items()) or "no tower"


@contextmanager
def guarded_towers(model: nn.Module, file: str) -> Iterator[None]:
    """Within, loading a state dict with other tensors for a frozen tower than it has is an error.

    Only foreign checkpoints hold such tensors, under whatever names they are converted from.

    Raises:
        CheckpointError: on loading, before the tower is changed.
    """

    def compare(tower: Tower, state: Mapping, prefix: str, *_) -> None:
        kept = {id(tensor) for tensor in tower.base.left_out()}
        for key, present in tower.state_dict(keep_vars=True).items():
            stored = state.get(prefix + key) if id(present) in kept else None
            # a tower that runs in less than float32 is rounded
            if stored is not None and not torch.equal(_as_in(tower, stored, present), _as_in(tower, present, present)):
                raise CheckpointError(
                    f"{file} holds other weights for the frozen tower {tower.name} ({prefix + key} differs): "
                    "the tower's weights are given by MODEL.VLM.WEIGHTS"
                )

    hooks = [tower.register_load_state_dict_pre_hook(compare) for tower in set(_towers(model).values())]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _as_in(tower: Tower, value: Tensor, present: Tensor) -> Tensor:
    value = value.to(present)
    return value.to(tower.precision) if value.is_floating_point() else value


def plain(value: Any, where: str) -> Any:
    """Types that can be read without executing code: tensors, containers, plain values.

    NumPy values are converted. A tensor that is a view of something larger is copied, because torch would write all
    of that.

    Args:
        value: to be saved.
        where: its key, for the message.

    Raises:
        TypeError: something else is in there.
    """
    if isinstance(value, Tensor):
        return value.detach().clone() if value.untyped_storage().nbytes() > value.nbytes else value
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, np.generic):
        return value.item()
    if value is None or type(value) in (bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size):
        return value
    if isinstance(value, Mapping):
        copy = OrderedDict if isinstance(value, OrderedDict) else dict
        made = copy((key, plain(item, f"{where}.{key}")) for key, item in value.items())
        if hasattr(value, "_metadata"):
            made._metadata = value._metadata  # version numbers of the modules, which state dicts carry
        return made
    if type(value) in (list, tuple, set):
        return type(value)(plain(item, f"{where}.{number}") for number, item in enumerate(value))
    raise TypeError(
        f"checkpoint entry {where} is a {type(value).__name__}: a checkpoint takes tensors and plain values only, "
        "because anything else could not be read back safely"
    )
