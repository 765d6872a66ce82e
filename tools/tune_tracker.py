#!/usr/bin/env python
"""Choose the settings of the tracker on a dataset of videos, and show what limits the scores.

    python tools/tune_tracker.py --config-file F --dataset davis_tao --detections found.npz --trials 300
    python tools/tune_tracker.py --config-file F --dataset davis_tao --detections found.npz --trials 0

The network runs once; its detections are kept in the file of --detections, and are read from it where it exists.
The settings that win are printed as config keys. --folds N also chooses them N times without one N-th of the videos
each, and scores them there: the figure to expect on other videos.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode
from labelled_videos import LabelledVideos, chosen_dataset
from tabulate import tabulate
from tracker_lab.detections import FrameDetections, detect, load_detections, made_by, save_detections
from tracker_lab.score import oracle_scores, recall_at, track, tracking_scores
from tracker_lab.search import search

from effowt_d2.engine import make_config
from effowt_d2.evaluation.ground_truth import GroundTruth
from effowt_d2.inference.video_predictor import VideoPredictor, check_weights
from effowt_d2.modeling.meta_arch.tracker_config import tracker_settings
from effowt_d2.utils.outputs import output_file

NAMES = ("OWTA", "D.Re", "A.Acc")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--config-file", required=True, metavar="CONFIG", help="a file, or a name of the model zoo")
    add("--dataset", help="name in Detectron2's catalogs; default: the first of DATASETS.TEST")
    add(
        "--detections",
        required=True,
        type=output_file,
        metavar="FILE.npz",
        help="file of detections; created if missing",
    )
    add("--trials", type=int, default=300, help="settings to try (300); 0: score those of the config only")
    add("--folds", type=int, default=0, help="also choose and score by folds of the videos")
    add("--seed", type=int, default=0, help="of the draws")
    add("--threads", type=int, help="torch threads")
    add("--json", type=output_file, metavar="FILE", help="write the figures to this file")
    add("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config keys; must come last")
    args = parser.parse_args(argv)
    if args.trials < 0 or args.folds < 0 or args.folds == 1:
        parser.error(f"--trials must be 0 or more and --folds 0 or from 2 on, got {args.trials} and {args.folds}")
    return args


def find_detections(args: argparse.Namespace, cfg: CfgNode, dataset: str) -> list[FrameDetections]:
    """Those of the file, which is made where it isn't there.

    Raises:
        ValueError: the file was made by another network or from another dataset.
    """
    path = Path(args.detections)
    check_weights(cfg)
    source = made_by(cfg, dataset)
    if path.exists():
        print(f"detections are read from {path}", file=sys.stderr)
    else:
        save_detections(detect(cfg, VideoPredictor(cfg).model, dataset), path, source)
    return load_detections(path, source)


def choose(frames: list[FrameDetections], gt: GroundTruth, args: argparse.Namespace, start: dict) -> tuple[float, dict]:
    """The best score and settings of ``--trials``."""

    def score(settings: dict) -> float:
        return tracking_scores(gt, track(frames, **_split(settings)))["all"]["OWTA"]

    return max(search(score, trials=args.trials, seed=args.seed, start=start), key=lambda trial: trial[0])


def _split(settings: dict) -> dict:
    rest = dict(settings)
    return {"limit": rest.pop("limit"), "settings": rest}


def part_of(gt: GroundTruth, videos: np.ndarray) -> GroundTruth:
    """The annotations of some videos, given by their positions."""
    keep = np.isin(gt.image_video[gt.image], videos)
    values = dict(vars(gt))
    values.update({name: values[name][keep] for name in ("image", "track", "category", "boxes")})
    return GroundTruth(**values)


def by_folds(frames: list[FrameDetections], gt: GroundTruth, args: argparse.Namespace, start: dict) -> dict:
    """Scores of all videos, each tracked with settings that were chosen without it."""
    order = np.random.default_rng(args.seed).permutation(len(gt.video_ids))
    pieces = []
    for held_out in np.array_split(order, args.folds):
        ids = set(gt.video_ids[held_out].tolist())
        rest = part_of(gt, np.setdiff1d(order, held_out))
        _, settings = choose([f for f in frames if f.video_id not in ids], rest, args, start)
        pieces.append(track([f for f in frames if f.video_id in ids], **_split(settings)))
    return tracking_scores(gt, {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]})["all"]


def run(args: argparse.Namespace) -> dict:
    """All figures."""
    cfg = make_config(args.config_file, args.opts)
    dataset = chosen_dataset(cfg, args.dataset)
    gt = LabelledVideos(dataset).gt
    if args.folds > len(gt.video_ids):
        raise ValueError(f"--folds is {args.folds}, but {dataset} has {len(gt.video_ids)} videos to share out")
    frames = find_detections(args, cfg, dataset)
    start = {**tracker_settings(cfg.TRACKER), "limit": cfg.TEST.DETECTIONS_PER_IMAGE}
    figures = {"recall": {limit: recall_at(gt, frames, limit) for limit in (1, 10, 100)}}
    figures["config"] = tracking_scores(gt, track(frames, **_split(start)))["all"]
    chosen = start
    if args.trials:
        _, chosen = choose(frames, gt, args, start)
        figures["chosen"] = tracking_scores(gt, track(frames, **_split(chosen)))["all"]
        figures["settings"] = chosen
    if args.folds:
        figures["by folds"] = by_folds(frames, gt, args, start)
    figures["oracles"] = oracle_scores(gt, track(frames, **_split(chosen)))
    return figures


def format_figures(figures: dict) -> str:
    """Tables of recall, scores and oracles, and the settings as config keys."""
    recall = [[limit, *values.values()] for limit, values in figures["recall"].items()]
    rows = [[name, *(figures[name][n] for n in NAMES)] for name in ("config", "chosen", "by folds") if name in figures]
    rows += [[f"oracle: {name}", *(values[n] for n in NAMES)] for name, values in figures["oracles"].items()]
    style = {"tablefmt": "pipe", "floatfmt": ".1f"}
    parts = [tabulate(recall, ["detections", "AR", "R50", "R75"], **style), tabulate(rows, ["", *NAMES], **style)]
    if "settings" in figures:
        keys = {
            ("TEST.DETECTIONS_PER_IMAGE" if k == "limit" else f"TRACKER.{k.upper()}"): v
            for k, v in figures["settings"].items()
        }
        parts.append(" ".join(f"{key} {value}" for key, value in keys.items()))
    return "\n\n".join(parts)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        figures = run(args)
    except (ValueError, OSError) as problem:
        print(f"tune_tracker.py: error: {problem}", file=sys.stderr)
        return 2
    print(format_figures(figures))
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
