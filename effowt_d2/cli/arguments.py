"""The options of ``effowt-track``."""

import argparse
import math

from effowt_d2.model_zoo import DEFAULT
from effowt_d2.modeling.tower.precision import PRECISIONS
from effowt_d2.visualization import LABEL_FIELDS

__all__ = ["make_parser", "parse_args"]

DESCRIPTION = """Track every object in a video of yours.

    %(prog)s --input VIDEO --output tracked.mp4 --results tracks.json --report report.html

--config-file names another model: a file, or a name of the model zoo, which brings its trained weights.
"""


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line; its ``prog`` is the name of the script that runs."""
    parser = argparse.ArgumentParser(description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    _add_files(parser.add_argument)
    _add_frames(parser.add_argument)
    _add_drawing(parser.add_argument)
    _add_model(parser.add_argument)
    return parser


def parse_args(parser: argparse.ArgumentParser, argv: list[str] | None) -> argparse.Namespace:
    """The arguments, or a usage error where they ask for nothing or contradict each other."""
    args = parser.parse_args(argv)
    if args.output_dir and not (args.output or args.results or args.report or args.crops):
        args.output, args.results = "tracked.mp4", ["tracks.json"]
    if not (args.output or args.results or args.report or args.crops):
        parser.error("nothing to do: give --output, --results, --report, --crops, or several of them")
    if args.pick and args.box:
        parser.error("--pick and --box both say what to follow: give one of them")
    if args.gt and not args.report:
        parser.error("--gt is compared with in the report: give --report too")
    if args.describe and not (args.report or args.results):
        parser.error("--describe goes into the report and beside the results: give --report or --results too")
    return args


def _add_files(add) -> None:
    add("--config-file", default=DEFAULT, metavar="CONFIG", help=f"a file, or a name of the model zoo ({DEFAULT})")
    add("--weights", metavar="FILE", help="checkpoint (MODEL.WEIGHTS of the config)")
    add("--input", required=True, nargs="+", help="a video, folder, images, glob in quotes, URL, - or camera number")
    add(
        "--box",
        type=_box,
        action="append",
        default=[],
        metavar="X,Y,W,H",
        help="a target in pixels of the first frame, for single-object trackers; repeatable",
    )
    add("--pick", action="store_true", help="draw the targets into the first frame; needs a display")
    add("--output-dir", metavar="FOLDER", help="process each input as a video, with outputs in a subfolder")
    add("--output", help="a video (.mp4 .webm .mkv .avi .mov), or a folder for frames")
    add(
        "--results",
        action="append",
        default=[],
        metavar="FILE",
        help="tracks as .json (TAO), .cocovid.json (COCO-VID), .txt (MOTChallenge) or .csv; repeatable",
    )
    add("--overwrite", action="store_true", help="replace existing files")
    add("--report", metavar="FILE.html", help="an HTML page with the video and its tracks")
    add("--crops", metavar="FOLDER", help="the best views of each track, as images")
    add("--gt", metavar="FILE.json", help="ground truth in TAO format, for the report")
    describe = "LLaVA of transformers that describes the tracks: a folder, or a name on the Hugging Face hub"
    add("--describe", metavar="MODEL", help=describe)
    add("--vocabulary", metavar="FILE", help="words for the names of tracks, one per line; or: common, tao")


def _add_frames(add) -> None:
    add("--stride", type=int, default=1, help="use every STRIDE-th frame")
    add("--start", type=float, default=0.0, metavar="SECONDS", help="time of the first frame")
    add("--end", type=float, metavar="SECONDS", help="time of the last frame")
    add("--fps", type=float, help="frames per second of images and raw streams (30)")
    add("--timeout", type=float, default=10.0, metavar="SECONDS", help="timeout of a URL (10)")


def _add_drawing(add) -> None:
    add("--score-threshold", type=float, help="lowest score of a box that is kept (TEST.SHOWN_SCORE of the config)")
    add("--mask", metavar="IMAGE", help="only tracks in the white part of this image, by half of their area")
    add("--only", metavar="WORD,WORD", help="only tracks with one of these names of the vocabulary")
    add("--labels", type=_fields, default=LABEL_FIELDS, metavar="id,name,score", help="text beside a box")
    add("--no-labels", dest="labels", action="store_const", const=(), help="no text beside a box")
    add("--trails", type=float, default=0.0, metavar="SECONDS", help="draw the path of each track this far back")


def _add_model(add) -> None:
    add("--max-side", type=int, metavar="PIXELS", help="longest side inside the model: smaller is faster")
    memory = "how long a lost track is remembered (default: the config's value, or 1)"
    add("--memory", type=float, metavar="SECONDS", help=memory)
    add("--device", help="cpu, cuda, cuda:1, ... (MODEL.DEVICE of the config)")
    add("--precision", choices=PRECISIONS, help="dtype of the model (TEST.PRECISION of the config)")
    add("--verbose", action="store_true", help="show the full log, with warnings of other packages")
    add("--profile", action="store_true", help="measure the time of each stage; slower on a GPU")
    add("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config keys; must come last")


def _box(text: str) -> tuple[float, ...]:
    """x, y, width, height as x0, y0, x1, y1."""
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: a box is X,Y,W,H, four numbers") from None
    if not (math.isfinite(x + y + width + height) and width > 0 and height > 0):
        raise argparse.ArgumentTypeError(f"{text!r}: the numbers of a box are finite, its width and height above 0")
    return x, y, x + width, y + height


def _fields(text: str) -> tuple[str, ...]:
    fields = tuple(text.split(","))
    if not set(fields) <= set(LABEL_FIELDS):
        raise argparse.ArgumentTypeError(f"{text!r}: labels are made of {', '.join(LABEL_FIELDS)}")
    return fields
