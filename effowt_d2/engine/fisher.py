"""Fisher importances of a tower's weights, for ``MODEL.SIDE.INIT fisher``."""

import copy
import logging
from collections.abc import Iterable
from itertools import islice

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import nn
from tqdm import tqdm

__all__ = ["prune_by_fisher"]

logger = logging.getLogger(__name__)


def prune_by_fisher(cfg: CfgNode, model: nn.Module, samples: Iterable[dict]) -> None:
    """Start the side network as the slice of the tower that matters most to the detection losses.

    The importance of a weight is the mean over samples of its squared gradient, in a model of the same config whose
    tower is trained (``zero_shot`` heads on it, as they start). That model is thrown away; the given one's tower and
    gradients are not touched.

    Args:
        cfg: config of the model.
        model: a model whose backbone has the strategy ``side``.
        samples: labelled training samples, of which ``MODEL.SIDE.FISHER_SAMPLES`` are taken.

    Raises:
        ValueError: there is no sample.
    """
    wanted = cfg.MODEL.SIDE.FISHER_SAMPLES
    if wanted < 1:
        raise ValueError(f"MODEL.SIDE.FISHER_SAMPLES is {wanted}; MODEL.SIDE.INIT fisher needs at least 1")
    backbone = model.backbone
    probe = _probe(cfg, backbone.tower)
    total = {name: torch.zeros_like(p) for name, p in probe.backbone.tower.named_parameters()}
    seen = 0
    with EventStorage():
        for sample in tqdm(islice(samples, wanted), total=wanted, desc="Fisher importances", unit="sample"):
            probe.zero_grad(set_to_none=True)
            sum(probe([sample]).values()).backward()
            for name, parameter in probe.backbone.tower.named_parameters():
                if parameter.grad is not None:
                    total[name] += parameter.grad.square()
            seen += 1
    if not seen:
        raise ValueError("MODEL.SIDE.INIT fisher needs labelled samples; DATASETS.TRAIN gave none")
    # a tower of importances says by itself which belongs to which role
    importances = copy.deepcopy(backbone.tower)
    with torch.no_grad():
        for name, parameter in importances.named_parameters():
            parameter.copy_(total[name] / seen)
    taps = backbone.strategy.taps
    backbone.strategy.prune(backbone.tower, {t: importances.block_weights(t).map(torch.clone) for t in taps})
    logger.info("side network cut from the tower by Fisher importances of %d samples", seen)


def _probe(cfg: CfgNode, tower: nn.Module) -> nn.Module:
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.TRANSFER.STRATEGY = "full"
    cfg.MODEL.VLM.PRECISION = "float32"
    probe = build_model(cfg).train()
    probe.backbone.tower.load_state_dict(tower.state_dict())
    return probe
