"""Tiny ViTs of timm in the manner of DINOv2, and towers of them with the golden weights of LoRAT and SPMTrack."""

import torch
from timm.layers import SwiGLUPacked
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from effowt_d2.modeling.peft import LoRAMethod, TMoEMethod
from effowt_d2.modeling.tower import Tower, build_tower

from . import golden
from .golden import below

COMMON = dict(img_size=154, patch_size=14, embed_dim=64, depth=2, num_heads=4, init_values=1.0)
SWIGLU = dict(img_size=40, patch_size=8, embed_dim=32, depth=1, num_heads=2, init_values=1.0)
NAMES = {"timm://tiny_dinov2": 14, "timm://tiny_dinov2_swiglu": 8, "timm://tiny_dinov2_reg": 14}
"""Names, and their patch sizes."""

_CONFIG = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_ROLES = {"attn.qkv.q": "q", "attn.qkv.k": "k", "attn.qkv.v": "v", "attn.proj": "proj"}
_ROLES |= {"mlp.fc1": "fc1", "mlp.fc2": "fc2", "mlp.w12": "fc1", "mlp.w3": "fc2"}


def _made(num_classes=0, **arguments) -> VisionTransformer:
    vit = VisionTransformer(num_classes=num_classes, **arguments)
    vit.pretrained_cfg = _CONFIG
    return vit


@register_model
def tiny_dinov2(pretrained=False, num_classes=0, **_):
    return _made(num_classes, **COMMON)


@register_model
def tiny_dinov2_reg(pretrained=False, num_classes=0, **_):
    return _made(num_classes, **COMMON, reg_tokens=2, no_embed_class=True)


@register_model
def tiny_dinov2_swiglu(pretrained=False, num_classes=0, **_):
    return _made(num_classes, **SWIGLU, mlp_ratio=5.5, mlp_layer=SwiGLUPacked, act_layer=nn.SiLU)


def lorat_tower() -> Tower:
    """The trunk and the updates of golden/lorat, on its search grid."""
    tower = build_tower("timm://tiny_dinov2", golden_file("lorat/trunk"), canvas=8, stride=14)
    LoRAMethod(rank=8, alpha=16.0).apply(tower)
    load_updates(tower, golden.golden("lorat/trained"), "lora")
    return tower


def spmtrack_tower() -> Tower:
    """The trunk and the updates of golden/spmtrack, on its search grid."""
    tower = build_tower("timm://tiny_dinov2", golden_file("spmtrack/trunk"), canvas=6, stride=14)
    TMoEMethod(rank=8, alpha=16.0, num_experts=4).apply(tower)
    load_updates(tower, golden.golden("spmtrack/trained"), "tmoe")
    return tower


def golden_file(name: str) -> str:
    """Its path; the test is skipped where it is absent."""
    golden.golden(name)
    return str(golden.FOLDER / f"{name}.safetensors")


def load_updates(tower: Tower, trained: dict[str, Tensor], kind: str) -> None:
    """Fill all adapters of a tower from a release's trained file."""
    for number, adapters in tower.adapters.items():
        of_block = below(trained, f"blocks.{number}.")
        layers = {layer for layer in _ROLES if any(key.startswith(f"{layer}.{kind}.") for key in of_block)}
        assert {_ROLES[layer] for layer in layers} == set(adapters)
        for layer in layers:
            adapters[_ROLES[layer]].load_state_dict(update_state(below(of_block, f"{layer}.{kind}.")))


def update_state(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a ``LoRA`` or ``TMoE`` from a release's layer, by its names; also of gradients."""
    if "A" in tensors:
        return dict(tensors)

    def joined(name: str, dim: int) -> Tensor:
        parts = sorted(key for key in tensors if key.startswith(f"{name}."))
        return torch.cat([tensors[key] for key in parts], dim) if parts else tensors[name]

    state = {"A": joined("compress_expert", 0), "B": joined("routed_experts", 1)}
    state["router.weight"] = tensors["expert_route.weight"]
    if "shared_expert" in tensors:
        state["ungated"] = tensors["shared_expert"]
    return state
