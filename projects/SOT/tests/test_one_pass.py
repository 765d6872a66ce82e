"""Conventions of one-pass evaluation: the recorded figures of both evaluators of LoRAT's release, and hand cases."""

import numpy as np
import pytest
from helpers.golden import golden, golden_manifest
from sot.data.sequence import TargetSequence
from sot.evaluation import CONVENTIONS, RULES, evaluate_one_pass, format_table

from effowt_d2.formats import DatasetError

SETS = {
    "LaSOT": "lasot",
    "LaSOT_Extension": "lasot_ext",
    "VastTrack": "vasttrack",
    "UAV123": "uav123",
    "GOT-10k": "default",
    "TrackingNet": "default",
    "TNL2K": "default",
    "OTB-100": "default",
}


def sequence(name, boxes, present=(), **rest):
    files = [f"{index}.jpg" for index in range(len(boxes))]
    return TargetSequence(name=name, files=files, boxes=np.array(boxes, float), present=np.array(present, bool), **rest)


def recorded():
    numbers = golden("lorat/metrics")
    names = [f"seq{n}" for n in range(6)]
    truth = [sequence(n, numbers[f"{n}.gt"], numbers[f"{n}.exists"]) for n in names]
    return numbers, truth, {n: numbers[f"{n}.pred"].numpy() for n in names}


def compare_curves(numbers, truth, predictions, convention, rules, prefix, normalised):
    for one in truth:
        name = f"{prefix}.{one.name}"
        if f"{name}.success_curve" not in numbers:
            continue
        curves = evaluate_one_pass([one], predictions, convention, rules).curves
        for kind, key in (("success", "success"), ("precision", "precision"), ("normalised", normalised)):
            expected = 100 * numbers[f"{name}.{key}_curve"].double().numpy()
            np.testing.assert_allclose(curves[kind], expected, atol=1e-5, err_msg=f"{name} {kind}")


@pytest.mark.parametrize("name", SETS)
def test_the_published_convention_gives_the_figures_of_the_release(name):
    numbers, truth, predictions = recorded()
    report = evaluate_one_pass(truth, predictions, "pytracking", SETS[name])
    columns = ("AUC", "P", "Pnorm", "OP50", "OP75")
    found = [[report.sequences[one.name][column] for column in columns] for one in truth]
    np.testing.assert_allclose(found, 100 * numbers[f"pytracking.{name}.per_sequence"].numpy(), atol=1e-4)
    means = golden_manifest("lorat")["metrics_dataset_means"]["pytracking"][name]
    assert {key: report.headline[key] for key in columns} == pytest.approx(
        {k: 100 * v for k, v in means.items()}, abs=1e-4
    )
    compare_curves(numbers, truth, predictions, "pytracking", SETS[name], f"pytracking.{name}", "norm_precision")


def test_the_clean_convention_gives_the_figures_of_the_release():
    numbers, truth, predictions = recorded()
    report = evaluate_one_pass(truth, predictions, "valid_only")
    columns = ("AUC", "P", "Pnorm", "AO", "SR50", "SR75")
    found = [[report.sequences[one.name][column] for column in columns] for one in truth]
    np.testing.assert_allclose(found, 100 * numbers["valid_only.per_sequence"].numpy(), atol=1e-9)
    means = golden_manifest("lorat")["metrics_dataset_means"]["valid_only"]
    assert {key: report.mean[key] for key in columns} == pytest.approx({k: 100 * v for k, v in means.items()})
    compare_curves(numbers, truth, predictions, "valid_only", "default", "valid_only", "normalized_precision")


def test_overlaps_are_those_of_the_release():
    numbers, truth, predictions = recorded()
    for one in truth:
        expected = numbers[f"pytracking.{one.name}.iou"].numpy()
        for frame in np.flatnonzero(expected >= 0):
            here = sequence("one", one.boxes[[frame]])
            report = evaluate_one_pass([here], {"one": predictions[one.name][[frame]]}, "valid_only")
            assert report.mean["AO"] == pytest.approx(100 * expected[frame], abs=1e-10)


BOXES = np.array([[10.0, 10, 50, 40]] * 8) + np.arange(8)[:, None]


@pytest.mark.parametrize(
    "convention, name, expected",
    [
        ("pytracking", "AUC", 100 * 20 / 21),
        ("valid_only", "AUC", 100),
        ("valid_only", "AO", 100),
        ("trackingnet", "AUC", 97.5),
        ("trackingnet", "P", 100),
        ("got10k", "AO", 100),
        ("got10k", "SR75", 100),
    ],
)
def test_a_perfect_tracker_and_one_that_always_misses(convention, name, expected):
    truth = [sequence("a", BOXES, size=(200, 200))]
    assert evaluate_one_pass(truth, {"a": BOXES}, convention).headline[name] == pytest.approx(expected)
    far = BOXES + 100
    far[0] = BOXES[0]
    lost = evaluate_one_pass(truth, {"a": far}, convention).headline[name]
    # the given frame counts where the convention counts it
    assert lost == pytest.approx(0 if convention == "got10k" else expected / 8)


def test_thresholds_are_exclusive_for_overlap_and_inclusive_for_distance():
    truth = [sequence("a", [[0.0, 0, 40, 40]])]
    half = {"a": np.array([[0.0, 0, 20, 40]])}
    assert evaluate_one_pass(truth, half).mean["OP50"] == 0
    assert evaluate_one_pass(truth, half, "valid_only").mean["SR50"] == 100
    near, beyond = {"a": np.array([[20.0, 0, 60, 40]])}, {"a": np.array([[20.01, 0, 60.01, 40]])}
    assert [evaluate_one_pass(truth, boxes).mean["P"] for boxes in (near, beyond)] == [100, 0]


def test_got10k_pools_frames_and_leaves_out_covered_and_given_ones():
    long = sequence("long", BOXES, cover=np.array([8, 8, 0, 8, 8, 8, 8, 8]), size=(60, 60))
    short = sequence("short", BOXES[:3], size=(60, 60))
    predictions = {"long": BOXES.copy(), "short": BOXES[:3] + 1000}
    predictions["long"][2] += 500  # covered
    predictions["long"][0] += 500  # given
    report = evaluate_one_pass([long, short], predictions, "got10k")
    # 6 frames of the long one are perfect, 2 of the short one are missed
    assert report.headline == report.pooled and report.headline["AO"] == pytest.approx(100 * 6 / 8)
    assert report.mean["AO"] == pytest.approx(50)
    # boxes are cut to the image
    beyond = {"long": BOXES, "short": np.array([*BOXES[:2], [12.0, 12, 52, 42]]) + [[0, 0, 0, 0]] * 3}
    assert evaluate_one_pass([long, short], beyond, "got10k").headline["AO"] == pytest.approx(100)


def test_frames_without_target_are_not_scored_where_they_should_not_be():
    present = np.ones(8, bool)
    present[3:5] = False
    truth = [sequence("a", BOXES, present)]
    predictions = {"a": BOXES.copy()}
    predictions["a"][3:5] += 300
    assert evaluate_one_pass(truth, predictions, "valid_only").mean["AO"] == 100
    by_set = {name: evaluate_one_pass(truth, predictions, rules=name).mean for name in RULES}
    assert by_set["lasot"]["Pnorm"] == by_set["lasot"]["P"] == 75
    assert by_set["lasot_ext"]["Pnorm"] == 100 and by_set["lasot_ext"]["P"] == 75
    absent = BOXES.copy()
    absent[3:5] = np.nan
    assert evaluate_one_pass([sequence("a", absent)], predictions, rules="uav123").mean["P"] == 100


def test_a_sequence_without_a_frame_to_score_does_not_count(caplog):
    empty = sequence("empty", BOXES, np.zeros(8, bool))
    report = evaluate_one_pass([empty, sequence("full", BOXES)], {"empty": BOXES, "full": BOXES}, "valid_only")
    assert report.mean["AO"] == 100 and np.isnan(report.sequences["empty"]["AO"])
    assert "empty" in caplog.text and "| full" in format_table(report)


@pytest.mark.parametrize("convention", CONVENTIONS.names())
def test_boxes_that_are_no_boxes_are_misses(convention):
    truth = [sequence("a", BOXES, size=(90, 90))]
    for bad in (np.nan, np.inf):
        broken = np.full_like(BOXES, bad)
        report = evaluate_one_pass(truth, {"a": broken}, convention)
        assert all(value in (0, pytest.approx(12.5), pytest.approx(97.5 / 8)) for value in report.headline.values())


def test_wrong_predictions_name_the_sequence():
    truth = [sequence("bird-1", BOXES)]
    with pytest.raises(DatasetError, match="bird-1"):
        evaluate_one_pass(truth, {"bird-2": BOXES})
    with pytest.raises(DatasetError, match=r"bird-1.*8.*\(7, 4\)"):
        evaluate_one_pass(truth, {"bird-1": BOXES[:7]})
    with pytest.raises(DatasetError, match="bird-1.*7"):
        withheld = TargetSequence(name="bird-1", files=truth[0].files, boxes=BOXES[:1])
        evaluate_one_pass([withheld], {"bird-1": BOXES})
    with pytest.raises(ValueError, match="olympic.*pytracking"):
        evaluate_one_pass(truth, {"bird-1": BOXES}, "olympic")
    with pytest.raises(ValueError, match="lasot.*mine|mine.*lasot|rules"):
        evaluate_one_pass(truth, {"bird-1": BOXES}, rules="mine")
