"""A tower of few tokens that trains fast: convolutions of stride 16, then the blocks of a plain ViT.

The model itself is ``effowt_d2.assets.conv_stem_vit``; this module runs it on images of any size.
"""

from open_clip.timm_model import TimmModel
from timm.models.vision_transformer_hybrid import ConvStem, HybridEmbed
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from effowt_d2.modeling.layers.masks import apply_mask

from .families import FAMILIES
from .timm_vit import TimmViT, is_plain_vit
from .tower import STRIDE


@FAMILIES.register("ConvStemViT")
class ConvStemViT(TimmViT):
    """timm's ``VisionTransformer`` behind a ``ConvStem``, without a class token, in open_clip's wrapper.

    Batch norms always use their running statistics, so that features depend neither on the batch nor on padding.
    """

    def __init__(self, trunk: TimmModel, **common):
        super().__init__(trunk, patch_size=STRIDE, **common)

    @staticmethod
    def accepts(visual: nn.Module) -> bool:
        vit = getattr(visual, "trunk", None)
        return (
            isinstance(visual, TimmModel)
            and is_plain_vit(vit)
            and isinstance(vit.patch_embed, HybridEmbed)
            and isinstance(vit.patch_embed.backbone, ConvStem)
            and vit.patch_embed.feat_ratio() == STRIDE
            and vit.num_prefix_tokens == 0
        )

    def train(self, mode: bool = True) -> "ConvStemViT":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def _patches(self, images: Tensor, mask: Tensor | None) -> Tensor:
        x = images
        for convolution in self.vit.patch_embed.backbone:
            # a 3x3 convolution of the next layer would read what this one made of the padding
            x = convolution(x)
            x = apply_mask(x, None if mask is None else _enlarged(mask, x.shape[-1] // mask.shape[-1]))
        return x


def _enlarged(mask: Tensor, times: int) -> Tensor:
    """(B, h, w) to (B, times * h, times * w)."""
    return mask.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)
