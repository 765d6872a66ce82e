"""LoRA (arXiv 2106.09685): a low-rank update of a frozen linear layer, which can be folded into its weight.

Letters: r rank, i inputs and o outputs of the layer.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.checks import check_choice, check_count, check_number

__all__ = ["INITS", "SCALE_RULES", "LoRA", "check_rank", "init_down", "init_up", "scale_of"]

SCALE_RULES = {"rank": lambda rank: rank, "sqrt_rank": math.sqrt}
"""What alpha is divided by; the square root is that of rsLoRA (arXiv 2312.03732)."""

INITS = ("normal", "kaiming", "gaussian")
"""``normal``: both matrices by a truncated normal of deviation 0.02, so that the update is not zero at first (LoRAT).
``kaiming`` and ``gaussian`` (deviation 1 / rank): the second matrix is zero, so that it is."""


def check_rank(rank: int, in_features: int, out_features: int) -> int:
    """Return a rank that an update of such a layer can have, or raise ValueError."""
    check_count("rank", rank)
    if rank > min(in_features, out_features):
        raise bad_argument(
            "rank", f"must be at most {min(in_features, out_features)} on {in_features} x {out_features}, got {rank}"
        )
    return rank


def scale_of(alpha: float, rank: int, scale_rule: str) -> float:
    """The factor of an update; ValueError for an unknown rule or an alpha that is no number of at least 0."""
    check_choice("scale_rule", scale_rule, tuple(SCALE_RULES))
    return check_number("alpha", alpha) / SCALE_RULES[scale_rule](rank)


def init_down(matrix: Tensor, init: str, rank: int) -> None:
    """Set what a first matrix (r, i), or several below each other, starts from; see ``INITS``."""
    check_choice("init", init, INITS)
    if init == "normal":
        nn.init.trunc_normal_(matrix, std=0.02)
    elif init == "kaiming":
        nn.init.kaiming_uniform_(matrix, a=math.sqrt(5))
    else:
        nn.init.normal_(matrix, std=1 / rank)


def init_up(matrix: Tensor, init: str) -> None:
    """Set what a second matrix (o, r), or several beside each other, starts from; see ``INITS``."""
    check_choice("init", init, INITS)
    if init == "normal":
        nn.init.trunc_normal_(matrix, std=0.02)
    else:
        nn.init.zeros_(matrix)


class LoRA(nn.Module):
    """Adds ``alpha / r * B A x`` to the output of a layer.

    Args:
        in_features, out_features: of the layer.
        rank: r.
        alpha: scale, before it is divided.
        scale_rule: divide alpha by ``rank`` or by ``sqrt_rank``.
        dropout: probability that an input of the update is zeroed in training.
        init: see ``INITS``.

    Raises:
        ValueError: the rank is larger than the layer, a number is out of range, or a name unknown.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        rank: int = 64,
        alpha: float = 64.0,
        scale_rule: str = "rank",
        dropout: float = 0.0,
        init: str = "normal",
    ):
        super().__init__()
        check_rank(rank, in_features, out_features)
        self.scale = scale_of(alpha, rank, scale_rule)
        self.dropout = nn.Dropout(check_number("dropout", dropout, 0, 1))
        self.A = nn.Parameter(torch.empty(rank, in_features))
        self.B = nn.Parameter(torch.empty(out_features, rank))
        init_down(self.A, init, rank)
        init_up(self.B, init)

    def forward(self, x: Tensor) -> Tensor:
        """(..., i) to (..., o), in the dtype of ``x``; the matrices may have another one."""
        low = F.linear(self.dropout(x), self.A.to(x.dtype))
        return F.linear(low * self.scale, self.B.to(x.dtype))

    def settings(self) -> dict[str, Any]:
        """Settings that its function depends on, besides its tensors."""
        return {"rank": len(self.A), "scale": self.scale}

    def delta(self) -> Tensor:
        """Term added to the layer's weight (o, i), in float32 at least."""
        dtype = torch.promote_types(self.A.dtype, torch.float32)
        return self.scale * (self.B.to(dtype) @ self.A.to(dtype))
