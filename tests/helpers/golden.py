"""Golden files: numbers recorded from the authors' own releases, which lie outside the repository.

Their folder is named by ``EFFOWT_GOLDEN``; by default it is ``../shared/golden`` beside the repository. Tests that need
them are skipped where they are absent.
"""

import json
import os
from functools import lru_cache
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

from . import ROOT

FOLDER = Path(os.environ.get("EFFOWT_GOLDEN") or ROOT.parent / "shared" / "golden")


def golden(name: str) -> dict[str, Tensor]:
    """The tensors of a file by name, such as ``golden("lorat/trunk")``; the test is skipped where it is absent."""
    return dict(_tensors(_present(FOLDER / f"{name}.safetensors")))


def golden_manifest(system: str) -> dict:
    """What describes the files of a system, such as ``golden_manifest("lorat")``."""
    return json.loads(_present(FOLDER / system / "manifest.json").read_text(encoding="utf-8"))


def below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names start with the prefix, without it."""
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


@lru_cache
def _tensors(path: Path) -> dict[str, Tensor]:
    return load_file(path)


def _present(path: Path) -> Path:
    if not path.is_file():
        pytest.skip(f"golden file {path} is absent; EFFOWT_GOLDEN names the folder that holds them")
    return path
