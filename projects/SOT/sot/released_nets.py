"""Checkpoints of AQATrack and EVPTrack as their authors publish them, loaded into the models here.

Such a file pickles objects of the release's own classes beside the weights, which stand under ``net``. Only that entry is
taken: whatever else the pickle names becomes an object without behaviour, so that no code of the file runs.
"""

import os
import pickle
import re
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from effowt_d2.modeling.tower.tower import Tower
from effowt_d2.utils.state_dicts import check_tensors, check_values
from effowt_d2.utils.tensor_files import CheckpointError, UnreadableCheckpointError

__all__ = ["centre_names", "fill", "read_net"]

_TENSORS = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "Size"),
    *(("torch", f"{kind}Storage") for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Byte", "Bool")),
}


class _Stub:
    """Stands for an object of a class that is not loaded; takes whatever a pickle does with it."""

    def __new__(cls, *_: Any, **__: Any) -> "_Stub":
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    def extend(self, values: Any) -> None:
        pass


class _TensorsOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module, name) if (module, name) in _TENSORS else _Stub


def read_net(file: str | os.PathLike) -> dict[str, Tensor]:
    """The tensors under ``net`` of a released checkpoint, on the CPU, by the names there.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, or holds no tensors under ``net``.
    """
    if not os.path.isfile(file):
        raise FileNotFoundError(f"released file {file}: no such file")
    reader = SimpleNamespace(
        __name__="stubs",
        Unpickler=_TensorsOnly,
        UnpicklingError=pickle.UnpicklingError,
        load=lambda stream, **options: _TensorsOnly(stream, **options).load(),
    )
    try:
        data = torch.load(file, map_location="cpu", pickle_module=reader, weights_only=False)
    except Exception as error:  # a damaged pickle can raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableCheckpointError(f"{file} is damaged or not a checkpoint: {reason}") from error
    net = data.get("net") if isinstance(data, Mapping) else None
    if not isinstance(net, Mapping) or not net or not all(isinstance(value, Tensor) for value in net.values()):
        held = f"the keys {list(data)[:5]}" if isinstance(data, Mapping) else f"a {type(data).__name__}"
        raise CheckpointError(f"{file} is no released checkpoint: it holds {held}, and no tensors under 'net'")
    return dict(net)


_HEAD = re.compile(r"box_head\.conv(\d)_(ctr|offset|size)\.(.+)")


def centre_names(
    state: Mapping[str, Tensor], tower: Tower, own_name: Callable[[str], str | None]
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a released checkpoint by their names here, and names that belong to neither.

    Args:
        state: of :func:`read_net`.
        tower: a :class:`sot.hivit.HiViTTower`.
        own_name: the name here of a tensor that is of neither trunk nor head, "" for one that is left out, or None.
    """
    made, foreign, trunk = {}, [], {}
    two = not any(name.startswith("box_head.conv1_size.") for name in state)
    for name, value in state.items():
        head, found = _HEAD.fullmatch(name), own_name(name)
        if found is not None:
            made[found] = value
        elif head is not None:
            made[_head_name(*head.groups(), two)] = value
        elif name in ("backbone.pos_embed_z", "backbone.pos_embed_x"):
            made[f"backbone.embedding.{'template' if name[-1] == 'z' else 'search'}_positions"] = value
        elif name.startswith("backbone."):
            trunk[name.removeprefix("backbone.")] = value
        else:
            foreign.append(name)
    made.pop("", None)
    vit = getattr(tower, "vit", None)
    named, _ = vit.own_names(trunk) if hasattr(vit, "own_names") else (trunk, [])
    made.update((f"backbone.tower.trunk.{name}", value) for name, value in named.items())
    kept = {id(value) for value in named.values()}
    foreign += [f"backbone.{name}" for name, value in trunk.items() if id(value) not in kept]
    return made, foreign


def _head_name(layer: str, tower: str, rest: str, two: bool) -> str:
    here = {"ctr": "score", "offset": "box" if two else "offset", "size": "size"}[tower]
    return f"head.towers.{here}.{int(layer) - 1}.{rest}"


def fill(
    model: nn.Module,
    file: str | os.PathLike,
    rename: Callable[[Mapping[str, Tensor]], tuple[dict[str, Tensor], list[str]]],
) -> None:
    """Load a released checkpoint; the model is changed only if all of it fits.

    Args:
        model: a tracker on HiViT of the size of the file.
        file: its path.
        rename: :func:`centre_names` of the model.

    Raises:
        FileNotFoundError, CheckpointError: see :func:`read_net`; or the file is of another system, size or number of towers of
            the head; names what differs.
    """
    found, foreign = rename(read_net(file))
    problem = f"{file} could not be loaded into {type(model).__name__}, nothing of it was"
    expected = model.state_dict()
    check_tensors({**found, **{name: torch.empty(0) for name in foreign}}, expected, problem=problem)
    check_values(found, expected, problem=problem)
    model.load_state_dict(found)
