"""Starting the processes of a run: one, several on this machine, several machines, or those of torchrun."""

import math
import os
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from detectron2.utils import comm

from effowt_d2.compat import create_local_process_group

from .rendezvous import DEFAULT_TIMEOUT, check_address, join_group

__all__ = ["check_launch", "check_processes", "launch", "started_by_torchrun"]


def launch(
    main: Callable,
    *,
    num_processes: int = 1,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str = "auto",
    dist_timeout: float = DEFAULT_TIMEOUT,
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
        dist_url: where the processes meet: "tcp://HOST:PORT", "file:///PATH", or "auto", a temporary file of this
            machine.
        dist_timeout: seconds that the processes wait for each other at the start.
        device: "cpu", or a "cuda" device.
        args: arguments of ``main``.

    Returns:
        What ``main`` returns, where no processes had to be started; otherwise None.

    Raises:
        ValueError: more processes than GPUs, or an address that can't be.
        RendezvousError: the processes did not meet; where they were started here, within torch's
            ``ProcessRaisedException``.
    """
    if started_by_torchrun():
        return _run_under_torchrun(main, dist_timeout, device, args)
    check_launch(num_processes, num_machines, machine_rank, dist_url, device, dist_timeout)
    world_size = num_processes * num_machines
    if world_size == 1:
        return main(*args)
    with tempfile.TemporaryDirectory() as folder:
        # a file of their own: two runs that start together could be given the same free port
        url = f"file://{folder}/rendezvous" if dist_url == "auto" else dist_url
        first = _Process(machine_rank * num_processes, world_size, 0, num_processes, url, dist_timeout)
        mp.spawn(_worker, nprocs=num_processes, args=(first, device, main, args))
    return None


def started_by_torchrun() -> bool:
    """Whether the environment says which process of the run this is, so that none are to be started."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


class _Process(NamedTuple):
    rank: int
    world_size: int
    local_rank: int
    local_size: int
    url: str
    dist_timeout: float


def _run_under_torchrun(main: Callable, dist_timeout: float, device: str, args: tuple):
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    local_rank = int(os.environ.get("LOCAL_RANK", rank))
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", world_size))
    check_processes(local_size, device)
    process = _Process(rank, world_size, local_rank, local_size, "env://", dist_timeout)
    return _run_in_group(process, device, main, args)


def _worker(local_rank: int, first: _Process, device: str, main: Callable, args: tuple) -> None:
    if not device.startswith("cuda"):
        # the processes share the cores instead of each taking all of them
        torch.set_num_threads(max(1, torch.get_num_threads() // first.local_size))
    process = first._replace(rank=first.rank + local_rank, local_rank=local_rank)
    _run_in_group(process, device, main, args)


def _run_in_group(process: _Process, device: str, main: Callable, args: tuple):
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(process.local_rank)
    backend = "nccl" if on_gpu else "gloo"
    rank, world_size = process.rank, process.world_size
    join_group(backend, url=process.url, rank=rank, world_size=world_size, timeout=process.dist_timeout)
    try:
        create_local_process_group(process.local_size)
        comm.synchronize()
        result = main(*args)
        # a process that leaves while another still works can take that one down with it
        comm.synchronize()
        return result
    finally:
        dist.destroy_process_group()


def check_launch(
    num_processes: int, num_machines: int, machine_rank: int, dist_url: str, device: str, dist_timeout: float
) -> None:
    """Raise ValueError unless :func:`launch` can start with these arguments; under torchrun only the last is used."""
    if not 0 < dist_timeout < math.inf:
        raise ValueError(f"--dist-timeout must be a number of seconds above 0, got {dist_timeout}")
    if started_by_torchrun():
        return
    check_processes(num_processes, device, num_machines)
    if num_processes * num_machines != 1:
        check_address(dist_url, num_machines=num_machines, machine_rank=machine_rank)


def check_processes(num_processes: int, device: str, num_machines: int = 1) -> None:
    """Raise ValueError unless this machine can run that many processes on the device."""
    if num_machines < 1:
        raise ValueError(f"--num-machines must be at least 1, got {num_machines}")
    if num_processes < 1:
        raise ValueError(f"--num-gpus must be at least 1 (on CPUs: processes), got {num_processes}")
    if device.startswith("cuda") and num_processes > torch.cuda.device_count():
        raise ValueError(
            f"{num_processes} processes on MODEL.DEVICE {device}, but this machine has {torch.cuda.device_count()} "
            "GPUs; use fewer processes, or MODEL.DEVICE cpu"
        )
    if num_processes > 1 and device.startswith("cuda:"):
        raise ValueError(f"{num_processes} processes take a GPU each: MODEL.DEVICE must be cuda or cpu, got {device}")
