"""The meta-architecture ``ImageClassifier``: a tower, and a linear layer on what it pools.

Shapes: B images or clips, T frames of a clip, C channels of the tower, K classes, S the side of an image in pixels.
"""

import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor, nn

from effowt_d2.modeling.tokens import reduction_from_config
from effowt_d2.modeling.transfer.towers import tower_from_config
from effowt_d2.utils.arguments import bad_argument, config_keys
from effowt_d2.utils.checks import check_choice, check_count, check_number

from .data.catalog import classes_of
from .data.views import test_view
from .features import PooledTower
from .mixing import Mixing

__all__ = ["ClassifierHead", "ImageClassifier", "number_of_classes"]


class ClassifierHead(nn.Sequential):
    """(B, C) to logits (B, K).

    Args:
        channels: C.
        classes: K.
        norm: batch norm without scale and shift comes first.
    """

    def __init__(self, channels: int, classes: int, *, norm: bool = True):
        linear = nn.Linear(channels, check_count("num_classes", classes, 2))
        nn.init.trunc_normal_(linear.weight, std=0.01)
        nn.init.zeros_(linear.bias)
        super().__init__(*([nn.BatchNorm1d(channels, affine=False, eps=1e-6)] if norm else []), linear)


@META_ARCH_REGISTRY.register()
class ImageClassifier(nn.Module):
    """Classifies images, and clips by the mean of their frames' features.

    Args:
        backbone: images to vectors.
        head: vectors to logits.
        view: from an image (3, H, W) of any size to the square that the backbone sees.
        mixing: of training batches.
        label_smoothing: part of a label that goes to all classes alike.
        input_format: order of the images' channels, ``BGR`` or ``RGB``.
    """

    @configurable
    def __init__(
        self,
        *,
        backbone: PooledTower,
        head: ClassifierHead,
        view: Callable[[Tensor], Tensor],
        mixing: Mixing,
        label_smoothing: float = 0.1,
        input_format: str = "RGB",
    ):
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.view = view
        self.mixing = mixing
        self.label_smoothing = check_number("label_smoothing", label_smoothing, 0, 1)
        self.input_format = check_choice("input_format", input_format, ("BGR", "RGB"))

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        node, pixels = cfg.MODEL.CLASSIFIER, cfg.INPUT.CLASSIFICATION
        tower = tower_from_config(cfg)
        factors = {name: getattr(cfg.SOLVER, name.upper()) for name in ("tower_lr_factor", "peft_lr_factor")}
        keys = {name: f"SOLVER.{name.upper()}" for name in factors}
        reduction = reduction_from_config(cfg, tower)
        with config_keys("MODEL.CLASSIFIER", size="INPUT.CLASSIFICATION.SIZE", **keys):
            backbone = PooledTower(
                tower=tower,
                reduction=reduction,
                pool=node.POOL,
                size=pixels.SIZE,
                add_embedding=node.ADD_EMBEDDING,
                **factors,
            )
            head = ClassifierHead(backbone.channels, number_of_classes(cfg), norm=node.HEAD_NORM)
            mixing = Mixing(head[-1].out_features, mixup=node.MIXUP, cutmix=node.CUTMIX)
        return {
            "backbone": backbone,
            "head": head,
            "view": test_view(pixels.SIZE, crop=pixels.TEST_CROP, fraction=pixels.TEST_FRACTION),
            "mixing": mixing,
            "label_smoothing": node.LABEL_SMOOTHING,
            "input_format": cfg.INPUT.FORMAT,
        }

    @property
    def device(self) -> torch.device:
        return self.backbone.mean.device

    def logits(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) RGB in 0..255, or clips (B, T, 3, S, S), to (B, K)."""
        features = self.backbone(images.flatten(0, -4))
        return self.head(features if images.ndim == 4 else features.unflatten(0, images.shape[:2]).mean(1))

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict]:
        """
        Args:
            batched_inputs: dicts with ``image``. In training (3, S, S) or (T, 3, S, S), with ``label``; otherwise
                (3, H, W), uint8, in ``input_format``.

        Returns:
            In training ``loss_cls``; otherwise per image its ``logits`` (K,) float32 on the CPU, and the ``seconds`` that
            it took, a fraction of its batch.
        """
        if self.training:
            return {"loss_cls": self.loss(batched_inputs)}
        images = torch.stack([self.view(x["image"]) for x in batched_inputs])
        begin = time.perf_counter()
        # on a GPU the copy waits for the result
        logits = self.logits(self._rgb(images.to(self.device))).float().cpu()
        seconds = (time.perf_counter() - begin) / len(images)
        return [{"logits": row, "seconds": seconds} for row in logits]

    def loss(self, samples: Sequence[dict]) -> Tensor:
        """Cross-entropy of a batch with soft labels.

        Raises:
            ValueError: a batch of one, which batch norm cannot be trained on.
        """
        if len(samples) < 2 and any(isinstance(part, nn.BatchNorm1d) for part in self.head):
            raise bad_argument(
                "SOLVER.IMS_PER_BATCH", "gives a process 1 image, and MODEL.CLASSIFIER.HEAD_NORM True needs 2 at least"
            )
        images = self._rgb(torch.stack([x["image"] for x in samples]).to(self.device))
        labels = torch.tensor([x["label"] for x in samples], device=self.device)
        images, targets = self.mixing(images.float(), labels)
        return F.cross_entropy(self.logits(images).float(), targets, label_smoothing=self.label_smoothing)

    def _rgb(self, images: Tensor) -> Tensor:
        return images.flip(-3) if self.input_format == "BGR" else images


def number_of_classes(cfg: CfgNode) -> int:
    """That of the config, else of the first training dataset.

    Raises:
        ValueError, FileNotFoundError: neither is there; names the key.
    """
    if cfg.MODEL.CLASSIFIER.NUM_CLASSES:
        return cfg.MODEL.CLASSIFIER.NUM_CLASSES
    names = cfg.DATASETS.TRAIN or cfg.DATASETS.TEST
    if not names:
        raise ValueError("MODEL.CLASSIFIER.NUM_CLASSES is 0, and DATASETS.TRAIN names no dataset that would say it")
    try:
        return len(classes_of(names[0]))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; MODEL.CLASSIFIER.NUM_CLASSES can say how many classes it has") from None
