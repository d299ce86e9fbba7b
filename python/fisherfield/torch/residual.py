# SPDX-License-Identifier: BSD-3-Clause
"""A sum of two branches as a PyTorch module."""

from __future__ import annotations

import torch
from torch import nn

from .. import _numbers

__all__ = ["Residual"]


class Residual(nn.Module):  # type: ignore[misc, unused-ignore]
    """x -> skip(x) + scale * branch(x); without a skip x + scale * branch(x).

    `fisherfield.torch.describe` reads it as `fisherfield.Residual`, and `fisherfield.torch.module` makes it of that.

    Parameters
    ----------
    branch : torch.nn.Module
        To be described: a Sequential of layers or a layer, with at least one that has weights, and the last of it
        Linear, a convolution or a normalisation behind one, so that the sum is Gaussian.
    skip : torch.nn.Module, optional
        The same; Identity or nothing is x itself.
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
