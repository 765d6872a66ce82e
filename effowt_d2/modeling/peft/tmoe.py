"""TMoE (SPMTrack, arXiv 2503.18338): low-rank updates of a frozen linear layer, mixed per token.

With A (r, i) and N matrices B_n (o, r), a token u gets ``s * sum_n g_n(u) B_n A u``, where the gates ``g = softmax(G u)``
come from a router G (N, i). Every expert runs for every token. The sum is one matrix product: the B_n lie beside each
other (o, N r), and meet the outer product of gates and A u.

Letters: r rank, N experts, i inputs and o outputs of the layer.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.checks import check_count, check_number

from .lora import check_rank, init_down, init_up, scale_of

__all__ = ["TMoE"]


class TMoE(nn.Module):
    """The experts and the router of one layer.

    Args:
        in_features, out_features: of the layer.
        rank, alpha, scale_rule, dropout, init: as for ``LoRA``; the router sees its input without dropout.
        num_experts: N.
        route_compression: every expert has an A of its own.
        ungated_expert: one more B, which is added for every token alike.

    Attributes:
        gate_entropy: mean entropy of the gates of the last batch in training, in nats; ln N is the highest.
        gate_fractions: (N,), the mean gate of each expert then.

    Raises:
        ValueError: as ``LoRA``, or both switches are on, or there is no expert.
    """

    gate_entropy: Tensor
    gate_fractions: Tensor

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
        num_experts: int = 4,
        route_compression: bool = False,
        ungated_expert: bool = False,
    ):
        super().__init__()
        check_rank(rank, in_features, out_features)
        check_count("num_experts", num_experts)
        if route_compression and ungated_expert:
            raise bad_argument("ungated_expert", "must be off with route_compression: an ungated B needs the one A")
        self.scale = scale_of(alpha, rank, scale_rule)
        self.num_experts = num_experts
        self.dropout = nn.Dropout(check_number("dropout", dropout, 0, 1))
        self.A = nn.Parameter(torch.empty((num_experts if route_compression else 1) * rank, in_features))
        self.B = nn.Parameter(torch.empty(out_features, num_experts * rank))
        self.router = nn.Linear(in_features, num_experts, bias=False)
        init_down(self.A, init, rank)
        init_up(self.B, init)
        self.ungated: nn.Parameter | None = None
        if ungated_expert:
            self.ungated = nn.Parameter(torch.empty(out_features, rank))
            init_up(self.ungated, init)
        self.register_buffer("gate_entropy", torch.zeros(()), persistent=False)
        self.register_buffer("gate_fractions", torch.zeros(num_experts), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., i) to (..., o), in the dtype of ``x``."""
        gates = F.linear(x, self.router.weight.to(x.dtype)).softmax(-1, dtype=torch.float32)
        if self.training:
            self._note(gates.detach())
        gates = gates.to(x.dtype)
        low = F.linear(self.dropout(x), self.A.to(x.dtype)) * self.scale
        # (..., 1 or N, r) by (..., N, 1)
        mixed = low.unflatten(-1, (-1, self.rank)) * gates[..., None]
        y = F.linear(mixed.flatten(-2), self.B.to(x.dtype))
        return y if self.ungated is None else y + F.linear(low, self.ungated.to(x.dtype))

    @property
    def rank(self) -> int:
        return self.B.shape[1] // self.num_experts

    def settings(self) -> dict[str, Any]:
        """Settings that its function depends on, besides its tensors."""
        return {"rank": self.rank, "scale": self.scale, "experts": self.num_experts}

    def _note(self, gates: Tensor) -> None:
        self.gate_entropy.copy_(torch.special.entr(gates).sum(-1).mean())
        self.gate_fractions.copy_(gates.flatten(0, -2).mean(0))

    def delta(self) -> Tensor:
        """Term added to the layer's weight (o, i), in float32 at least, if it is the same for every token.

        Raises:
            ValueError: it is not: there is a router with several experts.
        """
        if self.num_experts > 1 and self.router.weight.any():
            raise bad_argument(
                "method",
                f"tmoe with {self.num_experts} experts has no merged form: the weight it stands for depends on the token",
            )
        dtype = torch.promote_types(self.A.dtype, torch.float32)
        down = self.A.to(dtype).unflatten(0, (-1, self.rank)).expand(self.num_experts, -1, -1)
        up = self.B.to(dtype).unflatten(1, (self.num_experts, self.rank)).transpose(0, 1) / self.num_experts
        merged = (up @ down).sum(0)
        if self.ungated is not None:
            merged = merged + self.ungated.to(dtype) @ self.A.to(dtype)
        return self.scale * merged
