"""``effowt://NAME``: files shipped with this package.

Weights, for ``MODEL.WEIGHTS`` and ``MODEL.VLM.WEIGHTS``, and configs of the zoo (``NAME.yaml``), for ``_BASE_``.
"""

import os
from pathlib import Path

from detectron2.utils.file_io import PathHandler, PathManager

from .configs import shipped_config

__all__ = ["PREFIX", "resolve_weights", "shipped_file", "shipped_names"]

PREFIX = "effowt://"
ROOT = Path(__file__).parent

_FOLDERS = ((ROOT / "vlm", ".pt"), (ROOT / "checkpoints", ".pth"))


def shipped_names() -> list[str]:
    """The names of weights that follow ``effowt://``, for error messages."""
    return sorted(file.stem for folder, extension in _FOLDERS for file in folder.glob(f"*{extension}"))


def shipped_file(name: str) -> Path:
    """The file behind ``effowt://NAME``.

    Args:
        name: a vision-language model (``ShapesCLIP-S-16``), the trained checkpoint of a config
            (``quick/shapes_ow_effowt``), or the config itself (``quick/shapes_ow_effowt.yaml``).

    Raises:
        FileNotFoundError: nothing of that name is shipped.
    """
    if name.endswith(".yaml"):
        return shipped_config(name)
    stem = name.rsplit("/", 1)[-1]
    for folder, extension in _FOLDERS:
        if (folder / f"{stem}{extension}").is_file():
            return folder / f"{stem}{extension}"
    shipped = ", ".join(shipped_names()) or "none"
    raise FileNotFoundError(f"{PREFIX}{name}: not shipped with effowt_d2; shipped: {shipped}")


def resolve_weights(path: str) -> str:
    """A local path for a weights file, fetched if it is remote.

    Args:
        path: a file, ``effowt://NAME``, ``detectron2://...``, or a URL that Detectron2's path manager knows.

    Raises:
        FileNotFoundError: ``effowt://`` names nothing shipped.
        OSError: the file could not be fetched.
    """
    if "://" not in path:
        return path
    try:
        return PathManager.get_local_path(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OSError(f"{path} could not be fetched: {error}") from error


class _ShippedFiles(PathHandler):
    def _get_supported_prefixes(self) -> list[str]:
        return [PREFIX]

    def _get_local_path(self, path: str, force: bool = False, **kwargs) -> str:
        return os.fspath(shipped_file(path[len(PREFIX) :]))

    def _isfile(self, path: str, **kwargs) -> bool:
        try:
            shipped_file(path[len(PREFIX) :])
        except FileNotFoundError:
            return False
        return True

    _exists = _isfile

    def _open(self, path: str, mode: str = "r", buffering: int = -1, **kwargs):
        if set(mode) & set("wax+"):
            raise OSError(f"{path} is part of the installed package and can't be written")
        return open(self._get_local_path(path), mode, buffering=buffering)


PathManager.register_handler(_ShippedFiles())
