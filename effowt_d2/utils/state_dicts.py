"""Comparing what a file holds with what a model expects, tensor by tensor."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from .tensor_files import CheckpointError

__all__ = ["check_tensors", "grouped_by_number"]


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
