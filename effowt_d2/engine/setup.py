"""Setup of a run in each process: imports, datasets, loggers, logged environment and config, seed."""

import argparse
import logging

from detectron2.config import CfgNode
from detectron2.engine import default_setup
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from effowt_d2.data.datasets.registration import register_datasets
from effowt_d2.utils.imports import import_modules

__all__ = ["setup_run"]

logger = logging.getLogger(__name__)


def setup_run(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Detectron2's ``default_setup``, and this package's messages in its logs too.

    Args:
        cfg: the whole config; a process that was started with it imports its ``IMPORTS`` and registers its
            ``DATA.REGISTER`` here.
        args: the command line, for the log; may have ``config_file`` and ``eval_only``.
    """
    import_modules(cfg.IMPORTS)
    register_datasets(cfg)
    default_setup(cfg, args)
    rank = comm.get_rank()
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank, name="effowt_d2")
    here = (comm.get_local_rank(), comm.get_local_size())
    logger.info("process %d of %d, %d of %d on this machine", rank, comm.get_world_size(), *here)
