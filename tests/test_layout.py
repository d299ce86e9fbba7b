# SPDX-License-Identifier: BSD-3-Clause
"""Wherever an array lies in memory its numbers are the same: off alignment, apart, read-only, in another byte order."""

import pickle

import numpy as np
import pytest

import fisherfield as ff
from fisherfield import _core, gaussian
from fisherfield.gaussian import tabulate
from fisherfield.theory.settings import Descent, Settings


def shifted(x):
    """One byte off alignment, as in a message behind a header of odd length."""
    view = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    assert view.flags.c_contiguous
    assert not view.flags.aligned
    return view


def packed(x):
    """A field of records of 1 + 8 bytes: strides are no whole number of float64."""
    records = np.zeros(x.shape, [("flag", "i1"), ("value", x.dtype)])
    records["value"] = x
    assert records["value"].strides[-1] % x.itemsize != 0
    return records["value"]


def swapped(x):
    return x.astype(x.dtype.newbyteorder())


def frozen(x):
    copy = x.copy()
    copy.flags.writeable = False
    return copy


def reversed_twice(x):
    return x[::-1].copy()[::-1]


LAYOUTS = pytest.mark.parametrize("layout", [shifted, packed, swapped, frozen, np.asfortranarray, reversed_twice])
Q = np.geomspace(0.1, 10.0, 1100)  # two blocks of a kernel and a part
C = np.linspace(-1.0, 1.0, 1100)


@LAYOUTS
@pytest.mark.parametrize("name", ["relu", "tanh", "leaky_relu(0.3)"])
def test_integrals(name, layout):
    q, c, expected = layout(Q), layout(C), gaussian.covariance(name, Q, Q[::-1], C)
    np.testing.assert_array_equal(gaussian.covariance(name, q, q[::-1], c), expected)
    np.testing.assert_array_equal(gaussian.second_moment(name, q), gaussian.second_moment(name, Q))
    few = slice(0, 1100, 300)
    np.testing.assert_array_equal(
        gaussian.covariance(name, q[few], q[few], c[few], shift=c[few]),
        gaussian.covariance(name, Q[few], Q[few], C[few], shift=C[few]),
    )


@pytest.mark.parametrize("layout", [shifted, packed, swapped])
def test_results_may_be_put_anywhere(layout):
    expected, out = gaussian.covariance("erf", Q, Q, C), layout(np.zeros(Q.size))
    gaussian.covariance("erf", Q, Q, C, out=out)
    np.testing.assert_array_equal(out, expected)


@LAYOUTS
def test_values_and_slopes(layout):
    phi, x = ff.Activation("mish"), C.reshape(11, 100)
    np.testing.assert_array_equal(phi(layout(x)), phi(x))
    np.testing.assert_array_equal(phi.derivative(layout(x)), phi.derivative(x))
    for value, expected in zip(phi._compiled.evaluate(layout(x)), phi._compiled.evaluate(x), strict=True):
        np.testing.assert_array_equal(value, expected)


@LAYOUTS
def test_what_a_callable_gives_back(layout):
    phi = ff.Activation(lambda x: layout(np.tanh(x)), slope=lambda x: layout(1 / np.cosh(x) ** 2))
    plain = ff.Activation(np.tanh, slope=lambda x: 1 / np.cosh(x) ** 2)
    assert gaussian.second_moment(phi, 2.0, 0.3) == gaussian.second_moment(plain, 2.0, 0.3)


@LAYOUTS
def test_the_axes_of_a_scan(layout):
    net = ff.mlp([20, 30, 30, 3], "relu", gamma=0.8, trained=True)
    axes = {"gamma": np.geomspace(0.1, 3.0, 7), "samples": np.array([4.0, 90.0, np.inf]), "sigma_w2": Q[::400]}
    names = ["lambda_max", "bulk"]
    expected = ff.scan(net, axes, quantities=names)
    got = ff.scan(net, {name: layout(values) for name, values in axes.items()}, quantities=names)
    for name in names:
        np.testing.assert_array_equal(got[name], expected[name])


@LAYOUTS
@pytest.mark.parametrize("name", ["relu", "tanh"])  # by columns, point by point
def test_the_core_s_own_axes(name, layout):
    """As workers of a cluster hand them on."""
    net = ff.mlp([20, 30, 30, 3], name, batch_norm=False)
    columns = {"sigma_w2": Q[:9].reshape(9, 1), "overlap": np.linspace(0.0, 0.9, 11).reshape(1, 11)}

    def scanned(layout):
        slots = [(field, -1, layout(values)) for field, values in columns.items()]
        arrays, status = _core.scan(
            net._compiled, Settings("exact", 100, 0.0, 1.0, True), Descent(), [9, 11], slots, ["lambda_max"], 1, None
        )
        assert not status.any()
        return arrays["lambda_max"]

    np.testing.assert_array_equal(scanned(layout), scanned(np.ascontiguousarray))


@LAYOUTS
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_samples_weights_and_vectors(dtype, layout):
    sampled = ff.sample(ff.mlp([5, 8, 8, 2], "tanh", gamma=1.0, trained=True), seed=3, dtype=dtype)
    x = np.random.default_rng(0).normal(size=(12, 5)).astype(dtype)
    operator, other = ff.FisherOperator(sampled, x), ff.FisherOperator(sampled, layout(x))
    np.testing.assert_array_equal(other.outputs, operator.outputs)
    vector = np.random.default_rng(1).normal(size=24).astype(dtype)
    np.testing.assert_array_equal(other @ layout(vector), operator @ vector)
    for name in ("weights", "biases", "gammas", "betas"):
        setattr(sampled, name, [layout(array) for array in getattr(sampled, name)])
    np.testing.assert_array_equal(ff.FisherOperator(sampled, x).outputs, operator.outputs)


def test_tables_that_were_sent():
    """Pickled out of band, as Dask does it: the parts of a message lie where they may."""
    table, parts = tabulate("softplus", q=(0.5, 2.0)), []
    message = pickle.dumps(table, protocol=5, buffer_callback=parts.append)
    assert parts
    again = pickle.loads(message, buffers=[shifted(np.frombuffer(part.raw(), np.float64)) for part in parts])
    q, c = np.clip(Q, 0.5, 2.0), C
    np.testing.assert_array_equal(again.covariance(q, c), table.covariance(q, c))
    np.testing.assert_array_equal(again.slope_mean(q), table.slope_mean(q))


def test_a_damaged_table_is_refused():
    low, high, columns, *rest, curves, covariances, slopes = tabulate("softplus", q=(0.5, 2.0))._core.__getstate__()
    for damaged in (
        (low, high, columns + 1, *rest, curves, covariances, slopes),
        (low, high, columns, *rest, curves[8:], covariances, slopes),
        (low, high, columns, *rest, curves, covariances[:-8], slopes),
        (low, high, columns, *rest, curves, covariances, np.append(slopes, 0.0)),
    ):
        with pytest.raises(ValueError, match=r"^the parts of a table must fit together$"):
            _core.Table.__new__(_core.Table).__setstate__(damaged)
