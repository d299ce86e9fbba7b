# SPDX-License-Identifier: BSD-3-Clause
"""Small sampled networks: what an offset of the inputs, the method and the order of the samples must not change.

Cases are arguments of `fisherfield.sampled_fisher`, and an offset that is added to the inputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

import fisherfield as ff

from . import drawn, graphs
from .drawn import Random, chance, decades, pick
from .tools import Refused, evaluate, is_sentence, outcome

Broken = Iterator[tuple[str, str]]
NAMES = ("relu", "tanh", "gelu", "linear", "leaky_relu", "selu", "sigmoid", "abs", "sin", "softplus", "hardtanh")


def norm(random: Random) -> str:
    gamma, beta = round(float(random.uniform(0.2, 3)), 2), pick(random, (0.0, 0.0, 0.5, -3.0))
    return f"ff.BatchNorm({gamma}, {beta}, {pick(random, (0.0, 1e-5, 0.1))}, {chance(random, 0.3)})"


def draw_graph(random: Random) -> str:
    """All kinds of layers."""
    with drawn.mildly():
        kinds = graphs.Kinds(NAMES, 4, lambda random: int(random.integers(2, 13)), ordinary=True, closed=False)
        net = graphs.draw(random, kinds)
    return on_inputs(random, net, evaluate(net).input_shape)


def draw(random: Random) -> str:
    image = chance(random, 0.25)
    normed = float(pick(random, (1.0, 1.0, 0.5, 0.0)))
    layers: list[str] = []
    shape: tuple[int, ...]
    if image:
        shape = (int(random.integers(1, 4)), int(random.integers(2, 6)), int(random.integers(2, 6)))
        layers.append(f"ff.Conv2d({random.integers(2, 9)}, 2, 1, {pick(random, (0, 0, 1))})")
        layers += [norm(random)] if chance(random, normed) else []
        layers += [f'ff.Activation("{drawn.activation(random, NAMES)}")', "ff.Flatten()"]
    else:
        shape = (int(random.integers(1, 30)),)
    for place in range(int(random.integers(0 if image else 1, 4))):
        layers.append(f"ff.Dense({random.integers(3, 30)})")
        layers += [norm(random)] if chance(random, 1.0 if normed and not place and not image else normed) else []
        layers.append(f'ff.Activation("{drawn.activation(random, NAMES)}")')
    layers.append(f"ff.Dense({random.integers(1, 6)})")
    return on_inputs(random, f"ff.Network({shape}, [{', '.join(layers)}])", shape)


def on_inputs(random: Random, net: str, shape: tuple[int, ...]) -> str:
    n = int(random.integers(2, 40))
    kind = random.random()
    offset = 0.0 if kind < 0.3 else float(10 ** int(random.integers(0, 10))) if kind < 0.7 else decades(random, 0, 12)
    scale = 1.0 if chance(random, 0.7) else decades(random, -6, 6)
    x = f"inputs({(n, *shape)}, {random.integers(1000)}, {scale!r})"
    words = f"statistics={pick(random, ('exact', 'exact', 'exact', 'mean_only', 'frozen', 'variance_only'))!r}"
    words += f", loss={pick(random, ('sum', 'sum', 'mean', 'mse'))!r}"
    words += ", biases=False" if chance(random, 0.2) else ""
    words += ", offset=" + repr(offset) if offset else ""
    return f"arguments(ff.sample({net}, {random.integers(1000)}), {x}, {words})"


def takes_the_mean_away(net: Any) -> bool:
    """A BatchNorm behind the first layer, which sees all of an offset: no padding."""
    first, second, *_ = (*net.layers, None)
    return first.affine and isinstance(second, ff.BatchNorm) and not np.any(getattr(first, "padding", 0))


def noisy(net: Any) -> bool:
    """Dropout's masks go with the place of a sample, and the reference draws its own."""
    return any(isinstance(layer, ff.Dropout) for layer in graphs.of_all(net))


# Of lambda_max, besides the errors stated: products with J sum a few hundred terms.
ROUNDING = 1e-11


def check(text: str) -> Broken:
    """lambda_max does not change by more than the stated errors under an offset of the inputs before a BatchNorm, by
    the method, or by the order of samples; all eigenvalues sum to the trace and to F* entry by entry."""
    question = outcome(evaluate, text)
    if isinstance(question, Refused):
        yield "a network and inputs", repr(question)
        return
    (network, x), settings = question
    warnings.filterwarnings("ignore", message="cancellation")  # said beside error bars, which are looked at
    offset = settings.pop("offset", 0.0)
    moved = x + offset
    x = moved - offset  # what of x is left: with the offset exactly `moved`
    if not np.array_equal(x + offset, moved):
        return
    dense = outcome(ff.sampled_fisher, network, x, method="dense", **settings)
    lanczos = outcome(ff.sampled_fisher, network, x, method="lanczos", **settings)
    if isinstance(dense, Refused) or isinstance(lanczos, Refused):
        both = isinstance(dense, Refused) and isinstance(lanczos, Refused)
        if not both or not is_sentence(dense):
            yield f"both methods to give a value or to refuse it: dense {brief(dense)}", f"lanczos {brief(lanczos)}"
        return
    yield from agree("by Lanczos", dense, lanczos, unresolved(network, x, settings))
    yield from whole(network, x, settings, dense)
    if not noisy(network.net):
        order = np.random.default_rng(0).permutation(len(x))
        other = outcome(ff.sampled_fisher, network, x[order], **settings)
        yield from agree("of samples in another order", dense, other)
    if not offset:
        return
    invariant = takes_the_mean_away(network.net) and settings["statistics"] in ("exact", "mean_only")
    for method in ("dense", "lanczos"):
        there = outcome(ff.sampled_fisher, network, moved, method=method, **settings)
        if isinstance(there, Refused):
            if not is_sentence(there, (ValueError, RuntimeError)):  # no method mends what rounding has taken
                yield "a value or one sentence", repr(there)
        elif invariant:
            yield from agree(f"by {method} of inputs + {offset!r}", dense, there)


def unresolved(network: Any, x: Any, settings: dict[str, Any]) -> float:
    """The distance of the two largest eigenvalues where Lanczos' method may take them for one: within its tolerance."""
    both = outcome(ff.sampled_fisher, network, x, k=2, method="dense", **settings)
    if isinstance(both, Refused):  # one alone
        return 0.0
    apart = float(both.eigenvalues[0] - both.eigenvalues[1])
    return apart if apart <= 1e-6 * both.lambda_max else 0.0


def agree(what: str, one: Any, other: Any, apart: float = 0.0) -> Broken:
    if isinstance(other, Refused):
        yield f"lambda_max {one.lambda_max!r} {what}", repr(other)
        return
    x, y = one.lambda_max, other.lambda_max
    allowed = float(one.errors[0]) + float(other.errors[0]) + ROUNDING * max(x, y) + apart
    if not abs(x - y) <= allowed:
        yield f"lambda_max {x!r} +- {one.errors[0]:.2g} {what}", f"{y!r} +- {other.errors[0]:.2g}"


def whole(network: Any, x: Any, settings: dict[str, Any], dense: Any) -> Broken:
    """All eigenvalues at once, their sum, and the matrix."""
    result = outcome(ff.sampled_fisher, network, x, k="all", **settings)
    moments = outcome(ff.sampled_moments, network, x, method="dense", **settings)
    for each in (result, moments):
        if isinstance(each, Refused):
            yield "a value", repr(each)
            return
    yield from agree("among all", dense, result)
    trace, square = float(np.sum(result.eigenvalues)), float(np.sum(result.eigenvalues**2))
    slack = 1e-11 * result.lambda_max * len(result.eigenvalues)
    if not abs(trace - moments.trace) <= slack or not abs(square - moments.square) <= slack * result.lambda_max:
        yield f"the trace of F* and of its square, {moments.trace!r}, {moments.square!r}", f"{trace!r}, {square!r}"
    # The same as `dual`, which is written out sample by sample.
    if len(result.eigenvalues) <= 40 and not noisy(network.net):
        statistics, loss = settings["statistics"], settings["loss"]
        dual = outcome(ff.reference.sampled._dual, network, x, 0, statistics, loss, settings.get("biases", True))
        if isinstance(dual, Refused):
            yield "the reference's F*", repr(dual)
            return
        top = float(np.linalg.eigvalsh(dual)[-1])
        if not abs(top - dense.lambda_max) <= 1e-9 * max(abs(top), dense.lambda_max) + float(dense.errors[0]):
            yield f"lambda_max {top!r} of the reference", f"{dense.lambda_max!r} +- {dense.errors[0]:.2g}"


def brief(each: Any) -> str:
    return repr(each) if isinstance(each, Refused) else f"{each.lambda_max!r} +- {each.errors[0]:.2g}"
