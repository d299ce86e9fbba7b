# SPDX-License-Identifier: BSD-3-Clause
"""What do Gaussian integrals E phi(u) phi(w) cost, and how wrong are they, here and elsewhere?

    python bench/gaussian.py --plot docs/gaussian_bench.png --json docs/gaussian_bench.json

Every method gets the same points: a grid of variances q1, q2 log-uniform in [1e-2, 1e2] and correlations, three
quarters uniform, one quarter within 1e-2 to 1e-7 of +-1; all of them float32 numbers, so that both precisions see the
same. It is judged at some of them by integrals of 20 digits and more (mpmath), by its largest and its median relative
error, and timed on as many as fit in a fraction of a second, on one thread, the fastest call of several. fisherfield's
answers are asserted before they are timed.

    ff.gaussian      the functions of this package; float32 the same with float32 operands
    ff table         `ff.gaussian.tabulate` at q1 = q2, beside ff.gaussian itself, asserted to its own stated error
    textbook         the closed form as it is printed, in NumPy
    Gauss-Hermite    25 x 25 nodes, in NumPy
    dblquad          scipy.integrate.dblquad over the plane, a value at a time, judged and timed at four points
    neural-tangents  stax's kernel functions, float64, jitted; tanh and elu by its own 25 x 25 Gauss-Hermite nodes.
                     It takes covariances in place of correlations, and computes two more moments beside.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import sys
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mpmath import mp
from scipy import integrate, special
from timing import machine, seconds

import fisherfield as ff

Array = np.ndarray
Method = Callable[[Array, Array, Array], Any]  # of q1, q2, c, arrays of one shape

ROWS, COLUMNS = 250, 400
SIZES = ((1, 1), (2, 2), (4, 5), (1, 400), (20, 400), (ROWS, COLUMNS))  # corners of the grid that are timed, in turn
ENOUGH = 0.03  # seconds a call: then no larger one is tried


def grid() -> tuple[Array, Array, Array]:
    random = np.random.default_rng(1)
    q1 = 10 ** random.uniform(-2, 2, (ROWS, 1))
    q2 = 10 ** random.uniform(-2, 2, (1, COLUMNS))
    near = random.choice([-1, 1], (ROWS, COLUMNS)) * (1 - 10 ** random.uniform(-7, -2, (ROWS, COLUMNS)))
    c = np.where(random.uniform(size=near.shape) < 0.25, near, random.uniform(-1, 1, near.shape))
    single = [x.astype(np.float32) for x in (q1, q2, c)]
    return tuple(np.array(x, dtype=np.float64) for x in np.broadcast_arrays(*single))  # type: ignore[return-value]


# ------------------------------------------------------------------------------------ closed forms as they are printed
# `m` is numpy, which makes them a method, or mpmath's mp, whose 40 digits make them the judge.
def relu(m: Any, q1: Any, q2: Any, c: Any) -> Any:
    """Cho and Saul (2009)."""
    angle = m.acos(c)
    return m.sqrt(q1 * q2) / (2 * m.pi) * (m.sin(angle) + (m.pi - angle) * c)


def erf(m: Any, q1: Any, q2: Any, c: Any) -> Any:
    """Williams (1997)."""
    return 2 / m.pi * m.asin(2 * c * m.sqrt(q1 * q2) / m.sqrt((1 + 2 * q1) * (1 + 2 * q2)))


def gelu(m: Any, q1: Any, q2: Any, c: Any) -> Any:
    """Tsuchida et al. (2021)."""
    p, product = c * m.sqrt(q1 * q2), (1 + q1) * (1 + q2)
    root = m.sqrt(product - p * p)
    return p / 4 + ((p * p + q1 * q2 * root**2) / (product * root) + p * m.atan2(p, root)) / (2 * m.pi)


# -------------------------------------------------------------------------------------------------------- the judges
def printed(formula: Callable[..., Any], q1: Any, q2: Any, c: Any) -> Any:
    with mp.workdps(40):  # of which relu near c = -1 cancels 11
        return formula(mp, mp.mpf(q1), mp.mpf(q2), mp.mpf(c))


def by_reference(name: str, q1: Any, q2: Any, c: Any) -> Any:
    return ff.reference.gaussian.covariance(name, q1, q2, c)


def tanh(shift: float, q1: Any, q2: Any, c: Any) -> Any:
    """E tanh(u + shift) tanh(w + shift) by the trapezoidal rule, which converges exponentially for analytic functions.

    With s, d ~ N(0, 1), u = sqrt(q1) (a s + b d) and w = sqrt(q2) (a s - b d), a^2 = (1 + c)/2, b^2 = (1 - c)/2. Poles
    lie pi/2 off the real axis in u and w: steps of 0.2 in these leave exp(-pi^2/0.2) = 4e-22, steps of 0.6 in s and d
    exp(-2 pi^2/0.36) = 2e-24, their end at 10 leaves 1e-21.
    """
    with mp.workdps(30):
        r1, r2, a, b = (mp.sqrt(x) for x in (mp.mpf(q1), mp.mpf(q2), (1 + mp.mpf(c)) / 2, (1 - mp.mpf(c)) / 2))

        def line(scale: Any, sign: int, start: float) -> list[tuple[Any, Any, Any]]:
            """Weight, e^(-2 u) and e^(-2 w) for every s (or d) on the line."""
            step = min(mp.mpf("0.6"), mp.mpf("0.2") / (scale * max(r1, r2)))
            points = [step * k for k in range(-int(10 / step), int(10 / step) + 1)]
            return [
                (step * mp.npdf(x), mp.exp(-2 * (r1 * scale * x + start)), mp.exp(-2 * (sign * r2 * scale * x + start)))
                for x in points
            ]

        total, inner = mp.zero, line(b, -1, 0.0)
        for weight, u, w in line(a, 1, shift):
            total += weight * mp.fsum(v * (1 - u * x) * (1 - w * y) / ((1 + u * x) * (1 + w * y)) for v, x, y in inner)
        return total


# ------------------------------------------------------------------------------------------------------- the methods
class Case(NamedTuple):
    """An activation as ff knows it, as a function of arrays and of numbers; its closed form or judge; its layer."""

    activation: str
    shift: float
    phi: Callable[[Any], Any]
    scalar: Callable[[float], float]
    closed: Callable[..., Any] | None = None
    judge: Callable[..., Any] | None = None
    stax: str | None = None

    @property
    def name(self) -> str:
        return self.activation + (f"(x + {self.shift:g})" if self.shift else "")

    @property
    def judged(self) -> tuple[int, int]:
        """The corner of the grid that is judged: integrals take the judge a second each."""
        return (15, 20) if self.closed is not None else (4, 5)

    def exact(self, points: tuple[Array, ...]) -> Array:
        judge = self.judge if self.closed is None else functools.partial(printed, self.closed)
        corner = [x[: self.judged[0], : self.judged[1]] for x in points]
        return np.frompyfunc(judge, 3, 1)(*corner)  # type: ignore[no-any-return]


def _elu(x: Any) -> Any:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


CASES = (
    Case("relu", 0, lambda x: np.maximum(x, 0), lambda x: max(x, 0.0), relu, stax="Relu"),
    Case("erf", 0, special.erf, math.erf, erf, stax="Erf"),
    Case("gelu", 0, lambda x: x * special.ndtr(x), lambda x: x * math.erfc(-x / math.sqrt(2)) / 2, gelu, stax="Gelu"),
    Case("tanh", 0, np.tanh, math.tanh, judge=functools.partial(tanh, 0.0)),
    Case("elu", 0, _elu, lambda x: x if x > 0 else math.expm1(x), judge=functools.partial(by_reference, "elu")),
    Case("tanh", 0.5, lambda x: np.tanh(x + 0.5), lambda x: math.tanh(x + 0.5), judge=functools.partial(tanh, 0.5)),
)


def gauss_hermite(phi: Callable[[Any], Any], q1: Array, q2: Array, c: Array) -> Array:
    x, weight = np.polynomial.hermite_e.hermegauss(25)
    weight = weight / math.sqrt(2 * math.pi)
    out = np.empty(c.size)
    for i in range(0, c.size, 500):  # as much as stays in the cache
        part = slice(i, i + 500)
        r1, r2, k = (y.ravel()[part, None] for y in (np.sqrt(q1), np.sqrt(q2), c))
        w = r2[..., None] * (k[..., None] * x[:, None] + np.sqrt(1 - k * k)[..., None] * x)
        out[part] = np.einsum("ni,nij,i,j->n", phi(r1 * x), phi(w), weight, weight, optimize=True)
    return out.reshape(c.shape)


def dblquad(phi: Callable[[float], float], q1: Array, q2: Array, c: Array) -> Array:
    def value(v1: float, v2: float, k: float) -> float:
        r1, r2, rest = math.sqrt(v1), math.sqrt(v2), math.sqrt(1 - k * k)

        def integrand(y: float, x: float) -> float:
            return phi(r1 * x) * phi(r2 * (k * x + rest * y)) * math.exp(-(x * x + y * y) / 2) / (2 * math.pi)

        return float(integrate.dblquad(integrand, -np.inf, np.inf, -np.inf, np.inf)[0])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", integrate.IntegrationWarning)
        return np.vectorize(value)(q1, q2, c)  # type: ignore[no-any-return]


def neural_tangents() -> tuple[Any, Any] | None:
    """stax and the class of its kernels; None where it is not installed."""
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    # A part of it wants TensorFlow, and names that newer jax keeps elsewhere; neither is used here.
    sys.modules.setdefault("neural_tangents.experimental", types.ModuleType("neural_tangents.experimental"))
    try:
        import jax
        from jax._src import source_info_util
        from jax.interpreters import ad

        ad.source_info_util, ad.config = source_info_util, jax.config
        jax.config.update("jax_enable_x64", True)
        from neural_tangents import Kernel, stax
    except ImportError:
        return None
    return stax, Kernel


def of_neural_tangents(case: Case, stax: Any, kernel: Any) -> Method:
    import jax

    if case.stax is not None:
        layer = getattr(stax, case.stax)()
    else:
        phi = getattr(jax.nn, case.activation)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the number of nodes decides upon the error
            layer = stax.ElementwiseNumerical(lambda x: phi(x + case.shift), deg=25)

    @jax.jit
    def covariance(q1: Any, q2: Any, p: Any) -> Any:
        state = kernel(
            nngp=p,
            ntk=None,
            cov1=q1,
            cov2=q2,
            x1_is_x2=False,
            is_gaussian=True,
            is_reversed=False,
            is_input=False,
            diagonal_batch=True,
            diagonal_spatial=True,
            shape1=(len(q1), 1),
            shape2=(len(q2), 1),
            batch_axis=0,
            channel_axis=1,
        )
        return layer[2](state).nngp

    covariances: dict[int, Any] = {}  # formed beforehand: they are its operands

    def method(q1: Array, q2: Array, c: Array) -> Any:
        key = c.size
        if key not in covariances:
            covariances[key] = [jax.numpy.asarray(x) for x in (q1[:, 0], q2[0], c * np.sqrt(q1 * q2))]
        return covariance(*covariances[key]).block_until_ready()

    return method


def methods(case: Case, stax: tuple[Any, Any] | None) -> dict[str, Method | None]:
    """By name; None for what is not there."""
    shift = {"shift": case.shift} if case.shift else {}
    out: dict[str, Method | None] = {
        "ff.gaussian": lambda *x: ff.gaussian.covariance(case.activation, *x, **shift),
        "ff.gaussian, float32": lambda *x: ff.gaussian.covariance(case.activation, *x, **shift),
    }
    if case.closed is not None:
        out["textbook"] = functools.partial(case.closed, np)
    out["Gauss-Hermite"] = functools.partial(gauss_hermite, case.phi)
    out["dblquad"] = functools.partial(dblquad, case.scalar)
    out["neural-tangents"] = None if stax is None else of_neural_tangents(case, *stax)
    return out


# -------------------------------------------------------------------------------------------------- errors and times
class Row(NamedTuple):
    activation: str
    method: str
    worst: float  # relative errors
    median: float
    ns: float  # a value


def operands(method: str, points: tuple[Array, ...], size: tuple[int, int]) -> list[Array]:
    kind = np.float32 if method.endswith("float32") else np.float64
    return [np.ascontiguousarray(x[: size[0], : size[1]], dtype=kind) for x in points]


def errors(case: Case, method: str, call: Method, points: tuple[Array, ...], exact: Array) -> tuple[Array, float]:
    """Relative errors, and the nanoseconds a value that they took."""
    size = (2, 2) if method == "dblquad" else case.judged
    inputs, true = operands(method, points, size), exact[: size[0], : size[1]]
    start = time.perf_counter()
    got = np.asarray(call(*inputs), dtype=np.float64)
    taken = time.perf_counter() - start
    apart = [float(abs(mp.mpf(x) - y) / abs(y)) for x, y in zip(got.ravel(), true.ravel(), strict=True)]
    return np.array(apart), taken / true.size * 1e9


def nanoseconds(method: str, call: Method, points: tuple[Array, ...]) -> float:
    for size in SIZES:
        inputs = operands(method, points, size)
        call(*inputs)  # compiles, and fills the caches
        taken = seconds(lambda: call(*inputs), 1)  # noqa: B023
        if taken > ENOUGH:
            break
    calls = max(1, min(200, int(0.4 / taken)))
    return seconds(lambda: call(*inputs), calls) / (size[0] * size[1]) * 1e9


def measure() -> list[Row]:
    points, stax, rows = grid(), neural_tangents(), []
    print(f"{'activation':<16}{'method':<24}{'worst error':>12}{'median':>10}{'ns a value':>18}")
    for case in CASES:
        exact = case.exact(points)
        for method, call in methods(case, stax).items():
            if call is None:
                print(f"{case.name:<16}{method:<24}{'not installed':>40}", flush=True)
                continue
            error, ns = errors(case, method, call, points, exact)
            if method.startswith("ff"):
                # float64 as promised; float32 is rounded once, by 2^-24 = 5.96e-8 at most
                assert error.max() < (1e-12 if method == "ff.gaussian" else 6e-8), (case.name, method, error.max())
            if method != "dblquad":  # it takes seconds
                ns = nanoseconds(method, call, points)
            row = Row(case.name, method, error.max(), float(np.median(error)), ns)
            print(f"{row[0]:<16}{row[1]:<24}{row[2]:>12.1e}{row[3]:>10.1e}{row[4]:>18,.1f}", flush=True)
            rows.append(row)
        print()
    return rows + tables(points)


def tables(points: tuple[Array, ...]) -> list[Row]:
    """Interpolation at equal variances; errors relative to the value, as the others'."""
    q, c = (np.ascontiguousarray(x.ravel()) for x in (points[0], points[2]))
    rows, judged = [], slice(None, None, 40)
    for name in ("tanh", "gelu", "silu"):
        table = ff.gaussian.tabulate(name)
        exact = ff.gaussian.covariance(name, q[judged], q[judged], c[judged])
        apart = np.abs(table.covariance(q[judged], c[judged]) - exact)
        assert np.all(apart <= table.error * ff.gaussian.second_moment(name, q[judged])), name
        error, out = apart / np.abs(exact), np.empty_like(q)
        ns = seconds(lambda: table.covariance(q, c, out=out), 100) / q.size * 1e9  # noqa: B023
        rows.append(Row(name, "ff table", error.max(), float(np.median(error)), ns))
        row = rows[-1]
        print(f"{row[0]:<16}{row[1]:<24}{row[2]:>12.1e}{row[3]:>10.1e}{row[4]:>18,.1f}   {table!r}", flush=True)
    return rows


# ------------------------------------------------------------------------------------------------------- the picture
# Okabe and Ito's colours, which the colour-blind tell apart
COLOURS = {
    "relu": "#0072B2",
    "erf": "#E69F00",
    "gelu": "#009E73",
    "tanh": "#D55E00",
    "elu": "#CC79A7",
    "silu": "#56B4E9",
    "tanh(x + 0.5)": "#000000",
}
MARKERS = {
    "ff.gaussian": "o",
    "ff.gaussian, float32": "v",
    "ff table": "*",
    "textbook": "s",
    "neural-tangents": "D",
    "Gauss-Hermite": "^",
    "dblquad": "P",
}


def plot(rows: list[Row], file: str) -> None:
    """Errors against times; below each point of ff.gaussian the activation's name, in its colour."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.size": 16, "axes.labelsize": 17, "axes.titlesize": 18}):
        figure = Figure(figsize=(11, 7.5), dpi=100, layout="constrained")
        axes = figure.subplots()
        axes.set(xscale="log", yscale="log", xlabel="nanoseconds a value, one thread")
        axes.set_ylabel("largest relative error (line: to the median)")
        axes.set_title("What a Gaussian covariance E φ(u) φ(w) costs, and how wrong it is", pad=14)
        axes.axhline(1, color="#888888", linewidth=1.2, linestyle=(0, (1.2, 1.4)))
        axes.axhspan(2**-53, 2**-52, color="#888888", alpha=0.25, linewidth=0)
        for text, at in (("100 %", 1.0), ("rounding", 2**-53)):
            place = (0.995, at) if at == 1 else (0.52, at)
            axes.annotate(text, place, xycoords=axes.get_yaxis_transform(), xytext=(0, 4), ha="right", color="#555555",
                          textcoords="offset points", fontsize=14)  # fmt: skip
        for method, marker in MARKERS.items():
            if all(row.method != method for row in rows):
                continue
            axes.plot([], [], marker, color="#555555", markersize=12, label=method)
            for row in rows:
                if row.method == method:
                    colour = COLOURS[row.activation]
                    axes.plot(
                        [row.ns, row.ns], [row.median, row.worst], "-", color=colour, alpha=0.3, linewidth=2.5, zorder=1
                    )
                    axes.plot(row.ns, row.worst, marker, color=colour, markersize=13, markeredgecolor="white")
        for row in rows:
            if row.method == "ff table":
                axes.annotate(row.activation, (row.ns, row.worst), xytext=(0, 12), textcoords="offset points",
                              ha="center", color=COLOURS[row.activation], fontsize=13)  # fmt: skip
        previous, lines = 0.0, 0
        for row in sorted((row for row in rows if row.method == "ff.gaussian"), key=lambda row: row.ns):
            lines = lines + 1 if row.ns < 4 * previous else 0  # one below the other where they would meet
            previous = row.ns
            axes.annotate(row.activation, (row.ns, 3e-17), xytext=(0, -18 * lines), textcoords="offset points",
                          ha="center", va="top", color=COLOURS[row.activation], weight="bold")  # fmt: skip
        axes.set_ylim(bottom=1e-19)
        axes.grid(alpha=0.2)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="center", bbox_to_anchor=(0.47, 0.4), fontsize=14.5, frameon=False, labelspacing=0.35)
        figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plot", metavar="FILE", help="draw error against time")
    parser.add_argument("--json", metavar="FILE", help="write the figures")
    options = parser.parse_args()
    ff.set_num_threads(1)
    print(f"{machine()}\n")
    rows = measure()
    if options.json:
        short = [row[:2] + tuple(float(f"{x:.3g}") for x in row[2:]) for row in rows]
        lines = ",\n".join("  " + json.dumps(dict(zip(Row._fields, row, strict=True))) for row in short)
        Path(options.json).write_text(f'{{"machine": {json.dumps(machine())}, "rows": [\n{lines}\n]}}\n')
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
