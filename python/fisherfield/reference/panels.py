# SPDX-License-Identifier: BSD-3-Clause
"""Gaussian expectations in float64 by plain split quadrature: Gauss-Legendre panels, cut where the integrand turns.

Relative error below 1e-11 for variances in [1e-3, 1e3] and c in [-1, 1], where the integral does not cancel. The
integrand must be smooth on the scale of 1 near 0 and on the scale of |x| far from it, but for its kinks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Integrand", "Turns", "each", "half_square", "one", "two"]

# What is integrated: f(x, z) with x = sqrt(q) z + shift.
Integrand = Callable[[np.ndarray, np.ndarray], np.ndarray]

# Composite Gauss-Legendre, 20 nodes a panel. With panels of half-width h, centre m, the rule converges like rho^-40,
# rho the sum of the half-axes of the largest ellipse with foci m +- h that holds no singularity. Panels of 3 in z:
# exp(-z^2/2) has none. Panels of 2 in x near 0: tanh has its nearest pole at i pi/2, rho = 3.9, 3.9^-40 = 3e-24.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
_END = 38.0  # exp(-38^2/2) is the smallest number there is
_Z_BREAKS = np.array([0, 3, 6, 9, 12, 15, 18, 22, 26, 30, 34, 38.0])
_Z_BREAKS = np.concatenate((-_Z_BREAKS[:0:-1], _Z_BREAKS))
# The same where all there is may lie beyond a kink far out: over a panel the density falls by e^40 at most.
_FAR_BREAKS = np.concatenate((np.arange(0, 12, 3.0), np.arange(12, 20, 2.0), np.arange(20, 39, 1.0)))
# Structure of phi: on the scale of 1 near 0, of |x| far from it.
_X_BREAKS = np.concatenate((np.arange(2, 17, 2.0), 16 * 1.5 ** np.arange(1, 60)))
_X_BREAKS = np.concatenate((-_X_BREAKS[::-1], [0.0], _X_BREAKS))


class Turns(NamedTuple):
    """Where an activation has kinks, and on which scale it turns: that of celu(alpha), alpha celu_1(x/alpha)."""

    kinks: np.ndarray
    scale: float

    @property
    def breaks(self) -> np.ndarray:
        return self.scale * _X_BREAKS

    @property
    def points(self) -> np.ndarray:
        return np.concatenate((self.kinks, self.breaks))


# Structure of a kink smoothed by a Gaussian of width 1: an error function.
_LADDER = np.concatenate((np.arange(0, 13, 2.0), 12 * 2.0 ** np.arange(1, 60)))
_LADDER = np.concatenate((-_LADDER[:0:-1], _LADDER))


def _panels(breaks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes z and weights for E f(z) with the line split at `breaks`, one row of breaks for each integral."""
    breaks = np.sort(np.clip(breaks, -_END, _END), axis=-1)
    low, high = breaks[..., :-1], breaks[..., 1:]
    used = np.any((high > low).reshape(-1, low.shape[-1]), axis=0)
    low, half = low[..., used], 0.5 * (high - low)[..., used]
    z = (low + half)[..., None] + half[..., None] * _NODES
    weights = half[..., None] * _WEIGHTS * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    flat = (*breaks.shape[:-1], -1)
    return z.reshape(flat), weights.reshape(flat)


def one(f: Integrand, turns: Turns, q: float, shift: float) -> float:
    """E f(sqrt(q) z + shift, z); z and -z are taken together, so that odd functions give 0."""
    root = np.sqrt(q)
    breaks = _FAR_BREAKS
    if root > 0:
        with np.errstate(over="ignore"):
            breaks = np.concatenate((breaks, (turns.points - shift) / root))
    z, weights = _panels(np.unique(np.clip(np.abs(breaks), 0, _END)))
    return float(np.sum(weights * (f(shift + root * z, z) + f(shift - root * z, -z))))


def _smoothed(turns: Turns, slope: float, width: float, shift: float) -> np.ndarray:
    """Where z -> E_w g(slope z + width w + shift) has structure: at z = (kink - shift)/slope, width/|slope| wide."""
    if slope == 0:
        return np.zeros(0)
    with np.errstate(over="ignore"):
        around = ((turns.kinks - shift) / slope)[:, None] + width / abs(slope) * _LADDER
        return np.concatenate((around.ravel(), (turns.breaks - shift) / slope))


def two(f: Integrand, turns: Turns, q1: float, q2: float, c: float, one_minus_c: float, shift: float) -> float:
    """E f(x1, z1) f(x2, z2): the outer integral over z1, the inner, a conditional mean, over the rest of z2.

    z2 = c z1 + s w, s = sqrt(1 - c^2), so given z1 the second argument is N(sqrt(q2) c z1 + shift, q2 s^2). The
    conditional mean is smooth in z1 on the scale s/|c| around the images of the kinks; there the outer integral is
    split ever finer.
    """
    root1, root2 = np.sqrt(q1), np.sqrt(q2)
    s = np.sqrt(one_minus_c * (2 - one_minus_c))
    outer = [_Z_BREAKS, _smoothed(turns, root1, 0.0, shift), _smoothed(turns, root2 * c, root2 * s, shift)]
    z1, weights1 = _panels(np.unique(np.clip(np.concatenate(outer), -_END, _END)))
    if s == 0:
        return float(np.sum(weights1 * f(root1 * z1 + shift, z1) * f(root2 * (c * z1) + shift, c * z1)))
    total = 0.0
    for part in np.array_split(np.arange(z1.size), max(1, z1.size // 200)):
        centre = c * z1[part, None]
        inner = np.broadcast_to(_Z_BREAKS, (part.size, _Z_BREAKS.size))
        if root2 > 0:
            inner = np.concatenate((inner, (turns.points - shift - root2 * centre) / (root2 * s)), axis=1)
        w, weights2 = _panels(inner)
        z2 = centre + s * w
        conditional = np.sum(weights2 * f(root2 * z2 + shift, z2), axis=1)
        total += float(np.sum(weights1[part] * f(root1 * z1[part] + shift, z1[part]) * conditional))
    return total


def half_square(
    f: Callable[[np.ndarray], np.ndarray],
    derivative: Callable[[np.ndarray], np.ndarray] | None,
    turns: Turns,
    q: float,
    one_minus_c: float,
    shift: float,
) -> float:
    """E (f(u) - f(v))^2 / 2 = E f(u)^2 - E f(u) f(v) for var u = var v = q, without the cancellation.

    u = m + delta, v = m - delta with independent m ~ N(shift, q (1+c)/2), delta ~ N(0, q (1-c)/2). Where delta is small
    and no kink lies between u and v, f(u) - f(v) = 2 delta int_0^1 f'(v + 2 delta t) dt is taken from the derivative.
    Halfway between two kinks u and v reach them at the same delta: the outer integrand has a kink of its own there.
    """
    wide, narrow = np.sqrt(q * (2 - one_minus_c) / 2), np.sqrt(q * one_minus_c / 2)
    if narrow == 0:
        return 0.0
    points, weights_t = np.polynomial.legendre.leggauss(6)
    kinks = turns.kinks

    def inner(origin: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """The mean over delta at m = origin + narrow steps, a row for each m."""
        ends = (turns.points - origin) / narrow - steps
        breaks = np.concatenate((np.broadcast_to(_Z_BREAKS, (len(ends), _Z_BREAKS.size)), ends, -ends), axis=1)
        w, weights = _panels(breaks)
        delta, m = narrow * w, narrow * steps
        difference = f(origin + (m + delta)) - f(origin + (m - delta))
        if derivative is not None:
            smooth = np.abs(delta) < 0.05 * turns.scale
            for kink in kinks:
                smooth &= np.abs((origin - kink) + m) > np.abs(delta)
            means = [derivative(origin + (m + delta * t)) for t in points]
            by_slope = delta * sum(a * slope for slope, a in zip(means, weights_t, strict=True))
            difference = np.where(smooth, by_slope, difference)
        return np.asarray(np.sum(weights * 0.5 * difference**2, axis=1))

    halfway = turns._replace(kinks=((kinks[:, None] + kinks) / 2).ravel())  # the kinks themselves among them
    outer = np.concatenate((_Z_BREAKS, _smoothed(halfway, wide, narrow, shift)))
    # Where delta is far below m the distance of m from a kink has no digits as a difference: there m is the kink and
    # some steps of delta's width, within which u and v lie on both sides of it but for e^-72 of the cases.
    total, ratio, near = 0.0, narrow / wide if wide > 0 else np.inf, 12.0
    apart = np.min(np.diff(kinks), initial=np.inf) > 2 * near * narrow
    images = (kinks - shift) / wide if ratio < 1e-4 and apart else np.zeros(0)
    for kink, image in zip(kinks, images, strict=False):
        steps, weights1 = _panels(np.arange(-near, near + 1, 2.0))
        weights1 = weights1 * np.exp(0.5 * (steps**2 - (image + ratio * steps) ** 2)) * ratio
        total += float(np.sum(weights1 * inner(np.full((steps.size, 1), kink), steps[:, None])))
    z, weights1 = _panels(np.unique(np.clip(np.concatenate((outer, images)), -_END, _END)))
    away = np.all(np.abs(z[:, None] - images) > near * ratio, axis=1)
    z, weights1 = z[away], weights1[away]
    for part in np.array_split(np.arange(z.size), max(1, z.size // 200)):
        total += float(np.sum(weights1[part] * inner(wide * z[part, None] + shift, np.zeros((part.size, 1)))))
    return total


def _finite(integral: Callable[..., float], q: float, *rest: float) -> float:
    """Refuses an integrand that leaves float64 at a node, though the integral itself may not."""
    with np.errstate(over="ignore", invalid="ignore"):
        value = integral(q, *rest)
    if not np.isfinite(value):
        raise ValueError(f"an activation and its square must not overflow float64, got a variance of {q:g}")
    return value


def each(integral: Callable[..., float], *arrays: Any, symmetric: bool = False) -> Any:
    """`integral` of every entry of the broadcast arrays; entries that agree to 14 digits are integrated once.

    symmetric: the first two arguments (q1, q2) may change places. The first one is a variance.
    Raises ValueError for what overflows.
    """
    columns = [np.asarray(array, dtype=np.float64) for array in np.broadcast_arrays(*arrays)]
    shape = columns[0].shape
    rows = np.stack([column.ravel() for column in columns], axis=1)
    if symmetric:
        rows[:, :2] = np.sort(rows[:, :2], axis=1)
    seen: dict[tuple[str, ...], float] = {}
    out = np.empty(len(rows))
    for place, row in enumerate(rows):
        key = tuple(f"{value:.13e}" for value in row)
        if key not in seen:
            seen[key] = _finite(integral, *map(float, row))
        out[place] = seen[key]
    return out.reshape(shape)[()]
