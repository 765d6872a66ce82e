"""Structural pruning: a side network that starts as a slice of the tower it stands beside.

One set of residual channels is kept in all blocks, so that a channel means the same from block to block; heads and
hidden units are chosen block by block. The measures are those of LST (arXiv 2206.06522).

Letters: d tower channels, s side channels, F hidden units of the tower's MLP.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from effowt_d2.modeling.tower.block_weights import BlockVectors, BlockWeights

from .block import DenseMLP, SideBlock
from .network import SideNetwork


@dataclass(frozen=True)
class Kept:
    """Tower channels that a side block was pruned from.

    Attributes:
        residual: (s,), the same in all blocks.
        rows: (s,) outputs of q, k and v, head after head.
        hidden: (rho * s,) units of the MLP; empty where a sparse interaction stands.
    """

    residual: Tensor
    rows: Tensor
    hidden: Tensor


def residual_channels(importances: Sequence[BlockWeights], keep: int) -> Tensor:
    """The ``keep`` most important residual channels, ascending, over all blocks, each counting alike."""
    total = 0
    for block in importances:
        score = sum(m.sum(0) for m in (block.q, block.k, block.v, block.fc1)) + block.proj.sum(1) + block.fc2.sum(1)
        total = total + score / score.sum()
    return _top(total, keep)


def prune_into(
    side: SideNetwork,
    weights: dict[int, BlockWeights],
    vectors: dict[int, BlockVectors],
    importances: dict[int, BlockWeights],
    *,
    tower_heads: int,
    select_taps: bool,
) -> list[Kept]:
    """Copy slices of the tower into the side blocks, each from the tower block that feeds it.

    Dense MLPs take their hidden units too; sparse interactions, convolutions and gates stay as they are.

    Args:
        side: the network, changed in place.
        weights, vectors, importances: by tower block, for all of the side network's taps.
        tower_heads: attention heads of the tower.
        select_taps: make every down-projection pick the kept residual channels.

    Returns:
        What was kept, per side block in order.

    Raises:
        ValueError: a side head is larger than a tower head, or an MLP larger than the tower's.
    """
    taps = [tap for stage in side.layout.stage_taps() for tap in stage]
    blocks = [block for stage in side.stages for block in stage.blocks]
    residual = residual_channels([importances[tap] for tap in taps], side.layout.channels)
    kept = []
    with torch.no_grad():
        for tap, block in zip(taps, blocks):
            rows = attention_rows(importances[tap], residual, tower_heads, side.layout.num_heads)
            hidden = _hidden_units(importances[tap], residual, block)
            kept.append(Kept(residual, rows, hidden))
            _copy(block, weights[tap], vectors[tap], kept[-1])
        if select_taps:
            for projection in side.taps:
                projection.weight.zero_()
                projection.bias.zero_()
                projection.weight[torch.arange(len(residual)), residual] = 1
    return kept


def attention_rows(importance: BlockWeights, residual: Tensor, tower_heads: int, side_heads: int) -> Tensor:
    """The rows of q, k and v to keep: the best heads whole, or the best channels of the best head."""
    # q, k and v of a channel only work together, hence the product
    score = (importance.q * importance.k * importance.v)[:, residual].sum(1)
    heads = score.reshape(tower_heads, -1)
    size = len(residual) // side_heads
    if size > heads.shape[1]:
        raise ValueError(
            f"pruning cuts side heads out of tower heads, but {side_heads} side heads of {size} channels are larger "
            f"than the tower's of {heads.shape[1]}; reduce the width further or start from scratch"
        )
    best = _top(heads.sum(1), side_heads)
    return torch.cat([head * heads.shape[1] + _top(heads[head], size) for head in best.tolist()])


def _hidden_units(importance: BlockWeights, residual: Tensor, block: SideBlock) -> Tensor:
    if not isinstance(block.interaction, DenseMLP):
        return torch.empty(0, dtype=torch.long)
    score = importance.fc1[:, residual] * importance.fc2[residual].T
    if importance.gate is not None:
        score = score * importance.gate[:, residual]
    keep = block.interaction.fc1.out_features
    if keep > len(score):
        raise ValueError(f"the tower's MLP has {len(score)} hidden units, the side MLP needs {keep} of them")
    return _top(score.sum(1), keep)


def _copy(block: SideBlock, weights: BlockWeights, vectors: BlockVectors, kept: Kept) -> None:
    s, rows, hidden = kept.residual, kept.rows, kept.hidden
    attention = block.attn
    attention.qkv.weight.copy_(torch.cat([w[rows][:, s] for w in (weights.q, weights.k, weights.v)]))
    attention.qkv.bias.copy_(torch.cat([_pick(b, rows) for b in (vectors.q, vectors.k, vectors.v)]))
    attention.proj.weight.copy_(weights.proj[s][:, rows])
    attention.proj.bias.copy_(_pick(vectors.proj, s))
    _copy_norm(block.norm1, vectors.norm1, s)
    if len(hidden):
        _copy_norm(block.norm2, vectors.norm2, s)
        mlp = block.interaction
        mlp.fc1.weight.copy_(weights.fc1[hidden][:, s])
        mlp.fc1.bias.copy_(_pick(vectors.fc1, hidden))
        mlp.fc2.weight.copy_(weights.fc2[s][:, hidden])
        mlp.fc2.bias.copy_(_pick(vectors.fc2, s))


def _copy_norm(norm: nn.LayerNorm, source: nn.LayerNorm, channels: Tensor) -> None:
    norm.weight.copy_(source.weight[channels])
    norm.bias.copy_(source.bias[channels])


def _pick(vector: Tensor | None, index: Tensor) -> Tensor:
    return torch.zeros(len(index)) if vector is None else vector[index]


def _top(score: Tensor, keep: int) -> Tensor:
    """Indices of the ``keep`` largest, ascending; a tie goes to the lower index."""
    order = torch.sort(score, descending=True, stable=True).indices
    return order[:keep].sort().values
