# SPDX-License-Identifier: BSD-3-Clause
"""Measured second moments of inputs, and the theory with them."""

import numpy as np
import pytest

import fisherfield as ff
from fisherfield import reference

RELU = ff.Activation("relu")


def smooth(samples, seed=1):
    """Images whose neighbours are alike, and that have a mean."""
    x = ff.data.gaussian((3, 8, 8), samples, seed=seed)
    return (x + np.roll(x, 1, 2) + np.roll(x, 1, 3) + 0.5) / 1.8


def pooled(*norm):
    first = [ff.Conv2d(32, padding=1), *norm, RELU, ff.MaxPool2d(2)]
    second = [ff.Conv2d(64, padding=1), *norm, RELU, ff.GlobalAvgPool2d(), ff.Flatten(), ff.Dense(1)]
    return ff.Network((3, 8, 8), [*first, *second])


STATISTICS = ff.data.statistics(smooth(20))


def test_covariances_are_means_over_channels_and_pairs():
    x = np.random.default_rng(0).standard_normal((5, 2, 2, 3)) + 0.3
    found = ff.data.statistics(x)
    flat = x.reshape(5, 2, 6)
    within = np.mean([[np.outer(c, c) for c in image] for image in flat], axis=(0, 1))
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    between = np.mean([[np.outer(flat[i][c], flat[j][c]) for c in range(2)] for i, j in pairs], axis=(0, 1))
    np.testing.assert_allclose(found.within, within, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(found.between, between, rtol=1e-13, atol=1e-14)
    assert (found.shape, found.samples) == ((2, 2, 3), 5)
    assert (found.overlap, found.length) == ff.data.overlap_and_length(x)
    # 30 squares of size one, in another order
    assert np.mean(np.diagonal(found.within)) == pytest.approx(found.length, rel=1e-13)
    assert np.mean(np.diagonal(found.between)) == pytest.approx(found.overlap, abs=1e-13)
    assert repr(found).startswith("Statistics of 5 samples of 2 x 2 x 3: overlap ")


def test_features_have_an_overlap_and_a_length_alone():
    x = np.random.default_rng(0).standard_normal((40, 12)) + 0.5
    found, net = ff.data.statistics(x), ff.mlp([12, 50, 50, 1])
    assert found.within is None
    overlap, length = ff.data.overlap_and_length(x)
    assert ff.fisher(net, samples=30, inputs=found) == ff.fisher(net, samples=30, overlap=overlap, length=length)
    images = ff.data.statistics(x.reshape(40, 3, 2, 2))  # as a dense network reads them
    assert ff.fisher(net, samples=30, inputs=images) == ff.fisher(net, samples=30, overlap=overlap, length=length)


def test_independent_positions_are_those_of_overlap_and_length():
    one = np.eye(64)
    white = ff.data.Statistics((3, 8, 8), 100, 0.2, 1.0, one, 0.2 * one)
    net = pooled(ff.BatchNorm())
    out = ff.fisher(net, samples=40, inputs=white)
    assert out.lambda_max == ff.fisher(net, samples=40, overlap=0.2).lambda_max
    assert (out.overlap, out.length) == (0.2, 1.0)


@pytest.mark.parametrize(
    ("norm", "theory"), [((ff.BatchNorm(),), "exact"), ((ff.BatchNorm(),), "frozen"), ((), "exact")]
)
def test_the_core_has_the_numbers_of_the_reference(norm, theory):
    inputs, net = ff.data.statistics(smooth(200)), pooled(*norm)
    ours = ff.fisher(net, theory, 20, inputs=inputs, units=128)
    slow = reference.fisher(net, theory, 20, inputs=inputs, units=128)
    # float32 products of a few thousand terms, of random signs
    assert ours.lambda_max == pytest.approx(slow.lambda_max, rel=1e-5)
    assert ours.b == pytest.approx(slow.b, rel=1e-5)
    rows = ff.order_parameters(net, theory, samples=20, inputs=inputs, units=128)
    assert rows.q_hat[0] == pytest.approx(inputs.length, rel=1e-12)
    rate = ff.max_learning_rate(net, 0.9, theory, 20, inputs=inputs, units=128)
    assert float(rate) == pytest.approx(3.8 / ours.lambda_max, rel=1e-12)
    assert ours.layers.a.sum() == pytest.approx(ours.a, rel=1e-5)


def test_features_that_were_centred_share_nothing():
    x = np.random.default_rng(0).standard_normal((50, 16))
    found, net = ff.data.statistics(x - x.mean(axis=0)), ff.mlp([16, 50, 1])
    assert found.overlap < 0
    for samples in (20, 500, None):
        out = ff.fisher(net, samples=samples, inputs=found)
        assert out.overlap == 0.0
        assert out.a == pytest.approx(reference.fisher(net, samples=samples, inputs=found).a, rel=1e-12)


def test_images_that_are_all_the_same_are_refused():
    same = ff.data.statistics(np.ones((4, 3, 8, 8)))
    with pytest.raises(ValueError, match=r"^inputs must differ from each other"):
        ff.fisher(pooled(), samples=20, inputs=same, units=64)
    with pytest.raises(ValueError, match=r"^inputs must have a length from 1e-100 to 1e100, got 0\.0"):
        ff.fisher(pooled(), samples=20, inputs=ff.data.statistics(np.zeros((4, 3, 8, 8))))


def test_images_that_were_centred_share_nothing():
    x = smooth(50)
    centred, net = ff.data.statistics(x - x.mean(axis=0)), pooled(ff.BatchNorm())
    assert centred.overlap < 0
    out = ff.fisher(net, samples=20, inputs=centred, units=128)
    assert out.overlap == 0.0
    slow = reference.fisher(net, samples=20, inputs=centred, units=128)
    assert out.lambda_max == pytest.approx(slow.lambda_max, rel=1e-5)  # float32 products


def test_the_softmax_of_images_is_that_of_small_logits():
    """The outputs' state has no closed form where positions are correlated: a squared loss over the outputs."""
    net = ff.convnet((3, 8, 8), [30], 4, batch_norm=False)
    kept = {"samples": 20, "inputs": STATISTICS, "units": 128}
    out = ff.fisher(net, loss="cross_entropy", **kept)
    assert out.lambda_max == pytest.approx(ff.fisher(net, **kept).lambda_max / 4, rel=1e-12)
    assert "small logits" in out.reason


def test_sampled_networks_of_correlated_images_have_it():
    """Sampled: 12 networks, each on 60 of 400 images; positions taken as independent give 11.398."""
    out = ff.fisher(pooled(ff.BatchNorm()), samples=60, inputs=ff.data.statistics(smooth(400)))
    # three errors of either, and the last hidden layer's 64 channels, of which networks of C lie up to 1.2/C higher
    assert out.lambda_max == pytest.approx(11.327, abs=3 * (0.007 + out.error), rel=1.2 / 64)
    assert out.holds


def test_images_of_few_directions_are_said_not_to_hold():
    v = np.ones((64, 64)) + 0.01 * np.eye(64)
    flat = ff.data.Statistics((3, 8, 8), 100, 0.0, 1.01, v, 0 * v)
    out = ff.fisher(pooled(ff.BatchNorm()), samples=40, inputs=flat)
    assert not out.holds
    assert "the images vary in some 1 directions" in out.reason


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        (
            {"inputs": smooth(4)},
            TypeError,
            r"inputs must be a fisherfield.data.Statistics, got .+\.statistics\(x\) mea",
        ),
        ({"inputs": 3}, TypeError, "inputs must be a fisherfield.data.Statistics, got 3$"),
        ({"inputs": STATISTICS, "overlap": 0.1}, ValueError, "overlap and length must be left out where inputs are"),
        (
            {"inputs": ff.data.statistics(np.ones((3, 5)))},
            ValueError,
            r"inputs must be of the network's input shape \(3,",
        ),
    ],
)
def test_what_is_no_statistics_of_these_inputs_is_refused(keywords, error, words):
    with pytest.raises(error, match=f"^{words}"):
        ff.fisher(pooled(), samples=20, **keywords)


@pytest.mark.parametrize("keywords", [{"units": None}, {"theory": "wei2019"}])
def test_closed_recursions_take_positions_as_independent(keywords):
    net = ff.convnet((3, 8, 8), [30], 1)
    with pytest.raises(ValueError, match=r"^inputs must be left out for the closed recursion"):
        ff.fisher(net, samples=20, inputs=STATISTICS, **keywords)


def test_one_sample_has_no_overlap():
    with pytest.raises(ValueError, match=r"^x must hold at least 2 samples, whose overlap is asked for, got 1$"):
        ff.data.statistics(np.ones((1, 3, 4, 4)))
