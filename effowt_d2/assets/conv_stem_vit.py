"""A vision transformer behind a convolutional stem of stride 16, as a model of timm that open_clip takes by name.

Early convolutions (arXiv 2106.14881) see edges that a 16 x 16 patch projection has to learn, so that a small
transformer on few tokens trains in far fewer steps. There is no class token; the mean of the tokens is the image.
"""

from functools import partial

from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import ConvStem, HybridEmbed

__all__ = ["conv_stem_vit_s16", "conv_stem_vit"]

STRIDE = 16


def conv_stem_vit(
    *, width: int, depth: int, heads: int, image_size: int, stem: int = 32, **kwargs
) -> VisionTransformer:
    """A transformer behind four convolutions of stride 2.

    Args:
        width, depth, heads: of the blocks.
        image_size: side of the position table in pixels; smaller and larger images interpolate it.
        stem: channels of the first convolution; each further one has twice as many, the last one ``width``.
        kwargs: further arguments of timm's ``VisionTransformer``.
    """
    convolutions = ConvStem(depth=4, channels=(stem, 2 * stem, 4 * stem, width), stride=(2, 2, 2, 2))
    convolutions.num_features = width  # asked for by timm where the stem is not run to find out
    side = image_size // STRIDE
    embed = partial(HybridEmbed, backbone=convolutions, feature_size=(side, side), proj=False)
    settings = dict(class_token=False, global_pool="avg", dynamic_img_size=True, num_classes=0)
    model = VisionTransformer(
        img_size=image_size,
        patch_size=1,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        embed_layer=embed,
        **{**settings, **kwargs},
    )
    model.default_cfg = model.pretrained_cfg = {"input_size": (3, image_size, image_size)}  # read by open_clip
    return model


@register_model
def conv_stem_vit_s16(pretrained: bool = False, **kwargs) -> VisionTransformer:
    """Width 192, six blocks, 192 pixels: 3.0 M parameters.

    Raises:
        ValueError: pretrained weights are asked for; timm has none.
    """
    if pretrained:
        raise ValueError("conv_stem_vit_s16 has no pretrained weights in timm; load a checkpoint of the CLIP model")
    for unused in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
        kwargs.pop(unused, None)
    return conv_stem_vit(width=192, depth=6, heads=3, image_size=192, **kwargs)
