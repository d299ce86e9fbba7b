# SPDX-License-Identifier: BSD-3-Clause
"""The largest eigenvalues of any module's Fisher information, or of the Hessian of its loss, by Lanczos."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import _numbers
from .._progress import product_listener
from .._random import stream
from .._words import bytes_in_words
from ..sampled.lanczos import Eigenpairs, basis_of, largest_eigenpairs, least_kept
from .calls import Calls, module_of
from .losses import Curvature, Root, curvature_of, loss_of, name_of, root_of, share_of, targets_of
from .memory import bytes_of_products, couples, memory_there
from .spectrum import ModuleSpectrum

__all__ = ["measure"]

Array = NDArray[Any]
Product = Callable[[Array], Array]
_MOST_PRODUCTS = 1000
# Products more that must agree. Of 960 runs to 0.001 with clusters, as wide modules of few outputs have them, 17 ended
# too far off; a tenfold margin on errors in place of these two products saves one or more, and leaves 212.
_CONFIRM = 2
# On the errors of more than one, for which the next Ritz value need not be next. For three, to 0.1, 0.01 and 0.001, of
# 258 runs 121, 26, 7 had larger errors than were stated without it, 13, 3, 2 with it.
_MARGIN = 4.0
_APART = {torch.float64: 1e-6, torch.float32: 1e-2}  # of lambda_max, by which two ways to a number differ in error
_SHARE = 2 / 3  # of the memory that is left, for estimates may be too low


@dataclass(frozen=True)
class Request:
    """What is measured and how, converted and refused."""

    loss: Any
    matrix: str
    k: int
    tolerance: float
    chunk: int | None
    seed: int
    eigenvectors: bool
    memory: float | None

    @classmethod
    def of(
        cls, loss: Any, matrix: Any, k: Any, tolerance: Any, chunk: Any, seed: Any, eigenvectors: Any, memory: Any
    ) -> Request:
        """As they were given; refused in a sentence."""
        loss_of(loss)
        number = _numbers.float_of("tolerance", tolerance, "in [1e-14, 0.1]")
        if not 1e-14 <= number <= 0.1:
            raise ValueError(f"tolerance must be in [1e-14, 0.1], got {_numbers.shown(tolerance)}")
        return cls(
            loss,
            _numbers.choice("matrix", matrix, ("fisher", "hessian")),
            _numbers.integer("k", k, 1),
            number,
            None if chunk is None else _numbers.integer("chunk", chunk, 1),
            _numbers.integer("seed", seed, 0, 2**31),
            _numbers.boolean("eigenvectors", eigenvectors),
            None if memory is None else _numbers.magnitude("memory", memory, positive=True),
        )


def measure(
    module: torch.nn.Module,
    x: Any,
    targets: Any = None,
    loss: Any = "sum",
    matrix: str = "fisher",
    k: int = 1,
    *,
    tolerance: float = 1e-3,
    chunk: int | None = None,
    seed: int = 0,
    eigenvectors: bool = False,
    memory: float | None = None,
    progress: bool | Callable[[int, float], Any] = False,
) -> ModuleSpectrum:
    """The k largest eigenvalues of a module's Fisher information, or of the Hessian of its loss, at a batch.

    F = J^T H J, with J the gradients of all outputs at all samples by the parameters that require gradients, and H the
    Hessian of the loss by the outputs: for the named losses that of `ff.sampled_fisher`, for a callable the generalised
    Gauss-Newton matrix. The Hessian is that of the loss by the parameters.

    Parameters
    ----------
    module : torch.nn.Module
        Any, on any device, in the mode that it is in: in train mode gradients flow through BatchNorm's statistics.
        Dropout and other layers that draw random numbers draw those of `seed` in every product. It returns a tensor,
        the samples along its first dimension. Modules in bfloat16 or float16 are measured in float32.
    x : tensor or array_like, (n, ...), or a tuple of these
        The samples, or what the module takes as its arguments.
    targets : tensor or array_like, (n, ...), optional
        Labels, or as the loss takes them. The Fisher information of a named loss needs none.
    loss : {"sum", "mean", "mse", "cross_entropy"} or callable
        As in `max_learning_rate`; or a function of (outputs, targets) that returns a tensor of one number, such as
        `torch.nn.CrossEntropyLoss(label_smoothing=0.1)`. Named ones are faster for many outputs.
    matrix : {"fisher", "hessian"}
    k : int
        How many.
    tolerance : float
        Lanczos ends when every eigenvalue is right to this, times the largest of them in size, by its estimated error;
        where a Hessian's negative ones are larger by more than 1/tolerance, to its square of those. In [1e-14, 0.1], at
        least 1e-6 in float32.
    chunk : int, optional
        Samples at a time, for modules that do not couple samples. None: all, or as many as fit into the memory.
    seed : int
        Of the random numbers, of the module and of Lanczos' start.
    eigenvectors : bool
        Give those, too.
    memory : float, optional
        Bytes that may be used; None: two thirds of what is left on the module's device. It is estimated by what reverse
        mode saves of a few samples.
    progress : bool or callable
        True draws the count of products on standard output; a callable gets (products, lambda_max so far).

    Returns
    -------
    ModuleSpectrum

    Raises
    ------
    ValueError, TypeError
        In one sentence, for arguments out of range, for what does not fit the module, and for more memory than there
        is: a module that couples the samples of a batch, as BatchNorm does, needs all of them at once.
    RuntimeError
        Where 1000 products were not enough, and where derivatives contradict each other.

    Notes
    -----
    Products of F are one pass back (`torch.autograd.grad`) and one forth (forward mode), those of the Hessian forward
    over reverse: the gradient of parameters that carry the vector as tangents. PyTorch 2.13 has other nested modes
    wrong for BatchNorm and LayerNorm (`check_autograd`). Every product of F is compared with the square of its pass
    back, and neighbouring products of the Hessian with each other, so that wrong derivatives are found.

    Parameters and buffers are copied, and the copies measured; mode, attributes and all generators (PyTorch's, Python's
    and NumPy's) are put back. The same bits on every run, on a CPU with the same number of threads.

    Examples
    --------
    >>> spectrum = ff.torch.measure(model, x, loss="cross_entropy")
    >>> spectrum.lambda_max, spectrum.max_learning_rate(momentum=0.9)
    """
    request = Request.of(loss, matrix, k, tolerance, chunk, seed, eigenvectors, memory)
    calls = Calls(module_of(module), x, request.seed)
    if calls.dtype == torch.float32 and request.tolerance < 1e-6:
        raise ValueError(f"tolerance must be in [1e-06, 0.1] for a module in float32, got {request.tolerance:g}")
    with calls.open(), product_listener(progress) as hear:
        room = _begin(calls, request)
        target = _matrix(calls, request, targets)
        if request.k > target.size:
            raise ValueError(f"k must be at most {target.size}, the dimension of the matrix, got {request.k}")
        width = _width(target, request, room)
        eps = float(torch.finfo(calls.dtype).eps)
        pairs = largest_eigenpairs(
            target.product,
            target.start(stream(request.seed, "vectors")),
            request.k,
            request.tolerance,
            _MOST_PRODUCTS,
            stream(request.seed, "vectors"),
            hear,
            eps,
            _CONFIRM,
            _MARGIN if request.k > 1 else 1.0,
            width,
            series=True,
        )
    return _spectrum(calls, request, target, pairs)


def _begin(calls: Calls, request: Request) -> float:
    """The first pass, in chunks where that is asked for or needed; returns the bytes that are left for vectors."""
    there = memory_there(calls) * _SHARE if request.memory is None else request.memory
    needed = bytes_of_products(calls, request.matrix == "hessian")
    n, chunk = calls.samples, request.chunk
    if needed is not None:
        fixed, each, outputs = needed
        size = calls.parameters if request.matrix == "hessian" else n * outputs
        fixed += _bytes_of_vectors(size, np.float64, least_kept(request.k, request.k) + 3)
        if chunk is None and fixed + each * n > there:
            chunk = int((there - fixed) // max(each, 1.0))
            if chunk < 1 or couples(calls):
                least, why = (fixed + each * n, ", which the module couples") if chunk >= 1 else (fixed + each, "")
                raise ValueError(
                    f"memory must be at least {bytes_in_words(least)} for {n} samples of this module{why}, got "
                    f"{bytes_in_words(there)}: give fewer samples or a smaller k"
                )
    if chunk is None or chunk >= n:
        if request.matrix == "hessian":
            calls.outputs = calls.evaluate()
        else:
            calls.whole()
    else:
        if request.chunk is not None and couples(calls):
            raise ValueError(
                f"chunk must be None for a module that couples the samples of a batch, as BatchNorm does in train "
                f"mode, got {chunk}"
            )
        calls.in_chunks(chunk)
    if calls.leaves[0].device.type != "cpu" and request.memory is None:
        return math.inf  # vectors live on the host
    return there - (0.0 if needed is None else needed[0] + needed[1] * calls.parts[0].stop)


def _bytes_of_vectors(size: int, dtype: type, width: int) -> float:
    """Of a basis of so many: each vector, its image, and what is made of both."""
    return 4.0 * min(size, width) * size * np.dtype(dtype).itemsize


class _Target:
    """A symmetric matrix of some size: its products, checked, and where to start."""

    apart = scale = 0.0  # how far two ways to the same number were apart, and the largest number
    dtype: type = np.float64

    def __init__(self, calls: Calls, size: int, block: int, reason: str) -> None:
        self.calls, self.size, self.block, self.reason = calls, size, block, reason

    def product(self, v: Array) -> Array:
        raise NotImplementedError

    def start(self, random: np.random.Generator) -> Array:
        raise NotImplementedError

    def compare(self, one: float, other: float, scale: float) -> None:
        """Two ways to the same number, of vectors and images of at most this size."""
        self.apart, self.scale = max(self.apart, abs(one - other)), max(self.scale, scale)
        if self.apart > _APART[self.calls.dtype] * self.scale:
            raise RuntimeError(
                f"two ways to the same number differ by {self.apart / self.scale:.1g} of it, so derivatives of this "
                "module are wrong or not the same each time: ff.torch.check_autograd() tells which PyTorch has wrong"
            )


class _Dual(_Target):
    """F* = S^T J J^T S, in the space of outputs."""

    def __init__(self, calls: Calls, root: Root, block: int) -> None:
        super().__init__(calls, calls.outputs.numel(), block, "products of F* in the space of outputs")
        self.root = root

    def product(self, v: Array) -> Array:
        calls, shape = self.calls, self.calls.outputs.shape
        w = calls.vector(v).reshape(shape)
        pulled = calls.pull(self.root.times(w))
        image = self.root.transposed(calls.push(pulled)).reshape(-1)
        square = float(pulled.double().square().sum())
        self.compare(square, float(torch.dot(w.double().reshape(-1), image.double())), square)
        return np.asarray(image.double().cpu().numpy())

    def start(self, random: np.random.Generator) -> Array:
        """The same random combination of outputs at every sample, and a small random part.

        In theory the first eigenvectors are near that: gradients at all samples have a part in common.
        """
        n, outputs = len(self.calls.outputs), self.size // len(self.calls.outputs)
        block = min(self.block, outputs)
        mixed = np.linalg.qr(random.standard_normal((outputs, block)))[0].T
        noise = random.standard_normal((block, n, outputs)) / math.sqrt(outputs)
        rows: Array = (mixed[:, None, :] + 0.03 * noise).reshape(block, -1)
        if block < self.block:
            rows = np.vstack([rows, random.standard_normal((min(self.block, self.size) - block, self.size))])
        return rows


class _Primal(_Target):
    """A matrix in the space of parameters: the Hessian, or J^T H J."""

    def __init__(self, calls: Calls, times: Callable[[torch.Tensor], torch.Tensor], first: torch.Tensor, block: int):
        super().__init__(calls, calls.parameters, block, "products with vectors of all parameters")
        self.times, self.first = times, first
        self.dtype = np.float32 if calls.dtype == torch.float32 else np.float64
        self.before: tuple[torch.Tensor, torch.Tensor] | None = None

    def product(self, v: Array) -> Array:
        w = self.calls.vector(v)
        image = self.times(w)
        if self.before is not None:
            other, of_other = self.before
            scale = float(max(image.double().norm(), of_other.double().norm()))
            self.compare(_dot(other, image), _dot(w, of_other), scale)
        self.before = (w, image)
        return np.asarray(image.cpu().numpy())

    def start(self, random: np.random.Generator) -> Array:
        """The gradient, which lies near the first eigenvectors, with a random part; and random vectors."""
        rows: Array = np.asarray(random.standard_normal((min(self.block, self.size), self.size)), self.dtype)
        first = self.first.cpu().numpy()
        if (length := float(np.linalg.norm(first))) > 0:
            rows[0] = first / length + 0.03 * rows[0] / math.sqrt(self.size)
        return rows


def _dot(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.dot(one.double(), other.double()))


def _matrix(calls: Calls, request: Request, targets: Any) -> _Target:
    """The matrix that is asked for, in the smaller of its two spaces where there are two."""
    loss, outputs = loss_of(request.loss), calls.outputs
    named = isinstance(request.loss, str)
    if request.loss == "cross_entropy" and (outputs.ndim < 2 or outputs.shape[1] < 2):
        raise ValueError(f"loss must be a squared one for a module with one output, got {_numbers.shown(request.loss)}")
    if request.matrix == "fisher":
        y = None if named else targets_of(request.loss, targets, outputs)
        curvature = None if named else _looked_at(curvature_of(loss, outputs, y), outputs, y)
        root = root_of(request.loss, outputs, curvature)
        if root is not None:
            return _Dual(calls, root, request.k)
        assert curvature is not None
        random = torch.from_numpy(stream(request.seed, "start").standard_normal(tuple(outputs.shape)))
        first = calls.pull(curvature(random.to(outputs)))
        return _Primal(calls, lambda v: calls.pull(curvature(calls.push(v))), first, request.k)
    y = targets_of(request.loss, targets, outputs)
    share = share_of(loss, named, outputs, y, calls.parts)
    return _Primal(calls, lambda v: calls.hessian(v, loss, y, share), calls.gradient(loss, y, share), request.k)


def _looked_at(curvature: Curvature, outputs: torch.Tensor, y: Any) -> Curvature:
    """What a callable loss raises without targets is a question for them."""
    try:
        curvature(torch.ones_like(outputs))
    except ValueError:
        raise
    except Exception as error:
        if y is not None:
            raise
        raise ValueError(f"targets must be there for a callable loss, which says: {error}") from error
    return curvature


def _width(target: _Target, request: Request, room: float) -> int:
    """How many vectors the basis may hold."""
    block = min(target.block, target.size)
    most, least = basis_of(request.k, block), least_kept(request.k, block) + 3
    each = _bytes_of_vectors(target.size, target.dtype, 1)
    if min(least, target.size) * each > room:
        raise ValueError(
            f"memory must be {bytes_in_words(min(least, target.size) * each - room)} more for vectors of "
            f"{target.size:,} numbers beside the module: give fewer samples or a smaller k"
        )
    return int(min(most, max(least, room // each)))


def _spectrum(calls: Calls, request: Request, target: _Target, pairs: Eigenpairs) -> ModuleSpectrum:
    if np.any(pairs.errors > pairs.target):
        reached = request.tolerance * np.max(pairs.errors) / pairs.target
        raise RuntimeError(
            f"{pairs.products} products were not enough for {request.k} eigenvalues to {request.tolerance:g}: reached "
            f"{reached:.1g}; ask for fewer or for a larger tolerance"
        )
    outputs = calls.outputs
    vectors = pairs.vectors.reshape(len(pairs.vectors), *(outputs.shape if isinstance(target, _Dual) else (-1,)))
    module = calls.module
    by_reverse = f", J v by reverse mode, for {calls.reverse_only} has no forward mode" if calls.reverse_only else ""
    return ModuleSpectrum(
        samples=calls.samples,
        outputs=outputs[0].numel(),
        parameters=calls.parameters,
        statistics="exact",
        loss=name_of(request.loss),  # type: ignore[arg-type]
        biases=True,
        dtype=str(calls.dtype).removeprefix("torch."),
        products=pairs.products,
        method="lanczos",
        rounding=target.apart,
        eigenvalues=np.asarray(pairs.values, np.float64),
        errors=np.asarray(pairs.errors, np.float64) + target.apart,
        residuals=np.asarray(pairs.residuals, np.float64),
        eigenvectors=vectors if request.eigenvectors else None,
        reason=target.reason + by_reverse,
        matrix=request.matrix,
        name=type(module).__name__,
        train=module.training,
        random=calls.random,
        seed=request.seed,
        chunk=None if len(calls.parts) == 1 else calls.parts[0].stop,
    )
