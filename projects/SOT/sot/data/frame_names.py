"""The files of a sequence, without a string for each of millions of frames."""

import re
from collections.abc import Sequence

__all__ = ["NumberedFiles", "compact"]


class NumberedFiles(Sequence):
    """Files whose names count up: ``prefix``, a number of at least ``digits`` digits, ``suffix``."""

    __slots__ = ("prefix", "suffix", "digits", "numbers")

    def __init__(self, prefix: str, suffix: str, digits: int, numbers: range):
        self.prefix = prefix
        self.suffix = suffix
        self.digits = digits
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return NumberedFiles(self.prefix, self.suffix, self.digits, self.numbers[index])
        return f"{self.prefix}{self.numbers[index]:0{self.digits}d}{self.suffix}"

    def __eq__(self, other) -> bool:
        return isinstance(other, Sequence) and not isinstance(other, str) and tuple(self) == tuple(other)


def compact(files: Sequence[str]) -> Sequence[str]:
    """The same names, as :class:`NumberedFiles` where they are of that kind."""
    first = re.fullmatch(r"(.*?)(\d+)(\D*)", files[0], re.DOTALL)
    if first is None:
        return tuple(files)
    prefix, number, suffix = first.groups()
    start = int(number)
    guess = NumberedFiles(prefix, suffix, len(number), range(start, start + len(files)))
    return guess if guess == files else tuple(files)
