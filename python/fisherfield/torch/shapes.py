# SPDX-License-Identifier: BSD-3-Clause
"""Modules called on tensors without numbers (PyTorch's meta device), which have shapes alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .refused import changed, held_as, opaque

__all__ = ["BATCH", "called", "fits", "without_numbers"]

BATCH = 13  # no size that a forward would have in numbers


def without_numbers(tensor: Any) -> Any:
    return torch.empty_like(tensor, device="meta") if isinstance(tensor, torch.Tensor) else tensor


def called(module: nn.Module, args: Any, kwargs: Any) -> Any:
    """What a module gives; its own parameters and buffers are left alone."""
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    empty = {name: without_numbers(tensor) for name, tensor in state.items()}
    with torch.no_grad():
        return torch.func.functional_call(module, empty, args, kwargs)


def fits(module: Any, shape: tuple[int, ...]) -> bool:
    """Whether a module could be run, and so be measured, with what comes in."""
    tensors = list(module.parameters())
    if any(isinstance(one, nn.parameter.UninitializedTensorMixin) for one in tensors):
        return False
    if any(one.is_meta or not one.numel() or not bool(torch.isfinite(one).all()) for one in tensors):
        return False
    if opaque(module) or held_as(module) or any(changed(part) for part in module.modules()):
        return True
    try:
        called(module, (torch.empty(BATCH, *shape, device="meta", dtype=_dtype(tensors)),), {})
    except Exception:  # of whatever kind: that is what is asked here
        return False
    return True


def _dtype(tensors: Any) -> torch.dtype:
    return next((one.dtype for one in tensors if one.is_floating_point()), torch.get_default_dtype())
