# SPDX-License-Identifier: BSD-3-Clause
"""Training by PyTorch: gradient descent with momentum to the end, or until it explodes."""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .. import data as datasets
from .._numbers import Standardize
from .._random import stream
from .._words import shown
from ..data.sources import has_test as has_test_split
from ..data.sources import stamps
from ..network import Network
from ..sampled import SampledNetwork
from ..threads import num_threads
from ..torch.layers import batch_norms
from ..torch.writing import written
from .recipe import Recipe

_BLOCK = 1024  # samples at a time where nothing is trained


@dataclass(frozen=True)
class Dataset:
    """A split of the data as they are read, whatever network they are for."""

    x: torch.Tensor  # (n, features), in the dtype of training
    y: NDArray[Any] | None  # labels (n,), or targets (n, outputs)
    shape: tuple[int, ...]  # one sample's
    name: str
    standardize: Standardize | None
    mean: Any
    scale: Any
    classes: int  # 0: none, or targets
    checksum: int  # of x in float64
    overlap: float
    length: float


@dataclass(frozen=True)
class Samples:
    """What a network is trained on or tested with: inputs, and labels or targets."""

    dataset: Dataset
    x: torch.Tensor
    y: torch.Tensor

    def __len__(self) -> int:
        return len(self.x)


def dataset_of(recipe: Recipe, split: str = "train") -> Dataset:
    """A recipe's data; what lies on disk is read once in each process, and again when it has changed there."""
    options = (recipe.standardize, recipe.samples, recipe.dtype, split)
    if isinstance(recipe.data, str):
        return _from_disk(recipe.data, tuple(stamps(recipe.data)), *options)
    return _dataset_of(recipe.data, *options)


@functools.lru_cache(maxsize=4)
def _from_disk(
    data: str, _: tuple[Any, ...], standardize: Standardize | None, samples: int | None, dtype: str, split: str
) -> Dataset:
    return _dataset_of(data, standardize, samples, dtype, split)


def _dataset_of(data: Any, standardize: Standardize | None, samples: int | None, dtype: str, split: str) -> Dataset:
    if split == "test":  # standardised as what is trained on, which may be a part of the training split
        train = dataset_of(Recipe(data, standardize, samples, dtype=dtype))
        raw = datasets.load(data, None, split="test")
        x, y, mean, scale = (raw.x - train.mean) / train.scale, raw.y, train.mean, train.scale
        name, standardize, classes = train.name, train.standardize, max(train.classes, raw.classes)
    else:
        targets = data[1] if _with_targets(data) else None
        dataset = _in_memory(data, standardize, samples)
        if dataset is None:
            dataset = datasets.load(data if targets is None else data[0], standardize, samples)
        x, mean, scale, name, standardize, classes = (
            getattr(dataset, field) for field in ("x", "mean", "scale", "name", "standardize", "classes")
        )
        y = dataset.y if targets is None else np.asarray(targets, np.float64)
    overlap, length = datasets.overlap_and_length(x)
    return Dataset(
        x=torch.from_numpy(x.reshape(len(x), -1)).to(getattr(torch, dtype)),
        y=y,
        shape=x.shape[1:],
        name=name,
        standardize=standardize,
        mean=mean,
        scale=scale,
        classes=classes,
        checksum=zlib.crc32(np.ascontiguousarray(x).data),
        overlap=overlap,
        length=length,
    )


def _in_memory(data: Any, standardize: Standardize | None, samples: int | None) -> datasets.Data | None:
    """What `load` has given, as it is."""
    if not isinstance(data, datasets.Data):
        return None
    if samples is not None:
        raise ValueError(f"samples must be None for data that are loaded already, got {shown(samples)}")
    if standardize != data.standardize:
        raise ValueError(
            f"standardize must be {data.standardize!r}, as the data were loaded with, got {shown(standardize)}"
        )
    return data


def _with_targets(data: Any) -> bool:
    """Whether it is a pair of inputs and targets (n, outputs), not labels."""
    return isinstance(data, tuple) and len(data) == 2 and np.ndim(data[1]) == 2


def loaded(recipe: Recipe, net: Network, split: str = "train") -> Samples:
    """A recipe's data in the shapes of a network, refused where they do not fit it."""
    dataset = dataset_of(recipe, split)
    n, features = dataset.x.shape
    outputs, cross = net.outputs, recipe.descent.loss == "cross_entropy"
    if features != math.prod(net.input_shape):
        raise ValueError(
            f"data must have samples of {math.prod(net.input_shape)} features, as the network's input "
            f"{net.input_shape} has, got {features} {dataset.shape}"
        )
    y: Any
    if dataset.y is None:
        raise ValueError(f"data must have labels to train for, got {dataset.name} without any")
    if dataset.y.ndim == 2:
        y = dataset.y
        if cross or y.shape != (n, outputs) or not np.isfinite(y).all():
            raise ValueError(
                f"data must have labels, or for squared losses finite targets of shape {(n, outputs)}, got {y.shape}"
            )
    elif outputs == 1 and not cross:
        y = dataset.y[:, None].astype(np.float64)
    elif dataset.classes > outputs:
        raise ValueError(
            f"net must have an output for each of {dataset.classes} classes of {dataset.name}, got {outputs}"
        )
    else:
        y = dataset.y if cross else np.eye(outputs)[dataset.y]
    kind = torch.int64 if cross else dataset.x.dtype
    return Samples(dataset, dataset.x.view(n, *net.input_shape), torch.from_numpy(y).to(kind))


def has_test(recipe: Recipe) -> bool:
    """Whether the data have a test split."""
    return isinstance(recipe.data, str) and has_test_split(recipe.data)


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


def some(seed: int, samples: Samples, most: int) -> NDArray[Any]:
    """All inputs, or so many of them at random."""
    x: NDArray[Any] = samples.x.numpy()
    return x if len(x) <= most else x[stream(seed, "samples").permutation(len(x))[:most]]


def train(sampled: SampledNetwork, eta: float, recipe: Recipe, samples: Samples) -> tuple[nn.Sequential, int | None]:
    """The trained module, and the step at which its loss exploded, or None."""
    module = written(sampled)

    def loss(f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return _loss(f, y, recipe.descent.loss)

    return module, descend(module, sampled.seed, eta, recipe, samples, loss)


def descend(
    module: nn.Module, seed: int, eta: float, recipe: Recipe, samples: Any, loss_of: Callable[[Any, Any], torch.Tensor]
) -> int | None:
    """Trains a module; the step at which its loss exploded, or None."""
    descent = torch.optim.SGD(
        [parameter for parameter in module.parameters() if parameter.requires_grad],
        lr=eta,
        momentum=recipe.descent.momentum,
        # which PyTorch refuses without momentum, where both are one
        nesterov=recipe.descent.nesterov and recipe.descent.momentum > 0,
        weight_decay=recipe.descent.weight_decay,
    )
    most = math.inf
    for step, part in enumerate(_batches(seed, len(samples.x), recipe.batch, recipe.epochs)):
        x, y = (samples.x, samples.y) if part is None else (samples.x[part], samples.y[part])
        loss = loss_of(module(x), y)
        now = float(loss.detach())
        if step == 0:
            most = recipe.threshold * now
        if not now <= most or not math.isfinite(now):
            return step
        descent.zero_grad()
        loss.backward()
        descent.step()
    with torch.no_grad():  # what the last step did
        x, y = (samples.x, samples.y) if part is None else (samples.x[part], samples.y[part])
        now = float(loss_of(module(x), y))
    return None if now <= most and math.isfinite(now) else step + 1


def explodes(sampled: SampledNetwork, eta: float, recipe: Recipe, samples: Samples) -> bool:
    return train(sampled, eta, recipe, samples)[1] is not None


@dataclass(frozen=True)
class Measures:
    """Mean loss and share of right labels; NaN where there are none."""

    loss: float
    accuracy: float


def measures(module: nn.Sequential, recipe: Recipe, train: Samples, *others: Samples) -> list[Measures]:
    """Of the training samples and of others, with the statistics of the training samples in every BatchNorm.

    They are the means over blocks of equal size, to one sample, in random order: files may be sorted by label.
    """
    norms = batch_norms(module)
    results = []
    with torch.no_grad():
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all blocks
        if norms:
            module.train()
            n, size = len(train), len(train) if recipe.batch is None else max(recipe.batch, _BLOCK)
            order = torch.from_numpy(stream(0, "statistics").permutation(n))
            for part in torch.tensor_split(order, -(-n // size)):
                module(train.x[part])
        module.eval()
        for each in (train, *others):
            total, right = 0.0, 0
            for first in range(0, len(each.x), _BLOCK):
                x, y = each.x[first : first + _BLOCK], each.y[first : first + _BLOCK]
                f = module(x)
                total += float(_loss(f, y, recipe.descent.loss)) * len(x)
                labels = y if y.ndim == 1 else y.argmax(dim=1)
                right += int((f.argmax(dim=1) == labels).sum())
            classified = each.dataset.classes > 0 and f.shape[1] > 1
            results.append(Measures(total / len(each.x), right / len(each.x) if classified else math.nan))
    return results
