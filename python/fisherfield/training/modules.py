# SPDX-License-Identifier: BSD-3-Clause
"""Where the training of PyTorch modules explodes, of a module as it is or one for each seed, under any loss."""

from __future__ import annotations

import copy
import inspect
import time
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from .._numbers import shown
from .._progress import listener
from .._random import stream
from ..network import Network
from ..theory.calls import step_limit
from ..torch import describe, measure
from ..torch.calls import Calls, module_of
from ..torch.layers import batch_norms, trained
from ..torch.losses import loss_of, name_of, targets_of
from ..torch.untouched import untouched
from .boundary import MEASURED_ERROR, MEASURED_SAMPLES, Boundary, Search, critical, eta_stars, rounded
from .descent import Dataset, dataset_of, descend, threaded
from .recipe import Recipe, fitting

__all__ = ["boundary_of_modules"]


@dataclass(frozen=True)
class _Batch:
    """What a module is trained on."""

    dataset: Dataset
    x: torch.Tensor
    y: Any

    def __len__(self) -> int:
        return len(self.x)


def boundary_of_modules(
    net: Any, loss: Any, recipe: Recipe, seeds: tuple[int, ...], search: Search, threads: int, progress: Any
) -> Boundary:
    """See `boundary`."""
    function, make = loss_of(loss), _factory(net, recipe.dtype)
    begin = time.perf_counter()
    eta_c, measured = np.zeros((2, len(seeds)))
    with listener(progress, "seeds") as hear, threaded(threads):
        for place, seed in enumerate(seeds):
            module = make(seed)
            samples = _samples(recipe, module, loss)
            recipe = fitting(recipe, len(samples))
            hear(place, len(seeds))
            eta_c[place], measured[place] = _searched(module, seed, loss, function, recipe, samples, search)
        hear(len(seeds), len(seeds))
    first = make(seeds[0])
    net, stars, every = _theories(first, loss, recipe, samples)
    stars["measured"] = float(np.exp(np.mean(np.log(measured))))
    settings = _settings(first, loss, recipe, samples, search)
    return Boundary(net, seeds, eta_c, measured, stars, settings, time.perf_counter() - begin, every)


def _factory(net: Any, dtype: str) -> Callable[[int], nn.Module]:
    """A module for each seed, of which PyTorch's generator starts at the seed; always a copy of its own."""
    kind = getattr(torch, dtype)

    def made(seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            value = call(seed)
        if not isinstance(value, nn.Module):
            raise TypeError(f"net must make a torch.nn.Module, got {shown(value)}")
        return copy.deepcopy(module_of(value)).to(kind)

    if isinstance(net, nn.Module):
        call: Callable[[int], Any] = lambda seed: net  # noqa: E731
    elif isinstance(net, Network):
        from ..torch import module

        call = lambda seed: module(net, seed, dtype)  # noqa: E731
    else:
        needed = [] if isinstance(net, type) else _needed(net)
        if len(needed) > 1:
            raise TypeError(f"net must be a function of a seed or of nothing, got one of {', '.join(needed)}")
        call = net if needed else lambda seed: net()
    return made


def _needed(function: Any) -> list[str]:
    """The arguments that a function must be called with."""
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind in kinds]


def _samples(recipe: Recipe, module: nn.Module, loss: Any) -> _Batch:
    """The data in their own shape, and their targets as the loss takes them."""
    dataset = dataset_of(recipe)
    if dataset.y is None:
        raise ValueError(f"data must have labels to train for, got {dataset.name} without any")
    x = dataset.x.view(len(dataset.x), *dataset.shape)
    calls = Calls(module, x[: min(len(x), 32)])
    with calls.open():
        outputs = calls.evaluate()
    y = targets_of(loss, dataset.y, outputs.new_empty((len(x), *outputs.shape[1:])))
    return _Batch(dataset, x, y)


def _searched(
    module: nn.Module, seed: int, loss: Any, function: Any, recipe: Recipe, samples: _Batch, search: Search
) -> tuple[float, float]:
    """(eta_c, eta_star of the measured F) of one seed."""
    chosen = torch.from_numpy(stream(seed, "samples").permutation(len(samples))[:MEASURED_SAMPLES])
    if len(samples) <= MEASURED_SAMPLES:
        chosen = torch.arange(len(samples))
    spectrum = measure(module, samples.x[chosen], samples.y[chosen], loss, tolerance=MEASURED_ERROR, seed=seed)
    top = spectrum.lambda_max + recipe.descent.weight_decay
    if not top > 0:
        raise ValueError(f"loss must be curved at the start for a rate to begin with, and lambda_max is {top:.3g}")
    star = step_limit(recipe.descent) / top

    def explodes(eta: float, epochs: int) -> bool:
        trained = copy.deepcopy(module)
        with untouched(trained):
            torch.default_generator.manual_seed(seed)
            return descend(trained, seed, eta, replace(recipe, epochs=epochs), samples, function) is not None

    return critical(explodes, rounded(star), recipe.epochs, search), star


def _theories(
    module: nn.Module, loss: Any, recipe: Recipe, samples: _Batch
) -> tuple[Network | None, dict[str, float], dict[str, float]]:
    """The description, if the theory covers the module and the loss, with eta_star at a batch and at all samples."""
    if not isinstance(loss, str):
        return None, {}, {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what it says otherwise than the module
            net = describe(module, samples.dataset.shape)
        data = samples.dataset.overlap, samples.dataset.length
        n = len(samples)
        stars, every = (eta_stars(net, recipe.descent, count, *data) for count in (recipe.batch or n, n))
    except (ValueError, TypeError, RuntimeError):
        return None, {}, {}
    return net, stars, every


def _settings(module: nn.Module, loss: Any, recipe: Recipe, samples: _Batch, search: Search) -> dict[str, Any]:
    norms = batch_norms(module)
    dataset = samples.dataset
    return {
        "data": dataset.name,
        "standardize": dataset.standardize,
        "n": len(samples),
        "checksum": zlib.crc32(samples.y.numpy().data, dataset.checksum),
        **recipe.descent._asdict(),
        "loss": name_of(loss),
        **{name: getattr(recipe, name) for name in ("batch", "epochs", "threshold", "dtype")},
        "trained": trained(norms) if norms else None,
        "overlap": dataset.overlap,
        "length": dataset.length,
        "tolerance": search.tolerance,
        "reach": search.reach,
    }
