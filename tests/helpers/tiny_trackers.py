"""Configs of single-object trackers on a tiny tower."""

from detectron2.config import CfgNode

from effowt_d2.engine import make_config

from .configs import set_keys


def tracker_config(module: str, architecture: str, tower: str, **options) -> CfgNode:
    """A tracker of a project on a tower of random weights, templates of 32 and search crops of 64 pixels.

    Args:
        module: package of the project.
        architecture: its meta-architecture.
        tower: open_clip's name of the model.
        **options: values by key, with ``__`` for the dots.
    """
    cfg = make_config("", ["IMPORTS", (module,)])
    small = {
        "MODEL.META_ARCHITECTURE": architecture,
        "MODEL.DEVICE": "cpu",
        "MODEL.VLM.NAME": tower,
        "MODEL.VLM.ALLOW_RANDOM": True,
        "MODEL.PEFT.RANK": 4,
        "MODEL.PEFT.ALPHA": 8.0,
        "INPUT.FORMAT": "RGB",
        "INPUT.MIN_SIZE_TEST": 0,
        "INPUT.SOT.TEMPLATE_SIZE": 32,
        "INPUT.SOT.SEARCH_SIZE": 64,
        "DATA.LOADER": "sot",
        "DATALOADER.NUM_WORKERS": 0,
        "SOLVER.OPTIMIZER": "adamw",
        "SOLVER.IMS_PER_BATCH": 2,
        "SEED": 1,
    }
    return set_keys(cfg, small, **options)
