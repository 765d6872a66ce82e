"""The video benchmark, in miniature: a real run of demo.py in a process of its own."""

import json

import benchmark_video  # noqa: E402


def test_a_run_is_measured(tmp_path, capsys):
    size = ["--size", "96", "64", "--max-side", "64"]
    arguments = ["--minutes", "0.02", "--fps", "10", "--stride", "3", *size, "--json", str(tmp_path / "out.json")]
    assert benchmark_video.main(arguments) == 0
    (run,) = json.loads((tmp_path / "out.json").read_text())["runs"]
    assert (run["frames"], run["tracked"]) == (12, 4)
    assert 200 < run["peak MiB"] < 4000 and run["seconds"] > 0 and run["frames per second"] > 0
    assert {"decoding", "tower", "side network", "heads"} <= set(run["time"])
    assert "4 of 12 frames tracked" in capsys.readouterr().out
