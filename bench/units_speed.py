#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What sampled units take, net by net, beside a plain NumPy pass of the same theory: CPU seconds, memory and error.

    python bench/units_speed.py                       all nets, on one thread
    python bench/units_speed.py vgg16 resnet20 --runs 8

The plain pass holds one set of M units and R = 8 samples of each, M K = 2^17 numbers a sample (2^19 for 32 x 32), every
matrix in float64, alpha by eigenvectors with scrambled Sobol numbers, and BatchNorm by the population's statistics with
the terms in 1/n, which are 1 % off where a BatchNorm has one to four positions. Errors are standard deviations over
`--runs` seeds of what one call gives (four groups of units; one pass). At the same error one takes
seconds x error^2 of the other's: the last column. Both answers must agree within 2 % and five errors.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

import fisherfield as ff
from fisherfield import _core
from fisherfield.theory.settings import Settings
from fisherfield.threads import one_blas_thread

RELU = ff.Activation("relu")
WEIGHTS = {"sigma_w2": 2.0, "sigma_b2": 0.0}
EXPECTED = {  # means of 16 seeds and more, and of other sizes: within 0.3 %
    "vgg8": 119.6, "vgg12": 16.03, "vgg16": 195.3, "resnet8": 284.1, "resnet12": 45.7, "resnet16": 71.3,
    "vgg11": 1079.0, "resnet20": 72.6,
}  # fmt: skip


# ----------------------------------------------------------------------------------------------------- the nets
def conv(channels: int, kernel: int = 3, stride: int = 1) -> ff.Conv2d:
    return ff.Conv2d(channels, kernel, stride, kernel // 2, **WEIGHTS)


def end() -> list[Any]:
    return [ff.Flatten(), ff.Dense(1, **WEIGHTS)]


def vgg(side: int, stages: list[int | str], norm: ff.BatchNorm, average: bool = True) -> ff.Network:
    layers: list[Any] = []
    for stage in stages:
        layers += [ff.MaxPool2d(2)] if isinstance(stage, str) else [conv(stage), norm, RELU]
    return ff.Network((3, side, side), [*layers, *([ff.GlobalAvgPool2d()] if average else []), *end()])


def resnet(side: int, blocks: list[tuple[int, int]], norm: ff.BatchNorm, pool: bool = False) -> ff.Network:
    """Blocks of channels and stride; where either changes, projections with a BatchNorm."""
    before = blocks[0][0]
    layers: list[Any] = [conv(before), norm, RELU, *([ff.MaxPool2d(3, 2, 1)] if pool else [])]
    for channels, stride in blocks:
        branch = [conv(channels, stride=stride), norm, RELU, conv(channels), norm]
        skip = [] if (channels, stride) == (before, 1) else [conv(channels, 1, stride), norm]
        layers += [ff.Residual(branch, skip), RELU]
        before = channels
    return ff.Network((3, side, side), [*layers, ff.GlobalAvgPool2d(), *end()])


def nets() -> dict[str, tuple[ff.Network, int]]:
    """Each with its number of samples."""
    plain, trained = ff.BatchNorm(), ff.BatchNorm(trained=True)
    eleven: list[int | str] = [64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"]
    twenty = [(16, 1)] * 3 + [(32, 2), (32, 1), (32, 1)] + [(64, 2), (64, 1), (64, 1)]
    return {
        "vgg8": (vgg(8, [64, "M", 64, "M", 64, "M"], plain), 80),
        "vgg12": (vgg(12, [64, "M", 96, "M", 96], plain), 100),
        "vgg16": (vgg(16, [64, "M", 64, "M", 96, "M", 96, "M"], plain), 80),
        "resnet8": (resnet(8, [(96, 1), (96, 1), (96, 1)], plain, pool=True), 80),
        "resnet12": (resnet(12, [(64, 1)] * 6, ff.BatchNorm(0.5, trained=True)), 80),
        "resnet16": (resnet(16, [(64, 1), (64, 1), (64, 2), (64, 1), (96, 2), (96, 1)], plain), 80),
        "vgg11": (vgg(32, eleven, trained, average=False), 128),
        "resnet20": (resnet(32, twenty, trained), 128),
    }


# ------------------------------------------------------------------------------------------------ the plain pass
@dataclass
class Averages:
    """H and T for x = y and x != y, (K, K); of a convolution's output Z and T."""

    same: np.ndarray
    two: np.ndarray
    T_same: np.ndarray
    T_two: np.ndarray
    size: tuple[int, int]
    channels: int


@dataclass
class Units:
    """h (M, R, K); terms of taps [(A, reads)], o and d; pairs (P, Q)."""

    h: np.ndarray
    terms: list[Any]
    lows: list[Any]
    size: tuple[int, int]
    channels: int

    def times(self, h: np.ndarray, slope: np.ndarray) -> Units:
        terms = [([(A * slope, reads) for A, reads in taps], o, d) for taps, o, d in self.terms]
        return Units(h, terms, [(P * slope, Q * slope) for P, Q in self.lows], self.size, self.channels)


def taps_of(size: tuple[int, int], window: Any) -> tuple[np.ndarray, tuple[int, int]]:
    """(taps, places): the position that each tap reads, -1 in the padding."""
    h, w = size
    kernel, stride, pad = (np.ravel(getattr(window, name))[0] for name in ("kernel", "stride", "padding"))
    out = ((h + 2 * pad - kernel) // stride + 1, (w + 2 * pad - kernel) // stride + 1)
    rows, columns = (np.arange(kernel)[:, None] + stride * np.arange(side) - pad for side in out)
    i, j = rows[:, None, :, None], columns[None, :, None, :]
    reads = np.where((i >= 0) & (i < h) & (j >= 0) & (j < w), i * w + j, -1)
    return reads.reshape(kernel * kernel, -1), out


class Plain:
    def __init__(self, samples: int, work: int, reads: int, seed: int) -> None:
        self.n, self.work, self.reads = samples, work, reads
        self.random = np.random.default_rng(seed)

    def convolution(self, layer: Any, before: Averages) -> Averages:
        if isinstance(layer, ff.Dense):
            reads, out = np.zeros((1, 1), int), (1, 1)
        else:
            reads, out = taps_of(before.size, layer)

        def mean(matrix: np.ndarray) -> np.ndarray:
            padded = np.zeros((len(matrix) + 1, len(matrix) + 1))  # what -1 reads
            padded[:-1, :-1] = matrix
            return sum(padded[np.ix_(tap, tap)] for tap in reads) / len(reads)

        same, two = mean(before.same), mean(before.two)
        fan, w2 = before.channels * len(reads), layer.sigma_w2
        T_same, T_two = fan * same + w2 * mean(before.T_same), fan * two + w2 * mean(before.T_two)
        channels = layer.units if isinstance(layer, ff.Dense) else layer.channels
        return Averages(w2 * same, w2 * two, T_same, T_two, out, channels)

    def root(self, matrix: np.ndarray) -> np.ndarray:
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        some = values > 1e-11 * max(values[-1], 1e-300)
        some[-1] = True
        return (vectors[:, some] * np.sqrt(np.maximum(values[some], 0)))[:, ::-1]

    def normals(self, units: int, size: int) -> np.ndarray:
        sobol = qmc.Sobol(size, rng=np.random.default_rng(self.random.integers(2**63))).random(units // 2)
        half = ndtri(np.clip(sobol, 1e-12, 1 - 1e-12))
        return np.concatenate([half, -half])[self.random.permutation(units)]

    def batch_norm(self, layer: Any, z: Averages) -> Units:
        K, R, n = len(z.same), self.reads, self.n
        M = int(2 ** np.clip(np.round(np.log2(self.work / K)), 9, 16))
        v, o, d = z.same - z.two, z.T_two, z.T_same - z.T_two
        of_alpha, of_b = self.root(z.two), self.root(v)
        alpha = self.normals(M, of_alpha.shape[1]) @ of_alpha.T
        b = self.random.standard_normal((M, R, of_b.shape[1])) @ of_b.T
        alpha = alpha - alpha.mean(axis=1, keepdims=True)
        others = np.sqrt((n - R) * max(v.mean(), 0)) / n * self.normals(M, 1)[:, 0]
        batch = b.mean(axis=2).sum(axis=1) / n + others
        s = np.sqrt(np.mean(alpha**2, axis=1) + np.mean(np.diagonal(v)) - v.mean() / n + layer.eps)
        u = (alpha[:, None] + b - batch[:, None, None]) / s[:, None, None]
        ubar, c = alpha / s[:, None], (layer.gamma / s)[:, None, None]
        t = (o + d / n).mean(axis=1)
        of_o = ubar @ o
        of_x = u @ d / n + (of_o - (ubar @ t)[:, None])[:, None]
        of_d = np.einsum("mk,mk->m", ubar @ d, ubar) + np.sum(d * v) / s**2
        w = (of_d / n + np.einsum("mk,mk->m", of_o, ubar)) / K**2
        one = np.ones_like(u)
        lows = [(-c * u, c * (of_x / K - w[:, None, None] * u / 2))]
        lows += [(one, one / 2), (u, u / 2)] if layer.trained else []
        centred = o - t[:, None] - t + t.mean()
        return Units(layer.gamma * u + layer.beta, [([(c * one, np.arange(K))], centred, d)], lows, z.size, z.channels)

    def max_pool(self, layer: Any, units: Units) -> Units:
        reads, out = taps_of(units.size, layer)
        values = np.where(reads >= 0, units.h[:, :, np.maximum(reads, 0)], -np.inf)  # (M, R, taps, places)
        best = values.argmax(axis=2)
        picks = [(best == tap).astype(float) for tap in range(len(reads))]

        def picked(A: np.ndarray) -> np.ndarray:
            return sum(pick * A[:, :, tap] for pick, tap in zip(picks, reads, strict=True))

        terms = []
        for taps, o, d in units.terms:
            new = [(p * A[:, :, tap], own[tap]) for A, own in taps for p, tap in zip(picks, reads, strict=True)]
            terms.append((new, o, d))
        lows = [(picked(P), picked(Q)) for P, Q in units.lows]
        return Units(values.max(axis=2), terms, lows, out, units.channels)

    def add(self, skip: Units, branch: Units) -> Units:
        most = max(len(skip.h), len(branch.h))

        def tiled(units: Units) -> Units:
            times = most // len(units.h)

            def of(A: np.ndarray) -> np.ndarray:
                return np.tile(A, (times, 1, 1)) if times > 1 else A

            terms = [([(of(A), reads) for A, reads in taps], o, d) for taps, o, d in units.terms]
            return Units(of(units.h), terms, [(of(P), of(Q)) for P, Q in units.lows], units.size, units.channels)

        skip, branch = tiled(skip), tiled(branch)
        terms, lows = skip.terms + branch.terms, skip.lows + branch.lows
        return Units(skip.h + branch.h, terms, lows, branch.size, branch.channels)

    def averaged(self, state: Averages | Units) -> Averages:
        if isinstance(state, Averages):
            return state
        M, R, _ = state.h.shape

        def pairs(A: np.ndarray, B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            same = A.reshape(M * R, -1).T @ B.reshape(M * R, -1)
            two = A.sum(axis=1).T @ B.sum(axis=1) - same
            return same / (M * R), two / (M * R * (R - 1))

        h_same, h_two = pairs(state.h, state.h)
        T_same, T_two = np.zeros_like(h_same), np.zeros_like(h_same)
        for taps, o, d in state.terms:
            for first, (A, rows) in enumerate(taps):
                for B, columns in taps[first:]:
                    same, two = pairs(A, B)
                    of_two, more = o[np.ix_(rows, columns)], d[np.ix_(rows, columns)]
                    times = 1 if A is B else 2  # the transposed pair, by the symmetric part below
                    T_same += times * same * (of_two + more)
                    T_two += times * two * of_two
        for P, Q in state.lows:
            same, two = pairs(P, Q)
            T_same += same + same.T
            T_two += two + two.T
        T_same, T_two = ((T + T.T) / 2 for T in (T_same, T_two))
        return Averages(h_same, h_two, T_same, T_two, state.size, state.channels)

    def end(self, state: Averages, average: bool) -> Averages:
        matrices = (state.same, state.two, state.T_same, state.T_two)
        numbers = [np.array([[each.mean() if average else np.diagonal(each).mean()]]) for each in matrices]
        return Averages(*numbers, (1, 1), state.channels * (1 if average else len(state.same)))

    def walk(self, layers: Any, state: Any) -> Any:
        for layer in layers:
            if isinstance(layer, (ff.Conv2d, ff.Dense)):
                state = self.convolution(layer, self.averaged(state))
            elif isinstance(layer, ff.BatchNorm):
                state = self.batch_norm(layer, state)
            elif isinstance(layer, ff.Activation):
                state = state.times(np.maximum(state.h, 0), (state.h > 0).astype(float))
            elif isinstance(layer, ff.MaxPool2d):
                state = self.max_pool(layer, state)
            elif isinstance(layer, ff.Residual):
                read = self.averaged(state)
                skip = self.walk(layer.skip, read) if layer.skip else state
                state = self.add(skip, self.walk(layer.branch, read))
            elif isinstance(layer, (ff.GlobalAvgPool2d, ff.Flatten)):
                state = self.end(self.averaged(state), isinstance(layer, ff.GlobalAvgPool2d))
        return state

    def lambda_max(self, net: ff.Network) -> float:
        channels, height, width = net.input_shape
        eye, none = np.eye(height * width), np.zeros((height * width, height * width))
        out = self.walk(net.layers, Averages(eye, none, none, none, (height, width), channels))
        D, o = float(out.T_same[0, 0]), float(out.T_two[0, 0])
        return max((D + (self.n - 1) * o) / self.n, (D - o) / self.n)


# ---------------------------------------------------------------------------------------------------- the runs
def timed(call: Any, runs: int) -> tuple[np.ndarray, float]:
    """What a call gives for each seed, and its CPU seconds."""
    start = time.process_time()
    numbers = np.array([call(seed) for seed in range(runs)])
    return numbers, (time.process_time() - start) / runs


def row(name: str, net: ff.Network, samples: int, runs: int, plain_runs: int) -> None:
    spectra: list[Any] = []

    def one_call(seed: int) -> float:
        spectra.append(ff.fisher(net, samples=samples, biases=False, seed=seed))
        return spectra[-1].lambda_max

    fast, seconds = timed(one_call, runs)
    own = 100 * np.sqrt(np.mean([(each.error / each.lambda_max) ** 2 for each in spectra]))
    settings = Settings.of(net, "exact", samples, biases=False, by_units=True)
    memory = _core.unit_needs(net._compiled, settings, spectra[0].drawing).bytes
    work = 2**19 if net.input_shape[1] == 32 else 2**17
    with one_blas_thread():
        slow, plain = timed(lambda seed: Plain(samples, work, 8, seed).lambda_max(net), plain_runs)
    mean, of_plain = np.mean(fast), np.mean(slow)
    error, plain_error = (100 * np.std(each, ddof=1) / np.mean(each) for each in (fast, slow))
    five = 5 * np.hypot(error / np.sqrt(runs), plain_error / np.sqrt(plain_runs))
    print(
        f"| {name} | {mean:.2f} | {seconds:.2f} | {memory / 1e6:.0f} MB | {error:.2f} % "
        f"({own:.2f} %) | {of_plain:.2f} | {plain:.2f} | {plain_error:.2f} % | "
        f"{plain / seconds:.1f} | {plain * plain_error**2 / (seconds * error**2):.1f} |",
        flush=True,
    )
    assert abs(mean / of_plain - 1) < 0.02 + five / 100, (name, mean, of_plain)
    assert abs(mean / EXPECTED[name] - 1) < 0.003 + 5 * error / 100 / np.sqrt(runs), (name, mean)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", default=list(nets()), metavar="NET")
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--plain-runs", type=int, default=8)
    arguments = parser.parse_args()
    ff.set_num_threads(1)
    heads = ["net", "lambda_max", "CPU s", "memory a thread", "error (by groups)"]
    print("|", " | ".join([*heads, "plain", "CPU s", "error", "times", "at the same error"]), "|")
    print("|" + "---|" * 10)
    for name in arguments.nets:
        row(name, *nets()[name], arguments.runs, arguments.plain_runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
