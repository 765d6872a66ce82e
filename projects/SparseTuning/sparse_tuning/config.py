"""The configuration keys of image classification, on top of those of effowt_d2."""

from detectron2.config import CfgNode as CN

from effowt_d2.engine.key_domains import register_domains
from effowt_d2.utils.domains import Choice, Flag, Integer, ListOf, Real

from .data.views import TEST_CROPS, TRAIN_CROPS
from .features import POOLS

__all__ = ["add_config"]


def add_config(cfg: CN) -> None:
    """Add the keys to a config that has those of effowt_d2, in place; one that has them stays as it is.

    Args:
        cfg: the node that ``effowt_d2.add_effowt_config`` was called with.
    """
    if "CLASSIFIER" in cfg.MODEL:
        return
    cfg.MODEL.CLASSIFIER = CN()
    node = cfg.MODEL.CLASSIFIER
    # classes; 0: as many as the first dataset of DATASETS.TRAIN has
    node.NUM_CLASSES = 0
    # what the head sees: class (the class token) | mean (of the tokens that are left) | auto (class where there is one)
    node.POOL = "auto"
    # True: the embedded image is added once more behind the first quarter of the blocks, as the release does
    node.ADD_EMBEDDING = False
    # True: batch norm without scale and shift before the linear layer
    node.HEAD_NORM = True
    # parts of a label that go to all classes alike
    node.LABEL_SMOOTHING = 0.1
    # parameters of the Beta distributions that mixup and CutMix draw from, one of the two per batch; 0: without
    node.MIXUP = 0.8
    node.CUTMIX = 1.0

    cfg.INPUT.CLASSIFICATION = CN()
    node = cfg.INPUT.CLASSIFICATION
    # side of the square that the tower sees, in pixels
    node.SIZE = 224
    # training: random (a random part of the image, scaled to the square) | squash (the whole image, scaled to it)
    node.TRAIN_CROP = "random"
    # random: fractions of the area that a part has
    node.SCALE = [0.08, 1.0]
    # evaluation: center (the middle of the shorter side) | squash
    node.TEST_CROP = "center"
    # center: fraction of the shorter side that the square covers
    node.TEST_FRACTION = 0.875


register_domains(
    {
        "MODEL.CLASSIFIER.NUM_CLASSES": Integer(0),
        "MODEL.CLASSIFIER.POOL": Choice(POOLS),
        "MODEL.CLASSIFIER.ADD_EMBEDDING": Flag(),
        "MODEL.CLASSIFIER.HEAD_NORM": Flag(),
        "MODEL.CLASSIFIER.LABEL_SMOOTHING": Real(0, 1, open_high=True),
        "MODEL.CLASSIFIER.MIXUP": Real(0),
        "MODEL.CLASSIFIER.CUTMIX": Real(0),
        "INPUT.CLASSIFICATION.SIZE": Integer(1),
        "INPUT.CLASSIFICATION.TRAIN_CROP": Choice(TRAIN_CROPS),
        "INPUT.CLASSIFICATION.SCALE": ListOf(Real(0, 1, open_low=True), 2, 2),
        "INPUT.CLASSIFICATION.TEST_CROP": Choice(TEST_CROPS),
        "INPUT.CLASSIFICATION.TEST_FRACTION": Real(0, 1, open_low=True),
    }
)
