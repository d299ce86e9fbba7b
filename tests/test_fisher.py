# SPDX-License-Identifier: BSD-3-Clause
"""Laws of the spectrum: what holds for every network, whatever the numbers."""

import math
import pickle

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import CLOSED, HOMOGENEOUS, THEORIES, conv_networks, data, dense_networks, floats

import fisherfield as ff
from fisherfield import _core

FINITE = data(samples=st.integers(2, 2000))
INFINITE = data(samples=st.none())


@st.composite
def crowded_networks(draw):
    """Few parameters for many outputs, so that n C passes P and the mean what stands out: narrow, deep, many outputs."""
    widths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=12))
    return (
        ff.mlp(
            [*widths, draw(st.sampled_from((1, 2, 50, 1000)))],
            draw(st.sampled_from(CLOSED)),
            batch_norm=draw(st.booleans()),
            sigma_w2=draw(floats(0.3, 3.0)),
            sigma_b2=draw(floats(0.0, 1.0)),
            eps=1e-3,
        )
        if len(widths) > 1
        else ff.Network(widths[0], [ff.Dense(draw(st.integers(1, 1000)))])
    )


def defined(function, *arguments, **keywords):
    """The result, or None where the network has no variance before a BatchNorm."""
    try:
        return function(*arguments, **keywords)
    except ValueError as refusal:
        assert "eps must be > 0" in str(refusal) or "wei2019" in str(refusal)
        return None


@given(
    st.lists(st.integers(50, 500), min_size=1, max_size=4),
    st.sampled_from(HOMOGENEOUS),
    floats(0.1, 4.0),
    floats(0.3, 4.0),
    st.one_of(st.just(0.0), floats(0.01, 3.0)),
    floats(0.3, 4.0),
)
def test_under_exact_batch_norm_the_weight_variance_does_not_matter(widths, name, gamma, sigma_w2, sigma_b2, other):
    """Theta = gamma^2 Theta_W + 11^T with Theta_W independent of sigma_w2, sigma_b2 and gamma: an exact law."""
    widths = [30, *widths, 1]

    def lambda_max(gamma, w2, b2, n=None):
        return ff.fisher(ff.mlp(widths, name, gamma=gamma, sigma_w2=w2, sigma_b2=b2), samples=n).lambda_max

    for n in (None, 2000):
        one = lambda_max(gamma, sigma_w2, sigma_b2, n)
        # a few ulp a layer
        assert lambda_max(gamma, other, sigma_b2 + 1.0, n) == pytest.approx(one, rel=1e-13)
        at_one = lambda_max(1.0, sigma_w2, sigma_b2, n)
        assume(ff.fisher(ff.mlp(widths, name, gamma=gamma), samples=n).regime == "outlier")
        assert (one - 1.0) / gamma**2 == pytest.approx(at_one - 1.0, rel=1e-12)


@given(st.one_of(dense_networks(), conv_networks(depth=2), crowded_networks()), THEORIES, data(), st.booleans())
def test_the_spectrum_is_one_of_a_matrix(net, theory, given_data, biases):
    """mean <= lambda_max, tr F^2/P between mean^2 and lambda_max mean, and no atom above lambda_max: at every n C and P."""
    out = defined(ff.fisher, net, theory, biases=biases, **given_data)
    if out is not None:
        slack = 1 + 1e-12  # roundings of a few operations on numbers that the recursion gave
        assert out.mean <= out.lambda_max * slack
        assert out.mean**2 <= out.second_moment * slack
        assert out.second_moment <= out.lambda_max * out.mean * slack
        assert out.bulk <= out.lambda_max * slack
        assert 1 <= out.multiplicity <= out.parameters
        assert out.holds or out.reason
        if out.regime == "bulk":
            assert not out.holds


@given(crowded_networks(), THEORIES, st.one_of(st.none(), st.integers(50, 2000)))
def test_where_gradients_outnumber_parameters_the_atoms_have_the_whole_trace(net, theory, samples):
    """C outliers and P - C others: their sum is C a, and the sum of their squares tr F^2."""
    out = defined(ff.fisher, net, theory, samples)
    if out is not None and out.regime == "outlier" and (samples is None or samples * net.outputs > out.parameters):
        others = out.parameters - net.outputs
        # the outlier and the bulk are of one size where C is near P
        assert net.outputs * out.lambda_max + others * out.bulk == pytest.approx(net.outputs * out.a, rel=1e-12)
        square = net.outputs * out.lambda_max**2 + others * out.bulk**2
        assert square == pytest.approx(out.parameters * out.second_moment, rel=1e-12)


def test_the_mean_rules_where_no_outlier_stands_out_of_it():
    """Of 27 inputs in 2 dimensions and 74 outputs the 148 eigenvalues have the mean 0.733: no atom of 1998 is one."""
    out = ff.fisher(ff.Network(2, [ff.Dense(74)]), samples=27, length=0.733, biases=False)
    assert (out.lambda_max, out.bulk) == pytest.approx((0.733, 0.733), rel=1e-15)  # C a/P, a = 2 length
    assert (out.regime, out.multiplicity, out.holds, out.bound) == ("bulk", 148, False, "~")
    assert "the mean of all" in out.reason
    x = ff.data.gaussian(2, 27, 0) * 0.733**0.5
    net = ff.sample(ff.Network(2, [ff.Dense(74)]), 0)
    assert ff.sampled_fisher(net, x, biases=False).lambda_max > 0.733
    deep = ff.fisher(ff.mlp([100] + [200] * 40 + [1]))
    assert deep.lambda_max == deep.mean > 500
    assert (deep.b, deep.bound) == (pytest.approx(32.83, rel=1e-3), ">=")  # the last layer's: 200/(2 pi) + 1


def test_the_bulk_of_a_linear_layer_is_that_of_its_inputs():
    """Of n x in d dimensions and C outputs: with many n all d C eigenvalues of the weights tend to the length, 1."""
    net, samples = ff.Network(30, [ff.Dense(40)]), 2000
    found = ff.verify(net, seeds=2, samples=samples)
    for name in ("bulk", "mean", "second_moment"):
        # (n - 1)/n and the spread (1 + d/n) of the second moment are left out: 0.05 % and 1.5 %
        assert found.sampled[name][0] == pytest.approx(found.theory[name][0], rel=0.03), name
    assert found.theory["bulk"][0] == pytest.approx(1.0, rel=1e-3)


@given(st.one_of(dense_networks(), conv_networks(depth=2)), THEORIES, data())
def test_overlaps_are_at_most_lengths(net, theory, given_data):
    out = defined(ff.order_parameters, net, theory, **given_data)
    if out is not None:
        for length, overlap in ((out.q, out.q_xy), (out.q_hat, out.q_hat_xy)):
            assert np.all(np.abs(overlap) <= length * (1 + 1e-12))
        assert np.all(out.v >= 0)
        assert np.all(out.d >= -1e-12 * np.abs(out.theta))


@given(dense_networks(), INFINITE)
def test_frozen_is_at_least_exact_for_infinite_data(net, given_data):
    """The gradient through mean and variance only takes away."""
    frozen, exact = (defined(ff.fisher, net, theory, **given_data) for theory in ("frozen", "exact"))
    if exact is not None:
        assert frozen.lambda_max >= exact.lambda_max * (1 - 1e-12)


LOSSES = st.sampled_from(("sum", "mean", "mse", "cross_entropy"))
DECAYS = st.one_of(st.just(0.0), floats(1e-6, 1e6))


@given(dense_networks(), THEORIES, data(), floats(0.0, 0.99), LOSSES, st.booleans(), DECAYS)
def test_at_eta_star_the_largest_eigenvalue_is_at_the_limit_of_the_optimiser(
    net, theory, given_data, momentum, loss, nesterov, decay
):
    assume(loss != "cross_entropy" or net.outputs > 1)
    descent = {"nesterov": nesterov, "weight_decay": decay}
    eta = defined(ff.max_learning_rate, net, momentum, theory, loss=loss, **descent, **given_data)
    if eta is not None and 0 < eta < math.inf:
        factor = {"sum": 1, "mean": 1 / net.outputs, "mse": 2 / net.outputs, "cross_entropy": 1 / net.outputs}[loss]
        limit = 2 * (1 + momentum) / ((1 + 2 * momentum) if nesterov else 1)
        assert eta * (eta.fisher.lambda_max * factor + decay) == pytest.approx(limit, rel=1e-14)


@given(floats(0.0, 1.0), st.booleans())
def test_at_the_limit_a_root_of_the_recursion_is_minus_one_and_the_other_within_the_circle(momentum, nesterov):
    """Judged by the roots themselves, at 50 digits; every step below the limit is stable, as far as it can be tried."""
    assume(momentum < 1)
    mp = pytest.importorskip("mpmath").mp
    with mp.workdps(50):
        mu = mp.mpf(momentum)
        limit = mp.mpf(_core.step_limit(momentum, nesterov))

        def roots(step):  # of theta_{t+1} = first theta_t + second theta_{t-1}
            shrunk = 1 - step
            first, second = ((1 + mu) * shrunk, -mu * shrunk) if nesterov else (1 + mu - step, -mu)
            root = mp.sqrt(first**2 + 4 * second)
            return sorted(((first + root) / 2, (first - root) / 2), key=abs)

        inner, outer = roots(limit)
        # the limit's own rounding, three ulp, moves a root by less than 20 ulp, but where heavy ball's meet at mu = 1
        if nesterov or mu < 0.9:
            assert abs(outer + 1) < 20 * 2.0**-53
            assert abs(inner - (mu / (1 + 2 * mu) if nesterov else -mu)) < 20 * 2.0**-53
        for share in (1e-6, 0.01, 0.3, 0.5, 0.9, 0.99, 1 - 1e-12):
            assert abs(roots(share * limit)[1]) < 1
        assert abs(roots((1 + mp.mpf(10) ** -12) * limit)[1]) > 1


def test_nesterov_s_rate_is_a_third_and_weight_decay_is_not_scaled_by_the_loss():
    net = ff.mlp([784, 1000, 1000, 1000, 10])
    heavy, nesterov = (ff.max_learning_rate(net, 0.9, nesterov=which) for which in (False, True))
    assert nesterov == pytest.approx(heavy / 2.8, rel=1e-15)
    assert ff.max_learning_rate(net, nesterov=True) == ff.max_learning_rate(net)  # without momentum there is no other
    flat = ff.mlp([784, 1000, 1], "tanh")
    assert ff.max_learning_rate(flat, 0.5, biases=False, weight_decay=0.25) == 12.0
    assert ff.max_learning_rate(flat, biases=False, weight_decay=1e-100, loss="mse") == 2e100
    top = heavy.fisher.lambda_max
    for loss, factor in (("sum", 1.0), ("mean", 0.1), ("mse", 0.2)):
        eta = ff.max_learning_rate(net, 0.9, loss=loss, weight_decay=2.0)
        assert eta == pytest.approx(3.8 / (factor * top + 2.0), rel=1e-15)


def test_a_learning_rate_remembers_its_optimiser():
    net = ff.mlp([784, 1000, 1000, 1000, 10])
    eta = ff.max_learning_rate(net, 0.9, nesterov=True, weight_decay=1e-4)
    assert (eta.nesterov, eta.weight_decay) == (True, 1e-4)
    assert "(theory exact, momentum 0.9, Nesterov, weight decay 0.0001, loss sum, infinite data)" in repr(eta)
    assert "(theory exact, momentum 0.9, loss sum, infinite data)" in repr(ff.max_learning_rate(net, 0.9))
    again = pickle.loads(pickle.dumps(eta))
    assert (float(again), again.nesterov, again.weight_decay, repr(again)) == (float(eta), True, 1e-4, repr(eta))


@given(dense_networks(depth=4), st.sampled_from(("exact", "frozen")), data(), st.booleans())
def test_a_1x1_convolution_on_a_1x1_image_is_a_dense_layer(net, theory, given_data, biases):
    """For infinite data; vanilla and frozen for any. Away from beta, where images integrate what vectors factorise."""
    if net.batch_norms:
        net = net.replace(beta=0.0)
        if theory == "exact":
            given_data = {**given_data, "samples": None, "overlap": max(given_data["overlap"], 0.0)}

    def as_image(layer):
        if not isinstance(layer, ff.Dense):
            return layer
        return ff.Conv2d(layer.units, 1, sigma_w2=layer.sigma_w2, sigma_b2=layer.sigma_b2)

    layers = [as_image(layer) for layer in net.layers]
    image = ff.Network((*net.input_shape, 1, 1), layers)
    dense, conv = (defined(ff.fisher, x, theory, biases=biases, **given_data) for x in (net, image))
    assert (dense is None) == (conv is None)
    if dense is not None:
        # the image's variance over the data is a difference of float64 lengths
        assert (conv.a, conv.b) == pytest.approx((dense.a, dense.b), rel=1e-11, abs=1e-12 * dense.a)


@pytest.mark.parametrize("depth", [10, 22, 60, 200])
@pytest.mark.parametrize("theory", ["exact", "frozen"])
def test_a_batch_norm_deep_in_an_image_sees_the_variance_that_is_left(depth, theory):
    """Behind vanilla layers v falls far below eps q; image or dense, its digits are the same."""
    image, dense = [], []
    for layer in range(depth):
        tail = [ff.BatchNorm()] * (layer == depth - 1) + [ff.Activation("relu")]
        image += [ff.Conv2d(30, 1, sigma_w2=0.5, sigma_b2=0.5), *tail]
        dense += [ff.Dense(30, 0.5, 0.5), *tail]
    one = ff.fisher(ff.Network((3, 1, 1), [*image, ff.Flatten(), ff.Dense(1)]), theory)
    two = ff.fisher(ff.Network(3, [*dense, ff.Dense(1)]), theory)
    assert (one.a, one.b) == pytest.approx((two.a, two.b), rel=1e-13)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 7])
def test_a_batch_norm_that_takes_everything_out_leaves_no_outlier(size):
    net = ff.Network(
        (1, size, size),
        [
            ff.Conv2d(10, 3, 1, 1),
            ff.Activation("relu"),
            ff.Conv2d(10, 3, 1, 1),
            ff.BatchNorm(),
            ff.GlobalAvgPool2d(),
        ],
    )
    out = ff.fisher(net)
    assert out.b == 0.0
    assert "no eigenvalue stands out" in out.reason


@given(dense_networks(depth=5), THEORIES, data())
def test_order_parameters_of_a_shorter_net_are_the_first_rows_of_the_longer(net, theory, given_data):
    whole = defined(ff.order_parameters, net, theory, **given_data)
    assume(whole is not None)
    affine = [place for place, layer in enumerate(net.layers) if isinstance(layer, ff.Dense)]
    for count, place in enumerate(affine, start=1):
        cut = ff.order_parameters(ff.Network(net.input_shape, net.layers[: place + 1]), theory, **given_data)
        for name in ("fan_in", "q_hat", "q_hat_xy", "v_hat", "q", "q_xy", "v", "theta", "theta_xy", "d"):
            np.testing.assert_array_equal(getattr(cut, name), getattr(whole, name)[:count])


@given(dense_networks(depth=4), data())
def test_theories_coincide_without_batch_norm(net, given_data):
    if net.batch_norms:
        net = net.replace(batch_norm=False)
    values = {ff.fisher(net, theory, biases=True, **given_data).lambda_max for theory in ("exact", "frozen", "wei2019")}
    assert len(values) == 1


@given(dense_networks(depth=3, activations=CLOSED), THEORIES, data())
def test_gamma_s_sign_does_not_matter(net, theory, given_data):
    assume(net.batch_norms)
    gammas = [norm.gamma for norm in net.batch_norms]
    one, two = (defined(ff.fisher, net.replace(gamma=g), theory, **given_data) for g in (gammas, [-g for g in gammas]))
    assert (one is None) == (two is None)
    if one is not None:
        assert one.lambda_max == two.lambda_max


@settings(max_examples=30)
@given(st.one_of(dense_networks(depth=3), conv_networks(depth=2)), THEORIES, data())
def test_results_are_values(net, theory, given_data):
    """Equal calls give equal results; they survive pickling, and print."""
    one, two = (defined(ff.fisher, net, theory, **given_data) for _ in range(2))
    assume(one is not None)
    assert one == two
    assert pickle.loads(pickle.dumps(one)) == one
    assert ("does not hold: " in repr(one)) != one.holds
    eta = ff.max_learning_rate(net, theory=theory, **given_data)
    back = pickle.loads(pickle.dumps(eta))
    assert back == eta
    assert back.fisher == one
    assert float(str(eta)) == eta


@pytest.mark.parametrize("samples", [2, 3, 4, 5, 8, 16, 49, 50, 1000])
def test_finite_batches_pass_over_into_infinite_data(samples):
    """The exact finite batch and the general rule differ by O(1/n^2) (relative to a/n, the trace)."""
    net = ff.mlp([300, 400, 400, 400, 1], gamma=0.8)
    closed, general = ff.fisher(net, samples=samples), ff.fisher(net.replace(eps=1e-100), samples=samples)
    if samples >= 4:
        # measured: 5.1 (a/n)/n at n = 4 and less beyond
        assert abs(closed.lambda_max - general.lambda_max) <= 6 * closed.a / samples**2
    stands_out = (1 + (samples / 300) ** 0.5) ** 2 * closed.bulk < closed.lambda_max
    assert closed.holds == (stands_out and 4 <= samples <= 200)
    assert general.holds == (50 <= samples <= 200)


class TestWhereTheNumberDoesNotHold:
    """Each reason of docs/theory.md, section 4, appears where it applies and nowhere else."""

    wide = ff.mlp([784, 1000, 1000, 1000, 1])

    def test_nothing_is_said_where_theory_and_sampling_agree(self):
        out = ff.fisher(self.wide, samples=500)
        assert (out.holds, out.reason, out.bound, out.regime) == (True, "", "=", "outlier")

    @pytest.mark.parametrize(
        ("net", "keywords", "words", "bound"),
        [
            (ff.mlp([784, *[300] * 15, 1]), {"samples": 150}, "the bulk rules and lambda_max is its mean", ">="),
            (ff.mlp([784, *[250] * 3, 1]), {"samples": 32}, "the bulk's edge, at about (1 + sqrt(n/N))^2 = 1.84", ">="),
            (wide.replace(beta=0.1), {"samples": 20}, "below 50 samples BatchNorm's terms of higher order", "~"),
            (wide, {"samples": 501}, "more samples than half the narrowest layer (1000)", ">="),
            (ff.mlp([784, 1000, 10], batch_norm=False), {}, "the largest of the 10 outputs' eigenvalues", "~"),
            (ff.mlp([784, 1000, 100], batch_norm=False), {}, "by up to 1.73 times", ">="),
            (ff.mlp([784, 1000, 10]), {"theory": "frozen"}, "by up to 1.21 times", ">="),
            (ff.mlp([784, 100, 1]), {}, "the narrowest hidden layer has 100 units", ">="),
            (ff.mlp([784, 100, 1], batch_norm=False), {}, "the narrowest hidden layer has 100 units", "~"),
            (ff.mlp([784, *[300] * 40, 1], batch_norm=False), {}, "depth 41 is comparable with width 300", "~"),
            (wide.replace(batch_norm=False), {"samples": 501}, "more samples than half the narrowest", "~"),
            (ff.mlp([100, 1000, 1000, 1]), {"samples": 2}, "the bulk rules and lambda_max is its mean", "~"),
            (ff.mlp([100, 1000, 1000, 1]), {"samples": 4}, "the bulk rules and lambda_max is its mean", "~"),
            (ff.mlp([64, 256, 256, 256, 10], "tanh"), {}, "the bulk's edge, of order (a - b)/N = 6.28", ">="),
            (ff.mlp([64, 256, 256, 256, 10], "selu"), {"samples": 10**6}, "the bulk's edge, at about", ">="),
            (ff.mlp([784, *[300] * 40, 1]), {}, "depth 41 is comparable with width 300", ">="),
            (wide, {"theory": "wei2019"}, "the recursion as published", "~"),
            (ff.mlp([784, 100, 10]), {"theory": "wei2019"}, "the recursion as published", "~"),
            (ff.convnet((1, 28, 28), [30], 1, batch_norm=False), {"theory": "wei2019"}, "as published", "~"),
            (ff.convnet((1, 28, 28), [60, 2], 1), {}, "the narrowest convolution has 2 channels", "~"),
            (ff.mlp([784, 1000, 1], "tanh"), {"biases": False}, "no eigenvalue stands out of the mean of all", ">="),
        ],
    )
    def test_the_reason_is_given(self, net, keywords, words, bound):
        out = ff.fisher(net, **keywords)
        assert not out.holds
        assert words in out.reason
        assert out.bound == bound
        assert "does not hold: " in repr(out)
        eta = ff.max_learning_rate(net, **keywords)
        assert words in eta.reason
        assert eta.bound == ("<=" if bound == ">=" else "~")

    def test_without_an_outlier_the_mean_bounds_the_learning_rate(self):
        net = ff.mlp([784, 1000, 1], "tanh")
        out = ff.fisher(net, biases=False)
        assert (out.b, out.lambda_max, out.regime) == (0.0, out.mean, "bulk")
        assert ff.max_learning_rate(net, biases=False) == 2 / out.mean

    def test_no_gradient_gives_an_infinite_learning_rate(self):
        net = ff.mlp([784, 1000, 1], gamma=0.0)
        out = ff.fisher(net, biases=False)
        assert (out.lambda_max, out.bound) == (0.0, ">=")
        assert "no gradient reaches any parameter" in out.reason
        assert ff.max_learning_rate(net, biases=False) == math.inf

    @pytest.mark.parametrize("name", ["tanh", "erf", "sin", "linear", "selu", "hardtanh", "softsign", "sign"])
    def test_activations_of_mean_zero_leave_the_edge_above_the_outlier(self, name):
        """The outlier is the output's bias alone, 1; sampled networks had 11 (tanh) to 30 (selu) at n = 1000."""
        for samples in (None, 10**6):
            out = ff.fisher(ff.mlp([64, 256, 256, 256, 10], name), samples=samples)
            assert out.b == pytest.approx(1.0, rel=1e-3)
            assert (out.holds, out.bound) == (False, ">=")
            assert "may pass the outlier" in out.reason
        eta = ff.max_learning_rate(ff.mlp([64, 256, 256, 256, 10], name), momentum=0.9)
        assert (eta.holds, eta.bound) == (False, "<=")

    @pytest.mark.parametrize("samples", [2, 3])
    def test_two_samples_are_on_no_side(self, samples):
        """Sampled networks have 0.2 of the theory at n = 2, and 3 times it and more at n = 3."""
        net = ff.mlp([100, 300, 300, 1])
        out = ff.fisher(net, samples=samples)
        assert out.bound == "~"
        found = [ff.sampled_fisher(net, ff.data.gaussian(100, samples, seed), seed).lambda_max for seed in range(3)]
        assert (max(found) < 0.5 * out.lambda_max) if samples == 2 else (min(found) > out.lambda_max)

    def test_a_remark_does_not_take_the_number_back(self):
        out = ff.fisher(ff.convnet((1, 28, 28), [30, 60, 90], 1), samples=600)
        assert out.holds
        assert "O(1/n) terms" in out.reason
        hidden = ff.fisher(ff.mlp([784, 1000, 1], "tanh", beta=0.2))
        assert hidden.holds
        assert hidden.reason.startswith("the outlier stands out of the bulk only from about n = ")

    def test_training_s_experience_is_told(self):
        assert "0.7 to 2.6 times" in ff.max_learning_rate(self.wide.replace(trained=True)).reason
        assert "1.3 to 2.8 times" in ff.max_learning_rate(self.wide.replace(batch_norm=False)).reason
        wide = ff.mlp([784, 1000, 1000, 10])
        for net, words in (
            (wide, "fixed ReLU networks on digits and Fashion-MNIST blew up at no rate tried"),
            (wide.replace(trained=True), "0.7 to 76 times it"),
            (wide.replace(batch_norm=False), "0.1 to 22 times"),
        ):
            eta = ff.max_learning_rate(net, loss="cross_entropy")
            assert (eta.holds, eta.bound) == (False, "~")
            assert "approximation" in eta.reason
            assert words in eta.reason

    def test_the_overlap_of_data_is_asked_for_where_it_matters(self):
        bare = self.wide.replace(batch_norm=False)
        words = "ff.data.overlap_and_length(x)"
        assert words in ff.max_learning_rate(bare).reason
        assert words in ff.max_learning_rate(bare, samples=50, loss="mse").reason
        assert words not in ff.max_learning_rate(bare, overlap=0.3).reason
        assert words not in ff.max_learning_rate(bare, length=2.0).reason
        assert words not in ff.max_learning_rate(self.wide).reason  # its BatchNorm takes the overlap away
        later = [
            ff.Dense(500),
            ff.Activation("relu"),
            ff.Dense(500),
            ff.BatchNorm(),
            ff.Activation("relu"),
            ff.Dense(1),
        ]
        assert words in ff.max_learning_rate(ff.Network(784, later)).reason
        first = [*later[:1], ff.BatchNorm(), *later[1:3], *later[4:]]
        assert words not in ff.max_learning_rate(ff.Network(784, first)).reason
        assert words in ff.max_learning_rate(ff.Network(784, [ff.Dense(1)])).reason


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "erf", "hardtanh"])
def test_units_that_never_leave_their_plateau_are_constants(name):
    """phi = 1 at 1e12 +- 1e8: each output sees N ones and its bias, N + 1 in all of the kernel, and no slope."""
    net = ff.convnet((1, 4, 4), [30], 2, activation=name, gamma=1e8, beta=1e12)
    out, ones = ff.fisher(net, samples=100), ff.order_parameters(net, samples=100)
    assert (out.b, out.lambda_max) == pytest.approx((ones.fan_in[-1] + 1, ones.fan_in[-1] + 1), rel=1e-12)
    assert out.a - out.b == pytest.approx(0.0, abs=1e-12 * out.b)


def test_multiplicity_and_mean_stop_at_the_number_of_parameters():
    net = ff.mlp([2, 3, 4], batch_norm=False)  # P = 9 + 16 = 25
    out = ff.fisher(net, samples=100)
    assert (out.parameters, out.multiplicity) == (25, 4)
    assert out.mean == pytest.approx(4 * out.a / 25, rel=1e-15)
    bulk = ff.fisher(ff.Network(2, [ff.Dense(4), ff.BatchNorm()]), samples=100)
    assert bulk.regime == "bulk"
    assert bulk.multiplicity == bulk.parameters == 12


def test_one_sample_has_one_eigenvalue_an_output():
    out = ff.fisher(ff.mlp([50, 300, 3], batch_norm=False), samples=1)
    assert (out.lambda_max, out.bulk, out.multiplicity) == (out.a, 0.0, 3)


def test_negative_overlap_down_to_the_simplex_is_allowed():
    net = ff.mlp([50, 300, 300, 1], batch_norm=False)
    out = ff.fisher(net, samples=5, overlap=-0.25)
    assert out.lambda_max > ff.fisher(net, samples=5, overlap=-0.25, biases=False).lambda_max > 0


def test_padded_convolutions_say_that_they_may_be_too_large():
    def pooled(padding, pools=1):
        block = (ff.Conv2d(48, padding=padding), ff.BatchNorm(), ff.Activation("relu"))
        return ff.Network((1, 12, 12), [*block, *[ff.AvgPool2d(2)] * pools, *block, ff.Flatten(), ff.Dense(1)])

    for net, holds, said in (
        (pooled(1), False, "with AvgPool2d 2 to 34 % were seen"),
        (pooled(1, 0), True, "and 2 to 5 % were seen"),
        (pooled((0, 1)), False, "with AvgPool2d"),
    ):
        found = ff.fisher(net)
        assert (found.holds, said in found.reason) == (holds, True)
        assert found.bound == ("=" if holds else "~")
    assert ff.fisher(pooled(0)).reason == ""
    assert ff.fisher(pooled(1), "frozen").holds
    first = ff.Network((1, 12, 12), [ff.Conv2d(48, padding=1), *pooled(0).layers[1:]])  # its input has no mean to lose
    assert ff.fisher(first).reason == ""


def test_the_eigenvalue_of_padded_and_pooled_convolutions_lies_between_the_last_layer_s_part_and_the_whole():
    block = (ff.Conv2d(48, padding=1), ff.BatchNorm(), ff.Activation("relu"))
    net = ff.Network((1, 8, 8), [*block, ff.AvgPool2d(2), *block, ff.GlobalAvgPool2d(), ff.Flatten(), ff.Dense(1)])
    theory = ff.fisher(net, samples=128)
    sampled = [ff.sampled_fisher(net, ff.data.gaussian(net, 128, seed), seed).eigenvalues[0] for seed in range(4)]
    share = theory.layers.b[-1] / theory.layers.b.sum()
    assert 0.95 * share < np.mean(sampled) / theory.lambda_max < 0.9  # docs/theory.md, section 5: 0.78; 4 networks
