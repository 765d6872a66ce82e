"""The vision tower of a CLIP model as a source of features for dense prediction.

Shapes: B images, d channels, a grid of h x w tokens, L = prefix + h * w tokens with the class token, if there is one.

open_clip's own forward takes neither a mask nor another image size than that of pre-training. A tower here embeds,
places and masks tokens itself, and runs the blocks of open_clip (plain ViT) or timm (EVA) with their own weights.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from effowt_d2.utils.arguments import bad_argument

from .hooks import BlockHook
from .loaded import STRIDE, LoadedTower
from .passes import Pass
from .positions import on_canvas, top_left
from .tokens import Tokens

__all__ = ["STRIDE", "Tower"]

logger = logging.getLogger(__name__)


class Tower(LoadedTower):
    """Base of the tower families, in three verbs.

    Images become tokens (:meth:`embed`), tokens run through blocks (:meth:`run`), adapters plug in at the blocks' linear
    layers (:meth:`sites`). Positions of the pre-training grid are resized once, to a canvas of fixed size, and an image
    takes the top left part of it, so that its features do not depend on how far it is padded.

    Gradients are computed only where something inside trains. Arguments and errors are those of :class:`LoadedTower`.
    """

    pass_type: type[Pass] = Pass
    """The pass of tokens through the blocks."""

    def forward(self, images: Tensor, mask: Tensor | None = None, *, taps: Sequence[int] | None = None) -> list[Tensor]:
        """
        Args:
            images: (B, 3, H, W) RGB, normalised by ``pixel_mean`` and ``pixel_std``, zero outside the image; H and W
                are multiples of the stride.
            mask: (B, h, w) bool, true for tokens that hold a part of the image; all of them if omitted.
            taps: numbers of the blocks whose output is requested, in any order and repetition; all if omitted.

        Returns:
            For each tap a map (B, d, h, w) without the class token; a plain tensor if nothing in the tower trains. With
            a ``precision`` of its own, the tower gives float32, or autocast's dtype within autocast.

        Raises:
            ValueError: a side is not a multiple of the stride, or a tap is out of range.
            RuntimeError: the tower isn't finalised, or ``torch.compile`` does not work here.
        """
        taps = list(range(self.depth)) if taps is None else taps
        self.check_taps(taps)
        return self.run(self.embed(images, mask), taps)[1]

    def embed(self, images: Tensor, mask: Tensor | None = None) -> Tokens:
        """Images and mask, as for :meth:`forward`, to the tokens that enter the first block.

        Raises:
            ValueError: a side is not a multiple of the stride.
        """
        self._check_sides(images)
        with self._computing(self.trains, images.device):
            x, grid = self._placed_patches(images, mask)
            token = self._class_token().to(x.dtype).expand(len(x), -1, -1)
            x = self._normalize(torch.cat([token, x], dim=1))
        return Tokens(x, self.prefix, grid, valid=None if mask is None else mask.flatten(1))

    def run(
        self, tokens: Tokens, taps: Sequence[int] = (), hooks: Sequence[BlockHook] = ()
    ) -> tuple[Tokens, list[Tensor]]:
        """Run tokens through the blocks, up to the last tap, or through all of them if there is no tap.

        Args:
            tokens: of :meth:`embed`, or made of such: the prefix may be longer than the tower's own.
            taps: numbers of blocks, in any order and repetition.
            hooks: fresh ones, behind those of the companions.

        Returns:
            The tokens behind the last block that ran, and for each tap a map (B, d, h, w), see :meth:`forward`.

        Raises:
            ValueError: a tap is out of range.
            RuntimeError: the tower isn't finalised, or ``torch.compile`` does not work here.
        """
        self.check_taps(taps)
        found = {}
        with self._computing(self.trains or tokens.x.requires_grad, tokens.x.device) as out:
            tokens = replace(tokens, x=tokens.x.to(self.precision)) if self.rounds else tokens
            running = self.pass_type(self, tokens, [*(part.start() for part in self.companions.values()), *hooks])
            for number in range(max(taps) + 1 if taps else self.depth):
                running.run(number)
                if number in taps:
                    found[number] = _as(running.tokens.dense(), out)
        return replace(running.tokens, x=_as(running.tokens.x, out)), [found[tap] for tap in taps]

    def patches(self, images: Tensor) -> Tensor:
        """Images, as for :meth:`forward`, to a map (B, d, h, w) of patches, without positions.

        For models that make :class:`Tokens` of several images themselves; :meth:`positions` and :meth:`enter` are what
        else :meth:`embed` does.

        Raises:
            ValueError: a side is not a multiple of the stride.
        """
        self._check_sides(images)
        with self._computing(self.trains, images.device) as out:
            return _as(self._patch_map(images, None), out)

    def positions(self) -> Tensor:
        """The table (d, g, g) of the pre-training grid, without that of a class token."""
        return self._positions()

    def enter(self, x: Tensor) -> Tensor:
        """Layers between the embedding and the first block, for tokens (B, L, d)."""
        with self._computing(self.trains or x.requires_grad, x.device) as out:
            return _as(self._normalize(x.to(self.precision) if self.rounds else x), out)

    def finish(self, x: Tensor) -> Tensor:
        """The norm behind the last block, which the taps do without, for tokens (B, L, d)."""
        with self._computing(self.trains or x.requires_grad, x.device) as out:
            return _as(self.final_norm(x.to(self.precision) if self.rounds else x), out)

    def check_taps(self, taps: Sequence[int]) -> None:
        """Raise ValueError for a block number that does not exist."""
        outside = [t for t in taps if not 0 <= t < self.depth]
        if outside:
            raise bad_argument("taps", f"{outside} do not exist: {self.name} has the blocks 0 to {self.depth - 1}")

    def _check_sides(self, images: Tensor) -> None:
        stride = self.stride
        if images.shape[-2] % stride or images.shape[-1] % stride:
            raise ValueError(f"the tower needs sides that are multiples of {stride}, got {tuple(images.shape[-2:])}")

    @contextmanager
    def _computing(self, gradients: bool, device: torch.device) -> Iterator[torch.dtype | None]:
        """Gradients only where they are wanted, and the tower's own precision in place of autocast's.

        Gives the dtype of what comes out, None where it is that of the computation.
        """
        if not self.finalised:
            raise RuntimeError(
                f"{self.name} is to run in {self.precision}"
                + (f", compiled by {self.compile_backend}" if self.compile_backend else "")
                + ": call its finalise() first, once nothing more is cut out of its weights"
            )
        with torch.set_grad_enabled(torch.is_grad_enabled() and gradients):
            if not self.rounds:
                yield None
                return
            autocast = torch.is_autocast_enabled(device.type)
            out = torch.get_autocast_dtype(device.type) if autocast else torch.float32
            with torch.autocast(device.type, enabled=False):
                yield out

    def _placed_patches(self, images: Tensor, mask: Tensor | None) -> tuple[Tensor, tuple[int, int]]:
        """Patches with their positions (B, h * w, d), and the grid."""
        x = self._patch_map(images, mask)
        grid = tuple(x.shape[-2:])
        positions = self._canvas_positions(images.device)
        self._warn_canvas_exceeded(positions.shape[-1], grid)
        return (x + top_left(positions, grid).to(x.dtype)).flatten(2).transpose(1, 2), grid

    def _patch_map(self, images: Tensor, mask: Tensor | None) -> Tensor:
        if self.rounds:
            images = images.float()
        if self.patch_size != self.stride:
            size = [side // self.stride * self.patch_size for side in images.shape[-2:]]
            images = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
        return self._patches(images.to(self.precision) if self.rounds else images, mask)

    def _canvas_positions(self, device: torch.device) -> Tensor:
        """(d, canvas, canvas); made once as long as the loaded parameters are frozen."""
        if not self.frozen:
            return on_canvas(self._positions(), self.canvas)
        if device not in self._canvases:
            self._canvases[device] = on_canvas(self._positions(), self.canvas)
        return self._canvases[device]

    def _warn_canvas_exceeded(self, side: int, grid: tuple[int, int]) -> None:
        if max(grid) > side and not self._warned:
            self._warned = True
            logger.warning(
                "an image of %d x %d tokens exceeds the position canvas of %d (MODEL.VLM.CANVAS): tokens outside it "
                "share the last position; set it to %d, or lower INPUT.MAX_SIZE_TRAIN and INPUT.MAX_SIZE_TEST",
                *grid,
                side,
                max(grid),
            )


def _as(x: Tensor, dtype: torch.dtype | None) -> Tensor:
    return x if dtype is None else x.to(dtype)
