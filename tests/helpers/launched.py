"""What the processes of a launched run do in tests; each gets what the run was started with."""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from detectron2.utils import comm

from effowt_d2.checkpoint import CheckpointError
from effowt_d2.engine import launch


def write_marker(token: str, folder: str) -> None:
    """Leave a file with the process's place, its threads and the tokens of all processes that it met."""
    place = [comm.get_rank(), comm.get_world_size(), comm.get_local_rank(), comm.get_local_size()]
    record = {"place": place, "threads": torch.get_num_threads(), "tokens": comm.all_gather(token)}
    Path(folder, f"{token}{comm.get_rank()}.json").write_text(json.dumps(record))


def fail(how: str) -> None:
    """The last process fails while the other waits for it."""
    if comm.get_rank() == comm.get_world_size() - 1:
        if how == "known":
            raise CheckpointError("model.pth was trained on another tower")
        os.kill(os.getpid(), signal.SIGKILL)
    comm.synchronize()


if __name__ == "__main__":
    token, folder = sys.argv[1:]
    Path(folder, f"{token}_alone.json").write_text(json.dumps(torch.get_num_threads()))
    launch(write_marker, num_processes=2, device="cpu", args=(token, folder))
