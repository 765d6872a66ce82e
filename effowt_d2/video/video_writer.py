"""Write frames to a video file or to a folder. Frames are BGR uint8 arrays (H, W, 3)."""

import errno
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from effowt_d2.utils.files import partial_name, publish
from effowt_d2.utils.outputs import check_file

from .encoders import add_video, find_encoder, to_encode
from .fit import even_side, fit_image
from .folder_writer import FolderWriter
from .sound import Sound, SoundCopy

__all__ = ["VideoWriter", "open_writer"]

# bytes that must be free on the disk: without space for its index at the end, a file of many formats can't be read at all
_RESERVE = 16 << 20

# seconds of the unit that frames are timed in; an AVI has no times but the number of a frame
_TICK = {
    ".mp4": Fraction(1, 90_000),
    ".mov": Fraction(1, 90_000),
    ".mkv": Fraction(1, 1000),
    ".webm": Fraction(1, 1000),
}


class VideoWriter:
    """A video file of one frame size, that of the first frame; others are scaled to fit into it.

    The file appears under its name on ``close`` only, then whole. Sides are made even and at least 16 pixels,
    as encoders ask for, by repeating the last row and column. Frames keep their times, to a millisecond or better; an
    ``.avi`` has a constant rate.

    Args:
        path: where to; the file extension decides the format.
        fps: frames per second, their mean where they vary.
        sound: what is copied beside the frames; None: nothing.

    Attributes:
        notes: what the user should know about the file; more may come until it is closed.

    Raises:
        ValueError: unknown file extension, or fps not above 0.
        OSError: the file can't be written there, or there is no encoder for it.
    """

    def __init__(self, path: Path, fps: float, *, sound: Sound | None = None) -> None:
        self._encoder = find_encoder(path)
        if fps <= 0:
            raise ValueError(f"output {path}: frames per second must be above 0, got {fps}")
        check_file(path)
        self.path, self.fps, self.frames, self.notes = path, fps, 0, list[str]()
        self._tick = _TICK.get(path.suffix.lower(), 1 / Fraction(fps).limit_denominator(100_000))
        self._partial = partial_name(path)
        self._container: av.container.OutputContainer | None = None
        self._sound = sound
        self._copy: SoundCopy | None = None
        self._begin, self._end, self._last = 0.0, 0.0, -1
        self._first = self._size = (0, 0)

    def write(self, image: np.ndarray, index: int, time: float) -> None:
        """Append a frame at ``time``, in seconds of the source; ``index`` is not used.

        Raises:
            OSError: the disk is nearly full, or the encoder takes no frames of this size. What was written so far becomes
                a whole file on ``close``.
        """
        self._check_room()
        container = self._container or self._open(image, time)
        frame = to_encode(fit_image(image, self._first, self._size), self._encoder)
        tick = self.frames if self.path.suffix.lower() not in _TICK else round((time - self._begin) / self._tick)
        self._last = frame.pts = max(tick, self._last + 1)
        frame.time_base = self._tick
        frame.duration = max(1, round(1 / self.fps / self._tick))
        try:
            container.mux(self._stream.encode(frame))
            if self._copy:
                self._copy.copy_until(time)
        except av.FFmpegError as error:
            raise OSError(error.errno, f"{error.strerror}: after {self.frames} frames", str(self.path)) from error
        self._end = time + 1 / self.fps
        self.frames += 1

    def _check_room(self) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if free < _RESERVE:
            kept = f"the video ends after {self.frames} frames"
            raise OSError(
                errno.ENOSPC,
                f"only {free >> 20} MiB left on the disk, {_RESERVE >> 20} are needed; {kept}",
                str(self.path),
            )

    def _open(self, image: np.ndarray, time: float) -> av.container.OutputContainer:
        height, width = image.shape[:2]
        self._first = (width, height)
        self._size = (even_side(width), even_side(height))
        self._begin = time
        self._container = self._open_with_sound(self._sound) if self._sound else None
        try:
            self._container = self._container or self._open_container()
        except av.FFmpegError as error:
            size = f"{self._size[0]}x{self._size[1]}"
            reason = f"{self._encoder.name} can't encode frames of {size}: {error.strerror}"
            raise OSError(error.errno, reason, str(self.path)) from error
        return self._container

    def _open_with_sound(self, sound: Sound) -> av.container.OutputContainer | None:
        """The file with its header; None where the sound doesn't fit into it."""
        try:
            return self._open_container(sound)
        except av.FFmpegError:
            self._copy = None
            self.notes.append(f"the sound of {sound.path} ({sound.codec}) doesn't fit into {self.path}: it has none")
            return None

    def _open_container(self, sound: Sound | None = None) -> av.container.OutputContainer:
        options = {"movflags": "faststart"} if self.path.suffix.lower() in (".mp4", ".mov") else {}
        container = av.open(f"file:{self._partial}", "w", container_options=options)
        try:
            if sound and sound.codec not in container.supported_codecs:
                raise av.InvalidDataError(errno.EINVAL, f"there can be no {sound.codec} in it")
            self._stream = add_video(container, self._encoder, size=self._size, fps=self.fps, time_base=self._tick)
            self._copy = SoundCopy(sound, container, self._begin) if sound else None
            container.start_encoding()
        except av.FFmpegError:
            container.close()
            self._partial.unlink(missing_ok=True)
            raise
        return container

    def close(self) -> None:
        """Finish the file and give it its name; without frames there is no file.

        Raises:
            OSError: the end can't be written, e.g. because the disk is full. The file stays as ``.partial-*``.
        """
        if self._container is None:
            return
        container, self._container = self._container, None
        try:
            container.mux(self._stream.encode(None))
            if self._copy:
                self._copy.copy_until(self._end)
            container.close()
        except av.FFmpegError as error:
            reason = f"{error.strerror}: {self._partial} lacks its end, after {self.frames} frames"
            raise OSError(error.errno, reason, str(self.path)) from error
        finally:
            if self._copy:
                self._copy.close()
        publish(self._partial, self.path)

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_writer(
    path: str | Path, fps: float, *, sound: Sound | None = None, overwrite: bool = False
) -> VideoWriter | FolderWriter:
    """A writer for a video file, or for a folder where ``path`` is one or has no file extension.

    Args:
        path: where to; a file is replaced.
        fps: frames per second of a video.
        sound: what a video's sound is copied from.
        overwrite: whether frames that a folder holds already are removed.

    Raises:
        ValueError: unknown file extension.
        OSError: nothing can be written there, there is no encoder for it, or the folder holds frames already.
    """
    path = Path(path)
    if path.is_dir() or not path.suffix:
        return FolderWriter(path, overwrite=overwrite)
    return VideoWriter(path, fps, sound=sound)
