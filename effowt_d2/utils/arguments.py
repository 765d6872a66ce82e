"""Errors about arguments: a constructor names its argument, ``from_config`` adds the key."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["about_argument", "bad_argument", "config_keys"]


def bad_argument(argument: str, problem: str, error: type[Exception] = ValueError) -> Exception:
    """An error about one argument, to be raised: ``temperature must be positive, got 0``.

    Args:
        argument: its name.
        problem: what came and what was expected; the message is the name and this.
        error: type of the error.
    """
    made = error(f"{argument} {problem}")
    vars(made)["argument"] = argument
    return made


@contextmanager
def config_keys(node: str, **keys: str) -> Iterator[None]:
    """Within, errors of :func:`bad_argument` get the config key in front: ``MODEL.SIDE.GATE.TEMPERATURE: ...``.

    Args:
        node: the config node; an argument's key is its name in capitals below it.
        keys: full keys of the arguments with another one.
    """
    try:
        yield
    except Exception as error:
        argument = vars(error).pop("argument", None)
        if argument is not None:
            error.args = (f"{keys.get(argument, f'{node}.{argument.upper()}')}: {error}",)
        raise


@contextmanager
def about_argument(argument: str) -> Iterator[None]:
    """Within, errors count as being about the argument for :func:`config_keys`, unless they are about another one."""
    try:
        yield
    except Exception as error:
        vars(error).setdefault("argument", argument)
        raise
