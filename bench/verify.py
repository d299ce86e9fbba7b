# SPDX-License-Identifier: BSD-3-Clause
"""Do sampled networks of the sizes that docs/theory.md quotes have the eigenvalues that the theory gives them?

    python bench/verify.py                 # measures what docs/verify.json does not hold: 20 minutes for all
    python bench/verify.py --again wide    # and the rows whose name has "wide" once more
    python bench/verify.py --check         # whether what is measured meets what the README says

Every row of section 9's table, and networks of five widths, by `ff.verify`. Measured rows are kept in docs/verify.json,
the table goes to standard output as Markdown, the picture to docs/verify.png.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from timing import machine

import fisherfield as ff
from fisherfield._words import with_error
from fisherfield.plots.figures import STYLES

DOCS = Path(__file__).parents[1] / "docs"
WIDTHS = (250, 500, 1000, 2000, 4000)
GAMMAS = (0.25, 1.0, 3.0)

DENSE = ff.mlp([784, 1000, 1000, 1000, 1])
DEEP = ff.mlp([784, *[1000] * 7, 1])
CONV = ff.convnet((1, 28, 28), channels=[30, 60, 90], outputs=1)
UNPADDED = ff.convnet((1, 28, 28), channels=[30, 60, 90], outputs=1, padding=0)
WIDE = ff.convnet((1, 28, 28), channels=[120, 240, 360], outputs=1)


@dataclass(frozen=True)
class Row:
    name: str
    net: ff.Network
    samples: int
    seeds: int
    statistics: tuple[str, ...] = ("exact", "frozen")
    widths: tuple[int, ...] | None = None


def bare(net: ff.Network) -> ff.Network:
    return net.replace(batch_norm=False)


ROWS = (
    Row("dense, vanilla", bare(DENSE), 500, 20, ("exact",)),
    *(Row(f"dense, BatchNorm, gamma {gamma:g}", DENSE.replace(gamma=gamma), 500, 20) for gamma in GAMMAS),
    Row("dense, BatchNorm, five widths", DENSE, 100, 20, ("exact",), WIDTHS),
    Row("dense, vanilla, n 1000", bare(DENSE), 1000, 20, ("exact",)),
    Row("dense, BatchNorm, n 1000", DENSE, 1000, 10),
    Row("dense, BatchNorm, L 8", DEEP, 128, 20),
    Row("conv, BatchNorm", CONV, 600, 20),
    Row("conv, BatchNorm, no padding", UNPADDED, 600, 20),
    Row("conv, vanilla", bare(CONV), 400, 40, ("exact",)),
    Row("wide conv, BatchNorm", WIDE, 256, 10),
    Row("dense, vanilla, 800 wide", bare(ff.mlp([784, 800, 800, 800, 1])), 150, 20, ("exact",)),
)


def measured(row: Row, statistics: str) -> dict[str, Any]:
    verification = ff.verify(row.net, row.widths, row.seeds, row.samples, statistics=statistics, progress=True)
    power = verification.powers["lambda_max"]
    return {
        "samples": row.samples,
        "widths": verification.widths.tolist(),
        "sampled": {name: values.tolist() for name, values in verification.sampled.items()},
        "errors": {name: values.tolist() for name, values in verification.errors.items()},
        "theory": {name: values.tolist() for name, values in verification.theory.items()},
        "others": {name: values.tolist() for name, values in verification.others.items()},
        "lambda_max": verification.runs["lambda_max"].tolist(),
        "power": None if power is None else [power.exponent, power.error, power.factor],
        "verdict": verification.verdict,
        "seconds": round(verification.seconds, 1),
    }


def write(results: dict[str, Any], path: Path) -> None:
    """A line for each row, numbers to eight digits."""
    plain = json.loads(json.dumps(results), parse_float=lambda text: float(f"{float(text):.8g}"))
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in plain.items())
    path.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def key(row: Row, statistics: str) -> str:
    return f"{row.name}; {statistics}"


# ------------------------------------------------------------------------------------------------------------ the table


def cell(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return ""
    return f"{with_error(entry['sampled']['lambda_max'][0], entry['errors']['lambda_max'][0])}".replace("+-", "±")


def table(results: dict[str, Any]) -> str:
    lines = [
        "| network | $n$ | networks | sampled, full gradient | sampled, statistics frozen | `exact` | `frozen` |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in ROWS:
        exact, frozen = (results.get(key(row, statistics)) for statistics in ("exact", "frozen"))
        if exact is None or row.widths is not None:
            continue
        theory = [f"{entry['theory']['lambda_max'][0]:.5g}" if entry else "" for entry in (exact, frozen)]
        cells = (row.name, row.samples, row.seeds, cell(exact), cell(frozen), *theory)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def check(results: dict[str, Any]) -> None:
    """The exact theory within 2 % of BatchNorm's sampled mean, vanilla within two standard errors of 20 networks."""
    for row in ROWS[:4]:
        entry = results[key(row, "exact")]
        sampled, error, theory = (entry[name]["lambda_max"][0] for name in ("sampled", "errors", "theory"))
        allowed = 0.02 * theory if row.net.batch_norms else 2 * error
        distance = f"theory {theory:.6g}, sampled {with_error(sampled, error)}, {100 * (sampled / theory - 1):+.2f} %"
        assert len(entry["lambda_max"][0]) >= 20, row.name
        assert abs(sampled - theory) <= allowed, f"{row.name}: {distance}"
        print(f"{row.name:<32} {distance}: {'within 2 %' if row.net.batch_norms else 'within two standard errors'}")


# ---------------------------------------------------------------------------------------------------------- the picture


def draw(results: dict[str, Any], path: Path) -> None:
    import matplotlib
    from matplotlib.figure import Figure

    fonts = {"font.size": 13, "axes.labelsize": 14, "axes.titlesize": 14, "legend.fontsize": 12}
    with matplotlib.rc_context(fonts):
        figure = Figure(figsize=(16, 6.6), dpi=100, layout="constrained")
        left, middle, right = figure.subplots(1, 3, width_ratios=(1.1, 1.15, 1))
        against_gamma(left, results)
        distances(middle, results)
        against_width(right, results)
        for axes in (left, middle, right):
            axes.grid(True, which="major", color="0.9", linewidth=0.8)
            axes.set_axisbelow(True)
            for spine in ("top", "right"):
                axes.spines[spine].set_visible(False)
        figure.legend(loc="outside lower center", ncols=5, frameon=False, columnspacing=1.5)
        figure.savefig(path, dpi=100)


SAMPLED = {
    "exact": {"color": "black", "markerfacecolor": "black", "label": "sampled, gradient through the statistics"},
    "frozen": {"color": "black", "markerfacecolor": "white", "label": "sampled, statistics held constant"},
}


def against_gamma(axes: Any, results: dict[str, Any]) -> None:
    gammas = np.geomspace(0.16, 4.7, 60)
    for theory in ("frozen", "wei2019", "exact"):
        values = ff.scan(DENSE, {"gamma": gammas}, "lambda_max", theory, samples=500).lambda_max
        axes.plot(gammas, values, label=f"theory {theory}", **STYLES[theory])
    vanilla = results[key(ROWS[0], "exact")]
    axes.axhline(vanilla["theory"]["lambda_max"][0], label="theory, without BatchNorm", **STYLES["vanilla"])
    for statistics, style in SAMPLED.items():
        entries = [results[key(row, statistics)] for row in ROWS[1:4]]
        means = [entry["sampled"]["lambda_max"][0] for entry in entries]
        errors = [2 * entry["errors"]["lambda_max"][0] for entry in entries]
        axes.errorbar(GAMMAS, means, errors, fmt="o", markersize=8, capsize=4, zorder=3, **style)
    axes.errorbar(
        [0.2],
        vanilla["sampled"]["lambda_max"],
        2 * np.array(vanilla["errors"]["lambda_max"]),
        fmt="s",
        color="black",
        markersize=8,
        capsize=4,
        label="sampled, without BatchNorm",
        zorder=3,
    )
    axes.set(xscale="log", yscale="log", xlabel=r"BatchNorm's scale $\gamma$")
    axes.set_ylabel(r"largest Fisher eigenvalue $\lambda_{\max}$")
    axes.set_xticks([0.25, 0.5, 1, 2, 3, 4], ["0.25", "0.5", "1", "2", "3", "4"], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_title("3 hidden layers of 1000, 500 samples,\n20 networks a point")


def distances(axes: Any, results: dict[str, Any]) -> None:
    """(sampled - theory)/theory of every network, their mean and two standard errors, beside the predicted interval."""
    cases = [(key(ROWS[0], "exact"), "none", "vanilla", "exact")]
    predicted = [ff.fisher(ROWS[0].net, samples=500)]
    for statistics in ("exact", "frozen"):
        for row, gamma in zip(ROWS[1:4], GAMMAS, strict=True):
            cases.append((key(row, statistics), f"{gamma:g}", statistics, statistics))
            predicted.append(ff.fisher(row.net, statistics, row.samples))
    axes.axhline(0, color="black", linewidth=1.2)
    axes.axhspan(-2, 2, color="0.93", zorder=0)
    for place, (name, _, style, statistics) in enumerate(cases):
        entry = results[name]
        theory = entry["theory"]["lambda_max"][0]
        each = 100 * (np.array(entry["lambda_max"][0]) / theory - 1)
        label = "each network" if place == 0 else None
        fisher = predicted[place]
        ends = [100 * (end / fisher.lambda_max - 1) for end in fisher.interval(0.9)]
        stated = "90 % interval and mean by formula" if place == 0 else None
        axes.plot([place + 0.38] * 2, ends, color="0.25", linewidth=1.5, label=stated)
        axes.plot([place + 0.31, place + 0.45], [100 * (fisher.shift or 0.0)] * 2, color="0.25", linewidth=1.5)
        places = place + np.linspace(-0.25, 0.25, each.size)
        axes.plot(places, each, "o", color="0.6", markersize=3.5, zorder=2, label=label)
        axes.errorbar(
            [place],
            [each.mean()],
            [200 * entry["errors"]["lambda_max"][0] / theory],
            fmt="s" if style == "vanilla" else "o",
            markersize=8,
            capsize=6,
            linewidth=2,
            zorder=3,
            color=STYLES[style]["color"],
            markerfacecolor="white" if statistics == "frozen" else STYLES[style]["color"],
        )
    axes.set_xticks(range(len(cases)), [label for _, label, _, _ in cases])
    axes.set_xlabel(r"BatchNorm's scale $\gamma$")
    for place, words in ((2, "gradient through\nthe statistics"), (5, "statistics\nheld constant")):
        axes.text(place, 0.985, words, ha="center", va="top", transform=axes.get_xaxis_transform())
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.16 * (high - low))
    axes.set_ylabel("sampled above its theory, %")
    axes.set_title("the same networks beside their theory:\nbars are two standard errors, the band 2 %")


def against_width(axes: Any, results: dict[str, Any]) -> None:
    entry = results[key(ROWS[4], "exact")]
    widths, theory = np.array(entry["widths"]), np.array(entry["theory"]["lambda_max"])
    gaps = 100 * (np.array(entry["sampled"]["lambda_max"]) / theory - 1)
    errors = 200 * np.array(entry["errors"]["lambda_max"]) / theory
    colour = STYLES["exact"]["color"]
    axes.errorbar(
        widths,
        gaps,
        np.array([np.minimum(errors, 0.999 * gaps), errors]),
        fmt="o",
        color=colour,
        capsize=4,
        markersize=7,
    )
    if entry["power"] is not None:
        exponent, error, factor = entry["power"]
        label = rf"fit: width$^{{-{exponent:.2f} \pm {error:.2f}}}$"
        axes.plot(widths, 100 * factor * widths**-exponent, color=colour, linewidth=1.6)
        axes.text(0.95, 0.93, label, ha="right", va="top", color=colour, transform=axes.transAxes)
    axes.set(xscale="log", yscale="log", xlabel="width of the hidden layers")
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.set_xticks([], minor=True)
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10) if gaps.min() / 2 < tick < 2 * gaps.max()]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.set_ylabel("sampled above theory exact, %")
    axes.set_title(r"closing with width: $\gamma$ = 1, 100 samples," "\n20 networks a width")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", metavar="WORD", help="measure the rows whose name holds this once more")
    parser.add_argument("--check", action="store_true", help="measure and draw nothing")
    options = parser.parse_args()
    path = DOCS / "verify.json"
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if not options.check:
        print(machine())
        for row in ROWS:
            for statistics in row.statistics:
                name = key(row, statistics)
                if name in results and not (options.again and options.again in name):
                    continue
                print(f"\n{name}")
                results[name] = measured(row, statistics)
                print(results[name]["verdict"])
                write(results, path)
        write(results, path)
        draw(results, DOCS / "verify.png")
        print(f"\n{table(results)}\n")
    check(results)
    entry = results[key(ROWS[4], "exact")]["power"]
    assert entry is not None
    assert math.isclose(entry[0], 1.0, abs_tol=0.25), entry  # the law of 1/N, section 9


if __name__ == "__main__":
    main()
