"""The wheel: what it holds, and that an installed one works by itself."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from helpers import ROOT

from effowt_d2 import model_zoo
from effowt_d2.report.page import ASSETS
from effowt_d2.version import __version__

FOLDERS = ("configs", "demo", "docs", "effowt_d2", "projects", "tests", "tools")
# folder and file extension of everything in the wheel that is not Python
DATA = {
    ("assets/checkpoints", ".pth"),
    ("assets/checkpoints", ".yaml"),
    ("assets/configs/EffOWT", ".yaml"),
    ("assets/configs/quick", ".yaml"),
    ("assets/configs/real", ".yaml"),
    ("assets", ".txt"),
    ("assets/vlm", ".json"),
    ("assets/vlm", ".pt"),
    ("assets/vlm", ".yaml"),
    ("report/assets", ".css"),
    ("report/assets", ".html"),
    ("report/assets", ".js"),
}
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
OFFLINE = ("-q", "--no-deps", "--no-index")

USE = """
import effowt_d2
from effowt_d2 import model_zoo
for name in model_zoo.config_names():
    model_zoo.get_config(name)
model_zoo.get("quick/shapes_ow_effowt.yaml", trained=True, device="cpu")
print(effowt_d2.__file__, len(model_zoo.config_names()))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of the checkout, whole, so that what must not be packed is there."""
    source = tmp_path_factory.mktemp("source")
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, source)
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", *OFFLINE, "--no-build-isolation", "-w", target, source], check=True)
    (file,) = target.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {PurePosixPath(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """A folder that holds the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([*PIP, "install", *OFFLINE, "--target", folder, wheel], check=True)
    return folder


def test_the_wheel_holds_the_package_and_nothing_else(names):
    assert {name.parts[0] for name in names} == {"effowt_d2", f"effowt_d2-{__version__}.dist-info"}
    packed = {name for name in names if name.parts[0] == "effowt_d2"}
    python = {name for name in packed if name.suffix == ".py"}
    assert python == {PurePosixPath(file.relative_to(ROOT)) for file in (ROOT / "effowt_d2").rglob("*.py")}
    assert {(str(name.parent.relative_to("effowt_d2")), name.suffix) for name in packed - python} == DATA
    assert {name.name for name in names if "licenses" in name.parts} == {"LICENSE"}


def test_the_wheel_holds_every_shipped_file(wheel, names):
    configs = {PurePosixPath("effowt_d2/assets/configs", name) for name in model_zoo.config_names()}
    base = PurePosixPath("effowt_d2/assets/configs/EffOWT/Base-EffOWT.yaml")
    found = {name for name in names if name.suffix == ".yaml" and not name.name.endswith(".card.yaml")}
    assert found == {*configs, base}
    with zipfile.ZipFile(wheel) as archive:
        for name in configs:
            assert archive.read(str(name)) == (ROOT / "configs" / name.relative_to(base.parents[1])).read_bytes()
    for folder in (ASSETS, *(ROOT / "effowt_d2" / "assets" / name for name in ("vlm", "checkpoints"))):
        shipped = {PurePosixPath(file.relative_to(ROOT)) for file in folder.iterdir() if file.is_file()}
        assert shipped and shipped <= names


def test_an_installed_wheel_has_its_configs_and_weights(site, tmp_path):
    command = [sys.executable, "-c", USE]
    done = subprocess.run(command, cwd=tmp_path, env=dict(os.environ, PYTHONPATH=str(site)), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    place, count = done.stdout.decode().split()
    assert Path(place) == site / "effowt_d2" / "__init__.py"
    assert int(count) == len(model_zoo.config_names())


@pytest.mark.parametrize("program", ["effowt-track", pytest.param("demo.py", marks=pytest.mark.slow)])
def test_the_command_reports_errors_under_its_own_name(site, tmp_path, program):
    script = [ROOT / "demo" / "demo.py"] if program == "demo.py" else [site / "bin" / program]
    command = [sys.executable, *script, "--config-file", "gone.yaml", "--input", "clip.mp4", "--results", "r.json"]
    done = subprocess.run(command, cwd=tmp_path, env=dict(os.environ, PYTHONPATH=str(site)), capture_output=True)
    error = done.stderr.decode().splitlines()[-1]
    assert done.returncode == 2 and error.startswith(f"{program}: error: ") and "gone.yaml" in error
    assert not list(tmp_path.iterdir())
