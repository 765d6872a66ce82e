"""Presets of the tracker, one per published association.

Every preset gives every setting, so choosing one never leaves a value to chance.
"""

import inspect

from effowt_d2.utils.arguments import bad_argument

from .tracker import Tracker

__all__ = ["PRESETS", "get_preset"]

# QDTrack and OVTrack on TAO, at about one frame a second: everything found may start a track
_TAO = {name: parameter.default for name, parameter in inspect.signature(Tracker).parameters.items()}

PRESETS: dict[str, dict] = {
    "tao": _TAO,
    # QDTrack on densely annotated video: high initial scores, backdrops against look-alikes
    "qdtrack": dict(_TAO, init_score=0.8, keep_score=0.5, backdrop_frames=1, max_overlap=0.7),
    # SimOWT, which associates like IDOL. Its second overlap limit (0.05) is for masks and skipped
    "simowt": dict(_TAO, init_score=0.2, keep_score=0.1, history=3, distractor_iou=1.0, max_overlap=0.5),
    # OWTB: half box overlap, half appearance. It warps boxes by optical flow; here the last box must do
    "owtb": dict(
        _TAO,
        match_score=0.1,
        memory_frames=1,
        momentum=1.0,
        distractor_iou=1.0,
        appearance="cosine",
        assignment="hungarian",
        iou_weight=0.5,
    ),
}


def get_preset(name: str) -> dict:
    """A copy of the settings of a preset; ValueError naming the known ones if there is no such preset."""
    if name not in PRESETS:
        raise bad_argument("name", f"is the unknown tracker preset {name!r}; known presets: {', '.join(PRESETS)}")
    return dict(PRESETS[name])
