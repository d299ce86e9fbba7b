# SPDX-License-Identifier: BSD-3-Clause
"""How long do the largest eigenvalue and the spectrum of a real network's Fisher information take, here and elsewhere?

    python bench/sampled.py --repeats 5 --json FILE
    python bench/sampled.py --job one --job one-batchnorm

Networks 784-1000-1000-1000-C of relu, n Gaussian inputs, all biases counted, loss "sum" (the mean over samples). The
weights are those of `ff.sample`, so that all work on the same matrix; each method runs in a process of its own, on two
processors and two threads. It is held against `ff.sampled_fisher` in float64 to 1e-12, and on a small network against
the reference, as closely as the method allows, and only then timed: from weights and inputs to the answer, what is
compiled or traced being there already. All are timed in turn, round by round, so that what else the machine does falls
upon all of them. BatchNorm has eps = 1e-5, for torch refuses 0.

    ff                 ff.sampled_fisher
    NumPy, torch Gram  J J^T layer by layer, (H H^T + 1) * (Delta Delta^T); power iteration or eigvalsh
    neural-tangents    empirical_ntk_fn by structured derivatives, jitted; power iteration
    nngeometry         GramMatrix; power iteration
    torch power        w -> J J^T w by torch.func's vjp and jvp in train mode, until the value changes by 1e-6, or, with
                       ten outputs, 300 times
    torch eigsh        scipy's eigsh (ARPACK) on the same product; its tolerance is for residuals, whose squares make
                       the errors of eigenvalues
    curvlinops         eigsh on its GGN operator, P x P, with the whole data as one batch

Gflop: what a method cannot do without, by its own way, symmetric products of matrices counted once. The limit is the
time for these at the rate of a 2048 x 2048 product of matrices in scipy's BLAS, which ff calls, in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from timing import Timed, machine, seconds

import fisherfield as ff

Array = np.ndarray
Double, Single = "float64", "float32"
THREADS, SEED, EPS = 2, 0, 1e-5
SIZE = 2048  # of the product of matrices that sets the limit
ENOUGH = 30.0  # seconds of a method's calls: then no more of them
CHANGE, MOST = 1e-6, 300  # where a power iteration stops


class Answer(NamedTuple):
    values: Any  # eigenvalues, the largest first; as many as were wanted
    flops: float
    products: int | None = None


Call = Callable[[], Answer]


class Problem(NamedTuple):
    sampled: ff.SampledNetwork
    x: Array
    whole: bool = False  # all eigenvalues
    change: float = CHANGE

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.x), self.sampled.net.outputs

    @property
    def affine(self) -> list[tuple[Array, Array]]:
        return list(zip(self.sampled.weights, self.sampled.biases, strict=True))

    def start(self) -> Array:
        return np.random.default_rng(1).standard_normal(self.shape).astype(self.sampled.dtype)


def problem(widths: list[int], samples: int, batch_norm: bool, dtype: str, **words: Any) -> Problem:
    net = ff.mlp(widths, batch_norm=batch_norm, eps=EPS if batch_norm else 0.0)
    x = ff.data.gaussian(widths[0], samples, seed=SEED).astype(dtype)
    return Problem(ff.sample(net, SEED, dtype), x, **words)


# -------------------------------------------------------------------------------------------------------------- counts
class Flops:
    """Of a problem's parts, as multiplications and additions."""

    def __init__(self, of: Problem) -> None:
        self.n = len(of.x)
        self.layers = [weight.shape for weight, _ in of.affine]  # (units, inputs)
        self.forward = 2.0 * self.n * sum(units * inputs for units, inputs in self.layers)
        self.carry = 2.0 * self.n * sum(units * inputs for units, inputs in self.layers[1:])  # once through the network
        self.all = 4 / 3 * self.n**3 if of.whole else 0.0

    @property
    def gram(self) -> float:
        """One output: forwards, deltas backwards, two symmetric products a layer."""
        return self.forward + self.carry + self.n**2 * float(sum(map(sum, self.layers))) + self.all

    def lanczos(self, products: int) -> float:
        """A layer's own part by its gradient, or by H H^T where that takes fewer."""
        n, p = self.n, products
        own = sum(min(n * n * a + 2.0 * p * n * n * b, 4.0 * p * n * a * b) for b, a in self.layers)
        return self.forward + own + 2 * p * self.carry

    def differentiated(self, products: int, forwards: int) -> float:
        """Products by automatic differentiation, with so many forward passes each."""
        return self.forward + products * ((forwards + 2) * self.forward + 2 * self.carry)


def power(product: Callable[[Any], Any], start: Any, change: float, most: int = MOST) -> tuple[float, int]:
    """The largest eigenvalue by Rayleigh's quotient, and the number of products; arrays of NumPy or torch."""
    w, value, count = start / (start * start).sum() ** 0.5, 0.0, 0
    while count < most:
        image, count = product(w), count + 1
        last, value = value, float((w * image).sum())
        if abs(value - last) <= change * value:
            break
        w = image / (image * image).sum() ** 0.5
    return value, count


def largest(matrix: Array, start: Array) -> list[float]:
    return [power(lambda w: matrix @ w, start.ravel(), 1e-14)[0]]


# ------------------------------------------------------------------------------------------------------------- methods
def by_ff(of: Problem) -> Call:
    def call() -> Answer:
        spectrum = ff.sampled_fisher(of.sampled, of.x, k="all" if of.whole else 1)
        count = Flops(of)
        flops = count.lanczos(spectrum.products) if spectrum.method == "lanczos" else count.gram
        return Answer(spectrum.eigenvalues, flops, spectrum.products or None)

    return call


def by_numpy(of: Problem) -> Call:
    def gram() -> Array:
        inputs, h = [of.x], of.x
        for weight, bias in of.affine[:-1]:
            h = h @ weight.T
            h += bias
            np.maximum(h, 0.0, out=h)
            inputs.append(h)
        delta = np.ones((len(of.x), 1), of.x.dtype)
        total = np.zeros((len(of.x),) * 2, of.x.dtype)
        for place, (weight, _) in reversed(list(enumerate(of.affine))):
            h = inputs[place]
            part = h @ h.T
            part += 1.0
            part *= delta @ delta.T
            total += part
            if place:
                delta = delta @ weight
                delta *= h > 0.0
        total /= len(of.x)
        return total

    def call() -> Answer:
        matrix = gram()
        values = np.linalg.eigvalsh(matrix)[::-1] if of.whole else largest(matrix, of.start())
        return Answer(values, Flops(of).gram)

    return call


def torch_model(of: Problem) -> tuple[Any, Any]:
    """The network as a module in train mode, and its inputs."""
    import torch

    modules: list[Any] = []
    affine = iter(of.affine)
    for layer in of.sampled.net.layers:
        if isinstance(layer, ff.Dense):
            weight, bias = (torch.from_numpy(array) for array in next(affine))
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
            linear.load_state_dict({"weight": weight, "bias": bias})
            modules.append(linear)
        elif isinstance(layer, ff.BatchNorm):
            # in train mode it takes the batch's statistics; those that run along are written in place, which vmap,
            # and with it curvlinops, refuses
            units = modules[-1].out_features
            modules.append(torch.nn.BatchNorm1d(units, eps=layer.eps, affine=False, track_running_stats=False))
        else:
            modules.append(torch.nn.ReLU())
    return torch.nn.Sequential(*modules).train(), torch.from_numpy(of.x)


def by_torch_gram(of: Problem) -> Call:
    import torch

    model, x = torch_model(of)
    linears = [module for module in model if isinstance(module, torch.nn.Linear)]

    @torch.no_grad()
    def gram() -> Any:
        inputs = [x]
        for linear in linears[:-1]:
            inputs.append(torch.relu_(linear(inputs[-1])))
        delta, total = x.new_ones(len(x), 1), x.new_zeros(len(x), len(x))
        for place, linear in reversed(list(enumerate(linears))):
            h = inputs[place]
            total += (h @ h.T).add_(1.0).mul_(delta @ delta.T)
            if place:
                delta = (delta @ linear.weight).mul_(h > 0.0)
        return total / len(x)

    def call() -> Answer:
        matrix = gram()
        values = torch.linalg.eigvalsh(matrix).numpy()[::-1] if of.whole else largest(matrix.numpy(), of.start())
        return Answer(values, Flops(of).gram)

    return call


def by_neural_tangents(of: Problem) -> Call:
    # A part of it wants TensorFlow, and names that newer jax keeps elsewhere; neither is used here.
    sys.modules.setdefault("neural_tangents.experimental", types.ModuleType("neural_tangents.experimental"))
    import jax
    from jax._src import source_info_util
    from jax.interpreters import ad

    ad.source_info_util, ad.config = source_info_util, jax.config
    jax.config.update("jax_enable_x64", True)
    import neural_tangents as nt

    def network(affine: Any, x: Any) -> Any:
        for weight, bias in affine[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        return x @ affine[-1][0] + affine[-1][1]

    structured = nt.NtkImplementation.STRUCTURED_DERIVATIVES
    kernel = nt.empirical_ntk_fn(network, trace_axes=(), vmap_axes=0, implementation=structured)
    jitted = jax.jit(lambda affine, x: kernel(x, None, affine))
    # Weights as its own layers have them, (inputs, units): it does not see the structure behind a transpose, and would
    # take a hundred times as long.
    affine = [(jax.numpy.asarray(weight.T.copy()), jax.numpy.asarray(bias)) for weight, bias in of.affine]
    x = jax.numpy.asarray(of.x)

    def call() -> Answer:
        matrix = np.asarray(jitted(affine, x)).reshape(len(of.x), len(of.x)) / len(of.x)
        return Answer(largest(matrix, of.start()), Flops(of).gram)

    return call


def by_nngeometry(of: Problem) -> Call:
    from nngeometry import GramMatrix

    model, x = torch_model(of)

    def call() -> Answer:
        matrix = GramMatrix(model, (x,)).to_torch().detach().numpy().reshape(len(of.x), len(of.x)) / len(of.x)
        return Answer(largest(matrix, of.start()), Flops(of).gram)

    return call


def torch_product(of: Problem) -> Callable[[], Callable[[Any], Any]]:
    """Makes w -> J J^T w/n: a forward pass, then vjp and jvp for each w, of which jvp goes forwards once more."""
    import torch

    model, x = torch_model(of)
    parameters = {name: value.detach() for name, value in model.named_parameters()}

    def outputs(values: Any) -> Any:
        return torch.func.functional_call(model, values, (x,))

    def made() -> Callable[[Any], Any]:
        _, pull = torch.func.vjp(outputs, parameters)
        return lambda w: torch.func.jvp(outputs, (parameters,), pull(w))[1] / len(x)

    return made


def by_torch_power(of: Problem) -> Call:
    import torch

    made, start = torch_product(of), torch.from_numpy(of.start())

    def call() -> Answer:
        value, products = power(made(), start, of.change)
        return Answer([value], Flops(of).differentiated(products, 1), products)

    return call


def eigsh(size: int, product: Callable[[Array], Array], start: Array, tolerance: float) -> tuple[float, int]:
    from scipy.sparse import linalg

    products = 0

    def counted(w: Array) -> Array:
        nonlocal products
        products += 1
        return product(np.ascontiguousarray(w, start.dtype))

    operator = linalg.LinearOperator((size, size), matvec=counted, dtype=start.dtype)
    values = linalg.eigsh(operator, 1, v0=start.ravel(), tol=tolerance, return_eigenvectors=False)
    return float(values[0]), products


def by_torch_eigsh(of: Problem, tolerance: float) -> Call:
    import torch

    made = torch_product(of)

    def call() -> Answer:
        product = made()

        def of_arrays(w: Array) -> Array:
            return product(torch.from_numpy(w.reshape(of.shape))).numpy().ravel()  # type: ignore[no-any-return]

        value, products = eigsh(of.shape[0] * of.shape[1], of_arrays, of.start(), tolerance)
        return Answer([value], Flops(of).differentiated(products, 1), products)

    return call


def by_curvlinops(of: Problem) -> Call:
    import torch
    from curvlinops import GGNLinearOperator

    model, x = torch_model(of)
    data = [(x, torch.zeros(of.shape, dtype=x.dtype))]
    loss = torch.nn.MSELoss(reduction="sum")  # its Hessian is 2
    parameters = list(model.parameters())

    def call() -> Answer:
        operator = GGNLinearOperator(model, loss, parameters, data, check_deterministic=False)
        start = np.random.default_rng(1).standard_normal(operator.shape[0]).astype(of.x.dtype)

        def product(w: Array) -> Array:
            return (operator @ torch.from_numpy(w)).numpy()  # type: ignore[no-any-return]

        value, products = eigsh(operator.shape[0], product, start, 1e-3)
        return Answer([value / (2.0 * len(of.x))], Flops(of).differentiated(products, 2), products)

    return call


METHODS: dict[str, Callable[[Problem], Call]] = {
    "ff": by_ff,
    "NumPy Gram": by_numpy,
    "torch Gram": by_torch_gram,
    "neural-tangents": by_neural_tangents,
    "nngeometry": by_nngeometry,
    "torch power": by_torch_power,
    "torch eigsh, 1e-3": lambda of: by_torch_eigsh(of, 1e-3),
    "torch eigsh, 1e-6": lambda of: by_torch_eigsh(of, 1e-6),
    "curvlinops": by_curvlinops,
}


# ---------------------------------------------------------------------------------------------------------------- jobs
class Row(NamedTuple):
    """What a method gave, as it comes out of its process."""

    who: str
    dtype: str
    times: list[float]
    flops: float
    products: int | None
    error: float  # relative to lambda_max, the worst of all eigenvalues
    megabytes: float  # of the whole process at its peak

    @property
    def seconds(self) -> float:
        return min(self.times)


class Job(NamedTuple):
    title: str
    outputs: int
    batch_norm: bool
    methods: tuple[tuple[str, str, float], ...]  # who, dtype, and the relative error that it may have
    targets: Callable[[dict[tuple[str, str], Row], float], list[tuple[str, float, float]]]
    samples: int = 1000
    whole: bool = False
    change: float = CHANGE

    def problem(self, dtype: str) -> Problem:
        widths = [784, 1000, 1000, 1000, self.outputs]
        return problem(widths, self.samples, self.batch_norm, dtype, whole=self.whole, change=self.change)

    def small(self, dtype: str) -> Problem:
        words = {"whole": self.whole, "change": 1e-7}
        return problem([20, 30, 30, 30, self.outputs], 25, self.batch_norm, dtype, **words)


Rows = dict[tuple[str, str], Row]
Targets = list[tuple[str, float, float]]  # what, what came out, what was wanted; in words: "at most" or "at least"


def slower(rows: Rows, who: str, dtype: str, ours: str | None = None) -> float:
    one, other = rows.get((who, dtype)), rows.get(("ff", ours or dtype))
    return one.seconds / other.seconds if one and other else np.nan


def targets_of_one(rows: Rows, limit: float) -> Targets:
    return [
        ("float64, times the flop limit, at most", limit, 2.5),
        ("float64, faster than neural-tangents, at least", slower(rows, "neural-tangents", Double), 3.0),
    ]


def targets_of_one_with_batch_norm(rows: Rows, limit: float) -> Targets:
    most = max(row.products or 0 for (who, _), row in rows.items() if who == "ff")
    return [
        ("float32, faster than torch power, at least", slower(rows, "torch power", Single), 2.0),
        ("float32, faster than curvlinops, at least", slower(rows, "curvlinops", Single), 10.0),
        ("products for 1e-6, at most", most, 5.0),
    ]


def targets_of_ten(rows: Rows, limit: float) -> Targets:
    most = max(row.products or 0 for (who, _), row in rows.items() if who == "ff")
    return [
        ("products for 1e-6, at most", most, 15.0),
        ("float32, faster than torch eigsh, 1e-3, at least", slower(rows, "torch eigsh, 1e-3", Single), 4.0),
    ]


def targets_of_all(rows: Rows, limit: float) -> Targets:
    better = np.nanmin([slower(rows, who, Double) for who in ("NumPy Gram", "torch Gram")])
    return [("float64, faster than the better of NumPy and torch, at least", float(better), 1.0)]


# Power iterations that stop at a change of 1e-6 are wrong by a few times that. In float32 a unit next to its kink may
# fall on the other side of it: the derivative of one in three million moves lambda_max by 3e-6, whoever computes it.
OF_TEN = (
    ("ff", Double, 1e-6),
    ("ff", Single, 1e-5),
    ("torch power", Single, 1e-2),
    ("torch eigsh, 1e-3", Single, 1e-5),
    ("torch eigsh, 1e-6", Single, 1e-5),
)
JOBS = {
    "one": Job(
        "lambda_max, one output",
        1,
        False,
        (
            ("ff", Double, 1e-12),
            ("ff", Single, 1e-5),
            ("NumPy Gram", Double, 1e-10),
            ("torch Gram", Double, 1e-10),
            ("neural-tangents", Double, 1e-10),
            ("nngeometry", Double, 1e-10),
            ("torch power", Double, 1e-5),
            ("torch power", Single, 1e-5),
            ("curvlinops", Single, 1e-5),
        ),
        targets_of_one,
    ),
    "one-batchnorm": Job(
        "lambda_max, one output, BatchNorm",
        1,
        True,
        (
            ("ff", Double, 1e-6),
            ("ff", Single, 1e-5),
            ("torch power", Double, 1e-5),
            ("torch power", Single, 1e-5),
            ("curvlinops", Single, 1e-5),
        ),
        targets_of_one_with_batch_norm,
    ),
    "ten-batchnorm": Job("lambda_max, ten outputs, BatchNorm", 10, True, OF_TEN, targets_of_ten, change=-1.0),
    "ten": Job("lambda_max, ten outputs", 10, False, OF_TEN, targets_of_ten, change=-1.0),
    "all": Job(
        "all eigenvalues, one output",
        1,
        False,
        (("ff", Double, 0.0), ("NumPy Gram", Double, 1e-11), ("torch Gram", Double, 1e-11)),
        targets_of_all,
        samples=5000,
        whole=True,
    ),
}


def rows() -> list[Timed]:
    """What ff does of it, and an image's convolutions."""

    def row(name: str, dtype: str, make: Callable[[], Callable[[], Any]], threads: tuple[int, ...]) -> Timed:
        # a unit next to its kink may fall on the other side of it in float32
        close = 1e-12 if dtype == Double else 1e-5
        return Timed(f"sampled: {name}, {dtype}", make, lambda found: found[0], threads, close, largest=True)

    def of_job(job: Job, dtype: str) -> Timed:
        # thousands of eigenvalues take a minute of two threads that wait for each other
        threads = (1,) if job.whole else (1, THREADS)
        return row(job.title, dtype, lambda: by_ff(job.problem(dtype)), threads)

    def of_images(dtype: str) -> Timed:
        def make() -> Callable[[], Any]:
            net = ff.convnet((1, 28, 28), channels=[30, 60, 90], outputs=1)
            sampled, x = ff.sample(net, SEED, dtype), ff.data.gaussian(net, 300, seed=SEED).astype(dtype)
            return lambda: [ff.sampled_fisher(sampled, x).eigenvalues]

        return row("lambda_max, convolutions 28 x 28", dtype, make, (1, THREADS))

    own = [(job, dtype) for job in JOBS.values() for who, dtype, _ in job.methods if who == "ff"]
    return [*(of_job(*each) for each in own), *(of_images(dtype) for dtype in (Double, Single))]


# --------------------------------------------------------------------------------- in a process of each method's own
def apart(values: Any, right: Any) -> float:
    """The worst error, relative to lambda_max."""
    values, right = np.asarray(values, np.float64), np.asarray(right, np.float64)
    return float(np.max(np.abs(values - right[: len(values)])) / right[0])


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def exact(job: Job) -> Any:
    spectrum = ff.sampled_fisher(*job.problem(Double)[:2], k="all" if job.whole else 1, tolerance=1e-12)
    return spectrum.eigenvalues.tolist()


def checked(job: Job, who: str, dtype: str, allowed: float, right: Any) -> tuple[Call, Row]:
    """A method's call, and what it gave."""
    if who.startswith(("torch", "nngeometry", "curvlinops")):
        import torch

        torch.set_num_threads(THREADS)
    call = METHODS[who](job.problem(dtype))
    answer = call()  # compiles, and starts threads
    peak = megabytes()
    error = apart(answer.values, right)
    assert error <= allowed, f"{who} in {dtype} is off by {error:.1e} of lambda_max"

    small = job.small(dtype)
    values = METHODS[who](small)().values
    every = "all" if job.whole else 1
    reference = ff.reference.sampled_fisher(small.sampled, small.x, k=every)
    # those few eigenvalues lie close together: power iteration is slow
    near = 1e-2 if who == "torch power" else (1e-10 if allowed <= 1e-10 and dtype == Double else 1e-5)
    assert apart(values, reference) <= near, (who, dtype, apart(values, reference))

    return call, Row(who, dtype, [], answer.flops, answer.products, error, peak)


def memory(job: Job) -> float:
    """The peak of a process that does nothing else."""
    of = job.problem(Double)
    ff.sampled_fisher(of.sampled, of.x)
    return megabytes()


def matmul(dtype: str) -> Callable[[], object]:
    """What scipy's BLAS is timed by."""
    from scipy.linalg import blas

    random = np.random.default_rng(0)
    a, b = (np.asfortranarray(random.standard_normal((SIZE, SIZE)).astype(dtype)) for _ in range(2))
    multiply = blas.dgemm if dtype == Double else blas.sgemm
    return lambda: multiply(1.0, a, b)


def child(what: str, *rest: str) -> None:
    """What a process was started for: an answer in its first line, then the time of a call for each line that it gets.

    Its first line of input is what all answers are held against.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    ff.set_num_threads(THREADS)
    right = json.loads(sys.stdin.readline())
    call: Callable[[], object] | None = None
    answer: Any = None
    if what == "exact":
        answer = exact(JOBS[rest[0]])
    elif what == "memory":
        answer = memory(JOBS[rest[0]])
    elif what == "matmul":
        call = matmul(*rest)
    else:
        job = JOBS[rest[0]]
        call, answer = checked(job, *job.methods[int(rest[1])], right)
    print(json.dumps(answer), flush=True)
    if call is not None:
        for _ in sys.stdin:
            print(seconds(call, 1), flush=True)


class Missing(Exception):
    pass


class Worker:
    """A process that does what `child` says."""

    def __init__(self, *words: object, right: Any = None) -> None:
        names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--child", *map(str, words)],
            env=os.environ | dict.fromkeys(names, str(THREADS)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.answer = json.loads(self._ask(json.dumps(right)))

    def _ask(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            self.errors.seek(0)
            words = self.errors.read().strip()
            last = words.splitlines()[-1] if words else "it ended without a word"
            raise Missing(last.split(": ", 1)[1]) if last.startswith("ModuleNotFound") else RuntimeError(words)
        return answer

    def seconds(self) -> float:
        time.sleep(0.1)  # the others' threads may still be waiting in a loop for more to do
        return float(self._ask("again"))

    def end(self) -> Any:
        self.process.communicate()
        self.errors.close()
        return self.answer


# ---------------------------------------------------------------------------------------------------------- the tables
HEADS = ("min s", "median s", "products", "Gflop", "Gflop/s", "of limit", "x ff", "error", "MB")


def shown(row: Row, rates: dict[str, float], ours: Row) -> str:
    cells = (
        f"{row.seconds:.3f}",
        f"{statistics.median(row.times):.3f}",
        str(row.products or ""),
        f"{row.flops * 1e-9:.1f}",
        f"{row.flops / row.seconds * 1e-9:.0f}",
        f"{row.flops / rates[row.dtype] / row.seconds:.0%}",
        f"{row.seconds / ours.seconds:.2f}",
        f"{row.error:.0e}",
        f"{row.megabytes:.0f}",
    )
    return f"{row.who:<20}{row.dtype:<9}" + "".join(f"{cell:>10}" for cell in cells)


def workers_of(name: str) -> dict[tuple[str, str], Worker]:
    """All that could be started, their answers checked."""
    right, workers = Worker("exact", name).end(), {}
    for place, (who, dtype, _) in enumerate(JOBS[name].methods):
        try:
            workers[who, dtype] = Worker("method", name, place, right=right)
        except Missing as missing:
            print(f"  {who} is not installed: {missing}", flush=True)
    return workers


def measure(name: str, repeats: int | None) -> dict[str, Any]:
    job = JOBS[name]
    print(f"{job.title}, {job.samples} samples", flush=True)
    workers = workers_of(name)
    rows: Rows = {key: Row(*worker.answer) for key, worker in workers.items()}
    multiply = {dtype: Worker("matmul", dtype) for dtype in {dtype for _, dtype in rows}}
    fastest = dict.fromkeys(multiply, np.inf)
    load = os.getloadavg()[0]  # some of it is of this file's own making
    for _ in range(repeats or (3 if job.whole else 5)):
        for key, worker in workers.items():
            if sum(rows[key].times) <= ENOUGH:
                rows[key].times.append(worker.seconds())
        for dtype, worker in multiply.items():
            fastest[dtype] = min(fastest[dtype], *(worker.seconds() for _ in range(3)))
    for worker in (*workers.values(), *multiply.values()):
        worker.end()
    rates = {dtype: 2.0 * SIZE**3 / taken for dtype, taken in fastest.items()}
    words = " and ".join(f"{rate * 1e-9:.0f} in {dtype}" for dtype, rate in sorted(rates.items(), reverse=True))
    print(f"BLAS {words} Gflop/s, load {load:.1f}")
    print(f"{'':<29}" + "".join(f"{head:>10}" for head in HEADS))
    for row in rows.values():
        print(shown(row, rates, rows["ff", row.dtype]))
    ours = rows["ff", Double]
    wanted = job.targets(rows, ours.seconds * rates[Double] / ours.flops)
    if job.samples == 1000 and job.outputs == 1:
        wanted.append(("MB in a fresh process, float64, at most", Worker("memory", name).end(), 250.0))
    for what, value, bound in wanted:
        kept = value <= bound if what.endswith("at most") else value >= bound
        print(f"  {what} {bound:g}: {value:.3g}{'' if kept else '   not reached'}")
    print()
    return {
        "job": name,
        "title": job.title,
        "load": load,
        "rates": rates,
        "rows": [row._asdict() for row in rows.values()],
        "targets": [dict(zip(("what", "value", "wanted"), one, strict=True)) for one in wanted],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--job", action="append", choices=JOBS, help="of the tables; all of them")
    parser.add_argument("--repeats", type=int, help="rounds; 5, and 3 for all eigenvalues")
    parser.add_argument("--json", metavar="FILE", help="write the figures")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    ff.set_num_threads(THREADS)
    core = os.environ.get("OPENBLAS_CORETYPE")
    where = machine() + (f", OPENBLAS_CORETYPE={core}" if core else "")
    print(f"{where}\n")
    jobs = [measure(name, options.repeats) for name in options.job or JOBS]
    if options.json:
        Path(options.json).write_text(json.dumps({"machine": where, "jobs": jobs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
