"""A dense map of a shortened sequence: every cell of the map has a value at every depth.

Shapes: B images, L patch tokens now, h * w cells, C channels.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .step import Step, take_rows

__all__ = ["CellMap"]


@dataclass(frozen=True)
class CellMap:
    """State of each cell of the map.

    Attributes:
        slots: (B, h * w) token that stands for the cell, -1 for none.
        whole: (B, h * w) bool, the cell has a token of its own.
        held: (B, h * w, C) the last value of a cell that has none, or None before the first step.
        basis: (B, h * w, C) value to which the token that stands for such a cell is compared.
    """

    slots: Tensor
    whole: Tensor
    held: Tensor | None = None
    basis: Tensor | None = None

    @classmethod
    def of_map(cls, batch: int, cells: int, valid: Tensor | None, device: torch.device) -> "CellMap":
        """Before the first step. ``valid`` (B, h * w) bool, or None; padding has no token of its own."""
        slots = torch.arange(cells, device=device).expand(batch, -1)
        return cls(slots, torch.ones_like(slots, dtype=torch.bool) if valid is None else valid)

    def dense(self, x: Tensor, gate: Tensor | float | None = None) -> Tensor:
        """The map of a sequence.

        A cell with a token of its own has that token. Another one has its last value, plus ``gate`` times what the
        token that stands for it has changed by since.

        Args:
            x: (B, L, C) tokens at any depth behind the last step.
            gate: (C,) or a number; None leaves the change out.

        Returns:
            (B, h * w, C).
        """
        if self.held is None:
            return x
        own = self._representatives(x)
        if isinstance(gate, Tensor):
            gate = gate.to(x.dtype)
        held = self.held if gate is None else self.held + gate * self._change(own)
        return torch.where(self.whole[..., None], own, held)

    def after(self, step: Step, before: Tensor, shortened: Tensor) -> "CellMap":
        """The cells behind a step, which made ``shortened`` of the tokens ``before``."""
        new = self.moved(step)
        old = self._representatives(before)
        # the representative of a cell may have changed: its change continues from that of the last one
        basis = new._representatives(shortened) - torch.where(
            self.whole[..., None], torch.zeros_like(old), self._change(old)
        )
        return replace(new, held=self.dense(before), basis=basis)

    def moved(self, step: Step) -> "CellMap":
        """As :meth:`after`, without values: only the token of each cell is known, and no map can be made."""
        moved = torch.where(self.slots < 0, -1, step.moved.gather(1, self.slots.clamp(min=0)))
        stays = self.whole & step.stays.gather(1, self.slots.clamp(min=0))
        return replace(self, slots=moved, whole=stays)

    def _representatives(self, x: Tensor) -> Tensor:
        return take_rows(x, self.slots.clamp(min=0))

    def _change(self, representative: Tensor) -> Tensor:
        """Change of the representative token since the cell lost its own; zero without one."""
        if self.basis is None:
            return torch.zeros_like(representative)
        return torch.where((self.slots < 0)[..., None], torch.zeros_like(representative), representative - self.basis)
