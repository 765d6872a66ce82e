"""The videos of a run: each with its own outputs, distributed over the processes of torchrun."""

import argparse
import glob
import os
import re
from collections.abc import Mapping
from pathlib import Path

from effowt_d2.video.address import is_address, redacted_address
from effowt_d2.video.image_files import is_image

__all__ = ["assign_jobs", "make_jobs", "process_rank"]


def make_jobs(args: argparse.Namespace) -> list[argparse.Namespace]:
    """The arguments for each video.

    With ``--output-dir`` every input is a video of its own, whose outputs lie in a folder with its name; otherwise all
    inputs together are one.

    Raises:
        ValueError: an image among several videos, two videos of the same name, or an output that is no plain name.
        FileNotFoundError: an input is not there.
    """
    if not args.output_dir:
        return [args]
    jobs: dict[str, argparse.Namespace] = {}
    for source in args.input:
        name = _name_of(source)
        if name in jobs:
            raise ValueError(f"--output-dir: {jobs[name].input[0]} and {source} would both be in the folder {name!r}")
        jobs[name] = _job(args, source, Path(args.output_dir) / name)
    return list(jobs.values())


def _job(args: argparse.Namespace, source: str, folder: Path) -> argparse.Namespace:
    def placed(output: str | None) -> str | None:
        if output and Path(output).name != output:
            raise ValueError(f"with --output-dir an output has a name only, got {output}")
        return output and str(folder / output)

    placed_outputs = {kind: placed(getattr(args, kind)) for kind in ("output", "report", "crops")}
    results = [str(folder / Path(placed(result) or "").name) for result in args.results]
    return argparse.Namespace(**{**vars(args), **placed_outputs, "results": results, "input": [source]})


def _name_of(source: str) -> str:
    """Name of the folder for the outputs of an input."""
    path = Path(source)
    if is_image(path):
        raise ValueError(f"--output-dir takes videos and folders of images; {source} is an image: give its folder")
    if path.is_dir():
        return path.resolve().name
    if path.is_file():
        return path.stem
    if is_address(source):
        return re.sub(r"[^\w.-]+", "-", redacted_address(source)).strip("-")
    if source.isdecimal():
        return f"camera-{source}"
    if not glob.glob(source):
        raise FileNotFoundError(f"input {source}: no such file or folder, and no glob that matches one")
    return path.parent.resolve().name


def process_rank(environment: Mapping[str, str] = os.environ) -> tuple[int, int, int]:
    """(rank, processes, rank on this machine) as set by torchrun; (0, 1, 0) for a process of its own."""
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return 0, 1, 0
    rank = int(environment["RANK"])
    return rank, int(environment["WORLD_SIZE"]), int(environment.get("LOCAL_RANK", rank))


def assign_jobs(jobs: list[argparse.Namespace], rank: int, processes: int) -> list[argparse.Namespace]:
    """The videos of one of several processes.

    Raises:
        ValueError: there is one video, given without ``--output-dir``, for several processes.
    """
    if processes > 1 and not jobs[0].output_dir:
        raise ValueError(f"{processes} processes share videos, not one video: give several and --output-dir")
    return jobs[rank::processes]
