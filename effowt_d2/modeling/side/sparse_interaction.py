"""The sparse interaction (SIM): a token exchanges with the tokens on its row, column and two diagonals.

It stands where a transformer block has its dense MLP. With Z (B, H, W, C) and a valid mask M (B, H, W):

    Y = M * (W GELU(u_0 * Z + sum_a u_a * Mix_a(Z)) + b)

Mix_a is a weighted mean over the valid tokens of a line (see ``line_mix``), u are channel scales, W and b a linear
map. The residual belongs to the block. Any H and W work with the same weights.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from torch import Tensor, nn

from effowt_d2.modeling.layers.recompute import recomputed
from effowt_d2.utils.arguments import bad_argument, config_keys
from effowt_d2.utils.registry import Registry

from .line_sheet import AXES
from .mixers import MIXERS, Mixer

__all__ = ["INTERACTIONS", "SparseInteraction", "interaction_from_config"]

INTERACTIONS: Registry[type["SparseInteraction"]] = Registry("fusions of a sparse interaction", argument="fusion")


@INTERACTIONS.register("sum")
class SparseInteraction(nn.Module):
    """Sparse interaction on a map of tokens.

    Args:
        channels: C.
        groups: channel groups [G]; the channels of a group share their table of weights.
        max_range: offsets along a line with a weight of their own [R]; farther ones share the last.
        kind: what mixes, by its name in ``MIXERS``: ``axes``, means along the lines with a weight per offset.
        axes: lines that a token sees.
        mixer: what mixes instead, a :class:`Mixer` or a function that makes one; ``groups``, ``max_range``, ``kind``
            and ``axes`` are then not used.

    Raises:
        ValueError: an unknown kind or axis, a range below 1, or groups that do not divide the channels.

    Attributes:
        scales: names of parameters that weigh and do not map: they decay as norms do.
    """

    scales: tuple[str, ...] = ("scale",)

    def __init__(
        self,
        channels: int,
        *,
        groups: int = 8,
        max_range: int = 128,
        kind: str = "axes",
        axes: Sequence[str] = AXES,
        mixer: Mixer | Callable[[], Mixer] | None = None,
    ):
        super().__init__()
        if mixer is None:
            mixer = MIXERS.get(kind)(groups=groups, max_range=max_range, axes=axes)
        self.mixer = mixer if isinstance(mixer, nn.Module) else mixer()
        if channels % self.mixer.groups:
            raise bad_argument("groups", f"must divide the {channels} channels, got {self.mixer.groups}")
        self.channels = channels
        self._add_weights(self.mixer.num_mixes)

    def _add_weights(self, mixes: int) -> None:
        """Make what is trained beside the mixer."""
        scale = torch.full((mixes + 1, self.channels), 1.0 / max(mixes, 1))
        scale[0] = 1.0
        self.scale = nn.Parameter(scale)
        self.linear = nn.Linear(self.channels, self.channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """
        Args:
            x: (B, H, W, C), any H, W >= 1.
            mask: (B, H, W) bool, true where a token is valid; all of them if omitted.

        Returns:
            (B, H, W, C), zero at tokens that are not valid. An image without a valid token gives zeros.
        """
        if x.dim() != 4 or x.shape[-1] != self.channels:
            raise ValueError(f"expected (B, H, W, {self.channels}), got {tuple(x.shape)}")
        if mask is not None and mask.shape != x.shape[:3]:
            raise ValueError(f"expected a mask of shape {tuple(x.shape[:3])}, got {tuple(mask.shape)}")
        y = recomputed(self._activate, self._mixed(x, mask))
        return y if mask is None else y * mask.unsqueeze(-1)

    def _mixed(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Input of the linear map, before the GELU."""
        return self.mixer.weighted_sum(x, mask, self.scale)

    def _activate(self, mixed: Tensor) -> Tensor:
        return self.linear(F.gelu(mixed))


def interaction_from_config(cfg: CfgNode) -> Callable[[int], SparseInteraction]:
    """Factory of the interactions of ``MODEL.SIDE.SIM``, by number of channels."""
    sim = cfg.MODEL.SIDE.SIM
    with config_keys("MODEL.SIDE.SIM"):
        mixer, interaction = MIXERS.get(sim.KIND), INTERACTIONS.get(sim.FUSION)
    keys = config_keys("MODEL.SIDE.SIM", max_range="MODEL.SIDE.SIM.RANGE")
    return keys(partial(interaction, mixer=partial(mixer, **mixer.from_config(cfg))))
