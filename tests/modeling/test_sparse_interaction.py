"""The sparse interaction: equal to a slow reference, sparse exactly as stated, with masked padding."""

import pytest
import torch
from helpers.messages import raises
from helpers.sim_reference import LINE_OF, build_sim, loop_sum, small_blocks

from effowt_d2.modeling.side import SparseInteraction, line_sheet
from effowt_d2.modeling.side.mixers import MIXERS, RelativeLineMixer

TWO_LINES = ("row", "column")


@pytest.fixture
def in_blocks(monkeypatch):
    small_blocks(monkeypatch)


@pytest.mark.parametrize("axes", [tuple(LINE_OF), TWO_LINES, ("diagonal",)])
def test_equals_a_slow_loop(axes, in_blocks):
    sim = build_sim(axes=axes)
    for size, masked in [((2, 5, 7), False), ((2, 7, 4), True), ((1, 1, 6), True), ((1, 6, 1), False)]:
        x = torch.randn(*size, 4, dtype=torch.float64)
        mask = torch.rand(size) > 0.3 if masked else torch.ones(size, dtype=torch.bool)
        with torch.no_grad():
            expected = loop_sum(sim, x, mask)
            actual = sim(x, mask if masked else None)
        torch.testing.assert_close(actual, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("size", [(40, 70), (70, 33), (3, 90), (90, 2)])
def test_blocks_of_lines_equal_one_block(size, monkeypatch):
    sim = build_sim(max_range=20)
    x = torch.randn(2, *size, 4, dtype=torch.float64)
    cut = sim(x)
    monkeypatch.setattr(line_sheet, "MIN_LINES", sum(size))
    torch.testing.assert_close(cut, sim(x), atol=1e-10, rtol=0)


@pytest.mark.parametrize("axes", [tuple(LINE_OF), TWO_LINES])
def test_sees_exactly_its_lines(axes):
    h, w, p = 5, 8, (3, 2)
    sim = build_sim(axes=axes)
    jacobian = torch.autograd.functional.jacobian(lambda x: sim(x)[0, p[0], p[1]], torch.randn(1, h, w, 4).double())
    seen = jacobian.abs().sum((0, 1, 4)) > 0
    expected = [[any(LINE_OF[a](i, j) == LINE_OF[a](*p) for a in axes) for j in range(w)] for i in range(h)]
    assert seen.tolist() == expected


@pytest.mark.parametrize("axes", [tuple(LINE_OF), TWO_LINES])
def test_two_reach_every_token_from_a_corner(axes):
    first, second = build_sim(axes=axes), build_sim(axes=axes, randomise=False)
    x = torch.randn(1, 6, 9, 4).double().requires_grad_()
    (once,) = torch.autograd.grad(first(x)[0, 0, 0].sum(), x)
    assert (once.abs().sum(-1) == 0).any()
    (twice,) = torch.autograd.grad(second(first(x))[0, 0, 0].sum(), x)
    assert (twice.abs().sum(-1) > 0).all()


@pytest.mark.parametrize("masked", [False, True])
def test_gradients(masked, in_blocks):
    sim = build_sim(channels=2)
    x = torch.randn(2, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(2, 4, 3) > 0.3 if masked else None
    names, parameters = zip(*sim.named_parameters())

    def call(x, *values):
        return torch.func.functional_call(sim, dict(zip(names, values)), (x, mask))

    assert torch.autograd.gradcheck(call, (x, *parameters))


@pytest.mark.parametrize("axis", LINE_OF)
def test_gradients_of_a_single_axis(axis):
    sim = build_sim(channels=2, axes=[axis])
    x = torch.randn(1, 3, 4, 2, dtype=torch.float64)

    def call(scale):
        return torch.func.functional_call(sim, {"scale": scale}, (x,))

    assert torch.autograd.gradcheck(call, (sim.scale,))


def test_padding_changes_nothing():
    sim = build_sim(channels=8)
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


def test_an_image_without_valid_tokens_gives_zeros_and_finite_gradients():
    sim = build_sim()
    x = torch.randn(1, 4, 5, 4, dtype=torch.float64, requires_grad=True)
    y = sim(x, torch.zeros(1, 4, 5, dtype=torch.bool))
    assert (y == 0).all()
    y.sum().backward()
    assert (x.grad == 0).all()
    assert all(p.grad.isfinite().all() for p in sim.parameters())


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (9, 7)])
def test_starts_as_a_mean(size):
    for mix in build_sim(randomise=False).mixer(torch.ones(1, *size, 4).double(), None):
        torch.testing.assert_close(mix, torch.ones_like(mix), atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels,expected", [(256, 75232), (352, 134176)])
def test_size(channels, expected):
    sim = SparseInteraction(channels)
    assert sum(p.numel() for p in sim.parameters()) == expected
    assert expected == channels**2 + 6 * channels + 4 * 8 * (2 * 128 - 1)


def test_autocast():
    torch.manual_seed(0)
    sim = SparseInteraction(32, max_range=9)
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


def test_a_mixer_of_ones_own():
    class Identity(RelativeLineMixer):
        def matrix(self, index, length):
            return torch.eye(length).expand(self.groups, length, length) * length

    x = torch.randn(2, 5, 5, 8)
    for mixer in (Identity(groups=2, axes=["row"]), lambda: Identity(groups=2, axes=["row"])):
        sim = SparseInteraction(8, mixer=mixer)
        # u_0 = u_1 = 1 at start, and each row's matrix is the identity
        torch.testing.assert_close(sim(x), sim.linear(torch.nn.functional.gelu(2 * x)))
    with raises(ValueError, "groups", 8, 3):
        SparseInteraction(8, mixer=Identity(groups=3))


def test_a_registered_mixer_is_chosen_by_name(monkeypatch):
    monkeypatch.setattr(MIXERS, "_found", dict(MIXERS._found))
    MIXERS.register("mine")(type("Mine", (RelativeLineMixer,), {}))
    sim = SparseInteraction(8, kind="mine", groups=4, max_range=5, axes=TWO_LINES)
    assert type(sim.mixer).__name__ == "Mine" and sim.mixer.table.shape == (2, 4, 9)
    with raises(ValueError, "mine", "Mine"):
        MIXERS.register("mine")(RelativeLineMixer)


@pytest.mark.parametrize(
    "options,words",
    [
        (dict(kind="dense"), ["kind", "dense", "axes"]),
        (dict(axes=["row", "spiral"]), ["axes", "spiral", "antidiagonal"]),
        (dict(axes=["row", "row"]), ["axes", "['row', 'row']"]),
        (dict(axes=[]), ["axes", "[]"]),
        (dict(groups=3), ["groups", "3", "4"]),
        (dict(groups=0), ["groups", "0"]),
        (dict(max_range=0), ["max_range", "0"]),
    ],
)
def test_bad_options(options, words):
    with raises(ValueError, *words):
        build_sim(**options)


def test_bad_shapes():
    sim = build_sim()
    with raises(ValueError, "(B, H, W, 4)", "(1, 3, 3, 5)"):
        sim(torch.zeros(1, 3, 3, 5))
    with raises(ValueError, "mask", "(1, 3, 3)", "(1, 3, 4)"):
        sim(torch.zeros(1, 3, 3, 4), torch.ones(1, 3, 4, dtype=torch.bool))
