"""Tiny EVA-01 and EVA-02, known to timm and open_clip, and files in the layout of EVA's detectors."""

import torch
from timm.models import register_model
from timm.models.eva import Eva

from helpers.tiny_clip import register_clips

COMMON = dict(img_size=56, patch_size=14, embed_dim=64, depth=3, num_heads=4, mlp_ratio=2)
ROTARY = dict(use_rot_pos_emb=True, ref_feat_shape=(4, 4))
EVA02 = dict(qkv_fused=False, swiglu_mlp=True, scale_mlp=True, scale_attn_inner=True, **ROTARY)
SWITCHES = {"tiny-eva01": {}, "tiny-eva02": EVA02}

_TO_DETECTOR = {"fc1_g": "w1", "fc1_x": "w2", "norm": "ffn_ln"}


@register_model
def tiny_eva01(pretrained, num_classes, global_pool, **_):
    return Eva(**COMMON, **SWITCHES["tiny-eva01"], num_classes=num_classes, global_pool=global_pool)


@register_model
def tiny_eva02(pretrained, num_classes, global_pool, **_):
    return Eva(**COMMON, **SWITCHES["tiny-eva02"], num_classes=num_classes, global_pool=global_pool)


def register_tiny_evas(folder):
    """Make the names of SWITCHES known to open_clip."""
    configs = {}
    for name in SWITCHES:
        vision = {"image_size": 56, "timm_model_name": name.replace("-", "_"), "timm_pool": "token", "timm_proj": None}
        configs[name] = {"vision_cfg": vision, "custom_text": True}
    register_clips(folder, configs)


def detector_trunk(name, *, grid=3, patch_size=16):
    """What an EVA detector has for a trunk: another patch size and table, no class token, no norm in the attention."""
    torch.manual_seed(5)
    arguments = {**COMMON, **SWITCHES[name], "scale_attn_inner": False, "class_token": False}
    arguments.update(patch_size=patch_size, img_size=grid * patch_size, use_fc_norm=True, num_classes=0)
    trunk = Eva(**arguments).eval()
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return trunk


def detector_state(trunk, *, window=2, canvas=6):
    """The detector's state dict around a trunk: keys of its layout, a class token's position, its heads."""
    net = {}
    for key, value in trunk.state_dict().items():
        if not key.startswith(("fc_norm.", "norm.", "head.")):
            net[_detector_name(key, trunk.blocks[0].attn.qkv is None)] = value
    net["pos_embed"] = torch.cat([torch.randn(1, 1, net["pos_embed"].shape[-1]), net["pos_embed"]], dim=1)
    if trunk.rope is not None:
        for place in ("rope_glb", *(f"blocks.{i}.attn.rope" for i in range(len(trunk.blocks)))):
            net[f"{place}.freqs_cos"] = net[f"{place}.freqs_sin"] = torch.zeros(canvas * canvas, 16)
        net["rope_win.freqs_cos"] = net["rope_win.freqs_sin"] = torch.zeros(window * window, 16)
    state = {f"backbone.net.{key}": value for key, value in net.items()}
    state["backbone.simfp_2.0.weight"] = torch.zeros(4, 4, 2, 2)
    state["roi_heads.box_predictor.0.cls_score.weight"] = torch.zeros(2, 4)
    return state


def _detector_name(key, unfused):
    if unfused:
        key = key.replace("q_proj.bias", "q_bias").replace("v_proj.bias", "v_bias")
        for ours, theirs in _TO_DETECTOR.items():
            key = key.replace(f"mlp.{ours}.", f"mlp.{theirs}.")
        key = key.replace("mlp.fc2.", "mlp.w3.")
    return key
