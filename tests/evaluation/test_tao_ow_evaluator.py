"""The Detectron2 face: predictions in, files and scores out."""

import dataclasses
import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.evaluation import print_csv_format
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.structures import Boxes, Instances
from helpers import FOLDER
from helpers.messages import raises
from helpers.processes import run_python
from helpers.random_sets import random_set, write
from helpers.two_ranks import SUBSETS, run
from test_tao_ow_scores import one_track, result

from effowt_d2.evaluation import (
    ResultsError,
    TAOOWEvaluator,
    evaluate_tao_ow,
    evaluate_with_trackeval,
    write_mot_challenge,
    write_results_json,
)
from effowt_d2.evaluation.results_io import load_results

NAMES = ("OWTA", "D.Re", "A.Acc")


@pytest.fixture
def dataset(tmp_path):
    """Name of a registered dataset with the ground truth of ``one_track``; its metadata may be extended."""
    name = f"tao_ow_evaluator_{tmp_path.name}"
    file = tmp_path / "gt.json"
    file.write_text(json.dumps(one_track()[0]))
    MetadataCatalog.get(name).json_file = str(file)
    yield name
    MetadataCatalog.remove(name)


def process(evaluator, image, boxes=((10, 10, 30, 30),), tracks=(0,), video=1):
    instances = Instances((100, 100))
    instances.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32))
    instances.scores = torch.full((len(boxes),), 0.5)
    instances.track_ids = torch.tensor(tracks)
    evaluator.process([{"image_id": image, "video_id": video}], [{"instances": instances}])


def saved(folder):
    return json.loads((Path(folder) / "tao_ow_results.json").read_text())


def test_saved_scored_and_untracked_boxes_omitted(dataset, tmp_path):
    evaluator = TAOOWEvaluator(dataset, output_dir=tmp_path / "out")
    for image in (12, 10, 11):
        process(evaluator, image, ((10, 10, 30, 30), (0, 0, 5, 5)), (7, -1))
    scores = evaluator.evaluate()["tao_ow"]
    assert scores["OWTA-all"] == scores["A.Acc-known"] == scores["D.Re"] == pytest.approx(100)
    assert scores["OWTA-unknown"] == 0
    expected = {"category_id": 1, "bbox": [10, 10, 20, 20], "score": 0.5, "track_id": 1, "video_id": 1}
    assert saved(tmp_path / "out") == [{"image_id": image, **expected} for image in (10, 11, 12)]


def test_file_loads_in_trackeval_and_scores_the_same(tmp_path):
    gt, results = random_set(7, videos=4)
    gt_file, results_file = write(tmp_path, gt, results)
    scores = run(gt_file, results_file, str(tmp_path))["tao_ow"]
    file = str(tmp_path / "tao_ow_results.json")
    for subset in SUBSETS:
        curves = evaluate_with_trackeval(gt_file, file, subset)
        for name, key in zip(NAMES, ("OWTA", "DetRe", "AssA")):
            assert scores[f"{name}-{subset}"] == pytest.approx(100 * curves[key].mean(), abs=1e-7)
    assert 0 < scores["OWTA-all"] < 100
    # ids are shared by videos in these results, and by none in the file
    pairs = {(entry["track_id"], entry["video_id"]) for entry in saved(tmp_path)}
    assert len(pairs) == len({track for track, _ in pairs}) > len({entry["track_id"] for entry in results})


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    files = write(tmp_path, *random_set(8, videos=5))
    one, two = tmp_path / "one", tmp_path / "two"
    scores = run(*files, str(one))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    run_python(*launcher, FOLDER / "two_ranks.py", *files, two)
    assert json.loads((two / "scores.json").read_text()) == scores
    names = sorted(path.relative_to(one) for path in one.rglob("*.*"))
    assert len(names) == 1 + 5
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_detectron2_can_print_and_log_the_scores(dataset, tmp_path, caplog):
    evaluator = TAOOWEvaluator(dataset, output_dir=tmp_path)
    process(evaluator, 10)
    scores = evaluator.evaluate()
    with caplog.at_level(logging.INFO):
        print_csv_format(scores)
    assert "Task: tao_ow" in caplog.text and "OWTA,D.Re,A.Acc" in caplog.text
    flat = flatten_results_dict(scores)
    assert {f"tao_ow/{name}-{subset}" for name in NAMES for subset in ("all", "known", "unknown")} < set(flat)
    assert all(isinstance(value, float) for value in flat.values())


def test_reset_forgets(dataset, tmp_path):
    evaluator = TAOOWEvaluator(dataset, output_dir=tmp_path)
    process(evaluator, 10, ((60, 60, 80, 80),))
    evaluator.reset()
    for image in (10, 11, 12):
        process(evaluator, image)
    assert evaluator.evaluate()["tao_ow"]["OWTA-all"] == pytest.approx(100)


def test_groups_of_the_metadata(dataset, tmp_path):
    MetadataCatalog.get(dataset).open_world_groups = {"known": [1, 2], "distractor": []}
    evaluator = TAOOWEvaluator(dataset, output_dir=tmp_path, subsets=["known", "unknown"])
    process(evaluator, 10)
    scores = evaluator.evaluate()["tao_ow"]
    assert scores["OWTA-known"] == scores["OWTA"] == 0 < scores["OWTA-unknown"]
    assert "OWTA-all" not in scores


@pytest.mark.parametrize("annotations", [None, []])
def test_split_without_annotations(annotations, dataset, tmp_path, caplog):
    gt = {**one_track()[0], "annotations": annotations}
    if annotations is None:
        del gt["annotations"], gt["tracks"]
    (tmp_path / "gt.json").write_text(json.dumps(gt))
    evaluator = TAOOWEvaluator(dataset, output_dir=tmp_path)
    process(evaluator, 10)
    with caplog.at_level(logging.INFO):
        assert evaluator.evaluate() == {}
    assert "no annotations" in caplog.text
    assert len(saved(tmp_path)) == 1 and (tmp_path / "mot" / "a.txt").is_file()


def test_frames_without_boxes_score_zero_and_no_frames_nothing(dataset, tmp_path, caplog):
    evaluator = TAOOWEvaluator(dataset, output_dir=tmp_path)
    assert evaluator.evaluate() == {}
    assert "no frame" in caplog.text
    process(evaluator, 10, np.zeros((0, 4)), np.zeros(0, dtype=np.int64))
    assert evaluator.evaluate()["tao_ow"]["OWTA-all"] == 0
    assert saved(tmp_path) == []


def test_predictions_are_saved_before_an_error(dataset, tmp_path):
    evaluator = TAOOWEvaluator(dataset, output_dir=tmp_path)
    process(evaluator, 10)
    process(evaluator, 99)
    with raises(ResultsError, "tao_ow_results.json", "entry 1", "image_id", 99):
        evaluator.evaluate()
    assert len(saved(tmp_path)) == 2
    process(evaluator, 10)
    with raises(ValueError, 1, 10):
        evaluator.evaluate()
    assert len(saved(tmp_path)) == 3


def test_missing_fields_and_files_are_named(dataset, tmp_path):
    evaluator = TAOOWEvaluator(dataset, output_dir=tmp_path)
    instances = Instances((100, 100), pred_boxes=Boxes(torch.zeros(1, 4)), scores=torch.zeros(1))
    with raises(ValueError, 10, "track_ids"):
        evaluator.process([{"image_id": 10, "video_id": 1}], [{"instances": instances}])
    with raises(ValueError, "novel", SUBSETS):
        TAOOWEvaluator(dataset, output_dir=tmp_path, subsets=["novel"])
    evaluator = TAOOWEvaluator("a_dataset_without_metadata", output_dir=tmp_path)
    process(evaluator, 10)
    with raises(ValueError, "a_dataset_without_metadata", "json_file"):
        evaluator.evaluate()


def test_mot_challenge_text(tmp_path):
    gt, _ = one_track()
    gt["videos"].append({**gt["videos"][0], "id": 2, "name": "val/empty"})
    gt["images"] = gt["images"][::-1]
    results = [result(12), result(10, [1, 2, 3.456, 4], track=4, score=0.25)]
    write_mot_challenge(results, gt, tmp_path)
    assert (tmp_path / "a.txt").read_text().splitlines() == [
        "1,4,1.00,2.00,3.46,4.00,0.250000,-1,-1,-1",
        "3,1,10.00,10.00,20.00,20.00,0.900000,-1,-1,-1",
    ]
    assert (tmp_path / "val-empty.txt").read_text() == ""


def test_interrupted_writing_leaves_the_old_file(tmp_path):
    gt, results = one_track()
    path = tmp_path / "results.json"
    write_results_json(load_results(results), path)
    before = path.read_text()
    assert json.loads(before) == results and evaluate_tao_ow(gt, path)["all"]["OWTA"] == pytest.approx(100)
    broken = dataclasses.replace(load_results(results), track_id=np.array([1, 2, object()]))
    with pytest.raises(TypeError):
        write_results_json(broken, path)
    assert path.read_text() == before and os.listdir(tmp_path) == ["results.json"]


def test_boxes_and_scores_are_saved_to_the_last_digit(dataset, tmp_path):
    evaluator = TAOOWEvaluator(dataset, output_dir=tmp_path)
    values = torch.tensor([[1000.37, 700.21, 1919.63, 1079.91]])
    for image in (10, 11, 12):
        process(evaluator, image, values.tolist())
    evaluator.evaluate()
    expected = [*values[0, :2].tolist(), *(values[0, 2:].double() - values[0, :2].double()).tolist()]
    assert saved(tmp_path)[0]["bbox"] == pytest.approx(expected, abs=1e-9)
