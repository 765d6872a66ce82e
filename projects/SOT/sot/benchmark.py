"""Training memory and step time of a tracker against full fine-tuning; size, multiply-adds and speed of its merged form.

    python -m sot.benchmark --config-file projects/LoRAT/configs/lorat_b224.yaml [--batch 2] [--steps 2] [--threads 2] [--opts KEY VALUE ...]

Samples and weights are random. Memory is counted: weights, gradients and optimizer state by the parameters, activations by what
autograd saves in the forward pass. They grow with the batch, the others do not.
"""

import argparse
import sys
import time
from collections.abc import Callable

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from tabulate import tabulate
from torch.nn.attention import SDPBackend, sdpa_kernel

from effowt_d2.analysis import count_saved_bytes, multiply_adds, training_memory
from effowt_d2.engine import find_config, make_config
from effowt_d2.modeling.peft import merge

from .tracker import SingleObjectTracker

__all__ = ["made_up_samples", "measure_tracking", "measure_training"]


def made_up_samples(cfg: CfgNode, count: int) -> list[dict]:
    """Random samples as :class:`sot.data.training.ClipMapper` makes them."""
    node, random = cfg.INPUT.SOT, torch.Generator().manual_seed(0)
    references, searches = (1, 1) if node.SAMPLER == "pair" else (node.REFERENCES, node.SEARCHES)

    def centred(size: int, number: int) -> torch.Tensor:
        return torch.tensor([[size / 3, size / 3, size / 2, size / 2]] * number, dtype=torch.float64)

    def crops(size: int, number: int) -> torch.Tensor:
        return torch.rand(number, 3, size, size, generator=random)

    return [
        {
            "templates": crops(node.TEMPLATE_SIZE, references),
            "searches": crops(node.SEARCH_SIZE, searches),
            "template_boxes": centred(node.TEMPLATE_SIZE, references),
            "search_boxes": centred(node.SEARCH_SIZE, searches),
        }
        for _ in range(count)
    ]


def measure_training(cfg: CfgNode, batch: int, steps: int) -> dict[str, float]:
    """Bytes of a training step, see :func:`effowt_d2.analysis.training_memory`, and ``seconds`` of forward and backward.

    Args:
        cfg: of a tracker.
        batch: samples.
        steps: timed, the fastest counts; 0: no ``seconds``.
    """
    model = _build(cfg).train()
    samples = made_up_samples(cfg, batch)
    memory = training_memory(cfg, model, count_saved_bytes(model, samples))

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with EventStorage():
            torch.stack(list(model(samples).values())).sum().backward()

    timed = {"seconds": _fastest(step, steps)} if steps else {}
    return {**memory, "total": sum(memory.values()), **timed}


@torch.no_grad()
def measure_tracking(cfg: CfgNode, frames: int) -> dict[str, float]:
    """Of a tracker in closed loop with one target, crops and selection included; LoRA is merged for speed and multiply-adds.

    Args:
        cfg: of a tracker.
        frames: timed; 0: no ``frames_per_second``.

    Returns:
        ``parameters`` of the whole model before the merge, ``trained`` ones among them, ``macs`` (multiply-adds of a frame's matrix products and convolutions), and
        ``frames_per_second``, the faster of two runs.
    """
    model = _build(cfg)
    parameters = list(model.parameters())
    found = {"parameters": sum(p.numel() for p in parameters)}
    found["trained"] = sum(p.numel() for p in parameters if p.requires_grad)
    if cfg.MODEL.PEFT.METHOD == "lora":
        merge(model.backbone.tower)
    model.eval()
    frame = torch.randint(0, 256, (3, 480, 854), dtype=torch.uint8)
    # the third frame: the memory of the first ones is there
    state, _ = model.step(model.start(frame, [[300.0, 200, 400, 300]]), frame)
    with sdpa_kernel(SDPBackend.MATH):
        found["macs"] = multiply_adds(lambda: model.step(state, frame))

    def follow() -> None:
        now = state
        for _ in range(frames):
            now, _ = model.step(now, frame)

    return {**found, "frames_per_second": frames / _fastest(follow, 2)} if frames else found


def _build(cfg: CfgNode) -> SingleObjectTracker:
    torch.manual_seed(0)
    return build_model(cfg)


def _fastest(call: Callable[[], None], times: int) -> float:
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        found.append(time.perf_counter() - begin)
    return min(found)


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sot.benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="of a tracker with MODEL.PEFT.METHOD lora or tmoe")
    parser.add_argument("--batch", type=int, default=2, help="samples a step (2)")
    parser.add_argument("--steps", type=int, default=2, help="timed steps, the fastest counts (2); 0: none")
    parser.add_argument("--frames", type=int, default=5, help="timed frames (5); 0: none")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="config keys and values in turn")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    try:
        options = ["MODEL.DEVICE", "cpu", "MODEL.VLM.ALLOW_RANDOM", True, "MODEL.VLM.WEIGHTS", "", *args.opts]
        cfg = make_config(find_config(args.config_file), options)
        full = cfg.clone()
        full.MODEL.PEFT.METHOD = "full"
        found = [measure_training(one, args.batch, args.steps) for one in (cfg, full)]
        tracking = measure_tracking(cfg, args.frames)
    except (OSError, ValueError) as error:
        sys.exit(f"python -m sot.benchmark: error: {error}")
    units = {name: (1, "s") if name == "seconds" else (2**20, "MiB") for name in found[0]}
    rows = [
        [f"{name}, {unit}", *(one[name] / size for one in found), found[0][name] / found[1][name]]
        for name, (size, unit) in units.items()
    ]
    names = ["", cfg.MODEL.PEFT.METHOD, "full", "ratio"]
    print(tabulate(rows, headers=names, floatfmt=".3g", tablefmt="pipe"))
    print(f"batch {args.batch}, {args.threads} threads")
    words = [f"{tracking['parameters']:,} parameters", f"{tracking['trained']:,} trained"]
    words.append(f"{tracking['macs'] / 1e9:.2f} G multiply-adds a frame")
    if args.frames:
        words.append(f"{tracking['frames_per_second']:.2f} frames a second")
    print(", ".join(words))


if __name__ == "__main__":
    main()
