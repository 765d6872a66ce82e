"""The side network: a narrow ladder beside the frozen tower, at strides 4, 8 and 16.

Shapes: B images of H x W pixels, d tower channels, s = d / r side channels.

Every side block takes the gated sum of its tap (projected to s channels, resized to the stage's grid) and of the
state before it. No gradient enters the tower.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from effowt_d2.modeling.layers.masks import masked_resize, valid_mask
from effowt_d2.modeling.layers.recompute import recomputed

from .block import DenseMLP, SideBlock, Stem, Transition
from .fusion import MultiScaleFusion, add_coarse_levels
from .gate import Gate
from .layout import STRIDES, SideLayout
from .sparse_interaction import SparseInteraction

DENSE = "mlp"
"""The kind of interaction that is none: the dense MLP of ``mlp_ratio``, as where no SIM is placed."""


class SideStage(nn.Module):
    """The blocks and gates of one stride."""

    def __init__(self, *, blocks: Sequence[SideBlock], gates: Sequence[Gate], recompute: bool):
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

    def _step(self, block: SideBlock, gate: Gate, *maps: Tensor | None) -> Tensor:
        return block.interact(recomputed(self._enter, block, gate, *maps), maps[2])

    @staticmethod
    def _enter(
        block: SideBlock,
        gate: Gate,
        state: Tensor,
        tap: Tensor,
        mask: Tensor | None,
        tap_mask: Tensor | None,
    ) -> Tensor:
        # the tap on this grid is large where the stride is small, and quickly made of the tap at stride 16
        return block.enter(gate(masked_resize(tap, tap_mask, state.shape[-2:]), state), mask)


class SideNetwork(nn.Module):
    """Stem, taps, three stages and their fusion into p2..p6.

    Args:
        layout: see :class:`SideLayout`.
        out_channels: of each pyramid level.
        conv: convolutions around the attention of each block.
        match_params: without ``conv``, widen the stride-16 MLP by what the convolutions would have held.
        windows: attention window side per stage, 0 for global.
        recompute: per stage, make block activations again in the backward pass instead of keeping them.
        gate: arguments of every :class:`Gate` but ``channels``.
        sim: arguments of every :class:`SparseInteraction` but ``channels``; its kind ``mlp`` puts the dense MLP there.
        fusion_kind, output_conv: see :class:`MultiScaleFusion`.
    """

    def __init__(
        self,
        *,
        layout: SideLayout,
        out_channels: int,
        conv: bool,
        match_params: bool,
        windows: Sequence[int],
        recompute: Sequence[bool],
        gate: dict,
        sim: dict,
        fusion_kind: str,
        output_conv: bool,
    ):
        super().__init__()
        for key, values in (("WINDOWS", windows), ("CHECKPOINT", recompute)):
            if len(values) != len(STRIDES):
                raise ValueError(f"MODEL.SIDE.{key} has a value for each of the strides {STRIDES}, got {list(values)}")
        self.layout = layout
        s = layout.channels
        hidden = [round(ratio * s) for ratio in layout.mlp_ratio]
        if match_params and not conv:
            hidden[-1] += _conv_parameters(layout) // (2 * s + 1) // layout.blocks[-1]
            if STRIDES[-1] in layout.sim_scales:
                raise ValueError("MODEL.SIDE.MATCH_PARAMS widens the MLP at stride 16, where MODEL.SIDE.SIM stands")

        self.stem = Stem(channels=s)
        self.transitions = nn.ModuleList(Transition(channels=s) for _ in STRIDES[1:])
        self.taps = nn.ModuleList(nn.Linear(layout.tower_dim, s) for _ in range(self._num_projections()))
        for tap in self.taps:
            nn.init.xavier_uniform_(tap.weight)
            nn.init.zeros_(tap.bias)
        self.stages = nn.ModuleList()
        for i, (stride, count) in enumerate(zip(STRIDES, layout.blocks)):
            blocks = [
                SideBlock(
                    channels=s,
                    num_heads=layout.num_heads,
                    window=windows[i],
                    interaction=SparseInteraction(s, **sim)
                    if stride in layout.sim_scales and sim["kind"] != DENSE
                    else DenseMLP(channels=s, hidden=hidden[i]),
                    conv=conv,
                )
                for _ in range(count)
            ]
            gates = [Gate(channels=s, **gate) for _ in range(count)]
            self.stages.append(SideStage(blocks=blocks, gates=gates, recompute=recompute[i]))
        self.fusion = MultiScaleFusion(
            channels=s,
            out_channels=out_channels,
            num_stages=len(STRIDES),
            kind=fusion_kind,
            output_conv=output_conv,
        )

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
            p2..p6, (B, out_channels, H/4, W/4) to (B, out_channels, H/64, W/64), zero outside the images.
        """
        canvas = pixels.shape[-2:]
        masks = {k: valid_mask(image_sizes, canvas, k, pixels.device) for k in (2, *STRIDES)}
        states = [self.stem(pixels, masks[2], masks[4])]
        results = []
        for i, stage in enumerate(self.stages):
            if i:
                before = results[-1] if self.layout.topology == "sequential" else states[-1]
                states.append(self.transitions[i - 1](before, masks[STRIDES[i]]))
            results.append(stage(states[i], self._project(i, taps), masks[STRIDES[i]], masks[16]))
        levels = self.fusion(results, [masks[k] for k in STRIDES])
        return add_coarse_levels(dict(zip(("p2", "p3", "p4"), levels)))

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


def _conv_parameters(layout: SideLayout) -> int:
    """What the depthwise 3x3 convolutions of all blocks hold, biases included."""
    return sum(layout.blocks) * 2 * (9 + 1) * layout.channels
