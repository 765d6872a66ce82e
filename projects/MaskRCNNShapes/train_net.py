#!/usr/bin/env python
"""Train and evaluate Detectron2's Mask R-CNN on our backbone.

    python train_net.py --config-file configs/mask_rcnn_shapes_clip_s16.yaml [--resume] [KEY VALUE ...]
    python train_net.py --config-file F --eval-only MODEL.WEIGHTS output/mask_rcnn_shapes/model_final.pth

All but the backbone, the optimizer and the small checkpoints is stock Detectron2.
"""

import argparse
import os
import weakref

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import DefaultTrainer, default_argument_parser
from detectron2.evaluation import COCOEvaluator

from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.engine import build_optimizer, launch, make_config, setup_run

EVERY = 4
"""Of the val videos' frames every fourth is evaluated: neighbours differ little."""


def register_masks(videos: str) -> None:
    """Register ``{videos}_masks``: frames of a video dataset as still images, all objects of one class.

    It names no COCO file, so Detectron2's evaluator writes one from the records.
    """
    DatasetCatalog.register(f"{videos}_masks", lambda: DatasetCatalog.get(videos)[::EVERY])
    MetadataCatalog.get(f"{videos}_masks").set(thing_classes=["object"])


class Trainer(DefaultTrainer):
    """Detectron2's trainer with checkpoints that leave the frozen tower out."""

    def build_hooks(self) -> list:
        # here and not in the constructor, because the hooks that it makes keep the checkpointer
        self.checkpointer = EffOWTCheckpointer(
            self._trainer.model,
            self.cfg.OUTPUT_DIR,
            config=self.cfg.dump(),
            unsafe_pickle=self.cfg.MODEL.UNSAFE_PICKLE,
            trainer=weakref.proxy(self),
        )
        return super().build_hooks()

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: torch.nn.Module) -> torch.optim.Optimizer:
        return build_optimizer(cfg, model)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> COCOEvaluator:
        # the fast implementation is compiled, and not every Detectron2 has it
        folder = os.path.join(cfg.OUTPUT_DIR, "inference")
        return COCOEvaluator(dataset_name, output_dir=folder, use_fast_impl=False)


def setup(args: argparse.Namespace) -> CfgNode:
    """The config of the file with the command line's keys on top."""
    cfg = make_config(args.config_file, args.opts)
    cfg.freeze()
    return cfg


def main(args: argparse.Namespace, cfg: CfgNode) -> dict | None:
    """Run in every process."""
    register_masks("shapes_ow_val")
    setup_run(cfg, args)
    if not args.eval_only:
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=args.resume)
        return trainer.train()
    model = Trainer.build_model(cfg)
    checkpointer = EffOWTCheckpointer(model, cfg.OUTPUT_DIR, unsafe_pickle=cfg.MODEL.UNSAFE_PICKLE)
    checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
    return Trainer.test(cfg, model)


if __name__ == "__main__":
    arguments = default_argument_parser(epilog=__doc__).parse_args()
    config = setup(arguments)
    launch(
        main,
        num_processes=arguments.num_gpus,
        num_machines=arguments.num_machines,
        machine_rank=arguments.machine_rank,
        dist_url=arguments.dist_url,
        device=config.MODEL.DEVICE,
        args=(arguments, config),
    )
