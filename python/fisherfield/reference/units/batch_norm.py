# SPDX-License-Identifier: BSD-3-Clause
"""BatchNorm of sampled units: one mean and variance for each channel, over samples and positions; docs/theory.md,
section 12.

For n samples the Jacobian of u = (z - mean)/s, s^2 = var + eps, is exactly

    J = (1/s) (1 - E - U),    E = 11^T/(nK),    U = u u^T/(nK)      (1^T u = 0; whatever eps is)

of nK x nK. Of a kernel Theta of z, J Theta J^T needs Theta's means alone, over both its sides:

    s^2 J Theta J^T = Theta - r 1^T - 1 r^T + m 11^T - u v^T - v u^T + w u u^T,
    r = Theta 1/(nK),   m = mean r,   v = Theta u/(nK) - its mean,   w = u^T Theta u/(nK)^2 = mean(u v).

Frozen: mean and variance are constants, and Theta/s^2 is left.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..state import Place, State
from .state import GROUPS, Low, Sampling, Term, Units, as_units, drawn, mean_of_others, quantiles

__all__ = ["batch_norm"]


def batch_norm(layer: Any, state: State | Units, at: Place, sampling: Sampling) -> Units:
    """gamma u + beta of each unit, by its own statistics."""
    plain = isinstance(state, State) and not (np.any(state.ou) or np.any(state.du))
    if sampling.of_batch or not plain:
        return _of_batch(layer, as_units(state, sampling), at, sampling)
    assert isinstance(state, State)
    return _of_population(layer, state, at, sampling)


def _of_batch(layer: Any, units: Units, at: Place, sampling: Sampling) -> Units:
    """The R samples are the batch: exact in 1/n to all orders, and for units of any kernel."""
    z = units.h - units.h.mean(axis=(1, 2), keepdims=True)
    s = _deviation(layer, np.mean(z**2, axis=(1, 2)))
    u = z / s[:, None, None]
    gamma, beta = _numbers_of(layer, len(u), sampling)
    out = units.times(gamma * u + beta, _root_of_gain(at, sampling) * gamma / s[:, None, None])
    lows = out.lows
    if at.theory == "exact":
        # of the kernel times (gamma/s)^2
        r, k_u = (_applied(out, np.broadcast_to(each, u.shape)) for each in (np.ones_like(u), u))
        m = r.mean(axis=(2, 3), keepdims=True)
        v = k_u - k_u.mean(axis=(2, 3), keepdims=True)
        w = np.mean(u * v, axis=(2, 3), keepdims=True)
        lows = (*lows, Low(np.ones_like(u), m / 2 - r), Low(u, w * u / 2 - v))
    return Units(out.h, out.terms, (*lows, *_trained(layer, u, at, len(_layers_of(units)))), units.positions)


def _root_of_gain(at: Place, sampling: Sampling) -> float:
    """Of what kernels are multiplied by for units' own frozen variances, reference/own_variance.py."""
    return 1.0 if at.theory == "exact" else math.sqrt(sampling.gain)


def _deviation(layer: Any, variance: np.ndarray) -> np.ndarray:
    """s of each unit. A variance of 0 has no direction, and is refused as by the closed recursion."""
    if layer.eps == 0 and np.any(variance <= 0):
        raise ValueError("eps must be > 0 where the variance over the data is zero, as it is before a BatchNorm")
    return np.asarray(np.sqrt(variance + layer.eps))


def _numbers_of(layer: Any, units: int, sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """gamma and beta of each unit, (M, 1, 1).

    Where channels have their own, unit i of M carries one of the C channels, which keep their order: each M/C times
    where that is a whole number, and what groups take is spread evenly over all. The two of a pair are of one channel.
    """
    gamma, beta = (np.atleast_1d(each) for each in (layer.gamma, layer.beta))
    channels, half = max(gamma.size, beta.size), units // 2
    place = 2 * GROUPS * (np.arange(units) % half) + 2 * sampling.group + 1  # of 2 GROUPS half
    which = place * channels // (2 * GROUPS * half)
    gamma, beta = (np.broadcast_to(each, channels)[which, None, None] for each in (gamma, beta))
    return gamma, beta


def _layers_of(units: Units) -> np.ndarray:
    return units.terms[0].o if units.terms else units.lows[0].Q


def _applied(units: Units, x: np.ndarray) -> np.ndarray:
    """k x/(nK) for every unit, (layers, M, n, K): its kernel times a vector over samples and positions."""
    count = x.shape[1] * x.shape[2]
    total: Any = 0.0
    for term in units.terms:
        before = term.o.shape[-1]
        gathered = np.zeros((*x.shape[:2], before))  # sum over taps of A_t x, where each tap reads
        for A, reads in term.taps:
            for p, q in enumerate(reads):
                gathered[:, :, q] += A[:, :, p] * x[:, :, p]
        of_all = np.einsum("lqp,mp->lmq", term.o, gathered.sum(axis=1))
        inner = of_all[:, :, None] + np.einsum("lqp,mrp->lmrq", term.d, gathered)
        for A, reads in term.taps:
            total = total + A * inner[..., reads]
    for low in units.lows:
        both = (low.P * x).sum(axis=(1, 2), keepdims=True), (low.Q * x).sum(axis=(2, 3), keepdims=True)
        total = total + low.Q * both[0] + low.P * both[1]
    return np.asarray(total / count)


def _trained(layer: Any, u: np.ndarray, at: Place, layers: int) -> tuple[Low, ...]:
    """d/d beta = 1 and d/d gamma = u, which all positions of a channel share."""
    if not layer.trained:
        return ()
    one = np.ones_like(u)
    own = np.zeros((layers, 1, 1, 1))
    own[at.source] = 0.5
    return (Low(one, own * one), Low(u, own * u))


def _of_population(layer: Any, state: State, at: Place, sampling: Sampling) -> Units:
    """R samples out of n, or out of infinitely many. Of z = alpha + b(x) with Theta = d delta_xy + o for all units:

        zbar = the batch's mean of z at each position,   mean = mean_a zbar,   ubar = (zbar - mean)/s,
        s^2 = mean_x,a (z - mean)^2 + eps,               r = t = row means of o + d/n,
        v_x = [(d u_x)/n + o ubar]/K less its mean,      w = [mean_x u_x d u_x/n + ubar o ubar]/K^2,

    so that for all units alike o becomes o - t_a - t_a' + t, and d stays. The N = n - R samples that are not drawn
    enter by their mean of b, N(0, v/N), and their scatter about it, of N - 1 degrees of freedom and independent of it:
    its trace by a gamma variable of the trace's mean and variance, and sum_x u_x d u_x in proportion to it.
    """
    alpha, b = drawn(state, sampling)
    v = np.atleast_2d(state.v)
    n, positions = sampling.samples, alpha.shape[1]
    part, rest = (0.0, 0.0) if n is None else (1 / n, max(n - sampling.reads, 0.0))
    z, trace = alpha[:, None] + b, float(np.trace(v))
    others, scatter = alpha + mean_of_others(state, sampling, rest), _scatter(v, rest, sampling, len(alpha))
    zbar = alpha if n is None else part * (z.sum(axis=1) + rest * others)
    mean = zbar.mean(axis=1)
    if n is None:
        variance = np.mean((alpha - mean[:, None]) ** 2, axis=1) + trace / positions
    else:
        squares = np.sum((z - mean[:, None, None]) ** 2, axis=(1, 2)) + scatter
        variance = part / positions * (squares + rest * np.sum((others - mean[:, None]) ** 2, axis=1))
    s = _deviation(layer, variance)
    u = (z - mean[:, None, None]) / s[:, None, None]
    ubar, u_others = ((each - mean[:, None]) / s[:, None] for each in (zbar, others))
    o, d = (each if each.ndim == 3 else each[:, None, None] for each in (state.o, state.d))
    gamma, beta = _numbers_of(layer, len(u), sampling)
    c, one = _root_of_gain(at, sampling) * gamma / s[:, None, None], np.ones_like(u)
    lows: tuple[Low, ...] = ()
    if at.theory == "exact":
        both = o + part * d
        t = both.mean(axis=2)
        of_d = np.einsum("mrk,lkj,mrj->lm", u, d, u, optimize=True)
        of_d = of_d + rest * np.einsum("mk,lkj,mj->lm", u_others, d, u_others, optimize=True)
        if trace > 0:
            of_d = of_d + np.sum(d * v, axis=(1, 2))[:, None] * scatter / (trace * s**2)
        of_o = np.einsum("mk,lkj->lmj", ubar, o)
        w = (part**2 * of_d + np.einsum("lmk,mk->lm", of_o, ubar)) / positions**2
        of_x = part * np.einsum("mrk,lkj->lmrj", u, d) + (of_o - np.einsum("mk,lk->lm", ubar, t)[..., None])[:, :, None]
        lows = (Low(-c * u, c * (of_x / positions - w[..., None, None] * u / 2)),)
        o = o - t[:, :, None] - t[:, None, :] + t.mean(axis=1)[:, None, None]
    terms = (Term(((c * one, np.arange(positions)),), o, d),)
    lows = (*lows, *_trained(layer, u, at, len(o)))
    return Units(gamma * u + beta, terms, lows, state.positions)


def _scatter(v: np.ndarray, count: float, sampling: Sampling, units: int) -> np.ndarray:
    """sum_x |b(x) - mean b|^2 over `count` samples of each unit, N = count: mean (N - 1) tr v and variance
    2 (N - 1) tr v^2, by Wilson and Hilferty's cube of a normal variable, whose quantiles are taken once each. The two
    of a pair (z, -z) have the same."""
    trace = float(np.trace(v))
    if count <= 1 or trace <= 0:
        return np.zeros(units)
    over = 2 * float(np.sum(v * v)) / ((count - 1) * trace**2)  # 1/shape of the gamma distribution
    root = 1 - over / 9 + quantiles(sampling, 4, units // 2) * np.sqrt(over) / 3
    return np.tile((count - 1) * trace * np.maximum(root, 0.0) ** 3, 2)
