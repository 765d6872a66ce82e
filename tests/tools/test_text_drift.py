"""The drift of a tower's features: none as loaded, some where its weights or adapters changed."""

import json

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from helpers import small_shapes
from helpers.messages import assert_says
from text_drift import embed, main

from effowt_d2 import model_zoo
from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.modeling.tower import build_tower
from effowt_d2.naming.two_towers import load_two_towers

NAME, WEIGHTS = "ShapesCLIP-S-16", "effowt://ShapesCLIP-S-16"


def test_the_loaded_tower_embeds_as_the_clip_model_does():
    towers = load_two_towers(NAME, WEIGHTS, device="cpu")
    tower = build_tower(NAME, WEIGHTS, canvas=0).eval()
    tower.finalise()
    crops = np.random.default_rng(0).integers(0, 256, (3, towers.image_size, towers.image_size, 3), dtype=np.uint8)
    as_clip = towers.embed_images(crops)
    torch.testing.assert_close(embed(tower, towers, crops), as_clip, rtol=0, atol=1e-5)
    with torch.no_grad():
        tower.blocks[0].mlp.c_fc.bias += 1
    assert (embed(tower, towers, crops) * as_clip).sum(dim=1).max() < 0.99


@pytest.mark.slow
def test_a_run_with_lora(tmp_path, capsys):
    cfg = model_zoo.get_config("quick/shapes_ow_effowt.yaml")
    cfg.merge_from_list(["MODEL.PEFT.METHOD", "lora", "MODEL.TRANSFER.NECK", "pyramid"])
    cfg.DATASETS.TEST = ("small_val",)
    model = build_model(cfg)
    torch.manual_seed(0)
    for parameter in model.backbone.tower.adapters.parameters():
        parameter.data.normal_(std=0.1)
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(cfg.dump())
    EffOWTCheckpointer(model, str(run), config=cfg.dump()).save("model_final")
    with small_shapes.registered(tmp_path / "shapes"):
        assert main([str(run), "--regions", "20", "--json", str(tmp_path / "drift.json")]) == 0
    assert "as loaded" in capsys.readouterr().out
    (figures,) = json.loads((tmp_path / "drift.json").read_text()).values()
    for group in ("known", "unknown"):
        assert figures["loaded"][group]["unmoved"] == pytest.approx(1, abs=1e-5)
        assert figures["trained"][group]["unmoved"] < 0.99
    assert sum(figures["trained"][group]["regions"] for group in figures["trained"]) == 20


def test_a_folder_without_a_run(tmp_path, capsys):
    assert main([str(tmp_path / "none")]) == 2
    assert_says(capsys.readouterr().err, "text_drift.py", str(tmp_path / "none/config.yaml"))
