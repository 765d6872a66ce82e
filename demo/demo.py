#!/usr/bin/env python
"""Track every object in a video of yours.

    python demo/demo.py --config-file F --input VIDEO --output tracked.mp4 --results tracks.json \
        --opts MODEL.WEIGHTS model_final.pth
"""

import argparse
import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

# damaged frames are counted by the reader; FFmpeg's own remarks on them would tear the progress bar
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "8")

from detectron2.config import CfgNode
from tqdm import tqdm

from effowt_d2.engine import make_config
from effowt_d2.engine.video_predictor import VideoPredictor
from effowt_d2.visualization import FrameReader, Trails, draw_tracks, open_frames, open_results, open_writer


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config-file", required=True, metavar="FILE")
    add("--input", required=True, nargs="+", help="a video, folder, images, glob in quotes, or webcam number")
    add("--output", help="a video (.mp4 .webm .mkv .avi .mov), or a folder for frames")
    add("--results", help="tracks as .json (TAO), .txt (MOTChallenge) or .csv")
    add("--stride", type=int, default=1, help="take every STRIDE-th frame")
    add("--start", type=float, default=0.0, help="second to start at")
    add("--end", type=float, help="second to stop before")
    add("--fps", type=float, help="frames per second of images (30)")
    add("--score-threshold", type=float, default=0.3, help="least score of a box (0.3)")
    add("--trails", type=int, default=0, metavar="FRAMES", help="draw the ways of tracks this far back")
    add("--max-side", type=int, metavar="PIXELS", help="longest side inside the model")
    add("--device", help="cpu, cuda, cuda:1, ... (MODEL.DEVICE of the config)")
    add("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config keys; last of all")
    args = parser.parse_args(argv)
    if not args.output and not args.results:
        parser.error("nothing to do: give --output, --results, or both")
    return args


def setup(args: argparse.Namespace) -> CfgNode:
    """The config of the file, with the options on top."""
    cfg = make_config(args.config_file, args.opts)
    if args.device:
        cfg.MODEL.DEVICE = args.device
    if args.max_side is not None:
        if args.max_side < 1:
            raise ValueError(f"--max-side must be at least 1, got {args.max_side}")
        cfg.INPUT.MAX_SIZE_TEST = args.max_side
        cfg.INPUT.MIN_SIZE_TEST = min(cfg.INPUT.MIN_SIZE_TEST, args.max_side)
    cfg.freeze()
    return cfg


class StopSignal:
    """True once Ctrl-C or SIGTERM came, so that the loop ends between frames; a second one ends at once."""

    def __enter__(self) -> "StopSignal":
        self._came = False
        numbers = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def _note(self, number: int, _frame) -> None:
        self._came = True
        signal.signal(number, self._before[number])

    def __bool__(self) -> bool:
        return self._came

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def refuse_overwriting_input(args: argparse.Namespace) -> None:
    """Raise ValueError if the output would replace what is read."""
    inputs = {Path(source).resolve() for source in args.input}
    for name in ("output", "results"):
        target = getattr(args, name)
        if target and Path(target).resolve() in inputs:
            raise ValueError(f"--{name} {target} is also the input")


def run(args: argparse.Namespace, cfg: CfgNode, frames: FrameReader, stack: ExitStack) -> tuple[int, bool]:
    """Track through the frames and write what was asked for; the number done, and whether it was stopped."""
    # opening them finds wrong endings and unwritable folders before the model is built
    video = stack.enter_context(open_writer(args.output, frames.fps / frames.stride)) if args.output else None
    results = stack.enter_context(open_results(args.results)) if args.results else None
    trails = Trails(args.trails * frames.stride) if args.trails else None
    predictor = VideoPredictor(cfg)
    stop = stack.enter_context(StopSignal())
    bar = stack.enter_context(tqdm(total=frames.length, unit="frame", desc="tracking", dynamic_ncols=True))
    done, seen, begin = 0, set(), time.perf_counter()
    for tracks in predictor.track(frames, frames.fps):
        tracks = tracks.above(args.score_threshold)
        seen.update(tracks.ids.tolist())
        if results:
            results.write(tracks)
        if video:
            paths = trails.update(tracks.ids, tracks.boxes, tracks.index) if trails else None
            draw_tracks(tracks.image, tracks.boxes, tracks.ids, tracks.scores, trails=paths)
            video.write(tracks.image, tracks.index)
        done += 1
        bar.set_postfix(tracks=len(tracks.ids), skipped=frames.skipped, refresh=False)
        bar.update()
        if stop:
            break
    bar.close()
    spent = max(time.perf_counter() - begin, 1e-9)
    print(
        f"{done} frames, {len(seen)} tracks, {done / spent:.1f} frames per second "
        f"({predictor.seconds / spent:.0%} in the model), {frames.skipped} unreadable frames skipped"
    )
    return done, bool(stop)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        cfg = setup(args)
        refuse_overwriting_input(args)
        frames = open_frames(args.input, stride=args.stride, start=args.start, end=args.end, fps=args.fps)
        with frames, ExitStack() as stack:
            done, stopped = run(args, cfg, frames, stack)
        if not done:
            raise ValueError(f"{frames.name}: none of the chosen frames could be read")
    except (ValueError, KeyError, OSError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f"demo.py: error: {message}", file=sys.stderr)
        return 2
    if stopped:
        print("stopped before the end: the files hold the frames up to there")
    for name in ("output", "results"):
        if getattr(args, name):
            print(f"{name}: {getattr(args, name)}")
    return 130 if stopped else 0


if __name__ == "__main__":
    sys.exit(main())
