"""The release's models with this project's parts: a tiny ViT, and ViT-B/16, with recorded weights."""

import numpy as np
import torch
from sparse_tuning import ImageClassifier
from sparse_tuning.classifier import ClassifierHead
from sparse_tuning.data.views import test_view
from sparse_tuning.features import PooledTower
from sparse_tuning.mixing import Mixing
from sparse_tuning.released import ReleasedReduction
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer

from effowt_d2.modeling.peft import DenseAdapterMethod
from effowt_d2.modeling.tower import build_tower

SPARSE = [3, 6, 9]
TINY, FULL = "timm://sparse_tuning_tiny", "timm://sparse_tuning_base"
_ZERO = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def _made(**arguments):
    vit = VisionTransformer(num_classes=0, **arguments)
    vit.pretrained_cfg = _ZERO
    return vit


@register_model
def sparse_tuning_tiny(pretrained=False, num_classes=0, **_):
    return _made(img_size=32, patch_size=4, embed_dim=32, depth=12, num_heads=4, mlp_ratio=3.0)


@register_model
def sparse_tuning_base(pretrained=False, num_classes=0, **_):
    return _made(img_size=224, patch_size=16)


def released_classifier(name, weights, *, size, dim, rates=(0.7,), fuse=True, norm=False):
    """The classifier with weights by the release's names; pixels go in as they are, times 255."""
    tower = build_tower(name, "", allow_random=True, canvas=0, stride={TINY: 4, FULL: 16}[name])
    trunk = {key: value for key, value in weights.items() if "adaptmlp" not in key and not key.startswith("head")}
    tower.trunk.load_state_dict(trunk)
    DenseAdapterMethod(variant="released", dim=dim).apply(tower)
    for number, adapter in enumerate(tower.companions["peft"].blocks):
        prefix = f"blocks.{number}.adaptmlp."
        adapter.load_state_dict({k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)})
    settings = {"blocks": SPARSE, "keep_rates": list(rates), "fuse": fuse, "rebuild": "follow" if fuse else "hold"}
    reduction = ReleasedReduction(tower=tower, **settings)
    backbone = PooledTower(tower=tower, reduction=reduction, size=size, add_embedding=True)
    head = ClassifierHead(tower.embed_dim, len(weights["head.bias"]), norm=norm)
    head[-1].load_state_dict({"weight": weights["head.weight"], "bias": weights["head.bias"]})
    view = test_view(size, crop="squash")
    return ImageClassifier(backbone=backbone, head=head, view=view, mixing=Mixing(len(head[-1].bias))).eval()


def weights_by_formula(shapes):
    """Those of the manifest's section ``full``, from names and shapes in order."""
    weights = {}
    for number, (name, shape) in enumerate(shapes.items()):
        t = np.random.RandomState(7000 + number).standard_normal(int(np.prod(shape))).astype(np.float32).reshape(shape)
        if "norm" in name and name.endswith("weight"):
            t = 1 + 0.1 * t
        elif name.endswith("bias"):
            t = 0.02 * t
        elif name in ("cls_token", "pos_embed"):
            t = 0.5 * t
        elif "patch_embed" in name:
            t = t / np.sqrt(np.prod(shape[1:]))
        else:
            t = t / np.sqrt(shape[1])
            if "qkv" in name:
                t[: 2 * 768] *= 1.5
            if "adaptmlp" in name:
                t *= 0.5
        weights[name] = torch.from_numpy(t.astype(np.float32))
    return weights
