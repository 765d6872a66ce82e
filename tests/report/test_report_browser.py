"""The page in a real browser with no network: it opens, plays, sorts, filters. Run by `make browser`."""

import cv2
import numpy as np
import pytest
from helpers.browser import NAMES, Browser, find_browser
from helpers.made_runs import make_frame, three_tracks, write_report
from test_report_scores import make_gt, run_with_failures

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        find_browser() is None,
        reason=f"no browser: install Chromium or Chrome ({', '.join(NAMES)} on the PATH) or set CHROME_BIN",
    ),
]

EVIL = "</script><img src=x onerror=\"document.title='broken'\">"
ROWS = "[...document.querySelectorAll('#tracks tbody tr')].map(row => Number(row.dataset.track))"
LINES = "[...document.querySelectorAll('#timeline .life')].map(row => Number(row.dataset.track))"
FRAME = "Number(document.getElementById('scrub').value)"


@pytest.fixture
def browser(tmp_path_factory):
    with Browser(find_browser(), tmp_path_factory.mktemp("profile")) as browser:
        yield browser
        assert browser.errors == []
        asked = [address for address in browser.requests if not address.startswith(("file:", "data:", "about:"))]
        assert asked == [] and sum(address.startswith("file:") for address in browser.requests) >= 1


@pytest.fixture
def show(browser, tmp_path):
    def show(frames, **options):
        write_report(tmp_path / "r.html", frames, **options)
        browser.open(tmp_path / "r.html")
        browser.wait("document.getElementById('counter').textContent.startsWith('frame 1 of')")
        return browser

    return show


def color_at(browser, x: float, y: float) -> list[int]:
    """The canvas's colour at a point given in parts of its size."""
    return browser.evaluate(
        "(c => [...c.getContext('2d').getImageData("
        f"Math.round({x} * c.width), Math.round({y} * c.height), 1, 1)"
        ".data].slice(0, 3))(document.getElementById('canvas'))"
    )


def test_it_plays_at_the_speed_of_the_video_and_stops_at_the_end(show):
    browser = show(three_tracks(12))
    assert browser.evaluate(FRAME) == 0
    start = browser.evaluate("performance.now()")
    browser.click("#play")
    assert browser.evaluate("document.getElementById('play').textContent") == "Pause"
    browser.wait(f"{FRAME} >= 3")
    browser.wait("document.getElementById('play').textContent === 'Play'")
    spent = browser.evaluate("performance.now()") - start
    assert browser.evaluate(FRAME) == 11
    assert browser.evaluate("document.getElementById('counter').textContent") == "frame 12 of 12"
    # 12 frames at 10 a second
    assert 1100 < spent < 4000


def test_looped_it_begins_again_and_pauses_when_told(show):
    browser = show(three_tracks(6))
    browser.click("#loop")
    browser.click("#play")
    browser.wait(f"{FRAME} >= 4")
    browser.wait(f"{FRAME} <= 1")
    browser.click("#play")
    stopped = browser.evaluate(FRAME)
    browser.evaluate("new Promise(done => setTimeout(done, 400))")
    assert browser.evaluate(FRAME) == stopped


def test_keys_step_and_play(show):
    browser = show(three_tracks(12))
    for _ in range(3):
        browser.key("ArrowRight")
    browser.key("ArrowLeft")
    browser.wait(f"{FRAME} === 2")
    browser.key(" ")
    browser.wait(f"{FRAME} >= 5")


def test_frames_are_drawn_with_their_boxes_over_them(show):
    browser = show(three_tracks(12))
    colors = browser.evaluate("data.tracks.map(track => [track.id, track.color])")
    expected = {track: [int(color[place : place + 2], 16) for place in (1, 3, 5)] for track, color in colors}
    # track 7 of frame 0 reaches from (10, 10) to (40, 40) in 160 x 96 pixels, track 2 from (100, 50) to (120, 80)
    # edges are smoothed a little
    assert color_at(browser, 40 / 160, 30 / 96) == pytest.approx(expected[7], abs=16)
    assert color_at(browser, 120 / 160, 65 / 96) == pytest.approx(expected[2], abs=16)
    inside = color_at(browser, 25 / 160, 25 / 96)
    assert np.abs(np.array(inside) - ((90 + 37 * 7) % 160 + 95)).max() < 12
    browser.click("#boxes")
    assert color_at(browser, 40 / 160, 30 / 96) != pytest.approx(expected[7], abs=16)


def test_columns_sort_both_ways(show):
    browser = show(three_tracks(12, names=True))
    assert browser.evaluate(ROWS) == [2, 7, 5]
    for column, orders in {
        "frames": ([7, 2, 5], [5, 2, 7]),
        "score": ([7, 5, 2], [2, 5, 7]),
        "id": ([2, 5, 7], [7, 5, 2]),
        "name": ([2, 7, 5], [7, 2, 5]),
        "last": ([2, 5, 7], [2, 5, 7]),
    }.items():
        for order, direction in zip(orders, ("descending", "ascending")):
            browser.click(f"th[data-key={column}] button")
            if column in ("id", "name", "last"):
                direction = {"ascending": "descending", "descending": "ascending"}[direction]
            assert browser.evaluate(ROWS) == browser.evaluate(LINES) == order, column
            assert browser.evaluate("[...document.querySelectorAll('[aria-sort]')].map(e => e.ariaSort)") == [direction]


def test_filters_hold_for_table_timeline_and_picture(show):
    browser = show(three_tracks(12, names=True))
    on_line = (120 / 160, 65 / 96)
    with_box = color_at(browser, *on_line)
    for field, text, left in [
        ("text", "CUP", [7]),
        ("text", "2", [2]),
        ("least-frames", "11", [7]),
        ("least-score", "0.6", [7, 5]),
    ]:
        browser.type(f"#{field}", text)
        assert browser.evaluate(ROWS) == browser.evaluate(LINES) == left, (field, text)
        assert browser.evaluate("document.getElementById('shown').textContent") == f"{len(left)} of 3"
        assert (color_at(browser, *on_line) == with_box) == (2 in left)
        browser.click("#clear")
        assert browser.evaluate(ROWS) == [2, 7, 5]
    browser.type("#text", "nothing like it")
    assert browser.evaluate("document.querySelector('#tracks tbody').textContent") == "No track passes the filters."


def test_timeline_and_views_lead_to_their_moment(show):
    browser = show(three_tracks(12))
    browser.click(".life[data-track='7'] .bar", part=0.71)
    browser.wait(f"{FRAME} === 8")
    assert browser.evaluate("[...view.chosen]") == [7]
    browser.click(".life[data-track='5'] button")
    browser.wait(f"{FRAME} === 10")
    chosen = "[...document.querySelectorAll('tr.chosen, .life.chosen')].map(row => row.dataset.track)"
    assert browser.evaluate(chosen) == ["5", "5"]
    browser.evaluate("player.show(0)")
    browser.click("tr[data-track='2'] .views button:last-child")
    browser.wait(f"{FRAME} === Math.round(10 * view.tracks.get(2).views.at(-1).time)")
    # the parts are as long as the track was there: 4 and 6 of 12 frames with a gap of 2
    path = browser.evaluate("document.querySelector('.life[data-track=\"2\"] path:last-child').getAttribute('d')")
    assert path == "M0.00 5H333.33V15H0.00ZM500.00 5H1000V15H500.00Z"


def test_a_click_into_the_picture_chooses_the_track_there(show):
    browser = show(three_tracks(12))
    browser.evaluate("player.show(11)")
    browser.wait(f"{FRAME} === 11")
    # halfway down there is nothing at the left edge
    browser.click("#canvas", part=0.01)
    assert browser.evaluate("[...view.chosen]") == []
    place = browser.evaluate(
        "(r => [r.x, r.y, r.width, r.height])(document.getElementById('canvas').getBoundingClientRect())"
    )
    for kind in ("mousePressed", "mouseReleased"):
        x, y = place[0] + 70 / 160 * place[2], place[1] + 70 / 96 * place[3]
        browser.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, x=x, y=y)
    assert browser.evaluate("[...view.chosen]") == [5]


def test_scores_and_failures_are_shown(show, tmp_path):
    browser = show(run_with_failures(), gt=make_gt(tmp_path / "gt.json"))
    cells = browser.evaluate("[...document.querySelectorAll('#owta tbody tr')].map(row => row.innerText)")
    assert [cell.split()[:2] for cell in cells] == [["all", "3"], ["known", "1"], ["unknown", "2"]]
    told = browser.evaluate("[...document.querySelectorAll('.case p')].map(p => p.textContent)")
    assert told == ["object 3 (fox): missed in 6 of 8 frames", "object 2 (<b>owl</b>): 1 switch in 8 frames"]
    assert browser.evaluate("document.querySelectorAll('.case img').length") == 3


def test_text_from_outside_stays_text(show):
    frames = [make_frame(0, [(1, 5, 5, 30, 30, 0.5)], names=[EVIL], name=EVIL)]
    browser = show(frames, settings={"input": EVIL, EVIL: EVIL})
    assert browser.evaluate("document.title").startswith("Tracks: ")
    assert browser.evaluate("document.title") != "broken"
    assert browser.evaluate("document.querySelector('#settings tr:last-child td').textContent") == EVIL
    assert browser.evaluate("document.querySelector('td:nth-child(3)').textContent") == EVIL + " 0.75"


def test_no_tracks(show):
    browser = show([make_frame(t, []) for t in range(3)])
    assert browser.evaluate("document.querySelector('#tracks tbody').textContent") == "No object was tracked."
    browser.click("#play")
    browser.wait(f"{FRAME} === 2")


def test_a_thinned_video_plays_in_its_own_time(show):
    browser = show(three_tracks(30), max_bytes=60_000)
    shown, end = browser.evaluate("[data.times.length, data.end]")
    assert shown < 10 and end == 3.0
    assert browser.evaluate("document.getElementById('thinned').textContent").startswith(
        f"To keep this page small it shows {shown} of 30 frames"
    )
    path = "document.querySelector('.life[data-track=\"7\"] path:last-child').getAttribute('d')"
    assert browser.evaluate(path).startswith("M0.00 5H1000V15")
    browser.evaluate("player.speed = 2")
    start = browser.evaluate("performance.now()")
    browser.click("#play")
    browser.wait("document.getElementById('play').textContent === 'Play'")
    assert 1400 < browser.evaluate("performance.now()") - start < 4000


def test_a_thousand_tracks(show):
    frames = []
    for t in range(60):
        places = [(i, 4 * (i % 32), 3 * (i % 24)) for i in range(16 * t, 16 * t + 40)]
        frames.append(make_frame(t, [(i, x, y, x + 14, y + 14, 0.5) for i, x, y in places]))
    browser = show(frames)
    total = browser.evaluate("data.tracks.length")
    assert total == 59 * 16 + 40
    height = "document.querySelector('.now').offsetHeight"
    low = browser.evaluate(height)
    assert browser.evaluate(LINES) == browser.evaluate(ROWS) == list(range(200)) and total > 900
    browser.click("#more button")
    assert browser.evaluate(LINES) == browser.evaluate(ROWS) == list(range(400))
    # the mark of the moment reaches down to the last row
    assert browser.evaluate(height) > 1.9 * low
    assert browser.evaluate("(t => { sortBy('score'); return performance.now() - t; })(performance.now())") < 2000
    browser.type("#text", "977")
    assert browser.evaluate(ROWS) == [977]


@pytest.mark.parametrize("dark", [False, True])
def test_it_looks_like_something_by_day_and_night(tmp_path, dark):
    write_report(tmp_path / "r.html", three_tracks(12, names=True), gt=make_gt(tmp_path / "gt.json"))
    with Browser(find_browser(), tmp_path / "profile", dark) as browser:
        browser.open(tmp_path / "r.html")
        browser.wait("document.getElementById('counter').textContent !== ''")
        browser.screenshot(tmp_path / "page.png")
        assert browser.errors == []
    image = cv2.imread(str(tmp_path / "page.png"))
    assert image.shape[1] == 1200 and image.shape[0] > 900
    # the ground at the page's edge
    assert image[5, 5].max() < 40 if dark else image[5, 5].min() > 230
    assert len(np.unique(image[::4, ::4].reshape(-1, 3), axis=0)) > 500
