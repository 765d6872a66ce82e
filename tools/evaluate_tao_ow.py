#!/usr/bin/env python
"""Score tracking results: OWTA, D.Re and A.Acc for all, known and unknown objects.

    python tools/evaluate_tao_ow.py --gt validation.json --results tao_ow_results.json
    python tools/evaluate_tao_ow.py --gt mine.json --results tracks.cocovid.json --known dog "traffic light" 17

Warnings go to the standard error.
"""

import argparse
import json
import logging
import sys
from pathlib import Path

import numpy as np

from effowt_d2.evaluation import evaluate_tao_ow, evaluate_with_trackeval, format_table
from effowt_d2.evaluation.ground_truth import load_ground_truth, read_video_dataset
from effowt_d2.evaluation.groups import SUBSETS
from effowt_d2.evaluation.result_formats import read_results
from effowt_d2.evaluation.switches import count_identities
from effowt_d2.formats import FORMATS, read_dataset
from effowt_d2.formats.read import read_json
from effowt_d2.utils.outputs import output_file


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gt", required=True, help="ground truth: videos in any format (docs/own_data.md)")
    parser.add_argument("--format", default="", choices=FORMATS, help="of the ground truth; default: detected")
    parser.add_argument(
        "--results", required=True, help="a flat JSON list, COCO-VID JSON, MOTChallenge text or a folder of such"
    )
    parser.add_argument("--json", type=output_file, help="write the scores, per threshold too, to this file")
    parser.add_argument("--max-detections", type=int, default=300, help="kept per image; 0: all; default 300")
    parser.add_argument("--subsets", nargs="+", choices=SUBSETS, default=["all", "known", "unknown"])
    category = {"nargs": "+", "metavar": "NAME|ID"}
    parser.add_argument("--known", help="the known categories; default: those of the file, or TAO's", **category)
    parser.add_argument("--distractor", help="categories that are neither known nor unknown", **category)
    parser.add_argument("--groups", help='a JSON file {"known": [names or ids], "distractor": [...]} in their place')
    switches = "count identity switches and kept objects at IoU 0.5, of results with this score or more"
    parser.add_argument("--switches", type=float, metavar="SCORE", help=switches)
    parser.add_argument("--workers", type=int, default=0, help="processes; 0: one per core")
    parser.add_argument("--check", action="store_true", help="compare with trackeval (slow); TAO format only")
    return parser


def read_groups(args: argparse.Namespace) -> dict | None:
    """The groups of the command line; None where it has none.

    Raises:
        ValueError: options that exclude each other.
    """
    if args.groups and (args.known or args.distractor):
        raise ValueError("--groups takes the place of --known and --distractor: give one or the other")
    if args.groups:
        return read_json(Path(args.groups))
    if args.distractor and not args.known:
        raise ValueError("--distractor needs --known")
    if not args.known:
        return None
    groups = {"known": args.known, "distractor": args.distractor or []}
    return {name: [int(value) if value.isdecimal() else value for value in values] for name, values in groups.items()}


def main() -> int:
    args = get_parser().parse_args()
    logging.basicConfig(format="%(levelname)s: %(message)s", stream=sys.stderr)
    try:
        gt = read_video_dataset(read_dataset(args.gt, format=args.format))
        truth, groups = load_ground_truth(gt), read_groups(args)
        results = read_results(args.results, truth)
        scores = evaluate_tao_ow(truth, results, args.subsets, args.max_detections, groups=groups, workers=args.workers)
    except (ValueError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    print(format_table(scores))
    print(f"\npercent; at most {args.max_detections or 'unlimited'} results an image")
    if args.switches is not None:
        counts = count_identities(truth, results, args.subsets, groups=groups, min_score=args.switches)
        for name, (objects, switches, kept) in counts.items():
            print(f"{name}: {switches} identity switches of {objects} objects, {kept} kept by one track")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"max_detections": args.max_detections, "scores": scores}, file, indent=1)
    return check(args, scores, groups) if args.check else 0


def check(args: argparse.Namespace, scores: dict, groups: dict | None) -> int:
    """Print the largest difference from trackeval over subsets, fields and thresholds; fail above 1e-9."""
    difference = max(
        np.abs(curve - scores[subset]["per_alpha"][name]).max()
        for subset in args.subsets
        for name, curve in evaluate_with_trackeval(
            args.gt, args.results, subset, args.max_detections, groups=groups
        ).items()
    )
    print(f"largest difference from trackeval: {difference:.1e}")
    return int(difference > 1e-9)


if __name__ == "__main__":
    sys.exit(main())
