# SPDX-License-Identifier: BSD-3-Clause
"""Activations as PyTorch's modules and back; what PyTorch has no module for is made of its functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..network import Activation

__all__ = ["MODULES", "READERS", "Elementwise"]

_SMOOTH = 40.0  # softplus is linear to 1e-17 from here on


class Elementwise(nn.Module):  # type: ignore[misc, unused-ignore]
    """An activation of fisherfield that PyTorch has no module for, made of PyTorch's functions."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _FUNCTIONS[str(self.activation.function)](x, self.activation)

    def extra_repr(self) -> str:
        return str(self.activation)


def _polynomial(x: torch.Tensor, coefficients: tuple[float, ...]) -> torch.Tensor:
    """Horner's rule."""
    total = torch.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


def _hermite(x: torch.Tensor, n: int) -> torch.Tensor:
    """h_n = He_n/sqrt(n!) by h_{k+1} = (x h_k - sqrt(k) h_{k-1})/sqrt(k+1)."""
    before, now = torch.zeros_like(x), torch.ones_like(x)
    for k in range(n):
        before, now = now, (x * now - math.sqrt(k) * before) / math.sqrt(k + 1)
    return now


def _step(x: torch.Tensor) -> torch.Tensor:
    return (x > 0).to(x.dtype) + 0.0 * x  # the sum has a gradient, 0


_FUNCTIONS: dict[str, Callable[[torch.Tensor, Any], torch.Tensor]] = {
    "hardsigmoid": lambda x, phi: nn.functional.relu6(x + 3) / 6,  # nn.Hardsigmoid's slope is the 1/6 of float32
    "abs": lambda x, phi: x.abs(),
    "step": lambda x, phi: _step(x),
    "sign": lambda x, phi: x.sign(),
    "erf": lambda x, phi: x.erf(),
    "sin": lambda x, phi: x.sin(),
    "cos": lambda x, phi: x.cos(),
    "exp": lambda x, phi: x.exp(),
    "gaussian": lambda x, phi: (-0.5 * x * x).exp(),
    "rbf": lambda x, phi: math.sqrt(2) * (math.sqrt(2) * x + math.pi / 4).sin(),
    "monomial": lambda x, phi: x**phi.n,
    "rectified_monomial": lambda x, phi: x.relu() ** phi.n if phi.n else _step(x),
    "hermite": lambda x, phi: _hermite(x, phi.n),
    "polynomial": lambda x, phi: _polynomial(x, phi.coefficients),
}
MODULES: dict[str, Callable[[Any], nn.Module]] = {
    "linear": lambda phi: nn.Identity(),
    "relu": lambda phi: nn.ReLU(),
    "leaky_relu": lambda phi: nn.LeakyReLU(phi.slope),
    "relu6": lambda phi: nn.ReLU6(),
    "hardtanh": lambda phi: nn.Hardtanh(),
    "hardswish": lambda phi: nn.Hardswish(),
    "tanh": lambda phi: nn.Tanh(),
    "sigmoid": lambda phi: nn.Sigmoid(),
    "softsign": lambda phi: nn.Softsign(),
    "gelu": lambda phi: nn.GELU(),
    "gelu_tanh": lambda phi: nn.GELU(approximate="tanh"),
    "silu": lambda phi: nn.SiLU(),
    "softplus": lambda phi: nn.Softplus(threshold=_SMOOTH),
    "mish": lambda phi: nn.Mish(),
    "elu": lambda phi: nn.ELU(phi.alpha),
    "selu": lambda phi: nn.SELU(),
    "celu": lambda phi: nn.CELU(phi.alpha),
    **dict.fromkeys(_FUNCTIONS, Elementwise),
}


def _hardtanh(layer: Any) -> Activation:
    ends = {(-1.0, 1.0): "hardtanh", (0.0, 6.0): "relu6"}
    name = ends.get((float(layer.min_val), float(layer.max_val)))
    if name is None:
        raise ValueError("it must go from -1 to 1, or from 0 to 6; describe it with ff.Activation of a callable")
    return Activation(name)


def _softplus(layer: Any) -> Activation:
    if layer.beta != 1 or layer.threshold < 20:
        raise ValueError("it must have beta = 1 and a threshold of 20 or more; use another activation")
    return Activation("softplus")


READERS: dict[type[Any], Callable[[Any], Activation]] = {
    nn.ReLU: lambda layer: Activation("relu"),
    nn.LeakyReLU: lambda layer: Activation("leaky_relu", slope=layer.negative_slope),
    nn.ReLU6: lambda layer: Activation("relu6"),
    nn.Hardtanh: _hardtanh,
    nn.Hardsigmoid: lambda layer: Activation("hardsigmoid"),
    nn.Hardswish: lambda layer: Activation("hardswish"),
    nn.Tanh: lambda layer: Activation("tanh"),
    nn.Sigmoid: lambda layer: Activation("sigmoid"),
    nn.Softsign: lambda layer: Activation("softsign"),
    nn.GELU: lambda layer: Activation("gelu_tanh" if layer.approximate == "tanh" else "gelu"),
    nn.SiLU: lambda layer: Activation("silu"),
    nn.Softplus: _softplus,
    nn.Mish: lambda layer: Activation("mish"),
    nn.ELU: lambda layer: Activation("elu", alpha=layer.alpha),
    nn.SELU: lambda layer: Activation("selu"),
    nn.CELU: lambda layer: Activation("celu", alpha=layer.alpha),
    Elementwise: lambda layer: layer.activation,
}


# ------------------------------------------------------------------------------------------------ description to module
