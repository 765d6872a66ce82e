"""The whole way on a CPU: frozen tower, training, evaluation, tracking a folder of frames, scores by trackeval."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import small_shapes

from effowt_d2 import model_zoo
from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.cli.track import main
from effowt_d2.engine import OpenWorldTrainer
from effowt_d2.evaluation import evaluate_tao_ow, evaluate_with_trackeval

STEPS = 120


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    with small_shapes.registered(tmp_path_factory.mktemp("datasets")) as folder:
        yield folder


def config(output):
    cfg = model_zoo.get_config("quick/shapes_ow_effowt.yaml")
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("small_train",), ("small_val",)
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST = (128,), 128
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.WARMUP_ITERS, cfg.SOLVER.CHECKPOINT_PERIOD = STEPS, 5, STEPS
    cfg.TEST.TAO_OW.WORKERS = 1
    cfg.OUTPUT_DIR = str(output)
    return cfg


@pytest.fixture(scope="module")
def trained(datasets, tmp_path_factory):
    """(config, trainer after training, model state before it, OWTA of the untrained model)."""
    cfg = config(tmp_path_factory.mktemp("output"))
    torch.manual_seed(0)
    trainer = OpenWorldTrainer(cfg)
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    untrained = OpenWorldTrainer.test(cfg, trainer.model)["tao_ow"]
    trainer.resume_or_load(resume=False)
    trainer.train()
    return cfg, trainer, before, untrained


def test_the_tower_is_bit_identical_and_the_optimizer_holds_none_of_it(trained):
    cfg, trainer, before, _ = trained
    after = trainer.model.state_dict()
    frozen = [k for k in after if k.startswith("backbone.tower.")]
    assert len(frozen) > 50 and all(torch.equal(after[k], before[k]) for k in frozen)
    changed = [k for k in after if k not in frozen and not torch.equal(after[k], before[k])]
    assert len(changed) >= 0.95 * sum(p.requires_grad for p in trainer.model.parameters())
    held = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    assert not held & {id(p) for p in trainer.model.backbone.tower.parameters()}
    assert held == {id(p) for p in trainer.model.parameters() if p.requires_grad}


def test_the_loss_falls_and_the_scores_rise(trained):
    cfg, trainer, _, untrained = trained
    lines = [json.loads(line) for line in (Path(cfg.OUTPUT_DIR) / "metrics.json").read_text().splitlines()]
    # the cascade's losses rise at first, with the boxes that reach its thresholds
    for name in ("loss_rpn_cls", "loss_reid"):
        losses = [line[name] for line in lines if name in line]
        assert losses[-1] < 0.4 * losses[0], (name, losses)
    scores = OpenWorldTrainer.test(cfg, trainer.model)["tao_ow"]
    assert scores["D.Re"] > untrained["D.Re"] + 15, (scores, untrained)
    assert scores["OWTA"] > untrained["OWTA"] + 10, (scores, untrained)
    assert {"OWTA-known", "OWTA-unknown"} <= set(scores)


def test_our_scores_are_trackevals(trained, datasets):
    cfg, trainer, _, _ = trained
    OpenWorldTrainer.test(cfg, trainer.model)
    results = str(Path(cfg.OUTPUT_DIR) / "inference/small_val/tao_ow_results.json")
    gt = str(datasets / "small_val/annotations_8.json")
    ours = evaluate_tao_ow(gt, results, workers=1)
    for subset in ("all", "known", "unknown"):
        for name, curve in evaluate_with_trackeval(gt, results, subset).items():
            np.testing.assert_allclose(curve, ours[subset]["per_alpha"][name], atol=1e-9)


def test_the_checkpoint_holds_what_was_trained_and_gives_equal_outputs(trained):
    cfg, trainer, _, _ = trained
    path = Path(cfg.OUTPUT_DIR) / "model_final.pth"
    stored = torch.load(path, weights_only=True)["model"]
    assert not any(k.startswith("backbone.tower.") for k in stored)
    fresh = OpenWorldTrainer.build_model(cfg).eval()
    EffOWTCheckpointer(fresh).load(str(path))
    frame = {"image": torch.randint(0, 255, (3, 128, 128)), "height": 128, "width": 128}
    with torch.no_grad(), trainer.averaged():
        a, b = (model([frame])[0]["instances"] for model in (trainer.model.eval(), fresh))
    assert torch.equal(a.pred_boxes.tensor, b.pred_boxes.tensor) and torch.equal(a.scores, b.scores)


def test_a_folder_of_frames_is_tracked(trained, datasets, tmp_path):
    cfg, *_ = trained

    (tmp_path / "config.yaml").write_text(cfg.dump())
    frames = sorted((datasets / "small_val" / "frames").iterdir())[0]
    arguments = ["--config-file", tmp_path / "config.yaml", "--input", frames, "--output", tmp_path / "tracked.mp4",
                 "--results", tmp_path / "tracks.json", "--score-threshold", 0.1,
                 "--opts", "MODEL.WEIGHTS", Path(cfg.OUTPUT_DIR) / "model_final.pth"]  # fmt: skip
    assert main([str(a) for a in arguments]) == 0
    tracks = json.loads((tmp_path / "tracks.json").read_text())
    assert {t["image_id"] for t in tracks} == set(range(6)) and (tmp_path / "tracked.mp4").stat().st_size > 1000


def test_a_pruned_side_network_trains(datasets, tmp_path):
    cfg = config(tmp_path)
    cfg.MODEL.SIDE.INIT, cfg.MODEL.SIDE.TAP_INIT, cfg.SOLVER.MAX_ITER = "l1", "select", 2
    cfg.TEST.EVAL_PERIOD = 0
    cfg.DATASETS.TEST = ()
    trainer = OpenWorldTrainer(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    assert (tmp_path / "model_final.pth").is_file()
