# SPDX-License-Identifier: BSD-3-Clause
"""Where the bulk of the Fisher information's spectrum ends at finite width, for dense networks; and its density.

Theta/n of one output over n samples, without its outlier, at widths N_l that are comparable with n or far below it:
a sum of Gram matrices of centred activations, K^l = H H^T, and centred gradients, D^l = Delta Delta^T,

    Theta/n = r I + sum_l alpha_l K^l + sum_l beta_l D^l,    alpha_l = q_tilde_xy^{l+1}/n,  l = 0 .. L-1,
    beta_l = (N_{l-1} q_hat_xy^{l-1} + 1)/n,  l = 1 .. L-1,  r = (1/n) sum_l N_{l-1} (q_hat - q_hat_xy)^{l-1}
    (q_tilde - q_tilde_xy)^l,

for the product of the two differences alone has no structure. With exact BatchNorm the gradient takes the outlier out
of every layer, beta = 0, and alpha has the frozen q_tilde_xy. (Z. Fan, Z. Wang, arXiv 2005.11879, have the K for
activations of mean zero; the D are derived here, by leaving out one neuron, as a physicist does and not as a proof.)

A neuron of layer l has y = m + sqrt(v) u over the data, u ~ N(0, 1): its own mean m ~ N(0, q_xy^l) and
v = kappa_l (q_hat - q_hat_xy)^{l-1}, kappa_l = sigma_w2; behind a BatchNorm m = beta, v = g^2 and kappa_l = sigma_w2
gamma^2/s2. Its mean gradient is g ~ N(0, kappa'_l q_tilde_xy^{l+1}/N_l), kappa' with sigma_w2 of the layer behind it.
Of phi(y) and g phi'(y) + fluctuations, b u-parts come from the layer before, and the rest is new:

    b = E u phi/sqrt(v) (= E phi' where phi has no jump),  s = E phi',  b' = E u phi'/sqrt(v),
    c = Var phi - b^2 v,  c_x = g (Cov(phi, phi') - b b' v),
    c_D = g^2 (Var phi' - b'^2 v) + (E phi'^2 - s^2) kappa' (q_tilde - q_tilde_xy)^{l+1}/N_l.

The resolvent G = (Theta/n - z)^-1, g_0 = tr G/n, follows from a chain of 2 x 2 blocks. Here A_l = n alpha^_l, B_l = n
beta^_l are the dressed weights of K^l and D^l, t_l and d_l traces over n, so that n = infinity is a number as another:

    T = [c g_0 + b^2 k t_{l-1},  c_x g_0 + b b' g k t_{l-1};  ., c_D g_0 + (b' g)^2 k t_{l-1} + s^2 k' d_{l+1}],
    k = kappa_l/N_{l-1},  k' = kappa'_l/N_l,  Z = diag(A_l, B_l),  Y = (1/Z + T)^-1,  R = (1/T + Z)^-1,
    t_l = <R_hh>,  d_l = <R_dd>,  t_0 = N_0 v_0 g_0/(1 + A_0 v_0 g_0),  d_L = 0,
    A_{l-1} = n alpha_{l-1} + k <b^2 Y_hh + 2 b b' g Y_hd + (b' g)^2 Y_dd>,  A_{L-1} = n alpha_{L-1},
    B_{l+1} = n beta_{l+1} + k' <s^2 Y_dd>,  B_1 = n beta_1,
    g_0 = 1/(r - z + S/n),  S = N_0 v_0 A_0/(1 + A_0 v_0 g_0) + sum_l <c Y_hh + 2 c_x Y_hd + c_D Y_dd>,

where < > is the sum over the neurons of layer l: N_l times the mean over m and g.

How many eigenvalues lie above x. All these equations say that one function has no slope in any of the unknowns:

    Psi(z) = n [(r - z) g_0 - log g_0] + N_0 log(1 + A_0 v_0 g_0) + sum_l <log det(1 + Z T)>
             - sum_l (A_l - n alpha_l) t_l - sum_l (B_l - n beta_l) d_l,

(the slope in t_{l-1} gives A_{l-1}, that in d_{l+1} gives B_{l+1}, those in A and B give t and d, that in g_0 the last
line). So dPsi/dz = -n g_0: Psi is log det(Theta/n - z), and the number of eigenvalues above x is n + Im Psi(x + i0)/pi
from one solution, with no integral of the density. The logarithm of 1 + Z T is the sum of its two pivots': each lies in
one half plane as long as Im z > 0.

The classical position of the largest eigenvalue, x_1, has half an eigenvalue above. The edge is where the real
solution that comes down from x = infinity ends: S' there is infinite as 1/sqrt(x - edge). Where beta > 0 the mean
gradients g are Gaussian, there is no edge, and x_1 it is; at infinite data behind exact BatchNorm it is the edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .activations import kinks, phi, slope
from .panels import _panels

__all__ = ["GRADIENTS", "MEANS", "Bulk", "Neurons", "moments"]

Complex = Any

# The rules for the neurons' mean m and their mean gradient g. Twice as many of both change x_1 of ReLU networks by
# 0.1 % at L = 4; behind a BatchNorm and where phi has no mean there is one m.
MEANS = np.polynomial.hermite_e.hermegauss(32)
# All that depends on g is even in it: half of 16.
GRADIENTS = tuple(each[8:] for each in np.polynomial.hermite_e.hermegauss(16))
_PANELS = np.arange(-10.0, 11.0)
# How far from the real axis a solution is sought first, relative to how far x lies above r, which all eigenvalues do:
# there the plain iteration converges.
_HEIGHTS = (1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-6, 0.0)


@dataclass(frozen=True)
class Neurons:
    """A hidden layer's: their numbers `weight` at each (m, g), and what the equations ask of them there."""

    weight: np.ndarray
    b: np.ndarray
    s: np.ndarray
    bg: np.ndarray  # b' g
    c: np.ndarray
    cx: np.ndarray
    cd: np.ndarray
    forward: float  # kappa_l/N_{l-1}
    backward: float  # kappa'_l/N_l


def moments(function: Any, m: float, v: float) -> dict[str, float]:
    """Of phi and phi' at m + sqrt(v) u."""
    root = math.sqrt(v)
    u, weight = _panels(
        np.unique(np.clip(np.append(_PANELS, [(kink - m) / root for kink in kinks(function)]), -10, 10))
    )
    f, df = phi(function)(m + root * u), slope(function)(m + root * u)
    f0, df0 = float(weight @ f), float(weight @ df)
    f, df = f - f0, df - df0
    slope_variance, variance = float(weight @ (df * df)), float(weight @ (f * f))

    def kept(mean: float, square: float) -> float:
        """What rounding leaves of the means of even and odd functions is none."""
        return mean if mean**2 > 1e-26 * square else 0.0

    s = kept(df0, slope_variance)
    b = kept(float(weight @ (u * f)), variance) / root
    bend = kept(float(weight @ (u * df)), slope_variance + s * s) / root
    return {
        "b": b,
        "s": s,
        "bend": bend,
        "c": max(variance - b * b * v, 0.0),
        "cx": float(weight @ (f * df)) - b * bend * v,
        "cd": max(slope_variance - bend * bend * v, 0.0),
        "slope_variance": slope_variance,
    }


def _inside(u: Complex) -> bool:
    """Whether the density is clearly more than 0."""
    return bool(np.imag(u[0]) > 1e-3 * np.abs(u[0])) or bool(np.any(np.imag(u[1:]) > 1e-3 * np.abs(u[1:])))


@dataclass(frozen=True)
class Bulk:
    """The equations of one network."""

    layers: tuple[Neurons, ...]  # hidden ones
    inputs: float  # N_0
    v0: float
    alpha: np.ndarray  # n alpha_0 .. n alpha_{L-1}
    beta: np.ndarray  # n beta_1 .. n beta_{L-1}
    r: float  # times n
    d: float  # a - b of infinite data
    share: float  # 1/n
    widths: tuple[float, ...]  # N_0 .. N_{L-1}

    # ------------------------------------------------------------------------------------------------ the equations
    def _split(self, u: Complex) -> tuple[Complex, ...]:
        """g_0, A_0 .. A_{L-1}, t_0 .. t_{L-2}, B_1 .. B_{L-1}, d_2 .. d_L."""
        hidden = len(self.layers)
        g, A, t = u[0], np.append(u[1 : hidden + 1], self.alpha[-1]), u[hidden + 1 : 2 * hidden + 1]
        if not hidden:
            return g, A, t, u[:0], u[:0]
        rest = u[2 * hidden + 1 :]
        return g, A, t, np.append(self.beta[0], rest[: hidden - 1]), np.append(rest[hidden - 1 :], 0.0)

    @property
    def _signs(self) -> np.ndarray:
        """Of the imaginary parts above the real axis: g_0, t and d are resolvents, A and B inverses of some."""
        hidden = len(self.layers)
        rest = max(hidden - 1, 0)
        return np.repeat([1.0, -1.0, 1.0, -1.0, 1.0], [1, hidden, hidden, rest, rest])

    def start(self, z: complex) -> Complex:
        hidden = len(self.layers)
        zeros = np.zeros(hidden)
        return np.concatenate(
            ([1 / (self.share * self.r - z)], self.alpha[:-1], zeros, self.beta[1:], zeros[1:]), dtype=complex
        )

    def update(self, u: Complex, z: complex) -> tuple[Complex, Complex, Complex]:
        """What the equations make of the unknowns, S, and log det(Theta/n - z) but for the part that is real."""
        g, A, t, B, d = self._split(u)
        pivot = 1 + A[0] * self.v0 * g
        S, log = self.inputs * self.v0 * A[0] / pivot, self.inputs * np.log(pivot)
        new_t, new_A, new_B, new_d = [self.inputs * self.v0 * g / pivot], [], [], []
        for at, layer in enumerate(self.layers):
            b, bg, k = layer.b, layer.bg, layer.forward
            hh, hd = layer.c * g + b * b * k * t[at], layer.cx * g + b * bg * k * t[at]
            dd = layer.cd * g + bg * bg * k * t[at] + layer.s**2 * layer.backward * d[at]
            first = 1 + A[at + 1] * hh  # the pivots of 1 + Z T
            rest = dd - A[at + 1] * hd * hd / first
            second = 1 + B[at] * rest
            y_dd = B[at] / second
            y_hd = -A[at + 1] * hd / first * y_dd
            y_hh = A[at + 1] / first + (A[at + 1] * hd / first) ** 2 * y_dd
            each = layer.weight
            new_t.append(each @ (hh / first - (hd / first) ** 2 * y_dd))
            new_d.append(each @ (rest / second))
            new_A.append(self.alpha[at] + k * (each @ (b * b * y_hh + 2 * b * bg * y_hd + bg * bg * y_dd)))
            new_B.append(layer.backward * (each @ (layer.s**2 * y_dd)))
            S = S + each @ (layer.c * y_hh + 2 * layer.cx * y_hd + layer.cd * y_dd)
            log = log + each @ (np.log(first) + np.log(second))
        log = log - np.sum((A[:-1] - self.alpha[:-1]) * t) - np.sum((B[1:] - self.beta[1:]) * d[:-1])
        new_g = 1 / (self.share * (self.r + S) - z)
        unknowns = np.array(
            [new_g, *new_A, *new_t[: len(self.layers)], *(np.array(new_B[:-1]) + self.beta[1:]), *new_d[1:]]
        )
        # n [(r - z) g_0 - log g_0] with w = 1/g_0 = r - z + S/n: n log w - S g_0, and n log(r - z) is taken off
        ratio = S / (self.share * self.r - z)
        own = np.log(1 + self.share * ratio) / self.share if self.share > 0 else ratio
        return unknowns, S, log + own - S * new_g

    def _slopes(self, u: Complex, z: complex) -> np.ndarray:
        """The derivatives of `update` in the unknowns, which it is analytic in: at a real u the difference is exact."""
        real = not np.any(np.imag(u)) and np.imag(z) == 0
        columns = []
        for place, value in enumerate(u):
            step = np.zeros(len(u), complex)
            step[place] = h = 1e-30j if real else 1e-5 * abs(value) or 1e-9
            if real:
                columns.append(np.imag(self.update(u + step, z)[0]) / 1e-30)
            else:
                columns.append((self.update(u + step, z)[0] - self.update(u - step, z)[0]) / (2 * h))
        return np.array(columns).T

    def solve(self, z: complex, u: Complex | None = None) -> Complex | None:
        """The unknowns at z, by Newton's method from u or from the plain iteration, damped; None where it fails."""
        if u is None:
            u = self.start(z)
            for _ in range(60):
                u = 0.4 * u + 0.6 * self.update(u, z)[0]
        for _ in range(30):
            off = self.update(u, z)[0] - u
            step = np.linalg.solve(np.eye(len(u)) - self._slopes(u, z), off)
            u = u + step
            if not np.all(np.isfinite(u)):
                return None
            floor = 1e-25 * np.max(np.abs(u))  # what rounding makes of unknowns that are 0
            if np.all(np.abs(step) <= 1e-11 * np.abs(u) + floor):
                return u if np.all(np.imag(u) * self._signs >= -1e-9 * np.abs(u) - floor) else None
        return None

    def at(self, x: float, warm: list[Complex | None] | None = None) -> Complex:
        """The unknowns at x + i0, from above; `warm` keeps those on the way."""
        warm = [None] * len(_HEIGHTS) if warm is None else warm
        # From one point inside the bulk to the next directly. A real solution never leads to one that is not.
        if warm[-1] is not None and _inside(warm[-1]):
            u = self.solve(complex(x), warm[-1])
            if u is not None and _inside(u):
                warm[-1] = u
                return u
        u = None
        for place, height in enumerate(_HEIGHTS):
            z = complex(x, height * (x - self.share * self.r))
            near = None if warm[place] is None or not height else self.solve(z, warm[place])
            u = near if near is not None else self.solve(z, u)
            if u is None:
                raise ArithmeticError(f"the bulk's equations have no solution that was found at {z}")
            warm[place] = u
        return u

    # ------------------------------------------------------------------------------------------------- what is asked
    def density(self, x: float, warm: list[Complex | None] | None = None) -> float:
        """Of the n eigenvalues of Theta/n, whose integral is 1."""
        return float(np.imag(self.at(x, warm)[0])) / math.pi

    def above(self, x: float, warm: list[Complex | None] | None = None) -> float:
        """How many eigenvalues lie above x, which lies above r."""
        return float(np.imag(self.update(self.at(x, warm), complex(x))[2])) / math.pi

    def ceiling(self) -> float:
        """A number above the edge: d times the norm of a product of Gaussian matrices, by the triangle inequality.

        d (1/sqrt(n) + sum_l 1/sqrt(N_l))^2: what all of d would reach, were it in the longest product.
        """
        return float(self.d * (math.sqrt(self.share) + sum(width**-0.5 for width in self.widths)) ** 2)

    def position(self) -> float:
        """x_1, by halving and by secants of above^(2/3), which is straight beside a square-root edge."""
        warm: list[Complex | None] = [None] * len(_HEIGHTS)

        def excess(x: float) -> float:
            return float(max(self.above(x, warm), 0.0) ** (2 / 3) - 0.5 ** (2 / 3))

        least = self.share * self.r
        high = least + self.ceiling()
        low, f_low, f_high = high, -1.0, -(0.5 ** (2 / 3))
        while f_low < 0:
            high, low = low, least + 0.8 * (low - least)
            f_high, f_low = f_low, excess(low)
        secant: float = low
        for _ in range(100):
            flat = abs(f_high + 0.5 ** (2 / 3)) < 1e-6  # nothing is above: half way down
            last, secant = secant, 0.5 * (low + high) if flat else low + (high - low) * f_low / (f_low - f_high)
            value = excess(secant)
            if abs(secant - last) <= 1e-13 * secant:
                break
            if value > 0:
                low, f_low = secant, value
                f_high = f_high if flat else 0.5 * f_high if f_high < -1e-9 else f_high
            else:
                high, f_high = secant, value
        return secant

    def end(self) -> float:
        """The edge: 1/S'^2 is 0 there, and convex above it, so that secants come down to it from above."""

        def rate(x: float, u: Complex) -> tuple[float, Complex, Complex] | None:
            """S' and the unknowns with theirs; None below the edge, where 1 - update' turned singular on the way."""
            z = complex(x)
            for _ in range(30):
                slopes = np.eye(len(u)) - self._slopes(u, z)
                step = np.linalg.solve(slopes, self.update(u, z)[0] - u)
                u = np.real(u + step)
                if np.all(np.abs(step) <= 1e-12 * np.abs(u)):
                    break
            else:
                return None
            slopes = np.eye(len(u)) - self._slopes(u, z)
            if not np.linalg.det(slopes) > 0:
                return None
            h = 1e-30
            du = np.linalg.solve(slopes, np.imag(self.update(u + 0j, complex(x, h))[0]) / h)
            return float(np.imag(self.update(u + 1j * h * du, complex(x, h))[1])) / h, u, du

        x = 2 * self.ceiling()
        u = np.real(self.start(complex(x)))
        here = rate(x, u)
        step = 0.1 * x
        while here is not None:
            rate_of_s, u, du = here
            below = rate(x - step, u - step * du)
            if below is None:
                step *= 0.5
                continue
            f, f_below = 1 / rate_of_s**2, 1 / below[0] ** 2
            x, here = x - step, below
            rest = f_below * step / (f - f_below)  # down to the edge
            if rest < 1e-6 * x:  # closer, 1 - update' is singular; off by the product of the last two distances
                return x - rest
            step = min(0.97 * rest, 0.1 * x)
        raise ArithmeticError("the bulk's equations have no real solution far above the edge")
