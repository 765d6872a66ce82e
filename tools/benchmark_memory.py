#!/usr/bin/env python
"""Resident memory along one long video: it must not grow with the number of frames.

    python tools/benchmark_memory.py --frames 10000 --json OUT

Scenes of ShapesOW are rendered one behind the other and tracked as one video, without drawing, by the model of a zoo
config with its trained checkpoint. The objects change with each scene, so that tracks end and ids go on.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tqdm import tqdm

from effowt_d2 import model_zoo
from effowt_d2.data.shapes_ow import VideoSplit
from effowt_d2.data.shapes_ow.videos import draw_video
from effowt_d2.inference.video_predictor import VideoPredictor
from effowt_d2.utils.outputs import output_file
from effowt_d2.video import Frame

MIB = 2**20


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--config", default="quick/shapes_ow_effowt.yaml", help="name of a zoo config with a trained checkpoint")
    add("--frames", type=int, default=10_000)
    add("--first", type=int, default=500, help="reference frame of the comparison")
    add("--every", type=int, default=500, help="frames between two entries of the curve")
    add("--scene", type=int, default=40, help="frames until the objects change")
    add("--size", type=int, default=VideoSplit.size, help="side of a frame")
    add("--threads", type=int, default=1, help="CPU threads")
    add("--json", type=output_file, metavar="OUT")
    args = parser.parse_args(argv)
    if not 0 < args.first <= args.frames:
        parser.error(f"--first must be in 1 .. --frames, got {args.first} and {args.frames}")
    return args


def synthetic_frames(count: int, split: VideoSplit) -> Iterator[Frame]:
    """``count`` frames, one at a time, of as many scenes as it takes."""
    for number in range(count):
        scene, place = divmod(number, split.frames)
        if not place:
            pictures = draw_video(split, scene)[1]
        yield Frame(index=number, image=next(pictures)[0][:, :, ::-1], name=str(number), time=number / 30)


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def measure(args: argparse.Namespace) -> dict:
    """The curve ``[frame, bytes]``, and what the video was."""
    predictor = VideoPredictor(model_zoo.get_config(args.config, trained=True), profile=True)
    curve, ids, start = [], 0, time.perf_counter()
    scenes = VideoSplit(frames=args.scene, size=args.size)
    frames = tqdm(synthetic_frames(args.frames, scenes), total=args.frames, unit="frame", mininterval=10)
    for number, tracks in enumerate(predictor.track(frames, fps=30.0), start=1):
        ids = max(ids, int(tracks.ids.max(initial=-1)) + 1)
        if number in (args.first, args.frames) or not number % args.every:
            curve.append([number, resident_bytes()])
    return {"curve": curve, "ids": ids, "seconds": time.perf_counter() - start, "in the model": predictor.seconds}


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    figures = measure(args)
    curve = dict(figures["curve"])
    first, last = curve[args.first], curve[args.frames]
    print(f"{args.frames} frames in {figures['seconds']:.0f} s, {figures['ids']} ids given")
    print(f"resident after {args.first} frames: {first / MIB:.1f} MiB, at the end {last / MIB:.1f} MiB", end=" ")
    print(f"({last / first - 1:+.2%}), most {max(curve.values()) / MIB:.1f} MiB")
    if args.json:
        Path(args.json).write_text(json.dumps({"about": vars(args), **figures}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
