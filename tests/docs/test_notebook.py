"""docs/notebooks/quickstart.ipynb runs from the first cell to the last, with fewer steps of training."""

import os

import pytest
from helpers import ROOT

NOTEBOOK = ROOT / "docs" / "notebooks" / "quickstart.ipynb"
STEPS = 3


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="pip install 'effowt_d2[docs]'")
    from nbclient import NotebookClient

    # the kernel finds the checkout as this process does
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (training,) = (cell for cell in notebook.cells if "STEPS = 80\n" in cell.source)
    training.source = training.source.replace("STEPS = 80\n", f"STEPS = {STEPS}\n")
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "output" / "notebook" / "model_final.pth").is_file()
    images = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/jpeg" in output.get("data", ())
    ]
    assert len(images) == 2


def test_the_notebook_is_small():
    assert NOTEBOOK.stat().st_size < 200_000
