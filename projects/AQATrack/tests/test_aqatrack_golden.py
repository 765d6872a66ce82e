"""AQATrack against its release: every layer of a frame, the queue, clips, losses, gradients, steps of AdamW, a video."""

import pytest
import torch
from aqatrack.released import own_name
from helpers.golden import below, golden
from helpers.golden_centre import aqatrack_model, normal
from helpers.golden_centre_runs import (
    MAPS,
    begin,
    check_head,
    check_maps,
    check_stem,
    check_tracking,
    check_training,
    check_trunk,
    clip_crops,
    close,
    taps,
)

from effowt_d2.engine import make_config

CONFIG = "projects/AQATrack/configs/aqatrack_256.yaml"


@pytest.fixture(scope="module")
def numbers():
    return golden("aqatrack/forward")


def kept(model, carried):
    """The queue as it is recorded, (entries, C)."""
    return carried.queue[0, len(carried.queue[0]) - int(carried.filled) :]


@torch.no_grad()
def test_every_layer_of_five_frames(numbers):
    model = aqatrack_model().eval()
    template = normal(numbers["template_u8"])[None]
    close(template, numbers["template_norm"])
    check_stem(model, template, "z", below(numbers, "t1/"))
    check_stem(model, normal(numbers["t1/search_u8"])[None], "x", below(numbers, "t1/"))
    carried = begin(model, template)
    for t in range(1, 6):
        given = below(numbers, f"t{t}/")
        crops = normal(given["search_u8"])[None]
        check_trunk(model, [carried.template], crops, given)
        history = model.queue.history(carried.queue, carried.filled, training=False)
        close(history.rows[history.valid][:, None], given["dec/history"])
        with taps(model) as seen:
            reading = model.ask(carried, crops)
        close(reading.query[:, None], given["dec/query"])
        if "stm/fused" in given:
            close(reading.fused, given["stm/fused"])
            for number, layer in enumerate(model.decoder.layers):
                close(seen[layer.temporal], given[f"dec/layer{number}_temporal_attn"])
                close(seen[layer.cross], given[f"dec/layer{number}_cross_attn"])
                close(seen[layer], given[f"dec/layer{number}_out"])
        check_head(model, reading.fused, given)
        _, carried = model.unroll(carried, [crops])
        close(kept(model, carried), given["queue_after"])


def test_every_recorded_tensor_is_compared(numbers):
    kinds = (
        "search_u8",
        "queue_after",
        "stem/",
        "main/",
        "stm/",
        "head/",
        "dec/layer",
        "dec/query",
        "dec/history",
        *MAPS,
    )
    # the vector that the release adds to all keys of the cross attention: the softmax cancels it
    elsewhere = ("dec/key_pos",)
    names = {name.split("/", 1)[-1] for name in numbers} - {"template_u8", "template_norm"}
    assert [name for name in names if not name.startswith((*kinds, *elsewhere))] == []
    used = ("search_", "template_u8", "queries", *MAPS)
    assert [name for name in golden("aqatrack/clip") if not name.startswith(used)] == []
    used = ("losses", "search_anno", "target_heat", "grad/", "after_step1/", "train_mode/")
    assert [name for name in golden("aqatrack/train") if not name.startswith(used)] == []


@torch.no_grad()
def test_clips_in_training_and_in_tracking():
    numbers, (templates, clip) = golden("aqatrack/clip"), clip_crops("aqatrack")
    # the history of training, with the statistics of tracking
    model = aqatrack_model("always").eval()
    output, carried = model.unroll(begin(model, templates), clip)
    check_maps(output, numbers)
    close(carried.queue.transpose(0, 1), numbers["queries"][1:])
    close(model.ask(begin(model, templates), clip[0]).query, numbers["queries"][0])
    model.queue.own = "train_only"
    output, _ = model.unroll(begin(model, templates), clip)
    close(output.scores[:, None], numbers["score_map_by_test_path"])


def test_losses_gradients_and_steps():
    model = aqatrack_model().train()
    check_training(model, "aqatrack", make_config(CONFIG, ["MODEL.DEVICE", "cpu"]), own_name)


def test_a_video():
    model = aqatrack_model().eval()
    for given, state in check_tracking(model, "aqatrack"):
        close(kept(model, state.memory.carried), given["queue_after"])
