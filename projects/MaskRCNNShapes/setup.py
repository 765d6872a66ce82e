"""Packaging of the project. effowt_d2 is deliberately not a requirement: it is this checkout."""

from setuptools import setup

setup(
    name="mask_rcnn_shapes",
    version="0.1",
    description="Mask R-CNN on ShapesOW with the backbone of effowt_d2",
    packages=["mask_rcnn_shapes"],
    python_requires=">=3.10",
)
