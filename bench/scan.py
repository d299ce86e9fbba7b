# SPDX-License-Identifier: BSD-3-Clause
"""How many networks a second does a scan compute, here and elsewhere, and what holds it back?

    python bench/scan.py             every row below
    python bench/scan.py --large DIR a scan of 10^8 points to a Zarr store in DIR: time, memory, size on disk; killed at
                                     half and resumed, byte for byte the same

Vanilla relu networks over 1000 x 1000 values of sigma_w2 and sigma_b2, by the same recursion in NumPy, torch.compile
and jax.jit where these are installed: forward c = q_xy/q, sqrt(1 - c^2), acos c, in float64, all threads. Every answer
is held against 50 digits at some of the points before it is timed. Then BatchNorm over (gamma, sigma_w2, sigma_b2)
against a copy of memory, tables, and networks that go one point after another.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
from timing import Timed, machine, seconds

import fisherfield as ff

Array = np.ndarray
WIDTH, INPUTS = 1000, 784
W2, B2 = np.linspace(1.0, 3.0, 1000), np.linspace(0.05, 1.0, 1000)


def vanilla(depth: int) -> ff.Network:
    return ff.mlp([INPUTS, *[WIDTH] * (depth - 1), 10], batch_norm=False)


def recursion(depth: int, w2: Any, b2: Any, sqrt: Any, acos: Any, pi: Any) -> Any:
    """lambda_max = o at infinite data, as the recursion is printed (docs/theory.md, section 4)."""
    q_hat, q_hat_xy, o, width = 1.0, 0.0, 0.0, INPUTS
    for layer in range(depth):
        o = width * q_hat_xy + 1.0 + w2 * o
        if layer < depth - 1:
            q, q_xy = b2 + w2 * q_hat, b2 + w2 * q_hat_xy
            c = q_xy / q
            t = acos(c)
            q_hat, q_hat_xy = 0.5 * q, q * (sqrt(1.0 - c * c) + (pi - t) * c) / (2.0 * pi)
            o, width = o * (pi - t) / (2.0 * pi), WIDTH
    return o


def judge(depth: int, rows: list[tuple[int, int]]) -> list[float]:
    mp = mpmath.mp.clone()
    mp.dps = 50
    return [float(recursion(depth, mp.mpf(W2[i]), mp.mpf(B2[j]), mp.sqrt, mp.acos, mp.pi)) for i, j in rows]


def methods(depth: int) -> dict[str, Callable[[], Any]]:
    """Each gives lambda_max over W2 x B2."""
    w2, b2 = W2[:, None], B2[None, :]
    net, axes = vanilla(depth), {"sigma_w2": W2, "sigma_b2": B2}
    out: dict[str, Callable[[], Any]] = {
        "ff.scan": lambda: ff.scan(net, axes, "lambda_max").lambda_max,
        "ff.scan, one thread": lambda: ff.scan(net, axes, "lambda_max", threads=1).lambda_max,
        "NumPy": lambda: recursion(depth, w2, b2, np.sqrt, np.arccos, np.pi),
    }
    try:
        import torch

        one, two = torch.from_numpy(w2), torch.from_numpy(b2)
        compiled = torch.compile(lambda w2, b2: recursion(depth, w2, b2, torch.sqrt, torch.acos, np.pi))
        compiled(one, two)
        out["torch.compile"] = lambda: compiled(one, two)
    except ImportError:
        pass
    try:
        import jax

        jax.config.update("jax_enable_x64", True)
        jitted = jax.jit(lambda w2, b2: recursion(depth, w2, b2, jax.numpy.sqrt, jax.numpy.arccos, np.pi))
        first, second = jax.numpy.asarray(w2), jax.numpy.asarray(b2)
        out["jax.jit"] = lambda: jitted(first, second).block_until_ready()
    except ImportError:
        pass
    return out


def peers() -> None:
    random = np.random.default_rng(0)
    print(f"{'vanilla relu, 10^6 points':<28}{'L':>4}{'M points/s':>12}{'worst error':>13}")
    for depth in (4, 32):
        rows = [tuple(random.integers(0, 1000, 2)) for _ in range(200)]
        right = np.array(judge(depth, rows))
        for name, call in methods(depth).items():
            whole = np.asarray(call())
            got = np.array([whole[i, j] for i, j in rows])
            error = np.max(np.abs(got / right - 1.0))
            # acos of what is close to 1 loses half of all digits; ours does not take it
            assert error < (1e-13 if name.startswith("ff") else 1e-6), (name, depth, error)
            taken = seconds(call, 30 if depth == 4 else 10)
            print(f"{name:<28}{depth:>4}{1e-6 * W2.size * B2.size / taken:>12.1f}{error:>13.1e}")


NORMED = ff.mlp([INPUTS, *[WIDTH] * 3, 10])
NORMED_AXES = {"gamma": np.linspace(0.1, 5.0, 100), "sigma_w2": W2[::10], "sigma_b2": B2[::10]}
NORMED_WORDS: dict[str, dict[str, Any]] = {
    f"{theory}, {samples or 'infinitely many'} samples, L = 4, two quantities": {"theory": theory, "samples": samples}
    for theory in ("exact", "frozen")
    for samples in (None, 500)
}


def batch_norm() -> None:
    """State and answers are columns; a copy of as many numbers as are written bounds what any program can reach."""
    check = {"gamma": [0.1, 5.0], "sigma_w2": [1.0, 3.0], "sigma_b2": [0.05]}
    source, target = np.ones(2**25), np.zeros(2**25)
    copy = 2 * source.nbytes / seconds(lambda: np.copyto(target, source), 5)
    print(f"\n{'relu with BatchNorm, 10^6 points':<52}{'M points/s':>12}{'GB/s written':>14}")
    for name, words in NORMED_WORDS.items():
        small = ff.scan(NORMED, check, "lambda_max", **words)
        slow = ff.reference.scan(NORMED, check, ("lambda_max",), **words)["lambda_max"]
        np.testing.assert_allclose(small.lambda_max, slow, rtol=1e-12)
        taken = seconds(lambda: ff.scan(NORMED, NORMED_AXES, **words), 20)  # noqa: B023
        print(f"{name:<52}{1.0 / taken:>12.1f}{16e-3 / taken:>14.2f}")
    print(f"{'a copy, read and written, of 256 MB':<52}{'':>12}{copy * 1e-9:>14.2f}")


def graphs() -> dict[str, ff.Network]:
    """Networks that are no chain of affine layers with BatchNorm and phi; none of a commit that had no such layers."""
    if not hasattr(ff, "Residual"):
        return {}
    dense, relu, norm = ff.Dense(WIDTH), ff.Activation("relu"), ff.BatchNorm()
    projected = ff.Residual([dense, norm, relu, dense, norm], [dense, norm])
    chain = [dense, relu, ff.Dropout(0.2)]
    return {
        "residual, LayerNorm, L = 8": ff.mlp([INPUTS, *[WIDTH] * 7, 10], norm="layer", residual=True),
        "4 projection skips, BatchNorm": ff.Network(INPUTS, [dense, norm, relu, *[projected, relu] * 4, ff.Dense(10)]),
        "Dropout, L = 8": ff.Network(INPUTS, [*chain * 7, ff.Dense(10)]),
    }


TABULATED = ("tanh", "gelu", "silu")
TABULATED_AXES = {"sigma_w2": np.linspace(0.5, 4.0, 1000), "sigma_b2": np.linspace(0.05, 1.0, 1000)}
FEW = {name: values[::100] for name, values in TABULATED_AXES.items()}


def tabulated() -> None:
    """Vanilla networks of activations without a formula: by tables, and as they are."""
    print(f"\n{'vanilla, L = 4, 10^6 points':<28}{'M points/s':>12}{'without':>12}{'worst deviation':>18}")
    for name in TABULATED:
        net = vanilla(4).replace(activation=name)
        whole = ff.scan(net, TABULATED_AXES, "lambda_max", tables=True)  # makes the table
        slow = ff.scan(net, FEW, "lambda_max")
        apart = np.max(np.abs(whole.lambda_max[::100, ::100] / slow.lambda_max - 1.0))
        assert apart < 1e-10, (name, apart)
        taken = seconds(lambda: ff.scan(net, TABULATED_AXES, "lambda_max", tables=True), 3)  # noqa: B023
        exact = seconds(lambda: ff.scan(net, FEW, "lambda_max"), 3)  # noqa: B023
        print(f"{name:<28}{1.0 / taken:>12.1f}{1e-4 / exact:>12.4f}{apart:>18.1e}")


def singles() -> list[tuple[str, ff.Network, dict[str, Any], str]]:
    """What goes one point after another."""
    dense = ff.mlp([INPUTS, *[WIDTH] * 3, 10])
    strided = ff.convnet((1, 28, 28), channels=[30, 60, 90], outputs=10)
    grid = {"sigma_w2": np.linspace(1.0, 3.0, 40), "sigma_b2": np.linspace(0.05, 1.0, 40)}
    bends = {"gamma": np.linspace(0.1, 5.0, 40), "beta": np.linspace(-1.0, 1.0, 40), "sigma_w2": W2[::25]}
    return [
        ("relu, L = 4, contributions", dense, grid, "contributions"),
        ("tanh, L = 4", dense.replace(batch_norm=False, activation="tanh"), grid, "lambda_max"),
        ("tanh, BatchNorm over gamma, beta, sigma_w2, L = 4", dense.replace(activation="tanh"), bends, "lambda_max"),
        ("tanh, BatchNorm, eps, L = 4", dense.replace(activation="tanh", eps=1e-5), grid, "lambda_max"),
        ("convolutions 28 x 28, BatchNorm", strided, {"gamma": np.linspace(0.1, 5.0, 100)}, "lambda_max"),
        (
            "convolutions 28 x 28, BatchNorm, momentum",
            strided,
            {"gamma": np.linspace(0.1, 5.0, 10), "momentum": np.linspace(0.0, 0.9, 100)},
            "max_learning_rate",
        ),
    ]


def others() -> None:
    print(f"\n{'one point after another':<52}{'points':>10}{'points/s':>12}")
    for name, net, axes, quantity in singles():
        taken = seconds(lambda: ff.scan(net, axes, quantity), 2)  # noqa: B023
        points = int(np.prod([np.size(values) for values in axes.values()]))
        print(f"{name:<52}{points:>10}{points / taken:>12.0f}")


def rows() -> list[Timed]:
    def row(name: str, *arguments: Any, **words: Any) -> Timed:
        def make() -> Callable[[], ff.Scan]:
            return lambda: ff.scan(*arguments, **words)

        def numbers(scan: ff.Scan) -> Array:
            return np.concatenate([np.ravel(values) for values in scan.arrays.values()])

        return Timed(f"scan: {name}", make, numbers, (1, 2))

    axes, tables = {"sigma_w2": W2, "sigma_b2": B2}, TABULATED_AXES
    phis = {name: vanilla(4).replace(activation=name) for name in TABULATED}
    return [
        *(row(f"vanilla relu, L = {depth}", vanilla(depth), axes, "lambda_max") for depth in (4, 32)),
        *(row(name, NORMED, NORMED_AXES, **words) for name, words in NORMED_WORDS.items()),
        *(row(f"vanilla {name}, tables", net, tables, "lambda_max", tables=True) for name, net in phis.items()),
        *(row(f"vanilla {name}", net, FEW, "lambda_max") for name, net in phis.items()),
        *(row(name, net, {"sigma_w2": W2, "sigma_b2": B2[::10]}, "lambda_max") for name, net in graphs().items()),
        *(row(*one) for one in singles()),
    ]


LARGE = """
import sys, numpy as np, fisherfield as ff
net = ff.mlp([784, 1000, 1000, 1000, 10], batch_norm=False)
axes = {"length": np.linspace(0.5, 2, 100), "sigma_w2": np.linspace(0.5, 4, 1000), "sigma_b2": np.linspace(0, 1, 1000)}
ff.scan(net, axes, samples=500, momentum=0.9, store=sys.argv[1], progress=lambda done, total: print(done, flush=True))
"""


def large(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    whole, halved = folder / "whole.zarr", folder / "halved.zarr"
    start = time.perf_counter()
    command = [sys.executable, "-c", LARGE]
    with subprocess.Popen([*command, str(whole)], stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = status
    assert status == 0
    taken = time.perf_counter() - start
    size = sum(file.stat().st_size for file in whole.rglob("*") if file.is_file())
    print(f"\n10^8 points of vanilla relu, L = 4, two quantities and a status, to {whole.name}")
    print(f"{taken:.1f} s, {1e-6 * 1e8 / taken:.1f} M points/s, {used.ru_maxrss / 1024:.0f} MB at the most, ", end="")
    print(f"{size * 1e-6:.0f} MB on disk of {(8 * 2 + 1) * 1e2:.0f}")
    with subprocess.Popen([*command, str(halved)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) > 5e7:
                process.send_signal(signal.SIGKILL)
                break
    start = time.perf_counter()
    lines = subprocess.run([*command, str(halved)], check=True, capture_output=True, text=True).stdout.split()
    resumed = time.perf_counter() - start
    assert digests(whole) == digests(halved)
    print(
        f"killed at half, {1e-6 * int(lines[0]):.1f} million points were there, the rest took {resumed:.1f} s: ", end=""
    )
    print(f"the same {len(digests(whole))} files, byte for byte")


def digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    print(f"{machine()}\n")
    if arguments.large is not None:
        large(arguments.large)
        sys.exit()
    peers()
    batch_norm()
    tabulated()
    others()
    print(f"\n{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at the most")
