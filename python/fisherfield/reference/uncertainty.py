# SPDX-License-Identifier: BSD-3-Clause
"""Networks of finite width: the shift of lambda_max's mean over networks, and its spread; docs/theory.md, section 13.

Unit i of a layer sees z_i(x) = sqrt(xy) alpha_i + sqrt(v) b_i(x) + mean, alpha_i the same for all data. With m, w, s
the means over b of phi, phi^2, phi', the sums over N units that the recursion takes for means scatter by

    nets      (1/N) Cov[w, m^2, m, g^2 s^2]                    g ~ N(0, 1): the gradient at unit i, that of all data
    samples   (1/N) Cov[phi(x)^2, phi(x) m, phi(x), phi'(x) s d(x) dbar] over b and d, averaged over alpha and dbar

and z^2/q and z/sqrt(q), whose means a LayerNorm before phi divides by and takes off. E d(x)^2 : E dbar^2 = E d dbar =
rho : 1, the ratio of the gradient's length and overlap above. The spread is what
nets scatter by, through the derivatives of log lambda_max. The shift is the tilt of the top eigenvector,

    E lambda = lambda + V lambda^2/(lambda - bulk),       V = Var_x [mean_y Theta(x, y)]/b^2,

where one sample's length counts half of both inputs', and BatchNorm's statistics do not move. All derivatives are
central differences of eighth order of whole passes. Dense networks of one output, a phi behind every hidden layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..network import Network
from . import activations, panels, quadrature
from .arguments import Settings, settings_of
from .edge import edge
from .fisher import fisher
from .order_parameters import forward
from .state import State

__all__ = ["Uncertainty", "uncertainty"]

_STENCIL = {1: 4 / 5, 2: -1 / 5, 3: 4 / 105, 4: -1 / 280}
_STEP = 0.02
# Of exact BatchNorm's spread, times the root of the edge over lambda_max: an estimate from sampled networks. Where the
# edge is not known, it is taken to be at 0.1.
_OF_TILT, _EDGE_OF_TILT = 0.31, 0.1
Change = Callable[[int, State, State], State]


class Uncertainty(NamedTuple):
    """Relative to lambda_max."""

    shift: float
    spread: float


class Units(NamedTuple):
    """What scatters behind one activation, in the order q_hat, q_hat_xy, mean, t, divisor, centre."""

    nets: np.ndarray
    samples: np.ndarray  # t's own without A rho
    A: float  # E s^2 E_b phi'^2


def uncertainty(
    net: Network,
    theory: str = "exact",
    samples: int | None = None,
    overlap: float = 0.0,
    length: float = 1.0,
    biases: bool | None = None,
) -> Uncertainty:
    """Shift and spread of the outlier of a dense network with one output."""
    settings = settings_of(net, theory, samples, overlap, length, biases)
    if len(net.input_shape) != 1 or net.outputs != 1:
        raise ValueError(f"net must be dense with one output, got {net.input_shape} and {net.outputs} outputs")
    number = fisher(net, theory, samples, overlap, length, biases)
    n, top = settings.samples, number.lambda_max
    one_over_n = 0.0 if n is None else 1 / n
    places = [at for at, step in enumerate(net.steps) if step.layer.pointwise]
    seen: dict[int, tuple[State, State]] = {}
    forward(net, replace(settings, samples=None), lambda at, fed, out: _record(seen, at, fed, out))
    held = [at for at in places if theory == "exact" and net.steps[net.steps[at].reads[0]].layer.over_batch]
    units = {at: _units(net.steps[at].layer, seen[at][0]) for at in places}

    spread = 0.0
    for at in places:
        rates = _rates(net, settings, at, seen[at][1], _lambda, None) / top
        rates[3] *= at not in held
        spread += rates @ units[at].nets @ rates / net.steps[at].before[0]
    tilt = _tilt(net, replace(settings, samples=None), places, seen, units, held)
    tilt *= top / (top - (number.a - number.b) * one_over_n)
    shift = tilt
    normed = [at for at in places if net.steps[net.steps[at].reads[0]].layer.over_batch]
    if normed == places and len(places) == net.depth - 1 and all(len(step.reads) == 1 for step in net.steps):
        if theory == "frozen":
            shift = (1 + tilt) * _frozen(net, settings, seen, places) / top - 1
        else:
            extra, more = _exact(net, settings, seen, places)
            shift, spread = tilt + extra, spread + more
    if theory == "exact" and normed and normed[-1] == places[-1]:
        bulk = edge(net, theory, samples, overlap, length, biases)
        share = _EDGE_OF_TILT if math.isnan(bulk) else max(bulk, (number.a - number.b) * one_over_n) / top
        spread += _OF_TILT**2 * share * tilt**2
    return Uncertainty(float(shift), math.sqrt(spread))


def _record(seen: dict[int, tuple[State, State]], at: int, fed: State, out: State) -> State:
    seen[at] = (fed, out)
    return out


# ---------------------------------------------------------------------------------------------------- derivatives
def _lambda(net: Network, settings: Settings, change: Change) -> float:
    end = forward(net, settings, change)
    return float(np.sum(end.o) + (0.0 if settings.samples is None else np.sum(end.d) / settings.samples))


def _overlap(net: Network, settings: Settings, change: Change) -> float:
    return float(np.sum(forward(net, settings, change).o))


def _derivative(of: Callable[[float], float], scale: float) -> float:
    if scale == 0:
        return 0.0
    step = _STEP * scale
    return sum(weight * (of(k * step) - of(-k * step)) for k, weight in _STENCIL.items()) / step


def _rates(
    net: Network, settings: Settings, place: int, state: State, of: Callable[..., float], norms: Change | None
) -> np.ndarray:
    """By q_hat at fixed q_hat_xy, by q_hat_xy at fixed q_hat, by the mean, by t at fixed E phi'^2, by the logarithm
    of what a norm of single samples before phi divides by, and by the mean that it takes off, over the root."""
    before = net.steps[place].reads[0]
    norm: Any = net.steps[before].layer if before >= 0 else None
    divided = norm is not None and bool(norm.variance_over) and not norm.over_batch

    def moved(name: str) -> Callable[[float], float]:
        def value(by: float) -> float:
            def change(at: int, fed: State, out: State) -> State:
                if norms is not None:
                    out = norms(at, fed, out)
                if name == "divisor" and at == before:
                    share = fed.q / (fed.q + norm.eps)
                    return replace(out, **{each: getattr(out, each) * (1 - share * by) for each in out.scaled})
                if name == "centre" and at == before:
                    return replace(out, mean=out.mean - by * math.sqrt(out.q))
                if at != place:
                    return out
                common = out.common  # xy without the mean's square
                if name == "q":
                    return replace(out, v=out.v + by)
                if name == "xy":
                    return replace(out, xy=out.xy + by, v=out.v - by, common=None if common is None else common + by)
                if name == "mean":
                    less = None if common is None else common - by * (2 * out.mean + by)
                    return replace(out, mean=out.mean + by, common=less)
                if name == "t":
                    return replace(out, o=out.o + by * fed.o, d=out.d - by * fed.o)
                return out

            return of(net, settings, change)

        return value

    variance = state.q - state.mean**2  # over units of one sample
    by_mean = variance / max(2 * abs(state.mean), math.sqrt(variance)) if variance > 0 else 0.0
    scales = {"q": state.v, "xy": min(state.v, variance), "mean": by_mean, "t": 1.0, "divisor": float(divided)}
    scales["centre"] = float(divided and hasattr(norm, "beta"))
    return np.array([_derivative(moved(name), scale) for name, scale in scales.items()])


def _tilt(
    net: Network,
    settings: Settings,
    places: Sequence[int],
    seen: dict[int, tuple[State, State]],
    units: dict[int, Units],
    held: Sequence[int],
) -> float:
    """V: sum_l (1/N_l) rates Cov rates of log b, each half where one of two inputs moves."""

    def norms(at: int, fed: State, out: State) -> State:
        """gamma u + beta with u the one sample's, over the statistics of all."""
        layer: Any = net.steps[at].layer
        if not layer.over_batch:
            return out
        before = seen[at][0].v + layer.eps
        back = (fed.v + layer.eps) / before
        v = layer.gamma**2 * fed.v / before
        return replace(out, v=v, o=back * out.o, d=back * out.d, ou=back * out.ou, du=back * out.du)

    half = np.array([0.5, 1.0, 0.5, 1.0, 0.5, 0.5])
    b = _overlap(net, settings, norms)

    def of_data(**moved: float) -> float:
        changed = {name: getattr(settings, name) + by for name, by in moved.items()}
        return _overlap(net, replace(settings, **changed), norms)

    q = _derivative(lambda by: of_data(length=by), settings.length) / (2 * b)
    xy = _derivative(lambda by: of_data(overlap=by), settings.length) / b
    o, v = settings.overlap, settings.length - settings.overlap
    total = (q * q * (4 * o * v + 2 * v * v) + 4 * q * xy * o * v + xy * xy * o * v) / net.input_shape[0]
    for at in places:
        rates = half * _rates(net, settings, at, seen[at][1], _overlap, norms) / b
        rates[3] *= at not in held
        worth = 0.0
        if rates[3]:
            worth = (_end(net, settings, at, 1.0).D.sum() - _end(net, settings, at, 0.0).D.sum()) / b
        of_t = rates[3] * float(np.sum(seen[at][0].o)) * worth * units[at].A
        total += (rates @ units[at].samples @ rates + of_t) / net.steps[at].before[0]
    return float(total)


def _end(net: Network, settings: Settings, place: int, by: float) -> Any:
    """The pass with a diagonal that is larger by `by` behind a phi: the gradient's length."""
    none = np.zeros(net.depth)
    none[0] = by
    return forward(net, settings, lambda at, _, out: replace(out, d=out.d + none) if at == place else out)


# ---------------------------------------------------------------------------------------------------- one layer's units
def _units(layer: Any, state: State) -> Units:
    """Moments of phi over b at every alpha, and over alpha."""
    xy, v = (state.xy, state.v) if state.xy >= 0 else (0.0, state.q)
    phi, slope = activations.phi(layer), activations.slope(layer)
    turns = panels.Turns(np.asarray(activations.kinks(layer), dtype=float), 1.0)
    root, narrow = math.sqrt(xy), math.sqrt(v)
    outer = np.concatenate((panels._Z_BREAKS, panels._smoothed(turns, root, narrow, state.mean)))
    alpha, weights = panels._panels(np.unique(np.clip(outer, -15, 15))) if root > 0 else (np.zeros(1), np.ones(1))
    rows, within, of_slopes = [], [], []
    for a in alpha:
        centre = root * a + state.mean
        cuts = np.concatenate((panels._Z_BREAKS, (turns.points - centre) / narrow))
        b, inner = panels._panels(np.unique(np.clip(cuts, -15, 15)))
        x = centre + narrow * b
        f, g = phi(x), slope(x)
        m, s = inner @ f, inner @ g
        w = inner @ f**2
        z = (root * a + narrow * b) / math.sqrt(xy + v)
        terms = np.stack([f * f, f * m, f, g * s, z * z, z])  # of one sample
        means = terms @ inner
        rows.append((w, m**2, m, s**2, *means[4:]))
        within.append((terms * inner) @ terms.T - np.outer(means, means))
        of_slopes.append((s**2 * (inner @ g**2), s**4))
    A, B = (weights @ np.array(of_slopes)).tolist()
    centred = np.array(rows) - weights @ np.array(rows)
    nets = (centred.T * weights) @ centred
    samples = np.tensordot(weights, np.array(within), 1)
    nets[3, 3] += 2 * B  # E g^4 = 3
    samples[3, 3] = 2 * A - 3 * B
    return Units(nets, samples, A)


# ---------------------------------------------------------------------------------------------------- BatchNorm
class _Moments(NamedTuple):
    phi: list[float]  # E phi He_k
    slope: list[float]  # E phi' He_k
    second: float
    slope_second: float
    k: float  # Var (phi - E phi)^2/Var^2
    he: float  # E (phi - E phi)^2 He_2/(2 Var)

    @property
    def variance(self) -> float:
        return self.second - self.phi[0] ** 2


def _moments(layer: Any, q: float, mean: float) -> _Moments:
    phi, slope = activations.phi(layer), activations.slope(layer)
    turns = panels.Turns(np.asarray(activations.kinks(layer), dtype=float), 1.0)
    hermite = np.polynomial.hermite_e.hermeval

    def E(of: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> float:
        return panels.one(of, turns, q, mean)

    def of(f: Callable[[np.ndarray], np.ndarray], k: int) -> float:
        return E(lambda x, z: f(x) * hermite(z, np.eye(5)[k]))

    of_phi, of_slope = [of(phi, k) for k in range(5)], [of(slope, k) for k in range(5)]
    m = of_phi[0]
    variance = float(quadrature.variance(layer, q, mean))
    k = E(lambda x, z: ((phi(x) - m) ** 2 - variance) ** 2) / variance**2
    he = E(lambda x, z: (phi(x) - m) ** 2 * hermite(z, np.eye(5)[2])) / (2 * variance)
    return _Moments(of_phi, of_slope, variance + m**2, float(quadrature.slope_second_moment(layer, q, mean)), k, he)


def _chain(
    net: Network, seen: dict[int, tuple[State, State]], places: Sequence[int]
) -> tuple[list[_Moments], list[float], list[float]]:
    """Moments, and nu = Var |z|^2/N and tau = E c^2 of what each phi reads."""
    nu, tau = [2 / net.input_shape[0]], [1 / net.input_shape[0]]
    moments = []
    for at in places:
        state, units = seen[at][0], net.steps[at].before[0]
        one = _moments(net.steps[at].layer, state.q, state.mean)
        moments.append(one)
        nu.append(one.k / units + one.he**2 * nu[-1])
        tau.append(1 / units + (state.q * one.slope[0] ** 2 / one.variance) ** 2 * tau[-1])
    return moments, nu, tau


def _exact(
    net: Network, settings: Settings, seen: dict[int, tuple[State, State]], places: Sequence[int]
) -> tuple[float, float]:
    """Units' own means over the data: what they add to b = N m^2 + 1, and the spread of their mean square."""
    moments, nu, tau = _chain(net, seen, places)
    one, one_over_n = moments[-1], 0.0 if settings.samples is None else 1 / settings.samples
    m, first, second, _, fourth = one.phi
    last: Any = net.affine_layers[-1]
    units = net.affine_steps[-1].before[0]
    trained = sum(layer.trained for layer in net.batch_norms[-1:])
    b = units * m**2 + (settings.biases and last.bias)
    if trained:
        b = float(np.sum(forward(net, replace(settings, samples=None)).o))
    A = units * m**2 / b
    shift = A * (fourth / m / 4 * (nu[-2] - 2 * tau[-2]) - (second**2 + m * fourth) * one_over_n / (2 * m**2))
    scatter = (one.variance - first**2 - second**2 / 2) * one_over_n + fourth**2 / 24 * 3 * tau[-2] ** 2
    return shift, 4 * A**2 * scatter / (units * m**2)


def _off(values: Sequence[float], n: float) -> float:
    """(E F)^2 at two of n samples that are normalised together: their correlation is -1/(n-1), and 1/sqrt(var) of each
    unit is not its mean's."""
    return values[0] ** 2 - values[1] ** 2 / (n - 1) - (values[2] ** 2 + values[0] * values[4]) / (2 * n)


def _frozen(net: Network, settings: Settings, seen: dict[int, tuple[State, State]], places: Sequence[int]) -> float:
    """lambda_max by the frozen recursion where every unit divides by its own variance: E 1/s_i^2 = (1 + 2 tau)/s2."""
    moments, nu, tau = _chain(net, seen, places)
    n = math.inf if settings.samples is None else settings.samples
    layers, norms = net.affine_layers, net.batch_norms
    bias = [float(settings.biases and layer.bias) for layer in layers]
    D = net.input_shape[0] * settings.length + bias[0]
    o = net.input_shape[0] * settings.overlap + bias[0]
    v_hat = settings.length - settings.overlap
    for place, (norm, one) in enumerate(zip(norms, moments, strict=True)):
        gamma: Any = norm.gamma
        s2 = layers[place].sigma_w2 * v_hat * (1 - 1 / n) + norm.eps
        chi = layers[place + 1].sigma_w2 * gamma**2 / s2 * (1 + 2 * (1 / n + tau[place]))
        units = net.affine_steps[place + 1].before[0]
        m, off = one.phi[0], _off(one.phi, n)
        D = units * one.second + bias[place + 1] + chi * one.slope_second * D
        own = off + m * one.phi[4] / 4 * (nu[place] - 2 * tau[place])
        o = units * own + bias[place + 1] + chi * _off(one.slope, n) * o
        v_hat = one.second - off
    return o + (D - o) / n
