# SPDX-License-Identifier: BSD-3-Clause
"""Does training explode where the theories say, and does a smaller gamma train better? All of docs/experiments.md.

    python bench/training.py                       # trains what docs/training.json does not hold: hours for all
    python bench/training.py --only fashion 1000   # of the rows whose name has all these words
    python bench/training.py --redraw              # trains nothing: tables and pictures from what is there

Fashion-MNIST must be installed (see `fisherfield.data.load`). Every row is a network, data and a way of training: its
boundary at every gamma by `ff.experiments.boundary`, or what it reaches by `ff.experiments.phase_diagram`. What has
been trained is kept in docs/training.json, network by network; a run that was stopped goes on there.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from timing import machine

import fisherfield as ff

DOCS = Path(__file__).parents[1] / "docs"
GAMMAS = (0.25, 0.5, 1.0, 2.0, 4.0)
SEEDS = (0, 1, 2)

FULL = {"batch": "full", "epochs": 100}
CROSS = {"loss": "cross_entropy"}


def dense(inputs: int, width: int) -> ff.Network:
    return ff.mlp([inputs, width, width, width, 10])


DIGITS, IMAGES = ff.convnet((1, 8, 8), [30, 60], 10), ff.convnet((1, 28, 28), [30, 60, 90], 10)
BARE = dense(64, 256).replace(batch_norm=False)


@dataclass(frozen=True)
class Row:
    """Boundaries at every gamma, each with every seed."""

    name: str
    net: ff.Network
    data: str
    given: dict[str, Any] = field(default_factory=dict)
    gammas: tuple[float | None, ...] = GAMMAS

    @property
    def entries(self) -> list[str]:
        return [entry_of(gamma) for gamma in self.gammas]


def entry_of(gamma: float | None) -> str:
    return "no BatchNorm" if gamma is None else f"{gamma:g}"


BOUNDARIES = (
    Row("digits, 256 units", dense(64, 256), "digits"),
    Row("digits, 256 units, full batch", dense(64, 256), "digits", FULL),
    Row("digits, 256 units, features standardised", dense(64, 256), "digits", {"standardize": "feature"}),
    Row("digits, 256 units, trained", dense(64, 256), "digits", {"train_affine": True}),
    Row("digits, 256 units, trained, full batch", dense(64, 256), "digits", {"train_affine": True, **FULL}),
    Row("digits, 256 units, no momentum", dense(64, 256), "digits", {"momentum": 0.0}),
    Row("digits, 256 units, cross-entropy", dense(64, 256), "digits", CROSS),
    Row("digits, 256 units, trained, cross-entropy", dense(64, 256), "digits", {"train_affine": True, **CROSS}),
    Row("digits, 256 units, vanilla", BARE, "digits", {}, (None,)),
    Row("digits, 1000 units", dense(64, 1000), "digits"),
    Row("digits, 1000 units, trained", dense(64, 1000), "digits", {"train_affine": True}),
    Row("digits, convolutions", DIGITS, "digits"),
    Row("digits, convolutions, trained", DIGITS, "digits", {"train_affine": True}),
    Row("fashion-mnist, 256 units", dense(784, 256), "fashion-mnist"),
    Row("fashion-mnist, 256 units, trained", dense(784, 256), "fashion-mnist", {"train_affine": True}),
    Row("fashion-mnist, 256 units, cross-entropy", dense(784, 256), "fashion-mnist", CROSS),
    Row("fashion-mnist, 1000 units", dense(784, 1000), "fashion-mnist"),
    Row("fashion-mnist, convolutions", IMAGES, "fashion-mnist"),
)


def trained(row: Row, gamma: float | None, pool: ProcessPoolExecutor) -> dict[str, Any]:
    net = row.net if gamma is None else row.net.replace(gamma=gamma)
    found = ff.experiments.boundary(net, row.data, seeds=SEEDS, threads=1, client=pool, **row.given)
    return {
        "eta_c": [plain(value) for value in found.eta_c],
        "measured": [plain(value) for value in found.measured],
        "eta_star": {name: plain(value) for name, value in found.eta_star.items()},
        "settings": found.settings,
        "seconds": round(found.seconds),
    }


def plain(value: float) -> float | str:
    """To five digits; JSON has no infinity."""
    return float(f"{value:.5g}") if np.isfinite(value) else "inf"


def write(results: dict[str, Any], path: Path) -> None:
    """A line for each network."""
    blocks = []
    for name, entries in results.items():
        lines = ",\n".join(f"  {json.dumps(entry)}: {json.dumps(found)}" for entry, found in entries.items())
        blocks.append(f"{json.dumps(name)}: {{\n{lines}\n}}")
    text = ",\n".join(blocks)
    partial = path.with_suffix(".part")
    partial.write_text(f"{{\n{text}\n}}\n", encoding="utf-8")
    partial.replace(path)


def train(results: dict[str, Any], path: Path, words: list[str]) -> None:
    """Two rows at a time, whose seeds share the processes: no processor waits for the last seed of a row."""
    todo = [
        (row, gamma, entry)
        for row in BOUNDARIES
        for gamma, entry in zip(row.gammas, row.entries, strict=True)
        if entry not in results.get(row.name, {}) and all(word in row.name for word in words)
    ]
    lock = threading.Lock()
    count = ff.num_threads()
    with (
        ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool,
        ThreadPoolExecutor(count) as threads,
    ):

        def work(row: Row, gamma: float | None, entry: str) -> None:
            found = trained(row, gamma, pool)
            with lock:
                results.setdefault(row.name, {})[entry] = found
                write(results, path)
                print(f"{row.name}, {entry}: eta_c {found['eta_c']}, {found['seconds']} s", flush=True)

        for each in [threads.submit(work, *task) for task in todo]:
            each.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="WORD", default=[], help="rows whose name has all these words")
    parser.add_argument("--redraw", action="store_true", help="train nothing")
    options = parser.parse_args()
    path = DOCS / "training.json"
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if not options.redraw:
        print(machine())
        train(results, path, options.only)


if __name__ == "__main__":
    main()
