"""The strategy ``side_transformer``: a side network of pure transformer blocks, to compare the hybrid ones with."""

from dataclasses import replace

from detectron2.config import CfgNode
from torch import Tensor, nn

from effowt_d2.modeling.side.block import SideBlock
from effowt_d2.modeling.side.layout import STRIDES, SideLayout
from effowt_d2.modeling.tower.tower import Tower
from effowt_d2.modeling.transfer.side import Side
from effowt_d2.modeling.transfer.strategy import register_strategy
from effowt_d2.utils.arguments import bad_argument

__all__ = ["SideTransformer", "TransformerBlock", "widened"]


class TransformerBlock(SideBlock):
    """Attention -> MLP or SIM, each with a residual, without the convolutions of :class:`SideBlock`."""

    def _convolution(self, channels: int) -> None:
        return None

    def _convolve(self, conv: nn.Module | None, x: Tensor, mask: Tensor | None) -> Tensor:
        return x


@register_strategy("side_transformer")
class SideTransformer(Side):
    """As ``side``, without convolutions in the blocks."""

    block = TransformerBlock

    @classmethod
    def layout(cls, cfg: CfgNode, tower: Tower) -> SideLayout:
        layout = super().layout(cfg, tower)
        return widened(layout) if cfg.MODEL.SIDE.MATCH_PARAMS else layout


def widened(layout: SideLayout) -> SideLayout:
    """The layout with a wider MLP at stride 16, by as much as the depthwise 3x3 convolutions of all blocks hold.

    Raises:
        ValueError: there is no MLP at stride 16.
    """
    if STRIDES[-1] in layout.sim_scales:
        raise bad_argument("match_params", f"widens the MLP at stride 16, where SIM stands: {layout.sim_scales}")
    s = layout.channels
    convolutions = sum(layout.blocks) * 2 * (9 + 1) * s
    hidden = layout.hidden(-1) + convolutions // (2 * s + 1) // layout.blocks[-1]
    return replace(layout, mlp_ratio=(*layout.mlp_ratio[:-1], hidden / s))
