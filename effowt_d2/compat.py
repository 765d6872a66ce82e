"""Differences of Detectron2 v0.6 and main, detected by feature, not by version.

Other differences are met by not using the part at all: v0.6's launcher knows GPUs only (``engine/launch.py`` starts
the processes), v0.6's trainer leaves the optimizer out of its checkpoints and both versions place models on GPUs only
when there are several processes (``engine/trainer.py``), and mixed precision needs a GPU (``engine/step.py``).
"""

import torch.distributed as dist
from detectron2.utils import comm

__all__ = ["create_local_process_group"]


def create_local_process_group(processes_per_machine: int) -> None:
    """Register the process group of this machine with Detectron2; all processes call it, once.

    Args:
        processes_per_machine: the same number on every machine; ranks are counted machine by machine.
    """
    if hasattr(comm, "create_local_process_group"):
        comm.create_local_process_group(processes_per_machine)
        return
    # v0.6 does this inside its launcher, where it cannot be called separately
    for first in range(0, comm.get_world_size(), processes_per_machine):
        ranks = list(range(first, first + processes_per_machine))
        group = dist.new_group(ranks)
        if comm.get_rank() in ranks:
            comm._LOCAL_PROCESS_GROUP = group
