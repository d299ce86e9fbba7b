# SPDX-License-Identifier: BSD-3-Clause
"""What does a covariance from a table cost, beside the function it interpolates, and what does the table?

Tables are held to `ff.gaussian` at every point before they are timed: 10^5 points on one thread, log q uniform over the
table, c uniform. Run: python bench/table.py
"""

from __future__ import annotations

import numpy as np
from timing import machine, seconds

import fisherfield as ff

COUNT = 100_000


def row(name: str) -> str:
    ff.set_num_threads(2)
    table = ff.gaussian.tabulate(name)
    ff.set_num_threads(1)
    random = np.random.default_rng(0)
    q = np.exp(random.uniform(*np.log(table.q), COUNT))
    c, out = random.uniform(-1, 1, COUNT), np.empty(COUNT)
    few = slice(None, 2000)
    times = []
    for which, moment in (("covariance", "second_moment"), ("slope_covariance", "slope_second_moment")):
        exact = getattr(ff.gaussian, which)(name, q[few], q[few], c[few])
        size = getattr(ff.gaussian, moment)(name, q[few])
        assert np.all(np.abs(getattr(table, which)(q[few], c[few]) - exact) <= table.error * size), (name, which)
        times.append(seconds(lambda: getattr(table, which)(q, c, out=out), 200))  # noqa: B023
    times.append(seconds(lambda: table.second_moment(q, out=out), 200))
    times.append(seconds(lambda: ff.gaussian.covariance(name, q[few], q[few], c[few]), 3) * COUNT / 2000)
    shown = "".join(f"{time / COUNT * 1e9:>12.1f}" for time in times)
    return f"{name:<10}{table.error:>10.1e}{table.megabytes:>10.2f}{table.seconds:>10.2f}{shown}"


if __name__ == "__main__":
    print(f"{machine()}\n")
    print(f"{'':<10}{'error':>10}{'MB':>10}{'s':>10}{'covariance':>12}{'slope':>12}{'moment':>12}{'no table':>12}  ns")
    for name in ("tanh", "gelu", "silu", "sigmoid", "softplus", "erf"):
        print(row(name), flush=True)
