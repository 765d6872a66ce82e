"""AQATrack on a tiny tower: time, rows, videos, the decoder and its queue, gradients, frozen towers, options, bad input."""

import copy

import pytest
import torch
from aqatrack.decoder import HISTORY_SELF, History, QueryQueue, TemporalQueryDecoder
from detectron2.modeling import build_model
from helpers.centre_trackers import (
    begin,
    centre_config,
    centre_model,
    check_bad_frames,
    check_causal,
    check_frozen,
    check_gradients,
    check_one_call_or_many,
    check_rows,
    check_types,
    check_videos,
    gradient_of_the_first_frame,
    made_clip,
    made_samples,
    outputs,
)
from helpers.tiny_clip import register_clips, vit
from helpers.turning_camera import overlaps_of_a_dog
from sot.modulation import ResponseModulation


@pytest.fixture(scope="module")
def model():
    return centre_model("AQATrack")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A plain ViT with class token known to open_clip."""
    register_clips(tmp_path_factory.mktemp("clips"), {"tiny-aqa-vit": vit(layers=2, width=32, head_width=8)})
    return "tiny-aqa-vit"


def test_the_shipped_tracker_keeps_a_dog_while_the_camera_turns():
    overlaps = overlaps_of_a_dog("projects/AQATrack/configs/real/aqatrack_real_s.yaml")
    # a box that stays has none in the end
    assert overlaps.min() > 0.4, overlaps


@pytest.mark.parametrize("own", HISTORY_SELF[:2])
def test_a_clip_at_once_or_in_parts(own):
    check_one_call_or_many(centre_model("AQATrack", MODEL__AQATRACK__HISTORY_SELF=own))


def test_time_rows_videos_and_bad_frames(model):
    check_causal(model)
    check_rows(model)
    check_videos(model)
    check_bad_frames(model)


@torch.no_grad()
def test_the_queue_holds_the_last_queries_and_no_more(model):
    templates, clip = made_clip(frames=6)
    carried, queries = begin(model, templates), []
    for crops in clip:
        queries.append(model.ask(carried, crops).query)
        _, carried = model.read(carried, crops)
        wanted = queries[-3:]
        assert carried.filled.tolist() == [len(wanted)] * 2 and carried.queue.shape == (2, 3, 32)
        assert carried.queue[:, 3 - len(wanted) :].equal(torch.stack(wanted, dim=1))
    assert outputs(centre_model("AQATrack", MODEL__AQATRACK__HISTORY_LEN=0), templates, clip)[1].queue.shape == (
        2,
        0,
        32,
    )


def slow_attention(attention, query, rows):
    """Head by head and row by row, (C,) of a query (C,) and rows (n, C)."""
    size = attention.embed_dim // attention.num_heads
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    q, k, v = (x @ w.T + b for x, w, b in zip((query, rows, rows), weights, biases))
    heads = []
    for h in range(0, attention.embed_dim, size):
        scores = torch.stack([q[h : h + size] @ row[h : h + size] for row in k]) / size**0.5
        heads.append(torch.softmax(scores, 0) @ v[:, h : h + size])
    return attention.out_proj(torch.cat(heads))


@torch.no_grad()
def test_the_decoder_is_the_slow_one():
    torch.manual_seed(0)
    decoder = TemporalQueryDecoder(channels=16, layers=2, heads=4, hidden=24).eval()
    for parameter in decoder.parameters():
        parameter.normal_(std=0.3)
    history, tokens = (
        History(torch.randn(2, 4, 16), torch.tensor([[False, True, True, True], [False] * 4])),
        torch.randn(2, 5, 16),
    )
    found = decoder(history, tokens)
    for row in range(2):
        x = torch.zeros(16)
        for layer in decoder.layers:
            if row == 0:
                x = x + slow_attention(layer.temporal, x, history.rows[0, 1:])
            x = layer.norm1(x)
            x = layer.norm2(x + slow_attention(layer.cross, x, tokens[row]))
            x = layer.norm3(x + layer.linear2(layer.linear1(x).relu()))
        torch.testing.assert_close(found[row], decoder.norm(x), rtol=0, atol=1e-5)
    order = torch.tensor([0, 3, 1, 2])
    turned = History(history.rows[:, order], history.valid[:, order])
    torch.testing.assert_close(decoder(turned, tokens), found, rtol=0, atol=1e-6)


def test_when_a_frame_looks_at_its_own_start():
    def valid(own, filled, training=False):
        return (
            QueryQueue(length=2, own=own)
            .history(torch.zeros(1, 2, 4), torch.tensor([filled]), training)
            .valid[0]
            .tolist()
        )

    assert valid("always", 0) == [False, False, True] and valid("always", 2) == [True] * 3
    assert valid("never", 0) == [False] * 3 and valid("never", 1) == [False, True, False]
    assert valid("train_only", 0) == [False, False, True] and valid("train_only", 1) == [False, True, False]
    assert valid("train_only", 1, training=True) == [False, True, True]


def test_the_fusion_is_a_product():
    tokens, query = torch.randn(2, 3, 4, 8), torch.randn(2, 1, 8)
    response, fused = ResponseModulation()(tokens, query)
    for b in range(2):
        for place in range(12):
            token = tokens[b].flatten(0, 1)[place]
            torch.testing.assert_close(fused[b].flatten(0, 1)[place], (token @ query[b, 0]) * token)
    torch.testing.assert_close(ResponseModulation()(tokens, 3 * query)[1], 3 * fused)
    across = torch.zeros(1, 1, 1, 4)
    across[..., 0] = 1
    assert not ResponseModulation()(across, torch.tensor([[[0.0, 1, 1, 1]]]))[1].any()


def test_gradients(model):
    # the start value is 0, so what multiplies it in the first layer has none: its query weight
    check_gradients(copy.deepcopy(model))
    assert gradient_of_the_first_frame(model) > 0


def test_the_released_history_is_that_of_training(model):
    released = centre_model("AQATrack", MODEL__AQATRACK__HISTORY_SELF="train_only")
    templates, clip = made_clip()
    always, other = outputs(model, templates, clip)[0], outputs(released, templates, clip)[0]
    assert other[0].allclose(always[0], atol=1e-6) and not other[1].allclose(always[1], atol=1e-5)


@pytest.mark.parametrize("method", ["none", "lora"])
def test_on_a_frozen_plain_tower(plain, method):
    check_frozen("AQATrack", method, plain)


def test_types_of_tokens_on_a_frozen_tower(plain):
    check_types("AQATrack", plain)


def losses(**options):
    model = centre_model("AQATrack", **options).train()
    torch.manual_seed(1)
    return {name: loss.item() for name, loss in model(made_samples()).items()}


EFFECTS = {
    "MODEL.AQATRACK.DEC_LAYERS": 3,
    "MODEL.AQATRACK.NUM_HEADS": 2,
    "MODEL.AQATRACK.DIM_FEEDFORWARD": 8,
    "MODEL.AQATRACK.DROPOUT": 0.0,
    "MODEL.AQATRACK.HISTORY_LEN": 1,
    "MODEL.AQATRACK.HISTORY_SELF": "never",
    "MODEL.AQATRACK.RESPONSE_SCALE": 0.5,
    "MODEL.CENTRE_HEAD.TOWERS": 2,
    "MODEL.CENTRE_HEAD.WIDTH": 32,
    "MODEL.CENTRE_HEAD.GIOU_WEIGHT": 1.0,
    "MODEL.CENTRE_HEAD.L1_WEIGHT": 1.0,
    "MODEL.CENTRE_HEAD.RADIUS": "exact",
}


def test_every_key_has_an_effect():
    cfg = centre_config("AQATrack")
    keys = {f"MODEL.{node}.{key}" for node in ("AQATRACK", "CENTRE_HEAD") for key in cfg.MODEL[node]}
    assert keys == set(EFFECTS)
    usual = losses()
    for key, value in EFFECTS.items():
        assert losses(**{key.replace(".", "__"): value}) != usual, key


@pytest.mark.parametrize(
    "key, value",
    [
        ("AQATRACK.DEC_LAYERS", 0),
        ("AQATRACK.NUM_HEADS", 5),
        ("AQATRACK.DIM_FEEDFORWARD", -1),
        ("AQATRACK.DROPOUT", 1.5),
        ("AQATRACK.HISTORY_LEN", -1),
        ("AQATRACK.HISTORY_SELF", "sometimes"),
        ("AQATRACK.RESPONSE_SCALE", 0.0),
        ("CENTRE_HEAD.TOWERS", 4),
        ("CENTRE_HEAD.WIDTH", 12),
        ("CENTRE_HEAD.GIOU_WEIGHT", -1.0),
        ("CENTRE_HEAD.L1_WEIGHT", -1.0),
        ("CENTRE_HEAD.RADIUS", "half"),
        ("SOT.CROP_TYPE_STD", -1.0),
    ],
)
def test_options_that_do_not_fit_name_their_key(key, value):
    node, name = key.split(".")
    cfg = centre_config("AQATrack")
    cfg.MODEL[node][name] = value
    with pytest.raises(ValueError) as error:
        build_model(cfg)
    assert f"MODEL.{key}" in str(error.value) and str(value) in str(error.value)


def test_clips_and_queues_that_do_not_fit_are_named(model):
    cfg = centre_config("AQATrack", MODEL__AQATRACK__HISTORY_SELF="train_only", INPUT__SOT__SEARCHES=3)
    with pytest.raises(ValueError) as error:
        build_model(cfg)
    assert "MODEL.AQATRACK.HISTORY_LEN" in str(error.value) and "INPUT.SOT.SEARCHES" in str(error.value)
    with pytest.raises(ValueError, match="INPUT.SOT.REFERENCES.*AQATrack.*3"):
        build_model(centre_config("AQATrack", INPUT__SOT__SAMPLER="clip", INPUT__SOT__REFERENCES=3))
    cfg = centre_config("AQATrack")
    cfg.INPUT.SOT.CROP = "round"
    with pytest.raises(ValueError, match="INPUT.SOT.CROP.*square_released.*round"):
        build_model(cfg)
    templates, clip = made_clip(3)
    with pytest.raises(ValueError, match="carried.*2.*3"):
        model.ask(begin(model, templates[:2]), clip[0])
    for bad in ([[10.0, 10, 10, 20]], [[float("nan")] * 4], [[500.0, 10, 520, 30]]):
        with pytest.raises(ValueError, match=r"boxes\[0\]"):
            model.start(torch.zeros(3, 60, 80), bad)
    with pytest.raises(ValueError, match="start"):
        model.step(None, torch.zeros(3, 60, 80))
