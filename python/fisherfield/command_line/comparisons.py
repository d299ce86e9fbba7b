# SPDX-License-Identifier: BSD-3-Clause
"""The C++ core against the reference on random networks: what `fisherfield selftest` runs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import reference
from .._numbers import THEORIES, Theory
from ..network import Activation, AvgPool2d, BatchNorm, Conv2d, Dense, Flatten, GlobalAvgPool2d, Layer, Network
from ..theory import fisher

QUANTITIES = ("a", "b", "lambda_max")

# Closed forms are the same formulas in another order of operations; where the reference has to integrate, it is good to
# 1e-11, which a network multiplies.
TOLERANCES = {"closed form": 1e-12, "quadrature": 1e-10}
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
    """A network of 2 to 5 affine layers, a third of them convolutional, most with BatchNorm somewhere."""
    forms = "quadrature" if rng.random() < 0.2 else "closed form"  # which activations to draw from
    convolutional = rng.random() < 1 / 3
    shifted = bool(rng.random() < 0.5)
    # The reference is slow on purpose: networks by quadrature stay shallow, and images small where the overlaps of
    # positions have no closed form.
    depth = int(rng.integers(1, 3 if forms == "quadrature" else 5 - convolutional))
    draw = _Draw(rng, _ACTIVATIONS[forms], normalised=bool(rng.random() < 0.7), shifted=shifted)
    shape, layers = (
        draw.image(depth, 3 if forms == "quadrature" or shifted else 8) if convolutional else draw.dense(depth)
    )
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
    # A shift beta leaves erf, and overlaps of two positions under any activation, without closed forms.
    if any(norm.beta for norm in net.batch_norms) and (convolutional or Activation("erf") in net.layers):
        forms = "quadrature"
    kind = f"{'images' if convolutional else 'dense'}, {forms}"
    return Case(net, arguments, kind, TOLERANCES[forms])


@dataclass(frozen=True)
class _Draw:
    """Random layers: from which activations, whether with BatchNorm, and whether its beta may differ from 0."""

    rng: np.random.Generator
    activations: tuple[str, ...]
    normalised: bool
    shifted: bool

    def dense(self, depth: int) -> tuple[tuple[int, ...], list[Layer]]:
        layers: list[Layer] = []
        for _ in range(depth):
            layers += [Dense(self.size(2000), *self.variances()), *self.after_affine()]
        return (self.size(2000),), [*layers, *self.output()]

    def image(self, depth: int, largest: int) -> tuple[tuple[int, ...], list[Layer]]:
        height, width = (int(size) for size in self.rng.integers(2, largest + 1, 2))
        shape = (int(self.rng.integers(1, 4)), height, width)
        layers: list[Layer] = []
        for _ in range(depth):
            kernel = int(self.rng.integers(1, min(3, height, width) + 1))
            stride, padding = int(self.rng.integers(1, 3)), int(self.rng.integers(0, kernel // 2 + 1))
            layers += [Conv2d(self.size(100), kernel, stride, padding, *self.variances()), *self.after_affine()]
            height, width = ((size + 2 * padding - kernel) // stride + 1 for size in (height, width))
        if min(height, width) >= 2 and self.rng.random() < 0.3:
            layers.append(AvgPool2d(2))
        if self.rng.random() < 0.3:
            layers.append(GlobalAvgPool2d())
        return shape, [*layers, Flatten(), *self.output()]

    def size(self, largest: int) -> int:
        return round(math.exp(self.rng.uniform(math.log(3), math.log(largest))))

    def variances(self) -> tuple[float, float]:
        """sigma_w2 and sigma_b2."""
        return float(self.rng.uniform(0.5, 3)), 0.0 if self.rng.random() < 0.3 else float(self.rng.uniform(0, 1))

    def after_affine(self) -> list[Layer]:
        """BatchNorm or not, then phi."""
        norm = [self.batch_norm()] if self.normalised and self.rng.random() < 0.8 else []
        return [*norm, Activation(str(self.rng.choice(self.activations)))]

    def batch_norm(self) -> BatchNorm:
        return BatchNorm(
            gamma=float(self.rng.choice([-1, 1]) * self.rng.uniform(0.2, 3)),
            beta=float(self.rng.normal(0, 0.5)) if self.shifted else 0.0,
            eps=0.0 if self.rng.random() < 0.5 else float(10 ** self.rng.uniform(-5, -1)),
            trained=bool(self.rng.random() < 0.3),
        )

    def output(self) -> list[Layer]:
        """The last affine layer, now and then with a BatchNorm of its own."""
        last = Dense(self.size(20), *self.variances())
        return [last, *([self.batch_norm()] if self.normalised and self.rng.random() < 0.15 else [])]


def compare(case: Case, theory: Theory) -> Comparison | None:
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
        refusal = "; ".join(
            f"{who}: {what}" for who, what in (("core", core), ("reference", slow)) if isinstance(what, str)
        )
        return Comparison(case, theory, (math.inf,) * len(QUANTITIES), refusal)
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
