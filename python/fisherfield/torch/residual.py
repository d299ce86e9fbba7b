# SPDX-License-Identifier: BSD-3-Clause
"""A sum of two branches, and the skip without parameters, as PyTorch modules."""

from __future__ import annotations

import torch
from torch import nn

from .. import _numbers

__all__ = ["Residual", "Subsample"]


class Residual(nn.Module):  # type: ignore[misc, unused-ignore]
    """x -> skip(x) + scale * branch(x); without a skip x + scale * branch(x).

    `fisherfield.torch.describe` reads it as `fisherfield.Residual`, and `fisherfield.torch.module` makes it of that.

    Parameters
    ----------
    branch : torch.nn.Module
        To be described: a Sequential of layers or a layer, with at least one that has weights.
    skip : torch.nn.Module, optional
        The same, with or without weights; Identity or nothing is x itself.
    scale : float
        Fixed.

    Raises
    ------
    TypeError, ValueError
        For branches that are no modules, and a scale that is not finite or beyond 1e100.

    Examples
    --------
    >>> block = ff.torch.Residual(nn.Sequential(nn.BatchNorm1d(500), nn.ReLU(), nn.Linear(500, 500)))
    >>> model = nn.Sequential(nn.Linear(784, 500), block, nn.ReLU(), nn.Linear(500, 10))
    """

    def __init__(self, branch: nn.Module, skip: nn.Module | None = None, scale: float = 1.0) -> None:
        super().__init__()
        for name, value in (("branch", branch), ("skip", nn.Identity() if skip is None else skip)):
            if not isinstance(value, nn.Module):
                raise TypeError(f"{name} must be a torch.nn.Module, got {_numbers.shown(value)}")
        self.branch, self.skip, self.scale = branch, skip, _numbers.SIGNED.convert("scale", scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        through: torch.Tensor = x if self.skip is None else self.skip(x)
        return through + self.scale * self.branch(x)

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


class Subsample(nn.Module):  # type: ignore[misc, unused-ignore]
    """Every `stride`-th position of an image's channels, and zeros as the channels behind them, `channels` in all.

    `fisherfield.torch.describe` reads it as `fisherfield.Subsample`, the last layer of a skip, and
    `fisherfield.torch.module` makes it of that.

    Parameters
    ----------
    channels : int
    stride : int or (int, int)

    Raises
    ------
    ValueError, TypeError
        For what are no whole numbers >= 1; in `forward` for more channels than `channels`.

    Examples
    --------
    >>> block = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, 1, 1))
    >>> ff.torch.Residual(block, ff.torch.Subsample(32))
    """

    def __init__(self, channels: int, stride: int | tuple[int, int] = 2) -> None:
        super().__init__()
        self.channels = _numbers.integer("channels", channels, 1)
        self.stride: int | tuple[int, int] = _numbers.pair("stride", stride, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, columns = self.stride if isinstance(self.stride, tuple) else (self.stride,) * 2
        missing = self.channels - x.shape[1]
        if missing < 0:
            raise ValueError(f"x must have at most {self.channels} channels, got {x.shape[1]}")
        return nn.functional.pad(x[:, :, ::rows, ::columns], (0, 0, 0, 0, 0, missing))

    def extra_repr(self) -> str:
        return f"{self.channels}, stride={self.stride}"
