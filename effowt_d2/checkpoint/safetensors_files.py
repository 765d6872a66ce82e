"""Checkpoints for distribution as safetensors: tensors, and the header as JSON."""

import json
from collections.abc import Mapping
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from effowt_d2.utils.files import write_atomically
from effowt_d2.utils.tensor_files import UnreadableCheckpointError

from .contents import HEADER

__all__ = ["read_safetensors", "write_safetensors"]


def write_safetensors(file: str, model: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write a model's tensors and its header; optimizer and trainer have no place in such a file.

    Args:
        file: what to write or replace.
        model: tensors by name.
        header: of :func:`effowt_d2.checkpoint.contents.make_header`.

    Raises:
        OSError: it could not be written; an older file is as it was.
    """
    # names may share a tensor, files may not
    tensors = {key: value.detach().clone().contiguous() for key, value in model.items()}
    content = safetensors.torch.save(tensors, metadata={HEADER: json.dumps(header)})
    write_atomically(file, lambda stream: stream.write(content))


def read_safetensors(file: str) -> dict[str, Any]:
    """The tensors as ``model``, and the header where there is one.

    Raises:
        UnreadableCheckpointError: it is damaged, no safetensors file, or its header is no JSON.
    """
    try:
        with safe_open(file, framework="pt") as content:
            found: dict[str, Any] = {"model": {key: content.get_tensor(key) for key in content.keys()}}  # noqa: SIM118
            header = (content.metadata() or {}).get(HEADER)
    except (SafetensorError, ValueError, EOFError) as error:
        raise UnreadableCheckpointError(f"{file} is damaged or not a safetensors file: {error}") from error
    if header is not None:
        try:
            found[HEADER] = json.loads(header)
        except ValueError as error:
            raise UnreadableCheckpointError(f"{file}: its header '{HEADER}' is no JSON: {error}") from error
    return found
