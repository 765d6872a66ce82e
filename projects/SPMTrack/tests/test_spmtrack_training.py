"""SPMTrack in the plugin's trainer, and the gradients of two processes against those of one (slow)."""

import sys
from pathlib import Path

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from helpers.processes import run_python
from helpers.tiny_clip import register_clips, vit
from helpers.tiny_trackers import tracker_config
from sot.data.catalog import register_sequences
from sot.data.layouts import read_layout
from sot.data.made_clips import WRITERS, make_clips

from effowt_d2.engine import OpenWorldTrainer


def test_clips_train_and_are_evaluated(tiny, tmp_path):
    WRITERS.get("tnl2k")(tmp_path / "clips", make_clips(2, frames=7))
    register_sequences("spmtrack_made", lambda: read_layout("tnl2k", tmp_path / "clips"))
    cfg = tracker_config(
        "spmtrack",
        "SPMTrack",
        tiny,
        MODEL__PEFT__METHOD="tmoe",
        INPUT__SOT__SAMPLER="clip",
        DATASETS__TRAIN=("spmtrack_made",),
        DATASETS__TEST=("spmtrack_made",),
        OUTPUT_DIR=str(tmp_path / "out"),
        SOLVER__MAX_ITER=2,
    )
    try:
        trainer = OpenWorldTrainer(cfg)
        before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
        trainer.resume_or_load(resume=False)
        trainer.train()
        results = OpenWorldTrainer.test(cfg, trainer.model)
    finally:
        DatasetCatalog.remove("spmtrack_made")
        MetadataCatalog.remove("spmtrack_made")
    assert set(results["one_pass"]) == {"AUC", "OP50", "OP75", "P", "Pnorm"}
    for name, parameter in trainer.model.named_parameters():
        assert parameter.equal(before[name]) != parameter.requires_grad, name
    assert "gate_entropy" in (tmp_path / "out" / "metrics.json").read_text()


def gradients(architecture, samples, wrap):
    """By name, of a step on some samples."""
    torch.manual_seed(0)
    package, method = {"LoRAT": ("lorat", "lora"), "SPMTrack": ("spmtrack", "tmoe")}[architecture]
    cfg = tracker_config(package, architecture, "tiny-processes", MODEL__PEFT__METHOD=method, SEED=1)
    model = build_model(cfg).train()
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.normal_(std=0.05)
    # kept until the gradients are there, which it exchanges
    running = wrap(model)
    sum(running(samples).values()).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def made_samples(architecture):
    """Eight of them, the first half of which has more positive cells, and the last one none."""
    references, searches = (1, 1) if architecture == "LoRAT" else (3, 2)
    generator = torch.Generator().manual_seed(2)
    samples = []
    for number in range(8):
        box = torch.tensor([4.0, 4, 60, 60] if number < 4 else [20.0, 20, 30, 30], dtype=torch.float64)
        box = box + (500 if number == 7 else 0)
        samples.append(
            {
                "templates": torch.rand(references, 3, 32, 32, generator=generator),
                "searches": torch.rand(searches, 3, 64, 64, generator=generator),
                "template_boxes": torch.tensor([[8.0, 8, 24, 24]] * references, dtype=torch.float64),
                "search_boxes": box.expand(searches, 4),
            }
        )
    return samples


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["LoRAT", "SPMTrack"])
def test_two_processes_give_the_gradients_of_one(architecture, tmp_path):
    register_clips(tmp_path, {"tiny-processes": vit(layers=2)})
    alone = gradients(architecture, made_samples(architecture), lambda model: model)
    run_python("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", __file__, architecture, tmp_path)
    together = torch.load(tmp_path / "gradients.pt", weights_only=True)
    assert set(together) == set(alone)
    for name, gradient in alone.items():
        torch.testing.assert_close(
            together[name], gradient, rtol=1e-4, atol=1e-5 * gradient.abs().max().item(), msg=name
        )


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    kind, folder = sys.argv[1], Path(sys.argv[2])
    register_clips(folder, {"tiny-processes": vit(layers=2)})
    rank = torch.distributed.get_rank()
    part = made_samples(kind)[4 * rank : 4 * rank + 4]
    found = gradients(kind, part, torch.nn.parallel.DistributedDataParallel)
    if rank == 0:
        torch.save(found, folder / "gradients.pt")
    torch.distributed.destroy_process_group()
