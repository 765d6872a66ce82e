"""A trunk as it was loaded: which of its tensors train, what is attached, its precision and its hash."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from effowt_d2.modeling.layers.drop_path import add_branch
from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.checks import check_number

from .base_tensors import BaseTensors
from .family import Family
from .precision import check_backend, check_precision, compiled
from .sites import NO_ADAPTERS, Adapters
from .windows import window_blocks

__all__ = ["STRIDE", "LoadedTower"]

STRIDE = 16
"""Pixels per token, whatever the patch size: images are scaled so that their tokens lie on this stride."""


class Calls(NamedTuple):
    """Functions that run a block, compiled or not; each takes the tower first."""

    block: Callable
    attend: Callable
    feed: Callable


class LoadedTower(Family):
    """A trunk with its weights, attached modules and precision.

    What trains is what requires a gradient, of the tensors that were loaded (``base``) or of what is attached:
    ``adapters`` by block number and role, and ``companions`` by name, modules whose ``start()`` gives a ``BlockHook`` for
    each pass. ``attached`` describes it by name and plain values, for the headers of checkpoints; ``merged`` that
    the adapters were folded into the weights, and do not run.

    Args:
        trunk: the vision module of an open_clip model.
        name: open_clip's name of the model.
        embed_dim, num_heads, patch_size: of the trunk.
        pixel_mean, pixel_std: RGB, for pixels in 0..1.
        canvas: side of the position canvas in tokens; 0 keeps the pre-training grid.
        frozen: none of the loaded parameters trains; otherwise all that features depend on do.
        window: side in tokens of the windows that blocks run in; 0 runs all of them on the whole map.
        global_blocks: numbers of the blocks that do so even then; empty for every fourth, the last included.
        precision: dtype of weights and computation: float32, or bfloat16 or float16 where no loaded parameter trains.
        compile_backend: of ``torch.compile`` for the blocks; empty for none.
        stride: pixels per token, 16 or the patch size.
        drop_path: probability in [0, 1) that a half of a block is dropped in training, for an image; the largest one,
            where the family's blocks have different ones.

    Precision and compilation take effect in :meth:`finalise`; until then the weights are as they were loaded, for what
    is cut out of them.

    Raises:
        ValueError: the window is negative, a block does not exist, or stride, precision or backend are unknown or do
            not fit.
    """

    def __init__(
        self,
        trunk: nn.Module,
        *,
        name: str,
        embed_dim: int,
        num_heads: int,
        patch_size: int,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        canvas: int = 64,
        frozen: bool = True,
        window: int = 0,
        global_blocks: Sequence[int] = (),
        precision: str = "float32",
        compile_backend: str = "",
        stride: int = STRIDE,
        drop_path: float = 0.0,
    ):
        super().__init__()
        if stride not in (STRIDE, patch_size):
            raise bad_argument("stride", f"must be {STRIDE} or the patch size of {name}, {patch_size}; got {stride}")
        self.trunk = trunk
        self.name = name
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.patch_size = patch_size
        self.stride = stride
        self.drop_path = check_number("drop_path", drop_path, 0, 0.99)
        self.pixel_mean = tuple(pixel_mean)
        self.pixel_std = tuple(pixel_std)
        self.canvas = canvas
        self.window = window
        self.precision = check_precision(precision, frozen)
        self.compile_backend = check_backend(compile_backend)
        self.calls = Calls(type(self)._block, type(self).attend, type(self).feed)
        self.finalised = not self.rounds and not compile_backend
        self._warned = False
        self._drop_rates = self.drop_rates(self.drop_path)
        self._window_blocks = window_blocks(window, global_blocks, self.depth)
        self.adapters = nn.ModuleDict()
        self.companions = nn.ModuleDict()
        self.attached: dict[str, dict[str, Any]] = {}
        self.merged = False
        self._reloading = False
        self.base = BaseTensors(trunk, self.unused())
        self.base.set_trained(not frozen)
        self._record()
        self.register_load_state_dict_pre_hook(_before_reload)
        self.register_load_state_dict_post_hook(_after_reload)
        self.train(self.training)

    def _record(self) -> None:
        """Note the weights as they are now: loaded, neither rounded nor changed by what is attached later."""
        self._canvases: dict[torch.device, Tensor] = {}
        self._hash: str | None = None
        if next(self.trunk.parameters()).device.type != "meta":
            self._hash = self.base.hash()

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def frozen(self) -> bool:
        """Whether none of the loaded parameters trains."""
        return not self.base.any_trains

    @property
    def trains(self) -> bool:
        """Whether anything inside trains, loaded or attached."""
        attached = (self.companions,) if self.merged else (self.adapters, self.companions)
        return self.base.any_trains or any(p.requires_grad for part in attached for p in part.parameters())

    def train(self, mode: bool = True) -> "LoadedTower":
        """A frozen trunk stays in eval mode whatever the model around it is set to; what is attached follows.

        Raises:
            RuntimeError: the adapters are merged, so that they could not train.
        """
        if mode and self.merged:
            raise RuntimeError(f"{self.name}: its adapters are merged into the weights, unmerge them before training")
        super().train(mode and self.trains)
        for child in self.loaded_parts():
            child.train(mode and not self.frozen)
        return self

    def loaded_parts(self) -> Iterator[nn.Module]:
        """All children but those that were attached."""
        return (child for child in self.children() if child not in (self.adapters, self.companions))

    def attached_parts(self) -> dict[str, list[nn.Module]]:
        """Attached modules with parameters, by name; adapters are part of ``peft``."""
        parts = {"peft": [self.adapters]} if self.adapters else {}
        for name, companion in self.companions.items():
            if next(companion.parameters(), None) is not None:
                parts.setdefault(name, []).append(companion)
        return parts

    @property
    def rounds(self) -> bool:
        """Whether the tower has a precision of its own."""
        return self.precision is not torch.float32

    def weights_hash(self) -> str:
        """SHA-256 over the names, shapes and values of the loaded tensors, as they were loaded, in hex."""
        return self._hash or self.base.hash()

    def adapters_of(self, number: int) -> Adapters:
        """The adapters of a block by role."""
        present = str(number) in self.adapters and not self.merged
        return self.adapters[str(number)] if present else NO_ADAPTERS

    def is_windowed(self, number: int) -> bool:
        """Whether a block runs in windows."""
        return number in self._window_blocks

    def finalise(self) -> "LoadedTower":
        """Round the weights to the tower's precision and set up compilation; what was done is not done again."""
        if not self.finalised:
            self.finalised = True
            if self.rounds:
                self._round()
            if self.compile_backend:
                self.calls = Calls(*(compiled(call, self.compile_backend) for call in self.calls))
        return self

    def _round(self) -> None:
        with torch.inference_mode(False):
            for child in self.loaded_parts():
                child.to(self.precision)

    def _block(
        self,
        block: nn.Module,
        x: Tensor,
        *,
        adapters: Adapters,
        rate: float,
        keys: Tensor | None,
        turns: Tensor | None,
    ) -> Tensor:
        """A whole block: (B, L, d) to (B, L, d)."""

        def attend(part: Tensor, rows: Tensor | None) -> Tensor:
            of_rows = keys if keys is None or rows is None else keys[rows]
            return self.attend(block, part, adapters=adapters, keys=of_rows, turns=_of_rows(turns, rows))[0]

        x = add_branch(x, attend, rate)
        return add_branch(x, lambda part, rows: self.feed(block, part, adapters=adapters), rate)

    def drop_rate(self, number: int) -> float:
        """That of a block in training, else 0."""
        return self._drop_rates[number] if self.training else 0.0


def _of_rows(turns: Tensor | None, rows: Tensor | None) -> Tensor | None:
    """Those of some images, where they differ between images."""
    return turns if turns is None or rows is None or turns.ndim == 2 else turns[rows]


def _before_reload(tower: LoadedTower, state_dict: Mapping[str, Tensor], prefix: str, *_) -> None:
    """Weights are loaded into a tower anew: in full precision, as at first."""
    if tower.merged and any(key.startswith(prefix) for key in state_dict):
        raise RuntimeError(
            f"{tower.name}: its adapters are merged into the weights, unmerge them before others are loaded"
        )
    tower._reloading = any(key.startswith(f"{prefix}trunk.") for key in state_dict)
    if tower._reloading and tower.rounds:
        for child in tower.loaded_parts():
            child.float()


def _after_reload(tower: LoadedTower, *_) -> None:
    if tower._reloading:
        tower._record()
        if tower.finalised and tower.rounds:
            tower._round()
