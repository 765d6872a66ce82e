"""The configs of the model zoo by name; ``effowt://NAME.yaml`` is their path."""

import os
from pathlib import Path

__all__ = ["CONFIGS", "config_names", "shipped_config"]

CONFIGS = Path(__file__).parent / "configs"
"""A link to ``configs/`` of the repository; a wheel holds copies."""


def config_names() -> list[str]:
    """Names of all zoo configs, ``EffOWT/effowt_vit_b16.yaml`` and so on; the bases they build on are skipped."""
    return [name for name in _shipped() if not name.split("/")[-1].startswith("Base-")]


def shipped_config(name: str) -> Path:
    """The file of a zoo config, or of a base that zoo configs build on.

    Args:
        name: relative to ``configs/``; ``..`` goes up a folder, as in the ``_BASE_`` of a zoo config.

    Raises:
        FileNotFoundError: there is no such config.
    """
    found = os.path.normpath(name)
    if found not in _shipped():
        raise FileNotFoundError(f"no zoo config {name!r}; there are: {', '.join(config_names())}")
    return CONFIGS / found


def _shipped() -> list[str]:
    return sorted(file.relative_to(CONFIGS).as_posix() for file in CONFIGS.glob("*/*.yaml"))
