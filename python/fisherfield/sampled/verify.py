# SPDX-License-Identifier: BSD-3-Clause
"""The theory beside sampled networks: they are sampled and measured, here or by workers."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .. import _numbers
from .._numbers import Statistics, Theory
from .._progress import listener, progress_of
from .._random import stream
from .._warn import warn
from ..network import Network
from ..scan.tasks import elsewhere, lost, refuse_other_version
from ..theory import Fisher, fisher
from ..threads import num_threads, set_num_threads
from .network import DRAWN
from .operator import FisherOperator
from .spectrum import spectrum_of
from .verification import QUANTITIES, SECOND, Verification

if TYPE_CHECKING:
    from ..data import Data

# Operations that are not worth a random vector's noise: some tenths of a second.
_FEW = 1e10
_SECOND_TO = 1e-2  # relative: single networks differ by more


def verify(
    net: Network,
    widths: Any = None,
    seeds: Any = 10,
    samples: int | None = None,
    x: ArrayLike | Data | None = None,
    statistics: Statistics = "exact",
    biases: bool | None = None,
    vectors: int = 8,
    dtype: DTypeLike | None = None,
    threads: int | None = None,
    client: Any = None,
    progress: bool | Callable[[int, int], object] = False,
) -> Verification:
    """lambda_max, bulk, mean and second moment of sampled networks beside the theory's, width by width.

    Parameters
    ----------
    net : Network
    widths : int or sequence of int, optional
        Units or channels of the widest hidden layer; all hidden layers are scaled by one factor and rounded. None: the
        network as it is.
    seeds : int or sequence of int
        How many networks at each width, with the seeds 0, 1, ...; or their seeds. The same at every width.
    samples : int, optional
        n >= 2, 500 by default: inputs are standard normal, `data.gaussian(net, samples, seed)`, anew for every seed.
    x : array_like, (n, *input_shape), or Data, optional
        Inputs for all networks, in place of `samples`; the theory takes their overlap and length.
    statistics : {"exact", "frozen"}
        What BatchNorm's gradient flows through, as in `FisherOperator`; compared with the theory of the same name.
    biases : bool, optional
        Whether the biases are among the parameters. None: of the sampled networks and in all theories but "wei2019".
    vectors : int
        How many random vectors tr F and tr F^2 are estimated by where all of F* is not formed; at least 2. Their noise
        is part of the standard errors.
    dtype : {"float64", "float32"}, optional
        Of the sampled networks' arithmetic.
    threads : int, optional
        Of each process; by default `num_threads()` there.
    client : dask.distributed.Client or concurrent.futures.Executor, optional
        Who samples the networks, each a task of its own.
    progress : bool or callable
        True shows a bar; a callable hears (networks done, networks in all).

    Returns
    -------
    Verification

    Raises
    ------
    ValueError, TypeError
        In one sentence, for arguments out of range and networks that the theory or a batch refuses. One that is
        refused for want of a closed recursion (`Network.without_recursion`) is sampled all the same, and the verdict
        says that no theory is known.
    RuntimeError
        For worker processes that ended abruptly (`BrokenExecutor`).

    Warns
    -----
    UserWarning
        For what `fisherfield.torch.describe` made of a module: what is sampled has new weights.

    Notes
    -----
    The network of a width and a seed is `sample(..., seed)`. Standard errors are those of means over the seeds; widths
    share the seeds, so their errors are not wholly independent.

    Examples
    --------
    >>> net = ff.mlp([784, 1000, 1000, 1000, 1])
    >>> ff.verify(net, widths=[125, 250, 500, 1000], seeds=20).plot()
    """
    from .. import __version__

    _numbers.network_of(net)
    if net._of_module:
        warn(DRAWN.format("the networks that are sampled have new weights"))
    numbers = _numbers.widths_of(widths)
    chosen = _numbers.seeds_of(seeds)
    _numbers.choice("statistics", statistics, _numbers.STATISTICS)
    inputs, n, overlap, length = _inputs(net, samples, x, dtype)
    measured = _numbers.biases_of(biases, statistics)
    vectors, kind = _numbers.integer("vectors", vectors, 2), _numbers.real_dtype_of(dtype)
    many = _numbers.threads_of(threads)
    client = _numbers.client_of(client)
    progress = progress_of(progress)
    networks = [copy.copy(net)] if numbers is None else [_scaled(net, width) for width in numbers]
    data: dict[str, Any] = {"samples": n, "overlap": overlap, "length": length, "biases": biases}
    fishers = tuple(_known(each, statistics, data) for each in networks)
    others: dict[str, Any] = {
        name: np.array([_lambda_max(each, name, data) for each in networks])
        for name in _numbers.THEORIES
        if name != statistics
    }
    begin = time.perf_counter()
    task = _Task(networks[0], 0, inputs, n, statistics, measured, vectors, str(kind), many, __version__)
    runs, rounding, spectra = _runs(task, networks, chosen, client, progress)
    second = runs.pop(SECOND)
    return Verification(
        network=net,
        settings={
            "theory": statistics,
            "statistics": statistics,
            "samples": n,
            "inputs": "Gaussian" if inputs is None else "given",
            **data,
            "biases": measured,
            "vectors": vectors,
            "dtype": str(kind),
        },
        widths=np.array([_widest(each) for each in networks], np.int64),
        seeds=np.array(chosen, np.int64),
        runs=runs,
        theory={name: np.array([_predicted(each, name) for each in fishers], np.float64) for name in QUANTITIES},
        others=others,
        fishers=fishers,
        seconds=time.perf_counter() - begin,
        rounding=rounding,
        second=second,
        spectra=spectra,
    )


def _widest(net: Network) -> int:
    """Units or channels of the widest hidden layer; 0 where there is none."""
    return max((step.after[0] for step in net.affine_steps[:-1]), default=0)


def _scaled(net: Network, width: int) -> Network:
    """All hidden layers by the factor that makes the widest `width`."""
    widest = _widest(net)
    if widest == 0:
        raise ValueError("widths must be None for a network without hidden layers")
    return net.with_widths([max(1, round(step.after[0] * width / widest)) for step in net.affine_steps[:-1]])


def _inputs(net: Network, samples: Any, x: Any, dtype: Any) -> tuple[NDArray[Any] | None, int, float, float]:
    """The inputs if they are given, their number, overlap and length."""
    from ..data import Data, overlap_and_length

    if x is None:
        return None, _numbers.integer("samples", 500 if samples is None else samples, 2), 0.0, 1.0
    if samples is not None:
        raise ValueError(f"samples must be left out where x is given, got {_numbers.shown(samples)}")
    inputs = _numbers.inputs_of(net, x.x if isinstance(x, Data) else x, _numbers.real_dtype_of(dtype))
    overlap, length = overlap_and_length(inputs)
    return inputs, len(inputs), overlap, length


@dataclass(frozen=True)
class _Task:
    """One network to be sampled and measured."""

    network: Network
    seed: int
    inputs: NDArray[Any] | None
    samples: int
    statistics: Statistics
    biases: bool
    vectors: int
    dtype: str
    threads: int  # 0: as many as the process has
    version: str
    spectrum: bool = False  # whether all eigenvalues are kept where they are computed


def _runs(
    task: _Task, networks: list[Network], seeds: tuple[int, ...], client: Any, progress: Any
) -> tuple[dict[str, NDArray[np.float64]], float, tuple[NDArray[np.float64] | None, ...]]:
    """Every quantity of every network, widths by seeds, the worst rounding, and each width's first spectrum."""
    tasks = [
        ((row, column), replace(task, network=each, seed=seed))
        for row, each in enumerate(networks)
        for column, seed in enumerate(seeds)
    ]
    tasks = [(place, replace(each, spectrum=place[1] == 0)) for place, each in tasks]
    runs = {name: np.full((len(networks), len(seeds)), np.nan) for name in (*QUANTITIES, SECOND)}
    rounding, spectra = 0.0, dict.fromkeys(range(len(networks)))
    with listener(progress, "networks") as hear:
        for place, measured in _results(tasks, client, hear):
            rounding = max(rounding, measured.pop("rounding"))
            if (values := measured.pop("eigenvalues")) is not None:
                spectra[place[0]] = values
            for name, value in measured.items():
                runs[name][place] = value
    return runs, rounding, tuple(spectra.values())


def _work(task: _Task) -> dict[str, Any]:
    """Every quantity of one network, and how far rounding may move it, wherever it is computed."""
    from ..data import gaussian

    refuse_other_version(task.version)
    before = num_threads()
    if task.threads:
        set_num_threads(task.threads)
    try:
        x = task.inputs
        if x is None:
            x = gaussian(task.network, task.samples, task.seed)
        operator = FisherOperator(task.network, x, task.seed, task.statistics, biases=task.biases, dtype=task.dtype)
        measured = _measured(operator, task.vectors, task.seed)
        return measured if task.spectrum else {**measured, "eigenvalues": None}
    finally:
        if task.threads:
            set_num_threads(before)


def _measured(operator: FisherOperator, vectors: int, seed: int) -> dict[str, Any]:
    """All eigenvalues where that takes few operations; else the C largest, and traces of the rest by random signs.

    The largest eigenvalues are taken out of the random vectors and counted exactly, for they make most of the noise.
    The next one is sought besides where it is known where the bulk ends.
    """
    size, outputs = operator.shape[0], operator.outputs.shape[1]
    flops = operator.flops
    products = outputs + 3 + vectors  # Lanczos was seen to take about the first two
    if operator.fits and flops["gram"] + 4 / 3 * size**3 <= max(products * flops["product"], _FEW):
        spectrum = spectrum_of(operator, "all", "dense")
        values = spectrum.eigenvalues
        top, trace, square = values[:outputs], float(values.sum()), float(np.sum(values**2))
        second = float(values[outputs]) if values.size > outputs else math.nan
    else:
        values, second = None, math.nan
        operator.prepare(products)
        spectrum = spectrum_of(operator, outputs, "lanczos", eigenvectors=True)
        top, taken = spectrum.eigenvalues, np.asarray(spectrum.eigenvectors).reshape(outputs, size)
        signs = stream(seed, "signs").choice([-1.0, 1.0], (vectors, size))
        rest = signs - (signs @ taken.T) @ taken
        images = np.array([operator @ row for row in rest], np.float64)
        trace = float(top.sum() + np.sum(rest * images) / vectors)
        square = float(np.sum(top**2) + np.sum(images**2) / vectors)
        if operator.network.net._facts.roots is not None and size > outputs:
            second = float(spectrum_of(operator, outputs + 1, "lanczos", _SECOND_TO).eigenvalues[outputs])
    return {
        "lambda_max": float(top[0]),
        "outlier": float(top.mean()),
        "bulk": (trace - float(top.sum())) / max(min(size, operator.parameters) - outputs, 1),
        "mean": trace / operator.parameters,
        "second_moment": square / operator.parameters,
        SECOND: second,
        "eigenvalues": values,
        "rounding": spectrum.rounding / float(top[0]) if top[0] > 0 else 0.0,
    }


def _results(
    tasks: list[tuple[tuple[int, int], _Task]], client: Any, hear: Callable[[int, int], object]
) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
    """Every network's quantities, as they come; an error carries how far the call had come."""
    done, total = 0, len(tasks)
    here = ((place, _work(task)) for place, task in tasks)
    results = here if client is None else elsewhere(client, _work, ((place, (task,)) for place, task in tasks))
    try:
        with closing(results):
            hear(0, total)
            for place, quantities in results:
                yield place, quantities
                done += 1
                hear(done, total)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"verify stopped with {done} of {total} networks finished") from None
    except Exception as error:
        if not lost(error):
            raise
        raise BrokenExecutor(
            f"a worker process ended abruptly, killed or out of memory, with {done} of {total} networks finished"
        ) from error


def _known(net: Network, theory: Theory, data: dict[str, Any]) -> Fisher | None:
    """What the theory says; None of a network that it does not know, which is sampled all the same."""
    try:
        return fisher(net, theory, **data)
    except ValueError:
        if not net.without_recursion:
            raise
        return None


def _predicted(result: Fisher | None, name: str) -> float:
    return math.nan if result is None else float(getattr(result, "lambda_max" if name == "outlier" else name))


def _lambda_max(net: Network, theory: Theory, data: dict[str, Any]) -> float:
    """NaN where a theory beside the one in question refuses the network."""
    try:
        return fisher(net, theory, **data).lambda_max
    except (ValueError, RuntimeError):
        return math.nan
