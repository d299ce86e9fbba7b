# SPDX-License-Identifier: BSD-3-Clause
"""The calls of the core's theory, each once; what the core reports is raised in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import _core, _numbers
from ..network import Network
from .settings import Descent, Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def refused(net: Network, failure: _core.Failure, overlap: float) -> ValueError:
    """In words; layers are counted from 1, as affine ones."""
    steps = net.steps
    layer = sum(step.layer.affine for step in steps[: failure.node + 1])
    if failure.status == _core.Status.zero_variance:
        norm = steps[failure.node].layer
        return ValueError(
            f"eps must be > 0 where the variance over {norm.variance_over} is zero, "
            f"as it is before the {type(norm).__name__} of affine layer {layer}"
        )
    if failure.status == _core.Status.inadmissible:
        return ValueError(
            f"overlap must be >= 0 where a position would have a variance below 0 over many data, "
            f"as behind the padding before the BatchNorm of affine layer {layer}, got {_numbers.shown(overlap)}"
        )
    behind = steps[steps.index(net.affine_steps[layer - 1]) :]
    name = next((str(step.layer) for step in behind if step.layer.pointwise), "the identity")
    return ValueError(f"affine layer {layer}: {_numbers.INTEGRALS[failure.status.name].format(activation=name)}")


def spectrum(net: Network, settings: Settings) -> _core.Spectrum:
    """The numbers of `fisher`."""
    try:
        return _core.fisher(net._compiled, float(net._counts[settings.biases]), settings)
    except _core.Failure as failure:
        raise refused(net, failure, settings.overlap) from None


def max_learning_rate(net: Network, settings: Settings, descent: Descent) -> _core.LearningRate:
    """The rate, and the spectrum that it was read off."""
    try:
        return _core.max_learning_rate(net._compiled, float(net._counts[settings.biases]), settings, descent)
    except _core.Failure as failure:
        raise refused(net, failure, settings.overlap) from None


def rate_of(lambda_max: float, net: Network, descent: Descent) -> float:
    """The rate for a largest eigenvalue that is known."""
    return _core.rate_of(lambda_max, float(net.outputs), descent)


def order_parameters(net: Network, settings: Settings) -> _core.OrderParameters:
    """Every affine layer's, and from which layer on numbers leave float64's range; 0 if none does."""
    try:
        return _core.order_parameters(net._compiled, settings)
    except _core.Failure as failure:
        raise refused(net, failure, settings.overlap) from None


def contributions(net: Network, settings: Settings) -> _core.Contributions:
    """Each affine layer's part of a and of b."""
    try:
        return _core.contributions(net._compiled, settings)
    except _core.Failure as failure:
        raise refused(net, failure, settings.overlap) from None


def sensitivities(net: Network, settings: Settings) -> _core.Sensitivities:
    """What lambda_max moves by when sums over the units behind an activation do; of a network without positions."""
    try:
        return _core.sensitivities(net._compiled, settings)
    except _core.Failure as failure:
        raise refused(net, failure, settings.overlap) from None


def output_state(net: Network, settings: Settings) -> tuple[float, float]:
    """xy and v of the outputs."""
    try:
        return _core.output_state(net._compiled, settings)
    except _core.Failure as failure:
        raise refused(net, failure, settings.overlap) from None


def edge(net: Network, settings: Settings) -> float:
    """Where the bulk ends; NaN where its equations are not known, or were not solved."""
    return _core.edge(net._compiled, settings)


def bulk_spectrum(net: Network, settings: Settings, x: Array) -> tuple[Array, Array]:
    """At each x the density of one output's n eigenvalues without the outlier, and how many lie above."""
    return _core.bulk_spectrum(net._compiled, settings, x)


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
    return where(net._compiled, settings, descent, list(shape), list(slots), list(quantities), *rest)


def step_limit(descent: Descent) -> float:
    """The largest stable rate times the curvature, by momentum alone."""
    return _core.step_limit(descent.momentum, descent.nesterov)
