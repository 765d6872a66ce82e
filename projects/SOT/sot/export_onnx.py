"""Write the step of a tracker as an ONNX graph, and compare it with torch in onnxruntime.

    python -m sot.export_onnx --config-file F --weights model.pth --output tracker.onnx [--opts KEY VALUE ...]

LoRA is folded into the tower. The graph holds no state: what is remembered goes in, what changes comes out.

    in    templates   (T, R, 3, Sz, Sz)  float32 RGB in 0..1, R references of T targets
          foreground  (T, R, h, w)       bool, which tokens of a template show the target
          search      (T, 3, Sx, Sx)     float32 RGB in 0..1
          state       (T, 1, d)          float32, of trackers that have one; zeros in the first frame
    out   boxes       (T, 4)             x0, y0, x1, y1 of the chosen cell, in units of the search crop
          confidences (T,)
          next_state  (T, 1, d)

Crops are made outside, as :class:`sot.crops.ContextCrop` makes them. It needs the extra ``sot[onnx]``.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import Tensor, nn

from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.engine import find_config, make_config
from effowt_d2.modeling.peft import merge
from sot.state import Reference
from sot.tracker import SingleObjectTracker

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["TrackerStep", "compare", "export_step", "open_session"]


class TrackerStep(nn.Module):
    """The step of a tracker as a function of tensors, see this module; without ``state`` where the tracker has none."""

    def __init__(self, tracker: SingleObjectTracker):
        super().__init__()
        self.tracker = tracker

    def forward(
        self, templates: Tensor, foreground: Tensor, search: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        encoder = self.tracker.backbone
        pairs = zip(encoder.normalise(templates).unbind(1), foreground.unbind(1))
        references = [Reference(*pair) for pair in pairs]
        output, after = self.tracker.react(references, encoder.normalise(search), state)
        chosen = self.tracker.selection(*output)
        return (chosen.boxes, chosen.confidences) if after is None else (chosen.boxes, chosen.confidences, after)

    def sample(self, targets: int, seed: int = 0) -> dict[str, Tensor]:
        """Random inputs by name."""
        tracker, random = self.tracker, torch.Generator().manual_seed(seed)
        size, count = tracker.template.size, tracker.references_seen
        made = {
            "templates": torch.rand(targets, count, 3, size, size, generator=random),
            "foreground": torch.rand(targets, count, *tracker.backbone.template_grid, generator=random) > 0.5,
            "search": torch.rand(targets, 3, tracker.search.size, tracker.search.size, generator=random),
        }
        state = tracker.first_state(targets)
        return made if state is None else {**made, "state": torch.randn(state.shape, generator=random)}


def export_step(tracker: SingleObjectTracker, output: Path) -> TrackerStep:
    """Write the graph, for any number of targets.

    Args:
        tracker: on the CPU; what can be folded into its tower is, and stays so.
        output: the file.

    Returns:
        What was written, in torch.

    Raises:
        ValueError: the tracker carries more than one tensor from frame to frame.
    """
    if type(tracker).react is SingleObjectTracker.react:
        raise ValueError(
            f"{type(tracker).__name__} has no step of one state: LoRAT and SPMTrack can be exported, trackers with a centre head "
            "cannot"
        )
    # mixtures depend on the token and stay in the graph
    with contextlib.suppress(ValueError):
        merge(tracker.backbone.tower)
    step = TrackerStep(tracker.eval())
    # two targets, as one would become a constant
    inputs = step.sample(2)
    names = ["boxes", "confidences", "next_state"][: 3 if "state" in inputs else 2]
    targets = torch.export.Dim("targets")
    with torch.no_grad():
        program = torch.onnx.export(
            step,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=names,
            dynamic_shapes={name: {0: targets} for name in inputs},
            dynamo=True,
            verbose=False,
        )
    program.save(str(output))
    return step


def open_session(file: Path, threads: int = 1) -> "onnxruntime.InferenceSession":
    """The graph in onnxruntime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def run_session(session: "onnxruntime.InferenceSession", inputs: dict[str, Tensor]) -> list[np.ndarray]:
    """The outputs, in their order."""
    return session.run(None, {name: value.numpy() for name, value in inputs.items()})


@torch.no_grad()
def compare(step: TrackerStep, session: "onnxruntime.InferenceSession", *, targets: int, seconds: float = 0.0) -> dict:
    """Run both on the same random crops.

    Args:
        step: in torch.
        session: of the graph.
        targets: T.
        seconds: how long each is timed; 0: not at all.

    Returns:
        ``difference``, the largest of all outputs; steps a second as ``torch`` and ``onnxruntime``.
    """
    inputs = step.sample(targets, seed=1)
    pairs = zip(step(**inputs), run_session(session, inputs))
    found = {"difference": max(float(np.abs(a.numpy() - b).max()) for a, b in pairs)}
    if seconds:
        found["torch"] = _rate(lambda: step(**inputs), seconds)
        found["onnxruntime"] = _rate(lambda: run_session(session, inputs), seconds)
    return found


def _rate(call: Callable[[], Sequence], seconds: float) -> float:
    """Calls a second, by the fastest."""
    fastest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        fastest = min(fastest, time.perf_counter() - begin)
    return 1 / fastest


def _load(cfg: CfgNode) -> SingleObjectTracker:
    model = build_model(cfg)
    if not isinstance(model, SingleObjectTracker):
        raise ValueError(f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE} is no tracker of given objects")
    EffOWTCheckpointer(model, complete=True).load(cfg.MODEL.WEIGHTS)
    return model


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sot.export_onnx", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--weights", default="", help="checkpoint (MODEL.WEIGHTS of the config)")
    parser.add_argument("--output", required=True, type=Path, help="the .onnx file")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each of both is timed; 0: not at all (5)")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="config keys and values in turn")
    args = parser.parse_args(argv)
    try:
        weights = ["MODEL.WEIGHTS", args.weights] if args.weights else []
        cfg = make_config(find_config(args.config_file), ["MODEL.DEVICE", "cpu", *weights, *args.opts])
        if not cfg.MODEL.WEIGHTS:
            raise ValueError("MODEL.WEIGHTS is empty: --weights must name the checkpoint of a trained model")
        step = export_step(_load(cfg), args.output)
        session = open_session(args.output, torch.get_num_threads())
        found = compare(step, session, targets=1, seconds=args.seconds)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"python -m sot.export_onnx: error: {error}")
    speed = "".join(f", {name} {found[name]:.1f} steps a second" for name in ("torch", "onnxruntime") if name in found)
    print(f"{args.output}: largest difference {found['difference']:.1e}{speed}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
