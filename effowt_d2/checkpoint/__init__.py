"""Checkpoints that hold what was trained, written in one piece and read without running code from them."""

from .checkpointer import EffOWTCheckpointer
from .files import CheckpointError, DiskFullError, UnreadableCheckpointError

__all__ = ["CheckpointError", "DiskFullError", "EffOWTCheckpointer", "UnreadableCheckpointError"]
