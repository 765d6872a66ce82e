"""Released files, the conversion tool, and the merged model."""

import pytest
import torch
from detectron2.modeling import build_model
from helpers.golden import golden
from helpers.tiny_clip import register_clips, vit
from helpers.tiny_trackers import tracker_config
from safetensors.torch import save_file
from sot.convert import main
from sot.data.made_clips import make_clip
from sot.released import load_released, released_names

from effowt_d2.checkpoint import CheckpointError, EffOWTCheckpointer
from effowt_d2.engine import make_config


@pytest.fixture(scope="module")
def shallow(tmp_path_factory):
    """A tower with the depth and widths of the recorded one, whose trained file therefore fits."""
    register_clips(tmp_path_factory.mktemp("clips"), {"shallow-vit": vit(layers=2)})
    return "shallow-vit"


def config(tower, **options):
    small = {"MODEL__PEFT__METHOD": "lora", "MODEL__PEFT__RANK": 8, "MODEL__PEFT__ALPHA": 16.0}
    return tracker_config("lorat", "LoRAT", tower, **{**small, **options})


def released(tmp_path, change=None):
    """The recorded file under the release's file extension, maybe changed."""
    state = golden("lorat/trained")
    if change:
        change(state)
    save_file(state, tmp_path / "lorat.bin")
    return tmp_path / "lorat.bin", state


def test_a_released_file_fills_what_trains(shallow, tmp_path):
    file, state = released(tmp_path)
    model = build_model(config(shallow))
    load_released(model, file)
    adapters = model.backbone.tower.adapters
    assert adapters["1"]["k"].B.equal(state["blocks.1.attn.qkv.k.lora.B"])
    assert adapters["0"]["fc2"].A.equal(state["blocks.0.mlp.fc2.lora.A"])
    assert model.backbone.embedding.types.equal(state["token_type_embed"])
    assert model.head.reg_mlp.layers[2].weight.equal(state["head.reg_mlp.layers.2.weight"])
    assert len(released_names({k: v for k, v in state.items() if v.ndim})) == sum(
        p.requires_grad for p in model.parameters()
    )


def test_mixtures_and_packed_layers_have_names_too():
    mixture = released_names({k: v for k, v in golden("spmtrack/trained").items() if v.ndim})
    assert mixture["backbone.tower.adapters.0.q.B"].shape == (64, 32)
    assert mixture["backbone.tower.adapters.0.q.B"][:, 8:16].equal(
        golden("spmtrack/trained")["blocks.0.attn.qkv.q.tmoe.routed_experts.1"]
    )
    assert mixture["token.query"].shape == mixture["token.embedding"].shape == (1, 64)
    packed = released_names({"blocks.3.mlp.w12.lora.A": torch.zeros(4, 8), "blocks.3.mlp.w3.lora.B": torch.zeros(8, 4)})
    assert set(packed) == {"backbone.tower.adapters.3.fc1.A", "backbone.tower.adapters.3.fc2.B"}


def remove_scale(state):
    del state["lora_alpha"], state["use_rslora"]


def test_files_of_the_current_release_do_not_say_their_scale(shallow, tmp_path):
    file, _ = released(tmp_path, remove_scale)
    model = build_model(config(shallow))
    with pytest.raises(CheckpointError, match="lora_alpha.*2"):
        load_released(model, file)
    load_released(model, file, assume_scale=True)


@pytest.mark.parametrize(
    "change, options, shown",
    [
        (lambda state: state.pop("blocks.1.mlp.fc1.lora.A"), {}, "adapters.1.fc1.A"),
        (lambda state: state.update({"blocks.2.mlp.fc1.lora.A": torch.zeros(8, 64)}), {}, "adapters.2.fc1.A"),
        (lambda state: state.update({"neck.weight": torch.zeros(1)}), {}, "neck.weight"),
        (None, {"MODEL__PEFT__RANK": 4}, "(4, 64)"),
        (None, {"MODEL__PEFT__ALPHA": 8.0}, "lora_alpha 16"),
        (None, {"MODEL__PEFT__SCALE_RULE": "sqrt_rank"}, "5.65"),
        (lambda state: state.update(use_rslora=torch.tensor(True)), {}, "5.65"),
        (None, {"MODEL__PEFT__METHOD": "none"}, "adapters"),
    ],
)
def test_files_of_other_models_are_refused(shallow, tmp_path, change, options, shown):
    file, _ = released(tmp_path, change)
    model = build_model(config(shallow, **options))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_released(model, file)
    assert shown in str(error.value)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_other_files_are_named(shallow, tmp_path):
    model = build_model(config(shallow))
    with pytest.raises(FileNotFoundError, match="nothing.bin"):
        load_released(model, tmp_path / "nothing.bin")
    torch.save({}, tmp_path / "other.bin")
    with pytest.raises(CheckpointError, match="other.bin.*safetensors"):
        load_released(model, tmp_path / "other.bin")


def boxes_of(model):
    frames = torch.from_numpy(make_clip("a", frames=4, seed=2).frames).permute(0, 3, 1, 2)
    state, found = model.start(frames[0], [[20.0, 20, 60, 50]]), []
    for frame in frames[1:]:
        state, tracks = model.step(state, frame)
        found.append(tracks.pred_boxes.tensor)
    return torch.cat(found)


def test_the_tool_imports_and_merges(shallow, tmp_path):
    torch.manual_seed(0)
    weights = build_model(config(shallow, MODEL__PEFT__METHOD="none")).backbone.tower.trunk.state_dict()
    torch.save({f"visual.{name}": value for name, value in weights.items()}, tmp_path / "tower.pth")
    cfg = config(shallow, MODEL__VLM__WEIGHTS=str(tmp_path / "tower.pth"))
    (tmp_path / "config.yaml").write_text(cfg.dump())
    file, _ = released(tmp_path)
    given = ["--config-file", str(tmp_path / "config.yaml")]
    main(["import", *given, "--weights", str(file), "--output", str(tmp_path / "in" / "model.pth")])
    model = build_model(cfg).eval()
    EffOWTCheckpointer(model, complete=True).load(str(tmp_path / "in" / "model.pth"))
    main(["merge", *given, "--weights", str(tmp_path / "in" / "model.pth"), "--output", str(tmp_path / "merged")])
    merged_cfg = make_config(str(tmp_path / "merged" / "config.yaml"))
    assert merged_cfg.MODEL.PEFT.METHOD == "none"
    merged = build_model(merged_cfg).eval()
    EffOWTCheckpointer(merged, complete=True).load(merged_cfg.MODEL.WEIGHTS)
    assert not list(merged.backbone.tower.adapters)
    torch.testing.assert_close(boxes_of(merged), boxes_of(model), rtol=0, atol=1e-3)
    with pytest.raises(SystemExit, match="model.bin"):
        main(["import", *given, "--weights", str(file), "--output", str(tmp_path / "model.bin")])
    with pytest.raises(SystemExit, match="5.65"):
        main(
            [
                "import",
                *given,
                "--weights",
                str(file),
                "--output",
                str(tmp_path / "m.pth"),
                "--opts",
                "MODEL.PEFT.SCALE_RULE",
                "sqrt_rank",
            ]
        )
