"""What cannot work is one error that names it, before anything runs."""

import pytest
import torch

pytest.importorskip("transformers", reason="the extra transformers is not installed")

from mustdrop import MustDrop, Setting
from tiny_llava import IMAGE, TEXT, prompt, tiny_llava

DROP = Setting(layers=(1, 3), gamma=0.1, alpha=0.03)


@pytest.fixture(scope="module")
def model():
    return tiny_llava()


def test_models_that_are_no_llava():
    import transformers

    language = transformers.LlamaForCausalLM(transformers.LlamaConfig(**TEXT))
    for other in (language, torch.nn.Linear(1, 1)):
        with pytest.raises(TypeError, match=f"(?s)LlavaForConditionalGeneration.*{type(other).__name__}"):
            MustDrop(other)


def test_a_tower_without_class_token():
    import transformers

    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4}
    config = transformers.LlavaConfig(
        vision_config=transformers.SiglipVisionConfig(image_size=24, patch_size=4, **vision),
        text_config=transformers.LlamaConfig(**TEXT),
    )
    with pytest.raises(TypeError, match="class token.*Siglip"):
        MustDrop(transformers.LlavaForConditionalGeneration(config))


@pytest.mark.parametrize(
    "config, words",
    [
        ({"vision_feature_select_strategy": "full"}, "full"),
        ({"vision_feature_layer": [-2, 1]}, r"vision_feature_layer.*1"),
    ],
)
def test_features_that_a_merge_cannot_serve(config, words):
    with pytest.raises(ValueError, match=words):
        MustDrop(tiny_llava(**config))


@pytest.mark.parametrize(
    "options, word",
    [
        ({"prompt_lookup_num_tokens": 2}, "prompt_lookup_num_tokens"),
        ({"cache_implementation": "static"}, "static"),
        ({"custom_generate": "some/loop"}, "custom_generate"),
        ({"prefill_chunk_size": 4}, "prefill_chunk_size"),
        ({"use_cache": False}, "use_cache"),
        ({"inputs_embeds": torch.zeros(1, 2, 32)}, "inputs_embeds"),
    ],
)
def test_ways_to_generate(model, options, word):
    with MustDrop(model, setting=DROP), pytest.raises(ValueError, match=word):
        model.generate(**prompt(), max_new_tokens=2, **options)


@pytest.mark.parametrize("positional", [True, False])
def test_a_batch_has_no_dict(model, positional):
    one = prompt()
    both = {name: torch.cat([value, value]) for name, value in one.items()}
    ids = (both.pop("input_ids"),) if positional else ()
    with MustDrop(model, setting=DROP), pytest.raises(ValueError, match="return_dict_in_generate.*2"):
        model.generate(*ids, **both, return_dict_in_generate=True, max_new_tokens=2)


def test_one_prompt_may_be_positional(model):
    inputs = prompt()
    with MustDrop(model, setting=DROP):
        named = model.generate(**inputs, max_new_tokens=2)
        given = model.generate(inputs.pop("input_ids"), **inputs, return_dict_in_generate=True, max_new_tokens=2)
        with pytest.raises(ValueError, match="input_ids"):
            model.generate(pixel_values=inputs["pixel_values"])
    assert torch.equal(given.sequences, named)


def change(inputs, **values):
    return {**inputs, **values}


def test_prompts(model):
    one = prompt()
    ids, pixels = one["input_ids"], one["pixel_values"]
    split = torch.cat([ids[:, :10], torch.tensor([[5]]), ids[:, 10:]], 1)
    cases = {
        "text stands between": change(one, input_ids=split, attention_mask=torch.ones_like(split)),
        "no text follows": change(one, input_ids=ids[:, :39], attention_mask=torch.ones(1, 39)),
        f"no image token {IMAGE}": change(one, input_ids=ids[:, :3], attention_mask=torch.ones(1, 3)),
        "36 image tokens.*2 images give 72": change(one, pixel_values=pixels.expand(2, -1, -1, -1)),
        "1 images for 2 prompts": change(one, input_ids=ids.expand(2, -1), attention_mask=torch.ones(2, ids.shape[1])),
    }
    with MustDrop(model, setting=DROP):
        for words, inputs in cases.items():
            with pytest.raises(ValueError, match=words):
                model.generate(**inputs, max_new_tokens=2)


def test_several_images_of_next():
    model = tiny_llava("next")
    inputs = {**prompt(), "pixel_values": torch.zeros(2, 3, 3, 24, 24), "image_sizes": torch.tensor([[40, 22]] * 2)}
    with MustDrop(model, setting=DROP), pytest.raises(ValueError, match="2 images"):
        model.generate(**inputs, max_new_tokens=2)


def test_different_or_padded_rows_in_one_forward(model):
    one, two = prompt(seed=1), prompt(seed=2)
    both = {name: torch.cat([one[name], two[name]]) for name in one}
    padded = torch.ones_like(one["attention_mask"])
    padded[0, 0] = 0
    with MustDrop(model, setting=DROP):
        with pytest.raises(ValueError, match="2 different prompts"):
            model(**both)
        with pytest.raises(ValueError, match="padded"):
            model(**change(one, attention_mask=padded))


def test_equal_rows_in_one_forward_equal_one(model):
    one = prompt()
    both = {name: torch.cat([value, value]) for name, value in one.items()}
    with MustDrop(model, setting=DROP), torch.no_grad():
        alone, rows = model(**one).logits, model(**both).logits
    assert torch.allclose(rows, alone.expand_as(rows), atol=1e-5)


def test_another_turn_on_a_shortened_cache(model):
    with MustDrop(model, setting=DROP), torch.no_grad():
        output = model(**prompt(), use_cache=True)
        cache = output.past_key_values
        with pytest.raises(ValueError, match="3 tokens"):
            model(input_ids=torch.tensor([[4, 5, 6]]), past_key_values=cache)
        with pytest.raises(ValueError, match="cache holds 44 tokens"):
            model.generate(**prompt(), past_key_values=cache, max_new_tokens=2)


def test_training_positions_and_nesting(model):
    with pytest.raises(ValueError, match="original.*renumber.*backwards"):
        MustDrop(model, positions="backwards")
    with MustDrop(model, setting=DROP):
        with pytest.raises(RuntimeError, match="already"):
            MustDrop(model, setting=DROP).__enter__()
        model.train()
        with pytest.raises(ValueError, match="eval"):
            model(**prompt())
        model.eval()
        # the refusals left nothing behind
        assert model.generate(**prompt(), max_new_tokens=2).shape[1] <= 46


def test_thresholds_that_drop_the_whole_image(model):
    everything = Setting(key_ratio=0.0, gamma=1.0, alpha=1.0, layers=(1,), merge_threshold=None)
    with MustDrop(model, setting=everything), pytest.raises(ValueError, match="all 36 vision tokens"):
        model.generate(**prompt(), max_new_tokens=2)
