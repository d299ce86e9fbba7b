# SPDX-License-Identifier: BSD-3-Clause
"""The eigenvalue of the sample with the largest Theta_ii, in dense networks with BatchNorm behind every hidden layer.

Deep in such networks every sample has a length r and a gradient t of its own. With h_j ~ N(0, r_{l-1}) and
g_j ~ N(0, 1) over the N units of layer l, y_j = G h_j + beta, G = gamma sqrt(v/(v + eps)), mu = E phi(G u + beta),

    r_l = (1/(N V)) sum_j (phi(y_j) - mu)^2,    t_l = t_{l+1} (1/(N D)) sum_j phi'(y_j)^2 g_j^2,

V = Var phi and D = E phi'^2 at r = 1, u ~ N(0, 1). The sample is one of the n that a unit's statistics are taken of, so
that h/sqrt(1 + (h^2 - 1)/n) stands for h. log r_l and log t_l follow from two kinds of numbers:

  * their slopes in log r_{l-1}, s for F = (phi - mu)^2 and s' for phi'^2. Where log r has the deviation d, a slope is
    the chord between r = e^(+-sqrt(3) d), which Gauss's rule of three points makes of the best straight line, or
    between e^(+-2) where that is less. At infinite data ReLU has s = 1 and s' = 0 (and s = 1 - 5/n), GELU 1.06 and
    .13, tanh .46 and -.38;
  * noise, new in every layer: variances kf/N = (E F^2/V^2 - 1)/N and kb/N = (3 E phi'^4/D^2 - 1)/N, and a covariance
    kx/N = (E F phi'^2/(V D) - 1)/N. ReLU: 4.408, 5 and .533. Of kb, 2 c^2 is common to all samples, whose gradients
    overlap by c = q_tilde_xy/q_tilde = prod (E phi')^2/E phi'^2 behind the layer.

Layer i's part of Theta_ii is |x^{i-1}|^2 t_i: exact BatchNorm leaves the centred r_{i-1} of x, frozen all of it, whose
Q = phi^2 has a slope and noise of its own. r_0 has the variance 2/N_0 of Gaussian inputs. With p_i layer i's share of
the diagonal, log Theta_ii = sum_i p_i log(part i) is nearly normal with a variance s^2, and samples are nearly
independent: the largest of n lognormals is (a/n) e^(-s^2/2) E max e^(s z), and 1 + 2.4/n times as much under exact
BatchNorm: a fit to sampled ReLU networks of 12 and more layers (1.8 to 2.8 there; 1.5 to 4 of GELU and SiLU).

Left out: the gradient that exact BatchNorm takes from its own sample, (1 + h^2)/n of it in each unit, which lowers s^2
by up to a third at n = 60 and hardly the largest eigenvalue; and what the mean of Theta_ii differs from a by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import log_ndtr

from ..network import Network
from .activations import kinks, phi, slope
from .arguments import Settings
from .order_parameters import forward
from .panels import _panels
from .wei2019 import following

__all__ = ["log_variance", "most_of_variance", "one_sample"]

_PANELS = np.arange(-10.0, 11.0)


@dataclass(frozen=True)
class Unit:
    """phi(scale h + shift) of a hidden layer."""

    function: Any
    scale: float
    shift: float

    def _grid(self, length: float, share: float) -> tuple[np.ndarray, ...]:
        """Weights, and u, phi and phi' at h ~ N(0, length) that has this share of the unit's variance."""
        t = np.array([(kink - self.shift) / self.scale for kink in kinks(self.function)])
        rest = 1 - share * t * t  # h/sqrt(1 + share (h^2 - 1)) = t
        t = t[rest > 0] * np.sqrt((1 - share) / rest[rest > 0] / length)
        u, weight = _panels(np.unique(np.clip(np.append(_PANELS, t), -10, 10)))
        h = math.sqrt(length) * u
        y = self.scale * h / np.sqrt(1 + share * (h * h - 1)) + self.shift
        return weight, u, phi(self.function)(y), slope(self.function)(y)

    def moments(self) -> dict[str, float]:
        """At r = 1 and infinite data."""
        weight, u, f, d = self._grid(1.0, 0.0)
        mean = float(weight @ f)
        F, Q, D = (f - mean) ** 2, f * f, d * d
        V, square, slopes = weight @ F, weight @ Q, weight @ D
        bend = weight * (u * u - 1) / 2  # d/dlog r of E F(sqrt(r) u)
        return {
            "mean": mean,
            "V": V,
            "Q": square,
            "D": slopes,
            "s": bend @ F / V,
            "s_read": bend @ Q / square,
            "s_back": bend @ D / slopes,
            "kf": weight @ F**2 / V**2 - 1,
            "kr": weight @ Q**2 / square**2 - 1,
            "kb": 3 * (weight @ D**2) / slopes**2 - 1,
            "kfr": weight @ (F * Q) / (V * square) - 1,
            "kx": weight @ (F * D) / (V * slopes) - 1,
            "kxr": weight @ (Q * D) / (square * slopes) - 1,
            "overlap": (weight @ d) ** 2 / slopes,
        }

    def logs(self, mean: float, length: float, share: float) -> np.ndarray:
        """log E F, E Q and E D at this length."""
        weight, _, f, d = self._grid(length, share)
        return np.log([weight @ (f - mean) ** 2, weight @ (f * f), weight @ (d * d)])

    def slopes(self, mean: float, deviation: float, share: float) -> np.ndarray:
        at = min(math.sqrt(3) * deviation, 2.0)
        rise = self.logs(mean, math.exp(at), share) - self.logs(mean, math.exp(-at), share)
        chord: np.ndarray = rise / (2 * at)
        return chord


def units_of(net: Network, settings: Settings) -> list[Unit]:
    """Of the hidden layers; none where one has no BatchNorm, or where samples do not differ behind it."""
    norms, place, units = net.batch_norms, 0, []
    if len(norms) != len(net.affine_layers) - 1:
        return []
    rows = forward(net, replace(settings, samples=None, overlap=max(settings.overlap, 0.0))).rows
    for v in rows.v[:-1].tolist():
        norm, function, place = following(net.layers, place)
        scale = norm.gamma * math.sqrt(v / (v + norm.eps)) if v > 0 else 0.0
        unit = Unit(function, scale, float(norm.beta))
        if scale == 0 or not min(unit.moments()[name] for name in "VQD") > 0:
            return []
        units.append(unit)
    return units


def responses(slopes: list[np.ndarray], depth: int, exact: bool) -> np.ndarray:
    """d log(part i), i = 1 .. L, by the noise of r_0 and of F, Q and phi'^2 g^2 in each hidden layer."""
    width = 3 * depth - 2
    x, read, y = np.zeros((depth, width)), np.zeros((depth, width)), np.zeros((depth, width))
    x[0, 0] = read[0, 0] = 1
    for k in range(1, depth):
        s, s_read, s_back = slopes[k - 1]
        x[k], read[k], y[k] = s * x[k - 1], s_read * x[k - 1], s_back * x[k - 1]
        x[k, 3 * k - 2] += 1
        read[k, 3 * k - 1] += 1
        y[k, 3 * k] += 1
    behind = np.array([np.sum(y[i:], axis=0) for i in range(1, depth + 1)])
    change: np.ndarray = (x if exact else read) + behind
    return change


def noise(rows: list[dict[str, float]], common: float) -> list[np.ndarray]:
    """N times the covariance of each layer's, r_0 first; `common` times less what gradients have in common."""
    blocks, overlap = [], 1.0
    for row in reversed(rows):
        kf, kr, kb = row["kf"], row["kr"], row["kb"] - 2 * common * overlap**2
        kfr, kx, kxr = row["kfr"], row["kx"], row["kxr"]
        blocks.append(np.array([[kf, kfr, kx], [kfr, kr, kxr], [kx, kxr, kb]]))
        overlap *= row["overlap"]
    return [np.array([[2.0]]), *reversed(blocks)]


def most_of_variance(net: Network, settings: Settings) -> float:
    """kappa, by which s^2 <= kappa sum_l 1/N_l: twice the most that the noise of a layer does to a part of Theta_ii.

    With slopes at r = 1 and eps = 0; twice, for where they rise with r. 10 for ReLU.
    """
    units = [
        replace(unit, scale=float(np.squeeze(norm.gamma)))
        for unit, norm in zip(units_of(net, settings), net.batch_norms, strict=False)
    ]
    if not units:
        return 0.0
    rows = [unit.moments() for unit in units]
    slopes = [np.array([row["s"], row["s_read"], row["s_back"]]) for row in rows]
    change = responses(slopes, len(rows) + 1, settings.theory == "exact")
    most, place = 0.0, 0
    for block in noise(rows, 0.0):
        part = change[:, place : place + len(block)]
        most, place = max(most, float(np.max(np.einsum("ij,jk,ik->i", part, block, part)))), place + len(block)
    return 2 * most


def log_variance(net: Network, settings: Settings, shares: np.ndarray) -> float:
    """s^2, of layers' shares of the diagonal."""
    units = units_of(net, settings)
    rows, widths = [unit.moments() for unit in units], [step.before[0] for step in net.affine_steps]
    blocks = [block / width for block, width in zip(noise(rows, 1.0), widths, strict=True)]
    variance, slopes = float(blocks[0][0, 0]), []
    for unit, row, block in zip(units, rows, blocks[1:], strict=True):
        slopes.append(unit.slopes(row["mean"], math.sqrt(variance), 1 / float(settings.samples or math.inf)))
        variance = float(slopes[-1][0] ** 2 * variance + block[0, 0])  # of log r
    change = shares @ responses(slopes, len(widths), settings.theory == "exact")
    total, place = 0.0, 0
    for block in blocks:
        part = change[place : place + len(block)]
        total, place = total + float(part @ block @ part), place + len(block)
    return total


@np.errstate(divide="ignore", invalid="ignore", over="ignore")  # where phi is constant: no number is known
def one_sample(net: Network, settings: Settings) -> float:
    """(1 + 2.4/n [exact only]) (a/n) e^(-s^2/2) E max e^(s z); 0 where no sample is known to have one."""
    n = settings.samples
    if n is None or settings.theory == "wei2019" or not net.batch_norms or not units_of(net, settings):
        return 0.0
    exact = settings.theory == "exact"
    end = forward(net, replace(settings, samples=None, overlap=max(settings.overlap, 0.0)))
    parts = end.D - end.o if exact else end.D
    variance = log_variance(net, settings, parts / parts.sum())
    if not math.isfinite(variance):
        return 0.0
    s = math.sqrt(variance)
    t, weight = np.polynomial.legendre.leggauss(400)
    z = s + 12 * t  # e^(s z - s^2/2) times the density is largest there, or between there and 0
    density = n * np.exp(-((z - s) ** 2) / 2) / math.sqrt(2 * math.pi) * np.exp((n - 1) * log_ndtr(z))
    return float((1 + 2.4 / n * exact) * np.sum(end.D) / n * 12 * (weight @ density))
