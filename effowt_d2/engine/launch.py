"""Starting the processes of a run: one, several on this machine, several machines, or those of torchrun."""

import json
import logging
import math
import os
import sys
import tempfile
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import torch
import torch.distributed as dist
from detectron2.utils import comm
from torch.distributed import DistError
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from effowt_d2.compat import create_local_process_group

from .failures import FAILURES, RendezvousError, WorkerError

__all__ = ["DEFAULT_TIMEOUT", "check_launch", "check_processes", "launch", "started_by_torchrun"]

DEFAULT_TIMEOUT = 300.0
"""Seconds that machines wait for each other at the start."""
_COLLECTIVES = timedelta(minutes=30)
"""How long a process waits for the others later, when one may evaluate longer than another."""
_HINT = (
    "Check that the machine with --machine-rank 0 has started, that --dist-url names its address and a free port that "
    "no firewall closes, and that --dist-url and --num-machines are the same on all machines"
)


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

    Under torchrun the environment identifies the process, and the numbers here are not used.

    Args:
        main: a function that can be imported.
        num_processes: processes on this machine; on GPUs one each.
        num_machines: machines, each of which calls this.
        machine_rank: number of this machine.
        dist_url: where the machines meet: "tcp://HOST:PORT" of machine 0, or "auto" for one machine.
        dist_timeout: seconds that the machines wait for each other at the start.
        device: "cpu", or a "cuda" device.
        args: arguments of ``main``.

    Returns:
        What ``main`` returns, where no processes had to be started; otherwise None.

    Raises:
        ValueError: more processes than GPUs, or an address that can't be.
        RendezvousError: the machines did not meet, or the port is in use.
        WorkerError: a process that was started here failed; the text is that of its own error.
    """
    check_launch(num_processes, num_machines, machine_rank, dist_url, device, dist_timeout)
    if started_by_torchrun():
        return _run_in_group(main, device, args)
    if num_processes * num_machines == 1:
        return main(*args)
    # it logs the traceback of a failed process, which is reported below
    logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        config = LaunchConfig(
            min_nodes=num_machines,
            max_nodes=num_machines,
            nproc_per_node=num_processes,
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
            **_rendezvous(dist_url, machine_rank, dist_timeout),
        )
        try:
            elastic_launch(config, _run_launched)(main, device, args)
        except DistError as error:
            # what follows the first line of torch's errors is its own stack
            raise RendezvousError(
                f"machine {machine_rank} of {num_machines}, --dist-url {dist_url}, --dist-timeout {dist_timeout:g}: "
                f"{str(error).splitlines()[0]} {_HINT}"
            ) from error
        except ChildFailedError as error:
            raise _explain(error, Path(folder)) from None
    return None


def _rendezvous(url: str, machine_rank: int, timeout: float) -> dict:
    """Rendezvous of the launchers; a single machine uses a free port."""
    if url == "auto":
        return {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "run_id": str(uuid.uuid4())}
    endpoint = urlsplit(url).netloc
    place = {"rank": machine_rank, "timeout": math.ceil(timeout)}
    return {"rdzv_backend": "static", "rdzv_endpoint": endpoint, "run_id": endpoint, "rdzv_configs": place}


def _run_launched(main: Callable, device: str, args: tuple) -> None:
    # without a result, which would be sent to the process that started this one
    try:
        _run_in_group(main, device, args)
    except FAILURES as error:
        raise WorkerError(str(error)) from error


def _run_in_group(main: Callable, device: str, args: tuple):
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", world_size))
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank)))
    elif "OMP_NUM_THREADS" not in os.environ:
        # the processes share the cores instead of each taking all of them
        torch.set_num_threads(max(1, torch.get_num_threads() // local_size))
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=_COLLECTIVES)
    create_local_process_group(local_size)
    comm.synchronize()
    result = main(*args)
    # a process that leaves while another still works can take that one down with it
    comm.synchronize()
    dist.destroy_process_group()
    return result


def _explain(failed: ChildFailedError, folder: Path) -> WorkerError:
    """The first error of this machine's processes; those after it mostly are of connections to the first."""
    rank, failure = failed.get_first_failure()
    reports = sorted(folder.rglob("error.json"), key=lambda file: file.stat().st_mtime_ns)
    if failure.exitcode < 0 or not reports:
        ended = failure.message if failure.exitcode < 0 else f"exit code {failure.exitcode}"
        return WorkerError(f"process {rank}: {ended}")
    report = json.loads(reports[0].read_text())["message"]
    kind, _, text = report["message"].partition(": ")
    if kind == WorkerError.__name__:
        return WorkerError(text)
    print(report["extraInfo"]["py_callstack"], file=sys.stderr)
    return WorkerError(report["message"])


def started_by_torchrun() -> bool:
    """Whether a launcher has started this process and set its environment, so that none are to be started."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def check_launch(
    num_processes: int, num_machines: int, machine_rank: int, dist_url: str, device: str, dist_timeout: float
) -> None:
    """Raise ValueError unless :func:`launch` can start with these arguments, as far as this machine alone can know."""
    if not 0 < dist_timeout < math.inf:
        raise ValueError(f"--dist-timeout must be a number of seconds above 0, got {dist_timeout}")
    if started_by_torchrun():
        check_processes(int(os.environ.get("LOCAL_WORLD_SIZE", 1)), device)
        return
    check_processes(num_processes, device, num_machines)
    if not 0 <= machine_rank < num_machines:
        raise ValueError(
            f"--machine-rank is {machine_rank}, with --num-machines {num_machines} it can be 0 to {num_machines - 1}"
        )
    if dist_url != "auto":
        _check_address(dist_url)
    elif num_machines > 1:
        raise ValueError(f"--dist-url auto is for one machine, but there are {num_machines}; give tcp://HOST:PORT")


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(f"--dist-url is '{url}': {error}") from None
    if parts.scheme != "tcp" or not parts.hostname or not port:
        raise ValueError(f"--dist-url is '{url}'; it can be auto or tcp://HOST:PORT")


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
