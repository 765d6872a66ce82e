#!/usr/bin/env python
"""Time the TAO-OW evaluation against trackeval, and at the size of TAO's validation set.

    python tools/benchmark_evaluation.py --boxes 100 200 300            # against trackeval, 10 videos
    python tools/benchmark_evaluation.py --boxes 300 --videos 5 10 20   # against trackeval, more videos
    python tools/benchmark_evaluation.py --tao-val                      # ours alone, 988 videos x 300 boxes

A video has 37 frames; all, known and unknown are scored, reading of the files included.
The data is synthetic: 4 annotated objects a video that move on straight lines, followed by results with noise
and an occasional change of id; the other results of a frame are tracks of their own somewhere in the picture.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from effowt_d2.assets.tao import tao_names
from effowt_d2.evaluation import evaluate_tao_ow, format_table
from effowt_d2.evaluation.reference import evaluate_with_trackeval
from effowt_d2.utils.outputs import output_file

SUBSETS = ("all", "known", "unknown")
COLUMNS = ("videos", "boxes a frame", "results", "trackeval s", "ours s", "ratio", "difference")
FRAMES, OBJECTS = 37, 4
CATEGORIES = [805, 190, 99, 504]  # person, camel, bird: known, unknown, known; and a distractor
ENTRY = '{"image_id":%d,"category_id":1,"bbox":[%.2f,%.2f,%.2f,%.2f],"score":%.4f,"track_id":%d,"video_id":%d}'


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", type=int, nargs="+", default=[100, 200, 300], help="results a frame")
    parser.add_argument("--videos", type=int, nargs="+", default=[10])
    parser.add_argument("--tao-val", action="store_true", help="988 videos x 300 boxes, ours only")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0: one per core")
    parser.add_argument("--folder", help="where the synthetic files go; default: a temporary folder")
    parser.add_argument("--json", type=output_file, metavar="OUT")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        if args.tao_val:
            figures = time_alone(folder, 988, 300, args.workers)
        else:
            sizes = [(videos, boxes) for videos in args.videos for boxes in args.boxes]
            rows = [time_pair(folder, *size, args.workers) for size in sizes]
            formats = ("d", "d", "d", ".2f", ".2f", ".1f", ".1e")
            print(tabulate(rows, headers=COLUMNS, floatfmt=formats, tablefmt="pipe"))
            figures = {"pairs": [dict(zip(COLUMNS, row)) for row in rows]}
    if args.json:
        Path(args.json).write_text(json.dumps({"about": vars(args), **figures}, indent=1) + "\n")
    return 0


def time_pair(folder: str, videos: int, boxes: int, workers: int) -> list:
    """One row of the table: both evaluations of three subsets, reading of the files included."""
    gt, results = write_synthetic(folder, videos, boxes)
    start = time.perf_counter()
    ours = evaluate_tao_ow(gt, results, SUBSETS, workers=workers)
    middle = time.perf_counter()
    theirs = {subset: evaluate_with_trackeval(gt, results, subset) for subset in SUBSETS}
    end = time.perf_counter()
    difference = max(
        float(np.abs(curve - ours[subset]["per_alpha"][name]).max())
        for subset, curves in theirs.items()
        for name, curve in curves.items()
    )
    ratio = (end - middle) / (middle - start)
    return [videos, boxes, videos * FRAMES * boxes, end - middle, middle - start, ratio, difference]


def time_alone(folder: str, videos: int, boxes: int, workers: int) -> dict:
    """Time, CPU time and memory of our evaluation of three subsets, reading of the files included."""
    gt, results = write_synthetic(folder, videos, boxes)
    count = videos * FRAMES * boxes
    print(f"{count} results, {os.path.getsize(results) / 1e9:.2f} GB of JSON")
    start, cpu = time.perf_counter(), time.process_time()
    with watched_workers() as found:
        scores = evaluate_tao_ow(gt, results, SUBSETS, workers=workers)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts in KiB
    largest = max((memory for memory, _ in found.values()), default=0.0)
    of_workers = sum(spent for _, spent in found.values())
    print(f"{seconds:.1f} s; this process: {cpu:.1f} s of CPU time, peak memory {own:.2f} GiB")
    print(f"{len(found)} workers: {of_workers:.1f} s of CPU time, peak memory of the largest {largest:.2f} GiB")
    print(format_table(scores))
    figures = {"results": count, "ours s": seconds, "CPU s": cpu, "peak GiB": own}
    return {**figures, "workers": len(found), "workers' CPU s": of_workers, "largest worker GiB": largest}


@contextlib.contextmanager
def watched_workers() -> Iterator[dict[int, tuple[float, float]]]:
    """Within, {process id: (peak memory in GiB, seconds of CPU time)} of the worker processes, as of Linux's /proc.

    Workers are children of the fork server, so that the usage of this process's own children leaves them out.
    """
    found: dict[int, tuple[float, float]] = {}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            for worker in multiprocessing.active_children():
                # one that ends meanwhile has no files, or empty ones
                with contextlib.suppress(OSError, IndexError):
                    found[worker.pid] = _usage(Path(f"/proc/{worker.pid}"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def _usage(process: Path) -> tuple[float, float]:
    """Peak memory in GiB and seconds of CPU time of a process that runs."""
    peak = re.findall(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())[0]
    # the fields after the name, which is in brackets; see proc(5)
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return int(peak) / 2**20, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def write_synthetic(folder: str, videos: int, boxes: int) -> tuple:
    """Write a ground truth and results; returns their paths."""
    rng = np.random.default_rng(0)
    gt = {name: [] for name in ("videos", "images", "tracks", "annotations")}
    gt.update(
        info={}, licenses=[], categories=[{"id": i, "name": tao_names().get(i, (str(i),))[0]} for i in CATEGORIES]
    )
    paths = os.path.join(folder, "gt.json"), os.path.join(folder, "results.json")
    with open(paths[1], "w") as file:
        for video in tqdm(range(videos), desc="writing", disable=None):
            file.write("," if video else "[")
            file.write(",".join(_video(rng, gt, video, boxes)))
        file.write("]")
    with open(paths[0], "w") as file:
        json.dump(gt, file)
    return paths


def _video(rng, gt, video, boxes):
    gt["videos"].append(
        {"id": video, "name": f"val/synthetic/{video}", "neg_category_ids": [], "not_exhaustive_category_ids": []}
    )
    first = OBJECTS * video
    gt["tracks"] += [{"id": first + i, "category_id": c, "video_id": video} for i, c in enumerate(CATEGORIES)]
    start, speed = rng.uniform(0, 300, (boxes, 2)), rng.uniform(-4, 4, (boxes, 2))
    size = rng.uniform(30, 120, (boxes, 2))
    for frame in range(FRAMES):
        image = FRAMES * video + frame
        gt["images"].append({"id": image, "video_id": video, "frame_index": 30 * frame})
        places = np.hstack([start + speed * frame, size])
        gt["annotations"] += [
            {
                "image_id": image,
                "video_id": video,
                "track_id": first + i,
                "category_id": c,
                "bbox": places[i].round(2).tolist(),
            }
            for i, c in enumerate(CATEGORIES)
        ]
        noisy = places + rng.normal(0, 6, places.shape) * [1, 1, 0, 0]
        ids = boxes * video + np.arange(boxes)
        if rng.random() < 0.2:
            ids[[0, boxes - 1]] = ids[[boxes - 1, 0]]
        scores = rng.random(boxes)
        for box, score, track in zip(noisy.tolist(), scores.tolist(), ids.tolist()):
            yield ENTRY % (image, *box, score, track, video)


if __name__ == "__main__":
    sys.exit(main())
