"""Models of a few layers that open_clip knows by name."""

import json
from pathlib import Path

import open_clip

TEXT = {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1}


def register_clips(folder: Path, configs: dict[str, dict]) -> None:
    """Make open_clip configs known by name; the text tower is TEXT where a config has none."""
    for name, config in configs.items():
        (folder / f"{name}.json").write_text(json.dumps({"embed_dim": 16, "text_cfg": TEXT, **config}))
    open_clip.add_model_config(folder)


def vit(**vision) -> dict:
    """Config of a plain ViT: width 64, depth 4, heads 4, patch 16, grid 4 x 4, if ``vision`` has nothing else."""
    return {"vision_cfg": {"image_size": 64, "layers": 4, "width": 64, "head_width": 16, "patch_size": 16, **vision}}
