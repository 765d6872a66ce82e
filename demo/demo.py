#!/usr/bin/env python
"""Track every object in a video of yours.

    python demo/demo.py --config-file quick/shapes_ow_effowt.yaml --input VIDEO --output tracked.mp4 \
        --results tracks.json --report report.html

CONFIG is a file or a name of the model zoo; a name brings its trained weights.
"""

import argparse
import os
import sys
import time
from contextlib import ExitStack
from typing import TypeVar

# damaged frames are counted by the reader; FFmpeg's own remarks on them would tear the progress bar
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "8")

from overwriting import refuse_overwriting
from tqdm import tqdm

from effowt_d2 import VideoTracker
from effowt_d2.inference.stop_signal import StopSignal
from effowt_d2.inference.time_split import TimeSplit
from effowt_d2.inference.tracking_config import make_tracking_config
from effowt_d2.inference.video_predictor import check_weights
from effowt_d2.modeling.tower.precision import PRECISIONS
from effowt_d2.naming import read_vocabulary
from effowt_d2.report import ReportWriter
from effowt_d2.video import FrameReader, FrameTracks, open_frames, open_results, open_writer
from effowt_d2.visualization import LABEL_FIELDS, Trails, draw_tracks


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--config-file", required=True, metavar="CONFIG", help="a file, or a name of the model zoo")
    add("--weights", metavar="FILE", help="checkpoint (MODEL.WEIGHTS of the config)")
    add("--input", required=True, nargs="+", help="a video, folder, images, glob in quotes, or camera number")
    add("--output", help="a video (.mp4 .webm .mkv .avi .mov), or a folder for frames")
    add(
        "--results",
        action="append",
        default=[],
        metavar="FILE",
        help="tracks as .json (TAO), .cocovid.json (COCO-VID), .txt (MOTChallenge) or .csv; may be given several times",
    )
    add("--report", metavar="FILE.html", help="a page with the playable result and all its tracks")
    add("--gt", metavar="FILE.json", help="ground truth in TAO format that the report compares with")
    add("--vocabulary", metavar="FILE", help="words to name tracks with, one a line; or: tao")
    add("--stride", type=int, default=1, help="take every STRIDE-th frame")
    add("--start", type=float, default=0.0, metavar="SECONDS", help="where to start")
    add("--end", type=float, metavar="SECONDS", help="where to stop")
    add("--fps", type=float, help="frames per second of images (30)")
    add("--score-threshold", type=float, default=0.3, help="least score of a box (0.3)")
    add("--labels", type=_fields, default=LABEL_FIELDS, metavar="id,name,score", help="what is written at a box")
    add("--no-labels", dest="labels", action="store_const", const=(), help="write nothing at a box")
    add("--trails", type=float, default=0.0, metavar="SECONDS", help="draw the ways of tracks this far back")
    add("--max-side", type=int, metavar="PIXELS", help="longest side inside the model: smaller is faster")
    add(
        "--memory",
        type=float,
        metavar="SECONDS",
        help="how long a lost track is remembered (what the config sets, or 1)",
    )
    add("--device", help="cpu, cuda, cuda:1, ... (MODEL.DEVICE of the config)")
    add("--precision", choices=PRECISIONS, help="number format of the model (TEST.PRECISION of the config)")
    add("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config keys; last of all")
    args = parser.parse_args(argv)
    if not (args.output or args.results or args.report):
        parser.error("nothing to do: give --output, --results, --report, or several of them")
    if args.gt and not args.report:
        parser.error("--gt is compared with in the report: give --report too")
    return args


def _fields(text: str) -> tuple[str, ...]:
    fields = tuple(text.split(","))
    if not set(fields) <= set(LABEL_FIELDS):
        raise argparse.ArgumentTypeError(f"{text!r}: labels are made of {', '.join(LABEL_FIELDS)}")
    return fields


def make_tracker_arguments(args: argparse.Namespace) -> dict:
    """What VideoTracker takes; all of it is checked here, before files are made and the model is built."""
    choice = {name: getattr(args, name) for name in ("weights", "device", "precision", "max_side", "memory", "opts")}
    cfg = make_tracking_config(args.config_file, **choice)
    check_weights(cfg)
    words = read_vocabulary(args.vocabulary) if args.vocabulary else None
    if args.output and "name" in args.labels:
        _warn_of_letters(words or [])
    return dict(cfg_or_zoo_name=cfg, score_threshold=args.score_threshold, vocabulary=words)


def _warn_of_letters(words: list[str]) -> None:
    strange = [word for word in words if not word.isascii()]
    if strange:
        hint = "what is drawn has a ? for each letter that is not ASCII; results and report have the word"
        print(f"demo.py: warning: {strange[0]!r} ({len(strange)} such words): {hint}", file=sys.stderr)


Writer = TypeVar("Writer")


class Outputs:
    """Everything a run writes. Opening them finds wrong endings and unwritable folders before the model is built.

    Args:
        args: the command line.
        frames: what is tracked.
        stack: closes them.
    """

    def __init__(self, args: argparse.Namespace, frames: FrameReader, stack: ExitStack) -> None:
        self._stack, self._finished = stack, []
        self.trails = Trails(args.trails) if args.trails else None
        self.labels = args.labels
        settings = {name: value for name, value in vars(args).items() if value not in (None, [], ())}
        self.results = [self._keep(open_results(file)) for file in args.results]
        self.report = self.video = None
        if args.report:
            self.report = self._keep(ReportWriter(args.report, fps=frames.rate, settings=settings, gt=args.gt))
        if args.output:
            self.video = self._keep(open_writer(args.output, frames.rate))

    def _keep(self, writer: Writer) -> Writer:
        self._stack.callback(self._finish, writer)
        return writer

    def _finish(self, writer: Writer) -> None:
        writer.close()
        # not reached where closing fails: then what has the name is an older file
        self._finished.append(writer)

    def write(self, tracks: FrameTracks, times: TimeSplit) -> None:
        """Write a frame everywhere; it is drawn on, last of all."""
        with times.stage("writing"):
            for writer in self.results:
                writer.write(tracks)
        if self.report:
            with times.stage("report"):
                self.report.write(tracks)
        if self.video:
            with times.stage("drawing"):
                paths = self.trails.update(tracks.ids, tracks.boxes, tracks.time) if self.trails else None
                names = _names_with_confidence(tracks)
                draw_tracks(tracks.image, tracks.boxes, tracks.ids, tracks.scores, names, paths, self.labels)
            with times.stage("writing"):
                self.video.write(tracks.image, tracks.index)

    def list_files(self) -> None:
        """Print what this run finished."""
        kinds = [("output", [self.video]), ("results", self.results), ("report", [self.report])]
        for kind, writer in ((kind, writer) for kind, writers in kinds for writer in writers):
            if writer in self._finished and writer.frames:
                print(f"{kind}: {writer.path} ({writer.frames} frames)")


def _names_with_confidence(tracks: FrameTracks) -> list[str] | None:
    if tracks.names is None:
        return None
    return [f"{name} ({score:.0%})" if name else "" for name, score in zip(tracks.names, tracks.name_scores)]


def run(tracker: VideoTracker, frames: FrameReader, outputs: Outputs, stop: StopSignal) -> int:
    """Track through the frames and write what was asked for; the number done."""
    done, seen, begin = 0, set(), time.perf_counter()
    with tqdm(total=frames.length, unit="frame", desc="tracking", dynamic_ncols=True) as bar:
        for tracks in tracker.track(frames):
            seen.update(tracks.ids.tolist())
            outputs.write(tracks, tracker.times)
            done += 1
            bar.set_postfix(boxes=len(tracks.ids), skipped=frames.skipped, refresh=False)
            bar.update()
            if stop:
                break
    spent = max(time.perf_counter() - begin, 1e-9)
    speed = f"{done / spent:.1f} frames per second"
    print(f"{done} frames, {len(seen)} tracks, {speed}, {frames.skipped} unreadable frames skipped")
    print(f"time: {tracker.times.describe(spent)}")
    return done


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    outputs = None
    try:
        arguments = make_tracker_arguments(args)
        refuse_overwriting(args)
        frames = open_frames(args.input, stride=args.stride, start=args.start, end=args.end, fps=args.fps)
        with frames, ExitStack() as stack:
            outputs = Outputs(args, frames, stack)
            tracker = VideoTracker(**arguments)
            stop = stack.enter_context(StopSignal())
            done = run(tracker, frames, outputs, stop)
        if not done:
            raise ValueError(f"{frames.name}: none of the chosen frames could be read")
    # RuntimeError: what torch raises, such as a GPU out of memory
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f"demo.py: error: {message}", file=sys.stderr)
        if outputs:
            outputs.list_files()
        return 2
    if stop:
        print("stopped before the end: the files hold the frames up to there")
    outputs.list_files()
    return 130 if stop else 0


if __name__ == "__main__":
    sys.exit(main())
