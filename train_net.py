#!/usr/bin/env python
"""Train and evaluate an open-world tracker.

    python train_net.py --config-file F [--num-gpus N] [--resume] [KEY VALUE ...]
    python train_net.py --config-file F --eval-only [MODEL.WEIGHTS W] [KEY VALUE ...]
    python train_net.py --config-file F --num-gpus N --num-machines M --machine-rank K --dist-url tcp://HOST:PORT
    python train_net.py --config-file F --register NAME JSON IMAGES [FORMAT] DATASETS.TRAIN "('NAME',)" [KEY VALUE ...]
    torchrun --nproc_per_node N train_net.py --config-file F ...

F is a YAML file or a name of the model zoo. Training begins with MODEL.WEIGHTS of the config, whichever it is; a zoo
name evaluated without MODEL.WEIGHTS takes the zoo's trained checkpoint. On CPUs (MODEL.DEVICE cpu) ``--num-gpus`` is
the number of processes.
"""

import argparse
import contextlib
import logging
import sys

from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser

from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.data.datasets.registration import add_register_option, register_datasets, take_registrations
from effowt_d2.engine import (
    FAILURES,
    OpenWorldTrainer,
    check_config,
    check_launch,
    check_test_datasets,
    explained_failures,
    explained_setup,
    find_config,
    launch,
    make_config,
    setup_run,
)
from effowt_d2.engine.launch import DEFAULT_TIMEOUT
from effowt_d2.model_zoo import get_checkpoint_url

logger = logging.getLogger("effowt_d2")


def setup(args: argparse.Namespace) -> CfgNode:
    """The config of the file with the command line's keys on top, checked; ``args.config_file`` becomes a path."""
    source, args.zoo_weights = args.config_file, ""
    own_datasets = take_registrations(args)
    cfg = make_config(source, args.opts)
    cfg.DATA.REGISTER = [*cfg.DATA.REGISTER, *own_datasets]
    register_datasets(cfg)
    args.config_file = find_config(source) if source else ""
    if args.eval_only and not cfg.MODEL.WEIGHTS and args.config_file != source:
        with contextlib.suppress(KeyError):  # nothing was trained for it
            args.zoo_weights = cfg.MODEL.WEIGHTS = get_checkpoint_url(source)
    check_config(cfg, eval_only=args.eval_only, num_processes=args.num_gpus, num_machines=args.num_machines)
    cfg.freeze()
    return cfg


def main(args: argparse.Namespace, cfg: CfgNode) -> dict | None:
    """Run in every process."""
    with explained_failures(cfg.OUTPUT_DIR):
        setup_run(cfg, args)
        return work(args, cfg)


def work(args: argparse.Namespace, cfg: CfgNode) -> dict | None:
    """Train, or evaluate."""
    if not args.eval_only:
        with explained_setup():
            trainer = OpenWorldTrainer(cfg)
            trainer.resume_or_load(resume=args.resume)
        return trainer.train()
    with explained_setup():
        check_test_datasets(cfg)
        model = OpenWorldTrainer.build_model(cfg)
        checkpointer = EffOWTCheckpointer(
            model, cfg.OUTPUT_DIR, unsafe_pickle=cfg.MODEL.UNSAFE_PICKLE, complete=True, partial=cfg.MODEL.PARTIAL
        )
        checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
    resumed = args.resume and checkpointer.has_checkpoint()
    if args.zoo_weights and not resumed:
        logger.info("MODEL.WEIGHTS is empty: the zoo's checkpoint %s is evaluated", args.zoo_weights)
    if not cfg.MODEL.WEIGHTS and not resumed:
        logger.warning("MODEL.WEIGHTS is empty: an untrained model is evaluated")
    return OpenWorldTrainer.test(cfg, model)


def run() -> None:
    """Read the command line, check it, and start the processes."""
    parser = default_argument_parser(epilog=__doc__)
    # Detectron2's default is one port per user, on which two runs of a user would meet
    parser.set_defaults(dist_url="auto")
    waiting = "seconds that machines wait for each other at the start; torchrun has an option of its own"
    parser.add_argument("--dist-timeout", type=float, default=DEFAULT_TIMEOUT, help=waiting)
    add_register_option(parser)
    args = parser.parse_args()
    places = {
        "num_processes": args.num_gpus,
        "num_machines": args.num_machines,
        "machine_rank": args.machine_rank,
        "dist_url": args.dist_url,
        "dist_timeout": args.dist_timeout,
    }
    try:
        cfg = setup(args)
        check_launch(device=cfg.MODEL.DEVICE, **places)
    except (ValueError, OSError) as error:
        sys.exit(f"train_net.py: error: {error}")
    try:
        launch(main, device=cfg.MODEL.DEVICE, args=(args, cfg), **places)
    except FAILURES as error:
        sys.exit(f"train_net.py: error: {error}")


if __name__ == "__main__":
    run()
