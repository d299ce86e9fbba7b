# SPDX-License-Identifier: BSD-3-Clause
"""The Fisher information of a sampled network as an operator: its products, its entries and their rounding."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .. import _memory, _numbers
from .._numbers import Loss, Statistics
from .._words import bytes_in_words
from ..network import Network
from .lanczos import Eigenpairs
from .linearization import STATISTICS, blas_threads, bytes_of_operator, forward, linearization, not_overflown
from .network import SampledNetwork, sample

Array = NDArray[Any]

_CURVATURE: dict[str, Callable[[int], float]] = {
    "sum": lambda outputs: 1.0,
    "mean": lambda outputs: 1.0 / outputs,
    "mse": lambda outputs: 2.0 / outputs,
}
# Errors of this many times eps are made to see what rounding changes. Rounding errors themselves are 0.2 to 1 times eps
# of the same lengths, so that a relu that rounding may turn on or off turns here 4 to 20 times as often.
_NOISE = 4.0
# What two such errors change is two normal numbers, of which the larger is below 1/16 of their deviation once in 400.
_MARGIN = 4.0


def _memory_of(value: Any) -> float:
    """Bytes; None is what the machine has left."""
    if value is None:
        there = _memory.available_memory()
        return math.inf if there is None else float(there)
    return _numbers.magnitude("memory", value, positive=True)


def _vector_of(name: str, value: Any, length: int, dtype: np.dtype[Any]) -> Array:
    """So many finite numbers in C order, of any shape."""
    array = _numbers.real_array(name, value)
    if array.size != length:
        raise ValueError(f"{name} must hold {length} numbers, got shape {array.shape}")
    return _numbers.finite(name, array, dtype).reshape(length)


class FisherOperator:
    """F* = (1/n) S^T J J^T S, the dual of the Fisher information matrix F = (1/n) J^T S S^T J, as an operator.

    J (nC x P) holds the gradients of the C outputs at n samples. F* (nC x nC) has the eigenvalues of F that are not 0,
    and P - nC zeros fewer. S S^T is the Hessian of the loss by the outputs: 1 for the loss "sum", 1/C for "mean", 2/C
    for "mse", and for "cross_entropy" diag(p) - p p^T at each sample, with p = softmax f(x) of the network as it is.

    Parameters
    ----------
    net : Network or SampledNetwork
        A description is sampled from `seed` first. For a PyTorch module's own weights: `fisherfield.torch.sampled`.
    x : array_like, (n, *input_shape)
        The samples.
    seed : int
    statistics : {"exact", "frozen", "mean_only", "variance_only"}
        What of BatchNorm the gradient flows through: the batch's mean and variance, as in training; none of them, as
        `detach()` makes it; one of them. But for "frozen", a sample's row of J depends on all samples.
    loss : {"sum", "mean", "mse", "cross_entropy"}
        As in `max_learning_rate`.
    biases : bool
        Whether the biases are among the parameters. Trained gammas and betas always are.
    dtype : {"float64", "float32"}, optional
        Of all arithmetic; that of a SampledNetwork is its own.
    memory : float, optional
        Bytes that may be used; None: what the machine has. A network without BatchNorm is gone through in chunks of
        samples where all of them need more, at the price of one more forward pass each way.

    Attributes
    ----------
    network : SampledNetwork
    outputs : ndarray, (n, C)
        f(x).
    shape : (nC, nC)
    products : int
        How many vectors F* was applied to.

    Raises
    ------
    ValueError, TypeError
        In one sentence, for inputs that do not fit, a batch without variance, or more memory than there is.

    Notes
    -----
    One forward pass is kept; reverse and forward mode by hand, layer by layer, all products of matrices in BLAS. For a
    dense layer with inputs H the part (H H^T + 1) Delta of its own weights is formed by way of the gradient or, where
    that is cheaper, of the n x n matrix. The same numbers for any number of threads but for BLAS's own sums (1e-13).
    """

    def __init__(
        self,
        net: Network | SampledNetwork,
        x: ArrayLike,
        seed: int = 0,
        statistics: Statistics = "exact",
        *,
        loss: Loss = "sum",
        biases: bool = True,
        dtype: DTypeLike | None = None,
        memory: float | None = None,
    ) -> None:
        self.statistics = _numbers.choice("statistics", statistics, tuple(STATISTICS))
        self.biases = _numbers.boolean("biases", biases)
        self.network = _numbers.sampled_network_of(net, seed, dtype, sample)
        self.dtype = self.network.dtype
        described = self.network.net
        self.loss = _numbers.loss_of(loss, described.outputs)
        inputs = _numbers.inputs_of(described, x, self.dtype)
        self.memory = _memory_of(memory)
        self.samples, self.products = len(inputs), 0
        self.shape = (self.samples * described.outputs,) * 2
        self._core = linearization(self.network, self.statistics, self.biases)
        self._chunks = self._in_chunks(inputs)
        self._inputs, self._noise, self._seed = inputs, 0.0, 0
        self.outputs = self._pass()
        self._prepared = self._stale = False

    def _pass(self) -> Array:
        """f(x); without chunks, the core's operators are at it from now on."""
        parts = self._chunks or [slice(None)]
        return np.concatenate([self._forward(part, self._chunks is None) for part in parts])

    def _forward(self, part: slice, keep: bool) -> Array:
        return forward(self.network, self._core, self._inputs[part], keep, self._noise, self._seed + (part.start or 0))

    @contextmanager
    def _disturbed(self, seed: int) -> Iterator[None]:
        """Within, every layer's results have random errors of _NOISE times their rounding errors."""
        outputs, self._noise, self._seed, self._stale = self.outputs, _NOISE, seed << 32, False
        self.__dict__.pop("_root", None)
        try:
            self.outputs = self._pass()
            yield
        finally:
            self.outputs, self._noise, self._stale = outputs, 0.0, True
            self.__dict__.pop("_root", None)

    def _refresh(self) -> None:
        """The pass without those errors, if there was one with them."""
        if self._stale:
            self._stale = self._prepared = False
            if self._chunks is None:
                self._pass()

    def _in_chunks(self, x: Array) -> list[slice] | None:
        """None where all samples fit at once."""
        n = len(x)
        needed = self._bytes(n)
        if needed <= self.memory:
            return None
        some = bisect_right(range(1, n), self.memory, key=self._bytes)
        if self.network.net.batch_norms or some < 1:
            least = needed if self.network.net.batch_norms else self._bytes(1)
            raise ValueError(
                f"memory must be at least {bytes_in_words(least)} for {n} samples of this network"
                f"{', whose BatchNorm needs all at once' if self.network.net.batch_norms else ''}, "
                f"got {bytes_in_words(self.memory)}"
            )
        return [slice(first, min(first + some, n)) for first in range(0, n, some)]

    def _bytes(self, samples: int) -> float:
        return bytes_of_operator(self.network, self._core, samples)

    @property
    def parameters(self) -> int:
        """P, the length of a row of J."""
        return int(self._core.parameters)

    @property
    def coupled(self) -> bool:
        """Whether rows of J belong to several samples at once: BatchNorm with gradients through its statistics."""
        return bool(self._core.coupled)

    @property
    def flops(self) -> dict[str, float]:
        """Operations of one forward pass, one product, and of all of F* entry by entry."""
        forward, product, gram = self._core.forward_flops, self._core.product_flops, self._core.gram_flops
        if self.coupled:
            gram = self.shape[0] * product
        return {"forward": forward, "product": product, "gram": gram}

    @property
    def fits(self) -> bool:
        """Whether all of F* can be formed within the memory."""
        return self._chunks is None and self._bytes_of_all <= self.memory

    @property
    def _bytes_of_all(self) -> float:
        """F* twice, in two orders or before and after, beside the operator; by products of matrices also every output's
        deltas before and behind a layer, and gradients of some of its channels."""
        numbers, net = 2 * self.shape[0] ** 2, self.network.net
        if not self.coupled:
            numbers += 2 * self.shape[0] * max(math.prod(shape) for shape in net.shapes[1:])
            numbers += max(2**22, self.shape[0] * max(1 + math.prod(w.shape[1:]) for w in self.network.weights))
        return float(numbers * self.dtype.itemsize + self._bytes(self.samples))

    # ---- J and F*

    def vjp(self, w: ArrayLike) -> Array:
        """J^T w, (P,) of w (n, C) or (nC,): layer by layer weights and biases; trained gammas, then betas."""
        rows = self._rows("w", w, self.shape[0])
        self._refresh()
        with blas_threads():
            if self._chunks is None:
                return np.asarray(self._core.pull(rows)[0])
            total = np.zeros(self.parameters, self.dtype)
            for part in self._each():
                total += self._core.pull(rows.reshape(self.outputs.shape)[part].reshape(1, -1))[0]
            return total

    def jvp(self, v: ArrayLike) -> Array:
        """J v, (n, C) of v (P,)."""
        row = self._rows("v", v, self.parameters)
        self._refresh()
        with blas_threads():
            if self._chunks is None:
                return np.asarray(self._core.push(row)).reshape(self.outputs.shape)
            result = np.empty(self.outputs.shape, self.dtype)
            for part in self._each():
                result[part] = self._core.push(row).reshape(-1, result.shape[1])
            return result

    def _each(self) -> Iterator[slice]:
        """Chunks of samples, each after its forward pass."""
        for part in self._chunks or ():
            self._forward(part, True)
            yield part

    def _rows(self, name: str, value: ArrayLike, length: int) -> Array:
        vector = _vector_of(name, value, length, self.dtype)
        return vector.reshape(1, length)

    def prepare(self, products: int) -> None:
        """Makes what will speed up about so many products; once."""
        self._refresh()
        if self._chunks is None and not self._prepared:
            self._prepared = True
            with blas_threads():
                self._core.prepare(float(products), max(0.0, self.memory - self._bytes(self.samples)))

    def __matmul__(self, w: ArrayLike) -> Array:
        """F* w, of w (nC,) or (n, C), in the same shape."""
        self.prepare(1)
        self.products += 1
        return self._product(w)

    def _product(self, w: ArrayLike) -> Array:
        rows = self._rows("w", w, self.shape[0])  # refuses what is no array
        array = np.asarray(w)
        turned = self._factor(rows.reshape(self.outputs.shape), transposed=False)
        if self._chunks is None:
            with blas_threads():
                result = self._core.product(turned.reshape(1, -1)).reshape(self.outputs.shape)
        else:
            result = self.jvp(self.vjp(turned))
        product = self._factor(result, transposed=True) / self.samples
        return not_overflown("F*", product).reshape(array.shape)

    matvec = __matmul__

    def _rounding(self, random: np.random.Generator, dual: Array | None = None) -> float:
        """About |dF*|_F, which no eigenvalue moves by more than, from random signs; `dual` is F* if it is formed."""
        signs = random.choice([-1.0, 1.0], (2, self.shape[0]))
        if dual is None:
            self.prepare(len(signs))
            images = np.array([self._product(row) for row in signs], np.float64)
        else:
            with blas_threads():
                images = np.asarray(signs.astype(dual.dtype) @ dual, np.float64)

        def change() -> float:
            rows = np.array([self._product(row) for row in signs], np.float64) - images
            return float(np.sqrt(np.mean(np.sum(rows**2, axis=1))))

        return self._at_errors(change)

    def _rounding_of(self, eigenpairs: Eigenpairs, random: np.random.Generator) -> float:
        """About |v.dF* v| for the largest eigenvalue's v, and for random combinations of all that were found."""
        mixed = random.choice([-1.0, 1.0], (2 if len(eigenpairs.values) > 1 else 0, len(eigenpairs.values)))
        rows = np.vstack([np.eye(1, len(eigenpairs.values)), mixed])
        vectors = rows @ eigenpairs.vectors
        quotients = np.sum(vectors * (rows @ eigenpairs.images), axis=1)

        def change(pull: Callable[[Array], Array]) -> float:
            turned = [self._factor(self._rows("v", v, v.size).reshape(self.outputs.shape), False) for v in vectors]
            squares = [float(np.sum(pull(w).astype(np.float64) ** 2)) for w in turned]
            return float(np.max(np.abs(np.array(squares) / self.samples - quotients)))

        in_single = self._in_single(change, float(np.max(np.abs(quotients))))
        if in_single <= 0.1 * float(np.min(eigenpairs.errors)):
            return in_single
        return self._at_errors(lambda: change(self.vjp))

    def _in_single(self, change: Callable[[Callable[[Array], Array]], float], largest: float) -> float:
        """The same by float32, in half the time and with 2^29 times the errors; infinite where that says nothing.

        The change is proportional to the errors where it is small. A thousandfold, for it is one draw: what is far
        below the errors of Lanczos' method needs no more.
        """
        if self.dtype != np.float64 or self._chunks is not None:
            return math.inf
        of, outputs = self.network, self.outputs
        try:
            single = SampledNetwork(of.net, 0, "float32", of.weights, of.biases, of.gammas, of.betas, of.trained_biases)
            core = linearization(single, self.statistics, self.biases)
            if bytes_of_operator(single, core, self.samples) + self._bytes(self.samples) > self.memory:
                return math.inf
            self.outputs = forward(single, core, self._inputs, True, _NOISE, 1).astype(np.float64)
            self.__dict__.pop("_root", None)
            with blas_threads():
                size = change(lambda w: np.asarray(core.pull(w.astype(np.float32).reshape(1, -1))[0]))
        except ValueError:
            return math.inf
        finally:
            self.outputs = outputs
            self.__dict__.pop("_root", None)
        return 1e3 * 2.0**-29 * size if size <= 1e-2 * largest else math.inf

    def _at_errors(self, change: Callable[[], float]) -> float:
        """_MARGIN times the larger of two changes, with errors in every layer; infinite where the network overflows."""
        sizes = []
        for seed in (1, 2):
            try:
                with self._disturbed(seed):
                    sizes.append(change())
            except ValueError:
                return math.inf
        return _MARGIN * max(sizes)

    def _last_part(self, w: Array) -> Array:
        """n F* w with the gradients by the last affine layer's parameters alone."""
        if self._chunks is not None:
            return w
        self._refresh()
        with blas_threads():
            row = np.ascontiguousarray(w, self.dtype).reshape(1, -1)
            return np.asarray(self._core.product_of_last(row), np.float64).reshape(w.shape)

    @cached_property
    def _root(self) -> tuple[Array, Array] | None:
        """p and its root, for S = diag(sqrt p) - p sqrt(p)^T."""
        if self.loss != "cross_entropy":
            return None
        shifted = np.exp(self.outputs - self.outputs.max(axis=1, keepdims=True))
        p = shifted / shifted.sum(axis=1, keepdims=True)
        return p, np.sqrt(p)

    def _factor(self, w: Array, transposed: bool) -> Array:
        """S w or S^T w."""
        if self._root is None:
            factor = math.sqrt(_CURVATURE[self.loss](self.outputs.shape[1]))
            return w if factor == 1.0 else (w * self.dtype.type(factor))
        p, root = self._root
        direction, weights = (root, p) if transposed else (p, root)
        turned: Array = root * w - direction * np.sum(weights * w, axis=1, keepdims=True)
        return turned

    def dense(self, hear: Callable[[int, float], Any] | None = None) -> Array:
        """F* entry by entry, (nC, nC): row i C + k belongs to output k of sample i.

        Without coupled samples by products of matrices layer by layer; else by nC products with unit vectors, each of
        which `hear` hears of: (products, greatest entry on the diagonal so far).
        """
        size, outputs = self.shape[0], self.outputs.shape[1]
        if not self.fits:
            raise ValueError(
                f"memory must be at least {bytes_in_words(self._bytes_of_all)} for all of F*, {size} x {size}, "
                f"got {bytes_in_words(self.memory)}"
            )
        if self.coupled:
            self.prepare(size)
            result = np.empty(self.shape, self.dtype)
            unit = np.zeros(size, self.dtype)
            for row in range(size):
                unit[row] = 1
                result[row] = self @ unit
                unit[row] = 0
                if hear is not None:
                    hear(row + 1, float(np.max(result.diagonal()[: row + 1])))
            return (result + result.T) / 2
        self._refresh()
        with blas_threads():
            gram = self._core.gram()
        if outputs > 1:
            gram = gram.reshape(outputs, self.samples, outputs, self.samples).transpose(1, 0, 3, 2)
            if self._root is not None:
                p, root = self._root
                gram = (
                    root[:, :, None, None] * gram - root[:, :, None, None] * np.einsum("ik,ikjl->ijl", p, gram)[:, None]
                )
                gram = gram * root - np.einsum("ikjl,jl->ikj", gram, p)[..., None] * root
            gram = gram.reshape(self.shape)
        factor = 1.0 if self._root is not None else _CURVATURE[self.loss](outputs)
        gram *= self.dtype.type(factor / self.samples)
        return not_overflown("F*", gram)

    def __repr__(self) -> str:
        return (
            f"FisherOperator: {self.samples} samples, {self.outputs.shape[1]} outputs, {self.parameters:,} parameters, "
            f"statistics {self.statistics}, loss {self.loss}, {self.dtype}"
        )
