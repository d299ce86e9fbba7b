# SPDX-License-Identifier: BSD-3-Clause
"""Where BatchNorm's beta or a small gamma leaves an activation almost constant: what is left of it, to its own digits.

There phi(u) is its limit, or phi(beta), to all digits of float64, and variances are integrals of what float64 leaves
out.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import GIVEN, floats

import fisherfield as ff

ODD = ("linear", "erf", "tanh", "hardtanh", "sin", "sign", "softsign", "monomial")
EVERY = tuple(GIVEN.get(name, name) for name in ff.activation_names())


def spectrum(name, gamma, beta, theory, widths=(100, 500, 500, 500, 10), samples=1000, **keywords):
    return ff.fisher(ff.mlp(widths, name, gamma=gamma, beta=beta, **keywords), theory, samples=samples, edge=False)


# The recursion of docs/theory.md, section 4, in mpmath with 80 to 110 digits, integrals by panels of 24 nodes.
SATURATED = (
    ("sigmoid", 10, "frozen", 964.135916101583449, 1.58216854946643911),
    ("sigmoid", 15, "frozen", 963.844595127884044, 1.58512054390021881),
    ("sigmoid", 20, "frozen", 963.842624725263676, 1.58514052473579388),
    ("sigmoid", 20, "exact", 500.999996601732218, 5.8398470768383263e-17),
    ("sigmoid", 40, "frozen", 963.842611358387044, 1.5851406602830648),
    ("sigmoid", 40, "exact", 500.999999999999993, 2.48097420834231552e-34),
    ("tanh", 10, "frozen", 551.500938896615321, 10.3174582605655469),
    ("tanh", -10, "frozen", 551.500938896615321, 10.3174582605655469),
    ("tanh", 20, "frozen", 551.498811289841318, 10.3191148013485849),
    ("tanh", 20, "exact", 500.999999999999937, 3.71995585238132627e-30),
    ("erf", 4, "frozen", 529.098714554804874, 8.85815793803291307),
    ("erf", 10, "frozen", 662.451657043727287, 161.451657026626552),
    ("erf", -10, "frozen", 662.451657043727287, 161.451657026626552),
    ("erf", 10, "exact", 500.999999999999679, 9.61282620653862394e-17),
    ("softsign", 20, "frozen", 1356.97288278150101, 0.0126185955627269802),
    ("gelu", -10, "frozen", 1.14051367228018305, 0.140512316995084648),
    ("gelu_tanh", -5, "frozen", 1.11432439433319891, 0.013067428688771224),
    ("silu", 20, "frozen", 600005.596126291432, 1.60000019574345521),
    ("softplus", 20, "frozen", 600005.600203878392, 1.59999998912555504),
    ("mish", 20, "frozen", 600005.599999999932, 1.60000000000000703),
    ("elu", -20, "frozen", 963.8426048206718, 1.58514064953110409),
    ("hardtanh", 10, "frozen", 1445.97808524873404, 944.978085248734033),
    ("relu6", 10, "frozen", 20082.1730193836615, 2075.37086850507799),
    ("relu6", 10, "exact", 18000.9576405367762, 0.000512367706195217641),
)
OTHER_GAMMAS = (
    ("tanh", 1e-6, 0.5, 323.328400550468831, 1.26579011043477493e-12),
    ("tanh", 1e-16, 0.5, 323.328400551108885, 1.26579011043635456e-32),
    ("silu", 1e-9, -0.7, 83.9230255859627538, 4.61699797533353493e-19),
    ("silu", 1e-16, 2, 4657.82095544625556, 1.91350769498837931e-32),
    ("softsign", 1e-14, 3, 846.75, 2.17937499999999999e-29),
    ("elu", 1e-16, -0.7, 383.139534538181138, 7.77694676844751504e-33),
    ("gelu", 1e-8, 1, 1064.79147260571155, 1.93083857653733804e-16),
    ("mish", 1e-4, -2, 98.6354979615033021, 2.90925661978926578e-10),
    ("gelu_tanh", 0.01, 1, 1064.43415119852203, 0.000192963815340909431),
    ("erf", 1e-3, 3, 1502.9067297538265, 0.0000541052926151154263),
    ("softplus", 0.05, 8, 96011.0664676447249, 0.00399734139360911547),
    ("rectified_monomial(2)", 1e-3, 5, 937503.056547440625, 0.000197500129061997655),
    ("tanh", 10, 40, 655.156853511513487, 153.846277144301483),
    ("sigmoid", 3, 40, 546.65715483778984, 45.1000131223263647),
)
FIGURES = tuple((name, 1, *rest) for name, *rest in SATURATED)
FIGURES += tuple((name, gamma, beta, "frozen", *rest) for name, gamma, beta, *rest in OTHER_GAMMAS)
REFERENCE = (("sigmoid", 1, 20), ("tanh", 1, -10), ("gelu", 1, -10), ("relu6", 1, 10), ("tanh", 1e-16, 0.5))


@pytest.mark.parametrize(("name", "gamma", "beta", "theory", "lambda_max", "bulk"), FIGURES)
def test_the_spectrum_of_an_almost_constant_activation_is_that_of_80_digits(
    name, gamma, beta, theory, lambda_max, bulk
):
    result = spectrum(name, gamma, beta, theory)
    # each of some ten integrals is right to 1e-12
    assert result.lambda_max == pytest.approx(lambda_max, rel=1e-11, abs=0)
    assert result.bulk == pytest.approx(bulk, rel=1e-11, abs=0)


@pytest.mark.parametrize("row", [row for row in FIGURES if row[:3] in REFERENCE], ids=lambda row: row[0])
def test_the_reference_has_the_same_figures(row):
    name, gamma, beta, theory, lambda_max, bulk = row
    net = ff.mlp((100, 500, 500, 500, 10), name, gamma=gamma, beta=beta)
    result = ff.reference.fisher(net, theory, samples=1000, edge=False)
    # its panels are good to 1e-13 each
    assert result.lambda_max == pytest.approx(lambda_max, rel=1e-12, abs=0)
    assert result.bulk == pytest.approx(bulk, rel=1e-12, abs=0)


BETAS = (-40.0, -25.0, -12.0, -6.0, -3.0, -0.7, 0.0, 0.4, 2.0, 6.0, 12.0, 25.0, 40.0)
GAMMAS = (0.1, 0.35, 1.0, 3.0, 10.0)


def of_one_norm(name, gamma, beta, theory, trained=False):
    return spectrum(name, gamma, beta, theory, (20, 30, 5), 50, trained=trained)


@pytest.mark.parametrize("theory", ["exact", "frozen"])
@pytest.mark.parametrize("name", EVERY)
def test_the_bulk_is_not_negative_and_no_eigenvalue_lies_above_the_largest(name, theory):
    for beta in BETAS:
        for gamma in GAMMAS:
            for trained in (False, True):
                result = of_one_norm(name, gamma, beta, theory, trained)
                assert result.bulk >= 0
                # trace and largest eigenvalue are sums of the same few terms, a rounding each
                assert result.lambda_max >= result.mean * (1 - 1e-14)
                assert result.lambda_max**2 >= result.second_moment * (1 - 1e-14)


@pytest.mark.parametrize("theory", ["exact", "frozen"])
@pytest.mark.parametrize("name", ODD)
def test_an_odd_activation_does_not_know_the_sign_of_beta(name, theory):
    for beta in BETAS:
        for gamma in GAMMAS:
            one, other = (of_one_norm(GIVEN.get(name, name), gamma, b, theory) for b in (beta, -beta))
            # the same integrals, but for the order of their sums
            assert one.lambda_max == pytest.approx(other.lambda_max, rel=1e-12, abs=0)
            assert one.bulk == pytest.approx(other.bulk, rel=1e-11, abs=0)


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=3)
@given(
    floats(-40, 40),
    floats(-1, 1).map(lambda x: 10.0**x),
    st.sampled_from(("exact", "frozen")),
    st.booleans(),
)
def test_core_and_reference_agree_however_far_an_activation_is_saturated(name, beta, gamma, theory, trained):
    net = ff.mlp((20, 30, 5), name, gamma=gamma, beta=beta, trained=trained)
    core, slow = (fisher(net, theory, samples=50, edge=False) for fisher in (ff.fisher, ff.reference.fisher))
    # 1e-12 of each of some six integrals; below 1e-290 terms of their sums are no normal numbers any more
    for field in ("lambda_max", "bulk", "mean", "second_moment"):
        assert getattr(core, field) == pytest.approx(getattr(slow, field), rel=1e-11, abs=1e-290)


SATURATING = ("tanh", "sigmoid", "erf", "hardtanh", "relu6", "hardsigmoid", "softsign", "elu", "selu", "celu(0.5)")
RAMPS = ("gelu", "silu", "softplus", "mish", "gelu_tanh", "hardswish", "rectified_monomial(2)")


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("name", SATURATING + RAMPS)
def test_a_saturated_1x1_convolution_on_a_1x1_image_is_a_dense_layer(name, trained):
    """Its variances are differences over two arguments, E [phi(u) - phi(w)]^2/2, those of dense layers over one."""
    for beta in (-20.0, -10.0, -5.0, 5.0, 10.0, 20.0):
        behind = [ff.BatchNorm(1.0, beta, trained=trained), ff.Activation(name)]
        dense = [*([ff.Dense(30), *behind] * 2), ff.Dense(5)]
        convolved = [*([ff.Conv2d(30, 1), *behind] * 2), ff.Flatten(), ff.Dense(5)]
        one = ff.fisher(ff.Network((20, 1, 1), convolved), "frozen", samples=50)
        other = ff.fisher(ff.Network(20, dense), "frozen", samples=50)
        # 5e-14 was seen; eight integrals of 1e-12 at most
        assert one.lambda_max == pytest.approx(other.lambda_max, rel=1e-12, abs=0)
        assert one.bulk == pytest.approx(other.bulk, rel=1e-12, abs=0)


@pytest.mark.parametrize("padding", [0, 1])
def test_the_variances_of_an_image_do_not_know_on_which_side_a_sigmoid_is_saturated(padding):
    """sigmoid(x) = 1 - sigmoid(-x)."""

    def variances(beta):
        convolution, norm = ff.Conv2d(20, 3, padding=padding), ff.BatchNorm(beta=beta)
        first = [convolution, ff.BatchNorm(), ff.Activation("linear")]
        last = [convolution, norm, ff.Activation("sigmoid"), ff.GlobalAvgPool2d(), ff.Flatten(), ff.Dense(5)]
        return ff.order_parameters(ff.Network((3, 6, 6), first + last), "frozen", samples=100).v_hat

    for beta in (5.0, 10.0, 20.0):
        # the same integrals but for the order of their sums
        assert variances(beta) == pytest.approx(variances(-beta), rel=1e-12, abs=0)


# Var phi, over one argument and over two, where phi is a line on all of the weight but e^-700 of it.
@pytest.mark.parametrize(("gamma", "beta"), [(1.8, 8.8e10), (1.2e8, 4.3e24), (1e-10, 1.0), (2.0, 79.0)])
@pytest.mark.parametrize("name", ["elu", "elu(7)", "selu", "celu", "celu(0.3)"])
def test_the_variance_of_a_line_does_not_know_how_far_out_it_is(name, gamma, beta):
    slope = 1.0507009873554804934193349852946 if name == "selu" else 1.0
    dense = [ff.Dense(30), ff.BatchNorm(gamma, beta), ff.Activation(name), ff.Dense(5)]
    result = ff.order_parameters(ff.Network(20, dense), "frozen", samples=50)
    # a few roundings, of gamma^2 and slope^2 too
    assert result.v_hat[-1] == pytest.approx((slope * gamma) ** 2, rel=1e-14, abs=0)

    def pooled(function):
        behind = [ff.BatchNorm(gamma, beta), ff.Activation(function), ff.GlobalAvgPool2d(), ff.Flatten(), ff.Dense(5)]
        net = ff.Network((3, 6, 6), [ff.Conv2d(20, 3, padding=1), *behind])
        return ff.order_parameters(net, "frozen", samples=50).v_hat[-1]

    # as many roundings more as there are pairs of pixels
    assert pooled(name) == pytest.approx(slope**2 * pooled("linear"), rel=1e-12, abs=0)


@pytest.mark.parametrize(
    ("name", "beta", "theory"), [("tanh", -10.0, "exact"), ("sigmoid", 20.0, "exact"), ("sigmoid", 20.0, "frozen")]
)
def test_one_sample_of_almost_constant_activations_has_a_number(name, beta, theory):
    """Its log-variance is in the hundreds there: e^(s z) leaves float64, and a sample has all of a."""
    net = ff.mlp((100, 500, 500, 500, 10), name, beta=beta)
    one, other = (module.fisher(net, theory, samples=1000) for module in (ff, ff.reference))
    assert one.regime == other.regime == "sample"
    # the integrals of log-variances are panels' in one, and good to 1e-8 where phi is constant but for 1e-9
    assert one.lambda_max == pytest.approx(other.lambda_max, rel=1e-7, abs=0)
    assert not one.holds
