"""Schedules of the learning rate: Detectron2's, and those that projects register."""

from collections.abc import Callable

from detectron2.config import CfgNode
from detectron2.solver import build_lr_scheduler as build_detectron2_scheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from effowt_d2.utils.registry import Registry

__all__ = ["SCHEDULERS", "build_lr_scheduler"]

SCHEDULERS: Registry[Callable[[CfgNode, Optimizer], LRScheduler]] = Registry("schedules", argument="lr_scheduler_name")
"""Functions ``(cfg, optimizer)`` by ``SOLVER.LR_SCHEDULER_NAME``, besides the names that Detectron2 knows."""


def build_lr_scheduler(cfg: CfgNode, optimizer: Optimizer) -> LRScheduler:
    """The schedule that ``SOLVER.LR_SCHEDULER_NAME`` names.

    Raises:
        ValueError: neither is it registered nor does Detectron2 know it.
    """
    name = cfg.SOLVER.LR_SCHEDULER_NAME
    if name in SCHEDULERS.names():
        return SCHEDULERS.get(name)(cfg, optimizer)
    return build_detectron2_scheduler(cfg, optimizer)
