"""Configs, checkpoints and towers by name; ``effowt://NAME`` is a path of Detectron2's path manager from here on."""

from effowt_d2.assets.paths import resolve_weights

from .zoo import DEFAULT, config_names, get, get_checkpoint_url, get_config, get_config_file

__all__ = ["DEFAULT", "config_names", "get", "get_checkpoint_url", "get_config", "get_config_file", "resolve_weights"]
