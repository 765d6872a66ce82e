"""Sequences of one target: readers of the datasets' folders, samplers of training clips, and synthetic videos."""
