# SPDX-License-Identifier: BSD-3-Clause
"""Does training explode where the theories say, and does a smaller gamma train better? All of docs/experiments.md.

    python bench/training.py                       # trains what docs/training.json does not hold: hours for all
    python bench/training.py --only fashion 1000   # of the rows whose name has all these words
    python bench/training.py --redraw              # trains nothing: tables and pictures from what is there

Fashion-MNIST must be installed (see `fisherfield.data.load`). Every row is a network, data and a way of training: its
boundary at every gamma by `ff.experiments.boundary`, or what it reaches by `ff.experiments.phase_diagram`. What has
been trained is kept in docs/training.json, network by network, and not trained again: a run that was stopped goes on
there, and a row that has changed is to be taken out of it. The tables go into docs/experiments.md, between marks, the
pictures to docs/training.png, docs/figure2.png and docs/figure2_fashion.png.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import re
import shutil
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, eigsh
from timing import machine

import fisherfield as ff
from fisherfield.plots.figures import STYLES
from fisherfield.theory.settings import Descent
from fisherfield.training.boundary import bisection, eta_stars
from fisherfield.training.recipe import Recipe, trainer

DOCS = Path(__file__).parents[1] / "docs"
GAMMAS = (0.25, 0.5, 1.0, 2.0, 4.0)
SEEDS = (0, 1, 2)

FULL = {"batch": "full", "epochs": 100}
CROSS = {"loss": "cross_entropy"}


def dense(inputs: int, width: int) -> ff.Network:
    return ff.mlp([inputs, width, width, width, 10])


DIGITS, IMAGES = ff.convnet((1, 8, 8), [30, 60], 10), ff.convnet((1, 28, 28), [30, 60, 90], 10)
BARE = dense(64, 256).replace(batch_norm=False)


def defaults(batch_norm: bool) -> ff.Network:
    """64-256-256-10 as PyTorch initialises it: torch.nn.Linear's variances, BatchNorm1d's gamma, beta and eps."""
    layers: list[Any] = []
    for fan_in, units in ((64, 256), (256, 256), (256, 10)):
        layers.append(ff.Dense(units, sigma_w2=1 / 3, sigma_b2=1 / (3 * fan_in)))
        if units > 10:
            layers += [ff.BatchNorm(eps=1e-5, trained=True)] if batch_norm else []
            layers.append(ff.Activation("relu"))
    return ff.Network(64, layers)


BATCHES = (4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512)
OTHERWISE = (8, 32, 128)  # batches that are also trained with other gammas, and without momentum


@dataclass(frozen=True)
class Row:
    """Boundaries at every gamma, each with every seed."""

    name: str
    net: ff.Network
    data: str
    arguments: dict[str, Any] = field(default_factory=dict)
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
    Row("digits, 256 units, Nesterov", dense(64, 256), "digits", {"nesterov": True}, (0.5, 1.0, 3.0)),
    Row("digits, 256 units, weight decay 5e-4", dense(64, 256), "digits", {"weight_decay": 5e-4}, (1.0,)),
    *(
        Row(
            f"digits, 256 units, batches of {batch}",
            dense(64, 256),
            "digits",
            {"batch": batch},
            (0.5, 1.0, 3.0) if batch in OTHERWISE else (1.0,),
        )
        for batch in BATCHES
    ),
    *(
        Row(
            f"digits, 256 units, batches of {batch}, no momentum",
            dense(64, 256),
            "digits",
            {"batch": batch, "momentum": 0.0},
            (1.0,),
        )
        for batch in OTHERWISE
    ),
    Row("digits, 256 units, vanilla, no momentum", BARE, "digits", {"momentum": 0.0}, (None,)),
    Row("digits, 256 units, vanilla, cross-entropy", BARE, "digits", CROSS, (None,)),
    Row("digits, 256 units, vanilla, cross-entropy, no momentum", BARE, "digits", {"momentum": 0.0, **CROSS}, (None,)),
    Row("digits, 1000 units, vanilla", dense(64, 1000).replace(batch_norm=False), "digits", {}, (None,)),
    *(
        Row(
            f"digits, PyTorch's defaults{' with BatchNorm' if batch_norm else ''}, {loss}, momentum {momentum}",
            defaults(batch_norm),
            "digits",
            {"batch": 64, "loss": loss, "momentum": momentum},
            (1.0,) if batch_norm else (None,),
        )
        for loss in ("mse", "cross_entropy")
        for batch_norm in (False, True)
        for momentum in (0.9, 0.0)
    ),
    Row("fashion-mnist, 256 units, trained", dense(784, 256), "fashion-mnist", {"train_affine": True}),
    Row("fashion-mnist, 256 units, full batch", dense(784, 256), "fashion-mnist", FULL),
    Row(
        "fashion-mnist, 256 units, features standardised", dense(784, 256), "fashion-mnist", {"standardize": "feature"}
    ),
    Row("fashion-mnist, 256 units, cross-entropy", dense(784, 256), "fashion-mnist", CROSS),
    Row("fashion-mnist, 1000 units", dense(784, 1000), "fashion-mnist"),
)


@dataclass(frozen=True)
class Map:
    """What training reaches over gamma and learning rate, the mean of three restarts."""

    name: str
    net: ff.Network
    data: str
    arguments: dict[str, Any] = field(default_factory=dict)
    rates: int = 13

    @property
    def learning_rates(self) -> NDArray[np.float64]:
        """From a tenth of the least eta_star of the squared loss to three times the greatest."""
        ends = [ff.max_learning_rate(self.net.replace(gamma=gamma), 0.9, samples=128) for gamma in (4.0, 0.25)]
        return np.geomspace(ends[0] / 10, 3 * ends[1], self.rates)


MAPS = (
    Map("losses of digits, 256 units, squared loss", dense(64, 256), "digits"),
    Map("losses of digits, 256 units, cross-entropy", dense(64, 256), "digits", CROSS),
    Map("losses of digits, 256 units, trained, squared loss", dense(64, 256), "digits", {"train_affine": True}),
    Map("losses of digits, convolutions, squared loss", DIGITS, "digits"),
    Map("losses of digits, convolutions, cross-entropy", DIGITS, "digits", CROSS),
    Map("losses of fashion-mnist, 256 units, squared loss", dense(784, 256), "fashion-mnist", {}, 11),
    Map("losses of fashion-mnist, 256 units, cross-entropy", dense(784, 256), "fashion-mnist", CROSS, 7),
)

# What becomes of F in the first steps of training, at these shares of the exact theory's eta_star.
STEPS, SHARES = (0, 1, 2, 4, 8, 16, 64, 256), (0.2, 0.6, 0.9)
FIRST_STEPS = "fashion-mnist, 256 units, first steps"

# Figure 2 by data, each written to a file of its own, which `fisherfield experiment figure2 --redraw` draws, too.
FIGURES: dict[str, dict[str, Any]] = {
    "figure2": {"data": "digits", "seeds": 3},
    "figure2_fashion": {"data": "fashion-mnist", "gammas": GAMMAS, "seeds": 3, "restarts": 1},
}


def trained(row: Row, gamma: float | None, pool: ProcessPoolExecutor) -> dict[str, Any]:
    net = row.net if gamma is None else row.net.replace(gamma=gamma)
    result = ff.experiments.boundary(net, row.data, seeds=SEEDS, threads=1, client=pool, **row.arguments)
    return {
        "eta_c": [plain(value) for value in result.eta_c],
        "measured": [plain(value) for value in result.measured],
        "eta_star": {name: plain(value) for name, value in result.eta_star.items()},
        "eta_star_all": {name: plain(value) for name, value in result.eta_star_all.items()},
        "settings": result.settings,
        "seconds": round(result.seconds),
    }


def reached(row: Map, pool: ProcessPoolExecutor) -> dict[str, Any]:
    result = ff.experiments.phase_diagram(
        row.net,
        row.data,
        GAMMAS,
        row.learning_rates,
        seeds=SEEDS,
        threads=1,
        client=pool,
        progress=True,
        **row.arguments,
    )
    arrays = {name: [[plain(value) for value in values] for values in array] for name, array in result.arrays.items()}
    overlap, length = ff.data.overlap_and_length(ff.data.load(row.data))
    net = row.net.replace(trained=row.arguments.get("train_affine", False))
    stars = [
        ff.max_learning_rate(net.replace(gamma=gamma), 0.9, samples=128, overlap=overlap, length=length)
        for gamma in GAMMAS
    ]
    return {
        "eta_star": [plain(star) for star in stars],
        "learning_rate": [plain(value) for value in result.learning_rate],
        **arrays,
        "settings": result.settings,
        "seconds": round(result.seconds),
    }


DRAWN = "digits, PyTorch's defaults, drawn by PyTorch, {}, momentum {}"  # five seeds: weights are uniform there
DRAWINGS = (("mse", 0.9), ("mse", 0.0), ("cross_entropy", 0.9))


def drawn(loss: str, momentum: float) -> dict[str, dict[str, Any]]:
    """The boundary of `defaults(False)` with weights and biases that torch.nn.Linear has drawn, batches of 64."""
    import torch

    net, batch, tolerance, reach = defaults(False), 64, 0.02, 100.0
    training = trainer()
    recipe = Recipe("digits", "global", None, Descent(loss, momentum), batch=batch, epochs=5)
    samples = training.loaded(recipe, net)
    eta_c, measured = [], []
    for seed in range(5):
        torch.manual_seed(seed)
        layers = [torch.nn.Linear(fan_in, units) for fan_in, units in ((64, 256), (256, 256), (256, 10))]
        sampled = ff.sample(net, seed, "float32")
        sampled.weights = [layer.weight.detach().numpy().copy() for layer in layers]
        sampled.biases = [layer.bias.detach().numpy().copy() for layer in layers]
        star = ff.sampled_fisher(sampled, samples.x.numpy(), loss=loss, tolerance=1e-3).max_learning_rate(momentum)
        with training.threaded(1):
            ends = bisection(
                lambda eta, sampled=sampled: training.explodes(sampled, eta, recipe, samples),
                *(star, tolerance, star / reach, star * reach),
            )
        eta_c.append(float(np.sqrt(ends[0] * ends[1])))
        measured.append(star)
    dataset = samples.dataset
    settings = {"data": dataset.name, "standardize": dataset.standardize, "n": len(samples), "loss": loss}
    settings |= {"momentum": momentum, "batch": batch, "epochs": 5, "threshold": 1000.0, "trained": None}
    settings |= {"overlap": dataset.overlap, "length": dataset.length, "tolerance": tolerance, "reach": reach}
    return {"no BatchNorm": starts_entry(eta_c, measured, settings)}


def starts_entry(eta_c: list[float], measured: list[float], settings: dict[str, Any]) -> dict[str, Any]:
    """As `trained` writes one."""
    descent = Descent(settings["loss"], settings["momentum"])
    stars = [
        eta_stars(defaults(False), descent, n, settings["overlap"], settings["length"])
        for n in (settings["batch"], settings["n"])
    ]
    return {
        "eta_c": [plain(value) for value in eta_c],
        "measured": [plain(value) for value in measured],
        **{
            name: {theory: plain(value) for theory, value in star.items()}
            for name, star in zip(("eta_star", "eta_star_all"), stars, strict=True)
        },
        "settings": settings,
    }


def first_steps() -> dict[str, Any]:
    """lambda_max of F, the last layer's and the first layer's during training: of 2048 samples, gamma 1, seed 0.

    The last layer's block of F has the non-zero eigenvalues of (H H^T + 1)/n, once an output; H holds what the layer is
    fed, and the 1 is of the biases. Beside the first layer's stands what it would be if only the statistics of its
    units had changed.
    """
    import torch

    net = dense(784, 256)
    data = ff.data.load("fashion-mnist", samples=6000, shape=net)
    overlap, length = ff.data.overlap_and_length(data)
    star = ff.max_learning_rate(net, 0.9, samples=128, overlap=overlap, length=length)
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.one_hot())
    measured = data.x[:2048]
    eigenvalues: dict[str, Any] = {}
    for share in SHARES:
        sampled = ff.sample(net, 0)
        model = ff.torch.module(sampled)
        free = [parameter for parameter in model.parameters() if parameter.requires_grad]
        descent = torch.optim.SGD(free, lr=share * star, momentum=0.9)
        orders = np.random.default_rng(0)
        rows = []
        for step in range(max(STEPS) + 1):
            if step in STEPS:
                affine = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
                sampled.weights = [layer.weight.detach().numpy() for layer in affine]
                sampled.biases = [layer.bias.detach().numpy() for layer in affine]
                with torch.no_grad():
                    fed = model[:-1](torch.from_numpy(measured)).numpy()
                largest = ff.sampled_fisher(sampled, measured, tolerance=1e-3).eigenvalues[0]
                last = np.linalg.eigvalsh((fed @ fed.T + 1) / len(fed))[-1]
                first, kept = first_block(model, measured), kept_by_batch_norm(sampled.weights[0], measured)
                assert max(last, first) <= largest * 1.002  # no block exceeds all of F; two tolerances of 1e-3
                rows.append([largest, last, first, kept])
            part = torch.from_numpy(orders.permutation(len(x))[:128])
            descent.zero_grad()
            (0.5 * (model(x[part]) - y[part]).square().sum(dim=1).mean()).backward()
            descent.step()
        blocks = np.array(rows)
        blocks[:, 3] *= blocks[0, 2] / blocks[0, 3]
        eigenvalues[f"{share:g}"] = [[plain(value) for value in row] for row in blocks]
    theory = ff.fisher(net, samples=128, overlap=overlap, length=length)
    shares = (theory.layers.a + 127 * theory.layers.b) / 128
    return {"exact": plain(theory.lambda_max), "exact, last layer": plain(shares[-1]), **eigenvalues}


def first_block(model: Any, x: NDArray[np.float64]) -> float:
    """The largest eigenvalue of the first layer's block of F, from products J^T (J v) / n with its Jacobian J."""
    import torch
    from torch.func import functional_call, jvp, vjp

    model = copy.deepcopy(model)
    for layer in model:
        if isinstance(layer, torch.nn.BatchNorm1d):  # nothing may be counted while torch.func differentiates
            layer.running_mean = layer.running_var = layer.num_batches_tracked = None
    weight, inputs = model[0].weight.detach(), torch.from_numpy(x)

    def outputs(changed: torch.Tensor) -> torch.Tensor:
        return functional_call(model, {"0.weight": changed}, (inputs,))

    _, transposed = vjp(outputs, weight)

    def product(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        _, along = jvp(outputs, (weight,), (torch.from_numpy(vector.reshape(weight.shape)),))
        return transposed(along / len(x))[0].detach().numpy().ravel()

    operator = LinearOperator((weight.numel(),) * 2, matvec=product, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(weight.numel())
    return float(eigsh(operator, k=1, v0=start, tol=1e-3, return_eigenvectors=False)[0])


def kept_by_batch_norm(weight: NDArray[np.float64], x: NDArray[np.float64]) -> float:
    """What BatchNorm leaves of the inputs' covariance C: the largest eigenvalue of the mean of C/s^2 - C w w^T C/s^4.

    w is a unit's weights and s^2 = w^T C w. Its pre-activations change by x v for a change v of w; BatchNorm divides
    by s, and takes away the mean and what is parallel to the pre-activations.
    """
    covariance = np.cov(x, rowvar=False, bias=True)
    along = covariance @ weight.T
    s2 = np.sum(weight.T * along, axis=0)
    remaining = covariance * np.mean(1 / s2) - (along / s2**2) @ along.T / len(s2)
    return float(np.linalg.eigvalsh(remaining)[-1])


def plain(value: float) -> float | str | None:
    """To five digits; JSON has neither infinity nor NaN."""
    if np.isnan(value):
        return None
    return float(f"{value:.5g}") if np.isfinite(value) else "inf"


def write(results: dict[str, Any], path: Path) -> None:
    """A line for each network."""
    blocks = []
    for name, entries in results.items():
        lines = ",\n".join(f"  {json.dumps(entry)}: {json.dumps(result)}" for entry, result in entries.items())
        blocks.append(f"{json.dumps(name)}: {{\n{lines}\n}}")
    text = ",\n".join(blocks)
    partial = path.with_suffix(".part")
    partial.write_text(f"{{\n{text}\n}}\n", encoding="utf-8")
    partial.replace(path)


def train(results: dict[str, Any], path: Path, words: list[str]) -> None:
    count = ff.num_threads()
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        train_boundaries(results, path, words, pool, count)
        for row in MAPS:
            if row.name not in results and all(word in row.name for word in words):
                results[row.name] = reached(row, pool)
                write(results, path)
                print(f"{row.name}: {results[row.name]['seconds']} s", flush=True)
        for loss, momentum in DRAWINGS:
            name = DRAWN.format(loss, momentum)
            if name not in results and all(word in name for word in words):
                results[name] = drawn(loss, momentum)
                write(results, path)
        if FIRST_STEPS not in results and all(word in FIRST_STEPS for word in words):
            results[FIRST_STEPS] = first_steps()
            write(results, path)
        for name, options in FIGURES.items():
            kept = DOCS / f"{name}.json"
            if not kept.exists() and all(word in name for word in words):
                print(name, flush=True)
                store = path.parent / f"{name}_runs"  # what was stopped goes on there
                ff.experiments.figure2(**options, threads=1, client=pool, store=store, progress=True).save(kept)
                shutil.rmtree(store)


def train_boundaries(
    results: dict[str, Any], path: Path, words: list[str], pool: ProcessPoolExecutor, count: int
) -> None:
    """Two rows at a time, whose seeds share the processes: no processor waits for the last seed of a row."""
    todo = [
        (row, gamma, entry)
        for row in BOUNDARIES
        for gamma, entry in zip(row.gammas, row.entries, strict=True)
        if entry not in results.get(row.name, {}) and all(word in row.name for word in words)
    ]
    lock = threading.Lock()

    def work(row: Row, gamma: float | None, entry: str) -> None:
        result = trained(row, gamma, pool)
        with lock:
            results.setdefault(row.name, {})[entry] = result
            write(results, path)
            print(f"{row.name}, {entry}: eta_c {result['eta_c']}, {result['seconds']} s", flush=True)

    with ThreadPoolExecutor(count) as threads:
        try:
            for each in [threads.submit(work, *task) for task in todo]:
                each.result()
        finally:
            threads.shutdown(cancel_futures=True)


# ----------------------------------------------------------------------------------------------------------- the tables

THEORIES = {"exact": "exact", "wei2019": "wei2019", "frozen": "frozen", "measured": "F measured"}
NETWORKS = {
    "digits, 256 units": "digits, 3 x 256 units",
    "digits, 1000 units": "digits, 3 x 1000 units",
    "digits, convolutions": "digits, convolutions 30, 60",
    "fashion-mnist, 256 units": "Fashion-MNIST, 3 x 256 units",
    "fashion-mnist, 1000 units": "Fashion-MNIST, 3 x 1000 units",
    "fashion-mnist, convolutions": "Fashion-MNIST, convolutions 30, 60, 90",
}
SETTINGS = (
    ("digits, 256 units, full batch", "digits, 3 x 256 units, full batch, 100 steps"),
    ("digits, 256 units, no momentum", "digits, 3 x 256 units, no momentum"),
    ("digits, 256 units, features standardised", "digits, 3 x 256 units, each feature standardised"),
    ("digits, 256 units, trained", "digits, 3 x 256 units, gamma and beta trained"),
    ("digits, 256 units, trained, full batch", "the same, full batch, 100 steps"),
    ("digits, 1000 units, trained", "digits, 3 x 1000 units, gamma and beta trained"),
    ("digits, convolutions, trained", "digits, convolutions, gamma and beta trained"),
    ("fashion-mnist, 256 units, full batch", "Fashion-MNIST, 3 x 256 units, full batch, 100 steps"),
    ("fashion-mnist, 256 units, features standardised", "Fashion-MNIST, 3 x 256 units, each feature standardised"),
    ("fashion-mnist, 256 units, trained", "Fashion-MNIST, 3 x 256 units, gamma and beta trained"),
    ("digits, 256 units, cross-entropy", "digits, 3 x 256 units, cross-entropy"),
    ("digits, 256 units, trained, cross-entropy", "the same, gamma and beta trained"),
    ("fashion-mnist, 256 units, cross-entropy", "Fashion-MNIST, 3 x 256 units, cross-entropy"),
)
HEAD = [entry_of(gamma) for gamma in GAMMAS]


def of_figure(result: ff.experiments.Figure2, title: str) -> dict[str, Any]:
    """A panel's boundaries as a row of docs/training.json."""
    panel, stars = result.panels[title], result.eta_star(title)
    return {
        entry_of(float(gamma)): {
            "eta_c": panel.eta_c[place].tolist(),
            "measured": panel.measured[place].tolist(),
            "eta_star": {name: float(values[place]) for name, values in stars.items()},
        }
        for place, gamma in enumerate(panel.gammas)
    }


def ratios(entry: dict[str, Any], theory: str) -> NDArray[np.float64]:
    """eta_c over eta_star, one a seed; of the F measured each seed's own."""
    eta_c = np.array(entry["eta_c"], np.float64)
    return eta_c / np.array(entry["measured"] if theory == "measured" else entry["eta_star"][theory], np.float64)


def spread(values: NDArray[np.float64]) -> str:
    """The least and the greatest of the seeds."""
    low, high = (f"{value:.3g}" if value >= 10 else f"{value:.2f}" for value in (values.min(), values.max()))
    if np.isinf(values).any():
        return "none" if np.isinf(values).all() else f"{low}, none"
    return low if low == high else f"{low}–{high}"


def lines_of(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown, numbers to the right."""
    marks = ["---", *["---:" if cell[:1] in "0123456789.n" else "---" for cell in rows[0][1:]]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, marks, *rows))


def networks_table(results: dict[str, Any]) -> str:
    rows = []
    for name, title in NETWORKS.items():
        for place, (theory, words) in enumerate(THEORIES.items()):
            cells = [spread(ratios(results[name][gamma], theory)) for gamma in HEAD]
            rows.append(["" if place else title, words, *cells])
    return lines_of(["network", "eta_c over eta_star of", *HEAD], rows)


def settings_table(results: dict[str, Any]) -> str:
    rows = [[title, *[spread(ratios(results[name][gamma], "exact")) for gamma in HEAD]] for name, title in SETTINGS]
    return lines_of(["eta_c over the exact theory's eta_star", *HEAD], rows)


def over_all(entry: dict[str, Any]) -> NDArray[np.float64]:
    """eta_c over the exact theory's eta_star at all samples of the data."""
    return np.array(entry["eta_c"], np.float64) / float(entry["eta_star_all"]["exact"])


def batches_table(results: dict[str, Any]) -> str:
    rows = []
    for batch in BATCHES:
        entry = results[f"digits, 256 units, batches of {batch}"]["1"]
        share = float(entry["eta_star"]["exact"]) / float(entry["eta_star_all"]["exact"])
        rows.append([f"{batch}", spread(ratios(entry, "exact")), spread(over_all(entry)), f"{share:.2f}"])
    head = ["batch", "n = batch", "n = all 1437", "eta_star at n = batch over that at all"]
    return lines_of(head, rows)


def other_batches_table(results: dict[str, Any]) -> str:
    kinds = (("gamma 0.5", "", "0.5"), ("gamma 3", "", "3"), ("no momentum", ", no momentum", "1"))
    rows = []
    for words, end, gamma in kinds:
        for place, (name, ratio) in enumerate((("n = batch", lambda entry: ratios(entry, "exact")), ("all", over_all))):
            entries = [results[f"digits, 256 units, batches of {batch}{end}"][gamma] for batch in OTHERWISE]
            rows.append(["" if place else words, name, *[spread(ratio(entry)) for entry in entries]])
    return lines_of(["", "eta_c over eta_star at", *(f"{batch}" for batch in OTHERWISE)], rows)


def starts_table(results: dict[str, Any]) -> str:
    """Networks without BatchNorm, and as PyTorch initialises them, beside the exact theory asked in three ways."""
    bare, start = "digits, {} units, vanilla{}", "digits, PyTorch's defaults{}, {}, momentum {}"
    lines: list[tuple[str, str, str, str, ff.Network]] = []
    for width, end, words in (
        (256, "", "squared error, 0.9"),
        (1000, "", "squared error, 0.9"),
        (256, ", no momentum", "squared error, 0"),
        (256, ", cross-entropy", "cross-entropy, 0.9"),
        (256, ", cross-entropy, no momentum", "cross-entropy, 0"),
    ):
        net = dense(64, width).replace(batch_norm=False)
        lines.append((bare.format(width, end), f"3 x {width} units", words, "no BatchNorm", net))
    for norm, title, gamma in (
        ("", "64-256-256-10", "no BatchNorm"),
        (" with BatchNorm", "64-256-256-10, BatchNorm", "1"),
    ):
        for loss, words in (("mse", "MSELoss"), ("cross_entropy", "cross-entropy")):
            for momentum in ("0.9", "0.0"):
                name = start.format(norm, loss, momentum)
                lines.append((name, title, f"{words}, {float(momentum):g}", gamma, defaults(bool(norm))))
        for loss, momentum in () if norm else DRAWINGS:
            words = f"{'MSELoss' if loss == 'mse' else 'cross-entropy'}, {momentum:g}"
            lines.append((DRAWN.format(loss, momentum), "the same, drawn by PyTorch", words, gamma, defaults(False)))
    rows = []
    for name, title, words, gamma, net in lines:
        entry = results[name][gamma]
        settings = entry["settings"]
        alone, data = {"loss": settings["loss"]}, {name: settings[name] for name in ("overlap", "length")}
        asked = ff.max_learning_rate(net, settings["momentum"], samples=settings["batch"], **alone, **data)
        unasked, eta_c = ff.max_learning_rate(net, settings["momentum"], **alone), np.array(entry["eta_c"], np.float64)
        cells = [eta_c / asked, eta_c / unasked, ratios(entry, "measured")]
        rows.append([title, words, *map(spread, cells)])
    return lines_of(["network", "loss, momentum", "its data", "overlap 0, infinite data", "F measured"], rows)


def optimisers_table(results: dict[str, Any]) -> str:
    heads = ("0.5", "1", "3")
    kinds = (
        ("heavy ball", "digits, 256 units, batches of 128"),
        ("Nesterov", "digits, 256 units, Nesterov"),
        ("heavy ball, weight decay 5e-4", "digits, 256 units, weight decay 5e-4"),
    )
    rows = [
        [words, *[spread(ratios(results[name][gamma], "exact")) if gamma in results[name] else "" for gamma in heads]]
        for words, name in kinds
    ]
    return lines_of(["eta_c over the exact theory's eta_star", *heads], rows)


def stable(result: dict[str, Any], name: str) -> NDArray[np.float64]:
    """NaN where a restart exploded."""
    return np.where(np.array(result["exploded"]) > 0, np.nan, np.array(result[name], np.float64))


def maps_table(results: dict[str, Any]) -> str:
    rows = []
    for row in MAPS:
        result = results[row.name]
        for place, (name, words, chosen) in enumerate(
            (
                ("train_loss", "training loss", np.nanmin),
                ("test_loss", "test loss", np.nanmin),
                ("test_accuracy", "test accuracy", np.nanmax),
            )
        ):
            cells = [f"{value:.3g}" for value in chosen(stable(result, name), axis=1)]
            rows.append(["" if place else row.name.removeprefix("losses of "), words, *cells])
    return lines_of(["", "best", *HEAD], rows)


def rates_table(results: dict[str, Any]) -> str:
    """The best rate, and the loss at the rate tried that is nearest to half of eta_star, where no restart exploded."""
    rows = []
    for row in MAPS:
        if "loss" in row.arguments:
            continue
        result = results[row.name]
        rates, losses = np.array(result["learning_rate"]), stable(result, "test_loss")
        best = rates[np.nanargmin(losses, axis=1)] / np.array(result["eta_star"])
        away = np.abs(np.log(rates / (np.array(result["eta_star"])[:, None] / 2)))
        half = np.array([line[place] for line, place in zip(losses, away.argmin(axis=1), strict=True)])
        name = row.name.removeprefix("losses of ").removesuffix(", squared loss")
        rows.append([name, "best rate over eta_star", *[f"{ratio:.2g}" for ratio in best]])
        cells = ["exploded" if np.isnan(ratio) else f"{ratio:.2f}" for ratio in half / np.nanmin(losses, axis=1)]
        rows.append(["", "loss at half of eta_star over the least", *cells])
    return lines_of(["", "exact theory", *HEAD], rows)


BLOCKS = ("largest eigenvalue", "last layer's", "first layer's", "first layer's, by its statistics alone")


def steps_table(results: dict[str, Any]) -> str:
    result = results[FIRST_STEPS]
    rows = [
        [f"{share:g} eta_star: {words}", *[f"{row[place]:.1f}" for row in result[f"{share:g}"]]]
        for share in SHARES
        for place, words in enumerate(BLOCKS)
    ]
    return lines_of(["after so many steps", *map(str, STEPS)], rows)


TABLES = {
    "networks": networks_table,
    "batches": batches_table,
    "other batches": other_batches_table,
    "starts": starts_table,
    "optimisers": optimisers_table,
    "settings": settings_table,
    "maps": maps_table,
    "rates": rates_table,
    "steps": steps_table,
}


def with_tables(text: str, results: dict[str, Any]) -> str:
    """The page with its tables made anew."""
    for name, made in TABLES.items():
        block = re.compile(rf"(<!-- table {name} -->\n).*?(?=\n<!-- end -->)", flags=re.S)
        assert len(block.findall(text)) == 1, name
        table = made(results)
        text = block.sub(lambda match, table=table: match[1] + table, text)
    return text


def read() -> dict[str, Any]:
    """docs/training.json and the boundaries of figure 2."""
    results: dict[str, Any] = json.loads((DOCS / "training.json").read_text(encoding="utf-8"))
    fashion = ff.experiments.Figure2.open(DOCS / "figure2_fashion.json")
    names = ("fashion-mnist, 256 units", "fashion-mnist, convolutions")
    return results | {name: of_figure(fashion, title) for name, title in zip(names, fashion.panels, strict=True)}


# ---------------------------------------------------------------------------------------------------------- the picture


def draw(results: dict[str, Any], path: Path) -> None:
    import matplotlib
    from matplotlib.figure import Figure

    styles = {**STYLES, "measured": {"color": "black", "linestyle": (0, (1.2, 1.4)), "linewidth": 2.0}}
    with matplotlib.rc_context({"font.size": 13, "axes.labelsize": 14, "axes.titlesize": 14}):
        figure = Figure(figsize=(16, 9.6), dpi=100, layout="constrained")
        panels = figure.subplots(2, 3, sharex=True, sharey=True)
        for axes, (name, title) in zip(panels.flat, NETWORKS.items(), strict=True):
            axes.axhline(1, color="black", linewidth=1)
            for theory, words in THEORIES.items():
                each = np.array([ratios(results[name][gamma], theory) for gamma in HEAD])
                mean = np.exp(np.log(each).mean(axis=1))
                axes.plot(GAMMAS, mean, label=f"$\\eta^*$ {words}", **styles[theory])
                axes.plot(GAMMAS, each, linestyle="none", marker="o", markersize=5, color=styles[theory]["color"])
            axes.set(xscale="log", yscale="log", title=title)
            axes.set_xticks(GAMMAS, HEAD)
            axes.set_xticks([], minor=True)
            axes.set_yticks([0.25, 0.5, 1, 2, 4], ["0.25", "0.5", "1", "2", "4"])
            axes.set_yticks([], minor=True)
            axes.grid(True, color="0.9", linewidth=0.8)
            axes.set_axisbelow(True)
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
        for axes in panels[1]:
            axes.set_xlabel(r"BatchNorm's scale $\gamma$")
        for axes in panels[:, 0]:
            axes.set_ylabel(r"training explodes at $\eta_c/\eta^*$")
        handles, names = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=4, frameon=False)
        figure.savefig(path, dpi=100)


def redraw() -> None:
    """Tables and pictures from what is there."""
    results = read()
    page = DOCS / "experiments.md"
    page.write_text(with_tables(page.read_text(encoding="utf-8"), results), encoding="utf-8")
    draw(results, DOCS / "training.png")
    for name in FIGURES:
        ff.experiments.Figure2.open(DOCS / f"{name}.json").plot().savefig(DOCS / f"{name}.png", dpi=150)


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
    if options.redraw or not options.only:
        redraw()


if __name__ == "__main__":
    main()
