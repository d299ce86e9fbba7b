# SPDX-License-Identifier: BSD-3-Clause
"""Scans in vectors: every instruction set gives what one point after another gives, wherever kernels may not go."""

import itertools

import numpy as np
import pytest

import fisherfield as ff
from fisherfield import _core, _numbers
from fisherfield.theory.settings import Descent, Settings

QUANTITIES = ("lambda_max", "bulk", "mean", "second_moment", "max_learning_rate", "parameters", "outlier", "a", "b")
PLAIN = (0.0, 0.0, 1.0, 0.0, False, 0.0)  # samples, overlap, length, momentum, nesterov, weight_decay
# Two recursions of a few roundings a layer; b = o may be what two larger numbers leave, so it is held beside a.
ROUNDING = 1e-14


def place_of(net, field, layer):
    """The first step from an affine layer on that has a field; -1 for all."""
    if layer < 0:
        return layer
    first = net.steps.index(net.affine_steps[layer])
    return next(at for at, step in enumerate(net.steps) if at >= first and field in step.layer.axes())


def scan(net, axes, theory=0, biases=True, settings=PLAIN, quantities=QUANTITIES, threads=1):
    """The core's scan: `axes` are (field, affine layer, values)."""
    shape = [len(values) for _, _, values in axes]
    slots = []
    for place, (field, layer, values) in enumerate(axes):
        along = [-1 if place == at else 1 for at in range(len(axes))]
        slots.append((field, place_of(net, field, layer), np.asarray(values, dtype=float).reshape(along)))
    samples, overlap, length, *descent = settings
    assumed = Settings(_numbers.THEORIES[theory], samples, overlap, length, biases)
    return _core.scan(net._compiled, assumed, Descent("sum", *descent), shape, slots, list(quantities), threads, None)


def compare(net, axes, **keywords):
    """Kernels beside the walker, which alone knows multiplicities."""
    many, statuses = scan(net, axes, **keywords)
    one, expected = scan(net, axes, quantities=(*QUANTITIES, "multiplicity"), **keywords)
    np.testing.assert_array_equal(statuses, expected)
    scale = np.abs(one["a"])
    for name in QUANTITIES:
        bound = ROUNDING * (scale if name == "b" else np.abs(one[name]))
        with np.errstate(invalid="ignore"):
            close = (np.abs(many[name] - one[name]) <= bound) | (many[name] == one[name])
        assert (close | (np.isnan(many[name]) & np.isnan(one[name]))).all(), name
    return statuses


GAMMA, W2, B2 = np.linspace(-1.0, 5.0, 7), np.linspace(0.3, 4.0, 9), np.linspace(0.0, 1.0, 5)
SAMPLES, WIDTH, MOMENTUM = [4, 16, 10_000], [64, 1000], [0.0, 0.9]


@pytest.mark.parametrize("name", _core.simd_paths())
@pytest.mark.parametrize("depth", [2, 5])
@pytest.mark.parametrize("phi", ["relu", "leaky_relu(0.1)", "leaky_relu(-0.5)", "linear", "abs", "tanh"])
def test_kernels_agree_with_one_point_after_another(phi, depth, name, path):
    path(name)
    wide = [784, *[1000] * (depth - 1), 10]
    vanilla = [("sigma_w2", -1, W2), ("sigma_b2", -1, B2), ("samples", -1, SAMPLES), ("width", -1, WIDTH)]
    if phi != "tanh":
        for descent in ((False, 0.0), (True, 0.0), (True, 3.0), (False, 1e-4)):
            axes = [*vanilla, ("momentum", -1, MOMENTUM)]
            compare(ff.mlp(wide, phi, batch_norm=False), axes, settings=(*PLAIN[:4], *descent))
    normed = ff.mlp(wide, phi, trained=True)
    for theory in range(3):
        compare(normed, [*vanilla, ("gamma", -1, GAMMA)], theory=theory)
        compare(normed, [*vanilla[:2], ("gamma", -1, GAMMA), ("beta", -1, [0.0, 0.4, -2.0])], theory=theory)
        if phi != "tanh":
            compare(normed, [("eps", -1, [1e-8, 0.1, 10.0]), *vanilla], theory=theory)


@pytest.mark.parametrize("name", _core.simd_paths())
def test_what_kernels_cannot_carry_is_done_otherwise(name, path):
    path(name)
    deep = ff.mlp([50, *[100] * 600, 1], batch_norm=False, sigma_b2=0.0)
    statuses = compare(deep, [("sigma_w2", -1, [1e-3, 0.5, 2.0, 4.0, 30.0])], biases=False)
    assert {0, 5} == set(statuses.ravel())  # some numbers leave the range of float64
    normed = ff.mlp([784, 1000, 1000, 10])
    assert set(compare(normed, [("sigma_w2", -1, [0.0, 1.0])]).ravel()) == {0, 1}  # zero variance
    compare(normed, [("samples", -1, [0, 1, 2, 3, 4, 100]), ("gamma", -1, [0.0, 1.0])])
    compare(normed, [("overlap", -1, [0.0, 0.5, 1.0, 1.5]), ("length", -1, [1.0, 2.0])])
    compare(normed, [("sigma_w2", -1, [1e-90, 1.0, 1e90])])


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_layers_have_parameters_of_their_own(layer):
    net = ff.mlp([784, 100, 200, 10], gamma=[1.0, 2.0])
    axes = [("sigma_w2", -1, W2), ("sigma_w2", layer, [0.7, 1.9]), ("gamma", min(layer, 1), GAMMA)]
    for theory in range(3):
        compare(net, axes, theory=theory)


def test_any_length_of_the_innermost_axis_any_number_of_threads():
    net = ff.mlp([784, 1000, 1000, 10], batch_norm=False)
    whole, _ = scan(net, [("sigma_w2", -1, np.linspace(0.5, 3.0, 2000))])
    for length, threads in itertools.product((1, 7, 511, 513), (1, 3)):
        w2 = np.linspace(0.5, 3.0, 2000)[:length]
        got, _ = scan(net, [("sigma_b2", -1, [0.5] * 3), ("sigma_w2", -1, w2)], threads=threads)
        for row in got["lambda_max"]:
            np.testing.assert_array_equal(row, whole["lambda_max"][:length])


def test_paths_agree(path):
    """To 4 ulp a layer: the order of roundings is the same, fused multiply-add spares some."""
    net = ff.mlp([784, 1000, 1000, 1000, 10], batch_norm=False)
    axes = [("sigma_w2", -1, np.linspace(0.3, 4.0, 101)), ("sigma_b2", -1, np.linspace(0.0, 1.0, 11))]
    seen = []
    for name in _core.simd_paths():
        path(name)
        seen.append(scan(net, axes)[0]["lambda_max"])
    for each in seen[1:]:
        np.testing.assert_allclose(each, seen[0], rtol=16 * 2.0**-52)


# networks that are no chains ------------------------------------------------------------------------------------------

RELU, N = ff.Activation("relu"), 20


def v1(norm=(), phi=RELU, last=()):
    """Projection skips of a post-activation net, and a sum within a sum."""
    inner = ff.Residual([ff.Dense(N), *norm], [ff.Dense(N, bias=False)], 0.5)
    block = ff.Residual([ff.Dense(N), *norm, phi, ff.Dense(N), *norm], [ff.Dense(N), *norm], 0.7)
    nested = ff.Residual([ff.Dense(N), phi, inner, phi, ff.Dense(N)], [ff.Dense(N)])
    return ff.Network(30, [ff.Dense(N), *norm, phi, block, phi, nested, *last, phi, ff.Dense(5)])


def v2(norm, phi=RELU):
    """Identity skips of a pre-activation net."""
    block = ff.Residual([norm, phi, ff.Dense(N)], scale=0.5)
    return ff.Network(30, [ff.Dense(N), block, block, norm, phi, ff.Dense(5)])


def behind(*layers, phi=RELU):
    return ff.Network(30, [*[ff.Dense(N), phi, *layers] * 3, ff.Dense(5)])


OWN = np.linspace(0.5, 1.5, N)
GRAPHS = {
    "projections": v1(),
    "projections, abs": v1(phi=ff.Activation("abs")),
    "projections, BatchNorm": v1([ff.BatchNorm(1.5, trained=True)]),
    "projections, BatchNorm, eps": v1([ff.BatchNorm(eps=0.1)]),
    "projections, BatchNorm before a sum's phi": v1([ff.BatchNorm()], last=[ff.BatchNorm(0.5, trained=True)]),
    "projections, BatchNorm, beta": v1([ff.BatchNorm(0.5, 0.3, trained=True)], last=[ff.BatchNorm()]),
    "projections, LayerNorm": v1([ff.LayerNorm(trained=True)]),
    "projections, tanh, BatchNorm": v1([ff.BatchNorm(0.7)], ff.Activation("tanh")),
    "pre-activation, LayerNorm": v2(ff.LayerNorm(trained=True)),
    "pre-activation, BatchNorm": v2(ff.BatchNorm(trained=True)),
    "pre-activation, BatchNorm, other rays": v2(ff.BatchNorm(), ff.Activation("leaky_relu(-0.5)")),
    "pre-activation, BatchNorm, tanh": v2(ff.BatchNorm(0.4, 0.3), ff.Activation("tanh")),
    "pre-activation, RMSNorm": v2(ff.RMSNorm(1.3, trained=True), ff.Activation("leaky_relu(0.2)")),
    "a sum's BatchNorm alone": ff.Network(
        30,
        [ff.Dense(N), ff.Residual([RELU, ff.Dense(N)]), ff.BatchNorm(trained=True), RELU, ff.Dense(5), ff.BatchNorm()],
    ),
    "Dropout": ff.Network(30, [ff.Dropout(0.1), *[ff.Dense(N), RELU, ff.Dropout(0.3)] * 3, ff.Dense(5)]),
    "LayerNorm and Dropout behind": behind(ff.LayerNorm(1.2, 0.3, trained=True), ff.Dropout(0.3)),
    "Dropout and GroupNorm behind": behind(ff.Dropout(0.3), ff.LayerNorm(), phi=ff.Activation("leaky_relu(0.1)")),
    "BatchNorm, RMSNorm and Dropout": ff.Network(
        30,
        [*[ff.Dense(N), ff.BatchNorm(trained=True), RELU, ff.RMSNorm(trained=True), ff.Dropout(0.2)] * 3, ff.Dense(5)],
    ),
    "units' own gamma": v1([ff.BatchNorm(OWN, trained=True)]),
    "units' own gamma and beta": ff.Network(
        30, [*[ff.Dense(N), ff.BatchNorm(OWN, 1.0 - OWN), ff.Activation("tanh"), ff.LayerNorm(OWN)] * 2, ff.Dense(5)]
    ),
}
AXES = {
    "sigma_w2": [0.5, 1.7],
    "sigma_b2": [0.05, 0.4],  # at 0 a LayerNorm behind phi leaves hardly any b
    "gamma": GAMMA[:4:2],
    "scale": [-0.5, 2.0],
    "rate": [0.0, 0.4],
}


@pytest.mark.parametrize("name", _core.simd_paths())
@pytest.mark.parametrize("graph", GRAPHS)
def test_nodes_agree_with_one_point_after_another(graph, name, path):
    path(name)
    net = GRAPHS[graph]
    known = {field for step in net.steps for field in step.layer.axes()}
    axes = [(field, -1, values) for field, values in AXES.items() if field in known]
    axes += [("samples", -1, [0, 3, 16]), ("width", -1, [8, 100])]
    for theory in range(2):
        statuses = compare(net, axes, theory=theory)
        assert (statuses == 0).any()
    compare(net, [("overlap", -1, [0.0, 0.5]), ("momentum", -1, [0.0, 0.9])], biases=False)
    compare(net, [("sigma_w2", -1, [0.0, 1e-90, 1.0])])


@pytest.mark.parametrize("graph", ["units' own gamma", "units' own gamma and beta"])
def test_factors_of_units_own_numbers_agree_with_one_point_after_another(graph):
    net, fields = GRAPHS[graph], [("gamma_scale", -1, [-1.0, 0.0, 0.5, 3.0]), ("sigma_w2", -1, [0.5, 2.0])]
    compare(net, fields)
    compare(net, [*fields, ("gamma", -1, [0.5, 2.0])])


# tables ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", _core.simd_paths())
@pytest.mark.parametrize(("phi", "depth"), [("tanh", 4), ("tanh", 20), ("gelu", 4), ("erf", 20)])
def test_tables_stand_for_integrals(phi, depth, name, path):
    path(name)
    net = ff.mlp([784, *[500] * (depth - 1), 10], phi, batch_norm=False)
    axes = {"sigma_w2": np.linspace(0.5, 4.0, 5), "sigma_b2": [0.0, 0.3], "samples": [100, None]}
    wanted = ("a", "b", "lambda_max", "bulk", "max_learning_rate")
    fast, slow = (ff.scan(net, axes, wanted, tables=tables) for tables in (True, False))
    np.testing.assert_array_equal(fast.status, slow.status)
    # 4e-12 of E phi^2 and E phi'^2 a layer, and what a layer makes of the error before it
    rel = 2e-11 * depth
    for quantity in ("a", "b", "lambda_max", "max_learning_rate"):
        np.testing.assert_allclose(fast[quantity], slow[quantity], rtol=rel)
    assert (np.abs(fast.bulk - slow.bulk) <= rel * slow.a).all()
    assert fast.settings["tables"] == f"{phi} at q 1e-06 to 1e+06"
    assert f"with tables of {phi} at q" in repr(fast)
    assert slow.settings["tables"] == ""


def test_points_outside_of_a_table_are_computed_as_without():
    table = ff.gaussian.tabulate("tanh", (0.5, 1.5))
    net = ff.mlp([784, 500, 500, 10], "tanh", batch_norm=False)
    axes = {"sigma_w2": np.linspace(0.2, 3.0, 40)}
    fast, slow = ff.scan(net, axes, tables=[table]), ff.scan(net, axes)
    same = fast.lambda_max == slow.lambda_max
    assert same.any()
    assert not same.all()
    np.testing.assert_allclose(fast.lambda_max, slow.lambda_max, rtol=1e-10)  # as above


def test_tables_are_made_and_named_where_they_are_of_use():
    axes = {"sigma_w2": [1.0, 2.0]}
    for net in (ff.mlp([784, 500, 10], batch_norm=False), ff.mlp([784, 500, 10], "tanh")):
        assert ff.scan(net, axes, tables=True).settings["tables"] == ""
        assert ff.scan(net, axes, tables=[ff.gaussian.tabulate("erf", (0.5, 1.5))]).settings["tables"] == ""
    net = ff.mlp([784, 500, 500, 10], "tanh", batch_norm=False)
    for quantities in ("q", "contributions", ("lambda_max", "multiplicity")):
        assert ff.scan(net, axes, quantities, tables=True).settings["tables"] == ""


def test_a_bulk_that_tables_have_no_digits_for_is_computed_without():
    net = ff.mlp([784, *[500] * 10, 10], "sigmoid", batch_norm=False)
    axes = {"sigma_w2": [0.5, 1.0, 2.0, 20.0]}
    fast, slow = (ff.scan(net, axes, "bulk", samples=100, tables=tables).bulk for tables in (True, False))
    np.testing.assert_allclose(fast, slow, rtol=1e-7)  # 1e-11 of a a layer, where the bulk is 1 % of a or more


def test_odd_points_leave_the_others_what_they_are():
    """An inadmissible overlap, a batch of one, gamma = 0: the numbers beside them are those of scans without."""
    net = ff.mlp([784, 500, 500, 10])
    few = ff.scan(net, {"gamma": [0.5, 2.0], "samples": [16, 64], "overlap": [0.0, 0.3]})
    more = ff.scan(net, {"gamma": [0.0, 0.5, 2.0], "samples": [1, 16, 3, 64, None], "overlap": [0.0, 0.3, 1.5]})
    np.testing.assert_array_equal(more.lambda_max[1:, 1:4:2, :2], few.lambda_max)
    assert (more.status[:, :, 2] == 6).all()
    assert (more.status[:, 0] == 6).all()


@pytest.mark.parametrize("tables", ["tanh", 2, ["tanh"]])
def test_what_is_no_table_is_refused(tables):
    with pytest.raises(TypeError, match=r"^tables must be True, False or tables made by gaussian.tabulate, got "):
        ff.scan(ff.mlp([784, 500, 10]), {"sigma_w2": [1.0]}, tables=tables)


def test_a_correlation_of_nothing_is_one():
    net = ff.mlp([784, 500, 10], batch_norm=False, sigma_w2=0.0, sigma_b2=0.0)
    out = ff.scan(net, {"sigma_w2": [0.0, 1.0]}, ("c", "q"))
    np.testing.assert_array_equal(out.c[0], [1.0, 1.0])
    np.testing.assert_array_equal(ff.order_parameters(net).c, [1.0, 1.0])
    assert not out.status.any()
