"""Config files: found by path or zoo name, read with their bases and the modules that all of them import."""

import os
from collections.abc import Sequence
from typing import Any

import yaml
from detectron2.config import CfgNode

from effowt_d2.assets.configs import config_names
from effowt_d2.assets.paths import PREFIX, shipped_file

__all__ = ["find_config", "module_names", "read_config"]

_ALL_IMPORTS = "_IMPORTS_"


def find_config(source: str) -> str:
    """The YAML file of a path or of a name of the model zoo.

    Args:
        source: a file, or a zoo name such as ``quick/shapes_ow_effowt.yaml``, with or without ``.yaml`` and with or
            without ``effowt://`` before it. A file of that path comes first.

    Raises:
        FileNotFoundError: neither such a file nor such a name.
        ValueError: it is a LazyConfig.
    """
    if source.endswith(".py"):
        raise ValueError(
            f"config {source} is a LazyConfig, and a YAML file or a zoo name is expected here; a LazyConfig is trained "
            "by Detectron2's tools/lazyconfig_train_net.py or a script of yours, see docs/plugin.md"
        )
    if os.path.isfile(source):
        return source
    name = f"{source.removeprefix(PREFIX).removesuffix('.yaml')}.yaml"
    if name not in config_names():
        raise FileNotFoundError(
            f"config {source}: no such file, and no such name in the zoo: {', '.join(config_names())}"
        )
    return os.fspath(shipped_file(name))


def read_config(file: str) -> tuple[CfgNode, list[str]]:
    """Read a YAML file on top of its bases.

    Args:
        file: whose ``_BASE_`` may be a path relative to it, or ``effowt://`` and a zoo name.

    Returns:
        The keys that are set, and the modules in ``IMPORTS`` of the file and of all its bases, bases first.

    Raises:
        FileNotFoundError: a base doesn't exist.
        ValueError: the file is no mapping of keys or no UTF-8 text.
    """
    try:
        loaded = _ConfigFile.load_yaml_with_base(file, allow_unsafe=True)
        imports = list(loaded.pop(_ALL_IMPORTS))
        return CfgNode(loaded), imports
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{file}: its _BASE_: {error}") from error
    except RecursionError:
        raise ValueError(f"{file}: a config is its own _BASE_") from None
    except (KeyError, AssertionError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{file}: {error}") from error
    except (AttributeError, TypeError) as error:
        # what Detectron2 stumbles over where it expects mappings
        raise ValueError(f"{file}: a config is a mapping of keys to values, this one or its base is not") from error


def module_names(value: Any) -> Sequence[str]:
    """The value of ``IMPORTS`` as it stands in a YAML file or on a command line.

    Raises:
        ValueError: it is no list of names.
    """
    node = CfgNode({"IMPORTS": ()})
    node.merge_from_list(["IMPORTS", value])
    return node.IMPORTS


class _ConfigFile(CfgNode):
    @classmethod
    def load_yaml_with_base(cls, filename: str, allow_unsafe: bool = False) -> dict[str, Any]:
        # what the file's bases import comes back from this same method and is kept, as a dict, by the merge
        loaded = super().load_yaml_with_base(_without_folder(filename), allow_unsafe)
        loaded.setdefault(_ALL_IMPORTS, {}).update(dict.fromkeys(module_names(loaded.pop("IMPORTS", ()))))
        return loaded


def _without_folder(base: str) -> str:
    """Detectron2 takes ``effowt://NAME`` for a relative path and puts the folder of the file before it."""
    _, prefix, name = base.rpartition(PREFIX)
    return f"{prefix}{name.removesuffix('.yaml')}.yaml" if prefix else base
