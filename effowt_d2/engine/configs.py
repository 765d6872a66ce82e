"""Configs from files and command-line keys, with errors that name the key."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from detectron2.config import CfgNode, get_cfg

from effowt_d2.config import add_effowt_config

__all__ = ["make_config"]


def make_config(file: str, options: Sequence[str]) -> CfgNode:
    """The defaults of Detectron2 and of this plugin, with a config file and ``KEY VALUE`` pairs on top.

    Args:
        file: a YAML file; "" for none.
        options: keys and values in turn.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no mapping of keys or no UTF-8 text, or an unknown key, a value of the wrong type, or a
            key without a value; the text names it.
    """
    cfg = get_cfg()
    add_effowt_config(cfg)
    if file:
        if not Path(file).is_file():
            raise FileNotFoundError(f"--config-file {file}: no such file")
        try:
            cfg.merge_from_file(file)
        except (KeyError, AssertionError, ValueError, yaml.YAMLError) as error:
            raise ValueError(f"{file}: {_text(error)}") from error
        except (AttributeError, TypeError) as error:
            # what Detectron2 stumbles over where it expects mappings
            raise ValueError(f"{file}: a config is a mapping of keys to values, this one or its base is not") from error
    try:
        cfg.merge_from_list(list(options))
    except (KeyError, AssertionError, ValueError) as error:
        raise ValueError(f"command line: {_text(error)}") from error
    return cfg


def _text(error: Exception) -> str:
    # a KeyError quotes its text; the first argument of others may be a part of theirs only
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
