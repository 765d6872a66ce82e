"""Plain data from JSON or YAML as typed objects, with errors that name the field and its value."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args

import msgspec

__all__ = ["as_typed", "as_typed_list", "shortened"]

Typed = TypeVar("Typed", bound=msgspec.Struct)


def as_typed(data: object, kind: type[Typed], where: str, error: type[Exception]) -> Typed:
    """Check a mapping against a type; nothing is converted but integers to floats where these are expected.

    Args:
        data: what a JSON or YAML file holds.
        kind: the type.
        where: names the mapping in messages.
        error: exception class to raise.

    Raises:
        error: the mapping does not fit; ``where``, the field, its value and what was expected are named.
    """
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError:
        raise error(f"{where}: {_mismatch(data, kind)}") from None


def as_typed_list(data: Sequence, kind: type[Typed], where: str, error: type[Exception], start: int = 0) -> list[Typed]:
    """Check a stretch of a list of mappings against their type.

    Args:
        data: the mappings.
        kind: their type.
        where: names a mapping in messages, before its number.
        error: exception class to raise.
        start: number of the first mapping in the whole list.

    Raises:
        error: as in :func:`as_typed`, for the first mapping that does not fit.
    """
    try:
        return msgspec.convert(data, list[kind])  # type: ignore[valid-type]
    except msgspec.ValidationError:
        # one by one, to find out which
        return [as_typed(entry, kind, f"{where} {number}", error) for number, entry in enumerate(data, start)]


def shortened(value: Any) -> str:
    """``repr(value)``, at most 80 characters of it."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _mismatch(data: object, kind: type[msgspec.Struct]) -> str:
    """Why ``data``, which cannot be converted to ``kind``, cannot."""
    fields = msgspec.structs.fields(kind)
    known = ", ".join(field.name for field in fields)
    if not isinstance(data, Mapping):
        return f"expected an object with the fields {known}, got {shortened(data)}"
    for name in data if kind.__struct_config__.forbid_unknown_fields else ():
        if name not in (field.name for field in fields):
            return f"unknown field {name!r}; known are {known}"
    for field in fields:
        if field.name not in data:
            if field.required:
                return f"the field '{field.name}' is missing; there are {', '.join(map(repr, data))}"
        elif problem := _problem(data[field.name], field.type):
            return f"'{field.name}' is {shortened(data[field.name])}: {problem}"
    raise AssertionError(f"{shortened(data)} fits {kind.__name__}")


def _problem(value: object, kind: Any) -> str:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as problem:
        notes = [meta.description for meta in get_args(kind)[1:] if isinstance(meta, msgspec.Meta)]
        return "; ".join([str(problem), *filter(None, notes)])
    return ""
