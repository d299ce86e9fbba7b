# SPDX-License-Identifier: BSD-3-Clause
"""A sampled network in the core: its forward pass, what that takes, and the threads of BLAS beside it."""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Network
from ..network.layer import Parts, Step, Window
from ..threads import num_threads
from .network import SampledNetwork

Array = NDArray[Any]

# What of BatchNorm's statistics gradients flow through: mean, variance.
STATISTICS = {
    "exact": (True, True),
    "frozen": (False, False),
    "mean_only": (True, False),
    "variance_only": (False, True),
}
_WORKSPACE = 32e6  # bytes of a convolution's patches at a time: well beyond what a BLAS needs to be fast


def linearization(sampled: SampledNetwork, statistics: str = "exact", with_biases: bool = True) -> Any:
    """The core's network, before any input."""
    return _linearized(sampled, statistics, with_biases)[0]


def _linearized(sampled: SampledNetwork, statistics: str, with_biases: bool) -> tuple[Any, list[int]]:
    """The core's network, and how many nodes it had when each step came to it."""
    kind = _core.Linearization64 if sampled.dtype == np.float64 else _core.Linearization32
    built = kind(list(sampled.net.input_shape), *STATISTICS[statistics], with_biases)
    built.seed = sampled.seed % 2**53
    starts: list[int] = []

    def parts_of_steps() -> Iterator[Parts]:
        for parts in sampled.parts:
            starts.append(built.nodes)
            yield parts

    parts = parts_of_steps()
    for layer, before in zip(sampled.net.layers, sampled.net.shapes, strict=False):
        layer.linearize_into(built, parts, before)
    return built, starts


def _step_of(sampled: SampledNetwork, node: int) -> Step:
    """The step that a node of the core's network belongs to."""
    _, starts = _linearized(sampled, "exact", True)
    return sampled.net.steps[bisect_right(starts, node) - 1]


def forward(sampled: SampledNetwork, built: Any, x: Array, keep: bool, noise: float = 0.0, seed: int = 0) -> Array:
    """f(x), (n, C); with `noise`, errors of that many times the rounding errors are added in every layer."""
    try:
        with blas_threads():
            outputs = built.forward(x, _WORKSPACE, keep, noise, seed)
    except _core.Failure as failure:
        raise _zero_variance(_step_of(sampled, failure.node), failure.unit) from None
    values: Array = not_overflown("f(x)", outputs)
    return values


def _zero_variance(step: Step, unit: int) -> ValueError:
    """Of a unit over the batch, or of a sample where the layer's statistics are its own."""
    kind = "sample" if not step.layer.over_batch else "channel" if step.image else "unit"
    over = "the batch" if step.layer.over_batch else "its units"
    name = type(step.layer).__name__
    return ValueError(f"{step.where}: {kind} {unit} has zero variance over {over}; {name} needs eps > 0")


def not_overflown(name: str, numbers: Array) -> Array:
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} of this network overflows {numbers.dtype} on these inputs")
    return numbers


def _patches(net: Network, samples: int, itemsize: int) -> list[int]:
    """Bytes of the patches that each layer gathers at a time, as cpp/cpu/finite/affine.cpp does."""
    sizes = []
    for step in net.steps:
        sizes.append(0)
        window = step.layer.window(step.before)
        if step.layer.affine and window and window._replace(dilation=(1, 1)) != Window((1, 1), (1, 1)):
            one = math.prod(step.after[1:]) * step.before[0] * math.prod(window.kernel) * itemsize
            sizes[-1] = min(max(int(_WORKSPACE // one), 1), samples) * one
    return sizes


def bytes_of_forward(sampled: SampledNetwork, samples: int) -> int:
    """What a forward pass takes that keeps nothing: the core's copy of the weights, and the numbers that this layer or
    a later one reads, and those behind this one, with its patches; all but affine layers and pools work in place, where
    nobody else reads."""
    net, itemsize, most = sampled.net, sampled.dtype.itemsize, 0
    alive = {-1: math.prod(net.input_shape)}
    last_reader = {source: at for at, step in enumerate(net.steps) for source in step.reads}
    for at, (step, patches) in enumerate(zip(net.steps, _patches(net, samples, itemsize), strict=True)):
        source, after = step.reads[0], math.prod(step.after)
        in_place = last_reader[source] == at and (step.layer.in_place or len(step.reads) > 1)
        units = sum(alive.values()) + (0 if in_place else after)
        most = max(most, samples * units * itemsize + patches)
        alive = {node: size for node, size in alive.items() if last_reader.get(node, -1) > at} | {at: after}
    return most + net.parameters() * itemsize


def bytes_of_operator(sampled: SampledNetwork, core: Any, samples: int) -> float:
    """What an operator takes: what the core says it keeps, patches, its copy of the weights and a vector of parameters.
    Where rounding is looked at, a pass is made while the last one is kept: its largest layer's numbers once more."""
    net, itemsize = sampled.net, sampled.dtype.itemsize
    patches = _patches(net, samples, itemsize)
    largest = samples * max(math.prod(shape) for shape in net.shapes[1:]) * itemsize
    kept = float(core.bytes(samples))
    return kept + sum(patches) + max(patches) + 2 * largest + 2 * int(core.parameters) * itemsize


@contextmanager
def blas_threads() -> Iterator[None]:
    """BLAS with as many threads as the core's loops; whoever is in last puts back what was before."""
    global _within, _before
    with _lock:
        if _within == 0:
            _before = _controller().limit(limits=num_threads(), user_api="blas")
        _within += 1
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if _within == 0:
                _before.restore_original_limits()


@cache
def _controller() -> Any:
    import scipy.linalg.cython_blas  # noqa: F401  (the BLAS that the core calls must be there to be found)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


_lock = threading.Lock()
_within, _before = 0, cast(Any, None)
