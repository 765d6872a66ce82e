"""Datasets of labelled images and clips, and the training loader."""
