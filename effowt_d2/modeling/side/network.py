"""The side network: a narrow ladder beside the frozen tower, at strides 4, 8 and 16.

Shapes: B images of H x W pixels, d tower channels, s = d / r side channels.

Every side block takes the gated sum of its tap (projected to s channels, resized to the stage's grid) and of the
state before it. No gradient enters the tower.
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from effowt_d2.modeling.layers.levels import LEVELS, levels_to_build
from effowt_d2.modeling.layers.masks import masked_resize, valid_mask
from effowt_d2.modeling.layers.recompute import recomputed
from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.checks import check_count

from .block import DenseMLP, SideBlock, Stem, Transition
from .fusion import StageFusion, WeightedFusion
from .gate import Gate
from .layout import STRIDES, SideLayout
from .sparse_interaction import SparseInteraction
from .topology import TOPOLOGIES

OWN_LEVELS = ("p2", "p3", "p4")
"""Levels at the strides of the stages."""


class SideStage(nn.Module):
    """The blocks and gates of one stride."""

    def __init__(self, *, blocks: Sequence[SideBlock], gates: Sequence[nn.Module], recompute: bool):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.gates = nn.ModuleList(gates)
        self.recompute = recompute

    def forward(self, state: Tensor, taps: Sequence[Tensor], mask: Tensor | None, tap_mask: Tensor | None) -> Tensor:
        """state (B, s, h, w), mask (B, h, w), projected taps (B, s, H/16, W/16) with their mask -> (B, s, h, w)."""
        for block, gate, tap in zip(self.blocks, self.gates, taps):
            if self.recompute:
                state = recomputed(self._step, block, gate, state, tap, mask, tap_mask)
            else:
                state = self._step(block, gate, state, tap, mask, tap_mask)
        return state

    def _step(self, block: SideBlock, gate: nn.Module, *maps: Tensor | None) -> Tensor:
        return block.interact(recomputed(self._enter, block, gate, *maps), maps[2])

    @staticmethod
    def _enter(
        block: SideBlock,
        gate: nn.Module,
        state: Tensor,
        tap: Tensor,
        mask: Tensor | None,
        tap_mask: Tensor | None,
    ) -> Tensor:
        # the tap on this grid is large where the stride is small, and quickly made of the tap at stride 16
        return block.enter(gate(masked_resize(tap, tap_mask, state.shape[-2:]), state), mask)


class SideNetwork(nn.Module):
    """Stem, taps, three stages and their fusion into pyramid levels.

    Args:
        layout: see :class:`SideLayout`.
        out_channels: of each pyramid level.
        levels: the requested ones; of p2, p3 and p4 those are made that they need.
        windows: attention window side per stage, 0 for global.
        recompute: per stage, make block activations again in the backward pass instead of keeping them.
        block: makes a block from the arguments of :class:`SideBlock`.
        gate: makes a gate from ``channels``.
        interaction: makes a sparse interaction from its number of channels.
        fusion: makes the fusion from the arguments of :class:`StageFusion`.

    Raises:
        ValueError: not one window or ``recompute`` per stage, or what the parts raise.
    """

    def __init__(
        self,
        *,
        layout: SideLayout,
        out_channels: int = 256,
        levels: Sequence[str] = tuple(LEVELS),
        windows: Sequence[int] = (16, 16, 0),
        recompute: Sequence[bool] = (False, False, False),
        block: Callable[..., SideBlock] = SideBlock,
        gate: Callable[..., nn.Module] = Gate,
        interaction: Callable[[int], nn.Module] = SparseInteraction,
        fusion: Callable[..., StageFusion] = WeightedFusion,
    ):
        super().__init__()
        for name, values in (("windows", windows), ("recompute", recompute)):
            if len(values) != len(STRIDES):
                raise bad_argument(name, f"must have a value for each of the strides {STRIDES}, got {list(values)}")
        for side in windows:
            check_count("windows", side, 0)
        self.layout = layout
        self.levels = levels_to_build(levels, OWN_LEVELS)
        s = layout.channels
        self.stem = Stem(channels=s)
        self.transitions = nn.ModuleList(Transition(channels=s) for _ in STRIDES[1:])
        self.taps = nn.ModuleList(nn.Linear(layout.tower_dim, s) for _ in range(self._num_projections()))
        for tap in self.taps:
            nn.init.xavier_uniform_(tap.weight)
            nn.init.zeros_(tap.bias)
        self.stages = nn.ModuleList()
        for i, count in enumerate(layout.blocks):
            blocks = [self._block(i, block, interaction, windows[i]) for _ in range(count)]
            gates = [gate(channels=s) for _ in range(count)]
            self.stages.append(SideStage(blocks=blocks, gates=gates, recompute=recompute[i]))
        self.fusion = fusion(
            channels=s,
            out_channels=out_channels,
            num_stages=len(STRIDES),
            levels=[OWN_LEVELS.index(name) for name in self.levels],
        )

    def _block(self, stage: int, block: Callable, interaction: Callable, window: int) -> SideBlock:
        layout = self.layout
        sparse = STRIDES[stage] in layout.sim_scales
        s = layout.channels
        inner = interaction(s) if sparse else DenseMLP(channels=s, hidden=layout.hidden(stage))
        return block(channels=s, num_heads=layout.num_heads, window=window, interaction=inner)

    def parts(self) -> dict[str, list[nn.Module]]:
        """The modules by part, for reports."""
        named = {"stem": [self.stem], "taps": [self.taps], "transitions": [self.transitions]}
        named.update({f"stage 1/{stride}": [stage] for stride, stage in zip(STRIDES, self.stages)})
        named["fusion"] = [self.fusion]
        return named

    def forward(
        self, pixels: Tensor, taps: dict[int, Tensor], image_sizes: Sequence[tuple[int, int]] | None
    ) -> dict[str, Tensor]:
        """
        Args:
            pixels: (B, 3, H, W), as the tower gets them; H and W are multiples of 16.
            taps: tower block number to (B, d, H/16, W/16), for all of the layout's taps.
            image_sizes: (height, width) of each image on the canvas, or None if they fill it.

        Returns:
            The levels that are made, at most p2, p3 and p4: (B, out_channels, H/4, W/4) to
            (B, out_channels, H/16, W/16), zero outside the images.
        """
        canvas = pixels.shape[-2:]
        masks = {k: valid_mask(image_sizes, canvas, k, pixels.device) for k in (2, *STRIDES)}
        states = [self.stem(pixels, masks[2], masks[4])]
        results: list[Tensor] = []
        previous = TOPOLOGIES.get(self.layout.topology).previous
        for i, stage in enumerate(self.stages):
            if i:
                states.append(self.transitions[i - 1](previous(states, results), masks[STRIDES[i]]))
            results.append(stage(states[i], self._project(i, taps), masks[STRIDES[i]], masks[16]))
        return dict(zip(self.levels, self.fusion(results, [masks[k] for k in STRIDES])))

    def _project(self, stage: int, taps: dict[int, Tensor]) -> list[Tensor]:
        """The stage's taps (B, s, H/16, W/16): projected on the coarse grid, where it is cheap."""
        numbers = self.layout.stage_taps()
        first = sum(len(n) for n in numbers[:stage])
        projected = []
        for i, number in enumerate(numbers[stage]):
            projection = self.taps[self._projection_index(stage, first + i)]
            projected.append(projection(taps[number].movedim(1, -1)).movedim(-1, 1))
        return projected

    def _num_projections(self) -> int:
        return {"tap": sum(self.layout.blocks), "stage": len(STRIDES), "all": 1}[self.layout.tap_sharing]

    def _projection_index(self, stage: int, block: int) -> int:
        return {"tap": block, "stage": stage, "all": 0}[self.layout.tap_sharing]
