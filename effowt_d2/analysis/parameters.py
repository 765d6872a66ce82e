"""Parameters of a model, by part, frozen and trained."""

from dataclasses import dataclass

from torch import nn

from effowt_d2.modeling.side import SideNetwork
from effowt_d2.modeling.tower import Tower

__all__ = ["PartCount", "count_parameters", "format_parameters", "model_parts", "ratios", "side_total"]

SIDE = "side: "
OTHER = "other"
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
    """The modules of each part: what is attached to a tower, tower, side network in detail, what else the backbone trains, and the heads.

    Args:
        model: a meta-architecture; one of Detectron2's with another backbone has a ``backbone`` part instead.

    Returns:
        Parts in the order of the data's way; together they need not hold all of the model.
    """
    towers = [m for m in model.modules() if isinstance(m, Tower)]
    # before the tower that they are in, so that they count for themselves
    parts: dict[str, list[nn.Module]] = {}
    for name, attached in (item for tower in towers for item in tower.attached_parts().items()):
        parts.setdefault(name, []).extend(attached)
    parts["tower"] = [*towers]
    for side in (m for m in model.modules() if isinstance(m, SideNetwork)):
        for name, modules in side.parts().items():
            parts.setdefault(f"{SIDE}{name}", []).extend(modules)
    backbone = getattr(model, "backbone", None)
    trained = backbone.trained_parts() if hasattr(backbone, "trained_parts") else []
    if not parts["tower"] and not trained:
        parts = {"backbone": [backbone]} if backbone is not None else {}
    seen = {id(p) for modules in parts.values() for module in modules for p in module.parameters()}
    for part in trained:
        fresh = [m for m in part.modules if any(id(p) not in seen for p in m.parameters())]
        if fresh:
            parts.setdefault(part.name, []).extend(fresh)
    parts.update((title, [getattr(model, name)]) for name, title in HEADS.items() if hasattr(model, name))
    return parts


def count_parameters(model: nn.Module) -> dict[str, PartCount]:
    """Parameters of each part of :func:`model_parts`, and of ``other`` where something is in none of them.

    A parameter that several parts share counts for the first.
    """
    counts, seen = {}, set()
    for name, modules in {**model_parts(model), OTHER: [model]}.items():
        fresh = {id(p): p for module in modules for p in module.parameters() if id(p) not in seen}
        seen.update(fresh)
        trained = sum(p.numel() for p in fresh.values() if p.requires_grad)
        counts[name] = PartCount(frozen=sum(p.numel() for p in fresh.values()) - trained, trained=trained)
    if not counts[OTHER].total:
        del counts[OTHER]
    return counts


def side_total(counts: dict[str, PartCount]) -> int:
    """Parameters of the side network; 0 without one."""
    return sum(part.total for name, part in counts.items() if name.startswith(SIDE))


def ratios(counts: dict[str, PartCount]) -> dict[str, float | None]:
    """The three ratios, as fractions.

    Args:
        counts: of :func:`count_parameters`.

    Returns:
        ``side/tower``, ``side/full model`` (backbone and heads), ``trained/total``; the first two are None for models
        without a side network.
    """
    total = sum(part.total for part in counts.values())
    side = side_total(counts)
    return {
        "side/tower": side / counts["tower"].total if side else None,
        "side/full model": side / total if side else None,
        "trained/total": sum(part.trained for part in counts.values()) / total,
    }


def format_parameters(counts: dict[str, PartCount]) -> str:
    """The counts of :func:`count_parameters` as one line of text: what trains by part, and the ratios."""
    trained = {name: part.trained for name, part in counts.items() if part.trained and not name.startswith(SIDE)}
    # a finished detector that something else is trained on has a frozen one
    if side := sum(part.trained for name, part in counts.items() if name.startswith(SIDE)):
        trained = {"side": side, **trained}
    parts = ", ".join(f"{name} {count:,}" for name, count in trained.items())
    fractions = [f"{name} {value:.3%}" for name, value in ratios(counts).items() if value is not None]
    frozen = sum(part.frozen for part in counts.values())
    return f"trained parameters {sum(trained.values()):,} ({parts}); frozen {frozen:,}; {', '.join(fractions)}"
