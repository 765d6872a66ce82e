"""Against numbers recorded from the release: every tensor below a prefix is compared, a new one fails."""

from functools import partial

import pytest
import torch
from helpers.golden import below, golden, golden_manifest

pytest.importorskip("transformers", reason="the extra transformers is not installed")

from mustdrop import DualAttentionFilter, MustDrop, Setting, merge_windows
from mustdrop.compat import cache_in, hidden_in
from mustdrop.kept_rows import rows_to_the_end
from mustdrop.vision import VisionStage, key_tokens
from mustdrop_release import release_inputs, release_model, setting_of

VISION, LANGUAGE = 5e-5, 5e-4
DROPS_NOTHING = ("pub192", "pub128", "pub64_vizwiz", "default_off")


@pytest.fixture(scope="module")
def model():
    return release_model()


@pytest.fixture
def recorded():
    return golden("mustdrop/mustdrop")


def compare(recorded, measured, tolerance):
    assert recorded and recorded.keys() <= measured.keys(), sorted(recorded.keys() - measured.keys())
    for name, value in recorded.items():
        other = torch.as_tensor(measured[name])
        assert other.shape == value.shape, (name, other.shape, value.shape)
        error = (other.double() - value.double()).abs().max() if value.numel() else 0
        assert error <= (tolerance if value.is_floating_point() else 0), (name, float(error))


def test_all_recorded_tensors_have_a_test(recorded):
    prefixes = {name.split("/")[0] for name in recorded}
    inputs = {"image", "image_batch2", "input_ids", "weights"}
    assert prefixes == inputs | {"inputs_embeds", "vision", "vision_batch2", "gen", "tiles", "merge_fn", "filter_fn"}
    assert {name.split("/")[1] for name in recorded if name.startswith("gen/")} <= set(
        golden_manifest("mustdrop")["runs"]
    )


def run_tower(model, pixels):
    """Every intermediate of the vision stage under its recorded name."""
    stage, seen = VisionStage(model.model.vision_tower, merge_threshold=0.8), {}
    handles = [
        stage.layers[1].register_forward_pre_hook(lambda _, args: seen.update({"after_merge": args[0]})),
        stage.layers[0].register_forward_hook(lambda *call: seen.update({"layer00_out": hidden_in(call[2])})),
        stage.layers[23].register_forward_pre_hook(lambda _, args: seen.update({"layer23_in": args[0]})),
        stage.layers[23].register_forward_hook(lambda *call: seen.update({"layer23_out": hidden_in(call[2])})),
    ]
    with stage.attached(), torch.no_grad():
        features = model.model.get_image_features(pixel_values=pixels)
    for handle in handles:
        handle.remove()
    merged = stage.merged
    return seen | {
        "window_scores": merged.scores,
        "num_merged_windows": [merged.windows.shape[1]],
        "merged_window_order": merged.windows,
        "unmerged_patch_idx": merged.others,
        "merge_sizes": torch.cat([torch.ones(1), merged.sizes])[None, :, None],
        "layer23_cls_attn_mean": stage.attention,
        "key_set": key_tokens(stage.attention, 0.08),
        "projected": torch.stack(list(getattr(features, "pooler_output", features))),
    }


@pytest.mark.parametrize("prefix, image", [("vision/", "image"), ("vision_batch2/", "image_batch2")])
def test_vision_stage(model, recorded, prefix, image):
    compare(below(recorded, prefix), run_tower(model, recorded[image]), VISION)


def test_merge_alone(recorded):
    for name, case in golden_manifest("mustdrop")["merge_fn"].items():
        given = below(recorded, f"merge_fn/{name}/")
        x = given.pop("in")[:, 1:]
        merged = merge_windows(x, (12, 12), window=case["window"][0], threshold=case["threshold"])
        # what each patch becomes: merging its one-hot row gives its weight in every new token
        one_hot = torch.eye(144).expand(2, -1, -1)
        rows = merged.windows.shape[1]
        number = torch.arange(144).view(12, 12).unfold(0, *[case["window"][0]] * 2).unfold(1, *[case["window"][0]] * 2)
        cells = number.flatten(2).flatten(0, 1)
        source = torch.zeros(2, merged.tokens.shape[1] + 1, 145, dtype=torch.uint8)
        source[:, 0, 0] = 1
        source[:, 1 + rows :, 1:] = one_hot.gather(1, merged.others[..., None].expand(-1, -1, 144)).byte()
        for image in range(2):
            source[image, 1 : 1 + rows, 1:] = one_hot[image][cells[merged.windows[image]]].sum(1).byte()
        measured = {
            "out": torch.cat([recorded[f"merge_fn/{name}/in"][:, :1], merged.tokens], 1),
            "window_scores": merged.scores,
            "merged_window_order": merged.windows,
            "size": torch.cat([torch.ones(1), merged.sizes])[None, :, None].expand(2, -1, -1),
            "source_map": source,
        }
        compare(given, measured, 1e-6)


def test_filter_alone(recorded):
    given = below(recorded, "filter_fn/")
    attention = given.pop("attn")[0].mean(0)[45:, 5:45]
    measured = {}
    for number, case in golden_manifest("mustdrop")["filter_fn"].items():
        strong = DualAttentionFilter(gamma=case["gamma"], alpha=case["alpha"]).strong(attention)
        measured[f"kept_{number}"] = torch.nonzero(strong)[:, 0]
    compare(given, measured, 0)


class Watch:
    """Layer outputs of the prefill, positions of the decode queries and the cache when decoding begins."""

    def __init__(self, language):
        self.outputs, self.positions, self.cache = {}, [], []
        self.handles = [language.register_forward_hook(self._end)]
        for index, layer in enumerate(language.layers):
            self.handles.append(layer.register_forward_pre_hook(self._position, with_kwargs=True))
            self.handles.append(layer.register_forward_hook(partial(self._output, index), prepend=True))

    def _position(self, layer, args, kwargs):
        if self.cache:
            self.positions.append(int(kwargs["position_ids"][0, -1]))

    def _output(self, index, layer, args, output):
        self.outputs.setdefault(index, hidden_in(output))

    def _end(self, language, args, output):
        if not self.cache:
            self.cache = [(layer.keys, layer.values) for layer in cache_in(output).layers]


def run_prompt(model, run, ids, pixels):
    """Every intermediate of a greedy generation under its recorded name."""
    rule = DualAttentionFilter.from_setting(setting_of(run))
    with MustDrop(model, setting=setting_of(run), positions="renumber") as mustdrop, torch.no_grad():
        full = model(input_ids=ids, pixel_values=pixels).logits
        watch = Watch(model.model.language_model)
        out = model.generate(
            input_ids=ids,
            pixel_values=pixels,
            do_sample=False,
            max_new_tokens=run["decode_forwards"] + 1,
            output_logits=True,
            return_dict_in_generate=True,
        )
    for handle in watch.handles:
        handle.remove()
    prefill, new = mustdrop.reports[0].prefill, out.sequences[0, ids.shape[1] :]
    assert prefill.counts == run["vision_tokens_by_stage"]
    assert prefill.cache_lengths == run["cache_lengths_after_policy"]
    seen = {
        "generated": torch.cat([torch.ones(1, dtype=torch.long), new])[None],
        "prefill.logits": full,
        "decode.logits": torch.cat(out.logits[1:]),
        "decode.input_tokens": new[:-1],
        "decode.query_position_by_layer": torch.tensor(watch.positions).view(run["decode_forwards"], -1),
    }
    for index, output in watch.outputs.items():
        seen[f"prefill.layer{index:02}_out"] = output
        seen[f"after_policy.layer{index:02}.keys"], seen[f"after_policy.layer{index:02}.values"] = watch.cache[index]
    for index, layer in enumerate(cache_in(out).layers):
        seen[f"after_last_step.layer{index:02}.keys"] = layer.keys
    for index, (attention, rows) in enumerate(zip(prefill.attention, prefill.stages)):
        seen[f"stage{index}.text_to_vision_attn"] = attention
        seen[f"stage{index}.filter_kept"] = torch.nonzero(rule.strong(attention))[:, 0]
        seen[f"stage{index}.rows_kept"] = rows
        seen[f"stage{index}.rows_kept_to_the_end"] = rows_to_the_end(prefill.stages)[index]
    return mustdrop, seen


@pytest.mark.parametrize(
    "name",
    ["strong", "key_only", *(pytest.param(name, marks=pytest.mark.slow) for name in ["mild", "pub64", *DROPS_NOTHING])],
)
def test_generation(model, recorded, name):
    run = golden_manifest("mustdrop")["runs"][name]
    _, seen = run_prompt(model, run, release_inputs(recorded), recorded["image"])
    compare(below(recorded, f"gen/{name}/"), seen, LANGUAGE)


def test_generation_from_two_tiles(model, recorded):
    run, given = golden_manifest("mustdrop")["runs"]["tiles"], below(recorded, "tiles/")
    ids, pixels = release_inputs(recorded, images=2), given.pop("image")[0]
    mustdrop, seen = run_prompt(model, run, ids, pixels)
    seen["key_set_with_offsets"] = mustdrop.encoder(ids[0], pixels).prefill.keys
    compare(given, seen, LANGUAGE)
    assert mustdrop.reports[0].budget.mean_tokens / run["tiles"] == run["equal_token_number_printed"]


def test_prompt_embeddings_and_mean_tokens(model, recorded):
    mustdrop = MustDrop(model, setting=Setting(layers=(2, 6, 10, 14)))
    encoded = mustdrop.encoder(release_inputs(recorded)[0], recorded["image"])
    compare({"inputs_embeds": recorded["inputs_embeds"]}, {"inputs_embeds": encoded.embeds.detach()}, VISION)
