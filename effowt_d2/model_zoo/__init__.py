"""Configs, checkpoints and towers by name."""
