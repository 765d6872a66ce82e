"""Everything with weights. Importing this package registers it with Detectron2."""

from . import backbone, meta_arch, proposal_generator, roi_heads  # noqa: F401  (they register what they define)
