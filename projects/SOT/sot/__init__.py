"""Single-object tracking: what trackers of one given object share. Importing this package registers its parts."""

from .config import add_config
from .evaluation import evaluator  # noqa: F401  (it registers the evaluator)

__all__ = ["add_config"]
