"""A tower with locality: the ConvNeXt models of open_clip, for the question whether convolutions help beside one."""

from collections.abc import Sequence

from open_clip.timm_model import TimmModel
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn

from effowt_d2.modeling.layers.masks import apply_mask
from effowt_d2.modeling.tower.block_weights import BlockVectors, BlockWeights
from effowt_d2.modeling.tower.families import FAMILIES
from effowt_d2.modeling.tower.hooks import BlockHook
from effowt_d2.modeling.tower.passes import Pass
from effowt_d2.modeling.tower.sites import Site
from effowt_d2.modeling.tower.tokens import Tokens
from effowt_d2.modeling.tower.tower import STRIDE, Tower
from effowt_d2.utils.arguments import bad_argument

__all__ = ["ConvNeXtTower"]

STAGE = 2
"""The stage at stride 16, which holds most of the blocks; the one behind it is not run."""


class MapPass(Pass):
    """Runs blocks on the map that the tokens make.

    Raises:
        ValueError: a hook wants to see the halves of a block.
    """

    def __init__(self, tower: Tower, tokens: Tokens, hooks: Sequence[BlockHook]):
        if hooks:
            raise bad_argument("hooks", f"must be none: {tower.name} has no attention, got {hooks}")
        super().__init__(tower, tokens, hooks)

    def run(self, number: int) -> None:
        valid = None if self.tokens.valid is None else self.tokens.valid.unflatten(1, self.tokens.grid)
        x = apply_mask(self.tokens.dense(), valid)
        x = apply_mask(self.tower.calls.block(self.tower, self.tower.blocks[number], x), valid)
        self.tokens = _as_tokens(x, self.tokens.valid)


@FAMILIES.register("ConvNeXtTower")
class ConvNeXtTower(Tower):
    """ConvNeXt (arXiv 2201.03545) up to stride 16: its blocks there are the tower's blocks.

    There are no positions, so ``canvas`` plays no part, and no attention: the side network's heads are of 64 channels.

    Raises:
        ValueError: windows are asked for.
    """

    HEAD_SIZE = 64
    pass_type = MapPass

    def __init__(self, trunk: TimmModel, *, window: int = 0, **common):
        if window:
            raise bad_argument("window", f"must be 0: a ConvNeXt has no attention to run in windows, got {window}")
        channels = trunk.trunk.feature_info[STAGE]["num_chs"]
        super().__init__(
            trunk,
            embed_dim=channels,
            num_heads=max(1, channels // self.HEAD_SIZE),
            patch_size=STRIDE,
            window=window,
            **common,
        )

    @staticmethod
    def accepts(visual: nn.Module) -> bool:
        return isinstance(visual, TimmModel) and isinstance(visual.trunk, ConvNeXt)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        return self.trunk.trunk.stages[STAGE].blocks

    def unused(self) -> list[nn.Module]:
        net = self.trunk.trunk
        return [*net.stages[STAGE + 1 :], net.norm_pre, net.head, self.trunk.head]

    def embedding(self) -> list[nn.Module]:
        net = self.trunk.trunk
        return [net.stem, *net.stages[:STAGE], net.stages[STAGE].downsample]

    def block_weights(self, number: int) -> BlockWeights:
        raise bad_argument("init", "must be scratch: attention blocks can't be cut out of a ConvNeXt")

    def block_vectors(self, number: int) -> BlockVectors:
        raise bad_argument("init", "must be scratch: attention blocks can't be cut out of a ConvNeXt")

    def sites(self, block: nn.Module) -> dict[str, Site]:
        return {}

    def embed(self, images: Tensor, mask: Tensor | None = None) -> Tokens:
        net = self.trunk.trunk
        with self._computing(self.trains, images.device):
            x = net.stem(images.to(self.precision) if self.rounds else images)
            for depth, stage in enumerate(net.stages[:STAGE]):
                times = 2 ** (STAGE - depth)
                valid = None if mask is None else mask.repeat_interleave(times, 1).repeat_interleave(times, 2)
                x = stage.downsample(x)
                for block in stage.blocks:
                    # a 7x7 convolution would read the padding
                    x = block(apply_mask(x, valid))
            x = net.stages[STAGE].downsample(x)
        return _as_tokens(x, None if mask is None else mask.flatten(1))

    def _block(self, block: nn.Module, x: Tensor) -> Tensor:
        return block(x)


def _as_tokens(x: Tensor, valid: Tensor | None) -> Tokens:
    """Of a map (B, d, h, w)."""
    return Tokens(x.flatten(2).transpose(1, 2), 0, tuple(x.shape[-2:]), valid=valid)
