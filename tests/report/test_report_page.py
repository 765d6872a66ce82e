"""The page's data and structure, as an HTML and a JSON parser see them."""

import re
import shutil
import subprocess
from contextlib import ExitStack

import numpy as np
import pytest
from helpers.full_disk import no_file_above
from helpers.made_runs import SIZE, Page, make_frame, three_tracks, write_report
from helpers.made_truth import make_gt
from helpers.messages import raises

from effowt_d2.report import ReportWriter
from effowt_d2.report.image_crops import decode
from effowt_d2.report.page import ASSETS, SCRIPTS
from effowt_d2.visualization import track_color

EVIL = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> & \" ' \u2028 ümlaut \udcff"


def test_a_page_holds_every_frame_with_its_boxes_in_the_pixels_of_its_film(tmp_path):
    page = write_report(tmp_path / "r.html", three_tracks())
    pictures = page.pictures()
    assert [time for time, _ in pictures] == pytest.approx([t / 10 for t in range(12)])
    assert page.data["size"] == list(SIZE)
    assert len(page.frames) == page.data["frames"] == len(page.data["times"]) == 12
    assert page.data["stride"] == 1 and page.data["boxes"] == 24 and page.data["most"] == 3
    for t, frame in enumerate(page.frames):
        assert (frame["index"], frame["time"], frame["name"]) == (t, pytest.approx(t / 10), f"clip:{t:06d}")
        image = pictures[t][1]
        assert image.shape == (SIZE[1], SIZE[0], 3)
        # the surest is drawn last
        assert frame["boxes"][-1] == [7, 10 + 4 * t, 10, 40 + 4 * t, 40, 0.9]
        # the picture is of the frame, before anything was drawn on it
        assert abs(image[25, 25 + 4 * t].astype(int) - ((90 + 37 * 7) % 160 + 95)).max() < 20
    assert [file.name for file in tmp_path.iterdir()] == ["r.html"]


def test_large_frames_are_scaled_down_and_their_boxes_with_them(tmp_path):
    page = write_report(tmp_path / "r.html", [make_frame(0, [(1, 256, 0, 1280, 400, 0.5)], size=(1280, 401))])
    (frame,) = page.frames
    assert page.data["size"] == [640, 200]
    assert frame["boxes"] == [[1, 128.0, 0.0, 640.0, pytest.approx(199.5, abs=0.06), 0.5]]


def test_tracks_are_listed_from_birth_to_death_with_their_gaps(tmp_path):
    page = write_report(tmp_path / "r.html", three_tracks(names=True))
    assert [track["id"] for track in page.tracks] == [7, 2, 5]
    seven, two, five = (page.track(track_id) for track_id in (7, 2, 5))
    assert seven["parts"] == [[0, 1.2]] and (seven["frames"], seven["gaps"]) == (12, 0)
    assert two["parts"] == [[0, 0.4], [0.6, 1.2]] and (two["frames"], two["gaps"]) == (10, 1)
    assert (five["first"], five["last"], five["parts"]) == (10, 11, [[1.0, 1.2]])
    assert [track["score"] for track in (seven, two, five)] == [0.9, 0.5, 0.7]
    assert [track["name"] for track in (seven, two, five)] == ["red <b>cup</b>", "dog", ""]
    assert seven["name_score"] == 0.75 and five["name_score"] is None
    blue, green, red = track_color(7)
    assert seven["color"] == f"#{red:02x}{green:02x}{blue:02x}"


def test_frames_omitted_by_a_stride_are_no_gaps(tmp_path):
    frames = [make_frame(t, [(1, 10, 10, 30, 30, 0.5)]) for t in range(3, 40, 4)]
    (track,) = write_report(tmp_path / "r.html", frames).tracks
    assert track["gaps"] == 0 and len(track["parts"]) == 1
    assert (track["first"], track["last"], track["frames"]) == (3, 39, 10)


def test_views_are_the_largest_and_surest_spread_over_the_track(tmp_path):
    # the box grows until frame 30 and shrinks afterwards; frame 60 is sure but small
    frames = []
    for t in range(61):
        side = 10 + (t if t <= 30 else 60 - t)
        frames.append(make_frame(t, [(4, 20, 10, 20 + side, 10 + side, 0.9 if t != 10 else 0.05)]))
    views = write_report(tmp_path / "r.html", frames).track(4)["views"]
    times = [view["time"] for view in views]
    assert len(views) == 4 and times == sorted(times)
    assert 3.0 in times and 1.0 not in times
    assert min(np.diff(times)) > 0.25
    best = decode(views[times.index(3.0)]["jpeg"])
    assert best.shape == (40, 40, 3) and abs(best.astype(int) - ((90 + 37 * 4) % 160 + 95)).max() < 12


def test_boxes_outside_the_frame_and_of_no_size_give_no_views(tmp_path):
    rows = [(1, -50, -50, -5, -5, 0.9), (2, 20, 20, 20, 40, 0.9), (3, 500, 20, 600, 40, 0.9), (4, -9, -9, 5, 5, 0.9)]
    page = write_report(tmp_path / "r.html", [make_frame(0, rows)])
    assert [len(page.track(track_id)["views"]) for track_id in (1, 2, 3, 4)] == [0, 0, 0, 1]


def test_nothing_comes_from_elsewhere(tmp_path):
    page = write_report(tmp_path / "r.html", three_tracks(names=True))
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", page.text)
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base") and not {"src", "href"} & set(attributes), tag
    (policy,) = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:; media-src blob:;")


def test_text_from_outside_stays_text(tmp_path):
    frames = [make_frame(0, [(1, 5, 5, 30, 30, 0.5)], names=[EVIL], name=EVIL)]
    plain = write_report(tmp_path / "plain.html", [make_frame(0, [(1, 5, 5, 30, 30, 0.5)])])
    page = write_report(tmp_path / "r.html", frames, {"input": EVIL, EVIL: {EVIL: EVIL}})
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert page.frames[0]["name"] == page.track(1)["name"] == EVIL
    # the path of a folder that is not there is text like any other
    assert page.data["settings"] == [["input", EVIL], [f"{EVIL}.{EVIL}", EVIL]]
    # names of folders go, as for every path; half a surrogate pair can't be written
    assert page.title == "Tracks: " + EVIL.rsplit("/", 1)[-1].replace("\udcff", "?")


def test_paths_of_this_machine_are_not_on_the_page(tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.write_text("")
    settings = dict(
        input=[str(clip)], output=str(tmp_path / "out.mp4"), opts=["MODEL.WEIGHTS", str(tmp_path / "m.pth")]
    )
    settings.update(config_file="quick/shapes_ow_effowt.yaml", trails=1.5, url="rtsp://me:secret@host/live")
    page = write_report(tmp_path / "r.html", three_tracks(4), settings, gt=make_gt(tmp_path / "gt.json"))
    assert str(tmp_path) not in page.text and "secret" not in page.text
    shown = dict(page.data["settings"])
    assert (shown["input"], shown["output"], shown["opts"]) == ("clip.mp4", "out.mp4", "MODEL.WEIGHTS, m.pth")
    assert (shown["config_file"], shown["trails"]) == ("quick/shapes_ow_effowt.yaml", "1.5")
    assert page.data["scores"]["file"] == "gt.json"


def test_frames_of_other_sizes_are_fitted_into_the_film(tmp_path):
    frames = [make_frame(0, [(1, 10, 10, 30, 30, 0.5)]), make_frame(1, [(1, 40, 40, 80, 80, 0.5)], size=(320, 384))]
    page = write_report(tmp_path / "r.html", frames)
    # 384 pixels of height become 96
    assert page.frames[1]["boxes"] == [[1, 10, 10, 20, 20, 0.5]]
    image = page.pictures()[1][1]
    assert image.shape == (SIZE[1], SIZE[0], 3) and abs(image[15, 15].astype(int) - ((90 + 37) % 160 + 95)).max() < 20


def test_no_script_or_style_can_end_early_and_scripts_never_write_markup():
    for name in SCRIPTS:
        text = (ASSETS / name).read_text()
        assert "</script" not in text and "<!--" not in text, name
        assert not re.search(r"innerHTML\s*=|insertAdjacentHTML|document\.write|\beval\(", text), name
    assert "</style" not in (ASSETS / "page.css").read_text()


@pytest.mark.skipif(shutil.which("node") is None, reason="node, which checks the syntax, is not installed")
def test_the_scripts_are_javascript(tmp_path):
    page = write_report(tmp_path / "r.html", three_tracks())
    (script,) = page.scripts
    (tmp_path / "page.js").write_text(script)
    result = subprocess.run(["node", "--check", str(tmp_path / "page.js")], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_every_element_that_scripts_ask_for_is_in_the_page(tmp_path):
    page = write_report(tmp_path / "r.html", three_tracks())
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    asked = set(re.findall(r'byId\("([^"]+)"\)', "".join(page.scripts)))
    assert asked and asked <= set(ids)


def test_no_tracks_and_no_frames(tmp_path):
    page = write_report(tmp_path / "r.html", [make_frame(t, []) for t in range(3)])
    assert page.tracks == [] and page.data["most"] == 0 and len(page.frames) == 3
    with ReportWriter(tmp_path / "none.html", fps=10, settings={}):
        pass
    assert sorted(file.name for file in tmp_path.iterdir()) == ["r.html"]


def test_an_interrupted_run_leaves_the_page_of_what_was_finished(tmp_path):
    path = tmp_path / "r.html"
    path.write_text("an older page")
    with pytest.raises(KeyboardInterrupt), ReportWriter(path, fps=10, settings={}) as report:
        for tracks in three_tracks()[:5]:
            report.write(tracks)
        assert path.read_text() == "an older page"
        raise KeyboardInterrupt
    assert path.read_text().count('class="frame"') == 5
    assert list(tmp_path.iterdir()) == [path]


def test_the_page_of_a_full_disk_has_fewer_frames_but_is_whole(tmp_path):
    whole = write_report(tmp_path / "whole.html", three_tracks(40))
    with ExitStack() as disk, ReportWriter(tmp_path / "r.html", fps=10, settings={}) as report:
        for tracks in three_tracks(40):
            report.write(tracks)
        disk.enter_context(no_file_above(len(whole.text) // 2 + 20_000))
    page = Page(tmp_path / "r.html")
    assert page.data["stride"] in (2, 4) and len(page.frames) == 40 / page.data["stride"]
    assert page.track(7)["frames"] == 40
    assert sorted(file.name for file in tmp_path.iterdir()) == ["r.html", "whole.html"]


def test_frames_written_before_the_disk_was_full_make_a_page(tmp_path):
    report = ReportWriter(tmp_path / "r.html", fps=10, settings={})
    with pytest.raises(OSError), no_file_above(150_000), report:
        for tracks in three_tracks(40):
            report.write(tracks)
    page = Page(tmp_path / "r.html")
    assert 0 < len(page.frames) < 40 and [file.name for file in tmp_path.iterdir()] == ["r.html"]


def test_a_page_that_can_not_be_written_at_all_is_an_error_and_leaves_nothing(tmp_path):
    report = ReportWriter(tmp_path / "r.html", fps=10, settings={})
    with pytest.raises(OSError), ExitStack() as disk, report:
        for tracks in three_tracks(8):
            report.write(tracks)
        disk.enter_context(no_file_above(2_000))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name, fps, data",
    [("r.pdf", 10, (".pdf", ".html", ".htm")), ("r.html", 0, (0,))],
)
def test_bad_outputs_are_refused_before_the_run(tmp_path, name, fps, data):
    with raises(ValueError, *data):
        ReportWriter(tmp_path / name, fps=fps, settings={})


def test_unwritable_places_are_refused_before_the_run(tmp_path):
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(IsADirectoryError):
        ReportWriter(tmp_path / "folder.html", fps=10, settings={})
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        ReportWriter(tmp_path / "file" / "r.html", fps=10, settings={})


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (2000, 1)])
def test_odd_sizes(tmp_path, size):
    page = write_report(tmp_path / "r.html", [make_frame(0, [(1, 0, 0, 1, 1, 0.5)], size=size)])
    # an encoder takes no frames of a few pixels
    assert max(page.data["size"]) <= 640 and min(page.data["size"]) == 16
    assert len(page.pictures()) == 1
