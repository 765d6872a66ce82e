#!/usr/bin/env python
"""Score a result file against a TAO-format ground truth: OWTA, D.Re and A.Acc for all, known and unknown."""

import argparse
import json
import sys

import numpy as np

from effowt_d2.evaluation import evaluate_tao_ow, evaluate_with_trackeval, format_table
from effowt_d2.evaluation.groups import SUBSETS


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gt", required=True, help="ground truth, TAO format")
    parser.add_argument("--results", required=True, help="results, a flat JSON list")
    parser.add_argument("--json", help="write the scores, per threshold too, to this file")
    parser.add_argument("--max-detections", type=int, default=300, help="kept per image; 0: all; default 300")
    parser.add_argument("--subsets", nargs="+", choices=SUBSETS, default=["all", "known", "unknown"])
    parser.add_argument("--workers", type=int, default=0, help="processes; 0: one per core")
    parser.add_argument("--check", action="store_true", help="compare with trackeval (slow)")
    return parser


def main() -> int:
    args = get_parser().parse_args()
    try:
        scores = evaluate_tao_ow(args.gt, args.results, args.subsets, args.max_detections, workers=args.workers)
    except (ValueError, FileNotFoundError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    print(format_table(scores))
    print(f"\npercent; at most {args.max_detections or 'unlimited'} results an image")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"max_detections": args.max_detections, "scores": scores}, file, indent=1)
    return check(args, scores) if args.check else 0


def check(args: argparse.Namespace, scores: dict) -> int:
    """Print the largest difference from trackeval over subsets, fields and thresholds; fail above 1e-9."""
    difference = max(
        np.abs(curve - scores[subset]["per_alpha"][name]).max()
        for subset in args.subsets
        for name, curve in evaluate_with_trackeval(args.gt, args.results, subset, args.max_detections).items()
    )
    print(f"largest difference from trackeval: {difference:.1e}")
    return int(difference > 1e-9)


if __name__ == "__main__":
    sys.exit(main())
