"""Packaging. Detectron2 and torch are deliberately not requirements: users bring their own builds of them."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "effowt_d2" / "version.py").read_text()).group(1)

setup(
    name="effowt_d2",
    version=VERSION,
    description="Open-world tracking with a frozen vision-language model and a small side network, for Detectron2",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    packages=find_packages(include=["effowt_d2", "effowt_d2.*"]),
    package_data={
        "effowt_d2.assets": ["configs/**/*.yaml", "checkpoints/*", "vlm/*"],
        "effowt_d2.naming": ["*.txt"],
        "effowt_d2.report": ["assets/*"],
    },
    python_requires=">=3.10",
    install_requires=[
        "open_clip_torch>=3.2",
        "timm>=1.0.15",
        "safetensors",
        "fvcore>=0.1.5",
        "pycocotools>=2.0.6",
        "trackeval>=1.3.0",
        "opencv-python",
        "msgspec>=0.19",
        "scipy",
        "tqdm",
    ],
    extras_require={"test": ["pytest", "pytest-xdist", "hypothesis"], "browser": ["playwright"]},
)
