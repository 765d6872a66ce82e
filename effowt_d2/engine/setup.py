"""The beginning of a run: loggers, the environment and the config on record, the seed."""

import argparse
import logging
import os

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.collect_env import collect_env_info
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger

__all__ = ["setup_run"]

logger = logging.getLogger(__name__)


def setup_run(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Do what Detectron2's ``default_setup`` does, for a Detectron2 without compiled operators too.

    Logs go to the terminal and to ``OUTPUT_DIR/log.txt``, the config to ``OUTPUT_DIR/config.yaml``; the random
    numbers are seeded with ``SEED`` plus the process's rank.

    Args:
        cfg: the whole config.
        args: the command line, for the log; may have ``eval_only``.
    """
    rank = comm.get_rank()
    os.makedirs(cfg.OUTPUT_DIR, exist_ok=True)
    for name in ("fvcore", "detectron2", "effowt_d2"):
        setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank, name=name)
    here = (comm.get_local_rank(), comm.get_local_size())
    logger.info("process %d of %d, %d of %d on this machine; %s", rank, comm.get_world_size(), *here, args)
    logger.info("environment:\n%s", _environment())
    if comm.is_main_process():
        path = os.path.join(cfg.OUTPUT_DIR, "config.yaml")
        with open(path, "w") as file:
            file.write(cfg.dump())
        logger.info("config, saved to %s:\n%s", path, cfg.dump())
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED + rank)
    if not getattr(args, "eval_only", False):
        torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK


def _environment() -> str:
    try:
        return collect_env_info()
    except RuntimeError as error:  # it asks the compiled operators for their compiler
        return f"torch {torch.__version__}; {error}"
