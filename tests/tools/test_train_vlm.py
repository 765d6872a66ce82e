"""The script that trains a VLM on folders: a run that is continued, what it leaves, and what it refuses."""

import importlib
import json
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image

SOURCES = ("--folder", "--captions", "--held-out")
LEAST = [("batch", 1), ("log-every", 1), ("eval-every", 1), ("threads", 1), ("boxes-per-class", 1)]
LEAST += [(name, 0) for name in ("workers", "eval-count", "texts", "warmup", "decay", "seed")]


@pytest.fixture(scope="module")
def script():
    return importlib.import_module("train_vlm")


@pytest.fixture(scope="module")
def model(script):
    script.register_vlm_configs()
    torch.manual_seed(0)
    return open_clip.create_model("RealCLIP-S-16", load_weights=False).eval()


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


def call(script, monkeypatch, arguments):
    monkeypatch.setattr(sys, "argv", ["train_vlm.py", *map(str, arguments)])
    threads = torch.get_num_threads()
    script.main()
    torch.set_num_threads(threads)


def run(script, monkeypatch, data, output, *options):
    arguments = ["--words", data / "words.tsv", "--folder", data / "train", 64, "--held-out", data / "train", 64]
    arguments += ["--dictionary", data / "dictionary.tsv"]
    arguments += ["--captions", data / "captions.csv", 64, "--output", output, "--batch", 8, "--threads", 1]
    arguments += ["--warmup", 1, "--decay", 2, "--log-every", 1, "--eval-every", 100, *options]
    call(script, monkeypatch, arguments)
    return torch.load(output / "model.pt", weights_only=True)["state_dict"]


@pytest.mark.slow
def test_a_run_that_was_cut_ends_as_one_that_was_not(script, data, tmp_path, monkeypatch):
    whole = run(script, monkeypatch, data, tmp_path / "whole", "--stages", "32:4", "48:2")
    cut = tmp_path / "cut"
    cut.mkdir()

    class Stop(Exception):
        pass

    step = script.Training.step
    monkeypatch.setattr(
        script.Training, "step", lambda self, n, ready: step(self, n, ready) if n < 3 else (_ for _ in ()).throw(Stop)
    )
    with pytest.raises(Stop):
        run(script, monkeypatch, data, cut, "--stages", "32:4", "48:2", "--save-seconds", 0)
    monkeypatch.setattr(script.Training, "step", step)
    again = run(script, monkeypatch, data, cut, "--stages", "32:4", "48:2")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    lines = [json.loads(line) for line in (cut / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert lines[-1]["classes"] == 2 and 0 <= lines[-1]["top1"] <= 1


@pytest.mark.slow
def test_workers_and_sources_packed_elsewhere_change_nothing(script, data, tmp_path, monkeypatch):
    alone = run(script, monkeypatch, data, tmp_path / "alone", "--stages", "32:2")
    helped = run(script, monkeypatch, data, tmp_path / "helped", "--stages", "32:2", "--workers", 1)
    packed = tmp_path / "alone" / "packed"
    arguments = ["--words", data / "words.tsv", "--packed-sources", packed / "0_train", packed / "1_captions"]
    arguments += ["--packed-held-out", packed / "held_out", "--dictionary", data / "dictionary.tsv", "--batch", 8]
    arguments += ["--warmup", 1, "--decay", 2, "--stages", "32:2", "--output", tmp_path / "moved", "--threads", 1]
    call(script, monkeypatch, arguments)
    moved = torch.load(tmp_path / "moved" / "model.pt", weights_only=True)["state_dict"]
    assert all(torch.equal(alone[name], helped[name]) and torch.equal(alone[name], moved[name]) for name in alone)


def test_the_result_is_loaded_as_tower_and_for_names(script, data, tmp_path, monkeypatch):
    from effowt_d2.modeling.tower import build_tower
    from effowt_d2.naming.two_towers import load_two_towers

    state = run(script, monkeypatch, data, tmp_path / "out", "--stages", "32:3")
    file = str(tmp_path / "out" / "model.pt")
    assert Path(file).stat().st_size < 9e6
    # begin, end, and the words of a few labels and captions; those of no caption take no room
    assert 2 < state["token_embedding.weight"].any(dim=1).sum() < 200
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


@pytest.mark.parametrize(
    "options, message",
    [
        (["--model", "RealCLIP-S-61"], "--model RealCLIP-S-61 is unknown.*RealCLIP-S-16"),
        (["--model", "ViT-B-32"], "--model ViT-B-32 can't be trained here.*RealCLIP-S-16"),
        (["--device", "cuda:99"], "--device cuda:99"),
        (["--device", "toaster"], "--device toaster"),
        *(
            (["--" + name, low - 1], f"--{name} must be an integer of at least {low}, got {low - 1}")
            for name, low in LEAST
        ),
        *(
            ([option, "x", side], f"{option}: SIDE .*'{side}'")
            for option in SOURCES
            for side in ("0", "-4", "6.5", "big")
        ),
        (["--boxes", "x", "y", "0"], "--boxes: SIDE .*'0'"),
        (["--stages", "32:0"], "--stages: .*'32:0'"),
        (["--stages", "32"], "--stages: .*'32'"),
        (["--stages", "208:1"], "--stages: .* 192 pixels at most.*208"),
        (["--output", "words.tsv"], "--output: expected a folder, and .*words.tsv is a file"),
    ],
)
def test_a_wrong_option_is_named(script, data, monkeypatch, options, message):
    monkeypatch.chdir(data)
    with pytest.raises(SystemExit, match=f"^train_vlm.py: {message}") as error:
        call(script, monkeypatch, ["--words", "words.tsv", "--output", "out", "--threads", 1, *options])
    assert "\n" not in str(error.value)


def test_held_out_images_without_a_word_are_named(script, data, tmp_path, monkeypatch, caplog):
    """The checkpoint is written before the accuracy is measured."""
    (data / "val" / "unknown").mkdir(parents=True)
    for label in ("d", "c", "unknown"):
        (data / "val" / label).mkdir(exist_ok=True)
        Image.new("RGB", (32, 32)).save(data / "val" / label / "0.png")
    saved = []
    zero_shot = script.zero_shot
    monkeypatch.setattr(
        script,
        "zero_shot",
        lambda *a, **k: saved.append((tmp_path / "out" / "last.pt").is_file()) or zero_shot(*a, **k),
    )
    run(
        script,
        monkeypatch,
        data,
        tmp_path / "out",
        "--stages",
        "32:2",
        "--held-out",
        data / "val",
        32,
        "--eval-every",
        1,
    )
    assert "1 held-out images of 1 labels without a word skipped: ['unknown']" in caplog.text
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines if "top1" in line] == [2, 2] and saved == [True, True]


def test_held_out_images_of_one_class_are_refused_before_anything_is_packed(script, data, tmp_path, monkeypatch):
    (data / "val" / "d").mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(data / "val" / "d" / "0.png")
    with pytest.raises(SystemExit, match=r"two classes of the vocabulary, got \['dog'\]"):
        run(script, monkeypatch, data, tmp_path / "out", "--stages", "32:2", "--held-out", data / "val", 32)
    assert [path.name for path in (tmp_path / "out" / "packed").iterdir()] == ["held_out"]


def test_a_run_that_can_not_be_continued_is_refused_before_it_starts(script, data, tmp_path, monkeypatch, caplog):
    output = tmp_path / "out"
    run(script, monkeypatch, data, output, "--stages", "32:3")
    for options, message in (
        (["--stages", "32:2"], "last.pt is at step 3, --stages has 2"),
        (["--stages", "32:4", "--seed", 5], "another run.*seed 0 → 5"),
    ):
        with pytest.raises(SystemExit, match=f"^train_vlm.py: .*{message}"):
            run(script, monkeypatch, data, output, *options)
    words = (data / "words.tsv").read_text()
    (data / "words.tsv").write_text(words.replace("dog", "hound"))
    with pytest.raises(SystemExit, match="another run.*words_content"):
        run(script, monkeypatch, data, output, "--stages", "32:4")
    (data / "words.tsv").write_text("# the same\n" + words)
    run(script, monkeypatch, data, output, "--stages", "32:4", "--lr", 0.001, "--decay", 1, "--eval-count", 3)
    assert "other settings: lr 0.002 → 0.001\n" in caplog.text, "and nothing else"
    (output / "last.pt").write_text("hello")
    with pytest.raises(SystemExit, match="^train_vlm.py: .*last.pt is not a checkpoint"):
        run(script, monkeypatch, data, output, "--stages", "32:4")


@pytest.mark.parametrize("option", ["--words", "--dictionary"])
def test_an_empty_file_of_words_is_refused_before_anything_is_packed(script, data, tmp_path, monkeypatch, option):
    (data / "empty.tsv").write_text("")
    with pytest.raises(SystemExit, match="empty.tsv has no lines"):
        run(script, monkeypatch, data, tmp_path / "out", option, data / "empty.tsv")
    assert not (tmp_path / "out" / "packed").exists()


def test_accuracy_is_measured_from_the_command_line(script, model, data, monkeypatch, capsys):
    tool = importlib.import_module("evaluate_vlm")
    script.export(data / "model.pt", model, torch.zeros_like(model.token_embedding.weight))
    (data / "more.tsv").write_text("x\tzebra, dog\ta\na\tbeast\ny\tcat\n")
    arguments = ["--weights", data / "model.pt", "--words", data / "words.tsv", "--folder", data / "train", 64]
    arguments += ["--size", 32, "--threads", torch.get_num_threads()]

    def call(*options):
        monkeypatch.setattr(sys, "argv", ["evaluate_vlm.py", *map(str, [*arguments, *options])])
        tool.main()
        return json.loads(capsys.readouterr().out)

    assert call()["classes"] == 2 and call("--described")["images"] == 8
    assert call("--words", data / "more.tsv", "--all")["classes"] == 3, "dog, cat and zebra; no kinds, no second cat"
    assert call("--count", 50)["images"] == 8
    (data / "more.tsv").write_text("x\tDog\ny\tzebra\n")
    assert call("--words", data / "more.tsv", "--all")["classes"] == 3, "no second dog in other case"
    with pytest.raises(SystemExit, match="ShapesCLIP-S-16"):
        call("--model", "ShapesCLIP-S-16")
    with pytest.raises(SystemExit, match="^evaluate_vlm.py: --model RealCLIP is unknown .*RealCLIP-S-16"):
        call("--model", "RealCLIP")
    with pytest.raises(SystemExit, match="^evaluate_vlm.py: --folder: SIDE .*'big'"):
        call("--folder", data / "train", "big")
    (data / "one" / "d").mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(data / "one" / "d" / "0.png")
    with pytest.raises(SystemExit, match="two classes"):
        call("--folder", data / "one", 32)
    (data / "train" / "unknown").mkdir()
    Image.new("RGB", (32, 32)).save(data / "train" / "unknown" / "0.png")
    with pytest.raises(SystemExit, match="unknown"):
        call()


@pytest.mark.parametrize(
    "content, message",
    [
        (b"hello", "is not a checkpoint"),
        (b"PK\x03\x04 cut off", "is truncated or damaged"),
        (torch.ones(3), "holds a Tensor"),
        ([torch.ones(3)], "holds a list"),
    ],
    ids=["text", "truncated", "a tensor", "a list"],
)
def test_what_is_no_file_of_weights_is_refused(data, monkeypatch, content, message):
    tool = importlib.import_module("evaluate_vlm")
    if isinstance(content, bytes):
        (data / "weights.pt").write_bytes(content)
    else:
        torch.save(content, data / "weights.pt")
    arguments = ["--weights", data / "weights.pt", "--words", data / "words.tsv", "--folder", data / "train", 64]
    monkeypatch.setattr(sys, "argv", ["evaluate_vlm.py", *map(str, arguments)])
    with pytest.raises(SystemExit, match=f"^evaluate_vlm.py: .*weights.pt.*{message}") as error:
        tool.main()
    assert "\n" not in str(error.value)
