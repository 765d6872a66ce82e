"""Render the ShapesOW benchmark into a folder, and score the baselines that bracket every tracker on it."""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from pathlib import Path

import cv2
from shapes_lab.baselines import BASELINES

from effowt_d2.data.datasets.shapes_ow import (
    CLIPS,
    EVALUATED,
    load_shapes_ow_clips,
    load_shapes_ow_images,
    load_shapes_ow_videos,
)
from effowt_d2.data.shapes_ow import ImageSplit, VideoSplit, draw_image, draw_video
from effowt_d2.data.shapes_ow.vocabulary import DEFAULT_KNOWN, KNOWN_COUNTS
from effowt_d2.evaluation import evaluate_tao_ow

_SUBSETS = ("all", "known", "unknown")
_SPLITS = ("train", *CLIPS, *EVALUATED)


def render(output: Path, splits: list[str], known: int) -> None:
    """Render the named splits below ``output``/shapes_ow, where the registered datasets look for them."""
    for name in splits:
        if name == "train":
            suffix = "" if known == DEFAULT_KNOWN else f"_{known}"
            records = load_shapes_ow_images(ImageSplit(known=known), output / "shapes_ow" / f"train{suffix}")
        elif name in CLIPS:
            records = load_shapes_ow_clips(CLIPS[name], output / "shapes_ow" / name)
        else:
            records = load_shapes_ow_videos(EVALUATED[name], output / "shapes_ow" / name)
        print(f"{name}: {len(records)} images, {sum(len(r['annotations']) for r in records)} labelled objects")


def print_baselines(ground_truth: Path) -> None:
    """Print OWTA / D.Re / A.Acc of every baseline as a Markdown table."""
    document = json.loads(ground_truth.read_text())
    print("| results | " + " | ".join(_SUBSETS) + " |\n|---|" + "---|" * len(_SUBSETS))
    with tempfile.TemporaryDirectory() as folder:
        for name, make in BASELINES.items():
            results = Path(folder) / "results.json"
            results.write_text(json.dumps(make(document)))
            scores = evaluate_tao_ow(str(ground_truth), str(results), subsets=_SUBSETS)
            cells = [" / ".join(f"{scores[s][m]:.1f}" for m in ("OWTA", "D.Re", "A.Acc")) for s in _SUBSETS]
            print(f"| {name} | " + " | ".join(cells) + " |")


def print_speed(count: int = 100) -> None:
    """Print milliseconds of processor time per frame on one core: drawing and labels, no files."""
    cv2.setNumThreads(1)
    start = time.process_time()
    for index in range(count):
        draw_image(ImageSplit(), index)
    images = (time.process_time() - start) / count
    split = VideoSplit(videos=count // 20)
    start = time.process_time()
    frames = sum(1 for index in range(split.videos) for _ in draw_video(split, index)[1])
    videos = (time.process_time() - start) / frames
    print(f"training image {1000 * images:.1f} ms, video frame {1000 * videos:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("datasets"), help="the folder DETECTRON2_DATASETS names")
    parser.add_argument("--splits", nargs="+", default=_SPLITS, choices=_SPLITS)
    parser.add_argument("--known", type=int, default=DEFAULT_KNOWN, choices=KNOWN_COUNTS, help="known shapes")
    parser.add_argument("--baselines", action="store_true", help="score the baselines on the val videos afterwards")
    parser.add_argument("--speed", action="store_true", help="only measure the rendering speed")
    args = parser.parse_args()
    if args.speed:
        print_speed()
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    splits = sorted({*args.splits, "val"}) if args.baselines else args.splits
    render(args.output, splits, args.known)
    if args.baselines:
        print_baselines(args.output / "shapes_ow" / "val" / f"annotations_{args.known}.json")


if __name__ == "__main__":
    main()
