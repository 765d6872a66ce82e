"""Convert released weights, and write the merged model of a tracker.

    python -m sot.convert import --config-file F --weights RELEASED.bin --output model.pth [--assume-scale] [--opts KEY VALUE ...]
    python -m sot.convert merge  --config-file F --weights model.pth --output FOLDER [--opts KEY VALUE ...]

``import`` writes a checkpoint for ``MODEL.WEIGHTS``. ``merge`` folds LoRA into the tower: the folder gets ``tower.pth``,
``tracker.pth`` and ``config.yaml``, which tracks as the model did, at the cost of the plain tower.
"""

import argparse
import os
import sys
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn

from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.engine import find_config, make_config
from effowt_d2.modeling.peft import export_plain
from effowt_d2.modeling.tower.timm_trunks import is_timm
from effowt_d2.utils.files import write_atomically
from sot.released import load_released

__all__ = ["import_released", "merge_tracker"]


def import_released(cfg: CfgNode, weights: str, output: Path, *, assume_scale: bool = False) -> None:
    """Write a checkpoint of a released file, see :func:`sot.released.load_released`; AQATrack and EVPTrack have a
    ``load_released`` of their own."""
    model = build_model(cfg)
    if hasattr(model, "load_released"):
        model.load_released(weights)
    else:
        load_released(model, weights, assume_scale=assume_scale)
    _save(model, cfg, output)


def merge_tracker(cfg: CfgNode, output: Path) -> Path:
    """Write the merged form of the model of ``MODEL.WEIGHTS``.

    Args:
        cfg: of a tracker with ``MODEL.PEFT.METHOD`` lora.
        output: folder, made where it is missing.

    Returns:
        The config of the merged model.

    Raises:
        ValueError: what is attached to the tower has no merged form.
    """
    model = build_model(cfg)
    EffOWTCheckpointer(model, complete=True).load(cfg.MODEL.WEIGHTS)
    plain = export_plain(model.backbone.tower)
    output.mkdir(parents=True, exist_ok=True)
    tower = output / "tower.pth"
    # as the whole model that open_clip would have, of which only the tower is read
    prefix = "" if is_timm(cfg.MODEL.VLM.NAME) else "visual."
    state = {f"{prefix}{name}": value for name, value in plain.items()}
    write_atomically(tower, lambda stream: torch.save(state, stream))
    merged = cfg.clone()
    merged.defrost()
    merged.MODEL.VLM.WEIGHTS, merged.MODEL.PEFT.METHOD = str(tower), "none"
    merged.MODEL.WEIGHTS = str(output / "tracker.pth")
    tracker = build_model(merged)
    own = {name: value for name, value in model.state_dict().items() if not name.startswith("backbone.tower.")}
    tracker.load_state_dict(own, strict=False)
    _save(tracker, merged, Path(merged.MODEL.WEIGHTS))
    config = output / "config.yaml"
    write_atomically(config, lambda stream: stream.write(merged.dump().encode()))
    return config


def _save(model: nn.Module, cfg: CfgNode, output: Path) -> None:
    folder, name = os.path.split(output)
    if not name.endswith(".pth"):
        raise ValueError(f"--output must end in .pth, got {output}")
    os.makedirs(folder or ".", exist_ok=True)
    EffOWTCheckpointer(model, folder or ".", config=cfg.dump()).save(name.removesuffix(".pth"))


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=("import", "merge"))
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--weights", required=True, help="input file")
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument(
        "--assume-scale", action="store_true", help="use the scale of the config for a file without one"
    )
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE pairs")
    args = parser.parse_args(arguments)
    try:
        cfg = make_config(find_config(args.config_file), args.opts)
        if args.job == "import":
            import_released(cfg, args.weights, args.output, assume_scale=args.assume_scale)
        else:
            cfg.MODEL.WEIGHTS = args.weights
            merge_tracker(cfg, args.output)
    except (ValueError, OSError) as error:
        sys.exit(f"sot.convert: error: {error}")


if __name__ == "__main__":
    main()
