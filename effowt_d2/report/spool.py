"""Records of frames on disk, thinned evenly to a size budget."""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Spool"]


class Spool:
    """Lines of bytes, one per frame, of which every ``stride``-th frame's is kept.

    The stride starts at 1 and doubles whenever the lines outgrow the budget. The file has no name, so it goes
    away with the process, however that ends.

    Args:
        folder: where the file lies; the disk that the page will be written to.
        max_bytes: most bytes of lines kept, as long as there is more than one line.

    Attributes:
        stride: frames from one line to the next.
        times: seconds of the lines kept.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        # unbuffered: after a failed write nothing is left over that would be tried again by the next call
        self._file: io.FileIO = tempfile.TemporaryFile(dir=folder, buffering=0)
        self._max_bytes = max_bytes
        self._lines: list[tuple[int, int]] = []  # where each starts, and its length
        self._end = 0
        self.stride = 1
        self.times: list[float] = []

    def accepts(self, position: int) -> bool:
        """Whether the frame at this position of the run would be kept."""
        return position % self.stride == 0

    def add(self, line: bytes, time: float) -> None:
        """Append the line of a frame that is wanted; frames come in order.

        Args:
            line: one record, without line breaks.
            time: seconds of the frame.

        Raises:
            OSError: it can't be written; the lines before it stay usable.
        """
        self._file.seek(self._end)
        self._write(line)
        self._lines.append((self._end, len(line)))
        self.times.append(time)
        self._end += len(line)
        while self._end > self._max_bytes and self.thin():
            pass

    def thin(self) -> bool:
        """Drop every second line; False where there is only one left. It needs no disk space."""
        if len(self._lines) < 2:
            return False
        end, lines = 0, []
        for start, length in self._lines[::2]:
            line = self._read(start, length)
            # to the left of what is still to be read
            self._file.seek(end)
            self._write(line)
            lines.append((end, length))
            end += length
        self._file.truncate(end)
        self._lines, self._end, self.times = lines, end, self.times[::2]
        self.stride *= 2
        return True

    def line(self, place: int) -> bytes:
        """The line kept at a place, from 0; that of the frame at position ``place * stride``."""
        return self._read(*self._lines[place])

    @property
    def bytes(self) -> int:
        """Bytes of the lines kept."""
        return self._end

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[bytes]:
        return (self.line(place) for place in range(len(self)))

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()

    def _read(self, start: int, length: int) -> bytes:
        self._file.seek(start)
        data = b""
        while len(data) < length:
            piece = self._file.read(length - len(data))
            if not piece:
                raise OSError(f"the report's temporary file ends {length - len(data)} bytes too soon")
            data += piece
        return data

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        while rest:
            rest = rest[self._file.write(rest) :]
