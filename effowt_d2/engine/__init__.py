"""Training and inference loops on top of the model."""

from .checks import check_config
from .config_files import find_config
from .configs import make_config
from .data_checks import check_test_datasets
from .evaluators import EVALUATORS, build_evaluator
from .failures import FAILURES, explained_failures, explained_setup
from .launch import check_launch, launch
from .optimizer import build_optimizer
from .schedulers import SCHEDULERS
from .setup import setup_run
from .trainer import OpenWorldTrainer

__all__ = [
    "EVALUATORS",
    "FAILURES",
    "SCHEDULERS",
    "OpenWorldTrainer",
    "build_evaluator",
    "build_optimizer",
    "check_config",
    "check_launch",
    "check_test_datasets",
    "explained_failures",
    "explained_setup",
    "find_config",
    "launch",
    "make_config",
    "setup_run",
]
