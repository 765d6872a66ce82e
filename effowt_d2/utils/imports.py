"""Modules that a config names and that must be imported before it can be used."""

import importlib
import traceback
from collections.abc import Iterable
from types import ModuleType

__all__ = ["ConfigImportError", "import_modules"]


class ConfigImportError(ImportError, ValueError):
    """A module of ``IMPORTS`` cannot be imported; also a ValueError, as any wrong value of a config is."""


def import_modules(names: Iterable[str]) -> list[ModuleType]:
    """Import modules by name, in order; those already imported are not run again.

    Args:
        names: absolute names, such as "lorat" or "mine.data".

    Raises:
        ConfigImportError: names the module and the reason.
    """
    return [_import(name) for name in names]


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    # what a module runs when it is imported can raise anything
    except Exception as error:
        raise ConfigImportError(
            f"IMPORTS: module {name!r} cannot be imported: {_reason(error)}; "
            "projects of the repository are installed by `pip install -e projects/NAME`"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, (ImportError, SyntaxError)):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})"
