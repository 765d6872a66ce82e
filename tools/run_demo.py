#!/usr/bin/env python
"""The demo, end to end: train on ShapesOW, track unseen videos, score with trackeval, draw one of them.

    python tools/run_demo.py --output output/demo

Every step is the command a user would type; it is printed before it runs.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from detectron2.data import MetadataCatalog

import effowt_d2  # noqa: F401  (registers the datasets)
from effowt_d2.evaluation import evaluate_with_trackeval

ROOT = Path(__file__).resolve().parents[1]
DATASET = "shapes_ow_val"
SUBSETS = ("all", "known", "unknown")
FIELDS = {"OWTA": "OWTA", "D.Re": "DetRe", "A.Acc": "AssA"}


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("output/demo"), help="output folder")
    parser.add_argument("--config-file", type=Path, default=ROOT / "configs/quick/shapes_ow_effowt.yaml")
    parser.add_argument("--video", default=0, type=int, help="number of the video that is drawn")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys for the training")
    return parser


def run(title: str, script: str, *arguments) -> None:
    """Run a script of the project; its own output follows."""
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    print(f"\n== {title}\n$ {shlex.join(['python', script, *map(str, arguments)])}", flush=True)
    start = time.monotonic()
    subprocess.run(command, check=True)
    print(f"== {title}: {time.monotonic() - start:.0f} s", flush=True)


def score(results: Path) -> dict:
    """{subset: {OWTA, D.Re, A.Acc}} in percent, by trackeval."""
    gt = MetadataCatalog.get(DATASET).json_file
    scores = {}
    for subset in SUBSETS:
        curves = evaluate_with_trackeval(gt, str(results), subset)
        scores[subset] = {name: 100 * float(np.mean(curves[field])) for name, field in FIELDS.items()}
    return scores


def table(rows: dict) -> str:
    """The scores of several models as lines of text."""
    lines = [" " * 12 + "".join(f"{subset:^25}" for subset in SUBSETS), " " * 12 + "   OWTA    D.Re   A.Acc " * 3]
    for name, scores in rows.items():
        cells = (f"{scores[s]['OWTA']:7.1f} {scores[s]['D.Re']:7.1f} {scores[s]['A.Acc']:7.1f}  " for s in SUBSETS)
        lines.append(f"{name:12}" + "".join(cells))
    return "\n".join(lines)


def main() -> int:
    args = get_parser().parse_args()
    output, start = args.output, time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    common = ["--config-file", args.config_file]
    untrained = ["--eval-only", "OUTPUT_DIR", output / "untrained"]
    run("score the untrained model", "train_net.py", *common, *untrained, *args.opts)
    run("train, then track and score", "train_net.py", *common, "OUTPUT_DIR", output, *args.opts)
    results = {
        "untrained": output / "untrained" / "inference" / DATASET / "tao_ow_results.json",
        "trained": output / "inference" / DATASET / "tao_ow_results.json",
    }
    weights, video = output / "model_final.pth", output / "tracked.mp4"
    run(
        "track and draw one video", "demo/demo.py", *common, "--input", _frames(args.video), "--fps", 6,
        "--output", video, "--overwrite", "--trails", 1.4, "--opts", "MODEL.WEIGHTS", weights, *args.opts,
    )  # fmt: skip
    rows = {name: score(path) for name, path in results.items()}
    (output / "scores.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(f"\n== {DATASET}, percent, scored by trackeval, at most 300 results an image\n\n{table(rows)}\n")
    made = {"results": results["trained"], "checkpoint": weights, "video": video, "scores": output / "scores.json"}
    for what, path in made.items():
        print(f"{what:10} {os.path.relpath(path)}")
    print(f"\ndone in {time.monotonic() - start:.0f} s")
    return 0


def _frames(number: int) -> Path:
    """Folder of the frames of a video of the dataset."""
    metadata = MetadataCatalog.get(DATASET)
    images = json.loads(Path(metadata.json_file).read_text())
    names = [video["id"] for video in images["videos"]]
    first = next(image for image in images["images"] if image["video_id"] == names[number])
    return Path(metadata.image_root) / Path(first["file_name"]).parent


if __name__ == "__main__":
    sys.exit(main())
