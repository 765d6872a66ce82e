"""The other sparse interactions: equal to a slow reference, with masked padding."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from effowt_ablations.grid_mixers import PooledMixer, RandomMixer
from effowt_ablations.interactions import AxialMixer, ConcatInteraction, CosineLineMixer, FixedMixer, StripMixer
from helpers.messages import raises
from helpers.sim_reference import build_sim, loop_mixes, loop_sum, position, same_line, small_blocks, table_weight

from effowt_d2.modeling.side import SparseInteraction
from effowt_d2.modeling.side.mixers import MIXERS, RelativeLineMixer

BUILD = {
    "axes": RelativeLineMixer,
    "axial": AxialMixer,
    "strip": StripMixer,
    "dct": partial(CosineLineMixer, coefficients=3),
    "fixed": partial(FixedMixer, resolution=9),
    "random": partial(RandomMixer, seed=2),
    "dense_pooled": PooledMixer,
}
LINES = ["axial", "strip", "dct", "fixed", "random"]
OURS = [kind for kind in BUILD if kind != "axes"]


def build(kind, **options):
    lines = {name: options.pop(name) for name in ("groups", "max_range") if name in options}
    return build_sim(partial(BUILD[kind], **{"groups": 2, "max_range": 3, **lines}), **options)


def sees(mixer, number, p, q):
    if isinstance(mixer, RandomMixer):
        return [q[0] - p[0], q[1] - p[1]] in mixer.offsets.tolist()
    return same_line(mixer, number, p, q)


def weight(mixer, number, group, p, q):
    if isinstance(mixer, RandomMixer):
        return mixer.table[group, mixer.offsets.tolist().index([q[0] - p[0], q[1] - p[1]])].item()
    if isinstance(mixer, StripMixer):
        return 1.0
    if isinstance(mixer, FixedMixer):
        return mixer.weight[number, group, position(mixer, number, p), position(mixer, number, q)].item()
    return table_weight(mixer, number, group, p, q)


def loop_concat(sim, x, mask):
    mixed = torch.cat([x, *loop_mixes(sim.mixer, x, mask, sees=sees, weight=weight)], dim=-1)
    return sim.linear(F.gelu(mixed)) * mask.unsqueeze(-1)


@pytest.mark.parametrize("interaction", [SparseInteraction, ConcatInteraction])
@pytest.mark.parametrize("kind", ["axes", *LINES])
def test_equals_a_slow_loop(kind, interaction, monkeypatch):
    small_blocks(monkeypatch)
    sim = build(kind, interaction=interaction)
    loop = loop_concat if interaction is ConcatInteraction else partial(loop_sum, sees=sees, weight=weight)
    for size, masked in [((2, 5, 7), False), ((2, 7, 4), True), ((1, 1, 6), True), ((1, 6, 1), False)]:
        x = torch.randn(*size, 4, dtype=torch.float64)
        mask = torch.rand(size) > 0.3 if masked else torch.ones(size, dtype=torch.bool)
        with torch.no_grad():
            torch.testing.assert_close(sim(x, mask if masked else None), loop(sim, x, mask), atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("masked", [False, True])
def test_gradients(kind, masked, monkeypatch):
    small_blocks(monkeypatch)
    sim = build(kind, channels=2)
    x = torch.randn(2, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(2, 4, 3) > 0.3 if masked else None
    names, parameters = zip(*sim.named_parameters())

    def call(x, *values):
        return torch.func.functional_call(sim, dict(zip(names, values)), (x, mask))

    assert torch.autograd.gradcheck(call, (x, *parameters))


@pytest.mark.parametrize("interaction", [SparseInteraction, ConcatInteraction])
@pytest.mark.parametrize("kind", BUILD)
def test_padding_changes_nothing(kind, interaction, monkeypatch):
    monkeypatch.setitem(BUILD, "fixed", partial(FixedMixer, resolution=40))
    sim = build(kind, channels=8, interaction=interaction)
    images = [torch.randn(*size, 8, dtype=torch.float64) for size in [(20, 33), (17, 5), (1, 1)]]
    canvas, mask = torch.randn(4, 24, 40, 8, dtype=torch.float64), torch.zeros(4, 24, 40, dtype=torch.bool)
    for i, image in enumerate(images):
        h, w = image.shape[:2]
        canvas[i, :h, :w], mask[i, :h, :w] = image, True
    out = sim(canvas, mask)
    for i, image in enumerate(images):
        h, w = image.shape[:2]
        torch.testing.assert_close(out[i, :h, :w], sim(image[None])[0], atol=1e-6, rtol=0)
    assert (out[~mask] == 0).all()  # the last image has no valid token at all


@pytest.mark.parametrize("kind", OURS)
def test_an_image_without_valid_tokens_gives_zeros_and_finite_gradients(kind):
    sim = build(kind)
    x = torch.randn(1, 4, 5, 4, dtype=torch.float64, requires_grad=True)
    y = sim(x, torch.zeros(1, 4, 5, dtype=torch.bool))
    assert (y == 0).all()
    y.sum().backward()
    assert (x.grad == 0).all()
    assert all(p.grad.isfinite().all() for p in sim.parameters())


@pytest.mark.parametrize("kind", [kind for kind in OURS if kind != "random"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (9, 7)])
def test_starts_as_a_mean(kind, size):
    """Ones stay ones. (A drawn pattern may show a token of a tiny map nothing at all, which gives zero.)"""
    for mix in build(kind, randomise=False).mixer(torch.ones(1, *size, 4).double(), None):
        torch.testing.assert_close(mix, torch.ones_like(mix), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(20, 37), (5, 16)])
def test_pooled_grid_is_adaptive_pooling_and_bilinear_sampling(size):
    mixer = PooledMixer(groups=1)
    with torch.no_grad():
        mixer.weight.copy_(256 * torch.eye(256)[None])  # every cell keeps its own mean
    x = torch.randn(1, 3, *size)
    expected = F.interpolate(F.adaptive_avg_pool2d(x, 16), size=size, mode="bilinear")
    (actual,) = mixer(x.movedim(1, -1), None)
    torch.testing.assert_close(actual.movedim(-1, 1), expected, atol=1e-4, rtol=0)


def test_concat_maps_five_maps_to_one_without_scales():
    sim = build("axes", interaction=ConcatInteraction)
    assert sim.linear.weight.shape == (4, 5 * 4)
    assert not hasattr(sim, "scale")


@pytest.mark.parametrize("kind", OURS)
def test_autocast(kind):
    torch.manual_seed(0)
    sim = SparseInteraction(32, kind=kind, max_range=9)
    assert type(sim.mixer) is MIXERS.get(kind)
    x = torch.randn(2, 20, 13, 32, requires_grad=True)
    mask = torch.rand(2, 20, 13) > 0.3
    exact = sim(x, mask)
    (exact_grad,) = torch.autograd.grad(exact.square().sum(), x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = sim(x, mask)
    assert half.dtype == torch.bfloat16
    (grad,) = torch.autograd.grad(half.float().square().sum(), x)
    assert grad.dtype == torch.float32
    torch.testing.assert_close(half.float(), exact, atol=0.03, rtol=0.03)
    torch.testing.assert_close(grad, exact_grad, atol=0.06, rtol=0.06)


def test_bad_options():
    with raises(ValueError, "coefficients", 5, 6):
        CosineLineMixer(max_range=3, coefficients=6)
    with raises(ValueError, 9, 10):
        build("fixed")(torch.zeros(1, 10, 3, 4, dtype=torch.float64))
