"""How the processes of a run find each other: an address that is checked first, and a limit to the waiting."""

import os
import socket
import time
from datetime import timedelta
from urllib.parse import urlsplit

import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

__all__ = ["DEFAULT_TIMEOUT", "RendezvousError", "check_address", "join_group"]

DEFAULT_TIMEOUT = 300.0
"""Seconds that the processes wait for each other at the start."""
_COLLECTIVES = timedelta(minutes=30)
"""How long a process waits for the others later, when one may evaluate longer than another."""
_CHECKS = (
    "Check that the machine with --machine-rank 0 has started, that --dist-url names its address and a port that no "
    "firewall closes, and that --dist-url, --num-machines and --num-gpus are the same on all machines; "
    "--dist-timeout SECONDS sets how long to wait"
)


class RendezvousError(ConnectionError):
    """The processes of a run did not meet."""


def check_address(url: str, *, num_machines: int = 1, machine_rank: int = 0) -> None:
    """Find out what is wrong with the place where the processes meet, as far as this machine alone can know.

    Args:
        url: "auto", "tcp://HOST:PORT", or "file:///PATH" on a disk that all machines share.
        num_machines: machines of the run.
        machine_rank: number of this machine.

    Raises:
        ValueError: the address is malformed or not for several machines, or its port is in use here; the number of
            the machine doesn't exist.
    """
    if not 0 <= machine_rank < num_machines:
        raise ValueError(
            f"--machine-rank is {machine_rank}, with --num-machines {num_machines} it can be 0 to {num_machines - 1}"
        )
    if url == "auto":
        if num_machines > 1:
            raise ValueError(f"--dist-url auto is for one machine, but there are {num_machines}; give tcp://HOST:PORT")
        return
    parts = urlsplit(url)
    if parts.scheme == "tcp":
        port = _port(url)
        if machine_rank == 0:
            _check_port_is_free(url, port)
    elif parts.scheme == "file" and not parts.netloc and os.path.isabs(parts.path):
        if not os.path.isdir(os.path.dirname(parts.path)):
            raise ValueError(f"--dist-url {url}: there is no folder {os.path.dirname(parts.path)}")
    else:
        raise ValueError(f"--dist-url is '{url}'; it can be auto, tcp://HOST:PORT or file:///PATH")


def _port(url: str) -> int:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(f"--dist-url {url}: {error}") from None
    if not parts.hostname or not port:
        missing = "a port" if parts.hostname else "a host"
        raise ValueError(f"--dist-url {url} lacks {missing}; it must be tcp://HOST:PORT")
    return port


def _check_port_is_free(url: str, port: int) -> None:
    with socket.socket() as probe:
        # as torch does: what remains of a connection of an earlier run is in nobody's way
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise ValueError(f"--dist-url {url}: port {port} of this machine: {error.strerror}") from None


def join_group(backend: str, *, url: str, rank: int, world_size: int, timeout: float = DEFAULT_TIMEOUT) -> None:
    """Meet the other processes of the run and make torch's process group with them.

    Args:
        backend: "nccl" or "gloo".
        url: "tcp://HOST:PORT", "file:///PATH", or "env://" for the variables of torchrun.
        rank: number of this process.
        world_size: number of processes.
        timeout: seconds to wait for the others.

    Raises:
        RendezvousError: they did not come, or the address can't be reached.
    """
    limit = timedelta(seconds=timeout)
    try:
        if url.startswith("tcp:") and rank > 0:
            _wait_for_port(url, timeout)
        store, _, _ = next(rendezvous(url, rank=rank, world_size=world_size, timeout=limit))
        store.set_timeout(limit)
        _wait_for_all(store, rank, world_size)
    except (RuntimeError, OSError) as error:
        # what follows the first line of torch's errors is its own stack
        raise RendezvousError(
            f"process {rank} of {world_size} did not meet the others at {_place(url)} within {timeout:g} seconds: "
            f"{str(error).splitlines()[0]}\n{_CHECKS}"
        ) from None
    store.set_timeout(_COLLECTIVES)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=_COLLECTIVES)


def _place(url: str) -> str:
    if url != "env://":
        return url
    return f"MASTER_ADDR {os.environ.get('MASTER_ADDR')}, MASTER_PORT {os.environ.get('MASTER_PORT')}"


def _wait_for_port(url: str, timeout: float) -> None:
    """torch would try for several times its timeout, and not say whether the name, the way or the port is wrong."""
    parts = urlsplit(url)
    end = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((parts.hostname, parts.port), timeout=max(0.1, end - time.monotonic())).close()
            return
        except OSError:
            if time.monotonic() > end - 0.5:
                raise
            time.sleep(0.5)


def _wait_for_all(store: dist.Store, rank: int, world_size: int) -> None:
    store.set(f"effowt_d2/{rank}", "here")
    keys = [f"effowt_d2/{other}" for other in range(world_size)]
    try:
        store.wait(keys)
    except RuntimeError:
        missing = [other for other, key in enumerate(keys) if not store.check([key])]
        raise TimeoutError(f"missing processes: {missing}") from None
