# SPDX-License-Identifier: BSD-3-Clause
"""Activation functions phi by name, with their parameters, or as a Python callable."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _numbers, _ways
from .._words import cut, did_you_mean, shown
from .layer import GAUSSIAN, Axis, Layer, Parts, Seen, Shape, Spot, Step, Stream, kind

if TYPE_CHECKING:
    from .. import _core

__all__ = ["Activation", "activation_names"]


class _Parameter(NamedTuple):
    """A named function's parameter: keyword, value left out (None: it must be given), check, and what is taken."""

    name: str
    default: Any
    check: Callable[[str, Any], Any]
    takes: str

    def parse(self, text: str) -> Any:
        """The value written as in "elu(0.5)" or "polynomial(1, 0, -2)"; ValueError for anything else."""
        numbers = [float(number) for number in text.split(",")]
        if self.check is _numbers.coefficients:
            return numbers
        (number,) = numbers
        return number


class _Named(NamedTuple):
    """A named function: the one parameter that it may have, and whether phi(t x) = t phi(x) for t > 0."""

    parameter: _Parameter | None = None
    homogeneous: bool = False


_DEGREE = _Named(_Parameter("n", None, _numbers.degree, "one whole number, n"))  # homogeneous where n = 1
_TABLE: dict[str, _Named] = {
    "relu": _Named(homogeneous=True),
    "leaky_relu": _Named(_Parameter("slope", 0.01, _numbers.real, "one number, slope"), homogeneous=True),
    "abs": _Named(homogeneous=True),
    "linear": _Named(homogeneous=True),
    "step": _Named(),
    "erf": _Named(),
    "tanh": _Named(),
    "sigmoid": _Named(),
    "gelu": _Named(),
    "silu": _Named(),
    "softplus": _Named(),
    "elu": _Named(_Parameter("alpha", 1.0, _numbers.real, "one number, alpha")),
    "selu": _Named(),
    "hardtanh": _Named(),
    "relu6": _Named(),
    "mish": _Named(),
    "sin": _Named(),
    "sign": _Named(),
    "hardsigmoid": _Named(),
    "hardswish": _Named(),
    "cos": _Named(),
    "exp": _Named(),
    "gaussian": _Named(),
    "rbf": _Named(),
    "monomial": _DEGREE,
    "rectified_monomial": _DEGREE,
    "hermite": _DEGREE,
    "polynomial": _Named(
        _Parameter("coefficients", None, _numbers.coefficients, "coefficients, those of 1, x, x^2, ...")
    ),
    "gelu_tanh": _Named(),
    "celu": _Named(_Parameter("alpha", 1.0, _numbers.positive, "one number, alpha")),
    "softsign": _Named(),
}
PARAMETER_NAMES = ("slope", "alpha", "n", "coefficients")
_NAMES = tuple(_TABLE)
_ALIASES = {"swish": "silu"}
_MOST_KINKS = 8
_MAKING = Lock()  # of the core's activations
_KEPT = 400  # bytes of an integral that is kept: its argument and result, as key, in a list, and among the results


def activation_names() -> tuple[str, ...]:
    """The names that `Activation` takes, e.g. "relu", "tanh", "gelu"; beside them "swish" stands for "silu"."""
    return _NAMES


@kind
class Activation(Layer):
    """phi, applied to each coordinate; names and defaults follow PyTorch where it has the function.

    Parameters
    ----------
    function : str or callable
        A name of `activation_names()`, optionally with its parameter as in ``"leaky_relu(0.1)"``, ``"monomial(3)"`` or
        ``"polynomial(1, 0, -2)"``, or a callable that maps a float64 array to an array of the same shape.
    slope : float or callable, optional
        For ``"leaky_relu"`` the slope at x < 0 (default 0.01). For a callable its derivative (almost everywhere); left
        out, it is formed by differences of eighth order, good to about 1e-12 for functions smooth between their kinks.
        Both are called from worker threads, and must be finite and elementwise.
    alpha : float, optional
        For ``"elu"`` and ``"celu"``: see below (default 1); > 0 for celu.
    n : int, optional
        For ``"monomial"``, ``"rectified_monomial"`` and ``"hermite"``: the degree, from 0 to 32.
    coefficients : sequence of float, optional
        For ``"polynomial"``: of 1, x, x^2, ..., as in `numpy.polynomial`; at most 33 (degree 32).
    kinks : sequence of float, optional
        For a callable: the points where it or its slope jumps, at most 8. The quadrature splits there, and takes the
        function to turn on a scale of about 1 around them, or around 0.

    Raises
    ------
    ValueError, TypeError
        For an unknown name, or a parameter that the function does not have.

    Notes
    -----
    ==================  ================================================================================
    linear              x
    relu                max(x, 0)
    leaky_relu          x for x > 0, slope x below
    abs                 |x|
    step                1 for x > 0, else 0
    sign                1, 0 or -1
    relu6               min(max(x, 0), 6)
    hardtanh            min(max(x, -1), 1)
    hardsigmoid         min(max(x + 3, 0), 6)/6
    hardswish           x min(max(x + 3, 0), 6)/6
    erf                 erf(x) (not of x/sqrt 2)
    tanh                tanh x
    sigmoid             1/(1 + exp(-x))
    softsign            x/(1 + abs(x))
    sin, cos, exp       sin x, cos x, e^x
    gaussian            exp(-x^2/2)
    rbf                 sqrt(2) sin(sqrt(2) x + pi/4), whose covariance is the kernel exp(-(u - w)^2) of u, w
    gelu                x Phi(x), Phi the normal distribution function (torch's default, the erf form)
    gelu_tanh           x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))/2
    silu, swish         x/(1 + exp(-x)); one function, stored as silu
    softplus            log(1 + e^x)
    mish                x tanh(log(1 + e^x))
    elu                 x for x > 0, alpha (e^x - 1) below
    selu                1.0507... elu(x) with alpha = 1.6732...
    celu                x for x > 0, alpha (e^(x/alpha) - 1) below
    monomial            x^n
    rectified_monomial  x^n for x > 0, else 0; n = 0 is step, n = 1 relu
    hermite             He_n(x)/sqrt(n!), with E He_n(z)^2 = n! for z ~ N(0, 1)
    polynomial          c_0 + c_1 x + c_2 x^2 + ...
    ==================  ================================================================================

    Two activations are equal when name, parameters and kinks are; callables are compared by identity.
    """

    __slots__ = ("_made", "alpha", "coefficients", "function", "kinks", "n", "slope")

    pointwise = True
    reads_units = True
    of_units = True
    takes = (*GAUSSIAN, Stream.ACTIVATIONS)
    needs = "an activation must stand behind a Dense or a convolution, for data are described by second moments alone"
    behind_output = False

    function: str | Callable[[np.ndarray], Any]
    slope: float | Callable[[np.ndarray], Any] | None
    alpha: float | None
    n: int | None
    coefficients: tuple[float, ...] | None
    kinks: tuple[float, ...]
    _made: _core.Activation | None

    def __init__(
        self,
        function: str | Callable[[np.ndarray], Any],
        *,
        slope: float | Callable[[np.ndarray], Any] | None = None,
        alpha: float | None = None,
        n: int | None = None,
        coefficients: Iterable[float] | None = None,
        kinks: Iterable[float] = (),
    ) -> None:
        parameters: dict[str, Any] = {
            name: value
            for name, value in zip(PARAMETER_NAMES, (slope, alpha, n, coefficients), strict=True)
            if value is not None
        }
        if isinstance(function, Activation):
            if parameters or kinks != ():
                raise ValueError(f"parameters and kinks are already those of the activation given, {shown(function)}")
            parameters, kinks, function = function._parameters(), function.kinks, function.function
        if not _numbers.is_sequence(kinks):
            raise TypeError(f"kinks must be a sequence of numbers, got {shown(kinks)}")
        kinks = tuple(sorted({_numbers.real("kinks", kink) for kink in _numbers.entries("kinks", kinks)}))
        if callable(function):
            _check_callable(function, parameters, kinks)
        else:
            function, parameters = _named(function, parameters)
            if kinks:
                raise ValueError(f"kinks belong to callables, got kinks={shown(list(kinks))} for {shown(function)}")
        for field in PARAMETER_NAMES:
            object.__setattr__(self, field, parameters.get(field))
        for field, content in (("function", function), ("kinks", kinks), ("_made", None)):
            object.__setattr__(self, field, content)

    def __call__(self, x: Any) -> np.ndarray:
        """phi(x), elementwise."""
        return self._compiled.evaluate(_numbers.float_array("x", x))[0]

    def derivative(self, x: Any) -> np.ndarray:
        """phi'(x) elementwise, as frameworks compute it: 0 at the kink of relu, 0 everywhere for step."""
        return self._compiled.evaluate(_numbers.float_array("x", x))[1]

    @property
    def _compiled(self) -> _core.Activation:
        """The core's: made at first use, and the same one for all threads."""
        if self._made is None:
            with _MAKING:
                if self._made is None:
                    object.__setattr__(self, "_made", _compile(self))
        assert self._made is not None
        return self._made

    @property
    def homogeneous(self) -> bool:
        """phi(t x) = t phi(x) for every t > 0; a callable or polynomial counts as one that is not."""
        return isinstance(self.function, str) and (_TABLE[self.function].homogeneous or self.n == 1)

    @property
    def parameters(self) -> dict[str, Any]:
        """The named function's parameter, e.g. {"slope": 0.01}; empty for callables."""
        return self._parameters() if isinstance(self.function, str) else {}

    @classmethod
    def axes(cls) -> Mapping[str, Axis]:
        return {}

    @classmethod
    def replaceable(cls) -> tuple[str, ...]:
        return ("activation",)

    def replaced(self, name: str, value: Any) -> Activation:
        return as_activation(value)

    def outline(self, after: Shape) -> str:
        return ""

    @property
    def remark(self) -> str:
        return str(self)

    @classmethod
    def keys(cls) -> tuple[Sequence[str], Sequence[str]]:
        return ("function",), ("function", *PARAMETER_NAMES)

    def entry(self) -> dict[str, Any]:
        if not isinstance(self.function, str):
            raise ValueError(f"the callable {cut(str(self))} cannot be saved; only named activations can")
        return {"function": self.function, **self.parameters}

    def needs_units(self, spot: Spot) -> str:
        return "" if spot.stream in GAUSSIAN else "what comes in is not Gaussian"

    def compile_into(self, core: _core.Network, before: Shape) -> None:
        core.activation(self._compiled)

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        core.activation(self._compiled)

    def image_bytes(self, step: Step, seen: Seen) -> int:
        """Five matrices behind it, and what is kept of integrals that differ."""
        if self._compiled.cheap(step.previous.shift if step.previous else 0.0):
            return 0
        after, kept = math.prod(step.after[1:]) ** 2, 1
        for size, field, jump in zip(step.before[1:], seen.fields, seen.jumps, strict=True):
            near = -(-field // jump)  # positions that see a border, or each other
            kept *= min(size, 2 * near + 1) ** 2 + min(size, 4 * near + 1)
        return 8 * 5 * after + _KEPT * min(kept, after)

    def _parameters(self) -> dict[str, Any]:
        return {name: value for name in PARAMETER_NAMES if (value := getattr(self, name)) is not None}

    def __str__(self) -> str:
        if not isinstance(self.function, str):
            names = (getattr(self.function, name, None) for name in ("__qualname__", "__name__"))  # ufuncs: the second
            return next(filter(None, names), None) or shown(self.function)
        for value in self.parameters.values():
            numbers = value if isinstance(value, tuple) else (value,)
            return f"{self.function}({', '.join(map(repr, numbers))})"
        return self.function

    def __repr__(self) -> str:
        arguments = {**self._parameters(), **({"kinks": list(self.kinks)} if self.kinks else {})}
        return f"Activation({self.function!r}{''.join(f', {name}={value!r}' for name, value in arguments.items())})"

    def _key(self) -> tuple[Any, ...]:
        return (self.function, *(getattr(self, name) for name in PARAMETER_NAMES), self.kinks)

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Activation) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"an Activation cannot be changed (tried to set {shown(name)})")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"an Activation cannot be changed (tried to delete {shown(name)})")

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self.function, {**self._parameters(), "kinks": self.kinks}))


def _rebuild(function: Any, arguments: dict[str, Any]) -> Activation:
    return Activation(function, **arguments)


def as_activation(value: Any) -> Activation:
    """A name, a callable or an Activation, as an Activation."""
    return value if isinstance(value, Activation) else Activation(value)


def named_like(text: str) -> str:
    """The function that a word names, whatever its case and signs; empty where there is none."""
    plain = text.replace("_", "").lower()
    return next((name for name in (*_NAMES, *_ALIASES) if name.replace("_", "") == plain), "")


def _compile(activation: Activation) -> _core.Activation:
    from .. import _core

    function = activation.function
    if not isinstance(function, str):
        slope: Any = _differences(function, activation.kinks) if activation.slope is None else activation.slope
        return _core.CallableActivation(function, slope, list(activation.kinks))
    (value,) = activation.parameters.values() or ((),)
    return _core.Activation(function, value if isinstance(value, tuple) else (value,))


def _check_callable(function: Any, parameters: dict[str, Any], kinks: tuple[float, ...]) -> None:
    if _ways.of_torch(function):
        raise TypeError(
            "activation must be a name, an Activation or a function of NumPy arrays, got PyTorch's "
            f"{shown(function)}{_ways.to_activation(function, (*_NAMES, *_ALIASES))}"
        )
    for key, value in parameters.items():
        if key != "slope":
            owners = [name for name, entry in _TABLE.items() if entry.parameter and entry.parameter.name == key]
            verb = "belong" if key == "coefficients" else "belongs"
            raise ValueError(f"{key} {verb} to {' and '.join(owners)} alone, got {key}={shown(value)} for a callable")
        if not callable(value):
            raise TypeError(f"slope of a callable activation must be a callable, got {shown(value)}")
    if not parameters:
        _differences(function, kinks)  # refuses kinks too close to each other
    if len(kinks) > _MOST_KINKS:
        raise ValueError(f"kinks must be at most {_MOST_KINKS} points, got {len(kinks)}")


def _named(text: Any, parameters: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and checked parameters of `"elu(0.5)"` or of `"elu"` with {"alpha": 0.5}."""
    if not isinstance(text, str):
        raise TypeError(f"activation must be a name, a callable or an Activation, got {shown(text)}")
    name, bracket, rest = text.strip().partition("(")
    name = _ALIASES.get(name, name)
    if name not in _NAMES:
        hint = did_you_mean(name, (*_NAMES, *_ALIASES))
        raise ValueError(f"activation must be one of {', '.join(_NAMES)}, or a callable, got {shown(text)}{hint}")
    parameter = _TABLE[name].parameter
    takes = f"activation '{name}' takes {parameter.takes if parameter else 'no parameter'}"
    for key, value in parameters.items():
        if parameter is None or key != parameter.name:
            raise ValueError(f"{takes}, got {key}={shown(value)}")
    if parameter is None:
        if bracket:
            raise ValueError(f"{takes}, got {shown(text)}")
        return name, {}
    key, value = parameter.name, parameters.get(parameter.name, parameter.default)
    if bracket:
        try:
            value = parameter.parse(rest[:-1] if rest.endswith(")") else "")
        except ValueError:
            raise ValueError(f"{takes}, got {shown(text)}") from None
        if parameters:
            raise ValueError(f"{key} must be given once, got {shown(text)} and {key}={shown(parameters[key])}")
    elif value is None:
        raise ValueError(f"{takes}, got {shown(text)}")
    try:
        return name, {key: parameter.check(key, value)}
    except TypeError as error:
        if bracket:  # a number of the wrong kind, and text is the right type
            raise ValueError(str(error)) from None
        raise


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
            raise ValueError(
                f"kinks of a callable without slope must lie {_APART:g} apart or more, got {shown(list(kinks))}"
            )
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
