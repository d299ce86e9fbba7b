# SPDX-License-Identifier: BSD-3-Clause
"""The calls of the core's theory, each once: the settings go as one object, and what the core reports is raised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _core, _numbers
from ..network import Network
from .settings import Descent, Settings

Array = NDArray[np.float64]


class Spectrum(NamedTuple):
    """What `fisher` is made of; log2 is lambda_max's logarithm, `fit` whether all others are within float64's range."""

    a: float
    b: float
    lambda_max: float
    bulk: float
    mean: float
    second_moment: float
    multiplicity: float
    outlier: bool
    log2: float
    fit: bool


def _settings(settings: Settings) -> tuple[int, float, float, float, bool]:
    """The core's words: the place of the theory, and 0 samples for infinitely many."""
    theory, samples, overlap, length, biases = settings
    return _numbers.THEORIES.index(theory), float(samples or 0), overlap, length, biases


def _succeeded(net: Network, out: tuple[Any, ...]) -> tuple[Any, ...]:
    """What the core gave; raised if that is a failure's (status, layer), with layers counted from 1, as affine ones."""
    if len(out) != 2:
        return out
    status, layer = out
    if status == 1:
        raise ValueError(
            "eps must be > 0 where the variance over the data is zero, "
            f"as it is before the BatchNorm of affine layer {layer}"
        )
    behind = net.steps[net.steps.index(net.affine_steps[layer - 1]) :]
    name = next((str(step.layer) for step in behind if step.layer.pointwise), "the identity")
    raise ValueError(f"affine layer {layer}: {_numbers.INTEGRALS[_core.Status(status).name].format(activation=name)}")


def spectrum(net: Network, settings: Settings) -> Spectrum:
    """The numbers of `fisher`."""
    out = _core.fisher(net._compiled, float(net.parameters(settings.biases)), *_settings(settings))
    return Spectrum._make(_succeeded(net, out))


def max_learning_rate(net: Network, settings: Settings, descent: Descent) -> tuple[float, Spectrum]:
    """The rate, and the spectrum that it was read off."""
    out = _core.max_learning_rate(
        net._compiled,
        float(net.parameters(settings.biases)),
        *_settings(settings),
        descent.momentum,
        _numbers.LOSSES.index(descent.loss),
        descent.nesterov,
        descent.weight_decay,
    )
    rate, numbers, _ = _succeeded(net, out)
    return rate, Spectrum._make(numbers)


def order_parameters(net: Network, settings: Settings) -> tuple[list[Array], int]:
    """The columns, and from which layer on numbers leave float64's range; 0 if none does."""
    *columns, beyond = _succeeded(net, _core.order_parameters(net._compiled, *_settings(settings)))
    return columns, beyond


def contributions(net: Network, settings: Settings) -> tuple[Array, Array]:
    """Each affine layer's part of a and of b."""
    a, b, _ = _succeeded(net, _core.contributions(net._compiled, *_settings(settings)))
    return a, b


def scan(
    net: Network,
    settings: Settings,
    descent: Descent,
    shape: Sequence[int],
    slots: Sequence[tuple[str, int, Array]],
    quantities: Sequence[str],
    where: Callable[..., tuple[dict[str, Array], NDArray[np.int8]]],
    *rest: Any,
) -> tuple[dict[str, Array], NDArray[np.int8]]:
    """The quantities in a box of points, by the core's scan on the CPU or by that on a device, and their statuses."""
    theory, samples, overlap, length, biases = _settings(settings)
    numbers = (samples, overlap, length, descent.momentum, descent.nesterov, descent.weight_decay)
    loss = _numbers.LOSSES.index(descent.loss)
    arrays, status = where(
        net._compiled, theory, biases, loss, numbers, list(shape), list(slots), list(quantities), *rest
    )
    return dict(arrays), status


def step_limit(descent: Descent) -> float:
    """The largest stable rate times the curvature, by momentum alone."""
    return _core.step_limit(descent.momentum, descent.nesterov)
