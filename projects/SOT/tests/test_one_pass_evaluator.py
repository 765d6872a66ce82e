"""Submission files as recorded, and the evaluator as Detectron2 calls it, on one process and on two."""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from helpers.golden import golden_manifest
from helpers.processes import run_python
from sot.data.catalog import load_sequences, register_sequences
from sot.data.sequence import TargetSequence
from sot.evaluation import RULES
from sot.evaluation.evaluator import OnePassEvaluator
from sot.evaluation.submissions import write_got10k, write_text, write_trackingnet

from effowt_d2.data.loaders import load_frame_records
from effowt_d2.formats import DatasetError


def test_submission_files_are_those_of_the_release(tmp_path):
    expected = golden_manifest("lorat")["submission_files"]
    boxes, seconds = {"seqA": np.array(expected["boxes_xyxy"])}, {"seqA": expected["times"]}
    archive = write_got10k(tmp_path / "got", "trk", boxes, seconds)
    for name, text in expected["GOT-10k"].items():
        assert (tmp_path / "got" / name).read_text() == text
        assert zipfile.ZipFile(archive).read(name.removeprefix("trk/")).decode() == text
    archive = write_trackingnet(tmp_path / "net", "trk", boxes, seconds)
    for name, text in expected["TrackingNet"].items():
        assert (tmp_path / "net" / name).read_text() == text
        assert zipfile.ZipFile(archive).read(Path(name).name).decode() == text
    for data, rules in (("LaSOT", "lasot"), ("UAV123", "uav123")):
        write_text(tmp_path / data, "trk", boxes, RULES[rules])
        for name, text in expected[data].items():
            assert (tmp_path / data / name).read_text() == text


def made_sequences():
    boxes = np.array([[10.0, 10, 30, 26]]) + 2.0 * np.arange(6)[:, None]
    return [
        TargetSequence(name=f"clip-{n}", files=[f"{n}/{i}.jpg" for i in range(6)], boxes=boxes + n, size=(60, 80))
        for n in range(3)
    ]


@pytest.fixture
def registered():
    names = []

    def register(name, sequences, **metadata):
        register_sequences(name, lambda: sequences, **metadata)
        names.append(name)
        return name

    yield register
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def result(box):
    instances = Instances((60, 80))
    instances.pred_boxes = Boxes(torch.tensor([box]))
    return {"instances": instances, "seconds": 0.25}


def feed(evaluator, records, move):
    for record in records:
        evaluator.process(
            [record], [result((np.array(TRUTH[record["sequence"]][record["frame_index"]]) + move).tolist())]
        )


TRUTH = {sequence.name: sequence.boxes for sequence in made_sequences()}


def test_the_evaluator_saves_and_scores(tmp_path, registered):
    name = registered("sot_made", made_sequences())
    records = [frame for video in load_frame_records(name) for frame in video]
    assert [record["sequence"] for record in records if "given_boxes" in record] == ["clip-0", "clip-1", "clip-2"]
    assert records[0]["given_boxes"] == [[10.0, 10, 30, 26]] and records[0]["height"] == 60
    evaluator = OnePassEvaluator(name, output_dir=str(tmp_path), tracker="mine")
    feed(evaluator, records, 0)
    scores = evaluator.evaluate()["one_pass"]
    assert scores["AUC"] == pytest.approx(100 * 20 / 21) and scores["P"] == 100
    saved = np.loadtxt(tmp_path / "boxes" / "mine" / "clip-1.txt")
    np.testing.assert_allclose(saved[0], [11, 11, 20, 16])
    assert json.loads((tmp_path / "one_pass.json").read_text())["sequences"]["clip-2"]["P"] == 100
    for plot in ("success", "precision", "normalised"):
        assert (tmp_path / f"{plot}.png").read_bytes().startswith(b"\x89PNG")
    evaluator.reset()
    assert not evaluator.evaluate()
    feed(evaluator, records, 1000)
    assert evaluator.evaluate()["one_pass"]["AUC"] == 0


def test_withheld_truth_gives_files_for_the_server(tmp_path, registered):
    withheld = [TargetSequence(name=s.name, files=s.files, boxes=s.boxes[:1], size=s.size) for s in made_sequences()]
    name = registered("sot_withheld", withheld, convention="got10k", submission="got10k")
    evaluator = OnePassEvaluator(name, output_dir=str(tmp_path), tracker="mine", plots=False)
    feed(evaluator, [frame for video in load_frame_records(name) for frame in video], 0)
    assert not evaluator.evaluate()
    files = zipfile.ZipFile(tmp_path / "got10k" / "mine.zip").namelist()
    assert sorted(files) == sorted(f"clip-{n}/clip-{n}_{what}.txt" for n in range(3) for what in ("001", "time"))
    assert "0.25000000" in (tmp_path / "got10k" / "mine" / "clip-0" / "clip-0_time.txt").read_text()


def test_frames_that_are_missing_or_come_twice_are_named(tmp_path, registered):
    name = registered("sot_frames", made_sequences())
    records = [frame for video in load_frame_records(name) for frame in video]
    evaluator = OnePassEvaluator(name, output_dir=str(tmp_path))
    feed(evaluator, records[:-2], 0)
    with pytest.raises(DatasetError, match="clip-2.*2 of 6.*frame 4"):
        evaluator.evaluate()
    evaluator.reset()
    feed(evaluator, [*records, records[7]], 0)
    with pytest.raises(DatasetError, match="clip-1.*1 of 6.*frame 1"):
        evaluator.evaluate()
    two = result([0.0, 0, 1, 1])
    two["instances"] = Instances.cat([two["instances"], two["instances"]])
    with pytest.raises(ValueError, match="clip-0.*2"):
        evaluator.process([records[0]], [two])


def test_what_cannot_be_evaluated_is_known_before(tmp_path, registered):
    with pytest.raises(ValueError, match="sot_nowhere"):
        OnePassEvaluator("sot_nowhere", output_dir=str(tmp_path))
    start = np.full((6, 4), np.nan)
    broken = TargetSequence(name="clip-x", files=made_sequences()[0].files, boxes=start)
    with pytest.raises(DatasetError, match="clip-x"):
        OnePassEvaluator(registered("sot_start", [broken]), output_dir=str(tmp_path))
    with pytest.raises(ValueError, match="olympic"):
        good = registered("sot_convention", made_sequences())
        OnePassEvaluator(good, output_dir=str(tmp_path), convention="olympic")
    with pytest.raises(DatasetError, match="sot_empty"):
        load_sequences(registered("sot_empty", []))


@pytest.mark.slow
def test_two_processes_score_together(tmp_path, registered):
    run_python("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", __file__, tmp_path)
    name = registered("sot_alone", made_sequences())
    alone = OnePassEvaluator(name, output_dir=str(tmp_path / "alone"), plots=False)
    feed(alone, [frame for video in load_frame_records(name) for frame in video], 3)
    assert json.loads((tmp_path / "scores.json").read_text()) == alone.evaluate()


if __name__ == "__main__":
    from detectron2.utils import comm

    torch.distributed.init_process_group("gloo")
    register_sequences("sot_shared", made_sequences)
    shared = OnePassEvaluator("sot_shared", output_dir=sys.argv[1], plots=False)
    videos = load_frame_records("sot_shared")[::-1][comm.get_rank() :: comm.get_world_size()]
    feed(shared, [frame for video in videos for frame in video], 3)
    scores = shared.evaluate()
    assert bool(scores) == comm.is_main_process()
    if scores:
        (Path(sys.argv[1]) / "scores.json").write_text(json.dumps(scores))
    torch.distributed.destroy_process_group()
