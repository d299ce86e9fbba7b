"""Sampled units in the core: the reference's numbers, whatever the threads; and what the package says of them."""

import math
import subprocess
import sys

import numpy as np
import pytest

import fisherfield as ff
from fisherfield import _core, reference
from fisherfield.reference.units.state import Sampling, normals

RELU = ff.Activation("relu")
NORMS = {"plain": [], "norm": [ff.BatchNorm()], "trained": [ff.BatchNorm(1.3, 0.4, 0.1, True)]}


def flat(*norm):
    return ff.Network(20, [ff.Dense(50), *norm, RELU, ff.Dense(50), *norm, ff.Activation("tanh"), ff.Dense(1)])


def pooled(*norm):
    first = [ff.Conv2d(20, 3, 1, 1), *norm, RELU, ff.AvgPool2d(2, padding=1)]
    second = [ff.Conv2d(20, 3, 1, 1, dilation=2, groups=2), *norm, RELU, ff.Upsample((1, 2)), ff.GlobalAvgPool2d()]
    return ff.Network((3, 8, 8), [*first, *second, ff.Flatten(), ff.Dense(2)])


def dropped(*norm):
    first = [ff.Conv2d(20, 3, 2, 1), *norm, RELU, ff.Dropout(0.2)]
    return ff.Network((3, 7, 9), [*first, ff.Conv2d(20, 3, 1, 1), *norm, RELU, ff.Flatten(), ff.Dense(2)])


def projected(*norm):
    branch = [ff.Conv2d(20, 3, 1, 1), *norm, RELU, ff.Conv2d(20, 3, 1, 1), *norm]
    block = ff.Residual(branch, [ff.Conv2d(20, 1), *norm], scale=0.7)
    return ff.Network((3, 6, 6), [ff.Conv2d(20, 3, 1, 1), *norm, RELU, block, RELU, ff.Flatten(), ff.Dense(2)])


def before_activation(*norm):
    block = ff.Residual([*norm, RELU, ff.Conv2d(20, 3, 1, 1)])
    return ff.Network((3, 6, 6), [ff.Conv2d(20, 3, 1, 1), block, block, RELU, ff.Flatten(), ff.Dense(2)])


def over_units(*norm):
    first = [ff.Conv2d(20, 3, 1, 1), ff.LayerNorm(trained=True), RELU, ff.Conv2d(20, 3), *norm, RELU]
    last = [ff.LayerNorm(1.2, 0.3, 0.1, True), ff.Conv2d(20, 3), ff.RMSNorm(0.8, 0.1, True), RELU, ff.GroupNorm(4)]
    return ff.Network((3, 6, 6), [*first, *last, ff.Flatten(), ff.Dense(2)])


def at_the_output(*norm):
    return ff.Network((3, 6, 6), [ff.Conv2d(20, 3, 1, 1), RELU, ff.Flatten(), ff.Dense(2), *norm])


NETS = (flat, pooled, dropped, projected, before_activation, over_units, at_the_output)


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.__name__)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("theory", ["exact", "frozen"])
def test_the_core_has_the_references_numbers(net, norm, theory):
    """Of a batch, of few samples out of many, and of infinitely many; the same units, and sums in float32."""
    net = net(*NORMS[norm])
    for n, overlap in ((9, 0.0), (300, 0.2), (None, 0.0)):
        slow, fast = (module.fisher(net, theory, n, overlap, units=64, seed=3) for module in (reference, ff))
        # 1e-7 in most; the outputs' norm divides by each of 16 units' own variance: 1.2e-6 over eight seeds, and takes
        # all of b but what rounding leaves of a
        assert (fast.a, fast.b) == pytest.approx((slow.a, slow.b), rel=5e-6, abs=3e-6 * slow.a / (n or 1e4))
        assert fast.error == pytest.approx(slow.error, rel=1e-4, abs=2e-6 * slow.a)


@pytest.mark.parametrize("net", [flat, pooled, over_units], ids=lambda net: net.__name__)
def test_many_units_have_the_references_products(net):
    """256 pairs a group, from which on products over units are those of the law."""
    net = net(*NORMS["trained"])
    slow, fast = (module.fisher(net, "exact", 300, 0.2, units=2048, seed=3) for module in (reference, ff))
    assert (fast.a, fast.b) == pytest.approx((slow.a, slow.b), rel=2e-6, abs=3e-6 * slow.a / 300)
    assert fast.error == pytest.approx(slow.error, rel=1e-3, abs=2e-6 * slow.a)


def test_directions_of_what_large_images_share_are_the_references():
    """More than 128 positions."""
    layers = [each for _ in range(2) for each in (ff.Conv2d(20, 3, 1, 1), ff.BatchNorm(), RELU)]
    net = ff.Network((2, 12, 12), [*layers, ff.Conv2d(20, 3, 1, 1), RELU, ff.Flatten(), ff.Dense(1)])
    for overlap in (0.0, 0.3):
        slow, fast = (module.fisher(net, "exact", 40, overlap, units=64) for module in (reference, ff))
        assert (fast.a, fast.b) == pytest.approx((slow.a, slow.b), rel=2e-6)


@pytest.mark.parametrize("theory", ["exact", "frozen"])
def test_each_layers_part_is_the_references(theory):
    net = projected(*NORMS["trained"])
    slow, fast = (module.fisher(net, theory, 9, units=64) for module in (reference, ff))
    assert fast.layers.a == pytest.approx(slow.layers.a, rel=1e-5)
    assert fast.layers.b == pytest.approx(slow.layers.b, rel=1e-5, abs=1e-6 * slow.a)
    assert (np.sum(fast.layers.a), np.sum(fast.layers.b)) == pytest.approx((fast.a, fast.b), rel=1e-5)


def test_order_parameters_are_means_over_units():
    net = pooled(*NORMS["norm"])
    slow, fast = (module.order_parameters(net, samples=9, units=64) for module in (reference, ff))
    for name in ("fan_in", "q_hat", "q_hat_xy", "v_hat", "q", "q_xy", "v", "theta", "theta_xy", "d"):
        assert getattr(fast, name) == pytest.approx(getattr(slow, name), rel=1e-5, abs=1e-6), name


def test_units_are_the_same_for_any_number_of_threads():
    net, before = projected(*NORMS["norm"]), ff.num_threads()
    numbers = set()
    try:
        for threads in (1, 2, 3, 8):
            ff.set_num_threads(threads)
            spectrum = ff.fisher(net, samples=9, units=128, seed=5)
            numbers.add((spectrum.a, spectrum.b, spectrum.error))
    finally:
        ff.set_num_threads(before)
    assert len(numbers) == 1
    assert ff.fisher(net, samples=9, units=128, seed=6).a not in {a for a, _, _ in numbers}


def test_normal_numbers_are_the_references():
    """Wichura's quantiles and SciPy's agree to a few ulp of numbers up to 4."""
    slow = normals(Sampling(7, 2, 3, 2, 1, None, False, 2), 1, 300, 500)
    np.testing.assert_allclose(_core.unit_normals(7, 2, 3, 1, 300, 500), slow, rtol=0, atol=4e-15)


def padded(*between, channels=(48, 48), end=None, outputs=1):
    layers = [each for c in channels for each in (ff.Conv2d(c, 3, 1, 1), ff.BatchNorm(), RELU, *between)]
    return ff.Network((3, 8, 8), [*layers, end or ff.GlobalAvgPool2d(), ff.Flatten(), ff.Dense(outputs)])


def test_units_cure_what_padding_does_to_the_recursion():
    net = padded(ff.AvgPool2d(2))
    by_units, closed = ff.fisher(net, samples=50, units=512), ff.fisher(net, samples=50, units=None)
    assert by_units.drawing is not None
    assert closed.drawing is None
    assert 0 < by_units.error < 0.005 * by_units.lambda_max
    assert by_units.lambda_max < 0.85 * closed.lambda_max
    assert closed.error == 0.0
    assert not closed.holds
    assert "units=1024" in closed.reason
    assert "by sampled units" in repr(by_units)
    assert f"+- {by_units.error:.2g}" in repr(by_units)
    rate = ff.max_learning_rate(net, 0.9, samples=50, units=512)
    assert float(rate) == pytest.approx(2 * 1.9 / by_units.lambda_max, rel=1e-14)
    assert rate.fisher.error == by_units.error


def test_few_units_of_many_positions_scatter_around_the_recursion():
    """Where eigenvalues that noise left below 0 were cut alone, b was 0.64 % too large here, ten times the error."""
    layers = [ff.Conv2d(64, 3), ff.BatchNorm(), RELU] * 2
    net = ff.Network((3, 14, 14), [*layers, ff.Flatten(), ff.Dense(1)])
    closed = ff.fisher(net, samples=50, units=None)
    by_units = [ff.fisher(net, samples=50, units=256, seed=seed).b for seed in range(16)]
    # four groups of 64 units scatter by 0.4 %; the recursion leaves 0.1 % of order 1/n out
    assert np.mean(by_units) == pytest.approx(closed.b, rel=3e-3)


def max_pooled(*more):
    """Four identity blocks at the most: those of ResNets, and what VGG has."""
    norm = ff.BatchNorm(trained=True)
    block = ff.Residual([ff.Conv2d(48, 3, 1, 1), norm, RELU, ff.Conv2d(48, 3, 1, 1), norm])
    down = ff.Residual([ff.Conv2d(64, 3, 2, 1), norm, RELU, ff.Conv2d(64, 3, 1, 1), norm], [ff.Subsample(64)])
    stem = [ff.Conv2d(48, 3, 1, 1), norm, RELU, ff.MaxPool2d(3, 2, 1)]
    return ff.Network(
        (3, 12, 12), [*stem, block, RELU, down, RELU, *more, ff.GlobalAvgPool2d(), ff.Flatten(), ff.Dense(1)]
    )


def behind_activations(*more):
    """BatchNorm at the input, behind an activation, a pooling and a sum of such."""
    norm = ff.BatchNorm(0.9, 0.2, 0.1)
    block = ff.Residual([ff.Conv2d(40, 3, 1, 1), RELU, norm])
    first = [norm, ff.Conv2d(40, 3, 1, 1), ff.MaxPool2d(2), RELU, norm]
    return ff.Network(
        (3, 8, 8), [*first, block, *more, norm, RELU, ff.AvgPool2d(2), ff.Upsample(2), norm, ff.Flatten(), ff.Dense(1)]
    )


@pytest.mark.parametrize("theory", ["exact", "frozen"])
@pytest.mark.parametrize("net", [max_pooled, behind_activations])
def test_networks_without_a_recursion_have_the_references_units(net, theory):
    net = net()
    slow, fast = (module.fisher(net, theory, 6, 0.1, units=64) for module in (reference, ff))
    # sums in float32, of a kernel that goes through three norms by themselves
    assert (fast.a, fast.b) == pytest.approx((slow.a, slow.b), rel=1e-5, abs=1e-5 * slow.a / 6)


@pytest.mark.parametrize("net", [max_pooled, behind_activations])
def test_networks_without_a_recursion_are_those_that_are_sampled(net):
    """Exact BatchNorm, 40 samples, three networks, which scatter by 1 to 2 %."""
    net, n = net(), 40
    theory = ff.fisher(net, samples=n)
    assert theory.drawing is not None
    assert 0 < theory.error < 0.01 * theory.lambda_max
    with pytest.raises(ValueError, match="has no closed recursion"):
        ff.fisher(net, samples=n, units=None)
    x = np.random.default_rng(0).standard_normal((n, *net.input_shape))
    measured = [ff.sampled_fisher(net, x, seed).eigenvalues[0] for seed in range(3)]
    error = np.std(measured, ddof=1) / np.sqrt(3)
    assert theory.lambda_max == pytest.approx(np.mean(measured), abs=4 * error + 0.03 * theory.lambda_max)


def test_networks_that_need_no_units_have_the_recursions_bits():
    for net in (ff.mlp([20, 200, 200, 3], batch_norm=True), ff.convnet((3, 12, 12), [30, 30], 2, padding=0)):
        for theory in ("exact", "frozen", "wei2019"):
            auto, closed = (ff.fisher(net, theory, 100, units=units) for units in ("auto", None))
            assert (auto.lambda_max, auto.a, auto.b) == (closed.lambda_max, closed.a, closed.b)
            assert auto.drawing is None


def test_padded_networks_hold_where_the_bulk_is_small():
    wide = ff.fisher(padded(channels=(96, 96)), samples=100, units=128)
    assert (wide.a - wide.b) / 100 < 0.2 * wide.lambda_max
    assert wide.holds, wide.reason
    few = ff.fisher(padded(channels=(96, 96)), samples=10, units=128)
    assert not few.holds
    assert "below 20 samples" in few.reason
    narrow = ff.fisher(padded(channels=(96, 20)), samples=100, units=128)
    assert not narrow.holds
    assert "20 channels" in narrow.reason


@pytest.mark.parametrize("n", [40, 400])
def test_sampled_networks_agree(n):
    """Four networks each; they scatter by 1 to 2 %."""
    net = padded(ff.AvgPool2d(2), channels=(96, 96))
    if n == 400:
        net = padded(channels=(64,), end=ff.AvgPool2d(4))
    theory = ff.fisher(net, samples=n, units=256)
    x = np.random.default_rng(0).standard_normal((n, *net.input_shape))
    measured = [ff.sampled_fisher(net, x, seed).eigenvalues[0] for seed in range(4)]
    error = np.std(measured, ddof=1) / 2
    assert theory.lambda_max == pytest.approx(np.mean(measured), abs=4 * error + 0.015 * theory.lambda_max)
    assert error < 0.02 * theory.lambda_max


def test_what_does_not_fit_is_refused_before_it_is_begun():
    net = ff.Network((3, 64, 64), [ff.Conv2d(8, 3, 1, 1), RELU, ff.Conv2d(8, 3, 1, 1), RELU, ff.Flatten(), ff.Dense(1)])
    with pytest.raises(
        ValueError, match=r"^net must fit into memory: sampled units of 4,096 positions take up to .*GB, "
    ):
        ff.fisher(net, units=256, memory=1e9)
    small = pooled()
    needed = _core.unit_needs(
        small._compiled, reference.arguments.settings_of(small, "exact", None, 0, 1, None), _how()
    ).bytes
    assert 1e5 < needed < 1e8
    with pytest.raises(
        ValueError, match=r"more than the .* of memory=; images of about \d+ positions a side would fit"
    ):
        ff.fisher(small, units=256, memory=needed / 100)


def test_images_of_photographs_are_refused_with_what_they_would_take():
    stem = [ff.Conv2d(64, 7, 2, 3), ff.BatchNorm(), RELU, ff.MaxPool2d(3, 2, 1)]
    net = ff.Network((3, 224, 224), [*stem, ff.Conv2d(64, 3, 1, 1), ff.BatchNorm(), RELU, ff.Flatten(), ff.Dense(1)])
    sentence = r"units of 12,544 positions take up to \d+(\.\d)? GB, more than the 2 GB of memory=; images of about \d+"
    with pytest.raises(ValueError, match=sentence):
        ff.fisher(net, samples=128, memory=2e9)


def test_what_takes_more_than_a_minute_says_so_first(monkeypatch):
    net = padded(ff.AvgPool2d(2))
    monkeypatch.setattr("fisherfield.theory.units._PATIENCE", 1e-6)
    with pytest.warns(UserWarning, match=r"^sampled units of 64 positions will take about .* ms in \d+ thread"):
        ff.fisher(net, samples=50, units=64)


MEMORY = """
import fisherfield as ff
from fisherfield import _core
from fisherfield.theory.settings import Settings
from fisherfield.theory.units import drawing

def held(name):
    return 1024 * int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1])

RELU, norm = ff.Activation("relu"), ff.BatchNorm(trained=True)
block = ff.Residual([ff.Conv2d(16, 3, 1, 1), norm, RELU, ff.Conv2d(16, 3, 1, 1), norm])
def net(side):
    layers = [ff.Conv2d(16, 3, 1, 1), norm, RELU, ff.MaxPool2d(2), block, RELU, block, RELU, ff.Flatten(), ff.Dense(1)]
    return ff.Network((3, side, side), layers)
ff.set_num_threads(1)
ff.fisher(net(8), samples=40, units=64)  # the libraries' own
large = net(24)
how = drawing(large, Settings.of(large, "exact", 40, by_units=True), 512, 0, None)
needed = _core.unit_needs(large._compiled, Settings.of(large, "exact", 40, by_units=True), how).bytes
before = held("VmRSS")
ff.fisher(large, samples=40, units=512)
print(needed, held("VmHWM") - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_a_pass_takes_the_memory_that_is_said():
    """What arrays take, and some MB of BLAS."""
    out = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True).stdout
    needed, taken = (float(each) for each in out.split())
    assert needed > 5e7
    assert 0.7 * needed < taken < 1.1 * needed + 4e7


def _how():
    from fisherfield.theory.units import Drawing

    return Drawing(64, 64, False, 16, 0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"units": "many"}, "units must be 'auto', None or a whole number, got 'many'"),
        ({"units": 3}, r"units must be a whole number >= 64, got 3"),
        ({"units": 64.5}, "units must be"),
        ({"seed": -1}, "seed must be"),
        ({"memory": 0.0}, "memory must be"),
        ({"units": 64, "samples": 9, "overlap": -0.1}, "overlap must be >= 0 where units are drawn"),
        ({"units": 64, "theory": "wei2019"}, "units must be 'auto' or None for the theory wei2019"),
    ],
)
def test_what_is_no_number_of_units_is_refused(arguments, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        ff.fisher(ff.mlp([20, 20, 1]), **arguments)


def test_samples_are_normalised_by_one_gamma():
    net = ff.Network(5, [ff.Dense(3), ff.LayerNorm((1.0, 2.0, 3.0)), RELU, ff.Dense(1)])
    sentence = r"^layers\[1\]: sampled units have no LayerNorm whose gamma and beta differ from unit to unit$"
    for module in (ff, reference):
        with pytest.raises(ValueError, match=sentence):
            module.fisher(net, units=64)
    assert ff.fisher(net).drawing is None


def test_zero_variance_is_refused_where_it_stands():
    net = ff.Network(5, [ff.Dense(30, sigma_w2=0.0), ff.BatchNorm(), RELU, ff.Dense(1)])
    with pytest.raises(
        ValueError, match=r"eps must be > 0 where the variance over the data is zero, .* affine layer 1"
    ):
        ff.fisher(net, samples=20, units=64)


def test_fisher_with_units_is_finite_for_every_activation():
    for name in ("gelu", "step", "sin", "softplus", "relu6", "hermite(3)"):
        net = ff.Network((2, 4, 4), [ff.Conv2d(9, 3, 1, 1), ff.Activation(name), ff.Flatten(), ff.Dense(1)])
        slow, fast = (module.fisher(net, units=64) for module in (reference, ff))
        assert math.isfinite(fast.a)
        assert (fast.a, fast.b) == pytest.approx((slow.a, slow.b), rel=1e-5), name
