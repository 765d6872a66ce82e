"""The vision tower of a CLIP model as a source of features for dense prediction.

Shapes: B images, d channels, a grid of h x w tokens, L = prefix + h * w tokens with the class token, if there is one.

open_clip's own forward takes neither a mask nor another image size than that of pre-training. A tower here embeds,
places and masks tokens itself, and runs the blocks of open_clip (plain ViT) or timm (EVA) with their own weights.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effowt_d2.utils.arguments import bad_argument

from .block_weights import BlockVectors, BlockWeights
from .precision import check_backend, check_precision, compile_blocks
from .windows import in_windows, key_mask, window_blocks

logger = logging.getLogger(__name__)

STRIDE = 16
"""Pixels per token, whatever the patch size: images are scaled so that their tokens lie on this stride."""


class Tower(nn.Module):
    """Base of the tower families.

    Positions of the pre-training grid are resized once, to a canvas of fixed size, and an image takes the top left
    part of it, so that its features do not depend on how far it is padded.

    Args:
        trunk: the vision module of an open_clip model.
        name: open_clip's name of the model.
        embed_dim, num_heads, patch_size: of the trunk.
        pixel_mean, pixel_std: RGB, for pixels in 0..1.
        canvas: side of the position canvas in tokens; 0 keeps the pre-training grid.
        frozen: no gradients, and always in eval mode.
        window: side in tokens of the windows that blocks run in; 0 runs all of them on the whole map.
        global_blocks: numbers of the blocks that do so even then; empty for every fourth, the last included.
        precision: number format of weights and computation: float32, or bfloat16 or float16 for a frozen tower. The
            weights stay as they were loaded until the first forward pass, for what is cut out of them.
        compile_backend: of ``torch.compile`` for the blocks; empty for none.

    Raises:
        ValueError: the window is negative, a block does not exist, or precision or backend are unknown or do not fit.
    """

    def __init__(
        self,
        trunk: nn.Module,
        *,
        name: str,
        embed_dim: int,
        num_heads: int,
        patch_size: int,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        canvas: int = 64,
        frozen: bool = True,
        window: int = 0,
        global_blocks: Sequence[int] = (),
        precision: str = "float32",
        compile_backend: str = "",
    ):
        super().__init__()
        self.trunk = trunk
        self.name = name
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.patch_size = patch_size
        self.pixel_mean = tuple(pixel_mean)
        self.pixel_std = tuple(pixel_std)
        self.canvas = canvas
        self.frozen = frozen
        self.window = window
        self.precision = check_precision(precision, frozen)
        self.compile_backend = check_backend(compile_backend)
        self._run_block = type(self)._block
        self._window_blocks = window_blocks(window, global_blocks, self.depth)
        self._cache: dict = {}
        self._hash: str | None = None
        self.register_load_state_dict_pre_hook(_forget)
        unused = {id(p) for module in self.unused() for p in module.parameters()}
        for parameter in trunk.parameters():
            parameter.requires_grad = not frozen and id(parameter) not in unused
        self.train(self.training)
        if self.precision is not torch.float32 and next(trunk.parameters()).device.type != "meta":
            # of the weights as they were loaded
            self.weights_hash()

    # what a family knows of its trunk

    whole_trunk = True
    """Whether the trunk still computes what it did as a part of its CLIP model."""

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The transformer blocks, in order."""
        raise NotImplementedError

    def unused(self) -> list[nn.Module]:
        """Modules that take no part in the taps (final norm, projection to the text space): never trained."""
        raise NotImplementedError

    def embedding(self) -> list[nn.Module]:
        """Modules before the first block."""
        raise NotImplementedError

    def block_weights(self, number: int) -> BlockWeights:
        """The matrices of a block by role, as they are (no copies)."""
        raise NotImplementedError

    def block_vectors(self, number: int) -> BlockVectors:
        """Its biases and norms."""
        raise NotImplementedError

    def _embed(self, images: Tensor, mask: Tensor | None) -> Tensor:
        """(B, 3, H, W) -> patches (B, d, h, w); the mask (B, h, w) is for embeddings that look beyond a patch."""
        raise NotImplementedError

    def _positions(self) -> Tensor:
        """Those of the pre-training grid (d, g, g)."""
        raise NotImplementedError

    def _class_token(self) -> Tensor:
        """With its position, (prefix, d)."""
        raise NotImplementedError

    def _normalize(self, x: Tensor) -> Tensor:
        """What stands between the embedding and the first block."""
        raise NotImplementedError

    def _block(
        self, block: nn.Module, x: Tensor, keys: Tensor | None, *, grid: tuple[int, int], windowed: bool
    ) -> Tensor:
        """One block. x (B, L, d), keys to attend to (B, 1, 1, L) bool or None, grid of the map or of a window."""
        raise NotImplementedError

    # what all families do

    @property
    def prefix(self) -> int:
        """Number of class tokens: 1, or 0 for a detector's tower."""
        return 1

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def train(self, mode: bool = True) -> "Tower":
        """A frozen tower stays in eval mode whatever the model around it is told."""
        return super().train(mode and not self.frozen)

    def weights_hash(self) -> str:
        """SHA-256 over the names, shapes and values of all tensors as they were loaded, in hex."""
        if self._hash is None or not self.frozen:
            digest = hashlib.sha256()
            for name, tensor in sorted(self.trunk.state_dict().items()):
                digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
                digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
            self._hash = digest.hexdigest()
        return self._hash

    def forward(self, images: Tensor, mask: Tensor | None = None, *, taps: Sequence[int] | None = None) -> list[Tensor]:
        """
        Args:
            images: (B, 3, H, W) RGB, normalised by ``pixel_mean`` and ``pixel_std``, zero outside the image; H and W
                are multiples of 16.
            mask: (B, H/16, W/16) bool, true for tokens that hold a part of the image; all of them if left out.
            taps: numbers of the blocks whose output is asked for, in any order and repetition; all if left out.

        Returns:
            For each tap a map (B, d, H/16, W/16) without the class token; a plain tensor if the tower is frozen. With
            a ``precision`` of its own, the tower gives float32, or autocast's dtype within autocast.

        Raises:
            ValueError: a side is not a multiple of 16, or a tap is out of range.
            RuntimeError: ``torch.compile`` does not work here.
        """
        taps = list(range(self.depth)) if taps is None else list(taps)
        self.check_taps(taps)
        if images.shape[-2] % STRIDE or images.shape[-1] % STRIDE:
            raise ValueError(f"the tower needs sides that are multiples of {STRIDE}, got {tuple(images.shape[-2:])}")
        if self.compile_backend and self._run_block is type(self)._block:
            self._run_block = compile_blocks(type(self)._block, self.compile_backend, images.device)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            if self.precision is torch.float32:
                found = self._run(images, mask, set(taps))
            else:
                found = self._run_rounded(images, mask, set(taps))
        return [found[tap] for tap in taps]

    def _run_rounded(self, images: Tensor, mask: Tensor | None, wanted: set) -> dict:
        weight = next(self.parameters())
        if weight.dtype is not self.precision:
            if weight.device.type != "meta":
                self.weights_hash()  # of the weights as they were loaded
            with torch.inference_mode(False):
                self.to(self.precision)
        device = images.device.type
        out = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
        with torch.autocast(device, enabled=False):
            return {tap: x.to(out) for tap, x in self._run(images.float(), mask, wanted).items()}

    def check_taps(self, taps: Sequence[int]) -> None:
        """Raise ValueError for a block number that does not exist."""
        outside = [t for t in taps if not 0 <= t < self.depth]
        if outside:
            raise bad_argument("taps", f"{outside} do not exist: {self.name} has the blocks 0 to {self.depth - 1}")

    def _rounded(self, images: Tensor) -> Tensor:
        return images if self.precision is torch.float32 else images.to(self.precision)

    def _run(self, images: Tensor, mask: Tensor | None, wanted: set) -> dict:
        grid = (images.shape[-2] // STRIDE, images.shape[-1] // STRIDE)
        if self.patch_size != STRIDE:
            size = [side * self.patch_size for side in grid]
            images = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
        x = self._embed(self._rounded(images), mask)
        x = (x + self._crop(self._canvas_positions(images.device), grid).to(x.dtype)).flatten(2).transpose(1, 2)
        token = self._class_token().to(x.dtype).expand(len(x), -1, -1)
        x = self._normalize(torch.cat([token, x], dim=1))
        keys = key_mask(None if mask is None else mask.flatten(1), self.prefix)
        found = {}
        for number in range(max(wanted) + 1):
            windowed = number in self._window_blocks
            run = partial(self._run_block, self, self.blocks[number], windowed=windowed)
            if windowed and max(grid) > self.window:
                run = partial(run, grid=(self.window, self.window))
                x = in_windows(run, x, mask, grid=grid, window=self.window, prefix=self.prefix)
            else:
                x = run(x, keys, grid=grid)
            if number in wanted:
                found[number] = x[:, self.prefix :].transpose(1, 2).reshape(len(x), -1, *grid)
        return found

    def _canvas_positions(self, device: torch.device) -> Tensor:
        """(d, canvas, canvas); made once as long as the tower is frozen."""
        if self.frozen and self._cache.get("device") == device:
            return self._cache["positions"]
        positions = self._positions()
        if self.canvas and positions.shape[-1] != self.canvas:
            positions = F.interpolate(
                positions[None].float(), size=(self.canvas, self.canvas), mode="bicubic", align_corners=False
            )[0]
        if self.frozen:
            self._cache = {"device": device, "positions": positions}
        return positions

    def _crop(self, positions: Tensor, grid: tuple[int, int]) -> Tensor:
        """The top left (h, w) of (..., canvas, canvas); tokens beyond the canvas share its last row or column."""
        side = positions.shape[-1]
        if max(grid) > side and not self._cache.get("warned"):
            self._cache["warned"] = True
            logger.warning(
                "an image of %d x %d tokens exceeds the position canvas of %d (MODEL.VLM.CANVAS): tokens beyond it "
                "share the last position",
                *grid,
                side,
            )
        rows = torch.arange(grid[0], device=positions.device).clamp(max=side - 1)
        columns = torch.arange(grid[1], device=positions.device).clamp(max=side - 1)
        return positions[..., rows[:, None], columns[None, :]]


def _forget(tower: Tower, state_dict: Mapping[str, Tensor], prefix: str, *_) -> None:
    """Before a tower is loaded anew: what was made of its old weights, their rounding included."""
    if not any(key.startswith(prefix) for key in state_dict):
        return
    tower._cache = {}
    tower._hash = None
    if tower.precision is not torch.float32:
        tower.float()
