# SPDX-License-Identifier: BSD-3-Clause
"""Gaussian integrals E phi(u), E phi(u) phi(w) and the same of phi', for any activation; arrays broadcast.

u ~ N(shift, q); (u, w) has variances q1, q2 and correlation c. Closed forms serve relu, leaky_relu, abs, linear (Cho
and Saul 2009), step, erf (Williams 1997; without shift) and sin; all others are integrated on graded Gauss-Legendre
panels that split at every kink. Closed forms are right to a few ulp; quadratures to 1e-9 relative (seen: 1e-11) for
variances in [1e-8, 1e8], or to 1e-9 of E|integrand| where the integrand changes sign. Slopes are derivatives almost
everywhere. See docs/theory.md, section 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _arguments, _core
from .activations import as_activation

__all__ = [
    "covariance",
    "mean",
    "second_moment",
    "slope_covariance",
    "slope_mean",
    "slope_second_moment",
]

Result = NDArray[np.float64] | np.float64


def mean(activation: Any, q: ArrayLike, shift: ArrayLike = 0.0) -> Result:
    """E phi(sqrt(q) z + shift), z ~ N(0, 1).

    Parameters
    ----------
    activation : str, callable or Activation
    q : array_like
        Variance, >= 0.
    shift : array_like
        Added inside phi (BatchNorm's beta).

    Raises
    ------
    ValueError, TypeError
        For a variance that is negative or not finite, or beyond the range of a bounded activation's integrals (1e30);
        for an integral that overflows, or a callable's that does not settle as the mesh is refined.
    """
    return _moment("mean", activation, q, shift)


def second_moment(activation: Any, q: ArrayLike, shift: ArrayLike = 0.0) -> Result:
    """E phi(sqrt(q) z + shift)^2; arguments and errors as for `mean`."""
    return _moment("second_moment", activation, q, shift)


def slope_mean(activation: Any, q: ArrayLike, shift: ArrayLike = 0.0) -> Result:
    """E phi'(sqrt(q) z + shift); arguments and errors as for `mean`."""
    return _moment("slope_mean", activation, q, shift)


def slope_second_moment(activation: Any, q: ArrayLike, shift: ArrayLike = 0.0) -> Result:
    """E phi'(sqrt(q) z + shift)^2; arguments and errors as for `mean`."""
    return _moment("slope_second_moment", activation, q, shift)


def covariance(
    activation: Any,
    q1: ArrayLike,
    q2: ArrayLike,
    c: ArrayLike | None = None,
    *,
    one_minus_c: ArrayLike | None = None,
    shift: ArrayLike = 0.0,
) -> Result:
    """E phi(u + shift) phi(w + shift), (u, w) ~ N(0, [[q1, c sqrt(q1 q2)], [c sqrt(q1 q2), q2]]).

    Parameters
    ----------
    activation : str, callable or Activation
    q1, q2 : array_like
        Variances, >= 0.
    c : array_like
        Correlation in [-1, 1]; up to 4 eps beyond counts as +-1.
    one_minus_c : array_like
        1 - c in [0, 2], in place of c: close to 1 the correlation itself has no digits left for it.
    shift : array_like
        Added inside phi.

    Raises
    ------
    ValueError
        For variances, correlations or shifts outside these ranges, and where not exactly one of c, one_minus_c is
        given.
    """
    return _covariance("covariance", activation, q1, q2, c, one_minus_c, shift)


def slope_covariance(
    activation: Any,
    q1: ArrayLike,
    q2: ArrayLike,
    c: ArrayLike | None = None,
    *,
    one_minus_c: ArrayLike | None = None,
    shift: ArrayLike = 0.0,
) -> Result:
    """E phi'(u + shift) phi'(w + shift); arguments and errors as for `covariance`."""
    return _covariance("slope_covariance", activation, q1, q2, c, one_minus_c, shift)


def _moment(which: str, activation: Any, q: ArrayLike, shift: ArrayLike) -> Result:
    activation = as_activation(activation)
    variance = _arguments.array("q", q, 0.0, _arguments.LARGEST)
    shifts = _arguments.array("shift", shift, -_arguments.LARGEST, _arguments.LARGEST)
    variance, shifts = np.broadcast_arrays(variance, shifts)
    out, status = _core.moment(activation._compiled, which, variance.ravel(), shifts.ravel())
    _arguments.integral(status, activation)
    return _shaped(out, variance.shape)


def _covariance(
    which: str,
    activation: Any,
    q1: ArrayLike,
    q2: ArrayLike,
    c: ArrayLike | None,
    one_minus_c: ArrayLike | None,
    shift: ArrayLike,
) -> Result:
    activation = as_activation(activation)
    correlation, rest = _arguments.correlation_of(c, one_minus_c)
    arrays = np.broadcast_arrays(
        _arguments.array("q1", q1, 0.0, _arguments.LARGEST),
        _arguments.array("q2", q2, 0.0, _arguments.LARGEST),
        correlation,
        rest,
        _arguments.array("shift", shift, -_arguments.LARGEST, _arguments.LARGEST),
    )
    out, status = _core.covariance(activation._compiled, which, *(array.ravel() for array in arrays))
    _arguments.integral(status, activation)
    return _shaped(out, arrays[0].shape)


def _shaped(out: NDArray[np.float64], shape: tuple[int, ...]) -> Result:
    """A scalar for scalars, as ufuncs do."""
    return out.reshape(shape)[()]
