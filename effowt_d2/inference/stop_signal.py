"""Ctrl-C that ends a loop between two rounds instead of in the middle of one."""

import signal

__all__ = ["StopSignal"]


class StopSignal:
    """True once Ctrl-C or SIGTERM came, so that the loop ends between frames; a second one ends at once."""

    def __enter__(self) -> "StopSignal":
        self._came = False
        numbers = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def _note(self, number: int, _frame) -> None:
        self._came = True
        signal.signal(number, self._before[number])

    def __bool__(self) -> bool:
        return self._came

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
