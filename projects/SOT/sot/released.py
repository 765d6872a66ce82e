"""Files of trained parts as the authors of LoRAT and SPMTrack publish them, loaded into the models here.

Such a file holds what trains: adapters, type vectors, state vectors, head. It is in the safetensors format, whatever its
file extension. Files of LoRAT's 2024 code also hold the scale of the updates (``lora_alpha``, ``use_rslora``, and with
SPMTrack ``expert_alpha``, ``use_rsexpert``); those that its current code writes lack it.
"""

import math
import os
import re
from collections.abc import Iterator, Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from effowt_d2.utils.tensor_files import CheckpointError

__all__ = ["load_released", "released_names"]

_SITES = {
    "attn.qkv.q": "q",
    "attn.qkv.k": "k",
    "attn.qkv.v": "v",
    "attn.proj": "proj",
    "mlp.fc1": "fc1",
    "mlp.w12": "fc1",
    "mlp.fc2": "fc2",
    "mlp.w3": "fc2",
}
_WHOLE = {
    "token_type_embed": "backbone.embedding.types",
    "track_query": "token.query",
    "query_embed": "token.embedding",
}
_SCALES = {"lora_alpha": "use_rslora", "expert_alpha": "use_rsexpert"}
_ADAPTER = re.compile(r"blocks\.(\d+)\.(.+)\.(?:lora|tmoe)\.(.+)")
_PARTS = {
    "A": "A",
    "B": "B",
    "compress_expert": "A",
    "shared_expert": "ungated",
    "expert_route.weight": "router.weight",
}
_STACKED = {"compress_expert": ("A", 0), "routed_experts": ("B", 1)}
"""Experts of a list of their own there are parts of one matrix here, along this axis."""


def load_released(model: nn.Module, file: str | os.PathLike, *, assume_scale: bool = False) -> None:
    """Load a released file; the model is changed only if all of it fits.

    Args:
        model: a tracker with the PEFT method, rank and tower of the file.
        file: its path.
        assume_scale: take a file that lacks the scale of its updates, with that of the model.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is no safetensors file, of another model, rank, scale or number of experts, or lacks the
            scale; names what differs.
    """
    state = _read(file)
    scales = {name: state.pop(name) for pair in _SCALES.items() for name in pair if name in state}
    found = released_names(state, str(file))
    wanted = {name: p for name, p in model.named_parameters() if p.requires_grad}
    _check_names(found, wanted, str(file))
    different = [
        f"{name} is {tuple(found[name].shape)}, here {tuple(value.shape)}"
        for name, value in wanted.items()
        if found[name].shape != value.shape
    ]
    if different:
        raise CheckpointError(f"{file} is of another size, rank or number of experts: {'; '.join(different[:4])}")
    _check_scale(model, scales, str(file), assume_scale)
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(found[name])


def _read(file: str | os.PathLike) -> dict[str, Tensor]:
    if not os.path.isfile(file):
        raise FileNotFoundError(f"released file {file}: no such file")
    try:
        return load_file(file)
    except SafetensorError as error:
        raise CheckpointError(f"{file} is not in the safetensors format, as released files are: {error}") from None


def released_names(state: Mapping[str, Tensor], file: str = "the file") -> dict[str, Tensor]:
    """The tensors of a released file by their names here.

    Raises:
        CheckpointError: a name is not one of theirs.
    """
    made: dict[str, Tensor] = {}
    stacks: dict[tuple[str, int], dict[int, Tensor]] = {}
    for name, value in state.items():
        adapter = _ADAPTER.fullmatch(name)
        if name in _WHOLE or name.startswith("head."):
            made[_WHOLE.get(name, name)] = value
        elif adapter is None or adapter[2] not in _SITES:
            raise CheckpointError(f"{file} has '{name}', which no released file of LoRAT or SPMTrack does")
        else:
            place = f"backbone.tower.adapters.{adapter[1]}.{_SITES[adapter[2]]}"
            part, _, number = adapter[3].partition(".")
            if number.isdecimal() and part in _STACKED:
                matrix, axis = _STACKED[part]
                stacks.setdefault((f"{place}.{matrix}", axis), {})[int(number)] = value
            elif adapter[3] in _PARTS:
                made[f"{place}.{_PARTS[adapter[3]]}"] = value
            else:
                raise CheckpointError(f"{file} has '{name}', which no released file of LoRAT or SPMTrack does")
    made.update(
        (name, torch.cat([parts[n] for n in sorted(parts)], dim=axis)) for (name, axis), parts in stacks.items()
    )
    return made


def _check_names(found: Mapping, wanted: Mapping, file: str) -> None:
    missing, more = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or more:
        raise CheckpointError(
            f"{file} is of another model. It lacks {len(missing)} of {len(wanted)} trained tensors {missing[:3]}, and has "
            f"{len(more)} that do not train here {more[:3]}: MODEL.VLM.NAME, MODEL.PEFT.METHOD and "
            "MODEL.META_ARCHITECTURE must be those of the file"
        )


def _check_scale(model: nn.Module, scales: Mapping[str, Tensor], file: str, assume: bool) -> None:
    adapters = [module for module in _adapters(model)]
    alphas = [name for name in _SCALES if name in scales]
    if not adapters or (not alphas and assume):
        return
    if not alphas:
        raise CheckpointError(
            f"{file} does not say how its updates are scaled ({', '.join(_SCALES)} are missing), as files of the current "
            f"release; if they are scaled by {adapters[0].scale:g}, as those of this model, load it with assume_scale"
        )
    rank = adapters[0].settings()["rank"]
    stabilised = bool(scales.get(_SCALES[alphas[0]], torch.tensor(False)))
    scale = float(scales[alphas[0]]) / (math.sqrt(rank) if stabilised else rank)
    if not math.isclose(scale, adapters[0].scale):
        raise CheckpointError(
            f"{file} scales its updates by {scale:g} ({alphas[0]} {float(scales[alphas[0]]):g}, rank {rank}, "
            f"{_SCALES[alphas[0]]} {stabilised}), this model by {adapters[0].scale:g} (MODEL.PEFT.ALPHA, SCALE_RULE)"
        )


def _adapters(model: nn.Module) -> Iterator[nn.Module]:
    return (adapter for block in model.backbone.tower.adapters.values() for adapter in block.values())
