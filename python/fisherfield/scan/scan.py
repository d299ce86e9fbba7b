# SPDX-License-Identifier: BSD-3-Clause
"""The theory over a grid of parameters: labelled arrays, from one point to more than fit into memory."""

from __future__ import annotations

import functools
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import _core, _labels, _numbers
from ..gaussian import Table, tabulate
from ..network import Activation, Network
from ..network.toml import from_toml
from ..threads import num_threads
from .chunks import Arrays, Job, Status, Work, chunks, cuda
from .grid import Box, Grid, grid_of
from .layout import Damaged
from .store import UNWRITTEN, VERSION, Described, Store, opened
from .tasks import lost

if TYPE_CHECKING:
    from os import PathLike

    from matplotlib.figure import Figure

__all__ = ["Scan", "bar", "carried_out", "random_points", "result_bytes", "scan", "short"]

# A chunk: at most so many points (some milliseconds to some seconds of work), and at most so many bytes of them; where
# they are sent forth and back, no more than dask takes for small.
_POINTS, _SENT, _QUADRATURE, _IMAGES, _BYTES = 2**20, 2**17, 2**16, 2**10, 2**26
_TABULATED = (1e-6, 1e6)  # the range of q for tables that a scan makes
_SMALL = 2**22  # points read at a time from a scan on disk, and the most whose range is looked for when it is printed


@dataclass(frozen=True, eq=False, repr=False)
class Scan:
    """What a scan gives: axes, one array a quantity, and a status for each point.

    `scan["lambda_max"]` and `scan.lambda_max` are arrays over the dimensions, `scan["gamma"]` is an axis. Arrays of a
    scan with a store stay there: they are Zarr's, which load what is sliced.

    Attributes
    ----------
    network : Network
    settings : dict
        theory, samples, overlap, length, biases, loss, momentum, nesterov, weight_decay, backend and tables; an axis's
        setting is its default.
        Of a phase diagram those of its training.
    dimensions : dict
        Of each dimension the names of the axes along it: its own, or those of paired points.
    axes : dict
        The axes' values; samples are inf where there are infinitely many.
    arrays : dict
        The quantities, NaN where the status is neither ok nor 5; "regime" is 1 for outlier, 0 for bulk, -1 for none.
        Order parameters and contributions have a last dimension "layer", 1 .. L, filled with NaN where the depth
        varies.
    status : ndarray of int8
        0 is ok; `Scan.STATUSES` has the words for the others.
    seconds : float
        How long it took, without what was found in a store.
    store : str or None
    """

    STATUSES = _labels.STATUSES

    network: Network
    settings: dict[str, Any]
    dimensions: dict[str, tuple[str, ...]]
    axes: dict[str, NDArray[np.float64]]
    arrays: dict[str, Any]
    status: Any
    seconds: float = 0.0
    store: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """How many values along each dimension."""
        return tuple(int(extent) for extent in self.status.shape)

    @property
    def points(self) -> int:
        """How many points."""
        return math.prod(self.shape)

    def __getitem__(self, name: str) -> Any:
        for names in (self.arrays, self.axes, {"status": self.status}):
            if name in names:
                return names[name]
        raise KeyError(f"{name!r} is none of {', '.join((*self.arrays, *self.axes, 'status'))}")

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name not in Scan.__dataclass_fields__ and name in (*self.arrays, *self.axes):
            return self[name]
        raise AttributeError(f"Scan has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.arrays, *self.axes})

    # ------------------------------------------------------------------------------------------------ in words

    def __repr__(self) -> str:
        given = self.settings
        size = f"{self.points} point{'s' * (self.points != 1)}"
        if len(self.shape) > 1:
            size = f"{' x '.join(map(str, self.shape))} = {size}"
        if "theory" in given:
            said = [f"theory {given['theory']}"]
            if "samples" not in self.axes:
                said.append("infinite data" if given["samples"] is None else f"{given['samples']} samples")
            said += [f"{name} {given[name]:g}" for name in ("overlap", "length") if name not in self.axes]
            said.append("with biases" if given["biases"] else "without biases")
            if "max_learning_rate" in self.arrays:
                said.append(f"loss {given['loss']}")
                said += _labels.descent(given, "momentum" not in self.axes)
        else:
            said = [f"training on {given['data']}, loss {given['loss']}, momentum {given['momentum']:g}"]
            said.append(f"batch {given['batch'] or 'full'}, {given['epochs']} epochs, seeds {given['seeds']}")
        lines = [f"Scan of {size}: {', '.join(said)}"]
        wide = max(map(len, (*self.axes, *self.arrays)), default=0)
        for dimension, names in self.dimensions.items():
            for name in names:
                values = self.axes[name]
                paired = f"  along {dimension}" if names != (dimension,) else ""
                lines.append(f"  {name:<{wide}}  {_range(values)}, {values.size} values{paired}")
        for name, array in self.arrays.items():
            lines.append(f"  {name:<{wide}}  {self._told(name, array)}")
        for status, count in self.failures().items():
            lines.append(f"  {count} point{'s' * (count != 1)}: {_labels.STATUSES[status]}")
        if given.get("tables"):
            lines.append(f"  with tables of {given['tables']}")
        if self.store is not None:
            lines.append(f"  in {self.store}")
        if self.seconds > 0:
            lines.append(f"  {_time(self.seconds)}, {_time(self.seconds / self.points)} a point")
        return "\n".join(lines)

    def _told(self, name: str, array: Any) -> str:
        if self.store is not None and self.points > _SMALL:
            return "on disk"
        if name == "regime":
            counts = {word: int(np.count_nonzero(np.asarray(array) == at)) for at, word in _labels.REGIMES.items()}
            return ", ".join(f"{word} {count} times" for word, count in counts.items() if count)
        layers = f", {array.shape[-1]} layers" if array.ndim > self.status.ndim else ""
        return _range(np.asarray(array)) + layers

    def failures(self) -> dict[int, int]:
        """How many points have each status that is not ok."""
        counts = np.zeros(len(_labels.STATUSES), dtype=np.int64)
        for box in self.boxes():
            counts += np.bincount(np.asarray(self.status[box]).ravel() + 1, minlength=counts.size)
        return {status: int(count) for status, count in enumerate(counts, start=-1) if count and status != 0}

    def boxes(self) -> Iterator[Any]:
        """Slices of the dimensions that cover the points, of some millions each, for arrays that memory cannot hold."""
        grid = Grid(tuple(self.dimensions), self.shape, ())
        chunk = grid.chunk(_SMALL)
        for number in range(grid.boxes(chunk)):
            yield grid.box(chunk, number) or ...

    # -------------------------------------------------------------------------------------------- to other things

    def to_xarray(self) -> Any:
        """An xarray.Dataset: dimensions, coordinates, and attributes that say all there is to know.

        It goes to netCDF and Zarr and comes back by `Scan.open`. With a store it is `xarray.open_zarr` of that, lazy.

        Raises ImportError without xarray.
        """
        try:
            import xarray
        except ImportError:
            raise ImportError("to_xarray needs xarray: pip install 'fisherfield[scan]'") from None
        if self.store is not None:
            return xarray.open_zarr(self.status.store)  # which looks at checksums and missing files
        layers = next((array.shape[-1] for array in self.arrays.values() if array.ndim > self.status.ndim), 0)
        return xarray.Dataset(
            {name: (tuple(dimensions), self[name], said) for name, (dimensions, said) in self._variables().items()},
            _coordinates(self.dimensions, self.axes, layers),
            self._attributes(),
        )

    def _variables(self) -> dict[str, tuple[tuple[str, ...], dict[str, Any]]]:
        return _variables(tuple(self.dimensions), tuple(self.arrays))

    def _attributes(self) -> dict[str, Any]:
        return _attributes(self.network, self.settings, self.dimensions, tuple(self.arrays))

    @classmethod
    def open(cls, source: Any) -> Scan:
        """A scan from its store, its netCDF file, or the xarray.Dataset of either.

        Raises
        ------
        ValueError
            For one that no scan has written. For a store that is damaged, here or where its arrays are read: the same
            scan with that store computes again what it was.
        FileNotFoundError
            Where there is nothing of that name.
        ImportError
            Without zarr or xarray.
        """
        path = None
        if isinstance(source, (str, os.PathLike)):
            path = os.fspath(source)
            if not os.path.exists(path):
                raise FileNotFoundError(f"{path} is not there")
            if os.path.isdir(path):
                return _from_store(path, 0.0)
            try:
                import xarray
            except ImportError:
                raise ImportError("netCDF files need xarray: pip install 'fisherfield[scan]'") from None
            try:
                source = xarray.load_dataset(path)
            except (ValueError, OSError) as error:
                if getattr(error, "errno", None) is not None:
                    raise
                source = None  # none of the formats that xarray knows here
        if not hasattr(source, "data_vars") or VERSION not in source.attrs:
            raise ValueError(f"source must be what a scan has written, got {_numbers.shown(path or source)}")
        variables = {name: source[name].data for name in (*source.data_vars, *source.coords)}
        return _from_parts(variables, source.attrs, 0.0, None, path or "a Dataset")

    def to_pandas(self) -> Any:
        """A pandas.DataFrame, one row a point, indexed by the dimensions; per-layer quantities have a column a layer.

        Its `attrs` are those of `to_xarray()`, which Parquet keeps.

        Raises ImportError without pandas.
        """
        try:
            import pandas
        except ImportError:
            raise ImportError("to_pandas needs pandas: pip install pandas") from None
        columns: dict[str, Any] = {}
        for place, (dimension, names) in enumerate(self.dimensions.items()):
            if names != (dimension,):
                along = [-1 if place == at else 1 for at in range(len(self.shape))]
                for name in names:
                    columns[name] = np.broadcast_to(self.axes[name].reshape(along), self.shape).ravel()
        for name, array in self.arrays.items():
            values = np.asarray(array)
            if name == "regime":
                words = pandas.Categorical.from_codes(values.ravel(), categories=["bulk", "outlier"])
                columns[name] = words
            elif values.ndim > len(self.shape):
                rows = values.reshape(self.points, values.shape[-1])
                columns |= {f"{name}[{layer}]": row for layer, row in enumerate(rows.T, start=1)}
            else:
                columns[name] = values.ravel()
        columns["status"] = np.asarray(self.status).ravel()
        index = None
        if self.dimensions:
            sides = [
                self.axes[name] if names == (name,) else np.arange(extent)
                for (name, names), extent in zip(self.dimensions.items(), self.shape, strict=True)
            ]
            index = pandas.MultiIndex.from_product(sides, names=list(self.dimensions))
            if len(sides) == 1:
                index = pandas.Index(sides[0], name=next(iter(self.dimensions)))
        frame = pandas.DataFrame(columns, index=index)
        frame.attrs = self._attributes()
        return frame

    def plot(self, quantity: str | None = None, ax: Any = None, select: Mapping[str, float] | None = None) -> Figure:
        """One axis as lines, two as a map, paired points as dots; logarithmic where the values ask for it.

        An axis of at most 6 values beside a longer one gives a line for each of them, in place of a map.

        Parameters
        ----------
        quantity : str, optional
            By default the first one.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a figure of its own, independent of `matplotlib.pyplot`.
        select : mapping, optional
            Names and the values to draw of them, where a scan has more axes than can be drawn: the nearest value is
            taken, and the title says which. "layer" counts from 1, "point" (of paired points) from 0.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ValueError
            For a quantity or a selection that is not there, and for more dimensions than can be drawn.
        ImportError
            Without matplotlib.
        """
        from ..plots.scan import plot

        return plot(self, quantity, ax, select or {})


def _range(values: NDArray[Any]) -> str:
    """The least and the greatest value."""
    with np.errstate(invalid="ignore"):
        kept = values[~np.isnan(values)]
    if not kept.size:
        return "NaN"
    low, high = kept.min(), kept.max()
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return next(
        f"{seconds * scale:.3g} {unit}"
        for unit, scale in (("ms", 1e3), ("us", 1e6), ("ns", 1e9))
        if seconds * scale >= 1 or unit == "ns"
    )


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
    _numbers.refuse_large_array("count", (count, len(ranges)), copies=2)  # columns, and all of them
    random = np.random.Generator(np.random.PCG64(seed))
    columns = []
    for name, given in ranges.items():
        low, high, logarithmic = _numbers.range_of(name, given)
        whole = name in ("samples", "width", "depth")
        if whole:
            if math.ceil(low) > math.floor(high):
                raise ValueError(f"{name} must have a whole number from low to high, got {_numbers.shown(given)}")
            low, high = math.ceil(low), math.floor(high) + 1
        share = random.random(count)
        column = low * (high / low) ** share if logarithmic else low + (high - low) * share
        columns.append(np.minimum(np.floor(column), high - 1) if whole else np.clip(column, low, high))
    return {tuple(ranges): np.column_stack(columns)}


def scan(
    net: Network,
    axes: Mapping[Any, Any],
    quantities: Any = ("lambda_max", "max_learning_rate"),
    theory: str = "exact",
    samples: int | None = None,
    overlap: float = 0.0,
    length: float = 1.0,
    biases: bool | None = None,
    loss: str = "sum",
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    threads: int | None = None,
    backend: str = "cpu",
    chunk: int | None = None,
    store: str | PathLike[str] | None = None,
    client: Any = None,
    progress: bool | Callable[[int, int], object] = False,
    tables: bool | Iterable[Table] = False,
) -> Scan:
    """`fisher`, `max_learning_rate` and `order_parameters` at every point of a grid.

    Parameters
    ----------
    net : Network
        What is not varied is taken from it.
    axes : mapping
        A name and its values are one dimension of a product. A tuple of names with `zip(...)`, an array (points, names)
        or `random_points(...)` are paired points along one dimension "point". Names: gamma, beta, eps, sigma_w2,
        sigma_b2 (in every layer that has them), momentum, samples (inf or None: infinitely many), length, overlap,
        width (of every hidden layer) and depth (affine layers, at least 2), these two where all hidden layers are
        alike, and ``"layers[2].gamma"`` for one entry of `net.layers`.
    quantities : sequence of str
        lambda_max, bulk, mean, second_moment, max_learning_rate, multiplicity, parameters, regime, a, b; the columns of
        `OrderParameters` (fan_in, q_hat, ..., c); contributions (part_a, part_b: `Fisher.layers`).
    theory, samples, overlap, length, biases, loss, momentum, nesterov, weight_decay
        As in `max_learning_rate`; what is an axis is not given here.
    threads : int, optional
        Of each process; by default `num_threads()` there. The result does not depend on it.
    backend : {"cpu", "cuda"}
    chunk : int, optional
        The most points computed, written or sent at a time; by default what takes 64 MB, and at most 2^20 (1048576),
        2^17 where a client sends them back, 2^16 where integrals go by quadrature, 2^10 for images.
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

    Returns
    -------
    Scan
        NaN and a status where a point has no value; what `Fisher.reason` says of a network is not repeated for each.

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
    settings = _numbers.scan_settings_of(
        net, values, theory, samples, overlap, length, biases, loss, momentum, nesterov, weight_decay
    )
    settings["backend"] = _numbers.choice("backend", backend, _numbers.BACKENDS)
    wanted = _numbers.quantities_of(quantities, _labels.QUANTITIES)
    made = _tables(net, _numbers.tables_of(tables, backend), wanted, settings["theory"])
    settings["tables"] = ", ".join(f"{each.activation} at q {each.q[0]:g} to {each.q[1]:g}" for each in made)
    client = _numbers.client_of(client)
    progress = _numbers.progress_of(progress)
    if backend == "cuda" and client is None:
        cuda()
    deepest = int(values["depth"].max()) if "depth" in values else net.depth
    sent = client is not None and store is None
    points = _chunk(net, settings["theory"], wanted, deepest, sent, made) if chunk is None else chunk
    job = Job(
        network=net,
        grid=grid,
        chunk=grid.chunk(_numbers.integer("chunk", points, 1, 2**53)),
        settings=settings,
        quantities=wanted,
        layers=deepest,
        threads=0 if threads is None else _numbers.integer("threads", threads, 1, 4096),
        version=__version__,
        tables=made,
    )
    if client is None:
        shifted = any(name.endswith("beta") for name in values) and bool(net.batch_norms)
        passes = min(job.threads or num_threads(), grid.points)
        _numbers.refuse_large_images(net.replace(beta=1.0) if shifted else net, settings["theory"], passes)
    _numbers.refuse_large(result_bytes(grid.points, wanted, deepest) if store is None else 0, grid.points)
    return carried_out(job, values, store, client, progress)


def carried_out(job: Work, values: dict[str, NDArray[np.float64]], store: Any, client: Any, progress: Any) -> Scan:
    """All chunks of a job, here or by a client, in memory or in a store that goes on where it was stopped."""
    grid = job.grid
    count = grid.boxes(job.chunk)
    kept = None if store is None else Store(_numbers.path_of("store", store))
    result, left = _Result(job), dict.fromkeys(range(count))
    try:
        if kept is not None:
            _prepare(kept, job, values)
        begin = time.perf_counter()
        with _speaking(kept, lambda: (count - len(left), count)), _telling(progress, grid.points) as told:
            if kept is not None:
                left = dict.fromkeys(kept.unfinished(left, job.box))
                if left and kept.hold():  # somebody else may have written until now
                    left = dict.fromkeys(kept.unfinished(left, job.box))
                kept.clear(left, job.box)
            told.begin(grid.points - sum(_points(job, number) for number in left))
            for number, arrays, status in chunks(job, list(left), values, kept, client, told.within):
                if arrays is not None and status is not None:
                    result.take(job.box(number), arrays, status)
                del left[number]
                told.add(_points(job, number))
            if kept is not None:
                kept.sweep()
    finally:
        if kept is not None:
            kept.release()
    seconds = time.perf_counter() - begin if told.done > told.before else 0.0
    if kept is not None:
        return _from_store(kept.path, seconds)
    return Scan(job.network, job.settings, _dimensions(grid), values, result.arrays, result.status, seconds)


@functools.lru_cache(maxsize=16)
def _table(phi: Activation) -> Table:
    return tabulate(phi, _TABULATED)


def _tables(
    net: Network, given: bool | tuple[Table, ...], quantities: tuple[str, ...], theory: str
) -> tuple[Table, ...]:
    """The tables that a scan uses: of those given, or one of each activation that has use for it."""
    images = theory != "wei2019" and net._facts.convolutional
    by_point = any(name in _labels.LAYERED or name == "multiplicity" for name in _labels.core_names(quantities))
    if given is False or images or by_point:
        return ()
    steps = (step for step in net.steps if step.previous is not None and step.previous.affine)
    behind = {step.layer for step in steps if step.layer.pointwise}
    phis = dict.fromkeys(phi for phi in net.activations if phi in behind and not phi.homogeneous)
    if isinstance(given, tuple):
        return tuple(table for table in given if table.activation in phis)
    return tuple(_table(phi) for phi in phis)


def result_bytes(points: int, quantities: tuple[str, ...], layers: int) -> int:
    """What the results of so many points take."""
    return points * (8 * sum(layers if name in _labels.LAYERED else 1 for name in _labels.core_names(quantities)) + 1)


def _chunk(
    net: Network, theory: str, quantities: tuple[str, ...], layers: int, sent: bool, tables: tuple[Table, ...]
) -> int:
    """Points of a chunk, by what one costs and takes; the same on any machine, for a store to go on elsewhere."""
    numbers = sum(layers if name in _labels.LAYERED else 1 for name in _labels.core_names(quantities))
    most = _SENT if sent else _POINTS
    if not tables and not all(_core.has_kernel(phi._compiled) for phi in net.activations):
        most = _QUADRATURE
    if theory != "wei2019" and net._facts.convolutional:
        most = _IMAGES
    return min(most, max(1, _BYTES // (8 * numbers + 1)))


def _points(job: Work, number: int) -> int:
    return math.prod(side.stop - side.start for side in job.box(number))


class _Result:
    """Arrays in memory: those of the only chunk, or places for all of them."""

    def __init__(self, job: Work) -> None:
        self.shape = job.grid.shape
        self.arrays: dict[str, NDArray[Any]] = {}
        self.status: Any = None

    def take(self, box: Box, arrays: Arrays, status: Status) -> None:
        if status.shape == self.shape:
            self.arrays, self.status = arrays, status
            return
        if self.status is None:
            self.status = np.empty(self.shape, status.dtype)
            for name, array in arrays.items():
                self.arrays[name] = np.empty((*self.shape, *array.shape[len(self.shape) :]), array.dtype)
        for name, array in arrays.items():
            self.arrays[name][box] = array
        self.status[box] = status


# -------------------------------------------------------------------------------------------- attributes and stores


def _dimensions(grid: Grid) -> dict[str, tuple[str, ...]]:
    return {
        dimension: tuple(axis.name for axis in grid.axes if axis.dimension == place)
        for place, dimension in enumerate(grid.dimensions)
    }


# The settings of a scan, of a phase diagram and of boundaries, and what stands for None in a file.
_OF_THEORY = (
    *("theory", "samples", "overlap", "length", "biases", "loss", "momentum", "nesterov", "weight_decay", "backend"),
    "tables",
)
_OF_TRAINING = (
    *("data", "standardize", "n", "checksum", "loss", "momentum", "nesterov", "weight_decay", "batch", "epochs"),
    *("threshold", "dtype", "trained", "seeds"),
)
_OF_BOUNDARIES = (*_OF_TRAINING, "tolerance", "reach")
_NONE = {"samples": "infinitely many", "batch": "full"}


def _attributes(
    net: Network, settings: dict[str, Any], dimensions: dict[str, tuple[str, ...]], quantities: tuple[str, ...]
) -> dict[str, Any]:
    """What was computed, in words and numbers that any file format holds."""
    from .. import __version__

    axes = [name for names in dimensions.values() for name in names]
    said = {name: "axis" if name in axes else value for name, value in settings.items()}
    for name, value in said.items():
        if value is None:
            said[name] = _NONE.get(name, "none")
        elif isinstance(value, bool):
            said[name] = str(value)
    what = "mean-field theory" if "theory" in settings else "training"
    try:
        network = net._to_toml()
    except ValueError:  # a callable has no name
        network = repr(net)
    return {
        "title": f"{', '.join(quantities)} over {', '.join(axes) or 'one point'}: {what} of wide networks",
        VERSION: __version__,
        "network": network,
        **said,
        "quantities": " ".join(quantities),
        "dimensions": json.dumps(dimensions),
    }


def _variables(
    dimensions: tuple[str, ...], arrays: tuple[str, ...]
) -> dict[str, tuple[tuple[str, ...], dict[str, Any]]]:
    """Dimensions and attributes of every array, the status too."""
    told: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {}
    for name in arrays:
        layer = ("layer",) if name in _labels.LAYERED else ()
        told[name] = ((*dimensions, *layer), {"long_name": _labels.meaning(name), "units": "1"})
    if "regime" in told:
        told["regime"] = (dimensions, {"long_name": _labels.meaning("regime"), **_flags(_labels.REGIMES)})
    told["status"] = (dimensions, {"long_name": "whether the numbers are there", **_flags(_labels.STATUSES)})
    return told


def _flags(words: dict[int, str]) -> dict[str, Any]:
    meanings = [re.sub(r"\W+", "_", text) for text in words.values()]  # CF: letters, digits and underscores
    return {"flag_values": list(words), "flag_meanings": " ".join(meanings)}


def _coordinates(
    dimensions: dict[str, tuple[str, ...]], axes: dict[str, NDArray[np.float64]], layers: int
) -> dict[str, Described]:
    """Every axis, and the layers' numbers where there are any."""
    told: dict[str, Described] = {
        name: ((dimension,), axes[name], {"long_name": _labels.meaning(name), "units": "1"})
        for dimension, names in dimensions.items()
        for name in names
    }
    if layers:
        told["layer"] = (("layer",), np.arange(1, layers + 1), {"long_name": "affine layer", "units": "1"})
    return told


def _prepare(store: Store, job: Work, values: dict[str, NDArray[np.float64]]) -> None:
    """The store is made, or found to be this scan's."""
    job.network._to_toml()  # refuses callables: a store must know whose it is
    arrays = tuple(name if name != "outlier" else "regime" for name in _labels.core_names(job.quantities))
    dimensions = _dimensions(job.grid)
    variables = _variables(tuple(dimensions), arrays)
    layered = any(name in _labels.LAYERED for name in arrays)
    coordinates = _coordinates(dimensions, values, job.layers if layered else 0)
    attributes = _attributes(job.network, job.settings, dimensions, arrays)
    attributes["chunk"] = list(job.chunk)
    if paired := [name for name, (along, _, _) in coordinates.items() if along != (name,)]:
        attributes["coordinates"] = " ".join(paired)
    empty: dict[str, NDArray[Any]] = {
        name: np.full(job.layers, np.nan) if name in _labels.LAYERED else np.array(np.nan) for name in arrays
    }
    empty |= {name: np.array(-1, np.int8) for name in ("regime", "status") if name in variables}
    with _speaking(store, None):
        store.prepare(
            attributes,
            coordinates,
            {name: (along, empty[name], said) for name, (along, said) in variables.items()},
            job.grid.shape,
            job.chunk,
        )


def _from_store(path: str, seconds: float) -> Scan:
    group = opened(path)
    if group is None or VERSION not in group.attrs:
        raise ValueError(f"source must be what a scan has written, got {path!r}")
    return _from_parts(dict(group.arrays()), dict(group.attrs), seconds, path, path)


def _from_parts(
    variables: Mapping[str, Any], said: Mapping[str, Any], seconds: float, store: str | None, source: Any
) -> Scan:
    """A scan from its variables and attributes, wherever they stand; refused in a sentence where they do not fit."""
    if str(said.get("network")).startswith("Network("):
        raise ValueError("network must be one of named activations to be read back, got a Python callable")
    try:
        scan = _assembled(variables, said, seconds, store)
    except Damaged:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"source must be what a scan has written, whole, got {_numbers.shown(source)}: {what}"
        ) from None
    shapes = {name: (scan.axes[name].size,) for names in scan.dimensions.values() for name in names}
    grid = tuple(scan.axes[names[0]].size for names in scan.dimensions.values())
    for name, array in (*scan.axes.items(), *scan.arrays.items(), ("status", scan.status)):
        fits = shapes.get(name, grid)
        if array.shape[: len(fits)] != fits or array.ndim - len(fits) != (name in _labels.LAYERED):
            shown = _numbers.shown(source)
            raise ValueError(f"source must be what a scan has written, whole, got {shown}: {name} has another shape")
    return scan


def _assembled(variables: Mapping[str, Any], said: Mapping[str, Any], seconds: float, store: str | None) -> Scan:
    dimensions = {name: tuple(names) for name, names in json.loads(said["dimensions"]).items()}
    said = {**UNWRITTEN, **said}
    default = {"samples": None, "overlap": 0.0, "length": 1.0, "momentum": 0.0}
    words = {*_NONE.values(), "none"}
    settings: dict[str, Any] = {}
    names = _OF_THEORY if "theory" in said else _OF_BOUNDARIES if "tolerance" in said else _OF_TRAINING
    for name in names:
        value = said[name].item() if hasattr(said[name], "item") else said[name]
        if isinstance(value, str):
            value = default.get(name) if value == "axis" else None if value in words else value
            value = {"True": True, "False": False}.get(value, value) if isinstance(value, str) else value
        settings[name] = value
    return Scan(
        from_toml("the network of the scan", str(said["network"]).encode()),
        settings,
        dimensions,
        {name: np.asarray(variables[name][...]) for names in dimensions.values() for name in names},
        {name: variables[name] for name in str(said["quantities"]).split()},
        variables["status"],
        seconds,
        store,
    )


# -------------------------------------------------------------------------------------------- what is said meanwhile


@contextmanager
def _speaking(store: Store | None, state: Callable[[], tuple[int, int]] | None) -> Iterator[None]:
    """Turns what goes wrong on disks and with workers into one sentence that says what is left of the scan."""

    def rest() -> str:
        if state is None:
            return "and no scan was begun"
        finished = "{} of {} chunks finished".format(*state())
        if store is None:
            return f"with {finished}: a scan that is to go on later needs a store"
        return f"with {finished}, which stay: the same call goes on from there"

    try:
        yield
    except KeyboardInterrupt:
        if state is None:
            raise
        # Not a class of its own: Python dies of SIGINT, as shells expect, by KeyboardInterrupt itself alone.
        raise KeyboardInterrupt(f"scan stopped {rest()}") from None
    except OSError as error:
        if store is None or error.errno is None:
            raise
        said = f"store {store.path!r} cannot be written ({error.strerror}), {rest()}"
        raise OSError(error.errno, said) from error
    except Exception as error:
        if not lost(error):
            raise
        said = f"a worker process ended abruptly, killed or out of memory, {rest()}"
        raise BrokenExecutor(said) from error


class _Told:
    """Counts points for whoever wants to hear: `progress(done, in all)`."""

    def __init__(self, total: int, say: Callable[[int, int], object]) -> None:
        self.total, self.say, self.before, self.done = total, say, 0, 0

    def begin(self, done: int) -> None:
        """So many were found finished."""
        self.before = self.done = done
        self.say(done, self.total)

    def within(self, points: int) -> None:
        """So many are done of the chunk at work."""
        self.say(self.done + points, self.total)

    def add(self, points: int) -> None:
        """A chunk is done."""
        self.done += points
        self.say(self.done, self.total)


@contextmanager
def _telling(progress: Any, total: int) -> Iterator[_Told]:
    if progress is False:
        yield _Told(total, lambda done, total: None)
    elif progress is not True:
        yield _Told(total, progress)
    else:
        with bar() as say:
            yield _Told(total, say)


@contextmanager
def bar(console: Any = None, noun: str = "points") -> Iterator[Callable[[int, int], object]]:
    """The bar of `progress=True`, on standard output or a console of rich's."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn(), TextColumn("left"))
    with Progress(*columns, console=console) as progress:
        yield _Bar(progress, noun)


class _Bar:
    """How many are done, how many a second, and the time that is left."""

    def __init__(self, progress: Any, noun: str) -> None:
        self.progress, self.noun, self.task, self.start, self.before = progress, noun, None, 0.0, 0

    def __call__(self, done: int, total: int) -> None:
        if self.task is None:
            self.start, self.before = time.perf_counter(), done
            self.task = self.progress.add_task("", total=total, completed=done)
        rate = (done - self.before) / max(time.perf_counter() - self.start, 1e-9)
        words = f"{short(done)} of {short(total)} {self.noun}, {short(rate)} {self.noun}/s,"
        self.progress.update(self.task, completed=done, description=words)


def short(count: float) -> str:
    """E.g. 1.25M; 0.25."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}" if count >= 10 or count == int(count) else f"{count:.2g}"
