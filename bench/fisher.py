# SPDX-License-Identifier: BSD-3-Clause
"""How long does one call of `ff.fisher` take, and how does a convolution's cost grow with its positions |K|?

Every answer is compared with the reference before it is timed. Run: python bench/fisher.py
"""

from __future__ import annotations

import inspect
import math
import subprocess
import sys

from timing import Timed, machine, seconds

import fisherfield as ff

# The closed recursion; networks that it is nearly exact for go by sampled units else, which bench/units_speed.py times.
CLOSED = {"units": None} if "units" in inspect.signature(ff.fisher).parameters else {}  # of an older wheel


def check(net: ff.Network, **keywords: object) -> None:
    core = ff.fisher(net, edge=False, **CLOSED, **keywords)  # type: ignore[arg-type]
    slow = ff.reference.fisher(net, edge=False, **CLOSED, **keywords)  # type: ignore[arg-type]
    for name in ("lambda_max", "bulk", "a", "b"):
        one, two = getattr(core, name), getattr(slow, name)
        # the reference subtracts where the core carries differences; a thousand layers of it
        assert math.isclose(one, two, rel_tol=1e-10, abs_tol=1e-12 * core.a), (name, one, two)


def shown(time_taken: float) -> str:
    return f"{time_taken * 1e6:10.1f} us" if time_taken < 1e-3 else f"{time_taken * 1e3:10.2f} ms"


def networks() -> list[tuple[str, ff.Network, int, float | None]]:
    """What is timed, how often, and the seconds that are wanted."""
    dense = ff.mlp([784, 1000, 1000, 1000, 10])
    deep = ff.mlp([784, *[1000] * 999, 10])
    strided = ff.convnet((1, 28, 28), channels=[30, 60, 90], outputs=10)
    return [
        ("dense, L = 4, BatchNorm", dense, 10_000, 20e-6),
        ("dense, L = 4, vanilla", dense.replace(batch_norm=False), 10_000, 20e-6),
        ("dense, L = 1000, BatchNorm", deep, 1_000, 500e-6),
        ("dense, L = 1000, vanilla", deep.replace(batch_norm=False), 1_000, 500e-6),
        ("dense, L = 4, tanh, vanilla", dense.replace(batch_norm=False, activation="tanh"), 100, None),
        ("convolutions 28 x 28, stride 2, BatchNorm", strided, 300, 10e-3),
        ("convolutions 28 x 28, stride 2, GELU", strided.replace(activation="gelu"), 3, None),
    ]


def square(side: int) -> ff.Network:
    """Five stride-1 convolutions."""
    return ff.convnet((3, side, side), channels=[64] * 5, outputs=10, stride=1)


def rows() -> list[Timed]:
    named = [(name, net) for name, net, _, _ in networks()]
    named += [(f"five stride-1 convolutions {side} x {side}", square(side)) for side in (8, 16, 32)]

    def row(name: str, net: ff.Network) -> Timed:
        threads = (1, 2) if "convolutions" in name else (1,)
        return Timed(
            name, lambda: lambda: ff.fisher(net, **CLOSED), lambda one: (one.lambda_max, one.a, one.b), threads
        )

    return [row(*each) for each in named]


def calls() -> None:
    print(f"{'ff.fisher':<44}{'fastest':>13}{'wanted':>13}{'reference':>13}")
    for name, net, repeats, wanted in networks():
        check(net)
        taken, slow = (
            seconds(lambda: ff.fisher(net, **CLOSED), repeats),  # noqa: B023
            seconds(lambda: ff.reference.fisher(net, **CLOSED), 1),  # noqa: B023
        )
        print(f"{name:<44}{shown(taken)}{shown(wanted) if wanted else '':>13}{shown(slow)}")


def growth() -> None:
    """Pairs of positions, |K|^2, set the cost."""
    print(f"\n{'five stride-1 convolutions':<32}{'|K|':>8}{'fastest':>13}{'ns per pair and layer':>24}")
    for side in (8, 16, 32):
        net = square(side)
        if side <= 16:
            check(net)
        taken = seconds(lambda: ff.fisher(net, **CLOSED), 20 if side < 32 else 3)  # noqa: B023
        positions = side * side
        per_pair = taken / (5 * positions**2) * 1e9
        print(f"{f'{side} x {side}':<32}{positions:>8}{shown(taken)}{per_pair:>24.1f}")


def imports() -> None:
    """What `ff.fisher` imports when it is first used, beside NumPy: the best of ten fresh interpreters each."""

    def best(module: str) -> float:
        code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
        return min(
            float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
            for _ in range(10)
        )

    numpy, whole = best("numpy"), best("fisherfield.theory")
    more = (whole - numpy) * 1e3
    print(f"\nimport numpy {numpy * 1e3:.1f} ms, import fisherfield.theory {whole * 1e3:.1f} ms: {more:.1f} ms more")


if __name__ == "__main__":
    print(f"{machine()}\n")
    calls()
    growth()
    imports()
