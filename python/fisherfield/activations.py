# SPDX-License-Identifier: BSD-3-Clause
"""Activation functions phi by name, with their parameters, or as a Python callable."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from . import _arguments, _core

__all__ = ["Activation", "activation_names"]

# name -> its parameter and PyTorch's default, for those that have one
_PARAMETERS: dict[str, dict[str, float]] = {name: {} for name in _core.activation_names()}
_PARAMETERS["leaky_relu"] = {"slope": 0.01}
_PARAMETERS["elu"] = {"alpha": 1.0}


def activation_names() -> tuple[str, ...]:
    """The names that `Activation` takes, e.g. "relu", "tanh", "gelu"."""
    return tuple(_PARAMETERS)


class Activation:
    """phi, applied to each coordinate; names and defaults follow PyTorch where it has the function.

    Parameters
    ----------
    function : str or callable
        A name of `activation_names()`, optionally with its parameter as in ``"leaky_relu(0.1)"``, or a callable that
        maps a float64 array to an array of the same shape. ``erf`` is erf(x), ``sin`` is sin x, ``gelu`` is the erf
        form x Phi(x), ``step`` is 1 for x > 0.
    slope : float or callable, optional
        For ``"leaky_relu"`` the slope at x < 0 (default 0.01). For a callable its derivative (almost everywhere); left
        out, it is formed by differences of eighth order, good to about 1e-12 for functions smooth between their kinks.
        Both are called from worker threads, and must be finite and elementwise.
    alpha : float, optional
        For ``"elu"``: alpha (expm1 x) at x < 0 (default 1).
    kinks : sequence of float, optional
        For a callable: the points where it or its slope jumps, at most 8. The quadrature splits there, and takes the
        function to turn on a scale of about 1 around them, or around 0.

    Raises
    ------
    ValueError, TypeError
        For an unknown name, or a parameter that the function does not have.

    Notes
    -----
    Two activations are equal when name, parameters and kinks are; callables are compared by identity.
    """

    __slots__ = ("_compiled", "alpha", "function", "kinks", "slope")

    function: str | Callable[[np.ndarray], Any]
    slope: float | Callable[[np.ndarray], Any] | None
    alpha: float | None
    kinks: tuple[float, ...]
    _compiled: _core.Activation

    def __init__(
        self,
        function: str | Callable[[np.ndarray], Any],
        *,
        slope: float | Callable[[np.ndarray], Any] | None = None,
        alpha: float | None = None,
        kinks: Iterable[float] = (),
    ) -> None:
        if isinstance(function, Activation):
            if slope is not None or alpha is not None or kinks != ():
                raise ValueError(f"slope, alpha and kinks are already those of the activation given, {function!r}")
            function, slope, alpha, kinks = function._key()
        if not _arguments.is_sequence(kinks):
            raise TypeError(f"kinks must be a sequence of numbers, got {kinks!r}")
        kinks = tuple(sorted({_arguments.real("kinks", kink) for kink in kinks}))
        if callable(function):
            if alpha is not None:
                raise ValueError(f"alpha belongs to elu alone, got alpha={alpha!r} for a callable")
            if slope is not None and not callable(slope):
                raise TypeError(f"slope of a callable activation must be a callable, got {slope!r}")
            compiled = _core.CallableActivation(
                function, slope if slope is not None else _differences(function, kinks), list(kinks)
            )
        else:
            function, slope, alpha = _named(function, slope, alpha)
            if kinks:
                raise ValueError(f"kinks belong to callables, got kinks={list(kinks)} for {function!r}")
            parameter = slope if slope is not None else alpha if alpha is not None else 0.0
            compiled = _core.Activation(function, parameter)
        for field, value in (("function", function), ("slope", slope), ("alpha", alpha), ("kinks", kinks)):
            object.__setattr__(self, field, value)
        object.__setattr__(self, "_compiled", compiled)

    def __call__(self, x: Any) -> np.ndarray:
        """phi(x), elementwise."""
        return self._compiled.evaluate(np.asarray(x, dtype=np.float64))[0]

    def derivative(self, x: Any) -> np.ndarray:
        """phi'(x) elementwise, as frameworks compute it: 0 at the kink of relu, 0 everywhere for step."""
        return self._compiled.evaluate(np.asarray(x, dtype=np.float64))[1]

    @property
    def parameters(self) -> dict[str, float]:
        """The named function's parameter, e.g. {"slope": 0.01}; empty for callables."""
        if not isinstance(self.function, str):
            return {}
        return {name: getattr(self, name) for name in _PARAMETERS[self.function]}

    def __str__(self) -> str:
        if not isinstance(self.function, str):
            return getattr(self.function, "__qualname__", repr(self.function))
        values = ", ".join(repr(value) for value in self.parameters.values())
        return f"{self.function}({values})" if values else self.function

    def __repr__(self) -> str:
        if isinstance(self.function, str):
            named = "".join(f", {name}={value!r}" for name, value in self.parameters.items())
            return f"Activation({self.function!r}{named})"
        slope = f", slope={self.slope!r}" if self.slope is not None else ""
        kinks = f", kinks={list(self.kinks)}" if self.kinks else ""
        return f"Activation({self.function!r}{slope}{kinks})"

    def _key(self) -> tuple[Any, ...]:
        return (self.function, self.slope, self.alpha, self.kinks)

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Activation) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"an Activation cannot be changed (tried to set {name!r})")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"an Activation cannot be changed (tried to delete {name!r})")

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, self._key())


def _rebuild(function: Any, slope: Any, alpha: float | None, kinks: tuple[float, ...]) -> Activation:
    return Activation(function, slope=slope, alpha=alpha, kinks=kinks)


def as_activation(value: Any) -> Activation:
    """A name, a callable or an Activation, as an Activation."""
    return value if isinstance(value, Activation) else Activation(value)


def _named(text: Any, slope: Any, alpha: Any) -> tuple[str, float | None, float | None]:
    """Name and parameters of `"elu(0.5)"` or of `"elu", alpha=0.5`."""
    if not isinstance(text, str):
        raise TypeError(f"activation must be a name, a callable or an Activation, got {text!r}")
    name, bracket, rest = text.strip().partition("(")
    if name not in _PARAMETERS:
        from difflib import get_close_matches

        near = get_close_matches(name, _PARAMETERS, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"activation must be one of {', '.join(_PARAMETERS)}, or a callable, got {text!r}{hint}")
    given = {key: value for key, value in (("slope", slope), ("alpha", alpha)) if value is not None}
    defaults = _PARAMETERS[name]
    if bracket:
        number = rest[:-1] if rest.endswith(")") else ""
        try:
            (parameter,) = defaults
            written = float(number)
        except ValueError:
            raise ValueError(f"activation {name!r} takes {_signature(name)}, got {text!r}") from None
        if parameter in given:
            raise ValueError(f"{parameter} must be given once, got {text!r} and {parameter}={given[parameter]!r}")
        given[parameter] = written
    for key in given:
        if key not in defaults:
            raise ValueError(f"activation {name!r} takes {_signature(name)}, got {key}={given[key]!r}")
    values = {key: _arguments.real(key, value) for key, value in {**defaults, **given}.items()}
    return name, values.get("slope"), values.get("alpha")


def _signature(name: str) -> str:
    defaults = _PARAMETERS[name]
    return "no parameter" if not defaults else f"one number, {next(iter(defaults))}"


# Differences of eighth order on nine points, exact for polynomials of degree 8: centred, and one-sided beside a kink.
# Centred ones reach 4 steps to each side, one-sided ones 8 from a point that may lie 4.5 inside.
_STEP = 0.01
_NEAR, _APART = 4.5 * _STEP, 13 * _STEP
_CENTRED = np.array([1 / 280, -4 / 105, 1 / 5, -4 / 5, 0, 4 / 5, -1 / 5, 4 / 105, -1 / 280]) / _STEP
_FORWARD = np.array([-761 / 280, 8, -14, 56 / 3, -35 / 2, 56 / 5, -14 / 3, 8 / 7, -1 / 8]) / _STEP


class _differences:
    """The derivative of `function` between its kinks by differences; a class, so that it can be pickled."""

    def __init__(self, function: Callable[[np.ndarray], Any], kinks: tuple[float, ...]) -> None:
        gaps = np.diff(kinks)
        if gaps.size and gaps.min() < _APART:
            raise ValueError(f"kinks of a callable without slope must lie {_APART:g} apart or more, got {list(kinks)}")
        self.function = function
        self.kinks = np.array(kinks)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        shifts = _STEP * np.arange(-4, 5)
        if self.kinks.size:
            distance = x[..., None] - self.kinks
            above = np.min(np.where(distance >= 0, distance, np.inf), axis=-1)  # to the nearest kink on the left
            below = np.min(np.where(distance < 0, -distance, np.inf), axis=-1)
            side = np.where(above < _NEAR, 1, np.where(below < _NEAR, -1, 0))[..., None]
        else:
            side = np.zeros((*x.shape, 1), dtype=int)
        # Exactly at a kink the slope is that of the right-hand side, a step's width away from the kink's own value.
        points = x[..., None] + np.where(side == 0, shifts, side * _STEP * np.arange(9))
        points[..., 0] += np.where((side[..., 0] == 1) & (above == 0.0), 1e-12, 0.0) if self.kinks.size else 0.0
        weights = np.where(side == 0, _CENTRED, side * _FORWARD)
        terms = weights * np.asarray(self.function(points), dtype=np.float64)
        slope: np.ndarray = np.sum(terms, axis=-1)
        # What rounding leaves of a flat piece's slope is no slope.
        return np.where(np.abs(slope) < 4 * np.finfo(np.float64).eps * np.sum(np.abs(terms), axis=-1), 0.0, slope)
