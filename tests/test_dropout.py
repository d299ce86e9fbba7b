# SPDX-License-Identifier: BSD-3-Clause
"""Dropout: theory against 60 digits and a printed figure, masks of finite networks, PyTorch, refusals."""

import numpy as np
import pytest
import test_graphs
from mpmath import mpf
from test_graphs import BOTH, RELU, D
from test_theory_figures import chain

import fisherfield as ff
from fisherfield import _core

DROP, LN, BN = ff.Dropout(0.3), ff.LayerNorm, ff.BatchNorm()


# ------------------------------------------------------------------------------------------------- theory
def dropout(layer, h):
    keep = 1 - mpf(layer.rate)
    return test_graphs.Exact(h.xy, h.q / keep, h.off, h.mean, h.o, h.D / keep)


CORNERS = {
    "everywhere": (
        ff.Network(20, [DROP, D(30), RELU, DROP, LN(), D(30), BN, RELU, LN(), DROP, D(30), RELU, DROP, DROP, D(1)]),
        {"samples": 30, "overlap": 0.2},
    ),
    "deep": (ff.Network(20, [*[D(30, 1.8), RELU, ff.Dropout(1e-8)] * 300, D(1)]), {"samples": 50}),
    "nearly all": (ff.Network(20, [*[D(30), LN(), RELU, ff.Dropout(1 - 1e-10)] * 3, D(1)]), {"samples": 50}),
    "none": (ff.Network(20, [D(30), RELU, ff.Dropout(0.0), D(1)]), {"samples": 5}),
}


@pytest.mark.parametrize("theory", ["exact", "frozen"])
@pytest.mark.parametrize("implementation", BOTH)
@pytest.mark.parametrize("name", CORNERS)
def test_corners_are_those_at_60_digits(name, implementation, theory):
    net, data = CORNERS[name]
    test_graphs.assert_digits(implementation, net, theory, data, ((ff.Dropout, dropout),))


@pytest.mark.parametrize("implementation", BOTH)
def test_it_raises_the_outlier_by_the_printed_factor(implementation):
    fisher = BOTH[implementation].fisher
    with_it, without = chain(4, RELU, ff.Dropout(0.2)), chain(4, RELU)
    ratio = fisher(with_it, samples=200).lambda_max / fisher(without, samples=200).lambda_max
    assert ratio == pytest.approx(1.106, rel=0, abs=0.0005)


@pytest.mark.parametrize("norm", [LN(0.7, 0.3, 0.1, True), ff.GroupNorm(1, 0.7, 0.3, 0.1, True)])
def test_a_norm_of_images_may_stand_behind_it_at_the_input(norm):
    test_graphs.assert_first_norm_of_images(DROP, norm)


# ------------------------------------------------------------------------------------------------- finite networks
def masks(samples, units, rate, seed, layer, dtype="float64"):
    """What it multiplies with."""
    core = (_core.Linearization64 if dtype == "float64" else _core.Linearization32)([units], True, True, True)
    core.layer("dropout", [rate, seed, layer], [], False)
    return core.forward(np.ones((samples, units), dtype), 1e6, False)


def test_it_keeps_a_share_and_draws_anew_for_each_seed_and_layer():
    n, units, rate = 300, 400, 0.3
    first, *others = (masks(n, units, rate, *place) for place in ((0, 0), (1, 0), (0, 1), (2**53 - 1, 0), (1, 1)))
    assert np.unique(first).tolist() == [0.0, 1 / 0.7]
    deviation = np.sqrt(rate * (1 - rate) / first.size)
    kept = first > 0
    assert abs(kept.mean() - 0.7) < 5 * deviation
    for axis, count in ((0, n), (1, units)):  # no sample and no unit is special
        assert np.abs(kept.mean(axis=axis) - 0.7).max() < 6 * np.sqrt(rate * (1 - rate) / count)
    for other in others:
        assert abs(np.mean((other > 0) == kept) - 0.58) < 5 * np.sqrt(0.58 * 0.42 / kept.size)  # of independent ones
    np.testing.assert_array_equal(masks(n, units, rate, 0, 0, "float32") > 0, kept)
    assert np.all(masks(n, units, 0.0, 0, 0) == 1.0)


@pytest.mark.parametrize(
    "net",
    [
        ff.Network(6, [D(8), ff.Activation("tanh"), DROP, D(3)]),
        ff.Network((2, 4, 4), [DROP, ff.Conv2d(3, 2), ff.Activation("tanh"), DROP, ff.Flatten(), D(2)]),
        ff.Network(6, [D(8), ff.Residual([BN, RELU, DROP, D(8)]), BN, RELU, DROP, D(1)]),
    ],
)
def test_gradients_are_those_of_one_mask(net):
    """Central differences of f along a direction; J^T is J's transpose; another seed has another mask."""
    from fisherfield.sampled.linearization import forward, linearization

    random = np.random.default_rng(0)
    sampled, x = ff.sample(net, seed=4), random.standard_normal((5, *net.input_shape))
    core = linearization(sampled)
    f = forward(sampled, core, x, keep=True)
    assert np.array_equal(f, sampled(x))
    v, w = random.standard_normal((1, core.parameters)), random.standard_normal((1, f.size))
    assert np.vdot(core.push(v), w) == pytest.approx(np.vdot(v, core.pull(w)), rel=1e-12)
    step, ends = 1e-6, []
    for sign in (1.0, -1.0):
        moved, at = ff.sample(net, seed=4), 0
        for place, shapes in enumerate(zip(moved.weights, moved.biases, strict=True)):
            for name, array in zip(("weights", "biases"), shapes, strict=True):
                part = v[0, at : at + array.size].reshape(array.shape)
                getattr(moved, name)[place] = array + sign * step * part
                at += array.size
        ends.append(moved(x))
    difference = (ends[0] - ends[1]).ravel() / (2 * step)
    np.testing.assert_allclose(core.push(v)[0], difference, rtol=0, atol=1e-7 * np.abs(difference).max())
    other = ff.sample(net, seed=5)
    for name in ("weights", "biases"):
        setattr(other, name, getattr(sampled, name))
    assert not np.allclose(other(x), f)


# ------------------------------------------------------------------------------------------------- words
def test_pytorch_s_dropout_in_train_mode_is_one():
    torch = pytest.importorskip("torch")
    net = ff.Network(6, [D(8), RELU, DROP, D(2)])
    module = ff.torch.module(net)
    assert isinstance(module[2], torch.nn.Dropout)
    assert module[2].p == 0.3
    assert ff.torch.describe(module) == net
    module[2].eval()
    assert ff.torch.describe(module).layers == (*net.layers[:2], net.layers[3])


def test_what_it_does_not_take_is_refused():
    for rate in (1.0, -0.1, np.nan):
        with pytest.raises(ValueError, match=r"^rate must be in \[0, 1\), got "):
            ff.Dropout(rate)
    with pytest.raises(ValueError, match=r"^layers\[1\]: Dropout must stand behind an activation .* after Dense$"):
        ff.Network(3, [D(4), DROP, D(2)])
    with pytest.raises(ValueError, match=r"^theory must be 'exact' or 'frozen' for a network with Dropout"):
        ff.fisher(ff.Network(3, [D(4), RELU, DROP, D(2)]), "wei2019")
    core = _core.Linearization64([6], True, True, True)
    for number, value, words in (
        (0, 1.0, r"rate must be in \[0, 1\), got 1"),
        (0, np.nan, r"rate must be in \[0, 1\), got nan"),
        (1, 0.5, "seed must be a whole number from 0 to 2\\^53 - 1, got 0.5"),
        (2, -1.0, "layer must be a whole number from 0 to 2\\^53 - 1, got -1"),
    ):
        numbers = [0.5, 0.0, 0.0]
        numbers[number] = value
        with pytest.raises(ValueError, match=f"^dropout: {words}$"):
            core.layer("dropout", numbers, [], False)


def test_scans_vary_the_rate():
    net = ff.Network(6, [D(80), RELU, DROP, D(2)])
    scan = ff.scan(net, {"rate": [0.0, 0.5], "sigma_w2": [1.0, 2.0]}, samples=20)
    for i, rate in enumerate((0.0, 0.5)):
        expected = ff.fisher(net.replace(rate=rate, sigma_w2=2.0), samples=20).lambda_max
        assert scan.lambda_max[i, 1] == pytest.approx(expected, rel=1e-14)
