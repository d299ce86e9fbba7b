# SPDX-License-Identifier: BSD-3-Clause
"""A module may run as often as it likes, and is bit for bit what it was afterwards."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["devices_of", "generators_at", "own_generators", "precise", "random_state", "untouched", "without_mkldnn"]


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Mode, attributes, hooks, the names that hold parameters and buffers, and all generators are put back.

    The numbers of parameters and buffers are not: `Calls` runs a module on copies of them.
    """
    before = [(part, dict(vars(part)), _contents(part)) for part in module.modules()]
    own = [(generator, generator.get_state()) for generator in own_generators(module)]
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  (a module may draw from it)
    try:
        with torch.random.fork_rng(devices=devices_of(module)):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        for generator, state in own:
            generator.set_state(state)
        for part, attributes, contents in before:
            vars(part).clear()
            vars(part).update(attributes)
            for held, content in contents:
                held.clear()
                held.extend(content) if isinstance(held, list) else held.update(content)


def _contents(part: nn.Module) -> list[tuple[Any, Any]]:
    """What an attribute holds that a forward may add to: a cache, a list, the buffers themselves."""
    pairs = ((value, kind) for value in vars(part).values() for kind in (dict, list, set) if isinstance(value, kind))
    return [(value, kind(value)) for value, kind in pairs]


def own_generators(module: nn.Module) -> list[torch.Generator]:
    values = (value for part in module.modules() for value in vars(part).values())
    return [value for value in values if isinstance(value, torch.Generator)]


def devices_of(module: nn.Module) -> list[int]:
    """Those of CUDA that it lives on."""
    return sorted({tensor.device.index for tensor in module.parameters() if tensor.device.type == "cuda"})


def generators_at(own: list[torch.Generator], devices: list[int], seed: int) -> None:
    """Every generator that a module may draw from starts at this seed."""
    torch.default_generator.manual_seed(seed)
    for device in devices:
        torch.cuda.default_generators[device].manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    for generator in own:
        generator.manual_seed(seed)


def random_state(module: nn.Module) -> tuple[Any, ...]:
    """What changes where anything is drawn."""
    states = [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices_of(module))]
    states += [generator.get_state() for generator in own_generators(module)]
    numpy = np.random.get_state()  # noqa: NPY002
    return (random.getstate(), numpy[1].tobytes(), numpy[2], *(bytes(state.cpu().numpy()) for state in states))  # type: ignore[index, unused-ignore]


@contextmanager
def precise() -> Iterator[None]:
    """PyTorch in full precision and the same each time: no autocast, no TF32, no kernels without forward mode."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False))
        tf32, fast = torch.backends.cuda.matmul.allow_tf32, torch.backends.mha.get_fastpath_enabled()
        try:
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.mha.set_fastpath_enabled(False)
            if hasattr(torch.nn, "attention"):
                stack.enter_context(torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH))
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = tf32
            torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def without_mkldnn() -> Iterator[None]:
    """PyTorch's own kernels; that it sets flags of another processor on the way, it warns of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "TF32 acceleration", UserWarning)
        flags = torch.backends.mkldnn.flags(enabled=False)
        flags.__enter__()
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "TF32 acceleration", UserWarning)
            flags.__exit__(None, None, None)
