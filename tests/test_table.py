# SPDX-License-Identifier: BSD-3-Clause
"""Tables err by no more than they say, on every path, wherever they are asked, and refuse everything else."""

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest

import fisherfield as ff
from fisherfield import _core, gaussian
from fisherfield.gaussian import tabulate, ufuncs

JUDGE = dict(np.load(Path(__file__).parent / "data" / "gaussian.npz"))  # made by bench/judge_gaussian.py
NAMES = list(map(str, JUDGE["names"]))
MOMENTS = ("second_moment", "slope_second_moment")
MEANS = ("mean", "slope_mean")
COVARIANCES = ("covariance", "slope_covariance")
FAST = ("tanh", "gelu", "silu", "sigmoid", "softplus", "erf", "relu", "leaky_relu(-0.3)", "step", "sign", "abs", "sin")
# Their integrals take 0.1 ms each: a short range is enough to show that they are interpolated as well.
SLOW = ("elu", "hardtanh")
SHORT = (0.3, 3.0)


@pytest.fixture(scope="module")
def tables():
    return {name: tabulate(name) for name in FAST} | {name: tabulate(name, q=SHORT) for name in SLOW}


@pytest.fixture
def path():
    """Choose the instruction set for one test; put the old one back after it."""
    before = _core.simd_path()
    yield ufuncs._set_path
    ufuncs._set_path(before)


def points(table, count, seed=0):
    """q log-uniform, some at the ends of the table; 1 - c close to 0, close to 2, between, and 0, 1, 2 themselves."""
    rng = np.random.default_rng(seed)
    low, high = table.q
    q = np.clip(np.exp(rng.uniform(np.log(low), np.log(high), count)), low, high)
    near = 10 ** rng.uniform(-15, 0, count)
    rest = np.choose(np.arange(count) % 3, [near, 2.0 - near, rng.uniform(0, 2, count)])
    q[:8], q[8:16] = low, high
    rest[:16] = np.tile([0.0, 2.0, 1.0, 1e-15, 1e-6, 0.3, 1.7, 2.0 - 1e-6], 2)
    return q, rest


def size(table, which, q):
    """What errors are relative to; 1 where it is 0, and so is the integral."""
    slope = "slope_" if which.startswith("slope") else ""
    moment = getattr(gaussian, f"{slope}second_moment")(table.activation, q)
    moment = np.where(moment == 0.0, 1.0, moment)
    return np.sqrt(moment) if which in MEANS else moment


@pytest.mark.parametrize("name", FAST + SLOW)
def test_errors_stay_within_the_bound(name, tables):
    table = tables[name]
    assert 0.0 < table.error <= 1e-11
    q, rest = points(table, 3000 if name in FAST else 200)
    c = 1.0 - rest
    for which in COVARIANCES:
        fast, exact = getattr(table, which), getattr(gaussian, which)
        for arguments in ({"one_minus_c": rest}, {"c": c}):
            apart = np.abs(fast(q, **arguments) - exact(table.activation, q, q, **arguments))
            assert np.all(apart <= table.error * size(table, which, q)), which
    for which in MOMENTS + MEANS:
        apart = np.abs(getattr(table, which)(q) - getattr(gaussian, which)(table.activation, q))
        assert np.all(apart <= table.error * size(table, which, q)), which


@pytest.mark.parametrize("name", [name for name in FAST if name in NAMES])
def test_errors_stay_within_the_bound_at_the_judges_points(name, tables):
    table, row = tables[name], NAMES.index(name)
    low, high = table.q
    q, rest = JUDGE["q1"], JUDGE["one_minus_c"]
    asked = (q == JUDGE["q2"]) & (JUDGE["shift"] == 0.0) & (q >= low) & (q <= high)
    assert asked.sum() >= 5
    for place, which in enumerate(COVARIANCES):
        apart = np.abs(
            getattr(table, which)(q[asked], one_minus_c=rest[asked]) - JUDGE["pair_value"][row, place, asked]
        )
        assert np.all(apart <= table.error * size(table, which, q[asked])), which
    q = JUDGE["moment_q"]
    asked = (JUDGE["moment_shift"] == 0.0) & (q >= low) & (q <= high)
    assert asked.sum() >= 5
    for place, which in enumerate(("mean", "second_moment", "slope_mean", "slope_second_moment")):
        apart = np.abs(getattr(table, which)(q[asked]) - JUDGE["moment_value"][row, place, asked])
        assert np.all(apart <= table.error * size(table, which, q[asked])), which


@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_small_covariances_of_odd_functions_are_right_relative_to_themselves(name, tables):
    table = tables[name]
    c = np.concatenate([s * 10.0 ** np.arange(-12, 0) for s in (-1, 1)])
    exact = gaussian.covariance(name, 2.0, 2.0, c)
    np.testing.assert_allclose(table.covariance(2.0, c), exact, rtol=table.error)
    assert table.covariance(2.0, 0.0) == 0.0


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu"])
def test_every_path_gives_the_same_to_rounding(name, tables, path):
    table = tables[name]
    q, rest = points(table, 4000, seed=2)
    results = []
    for each in _core.simd_paths():
        path(each)
        results.append([getattr(table, which)(q, one_minus_c=rest) for which in COVARIANCES])
        results[-1] += [getattr(table, which)(q) for which in MOMENTS + MEANS]
    for other in results[1:]:
        for which, x, y in zip(COVARIANCES + MOMENTS + MEANS, results[0], other, strict=True):
            # log q, and with it a value, differs by a rounding of 9: 8 eps more
            assert np.all(np.abs(x - y) <= 16 * np.finfo(float).eps * size(table, which, q)), which


def test_the_number_of_threads_changes_nothing(threads, tables):
    q, rest = points(tables["gelu"], 300_000, seed=3)
    results = []
    for count in (1, 4, 7):
        threads(count)
        results.append((tabulate("gelu").covariance(q, one_minus_c=rest), tables["gelu"].covariance(q, 1.0 - rest)))
    for other in results[1:]:
        for x, y in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(x, y)


def test_a_value_does_not_depend_on_its_neighbours(tables):
    q, rest = points(tables["silu"], 200)
    whole = tables["silu"].covariance(q, one_minus_c=rest)
    each = [tables["silu"].covariance(v, one_minus_c=e) for v, e in zip(q, rest, strict=True)]
    np.testing.assert_array_equal(whole, each)


def test_operands_broadcast_and_keep_their_type(tables):
    table = tables["tanh"]
    q, c = np.array([[0.5], [2.0]]), np.linspace(-1, 1, 5)
    out = np.empty((2, 5))
    assert table.covariance(q, c, out=out) is out
    np.testing.assert_array_equal(out, table.covariance(np.repeat(q, 5, axis=1), np.tile(c, (2, 1))))
    assert table.covariance(q.astype(np.float32), c.astype(np.float32)).dtype == np.float32
    assert table.second_moment(q, dtype=np.float32).dtype == np.float32
    assert isinstance(table.covariance(1.0, 0.5), float)
    assert table.covariance([], 0.5).shape == (0,)
    kept = np.zeros(2)
    table.mean(np.array([1.0, 2.0]), out=kept, where=np.array([True, False]))
    assert kept[1] == 0.0


@pytest.mark.parametrize("q", [0.0, 9.9e-5, 1.1e4, -1.0, np.inf, np.nan, 1e300, 5e-324])
def test_variances_out_of_range_are_refused(q, tables):
    for call in (
        lambda: tables["tanh"].covariance(q, 0.5),
        lambda: tables["tanh"].covariance(np.full(100, q), one_minus_c=0.5),
        lambda: tables["tanh"].second_moment(q),
    ):
        with pytest.raises(ValueError, match=r"q must be from 0.0001 to 10000, the range of this table of tanh, got"):
            call()


def test_correlations_out_of_range_are_refused(tables):
    table = tables["gelu"]
    for c in (1.1, -1.1, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"c must be from -1 to 1, got"):
            table.covariance(1.0, c)
    for rest in (-1e-300, 2.1, np.nan):
        with pytest.raises(ValueError, match=r"one_minus_c must be from 0 to 2, got"):
            table.covariance(1.0, one_minus_c=rest)
    with pytest.raises(ValueError, match="exactly one of c and one_minus_c"):
        table.covariance(1.0)
    beyond = 1.0 + 2 * np.finfo(float).eps  # a rounding error
    assert table.covariance(1.0, beyond) == table.covariance(1.0, 1.0)
    assert table.covariance(1.0, -beyond) == table.covariance(1.0, -1.0)


@pytest.mark.parametrize("q", [(1.0, 1.0), (2.0, 1.0), (0.0, 1.0), (1.0, 1e13), (np.nan, 1.0)])
def test_ranges_that_are_none_are_refused(q):
    with pytest.raises(ValueError, match=r"q must be a pair 1e-12 <= low < high <= 1e12, got"):
        tabulate("tanh", q=q)


@pytest.mark.parametrize("q", [1.0, (1.0,), (1.0, 2.0, 3.0), ("a", "b"), None])
def test_what_is_no_range_is_refused(q):
    with pytest.raises(TypeError, match=r"q must be a pair 1e-12 <= low < high <= 1e12, got"):
        tabulate("tanh", q=q)


def test_what_does_not_fit_says_so():
    with pytest.raises(ValueError, match=r"table of relu for q from 0.0001 to 10000 must fit into megabytes=0.01"):
        tabulate("relu", megabytes=0.01)
    with pytest.raises(ValueError, match=r"integrals of exp must stay within the range of float64, and overflow"):
        tabulate("exp")
    with pytest.raises(ValueError, match=r"megabytes must be finite and > 0, got 0"):
        tabulate("tanh", megabytes=0)


def test_the_defaults_are_small(tables):
    for name in ("tanh", "gelu", "silu"):
        assert tables[name].megabytes < 2.0  # two covariances of 417 patches of 640 bytes, twice without parity: 1.2 MB


@pytest.mark.parametrize("q", [(1e-12, 1e-11), (1e11, 1e12), (1.0, 1.0 + 1e-9), (1e-12, 1e12)])
def test_any_range_can_be_had(q):
    table = tabulate("tanh", q=q)
    variances, rest = points(table, 500, seed=4)
    for which in COVARIANCES:
        exact = getattr(gaussian, which)("tanh", variances, variances, one_minus_c=rest)
        apart = np.abs(getattr(table, which)(variances, one_minus_c=rest) - exact)
        assert np.all(apart <= table.error * size(table, which, variances))


def test_a_callable_is_tabulated_as_the_function_it_is():
    square = ff.Activation(lambda x: x * x, slope=lambda x: 2 * x)
    table = tabulate(square, q=(1.0, 1.1))  # its integrals take milliseconds each
    q, rest = points(table, 50)
    exact = gaussian.covariance("monomial(2)", q, q, one_minus_c=rest)
    # beside the table's own error that of the callable's integrals, which are right to 1e-13 of E phi^2
    apart = np.abs(table.covariance(q, one_minus_c=rest) - exact)
    assert np.all(apart <= (table.error + 1e-12) * gaussian.second_moment("monomial(2)", q))


def test_tables_are_pickled_whole(tables):
    for name in ("tanh", "gelu", "elu"):
        table, again = tables[name], pickle.loads(pickle.dumps(tables[name]))
        assert (repr(again), again.q, again.error) == (repr(table), table.q, table.error)
        q, rest = points(table, 300)
        np.testing.assert_array_equal(again.covariance(q, one_minus_c=rest), table.covariance(q, one_minus_c=rest))
        np.testing.assert_array_equal(again.slope_mean(q), table.slope_mean(q))


def test_tables_cannot_be_changed_and_are_shown_in_a_line(tables):
    with pytest.raises(dataclasses.FrozenInstanceError):
        tables["tanh"].error = 0.0
    text = repr(tables["tanh"])
    assert text.startswith("<Table of tanh, q from 0.0001 to 10000: error at most ")
    assert "MB" in text
    assert "\n" not in text
