# SPDX-License-Identifier: BSD-3-Clause
"""On which side of lambda_max do sampled networks lie where the theory does not hold?

    python bench/bounds.py               every row below: 15 minutes; a line as soon as it is measured
    python bench/bounds.py bulk edge     those of these reasons

A line for each network: its reason, the theory, and of sampled/theory the least, the median and the greatest of 12
networks with inputs of their own. A reason may be printed with `>=` only where all of them lie above (docs/theory.md,
section 4); the last lines say how each rule of fisher.py fares.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

import fisherfield as ff

NETWORKS = 12


def bare(net: ff.Network) -> ff.Network:
    return net.replace(batch_norm=False)


def ending_normed(net: ff.Network) -> ff.Network:
    return ff.Network(net.input_shape, (*net.layers, ff.BatchNorm()))


def rows() -> Iterator[tuple[str, str, ff.Network, int, str]]:
    """Reason, name, network, samples, statistics."""
    for n in (8, 20, 32, 50, 64, 100):
        for name in ("relu", "tanh"):
            yield "bulk", f"BatchNorm last, {name}", ending_normed(ff.mlp([400, 400, 400, 1], name)), n, "exact"
        yield "bulk", "vanilla, BatchNorm last", ending_normed(bare(ff.mlp([400, 400, 400, 1]))), n, "exact"
    for depth, width, n in ((12, 400, 64), (16, 300, 100), (40, 250, 16)):
        yield "bulk", f"relu, L {depth}, N {width}", ff.mlp([width] * depth + [1]), n, "exact"
    for n in (4, 6, 8, 12, 16):
        yield "bulk", "relu, N 300", ff.mlp([784, 300, 300, 300, 1]), n, "exact"
    for name in ("tanh", "selu", "elu", "linear"):
        for n in (64, 800):
            yield "edge", f"{name}, 64-300-300-1", ff.mlp([64, 300, 300, 1], name), n, "exact"
    for n in (2, 4, 8, 16, 32):
        yield "edge", "vanilla tanh, sigma_b2 0", bare(ff.mlp([300] * 4 + [1], "tanh", sigma_b2=0.0)), n, "exact"
        yield "edge", "relu, N 200", ff.mlp([200] * 4 + [1]), n, "exact"
        yield "edge", "frozen relu, L 16, N 200", ff.mlp([200] * 16 + [1]), n, "frozen"
    for name in ("relu", "tanh", "gelu"):
        for n in (2, 3, 4, 8, 16, 32, 48):
            yield "few samples", f"{name}, beta 0.5", ff.mlp([100, 500, 500, 500, 1], name, beta=0.5), n, "exact"
    for n in (2, 3, 4, 8, 16, 32, 48):
        yield "few samples", "relu, eps 0.1", ff.mlp([100, 500, 500, 500, 1], eps=0.1), n, "exact"
        yield "few samples", "relu, beta 1.5", ff.mlp([100, 1000, 1000, 1], beta=1.5), n, "exact"
        yield "few samples", "relu", ff.mlp([100, 500, 500, 500, 1]), n, "frozen"
    for depth, name, n in ((3, "elu", 50), (3, "elu", 128), (3, "silu", 64), (8, "relu", 64), (4, "sigmoid", 50)):
        yield "own", f"{name}, L {depth}, N 700", ff.mlp([700] * depth + [1], name), n, "frozen"
    for n in (150, 300, 600):
        for name in ("relu", "gelu", "sigmoid"):
            yield "n > N/2", f"{name}, N 200", ff.mlp([200, 200, 200, 1], name), n, "exact"
        yield "n > N/2", "vanilla relu, N 200", bare(ff.mlp([200, 200, 200, 1])), n, "exact"
        yield "n > N/2", "relu, N 200", ff.mlp([200, 200, 200, 1]), n, "frozen"
    for depth, width, outputs in ((3, 256, 2), (3, 256, 10), (4, 512, 10), (4, 256, 50), (10, 256, 10)):
        net = ff.mlp([width] * depth + [outputs])
        name = f"C {outputs}, N {width}, L {depth}"
        yield "outputs", f"vanilla relu, {name}", bare(net), 32, "exact"
        yield "outputs", f"relu, {name}", net, 64, "frozen"
    for width in (16, 32, 64, 125):
        for n in (16, 32, 64, 128):
            yield "narrow", f"relu, N {width}", ff.mlp([100, width, width, 1]), n, "exact"
            yield "narrow", f"relu, beta 1, N {width}", ff.mlp([100, width, width, 1], beta=1.0), n, "exact"
        yield "narrow", f"vanilla relu, N {width}", bare(ff.mlp([100, width, width, 1])), width // 4, "exact"
        yield "narrow", f"relu, N {width}", ff.mlp([100, width, width, 1]), width // 2, "frozen"
    for count in (4, 8, 16):
        net = ff.convnet((3, 12, 12), [count, 2 * count], 1)
        yield "channels", f"relu, {count} channels", net, 64, "exact"
        yield "channels", f"vanilla relu, {count} channels", bare(net), 64, "exact"
        yield "channels", f"relu, {count} channels", net, 64, "frozen"
    for width, depth in ((200, 22), (250, 40)):
        for name in ("relu", "tanh"):
            yield (
                "depth",
                f"vanilla {name}, N {width}, L {depth}",
                bare(ff.mlp([width] * depth + [1], name)),
                16,
                "exact",
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reasons", nargs="*", help="the rows to measure, by their reason; all by default")
    chosen = parser.parse_args().reasons
    least: dict[str, list[float]] = defaultdict(list)
    print(f"{'reason':<12}{'network':<32}{'n':>5}  {'':<8}{'theory':>12}  sampled/theory: least, median, greatest")
    for reason, name, net, samples, statistics in rows():
        if chosen and reason not in chosen:
            continue
        theory = ff.fisher(net, statistics, samples)
        sampled = [
            ff.sampled_fisher(net, ff.data.gaussian(net, samples, seed), seed, statistics, tolerance=1e-4).lambda_max
            for seed in range(NETWORKS)
        ]
        low, middle, high = np.quantile(np.array(sampled) / theory.lambda_max, (0.0, 0.5, 1.0))
        number = f"{theory.bound} {theory.lambda_max:.5g}"
        print(
            f"{reason:<12}{name:<32}{samples:>5}  {statistics:<8}{number:>12}  {low:.3f} {middle:.3f} {high:.3f}",
            flush=True,
        )
        least[theory.bound].append(low)
    for bound, lows in sorted(least.items()):
        print(f"printed {bound}: {len(lows)} rows, the least of all sampled/theory {min(lows):.3f}")
    assert min(least[">="], default=1.0) > 0.98, "a bound is printed where single networks lie below"


if __name__ == "__main__":
    main()
