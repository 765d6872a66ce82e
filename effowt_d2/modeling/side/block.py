"""Parts of a side stage: the hybrid block, the stem and the transition between strides. Maps are (B, C, H, W)."""

from torch import Tensor, nn

from effowt_d2.modeling.layers.attention import WindowAttention
from effowt_d2.modeling.layers.masks import apply_mask
from effowt_d2.modeling.layers.norms import channel_norm
from effowt_d2.modeling.layers.recompute import recomputed

from .sparse_interaction import SparseInteraction


def depthwise(channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels)


class DenseMLP(nn.Module):
    """C -> ratio * C -> C with GELU, per token. The mask has no part in it but keeps its interface that of SIM."""

    def __init__(self, *, channels: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class SideBlock(nn.Module):
    """Depthwise 3x3 -> attention -> MLP or SIM -> depthwise 3x3, each with a residual and masked padding.

    Args:
        channels: C.
        num_heads: attention heads.
        window: attention window side in tokens, 0 for global.
        interaction: :class:`DenseMLP` or :class:`SparseInteraction`, (B, H, W, C) and mask to (B, H, W, C).
    """

    def __init__(self, *, channels: int, num_heads: int, window: int = 0, interaction: nn.Module):
        super().__init__()
        self.conv1 = self._convolution(channels)
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels=channels, num_heads=num_heads, window=window)
        self.norm2 = nn.LayerNorm(channels)
        self.interaction = interaction
        self.conv2 = self._convolution(channels)

    def _convolution(self, channels: int) -> nn.Module:
        """The layer at either end."""
        return depthwise(channels)

    def _convolve(self, conv: nn.Module, x: Tensor, mask: Tensor | None) -> Tensor:
        return x + conv(apply_mask(x, mask))

    @property
    def sparse(self) -> bool:
        return isinstance(self.interaction, SparseInteraction)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.interact(self.enter(x, mask), mask)

    def enter(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The first convolution."""
        return self._convolve(self.conv1, x, mask)

    def interact(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """All that follows it."""
        x = x.movedim(1, -1)
        x = x + self.attn(x, mask, norm=self.norm1)
        x = x + self.interaction(self.norm2(x), mask)
        return apply_mask(self._convolve(self.conv2, x.movedim(-1, 1), mask), mask)


class Stem(nn.Module):
    """The first side state: pixels (B, 3, H, W) to (B, s, H/4, W/4)."""

    HIDDEN = 32

    def __init__(self, *, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, self.HIDDEN, 3, stride=2, padding=1)
        self.norm1 = channel_norm(self.HIDDEN)
        self.conv2 = depthwise(self.HIDDEN, stride=2)
        self.proj = nn.Conv2d(self.HIDDEN, channels, 1)
        self.norm2 = channel_norm(channels)

    def forward(self, pixels: Tensor, mask2: Tensor | None, mask4: Tensor | None) -> Tensor:
        return recomputed(self._forward, pixels, mask2, mask4)

    def _forward(self, pixels: Tensor, mask2: Tensor | None, mask4: Tensor | None) -> Tensor:
        x = apply_mask(self.norm1(self.conv1(pixels)), mask2)
        return apply_mask(self.norm2(self.proj(self.conv2(x))), mask4)


class Transition(nn.Module):
    """From one stride to twice that stride."""

    def __init__(self, *, channels: int):
        super().__init__()
        self.conv = depthwise(channels, stride=2)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return apply_mask(recomputed(self._reduce, x), mask)

    def _reduce(self, x: Tensor) -> Tensor:
        return self.proj(self.conv(x))
