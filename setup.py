"""Packaging for tools that call this file, as Detectron2's users do; the metadata is in pyproject.toml."""

from setuptools import setup

setup()
