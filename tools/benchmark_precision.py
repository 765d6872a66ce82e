#!/usr/bin/env python
"""How far boxes and scores of a trained model move in half precision.

    python tools/benchmark_precision.py

Videos of ShapesOW go through the model of a zoo config in float32 and in half precision: all of it (TEST.PRECISION),
the tower alone (MODEL.VLM.PRECISION), or both. Every box scored above --score in float32 is compared with the one that
overlaps it most.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from detectron2.structures import Instances
from tabulate import tabulate
from torchvision.ops import box_iou
from tqdm import tqdm

from effowt_d2 import model_zoo
from effowt_d2.data.shapes_ow import VideoSplit
from effowt_d2.data.shapes_ow.videos import draw_video
from effowt_d2.inference.video_predictor import VideoPredictor
from effowt_d2.utils.outputs import output_file

KEYS = {
    "all": ("TEST.PRECISION",),
    "tower": ("MODEL.VLM.PRECISION",),
    "all, tower stored": ("TEST.PRECISION", "MODEL.VLM.PRECISION"),
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--config", default="quick/shapes_ow_effowt.yaml", help="name of a zoo config with a trained checkpoint")
    add("--videos", type=int, default=4)
    add("--frames", type=int, default=12, help="of each video")
    add("--score", type=float, default=0.3, help="least score in float32 of a box that is compared")
    add("--threads", type=int, default=1, help="CPU threads")
    add("--json", type=output_file, metavar="OUT")
    return parser.parse_args(argv)


def predict(args: argparse.Namespace, *options: str) -> list[Instances]:
    """Detections of every frame, with more options of the config."""
    cfg = model_zoo.get_config(args.config, trained=True)
    cfg.merge_from_list(list(options))
    predictor, split, found = VideoPredictor(cfg), VideoSplit(frames=args.frames), []
    for video in range(args.videos):
        state = predictor.start()
        for number, (picture, _) in enumerate(draw_video(split, video)[1]):
            found.append(predictor(state, picture[:, :, ::-1], number))
    return found


def differences(reference: list[Instances], found: list[Instances], score: float) -> dict:
    """Boxes compared, those without a counterpart (no overlap above 0.5), and by how much the others moved."""
    boxes, scores, count, missing = [torch.zeros(0)], [torch.zeros(0)], 0, 0
    for expected, got in zip(reference, found):
        expected = expected[expected.scores > score]
        count += len(expected)
        if not len(got) or not len(expected):
            missing += len(expected)
            continue
        overlap, nearest = box_iou(expected.pred_boxes.tensor, got.pred_boxes.tensor).max(dim=1)
        kept = overlap > 0.5
        missing += int((~kept).sum())
        expected, got = expected[kept], got[nearest[kept]]
        boxes.append((expected.pred_boxes.tensor - got.pred_boxes.tensor).abs().amax(dim=1))
        scores.append((expected.scores - got.scores).abs())
    row = {"boxes": count, "missing": missing}
    for name, values in (("pixels", torch.cat(boxes)), ("score", torch.cat(scores))):
        if len(values):
            row.update({f"{name}, median": values.median().item(), f"{name}, 99 %": values.quantile(0.99).item()})
            row[f"{name}, most"] = values.max().item()
    return row


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    reference, rows = predict(args), []
    for precision in tqdm(("bfloat16", "float16"), unit="precision"):
        for what, keys in KEYS.items():
            options = [item for key in keys for item in (key, precision)]
            moved = differences(reference, predict(args, *options), args.score)
            rows.append({"format": precision, "of": what, **moved})
    print(tabulate(rows, headers="keys", tablefmt="pipe", floatfmt=".2g"))
    if args.json:
        Path(args.json).write_text(json.dumps({"about": vars(args), "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
