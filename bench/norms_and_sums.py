# SPDX-License-Identifier: BSD-3-Clause
"""Do sampled networks follow the theory of sums of branches, of norms over units, of Dropout, of units' own gammas?

    python bench/norms_and_sums.py             every row below, some ten networks each
    python bench/norms_and_sums.py --nets 40   more of them
    python bench/norms_and_sums.py --only v2   rows whose name has these letters

relu, sigma_w2 = 2, sigma_b2 = 0.5, 300 inputs, width 800, one output, 300 samples of Gaussian data, where a row does
not say otherwise. Theory is `ff.fisher`, held to the digits that its formulas give on their own (docs/theory.md,
section 4); sampled are largest eigenvalues of `ff.sampled_fisher`. A row holds within 2 % or three standard errors of
the mean.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass

import numpy as np
from timing import machine

import fisherfield as ff

WIDTH, INPUTS, SAMPLES = 800, 300, 300
RELU = ff.Activation("relu")


@dataclass(frozen=True)
class Row:
    name: str
    network: ff.Network
    expected: float | None = None  # to its digits
    theory: str = "exact"
    samples: int = SAMPLES
    without: ff.Network | None = None  # the same networks, whose ratio is asked for


def dense(b2: float = 0.5, w2: float = 2.0, units: int = WIDTH) -> ff.Dense:
    return ff.Dense(units, w2, b2)


def v2(blocks: int, affine: int, norms: list[ff.BatchNorm], end: list[object], scale: float = 1.0, b2: float = 0.5):
    """Pre-activation: a stem, blocks of so many affine layers, and what stands before the outputs."""
    block = ff.Residual([*norms, RELU, dense(b2)] * affine, scale=scale)
    return ff.Network(INPUTS, [dense(b2), *[block] * blocks, *end, dense(b2, units=1)])


def v1(blocks: int) -> ff.Network:
    """Post-activation, with projections for skips."""
    norm = ff.BatchNorm()
    block = ff.Residual([dense(), norm, RELU, dense(), norm], skip=[dense(), norm])
    return ff.Network(INPUTS, [dense(), norm, RELU, *[block, RELU] * blocks, dense(units=1)])


def chain(
    depth: int, before=(), behind=(), phi=RELU, w2: float = 2.0, b2: float = 0.5, units: int = WIDTH
) -> ff.Network:
    hidden = [dense(b2, w2, units), *before, phi, *behind]
    return ff.Network(INPUTS, [*hidden * (depth - 1), dense(b2, w2, 1)])


def rows() -> list[Row]:
    norm, batch = ff.LayerNorm, [ff.BatchNorm()]
    end = [*batch, RELU]
    random = np.random.default_rng(0)
    own = {"gamma": random.normal(0.3, 0.1, WIDTH), "beta": random.normal(-0.2, 0.15, WIDTH)}
    unit = [ff.BatchNorm(**own)]
    return [
        Row("v2, 4 blocks of 1, BatchNorm, its own at the end", v2(4, 1, batch, end), 128.91),
        Row("v2, 8 blocks of 2, BatchNorm, its own at the end", v2(8, 2, batch, end), 130.23),
        Row("v2, 2 blocks of 1, BatchNorm", v2(2, 1, batch, []), 2235),
        Row("v2, 4 blocks of 2, BatchNorm", v2(4, 2, batch, []), 4066),
        Row("v2, 8 blocks of 1, BatchNorm", v2(8, 1, batch, []), 7713),
        Row("v2, 2 blocks of 1, vanilla", v2(2, 1, [], [RELU]), 3969),
        Row("v2, 8 blocks of 1, vanilla, scale 0.5", v2(8, 1, [], [RELU], 0.5, 0.1), 4754),
        Row("v2, 16 blocks of 1, vanilla, scale 0.25", v2(16, 1, [], [], 0.25, 0.1), 2845),
        Row("v2, 2 blocks of 1, BatchNorm frozen", v2(2, 1, batch, end), 172.6, "frozen"),
        Row("v1, 4 blocks of 2, projections, BatchNorm", v1(4), 279.15),
        Row("LayerNorm before phi", chain(4, [norm()]), 519.6),
        Row("LayerNorm before phi, gamma 2, depth 8", chain(8, [norm(2.0)]), 4247),
        Row("LayerNorm behind phi", chain(4, behind=[norm()]), 507.7),
        Row("LayerNorm behind phi, depth 8", chain(8, behind=[norm()]), 1366.5),
        Row("RMSNorm behind phi", chain(4, behind=[ff.RMSNorm()]), 1027.6),
        Row(
            "gelu, LayerNorm behind phi, beta 0.5", chain(4, behind=[norm(1.0, 0.5)], phi=ff.Activation("gelu")), 1066.9
        ),
        Row("tanh, LayerNorm before phi", chain(4, [norm(1.5)], phi=ff.Activation("tanh"), w2=1.0, b2=0.2), 338.0),
        Row("trained LayerNorm before phi", chain(4, [norm(trained=True)]), 522.2),
        Row(
            "trained RMSNorm behind phi, gamma 0.1",
            chain(4, behind=[ff.RMSNorm(0.1, trained=True)]),
            11.41,
            samples=200,
        ),
        Row("Dropout 0.2", chain(4, behind=[ff.Dropout(0.2)]), 1.106, samples=200, without=chain(4)),
        Row("units' own gamma and beta, BatchNorm", chain(3, unit), None, samples=500),
        Row("units' own gamma and beta, LayerNorm", chain(3, [ff.LayerNorm(**own)])),
    ]


def sampled(row: Row, net: ff.Network, seed: int) -> float:
    data = ff.data.gaussian(net, samples=row.samples, seed=seed)
    return ff.sampled_fisher(ff.sample(net, seed=seed), data, statistics=row.theory).lambda_max


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=int, default=10, help="networks a row")
    parser.add_argument("--only", default="", help="rows whose name has these letters")
    arguments = parser.parse_args()
    print(machine())
    print(f"{'network':<52}{'theory':>9}{'sampled':>12}{'+-':>8}{'ratio':>8}{'seconds':>9}")
    failed = 0
    for row in rows():
        if arguments.only not in row.name:
            continue
        start = time.perf_counter()
        theory = ff.fisher(row.network, row.theory, samples=row.samples).lambda_max
        if row.without is not None:
            theory /= ff.fisher(row.without, row.theory, samples=row.samples).lambda_max
        if row.expected is not None:
            digits = len(str(row.expected).partition(".")[2]) if row.expected % 1 else 0
            assert round(theory, digits) == row.expected, (row.name, theory)
        values = []
        for seed in range(arguments.nets):
            value = sampled(row, row.network, seed)
            values.append(value / (1.0 if row.without is None else sampled(row, row.without, seed)))
        mean, error = np.mean(values), np.std(values, ddof=1) / len(values) ** 0.5
        holds = abs(mean / theory - 1.0) < 0.02 or abs(mean - theory) < 3.0 * error
        failed += not holds
        seconds = time.perf_counter() - start
        print(
            f"{row.name:<52}{theory:>9.5g}{mean:>12.5g}{error:>8.2g}{mean / theory:>8.3f}{seconds:>9.1f}"
            f"{'' if holds else '   differs'}",
            flush=True,
        )
    return failed


if __name__ == "__main__":
    sys.exit(main())
