# SPDX-License-Identifier: BSD-3-Clause
"""Scans on a device are those of the core. Without one, what a thread does is done by the host (`_cuda.rehearse`)."""

from __future__ import annotations

import itertools

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
