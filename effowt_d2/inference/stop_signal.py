"""Handles Ctrl-C between two iterations of a loop."""

import os
import signal

__all__ = ["StopSignal"]

_STOPPING = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


class StopSignal:
    """True once Ctrl-C or SIGTERM came or the terminal was closed, so that the loop ends between frames.

    A second signal ends at once. Signals that the caller of the program ignores (nohup) stay ignored. Once its terminal
    is closed, what the program prints is dropped: writing to it would fail.
    """

    def __enter__(self) -> "StopSignal":
        self._came = False
        self._terminals = [number for number in (1, 2) if os.isatty(number)]
        handlers = {number: signal.getsignal(number) for number in _STOPPING}
        self._before = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}
        for number in self._before:
            signal.signal(number, self._note)
        return self

    def _note(self, number: int, _frame) -> None:
        self._came = True
        signal.signal(number, self._before[number])
        if number == getattr(signal, "SIGHUP", None):
            self._leave_terminal()

    def _leave_terminal(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for number in self._terminals:
            os.dup2(nowhere, number)
        os.close(nowhere)

    def __bool__(self) -> bool:
        return self._came

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
