"""Interface of a tower family: the parts of its trunk, and the two halves of a block."""

from collections.abc import Sequence

from torch import Tensor, nn

from .block_weights import BlockVectors, BlockWeights
from .sites import NO_ADAPTERS, ROLES, Adapters, Site

__all__ = ["Family"]


class Family(nn.Module):
    """The part of a tower that differs between families; :class:`Tower` is the rest.

    Shapes: B images or windows, L tokens with the prefix, d channels, heads of size c.
    """

    trunk: nn.Module

    whole_trunk = True
    """Whether the trunk still computes what it did as a part of its CLIP model."""

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The transformer blocks, in order."""
        raise NotImplementedError

    @property
    def prefix(self) -> int:
        """Number of class and register tokens before the patches: 1, or 0 for a detector's tower."""
        return 1

    def unused(self) -> list[nn.Module]:
        """Modules that take no part in the taps (final norm, projection to the text space): never trained."""
        raise NotImplementedError

    def embedding(self) -> list[nn.Module]:
        """Modules before the first block."""
        raise NotImplementedError

    def sites(self, block: nn.Module) -> dict[str, Site]:
        """The linear layers of a block by role, of ``ROLES``, where adapters plug in."""
        raise NotImplementedError

    def norms(self, block: nn.Module) -> tuple[nn.LayerNorm, nn.LayerNorm]:
        """Those before the attention and before the MLP."""
        raise NotImplementedError

    def drop_rates(self, rate: float) -> list[float]:
        """Of each block in training, where ``rate`` is the tower's: the same for all of them."""
        return [rate] * len(self.blocks)

    def block_weights(self, number: int) -> BlockWeights:
        """The matrices of a block by role, as they are (no copies)."""
        return BlockWeights(**{role: site.matrix for role, site in self.sites(self.blocks[number]).items()})

    def block_vectors(self, number: int) -> BlockVectors:
        """Its biases and norms."""
        sites = self.sites(self.blocks[number])
        norm1, norm2 = self.norms(self.blocks[number])
        biases = {role: sites[role].bias for role in ROLES if role in sites and role != "gate"}
        return BlockVectors(**biases, norm1=norm1, norm2=norm2)

    def attend(
        self,
        block: nn.Module,
        x: Tensor,
        *,
        adapters: Adapters = NO_ADAPTERS,
        keys: Tensor | None = None,
        turns: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The first half of a block, without its residual.

        Args:
            block: the block.
            x: (B, L, d).
            adapters: of this block, by role.
            keys: to attend to, (B, 1, 1, L) bool, or None for all.
            turns: of :meth:`turns`.

        Returns:
            What is added to ``x`` (B, L, d), and the queries and keys (B, heads, L, c) of its attention.
        """
        raise NotImplementedError

    def feed(self, block: nn.Module, x: Tensor, *, adapters: Adapters = NO_ADAPTERS) -> Tensor:
        """The second half, without its residual: (B, L, d) to (B, L, d)."""
        raise NotImplementedError

    def turns(self, grid: tuple[int, int], *, windowed: bool, cells: Tensor | None = None) -> Tensor | None:
        """Rotary positions of the tokens behind the prefix.

        Args:
            grid: h, w of the map or of a window.
            windowed: for a block that runs in windows.
            cells: (B, N), of ``Tokens``; None for all cells in order.

        Returns:
            (N, 2c) or (B, N, 2c), or None for a family without them.
        """
        return None

    def _patches(self, images: Tensor, mask: Tensor | None) -> Tensor:
        """(B, 3, H, W) -> patches (B, d, h, w); the mask (B, h, w) is for embeddings with a receptive field larger than a patch."""
        raise NotImplementedError

    def _positions(self) -> Tensor:
        """Those of the pre-training grid (d, g, g)."""
        raise NotImplementedError

    def _class_token(self) -> Tensor:
        """With its position, (prefix, d)."""
        raise NotImplementedError

    def _normalize(self, x: Tensor) -> Tensor:
        """Layers between the embedding and the first block."""
        raise NotImplementedError

    @property
    def final_norm(self) -> nn.Module:
        """Layers behind the last block, of :meth:`unused`; taps do not go through them."""
        raise NotImplementedError
