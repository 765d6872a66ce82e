"""Fisher importances of a tower's weights: ``MODEL.SIDE.INIT fisher``."""

import copy
import logging
from collections.abc import Iterable
from itertools import islice

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import Tensor, nn
from tqdm import tqdm

from effowt_d2.modeling.side.initialisation import INITS, Initialisation
from effowt_d2.modeling.tower.tower import Tower
from effowt_d2.utils.arguments import bad_argument

__all__ = ["Fisher"]

logger = logging.getLogger(__name__)


@INITS.register("fisher")
class Fisher(Initialisation):
    """A weight matters by the mean over samples of its squared gradient of the detection losses.

    The gradients are those of a model of the same config whose tower is trained (strategy ``full``, heads as they
    start). That model is thrown away; the given tower and its gradients are not touched.

    Args:
        cfg: config of the model, as Detectron2 builds it.
        fisher_samples: labelled samples that are looked at, at least 1.

    Raises:
        ValueError: no sample is to be looked at.
    """

    needs_samples = True

    def __init__(self, *, cfg: CfgNode, fisher_samples: int = 1024):
        if fisher_samples < 1:
            raise bad_argument("fisher_samples", f"must be at least 1, got {fisher_samples}")
        self.cfg = cfg.clone()
        self.fisher_samples = fisher_samples

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        if not isinstance(cfg, CfgNode):
            raise bad_argument("init", "fisher needs the config of a whole model, which a LazyConfig backbone has not")
        return {"cfg": cfg, "fisher_samples": cfg.MODEL.SIDE.FISHER_SAMPLES}

    def importances(self, tower, taps, samples=None):
        """See :meth:`Initialisation.importances`.

        Raises:
            ValueError: there is no sample.
        """
        looked_at = tqdm(
            islice(samples or (), self.fisher_samples), "Fisher importances", self.fisher_samples, unit="sample"
        )
        means = _mean_squared_gradients(self._probe(tower), looked_at)
        # a tower of importances says by itself which belongs to which role
        mirror = copy.deepcopy(tower)
        with torch.no_grad():
            for name, parameter in mirror.trunk.named_parameters():
                parameter.copy_(means[name])
        return {tap: mirror.block_weights(tap).map(torch.clone) for tap in taps}

    def _probe(self, tower: Tower) -> nn.Module:
        cfg = self.cfg.clone()
        cfg.defrost()
        cfg.MODEL.TRANSFER.STRATEGY, cfg.MODEL.TRANSFER.NECK, cfg.MODEL.PEFT.METHOD = "full", "", ""
        cfg.MODEL.VLM.PRECISION = "float32"
        probe = build_model(cfg).train()
        probe.backbone.tower.trunk.load_state_dict(tower.trunk.state_dict())
        return probe


def _mean_squared_gradients(model: nn.Module, samples: Iterable[dict]) -> dict[str, Tensor]:
    """Of the parameters of the tower's trunk, by name."""
    trunk = model.backbone.tower.trunk
    total = {name: torch.zeros_like(p) for name, p in trunk.named_parameters()}
    seen = 0
    with EventStorage():
        for sample in samples:
            model.zero_grad(set_to_none=True)
            sum(model([sample]).values()).backward()
            for name, parameter in trunk.named_parameters():
                if parameter.grad is not None:
                    total[name] += parameter.grad.square()
            seen += 1
    if not seen:
        raise ValueError("init fisher (MODEL.SIDE.INIT) needs labelled samples; DATASETS.TRAIN gave none")
    logger.info("Fisher importances of the tower's weights from %d samples", seen)
    return {name: value / seen for name, value in total.items()}
