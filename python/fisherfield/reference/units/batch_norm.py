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

from typing import Any

import numpy as np

from ..state import Place, State
from .state import Low, Sampling, Term, Units, as_units, drawn, normals

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
    out = units.times(layer.gamma * u + layer.beta, layer.gamma / s[:, None, None])
    lows = out.lows
    if at.theory == "exact":
        # of the kernel times (gamma/s)^2
        r, k_u = (_applied(out, np.broadcast_to(each, u.shape)) for each in (np.ones_like(u), u))
        m = r.mean(axis=(2, 3), keepdims=True)
        v = k_u - k_u.mean(axis=(2, 3), keepdims=True)
        w = np.mean(u * v, axis=(2, 3), keepdims=True)
        lows = (*lows, Low(np.ones_like(u), m / 2 - r), Low(u, w * u / 2 - v))
    return Units(out.h, out.terms, (*lows, *_trained(layer, u, at, len(_layers_of(units)))), units.positions)


def _deviation(layer: Any, variance: np.ndarray) -> np.ndarray:
    """s of each unit. A variance of 0 has no direction, and is refused as by the closed recursion."""
    if layer.eps == 0 and np.any(variance <= 0):
        raise ValueError("eps must be > 0 where the variance over the data is zero, as it is before a BatchNorm")
    return np.asarray(np.sqrt(variance + layer.eps))


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

        mean = mean_a alpha + bb,    bb = the batch's mean of b: that of the R samples, and of the n - R others
                                          N(0, (n - R) mean(v)/n^2)
        s^2 = var_a(alpha) + mean_a v_aa - mean(v)/n + eps      (its fluctuation over batches is left out)
        ubar = (alpha - mean_a alpha)/s                         (the batch's mean of u, up to mean b)
        r = t = row means of o + d/n,
        v_x = [(d u_x)/n + o ubar]/K less its mean,   w = [mean_x u_x d u_x/n + ubar o ubar]/K^2,
        mean_x u_x d u_x = ubar d ubar + sum_aa' d_aa' v_aa'/s^2,

    so that for all units alike o becomes o - t_a - t_a' + t, and d stays.
    """
    alpha, b = drawn(state, sampling)
    xy_v = np.atleast_2d(state.v)
    n, positions = sampling.samples, alpha.shape[1]
    part = 0.0 if n is None else 1 / n
    common = alpha - alpha.mean(axis=1, keepdims=True)
    batch_mean = np.zeros(len(alpha))
    if n is not None:
        others = np.sqrt(max(n - sampling.reads, 0) * max(float(np.mean(xy_v)), 0.0)) / n
        batch_mean = b.mean(axis=2).sum(axis=1) / n + others * _rest(sampling, len(alpha))
    variance = np.mean(common**2, axis=1) + np.mean(np.diagonal(xy_v)) - part * np.mean(xy_v)
    s = _deviation(layer, variance)
    u = (common[:, None] + b - batch_mean[:, None, None]) / s[:, None, None]
    ubar = common / s[:, None]
    o, d = (each if each.ndim == 3 else each[:, None, None] for each in (state.o, state.d))
    c, one = (layer.gamma / s)[:, None, None], np.ones_like(u)
    lows: tuple[Low, ...] = ()
    if at.theory == "exact":
        both = o + part * d
        t = both.mean(axis=2)
        of_d = np.einsum("mk,lkj,mj->lm", ubar, d, ubar) + np.sum(d * xy_v, axis=(1, 2))[:, None] / s**2
        of_o = np.einsum("mk,lkj->lmj", ubar, o)
        w = (part * of_d + np.einsum("lmk,mk->lm", of_o, ubar)) / positions**2
        v = part * np.einsum("mrk,lkj->lmrj", u, d) + (of_o - np.einsum("mk,lk->lm", ubar, t)[..., None])[:, :, None]
        lows = (Low(-c * u, c * (v / positions - w[..., None, None] * u / 2)),)
        o = o - t[:, :, None] - t[:, None, :] + t.mean(axis=1)[:, None, None]
    terms = (Term(((c * one, np.arange(positions)),), o, d),)
    lows = (*lows, *_trained(layer, u, at, len(o)))
    return Units(layer.gamma * u + layer.beta, terms, lows, state.positions)


def _rest(sampling: Sampling, units: int) -> np.ndarray:
    """A number for each unit, of pairs (z, -z) the same but for its sign."""
    half = normals(sampling, 4, units // 2, 1)[:, 0]
    return np.concatenate([half, -half])
