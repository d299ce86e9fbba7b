# SPDX-License-Identifier: BSD-3-Clause
"""Figure 2 of Wei, Stokes and Schwab (2019): phase diagrams of training with the boundaries at their gammas."""

from __future__ import annotations

import json
import math
import os
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import _numbers
from .._html import InNotebooks
from .._numbers import Loss, Standardize
from .._progress import listener
from .._words import cut
from ..network import Network, convnet, mlp
from ..network.toml import from_toml
from ..scan.arguments import axis_values
from ..theory.settings import Descent
from .boundary import Search, boundaries, eta_stars
from .phase_diagram import phase_diagram
from .recipe import BATCH, Recipe, data_of, fitting, recipe_of, trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
class Figure2(InNotebooks):
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
        rates = self.curves(title, panel.gammas)
        return {**rates, "measured": np.exp(np.log(panel.measured).mean(axis=1))}

    def curves(self, title: str, gammas: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """eta_star by theory at any gammas."""
        panel, descent = self.panels[title], Descent(self.settings["loss"], self.settings["momentum"])
        rows = [
            eta_stars(panel.network.replace(gamma=float(gamma)), descent, panel.n, panel.overlap, panel.length)
            for gamma in gammas
        ]
        return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}

    def __repr__(self) -> str:
        settings = self.settings
        lines = [
            f"Figure2: {settings['data']}, loss {settings['loss']}, momentum {settings['momentum']:g}, "
            f"{settings['epochs']} epochs, batch {settings['batch'] or 'full'}, seeds {settings['seeds']}"
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
        path = _numbers.path_of("path", path)
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
        text = re.sub(r"\[\s+([-+.,\w\s\"]*?)\s+\]", lambda match: f"[{' '.join(match[1].split())}]", text)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + "\n")

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Figure2:
        """What `save` has written. Raises ValueError for another file, and for one that was changed since."""
        path = _numbers.path_of("path", path)
        with open(path, encoding="utf-8-sig") as file:
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
                figure = cls(panels, content["settings"])._checked()
                if content.get("checksum", kept := _checksum(content)) != kept:  # version 0.1 wrote none
                    raise ValueError("its numbers do not have the checksum that they were saved with")
                return figure
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
                words = cut(str(error), 200)
                raise ValueError(f"{path} must be what a Figure2 has saved, and is not ({words})") from None

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
    loss: Loss = "sum",
    networks: Mapping[str, Network] | None = None,
    gammas: Any = None,
    rates: int = 13,
    momentum: float = 0.9,
    batch: int | str = BATCH,
    epochs: int = 5,
    train_affine: bool = False,
    seeds: Any = 2,
    restarts: int | None = None,
    standardize: Standardize | None = "global",
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
    dataset = trainer().dataset_of(Recipe(**data_of(data, standardize, samples)))
    networks = (
        _networks(dataset, _numbers.integer("width", width, 1)) if networks is None else _with_batch_norm(networks)
    )
    grid = np.geomspace(0.25, 4.0, 9) if gammas is None else _gammas_of(gammas)
    threads = _numbers.threads_of(threads)
    many = _numbers.integer("rates", rates, 2)
    chosen = _numbers.seeds_of(seeds)
    first = chosen[: len(chosen) if restarts is None else _numbers.integer("restarts", restarts, 1, len(chosen))]
    folder = None if store is None else _numbers.path_of("store", store)
    client = _numbers.client_of(client)
    shared: dict[str, Any] = {"momentum": momentum, "loss": loss, "batch": batch, "epochs": epochs}
    shared |= {"train_affine": train_affine, "standardize": standardize, "samples": samples}
    search = Search()
    total = len(networks) * grid.size * (many + len(chosen))
    panels, settings, before = {}, {}, 0
    with listener(progress, "cells") as hear:

        def counted(done: int, _: int) -> None:
            hear(before + done, total)

        for (title, net), word in zip(networks.items(), _words(networks), strict=True):
            paths = [
                None if folder is None else os.path.join(folder, f"{word}{what}.zarr") for what in ("", "_boundaries")
            ]
            described, recipe = recipe_of(net, data, **shared, threshold=None, dtype="float32")
            recipe = fitting(recipe, len(dataset.x))
            seen = boundaries(described, recipe, grid, chosen, search, threads, paths[1], client, counted)
            before += seen.points
            n, overlap, length = recipe.batch or len(dataset.x), dataset.overlap, dataset.length
            etas = _rates(described, recipe.descent, grid, many, n, overlap, length)
            arguments = {**shared, "seeds": first, "threads": threads or None, "store": paths[0], "client": client}
            diagram = phase_diagram(net, data, grid, etas, **arguments, progress=counted)
            before += diagram.points
            arrays = {name: np.asarray(array[...]) for name, array in diagram.arrays.items()}
            measured = np.asarray(seen.measured[...])
            panels[title] = Panel(
                *(described, grid, etas, arrays, np.asarray(seen.eta_c[...]), measured, n, overlap, length)
            )
            settings = {**seen.settings, "restarts": len(first)}
    return Figure2(panels, settings)


def _rates(
    net: Network, descent: Descent, gammas: NDArray[np.float64], many: int, n: int, overlap: float, length: float
) -> NDArray[np.float64]:
    """From a tenth of the exact theory's eta_star at the largest gamma to three times that at the smallest."""
    low, high = (
        eta_stars(net.replace(gamma=float(gamma)), descent, n, overlap, length)["exact"]
        for gamma in (gammas[-1], gammas[0])
    )
    return np.geomspace(low / 10, high * 3, many)


def _gammas_of(values: Any) -> NDArray[np.float64]:
    """Values of gamma > 0, each once, in order."""
    gammas = np.unique(axis_values("gamma", "gamma", values, _numbers.SIGNED))
    if gammas.size < np.size(values) or not gammas[0] > 0:
        raise ValueError(f"gammas must be > 0, each once, got {_numbers.shown(values)}")
    return gammas


def _with_batch_norm(networks: Any) -> Mapping[str, Network]:
    if not isinstance(networks, Mapping):
        raise TypeError(f"networks must be a mapping from titles to networks, got {_numbers.shown(networks)}")
    if not networks or not all(_numbers.network_of(net).batch_norms for net in networks.values()):
        raise ValueError("networks must hold at least one, each with BatchNorm")
    return networks


def _words(titles: Iterable[str]) -> list[str]:
    """Names of files: the beginnings of the titles, numbered where they would meet."""
    words = [re.sub(r"[^a-z0-9]+", "_", str(title).split(":")[0].lower()).strip("_") for title in titles]
    return words if len({*words, ""}) > len(words) else [f"{place}_{word}" for place, word in enumerate(words, start=1)]


def _networks(dataset: Any, width: int) -> dict[str, Network]:
    """The paper's two networks for these data."""
    outputs, shape = max(dataset.classes, 1) if np.ndim(dataset.y) < 2 else dataset.y.shape[1], dataset.shape
    inputs = math.prod(shape)
    made = {f"Dense: {inputs} inputs, 3 x {width} units": mlp([inputs, width, width, width, outputs])}
    if len(shape) == 3:
        channels = [30, 60] if min(shape[1:]) < 16 else [30, 60, 90]
        words = f"Convolutional: {' x '.join(map(str, shape))}, channels {', '.join(map(str, channels))}"
        made[words] = convnet((shape[0], shape[1], shape[2]), channels, outputs)
    return made
