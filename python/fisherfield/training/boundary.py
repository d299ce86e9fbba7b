# SPDX-License-Identifier: BSD-3-Clause
"""The learning rate at which training explodes, beside the largest stable one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _numbers
from .._html import InNotebooks
from .._numbers import Loss, Standardize
from .._progress import listener
from .._ways import MODULE, is_a
from .._words import descent_in_words, plural, shown, standardised
from ..network import Network
from ..sampled import sampled_fisher
from ..sampled.network import draw
from ..scan import Scan
from ..scan.chunks import Arrays, Pause, Status
from ..scan.grid import Slot, product_of
from ..scan.work import carried_out
from ..theory import LearningRate, max_learning_rate
from ..theory.calls import step_limit
from ..theory.settings import Descent
from .recipe import BATCH, Recipe, Training, fitting, recipe_of, recipe_with, settings_of, trainer, within

MEASURED_SAMPLES, MEASURED_ERROR = 2048, 1e-3  # that F is measured on, and the relative error of its eigenvalue
_SPREAD = 26  # characters of a mean and its range
_SHORT = 5  # a boundary is looked for in the first fifth of the epochs before it is in all


@dataclass(frozen=True, eq=False, repr=False)
class Boundary(InNotebooks):
    """The learning rate at which training explodes, beside eta_star.

    Attributes
    ----------
    network : Network or None
        None for modules and losses that no theory covers.
    seeds : tuple of int
    eta_c : ndarray, (seeds,)
        Of each seed: inf where training was stable at all rates that were tried, 0 where at none.
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
    ratios_outlier : dict
        By theory eta_c over its `LearningRate.outlier_limit`, one a seed: another one where the bulk's edge, or one
        sample, rules lambda_max.
    """

    network: Network | None
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

    @property
    def ratios_outlier(self) -> dict[str, NDArray[np.float64]]:
        """eta_c over the rate by the outlier alone."""
        return self._over(_of_outlier(self.eta_star))

    def _over(self, rates: Mapping[str, float]) -> dict[str, NDArray[np.float64]]:
        with np.errstate(invalid="ignore"):  # inf over inf: where a theory allows every rate, and training did
            return {name: self.eta_c / float(rate) for name, rate in rates.items()}

    def __repr__(self) -> str:
        settings = self.settings
        fixed = {True: "gamma and beta trained", False: "gamma and beta fixed", None: "no BatchNorm"}[
            settings["trained"]
        ]
        batches = (
            f"batches of {settings['batch']} of {settings['n']}"
            if settings["batch"]
            else f"full batches of {settings['n']}"
        )
        several = len(self.seeds) > 1
        lines = [
            f"Boundary of training on {settings['data']}, {standardised(settings['standardize'])}: loss "
            f"{settings['loss']}, {', '.join(descent_in_words(settings))},",
            f"  {batches} samples, {plural(settings['epochs'], 'epoch')}, {fixed}; exploded: loss "
            f"above {settings['threshold']:.4g} times the first, or not finite",
            f"  eta_c {_spread(self.eta_c)}, to {100 * settings['tolerance']:g} %, "
            + (f"seeds {', '.join(map(str, self.seeds))}" if several else f"seed {self.seeds[0]}"),
        ]
        every = self.eta_star_all if settings["batch"] else {}
        step = f"n = {settings['batch']}" if every else ""
        head = f"  {'eta_star of':<14}{step:>12}   {'eta_c/eta_star':<{_SPREAD}}"
        lines.append(f"{head}{'n = ' + str(settings['n']):>12}   eta_c/eta_star" if every else head.rstrip())
        for name, rate in self.eta_star.items():
            words = "F measured" if name == "measured" else name
            line = f"  {words:<14}{float(rate):>12.5g}   {_spread(self.ratios[name]):<{_SPREAD}}"
            if name in every:
                line += f"{float(every[name]):>12.5g}   {_spread(self.ratios_all[name])}"
            lines.append(line.rstrip())
            limit, at_all = _of_outlier(self.eta_star).get(name, rate), _of_outlier(every).get(name, 0.0)
            if limit != rate or at_all != every.get(name, 0.0):  # another rule than the outlier
                line = f"  {'  outlier':<14}{limit:>12.5g}   {_spread(self.ratios_outlier[name]):<{_SPREAD}}"
                if name in every:
                    line += f"{at_all:>12.5g}   {_spread(self._over({name: at_all})[name])}"
                lines.append(line.rstrip())
        if np.isinf(self.eta_c).any():
            lines.append(
                f"  none: training was stable at all rates, up to {settings['reach']:g} times eta_star of F measured"
            )
        return "\n".join(lines)


def _of_outlier(rates: Mapping[str, float]) -> dict[str, float]:
    """The rates by the outlier alone, of those that theories gave."""
    return {name: rate.outlier_limit for name, rate in rates.items() if isinstance(rate, LearningRate)}


def _spread(values: NDArray[np.float64]) -> str:
    """The mean of several, least and greatest; inf is none."""
    finite = values[np.isfinite(values)]
    absent = values.size - finite.size
    if not finite.size:
        return "none"
    if finite.min() == finite.max():
        spread = f"{finite[0]:.4g}"
    else:
        spread = f"{finite.mean():.4g} ({finite.min():.4g} to {finite.max():.4g})"
    return f"{spread}, none for {absent} of {values.size} seeds" if absent else spread


def boundary(
    net: Any,
    data: Any,
    momentum: float = 0.9,
    loss: Loss | Callable[..., Any] = "sum",
    batch: int | str = BATCH,
    epochs: int = 5,
    train_affine: bool | None = None,
    seeds: Any = (0,),
    standardize: Standardize | None = "global",
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
    net : Network, torch.nn.Module, or callable
        The weights of each seed are those of `sample(net, seed)`; a module's are its own at every seed, which draws the
        batches then. A function of a seed, or of nothing, makes a module for each, PyTorch's generator starting at the
        seed. Modules are copied to `dtype`, and trained as they are: in their mode, what requires gradients.
    data : str, path, pair of arrays or Data
        As `fisherfield.data.load` takes them, or what it has given, which stays standardised as it was. Squared losses
        train for one-hot labels; with one output for the label itself; or, of a pair (X, y), for targets y of shape
        (n, outputs).
    momentum : float
        mu of theta_{t+1} = theta_t - eta grad L + mu (theta_t - theta_{t-1}), which is `torch.optim.SGD`.
    loss : {"sum", "mean", "mse", "cross_entropy"} or callable
        As in `max_learning_rate`; or a function of (outputs, targets), which are labels or as the data have them. F is
        the generalised Gauss-Newton matrix then.
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
        In [1e-4, 0.5]: how close the greatest stable learning rate and the least unstable one must be.
    samples : int, optional
        So many of the data's; None: all.
    reach : float
        Rates are tried from 1/reach to reach times the eta_star of the F that was measured.
    dtype : {"float32", "float64"}
    threads : int, optional
        PyTorch's; by default `num_threads()`.
    store : path, optional
        A Zarr folder, written seed by seed: a search that was stopped goes on there when it is called again with the
        same arguments. Of described networks under a named loss, as `client` and `train_affine`.
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

    **The search** is by bisection between a stable and an unstable rate, first in the first fifth of the epochs, for
    what explodes there explodes in all. Networks without BatchNorm may explode at one rate and be stable at a larger
    one, where training diverges at first and recovers: then it finds one of several boundaries. Under cross-entropy
    there is often none.

    **The theories** are asked for as many samples as a step has, whose mean and variance BatchNorm takes, with the
    overlap and the length of the data; for "wei2019", as published, infinitely many. Beside it stands what they say for
    all samples (`eta_star_all`). F is measured on all samples at once, or on 2048 of them: modes of a single batch that
    others do not share do not grow.

    Source: Wei, Stokes and Schwab (2019), section 4 and eq. 7, where the criterion is not given.

    Examples
    --------
    >>> ff.experiments.boundary(ff.mlp([64, 256, 256, 256, 10]), "digits", seeds=3)
    """
    if _of_modules(net, loss):
        for name, value in (("train_affine", train_affine), ("store", store), ("client", client)):
            if value is not None:
                raise ValueError(f"{name} must be None for modules and for losses of one's own, got {shown(value)}")
        known: Loss = loss if loss in _numbers.LOSSES else "sum"  # type: ignore[assignment, unused-ignore]
        decay = _numbers.magnitude("weight_decay", weight_decay)
        descent = Descent(known, _numbers.momentum_of(momentum), _numbers.boolean("nesterov", nesterov), decay)
        with_what = trainer() and recipe_with(descent, 1, data, batch, epochs, standardize, threshold, samples, dtype)
        from .modules import boundary_of_modules

        search = Search(within("tolerance", tolerance, 1e-4, 0.5), within("reach", reach, 2.0, 1e6))
        chosen, many = _numbers.seeds_of(seeds), _numbers.threads_of(threads)
        return boundary_of_modules(net, loss, with_what, chosen, search, many, progress)
    net, recipe = recipe_of(
        *(net, data, momentum, loss, batch, epochs, train_affine, standardize, threshold, samples, dtype),
        *(nesterov, weight_decay),
    )
    chosen = _numbers.seeds_of(seeds)
    search = Search(within("tolerance", tolerance, 1e-4, 0.5), within("reach", reach, 2.0, 1e6))
    many = _numbers.threads_of(threads)
    client = _numbers.client_of(client)
    begin = time.perf_counter()
    with listener(progress, "seeds") as hear:
        table = boundaries(net, recipe, None, chosen, search, many, store, client, hear)
    train = trainer().loaded(recipe, net)
    recipe = fitting(recipe, len(train))
    overlap, length = train.dataset.overlap, train.dataset.length
    measured = np.asarray(table.measured[...])
    stars, every = (
        eta_stars(net, recipe.descent, n, overlap, length) for n in (recipe.batch or len(train), len(train))
    )
    stars["measured"] = float(np.exp(np.mean(np.log(measured))))
    settings = {**settings_of(net, recipe, train), "overlap": overlap, "length": length, **asdict(search)}
    eta_c = np.asarray(table.eta_c[...])
    return Boundary(net, chosen, eta_c, measured, stars, settings, time.perf_counter() - begin, every)


def _of_modules(net: Any, loss: Any) -> bool:
    """Whether it is a module, what makes one, or a network under a loss of one's own."""
    made = callable(net) and not isinstance(net, type) and not hasattr(net, "_facts")
    return is_a(net, MODULE) or made or (callable(loss) and hasattr(net, "_facts"))


@dataclass(frozen=True)
class Search:
    """How near the boundary is found, and how far it is looked for."""

    tolerance: float = 0.02
    reach: float = 100.0


@dataclass(frozen=True, kw_only=True)
class _Boundaries(Training):
    """The boundary over a grid of gamma and restart, as a scan's chunks are computed."""

    search: Search

    def evaluate(self, slots: tuple[Slot, ...], shape: tuple[int, ...], pause: Pause) -> tuple[Arrays, Status]:
        """Of one gamma and restart."""
        values = {slot.axis.name: float(slot.values[0]) for slot in slots}
        net = self.network.replace(gamma=values["gamma"]) if "gamma" in values else self.network
        measured = _search(net, self.recipe, self.seeds[int(values["restart"])], self.search, self.threads)
        arrays = {name: np.full(shape, value) for name, value in zip(self.quantities, measured, strict=True)}
        return arrays, np.zeros(shape, np.int8)


def boundaries(
    net: Network,
    recipe: Recipe,
    gammas: NDArray[np.float64] | None,
    seeds: tuple[int, ...],
    search: Search,
    threads: int,
    store: Any,
    client: Any,
    progress: Any,
) -> Scan:
    """eta_c, and eta_star of the F that is measured, over ("gamma", "restart"), or over restarts of the network alone.

    The store, the workers and what is said meanwhile are those of `phase_diagram`.
    """
    from .. import __version__

    train = trainer().loaded(recipe, net)
    recipe = fitting(recipe, len(train))
    axes = {} if gammas is None else {"gamma": gammas}
    axes["restart"] = np.arange(len(seeds), dtype=np.float64)
    settings = {**settings_of(net, recipe, train), "seeds": " ".join(map(str, seeds)), **asdict(search)}
    job = _Boundaries(
        network=net,
        grid=product_of(axes),
        chunk=(1,) * len(axes),
        quantities=("eta_c", "measured"),
        version=__version__,
        recipe=recipe,
        seeds=seeds,
        threads=threads,
        words=settings,
        search=search,
    )
    return carried_out(job, axes, store, client, progress)


def eta_stars(net: Network, descent: Descent, n: int, overlap: float, length: float) -> dict[str, float]:
    """eta_star of the theories that cover the network, for steps of n samples; "wei2019" for infinitely many."""
    rates: dict[str, float] = {}
    for theory in _numbers.THEORIES:
        arguments: dict[str, Any] = {"samples": n, "overlap": overlap, "length": length}
        if theory == "wei2019":
            arguments |= {"samples": None, "overlap": max(overlap, 0.0)}
        try:
            _numbers.theory_of(net, theory)
        except ValueError:
            continue
        rates[theory] = max_learning_rate(net, theory=theory, **arguments, **descent._asdict())
    return rates


def _search(net: Network, recipe: Recipe, seed: int, search: Search, threads: int) -> tuple[float, float]:
    """(eta_c, eta_star of the measured F) of one seed."""
    training = trainer()
    train = training.loaded(recipe, net)
    sampled = draw(net, seed, recipe.dtype)
    x = training.some(seed, train, MEASURED_SAMPLES)
    largest = sampled_fisher(sampled, x, loss=recipe.descent.loss, tolerance=MEASURED_ERROR).eigenvalues[0]
    star = step_limit(recipe.descent) / (float(largest) + recipe.descent.weight_decay)
    start = rounded(star)

    def explodes(eta: float, epochs: int) -> bool:
        return bool(training.explodes(sampled, eta, replace(recipe, epochs=epochs), train))

    with training.threaded(threads):
        return critical(explodes, start, recipe.epochs, search), star


def rounded(star: float) -> float:
    """Where a search begins: the same rates are tried again, whatever BLAS's sums leave of star's last digits."""
    return float(f"{star:.3g}")


def critical(explodes: Callable[[float, int], bool], start: float, epochs: int, search: Search) -> float:
    """Where training begins to explode, of what (rate, epochs) does."""
    tolerance, least, most = search.tolerance, start / search.reach, start * search.reach
    short = max(1, epochs // _SHORT)
    low, high = bisection(lambda eta: explodes(eta, short), start, tolerance, least, most)
    if short < epochs and low > 0:
        # what explodes in the first epochs explodes in all; what is stable in them may explode later
        known, step = high, high / low if math.isfinite(high) else 1.3
        low, high = bisection(lambda eta: eta >= known or explodes(eta, epochs), low, tolerance, least, most, step)
    return math.sqrt(low * high)


def bisection(
    explodes: Callable[[float], bool], start: float, tolerance: float, least: float, most: float, step: float = 1.3
) -> tuple[float, float]:
    """A stable rate and one that explodes, a factor 1 + tolerance apart; searched from `start`, first by `step`.

    (most, inf) where that is stable, (0, least) where that explodes.
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
