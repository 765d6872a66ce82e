#!/usr/bin/env python
"""Peak memory and speed of demo.py on a short and a long video: streamed, so the long one needs no more.

    python tools/benchmark_video.py --minutes 1 10 --fps 10 --stride 2 --max-side 256 --json OUT

The videos are synthetic: discs that move over a textured ground. Each run is a process of its own and writes a drawn
video, TAO JSON and COCO-VID JSON; peak memory is that of the process (ru_maxrss).
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--config-file", default="quick/shapes_ow_effowt.yaml", metavar="CONFIG", help="a file, or a name of the zoo")
    add("--minutes", type=float, nargs="+", default=[1.0, 10.0], help="lengths of the videos")
    add("--fps", type=int, default=30, help="frames per second of the videos")
    add("--size", type=int, nargs=2, default=[1280, 720], metavar=("W", "H"))
    add("--max-side", type=int, default=256, help="longest side inside the model")
    add("--stride", type=int, default=1, help="track every STRIDE-th frame; all are decoded")
    add("--threads", type=int, default=1, help="OMP_NUM_THREADS of the run")
    add("--json", metavar="OUT")
    return parser.parse_args(argv)


def render(path: Path, frames: int, fps: int, size: tuple[int, int]) -> None:
    """Write a video of six discs on a textured ground, one frame at a time."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 200, (size[1] // 40 + 1, size[0] // 40 + 1, 3), dtype=np.uint8)
    ground = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    colors = rng.integers(0, 255, (6, 3)).tolist()
    speeds, phases = rng.uniform(0.2, 0.6, (6, 2)), rng.uniform(0, 6, (6, 2))
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"mp4v"), fps, size)
    for number in tqdm(range(frames), desc=path.name, unit="frame", mininterval=5):
        image = ground.copy()
        places = (0.5 + 0.45 * np.sin(speeds * number / fps + phases)) * size
        for color, (x, y) in zip(colors, places):
            cv2.circle(image, (int(x), int(y)), size[1] // 12, color, -1)
        writer.write(image)
    writer.release()


def measure(args: argparse.Namespace, minutes: float, folder: Path) -> dict:
    """Render a video, run demo.py on it, and return what that took."""
    video, frames = folder / "video.mp4", round(60 * args.fps * minutes)
    render(video, frames, args.fps, tuple(args.size))
    outputs = ["--output", folder / "drawn.mp4", "--results", folder / "r.json", "--results", folder / "r.cocovid.json"]
    choice = ["--stride", args.stride, "--max-side", args.max_side, "--trails", 1, "--profile"]
    command = [sys.executable, ROOT / "demo/demo.py", "--config-file", args.config_file, "--input", video]
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    begin = time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in (*command, *outputs, *choice)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    )  # fmt: skip
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"demo.py ended with {process.returncode} on a video of {minutes:g} minutes: {printed}")
    return {
        "minutes": minutes,
        "frames": frames,
        "tracked": int(re.search(r"^(\d+) frames", printed, re.M)[1]),
        "peak MiB": usage.ru_maxrss / 1024,
        "seconds": time.monotonic() - begin,
        "frames per second": float(re.search(r"([\d.]+) frames per second", printed)[1]),
        "time": dict(share.rsplit(" ", 1) for share in re.search(r"^time: (.*)$", printed, re.M)[1].split(", ")),
    }


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    rows = []
    for minutes in args.minutes:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(args, minutes, Path(folder)))
        row = rows[-1]
        shares = ", ".join(f"{name} {share}" for name, share in row["time"].items())
        speed = f"{row['tracked']} of {row['frames']} frames tracked at {row['frames per second']} a second"
        print(f"{minutes:g} minutes: peak {row['peak MiB']:.1f} MiB, {speed}\n    {shares}")
    if len(rows) > 1:
        print(f"last against first: {rows[-1]['peak MiB'] / rows[0]['peak MiB'] - 1:+.1%} memory")
    if args.json:
        about = dict(vars(args), machine=platform.machine(), python=platform.python_version())
        Path(args.json).write_text(json.dumps({"about": about, "runs": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
