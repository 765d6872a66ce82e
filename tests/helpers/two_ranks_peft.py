"""Run under torchrun by test_peft_matrix.py, and imported by it: gradients of what a PEFT method trains.

Argument: the file that the first process writes the gradients to, by method and name.
"""

import sys
import tempfile
from pathlib import Path

import torch
from detectron2.utils import comm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from helpers.tiny_backbone import tiny_backbone
from helpers.tiny_clip import register_clips, vit

METHODS = ("full", "lora", "tmoe", "dense_adapter")
NAME = "two-ranks-vit"


class Model(nn.Module):
    """A backbone with a loss."""

    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        sizes = [(50, 64)] * len(images)
        return sum(level.square().mean() for level in self.backbone(images, sizes).values())


def gradients(method: str, neck: str = "pyramid") -> dict[str, Tensor]:
    """Of the mean loss over four images, which the processes share."""
    options = ("MODEL.PEFT.METHOD", method, "MODEL.PEFT.RANK", 4, "MODEL.TRANSFER.NECK", neck)
    model = Model(tiny_backbone(NAME, *options)).train()
    for parameter in model.backbone.tower.companions.parameters():  # that start at zero
        nn.init.constant_(parameter, 0.01)
    run = DistributedDataParallel(model) if comm.get_world_size() > 1 else model
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    run(images[comm.get_rank() :: comm.get_world_size()]).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def all_gradients() -> dict[str, Tensor]:
    with tempfile.TemporaryDirectory() as folder:
        register_clips(Path(folder), {NAME: vit()})
    return {f"{method} {name}": grad for method in METHODS for name, grad in gradients(method).items()}


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    assert comm.get_world_size() == 2
    found = all_gradients()
    if comm.is_main_process():
        torch.save(found, sys.argv[1])
    torch.distributed.destroy_process_group()
