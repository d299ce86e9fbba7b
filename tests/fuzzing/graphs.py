# SPDX-License-Identifier: BSD-3-Clause
"""Networks of all kinds of layers as Python source, in any order that they allow: sums of branches, norms over units,
noise, layers without biases, groups, far taps, lines, padded pools, and gamma and beta of few units each.

Layers are proposed one after the other, and those that a network refuses where they would stand are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import fisherfield as ff

from . import drawn
from .drawn import Random, chance, pick
from .tools import Refused, evaluate, outcome

Shape = tuple[int, ...]


class Kinds(NamedTuple):
    """What is drawn: names of activations, the largest side of an image, widths, whether gamma is near 1, and whether
    all has a closed recursion."""

    names: Sequence[str]
    side: int
    width: Callable[[Random], int]
    ordinary: bool = False
    noise: bool = True
    closed: bool = True


def draw(random: Random, kinds: Kinds) -> str:
    image = chance(random, 0.5)
    sizes = [int(random.integers(1, kinds.side + 1)) for _ in range(2)] if image else []
    if image and chance(random, 0.2):
        sizes[0] = 1
    shape = (drawn.whole(random, 1, 30), *sizes)
    layers: list[str] = []
    at = shape
    for _ in range(int(random.integers(4, 15))):
        layers, at = extended(random, shape, layers, at, kinds)
    return network(shape, [*layers, *(["ff.Flatten()"] if len(at) == 3 else []), affine(random, (1,), kinds)])


def network(shape: Shape, layers: Sequence[str]) -> str:
    return f"ff.Network({shape}, [{', '.join(layers)}])"


def extended(random: Random, start: Shape, layers: list[str], at: Shape, kinds: Kinds) -> tuple[list[str], Shape]:
    """With one more layer where it may stand; and the shape behind it."""
    image = (flat, pool, pool) if len(at) == 3 else ()
    image += (largest, largest, depthwise) if len(at) == 3 and not kinds.closed else ()
    text = pick(random, (*[activation, norm, over_units, residual] * 2, activation, affine, affine, *image))
    proposed = (noise if kinds.noise and chance(random, 0.04) else text)(random, at, kinds)
    layer = outcome(evaluate, proposed)
    after = at if isinstance(layer, Refused) else outcome(layer.shape_of, at)
    if isinstance(layer, Refused) or isinstance(after, Refused) or max((1, *after[1:])) > kinds.side + 1:
        return layers, at
    ends = ["ff.Flatten()", "ff.Dense(1)"] if len(after) == 3 else ["ff.Dense(1)"]
    whole = outcome(evaluate, network(start, [*layers, proposed, *ends]))
    refused = isinstance(whole, Refused) or (kinds.closed and whole.without_recursion)
    return (layers, at) if refused else ([*layers, proposed], after)


# ---------------------------------------------------------------------------------------------------- layers
def activation(random: Random, shape: Shape, kinds: Kinds) -> str:
    return f'ff.Activation("{drawn.activation(random, kinds.names)}")'


def affine(random: Random, shape: Shape, kinds: Kinds, width: int | None = None) -> str:
    """Of so many units; `width` stands for one that keeps the size of an image, too."""
    same = width is not None
    units = width or kinds.width(random)
    numbers = f"sigma_w2={drawn.variance(random, 0.95)!r}"
    numbers += ", bias=False" if chance(random, 0.25) else f", sigma_b2={drawn.variance(random, 0.95)!r}"
    if len(shape) == 1:
        return f"ff.Dense({units}, {numbers})"
    common = [g for g in divisors(shape[0]) if g < shape[0] and units % g == 0]
    if common and chance(random, 0.3):
        numbers += f", groups={pick(random, common)}"
    if same:
        return f"ff.Conv2d({units}, {pick(random, ('1', '3, 1, 1'))}, {numbers})"
    numbers += ", dilation=2" if chance(random, 0.2) else ""
    kernel, stride, padding = (int(random.integers(*ends)) for ends in ((1, 4), (1, 3), (0, 3)))
    kind = "Conv1d" if shape[1] == 1 and chance(random, 0.5) else "Conv2d"
    return f"ff.{kind}({units}, {kernel}, {stride}, {padding}, {numbers})"


def divisors(count: int) -> list[int]:
    """Those up to 64."""
    return [g for g in range(1, min(count, 64) + 1) if count % g == 0]


def scale(random: Random, kinds: Kinds) -> tuple[float, float]:
    if kinds.ordinary:
        return pick(random, (1.0, 0.5, -2.0)), pick(random, (0.0, 0.3))
    return drawn.gamma(random), drawn.beta(random)


def gamma_and_beta(random: Random, count: int, kinds: Kinds) -> tuple[str, str]:
    """One number, or one for each of few units."""
    gamma, beta = scale(random, kinds)
    if not 1 < count < 9 or chance(random, 0.7):
        return repr(gamma), repr(beta)
    other = scale(random, kinds)
    gammas, betas = ([pick(random, pair) for _ in range(count)] for pair in zip((gamma, beta), other, strict=True))
    return repr(gammas), repr(betas) if chance(random, 0.5) else repr(beta)


def norm(random: Random, shape: Shape, kinds: Kinds) -> str:
    gamma, beta = gamma_and_beta(random, shape[0], kinds)
    return f"ff.BatchNorm({gamma}, {beta}, {eps(random, kinds)!r}, {chance(random, 0.3)})"


def over_units(random: Random, shape: Shape, kinds: Kinds) -> str:
    kind = pick(random, ("LayerNorm", "GroupNorm", "RMSNorm"))
    gamma, beta = gamma_and_beta(random, shape[0] if kind == "GroupNorm" or len(shape) == 1 else 1, kinds)
    words = f"{gamma}, {beta}" if kind != "RMSNorm" else gamma
    groups = f"{pick(random, divisors(shape[0]))}, "
    numbers = f"{words}, {eps(random, kinds)!r}, {chance(random, 0.3)}"
    return f"ff.{kind}({groups if kind == 'GroupNorm' else ''}{numbers})"


def eps(random: Random, kinds: Kinds) -> float:
    return float(pick(random, (0.0, 1e-5, 0.1))) if kinds.ordinary else drawn.eps(random)


def noise(random: Random, shape: Shape, kinds: Kinds) -> str:
    return f"ff.Dropout({pick(random, (0.0, 0.1, 0.5, 0.9))})"


def flat(random: Random, shape: Shape, kinds: Kinds) -> str:
    return "ff.Flatten()"


def pool(random: Random, shape: Shape, kinds: Kinds) -> str:
    if chance(random, 0.2):
        return "ff.GlobalAvgPool2d()"
    padding = int(random.integers(0, 2))
    return f"ff.AvgPool2d({random.integers(2, 4)}, {random.integers(1, 3)}, {padding})"


def largest(random: Random, shape: Shape, kinds: Kinds) -> str:
    padding = int(random.integers(0, 2))
    return f"ff.MaxPool2d({random.integers(2, 4)}, {random.integers(1, 3)}, {padding})"


def depthwise(random: Random, shape: Shape, kinds: Kinds) -> str:
    sigma_w2 = drawn.variance(random, 0.95)
    return f"ff.Conv2d({shape[0] * int(random.integers(1, 3))}, 3, 1, 1, sigma_w2={sigma_w2!r}, groups={shape[0]})"


def without_parameters(random: Random, shape: Shape, kinds: Kinds) -> str:
    """A skip that changes an image's shape, and a branch that ends with the same."""
    channels = shape[0] + int(random.integers(0, 5))
    branch = [proposal(random, shape, kinds) for _ in range(int(random.integers(0, 3)))]
    branch.append(f"ff.Conv2d({channels}, 3, 2, 1)")
    return f"ff.Residual([{', '.join(branch)}], [ff.Subsample({channels})])"


def residual(random: Random, shape: Shape, kinds: Kinds) -> str:
    """A skip that is what comes in, or weights of it; now and then with a norm behind."""
    if not kinds.closed and len(shape) == 3 and chance(random, 0.3):
        return without_parameters(random, shape, kinds)
    projected = chance(random, 0.5)
    width = kinds.width(random) if projected else shape[0]
    branch = [proposal(random, shape, kinds) for _ in range(int(random.integers(0, 3)))]
    branch.append(affine(random, shape, kinds, width))
    skip = [affine(random, shape, kinds, width)] if projected else []
    after = (width, *shape[1:])
    for layers in (branch, skip):
        if chance(random, 0.3):
            layers.append(pick(random, (norm, over_units))(random, after, kinds))
    factor = pick(random, (1.0, 1.0, 0.5, -1.5, 0.0, drawn.decades(random, -3, 1)))
    return f"ff.Residual([{', '.join(branch)}], [{', '.join(skip)}], {factor!r})"


def proposal(random: Random, shape: Shape, kinds: Kinds) -> str:
    """A layer of a branch, of which shapes stay what they are."""
    return str(pick(random, (activation, activation, norm, over_units))(random, shape, kinds))


def of_all(net: Any) -> list[Any]:
    """Layers, and those in branches."""
    return [leaf for layer in net.layers for leaf in layer.leaves()]


SUMS_AND_NORMS = (ff.Residual, ff.LayerNorm, ff.GroupNorm, ff.RMSNorm, ff.Dropout)


def is_chain(net: Any) -> bool:
    """Without sums, norms over units and noise, and with one gamma and one beta a norm."""
    each = [leaf for leaf in of_all(net) if isinstance(leaf, SUMS_AND_NORMS) or getattr(leaf, "of_each", False)]
    return not each
