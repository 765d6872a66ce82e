"""Datasets, mappers and samplers. Importing this package registers the datasets, without reading any."""

from .datasets.shapes_ow import register_all_shapes_ow

register_all_shapes_ow()
