"""Register the shipped models with open_clip and find their checkpoints."""

from __future__ import annotations

from pathlib import Path

import open_clip

from . import conv_stem_vit  # noqa: F401  registers its models with timm

FOLDER = Path(__file__).parent / "vlm"
SHAPES_CLIP = "ShapesCLIP-S-16"
"""Name of the small model trained on rendered shapes; see docs/shapes_ow.md."""


def register_vlm_configs() -> None:
    """Add the shipped model configs to open_clip's registry; calling it again does nothing."""
    missing = {path.stem for path in FOLDER.glob("*.json")} - set(open_clip.list_models())
    if missing:
        open_clip.add_model_config(FOLDER)


def vlm_checkpoint(name: str = SHAPES_CLIP) -> Path:
    """Path of a shipped checkpoint, to be given to ``open_clip.create_model(name, pretrained=str(path))``.

    Raises:
        KeyError: no checkpoint of that name is shipped.
    """
    path = FOLDER / f"{name}.pt"
    if not path.is_file():
        shipped = ", ".join(sorted(found.stem for found in FOLDER.glob("*.pt"))) or "none"
        raise KeyError(f"no vision-language checkpoint '{name}' is shipped; shipped: {shipped}")
    return path
