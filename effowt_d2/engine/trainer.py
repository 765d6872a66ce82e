"""Detectron2's default trainer on two-view batches, with bit-exact resuming, also on CPUs."""

import logging
import os
import weakref
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, HookBase, TrainerBase, hooks
from detectron2.evaluation import DatasetEvaluator, inference_context
from detectron2.utils import comm
from detectron2.utils.events import EventWriter
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from effowt_d2.analysis import count_parameters, format_parameters
from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.data import build_train_loader, build_video_test_loader
from effowt_d2.data.loaders import TrainLoader
from effowt_d2.modeling.meta_arch import RunningVideo
from effowt_d2.utils.arguments import config_keys

from .data_checks import check_test_datasets
from .ema import AveragingCheckpointer, ParameterAverage, restore_parameters
from .evaluators import build_evaluator
from .failures import cut_half_line
from .optimizer import build_optimizer, keep_settings
from .schedulers import build_lr_scheduler
from .settings import check_settings
from .step import StepTrainer, inference_autocast, training_precision

__all__ = ["OpenWorldTrainer"]

logger = logging.getLogger(__name__)


class OpenWorldTrainer(DefaultTrainer):
    """Trains and evaluates an open-world tracker; everything that needs checking is checked before it starts.

    Args:
        cfg: the config; with ``SEED`` 0 or more, a run on the same machine can be repeated and resumed to the
            bit on a CPU.

    Attributes:
        average: moving average of the trained parameters, which evaluation and checkpoints use; None without
            ``SOLVER.EMA.DECAY``.
    """

    def __init__(self, cfg: CfgNode):
        # DefaultTrainer's own constructor places models on GPUs only
        TrainerBase.__init__(self)
        check_settings(cfg)
        cfg = DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size())
        check_test_datasets(cfg)
        data_loader = self.build_train_loader(cfg)
        model = self.build_model(cfg)
        _initialise_from_samples(cfg, model, data_loader)
        optimizer = self.build_optimizer(cfg, model)
        logger.info(format_parameters(count_parameters(model)))
        device = next(model.parameters()).device.type
        with config_keys("SOLVER.EMA"):
            self.average = ParameterAverage(model, cfg.SOLVER.EMA.DECAY) if cfg.SOLVER.EMA.DECAY else None
        model = _distributed(model, device)
        with config_keys("SOLVER"):
            self._trainer = StepTrainer(
                model,
                data_loader,
                optimizer,
                precision=training_precision(cfg, device),
                clip=cfg.SOLVER.CLIP_GRADIENTS,
                accumulate=cfg.SOLVER.ACCUMULATE,
            )
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = self._build_checkpointer(cfg, model)
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.cfg = cfg
        self.register_hooks(self.build_hooks())

    def _build_checkpointer(self, cfg: CfgNode, model: nn.Module) -> EffOWTCheckpointer:
        arguments = {
            "config": cfg.dump(),
            "unsafe_pickle": cfg.MODEL.UNSAFE_PICKLE,
            "partial": cfg.MODEL.PARTIAL,
            "trainer": weakref.proxy(self),
        }
        if self.average is None:
            return EffOWTCheckpointer(model, cfg.OUTPUT_DIR, **arguments)
        return AveragingCheckpointer(model, cfg.OUTPUT_DIR, average=self.average, **arguments)

    def build_hooks(self) -> list[HookBase | None]:
        """Detectron2's hooks, evaluating the averaged weights, and before them the one that makes every step's
        randomness its own."""
        seed = [StepSeed(self.cfg.SEED)] if self.cfg.SEED >= 0 else []
        evaluation = hooks.EvalHook(self.cfg.TEST.EVAL_PERIOD, self._evaluate)
        return seed + [evaluation if isinstance(h, hooks.EvalHook) else h for h in super().build_hooks()]

    def build_writers(self) -> list[EventWriter]:
        """Detectron2's writers, of which one goes on with the file of a run before."""
        cut_half_line(os.path.join(self.cfg.OUTPUT_DIR, "metrics.json"))
        return super().build_writers()

    def _evaluate(self) -> dict:
        with self.averaged():
            self._last_eval_results = self.test(self.cfg, self.model)
        return self._last_eval_results

    def averaged(self) -> AbstractContextManager:
        """Within, the model holds the averaged weights, if there is an average."""
        return nullcontext() if self.average is None else self.average.applied()

    def run_step(self) -> None:
        super().run_step()
        if self.average is not None:
            self.average.update()

    def resume_or_load(self, resume: bool = True) -> None:
        """Go on from the last checkpoint in ``OUTPUT_DIR``, or begin with ``MODEL.WEIGHTS``.

        Args:
            resume: whether to go on, where there is a checkpoint.

        Raises:
            ValueError: the processes begin at different iterations, as machines that don't share the folder do.
        """
        super().resume_or_load(resume)
        starts = comm.all_gather(self.start_iter)
        if len(set(starts)) > 1:
            raise ValueError(
                f"the processes would begin at the iterations {starts} (in their order): OUTPUT_DIR "
                f"{self.cfg.OUTPUT_DIR} must be one folder that all machines share"
            )
        if self.average is not None and not self.start_iter:
            self.average.restart()
        if isinstance(self.data_loader, TrainLoader):
            self.data_loader.batches.start = self.start_iter * self.cfg.SOLVER.ACCUMULATE

    def train(self) -> dict | None:
        """Train to the end, evaluate, and leave ``model_final.pth``."""
        if 0 < self.max_iter <= self.start_iter:
            # the run before ended between its last step and its last file, or that file was damaged
            self.checkpointer.save("model_final", iteration=self.start_iter - 1)
        return super().train()

    def state_dict(self) -> dict:
        # stated here, as Detectron2 v0.6 leaves the optimizer out
        state = {**TrainerBase.state_dict(self), "_trainer": self._trainer.state_dict()}
        return state if self.average is None else {**state, "average": self.average.state_dict()}

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on from a checkpoint whose model has been loaded.

        Training always goes on from the weights as trained. One written without an average starts it there. Learning
        rates and the optimizer's other settings are those of the config.
        """
        average = state_dict.get("average")
        if average is None and self.average is not None:
            logger.info("the checkpoint holds no average (SOLVER.EMA): it starts from the checkpoint's weights")
            self.average.restart()
        elif average is not None and self.average is not None:
            self.average.load_state_dict(average)
        elif average is not None:
            logger.info("SOLVER.EMA.DECAY is 0: the checkpoint's average is dropped, its weights as trained go on")
            restore_parameters(self.checkpointer.model, average)
        with keep_settings(self.optimizer, self.scheduler):
            TrainerBase.load_state_dict(self, state_dict)
            self._trainer.load_state_dict(state_dict["_trainer"])

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """See :func:`effowt_d2.engine.optimizer.build_optimizer`."""
        return build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(cls, cfg: CfgNode, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """See :func:`effowt_d2.engine.schedulers.build_lr_scheduler`."""
        return build_lr_scheduler(cfg, optimizer)

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

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators: list[DatasetEvaluator] | None = None) -> dict:
        """Evaluate a model as it is on every ``DATASETS.TEST``, in ``TEST.PRECISION``.

        Args:
            evaluators: one per dataset, in place of :meth:`build_evaluator`'s.

        Returns:
            Metrics by task, below the dataset's name if there are several.
        """
        with inference_autocast(cfg), inference_context(model):
            return super().test(cfg, RunningVideo(model), evaluators)


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


def _initialise_from_samples(cfg: CfgNode, model: nn.Module, data_loader: Iterable[list[dict]]) -> None:
    backbone = getattr(model, "backbone", None)
    # weights that are loaded later would replace these
    if getattr(backbone, "needs_samples", False) and not cfg.MODEL.WEIGHTS:
        backbone.initialise(sample for batch in data_loader for sample in batch)


def _distributed(model: nn.Module, device: str) -> nn.Module:
    if comm.get_world_size() == 1:
        return model
    device_ids = [comm.get_local_rank()] if device == "cuda" else None
    return DistributedDataParallel(model, device_ids=device_ids, broadcast_buffers=False)
