"""The sparse interaction: equal to a slow reference, sparse exactly as stated, blind to padding."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from helpers.messages import raises

from effowt_d2.modeling.side import SparseInteraction, line_sheet
from effowt_d2.modeling.side import line_mix as line_mix_module
from effowt_d2.modeling.side.grid_mixers import PooledMixer
from effowt_d2.modeling.side.sparse_interaction import SIM_KINDS

LINE_OF = {
    "row": lambda i, j: i,
    "column": lambda i, j: j,
    "diagonal": lambda i, j: j - i,
    "antidiagonal": lambda i, j: i + j,
}
LOOP_KINDS = ["axes", "axial", "strip", "dct", "fixed", "random"]


def build(kind="axes", channels=4, randomise=True, **options):
    torch.manual_seed(1)
    settings = dict(groups=2, max_range=3, coefficients=3, resolution=9, seed=2)
    sim = SparseInteraction(channels, kind=kind, **{**settings, **options}).double()
    if randomise:
        for parameter in sim.parameters():
            torch.nn.init.normal_(parameter)
    return sim


def offset_weight(sim, offsets, group, p, q):
    """The same for the randomly drawn offsets, given by their place in the table."""
    return sim.mixer.table[group, offsets[q[0] - p[0], q[1] - p[1]]].item()


def table_weight(sim, axis, group, p, q):
    """The weight with which token p sees token q along one direction, straight from the definition."""
    mixer = sim.mixer
    a = mixer.axes.index(axis)
    position = 1 if axis == "row" else 0
    if sim.kind == "strip":
        return 1.0
    if sim.kind == "fixed":
        return mixer.weight[a, group, p[position], q[position]].item()
    reach = mixer.max_range - 1
    return mixer.tables()[a, group, min(max(q[position] - p[position], -reach), reach) + reach].item()


def loop_mixes(sim, x, mask):
    """All mixes (mixes, B, H, W, C), token by token."""
    b, h, w, channels = x.shape
    per_group = channels // sim.groups
    tokens = [(i, j) for i in range(h) for j in range(w)]
    names = ["random"] if sim.kind == "random" else list(sim.mixer.axes)
    out = torch.zeros(len(names), b, h, w, channels, dtype=x.dtype)
    for a, name in enumerate(names):
        if name == "random":
            offsets = {tuple(o): k for k, o in enumerate(sim.mixer.offsets.tolist())}
            weight = partial(offset_weight, sim, offsets)
            seen = {p: [q for q in tokens if (q[0] - p[0], q[1] - p[1]) in offsets] for p in tokens}
        else:
            weight = partial(table_weight, sim, name)
            seen = {p: [q for q in tokens if LINE_OF[name](*q) == LINE_OF[name](*p)] for p in tokens}
        for image in range(b):
            for p in tokens:
                valid = [q for q in seen[p] if mask[image, q[0], q[1]]]
                for q in valid:
                    for g in range(sim.groups):
                        c = slice(g * per_group, (g + 1) * per_group)
                        out[(a, image, *p, c)] += weight(g, p, q) * x[(image, *q, c)] / len(valid)
    return out


def loop_reference(sim, x, mask):
    mixes = loop_mixes(sim, x, mask)
    if sim.fusion == "sum":
        mixed = sim.scale[0] * x + sum(u * m for u, m in zip(sim.scale[1:], mixes))
    else:
        mixed = torch.cat([x, *mixes], dim=-1)
    return sim.linear(F.gelu(mixed)) * mask.unsqueeze(-1)


@pytest.fixture
def small_blocks(monkeypatch):
    """Several blocks of lines and several parts of groups even on small maps."""
    monkeypatch.setattr(line_sheet, "MIN_LINES", 2)
    monkeypatch.setattr(line_mix_module, "SHEET_NUMBERS", 1)


@pytest.mark.parametrize("fusion", ["sum", "concat"])
@pytest.mark.parametrize("kind", LOOP_KINDS)
def test_equals_a_slow_loop(kind, fusion, small_blocks):
    sim = build(kind, fusion=fusion)
    for size, masked in [((2, 5, 7), False), ((2, 7, 4), True), ((1, 1, 6), True), ((1, 6, 1), False)]:
        x = torch.randn(*size, 4, dtype=torch.float64)
        mask = torch.rand(size) > 0.3 if masked else torch.ones(size, dtype=torch.bool)
        with torch.no_grad():
            expected = loop_reference(sim, x, mask)
            actual = sim(x, mask if masked else None)
        torch.testing.assert_close(actual, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("size", [(40, 70), (70, 33), (3, 90), (90, 2)])
def test_blocks_of_lines_equal_one_block(size, monkeypatch):
    sim = build(max_range=20)
    x = torch.randn(2, *size, 4, dtype=torch.float64)
    cut = sim(x)
    monkeypatch.setattr(line_sheet, "MIN_LINES", sum(size))
    torch.testing.assert_close(cut, sim(x), atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", ["axes", "axial"])
def test_sees_exactly_its_lines(kind):
    h, w, p = 5, 8, (3, 2)
    sim = build(kind)
    jacobian = torch.autograd.functional.jacobian(lambda x: sim(x)[0, p[0], p[1]], torch.randn(1, h, w, 4).double())
    seen = jacobian.abs().sum((0, 1, 4)) > 0
    lines = sim.mixer.axes
    expected = [[any(LINE_OF[a](i, j) == LINE_OF[a](*p) for a in lines) for j in range(w)] for i in range(h)]
    assert seen.tolist() == expected


@pytest.mark.parametrize("kind", ["axes", "axial"])
def test_two_reach_every_token_from_a_corner(kind):
    first, second = build(kind), build(kind, randomise=False)
    x = torch.randn(1, 6, 9, 4).double().requires_grad_()
    (once,) = torch.autograd.grad(first(x)[0, 0, 0].sum(), x)
    assert (once.abs().sum(-1) == 0).any()
    (twice,) = torch.autograd.grad(second(first(x))[0, 0, 0].sum(), x)
    assert (twice.abs().sum(-1) > 0).all()


@pytest.mark.parametrize("kind", LOOP_KINDS)
@pytest.mark.parametrize("masked", [False, True])
def test_gradients(kind, masked, small_blocks):
    sim = build(kind, channels=2)
    x = torch.randn(2, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(2, 4, 3) > 0.3 if masked else None
    names, parameters = zip(*sim.named_parameters())

    def call(x, *values):
        return torch.func.functional_call(sim, dict(zip(names, values)), (x, mask))

    assert torch.autograd.gradcheck(call, (x, *parameters))


@pytest.mark.parametrize("axis", LINE_OF)
def test_gradients_of_a_single_axis(axis):
    sim = build(channels=2, axes=[axis])
    x = torch.randn(1, 3, 4, 2, dtype=torch.float64)

    def call(scale):
        return torch.func.functional_call(sim, {"scale": scale}, (x,))

    assert torch.autograd.gradcheck(call, (sim.scale,))


@pytest.mark.parametrize("fusion", ["sum", "concat"])
@pytest.mark.parametrize("kind", SIM_KINDS)
def test_padding_changes_nothing(kind, fusion):
    sim = build(kind, channels=8, fusion=fusion, resolution=40)
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


@pytest.mark.parametrize("kind", SIM_KINDS)
def test_an_image_without_valid_tokens_gives_zeros_and_finite_gradients(kind):
    sim = build(kind)
    x = torch.randn(1, 4, 5, 4, dtype=torch.float64, requires_grad=True)
    y = sim(x, torch.zeros(1, 4, 5, dtype=torch.bool))
    assert (y == 0).all()
    y.sum().backward()
    assert (x.grad == 0).all()
    assert all(p.grad.isfinite().all() for p in sim.parameters())


@pytest.mark.parametrize("kind", [kind for kind in SIM_KINDS if kind != "random"])
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


@pytest.mark.parametrize("channels,expected", [(256, 75232), (352, 134176)])
def test_size(channels, expected):
    sim = SparseInteraction(channels)
    assert sum(p.numel() for p in sim.parameters()) == expected
    assert expected == channels**2 + 6 * channels + 4 * 8 * (2 * 128 - 1)


def test_concat_maps_five_maps_to_one_without_scales():
    sim = build(fusion="concat")
    assert sim.linear.weight.shape == (4, 5 * 4)
    assert not hasattr(sim, "scale")


@pytest.mark.parametrize("kind", SIM_KINDS)
def test_autocast(kind):
    torch.manual_seed(0)
    sim = SparseInteraction(32, kind=kind, max_range=9)
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


@pytest.mark.parametrize(
    "options,words",
    [
        (dict(kind="dense"), ["'dense'", "axes", "dense_pooled"]),
        (dict(axes=["row", "spiral"]), ["spiral", "antidiagonal"]),
        (dict(axes=["row", "row"]), ["distinct"]),
        (dict(axes=[]), ["distinct"]),
        (dict(fusion="mean"), ["'mean'", "concat", "sum"]),
        (dict(groups=3), ["3 groups", "4 channels"]),
        (dict(groups=0), ["0 groups"]),
        (dict(max_range=0), ["at least 1", "0"]),
        (dict(kind="dct", coefficients=6), ["1 to 5", "6"]),
    ],
)
def test_bad_options(options, words):
    with raises(ValueError, *words):
        build(**options)


def test_bad_shapes():
    sim = build()
    with raises(ValueError, "(B, H, W, 4)", "(1, 3, 3, 5)"):
        sim(torch.zeros(1, 3, 3, 5))
    with raises(ValueError, "mask", "(1, 3, 3)", "(1, 3, 4)"):
        sim(torch.zeros(1, 3, 3, 4), torch.ones(1, 3, 4, dtype=torch.bool))
    with raises(ValueError, 9, 10):
        build("fixed")(torch.zeros(1, 10, 3, 4, dtype=torch.float64))
