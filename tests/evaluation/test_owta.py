"""The metric on arrays, worked by hand."""

from fractions import Fraction

import numpy as np
import pytest

from effowt_d2.evaluation.owta import ALPHAS, VideoScore, box_iou, combine_videos, score_video, unmatched_results


def ids(*frames):
    return [np.array(frame, dtype=np.int64) for frame in frames]


def iou(rows):
    return np.array(rows, dtype=float)


def curves(score):
    return combine_videos([score])


def test_thresholds_are_nineteen_from_5_to_95_percent():
    np.testing.assert_allclose(ALPHAS, np.arange(1, 20) / 20)


def test_iou_of_shifted_touching_and_empty_boxes():
    gt = iou([[0, 0, 10, 10], [0, 0, 10, 0]])
    results = iou([[0, 0, 10, 10], [5, 0, 10, 10], [10, 0, 10, 10], [3, 3, 0, 5]])
    expected = [[1, Fraction(50, 150), 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(box_iou(gt, results), iou(expected), atol=1e-15)


def test_perfect_track_scores_one():
    one = iou([[1]])
    score = curves(score_video(ids([7], [7]), ids([3], [3]), [one, one]))
    for name in ("OWTA", "DetRe", "AssA"):
        np.testing.assert_array_equal(score[name], 1)


def test_worked_example_three_frames_one_wrong():
    """One object for 3 frames; the result follows it twice and is elsewhere once: 2/3, 1/2, sqrt(1/3)."""
    score = score_video(ids([7], [7], [7]), ids([3], [3], [3]), [iou([[1]]), iou([[1]]), iou([[0]])])
    np.testing.assert_array_equal(score.false_positives, 1)
    result = curves(score)
    np.testing.assert_allclose(result["DetRe"], float(Fraction(2, 3)), atol=1e-15)
    # 2 matches; 3 frames of the object, 3 of the result: 2 / (3 + 3 - 2)
    np.testing.assert_allclose(result["AssA"], float(Fraction(1, 2)), atol=1e-15)
    np.testing.assert_allclose(result["OWTA"], (1 / 3) ** 0.5, atol=1e-15)


def test_result_that_never_matches_costs_nothing():
    pair = iou([[1, 0]])
    score = score_video(ids([7], [7]), ids([3, 4], [3, 4]), [pair, pair])
    np.testing.assert_array_equal(curves(score)["OWTA"], 1)
    np.testing.assert_array_equal(score.false_positives, 2)


def test_change_of_id_halves_association_of_a_four_frame_track():
    one = iou([[1]])
    score = curves(score_video(ids([7], [7], [7], [7]), ids([3], [3], [4], [4]), [one] * 4))
    np.testing.assert_array_equal(score["DetRe"], 1)
    # both pairs of tracks: 2 matches out of 4 frames
    np.testing.assert_allclose(score["AssA"], 0.5, atol=1e-15)


def test_threshold_is_inclusive():
    score = score_video(ids([7]), ids([3]), [iou([[0.5]])])
    np.testing.assert_array_equal(score.true_positives, [1] * 10 + [0] * 9)


def test_global_alignment_prefers_the_lasting_track():
    """In the last frame result 4 lies a little better, but result 3 has followed the object before."""
    frames = [iou([[1, 0]]), iou([[1, 0]]), iou([[0.8, 0.9]])]
    score = score_video(ids([7], [7], [7]), ids([3, 4], [3, 4], [3, 4]), frames)
    # the pair (7, 3) has IoU 0.8 in the last frame, which the last 3 thresholds reject
    np.testing.assert_array_equal(score.true_positives, [3] * 16 + [2] * 3)


def test_no_results_and_no_ground_truth():
    nothing = np.zeros((1, 0))
    score = score_video(ids([7]), ids([]), [nothing])
    np.testing.assert_array_equal(score.false_negatives, 1)
    np.testing.assert_array_equal(score.association, 0)
    score = score_video(ids([]), ids([3]), [nothing.T])
    np.testing.assert_array_equal(score.false_positives, 1)
    for curve in combine_videos([]).values():
        np.testing.assert_array_equal(curve, np.zeros(19))


def test_videos_weigh_by_their_matches():
    ones = np.ones(19)
    first = VideoScore(3 * ones, 1 * ones, 0 * ones, 0.5 * ones)
    second = VideoScore(1 * ones, 3 * ones, 0 * ones, 1 * ones)
    score = combine_videos([first, second])
    np.testing.assert_allclose(score["DetRe"], 0.5)
    np.testing.assert_allclose(score["AssA"], float(Fraction(3, 4) * Fraction(1, 2) + Fraction(1, 4)))


@pytest.mark.parametrize(
    "similarity, expected",
    [
        ([[0.6, 0.4]], [False, True]),
        ([[0.49, 0.4]], [True, True]),
        ([[0.5], [0.9]], [False]),
        (np.zeros((0, 2)), [True, True]),
    ],
)
def test_unmatched_results_from_half_overlap_on(similarity, expected):
    assert unmatched_results(iou(similarity)).tolist() == expected


def test_equals_the_slow_definition():
    """Against loops over pairs and thresholds straight from the formulas, with unambiguous assignments."""
    rng = np.random.default_rng(5)
    frames = [rng.random((3, 5)) * (rng.random((3, 5)) < 0.5) for _ in range(6)]
    result_ids = [rng.permutation(9)[:5] for _ in frames]
    score = score_video(ids(*[range(3)] * 6), result_ids, frames)
    truth = slow_ass_a(frames, result_ids)
    np.testing.assert_allclose(score.association, truth, atol=1e-12)
    assert 0 < truth[0] < 1


def slow_ass_a(frames, result_ids):
    from scipy.optimize import linear_sum_assignment

    overlap, seen = np.zeros((3, 9)), np.zeros(9)
    for s, names in zip(frames, result_ids):
        for g in range(3):
            for column, name in enumerate(names):
                rest = s[g].sum() + s[:, column].sum() - s[g, column]
                overlap[g, name] += s[g, column] / rest if rest > 0 else 0
        seen[names] += 1
    counts = np.zeros((19, 3, 9))
    for s, names in zip(frames, result_ids):
        weight = [
            [overlap[g, n] / (6 + seen[n] - overlap[g, n]) * s[g, c] for c, n in enumerate(names)] for g in range(3)
        ]
        for g, c in zip(*linear_sum_assignment(weight, maximize=True)):
            counts[:, g, names[c]] += s[g, c] >= ALPHAS
    return [(n * n / np.maximum(1, 6 + seen - n)).sum() / max(1, n.sum()) for n in counts]
