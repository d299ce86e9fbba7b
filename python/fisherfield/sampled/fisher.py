# SPDX-License-Identifier: BSD-3-Clause
"""The Fisher information of sampled networks: its spectrum, moments and density, measured on given inputs."""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .. import _core, _numbers
from .._memory import bytes_in_words
from .._random import stream
from .._warn import warn
from ..network import Network
from ..network.layer import Step
from ..threads import num_threads
from .lanczos import Eigenpairs, krylov, largest_eigenpairs
from .network import SampledNetwork, sample

__all__ = [
    "FisherMoments",
    "FisherOperator",
    "FisherSpectrum",
    "SpectralDensity",
    "sampled_density",
    "sampled_fisher",
    "sampled_moments",
]

Array = NDArray[Any]

# What of BatchNorm's statistics gradients flow through: mean, variance.
STATISTICS = {
    "exact": (True, True),
    "frozen": (False, False),
    "mean_only": (True, False),
    "variance_only": (False, True),
}
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
LOSS = {"float64": 1e-8, "float32": 1e-2}  # of the largest eigenvalue, from which on a loss of digits is said
_WORKSPACE = 32e6  # bytes of a convolution's patches at a time: well beyond what a BLAS needs to be fast


def linearization(sampled: SampledNetwork, statistics: str = "exact", with_biases: bool = True) -> Any:
    """The core's network, before any input."""
    *_, (built, _) = _linearized(sampled, statistics, with_biases)
    return built


def _linearized(sampled: SampledNetwork, statistics: str, with_biases: bool) -> Iterator[tuple[Any, int]]:
    """The core's network as it grows, with the place of the layer that was added last."""
    kind = _core.Linearization64 if sampled.dtype == np.float64 else _core.Linearization32
    built = kind(list(sampled.net.input_shape), *STATISTICS[statistics], with_biases)
    parts = iter(sampled.parts)
    for place, (layer, before) in enumerate(zip(sampled.net.layers, sampled.net.shapes, strict=False)):
        layer.linearize_into(built, parts, before)
        yield built, place


def _step_of(sampled: SampledNetwork, node: int) -> Step:
    """The layer that a node of the core's network belongs to."""
    place = next(place for built, place in _linearized(sampled, "exact", True) if built.nodes > node)
    return next(step for step in sampled.net.steps if step.place >= place)


def forward(sampled: SampledNetwork, built: Any, x: Array, keep: bool, noise: float = 0.0, seed: int = 0) -> Array:
    """f(x), (n, C); with `noise`, errors of that many times the rounding errors are added in every layer."""
    try:
        with blas_threads():
            outputs = built.forward(x, _WORKSPACE, keep, noise, seed)
    except _core.Failure as failure:
        raise _numbers.zero_variance(_step_of(sampled, failure.node), failure.unit) from None
    found: Array = _numbers.not_overflown("f(x)", outputs)
    return found


def _patches(net: Network, samples: int, itemsize: int) -> list[int]:
    """Bytes of the patches that each layer gathers at a time, as cpp/cpu/finite/affine.cpp does."""
    sizes = []
    for step in net.steps:
        sizes.append(0)
        window = step.layer.window(step.before)
        if step.layer.affine and window and window != ((1, 1), (1, 1), (0, 0)):
            one = math.prod(step.after[1:]) * step.before[0] * math.prod(window.kernel) * itemsize
            sizes[-1] = min(max(int(_WORKSPACE // one), 1), samples) * one
    return sizes


def bytes_of_forward(sampled: SampledNetwork, samples: int) -> int:
    """What a forward pass takes that keeps nothing: the core's copy of the weights, and the numbers before and behind
    one layer with its patches; all but affine layers and pools work in place."""
    net, itemsize, most = sampled.net, sampled.dtype.itemsize, 0
    for step, patches in zip(net.steps, _patches(net, samples, itemsize), strict=True):
        units = math.prod(step.after) + (0 if step.layer.in_place else math.prod(step.before))
        most = max(most, samples * units * itemsize + patches)
    return most + net.parameters() * itemsize


def bytes_of_operator(sampled: SampledNetwork, core: Any, samples: int) -> float:
    """What an operator takes: what the core says it keeps, patches, its copy of the weights and a vector of parameters.
    Where rounding is looked at, a pass is made while the last one is kept: its largest layer's numbers once more."""
    net, itemsize = sampled.net, sampled.dtype.itemsize
    patches = _patches(net, samples, itemsize)
    largest = samples * max(math.prod(shape) for shape in net.shapes[1:]) * itemsize
    kept = float(core.bytes(samples))
    return kept + sum(patches) + max(patches) + 2 * largest + 2 * int(core.parameters) * itemsize


@contextmanager
def blas_threads() -> Iterator[None]:
    """BLAS with as many threads as the core's loops; whoever is in last puts back what was before."""
    global _within, _before
    with _lock:
        if _within == 0:
            _before = _controller().limit(limits=num_threads(), user_api="blas")
        _within += 1
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if _within == 0:
                _before.restore_original_limits()


@cache
def _controller() -> Any:
    import scipy.linalg.cython_blas  # noqa: F401  (the BLAS that the core calls must be there to be found)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


_lock = threading.Lock()
_within, _before = 0, cast(Any, None)


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
        statistics: str = "exact",
        *,
        loss: str = "sum",
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
        self.memory = _numbers.memory_of(memory)
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
        given = _numbers.vector_of(name, value, length, self.dtype)
        return given.reshape(1, length)

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
        given = np.asarray(w)
        turned = self._factor(rows.reshape(self.outputs.shape), transposed=False)
        if self._chunks is None:
            with blas_threads():
                result = self._core.product(turned.reshape(1, -1)).reshape(self.outputs.shape)
        else:
            result = self.jvp(self.vjp(turned))
        product = self._factor(result, transposed=True) / self.samples
        return _numbers.not_overflown("F*", product).reshape(given.shape)

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

    def _rounding_of(self, found: Eigenpairs, random: np.random.Generator) -> float:
        """About |v.dF* v| for the largest eigenvalue's v, and for random combinations of all that were found."""
        mixed = random.choice([-1.0, 1.0], (2 if len(found.values) > 1 else 0, len(found.values)))
        rows = np.vstack([np.eye(1, len(found.values)), mixed])
        vectors = rows @ found.vectors
        quotients = np.sum(vectors * (rows @ found.images), axis=1)

        def change(pull: Callable[[Array], Array]) -> float:
            turned = [self._factor(self._rows("v", v, v.size).reshape(self.outputs.shape), False) for v in vectors]
            squares = [float(np.sum(pull(w).astype(np.float64) ** 2)) for w in turned]
            return float(np.max(np.abs(np.array(squares) / self.samples - quotients)))

        in_single = self._in_single(change, float(np.max(np.abs(quotients))))
        if in_single <= 0.1 * float(np.min(found.errors)):
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
        left, right = (root, p) if transposed else (p, root)
        turned: Array = root * w - left * np.sum(right * w, axis=1, keepdims=True)
        return turned

    def dense(self, told: Callable[[int, float], Any] | None = None) -> Array:
        """F* entry by entry, (nC, nC): row i C + k belongs to output k of sample i.

        Without coupled samples by products of matrices layer by layer; else by nC products with unit vectors, each of
        which `told` hears of: (products, greatest entry on the diagonal so far).
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
                if told is not None:
                    told(row + 1, float(np.max(result.diagonal()[: row + 1])))
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
        return _numbers.not_overflown("F*", gram)

    def __repr__(self) -> str:
        return (
            f"FisherOperator: {self.samples} samples, {self.outputs.shape[1]} outputs, {self.parameters:,} parameters, "
            f"statistics {self.statistics}, loss {self.loss}, {self.dtype}"
        )


@dataclass(frozen=True, repr=False)
class _Measured:
    """What a number was measured of; the operator itself would keep its memory."""

    samples: int
    outputs: int
    parameters: int
    statistics: str
    loss: str
    biases: bool
    dtype: str
    products: int
    method: str
    rounding: float

    @staticmethod
    def of(operator: FisherOperator) -> dict[str, Any]:
        samples, outputs = operator.outputs.shape
        return {
            "samples": samples,
            "outputs": outputs,
            "parameters": operator.parameters,
            "statistics": operator.statistics,
            "loss": operator.loss,
            "biases": operator.biases,
            "dtype": operator.dtype.name,
        }

    def _title(self, what: str) -> list[str]:
        biases = "" if self.biases else ", without biases"
        return [
            f"{what} of a sampled network of {self.parameters:,} parameters",
            f"  {self.samples} samples, {self.outputs} output{'s' * (self.outputs != 1)}, "
            f"statistics {self.statistics}, loss {self.loss}{biases}, {self.dtype}",
        ]

    def _method(self) -> str:
        count = f"{self.products} product{'s' * (self.products != 1)}" if self.products else "all of F*"
        return f"  method {self.method} ({count})"

    def _cancellation(self, largest: float, least: float = 0.0) -> str | None:
        """What is to be said where rounding takes more than LOSS, and more than `least`, of the largest value."""
        if self.rounding <= max(least, LOSS[self.dtype]) * largest:
            return None
        advice = "" if self.dtype == "float64" else ", or use dtype='float64'"
        share = f"{self.rounding / largest:.1g} times the largest" if largest > 0 else f"{self.rounding:.1g}"
        return (
            f"cancellation: rounding in {self.dtype} may change the eigenvalues by {share}, where values are large "
            f"beside their differences over the batch: take common offsets off the inputs and betas{advice}"
        )

    def _warn(self, largest: float, least: float = 0.0) -> None:
        if words := self._cancellation(largest, least):
            warn(words)


@dataclass(frozen=True, repr=False)
class FisherSpectrum(_Measured):
    """The largest eigenvalues of the Fisher information matrix of a sampled network, as measured on n samples.

    Attributes
    ----------
    eigenvalues : ndarray, (k,)
        The largest first.
    errors : ndarray, (k,)
        How far each may be off: min(r, r^2/gap) of its residual r and its distance from its neighbours for
        "lanczos", nC eps lambda_max for "dense"; and `rounding`.
    rounding : float
        How far rounding in the passes through the network may move an eigenvalue: four times what errors of a
        few times their size change in v.F* v, for the eigenvectors v that were found, or in |F*| where all of it was
        formed. An estimate. It is large where values are large beside their differences over the batch, as a common
        offset of the inputs or a large beta makes them, unless a BatchNorm takes it away exactly (docs/theory.md, 11).
    residuals : ndarray, (k,)
        |F* v - lambda v|; some eigenvalue lies within this of each.
    eigenvectors : ndarray, (k, n, C), optional
        Of F*, of length 1; where they were asked for.
    products : int
        How many vectors F* was applied to; 0 where all of F* was formed.
    method : {"lanczos", "dense"}
    reason : str
        Why this method was taken.
    samples, outputs, parameters, statistics, loss, biases, dtype
        What it was measured of.
    """

    eigenvalues: Array
    errors: Array
    residuals: Array
    eigenvectors: Array | None
    reason: str

    @property
    def lambda_max(self) -> float:
        """The largest eigenvalue, in the convention of the loss."""
        return float(self.eigenvalues[0])

    def max_learning_rate(self, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> float:
        """2 (1 + momentum)/lambda_max; infinity for lambda_max = 0. The rest as in `ff.max_learning_rate`."""
        limit = _core.step_limit(_numbers.momentum_of(momentum), _numbers.boolean("nesterov", nesterov))
        top = self.lambda_max + _numbers.magnitude("weight_decay", weight_decay)
        return float(limit / top) if top > 0.0 else math.inf

    def __repr__(self) -> str:
        lines = self._title("Fisher information")
        shown = 8
        for place, (value, error) in enumerate(zip(self.eigenvalues[:shown], self.errors, strict=False)):
            name = "lambda_max" if place == 0 else f"eigenvalue {place + 1}"
            lines.append(f"  {name:<14}{value:<14.8g}+- {error:.1g}")
        if len(self.eigenvalues) > shown:
            lines.append(f"  {len(self.eigenvalues) - shown} more, down to {self.eigenvalues[-1]:.8g}")
        if words := self._cancellation(self.lambda_max):
            lines.append(f"  {words}")
        return "\n".join([*lines, f"{self._method()}: {self.reason}"])


def sampled_fisher(
    net: Network | SampledNetwork,
    x: ArrayLike,
    seed: int = 0,
    statistics: str = "exact",
    k: int | str = 1,
    *,
    loss: str = "sum",
    biases: bool = True,
    dtype: DTypeLike | None = None,
    method: str = "auto",
    tolerance: float = 1e-6,
    eigenvectors: bool = False,
    memory: float | None = None,
    progress: bool | Callable[[int, float], Any] = False,
) -> FisherSpectrum:
    """The k largest eigenvalues of F = (1/n) sum_i sum_kk' grad f_k(x_i) H_kk' grad f_k'(x_i)^T of a sampled network.

    Parameters
    ----------
    net, x, seed, statistics, loss, biases, dtype, memory
        As `FisherOperator` takes them.
    k : int or "all"
        How many; "all" are nC, beside which F has only zeros.
    method : {"auto", "lanczos", "dense"}
        Products of F* with vectors, or all of F* entry by entry; "auto" counts which takes fewer operations within the
        memory, and says so.
    tolerance : float
        Lanczos ends when every eigenvalue of F* as it was computed is right to this, times lambda_max, by its estimated
        error. In [1e-14, 0.1], at least 1e-6 in float32.
    eigenvectors : bool
        Give those of F*, too.
    progress : bool or callable
        True draws the count of products on standard output; a callable gets (products, lambda_max so far).

    Returns
    -------
    FisherSpectrum

    Raises
    ------
    ValueError, TypeError
        For arguments out of range, and for more memory than there is.
    RuntimeError
        Where 1000 products were not enough.

    Warns
    -----
    UserWarning
        Where rounding costs more than the tolerance and more than 1e-8 of lambda_max, 1e-2 in float32; `errors` and
        `rounding` say how much.

    Notes
    -----
    The C outputs make a cluster of C near-equal eigenvalues. Lanczos starts from a block near their space, and the
    error of a value is bounded by the gap behind the cluster as well as by its own.

    Examples
    --------
    >>> net = ff.mlp([784, 1000, 1000, 1000, 1])
    >>> ff.sampled_fisher(net, ff.data.gaussian(784, samples=500)).lambda_max
    161.5...
    """
    operator = FisherOperator(net, x, seed, statistics, loss=loss, biases=biases, dtype=dtype, memory=memory)
    found = spectrum_of(operator, k, method, tolerance, eigenvectors, progress)
    found._warn(found.lambda_max, tolerance)
    return found


def spectrum_of(
    operator: FisherOperator,
    k: int | str = 1,
    method: str = "auto",
    tolerance: float = 1e-6,
    eigenvectors: bool = False,
    progress: bool | Callable[[int, float], Any] = False,
) -> FisherSpectrum:
    """`sampled_fisher` of an operator that stands already."""
    size = operator.shape[0]
    count = size if isinstance(k, str) and k == "all" else _numbers.integer("k", k, 1, size)
    _numbers.choice("method", method, ("auto", "lanczos", "dense"))
    tolerance = _numbers.tolerance_of(tolerance, operator.dtype)
    eigenvectors = _numbers.boolean("eigenvectors", eigenvectors)
    chosen, reason = _choice(operator, count) if method == "auto" else (method, "as asked")
    with _saying(progress) as told:
        if chosen == "lanczos":
            found, rounding = _by_lanczos(operator, count, tolerance, told)
        else:
            found, rounding = _by_all_entries(operator, count, eigenvectors, told)
    vectors = found.vectors.reshape(count, *operator.outputs.shape) if eigenvectors else None
    products = found.products if chosen == "lanczos" else 0
    return FisherSpectrum(
        **_Measured.of(operator),
        eigenvalues=found.values,
        errors=found.errors + rounding,
        rounding=rounding,
        residuals=found.residuals,
        eigenvectors=vectors,
        products=products,
        method=chosen,
        reason=reason,
    )


_MOST_PRODUCTS = 1000


def _choice(operator: FisherOperator, count: int) -> tuple[str, str]:
    """The method of fewer operations, and both counts in words."""
    size, flops = operator.shape[0], operator.flops
    products = _products(operator, count)
    lanczos = flops["product"] * products
    dense = flops["gram"] + (2.0 * size**2 * 10 * products if count < size / 20 else 4 / 3 * size**3)
    words = f"{_flops(dense)} for all of F* against {_flops(lanczos)} for about {products} products"
    if not operator.fits:
        return "lanczos", f"all of F* would take {bytes_in_words(size**2 * operator.dtype.itemsize)}"
    return ("dense" if dense <= lanczos or count > size / 4 else "lanczos"), words


def _flops(count: float) -> str:
    return f"{count / 1e9:.3g} Gflop" if count >= 1e8 else f"{count / 1e6:.3g} Mflop"


_BLOCK = 32  # outputs that Lanczos starts from at the most


def _products(operator: FisherOperator, count: int) -> int:
    """About what Lanczos was seen to take: the block, and 3 or 4 more for an eigenvalue apart from the rest."""
    outputs = int(operator.outputs.shape[1])
    return min(outputs, _BLOCK) + 3 + 3 * max(0, count - outputs)


def _start(operator: FisherOperator, random: np.random.Generator) -> Array:
    """Near the outlier's eigenvectors, a row each: u at every output, with the last affine layer's eigenvector u.

    That layer's part of F* is the same at every output, (H H^T + 1)/n without a BatchNorm behind it: a few powers of it
    cost next to nothing. In theory u is the same at every sample. A small random part sees whatever else there is.
    """
    samples, outputs = operator.outputs.shape
    # of some random combinations of outputs, where there are many
    mixed = np.eye(outputs) if outputs <= _BLOCK else np.linalg.qr(random.standard_normal((outputs, _BLOCK)))[0].T
    w = 1.0 + 0.01 * random.standard_normal((samples, outputs))
    for _ in range(4):
        turned = operator._last_part(w / np.linalg.norm(w))
        w = turned if turned.any() else w
    u = np.linalg.svd(w, full_matrices=False)[0][:, 0]
    noise = random.standard_normal((len(mixed), samples, outputs)) / math.sqrt(samples * outputs)
    start: Array = (u[:, None] * mixed[:, None, :] + 1e-3 * noise).reshape(len(mixed), -1)
    return start


def _by_lanczos(operator: FisherOperator, count: int, tolerance: float, told: Any) -> tuple[Eigenpairs, float]:
    random = stream(operator.network.seed, "vectors")
    operator.prepare(_products(operator, count))
    found = largest_eigenpairs(
        lambda w: np.asarray(operator @ w, np.float64),
        _start(operator, random),
        count,
        tolerance,
        _MOST_PRODUCTS,
        random,
        told,
        float(np.finfo(operator.dtype).eps),
    )
    largest = np.abs(found.values).max()
    rounding = operator._rounding_of(found, random)
    if np.any(found.errors > tolerance * largest):
        advice = "ask for fewer, or for method='dense'"
        if rounding > tolerance * largest:
            advice = (
                f"rounding in {operator.dtype} may change them by {rounding / largest:.1g} of the largest, which no "
                "method mends: take common offsets off the inputs and betas, or ask for a larger tolerance"
            )
        raise RuntimeError(
            f"{found.products} products were not enough for {count} eigenvalues to {tolerance:g}: reached "
            f"{np.max(found.errors) / largest:.1g}; {advice}"
        )
    return found, rounding


def _by_all_entries(operator: FisherOperator, count: int, eigenvectors: bool, told: Any) -> tuple[Eigenpairs, float]:
    from scipy.linalg import eigh

    matrix = operator.dense(told)
    size, eps = len(matrix), float(np.finfo(operator.dtype).eps)
    random = stream(operator.network.seed, "vectors")
    if count <= size // 20:
        with blas_threads():
            pairs = largest_eigenpairs(
                lambda w: np.asarray(matrix @ w.astype(matrix.dtype), np.float64),
                _start(operator, random),
                count,
                size * eps,
                _MOST_PRODUCTS,
                random,
                eps=size * eps,
            )
        return pairs, operator._rounding_of(pairs, random)
    rounding = operator._rounding(random, matrix)
    few = None if count == size else (size - count, size - 1)
    with blas_threads():  # the transpose is what LAPACK calls the matrix: nothing is copied
        found = eigh(matrix.T, eigvals_only=not eigenvectors, subset_by_index=few, overwrite_a=True, check_finite=False)
    values, vectors = found if eigenvectors else (found, np.empty((size, 0)))
    values = np.maximum(np.asarray(values[::-1], np.float64), 0.0)  # no negative zeros from rounding
    error = np.full(count, size * eps * values[0])
    return Eigenpairs(values, error, error, np.asarray(vectors.T[::-1]), np.empty((0, size)), 0), rounding


@dataclass(frozen=True, repr=False)
class FisherMoments(_Measured):
    """tr F and tr F^2 of a sampled network, and what they make of its P eigenvalues.

    Attributes
    ----------
    trace, square : float
        tr F and tr F^2.
    trace_error, square_error : float
        Standard errors over the random vectors, which are 0 where all of F* was formed, and what `rounding` makes of
        the traces: sqrt(nC) and 2 |F*| times as much, by the Frobenius norm.
    rounding : float
        About the Frobenius norm of what rounding in the passes through the network may change in F*, as in
        `FisherSpectrum`.
    mean, second_moment : float
        tr F/P and tr F^2/P, the moments of all P eigenvalues.
    products : int
        How many vectors F* was applied to.
    method : {"dense", "hutchinson"}
    samples, outputs, parameters, statistics, loss, biases, dtype
        What it was measured of.
    """

    trace: float
    square: float
    trace_error: float
    square_error: float

    @property
    def mean(self) -> float:
        return self.trace / self.parameters

    @property
    def second_moment(self) -> float:
        return self.square / self.parameters

    def __repr__(self) -> str:
        return "\n".join(
            [
                *self._title("Moments of the Fisher information"),
                f"  tr F    {self.trace:<14.8g}+- {self.trace_error:<8.1g} mean eigenvalue {self.mean:.6g}",
                f"  tr F^2  {self.square:<14.8g}+- {self.square_error:<8.1g} second moment   {self.second_moment:.6g}",
                self._method(),
            ]
        )


def sampled_moments(
    net: Network | SampledNetwork,
    x: ArrayLike,
    seed: int = 0,
    statistics: str = "exact",
    *,
    loss: str = "sum",
    biases: bool = True,
    dtype: DTypeLike | None = None,
    method: str = "auto",
    vectors: int = 20,
    memory: float | None = None,
    progress: bool | Callable[[int, float], Any] = False,
) -> FisherMoments:
    """tr F = tr F* and tr F^2 = |F*|^2: all entries of F*, or F* applied to random vectors.

    Parameters
    ----------
    net, x, seed, statistics, loss, biases, dtype, memory
        As `FisherOperator` takes them.
    progress
        As in `sampled_fisher`.
    method : {"auto", "dense", "hutchinson"}
        "dense" is exact. "hutchinson" gives g.F*g and |F*g|^2 averaged over vectors g of random signs (M. Hutchinson,
        1989), of what is left of F* when the space of its first `vectors` products has been taken out and counted
        exactly (Hutch++: R. Meyer et al., arXiv 2010.09649). "auto" takes the one of fewer operations that fits.
    vectors : int
        How many random vectors, of the network's seed; three products each. At least 2.

    Returns
    -------
    FisherMoments

    Raises
    ------
    ValueError, TypeError
        For arguments out of range, and for more memory than there is.

    Warns
    -----
    UserWarning
        Where rounding costs more than 1e-8 of F*, 1e-2 in float32.
    """
    operator = FisherOperator(net, x, seed, statistics, loss=loss, biases=biases, dtype=dtype, memory=memory)
    found = moments_of(operator, method, vectors, progress)
    found._warn(math.sqrt(max(0.0, found.square)))
    return found


def moments_of(
    operator: FisherOperator, method: str = "auto", vectors: int = 20, progress: Any = False
) -> FisherMoments:
    """`sampled_moments` of an operator that stands already."""
    _numbers.choice("method", method, ("auto", "dense", "hutchinson"))
    vectors = min(_numbers.integer("vectors", vectors, 2), operator.shape[0])
    if method == "auto":
        flops = operator.flops
        method = "dense" if operator.fits and flops["gram"] <= 3 * vectors * flops["product"] else "hutchinson"
    if method == "dense":
        with _saying(progress) as told:
            matrix = operator.dense(told)
        trace, square = float(np.trace(matrix, dtype=np.float64)), float(np.vdot(matrix, matrix))
        rounding = operator._rounding(stream(operator.network.seed, "vectors"), matrix)
        sums = _sums(operator.shape[0], rounding, trace, square)
        return FisherMoments(**_Measured.of(operator), **sums, products=0, method=method)
    random = stream(operator.network.seed, "vectors")
    size = operator.shape[0]
    operator.prepare(3 * vectors)
    with _saying(progress) as told:

        def product(rows: Array) -> Array:
            results = np.empty(rows.shape)
            for place, row in enumerate(rows):
                results[place] = operator @ row
                if told is not None:
                    told(place + 1, math.nan)
            return results

        signs = random.choice([-1.0, 1.0], (vectors, size))
        signs[0] = _start(operator, random)[0]
        space = np.linalg.qr(product(signs).T)[0].T  # orthonormal rows
        of_space = product(space)
        signs = random.choice([-1.0, 1.0], (vectors, size))
        rest = signs - (signs @ space.T) @ space
        of_rest = product(rest)
    sums = _sums(
        size,
        operator._rounding(random),
        np.sum(rest * of_rest, axis=1),
        np.sum(of_rest**2, axis=1),
        float(np.sum(space * of_space)),
        float(np.sum(of_space**2)),
    )
    return FisherMoments(**_Measured.of(operator), **sums, products=3 * vectors, method=method)


def _sums(
    size: int, rounding: float, traces: Any, squares: Any, trace: float = 0.0, square: float = 0.0
) -> dict[str, Any]:
    """The means over vectors with their standard errors, beside what is known exactly; and rounding.

    |tr dF| <= sqrt(nC) |dF|, |tr (F + dF)^2 - tr F^2| <= 2 |F| |dF| + |dF|^2 by Frobenius norms.
    """

    def error(values: Any) -> float:
        return float(np.std(values, ddof=1) / math.sqrt(np.size(values))) if np.size(values) > 1 else 0.0

    total = float(square + np.mean(squares))
    return {
        "trace": float(trace + np.mean(traces)),
        "square": total,
        "trace_error": error(traces) + math.sqrt(size) * rounding,
        "square_error": error(squares) + (2.0 * math.sqrt(max(0.0, total)) + rounding) * rounding,
        "rounding": rounding,
    }


@dataclass(frozen=True, repr=False)
class SpectralDensity(_Measured):
    """How the eigenvalues of F* of a sampled network are distributed: nodes and weights of each random vector.

    Attributes
    ----------
    nodes, weights : ndarray, (vectors, steps)
        Lanczos' Ritz values and weights; those of a vector sum to 1.
    products : int
    method : {"lanczos"}
    rounding : float
        How far rounding in the passes through the network may move an eigenvalue, as in `FisherMoments`.
    samples, outputs, parameters, statistics, loss, biases, dtype
        What it was measured of.
    """

    nodes: Array
    weights: Array

    def cumulative(self, at: ArrayLike) -> tuple[Array, Array]:
        """The share of the nC eigenvalues at most `at`, and its standard error over the random vectors."""
        points = np.asarray(at, np.float64)
        below = self.nodes[..., None] <= points.reshape(-1)
        return self._mean(np.einsum("vs,vsp->vp", self.weights, below), points.shape)

    def density(self, at: ArrayLike, width: float) -> tuple[Array, Array]:
        """The density smoothed by a normal distribution of standard deviation `width`, and its standard error.

        It integrates to 1 over all eigenvalues of F*; F has P - nC zeros besides.
        """
        width = _numbers.magnitude("width", width, positive=True)
        points = np.asarray(at, np.float64)
        distance = (points.reshape(-1) - self.nodes[..., None]) / width
        bumps = np.exp(-(distance**2) / 2) / (width * math.sqrt(2 * math.pi))
        return self._mean(np.einsum("vs,vsp->vp", self.weights, bumps), points.shape)

    @staticmethod
    def _mean(values: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
        error = values.std(axis=0, ddof=1) / math.sqrt(len(values))
        return values.mean(axis=0).reshape(shape), error.reshape(shape)

    def __repr__(self) -> str:
        vectors, steps = self.nodes.shape
        lines = self._title("Spectral density of F*")
        values = np.sort(self.nodes.reshape(-1))
        weight = self.weights.reshape(-1)[np.argsort(self.nodes.reshape(-1), kind="stable")].cumsum() / vectors
        for share in (0.05, 0.25, 0.5, 0.75, 0.95):
            lines.append(f"  {share:4.0%} of the eigenvalues at most {values[np.searchsorted(weight, share)]:.6g}")
        lines.append(f"  the largest {values[-1]:.6g}")
        return "\n".join([*lines, f"  {vectors} random vectors, {steps} Lanczos steps each"])


def sampled_density(
    net: Network | SampledNetwork,
    x: ArrayLike,
    seed: int = 0,
    statistics: str = "exact",
    *,
    loss: str = "sum",
    biases: bool = True,
    dtype: DTypeLike | None = None,
    vectors: int = 8,
    steps: int = 40,
    memory: float | None = None,
    progress: bool | Callable[[int, float], Any] = False,
) -> SpectralDensity:
    """The density of the eigenvalues of F* by stochastic Lanczos quadrature, without forming F*.

    Each vector of random signs gives, by `steps` products, the nodes and weights of a Gauss quadrature for the density
    as that vector sees it, exact for polynomials of degree 2 steps - 1; their mean over vectors is the density (L. Lin,
    Y. Saad, C. Yang, arXiv 1308.5467, section 3.2.3; B. Ghorbani et al., arXiv 1901.10159).

    Parameters
    ----------
    net, x, seed, statistics, loss, biases, dtype, memory
        As `FisherOperator` takes them.
    vectors, steps : int
        At least 2 each; vectors times steps products.
    progress
        As in `sampled_fisher`.

    Returns
    -------
    SpectralDensity

    Raises
    ------
    ValueError, TypeError
        For arguments out of range, and for more memory than there is.

    Warns
    -----
    UserWarning
        Where rounding costs more than 1e-8 of F*, 1e-2 in float32.
    """
    operator = FisherOperator(net, x, seed, statistics, loss=loss, biases=biases, dtype=dtype, memory=memory)
    vectors = _numbers.integer("vectors", vectors, 2)
    steps = min(_numbers.integer("steps", steps, 2), operator.shape[0])
    random = stream(operator.network.seed, "vectors")
    operator.prepare(vectors * steps)
    nodes, weights = np.zeros((2, vectors, steps))
    with _saying(progress) as told:

        def product(w: Array) -> Array:
            result = np.asarray(operator @ w, np.float64)
            if told is not None:
                told(operator.products, float(nodes.max()))
            return result

        for vector in range(vectors):
            values, shares = krylov(product, random.choice([-1.0, 1.0], operator.shape[0]), steps)
            nodes[vector], weights[vector] = values[-1], 0.0  # where the space ended early
            nodes[vector, : len(values)], weights[vector, : len(values)] = values, shares
    found = SpectralDensity(
        **_Measured.of(operator),
        nodes=nodes,
        weights=weights,
        products=operator.products,
        method="lanczos",
        rounding=operator._rounding(random),
    )
    found._warn(float(nodes.max()))
    return found


@contextmanager
def _saying(progress: Any) -> Iterator[Callable[[int, float], Any] | None]:
    progress = _numbers.progress_of(progress)
    if progress is not True:
        yield progress or None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()) as shown:
        task = shown.add_task("forward pass")

        def tell(products: int, value: float) -> None:
            words = f", lambda_max at least {value:.8g}" if math.isfinite(value) else ""
            shown.update(task, description=f"{products} products{words}")

        yield tell
