"""Addresses of videos (http, rtsp, ...) and standard input, as FFmpeg opens them."""

import re
import time
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import av

from .media import Media

__all__ = ["STANDARD_INPUT", "is_address", "open_address", "redacted_address"]

STANDARD_INPUT = "-"

_TRIES, _PAUSE = 3, 0.5

# the server answers, and will answer the same again
_FINAL = (av.InvalidDataError, av.HTTPClientError, av.ProtocolNotFoundError, av.OptionNotFoundError)


def is_address(source: str | Path) -> bool:
    """Whether the source is one of a network, or standard input."""
    text = str(source)
    return text == STANDARD_INPUT or re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def redacted_address(address: str) -> str:
    """The address without user name and password, for messages and results."""
    if address == STANDARD_INPUT:
        return "standard input"
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def open_address(address: str, timeout: float) -> Media:
    """Open a video, several times if need be.

    Args:
        address: what :func:`is_address` takes.
        timeout: seconds to wait for an answer, each time, and later for data.

    Raises:
        TimeoutError: no answer in time.
        ConnectionError: refused or broken off.
        ValueError: what came is no video.
    """
    name = redacted_address(address)
    if address == STANDARD_INPUT:
        try:
            return Media("fd:", options={}, timeout=None)
        except (av.FFmpegError, ValueError) as error:
            hint = "an mp4 whose index is at its end can't be read from a pipe: give the file"
            raise ValueError(f"{name} gives no video: {error.args[-1]} ({hint})") from error
    tried = 0
    while True:
        tried += 1
        begin = time.monotonic()
        try:
            return Media(address, options=_options(address), timeout=timeout)
        except av.FFmpegError as error:
            # some protocols have an error of their own for being asked to leave
            late = time.monotonic() - begin > 0.9 * timeout
            if isinstance(error, _FINAL) and not late:
                raise ValueError(f"{name} can't be opened as a video: {error.strerror}") from error
            if tried == _TRIES:
                raise connection_error(error, f"{name}, tried {tried} times", timeout, late) from error
        except ValueError as error:
            raise ValueError(f"{name} can't be opened as a video: {error}") from error
        time.sleep(_PAUSE)


def connection_error(error: av.FFmpegError, name: str, timeout: float, late: bool = False) -> OSError:
    """FFmpeg's error of a connection in plain words."""
    if late or isinstance(error, (av.ExitError, TimeoutError)):
        return TimeoutError(f"{name}: nothing came for {timeout:g} s")
    return ConnectionError(f"{name}: {error.strerror}")


def _options(address: str) -> dict[str, str]:
    scheme = address.partition(":")[0].lower()
    if scheme in ("http", "https"):
        # a broken connection is reopened at the same position
        return dict(reconnect="1", reconnect_max_retries=str(_TRIES), reconnect_delay_max="2")
    # packets lost on the way would be damage in every frame
    return dict(rtsp_transport="tcp") if scheme in ("rtsp", "rtsps") else {}
