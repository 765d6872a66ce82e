"""tools/benchmark_precision.py: what it counts, and that both formats show."""

import benchmark_precision  # noqa: E402
import pytest
import torch
from detectron2.structures import Boxes, Instances


def frame(boxes, scores):
    return Instances((100, 100), pred_boxes=Boxes(torch.tensor(boxes).reshape(-1, 4)), scores=torch.tensor(scores))


def test_differences_by_hand():
    expected = frame([[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0], [0.0, 80.0, 9.0, 90.0]], [0.9, 0.8, 0.1])
    got = frame([[0.0, 0.0, 10.0, 11.0], [80.0, 50.0, 90.0, 60.0]], [0.85, 0.8])
    row = benchmark_precision.differences([expected, expected], [got, frame([], [])], 0.3)
    assert (row["boxes"], row["missing"]) == (4, 3)
    assert row["pixels, most"] == row["pixels, median"] == 1.0 and row["score, most"] == pytest.approx(0.05)


def test_both_formats_move_the_boxes(capsys):
    threads = torch.get_num_threads()
    assert benchmark_precision.main(["--videos", "1", "--frames", "1"]) == 0
    torch.set_num_threads(threads)
    lines = [line.split("|") for line in capsys.readouterr().out.splitlines() if "float16" in line]
    assert [line[2].strip() for line in lines] == 2 * list(benchmark_precision.KEYS)
    assert all(float(line[3]) > 0 and float(line[4]) == 0 and float(line[7]) > 0 for line in lines)
