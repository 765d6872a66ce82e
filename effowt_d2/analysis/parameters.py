"""Parameters of a model, by part, frozen and trained."""

from dataclasses import dataclass

from torch import nn

from effowt_d2.modeling.side import SideNetwork
from effowt_d2.modeling.tower import Tower

__all__ = ["PartCount", "count_parameters", "model_parts", "ratios"]

HEADS = {"proposal_generator": "RPN", "roi_heads": "cascade heads", "reid_head": "ReID"}


@dataclass(frozen=True)
class PartCount:
    """Parameters of one part."""

    frozen: int
    trained: int

    @property
    def total(self) -> int:
        return self.frozen + self.trained


def model_parts(model: nn.Module) -> dict[str, list[nn.Module]]:
    """The modules of each part: tower, what the strategy adds (the side network in detail, or a neck), and the heads.

    Args:
        model: a meta-architecture; one of Detectron2's with another backbone has a ``backbone`` part instead.

    Returns:
        Parts in the order of the data's way; together they need not hold all of the model.
    """
    parts = {"tower": [m for m in model.modules() if isinstance(m, Tower)]}
    sides = [m for m in model.modules() if isinstance(m, SideNetwork)]
    for side in sides:
        for name, modules in side.parts().items():
            parts.setdefault(f"side: {name}", []).extend(modules)
    if not parts["tower"]:
        parts = {"backbone": [model.backbone]}
    elif not sides:
        parts["neck"] = [model.backbone.strategy]
    parts.update((title, [getattr(model, name)]) for name, title in HEADS.items() if hasattr(model, name))
    return parts


def count_parameters(model: nn.Module) -> dict[str, PartCount]:
    """Parameters of each part of :func:`model_parts`, and of ``other`` where something is in none of them.

    A parameter that several parts share counts for the first.
    """
    counts, seen = {}, set()
    for name, modules in {**model_parts(model), "other": [model]}.items():
        fresh = {id(p): p for module in modules for p in module.parameters() if id(p) not in seen}
        seen.update(fresh)
        trained = sum(p.numel() for p in fresh.values() if p.requires_grad)
        counts[name] = PartCount(frozen=sum(p.numel() for p in fresh.values()) - trained, trained=trained)
    if not counts["other"].total:
        del counts["other"]
    return counts


def ratios(counts: dict[str, PartCount]) -> dict[str, float | None]:
    """The three ratios, as fractions.

    Args:
        counts: of :func:`count_parameters`.

    Returns:
        ``side/tower``, ``side/full model`` (backbone and heads), ``trained/total``; the first two are None for models
        without a side network.
    """
    total = sum(part.total for part in counts.values())
    side = sum(part.total for name, part in counts.items() if name.startswith("side: "))
    return {
        "side/tower": side / counts["tower"].total if side else None,
        "side/full model": side / total if side else None,
        "trained/total": sum(part.trained for part in counts.values()) / total,
    }
