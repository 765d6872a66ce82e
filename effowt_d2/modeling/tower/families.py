"""The registry of tower families, and the first of them: the plain ViT of CLIP."""

from collections.abc import Sequence

import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn

from effowt_d2.utils.registry import Registry

from .sites import (
    NO_ADAPTERS,
    Site,
    fused_sites,
    in_heads,
    out_of_heads,
    run_fused,
    run_site,
    site_of,
)
from .tower import Tower

__all__ = ["FAMILIES", "ClipViT"]

FAMILIES: Registry[type[Tower]] = Registry("tower families", argument="name")
"""A model belongs to the first family that accepts its vision module."""


@FAMILIES.register("ClipViT")
class ClipViT(Tower):
    """The plain ViT of CLIP: open_clip's ``VisionTransformer``."""

    def __init__(self, trunk: VisionTransformer, **common):
        super().__init__(
            trunk,
            embed_dim=trunk.conv1.out_channels,
            num_heads=trunk.transformer.resblocks[0].attn.num_heads,
            patch_size=trunk.patch_size[0],
            **common,
        )

    @staticmethod
    def accepts(visual: nn.Module) -> bool:
        return isinstance(visual, VisionTransformer) and all(
            type(block) is ResidualAttentionBlock for block in visual.transformer.resblocks
        )

    @property
    def blocks(self) -> Sequence[nn.Module]:
        return self.trunk.transformer.resblocks

    def unused(self) -> list[nn.Module]:
        loose = nn.ParameterList([] if self.trunk.proj is None else [self.trunk.proj])
        return [self.trunk.ln_post, loose] + [m for m in (self.trunk.attn_pool,) if m is not None]

    def embedding(self) -> list[nn.Module]:
        loose = nn.ParameterList([self.trunk.class_embedding, self.trunk.positional_embedding])
        return [self.trunk.conv1, self.trunk.ln_pre, loose]

    def sites(self, block: nn.Module) -> dict[str, Site]:
        attn, mlp = block.attn, block.mlp
        qkv = fused_sites(attn.in_proj_weight, attn.in_proj_bias)
        return {**qkv, "proj": site_of(attn.out_proj), "fc1": site_of(mlp.c_fc), "fc2": site_of(mlp.c_proj)}

    def norms(self, block: nn.Module) -> tuple[nn.LayerNorm, nn.LayerNorm]:
        return block.ln_1, block.ln_2

    def attend(self, block, x, *, adapters=NO_ADAPTERS, keys=None, turns=None):
        attn = block.attn
        # torch's module needs a full (L, L) mask per head; a mask of keys is enough and stays small
        qkv = run_fused(block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias, adapters)
        q, k, v = (in_heads(part, attn.num_heads) for part in qkv)
        mixed = out_of_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=keys))
        return block.ls_1(run_site(attn.out_proj, mixed, "proj", adapters)), q, k

    def feed(self, block, x, *, adapters=NO_ADAPTERS):
        hidden = block.mlp.gelu(run_site(block.mlp.c_fc, block.ln_2(x), "fc1", adapters))
        return block.ls_2(run_site(block.mlp.c_proj, hidden, "fc2", adapters))

    def _patches(self, images: Tensor, mask: Tensor | None) -> Tensor:
        return self.trunk.conv1(images)

    def _positions(self) -> Tensor:
        return self.trunk.positional_embedding[1:].T.reshape(-1, *self.trunk.grid_size)

    def _class_token(self) -> Tensor:
        return (self.trunk.class_embedding + self.trunk.positional_embedding[0])[None]

    def _normalize(self, x: Tensor) -> Tensor:
        return self.trunk.ln_pre(x)

    @property
    def final_norm(self) -> nn.Module:
        return self.trunk.ln_post
