# SPDX-License-Identifier: BSD-3-Clause
"""RMSNorm: theory against 60 digits and printed figures, finite networks against PyTorch, refusals."""

import mpmath
import numpy as np
import pytest
import test_graphs
from mpmath import mpf
from test_graphs import BOTH, RELU, A, D, stream
from test_theory_figures import chain

import fisherfield as ff
from fisherfield import _core

RMS = ff.RMSNorm


# ------------------------------------------------------------------------------------------------- theory
def rms_norm(layer, h):
    gamma, trained = mpf(layer.gamma), int(layer.trained)
    square = h.mean**2 if h.gaussian else 0
    share = 1 / (h.q + square + mpf(layer.eps))
    s = gamma**2 * share
    mean = gamma * mpmath.sqrt(share) * h.mean
    o, D, ou, U = (s * each for each in (h.o, h.D, h.ou, h.U))
    if trained and h.gaussian and gamma != 0:
        o, D, ou, U = o + square * share, D + square * share, ou + h.q * share, U + h.q * share
    elif trained:
        o, D = o + (h.xy + square) * share, D + (h.q + square) * share
    out = test_graphs.Exact(s * h.xy, s * h.q, s * h.off, mean, o, D, ou, U)
    out.gaussian = h.gaussian
    return out


CORNERS = {
    "before and behind phi": (
        stream(RMS(-0.7, trained=True), RELU, RMS(2.0, 0.1, True), D(30),
               ends=(RMS(trained=True), RELU, RMS(trained=True))),
        {"samples": 30, "overlap": 0.2},
    ),
    "of a mean": (
        stream(A("sin"), D(30), ff.BatchNorm(0.3, 40.0, trained=True), ends=(RMS(1.5, trained=True), A("sin"))),
        {"samples": 30, "overlap": 0.2},
    ),
    "gamma 0": (stream(RMS(0.0), A("sin"), D(30), ends=(RMS(), A("sin"))), {"samples": 9}),
    "small": (ff.Network(20, [D(30, 1e-8, 0.0), RMS(trained=True), RELU, D(1)]), {}),
    "large": (ff.Network(20, [D(30, 1e8, 1e8), RMS(1e-4, trained=True), RELU, RMS(1e4), D(1)]), {"samples": 9}),
    "deep": (ff.Network(20, [*[D(30), RMS(0.9), RELU, D(30), RELU, RMS()] * 100, D(1)]), {"samples": 50}),
}  # fmt: skip


@pytest.mark.parametrize("theory", ["exact", "frozen"])
@pytest.mark.parametrize("implementation", BOTH)
@pytest.mark.parametrize("name", CORNERS)
def test_corners_are_those_at_60_digits(name, implementation, theory):
    net, data = CORNERS[name]
    test_graphs.assert_digits(implementation, net, theory, data, ((RMS, rms_norm),))


@pytest.mark.parametrize(
    ("net", "samples", "value", "half_unit"),
    [
        (chain(4, RMS(), RELU), 300, 519.6, 0.05),  # of Gaussian units it is LayerNorm
        (chain(4, RELU, RMS()), 300, 1027.6, 0.05),
        (chain(4, RELU, RMS(0.5, trained=True)), 300, 260.4, 0.05),
        (chain(4, RELU, RMS(0.1, trained=True)), 200, 11.41, 0.005),
    ],
)
@pytest.mark.parametrize("implementation", BOTH)
def test_figures_come_out_to_their_last_printed_digit(implementation, net, samples, value, half_unit):
    result = BOTH[implementation].fisher(net, samples=samples)
    assert result.lambda_max == pytest.approx(value, rel=0, abs=half_unit)


@pytest.mark.parametrize("before", [ff.AvgPool2d(1), ff.AvgPool2d(2, 1, 1)], ids=str)
def test_it_may_stand_before_the_first_convolution(before):
    test_graphs.assert_first_norm_of_images(before, RMS(0.7, 0.1, True))


# ------------------------------------------------------------------------------------------------- finite networks
PARTS = {
    "before phi": ff.Network(5, [D(7), RMS(1.4, 1e-5, trained=True), A("gelu"), D(2)]),
    "behind phi": ff.Network(5, [D(7), RELU, RMS(-0.8, eps=1e-3), D(2)]),
    "of images": ff.Network(
        (2, 4, 5),
        [ff.Conv2d(3, 2), RMS(0.7, trained=True), A("tanh"), ff.AvgPool2d(2, 1), RMS(), ff.Conv2d(4, 2),
         ff.GlobalAvgPool2d()],
    ),
    "in a branch": ff.Network(5, [D(6), ff.Residual([RMS(trained=True), RELU, D(6)], scale=0.5), RMS(), RELU, D(2)]),
    "of single units": ff.Network(5, [D(3), RMS([0.5, -1.0, 2.0], trained=True), A("tanh"), D(2)]),
}  # fmt: skip


@pytest.mark.parametrize("name", PARTS)
def test_it_is_pytorch_s(name):
    pytest.importorskip("torch")
    from test_torch import assert_same

    assert_same(PARTS[name])


def test_it_divides_by_what_there_is_but_not_by_zero():
    """Equal units have a mean square; only a sample of zeros has none."""
    x = np.array([[2.0, 2.0], [0.0, 0.0]])
    core = _core.Linearization64([2], True, True, True)
    core.layer("rms_norm", [0.0], [np.array([1.0, 3.0])], False)
    np.testing.assert_allclose(core.forward(x[:1], 1e6, False), [[1.0, 3.0]], rtol=1e-15)
    with pytest.raises(_core.Failure) as raised:
        core.forward(x, 1e6, False)
    assert (raised.value.node, raised.value.unit) == (0, 1)


# ------------------------------------------------------------------------------------------------- words
def test_builders_know_its_word():
    assert ff.mlp([5, 4, 2], norm="rms", gamma=2.0, eps=0.5).layers[1] == RMS(2.0, 0.5)
    with pytest.raises(ValueError, match=r"^beta must be 0, or left out, with norm='rms', which has none, got 0\.5$"):
        ff.mlp([5, 4, 2], norm="rms", beta=0.5)


def test_what_it_does_not_take_is_refused():
    with pytest.raises(ValueError, match=r"^eps must be > 0 where the variance over the units of a sample is zero, as"):
        ff.fisher(ff.Network(3, [D(4, 0.0, 0.0), RMS(), RELU, D(2)]))
    with pytest.raises(ValueError, match=r"^layers\[2\]: a normalisation over units must stand after .* BatchNorm$"):
        ff.Network(3, [D(4), ff.BatchNorm(), RMS(), D(2)])
    core, ones = _core.Linearization64([6], True, True, True), np.ones(6)
    with pytest.raises(ValueError, match=r"^rms_norm takes 1 array \(gammas\), got 2$"):
        core.layer("rms_norm", [0.1], [ones, ones], False)
    with pytest.raises(ValueError, match=r"^rms_norm: eps must be finite and >= 0, got inf$"):
        core.layer("rms_norm", [np.inf], [ones], False)
