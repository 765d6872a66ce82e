"""The values of a config against the domains of their keys."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from detectron2.config import CfgNode, get_cfg

from effowt_d2.utils.domains import Domain, domain_like

from .key_domains import DOMAINS

__all__ = ["check_settings", "leaves"]


def check_settings(cfg: CfgNode) -> None:
    """Check every value of a config: type, range and allowed values.

    Keys of Detectron2 and of projects that :data:`DOMAINS` doesn't have keep the type of their default; no number may
    be infinite or NaN, and only a key whose default is None may be None.

    Raises:
        ValueError: names the key, its value and what it may be.
    """
    for key, value in leaves(cfg):
        domain = DOMAINS.get(key) or _detectron2_domains().get(key) or domain_like(value)
        if not domain.holds(value):
            raise ValueError(f"{key} must be {domain}, got {value!r}")


def leaves(cfg: CfgNode, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Full keys and values."""
    for name, value in cfg.items():
        if isinstance(value, CfgNode):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@cache
def _detectron2_domains() -> dict[str, Domain]:
    return {key: domain_like(value) for key, value in leaves(get_cfg())}
