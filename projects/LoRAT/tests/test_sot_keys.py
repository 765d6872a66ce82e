"""Every key of single-object tracking is read, and changes what is built or drawn."""

import itertools

import pytest
import torch
from detectron2.modeling import build_model
from helpers.configs import plugin_config, plugin_keys, set_keys
from helpers.tiny_trackers import tracker_config

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


CLIP = {"INPUT.SOT.SAMPLER": "clip"}
# what looks at the key, other options, and two values
EFFECTS = {
    "INPUT.SOT.TEMPLATE_SIZE": (found, {}, 32, 48),
    "INPUT.SOT.SEARCH_SIZE": (found, {}, 64, 80),
    "INPUT.SOT.TEMPLATE_FACTOR": (found, {}, 2.0, 3.0),
    "INPUT.SOT.SEARCH_FACTOR": (found, {}, 4.0, 5.0),
    "INPUT.SOT.MIN_SIDE": (found, {}, 0.0, 10.0),
    "INPUT.SOT.SAMPLER": (samples, {}, "pair", "clip"),
    "INPUT.SOT.MAX_GAP": (samples, {}, 0, 5),
    "INPUT.SOT.SEARCH_GAP": (samples, {**CLIP, "INPUT.SOT.MAX_GAP": 1}, 2, 400),
    "INPUT.SOT.REFERENCES": (samples, CLIP, 2, 3),
    "INPUT.SOT.SEARCHES": (samples, CLIP, 1, 2),
    "INPUT.SOT.WEIGHTS": (samples, {"DATASETS.TRAIN": ("lorat_made", "lorat_made")}, [1.0, 0.0], [0.2, 0.8]),
    "INPUT.SOT.JITTER_SCALE": (samples, {}, 0.0, 0.3),
    "INPUT.SOT.JITTER_SHIFT": (samples, {}, 0.0, 2.0),
    "INPUT.SOT.AUGMENT": (samples, {}, False, True),
    "MODEL.SOT.WINDOW_WEIGHT": (found, {}, 0.0, 1.0),
    "MODEL.SOT.BOX_WEIGHT": (trained, {}, 1.0, 2.0),
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
def test_every_key_has_a_domain_and_an_effect(tiny, made_dataset, key):
    assert key in DOMAINS
    observe, options, *values = EFFECTS[key]
    cfg = tracker_config("lorat", "LoRAT", tiny, MODEL__PEFT__METHOD="lora", DATASETS__TRAIN=(made_dataset,))
    first, second = (observe(set_keys(cfg.clone(), {**options, key: value})) for value in values)
    assert first != second
