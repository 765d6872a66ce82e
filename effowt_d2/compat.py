"""Where Detectron2 v0.6 and main differ, and older torch from newer: decided by what is there, not by version.

Other differences are met by not using the part at all: v0.6's launcher knows GPUs only (``engine/launch.py`` starts
the processes), v0.6's trainer leaves the optimizer out of its checkpoints and both versions place models on GPUs only
when there are several processes (``engine/trainer.py``), and mixed precision needs a GPU (``engine/step.py``).
"""

import torch
import torch.distributed as dist
from detectron2.utils import comm

__all__ = ["create_local_process_group", "make_grad_scaler"]


def create_local_process_group(processes_per_machine: int) -> None:
    """Tell Detectron2 which processes share this machine; all processes call it, once.

    Args:
        processes_per_machine: the same number on every machine; ranks are counted machine by machine.
    """
    if hasattr(comm, "create_local_process_group"):
        comm.create_local_process_group(processes_per_machine)
        return
    # v0.6 does this inside its launcher, where nobody else can call it
    for first in range(0, comm.get_world_size(), processes_per_machine):
        ranks = list(range(first, first + processes_per_machine))
        group = dist.new_group(ranks)
        if comm.get_rank() in ranks:
            comm._LOCAL_PROCESS_GROUP = group


def make_grad_scaler(device: str, enabled: bool):
    """A loss scaler for float16; when not enabled it passes everything through.

    Args:
        device: device type, "cuda" or "cpu".
        enabled: whether to scale.
    """
    if hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler(device, enabled=enabled)
    # torch before 2.3 has the one for GPUs only
    if enabled and device != "cuda":
        raise ValueError(f"torch {torch.__version__} scales float16 losses on cuda only, not on {device}")
    return torch.cuda.amp.GradScaler(enabled=enabled)
