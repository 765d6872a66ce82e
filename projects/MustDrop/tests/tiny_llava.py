"""Tiny random LLaVA models: 4 vision layers, 6 language layers, grouped key-value heads."""

import torch

IMAGE = 90
TEXT = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def tiny_llava(family="llava", side=6, seed=0, **config):
    """A model with ``side`` x ``side`` patches of 4 pixels, large enough weights for uneven attention."""
    import transformers

    vision = transformers.CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=4 * side,
        patch_size=4,
    )
    prefix = {"llava": "Llava", "next": "LlavaNext"}[family]
    if family == "next":
        config["image_grid_pinpoints"] = [[4 * side, 8 * side], [8 * side, 4 * side]]
    torch.manual_seed(seed)
    model = getattr(transformers, f"{prefix}ForConditionalGeneration")(
        getattr(transformers, f"{prefix}Config")(
            vision_config=vision, text_config=transformers.LlamaConfig(**TEXT), image_token_index=IMAGE, **config
        )
    )
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    return model.eval()


def prompt(model_side=6, seed=0, text=5, placeholders=None):
    """input_ids, attention_mask and pixel_values of one prompt: 3 tokens, the image, ``text`` tokens."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(3, IMAGE, (3 + text,), generator=generator)
    count = model_side**2 if placeholders is None else placeholders
    ids = torch.cat([words[:3], torch.full((count,), IMAGE), words[3:]])[None]
    side = 4 * model_side
    pixels = torch.randn(1, 3, side, side, generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
