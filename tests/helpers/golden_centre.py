"""AQATrack and EVPTrack with the weights recorded from their releases, on a tiny HiViT."""

import torch
from timm.models import register_model
from torch import Tensor

from effowt_d2.modeling.tower import build_tower

from .golden import golden

MEAN, STD = (torch.tensor(value).view(-1, 1, 1) for value in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


@register_model
def golden_hivit(pretrained=False, num_classes=0, **_):
    # projects, which helpers of the package's own tests do without
    from sot.hivit import HiViT

    return HiViT(embed_dim=32, num_heads=4, depth=2, stem_depths=(2, 2), num_classes=num_classes)


def normal(crops: Tensor) -> Tensor:
    """Recorded crops (..., S, S, 3) of bytes as the tower takes them."""
    return (crops.float().movedim(-1, -3) / 255 - MEAN) / STD


def _parts(encoder, template: int, towers: int, **more) -> dict:
    from sot.centre_head import CentreHead
    from sot.centre_loss import CentreLoss
    from sot.embedding import SeparatePositions
    from sot.square_crop import SquareCrop
    from sot.window import HannProduct

    tower = build_tower("timm://golden_hivit", "", allow_random=True, frozen=False)
    sizes = {"template_size": template, "search_size": 112}
    return {
        "backbone": encoder(tower=tower, embedding=SeparatePositions, tower_lr_factor=0.1, **sizes, **more),
        "template": SquareCrop(size=template, factor=2.0, released=True),
        "search": SquareCrop(size=112, factor=4.0, released=True),
        "selection": HannProduct(),
        "head": CentreHead(channels=32, width=32, towers=towers),
        "loss": CentreLoss(),
    }


def aqatrack_model(own: str = "train_only"):
    """AQATrack as recorded; dropout is 0 there."""
    from aqatrack import AQATrack
    from aqatrack.decoder import QueryQueue, TemporalQueryDecoder
    from aqatrack.released import own_name
    from sot.encoder import JointEncoder
    from sot.modulation import ResponseModulation

    decoder = TemporalQueryDecoder(channels=32, heads=4, dropout=0.0)
    own_parts = {"decoder": decoder, "queue": QueryQueue(own=own), "fusion": ResponseModulation()}
    return _filled(AQATrack(**_parts(JointEncoder, 64, 3), **own_parts), "aqatrack", own_name)


def evptrack_model():
    """EVPTrack as recorded."""
    from evptrack import EVPTrack
    from evptrack.encoder import PromptedEncoder
    from evptrack.released import own_name

    return _filled(EVPTrack(**_parts(PromptedEncoder, 80, 2)), "evptrack", own_name)


def _filled(model, system: str, own_name):
    names, foreign = released_names(model, golden(f"{system}/weights"), own_name)
    assert not foreign
    model.load_state_dict(names)
    return model


def released_names(model, state: dict[str, Tensor], own_name) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors by their names here; see :func:`sot.released_nets.centre_names`."""
    from sot.released_nets import centre_names

    return centre_names(state, model.backbone.tower, own_name)
