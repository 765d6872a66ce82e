"""What differs between the supported versions of transformers, and which models of it are taken."""

import importlib.metadata
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from torch import Tensor, nn

__all__ = ["cache_in", "check_model", "features_of", "hidden_in", "is_next", "require_transformers", "with_hidden"]

OLDEST, BEYOND = (4, 57), (6, 0)
MODELS = ("LlavaForConditionalGeneration", "LlavaNextForConditionalGeneration")


def require_transformers() -> ModuleType:
    """The transformers package.

    Raises:
        ImportError: if it is missing or of a version that this package does not know.
    """
    wanted = f"transformers>={OLDEST[0]}.{OLDEST[1]},<{BEYOND[0]}"
    try:
        version = importlib.metadata.version("transformers")
    except ImportError as error:
        raise ImportError(f"MustDrop needs {wanted}: pip install '{wanted}'") from error
    number = tuple(int(part) for part in version.split(".")[:2])
    if not OLDEST <= number < BEYOND:
        raise ImportError(f"MustDrop knows {wanted}, and transformers {version} is installed: pip install '{wanted}'")
    import transformers

    return transformers


def check_model(model: nn.Module) -> None:
    """Raises: TypeError, if it is not a LLaVA or LLaVA-NeXT model of transformers."""
    classes = tuple(getattr(require_transformers(), name) for name in MODELS)
    if not isinstance(model, classes):
        raise TypeError(f"MustDrop takes one of {list(MODELS)} of transformers, not {type(model).__name__}")


def is_next(model: nn.Module) -> bool:
    """Whether the model splits an image into tiles (LLaVA-NeXT)."""
    return hasattr(model.model, "pack_image_features")


def features_of(output: Any) -> list[Tensor]:
    """Projected features of each image: 4.57 returns them, 5 has them in an attribute of its output."""
    return list(getattr(output, "pooler_output", output))


def cache_in(holder: Any) -> Any:
    """The cache in keyword arguments or in an output, or None: ``past_key_values`` became ``cache`` in 5.24."""
    keys = ("cache", "past_key_values")
    return next(_present(holder.get(key) for key in keys), None)


def _present(values: Iterator[Any]) -> Iterator[Any]:
    return (value for value in values if value is not None)


def hidden_in(output: Any) -> Tensor:
    """Hidden states in what a layer returns: some versions return a tuple."""
    return output[0] if isinstance(output, tuple) else output


def with_hidden(output: Any, hidden: Tensor) -> Any:
    """What a layer returned, with other hidden states."""
    return (hidden, *output[1:]) if isinstance(output, tuple) else hidden
