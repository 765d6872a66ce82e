"""A run continues with another number of processes, logs it, and evaluates fewer videos than processes."""

import json
import subprocess
import sys

import pytest
import torch
from helpers import dummy_model, small_shapes
from helpers.messages import assert_says
from helpers.processes import SCRIPT, environment, run_python


@pytest.mark.slow
def test_two_processes_continue_where_one_stopped(tmp_path):
    small_shapes.register(tmp_path / "shapes")
    options = {"MODEL__META_ARCHITECTURE": "CellTracker", "DATASETS__TEST": (), "SOLVER__WARMUP_ITERS": 2}
    cfg = dummy_model.config(tmp_path / "run", SOLVER__MAX_ITER=3, **options)
    dummy_model.train(cfg)
    cfg = dummy_model.config(tmp_path / "alone", SOLVER__MAX_ITER=6, **options)
    alone = dummy_model.train(cfg).model.state_dict()
    config = tmp_path / "config.yaml"
    config.write_text(cfg.dump())
    arguments = ["--resume", "--num-gpus", "2", "DATASETS.TEST", "('one_video',)", "OUTPUT_DIR", str(tmp_path / "run")]
    printed = run_python(SCRIPT, "--config-file", config, *arguments, env=environment(tmp_path / "shapes"))
    assert_says(printed, "run of 1", 2, "iteration 3")
    # no dropout here, so nothing but the order of sums differs
    ended = torch.load(tmp_path / "run" / "model_final.pth", weights_only=True)
    assert ended["effowt"]["processes"] == 2 and ended["iteration"] == 5
    for name, tensor in ended["model"].items():
        torch.testing.assert_close(tensor, alone[name], rtol=0, atol=1e-5)
    # the second process had no video at all
    results = json.loads((tmp_path / "run" / "inference" / "one_video" / "tao_ow_results.json").read_text())
    assert len({entry["image_id"] for entry in results}) == 4 and "OWTA" in printed


@pytest.mark.slow
def test_machines_that_do_not_share_the_folder_are_refused(tmp_path, port):
    small_shapes.register(tmp_path / "shapes")
    options = {"MODEL__META_ARCHITECTURE": "CellTracker", "DATASETS__TEST": (), "SOLVER__WARMUP_ITERS": 2}
    dummy_model.train(dummy_model.config(tmp_path / "0", SOLVER__MAX_ITER=3, **options))
    config = tmp_path / "config.yaml"
    config.write_text(dummy_model.config(tmp_path / "0", SOLVER__MAX_ITER=6, **options).dump())
    command = [sys.executable, SCRIPT, "--config-file", str(config), "--resume", "--num-machines", "2"]
    command += ["--dist-url", f"tcp://localhost:{port}"]
    machines = []
    for machine in ("0", "1"):
        arguments = ["--machine-rank", machine, "OUTPUT_DIR", str(tmp_path / machine)]
        choice = dict(env=environment(tmp_path / "shapes"), stderr=subprocess.PIPE, text=True)
        machines.append(subprocess.Popen([*command, *arguments], **choice))
    for machine in machines:
        stderr = machine.communicate(timeout=600)[1]
        assert machine.returncode != 0 and "resume_or_load" in stderr
        (line,) = [line for line in stderr.splitlines() if line.startswith("train_net.py: error: ")]
        assert "ValueError" in line and "[3, 0]" in line and "OUTPUT_DIR" in line
