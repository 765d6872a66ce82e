"""Time of one tracker update against the numbers of detections and of remembered tracks. It only reports.

python tools/benchmark_tracker.py --detections 50 300 1000 --tracks 50 300 1000
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch
from tqdm import tqdm

from effowt_d2.tracking import PRESETS, Tracker
from effowt_d2.utils.outputs import output_file

IMAGE_SIDE = 4000


def make_detections(count: int, channels: int, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
    """Boxes (count, 4) in pixels, scores (count,) and embeddings (count, channels) of random objects."""
    corner = torch.rand(count, 2, generator=generator) * IMAGE_SIDE
    size = 20 + 100 * torch.rand(count, 2, generator=generator)
    scores = 0.5 + 0.5 * torch.rand(count, generator=generator)
    embeddings = torch.randn(count, channels, generator=generator)
    return torch.cat([corner, corner + size], dim=1), scores, embeddings


def measure(settings: dict, detections: int, tracks: int, channels: int, frames: int, device: str) -> tuple[float, int]:
    """Median milliseconds of an update, and the ids it continued.

    Before each timed frame an untimed one fills an empty memory with ``tracks`` entries, so that every timed
    frame meets the same counts. The detections are noisy sights of the remembered objects, then strangers.
    """
    generator = torch.Generator().manual_seed(0)
    known = make_detections(tracks, channels, generator)
    strangers = make_detections(max(0, detections - tracks), channels, generator)
    boxes, scores, embeddings = (torch.cat(pair)[:detections].to(device) for pair in zip(known, strangers))
    embeddings = embeddings + 0.1 * torch.randn(embeddings.shape, generator=generator).to(device)
    known = [tensor.to(device) for tensor in known]
    tracker = Tracker(**settings)
    times = []
    for _ in range(frames):
        tracker.reset()
        remembered = set(tracker.update(*known, 0).tolist())
        if device != "cpu":
            torch.cuda.synchronize()
        start = time.perf_counter()
        ids = tracker.update(boxes, scores, embeddings, 1).tolist()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times), len(remembered.intersection(ids) - {-1})


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detections", type=int, nargs="+", default=[50, 100, 300, 1000])
    parser.add_argument("--tracks", type=int, nargs="+", default=[50, 100, 300, 1000, 3000])
    parser.add_argument("--channels", type=int, default=256, help="channels of an embedding")
    parser.add_argument("--frames", type=int, default=100, help="timed updates per cell of the table")
    parser.add_argument("--preset", choices=PRESETS, default="tao")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--json", type=output_file, metavar="OUT")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)

    # whatever is kept starts a track, so that the memory has the size in the table
    settings = dict(PRESETS[args.preset], init_score=PRESETS[args.preset]["keep_score"], max_overlap=1.0)
    device = torch.cuda.get_device_name() if args.device != "cpu" else f"CPU, {args.threads} thread(s)"
    rows, figures = [], []
    with tqdm(total=len(args.detections) * len(args.tracks), desc="timing") as progress:
        for detections in args.detections:
            cells = []
            for tracks in args.tracks:
                counts = (detections, tracks, args.channels, args.frames)
                median, continued = measure(settings, *counts, args.device)
                cells.append(f"{median:.2f} ({continued})")
                figures.append({"detections": detections, "tracks": tracks, "ms": median, "continued": continued})
                progress.update()
            rows.append(f"| {detections} | " + " | ".join(cells) + " |")
    print(f"\npreset {args.preset}, {args.channels} channels, torch {torch.__version__}, {device}")
    print("median ms per update (tracks continued), detections down, remembered tracks across\n")
    print("| | " + " | ".join(map(str, args.tracks)) + " |")
    print("|---" * (len(args.tracks) + 1) + "|")
    print("\n".join(rows))
    if args.json:
        about = {**vars(args), "torch": torch.__version__, "machine": device}
        Path(args.json).write_text(json.dumps({"about": about, "updates": figures}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
