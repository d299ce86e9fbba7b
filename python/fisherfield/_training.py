# SPDX-License-Identifier: BSD-3-Clause
"""Training by PyTorch: gradient descent with momentum to the end, or until it explodes."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from . import data as datasets
from ._random import stream
from ._torch_layers import written
from .network import Network
from .sampled import SampledNetwork
from .threads import num_threads

__all__ = ["Measures", "Recipe", "Samples", "explodes", "has_test", "loaded", "measures", "some", "threaded", "train"]

_BLOCK = 1024  # samples at a time where nothing is trained


@dataclass(frozen=True)
class Recipe:
    """Data, loss and descent; all that training depends on but network, seed and learning rate."""

    data: Any  # as the user gave it
    standardize: str | None
    samples: int | None
    loss: str
    momentum: float
    batch: int | None  # None: all samples
    epochs: int
    threshold: float
    dtype: str


@dataclass(frozen=True)
class Samples:
    """What is trained on or tested with: inputs, and labels or targets."""

    data: datasets.Data
    x: torch.Tensor
    y: torch.Tensor


def loaded(recipe: Recipe, net: Network, split: str = "train") -> Samples:
    """A recipe's data, refused where they do not fit the network; read once from a name or a path."""
    given = (recipe.standardize, recipe.samples if split == "train" else None, split)
    outputs, cross = net.outputs, recipe.loss == "cross_entropy"
    if isinstance(recipe.data, str):
        return _from_disk(recipe.data, *given, net.input_shape, outputs, cross, recipe.dtype)
    return _prepared(_read(recipe.data, *given, net.input_shape), recipe.data, outputs, cross, recipe.dtype)


@functools.lru_cache(maxsize=4)
def _from_disk(
    source: str,
    standardize: str | None,
    samples: int | None,
    split: str,
    shape: tuple[int, ...],
    outputs: int,
    cross: bool,
    dtype: str,
) -> Samples:
    return _prepared(_read(source, standardize, samples, split, shape), source, outputs, cross, dtype)


def _read(source: Any, standardize: str | None, samples: int | None, split: str, shape: Any) -> datasets.Data:
    if isinstance(source, datasets.Data):
        if split != "train":
            raise ValueError(f"split must be 'train' for data that are loaded already, got {split!r}")
        if samples is not None:
            raise ValueError(f"samples must be None for data that are loaded already, got {samples!r}")
        x = source.x.reshape(len(source.x), *shape) if source.x[0].size == math.prod(shape) else source.x
        if x.shape[1:] != tuple(shape):
            raise ValueError(f"data must have samples of shape {tuple(shape)}, the network's input, got {x.shape[1:]}")
        return datasets.Data(x, source.y, source.name, source.standardize, source.mean, source.scale, source.classes)
    inputs = source[0] if _with_targets(source) else source
    return datasets.load(inputs, standardize, samples, split=split, shape=shape)


def _with_targets(source: Any) -> bool:
    """Whether it is a pair of inputs and targets (n, outputs), not labels."""
    return isinstance(source, tuple) and len(source) == 2 and np.ndim(source[1]) == 2


def _prepared(found: datasets.Data, source: Any, outputs: int, cross: bool, dtype: str) -> Samples:
    kind = getattr(torch, dtype)
    y: Any
    if _with_targets(source):
        y = np.asarray(source[1], np.float64)
        if cross or y.shape != (len(found), outputs) or not np.isfinite(y).all():
            raise ValueError(
                f"data must have labels, or for squared losses finite targets of shape {(len(found), outputs)}, "
                f"got {y.shape}"
            )
    elif found.y is None:
        raise ValueError(f"data must have labels to train for, got {found!r}")
    elif outputs == 1 and not cross:
        y = found.y[:, None].astype(np.float64)
    elif found.classes > outputs:
        raise ValueError(f"net must have an output for each of {found.classes} classes of {found.name}, got {outputs}")
    else:
        y = found.y if cross else found.one_hot(outputs)
    return Samples(found, torch.from_numpy(found.x).to(kind), torch.from_numpy(y).to(torch.int64 if cross else kind))


def has_test(recipe: Recipe) -> bool:
    """Whether the data have a test split."""
    if not isinstance(recipe.data, str) or recipe.data.endswith(".npy"):
        return False
    if recipe.data.endswith(".npz"):
        with np.load(recipe.data, allow_pickle=False) as file:
            return "x_test" in file.files
    return True


@contextmanager
def threaded(count: int) -> Iterator[None]:
    """PyTorch with so many threads; 0: as many as the core."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or num_threads())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _loss(f: torch.Tensor, y: torch.Tensor, loss: str) -> torch.Tensor:
    if loss == "cross_entropy":
        return nn.functional.cross_entropy(f, y)
    factor = {"sum": 0.5 * f.shape[1], "mean": 0.5, "mse": 1.0}[loss]
    return factor * nn.functional.mse_loss(f, y)


def _batches(seed: int, n: int, batch: int | None, epochs: int) -> Iterator[torch.Tensor | None]:
    """Whole batches in an order of each epoch's own; None: all samples."""
    random = stream(seed, "batches")
    for _ in range(epochs):
        if batch is None or batch == n:
            yield None
            continue
        order = torch.from_numpy(random.permutation(n))
        for first in range(0, n - batch + 1, batch):
            yield order[first : first + batch]


def some(seed: int, samples: Samples, most: int) -> NDArray[np.float64]:
    """All inputs, or so many of them at random."""
    x = samples.data.x
    return x if len(x) <= most else x[stream(seed, "samples").permutation(len(x))[:most]]


def train(sampled: SampledNetwork, eta: float, recipe: Recipe, samples: Samples) -> tuple[nn.Sequential, int | None]:
    """The trained module, and the step at which its loss exploded, or None."""
    module = written(sampled)
    descent = torch.optim.SGD(
        [parameter for parameter in module.parameters() if parameter.requires_grad], lr=eta, momentum=recipe.momentum
    )
    most = math.inf
    for step, part in enumerate(_batches(sampled.seed, len(samples.x), recipe.batch, recipe.epochs)):
        x, y = (samples.x, samples.y) if part is None else (samples.x[part], samples.y[part])
        loss = _loss(module(x), y, recipe.loss)
        now = float(loss.detach())
        if step == 0:
            most = recipe.threshold * now
        if not now <= most or not math.isfinite(now):
            return module, step
        descent.zero_grad()
        loss.backward()
        descent.step()
    with torch.no_grad():  # what the last step did
        x, y = (samples.x, samples.y) if part is None else (samples.x[part], samples.y[part])
        now = float(_loss(module(x), y, recipe.loss))
    return module, None if now <= most and math.isfinite(now) else step + 1


def explodes(sampled: SampledNetwork, eta: float, recipe: Recipe, samples: Samples) -> bool:
    return train(sampled, eta, recipe, samples)[1] is not None


@dataclass(frozen=True)
class Measures:
    """Mean loss and share of right labels; NaN where there are none."""

    loss: float
    accuracy: float


def measures(module: nn.Sequential, recipe: Recipe, train: Samples, *others: Samples) -> list[Measures]:
    """Of the training samples and of others, with the statistics of the training samples in every BatchNorm."""
    norms = [layer for layer in module.modules() if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d))]
    found = []
    with torch.no_grad():
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all blocks
        if norms:
            module.train()
            size = len(train.x) if recipe.batch is None else min(len(train.x), max(recipe.batch, _BLOCK))
            for first in range(0, len(train.x) - size + 1, size):
                module(train.x[first : first + size])
        module.eval()
        for each in (train, *others):
            total, right = 0.0, 0
            for first in range(0, len(each.x), _BLOCK):
                x, y = each.x[first : first + _BLOCK], each.y[first : first + _BLOCK]
                f = module(x)
                total += float(_loss(f, y, recipe.loss)) * len(x)
                labels = y if y.ndim == 1 else y.argmax(dim=1)
                right += int((f.argmax(dim=1) == labels).sum())
            classified = each.data.y is not None and f.shape[1] > 1
            found.append(Measures(total / len(each.x), right / len(each.x) if classified else math.nan))
    return found
