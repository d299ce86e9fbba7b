# SPDX-License-Identifier: BSD-3-Clause
"""Gaussian integrals as NumPy ufuncs, `relu_covariance(q1, q2, c)` and so on: SIMD kernels of the closed forms.

u ~ N(0, q); (u, w) has variances q1, q2 and correlation c. For each of linear, relu, leaky_relu, abs, step, sign, erf,
sin, cos, exp, gaussian, rbf, gelu, tanh, sigmoid, softplus and silu there are, written for relu:

    relu_mean(q)                   relu_second_moment(q)            relu_covariance(q1, q2, c)
    relu_slope_mean(q)             relu_slope_second_moment(q)      relu_slope_covariance(q1, q2, c)
    relu_covariance_one_minus_c(q1, q2, one_minus_c)     relu_slope_covariance_one_minus_c(q1, q2, one_minus_c)

leaky_relu's take its slope as a last operand. They are instances of numpy.ufunc: out=, where=, dtype=, casting= and
numpy.errstate are NumPy's own. float32 operands are computed in float64 and rounded once. A value outside of its range
(q from 0 to 1e100, c from -1 to 1, 1 - c from 0 to 2) raises a ValueError; results too large are inf, with NumPy's
RuntimeWarning. Arrays of 131072 values or more (for tanh, sigmoid, softplus and silu: more than 0.2 ms of work) are
split over the threads of `fisherfield.set_num_threads`.

The instruction set is the best that the machine has of "scalar" (the baseline: SSE2 or NEON), "avx2" (with FMA) and
"avx512"; the environment variable FISHERFIELD_SIMD names another one. Results of different ones agree to 3 ulp (of what
is added up, where terms cancel or exponents are rounded); those of tanh, sigmoid, softplus and silu, sums of 256 terms,
to 6.
"""

from __future__ import annotations

import functools
import os
import warnings
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .. import _core, _numbers
from ..network import Activation

INTEGRALS = {
    "mean": "E phi(u)",
    "second_moment": "E phi(u)^2",
    "slope_mean": "E phi'(u)",
    "slope_second_moment": "E phi'(u)^2",
    "covariance": "E phi(u) phi(w)",
    "slope_covariance": "E phi'(u) phi'(w)",
}
_PAIRS = ("covariance", "slope_covariance")
_KERNELS = (
    "linear",
    "relu",
    "leaky_relu",
    "abs",
    "step",
    "sign",
    "erf",
    "sin",
    "cos",
    "exp",
    "gaussian",
    "rbf",
    "gelu",
    "tanh",
    "sigmoid",
    "softplus",
    "silu",
)

__all__ = [
    *(f"{name}_{which}" for name in _KERNELS for which in INTEGRALS),
    *(f"{name}_{which}_one_minus_c" for name in _KERNELS for which in _PAIRS),
]

_made: WeakKeyDictionary[_core.Activation, dict[tuple[Any, ...], np.ufunc]] = WeakKeyDictionary()


def ufunc_of(activation: Activation, which: str, one_minus_c: bool, shift: bool, outputs: str = "value") -> np.ufunc:
    """The ufunc of an activation's integral with the shift as last operand, if there is one; made when first asked for.

    `outputs`: "value", "bound" (on its error) or "both".
    """
    if not shift and outputs == "value" and activation.function in _KERNELS and not activation.parameters:
        return _named(f"{activation.function}_{which}" + "_one_minus_c" * one_minus_c)
    key = (which, one_minus_c, shift, outputs)
    made = _made.setdefault(activation._compiled, {})
    if key not in made:
        made[key] = _make(activation, f"{_word(activation)}_{which}", *key)
    return made[key]


def _word(activation: Activation) -> str:
    return activation.function if isinstance(activation.function, str) else "callable"


def _make(
    activation: Activation, name: str, which: str, one_minus_c: bool, shift: bool, outputs: str, slope: bool = False
) -> np.ufunc:
    pair = which in _PAIRS
    words = "phi = leaky_relu of the slope given" if slope else f"phi = {activation}"
    law = "(u, w) of variances q1, q2 and correlation c" if pair else "u ~ N(0, q)"
    doc = f"{INTEGRALS[which]}, {words}, {law}; see `fisherfield.gaussian.{which}`."
    refuse = functools.partial(_numbers.refuse_integral, str(activation))
    return _core.gaussian_ufunc(activation._compiled, which, one_minus_c, slope, shift, outputs, name, doc, refuse)


@functools.cache
def _named(name: str) -> np.ufunc:
    for function in _KERNELS:
        which = name.removeprefix(f"{function}_").removesuffix("_one_minus_c")
        if name in __all__ and name.startswith(f"{function}_") and which in INTEGRALS:
            near = name.endswith("_one_minus_c")
            return _make(Activation(function), name, which, near, False, "value", slope=function == "leaky_relu")
    raise AttributeError(f"module {__name__!r} has no attribute {_numbers.shown(name)}")


def __getattr__(name: str) -> np.ufunc:
    return _named(name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _set_path(path: str) -> None:
    """Use the kernels of another instruction set; results may differ by a few ulp."""
    _numbers.choice("path", path, tuple(_core.simd_paths()))
    _core.set_simd_path(path)


def _from_environment() -> None:
    """FISHERFIELD_SIMD, once at import; what this machine lacks is warned of and ignored."""
    text = os.environ.get("FISHERFIELD_SIMD", "").strip()
    if text:
        try:
            _set_path(text)
        except ValueError as error:
            sentence = str(error).replace("path", "FISHERFIELD_SIMD", 1)
            warnings.warn(f"{sentence}: using {_core.simd_path()}", RuntimeWarning, stacklevel=2)


_from_environment()
