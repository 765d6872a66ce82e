"""Make training clips out of photographs with outlined objects, in GOT-10k's layout or with all objects as TAO.

    python -m sot.make_clips --dataset instances.json --images train --output clips --count 1000

The dataset has still images with polygons, such as COCO's. A clip shows one object that moves, turns and changes its size
over another photograph, beside and behind up to three others. Images that can't be read are counted, named and skipped.
The same seed gives the same clips. ``--layout tao`` labels the others too, for open-world trackers (``annotations.json`` and
``frames/``); what else is in the photograph is not labelled.
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from effowt_d2.utils.files import whole_folder

from .data.made_clips import WRITERS
from .data.pasted_clips import paste_clips, read_cutouts

__all__ = ["main"]


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sot.make_clips", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, type=Path, help="still images with polygons, in COCO's format")
    parser.add_argument("--images", required=True, type=Path, help="their folder")
    parser.add_argument(
        "--output", required=True, type=Path, help="a new or empty folder; it appears when all clips are made"
    )
    parser.add_argument("--layout", choices=("got10k", "tao"), default="got10k", help="of what is written (got10k)")
    parser.add_argument("--count", type=int, default=1000, help="clips (1000)")
    parser.add_argument("--frames", type=int, default=8, help="of each (8)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if args.count < 1 or args.frames < 1:
        parser.error(f"--count and --frames must be 1 or more, got {args.count} and {args.frames}")
    return args


def _run(args: argparse.Namespace) -> None:
    with whole_folder(args.output) as folder:
        cutouts = read_cutouts(args.dataset, args.images)
        clips = paste_clips(cutouts, args.count, frames=args.frames, seed=args.seed)
        WRITERS.get(args.layout)(folder, tqdm(clips, total=args.count, unit="clip", disable=None))
    if cutouts.unreadable:
        print(f"{len(cutouts.unreadable)} images were skipped, the first: {cutouts.first_problem}", file=sys.stderr)
    print(f"{args.count} clips of {len(cutouts.objects)} objects in {args.output}")


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status."""
    try:
        _run(_arguments(argv))
    except (ValueError, OSError) as problem:
        print(f"make_clips: error: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("make_clips: interrupted; nothing is left of the clips", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
