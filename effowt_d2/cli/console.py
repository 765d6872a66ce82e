"""Output of other packages is suppressed on the console, unless requested."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["suppress_output"]

_OWN = "effowt_d2"


def _is_first_occurrence(record: logging.LogRecord) -> bool:
    """Warnings of this package, and errors of any."""
    own = record.name.split(".")[0] == _OWN
    return record.levelno >= (logging.WARNING if own else logging.ERROR)


@contextmanager
def suppress_output(verbose: bool) -> Iterator[None]:
    """Inside, the log goes to standard error: warnings of this package, and errors; Python's warnings are logged, too.

    Args:
        verbose: show all of the log from its level INFO on.
    """
    handler, root = logging.StreamHandler(), logging.getLogger()
    handler.setFormatter(
        logging.Formatter("%(levelname)s %(name)s: %(message)s" if verbose else "warning: %(message)s")
    )
    if not verbose:
        handler.addFilter(_is_first_occurrence)
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO if verbose else before)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(before)
        root.removeHandler(handler)
