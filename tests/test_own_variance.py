"""Frozen BatchNorm behind few weights: E 1/s^2 of units, and what it adds to lambda_max; docs/theory.md, section 13."""

import numpy as np
import pytest

import fisherfield as ff
from fisherfield.reference import own_variance as reference
from fisherfield.theory import own_variance
from fisherfield.theory.settings import Settings

RELU, TANH = ff.Activation("relu"), ff.Activation("tanh")
NORM = ff.BatchNorm(1.3, 0.2, 0.1)


def chain(*between):
    """No padding: all positions are alike."""
    first = [ff.Conv2d(16, 3), NORM, RELU, ff.Conv2d(20, 2, 1, 0, 1.3), NORM, TANH, *between, ff.Conv2d(20, 1), NORM]
    return ff.Network((3, 6, 7), [*first, RELU, ff.Flatten(), ff.Dense(10), NORM, RELU, ff.Dense(1)])


def conv(channels, kernel=3, stride=1, norm=NORM):
    return [ff.Conv2d(channels, kernel, stride, kernel // 2, 2.0, 0.0), norm]


def resnet(channels, inputs, side, norm=NORM):
    first = ff.Residual([*conv(channels, norm=norm), RELU, *conv(channels, norm=norm)], scale=0.8)
    second = ff.Residual(
        [*conv(channels, 3, 2, norm), RELU, *conv(channels, norm=norm)], conv(channels, 1, 2, norm), scale=0.8
    )
    layers = [*conv(channels, norm=norm), RELU, first, RELU, second, RELU, ff.GlobalAvgPool2d(), ff.Flatten()]
    return ff.Network((inputs, side, side), [*layers, ff.Dense(1)])


def fast_of(net, overlap=0.0, length=1.0):
    return np.array(own_variance.gains(net, Settings("frozen", 80, overlap, length, False))) - 1


def of(net, overlap=0.1, length=1.2):
    return fast_of(net, overlap, length), np.array(reference.gains(net, overlap, length)) - 1


BETWEEN = {
    "": [],
    "average": [ff.AvgPool2d((2, 3), (2, 1))],
    "largest": [ff.MaxPool2d(2)],
    "overlapping": [ff.MaxPool2d(3, 1)],
    "sum": [ff.Residual([ff.Conv2d(20, 1), NORM, RELU, ff.Conv2d(20, 1), NORM], scale=0.7), RELU],
    "strided": [ff.Conv2d(12, 2, 2, 0, dilation=2), NORM, RELU],
}


@pytest.mark.parametrize("between", BETWEEN)
def test_a_field_of_lags_is_that_of_all_pairs_of_positions(between):
    fast, slow = of(chain(*BETWEEN[between]))
    assert np.count_nonzero(fast) >= 4
    np.testing.assert_allclose(fast, slow, rtol=1e-11)  # phi's integrals to 1e-12


def test_borders_are_left_out():
    """By up to a tenth of tau in 6 x 6 positions, in strided windows."""
    fast, slow = of(resnet(16, 3, 6), 0.0, 1.0)
    np.testing.assert_allclose(fast, slow, rtol=0.12)


def test_few_weights_of_data_and_of_units():
    """1/(c_in |F|) of data, where every tap's weights are its own; then 1/fan_in, and (g E phi')^4/Var^2 phi of what
    windows of nine, shifted against each other, know of the first: ((1 + 4 + 9 + 4 + 1)/81)^2/3 of 1/3."""
    plain = ff.BatchNorm()
    net = ff.Network((3, 9, 9), [*conv(64, norm=plain), RELU, *conv(64, norm=plain), RELU, ff.Flatten(), ff.Dense(1)])
    fast = fast_of(net)
    share = (0.25 / (0.5 - 0.5 / np.pi)) ** 2
    expected = [2 / 27, 2 / 576 + 2 * share * (19 / 81) ** 2 / 3]
    np.testing.assert_allclose(fast[fast > 0], expected, rtol=1e-11)


def test_sampled_channels_have_it():
    """tr S S' of the inputs' covariances by two sets of data, which know nothing of each other, over (tr S)^2."""
    random, found = np.random.default_rng(0), []
    for _ in range(24):
        first, shares = random.standard_normal((27, 32)), []
        for _ in range(2):
            x = random.standard_normal((300, 3, 6, 6))
            windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))  # (n, 3, 4, 4, 3, 3)
            z = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 27) @ first
            h = np.maximum((z - z.mean(0)) / z.std(0), 0).reshape(300, 4, 4, 32)
            patches = np.lib.stride_tricks.sliding_window_view(h, (3, 3), axis=(1, 2)).reshape(-1, 288)
            patches = patches - patches.mean(0)
            shares.append(patches.T @ patches / len(patches))
        found.append(np.sum(shares[0] * shares[1]) / (np.trace(shares[0]) * np.trace(shares[1])))
    plain = [ff.BatchNorm(), RELU]
    net = ff.Network((3, 6, 6), [ff.Conv2d(32, 3), *plain, ff.Conv2d(8, 3), *plain, ff.Flatten(), ff.Dense(1)])
    tau, error = fast_of(net)[4] / 2, np.std(found, ddof=1) / np.sqrt(24)
    # phi's terms of second order, c^2 E_2^2/2 of correlations c: 1 % of tau
    assert abs(np.mean(found) - tau) < 4 * error + 0.02 * tau
    assert error < 0.03 * tau


@pytest.mark.parametrize("pool", [[], [ff.MaxPool2d(2)]])
def test_the_shift_is_the_references(pool):
    """Of the same units, in float32."""
    norm = ff.BatchNorm(1.2, 0.1, 0.05, True)
    net = ff.Network(
        (3, 6, 6), [ff.Conv2d(20, 3), norm, RELU, *pool, *conv(20, 1, norm=norm), RELU, ff.Flatten(), ff.Dense(1)]
    )
    for n in (12, 60, None):
        result = ff.fisher(net, "frozen", n, 0.1, units=128, seed=3)
        slow = reference.shift(net, n, 0.1, units=128, seed=3)
        assert result.shift == pytest.approx(slow, rel=1e-4)
        assert result.shift > 0.01
        assert result.spread is None
        assert f"{result.lambda_max * (1 + result.shift):.4g} on average" in repr(result)
        with pytest.raises(ValueError, match="no interval is known"):
            result.interval()


def test_what_has_no_own_variance_has_no_such_shift():
    net = resnet(16, 3, 6, ff.BatchNorm())
    assert ff.fisher(net, "exact", 40, units=64).own_shift is None
    assert ff.fisher(net, "frozen", 40, units=64, loss="mse").shift == ff.fisher(net, "frozen", 40, units=64).shift
    grouped = ff.Network(
        (4, 6, 6), [ff.Conv2d(8, 3, groups=2), ff.BatchNorm(), RELU, ff.MaxPool2d(2), ff.Flatten(), ff.Dense(1)]
    )
    result = ff.fisher(grouped, "frozen", 40, units=64)
    assert result.shift is None
    assert "3 to 7 % too low" in result.reason
