# SPDX-License-Identifier: BSD-3-Clause
"""The theory over a grid of parameters: labelled arrays, from one point to more than fit into memory."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import _core, _numbers
from .._memory import refuse_large_array, refuse_large_images
from .._numbers import Backend, Loss, Theory
from .._progress import progress_of
from ..gaussian import Table, tabulate
from ..network import Activation, Network
from ..threads import num_threads
from .arguments import WHOLE, quantities_of, range_of, refuse_large, settings_of, tables_of
from .by_units import announce, units_of
from .grid import grid_of
from .job import Job, cuda, norms_of
from .labels import LAYERED, QUANTITIES, SCATTER, core_names
from .structure import most_layers, with_activations
from .table import Scan
from .work import carried_out

if TYPE_CHECKING:
    from os import PathLike

# A chunk: at most so many points (some milliseconds to some seconds of work), and at most so many bytes of them; where
# they are sent forth and back, no more than dask takes for small.
_POINTS, _SENT, _QUADRATURE, _IMAGES, _BYTES = 2**20, 2**17, 2**16, 2**10, 2**26
_BY_UNITS = 2**4  # where a point takes a second
_SOLVED = 2**12  # where points may take milliseconds each, and are kept or sent chunk by chunk
_TABULATED = (1e-6, 1e6)  # the range of q for tables that a scan makes


def random_points(count: int, seed: int = 0, **ranges: tuple[Any, ...]) -> dict[tuple[str, ...], NDArray[np.float64]]:
    """Independent random points, as an entry of a scan's axes.

    Parameters
    ----------
    count : int
        How many.
    seed : int
        Of NumPy's PCG64.
    **ranges
        For each axis (low, high), drawn uniformly, or (low, high, "log"), whose logarithm is. Samples, width and depth
        are whole numbers from low to high.

    Returns
    -------
    dict
        The names, and an array with a row for each point.

    Raises
    ------
    ValueError, TypeError
        For a range that is none.

    Examples
    --------
    >>> net = ff.mlp([784, 1000, 1000, 10])
    >>> ff.scan(net, ff.random_points(100, gamma=(0.1, 5), sigma_w2=(0.5, 4, "log"))).shape
    (100,)
    """
    count = _numbers.integer("count", count, 1, 2**53)
    seed = _numbers.integer("seed", seed, 0, 2**63)
    if not ranges:
        raise ValueError("ranges must be given for at least one axis, as gamma=(0.1, 5)")
    refuse_large_array("count", (count, len(ranges)), copies=2)  # columns, and all of them
    random = np.random.Generator(np.random.PCG64(seed))
    columns = []
    for name, bounds in ranges.items():
        low, high, logarithmic = range_of(name, bounds)
        whole = name in WHOLE
        if whole:
            if math.ceil(low) > math.floor(high):
                raise ValueError(f"{name} must have a whole number from low to high, got {_numbers.shown(bounds)}")
            low, high = math.ceil(low), math.floor(high) + 1
        share = random.random(count)
        column = low * (high / low) ** share if logarithmic else low + (high - low) * share
        columns.append(np.minimum(np.floor(column), high - 1) if whole else np.clip(column, low, high))
    return {tuple(ranges): np.column_stack(columns)}


def scan(
    net: Network,
    axes: Mapping[Any, Any],
    quantities: Any = ("lambda_max", "max_learning_rate"),
    theory: Theory = "exact",
    samples: int | None = None,
    overlap: float = 0.0,
    length: float = 1.0,
    biases: bool | None = None,
    loss: Loss = "sum",
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    threads: int | None = None,
    backend: Backend = "cpu",
    chunk: int | None = None,
    store: str | PathLike[str] | None = None,
    client: Any = None,
    progress: bool | Callable[[int, int], object] = False,
    tables: bool | Iterable[Table] = False,
    *,
    edge: bool = False,
    units: int | None = None,
    seed: int = 0,
) -> Scan:
    """`fisher`, `max_learning_rate` and `order_parameters` at every point of a grid.

    Parameters
    ----------
    net : Network
        What is not varied is taken from it.
    axes : mapping
        A name and its values are one dimension of a product. A tuple of names with `zip(...)`, an array (points, names)
        or `random_points(...)` are paired points along one dimension "point". Names: gamma, beta, eps, sigma_w2,
        sigma_b2, scale, rate (in every layer that has them), momentum, samples (inf or None: infinitely many), length,
        overlap, width (of every hidden layer) and depth (affine layers, at least 2), these two where all hidden layers
        are alike, blocks (alike Residuals, at least 1), activation (names, of every Activation), and
        ``"layers[2].gamma"`` or ``"layers[1].branch[0].gamma"`` for one layer alone.
    quantities : sequence of str
        lambda_max, bulk, mean, second_moment, max_learning_rate, multiplicity, parameters, regime, a, b; the columns of
        `OrderParameters` (fan_in, q_hat, ..., c); contributions (part_a, part_b: `Fisher.layers`); shift and spread of
        networks of these widths (`Fisher.shift`), some milliseconds a point, NaN where no formula is known.
    theory, samples, overlap, length, biases, loss, momentum, nesterov, weight_decay
        As in `max_learning_rate`, but that cross-entropy is taken at small logits, lambda_max/C; what is an axis is not
        given here.
    threads : int, optional
        Of each process; by default `num_threads()` there. The result does not depend on it.
    backend : {"cpu", "cuda"}
    chunk : int, optional
        The most points computed, written or sent at a time; by default what takes 64 MB, and at most 2^20 (1048576),
        2^17 where a client sends them back, 2^16 where integrals go by quadrature, 2^10 for images, and 2^12 in stores
        and for clients with `edge`, shift or spread.
    store : path, optional
        A Zarr folder, written chunk by chunk: a scan that was stopped goes on there when it is called again with the
        same arguments; what is damaged or gone of it is computed again, with a warning. Memory is bounded by the chunk.
        Named activations only.
    client : dask.distributed.Client or concurrent.futures.Executor, optional
        Who computes the chunks. With a store the workers write to it themselves and must see the same path.
    progress : bool or callable
        True shows a bar; a callable hears (points done, points in all).
    tables : bool or iterable of Table
        Interpolate the integrals of activations in dense layers without BatchNorm, where these are no rays (relu and
        its like need none): True makes a table (`gaussian.tabulate`) of each for q from 1e-6 to 1e6. Points outside are
        computed as without, and so is a bulk of less than 1 % of a. A layer adds an error of 1e-11 of a and of the
        lengths, which later ones may amplify (to 3e-9 where sigma_w2 = 1e4), in exchange for a hundredfold speed. The
        result's settings name the tables used: none for layers' quantities and multiplicity, which take the integrals.
    edge : bool
        Whether lambda_max, and what follows from it, is the largest of the outlier, the bulk's edge and one sample, as
        in `fisher`. A closed bound decides first, so that other points cost nothing; where it does not, 0.1 to 20 ms a
        point at four layers. Without, the bulk's mean stands for its edge, as in ``fisher(net, edge=False)``, and the
        status is 8 where the bound does not tell that the outlier rules. Of vanilla networks at infinite data, where
        the fast kernels compute b alone, it is one bound for all points, and may say so where another would not.
    units : int, optional
        By so many sampled units at every point, as in `fisher`, with the same seed, so that curves are smooth; of
        networks that have no closed recursion, too. Each point takes what ``fisher(net, units=...)`` takes: a scan of
        more than a minute says how long before it starts. The sampling error is `Fisher.error`'s, which points share;
        the bulk's mean stands for its edge. Overlaps below 0 have the status 6, numbers that leave float32 the status
        2. None: the closed recursion.
    seed : int
        Of the units.

    Returns
    -------
    Scan
        NaN and a status where a point has no value; what `Fisher.reason` says of a network is not repeated for each.
        With `edge` the status 8 stays where the equations were not solved.

    Raises
    ------
    ValueError, TypeError
        For an argument or an axis out of range, in one sentence; for a store of another scan, or one that is damaged so
        that it cannot be known whose it is.
    OSError
        For a store that cannot be written, or a full disk; what was finished stays and the same call goes on. For one
        that another scan writes to (`BlockingIOError`).
    RuntimeError
        For `backend="cuda"` without it; for worker processes that ended abruptly (`BrokenExecutor`).
    ImportError
        For zarr or rich that are not there.

    Notes
    -----
    The same numbers as those of the single functions, to rounding; bit for bit the same for any number of threads and
    workers. Chunks of another size may round otherwise where points differ in kind (1e-15 apart).

    Examples
    --------
    >>> net = ff.mlp([784, 1000, 1000, 1000, 10])
    >>> ff.scan(net, {"gamma": np.linspace(0.1, 5, 200), "sigma_b2": np.linspace(0, 1, 150)}).lambda_max.shape
    (200, 150)
    """
    from .. import __version__

    _numbers.network_of(net)
    grid, values = grid_of(net, axes)
    settings, descent = settings_of(
        net, values, theory, samples, overlap, length, biases, loss, momentum, nesterov, weight_decay, units is not None
    )
    seed = _numbers.seed_of(seed)
    edge = _numbers.boolean("edge", edge)
    _numbers.choice("backend", backend, _numbers.BACKENDS)
    tables = tables_of(tables, backend)
    units = units_of(units, backend, edge, tables)
    wanted = quantities_of(quantities, QUANTITIES)
    networks = with_activations(net, grid, values)
    made = _tables(networks, tables, wanted, settings.theory)
    client = _numbers.client_of(client)
    progress = progress_of(progress)
    if backend == "cuda" and client is None:
        cuda()
    deepest = most_layers(net, values)
    sent = client is not None and store is None
    if units is not None:
        passes = grid.points * (1 + deepest * ("part_a" in core_names(wanted)))
        announce(net, values, settings, units, seed, passes, _numbers.threads_of(threads))
    points = _chunk(networks, settings.theory, wanted, deepest, sent, made) if chunk is None else chunk
    if chunk is None and units is not None and (store is not None or client):
        points = min(points, _BY_UNITS)
    if chunk is None and (edge or any(name in SCATTER for name in wanted)) and (store is not None or client):
        points = min(points, _SOLVED)
    job = Job(
        network=net,
        grid=grid,
        chunk=grid.chunk(_numbers.integer("chunk", points, 1, 2**53)),
        theory=settings,
        descent=descent,
        backend=backend,
        quantities=wanted,
        layers=deepest,
        threads=_numbers.threads_of(threads),
        version=__version__,
        tables=made,
        edge=edge,
        units=units,
        seed=seed,
        norms=norms_of(networks, settings, grid, values),
    )
    if client is None and units is None:
        shifted = any(name.endswith("beta") for name in values)
        passes = min(job.threads or num_threads(), grid.points)
        refuse_large_images(net.replace(beta=1.0) if shifted else net, settings.theory, passes)
    refuse_large(result_bytes(grid.points, wanted, deepest) if store is None else 0, grid.points)
    return carried_out(job, values, store, client, progress)


@functools.lru_cache(maxsize=16)
def _table(phi: Activation) -> Table:
    return tabulate(phi, _TABULATED)


def _tables(
    networks: list[Network], tables: bool | tuple[Table, ...], quantities: tuple[str, ...], theory: str
) -> tuple[Table, ...]:
    """The tables that a scan uses: of those given, or one of each activation that has use for it."""
    images = theory != "wei2019" and networks[0]._facts.convolutional
    by_point = any(name in LAYERED or name == "multiplicity" for name in core_names(quantities))
    if tables is False or images or by_point:
        return ()
    steps = (step for net in networks for step in net.steps if step.previous is not None and step.previous.affine)
    behind = {step.layer for step in steps if step.layer.pointwise}
    phis = dict.fromkeys(phi for net in networks for phi in net.activations if phi in behind and not phi.homogeneous)
    if isinstance(tables, tuple):
        return tuple(table for table in tables if table.activation in phis)
    return tuple(_table(phi) for phi in phis)


def result_bytes(points: int, quantities: tuple[str, ...], layers: int) -> int:
    """What the results of so many points take."""
    return points * (8 * sum(layers if name in LAYERED else 1 for name in core_names(quantities)) + 1)


def _chunk(
    networks: list[Network],
    theory: str,
    quantities: tuple[str, ...],
    layers: int,
    sent: bool,
    tables: tuple[Table, ...],
) -> int:
    """Points of a chunk, by what one costs and takes; the same on any machine, for a store to go on elsewhere."""
    numbers = sum(layers if name in LAYERED else 1 for name in core_names(quantities))
    most = _SENT if sent else _POINTS
    if not tables and not all(_core.has_kernel(phi._compiled) for net in networks for phi in net.activations):
        most = _QUADRATURE
    if theory != "wei2019" and networks[0]._facts.convolutional:
        most = _IMAGES
    return min(most, max(1, _BYTES // (8 * numbers + 1)))
