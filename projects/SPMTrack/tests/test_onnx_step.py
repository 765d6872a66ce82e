"""The step of LoRAT and SPMTrack as an ONNX graph: equal in onnxruntime, for any number of targets, frame by frame."""

import pytest
import torch
from detectron2.modeling import build_model
from helpers.tiny_trackers import tracker_config
from sot.export_onnx import compare, export_step, main, open_session, run_session

from effowt_d2.checkpoint import EffOWTCheckpointer

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

# the exporter takes ten seconds and more
pytestmark = pytest.mark.slow

TRACKERS = {"lorat": ("LoRAT", "lora"), "spmtrack": ("SPMTrack", "tmoe")}


def tracker(module, tiny, **options):
    name, method = TRACKERS[module]
    torch.manual_seed(0)
    model = build_model(tracker_config(module, name, tiny, MODEL__PEFT__METHOD=method, **options))
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.normal_(std=0.2)
    return model.eval()


@pytest.mark.parametrize("module", TRACKERS)
def test_equal_in_onnxruntime(module, tiny, tmp_path):
    model = tracker(module, tiny)
    plain = {name: value.clone() for name, value in model.state_dict().items()}
    step = export_step(model, tmp_path / "step.onnx")
    assert step.tracker.backbone.tower.merged == (module == "lorat")
    session = open_session(tmp_path / "step.onnx")
    for targets in (1, 3):
        assert compare(step, session, targets=targets)["difference"] < 1e-4
    # the same as the network that is not merged
    other = tracker(module, tiny)
    other.load_state_dict(plain)
    inputs = step.sample(2, seed=5)
    with torch.no_grad():
        expected = type(step)(other)(**inputs)
    for found, wanted in zip(run_session(session, inputs), expected):
        torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=1e-4, atol=1e-4)
    # the state of a step is an input of the next one
    if "state" in inputs:
        _, _, state = run_session(session, inputs)
        again = run_session(session, {**inputs, "state": torch.from_numpy(state)})
        assert abs(again[2] - state).max() > 1e-3


def test_the_command(tiny, tmp_path, capsys):
    cfg = tracker_config("lorat", "LoRAT", tiny, MODEL__PEFT__METHOD="lora")
    torch.manual_seed(0)
    EffOWTCheckpointer(build_model(cfg), str(tmp_path), config=cfg.dump()).save("model")
    config = tmp_path / "config.yaml"
    config.write_text(cfg.dump())
    torch.manual_seed(0)
    options = ["--config-file", str(config), "--output", str(tmp_path / "step.onnx"), "--seconds", "0.1"]
    with pytest.raises(SystemExit, match="MODEL.WEIGHTS"):
        main(options)
    main([*options, "--weights", str(tmp_path / "model.pth")])
    assert "steps a second" in capsys.readouterr().out and (tmp_path / "step.onnx").is_file()
    with pytest.raises(SystemExit, match="OpenWorldTracker"):
        main(
            ["--config-file", "quick/shapes_ow_effowt.yaml", "--weights", "x.pth", "--output", str(tmp_path / "a.onnx")]
        )
