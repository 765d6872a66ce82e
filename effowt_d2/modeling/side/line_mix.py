"""Mixing tokens along the straight lines of a map, as few large matrix products.

Shapes: B images, H x W tokens, C channels in G groups of c, A directions, L tokens per line.

A few groups at a time are laid out on a sheet (see ``line_sheet``) on which all lines of a direction stand upright, so
that (L, L) matrices mix them. Rows are the columns of the transposed map. The sheets are small enough for the cache,
and they are filled again in the backward pass instead of being kept for it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .line_sheet import Block, Sheet, line_blocks, sheet_margin

SHEET_NUMBERS = 2**21

_Tables = Sequence[Tensor | None]


def line_mix(
    x: Tensor, matrices: Sequence[Tensor], weights: Sequence[Tensor | None], axes: Sequence[str], scale: Tensor
) -> Tensor:
    """Mix tokens along the lines of several directions and add up.

    ``out[p, c] = scale[0, c] * x[p, c] + sum over a, over q on p's a-line of
    scale[1 + a, c] * matrix_a[group(c), p, q] * weight_a[q] * x[q, c]``

    Args:
        x: (B, H, W, C).
        matrices: (G, L, L) per direction, L of ``line_length``. By position along the line for rows and columns; for
            diagonals only what depends on the offset q - p alone (a Toeplitz matrix) means the same for all of them.
        weights: (B or 1, H, W, 1) per direction (see ``line_weight``: the tokens of a line share their count, so it
            may be applied first), or None for one everywhere.
        axes: the directions, of ``AXES``.
        scale: (A + 1, C).

    Returns:
        (B, H, W, C), in the autocast type where autocast is on.
    """
    return _LineMix.apply(x, scale, tuple(axes), *weights, *matrices)


class _Direction(NamedTuple):
    """Operands of one direction: (G, L, L) matrix, (1, H, W, B, c) weight, (G, 1, W, B, c) scale.

    Weight and scale are spelled out along the rows, so that products with a sheet run over whole rows.
    """

    index: int
    blocks: list[Block]
    matrix: Tensor
    weight: Tensor | None
    scale: Tensor

    def load(self, target: Sheet, x: Tensor, part: slice) -> None:
        """target = scale * weight * x (g, H, W, B, c)."""
        cells = target.load(x, self.scale[part])
        if self.weight is not None:
            cells.mul_(self.weight)

    def mix(self, source: Sheet, target: Sheet, part: slice, beta: int) -> None:
        """target = beta * target + matrix @ source, on the tokens of the map."""
        self._multiply(self.matrix[part], source, target, beta)

    def mix_back(self, source: Sheet, target: Sheet, part: slice) -> Tensor:
        """target = weight * (matrix transposed @ source), on the tokens of the map, which are returned."""
        self._multiply(self.matrix[part].transpose(1, 2), source, target, 0)
        back = target.cells[: part.stop - part.start]
        return back if self.weight is None else back.mul_(self.weight)

    def _multiply(self, matrix: Tensor, source: Sheet, target: Sheet, beta: int) -> None:
        groups = len(matrix)
        for block in self.blocks:
            square = matrix[:, : block.rows, : block.rows]
            target.block(block, groups).baddbmm_(square, source.block(block, groups), beta=beta)

    def add_outer(self, out: Tensor, grad: Sheet, source: Sheet) -> None:
        """out (g, L, L) += grad @ source transposed: the gradient of the matrix."""
        groups = len(out)
        for block in self.blocks:
            lines = source.block(block, groups).transpose(1, 2)
            out[:, : block.rows, : block.rows] += torch.bmm(grad.block(block, groups), lines)


class _Layout:
    """The directions that share a layout of the map: rows, or all others.

    Args:
        rows: which of the two.
        x: (B, H, W, C).
        scale, axes, tables: as :func:`line_mix` has them, tables being the weights and then the matrices.
        dtype: to compute in.
    """

    def __init__(self, rows: bool, x: Tensor, scale: Tensor, axes: Sequence[str], tables: _Tables, dtype: torch.dtype):
        self.rows, self.groups, self.dtype = rows, len(tables[-1]), dtype
        shape = self.split(x).shape
        height, width = shape[1:3]
        members = [i for i, axis in enumerate(axes) if (axis == "row") == rows]
        self.margin = sheet_margin([axes[i] for i in members], height, width)
        self.directions = []
        for i in members:
            weight = tables[i]
            if weight is not None:
                weight = _by_group(weight, 1, rows).expand(1, *shape[1:]).contiguous()
            spelled = scale[1 + i].view(self.groups, 1, 1, 1, -1).expand(-1, -1, *shape[2:]).contiguous()
            blocks = line_blocks("column" if rows else axes[i], height, width, self.margin)
            self.directions.append(_Direction(i, blocks, tables[len(axes) + i].to(dtype), weight, spelled))

    def split(self, x: Tensor) -> Tensor:
        return _by_group(x, self.groups, self.rows)

    def parts(self, x: Tensor) -> list[slice]:
        step = max(1, SHEET_NUMBERS // max(1, x[0].numel()))
        return [slice(start, min(start + step, self.groups)) for start in range(0, self.groups, step)]

    def sheets(self, count: int, x: Tensor) -> list[Sheet]:
        shape = x[self.parts(x)[0]].shape
        return [Sheet(x, shape, self.margin, self.dtype) for _ in range(count)]


def _by_group(x: Tensor, groups: int, rows: bool) -> Tensor:
    """(B, H, W, C) -> a view (G, H, W, B, c), or (G, W, H, B, c) to work on rows."""
    x = x.unflatten(-1, (groups, -1))
    return x.permute(3, 2, 1, 0, 4) if rows else x.permute(3, 1, 2, 0, 4)


def _layouts(x: Tensor, scale: Tensor, axes: Sequence[str], tables: _Tables, dtype: torch.dtype) -> list[_Layout]:
    return [_Layout(rows, x, scale, axes, tables, dtype) for rows in sorted({axis == "row" for axis in axes})]


class _LineMix(torch.autograd.Function):
    """Keeps only its inputs for the backward pass. ``tables`` are the weights and then the matrices."""

    @staticmethod
    def forward(ctx, x: Tensor, scale: Tensor, axes: tuple[str, ...], *tables: Tensor | None) -> Tensor:
        device = x.device.type
        ctx.dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        ctx.axes = axes
        ctx.save_for_backward(x, scale, *tables)
        with torch.autocast(device, enabled=False):
            out = (x * scale[0]).to(ctx.dtype)
            for layout in _layouts(x, scale, axes, tables, ctx.dtype):
                source, target = layout.split(x), layout.split(out)
                plain, scaled, mixed = layout.sheets(3, source)
                for part in layout.parts(source):
                    cells = plain.load(source[part])
                    for number, direction in enumerate(layout.directions):
                        direction.load(scaled, cells, part)
                        direction.mix(scaled, mixed, part, beta=min(number, 1))
                    target[part].add_(mixed.cells[: len(cells)])
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        x, scale, *tables = ctx.saved_tensors
        needed = ctx.needs_input_grad[3:]
        grad_tables = [torch.zeros_like(t) if needs else None for t, needs in zip(tables, needed)]
        grad_scale = torch.zeros_like(scale).unflatten(1, (len(tables[-1]), -1))
        with torch.autocast(x.device.type, enabled=False):
            grad_x = (grad * scale[0]).to(x.dtype)
            for number, layout in enumerate(_layouts(x, scale, ctx.axes, tables, ctx.dtype)):
                views = [layout.split(t) for t in (x, grad, grad_x)]
                sheets = layout.sheets(5, views[0])
                for part in layout.parts(views[0]):
                    _backward_part(layout, part, [v[part] for v in views], sheets, grad_scale[:, part], grad_tables)
                    if not number:
                        plain, upper = (sheet.cells[: part.stop - part.start] for sheet in sheets[:2])
                        _add_dot(grad_scale[0, part], plain, upper, scratch=sheets[2])
        return grad_x, grad_scale.flatten(1), None, *grad_tables


def _backward_part(
    layout: _Layout,
    part: slice,
    views: Sequence[Tensor],
    sheets: Sequence[Sheet],
    grad_scale: Tensor,
    grad_tables: _Tables,
) -> None:
    """Add what some groups give to the gradients. ``views`` are their parts of x, grad and grad_x."""
    x, grad, scratch, back, total = sheets
    cells = x.load(views[0])
    grad.load(views[1])
    for number, direction in enumerate(layout.directions):
        grad_matrix = grad_tables[len(grad_tables) // 2 + direction.index]
        if grad_matrix is not None:
            direction.load(scratch, cells, part)
            direction.add_outer(grad_matrix[part], grad, scratch)
        back_cells = direction.mix_back(grad, back, part)
        _add_dot(grad_scale[1 + direction.index], cells, back_cells, scratch)
        if number:
            total.cells[: len(cells)].addcmul_(back_cells, direction.scale[part])
        else:
            total.load(back_cells, direction.scale[part])
    views[2].add_(total.cells[: len(cells)])


def _add_dot(total: Tensor, x: Tensor, y: Tensor, scratch: Sheet) -> None:
    """total (g, c) += sum over tokens of x * y, both (g, H, W, B, c)."""
    total.add_(scratch.load(x, y).sum(1, dtype=total.dtype).sum((1, 2)))
