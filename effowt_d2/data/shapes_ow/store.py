"""Rendering a split into a folder once, safely for several processes, and again after a change."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from iopath.common.file_io import file_lock

from effowt_d2.utils.files import publish

GENERATOR_VERSION = 1
"""Raised by hand whenever the same parameters would give other pixels or labels."""

_STAMP = "stamp.json"
logger = logging.getLogger(__name__)


def ensure_rendered(folder: Path, *, parameters: dict, write: Callable[[Path], None]) -> Path:
    """Make sure that a folder holds a split made with these parameters, rendering it if it doesn't.

    The split is rendered into a temporary folder beside its place and renamed at the end, so a reader never
    sees half of it. One process renders; the others wait for it.

    Args:
        folder: folder of the split.
        parameters: everything that decides its content, as plain values; kept in the folder's stamp.
        write: renders the split into an existing empty folder.

    Returns:
        ``folder``.

    Raises:
        PermissionError: the split is missing and the folder above it cannot be written.
    """
    stamp = json.loads(json.dumps({"version": GENERATOR_VERSION, **parameters}))
    if _read_stamp(folder) == stamp:
        return folder
    _check_writable(folder.parent)
    with file_lock(str(folder)):
        if _read_stamp(folder) == stamp:  # another process was faster
            return folder
        logger.info("Rendering ShapesOW into %s (once; kept for later runs)", folder)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            partial.chmod(0o755)  # mkdtemp's own mode would keep the split from other users
            write(partial)
            (partial / _STAMP).write_text(json.dumps(stamp, indent=1))
            if folder.exists():
                logger.info("%s was made by another version or with other parameters: replaced", folder)
                shutil.rmtree(folder)
            publish(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _read_stamp(folder: Path) -> dict | None:
    path = folder / _STAMP
    return json.loads(path.read_text()) if path.is_file() else None


def _check_writable(folder: Path) -> None:
    """Create the folder and a file in it, to fail before the rendering and not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PermissionError(
            f"ShapesOW has to be rendered into {folder}, which cannot be written ({error.strerror}); "
            "set DETECTRON2_DATASETS to a writable folder"
        ) from error
