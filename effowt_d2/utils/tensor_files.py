"""Files of tensors, read without running code from them."""

import io
import pickle
import re
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import torch

__all__ = [
    "CheckpointError",
    "UnreadableCheckpointError",
    "check_pickle",
    "named_tensors",
    "read_tensors",
    "save_compressed",
]

_WRAPPERS = ("state_dict", "model")


class CheckpointError(ValueError):
    """A checkpoint that can't be used, for the reason in the message."""


class UnreadableCheckpointError(CheckpointError):
    """The file is damaged, or no checkpoint at all."""


def read_tensors(file: str, *, unsafe_pickle: bool = False) -> Any:
    """Read a file of ``torch.save`` onto the CPU; of a TorchScript archive, its state dict.

    Args:
        file: local path.
        unsafe_pickle: execute the code in the file. Only for trusted files.

    Raises:
        UnreadableCheckpointError: the file is truncated, damaged, or not of ``torch.save``.
        CheckpointError: it holds more than tensors and plain values, as a TorchScript archive does.
    """
    with open(file, "rb") as stream:
        start = stream.read(4)
    if start == b"PK\x03\x04":
        _check_archive(file)
        if _is_torchscript(file):
            return _read_torchscript(file, unsafe_pickle)
    elif start[:1] != b"\x80":
        raise UnreadableCheckpointError(f"{file} is not a checkpoint: it starts with {start!r}")
    try:
        return torch.load(file, map_location="cpu", weights_only=not unsafe_pickle)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_rejection_message(file, _unpickling_reason(error))) from error
    except Exception as error:  # a damaged pickle can raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableCheckpointError(f"{file} is damaged or not a checkpoint: {reason}") from error


def save_compressed(content: Any, stream: BinaryIO) -> None:
    """``torch.save`` with deflated records: a tenth smaller in half precision. ``torch.load`` reads it, without ``mmap``."""
    plain = io.BytesIO()
    torch.save(content, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(stream, "w", compresslevel=9) as target:
        for record in source.infolist():
            # a fresh entry has a fixed date: the same content gives the same file
            target.writestr(zipfile.ZipInfo(record.filename), source.read(record), zipfile.ZIP_DEFLATED)


def _check_archive(file: str) -> None:
    """torch finds a missing end, but reads changed bytes as if nothing were wrong."""
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise UnreadableCheckpointError(f"{file} is truncated or damaged: {error}") from error
    if damaged is not None:
        raise UnreadableCheckpointError(f"{file} is damaged: its record {damaged} does not match its checksum")


def _is_torchscript(file: str) -> bool:
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _read_torchscript(file: str, unsafe_pickle: bool) -> dict:
    if not unsafe_pickle:
        raise CheckpointError(
            f"{file} is a TorchScript archive, which holds code beside its tensors. If you trust its source, set "
            "MODEL.UNSAFE_PICKLE True, or make a file of its tensors: "
            f"torch.save(torch.jit.load({file!r}, map_location='cpu').state_dict(), 'weights.pt')"
        )
    return dict(torch.jit.load(file, map_location="cpu").state_dict())


def named_tensors(data: Any, file: str) -> dict[str, torch.Tensor]:
    """The tensors of what a file of weights holds: a state dict, or one under ``model`` or ``state_dict``.

    Raises:
        UnreadableCheckpointError: there are none.
    """
    for key in _WRAPPERS:
        if isinstance(data, Mapping) and isinstance(data.get(key), Mapping):
            data = data[key]
    tensors = {k: v for k, v in data.items() if isinstance(v, torch.Tensor)} if isinstance(data, Mapping) else {}
    if not tensors:
        held = f"the keys {list(data)[:5]}" if isinstance(data, Mapping) else f"a {type(data).__name__}"
        raise UnreadableCheckpointError(f"{file} is no weights file: it holds {held}, and no tensors by name")
    return tensors


def _unpickling_reason(error: Exception) -> str:
    wanted = re.search(r"GLOBAL (\S+)", str(error))
    if wanted:
        return f"it wants {wanted.group(1)}"
    lines = [line.strip() for line in str(error).splitlines() if "WeightsUnpickler error" in line]
    return (lines or str(error).splitlines())[0]


def _rejection_message(file: str, reason: str) -> str:
    return (
        f"{file} is refused: {reason}, but loading is limited to tensors and plain values, because a pickle can run "
        "any code. If you trust its source, set MODEL.UNSAFE_PICKLE True (EffOWTCheckpointer(unsafe_pickle=True))"
    )


_ARRAYS = {
    ("collections", "OrderedDict"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    ("_codecs", "encode"),
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAYS:
            raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")
        return super().find_class(module, name)


def check_pickle(file: str) -> None:
    """Make sure that a .pkl, as in Detectron2's model zoo, holds NumPy arrays and plain values only.

    Raises:
        UnreadableCheckpointError: the file is truncated or not a pickle.
        CheckpointError: it holds more.
    """
    try:
        with open(file, "rb") as stream:
            _ArraysOnly(stream, encoding="latin1").load()
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error):
            raise CheckpointError(_rejection_message(file, _unpickling_reason(error))) from error
        raise UnreadableCheckpointError(f"{file} is damaged or not a pickle: {error}") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise UnreadableCheckpointError(f"{file} is damaged or not a pickle: {error!r}") from error
