"""The outputs of ``effowt-track``."""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import TypeVar

from effowt_d2.inference.time_split import TimeSplit
from effowt_d2.naming import Description
from effowt_d2.report import CropWriter, ReportWriter
from effowt_d2.video import FrameReader, FrameTracks, open_results, open_writer
from effowt_d2.video.descriptions import DescriptionsFile, descriptions_path
from effowt_d2.visualization import Trails, draw_tracks

__all__ = ["Outputs", "printable"]

Writer = TypeVar("Writer")


def printable(text: str) -> str:
    """The text for a terminal: file names may hold bytes that are no text."""
    return text.encode(errors="backslashreplace").decode()


class Outputs:
    """Everything a run writes. Opening them rejects unknown file extensions and unwritable folders before the
    model is built.

    Args:
        args: the command line.
        frames: what is tracked.
        words: all names that tracks may get.
        stack: closes them.
    """

    def __init__(
        self, args: argparse.Namespace, frames: FrameReader, stack: ExitStack, words: Sequence[str] = ()
    ) -> None:
        self._stack, self._finished = stack, []
        self.trails = Trails(args.trails) if args.trails else None
        self.labels = args.labels
        settings = {name: value for name, value in vars(args).items() if value not in (None, [], ())}
        self.results = [self._keep(open_results(file, video=frames.title, words=words)) for file in args.results]
        self.describes = bool(args.describe)
        beside = dict.fromkeys(descriptions_path(file) for file in args.results) if args.describe else ()
        self.descriptions = [self._keep(DescriptionsFile(path)) for path in beside]
        self.report = self.video = None
        if args.report:
            self.report = self._keep(ReportWriter(args.report, fps=frames.rate, settings=settings, gt=args.gt))
        self.crops = self._keep(CropWriter(args.crops, overwrite=args.overwrite)) if args.crops else None
        if args.output:
            self.video = self._keep(open_writer(args.output, frames.rate, sound=frames.sound, overwrite=args.overwrite))

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
        if self.crops:
            with times.stage("writing"):
                self.crops.write(tracks)
        if self.video:
            with times.stage("drawing"):
                paths = self.trails.update(tracks.ids, tracks.boxes, tracks.time) if self.trails else None
                names = _names_with_confidence(tracks)
                draw_tracks(tracks.image, tracks.boxes, tracks.ids, tracks.scores, names, paths, self.labels)
            with times.stage("writing"):
                self.video.write(tracks.image, tracks.index, tracks.time)

    def describe(self, track_id: int, said: Sequence[Description]) -> None:
        """Descriptions of the views of a track."""
        views = [asdict(one) for one in said]
        for file in self.descriptions:
            file.add(track_id, views)
        if self.report:
            self.report.describe(track_id, views)

    def notes(self) -> list[str]:
        """Notes on the written files."""
        return list(self.video.notes) if self.video else []

    def list_files(self) -> None:
        """Print what this run finished."""
        kinds = [
            ("output", [self.video]),
            ("results", self.results),
            ("report", [self.report]),
            ("crops", [self.crops]),
        ]
        for kind, writer in ((kind, writer) for kind, writers in kinds for writer in writers):
            if writer in self._finished and writer.frames:
                print(printable(f"{kind}: {writer.path} ({writer.frames} frames)"))
        for file in self.descriptions:
            if file in self._finished and file.tracks:
                print(printable(f"descriptions: {file.path} ({len(file.tracks)} tracks)"))


def _names_with_confidence(tracks: FrameTracks) -> list[str] | None:
    if tracks.names is None:
        return None
    return [f"{name} ({score:.0%})" if name else "" for name, score in zip(tracks.names, tracks.name_scores)]
