"""Open-world tracking with a frozen vision-language model, as a Detectron2 plugin.

Importing this package registers its backbone, meta-architecture, heads and datasets with Detectron2.
"""

import warnings

try:
    import detectron2  # noqa: F401
except ImportError as error:
    raise ImportError(
        "effowt_d2 is a plugin of Detectron2, which is not installed here. Install it from its repository "
        "(https://github.com/facebookresearch/detectron2, see INSTALL.md there), or run `make demo` in a checkout "
        "of effowt_d2, which sets up an environment of its own."
    ) from error

import torch

if not hasattr(torch, "get_autocast_dtype"):
    raise ImportError(f"effowt_d2 needs torch 2.4 or newer, this is {torch.__version__}")

from typing import TYPE_CHECKING

with warnings.catch_warnings():
    # fvcore compiles a loss with it on import, which no user can change
    warnings.filterwarnings("ignore", ".*torch.jit.script", FutureWarning)
    from . import data, modeling  # noqa: F401  (they register datasets, backbone, heads and meta-architecture)
from .config import add_effowt_config
from .version import __version__

if TYPE_CHECKING:
    from effowt_d2.inference.video_tracker import VideoTracker

__all__ = ["VideoTracker", "__version__", "add_effowt_config"]


def __getattr__(name: str):
    # only who tracks videos pays for importing the engine
    if name == "VideoTracker":
        from effowt_d2.inference.video_tracker import VideoTracker

        return VideoTracker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
