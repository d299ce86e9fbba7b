# SPDX-License-Identifier: BSD-3-Clause
"""What is trained and with what, converted and refused before PyTorch is asked for anything."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

from .. import _numbers
from .. import data as datasets
from .._numbers import Standardize
from .._optional import optional
from ..network import Network
from ..scan.chunks import Work
from ..theory.settings import Descent

BATCH = 128
_LOSS = 1e30  # the largest threshold: in float32 losses end at 3e38


@dataclass(frozen=True)
class Recipe:
    """Data and descent; all that training depends on but network, seed and learning rate."""

    data: Any  # as the user gave it
    standardize: Standardize | None
    samples: int | None
    descent: Descent = field(default=Descent(momentum=0.9))
    batch: int | None = None  # None: all samples
    epochs: int = 1
    threshold: float = 1000.0
    dtype: str = "float32"


@dataclass(frozen=True, kw_only=True)
class Training(Work):
    """Training over a grid."""

    recipe: Recipe
    seeds: tuple[int, ...]
    threads: int
    words: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        return self.words


def trainer() -> Any:
    """What trains; PyTorch is imported there."""
    optional("torch", "training needs PyTorch", "fisherfield[torch]")
    from . import descent

    return descent


def threshold_of(momentum: float) -> float:
    """1000, and above mu = 0.9 1000 ((1 + mu)/(19 (1 - mu)))^2: see `boundary`."""
    return min(1000.0 * ((1 + momentum) / (19 * (1 - momentum))) ** 2, _LOSS) if momentum > 0.9 else 1000.0


def recipe_of(
    net: Network,
    data: Any,
    momentum: float,
    loss: Any,
    batch: int | str,
    epochs: int,
    train_affine: bool | None,
    standardize: Standardize | None,
    threshold: float | None,
    samples: int | None,
    dtype: str,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> tuple[Network, Recipe]:
    """The network as it is trained, and what it is trained with; all converted, and refused in a sentence."""
    _numbers.network_of(net)
    if train_affine is not None:
        trained = _numbers.boolean("train_affine", train_affine)
        if net.batch_norms:
            net = net.replace(trained=trained)
        elif trained:
            raise ValueError("train_affine must be False or None for a network without BatchNorm, got True")
    descent = Descent.of(net, loss, momentum, nesterov, weight_decay)
    least = 2 if net.batch_norms else 1
    return net, recipe_with(descent, least, data, batch, epochs, standardize, threshold, samples, dtype)


def recipe_with(
    descent: Descent,
    least: int,
    data: Any,
    batch: int | str,
    epochs: int,
    standardize: Standardize | None,
    threshold: float | None,
    samples: int | None,
    dtype: str,
) -> Recipe:
    """What is trained with, by batches of `least` samples or more."""
    if isinstance(batch, str):
        _numbers.choice("batch", batch, ("full",))
    return Recipe(
        **data_of(data, standardize, samples),
        descent=descent,
        batch=None if batch == "full" else _numbers.integer("batch", batch, least),
        epochs=_numbers.integer("epochs", epochs, 1),
        threshold=threshold_of(descent.momentum) if threshold is None else within("threshold", threshold, 1.0, _LOSS),
        dtype=str(_numbers.real_dtype_of(dtype)),
    )


def data_of(data: Any, standardize: Standardize | None, samples: int | None) -> dict[str, Any]:
    """What says which data are meant; `Data` stay as they were loaded."""
    if standardize is not None:
        _numbers.choice("standardize", standardize, _numbers.STANDARDS)
    if isinstance(data, datasets.Data) and standardize == "global":
        standardize = data.standardize  # "global" stands where nothing was asked for
    return {
        "data": os.fspath(data) if isinstance(data, os.PathLike) else data,
        "standardize": standardize,
        "samples": None if samples is None else _numbers.integer("samples", samples, 2),
    }


def fitting(recipe: Recipe, count: int) -> Recipe:
    """A batch of all samples is a full one; one of more is refused."""
    if recipe.batch is not None and recipe.batch > count:
        raise ValueError(f"batch must be at most {count}, the number of samples, got {recipe.batch}")
    return replace(recipe, batch=None) if recipe.batch == count else recipe


def within(name: str, value: Any, low: float, high: float) -> float:
    number = _numbers.real(name, value)
    if not low <= number <= high:
        raise ValueError(f"{name} must be from {low:g} to {high:g}, got {_numbers.shown(value)}")
    return number


def settings_of(net: Network, recipe: Recipe, train: Any) -> dict[str, Any]:
    """What was trained, in words and numbers; data that are not the same have another checksum."""
    return {
        "data": train.dataset.name,
        "standardize": train.dataset.standardize,
        "n": len(train),
        "checksum": zlib.crc32(train.y.numpy().data, train.dataset.checksum),
        **recipe.descent._asdict(),
        **{name: getattr(recipe, name) for name in ("batch", "epochs", "threshold", "dtype")},
        "trained": net.batch_norms[0].trained if net.batch_norms else None,
    }
