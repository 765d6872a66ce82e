"""Packaging of the controls. effowt_d2 is deliberately not a requirement: it is this checkout."""

from setuptools import find_packages, setup

setup(
    name="effowt_ablations",
    version="0.1",
    description="Controls of EffOWT's open questions, for effowt_d2",
    packages=find_packages(include=["effowt_ablations", "effowt_ablations.*"]),
    python_requires=">=3.10",
)
