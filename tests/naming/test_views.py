"""Which views of a track are looked at, kept, and forgotten."""

import numpy as np
import pytest

from effowt_d2.naming.views import TrackViews


def look(views, frame, budget=8, word=0):
    """One frame {id: quality}; the ids that were looked at."""
    ids = list(frame)
    chosen = [ids[place] for place in views.wanted(ids, list(frame.values()), budget)]
    for track_id in chosen:
        views.add(track_id, frame[track_id], np.eye(3)[word])
    views.forget_oldest()
    return chosen


def test_first_views_are_spread_over_the_tracks_life():
    views = TrackViews(limit=4)
    looks = [bool(look(views, {5: 10.0})) for _ in range(20)]
    assert np.flatnonzero(looks).tolist() == [0, 1, 3, 7]


def test_later_only_a_clearly_better_view_replaces_the_worst():
    views = TrackViews(limit=2)
    look(views, {5: 10.0}, word=0)
    look(views, {5: 20.0}, word=1)
    assert views.best()[5] == (1, pytest.approx(2 / 3))
    assert look(views, {5: 11.9}) == [] and look(views, {5: 5.0}) == []
    assert look(views, {5: 12.1}, word=1) == [5]
    assert views.best()[5] == (1, pytest.approx(1.0))  # the one of 10 is gone


def test_the_budget_goes_to_those_with_fewest_views_then_to_the_greatest_gain():
    views = TrackViews(limit=1)
    assert look(views, {1: 10.0, 2: 10.0}, budget=2) == [1, 2]
    assert look(views, {1: 30.0, 2: 40.0, 3: 1.0, 4: 2.0}, budget=3) == [2, 3, 4]
    assert look(views, {4: 5.0, 3: 2.0, 1: 30.0}, budget=1) == [1]
    # in the order of the ids, so that the tower sees the same batch whatever the order of the boxes
    assert look(TrackViews(limit=1), {9: 1.0, 3: 2.0, 4: 3.0}) == [3, 4, 9]


def test_what_cannot_be_seen_is_not_looked_at():
    views = TrackViews(limit=2)
    assert look(views, {1: 0.0, 2: -1.0}) == []
    assert views.best() == {1: (-1, 0.0), 2: (-1, 0.0)}


def test_old_tracks_keep_their_name_but_not_their_views():
    views = TrackViews(limit=2, tracks=3)
    for track_id in range(50):
        look(views, {track_id: 10.0}, word=2)
    assert len(views._tracks) == 3 and len(views.best()) == 50
    assert views.best()[0] == (2, 1.0)
    # one that comes back after so many others starts anew
    look(views, {0: 1.0}, word=1)
    assert views.best()[0] == (1, 1.0)


def test_the_worst_view_is_replaced_and_not_the_oldest():
    views = TrackViews(limit=2)
    look(views, {5: 20.0}, word=0)
    look(views, {5: 10.0}, word=1)
    assert look(views, {5: 12.1}, word=2) == [5]
    assert views.best()[5] == (0, pytest.approx(20 / 32.1))
