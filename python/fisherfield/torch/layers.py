# SPDX-License-Identifier: BSD-3-Clause
"""Layer by layer from descriptions to PyTorch's modules and back; the only module that imports PyTorch at its top."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import _numbers
from ..network import Activation, AvgPool2d, BatchNorm, Conv2d, Dense, Flatten, GlobalAvgPool2d, Layer, Network
from ..sampled import SampledNetwork

__all__ = ["Elementwise", "numpy_dtype", "read", "remembering", "taken", "written"]

_AFFINE = (Dense, Conv2d)
_DTYPES = {torch.float64: "float64", torch.float32: "float32"}
_SMOOTH = 40.0  # softplus is linear to 1e-17 from here on
_ERRORS = 6.0  # standard errors that a mean square may be off by chance
_ODDS = math.log(1e4)  # by which the likeliest initialiser must be likelier than others
_SAME = 1e-6  # relative; what a change of dtype leaves of a mean square, and no training does


def numpy_dtype(dtype: Any) -> Any:
    """A torch.dtype in NumPy's words; anything else as it is."""
    return _DTYPES.get(dtype, str(dtype)) if isinstance(dtype, torch.dtype) else dtype


# ---------------------------------------------------------------------------------------------------------- activations


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
_MODULES: dict[str, Callable[[Any], nn.Module]] = {
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


_READ_ACTIVATIONS: dict[type[Any], Callable[[Any], Activation]] = {
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


@dataclass(frozen=True)
class _Origin:
    """What a layer was made of, if of any, and the moments that its weights and biases had then."""

    layer: Layer | None
    moments: tuple[tuple[float, float], ...]


def written(sampled: SampledNetwork) -> nn.Sequential:
    """The Sequential of a sampled network."""
    net, dtype = sampled.net, getattr(torch, str(sampled.dtype))
    affine = zip(sampled.weights, sampled.biases, sampled.trained_biases, strict=True)
    norms = zip(sampled.gammas, sampled.betas, strict=True)
    built = []
    for place, (layer, before) in enumerate(zip(net.layers, net.shapes, strict=False)):
        made: Any
        if isinstance(layer, _AFFINE):
            weight, bias, trained = next(affine)
            made = _filled(_affine(layer, before[0], dtype, trained or bool(bias.any())), weight, bias)
            if made.bias is not None:
                made.bias.requires_grad_(trained)
        elif isinstance(layer, BatchNorm):
            kind = nn.BatchNorm2d if len(before) == 3 else nn.BatchNorm1d
            eps = layer.eps or float(np.finfo(sampled.dtype).tiny)
            made = _filled(kind(before[0], eps=eps, dtype=dtype), *next(norms)).requires_grad_(layer.trained)
        elif isinstance(layer, Activation):
            if not isinstance(layer.function, str):
                raise ValueError(
                    f"layers[{place}]: activation must be a named one for PyTorch to take its gradient, got {layer}"
                )
            made = _MODULES[layer.function](layer)
        elif isinstance(layer, Flatten):
            made = nn.Flatten()
        elif isinstance(layer, AvgPool2d):
            made = nn.AvgPool2d(layer.kernel, layer.stride)
        else:
            made = nn.AdaptiveAvgPool2d(1)
        built.append(made)
    if len(net.shapes[-1]) == 3:
        built.append(nn.Flatten())  # (n, outputs, 1, 1) to (n, outputs)
    return nn.Sequential(*built)


def remembering(built: Any, net: Network) -> Any:
    """The Sequential of a network with what `read` needs to find that very network again."""
    for made, layer in zip(built, (*net.layers, None), strict=False):
        made._fisherfield = _Origin(layer, _moments(made))
    built._fisherfield = net
    return built


def _affine(layer: Dense | Conv2d, before: int, dtype: torch.dtype, bias: bool) -> nn.Module:
    """Without PyTorch's own initialisation, which would draw from its generator."""
    made: nn.Module
    if isinstance(layer, Dense):
        made = nn.utils.skip_init(nn.Linear, before, layer.units, bias=bias, dtype=dtype)
    else:
        sizes = (before, layer.channels, layer.kernel, layer.stride, layer.padding)
        made = nn.utils.skip_init(nn.Conv2d, *sizes, bias=bias, dtype=dtype)
    return made


def _filled(made: Any, weight: Any, bias: Any) -> Any:
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(weight))
        if made.bias is not None:
            made.bias.copy_(torch.from_numpy(bias))
    return made


def _as_numpy(tensor: torch.Tensor) -> Any:
    return tensor.detach().cpu().double().numpy()


def _moments(layer: Any) -> tuple[tuple[float, float], ...]:
    """Mean and mean square of weights and of biases."""
    if not _is_affine(layer):
        return ()
    parts = [np.zeros(1) if part is None else _as_numpy(part) for part in (layer.weight, layer.bias)]
    return tuple((float(np.mean(part)), float(np.mean(part**2))) for part in parts)


def _unchanged(now: tuple[float, float], then: tuple[float, float]) -> bool:
    """Whether mean and mean square are what they were, but for a change of dtype."""
    same_mean = math.isclose(now[0], then[0], rel_tol=0.0, abs_tol=_SAME * math.sqrt(then[1]))
    return same_mean and math.isclose(now[1], then[1], rel_tol=_SAME)


# ------------------------------------------------------------------------------------------------ module to description

_POOL = "use AvgPool2d, or a convolution with a stride"
_NORM = "use BatchNorm1d or BatchNorm2d, or leave it out"
_RANDOM = (
    "it draws random numbers in train mode: set the Dropout layers alone to eval mode, and what is described is the "
    "network without them"
)
_REFUSED = {
    "MaxPool": f"the theory has no maxima over positions: {_POOL}",
    "LPPool": f"the theory has no norms over positions: {_POOL}",
    "GroupNorm": f"the theory has no normalisation within one sample: {_NORM}",
    "LayerNorm": f"the theory has no normalisation within one sample: {_NORM}",
    "RMSNorm": f"the theory has no normalisation within one sample: {_NORM}",
    "InstanceNorm": f"the theory has no normalisation within one sample: {_NORM}",
    "LocalResponseNorm": f"the theory has no normalisation within one sample: {_NORM}",
    "SyncBatchNorm": "use BatchNorm1d or BatchNorm2d, which it equals on one device",
    "BatchNorm3d": "the theory has images of two dimensions: use Conv2d and BatchNorm2d",
    "ZeroPad2d": "the theory has padding within convolutions alone: use padding= of Conv2d",
    "ModuleList": "it has no forward: use Sequential",
    "ModuleDict": "it has no forward: use Sequential",
    "ConvTranspose": "the theory has no transposed convolutions: use Conv2d",
    "Conv1d": "the theory has images of two dimensions: use Conv2d with a kernel of (1, width)",
    "Conv3d": "the theory has images of two dimensions: use Conv2d",
    "PReLU": "its slope is trained: use LeakyReLU, or describe the network at the slope that it has now",
    "RReLU": "its slope is random: use LeakyReLU",
    "Embedding": "the theory takes numbers as inputs: begin with Linear or Conv2d",
    "Bilinear": "the theory has layers of one input: use Linear",
    "Attention": "the theory has no products of activations",
    "Transformer": "the theory has no products of activations, and no residual sums",
    "GLU": "the theory has no products of activations: use an activation of each coordinate",
    "Softmax": "it is no activation of each coordinate: leave it to the loss, as CrossEntropyLoss does",
    "Softmin": "it is no activation of each coordinate: leave it to the loss",
    "LSTM": "the theory has no recurrent layers",
    "RNN": "the theory has no recurrent layers",
    "GRU": "the theory has no recurrent layers",
}
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


@dataclass(frozen=True)
class _Note:
    """What a description says otherwise than the module; `always`: a sampled network of its numbers as well."""

    text: str
    always: bool = False


@dataclass
class _Reading:
    """The layers found so far, the shape behind them, and what is to be said of them."""

    shape: tuple[int, ...]
    initial: bool
    layers: list[Layer] = field(default_factory=list)
    notes: list[_Note] = field(default_factory=list)
    affine: list[tuple[str, bool]] = field(default_factory=list)  # where, and whether with biases
    owners: dict[int, str] = field(default_factory=dict)  # of weights, biases, gammas and betas, by their addresses
    # of the module's own: (weight, bias) a layer, (gamma, beta) a BatchNorm; None where there is none
    weights: list[tuple[Any, Any]] = field(default_factory=list)
    norms: list[tuple[Any, Any]] = field(default_factory=list)


def read(module: Any, input_shape: Any, initial: bool) -> tuple[Network, list[str]]:
    """The network of a module, and notes on what it says otherwise."""
    net, reading = _reading(module, input_shape, initial)
    object.__setattr__(net, "_of_module", True)
    return net, [note.text for note in reading.notes]


def taken(module: Any, input_shape: Any, dtype: Any) -> tuple[SampledNetwork, list[str]]:
    """The sampled network of a module's own numbers, and notes on what it says otherwise."""
    net, reading = _reading(module, input_shape, initial=False)
    object.__setattr__(net, "_of_module", True)
    tensors = [part for pair in (*reading.weights, *reading.norms) for part in pair if part is not None]
    if dtype is None:  # whatever holds all of them
        dtype = "float64" if any(tensor.dtype == torch.float64 for tensor in tensors) else "float32"

    def array(tensor: Any, count: int, value: float) -> Any:
        return np.full(count, value) if tensor is None else _as_numpy(tensor)

    units = [len(weight) for weight, _ in reading.weights]
    shapes = zip(net.layers, net.shapes[1:], strict=True)
    channels = [shape[0] for layer, shape in shapes if isinstance(layer, BatchNorm)]
    found = SampledNetwork(
        net,
        0,
        dtype,
        weights=[_as_numpy(weight) for weight, _ in reading.weights],
        biases=[array(bias, count, 0.0) for (_, bias), count in zip(reading.weights, units, strict=True)],
        gammas=[array(gamma, count, 1.0) for (gamma, _), count in zip(reading.norms, channels, strict=True)],
        betas=[array(beta, count, 0.0) for (_, beta), count in zip(reading.norms, channels, strict=True)],
        trained_biases=[bias is not None for _, bias in reading.weights],
    )
    return found, [note.text for note in reading.notes if note.always]


def _reading(module: Any, input_shape: Any, initial: bool) -> tuple[Network, _Reading]:
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {_numbers.shown(module)}")
    leaves = list(_leaves(module, "module"))
    shape = _input_shape(module, leaves, input_shape)
    reading, last = _Reading(shape, initial), None
    final = max((place for place, (_, layer) in enumerate(leaves) if _is_affine(layer)), default=len(leaves))
    for place, (where, layer) in enumerate(leaves):
        try:
            found = _read(reading, layer, where)
            if found is not None:
                _standing(found, reading.layers[-1] if reading.layers else None, type(layer).__name__, place > final)
                last = layer
                reading.layers.append(found)
                reading.shape = _after(reading, found)
        except (ValueError, TypeError) as error:
            raise _refusal(where, layer, error) from None
    origin = getattr(last, "_fisherfield", None)
    if isinstance(origin, _Origin) and origin.layer is None:
        reading.layers.pop()  # the Flatten that no description has
    reading.notes.extend(map(_Note, _missing_biases(reading)))
    try:
        return Network(shape, tuple(reading.layers)), reading
    except ValueError as error:
        told = ", ".join(type(layer).__name__ for layer in reading.layers) or "none"
        raise ValueError(f"module cannot be described as the layers {told}: {error}") from None


def _refusal(where: str, layer: Any, why: object) -> ValueError:
    return ValueError(f"{where}: {type(layer).__name__} cannot be described: {why}")


def _is_affine(layer: Any) -> bool:
    return isinstance(layer, (nn.Linear, nn.Conv2d))


def _standing(found: Layer, before: Layer | None, name: str, behind: bool) -> None:
    """Refuses BatchNorms and activations where the theory has none; `behind` is behind the last affine layer."""
    after = "the input" if before is None else _name(before)
    if isinstance(found, BatchNorm) and not isinstance(before, _AFFINE):
        advice = _NORM_ADVICE.get(type(before), "put BatchNorm directly behind Conv2d")
        raise ValueError(f"it must stand directly after Linear or Conv2d, and it stands after {after}: {advice}")
    if isinstance(found, Activation) and behind:
        to = "the loss, as BCEWithLogitsLoss does" if name == "Sigmoid" else "what uses the outputs"
        raise ValueError(f"the output must be linear: leave {name} to {to}")
    if isinstance(found, Activation) and not isinstance(before, (*_AFFINE, BatchNorm)):
        advice = _PHI_ADVICE.get(type(before), "swap pooling and activation, which is another network")
        raise ValueError(
            f"it must stand directly after Linear, Conv2d or BatchNorm, and it stands after {after}: {advice}"
        )


_NORM_ADVICE: dict[Any, str] = {
    type(None): "standardize the data before",
    Activation: "put BatchNorm before the activation",
    BatchNorm: "leave one out",
}
_PHI_ADVICE: dict[Any, str] = {
    type(None): "begin with Linear or Conv2d",
    Activation: "use one activation, or ff.Activation of a callable",
    Flatten: "swap Flatten and activation, which changes nothing",
}


def _name(layer: Layer) -> str:
    """In PyTorch's words."""
    name = type(layer).__name__
    words = {"Dense": "Linear", "GlobalAvgPool2d": "AdaptiveAvgPool2d"}
    return str(layer) if isinstance(layer, Activation) else words.get(name, name)


def _missing_biases(reading: _Reading) -> Iterator[str]:
    """What biases that are not there change: none directly before a BatchNorm, which takes their gradient away."""
    behind = [reading.layers[place + 1 :] for place, found in enumerate(reading.layers) if isinstance(found, _AFFINE)]
    normed = [isinstance(next(iter(rest), None), BatchNorm) for rest in behind]
    missing = [where for where, biases in reading.affine if not biases]
    felt = {biases for (_, biases), none in zip(reading.affine, normed, strict=True) if not none}
    said = f"{', '.join(missing)}: there are no biases, and the theory counts the gradients of biases in every layer"
    if len(missing) == len(reading.affine):
        yield f"{said}: ask it with biases=False"
    elif felt == {False}:
        yield f"{said}: ask it with biases=False, where BatchNorm takes the gradients of the others away (theory exact)"
    elif False in felt:
        yield f"{said}, or with biases=False in none: neither is exact"


def _leaves(module: Any, where: str) -> Iterator[tuple[str, Any]]:
    """The layers of nested Sequentials in order, each with its place."""
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward and not _changed(module):
        for place, child in enumerate(module):
            yield from _leaves(child, f"{where}[{place}]")
    else:
        yield where, module


def _changed(layer: Any) -> bool:
    """Whether hooks, parametrisations or other methods may change what a layer computes, or its gradient."""
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    replaced = "forward" in vars(layer) or type(layer).__call__ is not nn.Module.__call__
    return any(hooks) or replaced or hasattr(layer, "parametrizations")


def _input_shape(module: Any, leaves: list[tuple[str, Any]], given: Any) -> tuple[int, ...]:
    if given is None:
        origin = getattr(module, "_fisherfield", None)
        if isinstance(origin, Network):
            return origin.input_shape
        kinds = (*_DROPOUTS, nn.Identity)
        where, first = next(((where, layer) for where, layer in leaves if not isinstance(layer, kinds)), ("", None))
        if isinstance(first, nn.Linear):
            return (first.in_features,)
        if first is not None and not _kind(first, (*_READERS, *_READ_ACTIVATIONS)):
            raise _refusal(where, first, _why_not(first, where))
        raise ValueError("input_shape must be given where the first layer is not Linear, got None")
    sizes = tuple(given) if _numbers.is_sequence(given) else (given,)
    if len(sizes) not in (1, 3):
        raise ValueError(
            f"input_shape must be (units,) or (channels, height, width), without the batch, got {_numbers.shown(given)}"
        )
    return tuple(_numbers.integer("input_shape", size, 1) for size in sizes)


def _kind(layer: Any, kinds: Any) -> Any:
    """The one of PyTorch's classes that a layer is, with its forward."""

    def same(kind: Any, method: str) -> bool:
        return getattr(type(layer), method, None) is getattr(kind, method, None)

    computes = ("forward", "_conv_forward")
    return next((kind for kind in kinds if isinstance(layer, kind) and all(same(kind, it) for it in computes)), None)


def _after(reading: _Reading, layer: Layer) -> tuple[int, ...]:
    """The shape behind a layer, where sizes are enough to know it; what else is wrong, the Network says at the end."""
    shape = reading.shape
    if isinstance(layer, (BatchNorm, Activation)):
        return shape
    if isinstance(layer, Dense):
        return (*shape[:-1], layer.units)
    if isinstance(layer, Flatten):
        return (math.prod(shape),)
    if isinstance(layer, GlobalAvgPool2d):
        return (shape[0], 1, 1)
    kernel, stride = _two(layer.kernel), _two(layer.stride or layer.kernel)
    padding = _two(layer.padding) if isinstance(layer, Conv2d) else (0, 0)
    columns = zip(shape[1:], padding, kernel, stride, strict=True)
    sizes = [(size + 2 * pad - tap) // step + 1 for size, pad, tap, step in columns]
    if min(sizes) < 1:
        raise ValueError(f"its kernel is larger than its input, of shape {shape}")
    return (layer.channels if isinstance(layer, Conv2d) else shape[0], *sizes)


def _two(value: Any) -> tuple[int, int]:
    return (value[0], value[1]) if isinstance(value, (tuple, list)) else (value, value)


def _read(reading: _Reading, layer: Any, where: str) -> Layer | None:
    """A layer's description; None where it does nothing. What cannot be described is refused with what to do."""
    if any(isinstance(tensor, nn.parameter.UninitializedTensorMixin) for tensor in layer.parameters(recurse=False)):
        raise ValueError("its sizes are not known yet: call the module on a batch once")
    if _changed(layer) and not _wrapped(layer):
        raise ValueError(
            "hooks, parametrisations (weight_norm, spectral_norm) and a forward or __call__ in place of its own may "
            "change what it computes: take them off"
        )
    origin = getattr(layer, "_fisherfield", None)
    made = origin.layer if isinstance(origin, _Origin) else None
    for name, tensor in layer.named_parameters(recurse=False):
        _check(reading, tensor, name, where)
    kind = _kind(layer, _READERS)
    if kind is not None:
        found: Layer | None = _READERS[kind](reading, layer, where)
        return found
    if (phi := _kind(layer, _READ_ACTIVATIONS)) is not None:
        return _READ_ACTIVATIONS[phi](layer)
    if _kind(layer, (nn.Identity,)):
        return made if isinstance(made, Activation) else None
    if _kind(layer, _DROPOUTS):
        if layer.training and layer.p > 0:
            raise ValueError(_RANDOM)
        return None
    raise ValueError(_why_not(layer, where))


def _check(reading: _Reading, tensor: Any, name: str, where: str) -> None:
    """Refuses numbers that are not there, not real, or not a layer's own."""
    if tensor.numel() == 0:
        raise ValueError(f"it must have at least one input and one output, got a {name} of shape {tuple(tensor.shape)}")
    if tensor.is_meta:
        raise ValueError(f"its {name} is on the meta device, which holds no numbers: make it on the CPU or a GPU")
    if tensor.is_complex():
        raise ValueError(f"the theory has real weights, and its {name} is complex: use a real dtype")
    if tensor._backward_hooks:
        raise ValueError(f"a hook on its {name} may change the gradient: take it off")
    if tensor.requires_grad:
        own = f"{where}.{name}"
        owner = reading.owners.setdefault(tensor.data_ptr(), own)
        if owner != own:
            raise ValueError(f"its {name} is {owner} too, and the theory has independent ones: give it its own")


def _wrapped(layer: Any) -> str | None:
    """Under what name torch.compile and the parallel wrappers hold the module."""
    if "_orig_mod" in getattr(layer, "_modules", ()):
        return "_orig_mod"
    return "module" if isinstance(layer, (nn.DataParallel, nn.parallel.DistributedDataParallel)) else None


def _why_not(layer: Any, where: str) -> str:
    if held := _wrapped(layer):
        return f"it wraps another module: describe {where}.{held}"
    names = [kind.__name__ for kind in type(layer).__mro__ if kind.__module__.startswith("torch.nn")]
    for part, reason in _REFUSED.items():
        if any(part in name for name in names):
            return reason
    if names and names[0] == type(layer).__name__ != "Module":
        return "the theory has no such layer; of activations it has those of fisherfield.activation_names()"
    inside = [name for name, child in layer.named_children() if isinstance(child, nn.Sequential)]
    advice = f"describe its Sequential, {where}.{inside[0]}, if that is all of it, or " if len(inside) == 1 else ""
    return (
        "it has a forward of its own, whose residual sums, branches and functions cannot be seen from outside: "
        f"{advice}write it as a Sequential of layers, or describe it by hand as an ff.Network"
    )


# ---------------------------------------------------------------------------------------- layers with numbers of theirs


def _linear(reading: _Reading, layer: Any, where: str) -> Dense:
    if len(reading.shape) == 3:
        raise ValueError(f"it would be applied to rows of an image of shape {reading.shape}: put Flatten before it")
    if reading.shape != (layer.in_features,):
        raise ValueError(f"it takes {layer.in_features} inputs and gets {reading.shape[0]}")
    return Dense(layer.out_features, *_affine_variances(reading, layer, where))


def _image(reading: _Reading) -> None:
    if len(reading.shape) != 3:
        raise ValueError(f"it takes an image (channels, height, width) and gets shape {reading.shape}")


def _conv2d(reading: _Reading, layer: Any, where: str) -> Conv2d:
    _image(reading)
    if layer.groups != 1:
        raise ValueError(f"the theory has no groups of channels, and it has {layer.groups}: use groups=1")
    if set(layer.dilation) != {1}:
        raise ValueError(f"the theory has no dilation, and it has {layer.dilation}: use dilation=1")
    if layer.padding_mode != "zeros":
        raise ValueError(f"the theory has zero padding alone, and it has {layer.padding_mode!r}: use 'zeros'")
    if reading.shape[0] != layer.in_channels:
        raise ValueError(f"it takes {layer.in_channels} channels and gets {reading.shape[0]}")
    padding = layer.padding
    if padding == "valid":
        padding = (0, 0)
    elif padding == "same":
        if any(tap % 2 == 0 for tap in layer.kernel_size):
            raise ValueError("padding='same' is not the same on both sides of an even kernel: use an odd one")
        padding = tuple(tap // 2 for tap in layer.kernel_size)
    sizes = (layer.kernel_size, layer.stride, padding)
    return Conv2d(layer.out_channels, *sizes, *_affine_variances(reading, layer, where))


def _affine_variances(reading: _Reading, layer: Any, where: str) -> tuple[float, float]:
    """sigma_w2 and sigma_b2."""
    for tensor in (layer.weight, layer.bias):
        if tensor is None:
            continue
        if not tensor.requires_grad:
            raise ValueError("the theory has every weight and bias trained, and some of its do not require gradients")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError("its weights and biases must be finite")
    weight, moments = _as_numpy(layer.weight), _moments(layer)
    (mean, square), (_, bias_square) = moments
    reading.affine.append((where, layer.bias is not None))
    reading.weights.append((layer.weight, layer.bias))
    origin = getattr(layer, "_fisherfield", None)
    if isinstance(origin, _Origin) and all(map(_unchanged, moments, origin.moments)):
        made: Any = origin.layer
        return made.sigma_w2, made.sigma_b2
    fan_in = weight[0].size
    if reading.initial:
        return _known(square * fan_in, weight), _known_bias(bias_square, layer.bias, fan_in)
    if mean**2 * weight.size > _ERRORS**2 * square and mean**2 > 1e-2 * square:
        reading.notes.append(
            _Note(
                f"{where}: the weights have mean {mean:.3g} beside a root mean square of {math.sqrt(square):.3g}, and "
                "the theory takes their mean to be 0"
            )
        )
    return square * fan_in, bias_square


def _known(measured: float, weight: Any) -> float:
    """sigma_w2 of the known initialiser that is likelier than any other by 1e4, and 0 of weights that are all 0.

    The law that weights were drawn from loses by such odds at most once in 1e4 times, whatever the other is.
    """
    if measured == 0.0:
        return 0.0
    m, fan_in, fan_out = weight.size, weight[0].size, weight[:, 0].size
    known = {
        "LeCun's": 1.0,
        "kaiming with the gain of ReLU": 2.0,
        "kaiming with the gain of ReLU and fan_out": 2 * fan_in / fan_out,
        "xavier": 2 * fan_in / (fan_in + fan_out),
    }
    largest = float(np.abs(weight).max()) * math.sqrt(fan_in)
    laws = [("PyTorch's own", 1 / 3, True)] + [(*law, uniform) for law in known.items() for uniform in (True, False)]
    fits: list[tuple[float, float, str]] = []
    for name, value, uniform in laws:
        if not _likely(measured, largest, value, m, uniform):
            continue
        odds = -math.log(12 * value) if uniform else -math.log(2 * math.pi * value) - measured / value
        fits.append((m / 2 * odds, value, name))
    if not fits:
        words = ", ".join(f"{name} {value:.4g}" for name, value in {"PyTorch's own": 1 / 3, **known}.items())
        raise ValueError(
            f"its weights have fan_in times mean square {measured:.4g}, of no known initialiser ({words}): "
            "use variances='measured'"
        )
    best, found, name = max(fits)
    for odds, value, other in fits:
        if odds > best - _ODDS and not math.isclose(value, found):
            raise ValueError(
                f"its {m} weights are too few to tell {name} (sigma_w2 {found:.4g}) from {other} ({value:.4g}): "
                "use variances='measured'"
            )
    return found


def _likely(measured: float, largest: float, variance: float, m: int, uniform: bool) -> bool:
    """Whether the mean square of m numbers is within its error, and none is beyond the bound of a uniform law."""
    error = math.sqrt((0.8 if uniform else 2.0) / m)  # of mean(w^2)/E w^2, from E w^4 = 9/5 or 3 times (E w^2)^2
    within = abs(measured / variance - 1) <= _ERRORS * error
    return within and not (uniform and largest > math.sqrt(3 * variance) * (1 + _SAME))


def _known_bias(measured: float, bias: Any, fan_in: int) -> float:
    if measured == 0.0:
        return 0.0
    known = 1 / (3 * fan_in)
    if not _likely(measured, float(bias.detach().abs().max()), known, bias.numel(), True):
        raise ValueError(
            f"its biases have mean square {measured:.4g}, of no known initialiser (0, PyTorch's own {known:.4g}): "
            "use variances='measured'"
        )
    return known


def _batch_norm(reading: _Reading, layer: Any, where: str) -> BatchNorm:
    if layer.num_features != reading.shape[0]:
        raise ValueError(f"it takes {layer.num_features} features and gets {reading.shape[0]}")
    if isinstance(layer, nn.BatchNorm2d) != (len(reading.shape) == 3):
        raise ValueError(f"it does not take inputs of shape {reading.shape}")
    if not layer.training and layer.track_running_stats:
        text = f"{where}: BatchNorm is in eval mode, and described as in train mode, with the batch's mean and variance"
        reading.notes.append(_Note(text, always=True))
    eps = 0.0 if 0 <= layer.eps < _numbers.SMALLEST or layer.eps in _TINY else layer.eps
    reading.norms.append((layer.weight, layer.bias))
    if layer.weight is None:
        return BatchNorm(eps=eps)
    tensors = {"gamma": layer.weight, "beta": layer.bias}
    trained = {tensor is not None and tensor.requires_grad for tensor in tensors.values()}
    if len(trained) != 1:
        raise ValueError("the theory has gamma and beta both trained or both fixed, and one of its requires gradients")
    origin = getattr(layer, "_fisherfield", None)
    made = origin.layer if isinstance(origin, _Origin) else None
    numbers = dict.fromkeys(tensors, 0.0)
    for word, tensor in tensors.items():
        if tensor is None:
            continue
        described = getattr(made, word, None)
        if described is not None and bool((tensor == torch.tensor(described, dtype=tensor.dtype)).all()):
            numbers[word] = described
        else:
            numbers[word] = _one_number(reading, _as_numpy(tensor), word, where)
    return BatchNorm(numbers["gamma"], numbers["beta"], eps, trained.pop())


_TINY = (float(np.finfo(np.float32).tiny), float(np.finfo(np.float64).tiny))


def _one_number(reading: _Reading, values: Any, word: str, where: str) -> float:
    """gamma's root mean square, beta's mean."""
    if values.min() == values.max():
        return float(values[0])
    number = float(np.sqrt(np.mean(values**2)) if word == "gamma" else np.mean(values))
    how = "root mean square" if word == "gamma" else "mean"
    reading.notes.append(
        _Note(
            f"{where}: {word} is not the same in all channels ({values.min():.3g} to {values.max():.3g}) and enters by "
            f"its {how}, {number:.6g}"
        )
    )
    return number


def _flatten(reading: _Reading, layer: Any, where: str) -> Flatten | None:
    if layer.start_dim != 1 or layer.end_dim not in (-1, len(reading.shape)):
        raise ValueError("it must flatten all of a sample: use Flatten() with start_dim=1 and end_dim=-1")
    return None if len(reading.shape) == 1 else Flatten()


def _average_pool(reading: _Reading, layer: Any, where: str) -> AvgPool2d:
    _image(reading)
    if any(_two(layer.padding)):
        raise ValueError("the theory pools without padding: use padding=0")
    if layer.divisor_override:
        raise ValueError("the theory pools by means: leave divisor_override out")
    kernel, stride = _two(layer.kernel_size), _two(layer.stride)
    if layer.ceil_mode and any(
        (size - tap) % step for size, tap, step in zip(reading.shape[1:], kernel, stride, strict=False)
    ):
        raise ValueError("the theory pools over whole windows: use ceil_mode=False")
    return AvgPool2d(kernel, stride)


def _adaptive_pool(reading: _Reading, layer: Any, where: str) -> Layer | None:
    _image(reading)
    sizes = reading.shape[1:]
    wanted = tuple(size if aim is None else aim for aim, size in zip(_two(layer.output_size), sizes, strict=True))
    if wanted == (1, 1):
        return GlobalAvgPool2d()
    if wanted == sizes:
        return None
    if any(size % aim for size, aim in zip(sizes, wanted, strict=True)):
        raise ValueError(f"its windows are not all of one size, from {sizes} to {wanted}: use AvgPool2d")
    return AvgPool2d((sizes[0] // wanted[0], sizes[1] // wanted[1]))


_READERS: dict[type[Any], Callable[[_Reading, Any, str], Any]] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv2d,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.Flatten: _flatten,
    nn.AvgPool2d: _average_pool,
    nn.AdaptiveAvgPool2d: _adaptive_pool,
}
