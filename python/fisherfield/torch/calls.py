# SPDX-License-Identifier: BSD-3-Clause
"""A module as a function of its trained parameters at one batch: outputs f, J v, J^T w, and the loss's gradient and
Hessian.

J^T w is reverse mode, J v forward mode, H v forward over reverse: J^T w is taken of parameters that carry v as their
tangents, with the gradient w of the loss by the outputs, which carries its own. Parameters and buffers are copies that
`torch.func.functional_call` puts in place of the module's own, also while gradients are taken, for modules that compute
parts of themselves again then (`torch.utils.checkpoint`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import Any

import numpy as np
import torch
import torch.autograd.forward_ad as forward_mode
from numpy.typing import NDArray
from torch import nn

from .. import _numbers, _ways
from .._words import cut, shown
from .untouched import (
    devices_of,
    generators_at,
    own_generators,
    precise,
    random_state,
    untouched,
    without_mkldnn,
)

with warnings.catch_warnings():  # what PyTorch compiles as forward mode is first used warns of its own compiler
    warnings.simplefilter("ignore", DeprecationWarning)
    with forward_mode.dual_level():
        forward_mode.make_dual(torch.zeros(1), torch.zeros(1))

__all__ = ["Calls", "batch_of", "gradient_and_curvature", "module_of", "precise_dtype", "rows", "unwrapped"]

Tensors = list[torch.Tensor]
Loss = Callable[[torch.Tensor, Any], torch.Tensor]


def module_of(value: Any) -> nn.Module:
    """The module within torch.compile's and the parallel wrappers; refused where its parameters cannot be replaced."""
    if not isinstance(value, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {shown(value)}{_ways.to_module(value)}")
    module = unwrapped(value)
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError("module must be the one that was scripted or traced, whose parameters can be replaced")
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        if isinstance(tensor, nn.parameter.UninitializedTensorMixin):
            raise ValueError(f"module must have been called on a batch once: the size of its {name} is not known yet")
        if tensor.is_meta:
            raise ValueError(f"module must hold numbers, and its {name} is on the meta device")
        if tensor.is_complex() and tensor.requires_grad:
            raise ValueError(f"module must have real parameters, and its {name} is complex")
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise ValueError("module must have parameters that require gradients, got one without any")
    return module


def unwrapped(module: nn.Module) -> nn.Module:
    """What torch.compile, DataParallel and DistributedDataParallel hold."""
    while True:
        if "_orig_mod" in module._modules:
            module = module._orig_mod
        elif isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        else:
            return module


def precise_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32 in place of the halves."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to(precise_dtype(tensor.dtype), copy=True)


def batch_of(name: str, value: Any, like: torch.Tensor) -> Any:
    """A tensor, or a tuple of those, on a device; floating-point numbers in the dtype of `like`."""
    if isinstance(value, tuple):
        return tuple(batch_of(name, part, like) for part in value)
    if type(value).__name__ == "Data" and hasattr(value, "x"):
        value = value.x
    if not isinstance(value, torch.Tensor):
        value = torch.as_tensor(_numbers.as_array(name, value))
    if value.dtype.is_complex or value.ndim == 0:
        raise ValueError(f"{name} must hold samples one after the other, got {shown(value)}")
    tensor = value.detach().clone()
    if tensor.dtype.is_floating_point:
        tensor = tensor.to(like.dtype)
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} must be finite, got NaN or infinity")
    return tensor.to(like.device)


def rows(batch: Any, part: Any) -> Any:
    """Some samples of a batch; a loss may have no targets."""
    if isinstance(batch, tuple):
        return tuple(rows(each, part) for each in batch)
    return None if batch is None else batch[part]


class Calls:
    """A module at a batch x, with the random numbers of a seed; to be used within `open`.

    Attributes
    ----------
    names : list of str
        Of the trained parameters, in the order of vectors.
    samples, parameters : int
    dtype : torch.dtype
        Of all products.
    outputs : Tensor, (n, ...)
        f(x), after `whole` or `in_chunks`.
    random : bool
        Whether anything was drawn.
    reverse_only : str
        The operation without forward mode, if there was one: J v is then the derivative of J^T w by w.
    """

    def __init__(self, module: nn.Module, x: Any, seed: int = 0) -> None:
        self.module, self.seed = module, seed
        self.names = [name for name, each in module.named_parameters() if each.requires_grad]
        copies = {name: _copied(each) for name, each in module.named_parameters()}
        self.leaves = [copies.pop(name) for name in self.names]
        self.fixed = copies
        self.buffers = {name: _copied(each) for name, each in module.named_buffers()}
        self.dtype = self.leaves[0].dtype
        for leaf in self.leaves[1:]:
            self.dtype = torch.promote_types(self.dtype, leaf.dtype)
        self.x = batch_of("x", x, torch.empty(0, dtype=self.leaves[0].dtype, device=self.leaves[0].device))
        lengths = {len(each) for each in (self.x if isinstance(self.x, tuple) else (self.x,))}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"x must hold the same number of samples throughout, at least 1, got {sorted(lengths)}")
        self.samples = lengths.pop()
        self.parameters = sum(leaf.numel() for leaf in self.leaves)
        self.parts = [slice(0, self.samples)]
        self.random, self.reverse_only = False, ""
        self.outputs: torch.Tensor = torch.empty(0)
        self._kept: tuple[torch.Tensor, Tensors] | None = None
        self._generators = own_generators(module), devices_of(module)
        self._ran, self._mkldnn, self._transforms = False, True, False

    @contextmanager
    def open(self) -> Iterator[Calls]:
        """Within, the module may run; afterwards it is what it was."""
        with untouched(self.module), precise():
            yield self

    # ---- the module as a function

    def forward(self, tensors: Sequence[torch.Tensor], part: slice, then: Callable[[torch.Tensor], Any]) -> Any:
        """What `then` makes of f(x[part]), with these tensors for the trained parameters."""

        def run(module: nn.Module) -> Any:
            with nullcontext() if self._mkldnn else without_mkldnn():
                return called(module)

        def called(module: nn.Module) -> Any:
            generators_at(*self._generators, self.seed + part.start)
            before = None if self._ran else random_state(self.module)  # whoever draws draws at once
            x = rows(self.x, part)
            try:
                outputs = module(*x) if isinstance(x, tuple) else module(x)
            except Exception as error:
                if self._ran:
                    raise
                raise ValueError(f"module must take x of shape {_shapes(x)}, and says: {_line(error)}") from error
            if not self._ran:
                self._ran, self.random = True, random_state(self.module) != before
            return then(_checked(outputs, part.stop - part.start))

        return self.within(tensors, run)

    def within(self, tensors: Sequence[torch.Tensor], run: Callable[[nn.Module], Any]) -> Any:
        """`run` of the module with these tensors for the trained parameters, and fresh copies of its buffers."""
        replaced = {**dict(zip(self.names, tensors, strict=True)), **self.fixed}
        replaced |= {name: buffer.clone() for name, buffer in self.buffers.items()}
        inner = {f"inner.{name}": tensor for name, tensor in replaced.items()}
        return torch.func.functional_call(_Within(self.module), inner, (run,))

    def whole(self) -> None:
        """One forward pass, whose graph is kept for all J^T w."""
        leaves = [leaf.detach().requires_grad_() for leaf in self.leaves]
        outputs = self.forward(leaves, self.parts[0], lambda f: f)
        if not outputs.requires_grad:
            raise ValueError("module must pass gradients from its outputs to its parameters, and it detaches them")
        self._kept, self.outputs = (outputs, leaves), outputs.detach()

    def forget(self) -> None:
        """The graph of that pass, and its memory."""
        self._kept = None

    def in_chunks(self, size: int) -> None:
        """So many samples at a time, of which nothing is kept."""
        first = range(0, self.samples, size)
        self.parts = [slice(start, min(start + size, self.samples)) for start in first]
        self.outputs = self.evaluate()

    def evaluate(self, tensors: Sequence[torch.Tensor] | None = None) -> torch.Tensor:
        """f(x) alone."""
        tensors = self.leaves if tensors is None else tensors
        with torch.no_grad():
            parts = [self.forward(tensors, part, lambda f: f) for part in self.parts]
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    # ---- J

    def pull(self, w: torch.Tensor) -> torch.Tensor:
        """J^T w, (P,) of w in the shape of the outputs."""
        if self._kept is not None:
            return self._pulled(*self._kept, w)
        total = torch.zeros((self.parameters,), dtype=self.dtype, device=w.device)
        for part in self.parts:
            leaves = [leaf.detach().requires_grad_() for leaf in self.leaves]

            def of(f: torch.Tensor, leaves: Tensors = leaves, part: slice = part) -> torch.Tensor:
                return self._pulled(f, leaves, w[part])

            total += self.forward(leaves, part, of)
        return total

    def _pulled(self, outputs: torch.Tensor, leaves: Tensors, w: torch.Tensor) -> torch.Tensor:
        def run(_: nn.Module) -> Any:
            return torch.autograd.grad(outputs, leaves, w.to(outputs.dtype), retain_graph=True, **_ANY)

        return self.flat(self.within(leaves, run))

    def push(self, v: torch.Tensor) -> torch.Tensor:
        """J v, in the shape of the outputs, of v (P,)."""
        tangents = self.split(v)
        return torch.cat([self._pushed(part, tangents) for part in self.parts])

    def _pushed(self, part: slice, tangents: Tensors) -> torch.Tensor:
        if not self.reverse_only:
            try:
                with forward_mode.dual_level():
                    return self.forward(self._duals(self.leaves, tangents), part, _tangent)
            except (NotImplementedError, RuntimeError) as error:
                operation = _without_forward_mode(error)
                if self._mkldnn and operation.startswith("mkldnn"):  # as PyTorch's own, which it has
                    self._mkldnn = False
                    return self._pushed(part, tangents)
                self.reverse_only = operation
        leaves = [leaf.detach().requires_grad_() for leaf in self.leaves]

        def turned(f: torch.Tensor) -> torch.Tensor:
            w = torch.zeros_like(f, requires_grad=True)
            pulled = torch.autograd.grad(f, leaves, w, create_graph=True, **_ANY)
            return torch.autograd.grad(pulled, w, tangents, **_ANY)[0].detach()

        return self.forward(leaves, part, turned)

    @staticmethod
    def _duals(leaves: Tensors, tangents: Tensors) -> Tensors:
        return [forward_mode.make_dual(leaf, tangent) for leaf, tangent in zip(leaves, tangents, strict=True)]

    # ---- the loss

    def gradient(self, loss: Loss, targets: Any, share: Callable[[slice], float]) -> torch.Tensor:
        """Of the loss over all samples, which is the sum over chunks of `share` times their loss."""
        total = torch.zeros((self.parameters,), dtype=self.dtype, device=self.leaves[0].device)
        for part in self.parts:
            leaves = [leaf.detach().requires_grad_() for leaf in self.leaves]

            def of(f: torch.Tensor, leaves: Tensors = leaves, part: slice = part) -> Any:
                return torch.autograd.grad(loss(f, rows(targets, part)), leaves, **_ANY)

            total += share(part) * self.flat(self.forward(leaves, part, of))
        return total

    def hessian(self, v: torch.Tensor, loss: Loss, targets: Any, share: Callable[[slice], float]) -> torch.Tensor:
        """H v by forward over reverse, of the same sum."""
        tangents = self.split(v)
        return sum(
            (share(part) * self._turned(part, tangents, loss, rows(targets, part)) for part in self.parts),
            torch.zeros_like(v),
        )

    def _turned(self, part: slice, tangents: Tensors, loss: Loss, targets: Any) -> torch.Tensor:
        """By the modes themselves, or by `torch.func`, whose transforms have GroupNorm and no saved-tensor hooks."""
        while True:
            way = self._by_transforms if self._transforms else self._by_modes
            try:
                return self.flat(way(part, tangents, loss, targets))
            except (NotImplementedError, RuntimeError) as error:
                operation = _without_forward_mode(error)
            if self._mkldnn and operation.startswith("mkldnn"):  # as PyTorch's own, which it has
                self._mkldnn = False
            elif not self._transforms:
                self._transforms = True
            else:
                raise ValueError(
                    f"module must be one whose Hessian PyTorch can take forward over reverse, and {operation} has no "
                    "forward mode: ask for matrix='fisher'"
                )

    def _by_modes(self, part: slice, tangents: Tensors, loss: Loss, targets: Any) -> Tensors:
        with forward_mode.dual_level():
            duals = self._duals([leaf.detach().requires_grad_() for leaf in self.leaves], tangents)

            def of(f: torch.Tensor) -> Any:
                primal = forward_mode.unpack_dual(f).primal.detach()
                w = forward_mode.make_dual(*gradient_and_curvature(loss, primal, targets, _tangent(f)))
                return [_tangent(each) for each in torch.autograd.grad(f, duals, w, **_ANY)]

            gradients: Tensors = self.forward(duals, part, of)
            return gradients

    def _by_transforms(self, part: slice, tangents: Tensors, loss: Loss, targets: Any) -> Tensors:
        def f(leaves: Tensors) -> Any:
            return self.forward(leaves, part, lambda outputs: outputs)

        def pulled(leaves: Tensors, w: torch.Tensor) -> Any:
            return torch.func.vjp(f, leaves)[1](w)[0]

        outputs, along = torch.func.jvp(f, (self.leaves,), (tangents,))
        w = gradient_and_curvature(loss, outputs.detach(), targets, along.detach())
        gradients: Tensors = torch.func.jvp(pulled, (self.leaves, w[0]), (tangents, w[1]))[1]
        return gradients

    # ---- vectors

    def flat(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """One vector of a tensor for each parameter."""
        device = self.leaves[0].device
        return torch.cat([each.detach().reshape(-1).to(device, self.dtype) for each in tensors])

    def split(self, v: torch.Tensor) -> Tensors:
        """A tensor for each parameter of one vector."""
        parts = v.split([leaf.numel() for leaf in self.leaves])
        pairs = zip(parts, self.leaves, strict=True)
        return [part.view(leaf.shape).to(leaf.device, leaf.dtype) for part, leaf in pairs]

    def vector(self, values: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.leaves[0].device, self.dtype)


_ANY: dict[str, Any] = {"allow_unused": True, "materialize_grads": True}  # parameters that the outputs know nothing of


class _Within(nn.Module):  # type: ignore[misc, unused-ignore]
    """Calls a function with the module that it holds; `functional_call` replaces that module's tensors meanwhile."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, run: Callable[[nn.Module], Any]) -> Any:
        return run(self.inner)


def gradient_and_curvature(
    loss: Loss, outputs: torch.Tensor, targets: Any, u: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss's gradient by the outputs, and its Hessian by them times u.

    By reverse over reverse, for PyTorch's losses have that: mse_loss and huber_loss have no forward mode on their way
    back.
    """
    f = outputs.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(f, targets), f, create_graph=True, **_ANY)
    if not gradient.requires_grad:  # of a loss that is linear in f
        return gradient.detach(), torch.zeros_like(u)
    (turned,) = torch.autograd.grad(gradient, f, u, **_ANY)
    return gradient.detach(), turned.detach()


def _tangent(tensor: torch.Tensor) -> torch.Tensor:
    tangent = forward_mode.unpack_dual(tensor).tangent
    return torch.zeros_like(tensor.detach()) if tangent is None else tangent.detach()


def _checked(outputs: Any, samples: int) -> torch.Tensor:
    """(n, ...) in float32 at least; anything else is refused."""
    if not isinstance(outputs, torch.Tensor):
        raise ValueError(
            f"module must return a tensor of outputs, got {type(outputs).__name__}: wrap it in a module that returns "
            "what the loss takes"
        )
    if outputs.ndim == 0 or len(outputs) != samples or not outputs.dtype.is_floating_point:
        raise ValueError(
            f"module must return floating-point outputs for each of {samples} samples, got {outputs.dtype} of shape "
            f"{tuple(outputs.shape)}"
        )
    if not bool(torch.isfinite(outputs.detach()).all()):
        raise ValueError("module must return finite outputs, got NaN or infinity")
    return outputs.to(precise_dtype(outputs.dtype))


def _shapes(x: Any) -> str:
    return " and ".join(str(tuple(each.shape)) for each in (x if isinstance(x, tuple) else (x,)))


def _line(error: Exception) -> str:
    """The first line of an error, or its kind where it has none."""
    return cut(str(error).strip().partition("\n")[0] or type(error).__name__, 200)


def _without_forward_mode(error: Exception) -> str:
    """The operation that an error says has no forward mode; any other error is raised."""
    words = str(error)
    if "forward AD with " in words and "does not support" in words:
        return cut(words.partition("forward AD with ")[2].partition(" ")[0])
    if ("jvp" in words and "implement" in words) or "setup_context" in words:
        return "a function of its own"
    raise error
