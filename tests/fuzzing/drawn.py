# SPDX-License-Identifier: BSD-3-Clause
"""Numbers, activations and networks as Python source; corners are as likely as all that lies between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

Random = np.random.Generator

RAYS = ("linear", "relu", "abs")
KINKED = ("step", "sign", "relu6", "hardtanh", "hardsigmoid", "hardswish", "selu")
SMOOTH = ("erf", "gelu", "tanh", "sigmoid", "softplus", "silu", "gelu_tanh", "mish")
WAVES = ("sin", "cos", "rbf", "gaussian", "exp")
SLOW = ("softsign",)
NAMES = (*RAYS, *KINKED, *SMOOTH, *WAVES, *SLOW)
WITH_PARAMETER = ("leaky_relu", "elu", "celu", "monomial", "rectified_monomial", "hermite", "polynomial")
ODD = ("linear", "sign", "hardtanh", "erf", "tanh", "sin", "softsign")
EVEN = ("abs", "cos", "gaussian")
BOUNDED = ("step", "sign", "relu6", "hardtanh", "hardsigmoid", "erf", "tanh", "sigmoid", "softsign", *WAVES[:4])


def pick(random: Random, choices: Sequence[Any]) -> Any:
    return choices[int(random.integers(len(choices)))]


def chance(random: Random, share: float) -> bool:
    return bool(random.random() < share)


def sign(random: Random) -> int:
    return int(pick(random, (1, -1)))


def decades(random: Random, low: float, high: float) -> float:
    """10 to a uniform power, with few digits half of the time."""
    value = 10.0 ** float(random.uniform(low, high))
    return float(f"{value:.2g}") if chance(random, 0.5) else value


def whole(random: Random, low: int, high: int) -> int:
    """Of uniform logarithm, corners included."""
    if chance(random, 0.1):
        return int(pick(random, (low, high)))
    return int(min(high, max(low, round(math.exp(random.uniform(math.log(max(low, 0.6)), math.log(high)))))))


def parameter(random: Random, name: str) -> str:
    """In brackets behind the name, over decades."""
    if _mild and name not in ("monomial", "rectified_monomial", "hermite", "polynomial"):
        return repr(decades(random, -2, 0.5))
    if _mild and name != "polynomial":
        return repr(int(random.integers(0, 5)))
    if name == "leaky_relu":
        mild = chance(random, 0.4)
        return repr(sign(random) * (decades(random, -2, 0.3) if mild else decades(random, -12, 12)))
    if name in ("elu", "celu"):
        value = decades(random, -1, 1) if chance(random, 0.3) else decades(random, -8, 6)
        return repr(value * (sign(random) if name == "elu" else 1))
    if name in ("monomial", "rectified_monomial", "hermite"):
        return repr(int(random.integers(0, 6)) if chance(random, 0.7) else int(random.integers(0, 33)))
    terms = int(random.integers(1, 6)) if chance(random, 0.8) else int(random.integers(1, 34))
    numbers = random.choice((0.0, 1.0), terms) * random.standard_normal(terms)
    if chance(random, 0.3):
        numbers = numbers * 10.0 ** random.uniform(-8, 8, terms)
    if not numbers.any():
        numbers[-1] = 1.0
    return ", ".join(repr(float(number)) for number in numbers)


def activation(random: Random, names: Sequence[str] = (*NAMES, *WITH_PARAMETER, *WITH_PARAMETER[:3])) -> str:
    name = pick(random, names)
    return f"{name}({parameter(random, name)})" if name in WITH_PARAMETER else str(name)


# ---------------------------------------------------------------------------------------------------- parameters
_mild = False


@contextmanager
def mildly() -> Iterator[None]:
    """Numbers for which no precision beyond float64's is needed: lengths near 1, gamma down to 1e-20, beta to 40."""
    global _mild
    _mild = True
    try:
        yield
    finally:
        _mild = False


def gamma(random: Random) -> float:
    if _mild:
        tiny = chance(random, 0.2)
        value = decades(random, -20, -2) if tiny else decades(random, -2, 1) if chance(random, 0.3) else 1.0
        return sign(random) * (value if value != 1.0 else float(random.uniform(0.2, 2.0)))
    kind = random.random()
    if kind < 0.45:
        return sign(random) * float(random.uniform(0.2, 3.0))
    if kind < 0.6:
        return float(pick(random, (1.0, 1.0, 0.35, 0.0)))
    if kind < 0.75:
        return sign(random) * decades(random, -3, 3)
    if kind < 0.9:
        return sign(random) * decades(random, -20, 12)
    return sign(random) * decades(random, -99.9, 99.9)


def beta(random: Random) -> float:
    kind = random.random()
    if _mild:
        wide = float(random.uniform(-40.0, 40.0))
        return 0.0 if kind < 0.4 else wide if kind < 0.6 else float(random.uniform(-3.0, 3.0))
    if kind < 0.3:
        return 0.0
    if kind < 0.5:
        return float(random.uniform(-3.0, 3.0))
    if kind < 0.75:
        return float(random.uniform(-40.0, 40.0)) if chance(random, 0.5) else float(random.integers(-40, 41))
    if kind < 0.85:
        return sign(random) * decades(random, -3, 3)
    if kind < 0.94:
        return sign(random) * decades(random, -20, 16)
    return sign(random) * (decades(random, -100, 100) if chance(random, 0.8) else 1e100)


def variance(random: Random, ordinary: float = 0.7) -> float:
    kind = random.random()
    if kind < ordinary or _mild:
        return float(random.uniform(0.05, 3.0))
    if kind < ordinary + 0.1:
        return float(pick(random, (0.0, 1.0)))
    return decades(random, -6, 6) if kind < 0.95 else decades(random, -99.9, 99.9)


def eps(random: Random) -> float:
    return float(pick(random, (0.0, 0.0, 1e-5, 0.1))) if _mild or chance(random, 0.8) else decades(random, -99.9, 20)


def norm(random: Random, ordinary: bool = False) -> str:
    trained = ", trained=True" if chance(random, 0.3) else ""
    if ordinary:
        return f"ff.BatchNorm({pick(random, (1.0, 0.5, -2.0))}, {pick(random, (0.0, 0.3))}, 0.0{trained})"
    if not _mild and chance(random, 0.08):  # both far out, where integers do not count the panels between
        large = sign(random) * decades(random, 6, 20), sign(random) * decades(random, 6, 30)
        return f"ff.BatchNorm({large[0]!r}, {large[1]!r}, {eps(random)!r}{trained})"
    return f"ff.BatchNorm({gamma(random)!r}, {beta(random)!r}, {eps(random)!r}{trained})"


def units(random: Random) -> int:
    return whole(random, 1, 400) if chance(random, 0.7) else whole(random, 1, 2 * 10**9)


def samples(random: Random) -> int | None:
    kind = random.random()
    if kind < 0.3:
        return None
    if kind < 0.7:
        return whole(random, 1, 100)
    return whole(random, 2, 3000) if kind < 0.85 else whole(random, 2, 2**53)


def data(random: Random) -> str:
    """samples, overlap, length and biases of `ff.fisher`."""
    n = samples(random)
    length = float(random.uniform(0.3, 3.0)) if chance(random, 0.8) else decades(random, -20, 20)
    if _mild or chance(random, 0.4):
        length = 1.0
    least = 0.0 if n is None else -length if n == 1 else -length / (n - 1)
    kind = random.random()
    overlap = 0.0
    if kind > 0.6:
        overlap = least + float(random.random()) * (length - least)
    elif kind > 0.5:
        overlap = float(pick(random, (least, length, length * (1 - 1e-9))))
    words = [f"theory={pick(random, ('exact', 'exact', 'frozen', 'wei2019'))!r}"]
    words += [f"samples={n}"] if n is not None else []
    words += [f"overlap={overlap!r}"] if overlap else []
    words += [f"length={length!r}"] if length != 1.0 else []
    words += [f"biases={pick(random, (True, False))}"] if chance(random, 0.4) else []
    return ", ".join(words)


# ---------------------------------------------------------------------------------------------------- networks
def dense(random: Random, names: Sequence[str], deepest: int, plain: Sequence[str] | None = None) -> str:
    """Dense networks: none, some or all layers with a BatchNorm, alike or each of its own kind.

    Where no BatchNorm stands before it, an activation is of `plain`.
    """
    hidden = int(random.integers(0, 5)) if chance(random, 0.9) else whole(random, 5, deepest)
    alike = chance(random, 0.5)
    normed = float(pick(random, (0.0, 0.5, 1.0, 1.0)))
    if hidden > 4:  # integrals of two arguments by quadrature take a millisecond and more
        names = [name for name in names if name not in (*KINKED, *SMOOTH, *SLOW, "elu", "celu")] or names
    one_width, one_phi, one_norm = units(random), activation(random, names), norm(random)
    w2, b2 = variance(random), variance(random)
    layers = []
    for place in range(hidden + 1):
        last = place == hidden
        width = whole(random, 1, 100) if last else one_width if alike else units(random)
        if not alike:
            w2, b2 = variance(random), variance(random)
        layers.append(f"ff.Dense({width}, {w2!r}, {b2!r})")
        if has_norm := chance(random, 0.1 if last else normed):
            layers.append(one_norm if alike else norm(random))
        if not last and chance(random, 0.95):
            phi = one_phi if alike else activation(random, names)
            if plain and not has_norm and phi.partition("(")[0] not in plain:
                phi = activation(random, plain)
            layers.append(f'ff.Activation("{phi}")')
    return f"ff.Network({units(random)}, [{', '.join(layers)}])"


def convolutional(random: Random, names: Sequence[str], side: int) -> str:
    """Small images: kernels, strides, paddings, pooling, 1 x 1 images, at either end."""
    size = [int(random.integers(1, side + 1)), int(random.integers(1, side + 1))]
    shape = (whole(random, 1, 30), *size)
    layers, ordinary = [], chance(random, 0.5)
    count = int(random.integers(1, 4))
    phi = activation(random, names)
    alike = chance(random, 0.2)  # kernels of one tap: all windows behind padding are equal, and jumps see a last bit
    if alike and chance(random, 0.6):
        names, phi = ("step", "linear", "sign"), "step"
    for _ in range(count):
        padding = 1 if alike else int(random.integers(0, 3))
        kernel = (
            (1, 1) if alike else tuple(int(random.integers(1, min(3, extent + 2 * padding) + 1)) for extent in size)
        )
        stride = 1 if alike else int(random.integers(1, 3))
        after = [(extent + 2 * padding - tap) // stride + 1 for extent, tap in zip(size, kernel, strict=True)]
        if max(after) > side + (3 if alike else 1):
            padding, kernel, stride, after = 0, (1, 1), 1, size
        channels = whole(random, 1, 60) if chance(random, 0.9) else units(random) % 10**6 + 1
        w2, b2 = (variance(random, 0.95), variance(random, 0.95)) if ordinary else (variance(random), variance(random))
        layers.append(f"ff.Conv2d({channels}, {kernel}, {stride}, {padding}, {w2!r}, {b2!r})")
        size = after
        if chance(random, 0.2 if alike else 0.5):
            layers.append(norm(random, ordinary))
        if chance(random, 0.8):
            layers.append(f'ff.Activation("{phi if chance(random, 0.5) else activation(random, names)}")')
        if min(size) >= 2 and chance(random, 0.3):
            stride = int(random.integers(1, 3))
            layers.append(f"ff.AvgPool2d(2, {stride})")
            size = [(extent - 2) // stride + 1 for extent in size]
    kind = random.random() * (0.5 if alike else 1.0)
    if kind < 0.3:
        layers.append("ff.GlobalAvgPool2d()")
        size = [1, 1]
    if kind < 0.15 and layers[-2].startswith("ff.Conv2d"):
        return f"ff.Network({shape}, [{', '.join(layers)}])"
    layers.append("ff.Flatten()")
    if chance(random, 0.2):
        layers += [f"ff.Dense({whole(random, 1, 100)})", f'ff.Activation("{phi}")']
    layers.append(f"ff.Dense({whole(random, 1, 20)}, {variance(random, 0.95)!r}, {variance(random, 0.95)!r})")
    return f"ff.Network({shape}, [{', '.join(layers)}])"
