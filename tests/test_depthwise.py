"""Depthwise convolutions by sampled units, and BatchNorm behind them; nets like MobileNetV2."""

import copy
import math

import numpy as np
import pytest

import fisherfield as ff
from fisherfield import reference
from fisherfield.network.layer import Window
from fisherfield.reference.layers.affine import image_taps
from fisherfield.reference.layers.depthwise import _normal_weights, of_units
from fisherfield.reference.state import Place
from fisherfield.reference.units.state import Low, Sampling, Term, Units

RELU, RELU6 = ff.Activation("relu"), ff.Activation("relu6")
NORMS = {
    "plain": lambda channels: [],
    "norm": lambda channels: [ff.BatchNorm()],
    "trained": lambda channels: [ff.BatchNorm(1.3, 0.4, 0.1, True)],
    "own": lambda channels: [ff.BatchNorm(tuple(np.linspace(-0.2, 1.7, channels)), eps=0.1, trained=True)],
}


def few_weights(norm, bias=True):
    """Of a channel one and two, one tap and nine; with strides, padding and dilation, and of Gaussian units."""
    first = [ff.Conv2d(8, 3, 1, 1, bias=bias), *norm(8), RELU, ff.Conv2d(16, 3, 2, 1, groups=8, bias=bias), *norm(16)]
    middle = [RELU, ff.Conv2d(10, 1, bias=bias), ff.Conv2d(10, 2, (1, 2), 1, groups=10, dilation=(1, 2)), *norm(10)]
    last = [ff.MaxPool2d(2), ff.Conv2d(10, 1, groups=10, sigma_b2=0.0), RELU]
    return ff.Network((3, 6, 6), [*first, *middle, *last, ff.Flatten(), ff.Dense(2)])


def inverted(norm, bias=True, channels=8, ratio=3):
    """Linear bottlenecks with identity skips, as in MobileNetV2."""
    wide = ratio * channels
    expand = [ff.Conv2d(wide, 1, bias=bias), *norm(wide), RELU6]
    depthwise = [ff.Conv2d(wide, 3, 1, 1, groups=wide, bias=bias), *norm(wide), RELU6]
    block = ff.Residual([*expand, *depthwise, ff.Conv2d(channels, 1, bias=bias), *norm(channels)])
    ends = [ff.Conv2d(wide, 1), *norm(wide), RELU6, ff.GlobalAvgPool2d(), ff.Flatten(), ff.Dense(1)]
    return ff.Network((3, 4, 5), [ff.Conv2d(channels, 3, 1, 1, bias=bias), *norm(channels), RELU, block, block, *ends])


@pytest.mark.parametrize("net", [few_weights, inverted], ids=lambda net: net.__name__)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("theory", ["exact", "frozen"])
def test_the_core_has_the_references_numbers(net, norm, theory):
    """Each layer's part, too; sums in float32."""
    net = net(NORMS[norm], bias=norm != "trained")
    slow, fast = (module.fisher(net, theory, 6, 0.1, units=64, seed=3) for module in (reference, ff))
    assert (fast.a, fast.b) == pytest.approx((slow.a, slow.b), rel=5e-6)
    assert fast.layers.a == pytest.approx(slow.layers.a, rel=1e-5)


def test_the_published_recursion_takes_it_for_any_convolution():
    net = inverted(NORMS["plain"])
    net = ff.Network(net.input_shape, [ff.Conv2d(8, 3, 1, 1), ff.Conv2d(8, 3, 1, 1, groups=8), RELU, *net.layers[-2:]])
    slow, fast = (module.fisher(net, "wei2019", 6) for module in (reference, ff))
    assert (fast.a, fast.b) == pytest.approx((slow.a, slow.b), rel=1e-13)


def test_order_parameters_are_means_over_units():
    net = few_weights(NORMS["trained"])
    slow, fast = (module.order_parameters(net, samples=6, units=64) for module in (reference, ff))
    assert fast.fan_in.tolist() == [27, 9, 16, 4, 1, 20]
    for name in ("q_hat", "q_hat_xy", "v_hat", "q", "q_xy", "v", "theta", "theta_xy", "d"):
        assert getattr(fast, name) == pytest.approx(getattr(slow, name), rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize("stride", [1, 2])
def test_kernels_are_those_of_matrices(stride):
    """k <- W k W^T + sum_t h_t h_t^T + 1 of one unit, written out."""
    rng, reads, shape = np.random.default_rng(0), 3, (3, 4)
    K, layer = math.prod(shape), ff.Conv2d(2, 3, stride, 1, groups=2, sigma_w2=1.7)
    o, d = (each @ each.T for each in rng.standard_normal((2, K, K)))
    A, P, Q, h = rng.standard_normal((4, 2, reads, K))
    units = Units(h, (Term(((A, np.arange(K)),), o[None], d[None]),), (Low(P, Q[None]),), shape)
    sampling = Sampling(1, 0, 1, 2, K, reads, True, reads)
    out = of_units(layer, units, Place("exact", reads, True, (2, *shape), 0, False), sampling)
    after, taps = image_taps(shape, Window((3, 3), (stride, stride), (1, 1)))
    w = math.sqrt(1.7 / 9) * _normal_weights(sampling, 2, 9)
    for unit in range(2):
        picked = np.array([[(np.arange(K) == at) * 1.0 for at in tap] for tap in taps])  # (taps, K', K)
        W = np.einsum("t,tab->ab", w[unit], picked)
        shift = out.h[unit] - h[unit] @ W.T
        assert shift == pytest.approx(np.full_like(shift, shift[0, 0]), abs=1e-12)  # b, drawn with the unit
        x, y = 0, 1
        own = np.diag(A[unit, x]) @ o @ np.diag(A[unit, y]) + np.outer(P[unit, x], Q[unit, y])
        expected = W @ (own + np.outer(Q[unit, x], P[unit, y])) @ W.T + 1.0
        expected += sum(np.outer(each @ h[unit, x], each @ h[unit, y]) for each in picked)
        found = sum(
            np.outer(B[unit, x], C[unit, y]) * np.where((r >= 0)[:, None] & (s >= 0), term.o[0][r[:, None], s], 0.0)
            for term in out.terms
            for B, r in term.taps
            for C, s in term.taps
        )
        found = found + sum(
            np.outer(low.P[unit, x], low.Q[0, unit, y]) + np.outer(low.Q[0, unit, x], low.P[unit, y])
            for low in out.lows
        )
        assert found == pytest.approx(expected, rel=1e-10)
    assert out.positions == after


def test_weights_are_normal_and_orthogonal_in_turn():
    w = _normal_weights(Sampling(3, 0, 1, 9000, 1, 9, True, 9), 9000, 9)
    block = w[9:18]
    lengths = np.linalg.norm(block, axis=1)
    assert block @ block.T == pytest.approx(np.diag(lengths**2), abs=1e-12)
    assert np.mean(w**2) == pytest.approx(1.0, rel=1e-14)
    assert np.mean(w**4) == pytest.approx(3.0, abs=0.12)  # four standard errors of 81000 numbers
    assert np.mean(w.T @ w / 9000 - np.eye(9)) == pytest.approx(0.0, abs=1e-3)
    assert np.std(lengths**2) > 0  # lengths are drawn
    few = _normal_weights(Sampling(3, 0, 1, 4, 1, 9, True, 9), 4, 9)
    assert few @ few.T == pytest.approx(np.diag(np.sum(few**2, axis=1)), abs=1e-12)


def test_the_same_bits_for_any_number_of_threads():
    net, before, numbers = inverted(NORMS["own"]), ff.num_threads(), set()
    try:
        for threads in (1, 3):
            ff.set_num_threads(threads)
            spectrum = ff.fisher(net, samples=6, units=64, seed=5)
            numbers.add((spectrum.a, spectrum.b, spectrum.error))
    finally:
        ff.set_num_threads(before)
    assert len(numbers) == 1
    assert ff.fisher(net, samples=6, units=64, seed=6).a not in {a for a, _, _ in numbers}


def test_batch_norm_behind_it_asks_for_the_batch():
    net = inverted(NORMS["norm"])
    with pytest.raises(ValueError, match=r"^samples must be a number up to 4096 where a BatchNorm stands on units"):
        ff.fisher(net)
    assert ff.fisher(net, samples=200, units=64).drawing.reads == 200


def test_few_weights_are_drawn_and_not_taken_for_many():
    net = inverted(NORMS["norm"], channels=32)
    for theory in ("exact", "frozen"):
        assert "in groups" not in ff.fisher(net, theory, 40, units=64).reason
        assert "9 weights" not in ff.fisher(net, theory, 40, units=64).reason


@pytest.mark.parametrize("end", [[ff.GlobalAvgPool2d()], []], ids=["averaged", "flat"])
def test_networks_that_are_sampled_have_theirs(end):
    """Forty samples, four networks of 64 channels, where theory lies 2 % above: a term of order 1/C."""
    norm = ff.BatchNorm(trained=True)
    layers = [ff.Conv2d(64, 3, 1, 1), norm, RELU, ff.Conv2d(64, 3, 1, 1, groups=64), norm, RELU, ff.Conv2d(64, 1)]
    net = ff.Network((2, 6, 6), [*layers, norm, RELU, *end, ff.Flatten(), ff.Dense(1)])
    theory = ff.fisher(net, samples=40)
    x = ff.data.gaussian(net, 40)
    measured = [ff.sampled_fisher(net, x, seed).eigenvalues[0] for seed in range(4)]
    error = np.std(measured, ddof=1) / 2
    assert error < 0.02 * theory.lambda_max
    assert theory.lambda_max == pytest.approx(np.mean(measured), abs=3 * error + 0.03 * theory.lambda_max)


def test_mobilenets_have_a_number_as_they_are_described():
    """Inverted residuals, a tenth of the channels: theory's number is that of the description read back."""
    torch, known = (pytest.importorskip(name) for name in ("torch", "architectures"))
    torch.manual_seed(0)
    module = known.MobileNetV2(0.1, 1, least=4, small=True)
    net = ff.torch.describe(module, (3, 8, 8))
    assert sum(isinstance(step.layer, ff.Conv2d) and bool(step.needs_units) for step in net.steps) == 7
    again = ff.torch.describe(ff.torch.module(copy.copy(net)), (3, 8, 8))
    assert again == net
    spectrum = ff.fisher(net, samples=10, units=64)
    assert spectrum.lambda_max > 0
    assert spectrum.error > 0
    assert "channels: networks differ widely" in spectrum.reason
    norms = [ff.BatchNorm(tuple(np.linspace(0.5, 1.5, 8)), trained=True)] * 2
    layers = [ff.Conv2d(8, 3, 1, 1), norms[0], RELU, ff.Conv2d(8, 3, 1, 1, groups=8), norms[1], RELU6]
    own = ff.Network((3, 4, 4), [*layers, ff.Flatten(), ff.Dense(1)])
    assert ff.torch.describe(ff.torch.module(own), (3, 4, 4)) == own
