#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Networks like VGGs and ResNets, drawn at random: lambda_max of theory beside that of sampled ones.

    python bench/nets.py                 measures what docs/nets.json does not hold of 60 networks of each
    python bench/nets.py --minutes 10    stops then; what is measured is kept
    python bench/nets.py --show          the table of what is kept, and no measurement

Five of each kind, exact BatchNorm, one output, Gaussian inputs. Drawn uniformly, if nothing else is said: 8 or 12
positions a side, 16 with a stem that halves them; 3 to 16 channels that come in; 48 to 80 channels in the first stage,
and 16 more in the next; n in 40 .. 80; phi relu (half of them), gelu or leaky_relu(0.1); sigma_w2 in 1 .. 2.5 and
sigma_b2 in 0 .. 1; gamma in 0.5 .. 2 (its logarithm), beta 0 or in -0.5 .. 0.5, eps 1e-5, trained or not.

* VGG: two stages of one or two padded convolutions, each with BatchNorm and phi, and a pooling by 2 behind each stage,
  of maxima or means.
* ResNet: a stem, one or two blocks with identity skips, one that halves the image (its skip a convolution with
  BatchNorm, or `Subsample`), and none or one more.

At the end a mean over positions or Flatten. Settings are numbered and taken in order; those are left out for which
theory says that the bulk's mean is 0.2 of lambda_max or more.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fisherfield as ff

FILE = Path(__file__).parent.parent / "docs" / "nets.json"
NETWORKS, OF_EACH = 60, 5
UNITS: Any = "auto"
KINDS = ("VGG", "ResNet")


class Setting:
    """Numbers of one network."""

    def __init__(self, kind: str, number: int) -> None:
        self.random = random = np.random.default_rng([KINDS.index(kind), number])
        self.phi = ff.Activation(("relu", "relu", "gelu", "leaky_relu(0.1)")[random.integers(4)])
        self.side = (8, 12, 16)[random.integers(3)]
        self.channels_in = int(random.integers(3, 17))
        self.channels = int(random.integers(3, 6)) * 16
        self.samples = int(random.integers(40, 81))
        self.sigmas = {"sigma_w2": round(random.uniform(1.0, 2.5), 3), "sigma_b2": round(random.uniform(0.0, 1.0), 3)}
        self.trained = bool(random.integers(2))

    def conv(self, stride: int = 1, kernel: int = 3) -> Any:
        return ff.Conv2d(self.channels, kernel, stride, kernel // 2, **self.sigmas)

    def norm(self) -> Any:
        random = self.random
        gamma = round(float(np.exp(random.uniform(math.log(0.5), math.log(2.0)))), 3)
        beta = round(random.uniform(-0.5, 0.5), 3) if random.integers(2) else 0.0
        return ff.BatchNorm(gamma, beta, 1e-5, self.trained)

    def normed(self, stride: int = 1) -> list[Any]:
        return [self.conv(stride), self.norm(), self.phi]

    def vgg(self) -> list[Any]:
        layers = self.normed(2) if self.side == 16 else []
        for _ in range(2):
            for _ in range(self.random.integers(1, 3)):
                layers += self.normed()
            layers.append((ff.MaxPool2d(2), ff.AvgPool2d(2))[self.random.integers(2)])
            self.channels += 16
        return layers

    def block(self, stride: int = 1) -> list[Any]:
        skip: list[Any] = []
        if stride > 1:
            self.channels += 16
            short = [self.conv(stride, 1), self.norm()]
            skip = (short, [ff.Subsample(self.channels, stride)])[self.random.integers(2)]
        branch = [*self.normed(stride), self.conv(), self.norm()]
        return [ff.Residual(branch, skip), self.phi]

    def resnet(self) -> list[Any]:
        layers = self.normed(2 if self.side == 16 else 1)
        for stride in (*([1] * self.random.integers(1, 3)), 2, *([1] * self.random.integers(2))):
            layers += self.block(stride)
        return layers


def drawn(kind: str, number: int) -> tuple[ff.Network, int]:
    """The network of a setting, and its samples."""
    setting = Setting(kind, number)
    layers = setting.vgg() if kind == "VGG" else setting.resnet()
    end = [ff.GlobalAvgPool2d()] if setting.random.integers(2) else []
    shape = (setting.channels_in, setting.side, setting.side)
    return ff.Network(shape, [*layers, *end, ff.Flatten(), ff.Dense(1, **setting.sigmas)]), setting.samples


def theory(kind: str, number: int) -> Any:
    net, samples = drawn(kind, number)
    return ff.fisher(net, samples=samples, units=UNITS)


def share(fisher: Any) -> float:
    """The bulk's mean over lambda_max."""
    return float((fisher.a - fisher.b) / fisher.samples / fisher.lambda_max)


def chosen() -> Iterator[tuple[str, int, Any]]:
    """The first ones of each kind whose bulk is small."""
    for kind in KINDS:
        number = taken = 0
        while taken < OF_EACH:
            predicted = theory(kind, number)
            if share(predicted) < 0.2:
                taken += 1
                yield kind, number, predicted
            number += 1


def measured(kind: str, number: int, seed: int) -> float:
    net, samples = drawn(kind, number)
    x = ff.data.gaussian(net, samples, seed)
    return float(f"{ff.sampled_fisher(net, x, seed, dtype='float32', tolerance=1e-4).lambda_max:.6g}")


def save(kept: dict[str, Any]) -> None:
    rows = (f"{json.dumps(name)}: {json.dumps(each)}" for name, each in kept.items())
    FILE.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


def run(kept: dict[str, Any], until: float) -> None:
    """One network of each in turn, so that a run that is stopped has some of all."""
    names = []
    for kind, number, fisher in chosen():
        names.append(f"{kind} {number}")
        each = kept.setdefault(names[-1], {"sampled": []})
        each |= {
            "samples": fisher.samples,
            "theory": float(f"{fisher.lambda_max:.6g}"),
            "error": float(f"{fisher.error:.2g}"),
            "bulk": float(f"{share(fisher):.2g}"),
            "holds": bool(fisher.holds),
        }
    for name in [name for name in kept if name not in names]:
        del kept[name]
    for seed in range(NETWORKS):
        for name in names:
            if time.monotonic() > until:
                return
            if len(kept[name]["sampled"]) == seed:
                kept[name]["sampled"].append(measured(name.split()[0], int(name.split()[1]), seed))
                save(kept)


def table(kept: dict[str, Any]) -> str:
    lines = [
        "| network | positions | n | theory | holds | bulk | sampled (networks) | sampled / theory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    ratios = []
    for name, each in kept.items():
        kind, number = name.split()
        net, _ = drawn(kind, int(number))
        values = np.array(each["sampled"])
        if len(values) < 2:
            continue
        mean, error = np.mean(values), np.std(values, ddof=1) / math.sqrt(len(values))
        ratio = mean / each["theory"]
        spread = ratio * math.hypot(error / mean, each["error"] / each["theory"])
        ratios.append(ratio)
        holds = "yes" if each["holds"] else "no"
        lines.append(
            f"| {name} | {net.input_shape[1]} x {net.input_shape[2]} | {each['samples']} | {each['theory']:.5g} "
            f"+- {each['error']:.1g} | {holds} | {each['bulk']:.2f} | {mean:.5g} +- {error:.1g} ({len(values)}) "
            f"| {ratio:.4f} +- {spread:.4f} |"
        )
    if ratios:
        worst = max(ratios, key=lambda ratio: abs(ratio - 1))
        lines.append(f"\nmean ratio {np.mean(ratios):.4f}, worst {worst:.4f}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=math.inf, help="at the most")
    parser.add_argument("--show", action="store_true", help="what is kept, and no measurement")
    arguments = parser.parse_args()
    kept: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    if not arguments.show:
        run(kept, time.monotonic() + 60 * arguments.minutes)
        save(kept)
    print(table(kept))
    return 0


if __name__ == "__main__":
    sys.exit(main())
