"""What the model gets of a frame: the channels in the order of INPUT.FORMAT."""

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from helpers import dummy_model

from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.inference.video_predictor import VideoPredictor


class Recorder(torch.nn.Module):
    """Keeps the images it is given."""

    def __init__(self):
        super().__init__()
        self.images = []

    def step(self, state, inputs):
        self.images += [sample["image"] for sample in inputs]
        empty = {"pred_boxes": Boxes(torch.empty(0, 4)), "scores": torch.empty(0), "track_ids": torch.empty(0).long()}
        return state, [Instances((9, 9), **empty) for _ in inputs]


@pytest.mark.parametrize("order, channels", [("BGR", [10, 20, 30]), ("RGB", [30, 20, 10])])
def test_channels_are_those_of_the_config(tmp_path, order, channels):
    cfg = dummy_model.config(tmp_path, INPUT__FORMAT=order, INPUT__MIN_SIZE_TEST=32)
    EffOWTCheckpointer(build_model(cfg), str(tmp_path)).save("model")
    cfg.MODEL.WEIGHTS = str(tmp_path / "model.pth")
    predictor = VideoPredictor(cfg)
    predictor.model = Recorder()
    # blue 10, green 20, red 30
    predictor(None, np.tile(np.array([10, 20, 30], np.uint8), (32, 48, 1)), 0)
    (image,) = predictor.model.images
    assert image.shape == (3, 32, 48) and image.mean(dim=(1, 2)).tolist() == channels
