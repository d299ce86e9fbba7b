# SPDX-License-Identifier: BSD-3-Clause
"""Cross-entropy at initialisation: the root of the softmax's law, and what sampled networks have (section 13)."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import floats

import fisherfield as ff
from fisherfield import reference
from fisherfield.reference import cross_entropy as slow
from fisherfield.theory import cross_entropy as fast


def of_logits(outputs, length, width=500, batch_norm=True, samples=200):
    """Outputs of this q without biases: two hidden layers of ReLU, of 300 inputs."""
    net = ff.mlp([300, width, width, outputs], batch_norm=batch_norm)
    last = ff.Dense(outputs, length / ff.order_parameters(net, samples=samples).q_hat[-1], 0.0)
    return ff.Network(300, [*net.layers[:-1], last])


# lambda_max of sampled networks' F, and the derivation's own with the standard error of 50 draws.
TABLE = [
    (2, 0.01, 40.47, 40.20, 0.01),
    (2, 1.0, 31.17, 29.39, 0.30),
    (2, 10.0, 21.46, 19.32, 0.30),
    (10, 0.01, 8.710, 8.715, 0.02),
    (10, 1.0, 12.88, 13.14, 0.15),
    (10, 10.0, 16.23, 14.98, 0.15),
    (100, 0.01, 0.928, 0.927, 0.003),
    (100, 1.0, 2.618, 2.77, 0.11),
]


@pytest.mark.parametrize(("outputs", "length", "sampled", "root", "error"), TABLE)
def test_the_law_is_that_of_the_derivation(outputs, length, sampled, root, error):
    """Within three standard errors of both; sampled networks within 11 %, and within 6 % where the result holds."""
    out = ff.fisher(of_logits(outputs, length), samples=200, loss="cross_entropy")
    assert out.lambda_max == pytest.approx(root, abs=3 * math.hypot(error, out.error))
    assert out.lambda_max == pytest.approx(sampled, rel=0.06 if out.holds else 0.11)
    assert out.holds == ("5 to 11 % too low" not in out.reason)
    small = ff.fisher(of_logits(outputs, length), samples=200).lambda_max / outputs
    assert (out.lambda_max / small > 1.5) == (outputs > 2 and length >= 1.0)  # what small logits had


@pytest.mark.parametrize(("outputs", "length", "root", "error"), [(10, 1.0, 169.1, 3.6), (10, 10.0, 300.0, 6.4)])
def test_so_it_is_without_batch_norm(outputs, length, root, error):
    """15 % from network to network, of 50 and of 200."""
    net = of_logits(outputs, length, 800, False)
    out = ff.fisher(net, samples=200, loss="cross_entropy")
    assert out.lambda_max == pytest.approx(root, abs=3 * math.hypot(error, out.error))
    assert out.softmax_spread == pytest.approx(0.15, abs=0.03)
    alone = ff.fisher(ff.Network(300, [*net.layers[:-1], ff.Dense(1, net.layers[-1].sigma_w2, 0.0)]), samples=200)
    assert out.spread == pytest.approx(math.hypot(alone.spread, out.softmax_spread), rel=1e-12)


@settings(max_examples=6)
@given(st.integers(2, 4), st.sampled_from((None, 5, 12)), floats(0.0, 4.0), floats(0.001, 20.0), floats(0.0, 0.9))
def test_core_and_reference_agree(outputs, samples, xy, v, eps):
    """The same draws; roots by secants of a rank-one form here, by bisection with inverted matrices there."""
    eps = 0.0 if samples is None else eps
    out, expected = fast.law(outputs, samples, xy, v, eps), slow.law(outputs, samples, xy, v, eps)
    for name in ("mean", "trace", "square", "cross"):
        assert getattr(out, name) == pytest.approx(getattr(expected, name), rel=1e-9), name
    assert out.spread == pytest.approx(expected.spread, rel=1e-9, abs=1e-10 * out.mean)
    assert out.networks == slow.size_of_draw(outputs, samples)[0]


@pytest.mark.parametrize("samples", [1, 7, 50])
def test_many_outputs_have_the_root_of_the_matrices(samples):
    """64 and 3 outputs take different ways; one network each, of other draws."""
    random = np.random.default_rng(5)
    for outputs in (3, 64):
        p = random.dirichlet(np.full(outputs, 0.3), size=(1, samples))
        H = np.array([np.diag(row) - np.outer(row, row) for row in p[0]])
        for eps in (0.0, 0.05, 0.7):
            assert fast._roots(p, eps)[0] == pytest.approx(slow.root(H, eps), rel=1e-9)


@pytest.mark.parametrize("loss", ["sum", "mean", "mse", "cross_entropy"])
@pytest.mark.parametrize("net", [ff.mlp([30, 60, 60, 3]), ff.mlp([30, 60, 60, 2], batch_norm=False)])
@pytest.mark.parametrize("samples", [None, 12])
def test_the_result_is_the_reference_s(net, loss, samples):
    out, expected = (module.fisher(net, samples=samples, loss=loss) for module in (ff, reference))
    for name in ("a", "b", "lambda_max", "bulk", "mean", "second_moment", "multiplicity"):
        assert getattr(out, name) == pytest.approx(getattr(expected, name), rel=1e-9), name
    rates = [
        module.max_learning_rate(net, 0.9, samples=samples, loss=loss, weight_decay=0.1) for module in (ff, reference)
    ]
    assert rates[0] == pytest.approx(rates[1], rel=1e-9)
    assert (out.loss, out.regime) == (loss, expected.regime)


def test_small_logits_have_a_share_of_the_squared_loss():
    """p = 1/C: H has 1/C on all directions but one."""
    net = of_logits(5, 1e-12)
    squared, out = (ff.fisher(net, samples=200, loss=loss) for loss in ("sum", "cross_entropy"))
    # E max a = 1.16 times the deviation of the common logits, which is 5.6e-7
    assert out.lambda_max == pytest.approx(squared.lambda_max / 5, rel=2e-6)
    assert out.mean == pytest.approx(squared.mean * 4 / 25, rel=2e-6)
    assert out.bulk == pytest.approx(squared.bulk / 5, rel=2e-6)
    assert out.second_moment == pytest.approx(squared.second_moment * 4 / 125, rel=2e-6)


def test_where_the_bulk_rules_logits_are_taken_for_small():
    net = ff.mlp([784, *[300] * 15, 3])
    out = ff.fisher(net, samples=150, loss="cross_entropy")
    assert (out.holds, out.bound) == (False, "~")
    assert out.lambda_max == ff.fisher(net, samples=150).lambda_max / 3
    assert "at small logits" in out.reason


def test_a_rate_is_the_first_step_s():
    net = ff.mlp([784, 1000, 1000, 10])
    out = ff.fisher(net, samples=500, loss="cross_entropy")
    eta = ff.max_learning_rate(net, 0.9, samples=500, loss="cross_entropy", weight_decay=1.0)
    assert eta == pytest.approx(3.8 / (out.lambda_max + 1.0), rel=1e-14)
    assert "the limit of the first step's stability, and none of training" in eta.reason
    assert eta.fisher.lambda_max == out.lambda_max
    assert "loss cross_entropy" in repr(out)
    assert "from net to net)" in repr(out)
    low, high = out.interval()
    assert eta.interval() == pytest.approx((3.8 / (high + 1), 3.8 / (low + 1)), rel=1e-12)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_sampled_networks_have_it(batch_norm):
    """40 networks of the softmax's own F, within three standard errors and 5 %, and their spread."""
    net = ff.mlp([100, 300, 300, 10], batch_norm=batch_norm, sigma_b2=0.1)
    tops = []
    for seed in range(40):
        x = np.random.default_rng(seed).standard_normal((60, 100))
        tops.append(ff.sampled_fisher(net, x, seed, loss="cross_entropy", tolerance=1e-4).lambda_max)
    out = ff.fisher(net, samples=60, loss="cross_entropy")
    mean, error = np.mean(tops), np.std(tops) / math.sqrt(len(tops))
    assert mean == pytest.approx(out.lambda_max * (1 + out.shift), abs=3 * error + 0.05 * mean)
    assert np.std(tops, ddof=1) / mean == pytest.approx(out.spread, rel=0.4)  # 11 % of it is the error of 40
    low, high = out.interval(0.9)
    assert np.mean([low < top < high for top in tops]) >= 0.9 - 3 * math.sqrt(0.09 / 40)


def test_one_output_has_no_cross_entropy():
    with pytest.raises(ValueError, match="loss must be sum, mean or mse for a network with one output"):
        ff.fisher(ff.mlp([20, 30, 1]), loss="cross_entropy")
