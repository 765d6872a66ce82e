"""The box head's normalisation, the same with every version of Detectron2."""

from detectron2.modeling.roi_heads import ROI_BOX_HEAD_REGISTRY, FastRCNNConvFCHead
from timm.layers import LayerNorm2d

__all__ = ["OpenWorldBoxHead"]


@ROI_BOX_HEAD_REGISTRY.register()
class OpenWorldBoxHead(FastRCNNConvFCHead):
    """Convolutions and fully connected layers, where ``MODEL.ROI_BOX_HEAD.NORM`` may also be ``"LN"``.

    Detectron2 v0.6 doesn't know that name; parameters are laid out as in the versions that do.
    """

    @classmethod
    def from_config(cls, cfg, input_shape):
        ret = super().from_config(cfg, input_shape)
        if ret["conv_norm"] == "LN":
            ret["conv_norm"] = LayerNorm2d
        return ret
