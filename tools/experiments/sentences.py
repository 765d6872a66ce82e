"""Verdicts and sentences computed from the numbers: a difference within its spread counts as none."""

from .plan import Claim, Group
from .summary import Difference, Summary

__all__ = [
    "KNOWN",
    "NOT_RUN",
    "STRATEGIES",
    "UNKNOWN",
    "ablation_differences",
    "ablations_sentence",
    "claim_verdict",
    "curves_sentence",
    "memory_sentence",
    "paired",
    "signed",
    "verdict",
]

UNKNOWN, KNOWN = "OWTA-unknown", "OWTA-known"
STRATEGIES = ("strategy/side", "strategy/full", "strategy/zero_shot")
NOT_RUN = "Not run yet."


def signed(value: float) -> str:
    """With one decimal and a sign; no negative zero."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def paired(difference: Difference | None) -> str:
    """Mean ± standard deviation (number of seeds) of a paired difference."""
    if difference is None:
        return "no common seed"
    sd = f" ±{difference.sd:.1f}" if difference.n > 1 else ""
    return f"{signed(difference.mean)}{sd} ({difference.n})"


def verdict(difference: Difference | None) -> str:
    """Whether the first of two configurations scores higher: "holds", "hint: holds", "no difference", ..."""
    if difference is None:
        return "not run"
    if difference.n == 1:
        return "one seed"
    if not difference.seen:
        return "no difference"
    text = "holds" if difference.mean > 0 else "does not hold"
    return text if difference.clear else f"hint: {text}"


def claim_verdict(summary: Summary, claim: Claim) -> tuple[str, str]:
    """Verdict on a claim of the paper, and the paired difference of unknown OWTA that it rests on."""
    difference = summary.difference(claim.first, claim.second, UNKNOWN)
    text = verdict(difference)
    if claim.equal and difference and difference.seen and difference.n > 1:
        # that none was seen does not show that there is none
        text = "does not hold" if difference.clear else "hint: does not hold"
    return text, paired(difference)


def curves_sentence(summary: Summary, group: Group) -> str:
    """Known and unknown OWTA gained over training."""
    parts = []
    for variant in group.variants:
        known, unknown = (summary.curve(variant.path, column) for column in (KNOWN, UNKNOWN))
        if len(known) < 2:
            continue
        first, last = min(known), max(known)
        gains = [signed(curve[last].mean - curve[first].mean) for curve in (known, unknown)]
        parts.append(f"{variant.path} {' / '.join(gains)} (n = {known[last].n})")
    if not parts:
        return NOT_RUN
    return f"OWTA gained from step {first} to {last}, known / unknown: {'; '.join(parts)}."


def memory_sentence(summary: Summary) -> str:
    """Training memory of the side network against full fine-tuning."""
    side, full = (summary.spread(path, "training_mib") for path in STRATEGIES[:2])
    if side is None or full is None:
        return NOT_RUN
    change = 100 * (side.mean / full.mean - 1)
    return f"Training memory: side {side.mean:.0f} MiB, full {full.mean:.0f} MiB ({change:+.0f} %)."


def ablations_sentence(summary: Summary, groups: list[Group]) -> str:
    """Which variants differ from their base by more than the spread."""
    found = ablation_differences(summary, groups)
    if not found:
        return NOT_RUN
    clear = [_entry(path, difference) for _, path, difference in found if difference.clear]
    hints = [_entry(path, difference) for _, path, difference in found if difference.seen and not difference.clear]
    same = len(found) - len(clear) - len(hints)
    return (
        f"Unknown OWTA against the base: {len(clear)} of {len(found)} differ{_listed(clear)}; "
        f"{len(hints)} hints{_listed(hints)}; {same} without a difference."
    )


def _entry(path: str, difference: Difference) -> str:
    return f"{path} {paired(difference)}"


def _listed(entries: list[str]) -> str:
    return f" ({', '.join(entries)})" if entries else ""


def ablation_differences(summary: Summary, groups: list[Group]) -> list[tuple[Group, str, Difference]]:
    """Unknown OWTA of each variant against its group's base, where both have been run."""
    found = []
    for group in groups:
        for variant in group.variants:
            difference = summary.difference(variant.path, group.base, UNKNOWN) if variant.path != group.base else None
            if difference:
                found.append((group, variant.path, difference))
    return found
