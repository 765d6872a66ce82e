"""Install Detectron2 into the Python that runs this file, unless it already has one.

``v0.6`` comes from a hash-checked source distribution and needs no compiler: it ships the Python files of
the tag but not the C++ sources, so they are installed as a pure-Python package. What of Detectron2 needs
the compiled ``_C`` (rotated boxes, deformable convolution, the fast COCO evaluation) raises a clear error
when used; everything this plugin does runs without it, on torchvision's operators.

``main`` is built from the upstream repository and needs a compiler and network access to it.
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

UPSTREAM = "git+https://github.com/facebookresearch/detectron2.git@main"

# Stands where the compiled module would: importing works (v0.6 imports it at module level), using it does not.
NO_C = '''"""Stand-in for the compiled operators, which this pure-Python build does not have."""


def get_compiler_version():
    """Asked for by Detectron2's report of its environment."""
    return "none (pure-Python build)"


get_cuda_version = get_compiler_version


def has_cuda():
    return False


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    raise RuntimeError(
        f"detectron2._C.{name} was called, but this Detectron2 is a pure-Python build without compiled operators. "
        "Build Detectron2 from its repository to use it."
    )
'''

SETUP = """
from setuptools import find_packages, setup

setup(
    name="detectron2",
    version="0.6",
    description="Detectron2 v0.6 without compiled operators",
    packages=find_packages(),
    package_data={"detectron2.model_zoo": ["configs/**/*.yaml", "configs/**/*.py"]},
    python_requires=">=3.7",
)
"""


def pip(*args: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", *args], check=True)


def install_v06() -> None:
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)
        requirements = Path(__file__).with_name("detectron2.txt")
        # Its setup.py imports torch when pip asks for metadata, hence no build isolation.
        pip("download", "-q", "--no-deps", "--no-build-isolation", "--no-binary", ":all:", "--require-hashes",
            "-r", str(requirements), "-d", tmp)  # fmt: skip
        archive = next(folder.glob("*.tar.gz"))
        with tarfile.open(archive) as tar:
            tar.extractall(folder / "source", filter="data")
        build = folder / "build"
        shutil.copytree(next((folder / "source").glob("*/detectron2")), build / "detectron2")
        patch(build / "detectron2")
        (build / "setup.py").write_text(SETUP)
        pip("install", "-q", "--no-deps", "--no-build-isolation", str(build))


def patch(package: Path) -> None:
    """Make v0.6 importable without ``_C`` and on a Pillow that has no ``Image.LINEAR``."""
    (package / "_C.py").write_text(NO_C)
    transform = package / "data" / "transforms" / "transform.py"
    text = transform.read_text()
    if text.count("Image.LINEAR") != 1:
        raise RuntimeError(f"expected Image.LINEAR once in {transform.name}, found {text.count('Image.LINEAR')} times")
    transform.write_text(text.replace("Image.LINEAR", "Image.BILINEAR"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", choices=["v0.6", "main"])
    version = parser.parse_args().version
    if importlib.util.find_spec("detectron2") is not None:
        print("Detectron2 is already here and left alone")
        return
    print(f"installing Detectron2 {version}")
    if version == "main":
        pip("install", "--no-build-isolation", UPSTREAM)
    else:
        install_v06()


if __name__ == "__main__":
    main()
