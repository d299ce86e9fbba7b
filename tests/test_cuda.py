# SPDX-License-Identifier: BSD-3-Clause
"""Scans on a device are those of the core. Without one, what a thread does is done by the host (`_cuda.rehearse`)."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

import fisherfield as ff
from fisherfield import _core, _numbers
from fisherfield.theory.settings import Descent, Settings

_cuda = pytest.importorskip("fisherfield._cuda", reason="built without CUDA")

DEVICES = _cuda.devices()
OF_POINTS = [
    "lambda_max",
    "bulk",
    "mean",
    "second_moment",
    "max_learning_rate",
    "multiplicity",
    "parameters",
    "outlier",
    "a",
    "b",
]
OF_LAYERS = ["fan_in", "q_hat", "q_hat_xy", "v_hat", "q", "q_xy", "v", "theta", "theta_xy", "d", "c"]
RAYS = ["relu", "leaky_relu(0.2)", "leaky_relu(-0.5)", "abs", "linear", "step", "sign"]
SUMS = ["erf", "gelu", "tanh", "sigmoid", "softplus", "silu", "sin", "cos", "rbf", "exp", "gaussian"]
POWERS = ["rectified_monomial(2)", "rectified_monomial(3)", "monomial(2)", "monomial(3)", "hermite(3)", "hermite(6)"]
SMOOTH_WITH_BETA = [*RAYS, "sin", "cos", "rbf", "exp", "gaussian", "monomial(3)", "hermite(3)"]
REFUSED = ["mish", "elu", "selu", "celu", "hardtanh", "relu6", "hardsigmoid", "hardswish", "gelu_tanh", "softsign"]


PLAIN = (False, 0.0)  # nesterov and weight_decay


@pytest.fixture(params=["rehearse", "scan"])
def scan(request):
    if request.param == "scan" and not DEVICES:
        pytest.skip("no CUDA device")
    return getattr(_cuda, request.param)


def place_of(net, field, layer):
    """The first step from an affine layer on that has a field; -1 for all."""
    if layer < 0:
        return layer
    first = net.steps.index(net.affine_steps[layer])
    return next(at for at, step in enumerate(net.steps) if at >= first and field in step.layer.axes())


def arguments(
    net, slots, shape, theory="exact", samples=0.0, biases=True, loss="sum", quantities=OF_POINTS, descent=PLAIN
):
    slots = [(name, place_of(net, name, layer), np.asarray(values, float)) for name, layer, values in slots]
    settings, momentum = Settings(theory, samples, 0.1, 1.0, biases), 0.3
    return (net._compiled, settings, Descent(loss, momentum, *descent), list(shape), slots, list(quantities))


def both(scan, *question, **settings):
    call = arguments(*question, **settings)
    values, status = scan(*call, None)
    wanted, right = _core.scan(*call, 0, None)
    return values, status, wanted, right


def agree(scan, *question, **settings):
    values, status, wanted, right = both(scan, *question, **settings)
    np.testing.assert_array_equal(status, right)
    assert (status == 0).any(), "no point has numbers"
    for name in values:
        # The same recursion; the functions of a device's library are a few ulp from those of the host's.
        np.testing.assert_allclose(values[name], wanted[name], rtol=1e-12, atol=0, equal_nan=True, err_msg=name)


def grid(*axes):
    """Axes of a product grid as slots' arrays."""
    for place, values in enumerate(axes):
        shape = [1] * len(axes)
        shape[place] = len(values)
        yield np.reshape(values, shape)


def net_of(activation, depth=3, **keywords):
    return ff.mlp([20, *[30] * depth, 4], activation=activation, **keywords)


@pytest.mark.parametrize("activation", RAYS + SUMS + POWERS)
def test_without_batch_norm_every_quantity_agrees(scan, activation):
    weight, bias, samples = grid([0.5, 1.0, 2.1], [0.0, 0.4], [0.0, 2.0, 50.0])
    slots = [("sigma_w2", -1, weight), ("sigma_b2", -1, bias), ("samples", -1, samples)]
    agree(scan, net_of(activation, batch_norm=False), slots, (3, 2, 3), quantities=OF_POINTS + OF_LAYERS)


@pytest.mark.parametrize("activation", RAYS + SUMS + POWERS)
@pytest.mark.parametrize("theory", _numbers.THEORIES)
def test_with_batch_norm_every_quantity_agrees(scan, activation, theory):
    gamma, weight, eps, samples = grid([-1.3, 0.0, 0.4, 2.0], [0.5, 2.0], [0.0, 0.1], [0.0, 3.0, 128.0])
    slots = [("gamma", -1, gamma), ("sigma_w2", -1, weight), ("eps", -1, eps), ("samples", -1, samples)]
    net = net_of(activation, batch_norm=True, trained=True, sigma_b2=0.3)
    agree(scan, net, slots, (4, 2, 2, 3), theory=theory, quantities=OF_POINTS + OF_LAYERS)


@pytest.mark.parametrize("activation", SMOOTH_WITH_BETA)
def test_with_beta_where_the_integrals_have_a_form(scan, activation):
    beta, gamma = grid([-0.7, 0.0, 0.3], [0.5, 1.5])
    agree(scan, net_of(activation, batch_norm=True), [("beta", -1, beta), ("gamma", -1, gamma)], (3, 2), samples=64)


@pytest.mark.parametrize("loss", _numbers.LOSSES)
@pytest.mark.parametrize("biases", [True, False])
def test_widths_momentum_length_overlap_and_conventions(scan, loss, biases):
    width, momentum, length, overlap = grid([10.0, 1000.0], [0.0, 0.9], [0.5, 2.0], [-0.1, 0.0, 0.4])
    slots = [("width", -1, width), ("momentum", -1, momentum), ("length", -1, length), ("overlap", -1, overlap)]
    for batch_norm in (False, True):
        net = net_of("relu", batch_norm=batch_norm, trained=batch_norm)
        for descent in (PLAIN, (True, 0.5)):
            conventions = {"loss": loss, "biases": biases, "samples": 5, "descent": descent}
            agree(scan, net, slots, (2, 2, 2, 3), **conventions, quantities=[*OF_POINTS, "fan_in"])


def test_one_width_for_all_points(scan):
    net = net_of("relu", batch_norm=False)
    agree(scan, net, [("width", -1, [77.0])], (1,), quantities=[*OF_POINTS, "fan_in"])


def test_of_two_slots_for_one_parameter_the_later_holds(scan):
    everywhere, there = grid([0.5, 1.0, 2.0], [0.2, 3.0])
    slots = [("gamma", -1, everywhere), ("gamma", 1, there)]
    net = net_of("relu", batch_norm=True)
    agree(scan, net, slots, (3, 2), quantities=OF_POINTS + OF_LAYERS)
    agree(scan, net, slots[::-1], (3, 2))


def test_activations_and_norms_may_differ_from_layer_to_layer(scan):
    layers = [
        ff.Dense(30, sigma_w2=1.5, sigma_b2=0.1),
        ff.Activation("tanh"),
        ff.Dense(40, sigma_w2=2.0, sigma_b2=0.2),
        ff.BatchNorm(gamma=0.8, beta=0.4, eps=0.01, trained=True),
        ff.Activation("hermite", n=3),
        ff.Dense(5, sigma_w2=1.0, sigma_b2=0.0),
    ]
    slots = [("sigma_w2", 1, np.linspace(0.1, 3, 7)), ("sigma_b2", -1, np.linspace(0, 1, 7))]
    agree(scan, ff.Network((20,), layers), slots, (7,), quantities=OF_POINTS + OF_LAYERS)


def test_points_in_pieces_and_columns_that_are_sent_piece_by_piece(scan):
    points = 2**20 + 1234  # more values than are sent at once
    random = np.random.default_rng(1)
    slots = [("sigma_w2", -1, random.uniform(0.5, 3, points)), ("sigma_b2", 1, random.uniform(0, 1, points)[::-1])]
    agree(scan, ff.mlp([20, 30, 4], batch_norm=False), slots, (points,), quantities=["lambda_max", "q"])


def test_boxes_of_many_axes_some_of_one_point(scan):
    values = np.linspace(0.5, 2, 35).reshape(7, 1, 5, 1, 1)
    slots = [("gamma", -1, values), ("sigma_w2", 0, np.linspace(1, 2, 6).reshape(1, 1, 1, 3, 2))]
    slots.append(("sigma_b2", 0, np.linspace(0, 1, 14).reshape(2, 1, 1, 1, 7).swapaxes(0, 4)))
    net = net_of("relu", batch_norm=True)
    agree(scan, net, slots, (7, 1, 5, 3, 2))
    agree(scan, net, slots, (7, 1, 5, 3, 2), quantities=["lambda_max", "bulk"])  # by the core's kernels


def test_statuses_are_those_of_the_core(scan):
    weight, bias = grid([0.0, 1e-100, 1.0, 1e100], [0.0, 1e-100, 1.0])
    for batch_norm, activation in itertools.product((False, True), ("relu", "exp", "tanh")):
        net = net_of(activation, depth=6, batch_norm=batch_norm)
        slots = [("sigma_w2", -1, weight), ("sigma_b2", -1, bias)]
        agree(scan, net, slots, (4, 3), quantities=OF_POINTS + OF_LAYERS)
    overlap, samples = grid([-0.9, -0.2, 0.5, 1.0, 1.5], [0.0, 1.0, 2.0, 9.0])
    for batch_norm in (False, True):
        net = net_of("relu", batch_norm=batch_norm)
        agree(scan, net, [("overlap", -1, overlap), ("samples", -1, samples)], (5, 4), quantities=OF_POINTS + OF_LAYERS)


def test_a_box_without_points(scan):
    call = arguments(net_of("relu"), [("gamma", -1, np.empty(0))], (0,))
    values, status = scan(*call, None)
    assert status.shape == (0,)
    assert values["lambda_max"].shape == (0,)


def test_convolutions_in_weis_view(scan):
    net = ff.convnet((3, 8, 8), channels=[4, 8], outputs=10)
    agree(scan, net, [("gamma", -1, [0.5, 1.0])], (2,), theory="wei2019")


def test_pause_hears_of_every_point_and_may_end_the_scan(scan):
    call = arguments(net_of("relu"), [("gamma", -1, np.linspace(0.5, 2, 5000))], (5000,))
    heard = []
    scan(*call, heard.append)
    assert heard[-1] == 5000

    def stop(_done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(*call, stop)


# ------------------------------------------------------------------------------- sums, norms of a sample, Dropout
EVERY = OF_POINTS + OF_LAYERS
NORMS = {
    "LayerNorm": ff.LayerNorm,
    "GroupNorm": lambda **fields: ff.GroupNorm(groups=3, **fields),
    "RMSNorm": ff.RMSNorm,
}
WITH_BETA_AT_TWO_INPUTS = ["linear", "sin", "cos", "rbf", "exp", "gaussian", "monomial(3)", "hermite(3)"]
UNEQUAL = (0.5, 0.5, 1.2, -0.7, 1.2, 0.5)


def dense(units=30, **fields):
    return ff.Dense(units, **{"sigma_w2": 1.3, "sigma_b2": 0.2, **fields})


def phi(name):
    return ff.Activation(name)


def chain(*layers, outputs=4):
    """Layers behind a first affine one, and before the last one."""
    return ff.Network((20,), [dense(), *layers, dense(outputs)])


def branch(name, *end):
    return [phi(name), dense(), *end]


def sums(name, *end):
    """Every way in which sums are made: identity and affine skips, one sum within another, and one behind another."""
    inner = ff.Residual(branch(name), scale=-0.4)
    return {
        "identity": [ff.Residual(branch(name, *end), scale=0.7), phi(name)],
        "affine": [phi(name), ff.Residual([dense(), *branch(name, *end)], [dense(sigma_w2=0.6), *end], 1.2), phi(name)],
        "one": [phi(name), ff.Residual([dense(), *branch(name)], [dense(), *end]), phi(name)],
        "within": [ff.Residual([*branch(name), inner, *branch(name, *end)], scale=0.5), phi(name)],
        "behind": [inner, ff.Residual(branch(name, *end)), phi(name)],
    }


SUMS_OF_BRANCHES = list(sums("relu"))


@pytest.mark.parametrize("activation", RAYS + SUMS + POWERS)
@pytest.mark.parametrize("norm", NORMS)
def test_norms_of_a_sample_before_phi(scan, norm, activation):
    made = NORMS[norm](gamma=0.8, eps=0.01, trained=True)
    gamma, weight, eps, overlap = grid([-1.3, 0.0, 0.7], [0.5, 2.0], [0.0, 0.1], [-0.2, 0.0, 0.3])
    slots = [("gamma", -1, gamma), ("sigma_w2", 1, weight), ("eps", 0, eps), ("overlap", -1, overlap)]
    net = chain(made, phi(activation), dense(), made, phi(activation))
    agree(scan, net, slots, (3, 2, 2, 3), quantities=EVERY)


@pytest.mark.parametrize("activation", RAYS + SUMS + POWERS)
@pytest.mark.parametrize("norm", NORMS)
def test_norms_of_a_sample_behind_phi(scan, norm, activation):
    shift = {} if norm == "RMSNorm" else {"beta": 0.3}  # what reads activations is affine: any beta has integrals
    made = NORMS[norm](gamma=0.8, eps=0.01, trained=True, **shift)
    gamma, bias, samples = grid([-1.3, 0.0, 0.7], [0.0, 0.4], [0.0, 7.0])
    slots = [("gamma", -1, gamma), ("sigma_b2", -1, bias), ("samples", -1, samples)]
    agree(scan, chain(phi(activation), made, dense(), phi(activation), made), slots, (3, 2, 2), quantities=EVERY)


@pytest.mark.parametrize("activation", WITH_BETA_AT_TWO_INPUTS)
@pytest.mark.parametrize("norm", ["LayerNorm", "GroupNorm"])
def test_with_beta_at_two_inputs_where_the_integrals_have_a_form(scan, norm, activation):
    beta, gamma = grid([-0.7, 0.0, 0.3], [0.0, 1.5])
    for trained in (True, False):
        made = NORMS[norm](trained=trained)
        carried = ff.Residual([phi("sin"), dense(), made])  # a mean that RMSNorm leaves, times its factor
        net = chain(carried, ff.RMSNorm(gamma=0.6, trained=trained), phi(activation))
        slots = [("beta", -1, beta), ("gamma", -1, gamma)]
        agree(scan, chain(made, phi(activation)), slots, (3, 2), quantities=EVERY)
        agree(scan, net, slots, (3, 2), quantities=EVERY)


@pytest.mark.parametrize(
    "activation", ["relu", "abs", "tanh", "erf", "sin", "gaussian", "hermite(3)", "rectified_monomial(2)"]
)
@pytest.mark.parametrize("way", SUMS_OF_BRANCHES)
def test_sums_of_branches(scan, way, activation):
    scale, weight, overlap = grid([-1.5, 0.0, 0.5], [0.5, 2.0], [-0.2, 0.0, 0.3])
    slots = [("scale", -1, scale), ("sigma_w2", -1, weight), ("overlap", -1, overlap)]
    agree(scan, chain(*sums(activation)[way]), slots, (3, 2, 3), quantities=EVERY)
    one = [("scale", 0, scale), ("sigma_w2", 1, weight), ("overlap", -1, overlap)]
    agree(scan, chain(*sums(activation)[way]), one, (3, 2, 3), quantities=EVERY)


@pytest.mark.parametrize("norm", [ff.BatchNorm, ff.LayerNorm, ff.RMSNorm])
@pytest.mark.parametrize("way", SUMS_OF_BRANCHES)
@pytest.mark.parametrize("activation", ["relu", "tanh", "hermite(3)"])
def test_norms_at_the_end_of_branches_and_behind_sums(scan, activation, way, norm):
    made = norm(gamma=0.9, trained=True)
    eps, samples, scale = grid([0.0, 0.1], [0.0, 3.0, 64.0], [-1.5, 0.5])
    slots = [("eps", -1, eps), ("samples", -1, samples), ("scale", -1, scale)]
    layers = sums(activation, made)[way]
    for theory in ("exact", "frozen"):
        agree(scan, chain(*layers), slots, (2, 3, 2), theory=theory, quantities=EVERY)
        behind = chain(*layers[:-1], made, layers[-1])
        agree(scan, behind, slots, (2, 3, 2), theory=theory, quantities=EVERY)


@pytest.mark.parametrize("activation", ["relu", "step", "sin", "hermite(3)"])
def test_branches_that_all_end_with_beta_behind_batch_norm(scan, activation):
    """Their units are independent at two inputs; where one is of the closed form, and has none, only at eps > 0."""
    net = chain(*sums(activation, ff.BatchNorm(beta=0.4, trained=True))["affine"])
    gamma, samples = grid([0.0, 0.8], [0.0, 3.0, 64.0])
    slots = [("gamma", -1, gamma), ("samples", -1, samples)]
    for theory in ("exact", "frozen"):
        agree(scan, net, slots, (2, 3), theory=theory, quantities=EVERY)
    unlike = [dense(), ff.BatchNorm(eps=0.01)], [dense(), ff.BatchNorm(beta=0.4)]
    net = chain(phi(activation), ff.Residual(*unlike), phi(activation))
    agree(scan, net, slots, (2, 3), quantities=EVERY)


@pytest.mark.parametrize("activation", ["relu", "tanh", "exp", "hermite(3)"])
def test_dropout(scan, activation):
    rate, weight = grid([0.0, 0.1, 0.9], [0.5, 2.0])
    inside = ff.Residual([phi(activation), ff.Dropout(0.2), dense(), ff.LayerNorm(trained=True)])
    layers = [ff.Dropout(0.3), dense(), inside, phi(activation), ff.LayerNorm(beta=0.5), ff.Dropout(0.1), dense(4)]
    for layer in (-1, 1):
        slots = [("rate", layer, rate), ("sigma_w2", -1, weight)]
        agree(scan, ff.Network((20,), layers), slots, (3, 2), quantities=EVERY)


@pytest.mark.parametrize("activation", ["relu", "tanh", "monomial(2)"])
def test_layers_without_biases_and_widths_of_graphs(scan, activation):
    bare = {"bias": False, "sigma_b2": 0.0}
    inner = [dense(**bare), ff.LayerNorm(trained=True), phi(activation), dense()]
    layers = [dense(**bare), ff.Residual([phi(activation), *inner]), phi(activation), ff.Dropout(0.2), dense(4, **bare)]
    width, bias, scale = grid([3.0, 50.0, 1e6], [0.0, 0.3], [0.5, 2.0])
    slots = [("width", -1, width), ("sigma_b2", -1, bias), ("scale", -1, scale)]
    for biases in (True, False):
        agree(scan, ff.Network((20,), layers), slots, (3, 2, 2), biases=biases, quantities=EVERY)


@pytest.mark.parametrize("activation", ["relu", "sin", "hermite(3)", "step"])
@pytest.mark.parametrize("theory", ["exact", "frozen"])
def test_units_with_gamma_and_beta_of_their_own(scan, activation, theory):
    units = dense(6)
    weight, samples = grid([0.5, 2.0], [0.0, 64.0])
    slots = [("sigma_w2", -1, weight), ("samples", -1, samples)]
    betas = (0.0, 0.0, 0.3, 0.3, 0.3, 0.0)
    for fields in ({"gamma": UNEQUAL}, {"beta": betas}, {"gamma": UNEQUAL, "beta": betas}):
        norm = ff.BatchNorm(**fields, eps=0.01, trained=True)
        net = ff.Network((20,), [units, norm, phi(activation), dense(4)])
        agree(scan, net, slots, (2, 2), theory=theory, quantities=EVERY)
    behind = ff.LayerNorm(gamma=UNEQUAL, beta=betas, trained=True)  # activations are of one class again
    many = ff.BatchNorm(gamma=np.linspace(-1.0, 2.0, 30), eps=0.01, trained=True)  # 30 classes, one after another
    for net in (
        chain(many, phi(activation)),
        *(chain(*layers) for layers in sums(activation, many).values()),
        ff.Network((20,), [units, ff.RMSNorm(gamma=UNEQUAL, trained=True), phi("tanh"), dense(4)]),
        ff.Network((20,), [units, phi(activation), behind, dense(4)]),
    ):
        agree(scan, net, slots, (2, 2), theory=theory, quantities=EVERY)


@pytest.mark.parametrize("way", SUMS_OF_BRANCHES)
def test_statuses_of_graphs_are_those_of_the_core(scan, way):
    weight, bias, scale = grid([0.0, 1e-100, 1.0, 1e100], [0.0, 1e-100, 1.0], [-1.0, 0.0, 1e100])
    slots = [("sigma_w2", -1, weight), ("sigma_b2", -1, bias), ("scale", -1, scale)]
    seen = set()
    for activation, norm in itertools.product(("relu", "exp", "tanh"), (None, ff.BatchNorm, ff.LayerNorm, ff.RMSNorm)):
        net = chain(*sums(activation, *([norm(trained=True)] if norm else []))[way])
        agree(scan, net, slots, (4, 3, 3), quantities=EVERY)
        seen.update(both(scan, net, slots, (4, 3, 3))[1].flat)
    assert {"ok", "zero_variance", "overflow"} <= {_core.Status(each).name for each in seen}


# Refused before a device is looked for, so that the sentence is the same with one and without.


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("activation", REFUSED)
def test_activations_that_need_quadrature_are_refused_by_name(activation, batch_norm):
    call = arguments(net_of(activation, batch_norm=batch_norm), [], ())
    name = activation.partition("(")[0]
    with pytest.raises(ValueError, match=f"^backend='cuda' has no integrals of {name}: use backend='cpu'$"):
        _cuda.scan(*call, None)


@pytest.mark.parametrize("activation", ["erf", "gelu", "tanh", "sigmoid", "softplus", "silu", "rectified_monomial(2)"])
def test_a_beta_that_needs_quadrature_is_refused(activation):
    name = activation.partition("(")[0]
    message = f"^backend='cuda' has no integrals of {name} with beta other than 0: use backend='cpu'$"
    shifted = arguments(net_of(activation, batch_norm=True, beta=0.1), [], ())
    varied = arguments(net_of(activation, batch_norm=True), [("beta", 1, [0.0, 0.1])], (2,))
    for call in (shifted, varied):
        with pytest.raises(ValueError, match=message):
            _cuda.scan(*call, None)


def test_callables_parts_and_images_are_refused():
    own = ff.Activation(np.tanh, slope=lambda x: 1 / np.cosh(x) ** 2)
    for net, quantity, theory, what in [
        (net_of(own), "a", "exact", "way to call a Python function as an activation"),
        (net_of("relu"), "part_a", "exact", "part_a"),
        (net_of("relu"), "part_b", "exact", "part_b"),
        (ff.convnet((1, 8, 8), channels=[4], outputs=2), "a", "frozen", "convolutions position by position"),
    ]:
        with pytest.raises(ValueError, match=f"^backend='cuda' has no {what}.*: use backend='cpu'$"):
            _cuda.scan(*arguments(net, [], (), theory=theory, quantities=[quantity]), None)


def refusal(net, slots=(), shape=(), **settings):
    with pytest.raises(ValueError, match=r"^backend='cuda' has no .*: use backend='cpu'$") as caught:
        _cuda.scan(*arguments(net, slots, shape, **settings), None)
    return str(caught.value).removeprefix("backend='cuda' has no ").removesuffix(": use backend='cpu'")


@pytest.mark.parametrize("activation", ["relu", "leaky_relu(0.2)", "abs", "step", "sign"])
def test_a_beta_at_two_inputs_that_needs_quadrature_is_refused(activation):
    """Also where it comes by the other branch of a sum, or through RMSNorm, whatever stands between in a network's
    order; not where BatchNorm has made the units independent."""
    name = activation.partition("(")[0]
    wanted = f"integrals of {name} with beta other than 0 where units at two inputs depend on each other"
    norm, shifted = ff.LayerNorm(), ff.LayerNorm(beta=0.1)
    assert refusal(chain(shifted, phi(activation))) == wanted
    assert refusal(chain(norm, phi(activation)), [("beta", -1, [0.0, 0.1])], (2,)) == wanted
    sums_with_beta = [
        ff.Residual([phi("sin"), dense(), shifted]),
        ff.Residual([phi("sin"), dense()], [shifted]),
        ff.Residual([phi("sin"), dense(), ff.BatchNorm(beta=0.1)]),
        ff.Residual([phi("sin"), dense(), ff.Residual([phi("sin"), dense(), shifted])]),
    ]
    for each in sums_with_beta:
        assert refusal(chain(each, phi(activation))) == wanted
        assert refusal(chain(each, ff.RMSNorm(), phi(activation))) == wanted
        assert refusal(chain(each, ff.Residual(branch("sin")), phi(activation))) == wanted
        agrees = chain(each, norm, phi(activation)), chain(each, ff.BatchNorm(beta=0.2), phi(activation))
        for net in (*agrees, chain(each, phi("sin"), dense(), phi(activation))):  # each takes the mean away
            agree(_cuda.rehearse, net, [], (), samples=9)


def test_a_closed_batch_norm_beside_one_with_beta_is_refused():
    """relu: the one without beta leaves an overlap of -gamma^2/(n - 1), where eps = 0 and n >= 4."""
    beside = [dense(), ff.BatchNorm(beta=0.4)]
    net = chain(phi("relu"), ff.Residual([dense(), ff.BatchNorm()], beside), phi("relu"))
    wanted = "integrals of relu with beta other than 0 where units at two inputs depend on each other"
    assert refusal(net, samples=64) == wanted
    assert refusal(net, [("samples", -1, [0.0, 3.0, 4.0])], (3,)) == wanted
    agree(_cuda.rehearse, net, [], (), samples=3)
    agree(_cuda.rehearse, net, [], (), samples=64, theory="frozen")


@pytest.mark.parametrize("activation", ["erf", "gelu", "tanh", "sigmoid", "softplus", "silu", "rectified_monomial(2)"])
def test_a_beta_in_any_branch_that_needs_quadrature_is_refused(activation):
    wanted = f"integrals of {activation.partition('(')[0]} with beta other than 0"
    shifted = ff.BatchNorm(beta=0.1)
    for ends in (([shifted], []), ([], [shifted]), ([shifted], [ff.BatchNorm()]), ([ff.LayerNorm(beta=0.1)], [])):
        sum_of_two = ff.Residual([dense(), *ends[0]], [dense(), *ends[1]])
        assert refusal(chain(phi("relu"), sum_of_two, phi(activation))) == wanted
    varied = chain(phi("relu"), ff.Residual([dense(), ff.LayerNorm()], [dense()]), phi(activation))
    assert refusal(varied, [("beta", -1, [0.0, 0.1])], (2,)) == wanted


@pytest.mark.parametrize("activation", REFUSED)
def test_activations_that_need_quadrature_are_refused_in_branches(activation):
    net = chain(ff.Residual(branch(activation)), phi("relu"))
    assert refusal(net) == f"integrals of {activation.partition('(')[0]}"


def test_factors_of_units_own_gammas_are_refused():
    net = ff.Network((20,), [dense(6), ff.BatchNorm(gamma=UNEQUAL), phi("relu"), dense(4)])
    assert refusal(net, [("gamma_scale", -1, [0.5, 2.0])], (2,)) == "axis gamma_scale"
    assert refusal(chain(ff.LayerNorm(), phi("relu")), [("gamma_scale", -1, [0.5, 2.0])], (2,)) == "axis gamma_scale"


def test_more_states_than_a_thread_keeps_are_refused():
    deep = ff.Residual(branch("relu"))
    for _ in range(5):
        deep = ff.Residual([*branch("relu"), deep, *branch("relu")])
    wanted = r"room for more than 6 layers' states at a time, and sums within sums ask for (\d+)"
    assert int(re.fullmatch(wanted, refusal(chain(deep, phi("relu"))))[1]) > 6


@pytest.mark.skipif(bool(DEVICES), reason="there is a CUDA device")
def test_without_a_device_a_scan_says_so():
    with pytest.raises(RuntimeError, match=r"^backend='cuda' found no CUDA device: .+"):
        _cuda.scan(*arguments(net_of("relu"), [], ()), None)


def test_the_public_scan_takes_the_backend():
    if not hasattr(ff, "scan"):
        pytest.skip("no public scan yet")
    net, axes = net_of("relu"), {"gamma": [0.5, 1.0], "sigma_w2": [1.0, 2.0, 3.0]}
    if not DEVICES:
        with pytest.raises(RuntimeError, match="found no CUDA device"):
            ff.scan(net, axes, backend="cuda")
        return
    result, wanted = ff.scan(net, axes, backend="cuda"), ff.scan(net, axes)
    # as above
    np.testing.assert_allclose(result.lambda_max, wanted.lambda_max, rtol=1e-12)
