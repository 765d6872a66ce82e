"""Single-object tracking: what trackers of one given object share. Importing this package registers its parts."""

from . import (
    bridging,  # noqa: F401  (it registers the meta-architecture)
    hivit,  # noqa: F401  (it registers the towers)
    schedule,  # noqa: F401  (it registers the schedule)
)
from .config import add_centre_config, add_config
from .data import loader  # noqa: F401  (it registers the loader)
from .data.builtin import register_all, register_layouts
from .evaluation import evaluator  # noqa: F401  (it registers the evaluator)

__all__ = ["add_centre_config", "add_config"]

register_all()
register_layouts()
