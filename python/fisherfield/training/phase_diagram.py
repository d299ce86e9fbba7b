# SPDX-License-Identifier: BSD-3-Clause
"""Loss and accuracy after training, over gamma and learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _numbers
from .._numbers import Loss, Standardize
from .._progress import progress_of
from ..network import Network
from ..sampled.network import draw
from ..scan import Scan
from ..scan.arguments import axis_values
from ..scan.chunks import Arrays, Pause, Status
from ..scan.grid import Slot, product_of
from ..scan.work import carried_out
from .recipe import BATCH, Training, fitting, recipe_of, settings_of, trainer


@dataclass(frozen=True, kw_only=True)
class _Cells(Training):
    """Training over a grid of gamma and learning rate, as a scan's chunks are computed."""

    def evaluate(self, slots: tuple[Slot, ...], shape: tuple[int, ...], pause: Pause) -> tuple[Arrays, Status]:
        """The quantities of every cell: means over the restarts that did not explode."""
        training = trainer()
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
                    means = self._cell(net, float(eta), data)
                    for name in flat:
                        flat[name][row, column] = means[name]
                    states[row, column] = 7 if means["exploded"] == 1.0 else 0
                    done += 1
                    pause(done)
        return arrays, status

    def _cell(self, net: Network, eta: float, data: list[Any]) -> dict[str, float]:
        training = trainer()
        runs: list[list[Any]] = []
        for seed in self.seeds:
            module, exploded = training.train(draw(net, seed, self.recipe.dtype), eta, self.recipe, data[0])
            if exploded is None:
                runs.append(training.measures(module, self.recipe, *data))
        means = dict.fromkeys(self.quantities, math.nan)
        means["exploded"] = 1.0 - len(runs) / len(self.seeds)
        for place, split in enumerate(("train", "test")[: len(data)]):
            for word in ("loss", "accuracy"):
                if runs:
                    means[f"{split}_{word}"] = math.fsum(getattr(run[place], word) for run in runs) / len(runs)
        return means


def phase_diagram(
    net: Network,
    data: Any,
    gammas: Any,
    learning_rates: Any,
    momentum: float = 0.9,
    loss: Loss = "sum",
    batch: int | str = BATCH,
    epochs: int = 5,
    train_affine: bool | None = None,
    seeds: Any = (0,),
    standardize: Standardize | None = "global",
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

    training = trainer()
    net, recipe = recipe_of(
        net, data, momentum, loss, batch, epochs, train_affine, standardize, threshold, samples, dtype
    )
    axes = {} if gammas is None else {"gamma": axis_values("gamma", "gamma", gammas, _numbers.SIGNED)}
    if axes and not net.batch_norms:
        raise ValueError("gammas must be None for a network without BatchNorm")
    axes["learning_rate"] = _learning_rates_of(learning_rates)
    chosen = _numbers.seeds_of(seeds)
    train = training.loaded(recipe, net)
    recipe = fitting(recipe, len(train))
    if tested := training.has_test(recipe):
        training.loaded(recipe, net, "test")
    grid = product_of(axes)
    splits = ("train", "test") if tested else ("train",)
    job = _Cells(
        network=net,
        grid=grid,
        chunk=grid.chunk(_numbers.integer("chunk", chunk, 1, 2**53)),
        words={**settings_of(net, recipe, train), "seeds": " ".join(map(str, chosen))},
        quantities=(*(f"{split}_{word}" for word in ("loss", "accuracy") for split in splits), "exploded"),
        version=__version__,
        recipe=recipe,
        seeds=chosen,
        threads=_numbers.threads_of(threads),
    )
    return carried_out(job, axes, store, _numbers.client_of(client), progress_of(progress))


def _learning_rates_of(value: Any) -> NDArray[np.float64]:
    """One or more in one dimension."""
    if _numbers.is_sequence(value) and not hasattr(value, "dtype"):
        value = _numbers.entries("learning_rates", value)
    rates = _numbers.float_array("learning_rates", value)
    if rates.ndim != 1 or rates.size == 0:
        raise ValueError(f"learning_rates must be one value or more in one dimension, got shape {rates.shape}")
    wrong = rates[~((rates > 0) & (rates <= _numbers.LARGEST))]
    if wrong.size:
        raise ValueError(f"learning_rates must be finite and > 0, got {_numbers.shown(float(wrong[0]))}")
    return rates
