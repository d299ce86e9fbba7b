# SPDX-License-Identifier: BSD-3-Clause
"""A finite network, its Jacobian and its Fisher information, as they are defined: one reverse pass a row, plain loops.

docs/theory.md, sections 1 and 2. Everything is float64. Images are (n, channels, height, width); what a BatchNorm
averages over, the samples and the positions, are the axes other than 1.

A BatchNorm takes the mean of z = W h + b away, and with it the mean of what every weight is multiplied by. That mean is
taken off before it meets the weights, for it would cost digits of what is left: (1e8 + h) w has eight fewer than h w.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import _numbers
from ..network import Activation, AvgPool2d, BatchNorm, Conv2d, Dense, Flatten, GlobalAvgPool2d, Layer
from ..sampled import sample

__all__ = [
    "STATISTICS",
    "batch_statistics",
    "forward",
    "jacobian",
    "sampled_density",
    "sampled_fisher",
    "sampled_moments",
]

STATISTICS = ("exact", "frozen", "mean_only", "variance_only")

# Below so small a share of a unit's length, its standard deviation over the batch is what rounding leaves.
_CONSTANT = 1e-12

Pair = tuple[int, int]
Held = Sequence[tuple[Any, Any]]


def forward(sampled: Any, x: Any, held: Held | None = None) -> np.ndarray:
    """f(x), (n, C), with the batch's own mean and biased variance in every BatchNorm (train mode).

    `held`, one pair (mean, variance) a BatchNorm, gives statistics in place of the batch's; None in a pair leaves that
    one to the batch. The variance is about the mean that is used.
    """
    return _trace(sampled, x, held)[0]


def batch_statistics(sampled: Any, x: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """(mean, variance) over samples and positions of what every BatchNorm receives, an entry a unit or channel."""
    return [(step.mean, step.var) for step in _trace(sampled, x)[1] if isinstance(step.layer, BatchNorm)]


def jacobian(sampled: Any, x: Any, statistics: str = "exact", biases: bool = True) -> np.ndarray:
    """J[i, k] = grad f_k(x_i), (n, C, P), a reverse pass through the whole batch for each sample i and output k.

    Parameters go layer by layer: weights in C order, then biases (if they count), then gamma and beta of a trained
    BatchNorm behind them. `statistics` says what the gradient flows through, beside the units themselves:

        exact           the batch's mean and variance, as in any framework's train mode
        frozen          neither: both are constants
        mean_only       the mean; the variance is a constant
        variance_only   the variance; the mean is a constant

    Row (i, k) depends on all samples where there is a BatchNorm.
    """
    _numbers.choice("statistics", statistics, STATISTICS)
    biases = _numbers.boolean("biases", biases)
    f, steps = _trace(sampled, x)
    n, outputs = f.shape
    J = np.empty((n, outputs, sampled.parameters if biases else sampled.net.parameters(biases=False)))
    for i in range(n):
        for k in range(outputs):
            delta = np.zeros((n, *sampled.net.shapes[-1]))
            delta[i, k] = 1.0
            J[i, k] = _reverse(sampled, steps, delta, statistics, biases)
    return J


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
    count = len(eigenvalues) if k == "all" else _numbers.integer("k", k, 1, len(eigenvalues))
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
    sampled = _numbers.sampled_network_of(net, seed, None, sample)
    f = forward(sampled, x)
    loss = _numbers.loss_of(loss, f.shape[1])
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


@dataclass
class _Step:
    """One layer of a forward pass: what went into it, and what its reverse pass needs besides."""

    layer: Layer
    h: np.ndarray
    index: int = 0  # which affine layer, or which BatchNorm, it is
    normed: bool = False  # a BatchNorm stands directly behind it
    u: np.ndarray = field(default_factory=lambda: np.empty(0))  # normalised
    mean: np.ndarray = field(default_factory=lambda: np.empty(0))
    var: np.ndarray = field(default_factory=lambda: np.empty(0))


def _trace(sampled: Any, x: Any, held: Held | None = None) -> tuple[np.ndarray, list[_Step]]:
    """The outputs, and every layer's step."""
    net = _numbers.sampled_of(sampled).net
    h = _numbers.inputs_of(net, x, np.dtype(np.float64))
    steps: list[_Step] = []
    affine = norms = 0
    offset: Any = 0.0  # of h from what it stands for, where the BatchNorm to come takes it away
    for place, layer in enumerate(net.layers):
        step = _Step(layer, h)
        steps.append(step)
        if isinstance(layer, (Dense, Conv2d)):
            W, b = (np.asarray(arrays[affine], np.float64) for arrays in (sampled.weights, sampled.biases))
            step.index, affine = affine, affine + 1
            step.normed = isinstance(next(iter(net.layers[place + 1 :]), None), BatchNorm)
            if step.normed:
                h, offset = _off_mean(layer, W, h)
                offset = offset + b
            else:
                h = h @ W.T + b if isinstance(layer, Dense) else _convolve(layer, W, h)[0] + b[:, None, None]
        elif isinstance(layer, BatchNorm):
            gamma, beta = (np.asarray(arrays[norms], np.float64) for arrays in (sampled.gammas, sampled.betas))
            mean, var = held[norms] if held is not None else (None, None)
            step.index, norms = norms, norms + 1
            over = (0, *range(2, h.ndim))
            step.mean = np.mean(h, axis=over) + offset if mean is None else mean
            centred = h - _channels(np.mean(h, axis=over) if mean is None else mean - offset, h.ndim)
            step.var = np.mean(centred**2, axis=over) if var is None else var
            # what was taken off the inputs themselves was exact
            constant = step.var <= _CONSTANT**2 * (np.mean(h**2, axis=over) + (offset**2 if affine > 1 else 0.0))
            if layer.eps == 0 and constant.any():
                kind = "unit" if h.ndim == 2 else "channel"
                raise ValueError(
                    f"layers[{place}]: {kind} {int(np.argmax(constant))} has zero variance over the batch; "
                    "BatchNorm needs eps > 0"
                )
            step.u = centred / _channels(np.sqrt(step.var + layer.eps), h.ndim)
            h = _channels(gamma, h.ndim) * step.u + _channels(beta, h.ndim)
        elif isinstance(layer, Activation):
            h = layer(h)
        elif isinstance(layer, (AvgPool2d, GlobalAvgPool2d)):
            h = _pool(layer, h)
        else:
            assert isinstance(layer, Flatten)
            h = h.reshape(len(h), -1)
    return h.reshape(len(h), -1), steps  # one position


def _reverse(sampled: Any, steps: list[_Step], delta: np.ndarray, statistics: str, biases: bool) -> np.ndarray:
    """The gradient with respect to all parameters of sum(delta * outputs), delta (n, *shape of the output)."""
    parts: list[np.ndarray] = []  # last parameters first
    for step in reversed(steps):
        layer, h = step.layer, step.h
        over = (0, *range(2, delta.ndim))  # samples and positions
        if isinstance(layer, (Dense, Conv2d)):
            W = np.asarray(sampled.weights[step.index], np.float64)
            # deltas that come through a BatchNorm's mean sum to 0, and the mean of h does not matter to their gradient
            centred = step.normed and statistics in ("exact", "mean_only")
            if biases and sampled.trained_biases[step.index]:
                parts.append(np.sum(delta, axis=over))
            if isinstance(layer, Dense):
                # z = W h + b:  dW_ij = sum_n delta_i h_j,  dh = W^T delta
                parts.append(delta.T @ (h - np.mean(h, axis=0) if centred else h))
                delta = delta @ W
            else:
                grad, delta = _convolve_back(layer, W, h, delta, centred)
                parts.append(grad)
        elif isinstance(layer, BatchNorm):
            if layer.trained:
                parts += [np.sum(delta, axis=over), np.sum(delta * step.u, axis=over)]  # beta, gamma
            gamma = np.asarray(sampled.gammas[step.index], np.float64)
            delta = _normalise_back(step, layer.eps, _channels(gamma, delta.ndim) * delta, statistics)
        elif isinstance(layer, Activation):
            delta = delta * layer.derivative(h)
        elif isinstance(layer, (AvgPool2d, GlobalAvgPool2d)):
            delta = _pool_back(layer, h, delta)
        else:
            delta = delta.reshape(h.shape)
    return np.concatenate([part.ravel() for part in reversed(parts)])


def _normalise_back(step: _Step, eps: float, delta: np.ndarray, statistics: str) -> np.ndarray:
    """dz from du, u = (z - m)/s, m = mean z, s^2 = mean (z - m)^2 + eps, means over the M numbers of a unit or channel.

    du_i/dz_j = (1/s) ([i = j] - dm/dz_j - u_i ds/dz_j),
    dm/dz_j = 1/M,   ds/dz_j = (1/(2 s)) (2/M) (z_j - m) = u_j/M     (m's own part: sum_i (z_i - m) = 0), hence
    dz_j = (1/s) [du_j - mean(du) - u_j mean(du u)], the middle term from the mean and the last from the variance.
    """
    over = (0, *range(2, delta.ndim))
    dz = delta.copy()
    if statistics in ("exact", "mean_only"):
        dz -= _channels(np.mean(delta, axis=over), delta.ndim)
    if statistics in ("exact", "variance_only"):
        dz -= step.u * _channels(np.mean(delta * step.u, axis=over), delta.ndim)
    dz /= _channels(np.sqrt(step.var + eps), delta.ndim)
    return dz


def _channels(vector: np.ndarray, dimensions: int) -> np.ndarray:
    """A vector with an entry a channel, to go with (n, channels) or (n, channels, height, width)."""
    return vector.reshape(-1, *(1,) * (dimensions - 2))


def _two(value: Any) -> Pair:
    return value if isinstance(value, tuple) else (value, value)


def _taps(shape: tuple[int, ...], kernel: Pair, stride: Pair) -> Iterator[tuple[int, int, slice, slice]]:
    """Each tap (i, j) of a kernel and the rows and columns that it reads, one for each output position.

    Output position a reads input position s a + t at tap t.
    """
    after = tuple((size - width) // step + 1 for size, width, step in zip(shape, kernel, stride, strict=True))
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            yield (
                i,
                j,
                slice(i, i + stride[0] * (after[0] - 1) + 1, stride[0]),
                slice(j, j + stride[1] * (after[1] - 1) + 1, stride[1]),
            )


def _padded(layer: Conv2d, h: np.ndarray) -> np.ndarray:
    rows, columns = _two(layer.padding)
    return np.pad(h, ((0, 0), (0, 0), (rows, rows), (columns, columns)))


def _convolve(layer: Conv2d, W: np.ndarray, h: np.ndarray, centred: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """z_o(a) = sum_t sum_c W_oc(t) h_c(s a + t), h with a frame of zeros around it; and its mean.

    The mean over n and a, 0 unless `centred`, is taken off, and for each tap: behind a frame of zeros they differ.
    """
    h = _padded(layer, h)
    terms, offset = [], np.zeros(len(W))
    for i, j, rows, columns in _taps(h.shape[2:4], _two(layer.kernel), _two(layer.stride)):
        seen, mean = h[:, :, rows, columns], np.zeros(h.shape[1])
        if centred:
            mean = np.mean(seen, axis=(0, 2, 3))
        terms.append(np.einsum("oc,ncij->noij", W[:, :, i, j], seen - mean[:, None, None]))
        offset += W[:, :, i, j] @ mean
    return np.asarray(sum(terms)), offset


def _off_mean(layer: Dense | Conv2d, W: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """W h but for its mean over samples and positions, and that mean."""
    if isinstance(layer, Conv2d):
        return _convolve(layer, W, h, centred=True)
    mean = np.mean(h, axis=0)
    return (h - mean) @ W.T, W @ mean


def _convolve_back(
    layer: Conv2d, W: np.ndarray, h: np.ndarray, delta: np.ndarray, centred: bool
) -> tuple[np.ndarray, np.ndarray]:
    """dW_oc(t) = sum_n sum_a delta_o(a) h_c(s a + t),  dh_c(s a + t) = sum_t sum_o W_oc(t) delta_o(a)."""
    h = _padded(layer, h)
    dW, dh = np.zeros_like(W), np.zeros_like(h)
    for i, j, rows, columns in _taps(h.shape[2:4], _two(layer.kernel), _two(layer.stride)):
        seen = h[:, :, rows, columns]
        dW[:, :, i, j] = np.einsum(
            "noij,ncij->oc", delta, seen - np.mean(seen, axis=(0, 2, 3), keepdims=True) if centred else seen
        )
        dh[:, :, rows, columns] += np.einsum("oc,noij->ncij", W[:, :, i, j], delta)
    top, left = _two(layer.padding)
    return dW, dh[:, :, top : h.shape[2] - top, left : h.shape[3] - left]


def _pool(layer: AvgPool2d | GlobalAvgPool2d, h: np.ndarray) -> np.ndarray:
    """The mean over a window: a convolution of every channel with equal taps."""
    kernel, stride = _windows(layer, h)
    parts = [h[:, :, rows, columns] for _, _, rows, columns in _taps(h.shape[2:4], kernel, stride)]
    return np.asarray(sum(parts) / (kernel[0] * kernel[1]))


def _windows(layer: AvgPool2d | GlobalAvgPool2d, h: np.ndarray) -> tuple[Pair, Pair]:
    if isinstance(layer, GlobalAvgPool2d):
        return (h.shape[2], h.shape[3]), (1, 1)
    return _two(layer.kernel), _two(layer.stride)


def _pool_back(layer: AvgPool2d | GlobalAvgPool2d, h: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """Every position of a window receives its share."""
    kernel, stride = _windows(layer, h)
    dh = np.zeros_like(h)
    for _, _, rows, columns in _taps(h.shape[2:4], kernel, stride):
        dh[:, :, rows, columns] += delta / (kernel[0] * kernel[1])
    return dh
