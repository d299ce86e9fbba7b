# SPDX-License-Identifier: BSD-3-Clause
"""Sampled networks: finite networks with random weights, which the theory is checked against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .. import _numbers
from .._memory import beyond_memory
from .._random import stream
from .._warn import warn
from .._words import shown
from ..network import Network
from ..network.layer import Array

_PARTS = ("weights", "biases", "gammas", "betas")


class _Arrays(Sequence[NDArray[Any]]):
    """Arrays of fixed number, shapes and dtype, each checked when it is set."""

    def __init__(self, name: str, shapes: Iterable[tuple[int, ...]], dtype: np.dtype[Any], values: Any) -> None:
        self._name, self._shapes, self._dtype = name, tuple(shapes), dtype
        arrays = list(_numbers.entries(name, values)) if _numbers.is_sequence(values) else None
        if arrays is None or len(arrays) != len(self._shapes):
            got = shown(values) if arrays is None else f"{len(arrays)}"
            raise ValueError(f"{name} must be {len(self._shapes)} arrays, got {got}")
        self._items = [self._checked(place, value) for place, value in enumerate(arrays)]

    def _checked(self, place: int, value: Any) -> NDArray[Any]:
        return _parameters_of(f"{self._name}[{place}]", value, self._shapes[place], self._dtype)

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, place: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, place: slice) -> list[NDArray[Any]]: ...
    def __getitem__(self, place: int | slice) -> NDArray[Any] | list[NDArray[Any]]:
        return self._items[place]

    def __setitem__(self, place: int, value: ArrayLike) -> None:
        place = range(len(self))[place]
        self._items[place] = self._checked(place, value)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return iter(self._items)

    def __repr__(self) -> str:
        return repr(self._items)


class SampledNetwork:
    """A finite network of a description; `sample` draws one. Calling it is the forward pass in train mode.

    Attributes
    ----------
    net : Network
        The description.
    seed : int
    dtype : numpy.dtype
        float32 or float64, of every array and of what the network gives.
    weights : sequence of ndarray
        One an affine layer, in PyTorch's shapes: (fan_out, fan_in), or (C_out, C_in, kernel height, kernel width).
        After Flatten a Dense layer's columns go by channel, height and width.
    biases : sequence of ndarray
        One an affine layer, (fan_out,).
    gammas, betas : sequence of ndarray
        One a BatchNorm, (units,) or (channels,); they start at the described gamma and beta.
    trained_biases : tuple of bool
        Whether the biases of each affine layer are parameters: by default where it has biases (``bias=True``), and
        those of others are 0.

    Raises
    ------
    ValueError, TypeError
        When an array, or a sequence of them, is set: for another shape or number, for what is not a real number, and
        for a value that is not finite in `dtype`, to which it is rounded. What is set is copied.
    """

    net: Network
    seed: int
    dtype: np.dtype[Any]
    weights: Sequence[NDArray[Any]]  # whatever is set, __setattr__ makes _Arrays of it
    biases: Sequence[NDArray[Any]]
    gammas: Sequence[NDArray[Any]]
    betas: Sequence[NDArray[Any]]
    trained_biases: tuple[bool, ...]

    def __init__(
        self,
        net: Network,
        seed: int,
        dtype: DTypeLike,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike],
        gammas: Sequence[ArrayLike],
        betas: Sequence[ArrayLike],
        trained_biases: Sequence[bool] | None = None,
    ) -> None:
        fixed = {
            "net": _numbers.network_of(net),
            "seed": _numbers.seed_of(seed),
            "dtype": _numbers.real_dtype_of(dtype),
        }
        own = [layer.bias for layer in net.affine_layers]
        trained = own if trained_biases is None else list(trained_biases)
        if len(trained) != net.depth:
            raise ValueError(f"trained_biases must be {net.depth} booleans, one an affine layer, got {len(trained)}")
        fixed["trained_biases"] = tuple(_numbers.boolean("trained_biases", item) for item in trained)
        for place, (has, item) in enumerate(zip(own, trained, strict=True)):
            if item and not has:
                raise ValueError(f"trained_biases[{place}] must be False where a layer has bias=False, got True")
        for name, value in fixed.items():
            object.__setattr__(self, name, value)
        for name, arrays in zip(_PARTS, (weights, biases, gammas, betas), strict=True):
            setattr(self, name, arrays)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _PARTS:
            raise AttributeError(f"only {', '.join(_PARTS)} of a SampledNetwork can be set, got {shown(name)}")
        shapes = (array.shape for array in _arrays(self.net) if array.name == name)
        object.__setattr__(self, name, _Arrays(name, shapes, self.dtype, value))

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"no attribute of a SampledNetwork can be deleted, got {shown(name)}")

    @property
    def parts(self) -> Iterator[list[tuple[NDArray[Any], bool]]]:
        """The arrays of each of the description's steps, and whether they are trained."""
        arrays: dict[str, Iterator[NDArray[Any]]] = {name: iter(getattr(self, name)) for name in _PARTS}
        biases = iter(self.trained_biases)
        for step in self.net.steps:
            yield [
                (next(arrays[array.name]), next(biases) if array.name == "biases" else array.trained)
                for array in step.layer.arrays(step.before, step.after)
            ]

    @property
    def parameters(self) -> int:
        """P: weights, trained biases, and gamma and beta of trained BatchNorms."""
        return sum(values.size for parts in self.parts for values, trained in parts if trained)

    def __call__(self, x: ArrayLike) -> NDArray[Any]:
        """f(x), with the mean and (biased) variance of the batch x in every BatchNorm.

        Parameters
        ----------
        x : array_like, (n, *net.input_shape)
            n samples; what each gives depends on all of them where there is a BatchNorm. Images of height 1 may be
            (n, channels, length).

        Returns
        -------
        ndarray, (n, outputs)
            Of the network's dtype.

        Raises
        ------
        ValueError, TypeError
            For x of another shape or not finite, for a single number under a BatchNorm, and for a unit or channel of
            zero variance (behind an activation: a standard deviation below 1e-12 of its mean, 1e-5 in float32) where
            eps = 0; and for samples that do not fit into memory with what the layers make of them.

        Notes
        -----
        What a BatchNorm takes away with its mean, a common offset of all inputs above all, is taken off before the
        layer in front of it, and costs no digits (docs/theory.md, 11).
        """
        from .linearization import bytes_of_forward, forward, linearization

        inputs = _numbers.inputs_of(self.net, x, self.dtype)
        _refuse_large_batch(len(inputs), bytes_of_forward(self, len(inputs)))
        return forward(self, linearization(self), inputs, keep=False)

    def __copy__(self) -> SampledNetwork:
        weights, biases, gammas, betas = (getattr(self, name) for name in _PARTS)
        return SampledNetwork(self.net, self.seed, self.dtype, weights, biases, gammas, betas, self.trained_biases)

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (list(getattr(self, name)) for name in _PARTS)
        return (SampledNetwork, (self.net, self.seed, self.dtype, *parts, self.trained_biases))

    def __repr__(self) -> str:
        lines = [f"SampledNetwork: seed {self.seed}, {self.dtype}, {self.parameters:,} parameters"]
        numbers, wide = dict.fromkeys(_PARTS, 0), max(len(step.where) for step in self.net.steps) + 2
        for step, parts in zip(self.net.steps, self.parts, strict=True):
            words: list[str] = []
            for array, (values, _) in zip(step.layer.arrays(step.before, step.after), parts, strict=True):
                shape = f" {values.shape}"
                words = [word.removesuffix(shape) for word in words]  # it stands once where arrays share it
                words.append(f"{array.name}[{numbers[array.name]}]{shape}")
                numbers[array.name] += 1
            words += ["not trained"] if parts and not parts[-1][1] else []
            words += [step.layer.remark] if step.layer.remark else []
            lines.append(f"  {step.where:<{wide}}{type(step.layer).__name__:<16}{', '.join(words)}".rstrip())
        return "\n".join(lines)


def sample(net: Network, seed: int = 0, dtype: DTypeLike = "float64") -> SampledNetwork:
    """W_ij ~ N(0, sigma_w2/fan_in), b_i ~ N(0, sigma_b2), gamma and beta as described.

    Parameters
    ----------
    net : Network
    seed : int
        0 or more. The numbers are drawn layer by layer, weights (in C order), then biases: always in float64, so that
        both dtypes give the same network up to rounding, from NumPy's PCG64 with a stream of its own for each seed.
        (From that of numpy.random.default_rng(seed), of which inputs are often made, weights would be the inputs.)
    dtype : {"float64", "float32"}

    Returns
    -------
    SampledNetwork

    Raises
    ------
    ValueError, TypeError
        For a seed or dtype that is none, and for a network that does not fit into memory.

    Warns
    -----
    UserWarning
        For what `fisherfield.torch.describe` made of a module, whose own weights `fisherfield.torch.sampled` keeps.

    Examples
    --------
    >>> sampled = ff.sample(ff.mlp([784, 1000, 10]), seed=1)
    >>> sampled(ff.data.gaussian(sampled.net, samples=500)).shape
    (500, 10)
    """
    if _numbers.network_of(net)._of_module:
        warn(DRAWN.format("new weights are drawn"))
    return draw(net, seed, dtype)


DRAWN = (
    "this network describes a PyTorch module, and {}: ff.torch.sampled(module) has the module's own weights; "
    "a copy of the description, copy.copy(net), is sampled without this warning"
)


def draw(net: Network, seed: int = 0, dtype: DTypeLike = "float64") -> SampledNetwork:
    """`sample`, without a word on where the description is from."""
    _numbers.network_of(net)
    seed, kind = _numbers.seed_of(seed), _numbers.real_dtype_of(dtype)
    _refuse_large_network(net)
    random = stream(seed, "weights")
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in _PARTS}
    for array in _arrays(net):
        if array.deviation is None:
            parts[array.name].append(np.full(array.shape, array.mean, kind))
        else:
            drawn = random.standard_normal(array.shape) * array.deviation
            parts[array.name].append(drawn.astype(kind, copy=False))
    weights, biases, gammas, betas = parts.values()
    return SampledNetwork(net, seed, kind, weights, biases, gammas, betas)


def _arrays(net: Network) -> Iterator[Array]:
    """What the layers say of their arrays, in the order in which numbers are drawn."""
    for step in net.steps:
        yield from step.layer.arrays(step.before, step.after)


def _parameters_of(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A copy of one parameter array of a sampled network."""
    array = _numbers.real_array(name, value)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    numbers = _numbers.finite(name, array, dtype)
    return numbers.copy() if np.may_share_memory(numbers, array) else numbers


def _refuse_large_network(net: Network) -> None:
    """Parameters that would not fit into memory, as they are drawn and as they are kept."""
    if memory := beyond_memory(2 * 8 * net.parameters(), least=0):
        raise ValueError(
            f"net must fit into memory to be sampled: its {net.parameters():,} parameters take up to "
            f"{memory[0]}, more than the {memory[1]} there are"
        )


def _refuse_large_batch(samples: int, needed: int) -> None:
    """Samples that would not fit into memory with what the layers make of them."""
    if memory := beyond_memory(needed):
        raise ValueError(
            f"x must fit into memory with what the layers make of it: {samples:,} samples of this network take up to "
            f"{memory[0]}, more than the {memory[1]} there are"
        )
