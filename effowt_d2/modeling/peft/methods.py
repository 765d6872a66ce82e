"""PEFT methods by name: what trains inside a tower."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from detectron2.config import CfgNode
from torch import nn

from effowt_d2.modeling.tower.sites import ROLES
from effowt_d2.modeling.tower.tower import Tower
from effowt_d2.utils.arguments import bad_argument, config_keys
from effowt_d2.utils.checks import check_choice
from effowt_d2.utils.registry import Registry

from .attach import PEFT, attach_adapters, check_free
from .dense_adapter import VARIANTS
from .lora import LoRA
from .tmoe import TMoE

__all__ = ["METHODS", "DenseAdapterMethod", "LoRAMethod", "PeftMethod", "TMoEMethod", "build_peft", "peft_keys"]


class PeftMethod:
    """Base of the methods, and the method ``none``: nothing inside the tower trains.

    Attributes:
        trains_base: the tensors that the tower was loaded with train, so that it is built unfrozen.
    """

    trains_base = False

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {}

    def apply(self, tower: Tower) -> None:
        """Attach what trains. The tower's own tensors stay as they are."""


METHODS: Registry[type[PeftMethod]] = Registry("PEFT methods", argument="method")
METHODS.register("none")(PeftMethod)


@METHODS.register("full")
class FullMethod(PeftMethod):
    """All of the tower trains."""

    trains_base = True


@METHODS.register("lora")
class LoRAMethod(PeftMethod):
    """A low-rank update at each site.

    Args:
        sites: roles, see ``ROLES``.
        adapter: arguments of the adapter, :class:`LoRA`.
    """

    name = "lora"
    adapter_type: type[nn.Module] = LoRA

    def __init__(self, *, sites: Sequence[str] = ROLES, **adapter: Any):
        self.sites = sites
        self.adapter = adapter

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        node = cfg.MODEL.PEFT
        return {
            "sites": list(node.SITES),
            "rank": node.RANK,
            "alpha": node.ALPHA,
            "scale_rule": node.SCALE_RULE,
            "dropout": node.DROPOUT,
            "init": node.INIT,
        }

    def apply(self, tower: Tower) -> None:
        """Attach the adapters.

        Raises:
            ValueError: see :func:`attach_adapters` and the adapter.
        """
        make = partial(self.adapter_type, **self.adapter)
        attach_adapters(tower, make, method=self.name, sites=self.sites)


@METHODS.register("tmoe")
class TMoEMethod(LoRAMethod):
    """A token-wise mixture of low-rank updates at each site, :class:`TMoE`."""

    name = "tmoe"
    adapter_type = TMoE

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        node = cfg.MODEL.PEFT.TMOE
        return {
            **super().from_config(cfg),
            "num_experts": node.NUM_EXPERTS,
            "route_compression": node.ROUTE_COMPRESSION,
            "ungated_expert": node.UNGATED_EXPERT,
        }


@METHODS.register("dense_adapter")
class DenseAdapterMethod(PeftMethod):
    """Bottlenecks beside the MLPs, linked from block to block, :class:`DenseAdapters`.

    Args:
        variant: ``paper`` or ``released``.
        dim: width of the bottlenecks.
        scale: factor of their outputs.
    """

    def __init__(self, *, variant: str = "paper", dim: int = 32, scale: float = 1.0):
        self.variant = check_choice("variant", variant, tuple(VARIANTS))
        self.dim = dim
        self.scale = scale

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        node = cfg.MODEL.PEFT.ADAPTER
        return {"variant": node.VARIANT, "dim": node.DIM, "scale": node.SCALE}

    def apply(self, tower: Tower) -> None:
        """Attach the adapters.

        Raises:
            ValueError: the tower has no MLPs of its own or other adapters, or a number is out of range.
        """
        check_free(tower)
        if not tower.sites(tower.blocks[0]):
            raise bad_argument(
                "method", f"dense_adapter stands beside the MLPs of transformer blocks, {tower.name} has none"
            )
        adapters = VARIANTS[self.variant](tower.embed_dim, tower.depth, dim=self.dim, scale=self.scale)
        tower.companions[PEFT] = adapters.to(next(tower.trunk.parameters()).device)
        tower.attached[PEFT] = {
            "method": "dense_adapter",
            "variant": self.variant,
            "dim": self.dim,
            "scale": adapters.scale,
        }


def build_peft(cfg: CfgNode, name: str) -> PeftMethod:
    """The method of that name, configured by ``MODEL.PEFT``.

    Raises:
        ValueError: the name is not registered.
    """
    with peft_keys():
        method = METHODS.get(name)
        return method(**method.from_config(cfg))


def peft_keys() -> AbstractContextManager:
    """Within, errors about arguments of methods get their config keys, as :func:`config_keys` gives them."""
    mixture = ("num_experts", "route_compression", "ungated_expert")
    adapter = ("variant", "dim", "scale")
    keys = {name: f"MODEL.PEFT.TMOE.{name.upper()}" for name in mixture}
    return config_keys("MODEL.PEFT", **keys, **{name: f"MODEL.PEFT.ADAPTER.{name.upper()}" for name in adapter})
