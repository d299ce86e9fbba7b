"""BatchNorm whose channels have gammas and betas of their own, by sampled units."""

import numpy as np
import pytest

import fisherfield as ff
from fisherfield import reference
from fisherfield.reference.units.batch_norm import _numbers_of
from fisherfield.reference.units.state import Sampling

RELU = ff.Activation("relu")


def own(channels, seed):
    rng = np.random.default_rng(seed)
    return ff.BatchNorm(tuple(rng.uniform(-0.5, 2.0, channels)), tuple(0.5 * rng.standard_normal(channels)), 0.1, True)


def residual():
    block = ff.Residual([ff.Conv2d(20, 3, 1, 1), own(20, 1), RELU, ff.Conv2d(20, 3, 1, 1), own(20, 2)])
    layers = [ff.Conv2d(20, 3, 1, 1), own(20, 0), RELU, block, RELU, ff.Flatten(), ff.Dense(30), own(30, 3), RELU]
    return ff.Network((3, 6, 6), [*layers, ff.Dense(2)])


def on_units():
    """BatchNorm at the input, behind an activation, and behind Flatten."""
    layers = [own(3, 0), ff.Conv2d(20, 3, 1, 1), RELU, own(20, 1), ff.MaxPool2d(2), RELU, ff.Flatten(), own(180, 2)]
    return ff.Network((3, 6, 6), [*layers, ff.Dense(2)])


@pytest.mark.parametrize("net", [residual, on_units], ids=lambda net: net.__name__)
@pytest.mark.parametrize("theory", ["exact", "frozen"])
def test_the_core_has_the_references_numbers(net, theory):
    """The channels' numbers do not divide those of units."""
    net = net()
    for n in (9, 300, None) if net == residual() else (9,):
        slow, fast = (module.fisher(net, theory, n, 0.1, units=64, seed=3) for module in (reference, ff))
        # sums in float32, as of all units (test_units_core.py)
        assert (fast.a, fast.b) == pytest.approx((slow.a, slow.b), rel=5e-6, abs=3e-6 * slow.a / (n or 1e4))
        assert fast.layers.a == pytest.approx(slow.layers.a, rel=1e-5)


@pytest.mark.parametrize("theory", ["exact", "frozen"])
def test_dense_layers_have_the_recursions_numbers(theory):
    """The recursion is exact there, but for 1/n^2, 1e-4."""
    net = ff.Network(20, [ff.Dense(64), own(64, 0), RELU, ff.Dense(64), own(64, 1), RELU, ff.Dense(1)])
    n = 100 if theory == "exact" else None
    closed = ff.fisher(net, theory, n, units=None)
    drawn = [ff.fisher(net, theory, n, units=2048, seed=seed) for seed in range(4)]
    mean, error = np.mean([each.lambda_max for each in drawn]), np.linalg.norm([each.error for each in drawn]) / 4
    assert error < 0.005 * mean
    assert mean == pytest.approx(closed.lambda_max, abs=3 * error + 1e-3 * mean)


@pytest.mark.parametrize(("channels", "half"), [(8, 32), (64, 16), (64, 24), (200, 16)])
def test_every_channel_has_its_part(channels, half):
    """As often as others where numbers divide; else once more or less, and spread over all of them."""
    layer = ff.BatchNorm(tuple(map(float, range(1, channels + 1))), 0.5)
    counts = np.zeros(channels, int)
    for group in range(4):
        gamma, beta = _numbers_of(layer, 2 * half, Sampling(0, group, 1, 2 * half, 1, 9, True, 9))
        assert np.array_equal(gamma[:half], gamma[half:])  # z and -z
        assert np.all(beta == 0.5)
        counts += np.bincount(gamma[:half].ravel().astype(int) - 1, minlength=channels)
    assert counts.max() - counts.min() <= (4 * half % channels > 0)
    if channels > 4 * half:
        assert np.diff(np.flatnonzero(counts)).max() <= 4  # 200/64


def test_equal_numbers_are_one_number():
    """The same bits."""
    one, each = (
        ff.Network((3, 6, 6), [ff.Conv2d(8, 3, 1, 1), ff.BatchNorm(gamma, beta), RELU, ff.Flatten(), ff.Dense(1)])
        for gamma, beta in ((1.3, 0.2), ((1.3,) * 8, (0.2,) * 8))
    )
    for n in (9, 100):
        first, second = (ff.fisher(net, samples=n, units=64) for net in (one, each))
        assert (first.a, first.b, first.error) == (second.a, second.b, second.error)


def test_networks_that_are_sampled_have_theirs():
    """Forty samples, four networks; padding, which the recursion leaves out."""
    layers = [each for seed in range(2) for each in (ff.Conv2d(48, 3, 1, 1), own(48, seed), RELU, ff.MaxPool2d(2))]
    net = ff.Network((3, 8, 8), [*layers, ff.GlobalAvgPool2d(), ff.Flatten(), ff.Dense(1)])
    theory = ff.fisher(net, samples=40)
    assert theory.drawing is not None
    x = ff.data.gaussian(net, 40)
    measured = [ff.sampled_fisher(net, x, seed).eigenvalues[0] for seed in range(4)]
    error = np.std(measured, ddof=1) / 2
    assert error < 0.03 * theory.lambda_max
    assert theory.lambda_max == pytest.approx(np.mean(measured), abs=3 * error + 0.03 * theory.lambda_max)
