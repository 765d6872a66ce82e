"""A tower of few tokens that trains fast: convolutions of stride 16, then the blocks of a plain ViT.

The model itself is ``effowt_d2.assets.conv_stem_vit``; this module runs it on images of any size.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from open_clip.timm_model import TimmModel
from timm.models.vision_transformer import Block, VisionTransformer
from timm.models.vision_transformer_hybrid import ConvStem, HybridEmbed
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from effowt_d2.modeling.layers.masks import apply_mask

from .families import FAMILIES
from .sites import (
    NO_ADAPTERS,
    Site,
    fused_sites,
    in_heads,
    is_known_mlp,
    mlp_sites,
    out_of_heads,
    run_fused,
    run_mlp,
    run_site,
    site_of,
)
from .tower import STRIDE, Tower


@FAMILIES.register("ConvStemViT")
class ConvStemViT(Tower):
    """timm's ``VisionTransformer`` behind a ``ConvStem``, without a class token, in open_clip's wrapper.

    Batch norms always use their running statistics, so that features depend neither on the batch nor on padding.
    """

    def __init__(self, trunk: TimmModel, **common):
        vit = trunk.trunk
        super().__init__(
            trunk, embed_dim=vit.embed_dim, num_heads=vit.blocks[0].attn.num_heads, patch_size=STRIDE, **common
        )

    @staticmethod
    def accepts(visual: nn.Module) -> bool:
        vit = getattr(visual, "trunk", None)
        return (
            isinstance(visual, TimmModel)
            and isinstance(vit, VisionTransformer)
            and isinstance(vit.patch_embed, HybridEmbed)
            and isinstance(vit.patch_embed.backbone, ConvStem)
            and vit.patch_embed.feat_ratio() == STRIDE
            and vit.num_prefix_tokens == 0
            and all(type(block) is Block and is_known_mlp(block.mlp) for block in vit.blocks)
        )

    def train(self, mode: bool = True) -> "ConvStemViT":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    @property
    def blocks(self) -> Sequence[nn.Module]:
        return self.trunk.trunk.blocks

    @property
    def prefix(self) -> int:
        return 0

    def unused(self) -> list[nn.Module]:
        vit = self.trunk.trunk
        return [vit.norm, vit.fc_norm, vit.head, self.trunk.head]

    def embedding(self) -> list[nn.Module]:
        vit = self.trunk.trunk
        return [vit.patch_embed, vit.norm_pre, nn.ParameterList([vit.pos_embed])]

    def sites(self, block: nn.Module) -> dict[str, Site]:
        qkv = fused_sites(block.attn.qkv.weight, block.attn.qkv.bias)
        return {**qkv, "proj": site_of(block.attn.proj), **mlp_sites(block.mlp)}

    def norms(self, block: nn.Module) -> tuple[nn.LayerNorm, nn.LayerNorm]:
        return block.norm1, block.norm2

    def attend(self, block, x, *, adapters=NO_ADAPTERS, keys=None, turns=None):
        attn = block.attn
        # timm's own takes a mask in its newer versions only
        qkv = run_fused(block.norm1(x), attn.qkv.weight, attn.qkv.bias, adapters)
        q, k, v = (in_heads(part, attn.num_heads) for part in qkv)
        mixed = out_of_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=keys))
        return block.ls1(run_site(attn.proj, mixed, "proj", adapters)), q, k

    def feed(self, block, x, *, adapters=NO_ADAPTERS):
        return block.ls2(run_mlp(block.mlp, block.norm2(x), adapters))

    def _patches(self, images: Tensor, mask: Tensor | None) -> Tensor:
        x = images
        for convolution in self.trunk.trunk.patch_embed.backbone:
            # a 3x3 convolution of the next layer would read what this one made of the padding
            x = convolution(x)
            x = apply_mask(x, None if mask is None else _enlarged(mask, x.shape[-1] // mask.shape[-1]))
        return x

    def _positions(self) -> Tensor:
        vit = self.trunk.trunk
        return vit.pos_embed[0].T.reshape(-1, *vit.patch_embed.grid_size)

    def _class_token(self) -> Tensor:
        return self.trunk.trunk.pos_embed[0, :0]

    def _normalize(self, x: Tensor) -> Tensor:
        return self.trunk.trunk.norm_pre(x)


def _enlarged(mask: Tensor, times: int) -> Tensor:
    """(B, h, w) to (B, times * h, times * w)."""
    return mask.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)
