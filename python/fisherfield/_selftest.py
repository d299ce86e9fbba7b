# SPDX-License-Identifier: BSD-3-Clause
"""The C++ core against the reference on random networks: what `fisherfield selftest` runs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import reference
from ._arguments import THEORIES
from .activations import Activation
from .fisher import fisher
from .network import AvgPool2d, BatchNorm, Conv2d, Dense, Flatten, GlobalAvgPool2d, Layer, Network

__all__ = ["QUANTITIES", "Case", "Comparison", "compare", "random_case", "selftest"]

QUANTITIES = ("a", "b", "lambda_max")

# Closed forms are the same formulas in another order of operations; quadratures are two different rules.
TOLERANCES = {"closed form": 1e-12, "quadrature": 1e-9}
_ACTIVATIONS = {
    "closed form": ("relu", "relu", "leaky_relu", "abs", "linear", "step", "erf"),
    "quadrature": ("tanh", "sigmoid", "gelu", "silu", "softplus", "elu", "selu", "hardtanh", "relu6", "mish", "sin"),
}


@dataclass(frozen=True)
class Case:
    """One random network with its data; `kind` is e.g. "dense, closed form"."""

    net: Network
    arguments: dict[str, Any]
    kind: str
    tolerance: float

    def __repr__(self) -> str:
        return f"{self.net!r}\n{', '.join(f'{name}={value!r}' for name, value in self.arguments.items())}"


@dataclass(frozen=True)
class Comparison:
    """The relative deviation of each of `QUANTITIES` under one theory."""

    case: Case
    theory: str
    deviations: tuple[float, ...]
    error: str = ""

    @property
    def passed(self) -> bool:
        return not self.error and all(deviation <= self.case.tolerance for deviation in self.deviations)


def random_case(rng: np.random.Generator) -> Case:
    """A network of 1 to 5 affine layers, a third of them convolutional, most with BatchNorm somewhere."""
    forms = "quadrature" if rng.random() < 0.3 else "closed form"
    convolutional = rng.random() < 1 / 3
    # The reference is slow on purpose: networks by quadrature stay shallow and images small.
    depth = int(rng.integers(1, 3 if forms == "quadrature" else 5 - convolutional))
    normalised = rng.random() < 0.7
    shape, layers = (_image if convolutional else _dense)(rng, depth, forms, normalised)
    net = Network(shape, tuple(layers))
    samples = None if rng.random() < 0.4 else round(10 ** rng.uniform(0.7, 4))
    length = float(10 ** rng.uniform(-1, 1))
    low = 0.0 if samples is None else -1 / samples
    arguments = {
        "samples": samples,
        "length": length,
        # Beyond 0.9 the reference itself would lose digits to 1 - c.
        "overlap": 0.0 if rng.random() < 0.3 else float(rng.uniform(low, 0.9)) * length,
        "biases": [None, True, False][rng.integers(3)],
    }
    kind = f"{'convolutional' if convolutional else 'dense'}, {forms}"
    return Case(net, arguments, kind, TOLERANCES[forms])


def _dense(rng: np.random.Generator, depth: int, forms: str, normalised: bool) -> tuple[tuple[int, ...], list[Layer]]:
    layers: list[Layer] = []
    for _ in range(depth):
        layers += [Dense(_size(rng, 2000), *_variances(rng)), *_after_affine(rng, forms, normalised)]
    return (_size(rng, 2000),), [*layers, *_output(rng)]


def _image(rng: np.random.Generator, depth: int, forms: str, normalised: bool) -> tuple[tuple[int, ...], list[Layer]]:
    largest = 4 if forms == "quadrature" else 8
    height, width = (int(size) for size in rng.integers(2, largest + 1, 2))
    shape = (int(rng.integers(1, 4)), height, width)
    layers: list[Layer] = []
    for _ in range(depth):
        kernel = int(rng.integers(1, min(3, height, width) + 1))
        stride, padding = int(rng.integers(1, 3)), int(rng.integers(0, kernel))
        layers += [
            Conv2d(_size(rng, 100), kernel, stride, padding, *_variances(rng)),
            *_after_affine(rng, forms, normalised),
        ]
        height, width = ((size + 2 * padding - kernel) // stride + 1 for size in (height, width))
    if min(height, width) >= 2 and rng.random() < 0.3:
        layers.append(AvgPool2d(2))
    layers.append(GlobalAvgPool2d() if rng.random() < 0.3 else Flatten())
    if isinstance(layers[-1], GlobalAvgPool2d):
        layers.append(Flatten())
    return shape, [*layers, *_output(rng)]


def _size(rng: np.random.Generator, largest: int) -> int:
    return round(math.exp(rng.uniform(math.log(3), math.log(largest))))


def _variances(rng: np.random.Generator) -> tuple[float, float]:
    """sigma_w2 and sigma_b2."""
    return float(rng.uniform(0.5, 3)), 0.0 if rng.random() < 0.3 else float(rng.uniform(0, 1))


def _after_affine(rng: np.random.Generator, forms: str, normalised: bool) -> list[Layer]:
    """BatchNorm or not, then phi."""
    norm = [_batch_norm(rng)] if normalised and rng.random() < 0.8 else []
    return [*norm, Activation(str(rng.choice(_ACTIVATIONS[forms])))]


def _batch_norm(rng: np.random.Generator) -> BatchNorm:
    return BatchNorm(
        gamma=float(rng.choice([-1, 1]) * rng.uniform(0.2, 3)),
        beta=0.0 if rng.random() < 0.5 else float(rng.normal(0, 0.5)),
        eps=0.0 if rng.random() < 0.5 else float(10 ** rng.uniform(-5, -1)),
        trained=bool(rng.random() < 0.3),
    )


def _output(rng: np.random.Generator) -> list[Layer]:
    """The last affine layer, now and then with a BatchNorm of its own."""
    return [Dense(_size(rng, 20), *_variances(rng)), *([_batch_norm(rng)] if rng.random() < 0.1 else [])]


def compare(case: Case, theory: str) -> Comparison | None:
    """The core's deviation from the reference; None where both refuse the network."""
    results: list[Any] = []
    for function in (fisher, reference.fisher):
        try:
            results.append(function(case.net, theory, **case.arguments))
        except (ValueError, RuntimeError, OverflowError) as error:
            results.append(str(error))
    core, slow = results
    if isinstance(core, str) and isinstance(slow, str):
        return None
    if isinstance(core, str) or isinstance(slow, str):
        said = "; ".join(
            f"{who}: {what}" for who, what in (("core", core), ("reference", slow)) if isinstance(what, str)
        )
        return Comparison(case, theory, (math.inf,) * len(QUANTITIES), said)
    samples = case.arguments["samples"]
    # lambda_max = b + (a - b)/n: below a/n (infinite data: below rounding) b is nothing but cancellation.
    floors = {
        "a": 0.0,
        "b": abs(slow.a) * (1e-13 if samples is None else 1 / samples),
        "lambda_max": abs(slow.a) * 1e-13,
    }
    return Comparison(
        case, theory, tuple(_deviation(getattr(core, name), getattr(slow, name), floors[name]) for name in QUANTITIES)
    )


def _deviation(core: float, slow: float, floor: float) -> float:
    if core == slow:
        return 0.0
    deviation = abs(core - slow) / max(abs(slow), floor)
    return deviation if math.isfinite(deviation) else math.inf


def selftest(networks: int = 40, seed: int = 0) -> Iterator[list[Comparison]]:
    """For each random network its comparisons, at most one a theory; the same seed gives the same networks."""
    rng = np.random.default_rng(seed)
    for _ in range(networks):
        case = random_case(rng)
        yield [comparison for theory in THEORIES if (comparison := compare(case, theory)) is not None]
