"""The configuration keys of single-object tracking, on top of those of effowt_d2."""

from detectron2.config import CfgNode as CN

from effowt_d2.engine.key_domains import register_domains
from effowt_d2.utils.domains import Choice, Flag, Integer, ListOf, Real, Text
from sot.centre_loss import RADII
from sot.data.sampling import ORDERS, SAMPLERS
from sot.evaluation.conventions import CONVENTIONS
from sot.square_crop import CROPS

__all__ = ["add_centre_config", "add_config"]


def add_config(cfg: CN) -> None:
    """Add the keys to a config that has those of effowt_d2, in place; one that has them stays as it is.

    Args:
        cfg: the node that ``effowt_d2.add_effowt_config`` was called with.
    """
    if "SOT" in cfg.TEST:
        return
    cfg.MODEL.SOT = CN()
    # fraction of the window in the choice of a cell; 0: the score alone
    cfg.MODEL.SOT.WINDOW_WEIGHT = 0.45
    # standard deviation of the types of tokens at the start; a tower with large patch tokens hardly sees small ones
    cfg.MODEL.SOT.TYPE_STD = 0.02
    # weight of the loss of the boxes
    cfg.MODEL.SOT.BOX_WEIGHT = 1.0
    # with META_ARCHITECTURE BridgedTracker: a tracker that follows objects through frames in which the detector misses them:
    # its config file ("": none), and its checkpoint ("": the one that the config names)
    cfg.MODEL.SOT.BRIDGE = CN()
    cfg.MODEL.SOT.BRIDGE.CONFIG = ""
    cfg.MODEL.SOT.BRIDGE.WEIGHTS = ""
    # frames in a row that a track is followed, the least score of the follower, and of the detection before
    cfg.MODEL.SOT.BRIDGE.MAX_FRAMES = 5
    cfg.MODEL.SOT.BRIDGE.MIN_SCORE = 0.5
    cfg.MODEL.SOT.BRIDGE.MIN_TRACK_SCORE = 0.3
    # with SOLVER.LR_SCHEDULER_NAME "warmup_cosine_sot": last learning rate over the base rate
    cfg.SOLVER.END_FACTOR = 0.01

    cfg.INPUT.SOT = CN()
    # sides of template and search crops in pixels: multiples of the tower's patch
    cfg.INPUT.SOT.TEMPLATE_SIZE = 112
    cfg.INPUT.SOT.SEARCH_SIZE = 224
    # how crops are cut and search crops moved in training: context (LoRAT, SPMTrack) | square | square_released (AQATrack, EVPTrack)
    cfg.INPUT.SOT.CROP = "context"
    # side of the cropped region over that of a square target
    cfg.INPUT.SOT.TEMPLATE_FACTOR = 2.0
    cfg.INPUT.SOT.SEARCH_FACTOR = 4.0
    # search crops: shorter sides of the last box are raised to it; training crops show at least that much of the target
    cfg.INPUT.SOT.MIN_SIDE = 10.0
    # which frames make a training sample: pair | clip | later, of sot.data.sampling.SAMPLERS
    cfg.INPUT.SOT.SAMPLER = "pair"
    # later: order of the search frames in time, shuffled | sorted
    cfg.INPUT.SOT.CLIP_ORDER = "shuffled"
    # frames between: the two of a pair; the first reference and the others of a clip; template and search frames, with later
    cfg.INPUT.SOT.MAX_GAP = 100
    # clip: frames between references and search frames at most
    cfg.INPUT.SOT.SEARCH_GAP = 400
    # clip: number of references, and with later too of search frames
    cfg.INPUT.SOT.REFERENCES = 3
    cfg.INPUT.SOT.SEARCHES = 2
    # fractions of DATASETS.TRAIN in a batch; empty: equal ones
    cfg.INPUT.SOT.WEIGHTS = []
    # standard deviation of the logarithm of the scales of search crops
    cfg.INPUT.SOT.JITTER_SCALE = 0.25
    # largest shift of search crops, in sides of the target
    cfg.INPUT.SOT.JITTER_SHIFT = 3.0
    # flips, colours and effects on training crops
    cfg.INPUT.SOT.AUGMENT = True

    cfg.TEST.SOT = CN()
    # how one-pass evaluation counts: pytracking | valid_only | got10k | trackingnet; auto: as the dataset's tables do
    cfg.TEST.SOT.CONVENTION = "auto"
    # draw success and precision plots
    cfg.TEST.SOT.PLOTS = True


def add_centre_config(cfg: CN) -> None:
    """Add, besides those of :func:`add_config`, the keys of trackers with a centre head."""
    add_config(cfg)
    if "CENTRE_HEAD" in cfg.MODEL:
        return
    # standard deviation at the start of types of tokens as LoRAT has them, for a frozen tower; 0: none, as in the releases
    cfg.MODEL.SOT.CROP_TYPE_STD = 0.0
    cfg.MODEL.CENTRE_HEAD = CN()
    # 3: scores, offsets and sizes; 2: scores and boxes
    cfg.MODEL.CENTRE_HEAD.TOWERS = 3
    # channels behind the first convolution of a tower
    cfg.MODEL.CENTRE_HEAD.WIDTH = 256
    # weights of the losses of the boxes; that of the scores is 1
    cfg.MODEL.CENTRE_HEAD.GIOU_WEIGHT = 2.0
    cfg.MODEL.CENTRE_HEAD.L1_WEIGHT = 5.0
    # reach of the heat map: released | exact, of sot.centre_loss.RADII
    cfg.MODEL.CENTRE_HEAD.RADIUS = "released"


register_domains(
    {
        "MODEL.CENTRE_HEAD.TOWERS": Integer(2, 3),
        "MODEL.CENTRE_HEAD.WIDTH": Integer(8),
        "MODEL.CENTRE_HEAD.GIOU_WEIGHT": Real(0),
        "MODEL.CENTRE_HEAD.L1_WEIGHT": Real(0),
        "MODEL.CENTRE_HEAD.RADIUS": Choice(tuple(RADII)),
        "MODEL.SOT.WINDOW_WEIGHT": Real(0, 1),
        "MODEL.SOT.BOX_WEIGHT": Real(0),
        "MODEL.SOT.TYPE_STD": Real(0, open_low=True),
        "MODEL.SOT.CROP_TYPE_STD": Real(0),
        "MODEL.SOT.BRIDGE.CONFIG": Text(),
        "MODEL.SOT.BRIDGE.WEIGHTS": Text(),
        "MODEL.SOT.BRIDGE.MAX_FRAMES": Integer(1),
        "MODEL.SOT.BRIDGE.MIN_SCORE": Real(0, 1),
        "MODEL.SOT.BRIDGE.MIN_TRACK_SCORE": Real(0, 1),
        "SOLVER.END_FACTOR": Real(0, 1),
        "INPUT.SOT.TEMPLATE_SIZE": Integer(1),
        "INPUT.SOT.SEARCH_SIZE": Integer(1),
        "INPUT.SOT.TEMPLATE_FACTOR": Real(1),
        "INPUT.SOT.SEARCH_FACTOR": Real(1),
        "INPUT.SOT.MIN_SIDE": Real(0),
        "INPUT.SOT.SAMPLER": Choice(SAMPLERS.names),
        "INPUT.SOT.CROP": Choice(CROPS),
        "INPUT.SOT.CLIP_ORDER": Choice(ORDERS),
        "INPUT.SOT.MAX_GAP": Integer(0),
        "INPUT.SOT.SEARCH_GAP": Integer(1),
        "INPUT.SOT.REFERENCES": Integer(1),
        "INPUT.SOT.SEARCHES": Integer(1),
        "INPUT.SOT.WEIGHTS": ListOf(Real(0)),
        "INPUT.SOT.JITTER_SCALE": Real(0),
        "INPUT.SOT.JITTER_SHIFT": Real(0),
        "INPUT.SOT.AUGMENT": Flag(),
        "TEST.SOT.CONVENTION": Choice(lambda: ["auto", *CONVENTIONS.names()]),
        "TEST.SOT.PLOTS": Flag(),
    }
)
