"""Comparing what a file holds with what a model expects, tensor by tensor."""

from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor

from .tensor_files import CheckpointError

__all__ = ["check_tensors", "check_values", "grouped_by_number", "without_shared_prefixes"]

# of DistributedDataParallel, torch.compile, and of trainers that hold a model
_PREFIXES = ("module.", "_orig_mod.", "model.")


def without_shared_prefixes(state: Mapping[str, Tensor], expected: Collection[str] = ()) -> dict[str, Tensor]:
    """A state dict whose keys lack the wrappers' prefixes that all of them share, one within the other.

    Args:
        state: of a file.
        expected: keys of the model; a prefix that all of these have too stays.
    """
    state = dict(state)
    while prefix := next((p for p in _PREFIXES if state and all(key.startswith(p) for key in state)), ""):
        if expected and all(key.startswith(prefix) for key in expected):
            break
        state = {key[len(prefix) :]: value for key, value in state.items()}
    return state


def check_values(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, problem: str) -> None:
    """Make sure that the tensors which a model takes hold numbers of its kind, finite where the model's are.

    Args:
        found: of the file; keys that the model lacks are passed over.
        expected: of the model. Floating point formats of another width are of its kind.
        problem: start of the message.

    Raises:
        CheckpointError: lists all of the others.
    """
    lines = []
    for key, present in expected.items():
        value = found.get(key)
        if value is None or value.device.type == "meta" or present.device.type == "meta":
            continue
        if _kind(value) != _kind(present):
            lines.append(f"dtype: {key} is {value.dtype} in the file, {present.dtype} in the model")
        elif not _finite(value) and _finite(present):
            which = "NaN" if torch.isnan(value).any() else "infinite"
            lines.append(f"values: {key} {tuple(value.shape)} has {which} entries")
    if lines:
        raise CheckpointError(
            f"{problem}; {len(lines)} tensors cannot be used:\n  " + "\n  ".join(grouped_by_number(lines))
        )


def _kind(value: Tensor) -> str:
    if value.is_floating_point() or value.is_complex():
        return "complex" if value.is_complex() else "float"
    return "bool" if value.dtype is torch.bool else "integer"


def _finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())


def check_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, problem: str) -> None:
    """Make sure that two state dicts have the same keys and shapes.

    Args:
        found: of the file.
        expected: of the model.
        problem: start of the message: which file does not fit what.

    Raises:
        CheckpointError: lists all differences; keys that differ in a number only share a line.
    """
    differences = [f"missing: {key} {tuple(expected[key].shape)}" for key in expected if key not in found]
    differences += [f"unexpected: {key} {tuple(found[key].shape)}" for key in found if key not in expected]
    differences += [
        f"shape: {key} is {tuple(found[key].shape)} in the file, {tuple(expected[key].shape)} in the model"
        for key in expected
        if key in found and found[key].shape != expected[key].shape
    ]
    if differences:
        lines = "\n  ".join(grouped_by_number(differences))
        raise CheckpointError(f"{problem}; {len(differences)} differences:\n  {lines}")


def grouped_by_number(lines: Iterable[str]) -> list[str]:
    """``a.0.x``, ``a.1.x`` -> ``a.N.x (2)``; a line that differs from no other in a number stays as it is."""
    groups: dict[str, list[str]] = {}
    for line in lines:
        pattern = ".".join("N" if part.isdigit() else part for part in line.split("."))
        groups.setdefault(pattern, []).append(line)
    return [same[0] if len(same) == 1 else f"{pattern} ({len(same)})" for pattern, same in groups.items()]
