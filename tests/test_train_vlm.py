"""The script that trains a VLM on folders: its loss, its schedule, a run that is continued, and what it refuses."""

import importlib.util
import json
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("train_vlm", ROOT / "tools" / "train_vlm.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(script):
    script.register_vlm_configs()
    torch.manual_seed(0)
    return open_clip.create_model("RealCLIP-S-16", load_weights=False).eval()


# loss


def test_texts_that_are_also_true_are_neither_positive_nor_negative(script):
    """Classes: 0 poodle (a dog), 1 cat, 2 dog."""
    related = script.related_classes([(2,), (), ()])
    logits = torch.randn(3, 3)
    common = {"text_classes": torch.tensor([2, 0, 1]), "classes": torch.tensor([0, 1, 2]), "related": related}
    loss = script.class_loss(logits, torch.tensor([0, 1, 2]), **common)
    poodle = F.cross_entropy(logits[0, [1, 2]], torch.tensor(0))  # dog is left out
    cat = F.cross_entropy(logits[1], torch.tensor(2))
    dog = F.cross_entropy(logits[2, [0, 2]], torch.tensor(0))  # it may be a poodle
    torch.testing.assert_close(loss, (poodle + cat + dog) / 3)
    kinds = script.class_loss(logits, torch.tensor([2, -1, -1]), **common)
    torch.testing.assert_close(kinds, F.cross_entropy(logits[0, [0, 2]], torch.tensor(0)))
    assert script.class_loss(logits, torch.tensor([-1, -1, -1]), **common) == 0


def test_captions_are_told_apart_both_ways(script):
    logits = torch.tensor([[9.0, 0, 0], [0, 9, 0]])
    assert script.caption_loss(logits) < 1e-2 < 1 < script.caption_loss(logits.flip(0))


# towers


def test_the_towers_are_open_clips(script, model):
    images = torch.randint(0, 256, (2, 192, 192, 3), dtype=torch.uint8)
    preprocess = image_transform_v2(PreprocessCfg(size=192), is_train=False)
    pixels = torch.stack([preprocess(Image.fromarray(i.numpy())) for i in images])
    tokens = open_clip.get_tokenizer("RealCLIP-S-16")(["a dog", "a photo of a very small cat on a mat", "x"])
    with torch.no_grad():
        ours = script.encode_images(model.visual, images, step=0), script.encode_texts(model, tokens)
        theirs = model.encode_image(pixels, normalize=True), model.encode_text(tokens, normalize=True)
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_small_images_visit_all_places_of_the_position_table(script):
    from vlm.towers import position_window

    table = torch.arange(144.0).reshape(1, 144, 1)
    corners = {position_window(table, cells=4, step=step)[0, 0].item() for step in range(81)}
    assert len(corners) == 81
    first = position_window(table, cells=4, step=0)[0, :, 0].tolist()
    assert first == [12 * y + x for y in range(4) for x in range(4)]


# schedule and optimizers


def test_stages_and_rates(script):
    stages = script.parse_stages(["64:3", "96:2"])
    assert [script.size_at(step, stages) for step in range(7)] == [64, 64, 64, 96, 96, 96, 96]
    rates = [script.learning_rate(step, warmup=2, decay=4, steps=10) for step in range(10)]
    assert rates == [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    for wrong in ("64", "60:5", "x:1", "0:3"):
        with pytest.raises(ValueError, match=wrong):
            script.parse_stages([wrong])


def test_every_parameter_is_in_one_optimizer(script, model):
    optimizers = script.make_optimizers(model, lr=1e-3, muon_lr=1e-3, weight_decay=0.1)
    inside = [id(p) for o in optimizers for g in o.param_groups for p in g["params"]]
    assert sorted(inside) == sorted(id(p) for p in model.parameters())


def test_orthogonalised_matrices_have_singular_values_near_one(script):
    from vlm.muon import orthogonalise

    for shape in ((16, 48), (48, 16)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert values.min() > 0.6 and values.max() < 1.3, values


# runs


@pytest.fixture
def data(tmp_path):
    words = ["d\tdog\ta", "c\tcat\ta", "a\tanimal"]
    for label, colour in (("d", (200, 30, 30)), ("c", (30, 200, 30))):
        (tmp_path / "train" / label).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (64, 64), tuple(v + 5 * i for v in colour)).save(tmp_path / "train" / label / f"{i}.png")
    (tmp_path / "words.tsv").write_text("\n".join(words))
    (tmp_path / "dictionary.tsv").write_text("1\thound\t\tdog: hunts\n2\ttom\t\tcat: a male\n")
    (tmp_path / "captions.csv").write_text("image,caption\ntrain/d/0.png,red\ntrain/c/0.png,green\n")
    return tmp_path


def run(script, monkeypatch, data, output, *options):
    arguments = ["--words", data / "words.tsv", "--folder", data / "train", 64, "--held-out", data / "train", 64]
    arguments += ["--dictionary", data / "dictionary.tsv"]
    arguments += ["--captions", data / "captions.csv", 64, "--output", output, "--batch", 8, "--threads", 1]
    arguments += ["--warmup", 1, "--decay", 2, "--log-every", 1, "--eval-every", 100, *options]
    monkeypatch.setattr(sys, "argv", ["train_vlm.py", *map(str, arguments)])
    threads = torch.get_num_threads()
    script.main()
    torch.set_num_threads(threads)
    return torch.load(output / "model.pt", weights_only=True)["state_dict"]


def test_a_run_that_was_cut_ends_as_one_that_was_not(script, data, tmp_path, monkeypatch):
    whole = run(script, monkeypatch, data, tmp_path / "whole", "--stages", "32:4", "48:2")
    cut = tmp_path / "cut"
    cut.mkdir()

    class Stop(Exception):
        pass

    step = script.Training.step
    monkeypatch.setattr(script.Training, "step", lambda self, n: step(self, n) if n < 3 else (_ for _ in ()).throw(Stop))
    with pytest.raises(Stop):
        run(script, monkeypatch, data, cut, "--stages", "32:4", "48:2", "--save-seconds", 0)
    monkeypatch.setattr(script.Training, "step", step)
    again = run(script, monkeypatch, data, cut, "--stages", "32:4", "48:2")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    lines = [json.loads(line) for line in (cut / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert lines[-1]["classes"] == 2 and 0 <= lines[-1]["top1"] <= 1


def test_the_result_is_loaded_as_tower_and_for_names(script, data, tmp_path, monkeypatch):
    from effowt_d2.modeling.backbone import build_tower
    from effowt_d2.naming.two_towers import load_two_towers

    state = run(script, monkeypatch, data, tmp_path / "out", "--stages", "32:3")
    file = str(tmp_path / "out" / "model.pt")
    assert Path(file).stat().st_size < 12e6
    tower = build_tower("RealCLIP-S-16", file)
    assert torch.equal(tower.trunk.trunk.pos_embed, state["visual.trunk.pos_embed"].float())
    towers = load_two_towers("RealCLIP-S-16", file, device="cpu", tower=tower)
    assert towers.image_size == 192 and towers.embed_words(["dog", "cat"], ["a {}"]).shape == (2, 128)


def test_another_models_checkpoint_is_refused(script, data, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    torch.save({"step": 3, "model": {}, "optimizers": []}, tmp_path / "out" / "last.pt")
    with pytest.raises((SystemExit, ValueError), match="last.pt"):
        run(script, monkeypatch, data, tmp_path / "out", "--stages", "32:3")


def test_wrong_input_ends_with_a_message(script, data, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="nowhere"):
        run(script, monkeypatch, data, tmp_path / "out", "--folder", tmp_path / "nowhere", 64)
    with pytest.raises(SystemExit, match="60:5"):
        run(script, monkeypatch, data, tmp_path / "out", "--stages", "60:5")


def test_accuracy_is_measured_from_the_command_line(script, model, data, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("evaluate_vlm", ROOT / "tools" / "evaluate_vlm.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    script.export(data / "model.pt", model)
    (data / "more.tsv").write_text("x\tzebra, dog\ta\na\tbeast\ny\tcat\n")
    arguments = ["--weights", data / "model.pt", "--words", data / "words.tsv", "--folder", data / "train", 64]
    arguments += ["--size", 32, "--threads", torch.get_num_threads()]

    def call(*options):
        monkeypatch.setattr(sys, "argv", ["evaluate_vlm.py", *map(str, [*arguments, *options])])
        tool.main()
        return json.loads(capsys.readouterr().out)

    assert call()["classes"] == 2 and call("--described")["images"] == 8
    assert call("--words", data / "more.tsv", "--all")["classes"] == 3, "dog, cat and zebra; no kinds, no second cat"
    with pytest.raises(SystemExit, match="ShapesCLIP-S-16"):
        call("--model", "ShapesCLIP-S-16")
    (data / "train" / "unknown").mkdir()
    Image.new("RGB", (32, 32)).save(data / "train" / "unknown" / "0.png")
    with pytest.raises(SystemExit, match="unknown"):
        call()
