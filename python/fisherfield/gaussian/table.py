# SPDX-License-Identifier: BSD-3-Clause
"""Tables of Gaussian integrals at equal variances: built once, then a few nanoseconds a value, for any activation.

A recursion through layers needs E phi(u) phi(w) at Var u = Var w = q for one phi and millions of q and c. `tabulate`
interpolates it, the same of phi', and the integrals of q alone, to an error that was measured and is stated.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import _core, _numbers
from .._warn import warn
from .._words import cut
from ..network import Activation
from ..network.activation import as_activation

__all__ = ["Table", "tabulate"]

_ERROR = 1e-11  # promised by every table; most have less
_PATIENCE = 10.0  # seconds without a word


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """Gaussian integrals of one activation for one range of q, by interpolation; made by `tabulate`.

    Attributes
    ----------
    activation : Activation
    q : tuple of float
        The least and the greatest variance; others are refused, never extrapolated to.
    error : float
        A bound on the error: of covariances and second moments relative to the second moment of the same q, of slopes'
        relative to the slope's, of means relative to the second moment's root. It is 4 times the greatest deviation
        from `fisherfield.gaussian` found when the table was made, at points of every patch that are not its nodes.
    megabytes, seconds : float
        Its size, and how long it took to make.
    """

    activation: Activation
    q: tuple[float, float]
    error: float
    megabytes: float
    seconds: float
    _core: _core.Table = field(compare=False)

    def covariance(
        self,
        q: ArrayLike,
        c: ArrayLike | None = None,
        *,
        one_minus_c: ArrayLike | None = None,
        out: Any = None,
        where: Any = True,
        dtype: DTypeLike | None = None,
    ) -> Any:
        """E phi(u) phi(w), (u, w) ~ N(0, q [[1, c], [c, 1]]); operands and results as `gaussian.covariance`'s."""
        return self._pair("covariance", q, c, one_minus_c, out, where, dtype)

    def slope_covariance(
        self,
        q: ArrayLike,
        c: ArrayLike | None = None,
        *,
        one_minus_c: ArrayLike | None = None,
        out: Any = None,
        where: Any = True,
        dtype: DTypeLike | None = None,
    ) -> Any:
        """E phi'(u) phi'(w), (u, w) ~ N(0, q [[1, c], [c, 1]]); operands and results as `gaussian.covariance`'s."""
        return self._pair("slope_covariance", q, c, one_minus_c, out, where, dtype)

    def mean(self, q: ArrayLike, *, out: Any = None, where: Any = True, dtype: DTypeLike | None = None) -> Any:
        """E phi(u), u ~ N(0, q)."""
        return self._single("mean", q, out, where, dtype)

    def second_moment(self, q: ArrayLike, *, out: Any = None, where: Any = True, dtype: DTypeLike | None = None) -> Any:
        """E phi(u)^2, u ~ N(0, q)."""
        return self._single("second_moment", q, out, where, dtype)

    def slope_mean(self, q: ArrayLike, *, out: Any = None, where: Any = True, dtype: DTypeLike | None = None) -> Any:
        """E phi'(u), u ~ N(0, q)."""
        return self._single("slope_mean", q, out, where, dtype)

    def slope_second_moment(
        self, q: ArrayLike, *, out: Any = None, where: Any = True, dtype: DTypeLike | None = None
    ) -> Any:
        """E phi'(u)^2, u ~ N(0, q)."""
        return self._single("slope_second_moment", q, out, where, dtype)

    def __repr__(self) -> str:
        low, high = self.q
        return (
            f"<Table of {self.activation}, q from {low:g} to {high:g}: error at most {self.error:.1e} of the second "
            f"moment, {self.megabytes:.2f} MB, made in {self.seconds:.2g} s>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Table, (self.activation, self.q, self.error, self.megabytes, self.seconds, self._core)

    @functools.cached_property
    def _ufuncs(self) -> dict[tuple[str, bool], np.ufunc]:
        return {}

    def _ufunc(self, which: str, one_minus_c: bool) -> np.ufunc:
        key = which, one_minus_c
        if key not in self._ufuncs:
            doc = f"`fisherfield.gaussian.{which}` of {self.activation} at equal variances, by a table."
            name = f"table_{which}"
            refuse = functools.partial(_numbers.refuse_integral, str(self.activation))
            self._ufuncs[key] = _core.table_ufunc(self._core, which, one_minus_c, name, doc, refuse)
        return self._ufuncs[key]

    def _single(self, which: str, q: Any, out: Any, where: Any, dtype: Any) -> Any:
        keywords = _numbers.of_ufunc(out, where, dtype)
        return self._ufunc(which, False)(_numbers.operand("q", q), **keywords)

    def _pair(self, which: str, q: Any, c: Any, one_minus_c: Any, out: Any, where: Any, dtype: Any) -> Any:
        near, correlation = _numbers.either_c(c, one_minus_c)
        keywords = _numbers.of_ufunc(out, where, dtype)
        return self._ufunc(which, near)(_numbers.operand("q", q), correlation, **keywords)


def tabulate(activation: Any, q: tuple[float, float] = (1e-4, 1e4), *, megabytes: float = 64.0) -> Table:
    """A table of `activation`'s Gaussian integrals at variances in a range, with an error of at most 1e-11.

    Parameters
    ----------
    activation : str, callable or Activation
    q : pair of float
        The range of variances, within 1e-12 .. 1e12.
    megabytes : float
        The size beyond which it is given up.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        For a range or an activation that is none; where the table would take more than `megabytes`; where an integral
        overflows or does not settle.

    Warns
    -----
    UserWarning
        After 10 s, once; Ctrl-C gives it up.

    Notes
    -----
    Interpolation is by polynomials on patches of log q and of a variable that resolves 1 - |c| ~ 1/q; their number
    follows from how fast the polynomials' Chebyshev series fall. A wide range costs size: from 1e-4 to 1e4, 0.5 to 1 MB
    for tanh, gelu and silu. Functions with kinks take more. Some 50000 integrals are formed: seconds where they
    are closed or single (docs/gaussian.md), up to a minute where the single one is a sum over samples, more for a
    Python callable, whose range should be narrow.

    Examples
    --------
    >>> table = ff.gaussian.tabulate("tanh", q=(0.01, 100.0))
    >>> table.covariance(1.0, 0.5)
    """
    phi = as_activation(activation)
    low, high = _numbers.variances("q", q)
    most = _numbers.positive("megabytes", megabytes)
    start = time.perf_counter()
    made = _core.tabulate(phi._compiled, low, high, _ERROR, most * 1e6, _impatience(phi))
    seconds = time.perf_counter() - start
    if made.status != _core.Status.ok:
        _numbers.integral(made.status, phi)
    if made.table is None:
        raise ValueError(
            f"the table of {cut(str(phi))} for q from {low:g} to {high:g} must fit into megabytes={most:g} with an "
            f"error of at most {_ERROR:g}, and does not: narrow q or allow more"
        )
    return Table(phi, (low, high), made.table.error, made.table.bytes / 1e6, seconds, made.table)


def _impatience(phi: Activation) -> Callable[[], None]:
    """What is called while a table is made: says once that it takes long."""
    end = time.perf_counter() + _PATIENCE
    warned = False

    def hear() -> None:
        nonlocal warned
        if not warned and time.perf_counter() > end:
            warned = True
            less = "a narrower q takes less"
            if not isinstance(phi.function, str):
                less = f"{less}, and a name of activation_names() far less than a Python callable"
            warn(f"the table of {cut(str(phi))} is not made after {_PATIENCE:g} s and may take many minutes: {less}")

    return hear
