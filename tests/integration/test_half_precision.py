"""The trained quick model evaluated in half precision, and several frames at once."""

import json

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from helpers import small_shapes
from helpers.messages import raises
from torchvision.ops import box_iou

from effowt_d2 import model_zoo
from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.data.shapes_ow import VideoSplit
from effowt_d2.data.shapes_ow.videos import draw_video
from effowt_d2.engine import OpenWorldTrainer
from effowt_d2.engine.step import inference_autocast
from effowt_d2.inference.video_predictor import VideoPredictor
from effowt_d2.modeling.meta_arch import VideoState
from effowt_d2.tracking import PRESETS, Tracker

torch.set_num_threads(1)
RESULTS = "inference/small_val/tao_ow_results.json"
# median and greatest difference of boxes in pixels and of scores
TOLERANCE = {"bfloat16": (0.2, 8.0, 0.005, 0.2), "float16": (0.02, 1.0, 0.001, 0.01)}


def config(folder, *options):
    cfg = model_zoo.get_config("quick/shapes_ow_effowt.yaml", trained=True)
    cfg.DATASETS.TEST, cfg.DATALOADER.NUM_WORKERS, cfg.TEST.TAO_OW.WORKERS = ("small_val",), 0, 1
    cfg.INPUT.MIN_SIZE_TEST, cfg.OUTPUT_DIR = 128, str(folder)
    cfg.merge_from_list(list(options))
    return cfg


@pytest.fixture(scope="module")
def evaluate(tmp_path_factory):
    """Results of the trained model on two small videos, with more options of the config."""
    folder = tmp_path_factory.mktemp("half")
    cfg = config(folder)
    model = build_model(cfg).eval()
    EffOWTCheckpointer(model).load(cfg.MODEL.WEIGHTS)

    def run(*options):
        OpenWorldTrainer.test(config(folder, *options), model)
        return json.loads((folder / RESULTS).read_text())

    with small_shapes.registered(folder):
        yield run


def frames():
    split = VideoSplit(frames=3, size=128, objects=(2, 3), radii=(14.0, 26.0))
    return [np.ascontiguousarray(picture[:, :, ::-1]) for picture, _ in draw_video(split, 0)[1]]


def predict(folder, *options):
    predictor = VideoPredictor(config(folder, *options))
    state = predictor.start()
    return [predictor(state, frame, number) for number, frame in enumerate(frames())]


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return predict(tmp_path_factory.mktemp("single"))


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("key", ["TEST.PRECISION", "MODEL.VLM.PRECISION"])
def test_boxes_and_scores_stay_near(single, tmp_path, key, precision):
    boxes, scores = [], []
    for expected, found in zip(single, predict(tmp_path, key, precision)):
        assert found.pred_boxes.tensor.dtype is found.scores.dtype is torch.float32
        expected = expected[expected.scores > 0.3]
        overlap, nearest = box_iou(expected.pred_boxes.tensor, found.pred_boxes.tensor).max(dim=1)
        assert len(expected) and (overlap > 0.5).all()
        found = found[nearest]
        boxes += (found.pred_boxes.tensor - expected.pred_boxes.tensor).abs().amax(dim=1).tolist()
        scores += (found.scores - expected.scores).abs().tolist()
    measured = (np.median(boxes), max(boxes), np.median(scores), max(scores))
    assert all(0 < value < limit for value, limit in zip(measured, TOLERANCE[precision])), measured


def test_evaluation_runs_in_the_precision(evaluate):
    expected, half = evaluate(), evaluate("TEST.PRECISION", "float16")
    assert half != expected
    best = [max(entry["score"] for entry in results) for results in (expected, half)]
    assert best[0] == pytest.approx(best[1], abs=0.01)


@pytest.mark.parametrize("count", [2, 4])
def test_frames_at_once_give_the_same_results(evaluate, count):
    # of 6 frames a video, 4 leave an incomplete batch
    expected, found = evaluate(), evaluate("TEST.FRAMES_PER_BATCH", count)
    keys = ("image_id", "track_id", "category_id")
    assert [[e[key] for key in keys] for e in found] == [[e[key] for key in keys] for e in expected]
    for ours, theirs in zip(found, expected):
        assert ours["bbox"] == pytest.approx(theirs["bbox"], abs=1e-3)
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-5)


def test_association_is_in_full_precision():
    generator = torch.Generator().manual_seed(0)
    count = 20
    # as alike as bfloat16 can't tell apart
    embeddings = 1 + 0.001 * torch.randn(count, 64, generator=generator)
    corners = 100.0 * torch.arange(count)[:, None].expand(-1, 2)
    boxes = torch.cat([corners, corners + 50], dim=1)
    order = torch.randperm(count, generator=generator)
    settings = {**PRESETS["tao"], "appearance": "cosine", "cosine_floor": -1.0, "max_overlap": 1.0}
    state = VideoState(Tracker(**{**settings, "init_score": 0.5, "match_score": 0.5}))
    ids = []
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for number, rows in enumerate((torch.arange(count), order)):
            instances = Instances((2100, 2100), pred_boxes=Boxes(boxes[rows]), scores=torch.full((count,), 0.9))
            instances.embeddings = embeddings[rows]
            ids.append(state.associate(instances, number))
    assert torch.equal(ids[1], ids[0][order])


def test_precision_that_does_not_exist(tmp_path):
    with raises(ValueError, "TEST.PRECISION", "int8", "float32", "bfloat16", "float16"):
        inference_autocast(config(tmp_path, "TEST.PRECISION", "int8"))
