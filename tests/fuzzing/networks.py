# SPDX-License-Identifier: BSD-3-Clause
"""Random networks: laws that every spectrum obeys, and the reference.

Cases are the arguments of `fisherfield.fisher`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

import fisherfield as ff

from . import drawn, graphs
from .drawn import Random, chance, pick
from .tools import Refused, evaluate, is_sentence, near, outcome

NUMBERS = ("lambda_max", "bulk", "mean", "second_moment", "a", "b")
EDGE_OPEN = 8  # the status of a point whose edge may rule
BEYOND = "beyond the range of float64"
LOSSES = {"sum": lambda outputs: 1.0, "mean": lambda outputs: 1 / outputs, "mse": lambda outputs: 2 / outputs}
Broken = Iterator[tuple[str, str]]


# What scans have, and what the laws are of: the infinite width's. `edged` and tests/test_edge.py look at the edge.
# Units, whose numbers have a sampling error, are drawn where there is no other way.
def recursive(function: Any, **keywords: Any) -> Any:
    def call(net: Any, *arguments: Any, **settings: Any) -> Any:
        settings.setdefault("units", "auto" if net.without_recursion else None)
        return function(net, *arguments, **keywords, **settings)

    return call


fisher, slow_fisher = recursive(ff.fisher, edge=False), recursive(ff.reference.fisher, edge=False)
max_learning_rate = recursive(ff.max_learning_rate, edge=False)
order_parameters, slow_order_parameters = recursive(ff.order_parameters), recursive(ff.reference.order_parameters)


def draw(random: Random) -> str:
    kind = random.random()
    if kind < 0.72:
        net = drawn.dense(random, (*drawn.NAMES, *drawn.WITH_PARAMETER, *drawn.WITH_PARAMETER), 60)
    elif kind < 0.92:
        net = drawn.convolutional(random, (*drawn.RAYS, *drawn.WAVES, "step", "sign", "erf", "leaky_relu"), 3)
    else:
        net = drawn.convolutional(random, (*drawn.NAMES, *drawn.SMOOTH, *drawn.WITH_PARAMETER), 2)
    return f"arguments({net}, {drawn.data(random)})"


def draw_graph(random: Random) -> str:
    """All kinds of layers, which the published recursion has not."""
    names = (*drawn.RAYS, *drawn.WAVES, "step", "sign", "erf", "leaky_relu")
    names = names if chance(random, 0.8) else (*drawn.NAMES, *drawn.WITH_PARAMETER)
    with drawn.mildly() if chance(random, 0.5) else nullcontext():
        net = graphs.draw(random, graphs.Kinds(names, 3, drawn.units, chance(random, 0.5)))
        return f"arguments({net}, {drawn.data(random).replace('wei2019', 'frozen')})"


# ---------------------------------------------------------------------------------------------------- laws
def check(text: str) -> Broken:
    """finite numbers or one sentence; bulk >= 0, mean <= lambda_max, mean^2 <= second_moment <= lambda_max mean; parts
    of layers sum to a and b; gamma and -gamma, beta and -beta for odd and even activations, `scan`, `max_learning_rate`
    and `replace` agree; the edge of the bulk raises lambda_max; (E phi')^2 <= Var phi/g^2 <= E phi'^2."""
    question = outcome(evaluate, text)
    if isinstance(question, Refused):
        yield "a network", repr(question)
        return
    (net,), settings = question
    result = outcome(fisher, net, **settings)
    if isinstance(result, Refused):
        if not is_sentence(result):
            yield "numbers, or a ValueError of one sentence", repr(result)
        yield from refused_alike(net, settings, result)
        return
    values = [getattr(result, name) for name in NUMBERS]
    beyond = BEYOND in result.reason
    if any(math.isnan(value) for value in values) or (not beyond and not all(map(math.isfinite, values))):
        yield "finite numbers", shown(result)
        return
    if not all(result.mean >= 0 and value >= 0 for value in (result.lambda_max, result.bulk, result.second_moment)):
        yield "bulk, mean, second_moment and lambda_max >= 0", shown(result)
    if not beyond:
        if not few_of_images(net, result):
            yield from moments(result)
        if not images(net) or ordinary(net, settings):
            yield from sums(result)
    yield from mirrored(net, settings, result)
    yield from scanned(net, settings, result)
    yield from learning_rates(net, settings, result)
    yield from replaced(net, settings, result)
    yield from variances(net, settings)
    yield from edged(net, settings, result)


def edged(net: Any, settings: dict[str, Any], without: Any) -> Broken:
    """lambda_max with the bulk's edge is no less than without, and finite where that is."""
    result = outcome(recursive(ff.fisher), net, **settings)
    if isinstance(result, Refused):
        yield "numbers with the edge, too", repr(result)
    elif not without.lambda_max <= result.lambda_max or math.isinf(result.lambda_max) > math.isinf(without.lambda_max):
        yield f"a finite lambda_max >= {without.lambda_max!r} with the edge", shown(result)
    elif isinstance(end := outcome(getattr, result, "edge"), Refused) or (end is not None and not end >= 0):
        yield "an edge >= 0 or None", repr(end)
    elif BEYOND not in result.reason and result.drawing is None:  # a scan draws no units
        yield from scanned_with_edge(net, settings, result)


def scanned_with_edge(net: Any, settings: dict[str, Any], result: Any) -> Broken:
    """`scan(edge=True)` is `fisher`, and where a scan without it says ok, it is, too."""
    rest = {name: value for name, value in settings.items() if name != "samples"}
    for edge in (True, False):
        scan = outcome(ff.scan, net, {"samples": [settings.get("samples")]}, edge=edge, **rest)
        if isinstance(scan, Refused):
            yield "a scan of one point", repr(scan)
        elif (edge or scan.status[0] == 0) and not near(result.lambda_max, float(scan.lambda_max[0]), 1e-12):
            yield f"lambda_max = {result.lambda_max!r} in a scan, edge={edge}", repr(float(scan.lambda_max[0]))


def shown(result: Any) -> str:
    return ", ".join(f"{name} {getattr(result, name)!r}" for name in NUMBERS)


# The three numbers are sums of the same few terms, each rounded a few times.
ROUNDING = 1e-12


def moments(result: Any) -> Broken:
    """The mean of a distribution on [0, lambda_max] does not exceed lambda_max, and so on."""
    if not result.mean <= result.lambda_max * (1 + ROUNDING):
        yield f"mean <= lambda_max = {result.lambda_max!r}", f"mean {result.mean!r}"
    square = result.mean * result.mean
    if math.isfinite(square) and not square <= result.second_moment * (1 + ROUNDING) + 1e-300:
        yield f"mean^2 = {square!r} <= second_moment", f"second_moment {result.second_moment!r}"
    most = result.lambda_max * result.mean
    if math.isfinite(most) and not result.second_moment <= most * (1 + ROUNDING) + 1e-300:
        yield f"second_moment <= lambda_max mean = {most!r}", f"second_moment {result.second_moment!r}"


# Of a: a source's way through the layers is rounded as the others' are, in another order. 60 layers of closed forms
# and of integrals to 1e-12 of E|integrand|, which is what tests/test_scan.py allows a dozen of.
PARTS = 1e-11


def images(net: Any) -> bool:
    return len(net.input_shape) == 3


def few_of_images(net: Any, result: Any) -> bool:
    """Images under exact BatchNorm lack terms of order 1/n, as their result says: at n = 2 and 3 these are as large as
    what is there, and b may lie below -a/(n - 1), which no kernel has."""
    return images(net) and bool(net.batch_norms) and result.theory == "exact" and (result.samples or 4) < 4


def ordinary(net: Any, settings: dict[str, Any]) -> bool:
    """Images' BatchNorm takes means from overlaps: where the variance is far below them, so are digits."""
    return (
        settings.get("overlap", 0.0) <= 0.9 * settings.get("length", 1.0)
        and 0.1 <= settings.get("length", 1.0) <= 10
        and all(layer.sigma_w2 >= 1e-2 and layer.sigma_b2 <= 10 for layer in net.affine_layers)
        and all(map(ordinary_norm, graphs.of_all(net)))
    )


def ordinary_norm(layer: Any) -> bool:
    gammas, betas = (np.abs(np.atleast_1d(getattr(layer, name, 1.0))) for name in ("gamma", "beta"))
    return all(gammas >= 0.1) and all(gammas <= 10) and all(betas <= 3) and getattr(layer, "eps", 0.0) <= 1


def sums(result: Any) -> Broken:
    layers = outcome(lambda: result.layers)
    if isinstance(layers, Refused):
        yield "Fisher.layers", repr(layers)
        return
    for name, parts, whole in (("a", layers.a, result.a), ("b", layers.b, result.b)):
        total = math.fsum(parts)
        if not near(total, whole, PARTS, max(result.a, max(map(abs, parts)))):
            yield f"layers.{name} that sum to {name} = {whole!r}", f"{total!r} of {parts.tolist()}"


def compared(what: str, result: Any, other: Any, rel: float, numbers: tuple[str, ...] = NUMBERS) -> Broken:
    """Equal to `rel`: b to that of a, as differences are formed; bulk and moments of themselves and 0.1 of a's."""
    if isinstance(other, Refused):
        yield f"the same number, {what}", repr(other)
        return
    if BEYOND in result.reason or BEYOND in other.reason:
        return
    for name in numbers:
        x, y = getattr(result, name), getattr(other, name)
        size = result.a if name in ("b", "bulk") else 0.0
        tolerance = 2 * rel if name == "second_moment" else rel
        if not near(x, y, tolerance, size if name == "b" else 0.1 * size):
            yield f"{name} = {x!r}, {what}", repr(y)


def refused_alike(net: Any, settings: dict[str, Any], result: Refused) -> Broken:
    """What `fisher` refuses, the others do, too."""
    for other in (
        outcome(max_learning_rate, net, **settings),
        outcome(order_parameters, net, **of_kernel(settings)),
    ):
        if not isinstance(other, Refused) and "samples" not in result.words:
            yield f"the refusal of fisher, {result!r}", type(other).__name__
        elif isinstance(other, Refused) and not is_sentence(other):
            yield "one sentence", repr(other)


def of_kernel(settings: dict[str, Any]) -> dict[str, Any]:
    return dict(settings)


def changed(net: Any, change: Any) -> Any:
    return ff.Network(net.input_shape, [layer.mapped(change) for layer in net.layers])


# The same operations on numbers of another sign: only integrals of the other side of an activation may round otherwise.
MIRROR = 1e-10
# Of jumps behind two windows whose variances differ, 1 - c is formed from overlaps: its root is good to that of eps.
MIRRORED_JUMPS = 1e-8


def mirrored(net: Any, settings: dict[str, Any], result: Any) -> Broken:
    if not net.batch_norms:
        return

    def turned(word: str) -> Any:
        return changed(
            net,
            lambda layer: (
                replace(layer, **{word: (-np.array(getattr(layer, word))).tolist()})
                if isinstance(layer, ff.BatchNorm)
                else layer
            ),
        )

    yield from compared("for -gamma", result, outcome(fisher, turned("gamma"), **settings), MIRROR)
    symmetric = all(
        layer.function in (*drawn.ODD, *drawn.EVEN) or layer.function in ("monomial", "hermite")
        for layer in net.layers
        if isinstance(layer, ff.Activation)
    )
    if symmetric and graphs.is_chain(net) and any(norm.beta for norm in net.batch_norms):
        what = "for -beta of odd and even activations"
        jumps = images(net) and any(getattr(layer, "function", "") in JUMPS for layer in net.layers)
        rel = MIRRORED_JUMPS if jumps else MIRROR
        yield from compared(what, result, outcome(fisher, turned("beta"), **settings), rel)


def scanned(net: Any, settings: dict[str, Any], result: Any) -> Broken:
    """`scan` says that its numbers are those of the single functions to rounding; tests/test_scan.py: 1e-12."""
    rest = {name: value for name, value in settings.items() if name != "samples"}
    axes = {"samples": [settings.get("samples")]}
    scan = outcome(ff.scan, net, axes, (*NUMBERS, "multiplicity"), **rest)
    if isinstance(scan, Refused):
        yield "a scan of one point", repr(scan)
        return
    if int(scan.status[0]) not in (0, 1, EDGE_OPEN) and BEYOND not in result.reason:
        yield f"the point of fisher, {shown(result)}", repr(scan.failures)
        return
    if BEYOND in result.reason:
        return
    for name in NUMBERS:
        x, y = getattr(result, name), float(scan[name][0])
        size = 0.1 * result.a if name == "bulk" else result.a if name == "b" else 0.0
        if not near(x, y, 1e-12, size):
            yield f"{name} = {x!r} in a scan", repr(y)
    if not near(float(result.multiplicity), float(scan["multiplicity"][0]), 1e-15):  # beyond 2^53 a scan rounds P
        yield f"multiplicity = {result.multiplicity} in a scan", repr(float(scan["multiplicity"][0]))


def learning_rates(net: Any, settings: dict[str, Any], result: Any) -> Broken:
    number = (result.parameters + net.depth) % 3
    for loss, factor in list(LOSSES.items())[number : number + 1]:
        momentum = (0.0, 0.9, 0.5)[number]
        eta = outcome(max_learning_rate, net, momentum, loss=loss, **settings)
        if isinstance(eta, Refused):
            yield f"a learning rate for loss {loss}", repr(eta)
            return
        if math.isnan(eta) or not eta >= 0:
            yield "a learning rate >= 0", repr(float(eta))
        if BEYOND in result.reason or result.lambda_max == 0.0:
            continue
        expected = 2 * (1 + momentum) / (factor(net.outputs) * result.lambda_max)
        if 1e-300 < expected < 1e300 and not near(float(eta), expected, 1e-13):  # two divisions
            yield f"2 (1 + {momentum})/lambda_max = {expected!r} for loss {loss}", repr(float(eta))


def replaced(net: Any, settings: dict[str, Any], result: Any) -> Broken:
    """A copy gives the same bits; without BatchNorm all theories are one."""
    own = {"sigma_w2": [layer.sigma_w2 for layer in net.affine_layers]}
    if biased := [layer.sigma_b2 for layer in net.affine_layers if layer.bias]:
        own["sigma_b2"] = biased
    same = net.replace(**own)
    if same != net:
        yield "a network replaced by its own values to be equal", repr(same)
    vanilla = outcome(net.replace, batch_norm=False)
    if isinstance(vanilla, Refused):
        yield "a network without BatchNorm", repr(vanilla)
        return
    rest = {**settings, "biases": result.biases}
    published = not any(leaf.unpublished for leaf in graphs.of_all(net))
    by_theory = [
        outcome(fisher, vanilla, **{**rest, "theory": theory})
        for theory in (("exact", "frozen") if images(net) or not published else ("exact", "frozen", "wei2019"))
    ]
    if any(isinstance(each, Refused) for each in by_theory):
        if not all(isinstance(each, Refused) and is_sentence(each) for each in by_theory):
            yield "one answer of all theories without BatchNorm", repr(by_theory)
        return
    for other in by_theory[1:]:
        if [getattr(other, name) for name in NUMBERS] != [getattr(by_theory[0], name) for name in NUMBERS]:
            yield f"{shown(by_theory[0])} without BatchNorm", f"{other.theory}: {shown(other)}"
    if net.batch_norms and BEYOND not in by_theory[0].reason:
        yield from moments(by_theory[0])


# Jumps have no slope to be bounded by.
JUMPS = ("step", "sign")
# Of the variance, besides what the slopes' integrals state: 1e-12 of each integral, and what two layers round.
VARIANCE = 1e-10


def variances(net: Any, settings: dict[str, Any]) -> Broken:
    """g^2 (E phi')^2 <= Var phi(g u + beta) <= g^2 E phi'^2, by the first Hermite coefficient and by Poincare."""
    if images(net) or not graphs.is_chain(net) or not any(norm.beta for norm in net.batch_norms):
        return
    settings = {**{name: settings[name] for name in settings if name != "samples"}, "theory": "frozen"}
    if settings.get("overlap", 0.0) < 0:
        settings["overlap"] = 0.0
    rows = outcome(order_parameters, net, **settings)
    if isinstance(rows, Refused):
        if not is_sentence(rows):
            yield "order parameters, or one sentence", repr(rows)
        return
    for name in ("q", "q_xy", "v", "theta", "d", "v_hat"):
        column = getattr(rows, name)
        if not rows.reason and not all(map(math.isfinite, column)):
            yield f"order parameters {name} that are finite", repr(column.tolist())
            return
    for name in ("v", "v_hat", "d"):
        if not all(value >= 0 for value in getattr(rows, name)):
            yield f"order parameters {name} >= 0", repr(getattr(rows, name).tolist())
    place = -1
    for at, layer in enumerate(net.layers):
        place += isinstance(layer, ff.Dense)
        phi = net.layers[at + 1] if at + 1 < len(net.layers) else None
        if not isinstance(layer, ff.BatchNorm) or not isinstance(phi, ff.Activation) or place + 1 >= len(rows):
            continue
        named = phi.function in JUMPS or (phi.function == "rectified_monomial" and phi.n == 0)
        v = float(rows.v[place])
        s2 = v + layer.eps
        if named or not 1e-290 < v < 1e290 or s2 == 0:
            continue
        g2 = v / s2 * layer.gamma**2
        if not 1e-90 < g2 < 1e90:
            continue
        low = outcome(ff.gaussian.slope_mean, phi, g2, layer.beta, error=True)
        high = outcome(ff.gaussian.slope_second_moment, phi, g2, layer.beta, error=True)
        if isinstance(low, Refused) or isinstance(high, Refused):
            continue  # the part gaussian looks at these
        (low, low_error), (high, high_error) = map(float, low), map(float, high)
        if not low < 1e100:
            continue
        least = g2 * max(abs(low) - low_error, 0.0) ** 2 * (1 - VARIANCE)
        most = g2 * (high + high_error) * (1 + VARIANCE)
        value = float(rows.v_hat[place + 1])
        if math.isfinite(most) and most < 1e290 and not (least <= value + 1e-290 and value <= most + 1e-290):
            yield f"Var phi from {least!r} to {most!r} at g^2 = {g2!r}, beta = {layer.beta!r} of {phi}", repr(value)


# ---------------------------------------------------------------------------------------------------- the reference
CHEAP = (*drawn.RAYS, "step", "sign", "sin", "cos", "rbf", "gaussian", "erf", "leaky_relu", "monomial", "hermite")
PLAIN = (*drawn.RAYS, "step", "sign", "sin", "erf", "leaky_relu")  # of two arguments, too
ONE = (*drawn.KINKED, *drawn.SMOOTH, "elu", "celu", "polynomial", "rectified_monomial", "softsign")


def draw_cheap(random: Random) -> str:
    """Networks whose integrals the reference has in closed form, or few of the others; numbers that it is made for.

    Its range is q in [1e-3, 1e3], and tiny gamma under a beta.
    """
    with drawn.mildly():
        kind = random.random()
        if kind < 0.008:
            return centred(random)
        if kind < 0.08:
            return closed(random)
        if kind < 0.55:
            net = drawn.dense(random, CHEAP, 12, PLAIN)
        elif kind < 0.85:
            net = drawn.convolutional(random, (*drawn.RAYS, "step", "step", "sign", "erf", "sin", "leaky_relu"), 3)
        else:
            w = drawn.units(random)
            norms = [drawn.norm(random), drawn.norm(random)][: 1 + chance(random, 0.3)]
            layers = [f'ff.Dense({w}), {norm}, ff.Activation("{drawn.activation(random, ONE)}")' for norm in norms]
            net = f"ff.Network({drawn.units(random)}, [{', '.join(layers)}, ff.Dense({drawn.whole(random, 1, 20)})])"
        return f"arguments({net}, {drawn.data(random)})"


def draw_cheap_graph(random: Random) -> str:
    """All kinds of layers; images with ordinary norms, as others are not compared."""
    with drawn.mildly():
        names = PLAIN if chance(random, 0.8) else CHEAP
        net = graphs.draw(
            random, graphs.Kinds(names, 3, lambda random: drawn.whole(random, 1, 400), chance(random, 0.6))
        )
        return f"arguments({net}, {drawn.data(random).replace('wei2019', 'frozen')})"


def centred(random: Random) -> str:
    """Odd activations without biases, where nothing stands out of the bulk of infinite data but rounding."""
    phi = pick(random, ("tanh", "hardtanh", "monomial(3)", "hermite(3)", "hermite(5)", "erf", "erf"))
    layer = f'ff.Dense({drawn.units(random)}, {drawn.variance(random)!r}, 0.0), ff.Activation("{phi}")'
    net = f"ff.Network({drawn.units(random)}, [{layer}, ff.Dense({drawn.whole(random, 1, 20)}, 1.0, 0.0)])"
    return f"arguments({net}, theory={pick(random, ('exact', 'frozen', 'wei2019'))!r}, biases=False)"


def closed(random: Random) -> str:
    """The exact form for finite batches, up to as many samples as float64 counts."""
    hidden = int(random.integers(1, 4))
    phi = drawn.activation(random, ("linear", "relu", "abs", "leaky_relu"))
    w = drawn.units(random)
    layer = f'ff.Dense({w}), ff.BatchNorm({drawn.gamma(random)!r}), ff.Activation("{phi}")'
    net = f"ff.Network({drawn.units(random)}, [{', '.join([layer] * hidden)}, ff.Dense(3)])"
    words = ", biases=False" if chance(random, 0.5) else ""
    return f"arguments({net}, theory='exact', samples={drawn.whole(random, 4, 2**53)}{words})"


# Of a: a dozen layers' roundings and the reference's integrals to 1e-11, as in tests/test_scan.py.
REFERENCE = 1e-10
# Of d = a - b: the same, and what is left of a's rounding where d is formed by the reference's subtractions.
DIFFERENCE = 1e-8


def check_reference(text: str) -> Broken:
    """core and reference agree: a, b, bulk, moments, multiplicity, refusals, and the lengths of every layer."""
    question = outcome(evaluate, text)
    if isinstance(question, Refused):
        yield "a network", repr(question)
        return
    (net,), settings = question
    if images(net) and net.batch_norms and not ordinary(net, settings):
        return
    with np.errstate(all="ignore"):
        result = outcome(fisher, net, **settings)
        slow = outcome(slow_fisher, net, **settings)
    if isinstance(slow, Refused) or isinstance(result, Refused):
        alike = all(isinstance(each, Refused) and isinstance(each.error, ValueError) for each in (slow, result))
        if not alike and not beyond_float64(net, settings, slow):
            yield f"core and reference alike; reference: {brief(slow)}", brief(result)
        return
    if BEYOND in result.reason or far_from_reference(net, settings):
        return
    if images(net) and net.batch_norms and result.a == 0.0 and abs(slow.a) < 1e-12:
        return  # pooled over all positions, nothing is left behind a BatchNorm but the reference's rounding
    for name in ("a", "mean"):
        x, y = float(getattr(slow, name)), getattr(result, name)
        if not near(x, y, REFERENCE):
            if not below_float64(net, settings):
                yield f"{name} = {x!r} of the reference", repr(y)
            return
    size = result.a
    if not images(net) and result.theory == "exact" and result.samples and net._facts.closed and net.batch_norms:
        size = float(np.sum(np.abs(slow.layers.b)))  # terms of products, with nothing taken from another
    if not near(slow.b, result.b, REFERENCE, size):
        yield f"b = {slow.b!r} of the reference", repr(result.b)
    if not near(slow.bulk, result.bulk, DIFFERENCE, 1e-3 * result.a / (result.samples or 1)):
        yield f"bulk = {slow.bulk!r} of the reference", repr(result.bulk)
    if slow.regime == result.regime and float(slow.multiplicity) != float(result.multiplicity):  # beyond 2^53 a float64
        yield f"multiplicity {slow.multiplicity} of the reference", repr(result.multiplicity)
    for name in ("lambda_max", "second_moment"):
        x, y = float(getattr(slow, name)), getattr(result, name)
        if not near(x, y, DIFFERENCE, 1e-3 * result.a if name == "lambda_max" else 0.0):
            yield f"{name} = {x!r} of the reference", repr(y)
    with np.errstate(all="ignore"):
        rows = outcome(order_parameters, net, **settings)
        slow_rows = outcome(slow_order_parameters, net, **settings)
    if isinstance(rows, Refused) or isinstance(slow_rows, Refused):
        yield "order parameters of both", f"{brief(rows)}; reference: {brief(slow_rows)}"
        return
    for name in ("q_hat", "q_hat_xy", "q", "v_hat"):
        x, y = np.asarray(getattr(slow_rows, name), float), getattr(rows, name)
        share = 1.0 if name != "v_hat" else 1e-3 if images(net) else 0.0  # images form v by subtraction
        size = np.maximum(np.abs(x), np.asarray(slow_rows.q_hat, float) * share)
        tolerance = DIFFERENCE if name == "v_hat" else LENGTHS
        least = 1e-300 * tolerance  # below, the reference's float64 has not all its digits
        if not np.all(np.abs(x - y) <= tolerance * size + least):
            yield f"{name} = {x.tolist()} of the reference", repr(y.tolist())


# Of each length: integrals to 1e-11.
LENGTHS = 3e-11


def beyond_float64(net: Any, settings: dict[str, Any], slow: Any) -> bool:
    """Whether the reference takes for zero a variance that the core carries below float64's range."""
    if not isinstance(slow, Refused) or "variance over the data is zero" not in slow.words:
        return False
    return below_float64(net, settings)


def below_float64(net: Any, settings: dict[str, Any]) -> bool:
    """Whether a variance is there that float64 has not: a kink has a slope at 0, and another one around it."""
    rows = outcome(order_parameters, net, **settings)
    return not isinstance(rows, Refused) and bool(np.any(np.asarray(rows.v) < 1e-290))


def far_from_reference(net: Any, settings: dict[str, Any]) -> bool:
    """Whether sums have grown beyond the lengths that the reference's quadrature is made for."""
    rows = outcome(order_parameters, net, **settings)
    return not graphs.is_chain(net) and not isinstance(rows, Refused) and bool(np.any(np.asarray(rows.q) > 1e3))


def brief(each: Any) -> str:
    return (
        repr(each) if isinstance(each, Refused) else f"a = {each.a!r}, b = {each.b!r}" if hasattr(each, "a") else "rows"
    )
