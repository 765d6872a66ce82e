"""What the package and the projects import is declared; of the package, projects import public names only."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from itertools import chain

import pytest
from helpers import ROOT
from setuptools.config.pyprojecttoml import load_file

HOME = load_file(ROOT / "pyproject.toml")
# the folder of each project's package
PROJECTS = [
    path.parent / name
    for path in sorted(ROOT.glob("projects/*/pyproject.toml"))
    for name in load_file(path)["tool"]["setuptools"]["packages"]
    if "." not in name
]
# users bring their own builds of them, so nothing declares them
FREE = {"detectron2", "torch", "torchvision"}


def name_of(folder):
    return folder.name


def imports(folder):
    """Modules that the code imports, and names that it takes from them, as dotted paths."""
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (name.name for name in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield from (f"{node.module}.{name.name}" for name in node.names)


def plain(requirement):
    """The name in it, in small letters and without dashes."""
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("-", "_")


@pytest.mark.parametrize("folder", [ROOT / "effowt_d2", *PROJECTS], ids=name_of)
def test_everything_is_declared(folder):
    project = load_file(folder.parent / "pyproject.toml")["project"]
    extras = project.get("optional-dependencies", {}).values()
    declared = {plain(text) for text in [*project["dependencies"], *chain.from_iterable(extras)]}
    found = {path.split(".")[0] for path in imports(folder)} - {folder.name, *FREE} - sys.stdlib_module_names
    distributions = packages_distributions()
    # opencv-python-headless stands for opencv-python too
    named = {x: [plain(name) for name in distributions.get(x, [x])] for x in found}
    assert {x for x, names in named.items() if not any(name.startswith(tuple(declared)) for name in names)} == set()


@pytest.mark.parametrize("folder", PROJECTS, ids=name_of)
def test_projects_import_public_names(folder):
    paths = [path for path in imports(folder) if path.startswith("effowt_d2.")]
    assert not [path for path in paths if "._" in path]


@pytest.mark.parametrize("folder", PROJECTS, ids=name_of)
def test_import_linter_knows_the_projects(folder):
    linter = HOME["tool"]["importlinter"]
    contracts = {contract["id"]: contract for contract in linter["contracts"]}
    projects = [name for layer in contracts["projects"]["layers"] for name in layer.split(" | ")]
    lists = (linter["root_packages"], projects, contracts["projects-outside"]["source_modules"])
    assert all(folder.name in names for names in (*lists, contracts["outside"]["forbidden_modules"]))
