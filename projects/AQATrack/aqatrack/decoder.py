"""The decoder that asks a frame about the target, and the queue of what it was told before.

Shapes: B targets, C channels, L tokens of template and search crop, K queries that are kept.

                queue of the last K queries        tokens of this frame
                          │                               │
    0 ─▶ temporal attention ─▶ norm ─▶ cross attention ─▶ norm ─▶ MLP ─▶ norm ─▶ ... ─▶ query of this frame ─▶ queue
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.checks import check_choice, check_count, check_number

__all__ = ["HISTORY_SELF", "DecoderLayer", "History", "QueryQueue", "TemporalQueryDecoder"]

HISTORY_SELF = ("always", "never", "train_only")
"""When a frame's own start value, zero, is beside the earlier queries: ``train_only`` is the release's, which in tracking
has it in the first frame alone."""


class History(NamedTuple):
    """What the temporal attention looks at.

    Attributes:
        rows: (B, h, C).
        valid: (B, h) bool, rows that there are.
    """

    rows: Tensor
    valid: Tensor


class QueryQueue:
    """The queries of the last frames, oldest first: (B, K, C), of which the last ``filled`` (B,) are valid.

    Args:
        length: K; 0 keeps nothing.
        own: one of ``HISTORY_SELF``.
    """

    def __init__(self, *, length: int = 3, own: str = "always"):
        self.length = check_count("length", length, 0)
        self.own = check_choice("own", own, HISTORY_SELF)

    def empty(self, batch: int, channels: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """The queue before the first frame, and 0."""
        return torch.zeros(batch, self.length, channels, device=device), torch.zeros(batch, device=device).long()

    def push(self, queue: Tensor, filled: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """A new queue with the query (B, C) at its end, less the oldest one, and how much of it is filled."""
        return torch.cat([queue, query[:, None]], dim=1)[:, 1:], (filled + 1).clamp(max=self.length)

    def history(self, queue: Tensor, filled: Tensor, training: bool) -> History:
        """What the next frame looks back at."""
        places = torch.arange(self.length, device=queue.device)
        valid = places >= self.length - filled[:, None]
        own = {"always": True, "never": False, "train_only": training or filled == 0}[self.own]
        own = torch.as_tensor(own, device=queue.device).expand(len(queue))
        rows = torch.cat([queue, queue.new_zeros(len(queue), 1, queue.shape[-1])], dim=1)
        return History(rows, torch.cat([valid, own[:, None]], dim=1))


class TemporalQueryDecoder(nn.Module):
    """Turns the tokens of a frame and the history into one query (AQATrack, arXiv 2403.10574).

    Args:
        channels: C.
        layers, heads: of attention.
        hidden: channels of the MLPs; 0: C.
        dropout: in training, of attention weights and branches.

    Raises:
        ValueError: the heads do not divide the channels, or a number is out of range.
    """

    def __init__(self, *, channels: int, layers: int = 3, heads: int = 8, hidden: int = 0, dropout: float = 0.1):
        super().__init__()
        if channels % check_count("heads", heads):
            raise bad_argument("heads", f"must divide the {channels} channels, got {heads}")
        hidden = check_count("hidden", hidden, 0) or channels
        check_number("dropout", dropout, 0, 1)
        count = check_count("layers", layers)
        self.layers = nn.ModuleList(DecoderLayer(channels, heads, hidden, dropout) for _ in range(count))
        self.norm = nn.LayerNorm(channels)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, history: History, tokens: Tensor) -> Tensor:
        """
        Args:
            history: of earlier frames.
            tokens: (B, L, C) of this frame.

        Returns:
            (B, C).
        """
        x = tokens.new_zeros(len(tokens), 1, tokens.shape[-1])
        for layer in self.layers:
            x = layer(x, history, tokens)
        return self.norm(x)[:, 0]


class DecoderLayer(nn.Module):
    """Attention over the history, attention over the frame, and an MLP, each with a norm behind its residual."""

    def __init__(self, channels: int, heads: int, hidden: int, dropout: float):
        super().__init__()
        self.temporal = nn.MultiheadAttention(channels, heads, dropout, batch_first=True)
        self.cross = nn.MultiheadAttention(channels, heads, dropout, batch_first=True)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, history: History, tokens: Tensor) -> Tensor:
        """(B, 1, C) to (B, 1, C)."""
        x = self.norm1(x + self.dropout(self.look_back(x, history)))
        x = self.norm2(x + self.dropout(self.cross(x, tokens, tokens, need_weights=False)[0]))
        hidden = self.dropout(F.relu(self.linear1(x)))
        return self.norm3(x + self.dropout(self.linear2(hidden)))

    def look_back(self, x: Tensor, history: History) -> Tensor:
        """What the temporal attention adds; nothing where there is no history."""
        some = history.valid.any(dim=1, keepdim=True)
        # a softmax over no rows has no value: there it looks at all of them, and the result is dropped
        hidden = ~(history.valid | ~some)
        found, _ = self.temporal(x, history.rows, history.rows, key_padding_mask=hidden, need_weights=False)
        return found * some[..., None]
