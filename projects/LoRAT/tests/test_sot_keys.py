"""Every key of single-object tracking is read, and changes what is built or drawn."""

import itertools

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from helpers.configs import plugin_config, plugin_keys, set_keys
from helpers.tiny_detector import picture, tiny_config
from helpers.tiny_trackers import tracker_config
from sot import add_config
from sot.data.sampling import LaterSampler
from sot.data.sequence import TargetSequence

from effowt_d2.data import build_train_loader
from effowt_d2.engine import build_evaluator, make_config
from effowt_d2.engine.key_domains import DOMAINS
from effowt_d2.engine.schedulers import build_lr_scheduler
from effowt_d2.engine.settings import leaves


def keys():
    theirs = {key for key, _ in leaves(plugin_config())} | set(plugin_keys())
    return sorted(key for key, _ in leaves(make_config("", ["IMPORTS", ("lorat",)])) if key not in theirs)


def samples(cfg):
    batches = itertools.islice(build_train_loader(cfg), 2)
    drawn = [(s["image_id"], s["templates"], s["searches"]) for batch in batches for s in batch]
    return [
        (name, templates.sum().item(), searches.sum().item(), len(templates)) for name, templates, searches in drawn
    ]


def built(cfg):
    torch.manual_seed(0)
    return build_model(cfg)


def found(cfg):
    model = built(cfg).eval()
    frame = torch.arange(3 * 60 * 80).reshape(3, 60, 80) % 251
    return model.step(model.start(frame, [[20.0, 20, 24, 40]]), frame)[1].pred_boxes.tensor.tolist()


def trained(cfg):
    model = built(cfg).train()
    torch.manual_seed(1)
    (batch,) = itertools.islice(build_train_loader(cfg), 1)
    return {name: loss.item() for name, loss in model(batch).items()}


def rates(cfg):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    return build_lr_scheduler(cfg, optimizer).lr_lambdas[0](3)


def evaluator(cfg):
    made = build_evaluator(cfg, cfg.DATASETS.TRAIN[0])
    return made._convention, made._plots


def bridged(cfg):
    """Boxes and scores of frames of which the detector finds something in the first one alone."""
    tiny = tiny_config(MODEL__META_ARCHITECTURE="BridgedTracker")
    add_config(tiny)
    tiny.MODEL.SOT.BRIDGE = cfg.MODEL.SOT.BRIDGE
    model = built(tiny).eval()
    state, found = model.start(), []
    for frame in range(4):
        boxes = torch.tensor([[20.0, 20, 50, 44]])[: 1 if frame == 0 else 0]
        given = Instances((64, 96), pred_boxes=Boxes(boxes), scores=torch.full((len(boxes),), 0.4))
        given.pred_classes = torch.zeros(len(boxes), dtype=torch.int64)
        x = {"image": picture(0), "state": state, "frame_index": frame}
        tracks = model.inference([x], [given])[0]["instances"]
        found.append((tracks.track_ids.tolist(), tracks.pred_boxes.tensor.tolist(), tracks.scores.tolist()))
    return found


def drawn(cfg):
    sampler = LaterSampler(**LaterSampler.from_config(cfg.INPUT.SOT))
    np.random.seed(0)
    boxes = np.tile([0.0, 0, 5, 5], (60, 1))
    return [sampler(TargetSequence("made", ["a.jpg"] * 60, boxes)) for _ in range(4)]


CLIP = {"INPUT.SOT.SAMPLER": "clip"}
FOLLOWER = "{folder}/config.yaml"
BRIDGE = {"MODEL.SOT.BRIDGE.CONFIG": FOLLOWER, "MODEL.SOT.BRIDGE.MIN_SCORE": 0.0}
# what looks at the key, other options, and two values
EFFECTS = {
    "INPUT.SOT.TEMPLATE_SIZE": (found, {}, 32, 48),
    "INPUT.SOT.SEARCH_SIZE": (found, {}, 64, 80),
    "INPUT.SOT.TEMPLATE_FACTOR": (found, {}, 2.0, 3.0),
    "INPUT.SOT.SEARCH_FACTOR": (found, {}, 4.0, 5.0),
    "INPUT.SOT.MIN_SIDE": (found, {}, 0.0, 10.0),
    "INPUT.SOT.SAMPLER": (samples, {}, "pair", "clip"),
    "INPUT.SOT.CROP": (found, {}, "context", "square"),
    "INPUT.SOT.CLIP_ORDER": (drawn, {}, "shuffled", "sorted"),
    "INPUT.SOT.MAX_GAP": (samples, {}, 0, 5),
    "INPUT.SOT.SEARCH_GAP": (samples, {**CLIP, "INPUT.SOT.MAX_GAP": 1}, 2, 400),
    "INPUT.SOT.REFERENCES": (samples, CLIP, 2, 3),
    "INPUT.SOT.SEARCHES": (samples, CLIP, 1, 2),
    "INPUT.SOT.WEIGHTS": (samples, {"DATASETS.TRAIN": ("lorat_made", "lorat_made")}, [1.0, 0.0], [0.2, 0.8]),
    "INPUT.SOT.JITTER_SCALE": (samples, {}, 0.0, 0.3),
    "INPUT.SOT.JITTER_SHIFT": (samples, {}, 0.0, 2.0),
    "INPUT.SOT.AUGMENT": (samples, {}, False, True),
    "MODEL.SOT.WINDOW_WEIGHT": (found, {}, 0.0, 1.0),
    "MODEL.SOT.TYPE_STD": (trained, {}, 0.02, 2.0),
    "MODEL.SOT.BOX_WEIGHT": (trained, {}, 1.0, 2.0),
    "MODEL.SOT.BRIDGE.CONFIG": (bridged, {"MODEL.SOT.BRIDGE.MIN_SCORE": 0.0}, "", FOLLOWER),
    "MODEL.SOT.BRIDGE.WEIGHTS": (bridged, BRIDGE, "", "{folder}/other.pth"),
    "MODEL.SOT.BRIDGE.MAX_FRAMES": (bridged, BRIDGE, 1, 3),
    "MODEL.SOT.BRIDGE.MIN_SCORE": (bridged, BRIDGE, 0.0, 1.0),
    "MODEL.SOT.BRIDGE.MIN_TRACK_SCORE": (bridged, BRIDGE, 0.3, 0.5),
    "SOLVER.END_FACTOR": (
        rates,
        {"SOLVER.LR_SCHEDULER_NAME": "warmup_cosine_sot", "SOLVER.WARMUP_ITERS": 1},
        0.1,
        0.01,
    ),
    "TEST.SOT.CONVENTION": (evaluator, {}, "auto", "valid_only"),
    "TEST.SOT.PLOTS": (evaluator, {}, True, False),
}


@pytest.mark.parametrize("key", keys())
def test_every_key_has_a_domain_and_an_effect(tiny, made_dataset, trained, key):
    assert key in DOMAINS

    def placed(value):
        return value.format(folder=trained) if isinstance(value, str) else value

    observe, options, *values = EFFECTS[key]
    options, values = {name: placed(value) for name, value in options.items()}, map(placed, values)
    cfg = tracker_config("lorat", "LoRAT", tiny, MODEL__PEFT__METHOD="lora", DATASETS__TRAIN=(made_dataset,))
    first, second = (observe(set_keys(cfg.clone(), {**options, key: value})) for value in values)
    assert first != second
