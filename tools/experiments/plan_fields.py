"""The fields of a plan's file and their types; see plan_file.py for their meaning."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

__all__ = ["ClaimFields", "GroupFields", "PlanFields", "VariantFields"]

Keys = dict[str, Any]  # of a config
Text = Annotated[str, Meta(min_length=1)]
Seeds = Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1, description="seeds are whole numbers from 0")]
Tries = Annotated[
    list[Annotated[Keys, Meta(min_length=1)]], Meta(min_length=1, description="each try is a mapping of config keys")
]


class SharedFields(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a variant has of its own or has of its group; null is a value, which a variant may have of its own."""

    config: Text | None | UnsetType = UNSET
    keys: Keys | None = None
    seeds: Seeds | None | UnsetType = UNSET
    rate_of: str | None | UnsetType = UNSET
    of: str | None | UnsetType = UNSET
    datasets: str | None | UnsetType = UNSET


class VariantFields(SharedFields, kw_only=True):
    """A variant, or the tries of a search."""

    search: Tries | UnsetType = UNSET


class GroupFields(SharedFields, kw_only=True):
    """A group; its variants and claims are checked one by one, so that a mistake is named by its place."""

    variants: Annotated[dict[str | int | float, Any], Meta(min_length=1)]
    about: str | None = None
    base: str | None = None
    claims: list[Any] | None = None


class ClaimFields(Struct, forbid_unknown_fields=True, kw_only=True):
    """A claim: ``higher`` and ``lower``, or ``equal``."""

    says: Text
    higher: str | None = None
    lower: str | None = None
    equal: tuple[str, str] | None = None


class PlanFields(Struct, forbid_unknown_fields=True, kw_only=True):
    """The file; its groups are checked one by one."""

    config: Text
    groups: Annotated[dict[str, Any], Meta(min_length=1)]
    keys: Keys | None = None
