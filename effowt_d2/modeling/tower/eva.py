"""The EVA models (EVA-01, EVA-02) that open_clip takes from timm, and EVA's detectors, as towers."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from open_clip.timm_model import TimmModel
from timm.layers import apply_rot_embed_cat
from timm.models.eva import Eva, EvaBlock
from torch import Tensor, nn

from .families import FAMILIES
from .positions import top_left
from .sites import (
    NO_ADAPTERS,
    Adapters,
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
from .tokens import NO_CELL
from .tower import Tower

__all__ = ["EvaViT"]


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
            and all(type(block) is EvaBlock and _is_known(block) for block in visual.trunk.blocks)
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

    def sites(self, block: nn.Module) -> dict[str, Site]:
        attn = block.attn
        if attn.qkv is None:
            qkv = {role: site_of(layer) for role, layer in zip("qkv", (attn.q_proj, attn.k_proj, attn.v_proj))}
        else:
            qkv = fused_sites(attn.qkv.weight, attn.qkv.bias)
            if attn.qkv.bias is None:
                # EVA has no bias on the keys
                qkv["q"], qkv["v"] = (replace(qkv[r], bias=b) for r, b in (("q", attn.q_bias), ("v", attn.v_bias)))
        return {**qkv, "proj": site_of(attn.proj), **mlp_sites(block.mlp)}

    def norms(self, block: nn.Module) -> tuple[nn.LayerNorm, nn.LayerNorm]:
        return block.norm1, block.norm2

    def attend(self, block, x, *, adapters=NO_ADAPTERS, keys=None, turns=None):
        attn, x = block.attn, block.norm1(x)
        q, k, v = (in_heads(part, attn.num_heads) for part in self._qkv(attn, x, adapters))
        q, k = attn.q_norm(q), attn.k_norm(k)
        if turns is not None:
            q, k = _turned(q, turns, v.dtype), _turned(k, turns, v.dtype)
        mixed = attn.norm(out_of_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=keys)))
        y = run_site(attn.proj, mixed, "proj", adapters)
        return block.drop_path1(y if block.gamma_1 is None else block.gamma_1 * y), q, k

    @staticmethod
    def _qkv(attn: nn.Module, x: Tensor, adapters: Adapters) -> list[Tensor]:
        if attn.qkv is None:
            layers = zip("qkv", (attn.q_proj, attn.k_proj, attn.v_proj))
            return [run_site(layer, x, role, adapters) for role, layer in layers]
        bias = attn.qkv.bias
        if bias is None and attn.q_bias is not None:
            bias = torch.cat([attn.q_bias, attn.k_bias, attn.v_bias])
        return run_fused(x, attn.qkv.weight, bias, adapters)

    def feed(self, block, x, *, adapters=NO_ADAPTERS):
        y = run_mlp(block.mlp, block.norm2(x), adapters)
        return block.drop_path2(y if block.gamma_2 is None else block.gamma_2 * y)

    def _patches(self, images: Tensor, mask: Tensor | None) -> Tensor:
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

    @property
    def final_norm(self) -> nn.Module:
        return self.trunk.trunk.norm

    def turns(self, grid, *, windowed, cells=None):
        # turns depend on distances only, so that the top left part serves for any window
        rope = self.window_rope if windowed and self.window_rope is not None else self.trunk.trunk.rope
        if rope is None:
            return None
        table = rope.get_embed()
        side = math.isqrt(len(table))
        turns = top_left(table.T.reshape(-1, side, side), grid).flatten(1).T
        return turns if cells is None else _of_cells(turns, cells)


def _is_known(block: EvaBlock) -> bool:
    """Whether :class:`EvaViT` computes what the block does; timm has further switches, of models that came later."""
    attn = block.attn
    further = getattr(attn, "gate", None) is not None or getattr(attn, "rotate_half", False)
    return not further and getattr(attn, "num_kv_groups", 1) == 1 and is_known_mlp(block.mlp)


def _of_cells(turns: Tensor, cells: Tensor) -> Tensor:
    """(h * w, 2c) of all cells to (B, N, 2c) of those given; a token of no cell is not turned."""
    size = turns.shape[1] // 2
    still = torch.cat([turns.new_zeros(size), turns.new_ones(size)])
    return torch.where((cells == NO_CELL)[..., None], still, turns[cells.clamp(min=0)])


def _turned(x: Tensor, turns: Tensor, dtype: torch.dtype) -> Tensor:
    """Rotate the heads (B, heads, L, c) of the tokens behind the prefix."""
    prefix = x.shape[2] - turns.shape[-2]
    turns = turns.unsqueeze(1) if turns.ndim == 3 else turns
    return torch.cat([x[:, :, :prefix], apply_rot_embed_cat(x[:, :, prefix:], turns)], dim=2).to(dtype)
