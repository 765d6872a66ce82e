"""What the pages name exists: programs and their options, config keys and their values, files, modules and attributes.

Nothing of a page runs here; tests/docs/test_page_runs.py runs it.
"""

import argparse
import ast
import functools
import importlib
import importlib.util
import re
import runpy
import shlex
import sys

import pytest
import yaml
from helpers import ROOT, pages
from helpers.configs import leaves

from effowt_d2.engine import make_config
from effowt_d2.engine.config_files import find_config
from effowt_d2.engine.configs import merge_options

PROJECTS = sorted(path.parent.name for path in ROOT.glob("projects/*/*/__init__.py"))
OTHER_PROGRAMS = ("docs/coming_from.md",)
"""Pages whose inline code is of other projects too."""
OURS = ("detectron2", "effowt_d2", *PROJECTS)
EXAMPLES = ("IMAGE", "MODEL.MY_HEAD", "NAME", "OUT", "SEQUENCE", "VIDEO")
"""Beginnings of inline code in capitals that is no key of this package."""
OWN_CONFIGS = ("mine.yaml",)
"""Names of a config that the reader has written."""

BLOCKS = [block for page in pages.PAGES for block in pages.blocks(page)]
COMMANDS = [(str(block), words) for block in BLOCKS if block.kind == "commands" for words, _ in block.commands()]
# a command of several pages is looked at once
COMMANDS = {shlex.join(words): pytest.param(words, id=block) for block, words in COMMANDS}.values()


class Parsed(Exception):
    """The arguments of a program, in place of what it does with them."""


@pytest.fixture
def started(monkeypatch):
    """A function that starts a Python program up to its parsed arguments and returns these; a wrong option is an error."""
    parse = argparse.ArgumentParser.parse_args

    def stop(self, args=None, namespace=None):
        raise Parsed(parse(self, args, namespace))

    def start(run, name, *options):
        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
        monkeypatch.setattr(sys, "argv", [name, *options])
        with pytest.raises(Parsed) as parsed:
            run(name, run_name="__main__")
        return parsed.value.args[0]

    return start


def check_python(started, words):
    """`python SCRIPT ...`, `python -m MODULE ...` or `python -c CODE`."""
    if words[0] == "-c":
        compile(words[1], "-c", "exec")
        return
    args = started(runpy.run_module, *words[1:]) if words[0] == "-m" else started(runpy.run_path, *words)
    source, options = getattr(args, "config_file", None), getattr(args, "opts", None)
    if source and source not in OWN_CONFIGS:
        config = load(str(source)).clone()
        merge_options(config, options or ())


@functools.cache
def load(source):
    return make_config(source)


def check_pip(words):
    """What `pip install` is to install from the repository: folders of packages, and their extras."""
    for word in words:
        folder, _, extras = word.strip("'").partition("[")
        if folder == "." or folder.startswith("projects/"):
            extras = filter(None, extras.rstrip("]").split(","))
            package = (ROOT / folder / "pyproject.toml").read_text()
            assert all(re.search(rf"^{extra} = \[", package, re.M) for extra in extras)


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_is_understood(words, started, monkeypatch):
    monkeypatch.chdir(ROOT)
    program, *rest = words
    if program == "python":
        check_python(started, rest)
    elif program == "effowt-track":
        check_python(started, ["demo/demo.py", *rest])
    elif program == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M)
        assert {word for word in rest if "=" not in word} <= {*targets}
    elif program == "pytest":
        assert all((ROOT / word).exists() for word in rest if word.startswith("tests/"))
    else:
        assert program == "pip"
        check_pip(rest)


@pytest.mark.parametrize("block", [pytest.param(b, id=str(b)) for b in BLOCKS if b.kind == "python"])
def test_imports_of_python_resolve(block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom):
            assert all(resolves(f"{node.module}.{name.name}") for name in node.names)
        elif isinstance(node, ast.Import):
            assert all(resolves(name.name) for name in node.names)


@pytest.mark.parametrize("block", [pytest.param(b, id=str(b)) for b in BLOCKS if b.kind == "yaml"])
def test_yaml_has_known_keys(block, keys):
    named = {path for path in paths(yaml.safe_load(block.text)) if not path.startswith(EXAMPLES)}
    assert named - {"_BASE_"} <= keys


def paths(node, path=""):
    """The dotted names of the leaves of a mapping."""
    for key, value in node.items():
        yield from paths(value, f"{path}{key}.") if isinstance(value, dict) else [f"{path}{key}"]


@pytest.fixture(scope="module")
def keys():
    """All keys of Detectron2, of the package and of the projects."""
    return {*leaves(make_config(options=["IMPORTS", PROJECTS]))}


@pytest.fixture(scope="module")
def options():
    """All options of the repository's programs, Detectron2's and torchrun's."""
    files = [
        ROOT / "train_net.py",
        *ROOT.glob("effowt_d2/**/*.py"),
        *ROOT.glob("tools/**/*.py"),
        *ROOT.glob("projects/*/*/*.py"),
    ]
    ours = re.findall(r'"(--[a-z][\w-]*)"', "\n".join(file.read_text(encoding="utf-8") for file in files))
    return {
        *ours,
        "--config-file",
        "--eval-only",
        "--resume",
        "--num-gpus",
        "--num-machines",
        "--machine-rank",
        "--dist-url",
        "--nproc_per_node",
    }


@pytest.mark.parametrize("page", [page for page in pages.PAGES if page not in OTHER_PROGRAMS])
def test_inline_code_names_what_exists(page, keys, options):
    unknown = [code for code in pages.codes(page) if not exists(code, page, keys, options)]
    assert not unknown


def exists(code, page, keys, options):
    """Whether all that a piece of inline code names exists; what is none of these kinds does."""
    first, *_ = words = code.replace("...", " ").split() or [""]
    if not {*re.findall(r"(?<!\S)--[a-z][\w-]+", code)} <= options:
        return False
    if re.fullmatch(r"[A-Z][A-Z0-9_]+(\.[A-Z0-9_]+)+", first) and not first.startswith(EXAMPLES):
        return any(f".{key}.".find(f".{first}.") >= 0 for key in keys)
    if re.fullmatch(r"(EffOWT|quick|real)/\w+\.yaml", first):
        return bool(find_config(first))
    if len(words) == 1 and re.fullmatch(r"(configs|demo|docs|effowt_d2|projects|tests|tools)/[\w./-]+", code):
        return any(ROOT.glob(f"{start}{code}") for start in ("", "projects/*/"))
    if re.match(r"effowt_d2\.\w+", first):
        return resolves(first.partition("(")[0])
    return True


def resolves(name):
    """Whether a dotted name is a module, or an attribute of one; of other packages than ours, whether it is installed."""
    package = name.partition(".")[0]
    if package not in OURS:
        return importlib.util.find_spec(package) is not None
    module, _, attribute = name.rpartition(".")
    try:
        importlib.import_module(name)
        return True
    except ModuleNotFoundError:
        return bool(module) and hasattr(importlib.import_module(module), attribute)
