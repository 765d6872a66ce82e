"""What keeps a report small however long the video: frames thinned out, parts closed, views dropped."""

import tracemalloc

import pytest
from helpers.made_runs import make_frame, write_report

from effowt_d2.report import ReportWriter
from effowt_d2.report.spool import Spool
from effowt_d2.report.track_records import TrackRecord, TrackRecords


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 100, 257])
def test_a_spool_keeps_every_nth_line_within_its_budget(tmp_path, count):
    spool = Spool(tmp_path, 200)
    for position in range(count):
        if spool.accepts(position):
            spool.add(f"{position:04d}".encode() * (1 + position % 5), position / 10)
    kept = [int(line[:4]) for line in spool]
    assert kept == list(range(0, count, spool.stride)) == [round(10 * time) for time in spool.times]
    assert [spool.line(place) for place in range(len(spool))] == list(spool)
    sizes = [4 * (1 + position % 5) for position in kept]
    assert sum(sizes) <= 200
    # no thinner than needed: with half the stride it would have been too much at some time
    assert spool.stride == 1 or sum(4 * (1 + p % 5) for p in range(0, count, spool.stride // 2)) > 200
    assert list(tmp_path.iterdir()) == []


def test_one_line_is_kept_whatever_its_size(tmp_path):
    spool = Spool(tmp_path, 10)
    for position in range(5):
        if spool.accepts(position):
            spool.add(b"x" * 100, 0.0)
    assert list(spool) == [b"x" * 100] and spool.stride == 8


def test_a_long_video_is_thinned_evenly_and_its_page_reports_it(tmp_path):
    frames = (make_frame(t, [(1, 10, 10, 30, 30, 0.5)] if t != 51 else []) for t in range(100))
    page = write_report(tmp_path / "r.html", frames, max_bytes=150_000)
    stride = page.data["stride"]
    assert stride in (4, 8, 16)
    assert [frame["index"] for frame in page.frames] == list(range(0, 100, stride))
    assert (page.data["frames"], page.data["end"]) == (100, 10.0)
    # counted in all frames, those not shown too
    assert (page.track(1)["frames"], page.track(1)["gaps"]) == (99, 1)
    assert len(page.film) * 4 / 3 <= 150_000 and len(page.pictures()) == len(page.frames)
    assert [time for time, _ in page.pictures()] == pytest.approx([frame["time"] for frame in page.frames])


def test_a_track_that_flickers_is_remembered_coarsely_but_counted_exactly():
    life = TrackRecord(1, first=0)
    for position in range(0, 10_000, 2):
        # each hundredth gap is long
        life.see(position, position, position + 50 * (position // 200), 0.5)
    assert life.gaps == 4999 and life.frames == 5000 and len(life.parts) <= 200
    assert life.parts[0][0] == 0 and life.parts[-1][1] == 9998 + 50 * 49
    long_gaps = {(198 + 250 * k, 200 + 250 * k + 50) for k in range(49)}
    gaps = {(a[1], b[0]) for a, b in zip(life.parts, life.parts[1:])}
    assert long_gaps <= gaps


def test_views_of_all_tracks_stay_within_their_budget_and_the_best_tracks_keep_theirs():
    lives = TrackRecords(60_000)
    for position in range(120):
        # one track stays, others come and go
        rows = [(0, 10, 10, 60 + position % 9, 60, 0.9), (1 + position // 2, 80, 20, 130, 70, 0.4)]
        lives.update(position, make_frame(position, rows))
        assert sum(len(view.jpeg) for life in lives for view in life.views) <= 60_000 + 4 * 8_000
    assert len(lives) == 61 and lives.without_views > 0
    assert len(next(iter(lives)).views) == 4
    assert sum(not life.views for life in lives) >= 10


def test_memory_does_not_grow_with_the_video(tmp_path):
    def peak(count):
        tracemalloc.start()
        # a new track every ten frames
        with ReportWriter(tmp_path / "r.html", fps=10.0, settings={}, max_bytes=100_000) as report:
            for t in range(count):
                report.write(make_frame(t, [(t // 10, 10, 10, 80, 80, 0.5)]))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(20)
    short, long = peak(150), peak(900)
    # what is left of a track without views: one kilobyte for each of 75; and the film, in memory once for the page
    assert long < short + 75_000 + 60_000, (short, long)
