"""Configs made of a few keys."""

from collections.abc import Iterator

from detectron2.config import CfgNode, get_cfg

from effowt_d2 import add_effowt_config


def plugin_config(keys: dict | None = None, /, **options) -> CfgNode:
    """Detectron2's defaults and the plugin's, on the CPU.

    Args:
        keys: values by key.
        **options: the same with ``__`` for the dots; they win over ``keys``.
    """
    cfg = get_cfg()
    add_effowt_config(cfg)
    return set_keys(cfg, {"MODEL.DEVICE": "cpu", **(keys or {})}, **options)


def set_keys(cfg: CfgNode, keys: dict | None = None, /, **options) -> CfgNode:
    """Set keys as in :func:`plugin_config`; returns the config."""
    pairs = {**(keys or {}), **{name.replace("__", "."): value for name, value in options.items()}}
    cfg.merge_from_list([item for pair in pairs.items() for item in pair])
    return cfg


def plugin_keys() -> list[str]:
    """The keys that the plugin adds to Detectron2's."""
    return sorted(set(leaves(plugin_config())) - set(leaves(get_cfg())))


def leaves(node: CfgNode, path: str = "") -> Iterator[str]:
    """The dotted names of a config's keys."""
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}"
