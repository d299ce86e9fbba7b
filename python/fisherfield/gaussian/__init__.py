# SPDX-License-Identifier: BSD-3-Clause
"""Gaussian integrals E phi(u), E phi(u) phi(w) and the same of phi', for any activation; arrays broadcast.

u ~ N(shift, q); (u, w) has variances q1, q2 and correlation c. Without shift, linear, relu, leaky_relu, abs, step,
sign, erf, sin, cos, exp, gaussian, rbf and gelu have SIMD kernels of their closed forms
(`fisherfield.gaussian.ufuncs`); everything else is integrated value by value (docs/theory.md, section 3). Both are
NumPy ufuncs: operands are numbers, lists, arrays, xarray.DataArray or dask arrays, and what comes back is of their
kind; float32 gives float32, all other numbers float64.
"""

from .integrals import covariance, mean, second_moment, slope_covariance, slope_mean, slope_second_moment
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
