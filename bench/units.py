#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Sampled units beside the closed recursion, of random small networks where both are exact: how many errors apart?

    python bench/units.py                200 networks
    python bench/units.py --networks 20  so many

Infinite data and no padding, where the recursion leaves nothing out. Drawn uniformly: one to three hidden layers, dense
(20 to 60 units, 10 to 40 inputs) or convolutions (16 to 40 channels, kernels of 2 or 3, 8 or 9 positions a side,
AvgPool2d(2, 1) behind one in three); phi of `PHI`; sigma_w2 in 0.5 .. 2.5 and sigma_b2 in 0.1 .. 1; no norm, or
BatchNorm or LayerNorm with gamma in 0.5 .. 2, beta in -1 .. 1, eps 0 or 0.2, trained or not; Dropout behind one in
four; exact or frozen statistics; a Residual of a normed branch behind the first dense layer of one in four.

Every network has 4 seeds of 4 groups of units. z = (mean of b - the recursion's b)/error, error by how groups scatter
within seeds: Student's t of 12 degrees of freedom, whose standard deviation is 1.10 and which is beyond 2.18 once in
20 and beyond 4.3 once in 1000.
"""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any

import numpy as np

import fisherfield as ff

PHI = ("relu", "tanh", "gelu", "leaky_relu(0.3)", "sin", "erf", "silu", "softplus")
SEEDS = 4


def drawn(number: int) -> tuple[ff.Network, str]:
    """A network, and the statistics."""
    random = np.random.default_rng([7, number])
    image, depth = bool(random.integers(2)), int(random.integers(1, 4))
    phi = ff.Activation(PHI[random.integers(len(PHI))])
    weights = {"sigma_w2": float(random.uniform(0.5, 2.5)), "sigma_b2": float(random.uniform(0.1, 1.0))}
    norms: list[Any] = []
    kind = random.integers(4)
    if kind:
        numbers = (float(random.uniform(0.5, 2)), float(random.uniform(-1, 1)), float(random.choice([0.0, 0.2])))
        norms = [(ff.LayerNorm if kind == 3 else ff.BatchNorm)(*numbers, bool(random.integers(2)))]
    noise = [ff.Dropout(float(random.uniform(0, 0.5)))] if random.integers(4) == 0 else []
    pool = [ff.AvgPool2d(2, 1)] if image and random.integers(3) == 0 else []
    width = int(random.integers(16, 41) if image else random.integers(20, 61))
    layers: list[Any] = []
    for _ in range(depth):
        affine = ff.Conv2d(width, int(random.integers(2, 4)), **weights) if image else ff.Dense(width, **weights)
        layers += [affine, *norms, phi, *noise]
        layers, pool = [*layers, *pool], []
    if not image and random.integers(4) == 0:
        layers.insert(1, ff.Residual([*norms, phi, ff.Dense(width, **weights)], scale=float(random.uniform(0.3, 1.2))))
    shape = (3, *random.integers(8, 10, 2).tolist()) if image else (int(random.integers(10, 41)),)
    end = [ff.Flatten()] if image else []
    return ff.Network(shape, [*layers, *end, ff.Dense(1, **weights)]), str(random.choice(["exact", "frozen"]))


def z_of(number: int, units: int = 512) -> float:
    net, theory = drawn(number)
    closed = ff.fisher(net, theory, units=None)
    each = [ff.fisher(net, theory, units=units, seed=seed) for seed in range(SEEDS)]
    # lambda_max is b at infinite data; 1e-6 of it is rounding
    error = math.sqrt(sum(one.error**2 for one in each)) / SEEDS
    return float((np.mean([one.b for one in each]) - closed.b) / (error + 1e-6 * closed.b))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--units", type=int, default=512)
    arguments = parser.parse_args()
    z = np.array([z_of(number, arguments.units) for number in range(arguments.networks)])
    print(f"{len(z)} networks: mean z {np.mean(z):+.2f} +- {1.10 / math.sqrt(len(z)):.2f}, deviation {np.std(z):.2f}")
    for bound, share in ((1.0, 0.337), (2.18, 0.05), (3.05, 0.01), (4.32, 0.001)):
        print(f"  beyond {bound}: {np.mean(np.abs(z) > bound):.3f} of them, by Student's t {share}")
    for number in np.argsort(-np.abs(z))[:5].tolist():
        net, theory = drawn(number)
        print(f"  {z[number]:+.1f}: network {number}, {theory}, {list(net.layers)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
