"""Sites: the frozen linear layers of a block by role, where adapters plug in, and the layers run with adapters.

A site may be a layer of its own or some rows of a fused one. Adapters of a block are given by role; each is a function
of the site's input whose result is added to the site's output.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from timm.layers import GluMlp, Mlp, SwiGLU
from torch import Tensor, nn

__all__ = [
    "NO_ADAPTERS",
    "ROLES",
    "Adapters",
    "Site",
    "fused_sites",
    "in_heads",
    "is_known_mlp",
    "mlp_sites",
    "out_of_heads",
    "run_fused",
    "run_mlp",
    "run_site",
    "site_of",
]

ROLES = ("q", "k", "v", "proj", "fc1", "fc2", "gate")
"""Roles of a block's sites, in the order in which they are walked."""

Adapters = Mapping[str, nn.Module]
NO_ADAPTERS: Adapters = {}


@dataclass(frozen=True)
class Site:
    """A linear layer, or rows of a fused one.

    Attributes:
        weight: (outputs, inputs) of the whole layer.
        bias: (rows,) of this site, None if it has none.
        rows: which of the weight's rows are the site's; None for all.
    """

    weight: nn.Parameter
    bias: Tensor | None = None
    rows: slice | None = None

    @property
    def matrix(self) -> Tensor:
        """The site's own part of the weight, not a copy."""
        return self.weight if self.rows is None else self.weight[self.rows]

    @property
    def in_features(self) -> int:
        return self.weight.shape[1]

    @property
    def out_features(self) -> int:
        return self.matrix.shape[0]


def site_of(layer: nn.Linear) -> Site:
    """The site of a layer that is one by itself."""
    return Site(layer.weight, layer.bias)


def fused_sites(weight: nn.Parameter, bias: Tensor | None) -> dict[str, Site]:
    """q, k and v of a fused layer (3 * d, d) with a fused bias (3 * d,), or None."""
    size = len(weight) // 3
    rows = {role: slice(number * size, (number + 1) * size) for number, role in enumerate("qkv")}
    return {role: Site(weight, None if bias is None else bias[part], part) for role, part in rows.items()}


def mlp_sites(mlp: nn.Module) -> dict[str, Site]:
    """Those of timm's MLPs; the packed gated one has its gate and its values in one site fc1."""
    if isinstance(mlp, SwiGLU):
        return {"fc1": site_of(mlp.fc1_x), "fc2": site_of(mlp.fc2), "gate": site_of(mlp.fc1_g)}
    return {"fc1": site_of(mlp.fc1), "fc2": site_of(mlp.fc2)}


def run_site(layer: nn.Module, x: Tensor, role: str, adapters: Adapters) -> Tensor:
    """A layer that is a site by itself."""
    y = layer(x)
    return y + adapters[role](x) if role in adapters else y


def run_fused(x: Tensor, weight: Tensor, bias: Tensor | None, adapters: Adapters) -> list[Tensor]:
    """q, k and v (B, L, d) each, of a fused layer: one matrix product, whatever is added to its parts."""
    parts = F.linear(x, weight, bias).chunk(3, dim=-1)
    return [y + adapters[role](x) if role in adapters else y for role, y in zip("qkv", parts)]


def run_mlp(mlp: nn.Module, x: Tensor, adapters: Adapters) -> Tensor:
    """timm's ``Mlp``, ``SwiGLU`` or ``GluMlp``."""
    if isinstance(mlp, SwiGLU):
        y = mlp.act(run_site(mlp.fc1_g, x, "gate", adapters)) * run_site(mlp.fc1_x, x, "fc1", adapters)
    elif isinstance(mlp, GluMlp):
        one, two = run_site(mlp.fc1, x, "fc1", adapters).chunk(2, dim=-1)
        y = one * mlp.act(two) if mlp.gate_last else mlp.act(one) * two
    else:
        y = mlp.act(run_site(mlp.fc1, x, "fc1", adapters))
    return mlp.drop2(run_site(mlp.fc2, mlp.norm(mlp.drop1(y)), "fc2", adapters))


def is_known_mlp(mlp: nn.Module) -> bool:
    """Whether :func:`run_mlp` can run it."""
    return isinstance(mlp, (Mlp, SwiGLU, GluMlp)) and isinstance(mlp.fc2, nn.Linear)


def in_heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, L, heads * c) to (B, heads, L, c), without a copy."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def out_of_heads(x: Tensor) -> Tensor:
    """(B, heads, L, c) to (B, L, heads * c)."""
    return x.transpose(1, 2).flatten(2)
