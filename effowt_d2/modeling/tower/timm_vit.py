"""timm's ``VisionTransformer`` as a tower: DINOv2, and the vision halves of SigLIP and its like in open_clip's wrapper."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from open_clip.timm_model import TimmModel
from timm.layers import PatchEmbed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

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
from .tower import Tower

__all__ = ["TimmViT", "is_plain_vit"]


@FAMILIES.register("TimmViT")
class TimmViT(Tower):
    """A ViT with square patches, whatever stands before them: nothing, a class token, register tokens.

    Args:
        trunk: the model of timm, or open_clip's wrapper around it.
        patch_size: pixels per token; the model's own if omitted.
        common: see :class:`Tower`.
    """

    def __init__(self, trunk: nn.Module, *, patch_size: int | None = None, **common):
        vit = _vit(trunk)
        super().__init__(
            trunk,
            embed_dim=vit.embed_dim,
            num_heads=vit.blocks[0].attn.num_heads,
            patch_size=patch_size or vit.patch_embed.patch_size[0],
            **common,
        )

    @staticmethod
    def accepts(visual: nn.Module) -> bool:
        vit = _vit(visual)
        return is_plain_vit(vit) and isinstance(vit.patch_embed, PatchEmbed) and vit.pos_embed is not None

    @property
    def vit(self) -> VisionTransformer:
        """The model without wrapper."""
        return _vit(self.trunk)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        return self.vit.blocks

    @property
    def prefix(self) -> int:
        return self.vit.num_prefix_tokens

    @property
    def final_norm(self) -> nn.Module:
        return self.vit.norm

    def unused(self) -> list[nn.Module]:
        vit = self.vit
        behind = [vit.norm, vit.fc_norm, vit.head, getattr(vit, "attn_pool", None), getattr(self.trunk, "head", None)]
        return [module for module in behind if isinstance(module, nn.Module)]

    def embedding(self) -> list[nn.Module]:
        vit = self.vit
        loose = [p for p in (vit.cls_token, vit.reg_token, vit.pos_embed) if p is not None]
        return [vit.patch_embed, vit.norm_pre, nn.ParameterList(loose)]

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
        q, k = attn.q_norm(q), attn.k_norm(k)
        mixed = out_of_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=keys))
        return block.ls1(run_site(attn.proj, mixed, "proj", adapters)), q, k

    def feed(self, block, x, *, adapters=NO_ADAPTERS):
        return block.ls2(run_mlp(block.mlp, block.norm2(x), adapters))

    def _patches(self, images: Tensor, mask: Tensor | None) -> Tensor:
        return self.vit.patch_embed.proj(images)

    def _positions(self) -> Tensor:
        table = self.vit.pos_embed[0, self._placed_prefix :]
        return table.T.reshape(-1, *self.vit.patch_embed.grid_size)

    @property
    def _placed_prefix(self) -> int:
        """Number of prefix tokens with a position."""
        return 0 if self.vit.no_embed_class else self.prefix

    def _class_token(self) -> Tensor:
        tokens = [t[0] for t in (self.vit.cls_token, self.vit.reg_token) if t is not None]
        prefix = torch.cat([*tokens, self.vit.pos_embed[0, :0]])
        return prefix + self.vit.pos_embed[0, : self.prefix] if self._placed_prefix else prefix

    def _normalize(self, x: Tensor) -> Tensor:
        return self.vit.norm_pre(x)


def _vit(visual: nn.Module) -> nn.Module:
    return visual.trunk if isinstance(visual, TimmModel) else visual


def is_plain_vit(vit: nn.Module | None) -> bool:
    """Whether :class:`TimmViT` computes what its blocks do; timm's have further switches."""
    return isinstance(vit, VisionTransformer) and all(
        type(block) is Block
        and is_known_mlp(block.mlp)
        and isinstance(getattr(block.attn, "norm", None) or nn.Identity(), nn.Identity)
        and getattr(block.attn, "gate", None) is None
        for block in vit.blocks
    )
