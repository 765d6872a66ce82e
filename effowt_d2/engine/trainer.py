"""The trainer: Detectron2's default one, on two-view batches, resumable to the bit, and on CPUs too."""

import logging
import weakref
from collections.abc import Iterable

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, HookBase, TrainerBase
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.data import build_train_loader, build_video_test_loader
from effowt_d2.data.loaders import TrainLoader

from .checks import check_test_datasets
from .evaluators import build_evaluator
from .fisher import prune_by_fisher
from .optimizer import build_optimizer
from .parameter_report import count_parameters, format_parameters
from .step import Precision, StepTrainer

__all__ = ["OpenWorldTrainer"]

logger = logging.getLogger(__name__)


class OpenWorldTrainer(DefaultTrainer):
    """Trains and evaluates an open-world tracker; everything that needs checking is checked before it starts.

    Args:
        cfg: the config; with ``SEED`` 0 or more, a run on the same machine can be repeated and resumed to the
            bit on a CPU.
    """

    def __init__(self, cfg: CfgNode):
        # DefaultTrainer's own constructor places models on GPUs only
        TrainerBase.__init__(self)
        cfg = DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size())
        check_test_datasets(cfg)
        data_loader = self.build_train_loader(cfg)
        model = self.build_model(cfg)
        _prune_by_fisher_if_asked(cfg, model, data_loader)
        optimizer = self.build_optimizer(cfg, model)
        logger.info(format_parameters(count_parameters(model)))
        device = next(model.parameters()).device.type
        model = _distributed(model, device)
        self._trainer = StepTrainer(
            model,
            data_loader,
            optimizer,
            precision=Precision(device, cfg.SOLVER.AMP.DTYPE if cfg.SOLVER.AMP.ENABLED else None),
            clip=cfg.SOLVER.CLIP_GRADIENTS,
        )
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = EffOWTCheckpointer(
            model,
            cfg.OUTPUT_DIR,
            config=cfg.dump(),
            unsafe_pickle=cfg.MODEL.UNSAFE_PICKLE,
            trainer=weakref.proxy(self),
        )
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.cfg = cfg
        self.register_hooks(self.build_hooks())

    def build_hooks(self) -> list[HookBase | None]:
        """Detectron2's hooks, and before them the one that makes every step's randomness its own."""
        seed = [StepSeed(self.cfg.SEED)] if self.cfg.SEED >= 0 else []
        return seed + super().build_hooks()

    def resume_or_load(self, resume: bool = True) -> None:
        """Go on from the last checkpoint in ``OUTPUT_DIR``, or begin with ``MODEL.WEIGHTS``.

        Args:
            resume: whether to go on, where there is a checkpoint.
        """
        super().resume_or_load(resume)
        if isinstance(self.data_loader, TrainLoader):
            self.data_loader.batches.start = self.start_iter

    def state_dict(self) -> dict:
        # stated here, as Detectron2 v0.6 leaves the optimizer out
        return {**TrainerBase.state_dict(self), "_trainer": self._trainer.state_dict()}

    def load_state_dict(self, state_dict: dict) -> None:
        TrainerBase.load_state_dict(self, state_dict)
        self._trainer.load_state_dict(state_dict["_trainer"])

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """See :func:`effowt_d2.engine.optimizer.build_optimizer`."""
        return build_optimizer(cfg, model)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Iterable[list[dict]]:
        """See :func:`effowt_d2.data.build_train_loader`."""
        return build_train_loader(cfg)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Iterable[list[dict]]:
        """See :func:`effowt_d2.data.build_video_test_loader`."""
        return build_video_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        """See :func:`effowt_d2.engine.evaluators.build_evaluator`."""
        return build_evaluator(cfg, dataset_name)


class StepSeed(HookBase):
    """Seeds torch before every step from the run's seed, the iteration and the process, so that a resumed run
    draws what an uninterrupted one would.

    Args:
        seed: the run's seed, 0 or more.
    """

    def __init__(self, seed: int):
        self.seed = seed

    def before_step(self) -> None:
        numbers = np.random.SeedSequence([self.seed, self.trainer.iter, comm.get_rank()])
        torch.manual_seed(int(numbers.generate_state(1, np.uint32)[0]))


def _prune_by_fisher_if_asked(cfg: CfgNode, model: nn.Module, data_loader: Iterable[list[dict]]) -> None:
    # weights that are loaded later would replace what is cut here
    if cfg.MODEL.TRANSFER.STRATEGY == "side" and cfg.MODEL.SIDE.INIT == "fisher" and not cfg.MODEL.WEIGHTS:
        prune_by_fisher(cfg, model, (sample for batch in data_loader for sample in batch))


def _distributed(model: nn.Module, device: str) -> nn.Module:
    if comm.get_world_size() == 1:
        return model
    device_ids = [comm.get_local_rank()] if device == "cuda" else None
    return DistributedDataParallel(model, device_ids=device_ids, broadcast_buffers=False)
