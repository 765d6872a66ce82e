"""How much of a model trains, part by part."""

from collections import Counter

from torch import nn

from .optimizer import owned_parameters

__all__ = ["count_parameters", "format_parameters"]


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Numbers of parameters.

    Returns:
        The trained ones of each kind of part that has any ("side", "neck", "tower", "heads"); and "trained",
        "frozen", "total". "whole_tower" counts the tower's, trained or not, where the backbone has one.
    """
    counts = Counter()
    for owned in owned_parameters(model):
        counts[owned.kind] += owned.parameter.numel()
    trained = sum(counts.values())
    total = sum(parameter.numel() for parameter in model.parameters())
    counts.update(trained=trained, frozen=total - trained, total=total)
    tower = getattr(getattr(model, "backbone", None), "tower", None)
    if tower is not None:
        counts["whole_tower"] = sum(parameter.numel() for parameter in tower.parameters())
    return dict(counts)


def format_parameters(counts: dict[str, int]) -> str:
    """The counts as one line of text, with the ratios of what trains to the tower and to everything."""
    parts = [f"{kind} {counts[kind]:,}" for kind in ("side", "neck", "tower", "heads") if kind in counts]
    text = f"trained parameters {counts['trained']:,} ({', '.join(parts)}); frozen {counts['frozen']:,}"
    ratios = [f"trained / total {counts['trained'] / counts['total']:.3%}"]
    if tower := counts.get("whole_tower"):
        ratios.append(f"trained / tower {counts['trained'] / tower:.3%}")
        ratios.append(f"side / tower {counts.get('side', 0) / tower:.3%}")
    return f"{text}; {', '.join(ratios)}"
