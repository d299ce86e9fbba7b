# SPDX-License-Identifier: BSD-3-Clause
"""Does the bulk end where sampled networks' second eigenvalue lies?

    python bench/edge.py            # 20 dense networks, 8 of each sampled: some minutes on one core

`Fisher.edge` over the mean of the eigenvalue next to the outlier, for 2 to 8 layers of N units and inputs at N/n from
0.25 to 4, vanilla and with BatchNorm; the table goes to standard output as Markdown. In deep networks with BatchNorm
the second eigenvalue is a single sample's: its eigenvector sits on one or two of them, and the last columns have the
formula's over the same, and the larger of both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from timing import machine

import fisherfield as ff
from fisherfield.theory.one_sample import one_sample
from fisherfield.theory.settings import Settings

UNITS, NETWORKS = 160, 8
SHARES = (0.25, 0.5, 1.0, 2.0, 4.0)  # N/n


class Kind(NamedTuple):
    name: str
    depth: int
    activation: str
    normed: bool
    theory: str


KINDS = (
    Kind("vanilla tanh", 2, "tanh", False, "exact"),
    Kind("vanilla ReLU", 4, "relu", False, "exact"),
    Kind("BatchNorm, ReLU, exact", 6, "relu", True, "exact"),
    Kind("BatchNorm, gelu, frozen", 8, "gelu", True, "frozen"),
)


def network(kind: Kind) -> ff.Network:
    # tanh: near the edge of chaos, as in section 14
    variances = {"sigma_w2": 1.5, "sigma_b2": 0.2} if kind.activation == "tanh" else {"sigma_w2": 2.0, "sigma_b2": 0.5}
    return ff.mlp([UNITS] * kind.depth + [1], kind.activation, batch_norm=kind.normed, **variances)


def second(net: ff.Network, theory: str, n: int, seed: int) -> tuple[float, float]:
    """The eigenvalue next to the outlier, and how many samples its eigenvector sits on: 1/sum v^4."""
    x = ff.data.gaussian(net, n, seed)
    spectrum = ff.sampled_fisher(net, x, seed, theory, 2, method="dense", eigenvectors=True)
    vector = np.asarray(spectrum.eigenvectors)[1].ravel()
    return float(spectrum.eigenvalues[1]), float(1 / np.sum(vector**4))


def row(kind: Kind, share: float) -> str:
    net, n = network(kind), round(UNITS / share)
    edge = ff.fisher(net, kind.theory, n).edge
    assert edge is not None
    values, sits = np.array([second(net, kind.theory, n, seed) for seed in range(NETWORKS)]).T
    mean, error = float(values.mean()), float(values.std(ddof=1)) / NETWORKS**0.5
    sample = one_sample(net, Settings.of(net, kind.theory, n)) if net.batch_norms else 0.0
    measured = f"{mean:.4g} ± {error:.2g}"
    ratios = [f"{value / mean:.2f} ± {value * error / mean**2:.2f}" for value in (edge, sample, max(edge, sample))]
    cells = (kind.name, kind.depth, f"{share:g}", f"{edge:.4g}", measured, ratios[0], f"{np.median(sits):.3g}")
    return f"| {' | '.join(map(str, (*cells, *(ratios[1:] if sample else ('', ratios[0])))))} |"


if __name__ == "__main__":
    print(f"{machine()}\n")
    print("| network | L | N/n | edge | sampled second | edge over it | sits on | one sample's over it | larger |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for kind in KINDS:
        for share in SHARES:
            print(row(kind, share), flush=True)
