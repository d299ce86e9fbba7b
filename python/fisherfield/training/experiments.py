# SPDX-License-Identifier: BSD-3-Clause
"""Training beside theory: at which learning rate it explodes, and what it reaches below. Needs PyTorch."""

from __future__ import annotations

import json
import math
import os
import re
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import _core, _labels, _numbers
from .. import data as datasets
from ..network import Network, convnet, mlp
from ..network.toml import from_toml
from ..sampled import sampled_fisher
from ..sampled.network import draw
from ..scan import Scan
from ..scan.chunks import Arrays, Pause, Status
from ..scan.grid import Axis, Box, Grid, Slot
from ..scan.scan import bar, carried_out
from ..theory import max_learning_rate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Boundary", "Figure2", "boundary", "figure2", "phase_diagram"]

_MEASURED, _ERROR = 2048, 1e-3  # samples that F is measured on, and the relative error of its eigenvalue
_BATCH = 128
_SPREAD = 26  # characters of a mean and its range
_LOSS = 1e30  # the largest threshold: in float32 losses end at 3e38
_SHORT = 5  # a boundary is looked for in the first fifth of the epochs before it is in all


def _training() -> Any:
    """What trains; PyTorch is imported there."""
    try:
        from . import descent
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError("training needs PyTorch: pip install 'fisherfield[torch]'") from None
    return descent


@dataclass(frozen=True, eq=False, repr=False)
class Boundary:
    """The learning rate at which training explodes, beside eta_star.

    Attributes
    ----------
    network : Network
    seeds : tuple of int
    eta_c : ndarray, (seeds,)
        Of each seed: inf where training stood all rates that were tried, 0 where none.
    measured : ndarray, (seeds,)
        2 (1 + momentum)/lambda_max, lambda_max of the sampled network's F at the start.
    eta_star : dict
        By theory ("exact", "frozen", "wei2019", without those that do not cover the network), for as many samples as a
        step has, and by "measured", here the geometric mean over the seeds.
    ratios : dict
        By the same names eta_c over eta_star, one a seed; "measured" is each seed's own.
    settings : dict
        data, standardize, n, checksum, loss, momentum, nesterov, weight_decay, batch, epochs, threshold, dtype,
        trained, overlap, length, tolerance, reach.
    seconds : float
    eta_star_all : dict
        By theory, for all samples of the data.
    ratios_all : dict
        By the same names eta_c over that, one a seed.
    """

    network: Network
    seeds: tuple[int, ...]
    eta_c: NDArray[np.float64]
    measured: NDArray[np.float64]
    eta_star: dict[str, float]
    settings: dict[str, Any]
    seconds: float = 0.0
    eta_star_all: dict[str, float] = field(default_factory=dict)

    @property
    def ratios(self) -> dict[str, NDArray[np.float64]]:
        """eta_c over eta_star."""
        return {**self._over(self.eta_star), "measured": self.eta_c / self.measured}

    @property
    def ratios_all(self) -> dict[str, NDArray[np.float64]]:
        """eta_c over eta_star at all samples of the data."""
        return self._over(self.eta_star_all)

    def _over(self, rates: Mapping[str, float]) -> dict[str, NDArray[np.float64]]:
        with np.errstate(invalid="ignore"):  # inf over inf: where a theory allows every rate, and training did
            return {name: self.eta_c / float(rate) for name, rate in rates.items()}

    def __repr__(self) -> str:
        given = self.settings
        fixed = {True: "gamma and beta trained", False: "gamma and beta fixed", None: "no BatchNorm"}[given["trained"]]
        how = {"global": "standardised as a whole", "feature": "standardised feature by feature"}
        batches = f"batches of {given['batch']} of {given['n']}" if given["batch"] else f"full batches of {given['n']}"
        several = len(self.seeds) > 1
        lines = [
            f"Boundary of training on {given['data']}, {how.get(given['standardize'], 'not standardised')}: loss "
            f"{given['loss']}, {', '.join(_labels.descent(given))},",
            f"  {batches} samples, {given['epochs']} epoch{'s' * (given['epochs'] != 1)}, {fixed}; exploded: loss "
            f"above {given['threshold']:.4g} times the first, or not finite",
            f"  eta_c {_spread(self.eta_c)}, to {100 * given['tolerance']:g} %, "
            + (f"seeds {', '.join(map(str, self.seeds))}" if several else f"seed {self.seeds[0]}"),
        ]
        every = self.eta_star_all if given["batch"] else {}
        step = f"n = {given['batch']}" if every else ""
        head = f"  {'eta_star of':<14}{step:>12}   {'eta_c/eta_star':<{_SPREAD}}"
        lines.append(f"{head}{'n = ' + str(given['n']):>12}   eta_c/eta_star" if every else head.rstrip())
        for name, rate in self.eta_star.items():
            words = "F measured" if name == "measured" else name
            line = f"  {words:<14}{float(rate):>12.5g}   {_spread(self.ratios[name]):<{_SPREAD}}"
            if name in every:
                line += f"{float(every[name]):>12.5g}   {_spread(self.ratios_all[name])}"
            lines.append(line.rstrip())
        if np.isinf(self.eta_c).any():
            lines.append(f"  none: all rates were stood, up to {given['reach']:g} times eta_star of F measured")
        return "\n".join(lines)


def _spread(values: NDArray[np.float64]) -> str:
    """The mean of several, least and greatest; inf is none."""
    finite = values[np.isfinite(values)]
    absent = values.size - finite.size
    if not finite.size:
        return "none"
    if finite.min() == finite.max():
        said = f"{finite[0]:.4g}"
    else:
        said = f"{finite.mean():.4g} ({finite.min():.4g} to {finite.max():.4g})"
    return f"{said}, none for {absent} of {values.size} seeds" if absent else said


def threshold_of(momentum: float) -> float:
    """1000, and above mu = 0.9 1000 ((1 + mu)/(19 (1 - mu)))^2: see `boundary`."""
    return min(1000.0 * ((1 + momentum) / (19 * (1 - momentum))) ** 2, _LOSS) if momentum > 0.9 else 1000.0


def boundary(
    net: Network,
    data: Any,
    momentum: float = 0.9,
    loss: str = "sum",
    batch: int | str = _BATCH,
    epochs: int = 5,
    train_affine: bool | None = None,
    seeds: Any = (0,),
    standardize: str | None = "global",
    threshold: float | None = None,
    tolerance: float = 0.02,
    samples: int | None = None,
    reach: float = 100.0,
    dtype: str = "float32",
    threads: int | None = None,
    store: Any = None,
    client: Any = None,
    progress: bool | Callable[[int, int], object] = False,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Boundary:
    """eta_c, the learning rate at which training explodes, beside eta_star = 2 (1 + momentum)/lambda_max.

    Parameters
    ----------
    net : Network
        The weights of each seed are those of `sample(net, seed)`.
    data : str, path, pair of arrays or Data
        As `fisherfield.data.load` takes them, or what it has given, which stays standardised as it was. Squared losses
        train for one-hot labels; with one output for the label itself; or, of a pair (X, y), for targets y of shape
        (n, outputs).
    momentum : float
        mu of theta_{t+1} = theta_t - eta grad L + mu (theta_t - theta_{t-1}), which is `torch.optim.SGD`.
    loss : {"sum", "mean", "mse", "cross_entropy"}
        As in `max_learning_rate`.
    batch : int or "full"
        Samples a step, in an order that is drawn anew in each epoch; what does not fill a batch is left out of it.
    epochs : int
        With "full" an epoch is a single step: give some hundreds.
    train_affine : bool, optional
        Whether gamma and beta are trained. None: as described.
    seeds : int or sequence of int
        Of weights and of the order of samples: so many from 0 on, or these.
    standardize : {"global", "feature", None}
    threshold : float, optional
        Training has exploded when the loss of a step exceeds so many times the first, or is not finite. By default
        1000, and more for momentum > 0.9: see the notes.
    tolerance : float
        In [1e-4, 0.5]: how near together the greatest learning rate that was stood and the least that was not must be.
    samples : int, optional
        So many of the data's; None: all.
    reach : float
        Rates are tried from 1/reach to reach times the eta_star of the F that was measured.
    dtype : {"float32", "float64"}
    threads : int, optional
        PyTorch's; by default `num_threads()`.
    store : path, optional
        A Zarr folder, written seed by seed: a search that was stopped goes on there when it is called again with the
        same arguments.
    client : dask.distributed.Client or concurrent.futures.Executor, optional
        Who trains, each seed a task of its own.
    progress : bool or callable
        True shows a bar; a callable hears (seeds done, seeds in all).
    nesterov, weight_decay
        As in `max_learning_rate`. Whatever is trained decays: weights, biases, gamma and beta.

    Returns
    -------
    Boundary

    Raises
    ------
    ValueError, TypeError
        For arguments out of range, for data that do not fit the network, and for the store of another search.
    OSError
        For a store that cannot be written, or that another call writes to.
    ImportError
        Without PyTorch, without scikit-learn for "digits", or without zarr for a store.

    Notes
    -----
    **The criterion.** On a quadratic with eigenvalue lambda descent is stable below eta lambda = 2 (1 + mu), and still
    overshoots there: with x = eta lambda, x_{t+1} = (1 + mu - x) x_t - mu x_{t-1} has at the boundary the roots -1 and
    -mu, and from rest the amplitude tends to (1 + mu)/(1 - mu), 19 at mu = 0.9: a loss of 361 times the first that is
    no explosion. "Ten times the first loss" and "the loss rises at once" therefore find other, smaller numbers. 1000
    leaves room for that overshoot; above mu = 0.9 it grows with ((1 + mu)/(1 - mu))^2, and the default with it. Beyond
    the boundary the amplitude grows by about 2 (eta/eta_star - 1) (1 + mu)/(1 - mu) a step, so that 2 % are seen within
    some ten steps at mu = 0.9, and within a hundred without momentum.

    **The search** is by bisection between a rate that is stood and one that is not, first in the first fifth of the
    epochs, for what explodes there explodes in all. Networks without BatchNorm may explode, leap over and stand a still
    larger rate: then it finds one of several boundaries. Under cross-entropy there is often none.

    **The theories** are asked for as many samples as a step has, whose mean and variance BatchNorm takes, with the
    overlap and the length of the data; for "wei2019", as published, infinitely many. Beside it stands what they say for
    all samples (`eta_star_all`). F is measured on all samples at once, or on 2048 of them: modes of a single batch that
    others do not share do not grow.

    Source: Wei, Stokes and Schwab (2019), section 4 and eq. 7, where the criterion is not given.

    Examples
    --------
    >>> ff.experiments.boundary(ff.mlp([64, 256, 256, 256, 10]), "digits", seeds=3)
    """
    net, recipe = _recipe(
        *(net, data, momentum, loss, batch, epochs, train_affine, standardize, threshold, samples, dtype),
        *(nesterov, weight_decay),
    )
    chosen = _numbers.seeds_of(seeds)
    search = _Search(_within("tolerance", tolerance, 1e-4, 0.5), _within("reach", reach, 2.0, 1e6))
    many = 0 if threads is None else _numbers.integer("threads", threads, 1, 4096)
    client = _numbers.client_of(client)
    begin = time.perf_counter()
    with _heard(progress, "seeds") as told:
        found = boundaries(net, recipe, None, chosen, search, many, store, client, told)
    train = _training().loaded(recipe, net)
    recipe = _fitting(recipe, len(train))
    overlap, length = train.source.overlap, train.source.length
    measured = np.asarray(found.measured[...])
    descent = {"nesterov": recipe.nesterov, "weight_decay": recipe.weight_decay}
    stars, every = (
        eta_stars(net, recipe.momentum, recipe.loss, n, overlap, length, **descent)
        for n in (recipe.batch or len(train), len(train))
    )
    stars["measured"] = float(np.exp(np.mean(np.log(measured))))
    settings = {**_settings(net, recipe, train), "overlap": overlap, "length": length, **asdict(search)}
    eta_c = np.asarray(found.eta_c[...])
    return Boundary(net, chosen, eta_c, measured, stars, settings, time.perf_counter() - begin, every)


def _heard(progress: Any, noun: str) -> AbstractContextManager[Callable[[int, int], object]]:
    """Who hears (done, in all): a bar, the caller, or nobody."""
    say = _numbers.progress_of(progress)
    return bar(noun=noun) if say is True else nullcontext(say or (lambda done, total: None))


@dataclass(frozen=True)
class _Search:
    """How near the boundary is found, and how far it is looked for."""

    tolerance: float = 0.02
    reach: float = 100.0


@dataclass(frozen=True)
class _Boundaries:
    """The boundary over a grid of gamma and restart, as a scan's chunks are computed."""

    network: Network
    grid: Grid
    settings: dict[str, Any]
    version: str
    recipe: Any
    seeds: tuple[int, ...]
    search: _Search
    threads: int
    quantities: tuple[str, ...] = ("eta_c", "measured")
    layers: int = 0

    @property
    def chunk(self) -> tuple[int, ...]:
        return (1,) * len(self.grid.shape)

    def box(self, number: int) -> Box:
        return self.grid.box(self.chunk, number)

    def evaluate(self, slots: tuple[Slot, ...], shape: tuple[int, ...], pause: Pause) -> tuple[Arrays, Status]:
        """Of one gamma and restart."""
        values = {slot.axis.name: float(slot.values[0]) for slot in slots}
        net = self.network.replace(gamma=values["gamma"]) if "gamma" in values else self.network
        found = _search(net, self.recipe, self.seeds[int(values["restart"])], self.search, self.threads)
        arrays = {name: np.full(shape, value) for name, value in zip(self.quantities, found, strict=True)}
        return arrays, np.zeros(shape, np.int8)


def boundaries(
    net: Network,
    recipe: Any,
    gammas: NDArray[np.float64] | None,
    seeds: tuple[int, ...],
    search: _Search,
    threads: int,
    store: Any,
    client: Any,
    progress: Any,
) -> Scan:
    """eta_c, and eta_star of the F that is measured, over ("gamma", "restart"), or over restarts of the network alone.

    The store, the workers and what is said meanwhile are those of `phase_diagram`.
    """
    from .. import __version__

    train = _training().loaded(recipe, net)
    recipe = _fitting(recipe, len(train))
    axes = {} if gammas is None else {"gamma": gammas}
    axes["restart"] = np.arange(len(seeds), dtype=np.float64)
    settings = {**_settings(net, recipe, train), "seeds": " ".join(map(str, seeds)), **asdict(search)}
    job = _Boundaries(net, _grid(axes), settings, __version__, recipe, seeds, search, threads)
    return carried_out(job, axes, store, client, progress)


def _grid(axes: dict[str, NDArray[np.float64]]) -> Grid:
    """A product of all axes."""
    sizes = tuple(values.size for values in axes.values())
    return Grid(tuple(axes), sizes, tuple(Axis(name, name, -1, place) for place, name in enumerate(axes)))


_KEPT = ("loss", "momentum", "nesterov", "weight_decay", "batch", "epochs", "threshold", "dtype")


def _settings(net: Network, recipe: Any, train: Any) -> dict[str, Any]:
    """What was trained, in words and numbers; data that are not the same have another checksum."""
    return {
        "data": train.source.name,
        "standardize": train.source.standardize,
        "n": len(train),
        "checksum": zlib.crc32(train.y.numpy().data, train.source.checksum),
        **{name: getattr(recipe, name) for name in _KEPT},
        "trained": net.batch_norms[0].trained if net.batch_norms else None,
    }


def _recipe(
    net: Network,
    data: Any,
    momentum: float,
    loss: str,
    batch: int | str,
    epochs: int,
    train_affine: bool | None,
    standardize: str | None,
    threshold: float | None,
    samples: int | None,
    dtype: str,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> tuple[Network, Any]:
    """The network as it is trained, and what it is trained with; all converted, and refused in a sentence."""
    _numbers.network_of(net)
    if train_affine is not None:
        trained = _numbers.boolean("train_affine", train_affine)
        if net.batch_norms:
            net = net.replace(trained=trained)
        elif trained:
            raise ValueError("train_affine must be False or None for a network without BatchNorm, got True")
    momentum = _numbers.momentum_of(momentum)
    if isinstance(batch, str):
        _numbers.choice("batch", batch, ("full",))
    return net, _training().Recipe(
        **_data_of(data, standardize, samples),
        loss=_numbers.loss_of(loss, net.outputs),
        momentum=momentum,
        batch=None if batch == "full" else _numbers.integer("batch", batch, 2 if net.batch_norms else 1),
        epochs=_numbers.integer("epochs", epochs, 1),
        threshold=threshold_of(momentum) if threshold is None else _within("threshold", threshold, 1.0, _LOSS),
        dtype=str(_numbers.real_dtype_of(dtype)),
        nesterov=_numbers.boolean("nesterov", nesterov),
        weight_decay=_numbers.magnitude("weight_decay", weight_decay),
    )


def _data_of(data: Any, standardize: str | None, samples: int | None) -> dict[str, Any]:
    """What says which data are meant; `Data` stay as they were loaded."""
    if standardize is not None:
        _numbers.choice("standardize", standardize, ("global", "feature"))
    if isinstance(data, datasets.Data) and standardize == "global":
        standardize = data.standardize  # "global" stands where nothing was asked for
    return {
        "data": os.fspath(data) if isinstance(data, os.PathLike) else data,
        "standardize": standardize,
        "samples": None if samples is None else _numbers.integer("samples", samples, 2),
    }


def _fitting(recipe: Any, count: int) -> Any:
    """A batch of all samples is a full one; one of more is refused."""
    if recipe.batch is not None and recipe.batch > count:
        raise ValueError(f"batch must be at most {count}, the number of samples, got {recipe.batch}")
    return replace(recipe, batch=None) if recipe.batch == count else recipe


def _within(name: str, value: Any, low: float, high: float) -> float:
    number = _numbers.real(name, value)
    if not low <= number <= high:
        raise ValueError(f"{name} must be from {low:g} to {high:g}, got {_numbers.shown(value)}")
    return number


def eta_stars(
    net: Network, momentum: float, loss: str, n: int, overlap: float, length: float, **descent: Any
) -> dict[str, float]:
    """eta_star of the theories that cover the network, for steps of n samples; "wei2019" for infinitely many."""
    found: dict[str, float] = {}
    for theory in _numbers.THEORIES:
        given: dict[str, Any] = {"samples": n, "overlap": overlap, "length": length}
        if theory == "wei2019":
            given |= {"samples": None, "overlap": max(overlap, 0.0)}
        try:
            _numbers.theory_of(net, theory)
        except ValueError:
            continue
        found[theory] = max_learning_rate(net, momentum, theory, **given, loss=loss, **descent)
    return found


def _search(net: Network, recipe: Any, seed: int, search: _Search, threads: int) -> tuple[float, float]:
    """(eta_c, eta_star of the measured F) of one seed."""
    training = _training()
    train = training.loaded(recipe, net)
    sampled = draw(net, seed, recipe.dtype)
    x = training.some(seed, train, _MEASURED)
    largest = sampled_fisher(sampled, x, loss=recipe.loss, tolerance=_ERROR).eigenvalues[0]
    star = _core.step_limit(recipe.momentum, recipe.nesterov) / (float(largest) + recipe.weight_decay)
    start = float(f"{star:.3g}")  # the same rates are tried again, whatever BLAS's sums leave of star's last digits

    def explodes(eta: float, epochs: int) -> bool:
        return bool(training.explodes(sampled, eta, replace(recipe, epochs=epochs), train))

    tolerance, least, most = search.tolerance, start / search.reach, start * search.reach
    with training.threaded(threads):
        short = max(1, recipe.epochs // _SHORT)
        low, high = bisection(lambda eta: explodes(eta, short), start, tolerance, least, most)
        if short < recipe.epochs and low > 0:
            # what explodes in the first epochs explodes in all; what stands them has the others to stand
            known, step = high, high / low if math.isfinite(high) else 1.3
            low, high = bisection(
                lambda eta: eta >= known or explodes(eta, recipe.epochs), low, tolerance, least, most, step
            )
    return math.sqrt(low * high), star


def bisection(
    explodes: Callable[[float], bool], start: float, tolerance: float, least: float, most: float, step: float = 1.3
) -> tuple[float, float]:
    """A rate that is stood and one that explodes, a factor 1 + tolerance apart; searched from `start`, first by `step`.

    (most, inf) where that is stood, (0, least) where that explodes.
    """
    if explodes(start):
        low, high = 0.0, start
        while low == 0.0 and high > least:
            rate = max(high / step, least)
            if explodes(rate):
                high, step = rate, step**2
            else:
                low = rate
    else:
        low, high = start, math.inf
        while math.isinf(high) and low < most:
            rate = min(low * step, most)
            if explodes(rate):
                high = rate
            else:
                low, step = rate, step**2
    while low > 0.0 and high < math.inf and high > low * (1 + tolerance):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if explodes(middle) else (middle, high)
    return low, high


# -------------------------------------------------------------------------------------------------------- phase diagram


@dataclass(frozen=True)
class _Cells:
    """Training over a grid of gamma and learning rate, as a scan's chunks are computed."""

    network: Network
    grid: Grid
    chunk: tuple[int, ...]
    settings: dict[str, Any]
    quantities: tuple[str, ...]
    version: str
    recipe: Any
    seeds: tuple[int, ...]
    threads: int
    layers: int = 0

    def box(self, number: int) -> Box:
        return self.grid.box(self.chunk, number)

    def evaluate(self, slots: tuple[Slot, ...], shape: tuple[int, ...], pause: Pause) -> tuple[Arrays, Status]:
        """The quantities of every cell: means over the restarts that did not explode."""
        training = _training()
        values = {slot.axis.name: slot.values for slot in slots}
        gammas = values.get("gamma", np.array([math.nan]))
        arrays = {name: np.full(shape, math.nan) for name in self.quantities}
        status = np.zeros(shape, np.int8)
        flat = {name: array.reshape(gammas.size, -1) for name, array in arrays.items()}
        states = status.reshape(gammas.size, -1)
        done = 0
        with training.threaded(self.threads):
            data = [training.loaded(self.recipe, self.network)]
            if "test_loss" in self.quantities:
                data.append(training.loaded(self.recipe, self.network, "test"))
            for row, gamma in enumerate(gammas):
                net = self.network if math.isnan(gamma) else self.network.replace(gamma=float(gamma))
                for column, eta in enumerate(values["learning_rate"]):
                    found = self._cell(net, float(eta), data)
                    for name in flat:
                        flat[name][row, column] = found[name]
                    states[row, column] = 7 if found["exploded"] == 1.0 else 0
                    done += 1
                    pause(done)
        return arrays, status

    def _cell(self, net: Network, eta: float, data: list[Any]) -> dict[str, float]:
        training = _training()
        runs: list[list[Any]] = []
        for seed in self.seeds:
            module, exploded = training.train(draw(net, seed, self.recipe.dtype), eta, self.recipe, data[0])
            if exploded is None:
                runs.append(training.measures(module, self.recipe, *data))
        found = dict.fromkeys(self.quantities, math.nan)
        found["exploded"] = 1.0 - len(runs) / len(self.seeds)
        for place, split in enumerate(("train", "test")[: len(data)]):
            for word in ("loss", "accuracy"):
                if runs:
                    found[f"{split}_{word}"] = math.fsum(getattr(run[place], word) for run in runs) / len(runs)
        return found


def phase_diagram(
    net: Network,
    data: Any,
    gammas: Any,
    learning_rates: Any,
    momentum: float = 0.9,
    loss: str = "sum",
    batch: int | str = _BATCH,
    epochs: int = 5,
    train_affine: bool | None = None,
    seeds: Any = (0,),
    standardize: str | None = "global",
    threshold: float | None = None,
    samples: int | None = None,
    dtype: str = "float32",
    threads: int | None = None,
    chunk: int = 1,
    store: Any = None,
    client: Any = None,
    progress: bool | Callable[[int, int], object] = False,
) -> Scan:
    """Loss and accuracy after training, over gamma and learning rate: Figure 2 of Wei, Stokes and Schwab (2019).

    Parameters
    ----------
    net, data, momentum, loss, batch, epochs, train_affine, seeds, standardize, threshold, samples, dtype
        As in `boundary`; seeds are the restarts, the same in every cell.
    gammas : sequence of float or None
        BatchNorm's gamma, the first axis. None: the network's own, and the learning rate is the only axis.
    learning_rates : sequence of float
        The second axis, > 0.
    threads : int, optional
        PyTorch's in each process; by default `num_threads()`.
    chunk : int
        Cells that are trained, written or sent at a time.
    store : path, optional
        A Zarr folder, written chunk by chunk: a diagram that was stopped goes on there when it is called again with the
        same arguments.
    client : dask.distributed.Client or concurrent.futures.Executor, optional
        Who trains; with a store the workers write to it themselves. Data on disk are read by each worker.
    progress : bool or callable
        True shows a bar with the time left; a callable hears (cells done, cells in all).

    Returns
    -------
    Scan
        Its arrays over ("gamma", "learning_rate"): train_loss, train_accuracy, and test_loss, test_accuracy where the
        data have a test split, each the mean over the restarts that did not explode, and "exploded", the share of those
        that did. Where all did, the status is 7 and the others are NaN; accuracies are NaN where there are no labels.

    Raises
    ------
    ValueError, TypeError
        As `boundary`, and for axes out of range or the store of another diagram.
    OSError
        For a store that cannot be written, or that another call writes to.
    ImportError
        Without PyTorch, or without zarr for a store.

    Notes
    -----
    At the end BatchNorm has the mean statistics of all training samples, in equal blocks of at most 1024 or the batch,
    for both splits: the running averages of a few steps would still remember their start. Test samples are standardised
    by the mean and the variance of the training samples. The same seeds give the same numbers, bit for bit with the
    same number of threads.

    Examples
    --------
    >>> net = ff.mlp([64, 256, 256, 256, 10])
    >>> ff.experiments.phase_diagram(net, "digits", [0.5, 1, 2], np.geomspace(1e-3, 1, 7), seeds=3).plot("test_loss")
    """
    from .. import __version__

    training = _training()
    net, recipe = _recipe(
        net, data, momentum, loss, batch, epochs, train_affine, standardize, threshold, samples, dtype
    )
    axes = {} if gammas is None else {"gamma": _numbers.axis_values("gamma", "gamma", gammas, _numbers.SIGNED)}
    if axes and not net.batch_norms:
        raise ValueError("gammas must be None for a network without BatchNorm")
    axes["learning_rate"] = _numbers.learning_rates_of(learning_rates)
    chosen = _numbers.seeds_of(seeds)
    train = training.loaded(recipe, net)
    recipe = _fitting(recipe, len(train))
    if tested := training.has_test(recipe):
        training.loaded(recipe, net, "test")
    grid = _grid(axes)
    splits = ("train", "test") if tested else ("train",)
    job = _Cells(
        network=net,
        grid=grid,
        chunk=grid.chunk(_numbers.integer("chunk", chunk, 1, 2**53)),
        settings={**_settings(net, recipe, train), "seeds": " ".join(map(str, chosen))},
        quantities=(*(f"{split}_{word}" for word in ("loss", "accuracy") for split in splits), "exploded"),
        version=__version__,
        recipe=recipe,
        seeds=chosen,
        threads=0 if threads is None else _numbers.integer("threads", threads, 1, 4096),
    )
    return carried_out(job, axes, store, _numbers.client_of(client), _numbers.progress_of(progress))


# ------------------------------------------------------------------------------------------------------------- figure 2


@dataclass(frozen=True, eq=False, repr=False)
class Panel:
    """One network's part of a `Figure2`: a phase diagram and the boundaries at its gammas.

    Attributes
    ----------
    network : Network
    gammas, learning_rates : ndarray
    arrays : dict
        Those of the phase diagram, (gammas, learning_rates).
    eta_c, measured : ndarray, (gammas, seeds)
        As in `Boundary`.
    n : int
        Samples of a step.
    overlap, length : float
    """

    network: Network
    gammas: NDArray[np.float64]
    learning_rates: NDArray[np.float64]
    arrays: dict[str, NDArray[np.float64]]
    eta_c: NDArray[np.float64]
    measured: NDArray[np.float64]
    n: int
    overlap: float
    length: float


_DRAWN = (
    *("data", "n", "standardize", "loss", "momentum", "batch", "epochs", "trained", "threshold", "tolerance", "reach"),
    *("seeds", "restarts"),
)
_PANEL_ARRAYS = ("gammas", "learning_rates", "eta_c", "measured")


@dataclass(frozen=True, eq=False, repr=False)
class Figure2:
    """Training over gamma and learning rate beside theory, of a dense and of a convolutional network.

    Attributes
    ----------
    panels : dict
        A `Panel` by title.
    settings : dict
        Those of the boundaries, which are the same for all networks, and "restarts", how many of the seeds trained the
        maps.
    """

    panels: dict[str, Panel]
    settings: dict[str, Any]

    def eta_star(self, title: str) -> dict[str, NDArray[np.float64]]:
        """By theory, at the panel's gammas; "measured" is the geometric mean over the seeds."""
        panel = self.panels[title]
        found = self.curves(title, panel.gammas)
        return {**found, "measured": np.exp(np.log(panel.measured).mean(axis=1))}

    def curves(self, title: str, gammas: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """eta_star by theory at any gammas."""
        panel, given = self.panels[title], self.settings
        rows = [
            eta_stars(
                panel.network.replace(gamma=float(gamma)),
                given["momentum"],
                given["loss"],
                panel.n,
                panel.overlap,
                panel.length,
            )
            for gamma in gammas
        ]
        return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}

    def __repr__(self) -> str:
        given = self.settings
        lines = [
            f"Figure2: {given['data']}, loss {given['loss']}, momentum {given['momentum']:g}, "
            f"{given['epochs']} epochs, batch {given['batch'] or 'full'}, seeds {given['seeds']}"
        ]
        for title, panel in self.panels.items():
            stars = self.eta_star(title)
            lines += [f"  {title}", f"    {'gamma':>7}{'eta_c':>11}   eta_c over " + "".join(f"{n:>10}" for n in stars)]
            for row, gamma in enumerate(panel.gammas):
                eta_c = panel.eta_c[row].mean()
                ratios = "".join(f"{eta_c / values[row]:>10.3g}" for values in stars.values())
                lines.append(f"    {gamma:>7.3g}{eta_c:>11.4g}{'':>14}{ratios}")
        return "\n".join(lines)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all of it as JSON, numbers to five digits, with a checksum of it all; `open` reads it back."""
        content = {
            "fisherfield": "figure2",
            "settings": self.settings,
            "panels": {
                title: {
                    "network": panel.network._to_toml(),
                    **{name: _plain(getattr(panel, name)) for name in _PANEL_ARRAYS},
                    "arrays": {name: _plain(values) for name, values in panel.arrays.items()},
                    **{name: getattr(panel, name) for name in ("n", "overlap", "length")},
                }
                for title, panel in self.panels.items()
            },
        }
        text = json.dumps({**content, "checksum": _checksum(content)}, indent=1, allow_nan=False)
        # a row of numbers on a line of its own
        text = re.sub(r"\[\s+([-+.,\w\s\"]*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + "\n")

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Figure2:
        """What `save` has written. Raises ValueError for another file, and for one that was changed since."""
        with open(path, encoding="utf-8") as file:
            try:
                content = json.load(file)
                if content["fisherfield"] != "figure2":
                    raise KeyError("fisherfield")
                panels = {
                    title: Panel(
                        network=from_toml(path, each["network"].encode()),
                        gammas=_array(each["gammas"]),
                        learning_rates=_array(each["learning_rates"]),
                        arrays={name: _array(values) for name, values in each["arrays"].items()},
                        eta_c=_array(each["eta_c"]),
                        measured=_array(each["measured"]),
                        n=each["n"],
                        overlap=each["overlap"],
                        length=each["length"],
                    )
                    for title, each in content["panels"].items()
                }
                found = cls(panels, content["settings"])._checked()
                if content.get("checksum", kept := _checksum(content)) != kept:  # version 0.1 wrote none
                    raise ValueError("its numbers do not have the checksum that they were saved with")
                return found
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
                raise ValueError(f"{os.fspath(path)} must be what a Figure2 has saved, and is not ({error})") from None

    def _checked(self) -> Figure2:
        """Raises ValueError where something is missing or of another shape."""
        missing = [name for name in _DRAWN if name not in self.settings]
        if not self.panels or missing:
            raise ValueError(f"without {', '.join(missing) or 'panels'}")
        for title, panel in self.panels.items():
            cells = (panel.gammas.size, panel.learning_rates.size)
            runs = (panel.gammas.size, len(str(self.settings["seeds"]).split()))
            shapes = {*(values.shape for values in panel.arrays.values())}
            if shapes != {cells} or panel.eta_c.shape != runs or panel.measured.shape != runs:
                raise ValueError(f"{title}: arrays must be {cells}, boundaries {runs}")
        return self

    def plot(self, quantity: str | None = None) -> Figure:
        """Heat maps over gamma and log10 eta, grey where a restart exploded; crosses are the boundaries observed.

        By default of the test loss, or of the training loss where the data have no test split. Raises ValueError for a
        quantity that is not there, ImportError without matplotlib.
        """
        from ..plots.figure2 import plot

        return plot(self, quantity)


def _checksum(content: Mapping[str, Any]) -> int:
    """CRC-32 of what a file holds, however it is laid out."""
    kept = {name: value for name, value in content.items() if name != "checksum"}
    return zlib.crc32(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode())


def _plain(values: NDArray[np.float64]) -> Any:
    """Lists of numbers to five digits; None for NaN, "inf" for infinity."""
    if values.ndim:
        return [_plain(value) for value in values]
    number = float(values)
    return None if math.isnan(number) else "inf" if math.isinf(number) else float(f"{number:.5g}")


def _array(values: Any) -> NDArray[np.float64]:
    return np.array(values, dtype=object).astype(np.float64)


def figure2(
    data: Any = "digits",
    loss: str = "sum",
    networks: Mapping[str, Network] | None = None,
    gammas: Any = None,
    rates: int = 13,
    momentum: float = 0.9,
    batch: int | str = _BATCH,
    epochs: int = 5,
    train_affine: bool = False,
    seeds: Any = 2,
    restarts: int | None = None,
    standardize: str | None = "global",
    samples: int | None = None,
    width: int = 256,
    threads: int | None = None,
    store: Any = None,
    client: Any = None,
    progress: bool | Callable[[int, int], object] = False,
) -> Figure2:
    """Figure 2 of Wei, Stokes and Schwab (2019): where training explodes and what it reaches, beside eta_star.

    Parameters
    ----------
    data, loss, momentum, batch, epochs, train_affine, seeds, standardize, samples, threads, client
        As in `boundary`.
    networks : mapping, optional
        Titles and networks with BatchNorm. By default a dense network with three hidden layers of `width`, and the
        paper's convolutions: kernel 3, stride 2, padding 1, channels 30, 60, 90; 30 and 60 for images of less than
        16 x 16, of which a third would leave one position.
    gammas : sequence of float, optional
        By default nine from 0.25 to 4, in equal ratios.
    rates : int
        How many learning rates, in equal ratios from a tenth of the exact theory's eta_star at the largest gamma to
        three times that at the smallest.
    restarts : int, optional
        How many of the seeds, the first of them, the maps are trained with; by default all. The boundaries are found
        for each seed.
    width : int
    store : path, optional
        A folder with two Zarr stores for each network, of its phase diagram and its boundaries: what was stopped goes
        on there.
    progress : bool or callable
        True shows a bar with the time left; a callable hears (done, in all) of cells and boundaries.

    Returns
    -------
    Figure2

    Raises
    ------
    ValueError, TypeError, ImportError, OSError
        As `boundary` and `phase_diagram`.

    Examples
    --------
    >>> ff.experiments.figure2("digits").plot().savefig("figure2.png")
    """
    training = _training()
    found = training.source(training.Recipe(**_data_of(data, standardize, samples)))
    if networks is None:
        networks = _networks(found, _numbers.integer("width", width, 1))
    if not isinstance(networks, Mapping):
        raise TypeError(f"networks must be a mapping from titles to networks, got {_numbers.shown(networks)}")
    if not networks or not all(_numbers.network_of(net).batch_norms for net in networks.values()):
        raise ValueError("networks must hold at least one, each with BatchNorm")
    grid = np.geomspace(0.25, 4.0, 9) if gammas is None else _numbers.gammas_of(gammas)
    threads = 0 if threads is None else _numbers.integer("threads", threads, 1, 4096)
    many = _numbers.integer("rates", rates, 2)
    chosen = _numbers.seeds_of(seeds)
    first = chosen[: len(chosen) if restarts is None else _numbers.integer("restarts", restarts, 1, len(chosen))]
    folder = None if store is None else _numbers.path_of("store", store)
    client = _numbers.client_of(client)
    shared: dict[str, Any] = {"momentum": momentum, "loss": loss, "batch": batch, "epochs": epochs}
    shared |= {"train_affine": train_affine, "standardize": standardize, "samples": samples}
    search = _Search()
    total = len(networks) * grid.size * (many + len(chosen))
    panels, settings, before = {}, {}, 0
    with _heard(progress, "cells") as heard:

        def told(done: int, _: int) -> None:
            heard(before + done, total)

        for (title, net), word in zip(networks.items(), _words(networks), strict=True):
            described, recipe = _recipe(net, data, **shared, threshold=None, dtype="float32")
            recipe = _fitting(recipe, len(found.x))
            overlap, length = found.overlap, found.length
            n = recipe.batch or len(found.x)
            ends = [
                eta_stars(described.replace(gamma=float(gamma)), momentum, loss, n, overlap, length)["exact"]
                for gamma in (grid[-1], grid[0])
            ]
            etas = np.geomspace(ends[0] / 10, ends[1] * 3, many)
            paths = [
                None if folder is None else os.path.join(folder, f"{word}{what}.zarr") for what in ("", "_boundaries")
            ]
            seen = boundaries(described, recipe, grid, chosen, search, threads, paths[1], client, told)
            before += seen.points
            diagram = phase_diagram(
                net,
                data,
                grid,
                etas,
                **shared,
                seeds=first,
                threads=threads or None,
                store=paths[0],
                client=client,
                progress=told,
            )
            before += diagram.points
            panels[title] = Panel(
                described,
                grid,
                etas,
                {name: np.asarray(array[...]) for name, array in diagram.arrays.items()},
                np.asarray(seen.eta_c[...]),
                np.asarray(seen.measured[...]),
                n,
                overlap,
                length,
            )
            settings = {**seen.settings, "restarts": len(first)}
    return Figure2(panels, settings)


def _words(titles: Iterable[str]) -> list[str]:
    """Names of files: the beginnings of the titles, numbered where they would meet."""
    words = [re.sub(r"[^a-z0-9]+", "_", str(title).split(":")[0].lower()).strip("_") for title in titles]
    return words if len({*words, ""}) > len(words) else [f"{place}_{word}" for place, word in enumerate(words, start=1)]


def _networks(found: Any, width: int) -> dict[str, Network]:
    """The paper's two networks for these data."""
    outputs, shape = max(found.classes, 1) if np.ndim(found.y) < 2 else found.y.shape[1], found.shape
    inputs = math.prod(shape)
    made = {f"Dense: {inputs} inputs, 3 x {width} units": mlp([inputs, width, width, width, outputs])}
    if len(shape) == 3:
        channels = [30, 60] if min(shape[1:]) < 16 else [30, 60, 90]
        words = f"Convolutional: {' x '.join(map(str, shape))}, channels {', '.join(map(str, channels))}"
        made[words] = convnet((shape[0], shape[1], shape[2]), channels, outputs)
    return made
