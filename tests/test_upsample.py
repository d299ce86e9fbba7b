# SPDX-License-Identifier: BSD-3-Clause
"""Upsample: positions side by side several times; its theory beside 45 digits stands in test_positions.py."""

import numpy as np
import pytest
from test_graphs import BOTH

import fisherfield as ff
from fisherfield import _core

CONV = ff.Conv2d(6, 2, sigma_w2=1.5)
RELU = ff.Activation("relu")


def test_shapes_and_refusals():
    net = ff.Network((2, 4, 3), [CONV, RELU, ff.Upsample((1, 3)), ff.Upsample(2), ff.Flatten(), ff.Dense(2)])
    assert net.shapes[2:5] == ((6, 3, 2), (6, 3, 6), (6, 6, 12))
    with pytest.raises(ValueError, match=r"^factor must be .*>= 1.*got 0"):
        ff.Upsample(0)
    with pytest.raises(
        ValueError, match=r"^layers\[0\]: Upsample needs an image \(channels, height, width\), got shape"
    ):
        ff.Network(4, [ff.Upsample(2), ff.Dense(2)])
    far = [ff.Upsample(2**15)] * 3
    with pytest.raises(
        ValueError, match=r"^layers\[\d\]: the output must have at most \d+ positions along a side, got"
    ):
        ff.Network((2, 4, 3), [CONV, RELU, *far, ff.Flatten(), ff.Dense(2)])


@pytest.mark.parametrize("implementation", BOTH)
@pytest.mark.parametrize("theory", ["exact", "frozen"])
def test_means_over_positions_do_not_see_it(implementation, theory):
    """GlobalAvgPool2d of repeated positions is that of the positions; only inside a window do they differ."""
    fisher = BOTH[implementation].fisher
    layers = [CONV, ff.BatchNorm(0.7, trained=True), RELU]
    end = [ff.GlobalAvgPool2d(), ff.Flatten(), ff.Dense(2)]
    with_it, without = (
        fisher(ff.Network((2, 4, 3), [*layers, *more, *end]), theory, samples=20, overlap=0.2).lambda_max
        for more in ([ff.Upsample((2, 3))], [])
    )
    assert with_it == pytest.approx(without, rel=1e-13)  # roundings of sums of 36 positions in place of 6


@pytest.mark.parametrize("implementation", BOTH)
def test_flattened_positions_are_so_many_more_weights(implementation):
    """A dense layer of weights for every repetition has as many times the gradients; sigma_w2 is divided by fan_in."""
    fisher = BOTH[implementation].fisher
    nets = [
        ff.Network((3, 2, 2), [ff.Conv2d(5, 2), RELU, *more, ff.Flatten(), ff.Dense(4, bias=False)])
        for more in ([ff.Upsample(7)], [])
    ]
    many, one = (fisher(net, samples=20, biases=False).layers.a for net in nets)
    assert many == pytest.approx([one[0], 49 * one[1]], rel=1e-13)  # roundings


def test_a_finite_network_refuses_what_is_no_factor():
    core = _core.Linearization64([2, 2, 3], True, True, True)
    with pytest.raises(ValueError, match=r"upsample: factor must be a whole number >= 1, got 1\.5"):
        core.layer("upsample", [1.5, 3.0], [], False)


def test_the_theory_is_a_sampled_network_s():
    layers = [ff.Conv2d(150, 3), RELU, ff.Upsample(3), ff.Conv2d(150, 2, 2), RELU, ff.Flatten(), ff.Dense(1)]
    net = ff.Network((3, 4, 4), layers)
    x = ff.data.gaussian(net, 60, seed=1)
    measured = np.mean([ff.sampled_fisher(ff.sample(net, seed), x).lambda_max for seed in range(3)])
    assert ff.fisher(net, samples=60).lambda_max == pytest.approx(measured, rel=0.04)  # 150 channels, three seeds


def test_pytorch_s_modules():
    torch = pytest.importorskip("torch")
    from test_torch import assert_same

    nn = torch.nn
    assert_same(
        ff.Network((2, 4, 3), [CONV, ff.BatchNorm(), RELU, ff.Upsample((1, 2)), CONV, ff.Flatten(), ff.Dense(2)])
    )
    assert_same(ff.Network((2, 1, 5), [ff.Conv1d(4, 2), RELU, ff.Upsample((1, 2)), ff.Flatten(), ff.Dense(2)]))
    last = nn.Sequential(nn.Flatten(), nn.Linear(8 * 49, 3))
    vgg = nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(7), last)
    assert ff.torch.describe(vgg, (2, 3, 3)).layers[2:4] == (ff.Upsample(7), ff.Flatten())
    x = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    sampled = ff.torch.sampled(vgg, (2, 3, 3))
    np.testing.assert_allclose(sampled(x.numpy()), vgg(x).detach().numpy(), rtol=0, atol=1e-6)  # float32
    by_size = nn.Sequential(nn.Conv2d(2, 8, 1), nn.Upsample((4, 6)), nn.AdaptiveAvgPool2d(1))
    assert ff.torch.describe(by_size, (2, 2, 3)).layers[1] == ff.Upsample(2)


# ------------------------------------------------------------------------------------------------------ sampled units


@pytest.mark.parametrize("theory", ["exact", "frozen"])
@pytest.mark.parametrize("norm", [[], [ff.BatchNorm(1.3, 0.4, 0.1, True)]])
def test_the_core_s_units_are_the_reference_s(norm, theory):
    conv = ff.Conv2d(20, 3, 1, 1)
    layers = [conv, *norm, RELU, ff.Upsample((2, 1)), ff.Dropout(0.2), conv, *norm, RELU]  # Dropout reads units
    net = ff.Network((3, 3, 4), [*layers, ff.Upsample(2), ff.Flatten(), ff.Dense(2)])
    for n in (9, None):
        slow, fast = (module.fisher(net, theory, n, units=64, seed=3) for module in (ff.reference, ff))
        # sums in float32, as those of other layers
        assert (fast.a, fast.b) == pytest.approx((slow.a, slow.b), rel=2e-6, abs=3e-6 * slow.a / (n or 1e4))


def test_a_unit_s_kernel_is_that_of_the_positions_it_repeats():
    from test_units import kernels, place, random_units, sampling

    from fisherfield.reference.layers.upsample import of_units

    units = random_units(np.random.default_rng(1))  # images of 2 x 2, three samples
    out = of_units(ff.Upsample((1, 2)), units, place(), sampling())
    source = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    assert np.array_equal(out.h, units.h[..., source])
    rows = (np.arange(3)[:, None] * 4 + source).ravel()
    np.testing.assert_allclose(kernels(out), kernels(units)[..., rows[:, None], rows], rtol=1e-14)
