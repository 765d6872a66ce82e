"""A tiny random LLaVA model with its processor, as a folder that transformers loads."""

from pathlib import Path

import torch

WORDS = "USER: ASSISTANT: what is this thing ? a red blue green ball box on the left right far near".split()
SIDE, PATCH = 24, 4


def write_llava(folder: Path, *, seed: int = 0) -> Path:
    """Write it: 36 image tokens, 4 vision and 6 language layers. Needs transformers."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    special = ["<pad>", "<s>", "</s>", "<unk>", "<image>"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), special))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, **names)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    square = {"height": SIDE, "width": SIDE}
    images = transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=square)
    transformers.LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
    ).save_pretrained(folder)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    vision = transformers.CLIPVisionConfig(num_hidden_layers=4, image_size=SIDE, patch_size=PATCH, **shape)
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    text = transformers.LlamaConfig(
        vocab_size=len(vocabulary), num_hidden_layers=6, num_key_value_heads=2, **shape, **ends
    )
    torch.manual_seed(seed)
    config = transformers.LlavaConfig(vision_config=vision, text_config=text, image_token_index=vocabulary["<image>"])
    model = transformers.LlavaForConditionalGeneration(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    model.save_pretrained(folder)
    return folder
