# SPDX-License-Identifier: BSD-3-Clause
"""How right, and how fast, is `fisherfield.gaussian`? Values to 17 digits for it to be held to, and a table of both.

    python bench/judge_gaussian.py            computes tests/data/gaussian.npz (half an hour; goes on where it stopped)
    python bench/judge_gaussian.py --check    holds a sample of that file to the reference at 40 digits
    python bench/judge_gaussian.py --table    activation, worst error in each of the six integrals, time a value

Integrals without a formula are summed over Gauss-Legendre panels in NumPy's longdouble of 64 bits, 2000 times finer
than float64, with all activations on the same nodes, and every sixteenth again with more nodes. They are right to
1e-17 of E|integrand|.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from mpmath import mp
from scipy import special

import fisherfield as ff
from fisherfield import reference
from fisherfield.network.activation import as_activation
from fisherfield.reference.activations_mpmath import Known, Piecewise, functions
from fisherfield.reference.gaussian import legendre

FILE = Path(__file__).parent.parent / "tests" / "data" / "gaussian.npz"
BESIDE = FILE.with_name("unfinished.npz")
NAMES = (
    *("linear", "relu", "leaky_relu(0.1)", "abs", "step", "sign", "relu6", "hardtanh", "hardsigmoid", "hardswish"),
    *("erf", "sin", "cos", "exp", "gaussian", "rbf", "monomial(3)", "rectified_monomial(2)", "hermite(4)"),
    *("polynomial(1, -0.5, 0.25, 0.125)", "gelu", "gelu_tanh", "tanh", "sigmoid", "softplus", "silu", "mish"),
    *("elu", "selu", "celu(0.5)", "softsign"),
)
MOMENTS = ("mean", "second_moment", "slope_mean", "slope_second_moment")
COVARIANCES = ("covariance", "slope_covariance")

Long = np.longdouble
Array = np.ndarray

# ---------------------------------------------------------------------------------------------------- functions
KINKS = np.array([-3, -1, 0, 1, 3, 6], dtype=Long)  # of all activations together
PI = Long("3.14159265358979323846264338327950288")
ROOT_2_PI = Long("0.79788456080286535587989211986876373")  # sqrt(2/pi)
ALPHA, SCALE = Long(1.6732632423543772848170429916717), Long(1.0507009873554804934193349852946)
GELU = Long(0.044715)


def _erf(x: Array) -> Array:
    """erf = 1 - erfc beyond 2; up to there 2/sqrt(pi) e^(-x^2) x sum_n (2 x^2)^n/(1 3 5 ... (2n + 1)), all positive."""
    a = np.minimum(np.abs(x), 3)
    term, total = a.copy(), a.copy()
    for n in range(1, 60):
        term = term * (2 * a * a / (2 * n + 1))
        total += term
    inside = ROOT_2_PI * np.sqrt(Long(2)) * np.exp(-a * a) * total
    return np.sign(x) * np.where(np.abs(x) < 3, inside, 1 - _erfc(np.maximum(np.abs(x), 3)))


def _erfc(x: Array) -> Array:
    """x >= 1.5: e^(-x^2)/sqrt(pi) / (x + (1/2)/(x + 1/(x + (3/2)/(x + ...)))), from below."""
    f = x
    for k in range(160, 0, -1):
        f = x + Long(k) / 2 / f
    return np.exp(-np.minimum(x * x, Long(11000))) / (np.sqrt(PI) * f)


def _cdf(x: Array) -> Array:
    y = np.abs(x) / np.sqrt(Long(2))
    tail = np.where(y < 2, 1 - _erf(np.minimum(y, 2)), _erfc(np.maximum(y, 2))) / 2
    return np.where(x > 0, 1 - tail, tail)


def every(x: Array, rough: bool = False) -> tuple[dict[str, Array], dict[str, Array]]:
    """phi(x) and phi'(x) of all activations but exp; rough: to float64 those whose averages have a formula."""
    up, small = x > 0, np.exp(-np.abs(x))
    below = np.minimum(x, 0)
    one, zero = np.ones_like(x), np.zeros_like(x)
    sigmoid = np.where(up, one, small) / (1 + small)
    other = np.where(up, small, one) / (1 + small)
    t = np.where(up, (1 + 2 * small) / (1 + 2 * small + 2 * small**2), small * (2 + small) / (2 + 2 * small + small**2))
    rest = np.where(
        up,
        (2 * small * (1 + small) / (1 + 2 * small + 2 * small**2)) ** 2,
        (2 * (1 + small) / (2 + 2 * small + small**2)) ** 2,
    )  # 1 - t^2
    y = 2 * ROOT_2_PI * (x + GELU * x**3)
    y = np.clip(y, -11000, 11000)
    decay = np.exp(-np.abs(y))
    left, right = np.where(up, one, decay) / (1 + decay), np.where(up, decay, one) / (1 + decay)
    rise, less = np.expm1(below), np.where(up, one, small)
    rise2, less2 = rise * (rise + 2), less * less
    waved = x.astype(np.float64) if rough else x
    cdf, erf = (special.ndtr(waved), special.erf(waved)) if rough else (_cdf(x), _erf(x))
    bell = np.exp(-np.minimum(waved * waved / 2, 700 if rough else 11000))
    sine, cosine = np.sin(waved), np.cos(waved)
    phase = np.sqrt(Long(2)) * waved + PI / 4
    sine2, cosine2 = np.sin(phase), np.cos(phase)
    in1, in3, in6 = np.abs(x) < 1, np.abs(x) < 3, up & (x < 6)
    f = {
        "linear": x,
        "relu": np.where(up, x, zero),
        "leaky_relu(0.1)": np.where(up, x, Long(0.1) * x),
        "abs": np.abs(x),
        "step": one * up,
        "sign": np.sign(x),
        "relu6": np.clip(x, 0, 6),
        "hardtanh": np.clip(x, -1, 1),
        "hardsigmoid": np.clip(x + 3, 0, 6) / 6,
        "hardswish": x * np.clip(x + 3, 0, 6) / 6,
        "erf": erf,
        "sin": sine,
        "cos": cosine,
        "gaussian": bell,
        "rbf": np.sqrt(Long(2)) * sine2,
        "monomial(3)": x**3,
        "rectified_monomial(2)": np.where(up, x * x, zero),
        "hermite(4)": ((x * x - 6) * x * x + 3) / np.sqrt(Long(24)),
        "polynomial(1, -0.5, 0.25, 0.125)": 1 + x * (Long(-0.5) + x * (Long(0.25) + x * Long(0.125))),
        "gelu": x * cdf,
        "gelu_tanh": x * left,
        "tanh": np.tanh(x),
        "sigmoid": sigmoid,
        "softplus": np.maximum(x, 0) + np.log1p(small),
        "silu": x * sigmoid,
        "mish": x * t,
        "elu": np.where(up, x, rise),
        "selu": SCALE * np.where(up, x, ALPHA * rise),
        "celu(0.5)": np.where(up, x, Long(0.5) * rise2),
        "softsign": x / (1 + np.abs(x)),
    }
    g = {
        "linear": one,
        "relu": one * up,
        "leaky_relu(0.1)": np.where(up, one, Long(0.1)),
        "abs": np.sign(x),
        "step": zero,
        "sign": zero,
        "relu6": one * in6,
        "hardtanh": one * in1,
        "hardsigmoid": in3 / Long(6),
        "hardswish": np.where(x >= 3, one, np.where(in3, (2 * x + 3) / 6, zero)),
        "erf": ROOT_2_PI * np.sqrt(Long(2)) * bell * bell,
        "sin": cosine,
        "cos": -sine,
        "gaussian": -waved * bell,
        "rbf": 2 * cosine2,
        "monomial(3)": 3 * x * x,
        "rectified_monomial(2)": np.where(up, 2 * x, zero),
        "hermite(4)": 4 * x * (x * x - 3) / np.sqrt(Long(24)),
        "polynomial(1, -0.5, 0.25, 0.125)": Long(-0.5) + x * (Long(0.5) + x * Long(0.375)),
        "gelu": cdf + x * bell * (ROOT_2_PI / 2),
        "gelu_tanh": left * (1 + x * right * 2 * ROOT_2_PI * (1 + 3 * GELU * x * x)),
        "tanh": (2 * small / (1 + small * small)) ** 2,
        "sigmoid": sigmoid * other,
        "softplus": sigmoid,
        "silu": sigmoid * (1 + x * other),
        "mish": t + x * rest * sigmoid,
        "elu": np.where(up, one, less),
        "selu": SCALE * np.where(up, one, ALPHA * less),
        "celu(0.5)": np.where(up, one, less2),
        "softsign": 1 / (1 + np.abs(x)) ** 2,
    }
    return f, g


SUMMED = tuple(name for name in NAMES if name != "exp")

# ---------------------------------------------------------------------------------------------------- panels
# Half-widths: 1.75 of z, 1 of x near 0 (rho = 3.4 about the pole of tanh: 3.4^-40 = 4e-22); far from 0 |x|.
REACH, TAIL = 14.0, 39.0  # e^(-14^2/2) = 3e-43; kinks up to 39 deviations out hold values down to 1e-330
X = np.array([0, 2, 4, 6, 8, *(2.0**k for k in range(4, 60))], dtype=Long)
X = np.unique(np.concatenate((-X, X, KINKS)))
SMOOTHED = np.array([0, 1, 2, 4, 6, 8, *(2.0**k for k in range(4, 60))], dtype=Long)
SMOOTHED = np.unique(np.concatenate((-SMOOTHED, SMOOTHED)))


@cache
def _rule(points: int) -> tuple[Array, Array]:
    nodes, weights = zip(*legendre(points), strict=True)
    return tuple(np.array([Long(mp.nstr(x, 30)) for x in column]) for column in (nodes, weights))  # type: ignore


def _bulk(reach: float) -> Array:
    near = np.arange(-4, 5) * 3.5
    far = np.arange(REACH, reach + 7.0, 7.0)  # there is nothing but what begins at a kink
    return np.concatenate((near, far, -far)).astype(Long)


def _nodes(breaks: Array, reach: float, points: int) -> tuple[Array, Array]:
    """z and weights of E f(z) split at the breaks of each row; columns of panels without width are dropped."""
    breaks = np.sort(np.clip(breaks, -reach, reach), axis=-1)
    low, high = breaks[..., :-1], breaks[..., 1:]
    used = np.any((high > low).reshape(-1, low.shape[-1]), axis=0)
    low, half = low[..., used], (high - low)[..., used] / 2
    x, w = _rule(points)
    z = (low + half)[..., None] + half[..., None] * x
    weights = half[..., None] * w * (ROOT_2_PI / 2) * np.exp(-z * z / 2)
    return z.reshape(*breaks.shape[:-1], -1), weights.reshape(*breaks.shape[:-1], -1)


def _reach(*deviations: Array) -> float:
    """Far enough for kinks that lie in the tail."""
    far = np.abs(np.concatenate([np.ravel(x) for x in deviations])).astype(float)
    return float(max(REACH, np.max(far[far < TAIL], initial=0.0) + 3))


# A kink t deviations out may be where the integrand begins, to fall like e^(-t z).
TAIL_STEPS = np.array([0, 0.15, 0.5, 1.6], dtype=Long)
TAIL_STEPS = np.concatenate((-TAIL_STEPS[:0:-1], TAIL_STEPS))


def _begins(deviations: Array) -> Array:
    """Breaks about kinks: steps where one lies far out."""
    steps = np.where(np.abs(deviations[..., None]) > 5, TAIL_STEPS, 0 * TAIL_STEPS)
    return (deviations[..., None] + steps).reshape(*deviations.shape[:-1], -1)


def _one_breaks(m: Array, r: Any, reach: float, tails: bool) -> Array:
    """Rows of breaks of z -> f(m + r z), m a column."""
    with np.errstate(all="ignore"):
        parts = [np.broadcast_to(_bulk(reach), (len(m), len(_bulk(reach)))), (X - m[:, None]) / r]
        if tails:
            parts.append(_begins((KINKS - m[:, None]) / r))
    return np.concatenate(parts, axis=1)


def one(q: float, shift: float, points: int = 20) -> dict[str, Array]:
    """name -> the four moments, and E|f| of each."""
    m, r = np.array([Long(shift)]), np.sqrt(Long(q))
    reach = _reach((KINKS - m) / r)
    z, w = _nodes(_one_breaks(m, r, reach, bool(shift)), reach, points)
    f, g = every(m[:, None] + r * z)
    out = {}
    for name in SUMMED:
        parts = [f[name], f[name] ** 2, g[name], g[name] ** 2]
        out[name] = np.array([[np.sum(w * p) for p in parts], [np.sum(w * np.abs(p)) for p in parts]])
    return out


def _averages(m: Array, v: Any, t: Array, weights: Array) -> tuple[Any, Any]:
    """E f(N(m, v)) and E|f(N(m, v))| of all functions: sums over t, but erf and gelu by formula."""
    functions = every(m[:, None] + np.sqrt(v) * t, rough=True)
    values, sizes = (
        tuple({name: np.sum(weights * h(f[name]), axis=1) for name in SUMMED} for f in functions)
        for h in (lambda x: x, np.abs)
    )
    turn = m / np.sqrt(1 + v)
    values[0]["erf"] = _erf(m / np.sqrt(1 + 2 * v))
    cdf, pdf = _cdf(turn), np.exp(-np.minimum(turn * turn / 2, 11000)) * (ROOT_2_PI / 2)
    values[0]["gelu"] = m * cdf + v * pdf / np.sqrt(1 + v)
    values[1]["gelu"] = cdf + turn * pdf / (1 + v)
    return values, sizes


def two(
    q1: float, q2: float, rest: float, shift: float, points: int = 20, least_reach: float = REACH
) -> dict[str, Array]:
    """name -> covariance and slope_covariance, and E|integrand| of each; q1, q2 > 0."""
    q1, q2 = max(q1, q2), min(q1, q2)  # the inner sum has fewer panels where its variance is small
    r1, r2, e, b = np.sqrt(Long(q1)), np.sqrt(Long(q2)), Long(rest), Long(shift)
    c, s = 1 - e, np.sqrt(e * (2 - e))
    deviations = [(KINKS - b) / r1, (KINKS - b) / r2]
    reach = max(_reach(*deviations), least_reach)
    breaks = [_bulk(reach), (X - b) / r1]
    if shift:
        breaks += [_begins(deviations[0]), _begins(c * deviations[1])]
    if c != 0:
        with np.errstate(over="ignore"):
            if r2 * s < 4:
                breaks.append((X - b) / (r2 * c))
            if s > 0:  # a wide Gaussian smooths all kinks into one
                turns = KINKS if r2 * s < 4 else np.zeros(1, dtype=Long)
                breaks.append((((turns - b) / (r2 * c))[:, None] + SMOOTHED * (s / abs(c))).ravel())
    z, w = _nodes(np.unique(np.clip(np.concatenate(breaks), -reach, reach)), reach, points)
    f, g = every(r1 * z + b)
    total = {name: np.zeros((2, 2), dtype=Long) for name in SUMMED}
    size = max(1, 60_000 // (60 * points))
    for start in range(0, len(z), size):
        part = slice(start, start + size)
        m = r2 * (c * z[part]) + b
        if s > 0:
            values, sizes = _averages(
                m, (r2 * s) ** 2, *_nodes(_one_breaks(m, r2 * s, reach, bool(shift)), reach, points)
            )
        else:
            values = every(m)
            sizes = tuple({name: np.abs(x) for name, x in f.items()} for f in values)
        for name in SUMMED:
            for which, outer in enumerate((f, g)):
                product = w[part] * outer[name][part]
                total[name][0, which] += np.sum(product * values[which][name])
                total[name][1, which] += np.sum(np.abs(product) * sizes[which][name])
    return total


# ---------------------------------------------------------------------------------------------------- points
def points() -> dict[str, Array]:
    """The arguments of all stored values."""
    rng = np.random.default_rng(1)
    exact = 10.0 ** np.array([-8.0, 0.0, 8.0])
    out: dict[str, Array] = {}
    q = 10.0 ** rng.uniform(-8, 8, 192)
    shift = np.where(rng.random(192) < 1 / 3, rng.uniform(-4, 4, 192), 0.0)
    far = np.linspace(4, 37, 12)  # deviations of the kinks at 0 and at -3: values down to 1e-300
    out["moment_q"] = np.concatenate(([0.0, 0.0], exact, exact, q, (2.5 / far) ** 2, (0.9 / far) ** 2))
    shift = np.concatenate((shift, np.full(12, -2.5), np.full(12, -3.9)))
    out["moment_shift"] = np.concatenate(([0.0, 1.3], np.zeros(3), np.full(3, -0.7), shift))

    count = 300
    q1, q2 = 10.0 ** rng.uniform(-8, 8, (2, count))
    q2 = np.where(rng.random(count) < 1 / 3, q1, q2)
    near = 10.0 ** -rng.uniform(0, 15, count)
    kind = rng.integers(0, 3, count)
    rest = np.choose(kind, (rng.uniform(0, 2, count), near, 2 - near))
    shift = np.where(rng.random(count) < 1 / 3, rng.uniform(-4, 4, count), 0.0)
    variances = np.concatenate(([0.0], exact))
    ends = np.array([2.0, 2 - 1e-15, 1.5, 1.0, 0.5, 1e-15, 0.0])
    corners = np.array([(a, b, e, 0.0) for i, a in enumerate(variances) for b in variances[i:] for e in ends])
    rows = np.concatenate((corners, np.stack((q1, q2, rest, shift), axis=1)))
    out.update(zip(("q1", "q2", "one_minus_c", "shift"), rows.T, strict=True))
    return out


# whose mean, or whose slope's, is 0 without shift
ODD = ("linear", "sign", "hardtanh", "erf", "sin", "monomial(3)", "tanh", "softsign")
EVEN = ("abs", "cos", "gaussian", "hermite(4)")
WAVES = ("sin", "cos", "exp", "gaussian", "rbf")
RAMPS = {"relu": 0.0, "leaky_relu(0.1)": 0.1, "abs": -1.0}


def _arc_cosine(name: str, slope: bool, q1: float, q2: float, rest: float) -> Any:
    """Ramps (a x for x < 0), step and sign without shift: Cho and Saul (2009), Sheppard (1899); None for others."""
    with mp.workdps(60):
        theta = 2 * mp.asin(mp.sqrt(mp.mpf(rest) / 2))  # acos c
        t = 2 * mp.asin(mp.sqrt((2 - mp.mpf(rest)) / 2))  # pi - theta
        if name in RAMPS:
            a = mp.mpf(RAMPS[name])
            if slope:
                return ((1 + a * a) * t + 2 * a * theta) / (2 * mp.pi)
            same, opposite = mp.sin(t) - t * mp.cos(t), mp.sin(theta) - theta * mp.cos(theta)
            return mp.sqrt(mp.mpf(q1) * q2) * ((1 + a * a) * same - 2 * a * opposite) / (2 * mp.pi)
        if name in ("step", "sign"):
            return mp.zero if slope else t / (2 * mp.pi) if name == "step" else (t - theta) / mp.pi
    return None


@cache
def _has_formula(name: str, which: str) -> bool:
    """Whether the reference forms this integral without a sum."""
    f = functions(as_activation(name))[which.startswith("slope")]
    if isinstance(f, Known):
        return True
    return which not in COVARIANCES if isinstance(f, Piecewise) else f.average is not None and which.endswith("mean")


def moments_at(q: float, shift: float, sums_alone: bool = False) -> tuple[Array, Array]:
    """Values and sizes [activation, integral]; sums_alone: formulas only where sums resolve no waves."""
    sums = one(q, shift) if q else {}
    value, size = np.zeros((2, len(NAMES), 4))
    for i, name in enumerate(NAMES):
        for k, which in enumerate(MOMENTS):
            wanted = name in WAVES if sums_alone else _has_formula(name, which)
            if not shift and k in (0, 2) and name in (ODD, EVEN)[k // 2]:
                value[i, k] = 0.0
            elif wanted or not q:
                value[i, k] = float(getattr(reference.gaussian, which)(name, q, shift))
            else:
                value[i, k] = float(sums[name][0, k])
            size[i, k] = float(sums[name][1, k]) if name in sums else abs(value[i, k])
    return value, size


def covariances_at(q1: float, q2: float, rest: float, shift: float, points: int = 20) -> tuple[Array, Array]:
    """Values and sizes [activation, integral]."""
    value, size = np.zeros((2, len(NAMES), 2))
    if rest == 1 and min(q1, q2) > 0:
        pair = one(q1, shift), one(q2, shift)
        for i, name in enumerate(NAMES):
            for k, which in enumerate(("mean", "slope_mean")):
                if _has_formula(name, which):
                    at = [getattr(reference.gaussian, which)(name, q, shift) for q in (q1, q2)]
                else:
                    at = [sums[name][0, 2 * k] for sums in pair]
                value[i, k] = 0.0 if not shift and name in (ODD, EVEN)[k] else float(at[0] * at[1])
                size[i, k] = (
                    float(pair[0][name][1, 2 * k] * pair[1][name][1, 2 * k]) if name in SUMMED else abs(value[i, k])
                )
        return value, size
    if min(q1, q2) == 0:
        for i, name in enumerate(NAMES):
            for k, which in enumerate(("mean", "slope_mean")):
                at = [getattr(reference.gaussian, which)(name, q, shift) for q in (q1, q2)]
                value[i, k] = float(at[0] * at[1])
                size[i, k] = abs(value[i, k])
        for q in {q1, q2} - {0.0}:
            m, s = moments_at(q, shift)
            with np.errstate(all="ignore"):
                scale = np.where(m[:, ::2] != 0, s[:, ::2] / np.abs(m[:, ::2]), 0.0)
            size *= np.where(np.isfinite(scale), scale, 1.0)
        return value, size
    sums = two(q1, q2, rest, shift, points)
    if shift and any(0 < float(abs(x)) < 1e-25 for name in SUMMED for x in sums[name][0]):
        # Kinks that both arguments pass far out only: beyond the reach there is e^-98 of the integrand at most.
        sums = two(q1, q2, rest, shift, points, TAIL + 3)
    for i, name in enumerate(NAMES):
        for k, which in enumerate(COVARIANCES):
            exact = _arc_cosine(name, k == 1, q1, q2, rest) if shift == 0 else None
            if exact is None and _has_formula(name, which):
                exact = getattr(reference.gaussian, which)(name, q1, q2, one_minus_c=rest, shift=shift)
            value[i, k] = float(sums[name][0, k] if exact is None else exact)
            size[i, k] = float(sums[name][1, k]) if name in sums else abs(value[i, k])
    return value, size


def compute() -> None:
    """Write the file; a value not yet there is NaN."""
    data = points()
    count, pairs = len(data["moment_q"]), len(data["q1"])
    data |= {"names": np.array(NAMES)}
    data |= {f"moment_{x}": np.full((len(NAMES), 4, count), np.nan) for x in ("value", "size")}
    data |= {f"pair_{x}": np.full((len(NAMES), 2, pairs), np.nan) for x in ("value", "size")}
    before = dict(np.load(FILE)) if FILE.exists() else {}
    for kind, arguments in (("moment", ("moment_q", "moment_shift")), ("pair", ("q1", "q2", "one_minus_c", "shift"))):
        if all(np.array_equal(data[x], before.get(x)) for x in ("names", *arguments)):
            data |= {f"{kind}_{x}": before[f"{kind}_{x}"].astype(np.float64) for x in ("value", "size")}
    FILE.parent.mkdir(exist_ok=True)

    def save() -> None:
        small = {x: data[x].astype(np.float32) for x in ("moment_size", "pair_size")}
        np.savez_compressed(BESIDE, **(data | small))  # type: ignore[arg-type]
        BESIDE.replace(FILE)  # at once: there is no half-written file

    last = start = time.time()
    warnings.simplefilter("ignore", RuntimeWarning)  # exp overflows; sizes in float32
    for i in np.flatnonzero(np.isnan(data["moment_value"][0, 0])):
        value, size = moments_at(data["moment_q"][i], data["moment_shift"][i])
        data["moment_value"][..., i], data["moment_size"][..., i] = value, size
    print(f"moments: {time.time() - start:.0f} s", flush=True)
    save()
    for done, i in enumerate(np.flatnonzero(np.isnan(data["pair_value"][0, 0]))):
        where = tuple(float(data[x][i]) for x in ("q1", "q2", "one_minus_c", "shift"))
        value, size = covariances_at(*where)
        data["pair_value"][..., i], data["pair_size"][..., i] = value, size
        if done % 16 == 15:  # the same with more points
            again = covariances_at(*where, points=26)[0]
            with np.errstate(invalid="ignore"):
                apart = np.abs(again - value) / np.maximum(1e-14 * np.abs(value), 1e-16 * size)
            print(f"{i} of {pairs}, {time.time() - start:.0f} s: {np.nanmax(apart):.2g} of what is allowed", flush=True)
            if np.nanmax(apart) > 1:
                worst = np.unravel_index(np.nanargmax(apart), apart.shape)
                print("  at", where, NAMES[worst[0]], COVARIANCES[worst[1]], value[worst], again[worst], size[worst])
        if time.time() - last > 60:
            save()
            last = time.time()
    save()


def check() -> None:
    """A sample of the file against the reference at 40 digits: sums in one variable all, in two a few."""
    data, rng = dict(np.load(FILE)), np.random.default_rng(2)
    worst: dict[str, float] = {}

    def hold(name: str, which: str, value: float, size: float, exact: Any) -> None:
        if not np.isfinite(value):
            apart = float(exact < 1.797e308)
        else:  # rounded to float64, half an eps; sizes to float32, whose smallest is 1e-45
            allowed = max(2.0**-53 * abs(float(exact)) * 1.01 + 1e-17 * min(size, 1e300), 1e-307)
            apart = float(abs(mp.mpf(float(value)) - exact)) / allowed
        worst[which] = max(worst.get(which, 0.0), apart)
        if apart > 1:
            print(f"{name} {which}: stored {value!r}, reference {mp.nstr(exact, 20)}, {apart:.2g} of what is allowed")

    for i, name in enumerate(NAMES):
        for k, which in enumerate(MOMENTS):
            for j in rng.choice(len(data["moment_q"]), 10, replace=False):
                exact = getattr(reference.gaussian, which)(name, data["moment_q"][j], data["moment_shift"][j])
                hold(name, which, data["moment_value"][i, k, j], data["moment_size"][i, k, j], exact)
        for k, which in enumerate(COVARIANCES):
            f = functions(as_activation(name))[k]
            there = np.flatnonzero(np.isfinite(data["pair_value"][i, k]) & (np.minimum(data["q1"], data["q2"]) > 0))
            if f.average is None:  # a sum in two variables, minutes at 40 digits
                there = [j for j in there if max(data["q1"][j], data["q2"][j]) < 100]
            for j in rng.choice(there, 1 if f.average is None else 2, replace=False):
                keywords = {"one_minus_c": data["one_minus_c"][j], "shift": data["shift"][j]}
                exact = getattr(reference.gaussian, which)(name, data["q1"][j], data["q2"][j], **keywords)
                hold(name, which, data["pair_value"][i, k, j], data["pair_size"][i, k, j], exact)
        print(name, {which: f"{share:.2g}" for which, share in worst.items()}, flush=True)


# ---------------------------------------------------------------------------------------------------- table
def _cell(got: Array, value: Array, size: Array) -> str:
    """Worst relative error; where |value| < E|integrand|/1000 that of the error over eps E|integrand|."""
    with np.errstate(all="ignore"):
        error = np.where(got == value, 0.0, np.abs(got - value))
        error = np.where(np.isnan(error), np.inf, error)
        cancels = np.abs(value) < 1e-3 * size
        relative = np.max(np.where(cancels | (error < 1e-307), 0.0, error / np.abs(value)), initial=0.0)
        units = np.max(np.where(cancels, error / (np.finfo(float).eps * size), 0.0), initial=0.0)
    return f"{relative:.0e}" + (f" {units:.1g}u" if np.any(cancels & (size > 1e-300)) else "")


def _timed(call: Any, count: int) -> float:
    """Nanoseconds a value, the best of three."""
    best = np.inf
    for _ in range(3):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best / count * 1e9


def table(count: int) -> None:
    """Errors at `count` random points for one variable, at the stored ones for two; times of the same arguments."""
    data, rng = dict(np.load(FILE)), np.random.default_rng(3)
    warnings.simplefilter("ignore", RuntimeWarning)
    q = 10.0 ** rng.uniform(-8, 8, count)
    shift = np.where(rng.random(count) < 1 / 3, rng.uniform(-4, 4, count), 0.0)
    value, size = np.zeros((2, len(NAMES), 4, count))
    for j in range(count):
        value[..., j], size[..., j] = moments_at(float(q[j]), float(shift[j]), sums_alone=True)
    ff.set_num_threads(1)
    there = np.isfinite(data["pair_value"][0, 0])
    where = tuple(data[x][there] for x in ("q1", "q2", "one_minus_c", "shift"))

    def pairs(which: str, name: str) -> Any:
        q1, q2, rest, shifts = where
        return partial(getattr(ff.gaussian, which), name, q1, q2, one_minus_c=rest, shift=shifts)

    print(f"{count} random points of one variable, {there.sum()} stored ones of two")
    print("u: units of eps E|integrand|, at points where it cancels to a thousandth")
    print("| activation | " + " | ".join((*MOMENTS, *COVARIANCES)) + " | ns a moment | ns a covariance |")
    print("| --- |" + " ---: |" * 8)
    for i, name in enumerate(NAMES):
        cells = []
        for k, which in enumerate(MOMENTS):
            got = getattr(ff.gaussian, which)(name, q, shift)
            cells.append(_cell(got, value[i, k], size[i, k]))
        for k, which in enumerate(COVARIANCES):
            got = pairs(which, name)()
            cells.append(_cell(got, data["pair_value"][i, k, there], data["pair_size"][i, k, there]))
        for call, n in (
            (partial(ff.gaussian.second_moment, name, q, shift), count),
            (pairs("covariance", name), there.sum()),
        ):
            cells.append(f"{_timed(call, n):.0f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--points", type=int, default=10_000, help="of one variable, for the table")
    options = parser.parse_args()
    if np.finfo(Long).eps > 1.1e-19:
        sys.exit(f"longdouble must be finer than float64 for this, got eps = {np.finfo(Long).eps}")
    if options.check:
        check()
    elif options.table:
        table(options.points)
    else:
        compute()


if __name__ == "__main__":
    main()
