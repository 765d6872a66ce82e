"""The tower families: open_clip's own ViT, and the EVA models that open_clip takes from timm."""

import copy
import math
from collections.abc import Sequence

import torch.nn.functional as F
from open_clip.timm_model import TimmModel
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from timm.models.eva import Eva, EvaBlock
from torch import Tensor, nn

from effowt_d2.utils.registry import Registry

from .block_weights import BlockVectors, BlockWeights
from .tower import Tower

__all__ = ["FAMILIES", "ClipViT", "EvaViT"]

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

    def block_weights(self, number: int) -> BlockWeights:
        block = self.blocks[number]
        q, k, v = block.attn.in_proj_weight.chunk(3)
        proj, fc1, fc2 = block.attn.out_proj.weight, block.mlp.c_fc.weight, block.mlp.c_proj.weight
        return BlockWeights(q=q, k=k, v=v, proj=proj, fc1=fc1, fc2=fc2)

    def block_vectors(self, number: int) -> BlockVectors:
        block = self.blocks[number]
        q, k, v = block.attn.in_proj_bias.chunk(3)
        proj, fc1, fc2 = block.attn.out_proj.bias, block.mlp.c_fc.bias, block.mlp.c_proj.bias
        return BlockVectors(q=q, k=k, v=v, proj=proj, fc1=fc1, fc2=fc2, norm1=block.ln_1, norm2=block.ln_2)

    def _embed(self, images: Tensor, mask: Tensor | None) -> Tensor:
        return self.trunk.conv1(images)

    def _positions(self) -> Tensor:
        return self.trunk.positional_embedding[1:].T.reshape(-1, *self.trunk.grid_size)

    def _class_token(self) -> Tensor:
        return (self.trunk.class_embedding + self.trunk.positional_embedding[0])[None]

    def _normalize(self, x: Tensor) -> Tensor:
        return self.trunk.ln_pre(x)

    def _block(
        self, block: nn.Module, x: Tensor, keys: Tensor | None, *, grid: tuple[int, int], windowed: bool
    ) -> Tensor:
        x = x + block.ls_1(self._attention(block.attn, block.ln_1(x), keys))
        return x + block.ls_2(block.mlp(block.ln_2(x)))

    @staticmethod
    def _attention(attention: nn.MultiheadAttention, x: Tensor, keys: Tensor | None) -> Tensor:
        # torch's module wants a full (L, L) mask per head; a mask of keys is enough and stays small
        b, length, channels = x.shape
        qkv = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
        q, k, v = qkv.reshape(b, length, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=keys)
        return attention.out_proj(x.transpose(1, 2).reshape(b, length, channels))


@FAMILIES.register("EvaViT")
class EvaViT(Tower):
    """EVA-01 and EVA-02 (rotary positions): timm's ``Eva`` in open_clip's wrapper.

    Args:
        trunk, canvas, window, common: see :class:`Tower`.
        rotary_windows: blocks in windows have rotary positions of their own, in which a window spans the pre-training
            grid, as in EVA-02's detectors. Otherwise two tokens are as far apart as they are on the canvas.
    """

    # its rotary positions are those of the canvas
    whole_trunk = False

    def __init__(self, trunk: TimmModel, *, canvas: int = 64, window: int = 0, rotary_windows: bool = False, **common):
        eva = trunk.trunk
        window_rope = None
        if window and rotary_windows:
            window_rope = copy.deepcopy(eva.rope)
            window_rope.update_feat_shape([window, window])
        if canvas and eva.rope is not None:
            # rotary positions of the whole canvas, of which an image takes the top left
            eva.rope.update_feat_shape([canvas, canvas])
        super().__init__(
            trunk,
            embed_dim=eva.embed_dim,
            num_heads=eva.blocks[0].attn.num_heads,
            patch_size=eva.patch_embed.patch_size[0],
            canvas=canvas,
            window=window,
            **common,
        )
        self.window_rope = window_rope

    @staticmethod
    def accepts(visual: nn.Module) -> bool:
        return (
            isinstance(visual, TimmModel)
            and isinstance(visual.trunk, Eva)
            and visual.trunk.num_prefix_tokens in (0, 1)
            and not visual.trunk.rope_mixed
            and all(type(block) is EvaBlock for block in visual.trunk.blocks)
        )

    @property
    def blocks(self) -> Sequence[nn.Module]:
        return self.trunk.trunk.blocks

    def unused(self) -> list[nn.Module]:
        eva = self.trunk.trunk
        return [eva.norm, eva.fc_norm, eva.head, self.trunk.head]

    def embedding(self) -> list[nn.Module]:
        eva = self.trunk.trunk
        loose = [eva.pos_embed] if eva.cls_token is None else [eva.cls_token, eva.pos_embed]
        return [eva.patch_embed, eva.norm_pre, nn.ParameterList(loose)]

    def block_weights(self, number: int) -> BlockWeights:
        block = self.blocks[number]
        attn, mlp = block.attn, block.mlp
        fused = attn.qkv is not None
        q, k, v = attn.qkv.weight.chunk(3) if fused else (attn.q_proj.weight, attn.k_proj.weight, attn.v_proj.weight)
        gated = hasattr(mlp, "fc1_g")
        return BlockWeights(
            q=q,
            k=k,
            v=v,
            proj=attn.proj.weight,
            fc1=mlp.fc1_x.weight if gated else mlp.fc1.weight,
            fc2=mlp.fc2.weight,
            gate=mlp.fc1_g.weight if gated else None,
        )

    def block_vectors(self, number: int) -> BlockVectors:
        block = self.blocks[number]
        attn, mlp = block.attn, block.mlp
        # EVA has no bias on the keys
        fused = attn.qkv is not None
        q, v = (attn.q_bias, attn.v_bias) if fused else (attn.q_proj.bias, attn.v_proj.bias)
        fc1 = mlp.fc1_x if hasattr(mlp, "fc1_g") else mlp.fc1
        return BlockVectors(
            q=q,
            k=None,
            v=v,
            proj=attn.proj.bias,
            fc1=fc1.bias,
            fc2=mlp.fc2.bias,
            norm1=block.norm1,
            norm2=block.norm2,
        )

    def _embed(self, images: Tensor, mask: Tensor | None) -> Tensor:
        return self.trunk.trunk.patch_embed.proj(images)

    @property
    def prefix(self) -> int:
        return self.trunk.trunk.num_prefix_tokens

    def _positions(self) -> Tensor:
        return self.trunk.trunk.pos_embed[0, self.prefix :].T.reshape(-1, *self.trunk.trunk.patch_embed.grid_size)

    def _class_token(self) -> Tensor:
        eva = self.trunk.trunk
        if eva.cls_token is None:
            return eva.pos_embed[0, :0]
        return eva.cls_token[0] + eva.pos_embed[0, :1]

    def _normalize(self, x: Tensor) -> Tensor:
        return self.trunk.trunk.norm_pre(x)

    def _block(
        self, block: nn.Module, x: Tensor, keys: Tensor | None, *, grid: tuple[int, int], windowed: bool
    ) -> Tensor:
        return block(x, rope=self._rotation(grid, windowed), attn_mask=keys)

    def _rotation(self, grid: tuple[int, int], windowed: bool) -> Tensor | None:
        # turns depend on distances only, so that the top left part serves for any window
        rope = self.window_rope if windowed and self.window_rope is not None else self.trunk.trunk.rope
        if rope is None:
            return None
        table = rope.get_embed()
        side = math.isqrt(len(table))
        canvas = table.T.reshape(-1, side, side)
        return self._crop(canvas, grid).flatten(1).T
