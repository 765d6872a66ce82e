"""The plan of the experiments as the runner and the results use it; plan_file.py reads it."""

from dataclasses import dataclass, field

__all__ = ["Claim", "Group", "Plan", "PlanError", "Variant"]


class PlanError(ValueError):
    """The plan is invalid; the message locates the fault."""


@dataclass(frozen=True)
class Variant:
    """One configuration of a group, run with each of its seeds.

    ``config`` is None where the plan's own counts, and for those that evaluate another variant's models (``of``).
    """

    group: str
    name: str
    config: str | None = None
    keys: dict = field(default_factory=dict)
    seeds: tuple[int, ...] = (1,)
    rate_of: str = ""
    of: str = ""
    datasets: str = ""
    search: str = ""
    """Name of the search that this is one try of, GROUP/NAME."""
    tried: dict = field(default_factory=dict)
    """What the try sets: the keys that ``rate_of`` hands on."""

    @property
    def path(self) -> str:
        return f"{self.group}/{self.name}"


@dataclass(frozen=True)
class Claim:
    """That one variant scores higher on unknown classes than another, or not lower and not higher (``equal``)."""

    says: str
    first: str
    second: str
    equal: bool


@dataclass(frozen=True)
class Group:
    """Variants that share a table."""

    name: str
    about: str
    base: str
    """The variant that the others are compared with, GROUP/NAME; "" for none."""
    variants: tuple[Variant, ...]
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True)
class Plan:
    """All of it, in the order of the file."""

    file: str
    config: str
    keys: dict
    groups: tuple[Group, ...]

    @property
    def variants(self) -> dict[str, Variant]:
        """By path, GROUP/NAME."""
        return {variant.path: variant for group in self.groups for variant in group.variants}

    def tries(self, search: str) -> list[Variant]:
        """The tries of a search, GROUP/NAME."""
        return [variant for variant in self.variants.values() if variant.search == search]
