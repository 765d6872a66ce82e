"""Multiplications and cache bytes: closed forms against counters, tensors and LLaVA-1.5-7B's shape."""

import pytest
import torch
from mustdrop import Budget, LanguageShape, MustDrop, Setting, VisionShape
from mustdrop.images import ImageEncoder
from mustdrop.prefill import Prefill, PrefillDrop
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip("transformers", reason="the extra transformers is not installed")

from helpers.golden import golden_manifest
from tiny_llava import prompt, tiny_llava

DROP = Setting(layers=(1, 3), gamma=0.1, alpha=0.03)
SEVEN_B = LanguageShape(layers=32, width=4096, inner=11008, heads=32, kv_heads=32, head_dim=128, vocab=32064)
CLIP_L = VisionShape(layers=24, width=1024, inner=4096, patch=14, patches=576, projected=4096)


def macs(counter):
    return counter.get_total_flops() // 2


MERGE_ALL = Setting(merge_threshold=-1.0, layers=(2,), gamma=2.0, alpha=2.0)


@pytest.mark.parametrize("setting", [pytest.param(DROP, marks=pytest.mark.slow), MERGE_ALL])
def test_closed_forms_equal_what_is_counted(setting):
    model, inputs = tiny_llava(attn_implementation="eager"), prompt()
    with MustDrop(model, setting=setting) as mustdrop, torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            output = model.generate(**inputs, max_new_tokens=1, return_dict_in_generate=True)
        report = mustdrop.reports[0]
        with FlopCounterMode(display=False) as vision:
            model.model.vision_tower.requires_grad_(False)
            ImageEncoder(model, setting)(inputs["input_ids"][0], inputs["pixel_values"])
        with FlopCounterMode(display=False) as step:
            model(input_ids=torch.tensor([[4]]), past_key_values=output.past_key_values)
    budget, prefill = report.budget, report.prefill
    # what MustDrop itself computes: the class row with all its keys, and the text rows at each pruning layer
    tokens = report.tile_tokens
    row = (tokens + 2) * 32 * 32 + (tokens + 1) * 32
    looks = sum(
        (prefill.length - 3 - report.counts[0]) * n * 32 for n in [budget.prefill_lengths[i] for i in report.layers]
    )
    assert macs(vision) - row == budget.vision_macs
    # transformers 4.57 makes the rotary angles by a product, 4 channels a position
    assert macs(counter) - macs(vision) - looks - budget.prefill_macs in (0, 4 * prefill.length)
    assert macs(step) - budget.decode_macs() in (0, 4)
    cache = output.past_key_values.layers
    assert prefill.cache_lengths == budget.cache_lengths
    # a step has grown every layer by one
    assert [layer.keys.shape[2] - 1 for layer in cache] == budget.cache_lengths
    assert prefill.cache_bytes == budget.cache_bytes(4)
    assert budget.prefill_macs < report.dense.prefill_macs and budget.vision_macs <= report.dense.vision_macs
    assert f"{report.image_tokens}, then" in str(report)


def test_prefill_formula_equals_the_release():
    manifest = golden_manifest("mustdrop")
    shape = manifest["config"]
    language = LanguageShape(
        layers=32, width=shape["D"], inner=shape["I"], heads=shape["H"], kv_heads=shape["Hkv"], head_dim=6, vocab=64
    )
    for name, cost in manifest["cost"]["values"].items():
        run = manifest["runs"][name]
        budget = Budget(
            language=language,
            vision=CLIP_L,
            layers=(2, 6, 10, 14),
            counts=tuple(run["vision_tokens_by_stage"]),
            text=10,
        )
        lengths = budget.prefill_lengths
        assert lengths == cost["lengths_entering_each_layer"]
        # the release applies the head to every row that is left
        assert language.macs(lengths, logits=lengths[-1]) == cost["counted_MACs"]
        assert budget.mean_tokens == run["equal_token_number_printed"]
        assert budget.cache_lengths == run["cache_lengths_after_policy"]


def seven_b(counts, layers, text=0, **tiles):
    return Budget(language=SEVEN_B, vision=CLIP_L, layers=layers, counts=counts, text=text, **tiles)


def test_cache_of_llava_next_7b_in_half_precision():
    # megabytes that the DART paper's authors measured: 1512 and 168
    assert round(seven_b((2880,), ()).cache_bytes() / 1e6) == 1510
    assert round(seven_b((320,), ()).cache_bytes() / 1e6) == 168


def less(ours, dense):
    """Per cent of prefill MACs and cache bytes that are saved."""
    pairs = (ours.prefill_macs, dense.prefill_macs), (ours.cache_bytes(), dense.cache_bytes())
    return [round(100 * (1 - few / many), 1) for few, many in pairs]


def test_92_percent_compression_at_7b():
    """Three readings of 45 of 576 tokens; the abstract says 88.5 % fewer FLOPs."""
    dense, with_text = seven_b((576,), ()), seven_b((576,), (), text=60)
    assert round(100 * (1 - 45 / 576), 1) == 92.2
    # 45 in every layer
    assert less(seven_b((45,), ()), dense) == [92.3, 92.2]
    assert less(seven_b((45,), (), text=60), with_text) == [83.8, 83.5]
    # 440 after a typical merge, 45 after the first pruning layer: what a layer of the cache keeps
    late = {"counts": (440, 45), "layers": (2,), "tile_tokens": 440}
    assert less(seven_b(**late), dense) == [85.9, 87.9]
    assert less(seven_b(**late, text=60), with_text) == [78.0, 79.6]
    assert seven_b(**late).cache_bytes() == 2 * 4096 * 2 * (2 * 440 + 30 * 45)
    # a mean of 46, the least that a key set of 8 % of 328 tokens allows
    small = {"counts": (328, 27), "layers": (2,), "tile_tokens": 328}
    assert less(seven_b(**small), dense) == [90.6, 92.0]
    assert less(seven_b(**small, text=60), with_text) == [82.2, 83.4]


@pytest.mark.slow
def test_prefill_at_7b_on_the_meta_device():
    import transformers

    if transformers.__version__ < "5":
        pytest.skip("transformers 4 makes rotary tables under autocast, which the meta device does not have")
    config = transformers.LlamaConfig(vocab_size=32064, attn_implementation="eager")
    with torch.device("meta"):
        language = transformers.LlamaModel(config).half().eval()
    assert LanguageShape.from_config(config) == SEVEN_B
    left = iter((192, 96, 64, 45))

    class Counts:
        """On the meta device there is no attention to judge by."""

        def __call__(self, attention, protected):
            return torch.arange(next(left))

    layers, counts = (2, 6, 10, 14), (440, 192, 96, 64, 45)
    drop = PrefillDrop(language, layers=layers, choose=Counts())
    run = Prefill(prefix=35, vision=440, length=500, keys=torch.arange(0))
    with drop.attached(), FlopCounterMode(display=False) as counter, torch.no_grad():
        drop.expect(run)
        language(inputs_embeds=torch.empty(1, 500, 4096, dtype=torch.half, device="meta"), use_cache=True)
    budget = seven_b(counts, layers, text=60)
    looks = sum(25 * n * 4096 for n in (budget.prefill_lengths[i] for i in layers))
    assert macs(counter) - looks == budget.prefill_macs - SEVEN_B.width * SEVEN_B.vocab
    assert run.cache_lengths == budget.cache_lengths and run.cache_bytes == budget.cache_bytes()


def test_counts_that_do_not_fall_are_an_error():
    with pytest.raises(ValueError, match=r"2 layers.*\(5, 6, 4\)"):
        seven_b((5, 6, 4), (1, 2))
    with pytest.raises(ValueError, match="1 layers"):
        seven_b((5,), (1,))
