"""Tracking results as text: one encoder a format, for files that grow frame by frame and those written at once."""

import json
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["JSON_LIST_END", "JSON_LIST_START", "json_list_items", "mot_line"]

JSON_LIST_START, JSON_LIST_END = "[", "\n]\n"


def json_list_items(entries: Iterable[Mapping], before: int) -> str:
    """Entries of a JSON list, one a line, as TAO's results and COCO's lists are written.

    Args:
        entries: the next entries.
        before: how many entries the list holds already.

    Returns:
        What follows ``JSON_LIST_START`` or earlier items; after all of them comes ``JSON_LIST_END``.
    """
    lines = list(map(json.dumps, entries))
    return "".join((",\n" if before else "\n", ",\n".join(lines))) if lines else ""


def mot_line(
    frame: int, track_id: int, box: Sequence[float], score: float, *, box_format: str = "", score_format: str = ""
) -> str:
    """A line of MOTChallenge text: frame, id, left, top, width, height, score and three unused columns.

    Args:
        frame: from 1.
        track_id: any integer; MOTChallenge's own count from 1.
        box: x, y, width, height in pixels.
        score: of the box.
        box_format, score_format: how numbers are written, such as ".2f"; by default with as many digits as they have.
    """
    numbers = ",".join(format(value, box_format) for value in box)
    return f"{frame},{track_id},{numbers},{score:{score_format}},-1,-1,-1\n"
