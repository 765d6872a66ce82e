"""``--describe``: what a tiny random LLaVA says about tracks, in the report and beside the results."""

import json

import pytest
from helpers.llava_folder import write_llava
from helpers.made_runs import Page

from effowt_d2 import VideoTracker
from effowt_d2.cli.track import main

pytest.importorskip("transformers", reason="the extra describe is not installed")


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    return str(write_llava(tmp_path_factory.mktemp("llava")))


def run(config_file, video, *options):
    return main(["--config-file", str(config_file), "--input", str(video), *options])


KEYS = ("--opts", "DESCRIBE.MAX_TOKENS", "4", "DESCRIBE.VIEWS", "2")


def test_texts_go_into_the_report_and_beside_the_results(config_file, video, llava, tmp_path, capsys):
    report, results = tmp_path / "r.html", tmp_path / "tracks.json"
    files = ("--report", str(report), "--results", str(results), "--results", str(tmp_path / "tracks.csv"))
    assert run(config_file, video, *files, "--describe", llava, *KEYS) == 0
    described = json.loads((tmp_path / "tracks.descriptions.json").read_text())
    ids = {entry["track_id"] for entry in json.loads(results.read_text())}
    assert {track["track_id"] for track in described} == ids and ids
    for track in described:
        assert 1 <= len(track["views"]) <= 2
        for view in track["views"]:
            assert view["image_tokens"] == view["kept_tokens"] == 36 and 0 < view["tokens"] <= 4
            assert view["seconds"] > 0 and isinstance(view["text"], str)
    page = Page(report)
    said = {track["id"]: [view["text"] for view in track["said"]] for track in page.tracks}
    assert said == {track["track_id"]: [view["text"] for view in track["views"]] for track in described}
    assert "descriptions:" in capsys.readouterr().out
    # an earlier run's texts are not replaced unasked
    assert run(config_file, video, "--results", str(tmp_path / "tracks.txt"), "--describe", llava) == 2
    assert "tracks.descriptions.json" in capsys.readouterr().err


def test_without_a_model_nothing_changes(config_file, video, tmp_path):
    assert run(config_file, video, "--report", str(tmp_path / "r.html"), "--results", str(tmp_path / "t.json")) == 0
    assert not any("said" in track for track in Page(tmp_path / "r.html").tracks)
    assert sorted(file.name for file in tmp_path.iterdir() if file.suffix != ".mp4") == ["r.html", "t.json"]


def test_what_is_no_llava_is_said_before_the_video_is_read(config_file, tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    # the video is not there either, which is not reached
    assert (
        run(config_file, tmp_path / "no.mp4", "--results", str(tmp_path / "t.json"), "--describe", str(tmp_path)) == 2
    )
    error = capsys.readouterr().err
    assert "--describe" in error and "bert" in error and "no.mp4" not in error
    with pytest.raises(SystemExit):
        run(config_file, tmp_path / "no.mp4", "--output", str(tmp_path / "o.mp4"), "--describe", str(tmp_path))


def test_the_tracker_describes_the_video_begun_last(config_file, video, llava):
    tracker = VideoTracker(str(config_file), describe=llava, opts=("DESCRIBE.MAX_TOKENS", 3))
    assert list(tracker.descriptions()) == []
    seen = {track_id for tracks in tracker.track(str(video)) for track_id in tracks.ids.tolist()}
    found = dict(tracker.descriptions())
    assert set(found) == seen and all(len(views) == 1 for views in found.values())
    chosen = min(seen)
    ((only, (view,)),) = tracker.descriptions([chosen])
    assert only == chosen and view.text == found[chosen][0].text and view.time == found[chosen][0].time
    assert list(VideoTracker(str(config_file)).descriptions()) == []
