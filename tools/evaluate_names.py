#!/usr/bin/env python
"""Name the tracks of a dataset and count the right names, beside chance; for known and unknown categories too, where the
dataset or DATA.CLASSES defines them.

python tools/evaluate_names.py --config-file F --gt
python tools/evaluate_names.py --config-file F --results output/inference/shapes_ow_val/tao_ow_results.json
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from labelled_videos import LabelledVideos, chosen_dataset
from name_accuracy import FrameBoxes, name_accuracy, name_true_tracks, result_boxes, true_boxes, word_meanings
from tabulate import tabulate

from effowt_d2.data.labels import configured_groups
from effowt_d2.engine import make_config
from effowt_d2.evaluation.ground_truth import GroundTruth
from effowt_d2.evaluation.groups import CategoryGroups, choose_groups
from effowt_d2.evaluation.results_io import check_results, load_results
from effowt_d2.formats.read import read_json
from effowt_d2.naming import TrackNamer, read_vocabulary
from effowt_d2.utils.outputs import output_file

SUBSETS = ("all", "known", "unknown")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--config-file", required=True, metavar="CONFIG", help="a file, or a name of the model zoo")
    tracks = parser.add_mutually_exclusive_group(required=True)
    tracks.add_argument("--gt", action="store_true", help="name the tracks of the ground truth")
    tracks.add_argument("--results", metavar="FILE", help="name a tracker's tracks: a flat JSON list")
    add("--dataset", help="name in Detectron2's catalogs; by default the first of DATASETS.TEST")
    add("--vocabulary", metavar="FILE", help="words to choose from, or tao; by default the dataset's categories")
    add("--fields", nargs="+", default=[], help="more fields of the categories that may be right, such as shape")
    add("--score-threshold", type=float, default=0.3, help="least score of a result (0.3)")
    add("--threads", type=int, help="torch threads")
    add("--json", type=output_file, help="write the figures to this file")
    add("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config keys; must come last")
    return parser.parse_args(argv)


def category_records(videos: LabelledVideos, fields: Sequence[str]) -> dict[int, dict]:
    """The categories by id, with their names and those fields that only their file has.

    Raises:
        ValueError: a category lacks one of the fields.
    """
    records: dict[int, dict] = {number: {"name": name} for number, name in videos.categories.items()}
    if not fields:
        return records
    for record in read_json(Path(videos.file)).get("categories", ()):
        records[record["id"]].update(record)
    for field in fields:
        if any(field not in record for record in records.values()):
            known = sorted(set.intersection(*(set(record) for record in records.values())))
            raise ValueError(f"--fields {field}: not all categories have it; they have {', '.join(known)}")
    return records


def found_boxes(args: argparse.Namespace, gt: GroundTruth) -> FrameBoxes:
    """The boxes to name."""
    if args.gt:
        return true_boxes(gt)
    results = load_results(args.results)
    return result_boxes(results, check_results(results, gt), args.score_threshold)


def run(args: argparse.Namespace) -> dict:
    """Figures by subset and field, as ``name_accuracy`` gives them."""
    cfg = make_config(args.config_file, args.opts)
    videos = LabelledVideos(chosen_dataset(cfg, args.dataset), frames=True)
    gt, categories = videos.gt, category_records(videos, args.fields)
    # own data may have no groups
    groups = choose_groups(configured_groups(cfg), gt.open_world, gt.file, gt.categories)
    subsets = SUBSETS[:1] if groups is None else SUBSETS
    groups = groups or CategoryGroups(frozenset())
    vocabulary = read_vocabulary(args.vocabulary) if args.vocabulary else list(videos.categories.values())
    meaningless = [word for word, meaning in word_meanings(vocabulary, categories, "name").items() if not meaning]
    if len(meaningless) == len(vocabulary):
        raise ValueError(f"no word of --vocabulary names a category of {videos.file}, such as {vocabulary[0]!r}")
    if meaningless:
        print(f"{len(meaningless)} of {len(vocabulary)} words name no category: {meaningless[:5]}", file=sys.stderr)
    namer = TrackNamer(cfg, vocabulary)
    tracks = name_true_tracks(namer, gt, found_boxes(args, gt), videos.frame)
    members = {subset: groups.members(subset, np.array([track.category for track in tracks])) for subset in subsets}
    return {
        subset: {
            field: name_accuracy(
                [track for track, inside in zip(tracks, chosen) if inside], vocabulary, categories, field
            )
            for field in ("name", *args.fields)
        }
        for subset, chosen in members.items()
    }


def format_figures(figures: dict) -> str:
    """A row per subset: counts, percent named and how many of these are right, then percent right and, in brackets, by
    chance for each field."""
    fields = list(figures["all"])
    rows = []
    for subset, scores in figures.items():
        counts = scores["name"]
        cells = [f"{scores[field]['right']:.1f} ({scores[field]['chance']:.2f})" for field in fields]
        named = f"{counts['named']:.1f}", f"{counts['precision']:.1f}"
        rows.append([subset, counts["tracks"], counts["found"], *named, *cells, f"{counts['confidence']:.1f}"])
    headers = ["subset", "true tracks", "found", "named", "right of named", *fields, "confidence"]
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        figures = run(args)
    except (ValueError, OSError) as problem:
        print(f"evaluate_names.py: error: {problem}", file=sys.stderr)
        return 2
    print(format_figures(figures))
    print("\npercent of the found tracks: with a name, named right (by chance), mean confidence")
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
