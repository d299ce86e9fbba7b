# SPDX-License-Identifier: BSD-3-Clause
"""Which share of sampled networks lies inside the stated 90 % interval, and is it as wide as theirs?

    python bench/intervals.py                 # every row: some ten minutes on one core
    python bench/intervals.py vanilla frozen  # the rows whose name has one of these words

A line for each network: the formula's shift and spread beside those of the sampled networks, the share inside
`Fisher.interval(0.9)`, the width of the interval over that of the sampled 5 to 95 %, and what the result says of it.
Inputs are drawn anew for each network. At the end every row is held to a share of 85 to 95 % and a width within 20 %,
each with three standard errors of so many networks, but for rows whose result says that its networks spread by more.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator

import numpy as np

import fisherfield as ff

LEVEL = 0.9
VANILLA, NORMED = 200, 100  # networks a row


def rows() -> Iterator[tuple[str, ff.Network, str, int, int]]:
    """Name, network, theory, samples, how many are drawn."""
    for depth in (4, 8):
        for width in (128, 256, 512):
            net = ff.mlp([300, *[width] * (depth - 1), 1])
            yield f"vanilla, L = {depth}, N = {width}", net.replace(batch_norm=False), "exact", 100, VANILLA
    for depth, width, n in ((4, 128, 256), (4, 256, 256), (4, 512, 256), (3, 250, 128), (3, 100, 600)):
        yield f"exact, L = {depth}, N = {width}", ff.mlp([300, *[width] * (depth - 1), 1]), "exact", n, NORMED
    for depth, width, n in ((4, 128, 64), (4, 256, 128), (4, 512, 100), (4, 512, 300), (3, 512, 300), (8, 512, 300)):
        yield f"frozen, L = {depth}, N = {width}", ff.mlp([300, *[width] * (depth - 1), 1]), "frozen", n, NORMED


def sampled(net: ff.Network, theory: str, n: int, count: int) -> np.ndarray:
    found = []
    for seed in range(count):
        x = ff.data.gaussian(net, n, seed)
        found.append(ff.sampled_fisher(net, x, seed, theory, tolerance=1e-4).lambda_max)
    return np.array(found)


def expected_error(count: int) -> tuple[float, float]:
    """Standard errors of a share of 0.9, and of the 5 to 95 % width of normal numbers over itself."""
    z, density = 1.6449, 0.10314  # of the normal distribution at 5 %
    return math.sqrt(LEVEL * (1 - LEVEL) / count), math.sqrt(2 * (0.05 * 0.95 - 0.05**2) / count) / density / (2 * z)


def main() -> None:
    words = sys.argv[1:]
    short = []
    print("| network | n | shift; sampled, % | spread; sampled, % | inside | width | said |\n" + "| --- " * 7 + "|")
    for name, net, theory, n, count in rows():
        if words and not any(word in name for word in words):
            continue
        result = ff.fisher(net, theory, n)
        low, high = result.interval(LEVEL)
        values = sampled(net, theory, n, count)
        inside = float(np.mean((values >= low) & (values <= high)))
        ends = np.quantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        width = (high - low) / (ends[1] - ends[0])
        mean, spread = values.mean() / result.lambda_max, values.std(ddof=1) / values.mean()
        assert result.shift is not None
        assert result.spread is not None
        warned = result.uncertainty.reason
        print(
            f"| {name} | {n} | {100 * result.shift:.2f}; {100 * (mean - 1):.2f} ± {100 * spread / count**0.5:.2f} "
            f"| {100 * result.spread:.2f}; {100 * spread:.2f} | {inside:.3f} | {width:.2f} | {warned} |",
            flush=True,
        )
        of_share, of_width = expected_error(count)
        fits = 0.85 - 3 * of_share <= inside <= 0.95 + 3 * of_share and abs(width - 1) <= 0.2 + 3 * of_width
        if not fits and not warned:
            short.append(name)
    assert not short, f"more or fewer networks inside than stated, without a word: {short}"


if __name__ == "__main__":
    main()
