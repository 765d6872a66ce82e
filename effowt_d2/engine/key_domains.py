"""The domain of every configuration key."""

from collections.abc import Mapping

from effowt_d2.data.loaders import LOADERS
from effowt_d2.data.mappers import MAPPERS
from effowt_d2.evaluation.groups import SUBSETS
from effowt_d2.modeling.layers.levels import LEVELS
from effowt_d2.modeling.peft.dense_adapter import VARIANTS
from effowt_d2.modeling.peft.lora import INITS as PEFT_INITS
from effowt_d2.modeling.peft.lora import SCALE_RULES
from effowt_d2.modeling.peft.methods import METHODS
from effowt_d2.modeling.roi_heads.open_world_heads import SCORES
from effowt_d2.modeling.roi_heads.reid_loss import CONTRASTIVE_LOSSES
from effowt_d2.modeling.side.fusion import FUSIONS
from effowt_d2.modeling.side.gate import GATES
from effowt_d2.modeling.side.initialisation import INITS
from effowt_d2.modeling.side.layout import STRIDES, TAP_SHARINGS
from effowt_d2.modeling.side.mixers import AXES, MIXERS
from effowt_d2.modeling.side.sparse_interaction import INTERACTIONS
from effowt_d2.modeling.side.topology import TOPOLOGIES
from effowt_d2.modeling.tokens.kinds import NONE, REBUILDS, REDUCTIONS, SCORE_SOURCES
from effowt_d2.modeling.tower.precision import PRECISIONS
from effowt_d2.modeling.tower.sites import ROLES
from effowt_d2.modeling.transfer.side import TAP_INITS
from effowt_d2.modeling.transfer.strategy import STRATEGIES, preset_names
from effowt_d2.tracking.assignment import ASSIGNMENTS
from effowt_d2.tracking.motion import MOTIONS
from effowt_d2.tracking.presets import PRESETS
from effowt_d2.tracking.similarity import APPEARANCES
from effowt_d2.utils.domains import Choice, Domain, Flag, Integer, ListOf, OneOf, Real, Text
from effowt_d2.video.best_views import MOST_VIEWS

__all__ = ["DOMAINS", "register_domains"]

_COUNT, _SIZE = Integer(0), Integer(1)
_FRACTION, _FACTOR, _POSITIVE = Real(0, 1), Real(0), Real(0, open_low=True)
_NAME = Text(empty=False)
_CLASSES = ListOf(OneOf(_COUNT, _NAME))
_PRECISION = Choice(tuple(PRECISIONS))
_SCALES = len(STRIDES)

_MODEL = {
    "VLM.NAME": _NAME,
    "VLM.WEIGHTS": Text(),
    "VLM.ALLOW_RANDOM": Flag(),
    "VLM.CANVAS": _COUNT,
    "VLM.WINDOW": _COUNT,
    "VLM.GLOBAL_BLOCKS": ListOf(_COUNT),
    "VLM.PRECISION": _PRECISION,
    "VLM.COMPILE": Text(),
    "VLM.STRIDE": _SIZE,
    "VLM.DROP_PATH": Real(0, 1, open_high=True),
    "VLM.DROP_RELATIVE_POSITIONS": Flag(),
    "UNSAFE_PICKLE": Flag(),
    "PARTIAL": Flag(),
    "TRANSFER.STRATEGY": Choice(preset_names),
    "TRANSFER.NECK": Choice(lambda: ["", *STRATEGIES.names()]),
    "TRANSFER.OUT_CHANNELS": _SIZE,
    "TRANSFER.LEVELS": ListOf(Choice(tuple(LEVELS)), 1),
    "PEFT.METHOD": Choice(lambda: ["", *METHODS.names()]),
    "PEFT.RANK": _SIZE,
    "PEFT.ALPHA": _FACTOR,
    "PEFT.SCALE_RULE": Choice(tuple(SCALE_RULES)),
    "PEFT.DROPOUT": _FRACTION,
    "PEFT.INIT": Choice(PEFT_INITS),
    "PEFT.SITES": ListOf(Choice(ROLES), 1),
    "PEFT.TMOE.NUM_EXPERTS": _SIZE,
    "PEFT.TMOE.ROUTE_COMPRESSION": Flag(),
    "PEFT.TMOE.UNGATED_EXPERT": Flag(),
    "PEFT.ADAPTER.VARIANT": Choice(tuple(VARIANTS)),
    "PEFT.ADAPTER.DIM": _SIZE,
    "PEFT.ADAPTER.SCALE": _FACTOR,
    "TOKENS.REDUCTION": Choice(lambda: (NONE, *REDUCTIONS.names())),
    "TOKENS.BLOCKS": ListOf(_COUNT),
    "TOKENS.KEEP_RATES": ListOf(Real(0, 1, open_low=True), 1),
    "TOKENS.WINDOW": _COUNT,
    "TOKENS.SCORE": Choice(SCORE_SOURCES),
    "TOKENS.FUSE": Flag(),
    "TOKENS.REBUILD": Choice(tuple(REBUILDS)),
    "TOKENS.MERGE_WINDOW": Integer(2),
    "TOKENS.MERGE_THRESHOLD": Real(-1, 1),
    "SIDE.REDUCTION": _SIZE,
    "SIDE.TOPOLOGY": Choice(TOPOLOGIES.names),
    "SIDE.BLOCKS": ListOf(_SIZE, _SCALES, _SCALES),
    "SIDE.MLP_RATIO": ListOf(_SIZE, _SCALES, _SCALES),
    "SIDE.TAPS": ListOf(_COUNT),
    "SIDE.TAP_SHARING": Choice(tuple(TAP_SHARINGS)),
    "SIDE.WINDOWS": ListOf(_COUNT, _SCALES, _SCALES),
    "SIDE.INIT": Choice(INITS.names),
    "SIDE.TAP_INIT": Choice(tuple(TAP_INITS)),
    "SIDE.CHECKPOINT": ListOf(Flag(), _SCALES, _SCALES),
    "SIDE.MAX_FRACTION": _FACTOR,
    "SIDE.GATE.KIND": Choice(GATES.names),
    "SIDE.GATE.TEMPERATURE": _POSITIVE,
    "SIDE.GATE.VALUE": _FRACTION,
    "SIDE.SIM.SCALES": ListOf(OneOf(*(Integer(stride, stride) for stride in STRIDES))),
    "SIDE.SIM.KIND": Choice(MIXERS.names),
    "SIDE.SIM.AXES": ListOf(Choice(tuple(AXES)), 1),
    "SIDE.SIM.RANGE": _SIZE,
    "SIDE.SIM.GROUPS": _SIZE,
    "SIDE.SIM.FUSION": Choice(INTERACTIONS.names),
    "SIDE.FUSION.KIND": Choice(FUSIONS.names),
    "SIDE.FUSION.OUTPUT_CONV": Flag(),
    "REID.DIM": _SIZE,
    "REID.NUM_CONV": _COUNT,
    "REID.CONV_DIM": _SIZE,
    "REID.NUM_GROUPS": _SIZE,
    "REID.FC_DIM": _SIZE,
    "REID.POOLER_RESOLUTION": _SIZE,
    "REID.BATCH_SIZE_PER_IMAGE": _SIZE,
    "REID.POSITIVE_FRACTION": _FRACTION,
    "REID.NEGATIVES_PER_POSITIVE": _FACTOR,
    "REID.POSITIVE_IOU": _FRACTION,
    "REID.NEGATIVE_IOU": _FRACTION,
    "REID.LOSS": Choice(tuple(CONTRASTIVE_LOSSES)),
    "REID.LOSS_WEIGHT": _FACTOR,
    "REID.AUX_WEIGHT": _FACTOR,
    "REID.AUX_MARGIN": Real(-1, 1),
    "REID.AUX_NEGATIVES_PER_POSITIVE": _FACTOR,
    # of Detectron2
    "DEVICE": _NAME,
    "WEIGHTS": Text(),
    "ROI_HEADS.SCORE": Choice(tuple(SCORES)),
    "ROI_HEADS.NUM_CLASSES": _SIZE,
    "ROI_HEADS.BATCH_SIZE_PER_IMAGE": _SIZE,
    "ROI_HEADS.POSITIVE_FRACTION": _FRACTION,
    "ROI_HEADS.SCORE_THRESH_TEST": _FRACTION,
    "ROI_HEADS.NMS_THRESH_TEST": _FRACTION,
    "RPN.NMS_THRESH": _FRACTION,
    "RPN.BATCH_SIZE_PER_IMAGE": _SIZE,
    "RPN.POSITIVE_FRACTION": _FRACTION,
    "RPN.LOSS_WEIGHT": _FACTOR,
    "RPN.BBOX_REG_LOSS_WEIGHT": _FACTOR,
}
for _topk in ("PRE_NMS_TOPK_TRAIN", "PRE_NMS_TOPK_TEST", "POST_NMS_TOPK_TRAIN", "POST_NMS_TOPK_TEST"):
    _MODEL[f"RPN.{_topk}"] = _SIZE

# None: the preset's value
_TRACKER = {
    "INIT_SCORE": _FRACTION,
    "KEEP_SCORE": _FRACTION,
    "MATCH_SCORE": _FRACTION,
    "MEMORY_FRAMES": _SIZE,
    "MEMORY_SECONDS": _POSITIVE,
    "MOMENTUM": Real(0.01, 1),
    "HISTORY": _SIZE,
    "BACKDROP_FRAMES": _COUNT,
    "DISTRACTOR_SCORE": _FRACTION,
    "DISTRACTOR_IOU": _FRACTION,
    "MAX_OVERLAP": _FRACTION,
    "APPEARANCE": Choice(tuple(APPEARANCES)),
    "COSINE_FLOOR": Real(-1, 1),
    "ASSIGNMENT": Choice(tuple(ASSIGNMENTS)),
    "IOU_WEIGHT": _FRACTION,
    "MOTION": Choice(tuple(MOTIONS)),
}

_DATA = {
    "DATA.LOADER": Choice(LOADERS.names),
    "DATA.MAPPER": Choice(MAPPERS.names),
    "DATA.REFERENCE_GAP": _COUNT,
    "DATA.REGISTER": ListOf(ListOf(Text(), 3, 4)),
    "DATA.CLASSES": _CLASSES,
    "DATA.DISTRACTORS": _CLASSES,
    "DATA.INCOMPLETE": ListOf(_NAME),
    "DATA.SKIP_MISSING": Flag(),
    "DATA.EXCLUSION_LIST": Text(),
    "DATA.SCALING": Choice(("shortest_edge", "lsj")),
    "DATA.LSJ_SIZE": _SIZE,
    "DATA.LSJ_SCALE": ListOf(_POSITIVE, 2, 2),
    "DATA.COLOR_JITTER": Real(0, 1, open_high=True),
    "DATA.MIN_BOX_SIDE": _FACTOR,
    "NAMING.TEMPLATES": ListOf(_NAME, 1),
    "NAMING.CONTEXT": _FACTOR,
    "NAMING.MAX_ZOOM": _FACTOR,
    "NAMING.BACKGROUND": Choice(("keep", "blur")),
    "NAMING.VIEWS": _SIZE,
    "NAMING.BUDGET": _SIZE,
    "NAMING.MIN_SCORE": _FRACTION,
    "NAMING.BACKGROUND_WORDS": ListOf(_NAME),
    "DESCRIBE.PROMPT": _NAME,
    "DESCRIBE.MAX_TOKENS": _SIZE,
    "DESCRIBE.VIEWS": Integer(1, MOST_VIEWS),
    "DESCRIBE.DROP": _NAME,
    # of Detectron2
    "DATASETS.TRAIN": ListOf(_NAME),
    "DATASETS.TEST": ListOf(_NAME),
    "DATALOADER.NUM_WORKERS": _COUNT,
    "INPUT.FORMAT": Choice(("BGR", "RGB")),
    "INPUT.MIN_SIZE_TRAIN": ListOf(_SIZE, 1),
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": Choice(("choice", "range")),
    "INPUT.MAX_SIZE_TRAIN": _SIZE,
    "INPUT.MIN_SIZE_TEST": _COUNT,
    "INPUT.MAX_SIZE_TEST": _SIZE,
    "INPUT.RANDOM_FLIP": Choice(("none", "horizontal", "vertical")),
}

_RUN = {
    "IMPORTS": ListOf(_NAME),
    "OUTPUT_DIR": _NAME,
    "SOLVER.OPTIMIZER": Choice(("adamw", "sgd")),
    "SOLVER.ACCUMULATE": _SIZE,
    "SOLVER.SIDE_LR_FACTOR": _FACTOR,
    "SOLVER.TOWER_LR_FACTOR": _FACTOR,
    "SOLVER.PEFT_LR_FACTOR": _FACTOR,
    "SOLVER.TOWER_LAYER_DECAY": _FRACTION,
    "SOLVER.AMP.DTYPE": Choice(("bfloat16", "float16")),
    "SOLVER.EMA.DECAY": Real(0, 1, open_high=True),
    "TEST.FRAMES_PER_BATCH": _SIZE,
    "TEST.PRECISION": _PRECISION,
    "TEST.SHOWN_SCORE": _FRACTION,
    "TEST.TAO_OW.MAX_DETECTIONS": _COUNT,
    "TEST.TAO_OW.SUBSETS": ListOf(Choice(SUBSETS), 1),
    "TEST.TAO_OW.WORKERS": _COUNT,
    # of Detectron2
    "TEST.EVAL_PERIOD": _COUNT,
    "TEST.DETECTIONS_PER_IMAGE": _SIZE,
    "VIS_PERIOD": _COUNT,
    "SOLVER.IMS_PER_BATCH": _SIZE,
    "SOLVER.REFERENCE_WORLD_SIZE": _COUNT,
    "SOLVER.BASE_LR": _FACTOR,
    "SOLVER.BIAS_LR_FACTOR": _FACTOR,
    "SOLVER.MAX_ITER": _COUNT,
    "SOLVER.STEPS": ListOf(_COUNT),
    "SOLVER.GAMMA": _FACTOR,
    "SOLVER.MOMENTUM": _FRACTION,
    "SOLVER.WEIGHT_DECAY": _FACTOR,
    "SOLVER.WEIGHT_DECAY_NORM": _FACTOR,
    "SOLVER.WEIGHT_DECAY_BIAS": OneOf(_FACTOR, None),
    "SOLVER.WARMUP_FACTOR": _FRACTION,
    "SOLVER.WARMUP_ITERS": _COUNT,
    "SOLVER.WARMUP_METHOD": Choice(("constant", "linear")),
    "SOLVER.CHECKPOINT_PERIOD": _SIZE,
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": Choice(("value", "norm", "full_model")),
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": _POSITIVE,
    "SOLVER.CLIP_GRADIENTS.NORM_TYPE": _POSITIVE,
}

DOMAINS: dict[str, Domain] = {
    **_RUN,
    **_DATA,
    **{f"MODEL.{key}": domain for key, domain in _MODEL.items()},
    "TRACKER.PRESET": Choice(("", *PRESETS)),
    **{f"TRACKER.{key}": OneOf(domain, None) for key, domain in _TRACKER.items()},
}
"""By full key: all keys of this plugin, and those of Detectron2 that have limits."""


def register_domains(domains: Mapping[str, Domain]) -> None:
    """Register the domains of a project's keys.

    Raises:
        ValueError: a key has another domain already.
    """
    for key, domain in domains.items():
        if DOMAINS.setdefault(key, domain) != domain:
            raise ValueError(f"the key {key} has a domain already: {DOMAINS[key]}")
