"""What the numbers say, in words that follow from them: a difference within its spread is none."""

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
    "compare",
    "curves_sentence",
    "memory_sentence",
    "signed",
]

UNKNOWN, KNOWN = "OWTA-unknown", "OWTA-known"
STRATEGIES = ("strategy/side", "strategy/full", "strategy/zero_shot")
NOT_RUN = "Not run yet."


def signed(value: float) -> str:
    """With one decimal and a sign; no negative zero."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def basis(difference: Difference) -> str:
    """What a difference rests on."""
    if difference.n == 1:
        return "one seed, no spread"
    return f"paired, n = {difference.n}, sd {difference.sd:.1f}"


def compare(first: str, second: str, difference: Difference | None) -> str:
    """First against second on unknown classes, as a clause."""
    if difference is None:
        return f"{first} and {second} have not been run with the same seed"
    if not difference.seen:
        size = f"{signed(difference.mean)}, {basis(difference)}"
        return f"no difference seen between {first} and {second} on unknown ({size})"
    direction = "above" if difference.mean > 0 else "below"
    doubt = "" if difference.clear else ", no more than a hint"
    return f"{first} is {abs(difference.mean):.1f} {direction} {second} on unknown ({basis(difference)}){doubt}"


def claim_verdict(summary: Summary, claim: Claim) -> tuple[str, str]:
    """What is to be said of a claim ("holds here", "does not hold here", ...), and the comparison in words."""
    difference = summary.difference(claim.first, claim.second, UNKNOWN)
    text = compare(claim.first, claim.second, difference)
    if difference is None:
        return "not run", text
    if difference.n == 1:
        return "not shown by one seed", text
    if claim.equal:
        if not difference.seen:
            return "holds here, within this spread", text
        return "does not hold here" if difference.clear else "a hint that it does not hold here", text
    if not difference.seen:
        return "does not show here", text
    verdict = "holds here" if difference.mean > 0 else "does not hold here"
    return verdict if difference.clear else f"a hint that it {verdict}", text


def curves_sentence(summary: Summary, group: Group) -> str:
    """Known against unknown OWTA over training."""
    parts = []
    for variant in group.variants:
        known, unknown = (summary.curve(variant.path, column) for column in (KNOWN, UNKNOWN))
        if len(known) < 2:
            continue
        first, last = min(known), max(known)
        gains = [signed(curve[last].mean - curve[first].mean) for curve in (known, unknown)]
        parts.append(f"{variant.path} {gains[0]} on known and {gains[1]} on unknown (n = {known[last].n})")
    if not parts:
        return NOT_RUN
    return f"From the evaluation after {first} steps to the one after {last}, mean OWTA changes: {'; '.join(parts)}."


def memory_sentence(summary: Summary) -> str:
    """Training memory against unknown OWTA."""
    memory = {path: summary.spread(path, "training_mib") for path in STRATEGIES}
    side, full = memory[STRATEGIES[0]], memory[STRATEGIES[1]]
    if side is None or full is None:
        return NOT_RUN
    share = 100 * (1 - side.mean / full.mean)
    saved = f"{share:.0f} % less memory" if share >= 0 else f"{-share:.0f} % more memory"
    text = compare("strategy/side", "strategy/full", summary.difference(*STRATEGIES[:2], UNKNOWN))
    sizes = f"{side.mean:.0f} and {full.mean:.0f} MiB"
    return f"On this small tower side trains with {saved} than full ({sizes}), and {text}."


def ablations_sentence(summary: Summary, groups: list[Group]) -> str:
    """Which variants differ from their base by more than the spread."""
    found = ablation_differences(summary, groups)
    if not found:
        return NOT_RUN
    clear = [_entry(path, difference) for _, path, difference in found if difference.clear]
    hints = [_entry(path, difference) for _, path, difference in found if difference.seen and not difference.clear]
    same = len(found) - len(clear) - len(hints)
    return (
        f"Clearly different from their base on unknown: {len(clear)} of {len(found)}{_listed(clear)}; "
        f"a hint of a difference: {len(hints)}{_listed(hints)}; no difference seen: {same}."
    )


def _entry(path: str, difference: Difference) -> str:
    return f"{path} {signed(difference.mean)} [n = {difference.n}, sd {difference.sd:.1f}]"


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
