"""Messages compared by the data in them; how they are worded is free."""

import contextlib
import re
from collections.abc import Iterator

import pytest


def lacks(message: object, *data: object) -> list[str]:
    """What of the data a message does not hold.

    Args:
        message: a text, or an exception.
        *data: keys, values, known names, files and so on, each in the message as a word or words of its own: 1 is not
            in "10". A list is in it if all its items are.
    """
    items = [item for given in data for item in (given if isinstance(given, (list, tuple)) else [given])]
    patterns = {str(item): rf"(?<!\w){re.escape(str(item))}(?!\w)" for item in items}
    return [item for item, pattern in patterns.items() if not re.search(pattern, str(message))]


def assert_says(message: object, *data: object) -> None:
    """The message holds all the data, see :func:`lacks`."""
    missing = lacks(message, *data)
    assert not missing, f"{missing} not in: {message}"


@contextlib.contextmanager
def raises(kind: type[BaseException] | tuple, *data: object) -> Iterator[pytest.ExceptionInfo]:
    """What is inside raises ``kind``, and its message holds all the data, see :func:`lacks`."""
    with pytest.raises(kind) as caught:
        yield caught
    assert_says(caught.value, *data)
