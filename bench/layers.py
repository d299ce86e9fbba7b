# SPDX-License-Identifier: BSD-3-Clause
"""How far is the theory of each kind of layer from sampled networks, over random small settings?

    python bench/layers.py                         measures what docs/layers.json does not hold of 200 settings a row
    python bench/layers.py --settings 1000         more of them: settings are numbered, and none is measured twice
    python bench/layers.py --only BatchNorm        rows whose name has these letters
    python bench/layers.py --minutes 10            stops then; what is measured is kept
    python bench/layers.py --show                  the table and the worst settings of what is kept, and no measurement
    python bench/layers.py --theory                the same with the theory's numbers of today
    python bench/layers.py --plot docs/layers.png  the picture, besides

A row is a kind of layer in networks of one hidden layer, or of three. A setting draws, each uniformly if nothing else
is said: phi of `PHI`; sigma_w2 in 0.5 .. 2.5 and sigma_b2 in 0 .. 1; gamma in 0.3 .. 3 (its logarithm), beta 0 or in
-1 .. 1, eps 0, 1e-5 or 0.1, trained or not; Dropout's rate in 0 .. 0.5; a branch's scale in 0.2 .. 1.5; n in 50 .. 80.
Dense: width 200 .. 300, 100 .. 300 inputs. Images: 5 .. 8 positions a side (8 with three layers), 16 .. 24 channels
that come in, 32 .. 64 channels, kernels of 3, padded or not, flattened or averaged over positions at the end. One
output, Gaussian inputs, biases counted, statistics of the batch ("exact") where the row does not say "frozen".

Of each setting four networks are sampled, with inputs of their own. The error is |mean of lambda_max over theory - 1|;
beside it stands the standard error of that mean, which is a part of it: without BatchNorm it is most of it. Settings
for which `Fisher.holds` is False are counted and left out; a kind that no theory is known of has no row.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fisherfield as ff

DOCS = Path(__file__).parent.parent / "docs"
NETWORKS = 4
DEPTHS = (1, 3)
PHI = ("relu", "leaky_relu(0.2)", "tanh", "erf", "gelu", "silu")

Random = np.random.Generator
Layers = list[Any]


# ---------------------------------------------------------------------------------------------------- what is drawn
class Setting:
    """Numbers of one setting, drawn in one order for all of its layers."""

    def __init__(self, random: Random, image: bool, depth: int) -> None:
        self.random, self.image = random, image
        self.phi = ff.Activation(PHI[random.integers(len(PHI))])
        self.samples = int(random.integers(50, 81))
        self.units = int(random.integers(32, 65) if image else random.integers(200, 301)) // 8 * 8
        if image:
            side = int(random.integers(max(5, 2 * depth + 2), 9))  # of which kernels leave two or more
            self.shape: tuple[int, ...] = (int(random.integers(16, 25)) // 4 * 4, side, side)
            self.padding, self.average = int(random.integers(2)), bool(random.integers(2))
        else:
            self.shape = (int(random.integers(100, 301)),)
        self.sigmas = {"sigma_w2": round(random.uniform(0.5, 2.5), 3), "sigma_b2": round(random.uniform(0.0, 1.0), 3)}

    def affine(self, keep: bool = False, **words: Any) -> Any:
        """One that keeps the size of an image where it is asked to."""
        if not self.image:
            return ff.Dense(self.units, **self.sigmas)
        return ff.Conv2d(self.units, 3, 1, 1 if keep else self.padding, **self.sigmas, **words)

    def numbers(self, beta: bool = True) -> dict[str, Any]:
        random = self.random
        gamma = round(float(np.exp(random.uniform(math.log(0.3), math.log(3.0)))), 3)
        shift = round(random.uniform(-1.0, 1.0), 3) if random.integers(2) else 0.0
        eps, trained = (0.0, 1e-5, 0.1)[random.integers(3)], bool(random.integers(2))
        return {"gamma": gamma, **({"beta": shift} if beta else {}), "eps": eps, "trained": trained}

    def norm(self) -> Any:
        return ff.BatchNorm(**self.numbers())

    def either(self, *layers: Layers) -> Layers:
        return layers[self.random.integers(len(layers))]

    def over_units(self, norm: Any) -> Layers:
        """Before phi or behind it."""
        return self.either([self.affine(), norm, self.phi], [self.affine(), self.phi, norm])

    def residual(self, skip: Layers, keep: bool = True) -> Any:
        inner = self.either([], [self.norm()], [ff.LayerNorm(**self.numbers())])
        scale = round(self.random.uniform(0.2, 1.5), 3)
        return ff.Residual([*inner, self.phi, self.affine(keep)], skip, scale)


Block = Callable[[Setting], Layers]


def post_activation(s: Setting) -> Layers:
    """A block of a ResNet (v1) with an identity skip."""
    return [ff.Residual([s.affine(True), s.norm(), s.phi, s.affine(True), s.norm()]), s.phi]


def downwards(s: Setting) -> Layers:
    """One that halves the image and has 16 channels more, with a skip without parameters."""
    s.units += 16
    down = ff.Conv2d(s.units, 3, 2, 1, **s.sigmas)
    branch = [down, s.norm(), s.phi, s.affine(True), s.norm()]
    return [ff.Residual(branch, [ff.Subsample(s.units)]), s.phi]


# Of each row whether it has images, the statistics, what stands before all blocks, and a block.
NONE: Block = lambda s: []  # noqa: E731
STEM: Block = lambda s: [s.affine(True)]  # noqa: E731
NORMED: Block = lambda s: [s.affine(True), s.norm(), s.phi]  # noqa: E731
ROWS: dict[str, tuple[bool, str, Block, Block]] = {
    "Dense": (False, "exact", NONE, lambda s: [s.affine(), s.phi]),
    "BatchNorm": (False, "exact", NONE, lambda s: [s.affine(), s.norm(), s.phi]),
    "BatchNorm, frozen": (False, "frozen", NONE, lambda s: [s.affine(), s.norm(), s.phi]),
    "LayerNorm": (False, "exact", NONE, lambda s: s.over_units(ff.LayerNorm(**s.numbers()))),
    "RMSNorm": (False, "exact", NONE, lambda s: s.over_units(ff.RMSNorm(**s.numbers(beta=False)))),
    "Dropout": (
        False,
        "exact",
        NONE,
        lambda s: [s.affine(), s.phi, ff.Dropout(round(s.random.uniform(0.0, 0.5), 3))],
    ),
    "Dropout, BatchNorm": (
        False,
        "exact",
        NONE,
        lambda s: [s.affine(), s.norm(), s.phi, ff.Dropout(round(s.random.uniform(0.0, 0.5), 3))],
    ),
    "Residual": (False, "exact", STEM, lambda s: [s.residual([])]),
    "Residual, projection": (False, "exact", STEM, lambda s: [s.residual([s.affine()])]),
    "Conv2d": (True, "exact", NONE, lambda s: [s.affine(), s.phi]),
    "Conv2d, BatchNorm": (True, "exact", NONE, lambda s: [s.affine(), s.norm(), s.phi]),
    "Conv2d in 4 groups, BatchNorm": (True, "exact", NONE, lambda s: [s.affine(groups=4), s.norm(), s.phi]),
    "GroupNorm": (True, "exact", NONE, lambda s: s.over_units(ff.GroupNorm(2, **s.numbers()))),
    "LayerNorm of images": (True, "exact", NONE, lambda s: s.over_units(ff.LayerNorm(**s.numbers()))),
    "AvgPool2d": (True, "exact", NONE, lambda s: [s.affine(True), s.phi, ff.AvgPool2d(2, 1)]),
    "AvgPool2d, BatchNorm": (True, "exact", NONE, lambda s: [s.affine(True), s.norm(), s.phi, ff.AvgPool2d(2, 1)]),
    "Residual of images": (True, "exact", STEM, lambda s: [s.residual([])]),
    "MaxPool2d": (True, "exact", NONE, lambda s: [s.affine(True), s.phi, ff.MaxPool2d(2, 1)]),
    "MaxPool2d, BatchNorm": (True, "exact", NONE, lambda s: [s.affine(True), s.norm(), s.phi, ff.MaxPool2d(2, 1)]),
    "identity skip behind phi": (True, "exact", NORMED, post_activation),
    "identity skip behind phi, dense": (False, "exact", NORMED, post_activation),
    "Subsample": (True, "exact", NORMED, downwards),
    "BatchNorm behind phi": (False, "exact", NONE, lambda s: [s.affine(), s.phi, s.norm()]),
    "depthwise Conv2d": (
        True,
        "exact",
        NORMED,
        lambda s: [s.affine(True, groups=s.units), s.norm(), s.phi, ff.Conv2d(s.units, 1, **s.sigmas), s.norm(), s.phi],
    ),
}


def drawn(row: str, depth: int, number: int) -> tuple[ff.Network, int]:
    """The network of a setting, and its samples."""
    image, _, before, block = ROWS[row]
    random = np.random.default_rng([zlib.crc32(row.encode()), depth, number])
    setting = Setting(random, image, depth)
    layers = before(setting)
    for _ in range(depth):
        layers += block(setting)
    if image:
        layers += [*([ff.GlobalAvgPool2d()] if setting.average else []), ff.Flatten()]
    return ff.Network(setting.shape, [*layers, ff.Dense(1, **setting.sigmas)]), setting.samples


# ---------------------------------------------------------------------------------------------------- measurement
def measured(row: str, depth: int, number: int) -> dict[str, Any]:
    """Theory, mean of the sampled networks and its standard error; "refused" in words where there is no number."""
    statistics = ROWS[row][1]
    net, samples = drawn(row, depth, number)
    try:
        theory = predicted(row, depth, number)
        values = [
            ff.sampled_fisher(
                net, ff.data.gaussian(net, samples, seed), seed=seed, statistics=statistics, tolerance=1e-4
            ).lambda_max
            for seed in range(NETWORKS)
        ]
    except (ValueError, RuntimeError) as error:  # a unit that is the same for all samples
        return {"refused": str(error)}
    return {
        **theory,
        "sampled": float(f"{np.mean(values):.6g}"),
        "error": float(f"{np.std(values, ddof=1) / math.sqrt(NETWORKS):.3g}"),
    }


def predicted(row: str, depth: int, number: int) -> dict[str, Any]:
    net, samples = drawn(row, depth, number)
    theory = ff.fisher(net, ROWS[row][1], samples=samples)
    return {"theory": float(f"{theory.lambda_max:.7g}"), "holds": bool(theory.holds)}


def run(kept: dict[str, Any], settings: int, only: str, until: float, save: Callable[[], None]) -> None:
    """Every row in turn, fifty settings at a time, so that a run that is stopped has some of each."""
    for first in range(0, settings, 50):
        for row in ROWS:
            for depth in DEPTHS:
                results = kept.setdefault(f"{row} | {depth}", [])
                if only not in row or not known(row, depth):
                    continue
                for number in range(len(results), min(first + 50, settings)):
                    if time.monotonic() > until:
                        return
                    results.append(measured(row, depth, number))
                save()


def known(row: str, depth: int) -> bool:
    """Whether there is a theory of the row's networks."""
    net, samples = drawn(row, depth, 0)
    try:
        ff.fisher(net, ROWS[row][1], samples=samples)
    except ValueError as error:
        return str(error) != net.without_recursion
    return True


# ---------------------------------------------------------------------------------------------------- the table
def columns(results: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Errors and standard errors in percent, of settings for which theory says that it holds."""
    numbers = [each for each in results if "refused" not in each]
    holding = [each for each in numbers if each["holds"]]
    if not holding:
        return None
    errors = np.array([100 * abs(each["sampled"] / each["theory"] - 1) for each in holding])
    spread = np.array([100 * each["error"] / each["theory"] for each in holding])
    return {"settings": len(numbers), "holds": len(holding), "errors": errors, "spread": spread}


def table(kept: dict[str, Any]) -> str:
    lines = [
        "| kind | hidden layers | settings | of these theory holds for | 50 % | 90 % | 99 % | standard error |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, results in kept.items():
        if found := columns(results):
            row, depth = name.split(" | ")
            of = " | ".join(f"{np.percentile(found['errors'], share):.2g}" for share in (50, 90, 99))
            counts = f"{found['settings']} | {found['holds']}"
            lines.append(f"| {row} | {depth} | {counts} | {of} | {np.median(found['spread']):.2g} |")
    return "\n".join(lines)


def worst(kept: dict[str, Any]) -> str:
    """The worst hundredth of each row with its settings, one at least."""
    lines = []
    for name, results in kept.items():
        row, depth = name.split(" | ")
        holding = [(number, each) for number, each in enumerate(results) if each.get("holds")]
        holding.sort(key=lambda pair: -abs(pair[1]["sampled"] / pair[1]["theory"] - 1))
        for number, each in holding[: math.ceil(len(holding) / 100)]:
            net, samples = drawn(row, int(depth), number)
            gap = 100 * (each["sampled"] / each["theory"] - 1)
            spread = 100 * each["error"] / each["theory"]
            lines.append(
                f"{name}: {gap:+.2g} +- {spread:.2g} %, n = {samples}, setting {number}\n    {list(net.layers)}"
            )
    return "\n".join(lines)


def plot(kept: dict[str, Any], path: Path) -> None:
    """Of each row the errors at three shares, and the sampled means' own standard error."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [(name, found) for name, results in kept.items() if (found := columns(results))][::-1]
    figure, axes = plt.subplots(figsize=(9, 0.26 * len(rows) + 1.6), layout="constrained")
    places = np.arange(len(rows))
    shares = np.array([np.percentile(found["errors"], (50, 90, 99)) for _, found in rows])
    axes.hlines(places, shares[:, 0], shares[:, 2], color="0.75", linewidth=1.5, zorder=1)
    for column, (label, colour) in enumerate((("50 %", "#0072B2"), ("90 %", "#E69F00"), ("99 %", "#D55E00"))):
        axes.plot(shares[:, column], places, "o", color=colour, label=f"{label} of settings", markersize=6)
    spread = [np.median(found["spread"]) for _, found in rows]
    axes.plot(spread, places, "|", color="black", markersize=11, label="standard error of the sampled mean (median)")
    axes.set_yticks(places, [name.replace(" | ", ", hidden layers: ") for name, _ in rows])
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, place: f"{value:g}")
    axes.set_xlabel(r"|sampled / theory $-$ 1| of $\lambda_{\max}$, %")
    axes.grid(True, axis="x", color="0.9")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(path, dpi=100)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", type=int, default=200, help="of each row")
    parser.add_argument("--only", default="", help="rows whose name has these letters")
    parser.add_argument("--minutes", type=float, default=math.inf, help="at the most")
    parser.add_argument("--show", action="store_true", help="what is kept, and no measurement")
    parser.add_argument("--theory", action="store_true", help="theory anew of what is kept, and no measurement")
    parser.add_argument("--plot", help="a file for the picture")
    parser.add_argument("--json", default=str(DOCS / "layers.json"), help="what is kept")
    arguments = parser.parse_args()
    path = Path(arguments.json)
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def save() -> None:
        rows = (f"{json.dumps(name)}: {json.dumps(results)}" for name, results in kept.items() if results)
        path.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")

    if arguments.theory:
        for name, results in kept.items():
            for number, each in enumerate(results):
                each.update(predicted(name.split(" | ")[0], int(name.split(" | ")[1]), number))
        save()
    elif not arguments.show:
        run(kept, arguments.settings, arguments.only, time.monotonic() + 60 * arguments.minutes, save)
        save()
    print(table(kept))
    print(worst(kept), file=sys.stderr)
    if arguments.plot:
        plot(kept, Path(arguments.plot))
    return 0


if __name__ == "__main__":
    sys.exit(main())
