# SPDX-License-Identifier: BSD-3-Clause
"""A finite network, its Jacobian and its Fisher information, as they are defined: one reverse pass a row, plain loops.

docs/theory.md, sections 1 and 2. Everything is float64. Images are (n, channels, height, width).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..network import Flatten, Network
from .arguments import boolean, choice, inputs_of, loss_of, network_of, whole
from .batch import Batch, Flow
from .kind import Kind
from .layers import KINDS

__all__ = [
    "STATISTICS",
    "Sampled",
    "batch_statistics",
    "draw",
    "forward",
    "jacobian",
    "sampled_density",
    "sampled_fisher",
    "sampled_moments",
    "stream",
]

STATISTICS = ("exact", "frozen", "mean_only", "variance_only")

Held = Sequence[tuple[Any, Any]]


def stream(seed: int, purpose: str) -> np.random.Generator:
    """NumPy's PCG64 with a stream of its own for each seed and purpose, "weights" or "inputs"."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=tuple(purpose.encode()))))


@dataclass(frozen=True)
class Sampled:
    """A finite network: weights and biases, one an affine layer, gammas and betas, one a normalisation."""

    net: Network
    weights: list[np.ndarray]
    biases: list[np.ndarray]
    gammas: list[np.ndarray]
    betas: list[np.ndarray]
    trained_biases: tuple[bool, ...]
    seed: int = 0

    @property
    def parameters(self) -> int:
        return self.net.parameters()


def draw(net: Network, seed: int = 0) -> Sampled:
    """W_ij ~ N(0, sigma_w2/fan_in), b_i ~ N(0, sigma_b2), layer by layer, weights in C order and then biases."""
    out, random = Sampled(network_of(net), [], [], [], [], (True,) * net.depth, seed), stream(seed, "weights")
    layer: Any
    for step in net.steps:
        layer, units = step.layer, step.after[0]
        arrays = KINDS[type(layer)].arrays
        if layer.affine:
            shape = layer.arrays(step.before, step.after)[0].shape
            scale = math.sqrt(layer.sigma_w2 / math.prod(shape[1:]))
            out.weights.append(scale * random.standard_normal(shape))
            out.biases.append(
                math.sqrt(layer.sigma_b2) * random.standard_normal(units) if layer.bias else np.zeros(units)
            )
        if "gammas" in arrays:
            out.gammas.append(np.full(layer.sizes(step.before), layer.gamma))
        if "betas" in arrays:
            out.betas.append(np.full(layer.sizes(step.before), layer.beta))
    return out


def forward(sampled: Any, x: Any, held: Held | None = None) -> np.ndarray:
    """f(x), (n, C), with the batch's own mean and biased variance in every BatchNorm (train mode).

    `held`, one pair (mean, variance) a BatchNorm, gives statistics in place of the batch's; None in a pair leaves that
    one to the batch. The variance is about the mean that is used.
    """
    return _trace(sampled, x, held)[0]


def batch_statistics(sampled: Any, x: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """(mean, variance) over samples and positions of what every BatchNorm receives, an entry a unit or channel."""
    return [step.kept[1:] for step in _trace(sampled, x)[1] if step.layer.over_batch]


def jacobian(sampled: Any, x: Any, statistics: str = "exact", biases: bool = True) -> np.ndarray:
    """J[i, k] = grad f_k(x_i), (n, C, P), a reverse pass through the whole batch for each sample i and output k.

    Parameters go layer by layer: weights in C order, then biases (if they count), then gamma and beta of trained
    normalisations behind them, in the order of `Network.steps`. `statistics` says what the gradient flows
    through, beside the units themselves:

        exact           the batch's mean and variance, as in any framework's train mode
        frozen          neither: both are constants
        mean_only       the mean; the variance is a constant
        variance_only   the variance; the mean is a constant

    Row (i, k) depends on all samples where there is a BatchNorm.
    """
    choice("statistics", statistics, STATISTICS)
    biases = boolean("biases", biases)
    f, steps = _trace(sampled, x)
    n, outputs = f.shape
    rows = []
    for i in range(n):
        for k in range(outputs):
            delta = np.zeros((n, *sampled.net.shapes[-1]))
            delta[i, k] = 1.0
            rows.append(_reverse(steps, delta, statistics, biases))
    return np.reshape(rows, (n, outputs, -1))


def sampled_fisher(
    net: Any,
    x: Any,
    seed: int = 0,
    statistics: str = "exact",
    k: int | str = 1,
    *,
    loss: str = "sum",
    biases: bool = True,
) -> np.ndarray:
    """The k largest of the nC eigenvalues of F* = (1/n) S^T J J^T S, the largest first; k = "all" for all of them.

    They are those of F but for zeros (docs/theory.md, 2). The loss's Hessian in the outputs of one sample is H, and
    F = (1/n) sum_i J_i^T H J_i with J_i (C x P) the rows of sample i. With H = S S^T this is
    F = (1/n) (S^T J)^T (S^T J), whose dual is (1/n) (S^T J)(S^T J)^T.

        sum             1/2, summed over outputs: H = I
        mean            1/2, mean over outputs: H = I/C
        mse             no 1/2, mean over outputs: H = 2 I/C
        cross_entropy   p = softmax of the sample's own outputs: H = diag(p) - p p^T, S = diag(sqrt p) - p sqrt(p)^T;
                        S S^T = diag p - p p^T - p p^T + p (sum p) p^T = H
    """
    eigenvalues = np.linalg.eigvalsh(_dual(net, x, seed, statistics, loss, biases))
    count = len(eigenvalues) if k == "all" else whole("k", k, 1, len(eigenvalues))
    return np.maximum(eigenvalues[::-1][:count], 0.0)  # no negative zeros from rounding


def sampled_moments(
    net: Any, x: Any, seed: int = 0, statistics: str = "exact", *, loss: str = "sum", biases: bool = True
) -> tuple[float, float]:
    """tr F = tr F* and tr F^2 = tr F*^2, the sum of squares of its entries."""
    dual = _dual(net, x, seed, statistics, loss, biases)
    return float(np.trace(dual)), float(np.sum(dual**2))


def sampled_density(
    net: Any, x: Any, seed: int = 0, statistics: str = "exact", *, loss: str = "sum", biases: bool = True
) -> np.ndarray:
    """Where the density of the eigenvalues of F* stands: at each of them, with a share of 1/(nC)."""
    return sampled_fisher(net, x, seed, statistics, "all", loss=loss, biases=biases)


def _dual(net: Any, x: Any, seed: int, statistics: str, loss: str, biases: bool) -> np.ndarray:
    """F*, (nC, nC)."""
    sampled = net if hasattr(net, "weights") else draw(net, seed)
    f = forward(sampled, x)
    loss = loss_of(loss, f.shape[1])
    J = jacobian(sampled, x, statistics, biases)
    n, outputs = f.shape
    if loss == "cross_entropy":
        p = np.exp(f - np.max(f, axis=1, keepdims=True))
        p /= np.sum(p, axis=1, keepdims=True)
        for i in range(n):
            S = np.diag(np.sqrt(p[i])) - np.outer(p[i], np.sqrt(p[i]))
            J[i] = S.T @ J[i]
        factor = 1.0
    else:
        factor = {"sum": 1.0, "mean": 1 / outputs, "mse": 2 / outputs}[loss]
    rows = J.reshape(n * outputs, -1)
    return np.asarray(factor / n * (rows @ rows.T))


# ---------------------------------------------------------------------------------------------------- the two passes
@dataclass(frozen=True)
class _Step:
    """One layer of a forward pass: what its reverse pass needs."""

    layer: Any
    reads: tuple[int, ...]
    kind: Kind
    arrays: tuple[np.ndarray, ...]
    flow: Flow
    kept: Any


def _trace(sampled: Any, x: Any, held: Held | None = None) -> tuple[np.ndarray, list[_Step]]:
    """The outputs, and every layer's step."""
    net, steps = network_of(sampled.net), []
    batches = {-1: Batch(inputs_of(net, x))}
    names = ("weights", "biases", "gammas", "betas")
    parts = {name: iter(getattr(sampled, name)) for name in names}
    trained_biases, statistics = iter(sampled.trained_biases), iter(held or ())
    normed, behind, inputs = _normed(net), _affine_layers_before(net), _of_inputs(net)
    for number, step in enumerate(net.steps):
        layer, kind = step.layer, KINDS[type(step.layer)]
        arrays = tuple(np.asarray(next(parts[name]), np.float64) for name in kind.arrays)
        flow = Flow(
            step.where,
            normed=normed[number],
            exact_offset=behind[number] <= 1,
            inputs=all(inputs[read] for read in step.reads),
            biases=not layer.affine or next(trained_biases),
            held=next(statistics, (None, None)) if layer.over_batch else (None, None),
            seed=sampled.seed,
        )
        batches[number], kept = kind.forward(layer, arrays, *(batches[read] for read in step.reads), flow)
        steps.append(_Step(layer, step.reads, kind, arrays, flow, kept))
    f = batches[len(steps) - 1].h
    return f.reshape(len(f), -1), steps  # one position


def _normed(net: Network) -> list[bool]:
    """Of each step, whether all that read it are BatchNorms, or sums of which that is true."""
    of_step = [False] * len(net.steps)
    for number in reversed(range(len(net.steps))):
        readers = [reader for reader, step in enumerate(net.steps) if number in step.reads]
        of_step[number] = bool(readers) and all(
            net.steps[reader].layer.over_batch or (len(net.steps[reader].reads) > 1 and of_step[reader])
            for reader in readers
        )
    return of_step


def _of_inputs(net: Network) -> dict[int, bool]:
    """Of each step, whether it gives the inputs as they are, and of the inputs (-1)."""
    of_step = {-1: True}
    for number, step in enumerate(net.steps):
        of_step[number] = isinstance(step.layer, Flatten) and of_step[step.reads[0]]
    return of_step


def _affine_layers_before(net: Network) -> list[int]:
    """Of each step, how many affine layers stand before it, or are it, on the longest way from the inputs."""
    counts = {-1: 0}
    for number, step in enumerate(net.steps):
        counts[number] = max(counts[read] for read in step.reads) + step.layer.affine
    return [counts[number] for number in range(len(net.steps))]


def _reverse(steps: list[_Step], delta: np.ndarray, statistics: str, biases: bool) -> np.ndarray:
    """The gradient with respect to all parameters of sum(delta * outputs), delta (n, *shape of the output): what
    comes back from all that read a step adds up."""
    parts: list[np.ndarray] = []  # last parameters first
    deltas: dict[int, Any] = {len(steps) - 1: delta}
    for number in reversed(range(len(steps))):
        step = steps[number]
        flow = replace(step.flow, statistics=statistics, biases=biases and step.flow.biases)
        before, gradients = step.kind.back(step.layer, step.arrays, step.kept, deltas.pop(number), flow)
        for read, each in zip(step.reads, before if len(step.reads) > 1 else (before,), strict=True):
            deltas[read] = deltas.get(read, 0.0) + each
        parts += reversed(gradients)
    return np.concatenate([part.ravel() for part in reversed(parts)])
