"""Merge, key set, filter and kept rows alone; none of them needs transformers."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from mustdrop import PUBLISHED, DualAttentionFilter, MustDrop, Setting, merge_windows
from mustdrop.kept_rows import rows_that_stay, rows_to_the_end, select_cache
from mustdrop.settings import setting_named
from mustdrop.vision import key_tokens


def image(seed=0, side=6):
    """Patches, some windows of which look alike."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(1, side * side, 8, generator=generator)
    alike = F.interpolate(torch.randn(1, 8, 2, 2, generator=generator), (side, side)).flatten(2).transpose(1, 2)
    return base * torch.linspace(0.2, 2, side * side)[:, None] + alike


def test_window_scores_equal_a_loop_over_pairs():
    x = image()
    scores = merge_windows(x, (6, 6), threshold=2.0).scores[0]
    cells = torch.arange(36).view(6, 6)
    for number, (row, column) in enumerate(itertools.product((0, 3), (0, 3))):
        window = x[0, cells[row : row + 3, column : column + 3].flatten()]
        pairs = [F.cosine_similarity(a, b, dim=0) for a, b in itertools.permutations(window, 2)]
        assert len(pairs) == 72
        assert torch.isclose(scores[number], torch.stack(pairs).mean(), atol=1e-6)


def test_every_patch_is_in_one_token_and_merging_again_returns_it():
    x = image()
    scores = merge_windows(x, (6, 6), threshold=2.0).scores[0].sort(descending=True).values
    for count in range(5):
        # the score itself is enough
        merged = merge_windows(x, (6, 6), threshold=2.0 if count == 0 else float(scores[count - 1]))
        assert merged.windows.shape[1] == count and merged.tokens.shape[1] == 36 - 8 * count == len(merged.sizes)
        assert merged.sizes.sum() == 36
        # the mean of what was merged and what was not is the mean of the image
        mean = (merged.tokens * merged.sizes[:, None]).sum(1) / 36
        assert torch.allclose(mean, x.mean(1), atol=1e-6)


def test_images_of_a_batch_merge_as_many_windows_as_the_least_uniform_one():
    even, uneven = torch.ones(1, 36, 8), torch.randn(1, 36, 8, generator=torch.Generator().manual_seed(1))
    assert merge_windows(even, (6, 6)).windows.shape[1] == 4
    assert merge_windows(torch.cat([even, uneven]), (6, 6)).windows.shape[1] == 0
    assert merge_windows(torch.ones(1, 4, 8), (2, 2)).tokens.shape[1] == 4


def test_key_count_is_rounded_up():
    attention = torch.rand(2, 48, generator=torch.Generator().manual_seed(0))
    keys = key_tokens(attention, 0.08)
    assert keys.shape == (2, 4) and key_tokens(attention, 0.0).shape == (2, 0)
    assert torch.equal(keys[0], torch.tensor(sorted(range(48), key=lambda j: -attention[0, j])[:4]))
    assert key_tokens(attention[:1, :9], 0.08).shape == (1, 1)


def test_filter_equals_a_loop_and_is_monotone():
    attention = torch.rand(5, 12, generator=torch.Generator().manual_seed(0)).pow(3) / 4
    received, keys = attention.sum(0), torch.tensor([7])
    last = {}
    for gamma, alpha in itertools.product((0.0, 0.05, 0.1, 1.1), (0.0, 0.1, 0.2, 1.1)):
        weak = [
            received[j] < gamma * received.sum() and all(attention[i, j] < alpha for i in range(5)) for j in range(12)
        ]
        kept = DualAttentionFilter(gamma=gamma, alpha=alpha)(attention, keys).tolist()
        assert kept == [j for j in range(12) if not weak[j] or j == 7]
        last[gamma, alpha] = set(kept)
    for (gamma, alpha), (other, more) in itertools.product(last, last):
        if gamma <= other and alpha <= more:
            assert last[other, more] <= last[gamma, alpha]
    assert last[1.1, 1.1] == {7} and len(last[0.0, 1.1]) == 12


def test_thresholds_that_drop_everything_are_an_error():
    with pytest.raises(ValueError, match=r"(?s)1\.5.*1\.2.*key_ratio"):
        Setting(gamma=1.5, alpha=1.2, key_ratio=0.0)
    none = torch.zeros(0, dtype=torch.long)
    with pytest.raises(ValueError, match=r"(?s)0\.9.*0\.8.*4"):
        DualAttentionFilter(gamma=0.9, alpha=0.8)(torch.full((2, 4), 0.1), none)


def test_composed_rows_select_the_cache():
    class Layer:
        def __init__(self, rows):
            self.keys = self.values = torch.tensor(rows, dtype=torch.float32)[None, None, :, None]

    first = rows_that_stay(torch.tensor([0, 2, 3]), prefix=1, vision=4, length=7)
    second = rows_that_stay(torch.tensor([1]), prefix=1, vision=3, length=6)
    assert first.tolist() == [0, 1, 3, 4, 5, 6] and second.tolist() == [0, 2, 4, 5]
    assert [rows.tolist() for rows in rows_to_the_end([first, second])] == [[0, 3, 5, 6], [0, 2, 4, 5]]
    whole, after_first, end = list(range(7)), first.tolist(), [0, 3, 5, 6]
    layers = [Layer(rows) for rows in (whole, whole, after_first, after_first, end)]
    select_cache(layers, [first, second], (1, 3))
    assert [layer.keys.flatten().tolist() for layer in layers] == [whole, end, end, end, end]


@pytest.mark.parametrize(
    "values, words",
    [
        ({"merge_threshold": float("nan")}, "merge_threshold.*nan"),
        ({"merge_window": 1}, "merge_window.*1"),
        ({"key_ratio": 1.2}, r"key_ratio.*1\.2"),
        ({"gamma": -0.1}, r"gamma.*-0\.1"),
        ({"alpha": float("nan")}, "alpha.*nan"),
    ],
)
def test_bad_settings_are_named(values, words):
    with pytest.raises(ValueError, match=words):
        Setting(**values)


def test_settings_by_name():
    assert setting_named("64") is PUBLISHED["64"] and (PUBLISHED["64"].gamma, PUBLISHED["64"].alpha) == (0.011, 0.01)
    with pytest.raises(KeyError, match="65.*192"):
        setting_named("65")
    with pytest.raises(TypeError, match="64"):
        setting_named(64)


def test_layers_follow_the_depth():
    assert Setting().layers_of(32) == (2, 6, 10, 14) and Setting().layers_of(40) == (2, 8, 12, 18)
    assert Setting().layers_of(6) == (1, 2, 3)
    for layers in ((0, 2), (3, 2), (2, 6)):
        with pytest.raises(ValueError, match=str(layers[0])):
            Setting(layers=layers).layers_of(6)


def test_missing_and_unknown_transformers_are_import_errors(monkeypatch):
    import importlib.metadata

    def version(answer):
        def of(name):
            if answer is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return answer

        return of

    for answer in (None, "4.40.2", "6.0.0"):
        monkeypatch.setattr(importlib.metadata, "version", version(answer))
        with pytest.raises(ImportError, match=rf"(?s)transformers>=4\.57,<6.*{answer or ''}"):
            MustDrop(torch.nn.Linear(1, 1))
