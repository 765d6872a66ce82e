"""``effowt-track``: track every object in a video and write the requested outputs."""

import argparse
import functools
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from detectron2.config import CfgNode
from tqdm import tqdm

from effowt_d2.assets.cards import read_card
from effowt_d2.inference.stop_signal import StopSignal
from effowt_d2.inference.tracking_config import make_tracking_config
from effowt_d2.inference.video_predictor import check_following, check_weights
from effowt_d2.inference.video_tracker import VideoTracker
from effowt_d2.naming import check_describer, read_vocabulary
from effowt_d2.utils.arguments import config_keys
from effowt_d2.video import FrameReader, open_frames

from .arguments import make_parser, parse_args
from .console import suppress_output
from .jobs import assign_jobs, make_jobs, process_rank
from .outputs import Outputs, printable
from .overwriting import refuse_overwriting
from .pick import check_picking, pick_boxes
from .selection import Selection

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; None: those of the process.

    Returns:
        The exit code: 0; 2 after an error, which is printed; 130 where Ctrl-C ended the run early. Of several videos the
        others are tracked after an error in one.
    """
    # damaged frames are counted by the reader; FFmpeg's own messages about them would tear the progress bar
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "8")
    parser = make_parser()
    args = parse_args(parser, argv)
    with StopSignal() as stop, suppress_output(args.verbose):
        return track(args, parser.prog, stop)


def track(args: argparse.Namespace, prog: str, stop: StopSignal) -> int:
    """Do what the arguments ask for; the exit code."""
    rank, processes, local_rank = process_rank()
    try:
        jobs = assign_jobs(make_jobs(args), rank, processes)
        if processes > 1 and args.device in (None, "cuda") and torch.cuda.is_available():
            args.device = f"cuda:{local_rank % torch.cuda.device_count()}"
        arguments = make_tracker_arguments(args, prog)
        for job in jobs:
            refuse_overwriting(job)
        words = arguments["vocabulary"] or ()
        select = Selection(args, words)
        notice = training_notice(arguments["cfg_or_zoo_name"])
    except (ValueError, KeyError, OSError) as error:
        return _report(error, prog)
    if notice:
        print(f"note: {notice}")
    # one model for all videos, built once the first of them is open
    build = functools.cache(lambda: VideoTracker(**arguments))
    codes = [0]
    for job in jobs:
        if stop:
            break
        if args.output_dir:
            print(printable(f"== {job.input[0]}"))
        codes.append(track_video(job, build, select, words, prog, stop))
    return max(codes)


def track_video(
    args: argparse.Namespace,
    build: Callable[[], VideoTracker],
    select: Selection,
    words: Sequence[str],
    prog: str,
    stop: StopSignal,
) -> int:
    """Track one video; the exit code."""
    outputs = None
    try:
        choice = dict(stride=args.stride, start=args.start, end=args.end, fps=args.fps, timeout=args.timeout)
        boxes = pick_boxes(args) if args.pick else args.box
        frames = open_frames(args.input, **choice, stop=stop.__bool__)
        with frames, ExitStack() as stack:
            outputs = Outputs(args, frames, stack, words=words)
            done = run(build(), frames, outputs, stop, select, boxes)
        if not done and not stop:
            raise ValueError(f"{frames.name}: none of the chosen frames could be read")
    except InterruptedError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 130
    # RuntimeError: what torch raises, such as a GPU out of memory
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        code = _report(error, prog)
        if outputs:
            outputs.list_files()
        return code
    if stop:
        print("stopped before the end: the files hold the frames up to there")
    outputs.list_files()
    return 130 if stop else 0


def _report(error: Exception, prog: str) -> int:
    message = error.args[0] if isinstance(error, KeyError) else error
    print(f"{prog}: error: {message}", file=sys.stderr)
    return 2


def make_tracker_arguments(args: argparse.Namespace, prog: str) -> dict:
    """The arguments of VideoTracker; all are checked here, before files are made and the model is built."""
    choice = {name: getattr(args, name) for name in ("weights", "device", "precision", "max_side", "memory", "opts")}
    cfg = make_tracking_config(args.config_file, **choice)
    check_following(cfg, given=args.pick or bool(args.box))
    if args.pick:
        check_picking(args)
    check_weights(cfg)
    if args.describe:
        with config_keys("DESCRIBE", describe="--describe"):
            check_describer(args.describe, cfg.DESCRIBE.DROP)
    words = read_vocabulary(args.vocabulary) if args.vocabulary else None
    if args.output and "name" in args.labels:
        _warn_of_letters(words or [], prog)
    choice = dict(score_threshold=args.score_threshold, describe=args.describe, profile=args.profile)
    return dict(cfg_or_zoo_name=cfg, vocabulary=words, **choice)


def training_notice(cfg: CfgNode) -> str | None:
    """The warning of a model card for real video; None if there is none.

    Raises:
        ValueError: a card can't be read.
    """
    cards = [read_card(cfg.MODEL.WEIGHTS), read_card(cfg.MODEL.VLM.WEIGHTS)]
    return next((notice for notice in (card.notice() for card in cards if card) if notice), None)


def _warn_of_letters(words: list[str], prog: str) -> None:
    strange = [word for word in words if not word.isascii()]
    if strange:
        hint = "what is drawn has a ? for each letter that is not ASCII; results and report have the word"
        print(f"{prog}: warning: {strange[0]!r} ({len(strange)} such words): {hint}", file=sys.stderr)


def run(
    tracker: VideoTracker,
    frames: FrameReader,
    outputs: Outputs,
    stop: StopSignal,
    select: Selection,
    boxes: Sequence[Sequence[float]] = (),
) -> int:
    """Track through the frames, or follow boxes, write the tracks that are selected, and return the number of frames done."""
    done, seen, naming, begin = 0, set(), False, time.perf_counter()
    tracker.times.seconds.clear()
    with tqdm(total=frames.length, unit="frame", desc="tracking", dynamic_ncols=True) as bar:
        found = tracker.follow(frames, boxes, restart_ids=True) if boxes else tracker.track(frames, restart_ids=True)
        for tracks in map(select, found):
            seen.update(tracks.ids.tolist())
            naming = tracks.names is not None
            outputs.write(tracks, tracker.times)
            done += 1
            bar.set_postfix(boxes=len(tracks.ids), skipped=frames.skipped, refresh=False)
            bar.update()
            if stop:
                break
    spent = max(time.perf_counter() - begin, 1e-9)
    if outputs.describes and not stop:
        _describe(tracker, outputs, seen, stop)
    speed = f"{done / spent:.1f} frames per second"
    named = f" ({len(seen & _named(tracker))} named)" if naming else ""
    print(f"{done} frames, {len(seen)} tracks{named}, {speed}, {frames.skipped} unreadable frames skipped")
    for note in [*frames.notes, *outputs.notes()]:
        print(printable(f"note: {note}"))
    if tracker.times.enabled:
        print(f"time: {tracker.times.describe(spent)}")
    return done


def _named(tracker: VideoTracker) -> set[int]:
    return {id for id, (name, _) in tracker.names().items() if name}


def _describe(tracker: VideoTracker, outputs: Outputs, ids: set[int], stop: StopSignal) -> None:
    """Hand the descriptions of the tracks that were written to the outputs; Ctrl-C ends them early."""
    for track_id, said in tqdm(tracker.descriptions(ids), total=len(ids), unit="track", desc="describing"):
        outputs.describe(track_id, said)
        if stop:
            break
