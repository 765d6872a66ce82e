"""Layers that several parts of the model share: attention on maps, valid areas, norms, recomputation, the pyramid."""
