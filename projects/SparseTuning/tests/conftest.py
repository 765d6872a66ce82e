"""A tiny ViT, and folders of small images whose class is their colour."""

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers.colour_images import COLOURS, draw
from helpers.tiny_clip import register_clips, vit

from effowt_d2.engine import make_config


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Name of a tiny plain ViT known to open_clip: width 64, depth 4, heads 4, patch 16, grid 4 x 4."""
    register_clips(tmp_path_factory.mktemp("open_clip_configs"), {"tiny-vit": vit()})
    return "tiny-vit"


@pytest.fixture(scope="session")
def colours(tmp_path_factory):
    """Folder with ``train`` and ``test``, 4 images of each class, one size each."""
    root = tmp_path_factory.mktemp("colours")
    for part in ("train", "test"):
        for label, (name, colour) in enumerate(COLOURS.items()):
            for number in range(4):
                seed = 100 * label + 10 * number + (part == "test")
                draw(root / part / name / f"{number}.png", colour, seed, (40 + 4 * number, 48))
    return root


@pytest.fixture
def registered():
    """Names that a test registers, forgotten after it."""
    names = []
    yield names
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture
def config(tiny, colours, registered, tmp_path):
    """Makes a config that trains the tiny ViT on the colours."""

    def make(*options):
        registered[:] = ["colours_train", "colours_test"]
        entries = [
            [n, str(colours / n.split("_")[1]), str(colours / n.split("_")[1]), "image_folder"] for n in registered
        ]
        return make_config(
            "",
            [
                *("IMPORTS", "('sparse_tuning',)", "MODEL.META_ARCHITECTURE", "ImageClassifier", "MODEL.DEVICE", "cpu"),
                *("MODEL.VLM.NAME", tiny, "MODEL.VLM.ALLOW_RANDOM", True, "MODEL.VLM.CANVAS", 0),
                *("MODEL.PEFT.METHOD", "dense_adapter", "MODEL.PEFT.ADAPTER.DIM", 8),
                *("MODEL.TOKENS.REDUCTION", "sparse", "MODEL.TOKENS.KEEP_RATES", [0.5]),
                *("MODEL.CLASSIFIER.MIXUP", 0.0, "MODEL.CLASSIFIER.CUTMIX", 0.0, "INPUT.CLASSIFICATION.SIZE", 64),
                *("INPUT.FORMAT", "RGB", "INPUT.MIN_SIZE_TEST", 0, "DATA.LOADER", "classification"),
                *("DATA.REGISTER", entries, "DATASETS.TRAIN", ["colours_train"], "DATASETS.TEST", ["colours_test"]),
                *(
                    "DATALOADER.NUM_WORKERS",
                    0,
                    "SOLVER.IMS_PER_BATCH",
                    6,
                    "SOLVER.MAX_ITER",
                    12,
                    "SOLVER.BASE_LR",
                    0.01,
                ),
                *("SOLVER.WARMUP_ITERS", 0, "SEED", 1, "TEST.FRAMES_PER_BATCH", 5, "OUTPUT_DIR", str(tmp_path / "out")),
                *options,
            ],
        )

    return make
