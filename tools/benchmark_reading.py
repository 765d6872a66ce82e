#!/usr/bin/env python
"""Speed and memory of reading a video without a model: whole, and one frame near its end.

    python tools/benchmark_reading.py --minutes 20 --size 640 360 --fps 30 --json OUT

The video is synthetic (H.264). Each measurement is a process of its own: "seek" opens the video two seconds before its end
and reads one frame, "read" reads all frames. Peak memory is that of the process (ru_maxrss).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from tqdm import tqdm


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--minutes", type=float, nargs="+", default=[1.0, 20.0], help="lengths of the videos")
    add("--fps", type=int, default=30, help="frames per second of the videos")
    add("--size", type=int, nargs=2, default=[640, 360], metavar=("W", "H"))
    add("--json", metavar="OUT")
    add("--measure", nargs=2, metavar=("FILE", "START"), help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def render(path: Path, frames: int, fps: int, size: tuple[int, int]) -> None:
    """Write a video of a textured background that moves by a pixel each frame."""
    background = np.random.default_rng(0).integers(0, 255, (size[1] // 8 + 1, size[0] // 8 + 1, 3), dtype=np.uint8)
    background = background.repeat(8, 0).repeat(8, 1)[: size[1], : size[0]]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in tqdm(range(frames), desc=path.name, unit="frame", mininterval=5):
            frame = av.VideoFrame.from_ndarray(np.roll(background, number, axis=1), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def measure_here(path: Path, start: float) -> dict:
    """Read one frame from ``start`` on, or all where it is 0; in this process."""
    from effowt_d2.video import open_frames

    begin = time.monotonic()
    with open_frames(path, start=start) as frames:
        first = next(iter(frames)) if start else None
        count = 1 if first else sum(1 for _ in frames)
    seconds = time.monotonic() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "frames": count, "index": first and first.index, "peak MiB": peak}


def measure(path: Path, start: float) -> dict:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--measure", str(path), str(start)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    if args.measure:
        print(json.dumps(measure_here(Path(args.measure[0]), float(args.measure[1]))))
        return 0
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for minutes in args.minutes:
            path = Path(folder) / f"{minutes:g}.mp4"
            render(path, round(60 * args.fps * minutes), args.fps, tuple(args.size))
            seek, read = measure(path, 60 * minutes - 2), measure(path, 0.0)
            rows.append({"minutes": minutes, "MiB": path.stat().st_size / 2**20, "seek": seek, "read": read})
            path.unlink()
            speed = f"{read['frames'] / read['seconds']:.0f} frames per second, peak {read['peak MiB']:.0f} MiB"
            print(f"{minutes:g} minutes: frame {seek['index']} after {seek['seconds']:.2f} s; all at {speed}")
    if args.json:
        Path(args.json).write_text(json.dumps({"about": vars(args), "runs": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
