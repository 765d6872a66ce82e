"""Every tensor recorded from LoRAT and SPMTrack is an input of a comparison or compared, in the test named here."""

import pytest
from helpers import ROOT
from helpers.golden import golden

CROPS, CELLS, SAMPLES, METRICS, HEAD = (
    f"projects/SOT/tests/test_{name}.py"
    for name in ("sot_crops", "sot_cells", "training_samples", "one_pass", "sot_head")
)
LORAT, SPMTRACK = "projects/LoRAT/tests/test_lorat_golden.py", "projects/SPMTrack/tests/test_spmtrack_golden.py"
TOWERS, LAYER = "tests/modeling/test_golden_towers.py", "tests/modeling/test_tmoe.py"
# by file: the test, and how the names begin that it reads
WHERE = {
    "lorat/geometry": {
        CROPS: ("boxes", "image", "search", "template.", "raster."),
        CELLS: ("mask.", "positives.", "select"),
        SAMPLES: ("jitter.",),
        LORAT: ("provider.",),
    },
    "lorat/metrics": {METRICS: ("seq", "pytracking.", "valid_only.")},
    "lorat/model": {
        TOWERS: ("train.block",),
        HEAD: ("target.", "grad.score_map", "grad.boxes"),
        LORAT: ("in.", "pos_embed", "train.", "merged.", "loss.", "grad.", "step1."),
    },
    "lorat/merged": {LORAT: ("blocks.0.",)},
    "lorat/variants": {
        LORAT: ("in.", "trunk.", "trained.", "out."),
        TOWERS: ("merged.", "droppath.", "norm_eps."),
    },
    "lorat/tracking": {LORAT: ("video",)},
    "spmtrack/model": {
        TOWERS: ("frame0.block", "frame1.block"),
        SPMTRACK: (
            "in.",
            "pos_embed",
            "z_tokens",
            "x_tokens",
            "frame",
            "default_refs.",
            "target",
            "loss.",
            "grad.",
            "step1.",
        ),
    },
    "spmtrack/tmoe": {LAYER: ("x", "grad_out", "plain.", "many_A.", "ungated.", "rank_stabilised.", "qkv.")},
    "spmtrack/tracking": {SPMTRACK: ("video",)},
    # the size of the image is not needed: the maps of the boxes are recorded
    "spmtrack/misc": {SPMTRACK: ("elongated.",), SAMPLES: ("sampler.",)},
}


@pytest.mark.parametrize("file", WHERE)
def test_every_recorded_tensor_has_its_test(file):
    known = tuple(prefix for prefixes in WHERE[file].values() for prefix in prefixes)
    tensors = golden(file)
    assert [name for name in tensors if not name.startswith(known)] == []
    assert [prefix for prefix in known if not any(name.startswith(prefix) for name in tensors)] == []
    for test in WHERE[file]:
        text = (ROOT / test).read_text(encoding="utf-8")
        assert file in text, f"{test} does not read {file}"
