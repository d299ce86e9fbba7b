# SPDX-License-Identifier: BSD-3-Clause
"""A sampled network in the core: its forward pass, what that takes, and the threads of BLAS beside it."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Activation, AvgPool2d, BatchNorm, Conv2d, Dense, GlobalAvgPool2d, Network
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
    kind = _core.Linearization64 if sampled.dtype == np.float64 else _core.Linearization32
    built = kind(list(sampled.net.input_shape), *STATISTICS[statistics], with_biases)
    affine = zip(sampled.weights, sampled.biases, sampled.trained_biases, strict=True)
    norms = zip(sampled.gammas, sampled.betas, strict=True)
    for layer, before in zip(sampled.net.layers, sampled.net.shapes, strict=False):
        if isinstance(layer, Dense):
            weights, biases, trained = next(affine)
            built.dense(weights, biases, trained)
        elif isinstance(layer, Conv2d):
            weights, biases, trained = next(affine)
            built.conv2d(weights, biases, trained, _two(layer.stride), _two(layer.padding))
        elif isinstance(layer, BatchNorm):
            built.batch_norm(*next(norms), layer.eps, layer.trained)
        elif isinstance(layer, Activation):
            built.activation(layer._compiled)
        elif isinstance(layer, AvgPool2d):
            built.average_pool(_two(layer.kernel), _two(layer.stride or layer.kernel))
        elif isinstance(layer, GlobalAvgPool2d):
            built.average_pool(before[1:], (1, 1))
    return built


def forward(sampled: SampledNetwork, built: Any, x: Array, keep: bool, noise: float = 0.0, seed: int = 0) -> Array:
    """f(x), (n, C); with `noise`, errors of that many times the rounding errors are added in every layer."""
    with blas_threads():
        outputs = built.forward(x, _WORKSPACE, keep, noise, seed)
    if isinstance(outputs, tuple):
        norm, unit = outputs
        place = [place for place, layer in enumerate(sampled.net.layers) if isinstance(layer, BatchNorm)][norm]
        raise _zero_variance(sampled.net, place, unit)
    found: Array = not_overflown("f(x)", outputs)
    return found


def _zero_variance(net: Network, place: int, unit: int) -> ValueError:
    kind = "unit" if len(net.shapes[place + 1]) == 1 else "channel"
    return ValueError(f"layers[{place}]: {kind} {unit} has zero variance over the batch; BatchNorm needs eps > 0")


def not_overflown(name: str, numbers: Array) -> Array:
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} of this network overflows {numbers.dtype} on these inputs")
    return numbers


def _patches(net: Network, samples: int, itemsize: int) -> list[int]:
    """Bytes of the patches that each layer gathers at a time, as cpp/cpu/sampled.cpp does."""
    sizes = []
    for layer, before, after in zip(net.layers, net.shapes, net.shapes[1:], strict=False):
        sizes.append(0)
        if isinstance(layer, Conv2d):
            window = (_two(layer.kernel), _two(layer.stride), _two(layer.padding))
            if window != ((1, 1), (1, 1), (0, 0)):
                one = math.prod(after[1:]) * before[0] * math.prod(window[0]) * itemsize
                sizes[-1] = min(max(int(_WORKSPACE // one), 1), samples) * one
    return sizes


def bytes_of_forward(sampled: SampledNetwork, samples: int) -> int:
    """What a forward pass takes that keeps nothing: the core's copy of the weights, and the numbers before and behind
    one layer with its patches; all but affine layers and pools work in place."""
    net, itemsize, most = sampled.net, sampled.dtype.itemsize, 0
    for layer, before, after, patches in zip(
        net.layers, net.shapes, net.shapes[1:], _patches(net, samples, itemsize), strict=False
    ):
        in_place = not isinstance(layer, (Dense, Conv2d, AvgPool2d, GlobalAvgPool2d))
        units = math.prod(after) + (0 if in_place else math.prod(before))
        most = max(most, samples * units * itemsize + patches)
    return most + net.parameters() * itemsize


def bytes_of_operator(sampled: SampledNetwork, core: Any, samples: int) -> float:
    """What an operator takes: what the core says it keeps, patches, its copy of the weights and a vector of parameters.
    Where rounding is looked at, a pass is made while the last one is kept: its largest layer's numbers once more."""
    net, itemsize = sampled.net, sampled.dtype.itemsize
    patches = _patches(net, samples, itemsize)
    largest = samples * max(math.prod(shape) for shape in net.shapes[1:]) * itemsize
    kept = float(core.bytes(samples))
    return kept + sum(patches) + max(patches) + 2 * largest + 2 * int(core.parameters) * itemsize


def _two(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


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
