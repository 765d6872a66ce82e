"""Checkpoints of the trained parameters, written atomically and read without executing code."""

from effowt_d2.utils.files import DiskFullError
from effowt_d2.utils.tensor_files import CheckpointError, UnreadableCheckpointError

from .checkpointer import EffOWTCheckpointer

__all__ = ["CheckpointError", "DiskFullError", "EffOWTCheckpointer", "UnreadableCheckpointError"]
