"""How the datasets differ in what counts for a frame without its target, in the scripts that published figures come from."""

from dataclasses import dataclass

from effowt_d2.utils.checks import check_choice

__all__ = ["RULES", "Rules", "find_rules"]


@dataclass(frozen=True)
class Rules:
    """What the ``pytracking`` convention does on a dataset with frames whose target is absent.

    An invalid box, and with ``flags`` a target that is flagged absent, is a miss for success and precision. For
    normalised precision it counts as a hit, an inheritance of the scripts, unless ``normalised_by_flag``: then it is a
    miss if the flag is absent, and errors are compared in float32, so that one of exactly 0.20 is a miss too.

    Attributes:
        flags: frames that are flagged absent count as such, whatever their box.
        normalised_by_flag: see above.
        precision_hits: absent frames are hits for precision, too.
        one_based: result files count pixels from 1.
        file_prefix: of result files.
    """

    flags: bool = False
    normalised_by_flag: bool = False
    precision_hits: bool = False
    one_based: bool = False
    file_prefix: str = ""


RULES = {
    "default": Rules(),
    "lasot": Rules(flags=True, normalised_by_flag=True, one_based=True),
    "lasot_ext": Rules(flags=True),
    "vasttrack": Rules(flags=True, normalised_by_flag=True, one_based=True),
    "uav123": Rules(precision_hits=True, file_prefix="uav_"),
}
"""Rules by dataset; what is not listed (GOT-10k, TrackingNet, TNL2K, OTB) follows "default"."""


def find_rules(name: str) -> Rules:
    """The rules of that name.

    Raises:
        ValueError: there are none; the message lists the names.
    """
    return RULES[check_choice("rules", name, RULES)]
