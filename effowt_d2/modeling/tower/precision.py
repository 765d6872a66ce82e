"""Dtype and compilation of a tower."""

from collections.abc import Callable

import torch

from effowt_d2.utils.arguments import bad_argument

__all__ = ["PRECISIONS", "check_backend", "check_precision", "compiled"]

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def check_precision(precision: str, frozen: bool) -> torch.dtype:
    """The dtype that a tower's weights and computation have.

    Raises:
        ValueError: there is no such precision, or the tower trains and is not float32.
    """
    if precision not in PRECISIONS:
        raise bad_argument("precision", f"must be one of {list(PRECISIONS)}, got {precision!r}")
    if not frozen and precision != "float32":
        raise bad_argument(
            "precision",
            f"{precision} is for a frozen tower; one that trains keeps its weights in float32, and mixed precision "
            "(SOLVER.AMP) is the trainer's",
        )
    return PRECISIONS[precision]


def check_backend(backend: str) -> str:
    """The backend, if torch has it, or the empty string.

    Raises:
        ValueError: torch has no such backend.
    """
    # those for debugging, such as aot_eager, are not listed unless asked for
    if backend and backend not in torch.compiler.list_backends(exclude_tags=()):
        listed = ", ".join(torch.compiler.list_backends())
        raise bad_argument("compile_backend", f"must be empty or one of torch.compile's, {listed}; got {backend!r}")
    return backend


def compiled(function: Callable, backend: str) -> Callable:
    """A function that is compiled when it is first called, for the device of its first tensor.

    Functions of a block are compiled and not the modules, so that names, hash and checkpoints stay as they are. All
    blocks share the compiled code.

    The call raises RuntimeError where the backend does not work on this machine, for example without a C++ compiler.
    """
    made: list[Callable] = []

    def call(*arguments, **keywords):
        if not made:
            device = next(a.device for a in arguments if isinstance(a, torch.Tensor))
            made.append(_compile(function, backend, device))
        return made[0](*arguments, **keywords)

    return call


def _compile(function: Callable, backend: str, device: torch.device) -> Callable:
    try:
        torch.compile(_probe, backend=backend)(torch.ones(2, device=device))
        return torch.compile(function, backend=backend)
    except Exception as error:  # whatever the backend raises
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise RuntimeError(
            f"compile_backend {backend} (MODEL.VLM.COMPILE): torch.compile does not work on {device} here ({reason}); "
            "leave it empty"
        ) from error


def _probe(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + 1
