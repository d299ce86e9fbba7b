# SPDX-License-Identifier: BSD-3-Clause
"""Which derivatives, and which nested ones, the installed PyTorch has right.

phi(z) = sum_i c_i op_i(z) + sum_i op_i(z)^2 of an operation's inputs and parameters z together, in float64. Its first
derivative along u and its second one along u and v are taken by each mode and by each nesting of two, and compared with
those of the same function in sums, products, roots and exponentials, by reverse over reverse.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from .untouched import precise

__all__ = ["AutogradCheck", "check_autograd"]

MODES = (
    "forward",
    "reverse",
    "forward over reverse",
    "reverse over reverse",
    "reverse over forward",
    "forward over forward",
)
_TAKEN = MODES[:3]  # what `measure` takes
_NEAR = 1e-9  # relative; rounding of second derivatives of sums of some dozen numbers
_EPS = 1e-5
Tensors = tuple[torch.Tensor, ...]
Function = Callable[..., torch.Tensor]


@dataclass(frozen=True, repr=False)
class AutogradCheck:
    """What each mode of differentiation says of each operation.

    Attributes
    ----------
    torch : str
        The version.
    errors : dict
        By (operation, mode): the relative error; infinity where the mode is not there.
    """

    torch: str
    errors: dict[tuple[str, str], float]

    @property
    def wrong(self) -> tuple[tuple[str, str], ...]:
        """Operations and modes whose derivatives are wrong, without a word of PyTorch's."""
        return tuple(key for key, error in self.errors.items() if _NEAR < error < math.inf)

    @property
    def missing(self) -> tuple[tuple[str, str], ...]:
        """Those that PyTorch refuses."""
        return tuple(key for key, error in self.errors.items() if error == math.inf)

    @property
    def trusted(self) -> bool:
        """Whether all that `measure` takes is right: forward, reverse, forward over reverse."""
        return not any(mode in _TAKEN for _, mode in self.wrong)

    def __repr__(self) -> str:
        operations = list(dict.fromkeys(operation for operation, _ in self.errors))
        lines = [
            f"Derivatives of torch {self.torch}: relative errors where they are wrong",
            f"  {'':<18}" + "".join(f"{mode:>22}" for mode in MODES),
        ]
        for operation in operations:
            words = [_word(self.errors[operation, mode]) for mode in MODES]
            lines.append(f"  {operation:<18}" + "".join(f"{word:>22}" for word in words))
        taken = "are right" if self.trusted else "are WRONG: its numbers are not to be trusted"
        return "\n".join([*lines, f"  What ff.torch.measure takes ({', '.join(_TAKEN)}) {taken}."])


def _word(error: float) -> str:
    return "missing" if error == math.inf else "right" if error <= _NEAR else f"wrong by {error:.1g}"


def check_autograd() -> AutogradCheck:
    """Compare every mode of differentiation of the installed PyTorch with norms and the like written in primitives.

    Returns
    -------
    AutogradCheck
        `.wrong`, `.missing`, `.trusted`; it prints as a table.

    Notes
    -----
    In torch 2.13 reverse over forward and forward over forward are wrong for batch_norm in train mode and for
    layer_norm, without an error. `measure` takes neither.

    Examples
    --------
    >>> ff.torch.check_autograd().trusted
    True
    """
    errors = {}
    with precise(), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # of compilers that forward mode is written in
        torch.default_generator.manual_seed(0)
        for name, (operation, primitive, shapes) in _OPERATIONS.items():
            z, u, v = (tuple(_drawn(shape) for shape in shapes) for _ in range(3))
            c = torch.randn_like(primitive(*z))
            judge = _derivatives(_phi(primitive, c), z, u, v, ("reverse", "reverse over reverse"))
            values = _derivatives(_phi(operation, c), z, u, v, MODES)
            for mode in MODES:
                expected = judge["reverse over reverse" if "over" in mode else "reverse"]
                errors[name, mode] = abs(values[mode] - expected) / abs(expected)
    return AutogradCheck(torch.__version__, errors)


def _drawn(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


def _phi(operation: Function, c: torch.Tensor) -> Function:
    def phi(*z: torch.Tensor) -> torch.Tensor:
        f = operation(*z)
        return (c * f).sum() + (f * f).sum()

    return phi


def _derivatives(phi: Function, z: Tensors, u: Tensors, v: Tensors, modes: tuple[str, ...]) -> dict[str, float]:
    """Along u, and along u and v; infinity where PyTorch refuses."""
    places = tuple(range(len(z)))

    def dot(gradient: Tensors, direction: Tensors) -> torch.Tensor:
        return torch.stack([(a * b).sum() for a, b in zip(gradient, direction, strict=True)]).sum()

    gradient = torch.func.grad(phi, places)

    def along(*at: torch.Tensor) -> Any:
        return torch.func.jvp(phi, at, u)[1]

    def back(*at: torch.Tensor) -> Any:
        return dot(gradient(*at), u)

    ways: dict[str, Callable[[], Any]] = {
        "forward": lambda: along(*z),
        "reverse": lambda: back(*z),
        "forward over reverse": lambda: dot(torch.func.jvp(gradient, z, u)[1], v),
        "reverse over reverse": lambda: dot(torch.func.grad(back, places)(*z), v),
        "reverse over forward": lambda: dot(torch.func.grad(along, places)(*z), v),
        "forward over forward": lambda: torch.func.jvp(along, z, v)[1],
    }
    values = {}
    for mode in modes:
        try:
            values[mode] = float(ways[mode]())
        except (NotImplementedError, RuntimeError):
            values[mode] = math.inf
    return values


# ------------------------------------------------------------------------------------------- operations and primitives


def _normed(x: torch.Tensor, axes: tuple[int, ...], centred: bool = True) -> torch.Tensor:
    y = x - x.mean(axes, keepdim=True) if centred else x
    return y / ((y * y).mean(axes, keepdim=True) + _EPS).sqrt()


def _batch_norm(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return functional.batch_norm(x, None, None, w, b, True, 0.1, _EPS)


def _channels(y: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    shape = (1, -1, *[1] * (y.ndim - 2))
    return y * w.reshape(shape) + b.reshape(shape)


def _attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return functional.scaled_dot_product_attention(q, k, v)


def _attention_in_primitives(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    e = (q @ k.mT / math.sqrt(q.shape[-1])).exp()
    return (e / e.sum(-1, keepdim=True)) @ v


def _convolution_in_primitives(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Kernel 2 x 2 by four shifts."""
    shifts = [((i, j), x[:, :, i : x.shape[2] - 1 + i, j : x.shape[3] - 1 + j]) for i in (0, 1) for j in (0, 1)]
    return torch.stack([torch.einsum("ncxy,oc->noxy", part, w[:, :, i, j]) for (i, j), part in shifts]).sum(0)


_OPERATIONS: dict[str, tuple[Function, Function, tuple[tuple[int, ...], ...]]] = {
    "batch_norm": (_batch_norm, lambda x, w, b: _channels(_normed(x, (0,)), w, b), ((6, 4), (4,), (4,))),
    "batch_norm 2d": (
        _batch_norm,
        lambda x, w, b: _channels(_normed(x, (0, 2, 3)), w, b),
        ((3, 4, 2, 2), (4,), (4,)),
    ),
    "layer_norm": (
        lambda x, w, b: functional.layer_norm(x, (4,), w, b, _EPS),
        lambda x, w, b: _normed(x, (1,)) * w + b,
        ((6, 4), (4,), (4,)),
    ),
    "group_norm": (
        lambda x, w, b: functional.group_norm(x, 2, w, b, _EPS),
        lambda x, w, b: _channels(_normed(x.reshape(3, 2, -1), (2,)).reshape(x.shape), w, b),
        ((3, 4, 2, 2), (4,), (4,)),
    ),
    "instance_norm": (
        lambda x, w, b: functional.instance_norm(x, weight=w, bias=b, eps=_EPS),
        lambda x, w, b: _channels(_normed(x, (2,)), w, b),
        ((3, 4, 5), (4,), (4,)),
    ),
    "rms_norm": (
        lambda x, w: functional.rms_norm(x, (4,), w, _EPS),
        lambda x, w: _normed(x, (1,), False) * w,
        ((6, 4), (4,)),
    ),
    "attention": (_attention, _attention_in_primitives, ((2, 3, 4), (2, 3, 4), (2, 3, 4))),
    "conv2d": (functional.conv2d, _convolution_in_primitives, ((2, 3, 4, 4), (5, 3, 2, 2))),
    "log_softmax": (
        lambda x: functional.log_softmax(x, 1),
        lambda x: x - x.exp().sum(1, keepdim=True).log(),
        ((6, 4),),
    ),
    "gelu": (functional.gelu, lambda x: x * (1 + (x / math.sqrt(2)).erf()) / 2, ((6, 4),)),
    "silu": (functional.silu, lambda x: x / (1 + (-x).exp()), ((6, 4),)),
    "softplus": (functional.softplus, lambda x: (1 + x.exp()).log(), ((6, 4),)),
    "mish": (functional.mish, lambda x: x * (1 - 2 / (1 + (1 + x.exp()) ** 2)), ((6, 4),)),
}
