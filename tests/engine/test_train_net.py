"""train_net.py from the command line: one process, two, torchrun, and what is wrong before work starts."""

import argparse
import json
import sys
from pathlib import Path

import pytest
from helpers import dummy_model, small_shapes
from helpers.messages import assert_says, raises
from helpers.processes import SCRIPT, environment, run_python

import train_net
from effowt_d2.model_zoo import get_config_file

TOWER = ("MODEL.BACKBONE.NAME", "build_effowt_backbone")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train_net")
    (folder / "config.yaml").write_text(configuration(folder).dump())
    return folder


def configuration(folder):
    return dummy_model.config(folder / "one", SOLVER__IMS_PER_BATCH=4)


def command(folder, *options):
    return [SCRIPT, "--config-file", str(folder / "config.yaml"), *options]


def call(folder, *arguments):
    return run_python(*arguments, env=environment(folder / "shapes"))


def results(folder, run, dataset="mini_val"):
    return json.loads((folder / run / "inference" / dataset / "tao_ow_results.json").read_text())


def metrics(folder, run):
    lines = [json.loads(line) for line in (folder / run / "metrics.json").read_text().splitlines()]
    return {name: line[name] for line in lines for name in line if "tao_ow" in name or "loss" in name}


@pytest.fixture(scope="module")
def one(folder):
    """The run of one process, which the others are compared with."""
    small_shapes.register(folder / "shapes")
    dummy_model.train(configuration(folder))
    return results(folder, "one"), metrics(folder, "one")


def test_two_processes_train_and_score_as_one(folder, one):
    output = call(folder, *command(folder, "--num-gpus", "2", "OUTPUT_DIR", str(folder / "two")))
    expected, scores = one
    found = results(folder, "two")
    keys = ("image_id", "track_id")
    assert [[entry[key] for key in keys] for entry in found] == [[entry[key] for key in keys] for entry in expected]
    # gradients are summed in another order, no more
    assert [e["score"] for e in found] == pytest.approx([e["score"] for e in expected], abs=1e-5)
    assert metrics(folder, "two") == pytest.approx(scores, abs=1e-4)
    assert scores["total_loss"] > 0
    assert "trained parameters" in output and "saved 60 results of mini_val" in output


@pytest.mark.slow
def test_torchrun_evaluates_to_the_same_file(folder, one):
    options = ("--eval-only", "MODEL.WEIGHTS", str(folder / "one" / "model_final.pth"), "OUTPUT_DIR")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    call(folder, *launcher, *command(folder, *options, str(folder / "torchrun")))
    assert results(folder, "torchrun") == one[0]
    log = (folder / "torchrun" / "log.txt.rank1").read_text()
    assert "process 1 of 2, 1 of 2 on this machine" in log


@pytest.mark.parametrize(
    "options, data",
    [
        (["SOLVER.SIDE_RATE", "3"], ("SOLVER.SIDE_RATE",)),
        (["SOLVER.MAX_ITER"], ("MAX_ITER",)),
        (["SOLVER.MAX_ITER", "many"], ("many",)),
        (["DATASETS.TRAIN", "('shapes_ow_trian',)"], ("shapes_ow_trian", "shapes_ow_train")),
        (["MODEL.WEIGHTS", "/nowhere/w.pth"], ("/nowhere/w.pth",)),
        (["OUTPUT_DIR", "/proc/nowhere"], ("OUTPUT_DIR", "/proc/nowhere")),
        (["--eval-only", "DATASETS.TEST", "()"], ("DATASETS.TEST",)),
        (["--num-gpus", "0"], ("--num-gpus", 0)),
        (["--num-machines", "0"], ("--num-machines", 0)),
        (["--dist-timeout", "nan"], ("--dist-timeout", "nan")),
        (["--dist-timeout", "-1"], ("--dist-timeout", -1)),
        (["DATASETS.TRAIN", "()"], ("DATASETS.TRAIN",)),
        (["MODEL.WEIGHTS", __file__], (__file__,)),
        (["--num-gpus", "4096", "MODEL.DEVICE", "cuda"], (4096, "MODEL.DEVICE", "cuda")),
        (["--config-file", "nowhere.yaml"], ("nowhere.yaml",)),
        ([*TOWER, "MODEL.VLM.NAME", "ViT-B-61"], ("ViT-B-61", "ViT-B-16")),
        ([*TOWER, "MODEL.VLM.WEIGHTS", ""], ("MODEL.VLM.WEIGHTS", "ViT-B-16")),
        ([*TOWER, "MODEL.VLM.WEIGHTS", "gone.pt"], ("gone.pt",)),
        ([*TOWER, "MODEL.VLM.WEIGHTS", "openclip://gone"], ("gone", "ViT-B-16", "openai")),
        ([*TOWER, "MODEL.TRANSFER.STRATEGY", "adapter"], ("adapter", "side")),
        ([*TOWER, "MODEL.SIDE.GATE.KIND", "open"], ("MODEL.SIDE.GATE.KIND", "open", "learnable")),
        ([*TOWER, "MODEL.SIDE.SIM.KIND", "dots"], ("MODEL.SIDE.SIM.KIND", "dots", "axes")),
        ([*TOWER, "MODEL.SIDE.TOPOLOGY", "ring"], ("MODEL.SIDE.TOPOLOGY", "ring", "sequential")),
        ([*TOWER, "MODEL.SIDE.INIT", "zeros"], ("MODEL.SIDE.INIT", "zeros", "scratch", "l1")),
        (["MODEL.META_ARCHITECTURE", "OpenWorldTracker", "TRACKER.HISTORY", "0"], ("TRACKER.HISTORY", 0)),
        (["TEST.PRECISION", "int8"], ("TEST.PRECISION", "int8", "bfloat16")),
        (["TEST.FRAMES_PER_BATCH", "0"], ("TEST.FRAMES_PER_BATCH", 0)),
        (["DATA.MAPPER", "three_views"], ("DATA.MAPPER", "three_views", "two_views")),
        (["DATASETS.TEST", "('voc_2007_val',)"], ("voc_2007_val", "pascal_voc", "coco", "tao_ow")),
        (["IMPORTS", "('gone_project',)"], ("IMPORTS", "gone_project", "pip install -e projects/NAME")),
        (["--config-file", "quick/nothing"], ("quick/nothing", "quick/shapes_ow_effowt.yaml")),
        (["--config-file", "lazy_mask_rcnn.py"], ("lazy_mask_rcnn.py", "tools/lazyconfig_train_net.py")),
    ],
)
def test_mistakes_are_one_line(folder, monkeypatch, options, data):
    small_shapes.register(folder / "shapes")
    flags = [option for option in options if option.startswith("--")]
    given = options if flags else ["SEED", "1", *options]
    monkeypatch.setattr(sys, "argv", command(folder, *given))
    with pytest.raises(SystemExit) as caught:
        train_net.run()
    (line,) = str(caught.value).splitlines()
    assert line.startswith("train_net.py: error: ")
    assert_says(line, *data)


def test_unknown_key_in_a_file_names_key_and_file(folder, tmp_path, monkeypatch):
    file = tmp_path / "wrong.yaml"
    file.write_text("SOLVER:\n  MAX_ITERS: 3\n")
    monkeypatch.setattr(sys, "argv", ["train_net.py", "--config-file", str(file)])
    with raises(SystemExit, file, "SOLVER.MAX_ITERS"):
        train_net.run()
    file.write_text("SOLVER: {MAX_ITER: [3\n")
    with raises(SystemExit, file):
        train_net.run()


ZOO = "quick/shapes_ow_effowt"


@pytest.mark.parametrize(
    "source, eval_only, weights",
    [
        (ZOO, False, ""),
        (ZOO, True, f"effowt://{ZOO}"),
        (get_config_file(ZOO), True, ""),
        ("EffOWT/effowt_vit_b16.yaml", True, ""),
    ],
)
def test_only_an_evaluated_zoo_name_brings_weights(tmp_path, source, eval_only, weights):
    args = argparse.Namespace(config_file=source, opts=["OUTPUT_DIR", str(tmp_path), "MODEL.DEVICE", "cpu"])
    args.__dict__.update(eval_only=eval_only, num_gpus=1, num_machines=1, register=[])
    assert train_net.setup(args).MODEL.WEIGHTS == args.zoo_weights == weights
    # Detectron2 puts the file's text in the log
    assert args.config_file == (source if Path(source).is_file() else get_config_file(source))


def test_the_zoos_checkpoint_is_evaluated_and_logged(folder):
    small_shapes.register(folder / "shapes")
    output = folder / "zoo"
    options = ("--eval-only", "DATASETS.TEST", "('one_video',)", "OUTPUT_DIR", str(output))
    call(folder, SCRIPT, "--config-file", ZOO, *options)
    assert_says((output / "log.txt").read_text(), f"MODEL.WEIGHTS is empty: the zoo's checkpoint effowt://{ZOO}")
    scores = [entry["score"] for entry in results(folder, "zoo", "one_video")]
    # an untrained head's scores are far below
    assert max(scores) > 0.6
