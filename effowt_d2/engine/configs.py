"""Configs from files and command-line keys, with errors that name the key."""

from collections.abc import Iterable, Sequence

from detectron2.config import CfgNode, get_cfg

from effowt_d2.config import add_effowt_config
from effowt_d2.data.datasets.registration import register_datasets
from effowt_d2.utils.imports import import_modules

from .config_files import find_config, module_names, read_config
from .settings import check_settings

__all__ = ["make_config", "merge_options"]


def make_config(source: str = "", options: Sequence = ()) -> CfgNode:
    """The defaults of Detectron2 and of this plugin, with a config file and ``KEY VALUE`` pairs on top.

    What ``IMPORTS`` names, in the file, its bases or the options, is imported first; a module that has an
    ``add_config(cfg)`` adds its keys with it. ``IMPORTS`` of the result names all of these modules. The datasets of
    ``DATA.REGISTER`` are registered.

    Args:
        source: a YAML file or a zoo name, see :func:`find_config`; "" for none.
        options: keys and values in turn.

    Raises:
        FileNotFoundError: there is no such file, or no such base.
        ValueError: the file is no mapping of keys or no UTF-8 text, or an unknown key, a value of the wrong type or
            outside its key's domain, a key without a value, a module that cannot be imported, or a dataset that
            cannot be registered; the text names it.
    """
    cfg = get_cfg()
    add_effowt_config(cfg)
    file = find_config(source) if source else ""
    loaded, imports = read_config(file) if file else (CfgNode(), [])
    _add_modules(cfg, (*imports, *_imports_of(options)))
    if loaded.get("VERSION", cfg.VERSION) != cfg.VERSION:
        raise ValueError(f"{file}: VERSION is {loaded.VERSION}, this Detectron2 has configs of version {cfg.VERSION}")
    try:
        cfg.merge_from_other_cfg(loaded)
    except (KeyError, AssertionError, ValueError) as error:
        raise ValueError(f"{file}: {_text(error)}") from error
    merge_options(cfg, options)
    return cfg


def merge_options(cfg: CfgNode, options: Sequence) -> None:
    """Put ``KEY VALUE`` pairs on top of a config, in place; modules are added to its ``IMPORTS``, not replaced.

    Args:
        cfg: a config with the keys of this plugin and of the modules in its ``IMPORTS``, which are imported too.
        options: keys and values in turn.

    Raises:
        ValueError: an unknown key, a value of the wrong type or outside its key's domain, a key without a value, or a
            module that cannot be imported; the text names it.
    """
    _add_modules(cfg, _imports_of(options))
    imports = cfg.IMPORTS
    try:
        cfg.merge_from_list(list(options))
    except (KeyError, AssertionError, ValueError) as error:
        raise ValueError(f"options: {_text(error)}") from error
    cfg.IMPORTS = imports
    check_settings(cfg)
    register_datasets(cfg)


def _add_modules(cfg: CfgNode, names: Iterable[str]) -> None:
    new = tuple(dict.fromkeys(name for name in names if name not in cfg.IMPORTS))
    import_modules(cfg.IMPORTS)
    for module in import_modules(new):
        if hasattr(module, "add_config"):
            module.add_config(cfg)
    cfg.IMPORTS = (*cfg.IMPORTS, *new)


def _imports_of(options: Sequence) -> list[str]:
    pairs = zip(options[::2], options[1::2])
    return [name for key, value in pairs if key == "IMPORTS" for name in module_names(value)]


def _text(error: Exception) -> str:
    # a KeyError quotes its text; the first argument of others may be a part of theirs only
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
