# SPDX-License-Identifier: BSD-3-Clause
"""The activation functions phi, their slopes phi' and their kinks, each written out once in plain NumPy.

The slope is the derivative almost everywhere, as frameworks compute it: at the kink itself it is the left-hand one for
relu, leaky_relu, elu, selu and celu, and 0 for abs, step, sign and rectified monomials; hardtanh, relu6 and hardsigmoid
have slope 0 at both of their kinks, hardswish 0 at -3 and 1 at 3. No integral depends on the value at a point.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.polynomial.polynomial import polyder, polyval
from scipy.special import erf, expit, ndtr

from ..network.activation import Activation, as_activation

__all__ = ["kinks", "phi", "slope"]

Function = Callable[[np.ndarray], np.ndarray]

# Klambauer et al. (2017): the pair for which mean 0 and variance 1 are a fixed point.
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946
_SQRT_8_PI = np.sqrt(8 / np.pi)


def _density(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi))


def _sech2(x: np.ndarray) -> np.ndarray:
    """1/cosh(x)^2 = 4 e^(-2|x|) / (1 + e^(-2|x|))^2, which does not overflow."""
    decay = np.exp(-2 * np.abs(x))
    return np.asarray(4 * decay / (1 + decay) ** 2)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.logaddexp(0.0, x))


def _elu(x: np.ndarray, alpha: float) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _elu_slope(x: np.ndarray, alpha: float) -> np.ndarray:
    return np.where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0)))


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    """x (1 + tanh y)/2 = x/(1 + e^(-2y)), which does not cancel on the left."""
    return np.asarray(x * expit(_SQRT_8_PI * (x + 0.044715 * x**3)))


def _gelu_tanh_slope(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, -40, 40)  # beyond, it is 0 or 1 to the last digit
    y = _SQRT_8_PI * (x + 0.044715 * x**3)
    return np.asarray(expit(y) * (1 + x * expit(-y) * _SQRT_8_PI * (1 + 3 * 0.044715 * x * x)))


def _hermite(x: np.ndarray, n: int) -> np.ndarray:
    """He_n(x)/sqrt(n!) by the recurrence of the normalised polynomials."""
    before, h = np.zeros_like(x), np.ones_like(x)
    for k in range(n):
        before, h = h, (x * h - np.sqrt(k) * before) / np.sqrt(k + 1)
    return h


def _polynomial_slope(x: np.ndarray, coefficients: tuple[float, ...]) -> np.ndarray:
    return np.asarray(polyval(x, polyder(coefficients)) * np.ones_like(x))


# name -> (phi(x, parameter), phi'(x, parameter), kinks); the parameter is None where the function has none
_TABLE: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[float, ...]]] = {
    "relu": (lambda x, _: np.maximum(x, 0.0), lambda x, _: 1.0 * (x > 0), (0.0,)),
    "leaky_relu": (lambda x, a: np.where(x > 0, x, a * x), lambda x, a: np.where(x > 0, 1.0, a), (0.0,)),
    "abs": (lambda x, _: np.abs(x), lambda x, _: np.sign(x), (0.0,)),
    "linear": (lambda x, _: 1.0 * x, lambda x, _: np.ones_like(x), ()),
    "step": (lambda x, _: 1.0 * (x > 0), lambda x, _: np.zeros_like(x), (0.0,)),
    "erf": (lambda x, _: erf(x), lambda x, _: 2 / np.sqrt(np.pi) * np.exp(-x * x), ()),
    "tanh": (lambda x, _: np.tanh(x), lambda x, _: _sech2(x), ()),
    "sigmoid": (lambda x, _: expit(x), lambda x, _: expit(x) * expit(-x), ()),
    "gelu": (lambda x, _: x * ndtr(x), lambda x, _: ndtr(x) + x * _density(x), ()),
    "silu": (lambda x, _: x * expit(x), lambda x, _: expit(x) * (1 + x * expit(-x)), ()),
    "softplus": (lambda x, _: _softplus(x), lambda x, _: expit(x), ()),
    "elu": (_elu, _elu_slope, (0.0,)),
    "selu": (
        lambda x, _: _SELU_SCALE * _elu(x, _SELU_ALPHA),
        lambda x, _: _SELU_SCALE * _elu_slope(x, _SELU_ALPHA),
        (0.0,),
    ),
    "hardtanh": (lambda x, _: np.clip(x, -1.0, 1.0), lambda x, _: 1.0 * (np.abs(x) < 1), (-1.0, 1.0)),
    "relu6": (lambda x, _: np.clip(x, 0.0, 6.0), lambda x, _: 1.0 * ((x > 0) & (x < 6)), (0.0, 6.0)),
    "mish": (
        lambda x, _: x * np.tanh(_softplus(x)),
        lambda x, _: np.tanh(_softplus(x)) + x * _sech2(_softplus(x)) * expit(x),
        (),
    ),
    "sin": (lambda x, _: np.sin(x), lambda x, _: np.cos(x), ()),
    "sign": (lambda x, _: np.sign(x), lambda x, _: np.zeros_like(x), (0.0,)),
    "hardsigmoid": (
        lambda x, _: np.clip(x + 3, 0, 6) / 6,
        lambda x, _: np.where(np.abs(x) < 3, 1 / 6, 0.0),
        (-3.0, 3.0),
    ),
    "hardswish": (
        lambda x, _: x * (np.clip(x + 3, 0, 6) / 6),
        lambda x, _: np.where(x >= 3, 1.0, np.where(x > -3, (2 * x + 3) / 6, 0.0)),
        (-3.0, 3.0),
    ),
    "cos": (lambda x, _: np.cos(x), lambda x, _: -np.sin(x), ()),
    "exp": (lambda x, _: np.exp(x), lambda x, _: np.exp(x), ()),
    "gaussian": (lambda x, _: np.exp(-0.5 * x * x), lambda x, _: -x * np.exp(-0.5 * x * x), ()),
    "rbf": (
        lambda x, _: np.sqrt(2) * np.sin(np.sqrt(2) * x + np.pi / 4),
        lambda x, _: 2 * np.cos(np.sqrt(2) * x + np.pi / 4),
        (),
    ),
    "monomial": (lambda x, n: x**n, lambda x, n: n * x ** max(n - 1, 0), ()),
    "rectified_monomial": (
        lambda x, n: np.where(x > 0, x**n, 0.0),
        lambda x, n: np.where(x > 0, n * x ** max(n - 1, 0), 0.0),
        (0.0,),
    ),
    "hermite": (_hermite, lambda x, n: np.sqrt(n) * _hermite(x, max(n - 1, 0)), ()),
    "polynomial": (lambda x, coefficients: polyval(x, coefficients), _polynomial_slope, ()),
    "gelu_tanh": (lambda x, _: _gelu_tanh(x), lambda x, _: _gelu_tanh_slope(x), ()),
    "celu": (
        lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha)),
        lambda x, alpha: np.where(x > 0, 1.0, np.exp(np.minimum(x, 0) / alpha)),
        (0.0,),
    ),
    "softsign": (lambda x, _: x / (1 + np.abs(x)), lambda x, _: (1 + np.abs(x)) ** -2, (0.0,)),
}


# Differences of eighth order on nine points: h f'(x) = sum_k weight_k f(x + k h), exact for polynomials of degree 8.
_STEP = 0.01
_CENTRED = np.array([1 / 280, -4 / 105, 1 / 5, -4 / 5, 0, 4 / 5, -1 / 5, 4 / 105, -1 / 280]), np.arange(-4, 5)
_FORWARD = np.array([-761 / 280, 8, -14, 56 / 3, -35 / 2, 56 / 5, -14 / 3, 8 / 7, -1 / 8]), np.arange(9)
_BACKWARD = -_FORWARD[0], -_FORWARD[1]


def _differences(function: Callable[[np.ndarray], Any], kinks: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    """The derivative of a callable that has none of its own, from one side where a kink is within 4.5 steps.

    At the kink itself it is that of the right-hand side, where the point itself is moved by 1e-12.
    """
    gaps = x[..., None] - np.array(kinks)
    above = np.min(np.where(gaps >= 0, gaps, np.inf), axis=-1, initial=np.inf)  # to the nearest kink on the left
    below = np.min(np.where(gaps < 0, -gaps, np.inf), axis=-1, initial=np.inf)
    forward = above < 4.5 * _STEP
    backward = ~forward & (below < 4.5 * _STEP)
    slope = np.empty(x.shape)
    for chosen, (weights, steps) in ((forward, _FORWARD), (backward, _BACKWARD), (~forward & ~backward, _CENTRED)):
        points = x[chosen][:, None] + _STEP * steps
        points[:, 0] += np.where(above[chosen] == 0, 1e-12, 0.0)
        terms = weights / _STEP * np.asarray(function(points), dtype=np.float64)
        total, size = np.sum(terms, axis=1), np.sum(np.abs(terms), axis=1)
        # What rounding leaves of a flat piece's slope is no slope.
        slope[chosen] = np.where(np.abs(total) < 4 * np.finfo(np.float64).eps * size, 0.0, total)
    return slope


def _entry(activation: Activation) -> tuple[Callable[..., Any], Callable[..., Any], tuple[float, ...]]:
    if activation.function not in _TABLE:
        raise NotImplementedError(
            f"the reference has no activation {activation.function!r}; it has {', '.join(_TABLE)}"
        )
    return _TABLE[activation.function]


def _parameter(activation: Activation) -> Any:
    """The one parameter that a named function may have."""
    return next(iter(activation.parameters.values()), None)


def _as_floats(function: Callable[[np.ndarray], Any]) -> Function:
    def checked(x: np.ndarray) -> np.ndarray:
        value = np.asarray(function(x), dtype=np.float64)
        if not np.all(np.isfinite(value)):
            raise ValueError("the activation or its slope returned NaN or an infinity for a finite argument")
        return np.broadcast_to(value, x.shape)

    return checked


def phi(activation: Any) -> Function:
    """phi as a NumPy function."""
    activation = as_activation(activation)
    if callable(activation.function):
        return _as_floats(activation.function)
    value, parameter = _entry(activation)[0], _parameter(activation)
    return lambda x: value(np.asarray(x, dtype=np.float64), parameter)


def slope(activation: Any) -> Function:
    """phi' as a NumPy function; of a callable without one, by differences."""
    activation = as_activation(activation)
    if callable(activation.function):
        if activation.slope is not None:
            return _as_floats(activation.slope)
        return _as_floats(lambda x: _differences(activation.function, activation.kinks, x))
    value, parameter = _entry(activation)[1], _parameter(activation)
    return lambda x: value(np.asarray(x, dtype=np.float64), parameter)


def kinks(activation: Any) -> tuple[float, ...]:
    """The points where phi or its slope jumps."""
    activation = as_activation(activation)
    return activation.kinks if callable(activation.function) else _entry(activation)[2]
