"""Checkpoints that hold what was trained, written in one piece and read without running code from them."""

from effowt_d2.utils.files import DiskFullError
from effowt_d2.utils.tensor_files import CheckpointError, UnreadableCheckpointError

from .checkpointer import EffOWTCheckpointer

__all__ = ["CheckpointError", "DiskFullError", "EffOWTCheckpointer", "UnreadableCheckpointError"]
