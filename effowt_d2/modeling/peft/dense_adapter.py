"""Dense adapters (Sparse-Tuning, arXiv 2405.14700): bottlenecks beside the MLPs of a tower, linked from block to block.

Two variants, because the paper's figure and the authors' release differ. ``paper``: each adapter gets the outputs of the
adapters one and three blocks before it, too. ``released``: each sees its own tokens only, and the outputs of a stage, a
quarter of the blocks, are added up once more at its end. Where tokens are taken out on the way, earlier outputs follow
their tokens. All last layers start at zero, so that a tower computes at first what it did without adapters.

Shapes: B images, L tokens, C channels of the tower, b of the bottleneck.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effowt_d2.modeling.tower.hooks import BlockHook, Rows
from effowt_d2.modeling.tower.tokens import Tokens
from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.checks import check_count, check_number

__all__ = ["VARIANTS", "DenseAdapters", "PaperAdapters", "ReleasedAdapters"]

LINKS = (1, 3)
"""How many blocks before it the adapters stand whose outputs an adapter of the paper's gets."""
STAGES = 4


class DenseAdapters(nn.Module):
    """The adapters of all blocks, a companion of a tower.

    Args:
        channels: C.
        depth: number of blocks.
        dim: b, at most C.
        scale: factor of the outputs.

    Raises:
        ValueError: a number is out of range.
    """

    reach: int
    """Of how many blocks before its own an adapter needs the outputs."""

    def __init__(self, channels: int, depth: int, *, dim: int = 32, scale: float = 1.0):
        super().__init__()
        check_count("dim", dim)
        if dim > channels:
            raise bad_argument("dim", f"must be at most the tower's {channels} channels, got {dim}")
        self.scale = check_number("scale", scale)
        self.blocks = nn.ModuleList(self._adapter(number, channels, dim, depth) for number in range(depth))

    def start(self) -> "DensePass":
        """A hook for one pass."""
        return DensePass(self)

    def _adapter(self, number: int, channels: int, dim: int, depth: int) -> nn.Module:
        raise NotImplementedError

    def output(self, number: int, x: Tensor, earlier: dict[int, Tensor]) -> Tensor:
        """Output of a block's adapter (B, L, C), from the block's tokens and earlier outputs by block."""
        raise NotImplementedError

    def added(self, number: int, earlier: dict[int, Tensor]) -> Tensor:
        """Term added to the output of a block, from the adapters' outputs up to its own."""
        return earlier[number]


class DensePass(BlockHook):
    """One pass of tokens: keeps the outputs that later adapters need."""

    def __init__(self, adapters: DenseAdapters):
        self.adapters = adapters
        self.earlier: dict[int, Tensor] = {}

    def reduced(self, rows: Rows) -> None:
        self.earlier = {number: rows(output) for number, output in self.earlier.items()}

    def beside_feed(self, number: int, tokens: Tokens) -> Tensor:
        self.earlier.pop(number - self.adapters.reach - 1, None)
        self.earlier[number] = self.adapters.output(number, tokens.x, self.earlier) * self.adapters.scale
        return self.adapters.added(number, self.earlier)


class PaperAdapters(DenseAdapters):
    """``d_n = ReLU(x W1 + d_(n-1) W2 + d_(n-3) W3) Wup``, without biases; the first blocks lack links."""

    reach = max(LINKS)

    def _adapter(self, number: int, channels: int, dim: int, depth: int) -> nn.Module:
        inputs = 1 + sum(number >= link for link in LINKS)
        down = nn.ModuleList(nn.Linear(channels, dim, bias=False) for _ in range(inputs))
        return nn.ModuleDict({"down": down, "up": _zero(nn.Linear(dim, channels, bias=False))})

    def output(self, number: int, x: Tensor, earlier: dict[int, Tensor]) -> Tensor:
        adapter = self.blocks[number]
        inputs = [x, *(earlier[number - link] for link in LINKS if number >= link)]
        hidden = sum(_linear(down, part) for down, part in zip(adapter["down"], inputs))
        return _linear(adapter["up"], torch.relu(hidden))


class ReleasedAdapters(DenseAdapters):
    """Densely connected inside, with hidden widths 2b and b; sums at the ends of the stages.

    The last block's output is not part of the last sum, as in the release. The release adds the embedded image to
    the first sum as well, which changes a tower before anything was learned, and is dropped here.

    Raises:
        ValueError: the blocks do not divide into four stages; and as the base.
    """

    def __init__(self, channels: int, depth: int, *, dim: int = 32, scale: float = 1.0):
        if depth % STAGES:
            raise bad_argument(
                "variant", f"released needs a depth that divides by {STAGES}, the tower has {depth} blocks"
            )
        super().__init__(channels, depth, dim=dim, scale=scale)
        self.reach = depth // STAGES - 1

    def _adapter(self, number: int, channels: int, dim: int, depth: int) -> nn.Module:
        wide = 2 * dim
        return nn.ModuleDict(
            {
                "down1": nn.Linear(channels, wide),
                "down2": nn.Linear(wide, dim),
                "up1": nn.Linear(dim, wide),
                "down3": nn.Linear(dim + wide, wide),
                "up2": _zero(nn.Linear(wide, channels)),
            }
        )

    def output(self, number: int, x: Tensor, earlier: dict[int, Tensor]) -> Tensor:
        adapter = self.blocks[number]
        first = torch.relu(_linear(adapter["down1"], x))
        second = _linear(adapter["down2"], first)
        third = _linear(adapter["up1"], second)
        return _linear(adapter["up2"], _linear(adapter["down3"], torch.cat([second, third], dim=-1)) + first)

    def added(self, number: int, earlier: dict[int, Tensor]) -> Tensor:
        length = self.reach + 1
        if (number + 1) % length:
            return earlier[number]
        summed = [earlier[n] for n in range(number - self.reach, number + 1)]
        if number == len(self.blocks) - 1:
            summed.pop()
        return earlier[number] + sum(summed)


VARIANTS: dict[str, type[DenseAdapters]] = {"paper": PaperAdapters, "released": ReleasedAdapters}


def _zero(layer: nn.Linear) -> nn.Linear:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """In the dtype of ``x``; the layer's may be another one."""
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    return F.linear(x, layer.weight.to(x.dtype), bias)
