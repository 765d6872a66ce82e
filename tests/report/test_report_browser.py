"""The page in a real browser with no network: it opens, plays, sorts, filters. Run by `make browser`."""

import csv

import cv2
import numpy as np
import pytest
from helpers.browser import click_at, open_browser, open_page, wait_for
from helpers.made_runs import make_frame, three_tracks, write_report
from helpers.made_truth import make_gt, run_with_failures

pytestmark = pytest.mark.browser

EVIL = "</script><img src=x onerror=\"document.title='broken'\">"
ROWS = "[...document.querySelectorAll('#tracks tbody tr')].map(row => Number(row.dataset.track))"
LINES = "[...document.querySelectorAll('#timeline .life')].map(row => Number(row.dataset.track))"
FRAME = "Number(document.getElementById('scrub').value)"


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture
def show(browser, tmp_path):
    """show(frames, options of the report): a page that shows them, once it has loaded."""
    with open_page(browser) as page:

        def show(frames, **options):
            write_report(tmp_path / "r.html", frames, **options)
            page.goto((tmp_path / "r.html").as_uri())
            wait_for(page, "document.getElementById('counter').textContent.startsWith('frame 1 of')")
            return page

        yield show


def colors_near(page, x: float, y: float, reach: int = 2) -> np.ndarray:
    """(N, 3) RGB of the canvas around a point given in fractions of its size; edges are smoothed over some pixels."""
    data = page.evaluate(
        f"""(c => [...c.getContext('2d').getImageData(
            Math.round({x} * c.width) - {reach}, Math.round({y} * c.height) - {reach},
            {2 * reach + 1}, {2 * reach + 1}).data])(document.getElementById('canvas'))"""
    )
    return np.array(data).reshape(-1, 4)[:, :3]


def is_near(page, x: float, y: float, color: list[int]) -> bool:
    """Whether a pixel around a point has a color."""
    return bool((np.abs(colors_near(page, x, y) - color).max(axis=1) <= 16).any())


def test_it_plays_at_the_speed_of_the_video_and_stops_at_the_end(show):
    page = show(three_tracks(12))
    assert page.evaluate(FRAME) == 0
    start = page.evaluate("performance.now()")
    page.click("#play")
    assert page.evaluate("document.getElementById('play').textContent") == "Pause"
    wait_for(page, f"{FRAME} >= 3")
    wait_for(page, "document.getElementById('play').textContent === 'Play'")
    spent = page.evaluate("performance.now()") - start
    assert page.evaluate(FRAME) == 11
    assert page.evaluate("document.getElementById('counter').textContent") == "frame 12 of 12"
    # 12 frames at 10 a second
    assert 1100 < spent < 4000


def test_looped_it_begins_again_and_pauses_on_request(show):
    page = show(three_tracks(6))
    page.click("#loop")
    page.click("#play")
    wait_for(page, f"{FRAME} >= 4")
    wait_for(page, f"{FRAME} <= 1")
    page.click("#play")
    stopped = page.evaluate(FRAME)
    page.evaluate("new Promise(done => setTimeout(done, 400))")
    assert page.evaluate(FRAME) == stopped


def test_keys_step_and_play(show):
    page = show(three_tracks(12))
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    wait_for(page, f"{FRAME} === 2")
    page.keyboard.press(" ")
    wait_for(page, f"{FRAME} >= 5")


def test_frames_are_drawn_with_their_boxes_over_them(show):
    page = show(three_tracks(12))
    colors = page.evaluate("data.tracks.map(track => [track.id, track.color])")
    expected = {track: [int(color[place : place + 2], 16) for place in (1, 3, 5)] for track, color in colors}
    # track 7 of frame 0 reaches from (10, 10) to (40, 40) in 160 x 96 pixels, track 2 from (100, 50) to (120, 80)
    assert is_near(page, 40 / 160, 30 / 96, expected[7]) and is_near(page, 120 / 160, 65 / 96, expected[2])
    inside = colors_near(page, 25 / 160, 25 / 96)
    assert np.abs(inside - ((90 + 37 * 7) % 160 + 95)).max() < 12
    page.click("#boxes")
    assert not is_near(page, 40 / 160, 30 / 96, expected[7])


def test_every_frame_is_shown_at_its_time(show):
    frames = [make_frame(t, [(1, 0, 0, 160, 96, 0.5)]) for t in range(10)]
    for t, tracks in enumerate(frames):
        tracks.image[:] = 20 + 20 * t
        # a rate that varies
        tracks.time = t * t / 20
    page = show(frames)
    page.click("#boxes")
    for t in (0, 5, 6, 9, 3):
        page.evaluate(f"player.show({t})")
        wait_for(page, f"{FRAME} === {t}")
        assert np.abs(colors_near(page, 0.5, 0.5).astype(int) - (20 + 20 * t)).max() <= 6


def test_labels_avoid_each_other(show):
    # five boxes at nearly the same place
    page = show(
        [make_frame(0, [(n, 60 + n, 40 + n, 90 + n, 60 + n, 0.5 + n / 20) for n in range(5)], names=["dog"] * 5)]
    )
    plates = page.evaluate("view.plates")
    assert len(plates) == 5
    for number, (left, top, width, height) in enumerate(plates):
        for x, y, w, h in plates[:number]:
            assert left >= x + w - 1 or x >= left + width - 1 or top >= y + h - 1 or y >= top + height - 1
    assert page.evaluate("labelText(data.tracks[0], 0.5)") == "0 dog 75% 0.50"


def test_the_table_is_there_as_csv(show, tmp_path):
    page = show(three_tracks(12, names=True))
    page.fill("#least-score", "0.6")
    with page.expect_download() as started:
        page.click("#csv")
    started.value.save_as(tmp_path / "tracks.csv")
    assert started.value.suggested_filename == "clip.mp4.csv"
    with open(tmp_path / "tracks.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["track_id"], row["name"], row["name_score"]) for row in rows] == [
        ("7", "red <b>cup</b>", "0.75"),
        ("5", "", ""),
    ]
    assert [(float(row["from"]), float(row["to"]), row["frames"]) for row in rows] == [(0, 1.2, "12"), (1.0, 1.2, "2")]


def test_descriptions_are_a_column(show, tmp_path):
    said = {
        "time": 0.4,
        "text": "a <b>red</b> cup",
        "image_tokens": 576,
        "kept_tokens": 45,
        "tokens": 6,
        "seconds": 1.25,
    }
    page = show(three_tracks(12), descriptions={7: [said, {**said, "text": "a cup"}]})
    cells = page.evaluate("[...document.querySelectorAll('#tracks td.said')].map(cell => cell.textContent)")
    (described,) = [text for text in cells if text]
    assert len(cells) == 3 and described.startswith("a <b>red</b> cup") and "a cup" in described
    assert all(number in described for number in ("6 tokens", "576", "45", "1.3 s"))
    page.fill("#text", "red")
    assert page.evaluate(ROWS) == [7]
    with page.expect_download() as started:
        page.click("#csv")
    started.value.save_as(tmp_path / "tracks.csv")
    with open(tmp_path / "tracks.csv", newline="", encoding="utf-8") as file:
        assert [row["description"] for row in csv.DictReader(file)] == ["a <b>red</b> cup / a cup"]
    page = show(three_tracks(12))
    assert not page.evaluate("document.querySelectorAll('#tracks td.said').length")


def test_columns_sort_both_ways(show):
    page = show(three_tracks(12, names=True))
    assert page.evaluate(ROWS) == [2, 7, 5]
    for column, orders in {
        "frames": ([7, 2, 5], [5, 2, 7]),
        "score": ([7, 5, 2], [2, 5, 7]),
        "id": ([2, 5, 7], [7, 5, 2]),
        "name": ([2, 7, 5], [7, 2, 5]),
        "last": ([2, 5, 7], [2, 5, 7]),
    }.items():
        for order, direction in zip(orders, ("descending", "ascending")):
            page.click(f"th[data-key={column}] button")
            if column in ("id", "name", "last"):
                direction = {"ascending": "descending", "descending": "ascending"}[direction]
            assert page.evaluate(ROWS) == page.evaluate(LINES) == order, column
            assert page.evaluate("[...document.querySelectorAll('[aria-sort]')].map(e => e.ariaSort)") == [direction]


def test_filters_hold_for_table_timeline_and_image(show):
    page = show(three_tracks(12, names=True))
    on_line = (120 / 160, 65 / 96)
    with_box = colors_near(page, *on_line)
    for field, text, left in [
        ("text", "CUP", [7]),
        ("text", "2", [2]),
        ("least-frames", "11", [7]),
        ("least-score", "0.6", [7, 5]),
    ]:
        page.fill(f"#{field}", text)
        assert page.evaluate(ROWS) == page.evaluate(LINES) == left, (field, text)
        assert page.evaluate("document.getElementById('shown').textContent") == f"{len(left)} of 3"
        assert np.array_equal(colors_near(page, *on_line), with_box) == (2 in left)
        page.click("#clear")
        assert page.evaluate(ROWS) == [2, 7, 5]
    page.fill("#text", "nothing like it")
    assert page.evaluate("document.querySelector('#tracks tbody').textContent") == "No track passes the filters."


def test_timeline_and_views_lead_to_their_moment(show):
    page = show(three_tracks(12))
    click_at(page, ".life[data-track='7'] .bar", 0.71)
    wait_for(page, f"{FRAME} === 8")
    assert page.evaluate("[...view.chosen]") == [7]
    page.click(".life[data-track='5'] button")
    wait_for(page, f"{FRAME} === 10")
    chosen = "[...document.querySelectorAll('tr.chosen, .life.chosen')].map(row => row.dataset.track)"
    assert page.evaluate(chosen) == ["5", "5"]
    page.evaluate("player.show(0)")
    page.click("tr[data-track='2'] .views button:last-child")
    wait_for(page, f"{FRAME} === Math.round(10 * view.tracks.get(2).views.at(-1).time)")
    # the parts are as long as the track was there: 4 and 6 of 12 frames with a gap of 2
    path = page.evaluate("document.querySelector('.life[data-track=\"2\"] path:last-child').getAttribute('d')")
    assert path == "M0.00 5H333.33V15H0.00ZM500.00 5H1000V15H500.00Z"


def test_a_click_into_the_image_chooses_the_track_there(show):
    page = show(three_tracks(12))
    page.evaluate("player.show(11)")
    wait_for(page, f"{FRAME} === 11")
    # halfway down there is nothing at the left edge
    click_at(page, "#canvas", 0.01)
    assert page.evaluate("[...view.chosen]") == []
    click_at(page, "#canvas", 70 / 160, 70 / 96)
    assert page.evaluate("[...view.chosen]") == [5]


def test_scores_and_failures_are_shown(show, tmp_path):
    page = show(run_with_failures(), gt=make_gt(tmp_path / "gt.json"))
    cells = page.evaluate("[...document.querySelectorAll('#owta tbody tr')].map(row => row.innerText)")
    assert [cell.split()[:2] for cell in cells] == [["all", "3"], ["known", "1"], ["unknown", "2"]]
    captions = page.evaluate("[...document.querySelectorAll('.case p')].map(p => p.textContent)")
    assert captions == ["object 3 (fox): missed in 6 of 8 frames", "object 2 (<b>owl</b>): 1 switch in 8 frames"]
    assert page.evaluate("document.querySelectorAll('.case img').length") == 3


def test_text_from_outside_stays_text(show):
    frames = [make_frame(0, [(1, 5, 5, 30, 30, 0.5)], names=[EVIL], name=EVIL)]
    page = show(frames, settings={"input": EVIL, EVIL: EVIL})
    assert page.evaluate("document.title").startswith("Tracks: ")
    assert page.evaluate("document.title") != "broken"
    assert page.evaluate("document.querySelector('#settings tr:last-child td').textContent") == EVIL
    assert page.evaluate("document.querySelector('td:nth-child(3)').textContent") == EVIL + " 75%"


def test_no_tracks(show):
    page = show([make_frame(t, []) for t in range(3)])
    assert page.evaluate("document.querySelector('#tracks tbody').textContent") == "No object was tracked."
    page.click("#play")
    wait_for(page, f"{FRAME} === 2")


def test_a_thinned_video_plays_in_its_own_time(show):
    page = show(three_tracks(30), max_bytes=60_000)
    shown, end = page.evaluate("[data.times.length, data.end]")
    assert shown < 10 and end == 3.0
    assert page.evaluate("document.getElementById('thinned').textContent").startswith(
        f"To keep this page small it shows {shown} of 30 frames"
    )
    path = "document.querySelector('.life[data-track=\"7\"] path:last-child').getAttribute('d')"
    assert page.evaluate(path).startswith("M0.00 5H1000V15")
    page.evaluate("player.speed = 2")
    start = page.evaluate("performance.now()")
    page.click("#play")
    wait_for(page, "document.getElementById('play').textContent === 'Play'")
    assert 1400 < page.evaluate("performance.now()") - start < 4000


def test_a_thousand_tracks(show):
    frames = []
    for t in range(60):
        places = [(i, 4 * (i % 32), 3 * (i % 24)) for i in range(16 * t, 16 * t + 40)]
        frames.append(make_frame(t, [(i, x, y, x + 14, y + 14, 0.5) for i, x, y in places]))
    page = show(frames)
    total = page.evaluate("data.tracks.length")
    assert total == 59 * 16 + 40
    height = "document.querySelector('.now').offsetHeight"
    low = page.evaluate(height)
    assert page.evaluate(LINES) == page.evaluate(ROWS) == list(range(200)) and total > 900
    page.click("#more button")
    assert page.evaluate(LINES) == page.evaluate(ROWS) == list(range(400))
    # the mark of the moment reaches down to the last row
    assert page.evaluate(height) > 1.9 * low
    assert page.evaluate("(t => { sortBy('score'); return performance.now() - t; })(performance.now())") < 2000
    page.fill("#text", "977")
    assert page.evaluate(ROWS) == [977]


@pytest.mark.parametrize("dark", [False, True])
def test_it_looks_like_something_by_day_and_night(browser, tmp_path, dark):
    write_report(tmp_path / "r.html", three_tracks(12, names=True), gt=make_gt(tmp_path / "gt.json"))
    with open_page(browser, dark) as page:
        page.goto((tmp_path / "r.html").as_uri())
        wait_for(page, "document.getElementById('counter').textContent !== ''")
        page.screenshot(path=tmp_path / "page.png", full_page=True)
    image = cv2.imread(str(tmp_path / "page.png"))
    assert image.shape[1] == 1200 and image.shape[0] > 900
    # the ground at the page's edge
    assert image[5, 5].max() < 40 if dark else image[5, 5].min() > 230
    assert len(np.unique(image[::4, ::4].reshape(-1, 3), axis=0)) > 500
