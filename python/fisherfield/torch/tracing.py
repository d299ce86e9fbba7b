# SPDX-License-Identifier: BSD-3-Clause
"""A module with a forward of its own, followed by torch.fx: what it calls, in order, with shapes, each with its place.

Shapes are those of tensors without numbers (PyTorch's meta device) that run through it beside the symbols, so that a
forward may ask for them. What changes its input in place is known by the version of such a tensor, and what shares its
memory by their storage: whatever is read afterwards is what was written.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from .. import _numbers
from .._words import cut
from . import functions, residual
from .refused import changed, held_as, opaque, own_forward, place_of, reason_against, refusal
from .shapes import BATCH, called, without_numbers

__all__ = ["Call", "Leaf", "followed"]


@dataclass(frozen=True)
class Leaf:
    """A module where it is called, or one that equals a function that is; the shape behind it, without the batch."""

    where: str
    module: nn.Module
    name: str
    shape: tuple[int, ...] | None = None


@dataclass(eq=False)
class Call:
    """A step of the computation: what it reads, and what it does with that.

    `leaves` of one stream; the `signs` of the two that a sum adds; a `factor` of one. None of these: it is the input.
    """

    where: str
    name: str
    reads: tuple[Call, ...] = ()
    leaves: tuple[Leaf, ...] = ()
    signs: tuple[float, ...] = ()
    factor: float | None = None


def followed(module: nn.Module, where: str, shape: tuple[int, ...]) -> Call:
    """The step that gives the outputs."""
    tracer = _Tracer(module, where)
    parameters = list(inspect.signature(module.forward).parameters.values())
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [one.name for one in parameters if one.default is one.empty and one.kind in plain]
    if len(needed) > 1 or not parameters:
        raise refusal(where, type(module).__name__, f"its forward takes {len(needed)} inputs, and the theory has one")
    dtype = next((one.dtype for one in module.parameters() if one.is_floating_point()), torch.get_default_dtype())
    tracer.input = torch.empty(BATCH, *shape, dtype=dtype, device="meta")
    try:
        with torch.enable_grad():
            graph = tracer.trace(module)
    except _Refused as error:
        raise error.refusal from None
    except Exception as error:
        raise tracer.stopped(error) from None
    output = next(node for node in reversed(graph.nodes) if node.op == "output").args[0]
    if not isinstance(output, fx.Node) or (last := tracer.calls.get(output)) is None:
        raise refusal(where, type(module).__name__, "the theory has one output, and its forward returns something else")
    return last


class _Refused(BaseException):
    """A refusal on its way out of a forward, which must not catch it."""

    def __init__(self, error: ValueError) -> None:
        super().__init__()
        self.refusal = error


class _Value(fx.Proxy):  # type: ignore[misc, unused-ignore]
    """A symbol that has the shape, dtype and so on of a tensor without numbers, or is a tuple of these."""

    value: Any = None

    shape = property(lambda self: self.value.shape)
    ndim = property(lambda self: self.value.ndim)
    dtype = property(lambda self: self.value.dtype)
    device = property(lambda self: self.value.device)
    is_cuda = property(lambda self: False)
    requires_grad = property(lambda self: True)

    def size(self, dim: int | None = None) -> Any:
        return self.value.size() if dim is None else self.value.size(dim)

    def dim(self) -> int:
        return int(self.value.dim())

    def numel(self) -> int:
        return int(self.value.numel())

    def __len__(self) -> int:
        return len(self.value)

    def is_floating_point(self) -> bool:
        return bool(self.value.is_floating_point())


def _in_place(name: str) -> Any:
    """x += y and its like, which torch.fx would take for x = x + y."""
    return lambda self, other: self.tracer.create_proxy("call_function", getattr(operator, name), (self, other), {})


for _name in ("iadd", "isub", "imul", "itruediv", "ipow"):
    setattr(_Value, f"__{_name}__", _in_place(_name))


class _Tracer(fx.Tracer):  # type: ignore[misc, unused-ignore]
    """Records calls; a module that the table of kinds reads, or that nobody can see into, is one call."""

    def __init__(self, module: nn.Module, where: str) -> None:
        super().__init__(autowrap_modules=())
        self.proxy_buffer_attributes = True  # a forward that changes its buffers changes symbols of them
        self.places, self.names = [where], [type(module).__name__]
        self.whole, self.whole_where = module, where
        self.input: Any = None
        self.calls: dict[fx.Node, Call] = {}
        self.sharing: dict[int, list[tuple[fx.Node, Any]]] = {}  # by storage: calls whose results share it
        self.spoiled: dict[fx.Node, Call] = {}  # results of another shape that a call has changed
        self.within = False  # a module that is one call, or a tensor without numbers

    # ----------------------------------------------------------------------------------------------- torch.fx's methods

    def create_args_for_root(self, forward: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        """One input; all else that a forward takes has its default."""
        return forward, [self.root, self.create_proxy("placeholder", "x", (), {})]

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Value(node, self)

    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        if type(module).forward is nn.Sequential.forward or isinstance(module, residual.Residual):
            return changed(module) or opaque(module)
        return not own_forward(module)

    def call_module(self, module: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if self.within:
            return forward(*args, **kwargs)
        if held_as(module) == "_orig_mod":
            return module._orig_mod(*args, **kwargs)
        self.places.append(place_of(self.whole_where, self.path_of_module(module)))
        self.names.append(type(module).__name__)
        result = super().call_module(module, forward, args, kwargs)
        self.places.pop()
        self.names.pop()
        return result

    def getattr(self, name: str, value: Any, cache: Any) -> Any:
        return value if self.within else super().getattr(name, value, cache)

    def create_arg(self, value: Any) -> Any:
        """Tensors that are nobody's parameter would be put into the module: they become a step that has no input."""
        if isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter):
            return self.create_node("call_function", torch.empty, (tuple(value.shape),), {})
        return super().create_arg(value)

    def iter(self, value: Any) -> Iterator[Any]:
        if isinstance(value, _Value) and isinstance(value.value, (tuple, list)):
            return iter([value[place] for place in range(len(value.value))])
        followed: Iterator[Any] = super().iter(value)
        return followed

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *more: Any, **rest: Any) -> Any:
        made = super().create_proxy(kind, target, args, kwargs, *more, **rest)
        if kind == "placeholder":
            made.value = self.input
            if not self.calls:
                self.calls[made.node] = Call(self.places[0], "the input")
                self._share(made)
        elif kind == "get_attr":
            made.value = without_numbers(self._own(target))
        else:
            self._called(made, kind, target, args, kwargs)
            if not isinstance(made.value, (torch.Tensor, tuple, list)) or isinstance(made.value, torch.Size):
                return made.value  # what a forward asked for of a shape
        return made

    # ------------------------------------------------------------------------------------------------- what it means

    def stopped(self, error: Exception) -> ValueError:
        """The refusal of what cannot be followed, at the place where it was."""
        words = str(error).strip().partition("\n")[0]
        reason = f"torch.fx cannot follow its forward, which stops with {type(error).__name__}: {cut(words)}"
        if isinstance(error, fx.proxy.TraceError):
            reason = (
                "it loops over samples, or decides by the numbers that come in, and the theory's layers are the same "
                "for all samples"
            )
        return refusal(self.places[-1], self.names[-1], reason)

    def _called(self, made: Any, kind: str, target: Any, args: Any, kwargs: Any) -> None:
        """Runs a call on tensors without numbers, and says what it is."""
        symbols = _symbols((args, kwargs))
        streams = [one for one in symbols if one.node in self.calls]
        module = self.root.get_submodule(target) if kind == "call_module" else None
        name = self.names[-1] if module is not None else functions.name_of(args[1] if target is getattr else target)
        if reason := self._refused(name, module, streams):
            raise _Refused(refusal(self.places[-1], name if module is not None else f"{name}()", reason))
        versions = [(one, one.value._version) for one in streams]
        made.value = self._run(name, module, kind, target, args, kwargs)
        if not (streams and isinstance(made.value, (torch.Tensor, tuple, list))):
            return  # a parameter's value, or one that was computed of it, or of shapes
        try:
            call = self._call(name, module, streams, symbols, made.value, args, kwargs)
        except (ValueError, TypeError) as error:
            raise _Refused(refusal(self.places[-1], f"{name}()", error)) from None
        written = [one for one, version in versions if one.value._version != version]
        self.calls[made.node] = call
        self._share(made)
        for one in written:
            self._overwritten(one, made, call)

    def _run(self, name: str, module: Any, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = _replaced((args, kwargs), lambda one: one.value, without_numbers)
        self.within = True
        try:
            if module is not None:
                return called(module, args, kwargs)
            with torch.no_grad():
                if kind == "call_method":
                    return getattr(args[0], target)(*args[1:], **kwargs)
                return target(*args, **kwargs)
        except Exception as error:
            words = str(error).strip().partition("\n")[0]
            shapes = ", ".join(str(tuple(one.shape[1:])) for one in args if isinstance(one, torch.Tensor))
            sentence = f"it does not take inputs of shape {shapes} in PyTorch: {cut(words)}"
            raise _Refused(refusal(self.places[-1], name, sentence, measured=False)) from None
        finally:
            self.within = False

    def _call(self, name: str, module: Any, streams: Any, symbols: Any, value: Any, args: Any, kwargs: Any) -> Call:
        where, plain = self.places[-1], functions.plain(name)
        reads = tuple(self.calls[one.node] for one in streams)
        if module is not None:
            if len(reads) != 1 or not isinstance(value, torch.Tensor):
                raise ValueError("the theory's layers have one input and one output")
            return Call(where, name, reads, (Leaf(where, module, name, tuple(value.shape[1:])),))
        if plain in functions.SUMS:
            return self._sum(plain, reads, args, kwargs)
        if len(streams) == 1 and plain in functions.FACTORS:
            return Call(where, f"{name}()", reads, factor=_factor(plain, args, kwargs))
        if len(streams) != 1 or not args or args[0] is not streams[0]:
            raise ValueError(functions.why_not(name))
        if plain in functions.SAME and value.dtype == streams[0].dtype:
            return Call(where, f"{name}()", reads)
        if plain in functions.SUBSAMPLES:
            made = functions.SUBSAMPLES[plain](streams[0].value, *args[1:], **kwargs)
            return self._subsampled(name, made, reads[0], tuple(value.shape[1:]))
        if plain in functions.RESHAPES:
            return Call(where, f"{name}()", reads, self._reshaped(name, streams[0].value, value))
        if plain not in functions.EQUALS:
            raise ValueError(functions.why_not(name))
        if any(one.node.op != "get_attr" for one in symbols if one is not streams[0]):
            raise ValueError("its weights are computed of others, and the theory has them as they are")
        rest, more = _replaced((args[1:], kwargs), lambda one: self._own(one.node.target))
        equal = functions.EQUALS[plain](streams[0].value, *rest, **more)
        modules = list(equal) if isinstance(equal, nn.Sequential) else [equal]
        shapes = [None] * (len(modules) - 1) + [tuple(value.shape[1:])]
        leaves = (Leaf(where, one, f"{name}()", shape) for one, shape in zip(modules, shapes, strict=True))
        return Call(where, f"{name}()", reads, tuple(leaves))

    def _own(self, path: str) -> Any:
        """A tensor of the module's own, and no symbol of it."""
        self.within = True
        try:
            return operator.attrgetter(path)(self.root)
        finally:
            self.within = False

    def _sum(self, plain: str, reads: tuple[Call, ...], args: Any, kwargs: Any) -> Call:
        minus = -1.0 if plain.startswith(("sub", "isub")) else 1.0
        if len(reads) == 1:
            others = [one for one in (*args, *kwargs.values()) if not isinstance(one, _Value)]
            if others and all(isinstance(one, (int, float)) and one == 0 for one in others) and minus == 1.0:
                return Call(self.places[-1], f"{plain}()", reads)
            raise ValueError("the theory adds streams, and what it adds here is not computed of the input")
        factor = minus * _numbers.SIGNED.convert("alpha", kwargs.get("alpha", 1.0))
        return Call(self.places[-1], "the sum", reads, signs=(1.0, factor))

    def _subsampled(self, name: str, made: Any, before: Call, shape: tuple[int, ...]) -> Call:
        """Positions left out, and zeros as more channels: one layer, where both follow one another."""
        last = before.leaves[-1].module if len(before.leaves) == 1 else None
        reads: tuple[Call, ...] = (before,)
        if isinstance(last, residual.Subsample) and made.stride == 1 and before.name.startswith("getitem"):
            made.stride, reads = last.stride, before.reads
        where = self.places[-1]
        return Call(where, f"{name}()", reads, (Leaf(where, made, f"{name}()", shape),))

    def _reshaped(self, name: str, before: Any, after: Any) -> tuple[Leaf, ...]:
        if after.shape == before.shape:
            return ()
        if after.shape != (len(before), before[0].numel()):
            sizes = f"{tuple(before.shape[1:])} to {tuple(after.shape[1:])}"
            raise ValueError(
                f"the theory has images from the input on, or all of a sample in a row: it goes from {sizes}"
            )
        return (Leaf(self.places[-1], nn.Flatten(), f"{name}()", tuple(after.shape[1:])),)

    # --------------------------------------------------------------------------------------------- changes in place

    def _share(self, made: Any) -> None:
        if isinstance(made.value, torch.Tensor):
            self.sharing.setdefault(made.value.untyped_storage()._cdata, []).append((made.node, made.value))

    def _overwritten(self, written: Any, made: Any, call: Call) -> None:
        """What shares the memory of what was written has its numbers from now on."""
        for node, value in self.sharing.get(written.value.untyped_storage()._cdata, []):
            if node is not made.node:
                if value.shape == made.value.shape:
                    self.calls[node] = call
                else:
                    self.spoiled[node] = call

    def _refused(self, name: str, module: Any, streams: Any) -> str | None:
        """Why a call is none of the theory's, where that is known before it is made."""
        if module is not None and (reason := reason_against(module, self.places[-1])):
            return reason
        if not streams:
            return None
        if module is None and functions.plain(name) not in functions.KNOWN:
            return functions.why_not(name)
        if not torch.is_grad_enabled():
            return "it runs under torch.no_grad, and the theory's gradient flows through all layers"
        call = next((self.spoiled[one.node] for one in streams if one.node in self.spoiled), None)
        if call is None:
            return None
        return f"{call.name} at {call.where} has changed what it reads in place, in another shape: use inplace=False"


def _factor(plain: str, args: Any, kwargs: Any) -> float:
    """The number that a stream is multiplied by."""
    if plain.startswith("neg"):
        return -1.0
    others = [one for one in (*args, *kwargs.values()) if not isinstance(one, _Value)]
    number = float(others[0]) if len(others) == 1 and isinstance(others[0], (int, float)) else None
    if number is None or ("div" in plain and not (number and isinstance(args[0], _Value))):
        raise ValueError(
            "the theory has numbers as factors of branches, as in x + 0.5 * f(x), and none that are trained or computed"
        )
    return 1.0 / number if "div" in plain else number


def _symbols(arguments: Any) -> list[Any]:
    """Every symbol in them, in order."""
    symbols: list[Any] = []
    _replaced(arguments, symbols.append)
    return symbols


def _replaced(arguments: Any, change: Any, rest: Any = lambda one: one) -> Any:
    """With every symbol changed, in tuples, lists, slices and dictionaries, and the rest of what these hold."""
    if isinstance(arguments, _Value):
        return change(arguments)
    if type(arguments) in (tuple, list):
        return type(arguments)(_replaced(one, change, rest) for one in arguments)
    if isinstance(arguments, dict):
        return {name: _replaced(one, change, rest) for name, one in arguments.items()}
    if isinstance(arguments, slice):
        ends = (arguments.start, arguments.stop, arguments.step)
        return slice(*(_replaced(one, change, rest) for one in ends))
    return rest(arguments)
