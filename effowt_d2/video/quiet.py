"""Suppresses OpenCV's messages on the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2

__all__ = ["quiet_opencv"]


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """No log lines inside: what failed is asked for and reported afterwards."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
