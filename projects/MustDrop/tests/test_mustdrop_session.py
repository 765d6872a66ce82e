"""The context on tiny models: off, slicing by hand, a masked oracle, and every way to generate."""

from contextlib import ExitStack
from functools import partial

import pytest
import torch

pytest.importorskip("transformers", reason="the extra transformers is not installed")

from mustdrop import MustDrop, Setting
from tiny_llava import IMAGE, prompt, tiny_llava

DROP = Setting(merge_threshold=None, layers=(1, 3), gamma=0.1, alpha=0.03)
LIMIT = {"max_new_tokens": 6, "do_sample": False}


@pytest.fixture(scope="module")
def model():
    return tiny_llava()


def logits(model, inputs):
    with torch.no_grad():
        return model(**inputs).logits


def test_off_and_left_contexts_equal_the_untouched_model(model):
    inputs, before = prompt(), dict(vars(model))
    dense, tokens = logits(model, inputs), model.generate(**inputs, **LIMIT)
    with MustDrop(model, setting="off"):
        assert torch.equal(logits(model, inputs), dense)
        assert torch.equal(model.generate(**inputs, **LIMIT), tokens)
    with MustDrop(model, setting=DROP):
        assert logits(model, inputs).shape[1] < dense.shape[1]
    assert vars(model).keys() == before.keys()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.model.language_model.layers)
    assert model.config.get_text_config()._attn_implementation == "sdpa"
    assert torch.equal(logits(model, inputs), dense)
    assert torch.equal(model.generate(**inputs, **LIMIT), tokens)


def test_text_alone_is_untouched_within_the_context(model):
    text = {name: value[:, -5:] for name, value in prompt().items() if name != "pixel_values"}
    dense, tokens = logits(model, text), model.generate(**text, **LIMIT)
    with MustDrop(model, setting=DROP):
        model.generate(**prompt(), **LIMIT)
        assert torch.equal(logits(model, text), dense)
        assert torch.equal(model.generate(**text, **LIMIT), tokens)


@pytest.mark.parametrize("kind", ["sdpa", "eager"])
def test_a_full_key_set_drops_nothing(kind):
    model, inputs = tiny_llava(attn_implementation=kind), prompt()
    dense, tokens = logits(model, inputs), model.generate(**inputs, **LIMIT)
    keep_all = Setting(merge_threshold=None, key_ratio=1.0, gamma=2.0, alpha=2.0, layers=(1, 3))
    with MustDrop(model, setting=keep_all) as mustdrop:
        assert torch.allclose(logits(model, inputs), dense, atol=1e-5)
        assert torch.equal(model.generate(**inputs, **LIMIT), tokens)
    assert mustdrop.reports[0].counts == (36, 36, 36)


def test_prefill_drop_equals_slicing_by_hand(model):
    inputs = prompt()
    with MustDrop(model, setting=DROP) as mustdrop:
        measured = logits(model, inputs)
    first, second = mustdrop.reports[0].prefill.stages
    assert len(second) < len(first) < inputs["input_ids"].shape[1]
    inner = model.model
    with torch.no_grad():
        hidden = mustdrop.encoder(inputs["input_ids"][0], inputs["pixel_values"]).embeds
        tables = inner.language_model.rotary_emb(hidden, torch.arange(hidden.shape[1])[None])
        for index, layer in enumerate(inner.language_model.layers):
            hidden = layer(hidden, position_embeddings=tables)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
            rows = {1: first, 3: second}.get(index)
            if rows is not None:
                hidden, tables = hidden[:, rows], tuple(table[:, rows] for table in tables)
        by_hand = model.lm_head(inner.language_model.norm(hidden))
    assert torch.equal(measured, by_hand)


class Oracle:
    """The same computation at full length: what a layer does not have any more is masked for its queries."""

    def __init__(self, model, prefill, layers):
        self.model, self.length, self.layers = model, prefill.length, layers
        at_each = [torch.arange(prefill.length)]
        for rows in prefill.stages:
            at_each.append(at_each[-1][rows])
        self.alive = at_each

    def attached(self):
        stack = ExitStack()
        for index, layer in enumerate(self.model.model.language_model.layers):
            hook = partial(self._mask, index)
            stack.callback(layer.register_forward_pre_hook(hook, with_kwargs=True).remove)
        return stack

    def _mask(self, index, layer, args, kwargs):
        queries = args[0].shape[1]
        if queries > 1:
            total, rows = queries, self.alive[sum(k < index for k in self.layers)]
        else:
            cache = kwargs.get("cache") or kwargs["past_key_values"]
            total, rows = cache.get_seq_length(index) + 1, self.alive[-1 if index >= self.layers[0] else 0]
        seen = torch.ones(total, dtype=torch.bool)
        seen[: self.length] = False
        seen[rows] = True
        mask = seen.expand(queries, -1).tril(total - queries)
        # rows that are gone see themselves, so that no softmax is empty; nobody sees them
        mask = mask | torch.eye(total, dtype=torch.bool)[-queries:]
        return args, {**kwargs, "attention_mask": mask[None, None]}


WAYS = {
    "greedy": {"do_sample": False},
    "sampling": {"do_sample": True, "temperature": 1.5, "num_return_sequences": 3},
    "beams": {"do_sample": False, "num_beams": 3},
    "beam sampling": {"do_sample": True, "num_beams": 2, "num_return_sequences": 2},
}


@pytest.mark.parametrize("way", ["greedy", "sampling", "beams", pytest.param("beam sampling", marks=pytest.mark.slow)])
def test_generation_equals_the_masked_oracle(model, way):
    options = {"max_new_tokens": 8, "suppress_tokens": [IMAGE], "return_dict_in_generate": True, "output_logits": True}

    def generate():
        torch.manual_seed(1)
        output = model.generate(**prompt(), **options, **WAYS[way])
        return output.sequences, torch.cat(output.logits)

    with MustDrop(model, setting=DROP) as mustdrop:
        ours, logits = generate()
    prefill = mustdrop.reports[0].prefill
    assert prefill.counts[-1] < prefill.counts[1] < prefill.counts[0]
    with Oracle(model, prefill, (1, 3)).attached():
        oracle, oracle_logits = generate()
    assert torch.equal(ours, oracle) and torch.allclose(logits, oracle_logits, atol=1e-4)
    _, dense_logits = generate()
    assert not torch.allclose(logits[0], dense_logits[0], atol=1e-2)


def test_decode_logits_equal_the_masked_oracle_with_eager_attention():
    model, inputs = tiny_llava(attn_implementation="eager"), prompt()
    options = {**LIMIT, "return_dict_in_generate": True, "output_logits": True}
    with MustDrop(model, setting=DROP) as mustdrop:
        ours = model.generate(**inputs, **options)
    model.set_attn_implementation("sdpa")
    with Oracle(model, mustdrop.reports[0].prefill, (1, 3)).attached():
        oracle = model.generate(**inputs, **options)
    assert torch.equal(ours.sequences, oracle.sequences)
    assert torch.allclose(torch.cat(ours.logits), torch.cat(oracle.logits), atol=1e-5)


def test_renumbered_positions_differ_after_the_first_drop_only(model):
    outputs = {}
    for positions in ("original", "renumber"):
        with MustDrop(model, setting=DROP, positions=positions) as mustdrop:
            last = logits(model, prompt())
        outputs[positions] = (*mustdrop.reports[0].prefill.attention, last)
    assert torch.equal(outputs["original"][0], outputs["renumber"][0])
    assert not torch.allclose(outputs["original"][2][:, -1], outputs["renumber"][2][:, -1], atol=1e-4)


def test_a_padded_batch_equals_its_prompts_alone(model):
    one, two = prompt(seed=1), prompt(seed=2, text=8)
    pad = two["input_ids"].shape[1] - one["input_ids"].shape[1]
    padded = {name: torch.nn.functional.pad(one[name], (pad, 0)) for name in ("input_ids", "attention_mask")}
    batch = {name: torch.cat([padded.get(name, one[name]), two[name]]) for name in one}
    with MustDrop(model, setting=DROP) as mustdrop:
        both = model.generate(**batch, **LIMIT)
        counts = [report.counts for report in mustdrop.reports]
        alone = [model.generate(**inputs, **LIMIT) for inputs in (one, two)]
    assert torch.equal(both[0, :pad], torch.zeros(pad, dtype=torch.long))
    for row, tokens, cut in zip(both, alone, (pad, 0)):
        end = cut + tokens.shape[1]
        assert torch.equal(row[cut:end], tokens[0]) and (row[end:] == 0).all()
    assert counts[0] != counts[1]


def test_merging_shortens_the_prompt_and_the_length_limit_counts_it_whole(model):
    inputs = prompt()
    length = inputs["input_ids"].shape[1]
    with MustDrop(model, setting=Setting(merge_threshold=-1.0, gamma=0.04, alpha=0.06)) as mustdrop:
        tokens = model.generate(**inputs, max_length=length + 4, min_length=length + 4, do_sample=False)
    report = mustdrop.reports[0]
    assert report.counts[0] == 4 and report.image_tokens == 36
    assert tokens.shape[1] == length + 4
    assert torch.equal(tokens[:, :length], inputs["input_ids"])


def test_a_border_that_no_window_covers_is_not_merged():
    model = tiny_llava(side=7)
    with MustDrop(model, setting=Setting(merge_threshold=-1.0, gamma=0.04, alpha=0.06)) as mustdrop:
        model.generate(**prompt(7), **LIMIT)
    assert mustdrop.reports[0].counts[0] == 49 - 4 * 8


def test_next_keeps_the_key_set_at_its_packed_places():
    model = tiny_llava("next")
    size = torch.tensor([[40, 22]])
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(1, 3, 3, 24, 24, generator=generator)
    packed = model.model.get_image_features(pixels, size)
    count = len(getattr(packed, "pooler_output", packed)[0])
    inputs = {**prompt(placeholders=count), "pixel_values": pixels, "image_sizes": size}
    dense = model.generate(**inputs, **LIMIT)
    keys_only = Setting(key_ratio=0.1, gamma=2.0, alpha=2.0, layers=(1,))
    with MustDrop(model, setting=keys_only) as mustdrop:
        tokens = model.generate(**inputs, **LIMIT)
        encoded = mustdrop.encoder(inputs["input_ids"][0], pixels, size)
    report, attention = mustdrop.reports[0], mustdrop.encoder.vision.attention
    chosen = attention.topk(4, dim=1).indices
    with torch.no_grad():
        tower = model.model.vision_tower(pixels[0], output_hidden_states=True).hidden_states[-2][:, 1:]
        patches = model.model.multi_modal_projector(tower)
    features = encoded.embeds[0, 3 : 3 + count][encoded.prefill.keys]
    wanted = patches.gather(1, chosen[..., None].expand(-1, -1, 32)).flatten(0, 1)
    distance = torch.cdist(features, wanted)
    # unpadding cuts patches off, so some of the key set may be gone; what is left is of it
    assert 0 < len(features) < len(wanted) and distance.min(1).values.max() < 1e-3
    assert report.merge.startswith("off") and report.counts == (count, len(features))
    assert torch.equal(tokens[:, : -tokens.shape[1] + inputs["input_ids"].shape[1]], inputs["input_ids"])
    assert tokens.shape[1] <= dense.shape[1] and IMAGE not in tokens[0, inputs["input_ids"].shape[1] :]


@pytest.mark.slow
def test_saved_checkpoints_are_taken_by_path(model, tmp_path):
    import transformers

    with MustDrop(model, setting=DROP):
        tokens = model.generate(**prompt(), **LIMIT)
    model.save_pretrained(tmp_path)
    again = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    with MustDrop(again, setting=DROP):
        assert torch.equal(again.generate(**prompt(), **LIMIT), tokens)
