"""demo.py from the command line on, with a stand-in model that finds bright blobs for the real tracker."""

import csv
import json
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import META_ARCH_REGISTRY, build_model
from detectron2.structures import Boxes, Instances
from effowt_d2 import add_effowt_config
from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.tracking import build_tracker
from effowt_d2.visualization import open_frames

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))
import demo  # noqa: E402

COLORS = ((255, 80, 80), (80, 255, 80), (80, 80, 255))
SIZE = (96, 64)


class BlobTracker(torch.nn.Module):
    """Bright connected areas; their mean colour is the embedding, their score the brightest channel."""

    built = 0
    stop_at = None

    def __init__(self, cfg):
        super().__init__()
        BlobTracker.built += 1
        self.limit = torch.nn.Parameter(torch.tensor(40.0))
        self.tracker = build_tracker(cfg.TRACKER)
        self.video_id = None

    def forward(self, inputs):
        (frame,) = inputs
        if frame["video_id"] != self.video_id:
            self.tracker.reset()
            self.video_id = frame["video_id"]
        if frame["frame_index"] == BlobTracker.stop_at:
            signal.raise_signal(signal.SIGINT)
        image = frame["image"].permute(1, 2, 0).numpy()
        mask = (image.max(axis=2) > self.limit.item()).astype(np.uint8)
        count, parts, stats, _ = cv2.connectedComponentsWithStats(mask)
        boxes = torch.tensor(stats[1:, :4], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        means = np.array([image[parts == part].mean(axis=0) for part in range(1, count)], dtype=np.float32)
        means = torch.from_numpy(means.reshape(-1, 3))
        result = Instances((frame["height"], frame["width"]))
        result.scores = means.amax(dim=1) / 255 if len(means) else torch.empty(0)
        centred = torch.nn.functional.normalize(means - means.mean(dim=1, keepdim=True)) * 5
        result.track_ids = self.tracker.update(boxes, result.scores, centred, frame["frame_index"])
        result.pred_boxes = Boxes(boxes)
        result.pred_boxes.scale(frame["width"] / image.shape[1], frame["height"] / image.shape[0])
        return [{"instances": result}]


@pytest.fixture(scope="module", autouse=True)
def registered():
    # a name of its own, and only once: other test modules register stand-ins too
    if "BlobTracker" not in META_ARCH_REGISTRY:
        META_ARCH_REGISTRY.register(BlobTracker)


@pytest.fixture(autouse=True)
def fresh():
    BlobTracker.built, BlobTracker.stop_at = 0, None


@pytest.fixture(scope="module")
def config_file(tmp_path_factory, registered):
    folder = tmp_path_factory.mktemp("model")
    cfg = get_cfg()
    add_effowt_config(cfg)
    cfg.MODEL.META_ARCHITECTURE = "BlobTracker"
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.WEIGHTS = str(folder / "model.pth")
    # frames are doubled on their way into the model, so boxes must be brought back
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 2 * SIZE[1], 1000
    EffOWTCheckpointer(build_model(cfg), str(folder)).save("model")
    (folder / "config.yaml").write_text(cfg.dump())
    return folder / "config.yaml"


def corner(number: int, t: int) -> tuple[int, int]:
    return 4 + 3 * t + 2 * number, 4 + 20 * number


def make_frame(t: int) -> np.ndarray:
    frame = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    for number, color in enumerate(COLORS):
        x, y = corner(number, t)
        frame[y : y + 12, x : x + 16] = color
    return frame


@pytest.fixture
def folder(tmp_path):
    """Twelve frames of three coloured blocks that move to the right."""
    path = tmp_path / "frames"
    path.mkdir()
    for t in range(12):
        cv2.imwrite(str(path / f"{t}.png"), make_frame(t))
    return path


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"mp4v"), 10, SIZE)
    for t in range(12):
        writer.write(make_frame(t))
    writer.release()
    return path


def run(config_file, *arguments) -> int:
    return demo.main(["--config-file", str(config_file), *map(str, arguments)])


def count(path) -> int:
    with open_frames(path) as frames:
        return len(list(frames))


@pytest.mark.parametrize("output", ["out.mp4", "out.webm", "out.avi", "out"])
@pytest.mark.parametrize("kind", ["video", "folder", "glob", "list"])
def test_every_input_into_every_output(config_file, video, folder, tmp_path, kind, output):
    images = sorted(folder.iterdir())
    source = {"video": [video], "folder": [folder], "glob": [folder / "*.png"], "list": images}[kind]
    assert run(config_file, "--output", tmp_path / output, "--input", *source) == 0
    assert count(tmp_path / output) == 12


def test_results_are_the_objects_in_pixels_of_the_frame_with_lasting_ids(config_file, folder, tmp_path):
    assert run(config_file, "--input", folder, "--results", tmp_path / "r.json") == 0
    results = json.loads((tmp_path / "r.json").read_text())
    assert len(results) == 36
    rows = {}
    for result in results:
        rows.setdefault(result["track_id"], []).append(result)
    assert sorted(len(row) for row in rows.values()) == [12, 12, 12]
    for row in rows.values():
        number = round((row[0]["bbox"][1] - 4) / 20)
        for t, result in enumerate(row):
            assert result["image_id"] == t
            assert result["bbox"] == pytest.approx([*corner(number, t), 16, 12], abs=1.5)
            assert 0.5 < result["score"] <= 1


def test_mot_and_csv_agree_with_the_json(config_file, video, tmp_path):
    for ending in ("json", "txt", "csv"):
        assert run(config_file, "--input", video, "--results", tmp_path / f"r.{ending}") == 0
    tao = json.loads((tmp_path / "r.json").read_text())
    mot = [line.split(",") for line in (tmp_path / "r.txt").read_text().splitlines()]
    numbers = [(int(line[0]) - 1, int(line[1]) - 1) for line in mot]
    assert numbers == [(r["image_id"], r["track_id"]) for r in tao]
    assert [[float(value) for value in line[2:6]] for line in mot] == [r["bbox"] for r in tao]
    with open(tmp_path / "r.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["time"]) for row in rows] == pytest.approx([r["image_id"] / 10 for r in tao])
    assert rows[-1]["name"] == "clip:000011"


def test_the_drawn_video_differs_from_the_frames_only_where_tracks_are(config_file, folder, tmp_path):
    assert run(config_file, "--input", folder, "--output", tmp_path / "out", "--trails", "5") == 0
    drawn, plain = cv2.imread(str(tmp_path / "out" / "000005.jpg")), make_frame(5)
    changed = np.abs(drawn.astype(int) - plain).max(axis=2) > 60
    for number in range(3):
        x, y = corner(number, 5)
        assert changed[y : y + 12, x - 1 : x + 1].any()
    assert not changed[:, 60:].any()


def test_stride_keeps_source_numbers_but_the_memory_counts_processed_frames(config_file, folder, tmp_path):
    choice = ["--stride", 4, "--start", 0.1, "--end", 1.1, "--fps", 10]
    # with source numbers the gap of 4 frames would be beyond a memory of 1
    options = ["--opts", "TRACKER.MEMORY_FRAMES", 1]
    outputs = ["--results", tmp_path / "r.json", "--output", tmp_path / "out.avi"]
    assert run(config_file, "--input", folder, *outputs, *choice, *options) == 0
    results = json.loads((tmp_path / "r.json").read_text())
    assert sorted({result["image_id"] for result in results}) == [1, 5, 9]
    assert len({result["track_id"] for result in results}) == 3
    with open_frames(tmp_path / "out.avi") as frames:
        assert frames.fps == pytest.approx(2.5)


def test_score_threshold_and_max_side(config_file, folder, tmp_path):
    results = ["--input", folder, "--results", tmp_path / "r.json"]
    assert run(config_file, *results, "--score-threshold", "1.0") == 0
    kept = json.loads((tmp_path / "r.json").read_text())
    assert all(result["score"] >= 1 for result in kept) and len(kept) < 36
    assert run(config_file, *results, "--max-side", 48, "--score-threshold", 0) == 0
    # at half size a pixel of the model is two of the frame
    assert {result["bbox"][0] % 2 for result in json.loads((tmp_path / "r.json").read_text())} == {0}


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (33, 65)])
def test_odd_frames_run(config_file, tmp_path, size):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((size[1], size[0], 3), 200, np.uint8))
    arguments = ["--output", tmp_path / "out.mp4", "--max-side", 200]
    assert run(config_file, "--input", tmp_path / "a.png", *arguments) == 0
    assert count(tmp_path / "out.mp4") == 1


def test_ctrl_c_finishes_the_files(config_file, video, tmp_path, capsys):
    BlobTracker.stop_at = 4
    before = signal.getsignal(signal.SIGINT)
    outputs = ["--output", tmp_path / "out.mp4", "--results", tmp_path / "r.json"]
    assert run(config_file, "--input", video, *outputs) == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert count(tmp_path / "out.mp4") == 5
    results = json.loads((tmp_path / "r.json").read_text())
    assert {result["image_id"] for result in results} == {0, 1, 2, 3, 4}
    assert "stopped before the end" in capsys.readouterr().out


def test_unreadable_frames_are_skipped_and_told(config_file, folder, tmp_path, capsys):
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:60])
    assert run(config_file, "--input", folder, "--output", tmp_path / "out.mp4") == 0
    assert count(tmp_path / "out.mp4") == 11
    output = capsys.readouterr().out
    assert "11 frames, 3 tracks" in output and "1 unreadable frames skipped" in output


BAD = {
    "no such file or folder": ("gone.mp4", "--results", "r.json"),
    "can't be opened as a video": ("text.mp4", "--results", "r.json"),
    "holds no images": ("empty", "--results", "r.json"),
    "unknown ending '.gif'": ("frames", "--output", "out.gif"),
    "unknown ending '.xml'": ("frames", "--results", "r.xml"),
    "a part of this path is a file": ("frames", "--output", "text.mp4/out.mp4"),
    "is also the input": ("frames", "--output", "frames"),
    "stride must be at least 1": ("frames", "--results", "r.json", "--stride", "0"),
    "--max-side must be at least 1": ("frames", "--results", "r.json", "--max-side", "0"),
    "NO.SUCH": ("frames", "--results", "r.json", "--opts", "NO.SUCH", "1"),
    "odd length: ['MODEL.WEIGHTS']": ("frames", "--results", "r.json", "--opts", "MODEL.WEIGHTS"),
    "MODEL.WEIGHTS is empty": ("frames", "--results", "r.json", "--opts", "MODEL.WEIGHTS", ""),
}


@pytest.mark.parametrize("message", BAD)
def test_errors_come_before_the_model_is_built(config_file, folder, tmp_path, capsys, monkeypatch, message):
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert run(config_file, "--input", *BAD[message]) == 2
    assert message in capsys.readouterr().err
    assert BlobTracker.built == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_missing_weights_and_config_are_told(config_file, folder, tmp_path, capsys):
    arguments = ["--input", folder, "--results", tmp_path / "r.json"]
    assert run(tmp_path / "gone.yaml", *arguments) == 2
    assert "gone.yaml: no such file" in capsys.readouterr().err
    assert run(config_file, *arguments, "--opts", "MODEL.WEIGHTS", tmp_path / "gone.pth") == 2
    assert "gone.pth: no such file" in capsys.readouterr().err
    assert BlobTracker.built == 0
    assert not (tmp_path / "r.json").exists()


def test_nothing_to_write_is_a_usage_error(config_file, folder, capsys):
    with pytest.raises(SystemExit):
        run(config_file, "--input", folder)
    assert "give --output, --results, or both" in capsys.readouterr().err
