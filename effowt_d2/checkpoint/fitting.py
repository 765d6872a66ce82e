"""Validates a checkpoint before loading: its structure, and the tensors of the model that it covers."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from effowt_d2.utils.state_dicts import grouped_by_number
from effowt_d2.utils.tensor_files import CheckpointError, UnreadableCheckpointError

from .contents import HEADER, trained_state

__all__ = ["check_coverage", "check_structure", "matching_tensors"]

logger = logging.getLogger(__name__)

_HEADER_FIELDS = {"format": int, "config": str, "towers": Mapping, "versions": Mapping}


def check_structure(data: Any, file: str) -> None:
    """Make sure that what was read from a file is laid out as a checkpoint.

    Args:
        data: ``{"model": tensors by name, HEADER: ..., ...}``; foreign ones have no header.

    Raises:
        UnreadableCheckpointError: names the file, and the entry that is missing or of another type.
    """
    model = _entry(data, "model", Mapping, f"{file} is no checkpoint")
    for key, value in model.items():
        if not isinstance(key, str) or not isinstance(value, (Tensor, np.ndarray)):
            raise UnreadableCheckpointError(
                f"{file} is no checkpoint: entry model, {key!r} is a {type(value).__name__}, expected a tensor"
            )
    if HEADER in data:
        problem = f"{file} is no checkpoint of effowt_d2: entry {HEADER}"
        header = _entry(data, HEADER, Mapping, problem)
        for name, kind in _HEADER_FIELDS.items():
            _entry(header, name, kind, problem)
        _entry(header["versions"], "effowt_d2", str, problem)
        for path, tower in header["towers"].items():
            _entry(tower, "name", str, f"{problem}, tower {path!r}")
            _entry(tower, "weights_hash", (str, type(None)), f"{problem}, tower {path!r}")


def _entry(data: Any, name: str, kind: type | tuple[type, ...], problem: str) -> Any:
    if not isinstance(data, Mapping):
        raise UnreadableCheckpointError(f"{problem}: a {type(data).__name__}, expected a dict")
    if name not in data:
        raise UnreadableCheckpointError(f"{problem}: {name!r} is missing; there are {sorted(map(str, data))[:8]}")
    if not isinstance(data[name], kind):
        raise UnreadableCheckpointError(f"{problem}: {name!r} is a {type(data[name]).__name__}")
    return data[name]


def matching_tensors(state: Mapping[str, Tensor], model: nn.Module, file: str) -> dict[str, Tensor]:
    """The tensors that have a place of their shape in the model; the others are listed in a warning."""
    places = model.state_dict()
    lines = []
    for key, value in state.items():
        if key not in places:
            lines.append(f"without a place: {key} {tuple(value.shape)}")
        elif value.shape != places[key].shape:
            lines.append(f"shape: {key} is {tuple(value.shape)} in the file, {tuple(places[key].shape)} in the model")
    if lines:
        listed = "\n  ".join(grouped_by_number(lines))
        logger.warning("%s: %d of %d tensors are skipped (MODEL.PARTIAL):\n  %s", file, len(lines), len(state), listed)
    return {key: value for key, value in state.items() if key in places and value.shape == places[key].shape}


def check_coverage(model: nn.Module, missing: list[str], file: str, *, complete: bool, partial: bool) -> None:
    """Make sure that a file filled what it had to.

    Args:
        model: after loading.
        missing: keys of its state dict that the file didn't give.
        complete: nothing that is trained may be missing.
        partial: unless it may, and is then listed in a warning.

    Raises:
        CheckpointError: nothing of the model was in the file, or not all.
    """
    tensors = model.state_dict(keep_vars=True)
    # a tensor may have several names
    given = {id(tensor) for key, tensor in tensors.items() if key not in missing}
    lacking = [key for key in trained_state(model) if id(tensors[key]) not in given]
    trained = len(trained_state(model))
    # batch norms make up a counter that is missing
    parameters = [key for key in trained_state(model) if isinstance(tensors[key], nn.Parameter)]
    if parameters and set(parameters) <= set(lacking):
        raise CheckpointError(
            f"{file}: none of its tensors fits the model, which is left as it was; the model has {len(parameters)} trained "
            f"parameters, {', '.join(parameters[:3])}, ..."
        )
    if lacking and (complete or partial):
        listed = "\n  ".join(grouped_by_number(f"missing: {key} {tuple(tensors[key].shape)}" for key in lacking))
        if not partial:
            raise CheckpointError(
                f"{file} lacks {len(lacking)} of the model's {trained} trained tensors, which would be random:\n  {listed}\n"
                "MODEL.PARTIAL True loads what fits"
            )
        logger.warning("%s: %d of %d trained tensors stay as they were:\n  %s", file, len(lacking), trained, listed)
