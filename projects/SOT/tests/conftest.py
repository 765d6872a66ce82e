"""Made-up clips in every layout, written once."""

import pytest
from sot.data.made_clips import WRITERS, make_clips


@pytest.fixture(scope="session")
def clips():
    """Three clips of 12 frames, the second with an absence of 4 frames."""
    first, third = make_clips(1, frames=12), make_clips(1, frames=12, seed=7)
    (second,) = make_clips(1, frames=12, seed=3, absent=range(5, 9))
    named = [first[0], second, third[0]]
    return [type(clip)(f"rectangle-{n}", clip.frames, clip.boxes, clip.present) for n, clip in enumerate(named, 1)]


@pytest.fixture(scope="session")
def folders(clips, tmp_path_factory):
    """``folders[layout]``: the clips in that layout."""
    root = tmp_path_factory.mktemp("layouts")
    for layout in WRITERS.names():
        (root / layout).mkdir()
        WRITERS.get(layout)(root / layout, clips)
    return {layout: root / layout for layout in WRITERS.names()}
