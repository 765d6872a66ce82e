"""Checks that the image files of a dataset exist and are readable."""

import logging
from collections.abc import Sequence

from effowt_d2.formats.missing import are_missing, describe_missing
from effowt_d2.utils.main_process import on_main_process

from .images import read_record_image

__all__ = ["check_readable", "existing_records", "require_files"]

logger = logging.getLogger(__name__)

SAMPLE = 24
"""Images of a dataset that are read before training starts."""


def existing_records(name: str, records: Sequence[dict], *, skip: bool) -> list[dict]:
    """The records whose image files exist. The main process looks; all processes call this together.

    Args:
        name: of the dataset.
        records: its records.
        skip: leave out images whose files are missing, and all frames of a video that has such; otherwise missing
            files are an error.

    Raises:
        FileNotFoundError: files are missing, or all are; how many and in which folders.
    """
    missing = on_main_process(lambda: are_missing([record["file_name"] for record in records]))
    return require_files(name, records, missing, skip=skip)


def require_files(name: str, records: Sequence[dict], missing: Sequence[bool], *, skip: bool) -> list[dict]:
    """As :func:`existing_records`, where it is known which files are missing."""
    if not any(missing):
        return list(records)
    problem = f"dataset '{name}': {describe_missing([record['file_name'] for record in records], missing)}"
    videos = {r["video_id"] for r, gone in zip(records, missing) if gone and "video_id" in r}
    kept = [r for r, gone in zip(records, missing) if not gone and r.get("video_id") not in videos]
    if not skip or not kept:
        raise FileNotFoundError(problem if skip else f"{problem}; DATA.SKIP_MISSING True leaves them out")
    lost = f"{len(records) - len(kept)} images" + (f" ({len(videos)} whole videos)" if videos else "")
    logger.warning("%s; %s are skipped (DATA.SKIP_MISSING)", problem, lost)
    return kept


def check_readable(records: Sequence[dict], image_format: str, sample: int = SAMPLE) -> None:
    """Read some images, evenly spread over a dataset, as training and evaluation will.

    Args:
        records: of files that exist.
        image_format: ``INPUT.FORMAT``.
        sample: how many.

    Raises:
        ImageReadError: one is damaged, of another size than in its record, or of pixels that no rule scales.
    """
    step = max(1, len(records) // sample)
    for record in records[::step][:sample]:
        read_record_image(dict(record), image_format)
