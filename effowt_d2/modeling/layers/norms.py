"""Norms over the channels of (B, C, H, W) maps."""

from timm.layers import LayerNorm2d

__all__ = ["channel_norm"]


def channel_norm(channels: int) -> LayerNorm2d:
    """LayerNorm over the channels, with torch's epsilon: timm's default is smaller, which other digits would follow."""
    return LayerNorm2d(channels, eps=1e-5)
