"""Sparse-Tuning beside full fine-tuning, a linear probe and LoRA: accuracy, memory, time.

    python -m sparse_tuning.measure --config-file F --output results.json [--seeds 3] [--methods full keep07] [--opts KEY VALUE ...]

Every method is trained and evaluated as ``train_net.py`` would, one after the other in this process. Results go to the
file after each run, and runs that are in it are not run again.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev

import torch
from detectron2.config import CfgNode
from tabulate import tabulate
from torch import nn

from effowt_d2.analysis import count_parameters
from effowt_d2.engine import OpenWorldTrainer, check_config, make_config
from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.files import write_atomically

from .cost import count_training_bytes, made_up_images

__all__ = ["METHODS", "main", "measure", "table"]

_ADAPTERS = ("MODEL.PEFT.METHOD", "dense_adapter", "MODEL.TOKENS.REDUCTION")
METHODS: dict[str, tuple] = {
    "full": ("MODEL.PEFT.METHOD", "full", "MODEL.TOKENS.REDUCTION", "none"),
    "linear": ("MODEL.PEFT.METHOD", "none", "MODEL.TOKENS.REDUCTION", "none"),
    "lora": ("MODEL.PEFT.METHOD", "lora", "MODEL.TOKENS.REDUCTION", "none"),
    "keep10": (*_ADAPTERS, "none"),
    "keep07": (*_ADAPTERS, "sparse", "MODEL.TOKENS.KEEP_RATES", [0.7]),
    "keep05": (*_ADAPTERS, "sparse", "MODEL.TOKENS.KEEP_RATES", [0.5]),
}
"""Keys of each method, on top of a config; other keys are those of the config for all of them."""


def measure(cfg: CfgNode, *, costs: bool = True, repeats: int = 5) -> dict[str, float]:
    """Train and evaluate one config.

    Args:
        cfg: with one test dataset.
        costs: count and time, too, which is the same for every seed.
        repeats: of the timed steps and batches, of which the fastest counts.

    Returns:
        ``top1`` and ``per_class``; with ``costs`` also ``GMACs``, ``trained`` parameters, ``training_bytes`` (counted),
        ``step_seconds`` (forward, backward and optimizer on a batch of noise) and ``images_per_second`` of inference.
        Seconds are CPU time of this process, on a GPU wall time.

    Raises:
        ValueError: there is not one test dataset.
    """
    if len(cfg.DATASETS.TEST) != 1:
        raise bad_argument("DATASETS.TEST", f"must name one dataset to measure on, got {list(cfg.DATASETS.TEST)}")
    trainer = OpenWorldTrainer(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    (name,) = cfg.DATASETS.TEST
    scores = json.loads((Path(cfg.OUTPUT_DIR) / "inference" / name / "classification.json").read_text())
    found = {key: scores[key] for key in ("top1", "per_class")}
    return {**found, "GMACs": scores["GMACs"], **_costs(cfg, trainer, repeats)} if costs else found


def _costs(cfg: CfgNode, trainer: OpenWorldTrainer, repeats: int) -> dict[str, float]:
    model, images = trainer.model, cfg.SOLVER.IMS_PER_BATCH
    batch = made_up_images(images, model.backbone.size)
    step = _fastest(lambda: _step(model.train(), trainer.optimizer, batch), repeats, cfg.MODEL.DEVICE)
    with torch.no_grad():
        passed = _fastest(lambda: model.eval()(batch), repeats, cfg.MODEL.DEVICE)
    return {
        "trained": sum(part.trained for part in count_parameters(model).values()),
        "training_bytes": sum(count_training_bytes(cfg, model, images).values()),
        "step_seconds": step,
        "images_per_second": images / passed,
    }


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Sequence[dict]) -> None:
    optimizer.zero_grad()
    model(batch)["loss_cls"].backward()
    optimizer.step()


def _fastest(call: Callable[[], object], repeats: int, device: str) -> float:
    """Seconds of the fastest call, CPU time or, on a GPU, wall time; the first call warms up."""
    on_gpu = torch.device(device).type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    taken = []
    for _ in range(repeats + 1):
        begin = clock()
        call()
        if on_gpu:
            torch.cuda.synchronize()
        taken.append(clock() - begin)
    return min(taken[1:])


def table(results: dict[str, dict]) -> str:
    """Results by ``METHOD/SEED`` as a table, one line for each method: means, and the accuracy's standard deviation."""
    rows = []
    for method in METHODS:
        runs = [run for name, run in results.items() if name.split("/")[0] == method]
        if runs:
            keys = {key for run in runs for key in run}
            average = {key: mean(run[key] for run in runs if key in run) for key in keys}
            spread = f" ± {stdev(run['top1'] for run in runs):.1f}" if len(runs) > 1 else ""
            rows.append(
                (
                    method,
                    f"{average['top1']:.1f}{spread}",
                    f"{average['trained']:,.0f}",
                    f"{average['GMACs'] * 1000:.1f} M",
                    f"{average['training_bytes'] / 1e6:.0f} MB",
                    f"{average['step_seconds']:.2f} s",
                    f"{average['images_per_second']:.1f}",
                )
            )
    head = ["method", "top-1", "trained", "multiply-adds", "training memory", "step", "images/s"]
    return tabulate(rows, head, tablefmt="github", disable_numparse=True, colalign=["left", *["right"] * 6])


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="CONFIG")
    parser.add_argument("--output", required=True, type=Path, metavar="JSON", help="results; those there are kept")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each method, with the seeds 0, 1, ...")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="last of all")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    results = json.loads(args.output.read_text()) if args.output.exists() else {}
    for seed in range(args.seeds):
        for method in args.methods:
            name = f"{method}/{seed}"
            if name in results:
                continue
            cfg = make_config(args.config_file, [*args.opts, *METHODS[method], "SEED", seed])
            cfg.OUTPUT_DIR = str(Path(cfg.OUTPUT_DIR) / f"{method}_{seed}")
            check_config(cfg, eval_only=False, num_processes=1)
            results[name] = measure(cfg, costs=seed == 0)
            text = json.dumps(results, indent=1)
            write_atomically(args.output, lambda stream, text=text: stream.write(text.encode()))
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
