"""A whole small run: trained, evaluated, stopped, resumed."""

import itertools
import json
import re
import shutil

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from helpers import ROOT, dummy_model, small_shapes
from helpers.messages import raises
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from effowt_d2.engine import OpenWorldTrainer, build_evaluator
from effowt_d2.evaluation import evaluate_tao_ow
from effowt_d2.modeling.side.initialisation import INITS, Initialisation
from effowt_d2.utils.boxes import xywh_to_xyxy

QUICK = ROOT / "configs" / "quick" / "shapes_ow_effowt.yaml"


@pytest.fixture(scope="module", autouse=True)
def datasets(tmp_path_factory):
    small_shapes.register(tmp_path_factory.mktemp("shapes"))


def tensors(folder, name="model_final.pth"):
    return torch.load(folder / name, weights_only=True)["model"]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A run of 6 steps with dropout, warm-up, AdamW's moments, and an evaluation after step 4."""
    folder = tmp_path_factory.mktemp("whole")
    options = {"MODEL__META_ARCHITECTURE": "DroppingCellTracker", "TEST__EVAL_PERIOD": 4}
    dummy_model.train(dummy_model.config(folder, **options))
    return folder, options


def test_resumed_run_ends_with_the_same_weights(whole_run, tmp_path):
    folder, options = whole_run
    # what a run that is killed after its checkpoint of step 3 leaves
    shutil.copy(folder / "model_0000002.pth", tmp_path)
    (tmp_path / "last_checkpoint").write_text("model_0000002.pth")
    trainer = dummy_model.train(dummy_model.config(tmp_path, **options), resume=True)
    assert trainer.start_iter == 3
    expected, reached = tensors(folder), tensors(tmp_path)
    assert expected.keys() == reached.keys() and all(torch.equal(expected[key], reached[key]) for key in expected)
    before = tensors(folder, "model_0000002.pth")
    assert not any(torch.equal(before[key], reached[key]) for key in before)


def test_scores_reach_files_and_tensorboard(whole_run):
    folder, _ = whole_run
    results = folder / "inference" / "mini_val" / "tao_ow_results.json"
    ground_truth = MetadataCatalog.get("mini_val").json_file
    scores = evaluate_tao_ow(ground_truth, str(results), workers=1)
    board = EventAccumulator(str(folder)).Reload()
    for subset in ("all", "known", "unknown"):
        events = board.Scalars(f"tao_ow/OWTA-{subset}")
        # the evaluation within the run, written with the end of it
        assert events[-1].value == pytest.approx(scores[subset]["OWTA"], abs=1e-4)
    losses = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    assert any(line.get("total_loss", 0) > 0 for line in losses)


@pytest.mark.parametrize(
    "options",
    [
        {"SOLVER__AMP__ENABLED": True},
        {"SOLVER__AMP__ENABLED": True, "SOLVER__AMP__DTYPE": "float16"},
        {
            "SOLVER__OPTIMIZER": "sgd",
            "SOLVER__CLIP_GRADIENTS__ENABLED": True,
            "SOLVER__CLIP_GRADIENTS__CLIP_VALUE": 10.0,
        },
    ],
)
def test_training_lowers_the_loss(tmp_path, options):
    # one size: the kernels of low precision are compiled anew for each
    sizes = {"INPUT__MIN_SIZE_TRAIN": (64,), "DATASETS__TEST": ()}
    cfg = dummy_model.config(tmp_path, SOLVER__MAX_ITER=30, SOLVER__BASE_LR=0.03, **sizes, **options)
    trainer = dummy_model.train(cfg)
    losses = [value for value, _ in trainer.storage.history("total_loss").values()]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5]), losses


@pytest.mark.parametrize(
    "options, data",
    [
        (dict(SOLVER__AMP__DTYPE="int8"), ("SOLVER.AMP.DTYPE", "int8", "bfloat16", "float16")),
        (dict(SOLVER__EMA__DECAY=1.5), ("SOLVER.EMA.DECAY", 1.5)),
        (dict(SOLVER__ACCUMULATE=0), ("SOLVER.ACCUMULATE", 0)),
    ],
)
def test_precision_and_average_that_do_not_exist(tmp_path, options, data):
    cfg = dummy_model.config(tmp_path, SOLVER__AMP__ENABLED=True, DATASETS__TEST=(), **options)
    with raises(ValueError, *data):
        OpenWorldTrainer(cfg)


def test_loss_that_is_not_finite_stops_with_the_files(tmp_path):
    trainer = OpenWorldTrainer(dummy_model.config(tmp_path, DATASETS__TEST=()))
    trainer.resume_or_load(resume=False)
    weight = trainer.model.score.weight
    before = weight.detach().clone()
    with torch.no_grad():
        trainer.model.score.bias.fill_(float("nan"))
    with raises(FloatingPointError, 0, "loss_cells", "nan") as caught:
        trainer.train()
    assert len(re.findall(r"00000[1-7]\.jpg", str(caught.value))) >= 2
    assert torch.equal(weight, before) and not (tmp_path / "model_final.pth").exists()


class Sampled(Initialisation):
    """Counts the samples that it is given."""

    needs_samples = True
    seen = 0

    def importances(self, tower, taps, samples=None):
        assert all("gt_boxes" in sample["instances"].get_fields() for sample in itertools.islice(samples, 5))
        Sampled.seen += 5


@pytest.mark.parametrize("weights,seen", [("", 5), ("effowt://shapes_ow_effowt", 0)])
def test_an_initialisation_gets_samples_before_training_unless_weights_are_loaded(tmp_path, monkeypatch, weights, seen):
    monkeypatch.setattr(INITS, "_found", {**INITS._found, "sampled": Sampled})
    monkeypatch.setattr(Sampled, "seen", 0)
    cfg = dummy_model.config(tmp_path, DATASETS__TEST=(), SOLVER__IMS_PER_BATCH=1)
    cfg.merge_from_file(str(QUICK))
    options = {"DATASETS.TRAIN": ("mini_train",), "DATASETS.TEST": (), "DATALOADER.NUM_WORKERS": 0}
    options.update({"INPUT.MIN_SIZE_TRAIN": (64,), "MODEL.SIDE.INIT": "sampled", "MODEL.WEIGHTS": weights})
    cfg.merge_from_list([item for pair in options.items() for item in pair])
    OpenWorldTrainer(cfg)
    assert Sampled.seen == seen


def test_images_without_objects_train(tmp_path):
    options = {"DATALOADER__FILTER_EMPTY_ANNOTATIONS": False, "DATA__MIN_BOX_SIDE": 500.0, "DATASETS__TEST": ()}
    dummy_model.train(dummy_model.config(tmp_path, **options))
    assert all(tensor.isfinite().all() for tensor in tensors(tmp_path).values())


def test_missing_test_data_is_known_before_training(tmp_path):
    cfg = dummy_model.config(tmp_path, DATASETS__TEST=("tao_ow_val",))
    with raises(FileNotFoundError, "taodataset.org"):
        OpenWorldTrainer(cfg)


def test_frames_at_once_give_the_same_results(whole_run, tmp_path):
    folder, _ = whole_run
    cfg = dummy_model.config(tmp_path, TEST__FRAMES_PER_BATCH=3)
    model = OpenWorldTrainer.build_model(cfg)
    model.load_state_dict(tensors(folder))
    OpenWorldTrainer.test(cfg, model)
    name = "inference/mini_val/tao_ow_results.json"
    assert (tmp_path / name).read_text() == (folder / name).read_text()


def test_coco_is_scored_class_agnostically(tmp_path):
    cfg = dummy_model.config(tmp_path)
    evaluator = build_evaluator(cfg, "mini_train")
    evaluator.reset()
    for record in DatasetCatalog.get("mini_train"):
        boxes = torch.tensor([a["bbox"] for a in record["annotations"]]).reshape(-1, 4)
        instances = Instances((record["height"], record["width"]))
        instances.pred_boxes = Boxes(xywh_to_xyxy(boxes))
        instances.scores = torch.full((len(boxes),), 0.9)
        instances.pred_classes = torch.zeros(len(boxes), dtype=torch.int64)
        evaluator.process([record], [{"instances": instances}])
    assert evaluator.evaluate()["bbox"]["AP"] == pytest.approx(100)


def test_evaluator_type_that_does_not_exist(tmp_path):
    with raises(ValueError, "voc_2007_val", "pascal_voc", "coco", "tao_ow"):
        build_evaluator(dummy_model.config(tmp_path), "voc_2007_val")
