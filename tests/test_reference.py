# SPDX-License-Identifier: BSD-3-Clause
"""The core equals the reference: on random networks, in every number of every result."""

import inspect
import math
import re
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import CLOSED, QUADRATURE, THEORIES, conv_networks, data, dense_networks, floats, networks

import fisherfield as ff
from fisherfield import reference
from fisherfield.reference import quadrature

NUMBERS = ("a", "b", "lambda_max", "bulk", "mean", "second_moment")
BIASES = st.sampled_from((None, True, False))
PUBLIC = ("fisher", "max_learning_rate", "order_parameters", "spectral_density")
SAMPLED = ("sampled_density", "sampled_fisher", "sampled_moments", "verify")


def tolerance(net):
    """1e-12 where every integral has a closed form: a dozen layers' worth of roundings, some of them amplified by the
    reference's subtractions; 1e-10 by the reference's quadrature, of erf and step, too, once beta shifts them."""
    beta = any(getattr(step.layer, "beta", 0.0) for step in net.steps)
    for step in net.steps:
        if step.layer.pointwise:
            name = str(step.layer.function)
            if name in QUADRATURE or (beta and len(net.input_shape) == 3 and name not in ("sin", "linear")):
                return 1e-10
            if name == "erf" and beta:
                return 1e-10
    return 1e-12


def close(core, slow, rel, size):
    """Relative to the value, or to rounding of what it is a difference of."""
    assert core == pytest.approx(slow, rel=rel, abs=rel * 1e-2 * size)


def check(net, theory, biases, given_data):
    try:
        slow = reference.fisher(net, theory, biases=biases, edge=False, units=None, **given_data)
    except ValueError as refusal:
        with pytest.raises(ValueError, match=r"eps must be > 0|overlap must be|theory must be"):
            ff.fisher(net, theory, biases=biases, **given_data)
        assert any(word in str(refusal) for word in ("eps", "overlap must be", "wei2019"))  # for the same reason
        return
    core, rel = ff.fisher(net, theory, biases=biases, edge=False, units=None, **given_data), tolerance(net)
    for name in NUMBERS:
        size = slow.second_moment if name == "second_moment" else abs(slow.a)
        close(getattr(core, name), getattr(slow, name), rel, size)
    assert (core.multiplicity, core.parameters) == (slow.multiplicity, slow.parameters)
    if abs(slow.b) > 1e-9 * slow.a:  # at b = 0 outlier and bulk are one
        assert core.regime == slow.regime
    for part in "ab":
        core_part, slow_part = getattr(core.layers, part), getattr(slow.layers, part)
        np.testing.assert_allclose(core_part, slow_part, rtol=rel, atol=rel * max(abs(slow.a), 1e-300))
        # parts sum to the whole; roundings of as many terms
        assert core_part.sum() == pytest.approx(getattr(core, part), rel=1e-12, abs=1e-13 * abs(core.a))


@given(dense_networks(), THEORIES, data(), BIASES)
def test_fisher_of_dense_networks(net, theory, given_data, biases):
    check(net, theory, biases, given_data)


@settings(max_examples=40)
@given(conv_networks(), THEORIES, data(), BIASES)
def test_fisher_of_convolutional_networks(net, theory, given_data, biases):
    check(net, theory, biases, given_data)


@given(networks(), THEORIES, data(), BIASES)
def test_fisher_of_layers_in_any_order(net, theory, given_data, biases):
    check(net, theory, biases, given_data)


@pytest.mark.parametrize("pool", [ff.GlobalAvgPool2d(), ff.AvgPool2d((1, 2))])
def test_pooling_of_the_inputs_without_a_convolution(pool):
    net = ff.Network((1, 1, 2), [pool, ff.Flatten(), ff.Dense(1, 1.0, 1.0)])
    # the mean of two independent inputs has the mean square 1/2, and the bias's gradient is 1
    assert reference.fisher(net).a == 1.5
    assert ff.fisher(net).a == 1.5


@settings(max_examples=40)
@given(dense_networks(activations=CLOSED + QUADRATURE, depth=3), THEORIES, data(), BIASES)
def test_fisher_by_quadrature(net, theory, given_data, biases):
    check(net, theory, biases, given_data)


@settings(max_examples=6)
@given(conv_networks(activations=QUADRATURE, depth=2), THEORIES, data(), BIASES)
def test_fisher_of_convolutional_networks_by_quadrature(net, theory, given_data, biases):
    assume(max(np.prod(shape[1:]) for shape in net.shapes[1:] if len(shape) == 3) <= 9)  # the reference is slow
    check(net, theory, biases, given_data)


@given(st.one_of(dense_networks(), conv_networks(depth=2)), THEORIES, data(), BIASES)
@settings(max_examples=60)
def test_order_parameters(net, theory, given_data, biases):
    try:
        slow = reference.order_parameters(net, theory, biases=biases, units=None, **given_data)
    except ValueError:
        with pytest.raises(ValueError, match=r"eps must be > 0|overlap must be|theory must be"):
            ff.order_parameters(net, theory, biases=biases, **given_data)
        return
    core = ff.order_parameters(net, theory, biases=biases, units=None, **given_data)
    for name in ("fan_in", "q_hat", "q_hat_xy", "v_hat", "q", "q_xy", "v", "theta", "theta_xy", "d"):
        size = getattr(slow, {"q_hat_xy": "q_hat", "v_hat": "q_hat", "q_xy": "q", "v": "q"}.get(name, "theta"))
        error = np.abs(getattr(core, name) - getattr(slow, name))
        assert np.all(error <= tolerance(net) * (np.abs(getattr(slow, name)) + 1e-2 * np.abs(size))), name


@given(
    dense_networks(depth=3),
    THEORIES,
    data(),
    floats(0.0, 0.99),
    st.sampled_from(("sum", "mean", "mse")),
    st.booleans(),
    st.sampled_from((0.0, 1e-4, 30.0)),
)
def test_max_learning_rate(net, theory, given_data, momentum, loss, nesterov, decay):
    given_data = {**given_data, "nesterov": nesterov, "weight_decay": decay}
    try:
        slow = reference.max_learning_rate(net, momentum, theory, loss=loss, edge=False, **given_data)
    except ValueError:
        with pytest.raises(ValueError, match=r"eps must be > 0|overlap must be|theory must be"):
            ff.max_learning_rate(net, momentum, theory, loss=loss, **given_data)
        return
    core = ff.max_learning_rate(net, momentum, theory, loss=loss, edge=False, **given_data)
    if np.isfinite(slow) and abs(core.fisher.b) > 1e-9 * core.fisher.a:
        assert core == pytest.approx(slow, rel=tolerance(net))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_function_has_a_twin_of_the_same_signature(name):
    fast, slow = (inspect.signature(getattr(module, name)).parameters for module in (ff, reference))
    assert [(p.name, p.kind, p.default) for p in fast.values()] == [(p.name, p.kind, p.default) for p in slow.values()]


def test_the_scan_has_a_twin_that_differs_in_how_it_is_computed_alone():
    fast, slow = (inspect.signature(module.scan).parameters for module in (ff, reference))
    how = ("threads", "backend", "chunk", "store", "client", "progress", "tables")
    assert [(p.name, p.kind, p.default) for p in fast.values() if p.name not in how] == [
        (p.name, p.kind, p.default) for p in slow.values()
    ]


@pytest.mark.parametrize("name", SAMPLED)
def test_measurements_have_twins_that_differ_in_how_they_are_computed_alone(name):
    fast, slow = (inspect.signature(getattr(module, name)).parameters for module in (ff, reference))
    how = (
        "dtype",
        "method",
        "tolerance",
        "eigenvectors",
        "memory",
        "progress",
        "vectors",
        "steps",
        "threads",
        "client",
    )
    assert [(p.name, p.kind, p.default) for p in fast.values() if p.name not in how] == [
        (p.name, p.kind, p.default) for p in slow.values()
    ]


@pytest.mark.parametrize("name", [name for name in ff.gaussian.__all__ if name != "Table"])
def test_every_gaussian_integral_has_a_twin_of_the_same_signature(name):
    same_signature(ff.gaussian, reference.gaussian, name)


METHODS = [name for name, _ in inspect.getmembers(ff.gaussian.Table, inspect.isfunction) if name[0] != "_"]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_a_table_has_a_twin_of_the_same_signature(name):
    same_signature(ff.gaussian.Table, reference.gaussian.Table, name)
    table, slow = (module.tabulate("gelu", q=(0.5, 2.0)) for module in (ff.gaussian, reference.gaussian))
    operands = (0.7, 0.3) if "covariance" in name else (0.7,)
    # of second moments that are below 1, which the table's error is relative to
    assert getattr(table, name)(*operands) == pytest.approx(float(getattr(slow, name)(*operands)), abs=table.error)


def same_signature(fast_one, slow_one, name):
    fast, slow = (inspect.signature(getattr(one, name)).parameters for one in (fast_one, slow_one))
    of_ufuncs = ("error", "out", "where", "dtype")  # a specification has no use for them
    assert [(p.name, p.kind, p.default) for p in fast.values() if p.name not in of_ufuncs] == [
        (p.name, p.kind, p.default) for p in slow.values()
    ]


def test_no_public_function_is_without_a_twin():
    settings = {"num_threads", "set_num_threads"}
    builders = {"convnet", "mlp", "resnet", "vgg"}
    descriptions = {"activation_names", "load", "random_points", "sample", *builders, *settings}
    functions = {name for name in ff.__all__ if inspect.isfunction(getattr(ff, name))}
    assert functions - descriptions == {*PUBLIC, *SAMPLED, "scan"}


@given(dense_networks(depth=4), st.sampled_from(("frozen", "wei2019")), data(), st.booleans())
def test_forward_pass_and_backward_sums_agree(net, theory, given_data, biases):
    """KAA's and WSS's sums over layers of length x gradient length give the forward pass's a and b."""
    overlap, length = max(given_data["overlap"], 0.0), given_data["length"]
    try:
        a, b = reference.backward_sums(net, theory, overlap, length, biases)
    except ValueError:
        with pytest.raises(ValueError, match=r"eps must be > 0"):
            ff.fisher(net, theory, overlap=overlap, length=length, biases=biases)
        return
    core = ff.fisher(net, theory, overlap=overlap, length=length, biases=biases, edge=False)
    assert (core.a, core.b) == pytest.approx((a, b), rel=tolerance(net), abs=1e-13 * abs(a))


@settings(max_examples=40)
@given(
    st.sampled_from(CLOSED + QUADRATURE),
    floats(-2.0, 2.0).map(lambda x: 10.0**x),
    st.one_of(st.none(), floats(-2.0, 2.0).map(lambda x: 10.0**x)),
    floats(0.0, 1.99),
    st.sampled_from((0.0, 0.4, -0.7)),
)
def test_gaussian_integrals_of_the_recursions(name, q1, q2, rest, shift):
    q2 = q1 if q2 is None else q2
    # closed forms to a few ulp of the largest possible value; 1e-11 of it is what the reference's quadrature promises
    rel = 1e-13 if shift == 0.0 and name in CLOSED else 1e-11
    for which in ("mean", "second_moment", "slope_mean", "slope_second_moment"):
        slow, size = (getattr(quadrature, x)(name, q1, shift) for x in (which, which.replace("mean", "second_moment")))
        size = np.sqrt(size) if which.endswith("mean") else size
        assert getattr(ff.gaussian, which)(name, q1, shift) == pytest.approx(
            float(slow), rel=rel, abs=rel * float(size)
        )
    for which, moment in (("covariance", "second_moment"), ("slope_covariance", "slope_second_moment")):
        slow = getattr(quadrature, which)(name, q1, q2, one_minus_c=rest, shift=shift)
        size = np.sqrt(np.prod([getattr(quadrature, moment)(name, q, shift) for q in (q1, q2)]))
        core = getattr(ff.gaussian, which)(name, q1, q2, one_minus_c=rest, shift=shift)
        assert core == pytest.approx(float(slow), rel=rel, abs=rel * float(size))


@pytest.mark.parametrize("samples", [4, 5, 100, 10**6, 2 * 10**8, 2**40, 2**53])
def test_b_of_a_linear_finite_batch_keeps_its_digits(samples):
    """Of the closed form's c = -1/(n-1), formed as such: 1 - n/(n-1) has half of its digits at n = 2e8.

    3-400-1, linear, gamma 1, no biases: b = -400/(n-1) - 3 (n-2)/((n-3)(n-1)) by the formulas of section 4.
    """
    n = Fraction(samples)
    b = float(-400 / (n - 1) - 3 * (n - 2) / ((n - 3) * (n - 1)))
    net = ff.mlp([3, 400, 1], "linear")
    for module in (ff, reference):
        # a dozen roundings
        assert module.fisher(net, samples=samples, biases=False).b == pytest.approx(b, rel=4e-15)


def test_no_outlier_at_infinite_data_is_a_spectrum_like_any_other():
    for net in (ff.Network(2, [ff.Dense(3), ff.BatchNorm()]), ff.mlp([4, 5, 2], "tanh")):
        core, slow = (module.fisher(net, biases=False) for module in (ff, reference))
        assert core.regime == slow.regime == "bulk"
        assert core.lambda_max == pytest.approx(slow.lambda_max, rel=1e-14)
        assert slow.lambda_max == pytest.approx(slow.mean, rel=1e-15)


@pytest.mark.parametrize("samples", [None, 10**8])
def test_a_spectrum_whose_squares_leave_float64_has_the_second_moment_inf(samples):
    """Gradients explode with depth under BatchNorm: a is 1e169, and for infinite data nothing stands out."""
    net = ff.mlp([784, *[1000] * 999, 10])
    core, slow = (module.fisher(net, samples=samples, edge=False) for module in (ff, ff.reference))
    assert core.second_moment == slow.second_moment == math.inf
    # a thousand layers, of which each rounds in both
    assert core.lambda_max == pytest.approx(slow.lambda_max, rel=1e-10)
    assert core.regime == slow.regime == "bulk"


@pytest.mark.parametrize("module", [ff, reference], ids=["core", "reference"])
def test_a_trained_gamma_goes_on_where_two_inputs_hardly_differ(module):
    """What a BatchNorm behind weights divides by, 1 - c = 1e-40, is what the gamma's kernel loses in them."""

    def a(gamma):
        layers = [ff.Dense(5), ff.BatchNorm(gamma, 0.0, 1e-5), ff.Dense(9), ff.GroupNorm(1, 1.9, trained=True)]
        end = [ff.Dense(9), ff.BatchNorm(0.8), ff.Activation("sin"), ff.Dense(3)]
        return module.fisher(ff.Network(4, [*layers, *end]), overlap=0.7, samples=30).a

    # 1 - c = 1e-12 and 1e-40; between them the weights' own lengths change by 1e-12
    assert a(1e-20) == pytest.approx(a(1e-6), rel=1e-10)


@pytest.mark.parametrize(("q", "shift"), [(1.0, 0.7), (1.9, -2.75), (1e-4, 0.01), (1e4, 30.0)])
@pytest.mark.parametrize("one_minus_c", [1.5, 1e-3, 1e-6, 1e-14, 8e-24, 1e-60])
def test_jumps_at_any_distance_of_two_inputs(q, shift, one_minus_c):
    """u and v on different sides of the jump: dP/dc = density(h, h), h = shift/sqrt(q), with c = cos t (Plackett 1954)
    P = int_0^theta exp(-h^2/(1 + cos t)) dt/pi."""
    with mpmath.workdps(30):
        h, theta = mpmath.mpf(shift) / mpmath.sqrt(q), 2 * mpmath.asin(mpmath.sqrt(mpmath.mpf(one_minus_c) / 2))
        between = mpmath.quad(lambda t: mpmath.exp(-h * h / (1 + mpmath.cos(t))), mpmath.linspace(0, theta, 5))
        half = float(between / (2 * mpmath.pi))
    # panels of a width next to that of the integrand: 2e-13 was the worst seen, at 1 - c = 1e-6
    assert quadrature.spread("step", q, one_minus_c, shift) == pytest.approx(half, rel=1e-12)
    assert quadrature.slope_spread("relu", q, one_minus_c, shift) == pytest.approx(half, rel=1e-12)


@pytest.mark.parametrize("one_minus_c", [1.7, 0.4, 1e-3])
@pytest.mark.parametrize("shift", [0.0, 0.8])
@pytest.mark.parametrize("name", ["relu", "abs", "linear", "step", "sin", "tanh", "leaky_relu(0.3)"])
def test_the_slopes_spread_with_the_values_is_the_moments_difference(name, shift, one_minus_c):
    alone = quadrature.second_slope_moment(name, 1.3, shift)
    pair = quadrature.slope_pair_moment(name, 1.3, 1.3, one_minus_c=one_minus_c, shift=shift)
    spread = quadrature.slope_pair_spread(name, 1.3, one_minus_c, shift)
    # integrals of two arguments to 1e-11
    assert spread == pytest.approx(alone - pair, rel=0, abs=1e-11)


def test_two_billion_units_take_no_room_in_the_reference():
    net = ff.Network(2 * 10**9, [ff.Dense(2 * 10**9), ff.Activation("relu"), ff.Dense(3)])
    # a dozen roundings
    assert reference.fisher(net).a == pytest.approx(ff.fisher(net).a, rel=1e-14)


@pytest.mark.parametrize("q", [1e8, 1e90])
@pytest.mark.parametrize("phi", [f"polynomial({'0, ' * 32}1)", "hermite(31)", "monomial(32)", "exp"])
def test_activations_that_leave_float64_are_refused_without_a_warning(phi, q):
    words = f"^an activation and its square must not overflow float64, got a variance of {re.escape(f'{q:g}')}$"
    for integral in (quadrature.second_moment, quadrature.slope_second_moment):
        if (phi, q, integral) == ("hermite(31)", 1e8, quadrature.slope_second_moment):
            continue  # the one that fits
        with pytest.raises(ValueError, match=words):
            integral(phi, q)
    with pytest.raises(ValueError, match=words):
        reference.fisher(ff.mlp([10, 20, 3], phi, batch_norm=False, sigma_w2=[q, 1.0], sigma_b2=0.0))
