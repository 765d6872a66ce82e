"""The release's tiny model under the names of transformers, and its recorded settings."""

import torch
from helpers.golden import below, golden, golden_manifest
from mustdrop import Setting

IMAGE = 0


def release_model():
    """LLaVA with the recorded weights, float32."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    manifest = golden_manifest("mustdrop")
    shape, derived = manifest["config"], manifest["derived"]
    vision = CLIPVisionConfig(
        hidden_size=shape["Dv"],
        intermediate_size=shape["Iv"],
        num_hidden_layers=derived["vision_layers"],
        num_attention_heads=shape["Hv"],
        image_size=shape["grid"] * shape["patch"],
        patch_size=shape["patch"],
    )
    text = LlamaConfig(
        vocab_size=shape["vocab"],
        hidden_size=shape["D"],
        intermediate_size=shape["I"],
        num_hidden_layers=derived["language_layers"],
        num_attention_heads=shape["H"],
        num_key_value_heads=shape["Hkv"],
        rms_norm_eps=derived["rms_norm_eps"],
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
    )
    # the release marks the image with -200, which is no row of the embedding; 0 does not occur in the prompt
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE, pad_token_id=None)
    model = LlavaForConditionalGeneration(config).eval()
    _load(model, below(golden("mustdrop/mustdrop"), "weights/"))
    return model


def _load(model, weights):
    inner, tower = model.model, "model.vision_tower.vision_tower."
    text = {name: value.float() for name, value in weights.items() if name.startswith("model.")}
    vision = {name[len(tower) :]: text.pop(name) for name in list(text) if name.startswith(tower)}
    if not hasattr(inner.vision_tower, "vision_model"):
        vision = {name.removeprefix("vision_model."): value for name, value in vision.items()}
    projector = {
        f"linear_{1 + index // 2}.{kind}": text.pop(f"model.mm_projector.{index}.{kind}")
        for index in (0, 2)
        for kind in ("weight", "bias")
    }
    missing, unexpected = inner.vision_tower.load_state_dict(vision, strict=False)
    assert not unexpected and all("position_ids" in name for name in missing)
    inner.multi_modal_projector.load_state_dict(projector)
    inner.language_model.load_state_dict({name.removeprefix("model."): value for name, value in text.items()})
    model.lm_head.weight.data.copy_(weights["lm_head.weight"].float())


def release_inputs(tensors, images=1):
    """The recorded prompt with a placeholder per patch of each image."""
    ids = tensors["input_ids"][0].long()
    at = int((ids == -200).nonzero())
    image = torch.full((144 * images,), IMAGE)
    return torch.cat([ids[:at], image, ids[at + 1 :]])[None]


def setting_of(run):
    """The setting of a recorded run, from its entry of the manifest."""
    return Setting(gamma=run["gamma"], alpha=run["alpha"], layers=(2, 6, 10, 14))
