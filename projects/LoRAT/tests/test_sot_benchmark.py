"""Memory and time of training are measured: what trains less holds fewer gradients."""

import pytest
from detectron2.modeling import build_model
from helpers.centre_trackers import centre_config
from helpers.tiny_trackers import tracker_config
from sot.benchmark import main, measure_tracking, measure_training


def test_lora_against_full_fine_tuning(tiny):
    found = {}
    for method in ("lora", "full"):
        cfg = tracker_config("lorat", "LoRAT", tiny, MODEL__PEFT__METHOD=method)
        found[method] = measure_training(cfg, batch=2, steps=1)
        twice = measure_training(cfg, batch=4, steps=1)
        for name in ("weights", "gradients", "optimizer"):
            assert twice[name] == found[method][name]
        assert twice["saved by backbone"] == pytest.approx(2 * found[method]["saved by backbone"], rel=0.1)
    lora, full = found.values()
    assert lora["gradients"] < full["gradients"] and lora["weights"] > full["weights"]
    assert lora["optimizer"] == 2 * lora["gradients"] and lora["seconds"] > 0
    assert lora["total"] == sum(value for name, value in lora.items() if name not in ("total", "seconds"))


def test_the_command_prints_ratios(tiny, tmp_path, capsys):
    cfg = tracker_config("lorat", "LoRAT", tiny, MODEL__PEFT__METHOD="lora")
    (tmp_path / "config.yaml").write_text(cfg.dump())
    main(["--config-file", str(tmp_path / "config.yaml"), "--batch", "1", "--steps", "1", "--frames", "1"])
    printed = capsys.readouterr().out
    assert "gradients, MiB" in printed and "frames a second" in printed
    assert "multiply-adds a frame" in printed
    with pytest.raises(SystemExit):
        main(["--config-file", str(tmp_path / "nowhere.yaml")])


def test_size_and_multiply_adds_of_a_tracked_frame(tiny):
    cfg = tracker_config("lorat", "LoRAT", tiny, MODEL__PEFT__METHOD="lora")
    found = measure_tracking(cfg, 1)
    assert found["frames_per_second"] > 0
    model = build_model(cfg)
    assert found["parameters"] == sum(p.numel() for p in model.parameters())
    updates = sum(p.numel() for p in model.backbone.tower.adapters.parameters())
    head = sum(p.numel() for p in model.head.parameters())
    assert found["trained"] == updates + head + model.backbone.embedding.types.numel()
    # merged, an update costs nothing
    more = measure_tracking(tracker_config("lorat", "LoRAT", tiny, MODEL__PEFT__METHOD="lora", MODEL__PEFT__RANK=16), 0)
    assert more["parameters"] > found["parameters"] and more["macs"] == found["macs"] > 0
    assert "frames_per_second" not in more


@pytest.mark.parametrize("project", ["AQATrack", "EVPTrack"])
def test_trackers_that_carry_something_are_measured_too(project, tmp_path, capsys):
    cfg = centre_config(project, MODEL__PEFT__METHOD="lora", MODEL__SOT__CROP_TYPE_STD=1.0)
    (tmp_path / "config.yaml").write_text(cfg.dump())
    main(["--config-file", str(tmp_path / "config.yaml"), "--batch", "1", "--steps", "1", "--frames", "1"])
    printed = capsys.readouterr().out
    assert "gradients, MiB" in printed and "frames a second" in printed and " trained, " in printed
