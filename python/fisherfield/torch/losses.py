# SPDX-License-Identifier: BSD-3-Clause
"""Losses of (outputs, targets): the named ones and callables, their targets, and the roots of their curvature.

With H the Hessian of the loss by the outputs f, F = J^T H J; for the named ones H = S S^T is known, and F has the
eigenvalues of S^T J J^T S, in the space of outputs, beside zeros. For a callable whose H holds a block for each sample
the root of every block is taken where these are few and have no negative eigenvalues; else F itself is multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch

from .. import _numbers, _ways
from .._words import shown
from .calls import gradient_and_curvature, rows

__all__ = ["Curvature", "Loss", "Root", "curvature_of", "loss_of", "name_of", "root_of", "share_of", "targets_of"]

_BLOCKS = 2**24  # numbers that all blocks of H may have
Loss = Callable[[torch.Tensor, Any], torch.Tensor]


def loss_of(loss: Any) -> Loss:
    """A named loss as a function of outputs and targets; a callable as it is, its value looked at."""
    if isinstance(loss, str) or not callable(loss):
        if loss in _numbers.LOSSES:
            return _NAMED[loss]
        words = f"loss must be {', '.join(_numbers.LOSSES)} or a callable of (outputs, targets)"
        raise ValueError(f"{words}, got {shown(loss)}{_ways.to_loss(loss, _numbers.LOSSES)}")

    def checked(outputs: torch.Tensor, targets: Any) -> torch.Tensor:
        value = loss(outputs, targets)
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            got = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else shown(value)
            raise ValueError(f"loss must return a tensor of one number, got {got}")
        return value.reshape(())

    return checked


def name_of(loss: Any) -> str:
    """As results print it."""
    if isinstance(loss, str):
        return loss
    return str(getattr(loss, "__name__", type(loss).__name__))


def _squared(factor: Callable[[int], float]) -> Loss:
    def loss(f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        outputs = f.numel() // len(f)
        return factor(outputs) * ((f - y) ** 2).sum() / len(f)

    return loss


_FACTORS: dict[str, Callable[[int], float]] = {
    "sum": lambda outputs: 1.0,
    "mean": lambda outputs: 1.0 / outputs,
    "mse": lambda outputs: 2.0 / outputs,
}
_NAMED: dict[str, Loss] = {
    "sum": _squared(lambda outputs: 0.5),
    "mean": _squared(lambda outputs: 0.5 / outputs),
    "mse": _squared(lambda outputs: 1.0 / outputs),
    "cross_entropy": torch.nn.functional.cross_entropy,
}


def targets_of(loss: Any, targets: Any, outputs: torch.Tensor) -> Any:
    """On the outputs' device and in their dtype; for squared losses labels become one-hot."""
    if targets is None:
        if isinstance(loss, str):
            raise ValueError(f"targets must be there for the loss {loss}, got None")
        return None
    if not isinstance(loss, str):
        return _moved(targets, outputs)
    y = _moved(targets, outputs)
    labels = f"{len(outputs)} labels"
    if loss == "cross_entropy":
        if outputs.ndim < 2:
            raise ValueError(
                f"loss must be a squared one for outputs of shape {tuple(outputs.shape)}, got {shown(loss)}"
            )
        fits = y.shape == (len(outputs), *outputs.shape[2:]) and not y.dtype.is_floating_point
        if not fits and y.shape != outputs.shape:
            raise ValueError(f"targets must be {labels} or of shape {tuple(outputs.shape)}, got {_is(y)}")
        return y.long() if fits else y.to(outputs.dtype)
    if y.shape != outputs.shape and y.shape == outputs.shape[:1]:
        outside = not y.dtype.is_floating_point and bool(((y < 0) | (y >= max(2, outputs[0].numel()))).any())
        if outputs[0].numel() == 1:
            y = y.reshape(outputs.shape)
        elif outputs.ndim == 2 and not y.dtype.is_floating_point and not outside:
            y = torch.nn.functional.one_hot(y.long(), outputs.shape[1])
    if y.shape != outputs.shape:
        raise ValueError(f"targets must be of shape {tuple(outputs.shape)}, or {labels}, got {_is(y)}")
    return y.to(outputs.dtype)


def _is(y: torch.Tensor) -> str:
    return f"{y.dtype} of shape {tuple(y.shape)}"


def _moved(targets: Any, outputs: torch.Tensor) -> Any:
    if isinstance(targets, tuple):
        return tuple(_moved(each, outputs) for each in targets)
    if not isinstance(targets, torch.Tensor):
        targets = torch.as_tensor(_numbers.as_array("targets", targets))
    y = targets.detach().clone().to(outputs.device)
    if y.ndim == 0 or len(y) != len(outputs):
        raise ValueError(f"targets must hold one for each of {len(outputs)} samples, got shape {tuple(y.shape)}")
    return y.to(outputs.dtype) if y.dtype.is_floating_point else y


def share_of(
    loss: Loss, named: bool, outputs: torch.Tensor, targets: Any, parts: list[slice]
) -> Callable[[slice], float]:
    """By what a chunk's loss enters that of all samples: its share of them, or 1 where the loss is a sum."""
    n = len(outputs)
    if len(parts) == 1:
        return lambda part: 1.0
    with torch.no_grad():
        whole = float(loss(outputs, targets))
        each = [float(loss(outputs[part], rows(targets, part))) for part in parts]
    sizes = [part.stop - part.start for part in parts]
    near = 1e-4 if outputs.dtype == torch.float32 else 1e-9  # rounding of sums in other orders
    scale = near * max(abs(whole), sum(map(abs, each)))
    if abs(sum(size * value for size, value in zip(sizes, each, strict=True)) / n - whole) <= scale:
        return lambda part: (part.stop - part.start) / n
    if abs(sum(each) - whole) <= scale and not named:
        return lambda part: 1.0
    raise ValueError("chunk must be None for a loss that is neither a mean nor a sum over samples")


# ---------------------------------------------------------------------------------------------------- H by the outputs


class Root(Protocol):
    """w -> S w and w -> S^T w with S S^T = H, both in the shape of the outputs."""

    def times(self, w: torch.Tensor) -> torch.Tensor: ...

    def transposed(self, w: torch.Tensor) -> torch.Tensor: ...


class _Factor:
    def __init__(self, square: float) -> None:
        self.factor = math.sqrt(square)

    def times(self, w: torch.Tensor) -> torch.Tensor:
        return w * self.factor

    transposed = times


class _Softmax:
    """S = (diag(sqrt p) - p sqrt(p)^T)/sqrt(n) at each sample, and at each position behind the classes."""

    def __init__(self, outputs: torch.Tensor) -> None:
        self.p = torch.softmax(outputs, 1)
        self.root = self.p.sqrt()
        self.factor = math.sqrt(outputs.shape[1] / outputs.numel())

    def times(self, w: torch.Tensor) -> torch.Tensor:
        return self.factor * (self.root * w - self.p * (self.root * w).sum(1, keepdim=True))

    def transposed(self, w: torch.Tensor) -> torch.Tensor:
        return self.factor * self.root * (w - (self.p * w).sum(1, keepdim=True))


class _Blocks:
    """The symmetric root of each sample's block."""

    def __init__(self, roots: torch.Tensor) -> None:
        self.roots = roots  # (n, C, C)

    def times(self, w: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ikl,il->ik", self.roots, w.reshape(len(w), -1)).reshape(w.shape)

    transposed = times


Curvature = Callable[[torch.Tensor], torch.Tensor]


def curvature_of(loss: Loss, outputs: torch.Tensor, targets: Any) -> Curvature:
    """u -> H u in the outputs."""
    return lambda u: gradient_and_curvature(loss, outputs, targets, u)[1]


def root_of(loss: Any, outputs: torch.Tensor, curvature: Curvature | None) -> Root | None:
    """The root of a named loss's H, or of a callable's where it has one that is worth taking."""
    if isinstance(loss, str):
        return (
            _Softmax(outputs) if loss == "cross_entropy" else _Factor(_FACTORS[loss](outputs[0].numel()) / len(outputs))
        )
    n, size = len(outputs), outputs[0].numel()
    if curvature is None or n * size**2 > _BLOCKS:
        return None
    blocks = outputs.new_zeros((n, size, size))
    for column in range(size):
        unit = outputs.new_zeros((n, size))
        unit[:, column] = 1.0
        blocks[:, :, column] = curvature(unit.reshape(outputs.shape)).reshape(n, size)
    random = np.random.default_rng(0).standard_normal((n, size))
    probe = torch.from_numpy(random).to(outputs)
    image = curvature(probe.reshape(outputs.shape)).reshape(n, size)
    near = 1e3 * torch.finfo(outputs.dtype).eps
    if bool((torch.einsum("ikl,il->ik", blocks, probe) - image).norm() > near * image.norm()):
        return None  # the loss couples samples
    values, vectors = torch.linalg.eigh((blocks + blocks.mT).double() / 2)
    if bool((values < -near * values.abs().max()).any()):
        return None
    roots = (vectors * values.clamp(min=0).sqrt()[:, None, :]) @ vectors.mT
    return _Blocks(roots.to(outputs.dtype))
