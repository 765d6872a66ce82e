"""Evaluation: OWTA, D.Re and A.Acc of TAO-OW."""

from .evaluator import TAOOWEvaluator
from .ground_truth import GroundTruthError
from .groups import CategoryGroups
from .reference import evaluate_with_trackeval
from .results_io import ResultsError
from .tao_ow import evaluate_tao_ow, format_table
from .writers import write_mot_challenge, write_results_json

__all__ = [
    "CategoryGroups",
    "GroundTruthError",
    "ResultsError",
    "TAOOWEvaluator",
    "evaluate_tao_ow",
    "evaluate_with_trackeval",
    "format_table",
    "write_mot_challenge",
    "write_results_json",
]
