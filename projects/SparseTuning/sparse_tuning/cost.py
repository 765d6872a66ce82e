"""What a classifier costs: multiply-adds of an image, and bytes of a training step, counted."""

from collections.abc import Sequence

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn

from effowt_d2.analysis import count_call, count_saved_bytes, training_memory

__all__ = ["count_macs", "count_training_bytes", "made_up_images", "without_values"]


def without_values(cfg: CfgNode, classes: int) -> nn.Module:
    """The model of a config on the meta device, whatever its weights and datasets."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE, cfg.MODEL.CLASSIFIER.NUM_CLASSES = "meta", classes
    with torch.device("meta"):
        return build_model(cfg)


def count_macs(cfg: CfgNode, classes: int) -> int:
    """Multiply-adds of one image in inference, attention products included, norms and activations not."""
    model = without_values(cfg, classes)
    size = model.backbone.size
    return count_call(model, lambda copy: copy.logits(torch.zeros(1, 3, size, size)))


def count_training_bytes(cfg: CfgNode, model: nn.Module, images: int) -> dict[str, int]:
    """Weights, gradients, optimizer state, and what autograd saves of a step on so many images.

    Args:
        cfg: of the training.
        model: built from it, on a device with real tensors; its mode is left as it is.
        images: in the batch.

    Returns:
        See :func:`effowt_d2.analysis.training_memory`.
    """
    was_training, size = model.training, model.backbone.size
    model.train()
    with torch.random.fork_rng():
        saved = count_saved_bytes(model, made_up_images(images, size))
    model.train(was_training)
    return training_memory(cfg, model, saved)


def made_up_images(images: int, size: int, seed: int = 0) -> Sequence[dict]:
    """Training samples of noise, (3, size, size), all of class 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    return [
        {"image": torch.randint(0, 256, (3, size, size), generator=generator, dtype=torch.uint8), "label": number % 2}
        for number in range(images)
    ]
