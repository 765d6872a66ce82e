"""Training and inference loops on top of the model."""

from .checks import check_config
from .configs import make_config
from .evaluators import build_evaluator
from .launch import launch
from .optimizer import build_optimizer
from .setup import setup_run
from .trainer import OpenWorldTrainer

__all__ = [
    "OpenWorldTrainer",
    "build_evaluator",
    "build_optimizer",
    "check_config",
    "launch",
    "make_config",
    "setup_run",
]
