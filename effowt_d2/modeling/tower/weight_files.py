"""Weights files of towers: read as tensors only, compared key by key, reported."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import open_clip
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from effowt_d2.utils.state_dicts import check_tensors, check_values, grouped_by_number, without_shared_prefixes
from effowt_d2.utils.tensor_files import UnreadableCheckpointError, named_tensors, read_tensors

logger = logging.getLogger(__name__)

__all__ = ["WeightsReport", "load_clip_tower", "read_weights"]


@dataclass
class WeightsReport:
    """Report on the tensors of a file.

    Attributes:
        file: the file.
        loaded: keys of the tower that were taken as they are, under the name they have.
        renamed: (key in the file, key in the tower).
        resized: (key in the file, what was done).
        left_over: keys of the file that the tower does not use.
        notes: what to know about the result, logged as warnings.
    """

    file: str
    loaded: list[str] = field(default_factory=list)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    resized: list[tuple[str, str]] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def log(self) -> None:
        """Write it to the log; keys that differ in a block's number only share a line."""
        count = len(self.loaded) + len(self.renamed) + len(self.resized)
        lines = [f"{self.file}: {count} tensors for the tower"]
        lines += [f"  loaded:    {line}" for line in grouped_by_number(self.loaded)]
        lines += [f"  renamed:   {line}" for line in grouped_by_number([f"{a} -> {b}" for a, b in self.renamed])]
        lines += [f"  resized:   {key}, {how}" for key, how in self.resized]
        lines += [f"  left over: {line}" for line in grouped_by_number([_module(key) for key in self.left_over])]
        logger.info("\n".join(lines))
        for note in self.notes:
            logger.warning("%s: %s", self.file, note)


def _module(key: str) -> str:
    """The module that a key's tensor belongs to."""
    return key.rpartition(".")[0] or key


def read_weights(file: str, *, unsafe_pickle: bool = False) -> dict[str, Tensor]:
    """Read the tensors of a .pt, .pth, .bin or .safetensors file onto the CPU.

    Args:
        file: local path; a pickle may hold the state dict itself, or under ``model`` or ``state_dict``.
        unsafe_pickle: see ``effowt_d2.utils.files.read_tensors``.

    Returns:
        Tensors by key, without the prefixes of wrappers that all share.

    Raises:
        CheckpointError: the file is damaged, is no weights file, or needs more than tensors and plain values.
    """
    if file.endswith(".safetensors"):
        try:
            state = load_file(file)
        except (SafetensorError, ValueError) as error:
            raise UnreadableCheckpointError(f"{file} is damaged or not a safetensors file: {error}") from error
    else:
        state = read_tensors(file, unsafe_pickle=unsafe_pickle)
    return without_shared_prefixes(named_tensors(state, file))


def load_clip_tower(model: nn.Module, state: Mapping[str, Tensor], *, name: str, file: str) -> WeightsReport:
    """Load the vision half of a CLIP model of open_clip; its text half is left over.

    Args:
        model: of open_clip, whose ``visual`` is filled: all of it or nothing.
        state: of :func:`read_weights`; keys of the vision half start with ``visual.``.
        name, file: for messages.

    Raises:
        ValueError: a key is missing, has no counterpart, another shape or another kind of numbers, or holds NaN.
    """
    report = WeightsReport(file)
    vision = {key: value for key, value in state.items() if key.startswith("visual.")}
    report.left_over = [key for key in state if key not in vision]
    shape_before = getattr(vision.get("visual.positional_embedding"), "shape", None)
    # as open_clip does it for weights of another image size; it changes nothing else
    open_clip.factory.resize_pos_embed(vision, model)
    found = {key[len("visual.") :]: value for key, value in vision.items()}
    expected = model.visual.state_dict()
    problem = f"{file} could not be loaded into {name}, nothing of it was"
    check_tensors(found, expected, problem=problem)
    check_values(found, expected, problem=problem)
    model.visual.load_state_dict(found)
    report.loaded = list(vision)
    if shape_before is not None and vision["visual.positional_embedding"].shape != shape_before:
        key = "visual.positional_embedding"
        report.loaded.remove(key)
        report.resized.append((key, f"{shape_before[0]} -> {len(found['positional_embedding'])} positions, bicubic"))
    _note_casts(report, found, expected)
    return report


def _note_casts(report: WeightsReport, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    # float16 in float32 loses nothing
    pairs = [(value.dtype, expected[key].dtype) for key, value in found.items()]
    cast = {given for given, wanted in pairs if torch.promote_types(given, wanted) != wanted}
    if cast:
        kinds = sorted(str(kind) for kind in cast)
        report.notes.append(f"its {', '.join(kinds)} tensors were converted to {torch.get_default_dtype()}")
