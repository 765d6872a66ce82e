"""HiViT (arXiv 2205.14949) as a tower: a ViT whose patches go through two stages of MLPs before the first attention.

    image ─ conv 4 x 4 ─▶ cells of 4 px, c/4 ─ MLPs ─▶ merge ─▶ cells of 8 px, c/2 ─ MLPs ─▶ merge ─▶ patches of 16 px, c ─▶ blocks

Nothing is exchanged between patches on the way, so tokens of a template can be made once per video. Importing this module
makes the sizes known to timm: ``MODEL.VLM.NAME timm://hivit_base``.

Shapes: B images of H x W pixels, c channels of the patches.
"""

import re
from collections.abc import Mapping
from functools import partial

import torch
from timm.layers import Mlp, drop_path
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from effowt_d2.modeling.tower.families import FAMILIES
from effowt_d2.modeling.tower.timm_vit import TimmViT

__all__ = ["HiViT", "HiViTTower", "HierarchicalPatches"]

_CELL = 4
_NORM = partial(nn.LayerNorm, eps=1e-6)
_PIXELS = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


class CellMLP(nn.Module):
    """A residual MLP of each cell (B, h, w, c), left out in training with a probability of ``rate`` per image."""

    def __init__(self, channels: int, mlp_ratio: float):
        super().__init__()
        self.norm2 = _NORM(channels)
        self.mlp = Mlp(channels, int(channels * mlp_ratio))
        self.rate = 0.0

    def forward(self, x: Tensor) -> Tensor:
        return x + drop_path(self.mlp(self.norm2(x)), self.rate, self.training)


class CellMerge(nn.Module):
    """Four cells to one of twice the channels: (B, h, w, c) to (B, h / 2, w / 2, 2c)."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = _NORM(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # by row and column in a patch: (0, 0), (1, 0), (0, 1), (1, 1)
        cells = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(cells, dim=-1)))


class Stem(nn.Module):
    """Images (B, 3, H, W) to a map (B, c, H / 16, W / 16).

    Args:
        channels: c.
        depths: MLPs before the first and before the second merge.
        mlp_ratio: hidden channels of them over their channels.
    """

    def __init__(self, channels: int, depths: tuple[int, int], mlp_ratio: float):
        super().__init__()
        width = channels // 4
        self.conv = nn.Conv2d(3, width, _CELL, stride=_CELL)
        self.norm = _NORM(width)
        blocks: list[nn.Module] = []
        for depth in depths:
            blocks += [*(CellMLP(width, mlp_ratio) for _ in range(depth)), CellMerge(width)]
            width *= 2
        self.blocks = nn.Sequential(*blocks)

    def forward(self, images: Tensor) -> Tensor:
        x = self.norm(self.conv(images).permute(0, 2, 3, 1))
        return self.blocks(x).permute(0, 3, 1, 2)


class HierarchicalPatches(nn.Module):
    """The patch embedding of a ViT of timm, with :class:`Stem` in place of a convolution."""

    def __init__(
        self, *, img_size: int, patch_size: int, embed_dim: int, depths: tuple[int, int], mlp_ratio: float, **_
    ):
        super().__init__()
        self.patch_size = (patch_size,) * 2
        self.grid_size = (img_size // patch_size,) * 2
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        self.proj = Stem(embed_dim, depths, mlp_ratio)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)


class HiViT(VisionTransformer):
    """A plain ViT behind hierarchical patches, without a class token.

    Args:
        embed_dim, num_heads, depth: of the attention blocks.
        stem_depths: MLPs before each merge of the stem.
        num_classes: 0 for no classifier.
    """

    def __init__(
        self,
        *,
        embed_dim: int = 512,
        num_heads: int = 8,
        depth: int = 20,
        stem_depths: tuple[int, int] = (4, 4),
        num_classes: int = 0,
    ):
        super().__init__(
            img_size=224,
            patch_size=16,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            mlp_ratio=4.0,
            qkv_bias=True,
            class_token=False,
            global_pool="",
            num_classes=num_classes,
            norm_layer=_NORM,
            embed_layer=partial(HierarchicalPatches, depths=stem_depths, mlp_ratio=3.0),
        )
        self.pretrained_cfg = _PIXELS

    def set_drop_path(self, rate: float) -> list[float]:
        """Rates from 0 at the first MLP to ``rate`` at the last block, merges left out; returns those of the blocks."""
        cells = [block for block in self.patch_embed.proj.blocks if isinstance(block, CellMLP)]
        count = len(cells) + len(self.blocks)
        rates = [rate * number / (count - 1) for number in range(count)]
        for cell, of_cell in zip(cells, rates):
            cell.rate = of_cell
        return rates[len(cells) :]

    def own_names(self, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """The tensors of a file that this model takes, by its names, and what to know about them.

        Args:
            state: of this model, of the public pretraining file, or of the trackers built on it, which number the stem's
                layers and the blocks as one list. The pretraining file has no final norm of this width.
        """
        if "patch_embed.proj.conv.weight" in state:
            return dict(state), []
        stem = len(self.patch_embed.proj.blocks)
        present = self.state_dict()
        made = {_own_name(name, stem): value for name, value in state.items()}
        found = {name: value for name, value in made.items() if name in present}
        fresh = {name: value for name, value in present.items() if name.startswith("norm.") and name not in found}
        notes = ["the file has no final norm of this width; it starts afresh"] if fresh else []
        return {**found, **fresh}, notes


_WHOLE = {
    "absolute_pos_embed": "pos_embed",
    "norm_.weight": "norm.weight",
    "norm_.bias": "norm.bias",
    **{f"patch_embed.proj.{kind}": f"patch_embed.proj.conv.{kind}" for kind in ("weight", "bias")},
    **{f"patch_embed.norm.{kind}": f"patch_embed.proj.norm.{kind}" for kind in ("weight", "bias")},
}


def _own_name(name: str, stem: int) -> str:
    """The name here of a tensor there; "" for one of the pretraining's own parts."""
    if name in _WHOLE:
        return _WHOLE[name]
    block = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
    if block is None:
        return ""
    number = int(block[1])
    return f"patch_embed.proj.blocks.{number}.{block[2]}" if number < stem else f"blocks.{number - stem}.{block[2]}"


@FAMILIES.register("HiViT")
class HiViTTower(TimmViT):
    """A :class:`HiViT` as a tower; ``drop_path`` is the rate of its last block."""

    @staticmethod
    def accepts(visual: nn.Module) -> bool:
        return isinstance(visual, HiViT)

    def drop_rates(self, rate: float) -> list[float]:
        return self.vit.set_drop_path(rate)


@register_model
def hivit_base(pretrained: bool = False, num_classes: int = 0, **_) -> HiViT:
    """Width 512, 20 blocks."""
    return HiViT(num_classes=num_classes)


@register_model
def hivit_small(pretrained: bool = False, num_classes: int = 0, **_) -> HiViT:
    """Width 384, 20 blocks."""
    return HiViT(embed_dim=384, num_heads=6, num_classes=num_classes)


@register_model
def hivit_tiny(pretrained: bool = False, num_classes: int = 0, **_) -> HiViT:
    """Width 384, 10 blocks, half the stem."""
    return HiViT(embed_dim=384, num_heads=6, depth=10, stem_depths=(2, 2), num_classes=num_classes)
