"""The blocks of each page run, one after the other, as they are but for the size of models' inputs and of trainings.

Those with a comment ``<!-- not run: REASON -->`` do not, see helpers/pages.py.
"""

import json

import pytest
from helpers import ROOT, made_videos, own_data, pages
from helpers.processes import environment, run_python

OTHER_TESTS = {"docs/own_data.md": "tests/test_own_data_page.py", "docs/plugin.md": "tests/integration/test_plugin.py"}
"""Pages whose blocks another test runs."""

DATA = (
    ["DATA.REGISTER", "[['small','data/val.json','data/images']]", "DATA.CLASSES", "['dog','car']"]
    + ["DATASETS.TRAIN", "('small',)", "DATASETS.TEST", "('small',)"]
)  # fmt: skip
SIZE = ["INPUT.MIN_SIZE_TEST", "64"]
SMALL = {
    "train_net.py": [*DATA, *SIZE, "INPUT.MIN_SIZE_TRAIN", "(64,)", "SOLVER.MAX_ITER", "1", "SOLVER.WARMUP_ITERS", "0"],
    "effowt-track": ["--overwrite", "--opts", *SIZE],
    "demo/demo.py": ["--overwrite", "--opts", *SIZE],
}
"""What a program gets behind its own arguments."""

BEFORE = {
    "docs/model_zoo.md": """
import os, torch
os.mkdir("output")
optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer)
""",
    "docs/own_video.md": """
import torch
from effowt_d2 import model_zoo
model = model_zoo.get("quick/shapes_ow_effowt.yaml", trained=True, device="cpu").eval()
images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
""",
    "docs/shapes_ow.md": "import open_clip",
    "docs/tracking.md": """
import torch
video = [(torch.tensor([[0.0, 0.0, 9.0, 9.0]]), torch.tensor([0.9]), torch.ones(1, 4))] * 3
""",
}
"""The names that a page's Python takes from the reader's program."""


def is_run(block):
    if block.kind == "commands":
        return any(run for _, run in block.commands())
    return block.kind == "python" and not block.skipped


RUN = {
    page: [block for block in pages.blocks(page) if is_run(block)] for page in pages.PAGES if page not in OTHER_TESTS
}


@pytest.fixture
def folder(tmp_path):
    """What the pages' commands name: a video, annotations with images, results, a config."""
    made_videos.make_video(tmp_path / "video.avi", 3).rename(tmp_path / "video.mp4")
    (tmp_path / "VIDEO").symlink_to("video.mp4")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    own_data.write_images(tmp_path / "data" / "images")
    truth = {**own_data.tao(), "open_world": {"known": ["dog", "car"], "distractor": []}}
    results = [{**annotation, "score": 1.0} for annotation in truth["annotations"]]
    contents = {"data/val.json": own_data.tao(), "validation.json": truth, "tao_ow_results.json": results}
    for name, content in contents.items():
        (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "your_mask_rcnn.yaml").write_text("MODEL: {META_ARCHITECTURE: GeneralizedRCNN}\nVERSION: 2\n")
    return tmp_path


def run_command(words, folder, env):
    """Run a command of a page in the folder; the files that it is to write are there afterwards."""
    program, *arguments = words
    if program == "effowt-track":
        arguments = [ROOT / "demo/demo.py", *arguments]
    elif not arguments[0].startswith("-"):
        program, arguments = arguments[0], [ROOT / arguments[0], *arguments[1:]]
    run_python(*arguments, *SMALL.get(program, ()), cwd=folder, env=env)
    for option, value in zip(arguments, arguments[1:]):
        if option in ("--output", "--results", "--report", "--json", "OUTPUT_DIR"):
            assert (folder / value).exists()


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, found in RUN.items() if found])
def test_the_blocks_run(page, folder):
    env = environment(DETECTRON2_DATASETS=str(folder / "datasets"))
    for block in RUN[page]:
        for words, run in block.commands() if block.kind == "commands" else ():
            if run:
                run_command(words, folder, env)
    code = "\n".join(block.text for block in RUN[page] if block.kind == "python")
    if code:
        run_python("-c", f"{BEFORE.get(page, '')}\n{code}", cwd=folder, env=env)


def test_every_mark_is_in_front_of_a_block():
    marked = {page: sum(bool(block.skipped) for block in pages.blocks(page)) for page in pages.PAGES}
    assert marked == {page: pages.marks(page) for page in pages.PAGES}
    assert not [page for page in OTHER_TESTS if marked[page]]


def test_the_other_tests_read_their_pages():
    for page, test in OTHER_TESTS.items():
        assert page.rpartition("/")[2] in (ROOT / test).read_text(encoding="utf-8")


def test_what_runs_is_not_little():
    assert sum(map(len, RUN.values())) >= 15
    assert RUN["README.md"] and RUN["docs/quickstart.md"] and RUN["docs/own_video.md"]
