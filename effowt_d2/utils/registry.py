"""Parts that a config chooses by name."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from .arguments import bad_argument

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Parts of one kind by name. A project registers its own when it is imported.

    Args:
        parts: what they are, in the plural, such as ``gates``.
        argument: name of the argument that chooses one, for error messages.
    """

    def __init__(self, parts: str, *, argument: str = "kind"):
        self.parts = parts
        self.argument = argument
        self._found: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that makes a part known under a name.

        Raises:
            ValueError: the name is taken.
        """

        def register(part: T) -> T:
            if name in self._found:
                raise ValueError(f"{name!r} is registered already among the {self.parts}, by {self._found[name]!r}")
            self._found[name] = part
            return part

        return register

    def get(self, name: str) -> T:
        """The part of that name.

        Raises:
            ValueError: there is none; the message lists the registered names.
        """
        if name not in self._found:
            raise bad_argument(
                self.argument,
                f"{name!r} is not among the registered {self.parts} {self.names()}; a project registers its own when it "
                "is imported",
            )
        return self._found[name]

    def names(self) -> list[str]:
        """In alphabetical order."""
        return sorted(self._found)

    def __iter__(self) -> Iterator[T]:
        """The parts, in the order they were registered in."""
        return iter(self._found.values())
