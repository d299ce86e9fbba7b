# SPDX-License-Identifier: BSD-3-Clause
"""The Fisher information's spectrum from the tangent kernel's diagonal a and off-diagonal b."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..network import Dense, Network
from . import quadrature
from .arguments import Settings, boolean, loss_of, moments_of, settings_of, units_of
from .cross_entropy import law
from .edge import bulk_end, one_sample
from .order_parameters import Pass, forward, outputs_of, sampled_passes
from .units.walk import drawing
from .wei2019 import following

__all__ = ["Fisher", "Layers", "backward_sums", "fisher"]


@dataclass(frozen=True)
class Layers:
    """Each affine layer's part of a and of b; a trained norm's belong to the one before it in `Network.steps`."""

    a: np.ndarray
    b: np.ndarray


@dataclass(frozen=True)
class Fisher:
    """The three atoms of the spectrum: lambda_max, the bulk's mean, and 0."""

    a: float
    b: float
    lambda_max: float
    bulk: float
    mean: float
    second_moment: float
    multiplicity: int
    parameters: int
    regime: str
    theory: str
    layers: Layers
    error: float  # of lambda_max by sampled units; 0 where there are none


def fisher(
    net: Network,
    theory: str = "exact",
    samples: int | None = None,
    overlap: float = 0.0,
    length: float = 1.0,
    biases: bool | None = None,
    *,
    loss: str = "sum",
    edge: bool = True,
    units: Any = "auto",
    seed: int = 0,
    memory: float | None = None,
    inputs: Any = None,
) -> Fisher:
    """Spectrum of F = (1/n) sum_i sum_k grad f_k(x_i) grad f_k(x_i)^T.

    F* = (1/n) J J^T (nC x nC) has the same non-zero eigenvalues. It is block-diagonal in the outputs, each block
    Theta/n with Theta_ii = a, Theta_ij = b, i.e. (a - b) I + b 11^T (KAA):
        (a + (n-1) b)/n   along 1, C times,          (a - b)/n   across it, C (n-1) times,          0 for the rest of P.
    Sum of the eigenvalues C a, of their squares C n [a^2 + (n-1) b^2]/n^2; both are divided by P.

    n C > P, infinite data among them: F has P eigenvalues only. Where the C outliers stand out of their mean C a/P, the
    other P - C share what is left of the trace, C (n-1)(a - b)/n; else nothing stands out, and lambda_max is the mean,
    or (a - b)/n where that is larger. The second moment is that of these atoms, where it is more than the sum above.

    At finite width the bulk ends above its mean, at its `edge`, and one sample may stand above (edge.py): the largest
    of all is lambda_max. `edge=False` is the infinite width's.

    With sampled units (docs/theory.md, section 12) a and b are means over their four groups, and lambda_max of each
    group by itself has the scatter twice the error. "auto": where the closed recursion is not exact.

    `inputs`, an object with overlap, length and of images the matrices within and between (data.statistics), stands
    for overlap and length; images then pass by sampled units.

    Losses: 1/2 the squared error, summed over outputs ("sum") or averaged ("mean", 1/C); without the 1/2 ("mse", 2/C);
    cross-entropy by cross_entropy.py where the outlier rules and has a closed form, and 1/C where not.
    """
    overlap, length, inputs = moments_of(net, inputs, overlap, length)
    settings = settings_of(net, theory, samples, overlap, length, biases, units is not None)
    how = drawing(net, settings, *units_of(units, seed, memory), inputs)
    outputs, loss = net.outputs, loss_of(loss, net.outputs)
    squared = _of_recursion(net, settings, boolean("edge", edge)) if how is None else _of_units(net, settings, how)
    if loss == "cross_entropy":
        return _of_softmax(net, settings, squared)
    factor = {"sum": 1.0, "mean": 1 / outputs, "mse": 2 / outputs}[loss]
    changed = {name: factor * getattr(squared, name) for name in ("lambda_max", "bulk", "mean", "error")}
    return replace(squared, second_moment=factor**2 * squared.second_moment, **changed)


def _of_recursion(net: Network, settings: Settings, edge: bool) -> Fisher:
    return _spectrum(net, settings, forward(net, settings), edge)


def _of_units(net: Network, settings: Settings, how: Any) -> Fisher:
    passes = sampled_passes(net, settings, how)
    each = [_spectrum(net, settings, one, False).lambda_max for one in passes]
    ends = {name: np.mean([getattr(one, name) for one in passes], axis=0) for name in ("D", "o", "d")}
    error = float(np.std(each, ddof=1) / np.sqrt(len(each)))
    return replace(_spectrum(net, settings, Pass(passes[0].rows, **ends), False), error=error)


def _of_softmax(net: Network, settings: Settings, squared: Fisher) -> Fisher:
    """tr F = a E tr H, tr F^2 = (1/n^2) sum_xy Theta_xy^2 E tr H_x H_y."""
    C, P, n = net.outputs, squared.parameters, settings.samples
    one_over_n = 0.0 if n is None else 1 / n
    o, eps = squared.b, (squared.a - squared.b) * one_over_n
    if not (squared.error and net.without_recursion) and squared.regime == "outlier" and o > 0:
        z = outputs_of(net, settings)
        of_p = law(C, n, float(z.xy), float(z.v), eps / o)
        top, trace = o * of_p.mean, of_p.trace
        square = squared.a**2 * of_p.square * one_over_n + o**2 * of_p.cross * (1 - one_over_n)
    else:
        top, trace = squared.lambda_max / C, 1 - 1 / C
        square = squared.second_moment * P / C * (C - 1) / C**2
    mean = squared.a * trace / P
    return replace(
        squared,
        lambda_max=max(top, mean),
        bulk=min(eps * trace / (C - 1), top),
        mean=mean,
        second_moment=square / P,
        multiplicity=1,
    )


def _spectrum(net: Network, settings: Settings, end: Pass, edge: bool) -> Fisher:
    n = settings.samples
    outputs, parameters = net.outputs, net.parameters(settings.biases)
    a, b, difference = (float(np.sum(part)) for part in (end.D, end.o, end.d))
    mean = outputs * a / parameters
    if n is None:
        along, across, square, rest = b, 0.0, b * b, difference
    elif n == 1:
        along, across, square, rest = a, 0.0, a * a, 0.0
    else:
        along, across, square = (a + (n - 1) * b) / n, difference / n, (a * a + (n - 1) * b * b) / n
        rest = (n - 1) / n * difference
    second = outputs * square / parameters
    largest = max(along, across, mean)
    outlier = n == 1 or along >= largest
    bulk = across
    if n is None or n * outputs > parameters:
        others = parameters - outputs
        bulk = outputs * rest / others if outlier and others > 0 else largest if rest > 0 else 0.0
        # products and not powers, which Python refuses where they leave float64
        atoms = (outputs * (along * along) + others * (bulk * bulk)) / parameters if outlier else mean * mean
        second = max(second, atoms)
    most = outputs if outlier else parameters if n is None else outputs * (n - 1)
    regime = "outlier" if outlier else "bulk"
    # nothing is solved where a number above the edge (bulk.py) lies below the outlier
    roots = float(np.sum([step.before[0] ** -0.5 for step in net.affine_steps]))
    below = outlier and difference * ((0.0 if n is None else n**-0.5) + roots) ** 2 <= largest
    few = min([step.before[0] for step in net.affine_steps] + ([] if n is None else [n])) < 50  # never sampled
    bulk_ends = bulk_end(net, settings, below) if edge and not few else None
    if bulk_ends is not None:
        values = {"outlier": largest, "bulk": max(bulk_ends, across), "sample": one_sample(net, settings)}
        first = max(values, key=lambda name: values[name])
        if values[first] > largest or not outlier:
            regime, largest, most = first if values[first] > largest else "bulk", values[first], outputs
    return Fisher(
        a=a,
        b=b,
        lambda_max=largest,
        bulk=bulk,
        mean=mean,
        second_moment=second,
        multiplicity=min(most, parameters),
        parameters=parameters,
        regime=regime,
        theory=settings.theory,
        layers=Layers(end.D, end.o),
        error=0.0,
    )


def backward_sums(
    net: Network, theory: str, overlap: float = 0.0, length: float = 1.0, biases: bool | None = None
) -> tuple[float, float]:
    """(a, b) as WSS and KAA write them, by gradients carried backward; equal to the forward pass.

        a = sum_l N_{l-1} q_hat^{l-1} q_tilde^l + sum_l q_tilde^l          (the second sum: biases; WSS eq. 44 for b)
        b = sum_l N_{l-1} q_hat_xy^{l-1} q_tilde_xy^l + sum_l q_tilde_xy^l

    q_tilde^L = q_tilde_xy^L = 1 (the output is linear), and back through one hidden layer
        q_tilde^l    = c sigma_w2 E[phi'^2] q_tilde^{l+1}                  (KAA; WSS eqs. 20-21, with BatchNorm 23-25)
        q_tilde_xy^l = c sigma_w2 E[phi'(z(x)) phi'(z(y))] q_tilde_xy^{l+1}
    where c = 1 and the slopes are at q without BatchNorm; c = gamma^2/(v + eps) and slopes at g = sqrt(k) gamma,
    independent for x and y, for "frozen"; c = gamma^2/(q + eps), at gamma, for "wei2019". A trained BatchNorm adds its
    own two sums. Dense nets; "exact" has no such form with BatchNorm, because its q_tilde_xy does not close on numbers
    at finite n.
    """
    settings = settings_of(net, theory, None, overlap, length, biases)
    if theory == "exact" and net.batch_norms:
        raise ValueError("backward_sums needs theory 'frozen' or 'wei2019' for a network with BatchNorm, got 'exact'")
    bias, overlap, length = float(settings.biases), settings.overlap, settings.length

    # Forward: lengths and overlaps, and what each hidden layer's slopes and BatchNorm do to gradients.
    q_hat, q_xy_hat, v_hat = length, overlap, length - overlap
    own, back, extra, sigma = [], [], [], []
    place = 0
    while place < len(net.layers):
        layer = net.layers[place]
        if not isinstance(layer, Dense):
            raise ValueError(f"layers[{place}]: backward_sums takes dense networks, got {layer!r}")
        one = bias * layer.bias
        own.append((net.shapes[place][0] * q_hat + one, net.shapes[place][0] * q_xy_hat + one))
        sigma.append(layer.sigma_w2)
        q, v = layer.sigma_b2 + layer.sigma_w2 * q_hat, layer.sigma_w2 * v_hat
        norm, phi, place = following(net.layers, place)
        if norm is None:
            omc = v / q if q > 0 else 0.0
            back.append(
                (quadrature.slope_second_moment(phi, q), quadrature.slope_covariance(phi, q, q, one_minus_c=omc))
            )
            extra.append((0.0, 0.0))
            q_hat, v_hat = quadrature.second_moment(phi, q), quadrature.spread(phi, q, omc)
            q_xy_hat = quadrature.covariance(phi, q, q, one_minus_c=omc)
            continue
        s2 = v + norm.eps
        if s2 == 0:
            raise ValueError(
                "eps must be > 0 where the variance over the data is zero, as it is before a BatchNorm here"
            )
        g2 = v / s2 * norm.gamma**2
        c, at = (norm.gamma**2 / s2, g2) if theory == "frozen" else (norm.gamma**2 / (q + norm.eps), norm.gamma**2)
        diagonal = quadrature.slope_second_moment(phi, at, norm.beta)
        off = quadrature.slope_mean(phi, at, norm.beta) ** 2
        back.append((c * diagonal, c * off))
        gammas = (
            quadrature.second_slope_moment(phi, at, norm.beta),
            quadrature.first_slope_moment(phi, at, norm.beta) ** 2,
        )
        extra.append(tuple(norm.trained * (m + v / s2 * u) for m, u in zip((diagonal, off), gammas, strict=True)))
        q_hat, q_xy_hat = quadrature.second_moment(phi, g2, norm.beta), quadrature.mean(phi, g2, norm.beta) ** 2
        v_hat = quadrature.variance(phi, g2, norm.beta)

    # Backward, for the diagonal (0) and the off-diagonal (1).
    sums = []
    for which in (0, 1):
        total, after = 0.0, 1.0  # after: the gradient squared with respect to the hidden layer's output h^l, per unit
        for index in reversed(range(net.depth)):
            q_tilde = back[index][which] * after
            total += own[index][which] * q_tilde + extra[index][which] * after
            after = sigma[index] * q_tilde
        sums.append(float(total))
    return sums[0], sums[1]
