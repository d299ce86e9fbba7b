# SPDX-License-Identifier: BSD-3-Clause
"""How many points a second does a CUDA device do, and what share is that of its memory's and its arithmetic's limits?

Every scan is compared with the core's before it is timed. Run where there is a device, with a build that has the module
(docs/cuda.md): python bench/scan_cuda.py
"""

from __future__ import annotations

import sys

import numpy as np
from timing import machine, seconds

import fisherfield as ff
from fisherfield import _core
from fisherfield.theory.settings import Descent, Settings

# Fused multiply-adds in float64 that a multiprocessor starts in a cycle, by compute capability (CUDA C++ Programming
# Guide, table of arithmetic throughput). Without fusing (--fmad=false) an operation takes the same place.
OPERATIONS = {(7, 0): 32, (8, 0): 32, (8, 6): 2, (8, 9): 2, (9, 0): 64, (10, 0): 64, (12, 0): 2}
QUANTITIES = ["lambda_max", "max_learning_rate"]


def call(net: ff.Network, axes: dict[str, np.ndarray], theory: str) -> tuple[object, ...]:
    shape = [len(values) for values in axes.values()]
    slots = []
    for place, (name, values) in enumerate(axes.items()):
        box = [1] * len(shape)
        box[place] = len(values)
        slots.append((name, -1, values.reshape(box)))
    return net._compiled, Settings(theory, None, 0.0, 1.0, True), Descent(), shape, slots, QUANTITIES


def check(cuda: object, net: ff.Network, axes: dict[str, np.ndarray], theory: str) -> None:
    few = {name: values[:: max(1, len(values) // 16)].copy() for name, values in axes.items()}
    results, status = cuda.scan(*call(net, few, theory), None)  # type: ignore[attr-defined]
    wanted, right = _core.scan(*call(net, few, theory), 0, None)  # type: ignore[arg-type]
    assert np.array_equal(status, right)
    for name in QUANTITIES:
        # libraries of elementary functions differ by some ulp
        np.testing.assert_allclose(results[name], wanted[name], rtol=1e-12, atol=0, err_msg=name)


def main() -> None:
    try:
        from fisherfield import _cuda as cuda
    except ImportError:
        sys.exit("fisherfield was built without CUDA: pip install . -C cmake.define.FISHERFIELD_CUDA=ON")
    devices = cuda.devices()
    if not devices:
        sys.exit("no CUDA device")
    device = devices[0]
    print(machine())
    operations = OPERATIONS.get(device["capability"])
    peak = operations and operations * device["processors"] * device["clock"]
    print(
        f"{device['name']}: {device['processors']} multiprocessors, memory {device['bandwidth'] / 1e9:.0f} GB/s, "
        + (f"{peak / 1e12:.1f}e12 float64 operations/s" if peak else "float64 limit unknown")
    )
    wide = [784, 1000, 1000, 1000, 10]
    deep = [784, *[1000] * 31, 10]
    axes = {
        "sigma_w2": np.linspace(0.5, 3, 200),
        "sigma_b2": np.linspace(0, 1, 200),
        "length": np.linspace(0.5, 2, 250),
    }
    norms = {
        "gamma": np.linspace(0.1, 5, 200),
        "sigma_w2": np.linspace(0.5, 3, 200),
        "sigma_b2": np.linspace(0, 1, 250),
    }
    rows = [
        ("relu, vanilla, L = 4", ff.mlp(wide, batch_norm=False), axes, "exact"),
        ("relu, vanilla, L = 32", ff.mlp(deep, batch_norm=False), axes, "exact"),
        ("relu, BatchNorm, exact, L = 4", ff.mlp(wide), norms, "exact"),
        ("relu, BatchNorm, frozen, L = 4", ff.mlp(wide), norms, "frozen"),
        ("erf, vanilla, L = 4", ff.mlp(wide, batch_norm=False, activation="erf"), axes, "exact"),
        ("tanh, vanilla, L = 4", ff.mlp(wide, batch_norm=False, activation="tanh"), axes, "exact"),
        ("hermite(3), vanilla, L = 4", ff.mlp(wide, batch_norm=False, activation="hermite(3)"), axes, "exact"),
    ]
    head = f"{'million points/s':<34}{'CUDA':>9}{'CPU':>9}{'of memory':>11}{'GB/s back':>11}{'cycles a point':>16}"
    print(head)
    for name, net, box, theory in rows:
        check(cuda, net, box, theory)
        arguments = call(net, box, theory)
        points = int(np.prod([len(values) for values in box.values()]))
        fast = points / seconds(lambda: cuda.scan(*arguments, None), 5)  # noqa: B023
        small = call(net, {key: values[::5].copy() for key, values in box.items()}, theory)
        few = int(np.prod(small[5]))  # type: ignore[arg-type]
        slow = few / seconds(lambda: _core.scan(*small, 0, None), 3)  # type: ignore[arg-type]  # noqa: B023
        # what a point moves on the device: parameters from the cache, to memory and from it, and its results
        moved = 8 * (2 * len(box) + len(QUANTITIES)) + 1
        back = 8 * len(QUANTITIES) + 1
        cycles = peak / fast if peak else float("nan")
        share = fast * moved / device["bandwidth"]
        print(
            f"{name:<34}{fast / 1e6:>9.1f}{slow / 1e6:>9.1f}{share:>10.1%} {fast * back / 1e9:>10.2f} {cycles:>15.0f}"
        )
    print("Cycles a point: float64 operations that the device could have done meanwhile. Copies to the host count.")


if __name__ == "__main__":
    main()
