"""Starting the processes of a run: one, several on this machine, several machines, or those of torchrun."""

import os
import tempfile
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from detectron2.utils import comm

from effowt_d2.compat import create_local_process_group

__all__ = ["check_processes", "launch"]

_TIMEOUT = timedelta(minutes=30)


def launch(
    main: Callable,
    *,
    num_processes: int = 1,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str = "auto",
    device: str = "cuda",
    args: tuple = (),
):
    """Call ``main(*args)`` in every process of the run, on GPUs (nccl) or on CPUs (gloo).

    Under torchrun the environment says everything and the numbers here are not used.

    Args:
        main: a function that can be imported.
        num_processes: processes on this machine; on GPUs one each.
        num_machines: machines, each of which calls this.
        machine_rank: number of this machine.
        dist_url: where the processes meet, such as "tcp://HOST:PORT"; "auto": a temporary file of this machine.
        device: "cpu", or a "cuda" device.
        args: arguments of ``main``.

    Returns:
        What ``main`` returns, where no processes had to be started; otherwise None.

    Raises:
        ValueError: more processes than GPUs, or "auto" with several machines.
    """
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return _run_under_torchrun(main, device, args)
    world_size = num_processes * num_machines
    check_processes(num_processes, device)
    if world_size == 1:
        return main(*args)
    if dist_url == "auto" and num_machines > 1:
        raise ValueError(f"--dist-url auto is for one machine, but there are {num_machines}")
    with tempfile.TemporaryDirectory() as folder:
        # a file of their own: two runs that start together could be given the same free port
        url = f"file://{folder}/rendezvous" if dist_url == "auto" else dist_url
        rendezvous = (world_size, num_processes, machine_rank * num_processes, url, device)
        mp.spawn(_worker, nprocs=num_processes, args=(main, rendezvous, args))
    return None


def _run_under_torchrun(main: Callable, device: str, args: tuple):
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    local_rank = int(os.environ.get("LOCAL_RANK", rank))
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", world_size))
    check_processes(local_size, device)
    return _run_in_group(main, args, rank, world_size, local_rank, local_size, "env://", device)


def _worker(local_rank: int, main: Callable, rendezvous: tuple, args: tuple) -> None:
    world_size, local_size, first_rank, url, device = rendezvous
    if not device.startswith("cuda"):
        # the processes share the cores instead of each taking all of them
        torch.set_num_threads(max(1, torch.get_num_threads() // local_size))
    _run_in_group(main, args, first_rank + local_rank, world_size, local_rank, local_size, url, device)


def _run_in_group(main, args, rank, world_size, local_rank, local_size, url, device):
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(local_rank)
    dist.init_process_group(
        "nccl" if on_gpu else "gloo", init_method=url, world_size=world_size, rank=rank, timeout=_TIMEOUT
    )
    try:
        create_local_process_group(local_size)
        comm.synchronize()
        result = main(*args)
        # a process that leaves while another still works can take that one down with it
        comm.synchronize()
        return result
    finally:
        dist.destroy_process_group()


def check_processes(num_processes: int, device: str) -> None:
    """Raise ValueError unless this machine can run that many processes on the device."""
    if num_processes < 1:
        raise ValueError(f"--num-gpus must be at least 1 (on CPUs: processes), got {num_processes}")
    if device.startswith("cuda") and num_processes > torch.cuda.device_count():
        raise ValueError(
            f"{num_processes} processes on MODEL.DEVICE {device}, but this machine has {torch.cuda.device_count()} "
            "GPUs; use fewer processes, or MODEL.DEVICE cpu"
        )
