# SPDX-License-Identifier: BSD-3-Clause
"""The Gaussian integrals of this room as functions: each is its ufunc, called with the activation."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import _numbers
from ..network import Activation
from ..network.activation import as_activation
from . import ufuncs
from .table import Table, tabulate

__all__ = [
    "Table",
    "covariance",
    "mean",
    "second_moment",
    "slope_covariance",
    "slope_mean",
    "slope_second_moment",
    "tabulate",
]


def mean(
    activation: Any,
    q: ArrayLike,
    shift: ArrayLike = 0.0,
    *,
    error: bool = False,
    out: Any = None,
    where: Any = True,
    dtype: DTypeLike | None = None,
) -> Any:
    """E phi(sqrt(q) z + shift), z ~ N(0, 1).

    Parameters
    ----------
    activation : str, callable or Activation
    q : array_like
        Variance, from 0 to 1e100.
    shift : array_like
        Added inside phi (BatchNorm's beta), up to 1e100 in size.
    error : bool
        Whether to return a bound on the error beside the value.
    out, where, dtype
        As for any ufunc; dtype is float32 or float64. With `error`, `out` is a pair.

    Returns
    -------
    float or array
        Of the operands' common shape; with `error` a pair, value and bound.

    Raises
    ------
    ValueError, TypeError
        For a variance or shift outside of its range, or beyond that of a bounded activation's integrals (1e30); for a
        callable's integral that does not settle as the mesh is refined.

    Warns
    -----
    RuntimeWarning
        Where a result overflows and is inf; see `numpy.errstate`.

    Notes
    -----
    The closed forms stand in docs/theory.md, section 3, with their sources: arc-cosine kernels (Cho and Saul 2009) for
    linear, relu, leaky_relu, abs, step and sign; Williams (1997) for erf; the others are elementary. Kernels err by a
    few units in the last place.

    Examples
    --------
    >>> ff.gaussian.mean("relu", [0.0, 1.0, 4.0])
    array([0.        , 0.39894228, 0.79788456])
    """
    return _moment("mean", activation, q, shift, error, out, where, dtype)


def second_moment(
    activation: Any,
    q: ArrayLike,
    shift: ArrayLike = 0.0,
    *,
    error: bool = False,
    out: Any = None,
    where: Any = True,
    dtype: DTypeLike | None = None,
) -> Any:
    """E phi(sqrt(q) z + shift)^2; arguments, results and errors as for `mean`."""
    return _moment("second_moment", activation, q, shift, error, out, where, dtype)


def slope_mean(
    activation: Any,
    q: ArrayLike,
    shift: ArrayLike = 0.0,
    *,
    error: bool = False,
    out: Any = None,
    where: Any = True,
    dtype: DTypeLike | None = None,
) -> Any:
    """E phi'(sqrt(q) z + shift), phi' almost everywhere; arguments, results and errors as for `mean`."""
    return _moment("slope_mean", activation, q, shift, error, out, where, dtype)


def slope_second_moment(
    activation: Any,
    q: ArrayLike,
    shift: ArrayLike = 0.0,
    *,
    error: bool = False,
    out: Any = None,
    where: Any = True,
    dtype: DTypeLike | None = None,
) -> Any:
    """E phi'(sqrt(q) z + shift)^2, phi' almost everywhere; arguments, results and errors as for `mean`."""
    return _moment("slope_second_moment", activation, q, shift, error, out, where, dtype)


def covariance(
    activation: Any,
    q1: ArrayLike,
    q2: ArrayLike,
    c: ArrayLike | None = None,
    *,
    one_minus_c: ArrayLike | None = None,
    shift: ArrayLike = 0.0,
    error: bool = False,
    out: Any = None,
    where: Any = True,
    dtype: DTypeLike | None = None,
) -> Any:
    """E phi(u + shift) phi(w + shift), (u, w) ~ N(0, [[q1, c sqrt(q1 q2)], [c sqrt(q1 q2), q2]]).

    Parameters
    ----------
    activation : str, callable or Activation
    q1, q2 : array_like
        Variances, from 0 to 1e100.
    c : array_like
        Correlation in [-1, 1]; up to 4 eps beyond counts as +-1.
    one_minus_c : array_like
        1 - c in [0, 2], in place of c: close to 1 the correlation itself has no digits left for it.
    shift : array_like
        Added inside phi, up to 1e100 in size.
    error, out, where, dtype
        As for `mean`.

    Returns
    -------
    float or array
        Of the operands' common shape; with `error` a pair, value and bound.

    Raises
    ------
    ValueError, TypeError
        As for `mean`; for correlations outside of their range, and where not exactly one of c, one_minus_c is given.

    Warns
    -----
    RuntimeWarning
        Where a result overflows and is inf.

    Examples
    --------
    >>> ff.gaussian.covariance("relu", 1.0, 4.0, [-1.0, 0.0, 1.0])
    array([0.        , 0.31830989, 1.        ])
    """
    return _covariance("covariance", activation, q1, q2, c, one_minus_c, shift, error, out, where, dtype)


def slope_covariance(
    activation: Any,
    q1: ArrayLike,
    q2: ArrayLike,
    c: ArrayLike | None = None,
    *,
    one_minus_c: ArrayLike | None = None,
    shift: ArrayLike = 0.0,
    error: bool = False,
    out: Any = None,
    where: Any = True,
    dtype: DTypeLike | None = None,
) -> Any:
    """E phi'(u + shift) phi'(w + shift), phi' almost everywhere; arguments, results, errors as for `covariance`."""
    return _covariance("slope_covariance", activation, q1, q2, c, one_minus_c, shift, error, out, where, dtype)


# The names asked for lately keep their ufuncs.
_of_name = functools.lru_cache(maxsize=256)(Activation)


def _activation_of(value: Any) -> Activation:
    return _of_name(value) if type(value) is str else as_activation(value)


def _moment(
    which: str, activation: Any, q: Any, shift: Any, error: bool, out: Any, where: Any, dtype: DTypeLike | None | None
) -> Any:
    return _call(which, activation, False, [_numbers.operand("q", q)], shift, error, out, where, dtype)


def _covariance(
    which: str,
    activation: Any,
    q1: Any,
    q2: Any,
    c: Any,
    one_minus_c: Any,
    shift: Any,
    error: bool,
    out: Any,
    where: Any,
    dtype: DTypeLike | None,
) -> Any:
    near, correlation = _numbers.either_c(c, one_minus_c)
    operands = [_numbers.operand("q1", q1), _numbers.operand("q2", q2), correlation]
    return _call(which, activation, near, operands, shift, error, out, where, dtype)


def _call(
    which: str,
    activation: Any,
    near: bool,
    operands: list[Any],
    shift: Any,
    error: bool,
    out: Any,
    where: Any,
    dtype: DTypeLike | None,
) -> Any:
    phi = _activation_of(activation)
    shifted = not (type(shift) in (int, float) and shift == 0)
    if shifted:
        operands.append(_numbers.operand("shift", shift))
    options = {"out": out, "dtype": _numbers.dtype_of(dtype)}
    keywords: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if where is not True:
        keywords["where"] = where
    if not _numbers.boolean("error", error):
        return ufuncs.ufunc_of(phi, which, near, shifted)(*operands, **keywords)
    if all(isinstance(operand, (float, np.ndarray, np.generic)) for operand in operands):
        return ufuncs.ufunc_of(phi, which, near, shifted, "both")(*operands, **keywords)
    # dask knows no ufuncs of two outputs of others' making
    pair = keywords.pop("out", (None, None))
    value, bound = (
        ufuncs.ufunc_of(phi, which, near, shifted, outputs)(
            *operands, **keywords, **({} if each is None else {"out": each})
        )
        for outputs, each in zip(("value", "bound"), pair, strict=True)
    )
    return value, bound
