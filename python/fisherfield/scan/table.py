# SPDX-License-Identifier: BSD-3-Clause
"""A scan as a labelled table: axes, one array a quantity and a status; from and to files and libraries."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, KeysView, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._html import InNotebooks
from .._numbers import path_of
from .._optional import optional
from .._words import plural, seconds_in_words, shown
from ..network import Network
from ..network.toml import from_toml
from .attributes import attributes_of, coordinates_of, named, note_of, settings_from, variables_of
from .grid import Grid
from .labels import LAYERED, REGIMES, STATUSES, kind_of, status_in_words
from .layout import ACTIVATIONS, DIMENSIONS, Damaged, dimensions_from
from .store import VERSION, opened
from .structure import names_activations

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SMALL = 2**22  # points read at a time from a scan on disk, and the most whose range is looked for when it is printed


@dataclass(frozen=True, eq=False, repr=False)
class Scan(InNotebooks):
    """What a scan gives: axes, one array a quantity, and a status for each point.

    `scan["lambda_max"]` and `scan.lambda_max` are arrays over the dimensions, `scan["gamma"]` is an axis. Arrays of a
    scan with a store stay there: they are Zarr's, which load what is sliced.

    Attributes
    ----------
    network : Network
    settings : dict
        theory, samples, overlap, length, biases, loss, momentum, nesterov, weight_decay, backend, tables, edge, units
        and seed; an axis's setting is its default.
        Of a phase diagram those of its training.
    dimensions : dict
        Of each dimension the names of the axes along it: its own, or those of paired points.
    axes : dict
        The axes' values; samples are inf where there are infinitely many, activations are names.
    arrays : dict
        The quantities, NaN where the status is none of ok, 5 and 8; "regime" is 1 for outlier, 0 for bulk, 2 for one
        sample, -1 for none. shift and spread are NaN where no formula is known, too.
        Order parameters and contributions have a last dimension "layer", 1 .. L, filled with NaN where the depth
        varies.
    status : ndarray of int8
        0 is ok; `Scan.STATUSES` has the words for the others.
    seconds : float
        How long it took, without what was found in a store.
    store : str or None
    """

    STATUSES = STATUSES

    network: Network
    settings: dict[str, Any]
    dimensions: dict[str, tuple[str, ...]]
    axes: dict[str, NDArray[Any]]
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
            if isinstance(name, str) and name in names:
                return names[name]
        raise KeyError(f"{shown(name)} is none of {', '.join(self)}")

    def __iter__(self) -> Iterator[str]:
        return iter((*self.arrays, *self.axes, "status"))

    def __len__(self) -> int:
        """How many names `scan[name]` takes; `points` says how many points there are."""
        return len(self.arrays) + len(self.axes) + 1

    def __contains__(self, name: object) -> bool:
        return name in tuple(self)

    def keys(self) -> KeysView[str]:
        """The names that `scan[name]` takes: quantities, axes and the status; `dict(scan)` has their arrays."""
        return dict.fromkeys(self).keys()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name not in Scan.__dataclass_fields__ and name in (*self.arrays, *self.axes):
            return self[name]
        raise AttributeError(f"Scan has no attribute {shown(name)}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.arrays, *self.axes})

    # ------------------------------------------------------------------------------------------------ in words

    def __repr__(self) -> str:
        size = plural(self.points, "point")
        if len(self.shape) > 1:
            size = f"{' x '.join(map(str, self.shape))} = {size}"
        lines = [f"Scan of {size}: {', '.join(kind_of(self.settings).words(self.settings, self.axes, self.arrays))}"]
        wide = max(map(len, (*self.axes, *self.arrays)), default=0)
        for dimension, names in self.dimensions.items():
            for name in names:
                values = self.axes[name]
                paired = f"  along {dimension}" if names != (dimension,) else ""
                lines.append(f"  {name:<{wide}}  {range_in_words(values)}, {values.size} values{paired}")
        for name, array in self.arrays.items():
            lines.append(f"  {name:<{wide}}  {self._in_words(name, array)}")
        for status, count in self.failures().items():
            lines.append(f"  {plural(count, 'point')}: {status_in_words(status, self.settings)}")
        if note := note_of(self.network, self.settings):
            lines.append(f"  note: {note}")
        if self.settings.get("tables"):
            lines.append(f"  with tables of {self.settings['tables']}")
        if self.store is not None:
            lines.append(f"  in {self.store}")
        if self.seconds > 0:
            lines.append(f"  {seconds_in_words(self.seconds)}, {seconds_in_words(self.seconds / self.points)} a point")
        return "\n".join(lines)

    def _in_words(self, name: str, array: Any) -> str:
        if self.store is not None and self.points > _SMALL:
            return "on disk"
        if name == "regime":
            counts = {word: int(np.count_nonzero(np.asarray(array) == at)) for at, word in REGIMES.items()}
            return ", ".join(f"{word} {count} times" for word, count in counts.items() if count)
        layers = f", {array.shape[-1]} layers" if array.ndim > self.status.ndim else ""
        return range_in_words(np.asarray(array)) + layers

    def failures(self) -> dict[int, int]:
        """How many points have each status that is not ok."""
        counts = np.zeros(len(STATUSES), dtype=np.int64)
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
        xarray = optional("xarray", "to_xarray needs xarray", "fisherfield[scan]")
        if self.store is not None:
            dataset = xarray.open_zarr(self.status.store)  # which looks at checksums and missing files
            for name in [name for name in self.axes if name in dataset.coords and self.axes[name].dtype.kind == "U"]:
                dataset = dataset.assign_coords({name: (dataset[name].dims, self.axes[name], dataset[name].attrs)})
            return dataset.assign_attrs({DIMENSIONS: dataset.attrs.pop("dimensions", "{}"), **dataset.attrs})
        layers = next((array.shape[-1] for array in self.arrays.values() if array.ndim > self.status.ndim), 0)
        return xarray.Dataset(
            {
                name: (dimensions, self[name], attributes)
                for name, (dimensions, attributes) in variables_of(tuple(self.dimensions), self.arrays).items()
            },
            coordinates_of(self.dimensions, self.axes, layers),
            self._attributes(),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it, by the ending of `path`: ``.nc`` (netCDF), ``.zarr``, ``.csv`` or ``.parquet``.

        `Scan.open` reads the first two; CSV has no place for the settings. A file that is there is replaced, whole or
        not at all; a folder that is there is not.

        Raises
        ------
        ValueError
            For another ending, and for a store that is there.
        ImportError
            Without what writes it (xarray and h5netcdf or zarr, pandas, pyarrow).
        OSError
            For what cannot be written.
        """
        from .files import save

        save(self, path)

    def _attributes(self) -> dict[str, Any]:
        attributes = attributes_of(self.network, self.settings, self.dimensions, tuple(self.arrays))
        return {DIMENSIONS if name == "dimensions" else name: value for name, value in attributes.items()}

    @classmethod
    def open(cls, source: Any) -> Scan:
        """A scan from its store, its netCDF file, or the xarray.Dataset of either.

        Of a Dataset that was cut, the scan has what is left: some of the quantities, a part of the values, or one value
        (`dataset.isel(gamma=0)`), which makes an axis of one value.

        Raises
        ------
        ValueError
            For one that no scan has written, and for a Dataset without the status, without an axis (a mean over it has
            lost which values it was taken over) or with a part of the layers. For a store that is damaged, here or
            where its arrays are read: the same scan with that store computes again what it was.
        FileNotFoundError
            Where there is nothing of that name.
        ImportError
            Without zarr or xarray.
        """
        path = None
        if isinstance(source, (str, os.PathLike)):
            path = path_of("source", source)
            if not os.path.exists(path):
                raise FileNotFoundError(f"{path} is not there")
            if os.path.isdir(path):
                return from_store(path, 0.0)
            xarray = optional("xarray", "netCDF files need xarray", "fisherfield[scan]")
            try:
                source = xarray.load_dataset(path)
            except (ValueError, OSError) as error:
                if getattr(error, "errno", None) is not None:
                    raise
                source = None  # none of the formats that xarray knows here
        if not hasattr(source, "data_vars") or VERSION not in source.attrs:
            raise ValueError(f"source must be what a scan has written, got {shown(path or source)}")
        variables, attributes = _whole(source)
        return _from_parts(variables, attributes, 0.0, None, path or "a Dataset")

    def to_pandas(self) -> Any:
        """A pandas.DataFrame, one row a point, indexed by the dimensions; per-layer quantities have a column a layer.

        Its `attrs` are those of `to_xarray()`, which Parquet keeps.

        Raises ImportError without pandas.
        """
        pandas = optional("pandas", "to_pandas needs pandas", "pandas")
        columns: dict[str, Any] = {}
        for place, (dimension, names) in enumerate(self.dimensions.items()):
            if names != (dimension,):
                along = [-1 if place == at else 1 for at in range(len(self.shape))]
                for name in names:
                    columns[name] = np.broadcast_to(self.axes[name].reshape(along), self.shape).ravel()
        for name, array in self.arrays.items():
            values = np.asarray(array)
            if name == "regime":
                words = pandas.Categorical.from_codes(values.ravel(), categories=["bulk", "outlier", "sample"])
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

    def plot(
        self,
        quantity: str | None = None,
        ax: Any = None,
        select: Mapping[str, Any] | None = None,
        label: str | None = None,
    ) -> Figure:
        """One axis as lines, two as a map, paired points as dots; logarithmic where the values ask for it.

        An axis of at most 6 values beside a longer one gives a line for each of them, in place of a map.

        Parameters
        ----------
        quantity : str, optional
            By default the first one.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a figure of its own, which a notebook or `plt.show()` shows.
        select : mapping, optional
            Names and the values to draw of them, where a scan has more axes than can be drawn: the nearest value is
            taken, and the title says which. "layer" counts from 1, "point" (of paired points) from 0.
        label : str, optional
            Of its lines in the legend. Scans that are drawn onto the same axes have one by default: what their theory,
            data, loss and descent differ in, or a number.

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

        return plot(self, quantity, ax, {} if select is None else select, label)


def range_in_words(values: NDArray[Any]) -> str:
    """The least and the greatest value, or the words."""
    if values.dtype.kind == "U":
        words = list(dict.fromkeys(values.tolist()))
        return ", ".join(words if len(words) <= 4 else [*words[:3], "..."])
    with np.errstate(invalid="ignore"):
        kept = values[~np.isnan(values)]
    if not kept.size:
        return "NaN"
    low, high = kept.min(), kept.max()
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"


def numbered(dataset: Any) -> Any:
    """A Dataset as stores have it: numbers in place of words, for which Zarr has no standard."""
    coded = [name for name, own in dataset.coords.items() if names_activations(str(name)) and own.dtype.kind == "U"]
    if not coded:
        return dataset
    words = np.unique(np.concatenate([dataset[name].values.ravel() for name in coded]))
    for name in coded:
        own = dataset[name]
        numbers = np.searchsorted(words, own.values).astype(float)
        dataset = dataset.assign_coords({name: (own.dims, numbers, own.attrs)})
    return dataset.assign_attrs({ACTIVATIONS: words.tolist()})


def _whole(dataset: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A Dataset's variables along all dimensions that the scan had, in their order, and its attributes.

    A dimension along which one value was chosen has that one; quantities that were left out are none of the scan's.
    """
    attributes = dict(dataset.attrs)
    with suppress(KeyError, ValueError, TypeError, AttributeError):  # said by who reads them
        dimensions = dimensions_from(attributes)
        for dimension, axes in dimensions.items():
            if dimension not in dataset.dims and all(name in dataset.coords for name in axes):
                dataset = dataset.expand_dims(dimension)
                for name in axes:
                    dataset = dataset.assign_coords(
                        {name: (dimension, np.atleast_1d(dataset[name].values.ravel()[:1]))}
                    )
        dataset = dataset.transpose(*dimensions, ..., missing_dims="ignore")
        names = [name for name in str(attributes["quantities"]).split() if name in dataset]
        attributes["quantities"] = " ".join(names) or attributes["quantities"]
    return {name: dataset[name].data for name in (*dataset.data_vars, *dataset.coords)}, attributes


def from_store(path: str, seconds: float) -> Scan:
    group = opened(path)
    if group is None or VERSION not in group.attrs:
        raise ValueError(f"source must be what a scan has written, got {path!r}")
    variables, attributes = dict(group.arrays()), dict(group.attrs)
    store: str | None = path
    with suppress(KeyError, ValueError, TypeError, AttributeError):  # said by who reads them
        axes = [name for names in dimensions_from(attributes).values() for name in names]
        if any(variables[name].ndim == 0 for name in axes):  # a copy that was cut
            xarray = optional("xarray", "a store that was cut needs xarray", "fisherfield[scan]")
            (variables, attributes), store = _whole(xarray.open_zarr(group.store, consolidated=False).load()), None
    return _from_parts(variables, attributes, seconds, store, path)


def _from_parts(
    variables: Mapping[str, Any], attributes: Mapping[str, Any], seconds: float, store: str | None, source: Any
) -> Scan:
    """A scan from its variables and attributes, wherever they stand; refused in a sentence where they do not fit."""
    if str(attributes.get("network")).startswith("Network("):
        raise ValueError("network must be one of named activations to be read back, got a Python callable")
    try:
        scan = _assembled(variables, attributes, seconds, store)
    except Damaged:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"source must be what a scan has written, whole, got {shown(source)}: {what}") from None
    layers = np.asarray(variables["layer"][...]) if "layer" in variables else np.arange(1)
    if LAYERED.keys() & scan.arrays.keys() and not np.array_equal(layers, np.arange(1, layers.size + 1)):
        raise ValueError(f"source must have all layers of {shown(source)} or no quantity of layers, got layer {layers}")
    shapes = {name: (scan.axes[name].size,) for names in scan.dimensions.values() for name in names}
    grid = tuple(scan.axes[names[0]].size for names in scan.dimensions.values())
    for name, array in (*scan.axes.items(), *scan.arrays.items(), ("status", scan.status)):
        fits = shapes.get(name, grid)
        if array.shape[: len(fits)] != fits or array.ndim - len(fits) != (name in LAYERED):
            raise ValueError(
                f"source must be what a scan has written, whole, got {shown(source)}: {name} has another shape"
            )
    return scan


def _axis(values: Any) -> NDArray[Any]:
    """Numbers, or words however a file has them."""
    array = np.asarray(values)
    return array.astype(np.str_) if array.dtype.kind in "OST" else array


def _assembled(variables: Mapping[str, Any], attributes: Mapping[str, Any], seconds: float, store: str | None) -> Scan:
    dimensions = dimensions_from(attributes)
    return Scan(
        from_toml("the network of the scan", str(attributes["network"]).encode()),
        settings_from(attributes),
        dimensions,
        named(
            {name: _axis(variables[name][...]) for names in dimensions.values() for name in names},
            attributes.get(ACTIVATIONS, ()),
        ),
        {name: variables[name] for name in str(attributes["quantities"]).split()},
        variables["status"],
        seconds,
        store,
    )
