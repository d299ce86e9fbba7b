# SPDX-License-Identifier: BSD-3-Clause
"""How far networks of finite width lie from the theory: the shift of lambda_max's mean, and its spread over networks.

lambda_max = theory's (1 + shift) exp(+- spread z), z standard normal; docs/theory.md, section 13.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from .. import _numbers
from .._words import with_error
from ..network import Activation, Network
from . import calls
from .edge import edge_of
from .normed import of_batch_norm
from .outputs import Outputs, outputs_of
from .scatter import Row, scatter
from .settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._core import Sensitivities
    from .fisher import Fisher

    Array = NDArray[np.float64]

_LINEAR = Activation("linear")
_HEAVY_BULK = 0.5  # of lambda_max: from here on the expansion in the bulk's share is known to fail
# Of lambda_max: sampled networks whose bulk's edge lay beyond scattered by up to 13 times as much, below by up to 1.2.
_NEAR_EDGE = 0.35
_NEAR_ROUGH = 0.8  # of it by a rough number, where the edge is not known: this one is up to 4 times too large
_PRINTED_FROM = 0.01  # of lambda_max: what samples alone add is printed from here on
_OWN_ALONE = "no formula has the scatter between networks; the mean is that of units' own frozen variances"
_SCATTERED = 0.02  # from here on an interval is printed, below an error


@dataclass(frozen=True)
class Uncertainty:
    """Relative: how far the mean over networks lies above the theory, and the standard deviation between them.

    What no formula is known for is None, both or the spread alone, and `reason` says why; else it says what is known to
    fail, if anything is.
    lambda_max is that of infinite width, with the terms of order 1/n of section 4 (exact BatchNorm) or none (frozen).
    `shift` holds the rest: what finite width adds, `tilt` among it, and `of_samples`, what is left of order 1/n where
    each unit has its own statistics, which stands at any width.
    """

    shift: float | None
    spread: float | None
    reason: str = ""
    tilt: float | None = None  # of the shift: what the top eigenvector's turning adds
    of_samples: float = 0.0  # of the shift: what n samples alone add under BatchNorm

    def in_words(self, value: float, interval: tuple[float, float] | None = None, error: float = 0.0) -> str:
        """The mean over networks with what they scatter by, 90 % of them; empty where it is not known."""
        if self.shift is None:
            return ""
        mean = value * (1 + self.shift)
        if self.spread is None:
            return f"{mean:.4g} on average, {self.reason}"
        low, high = interval or self.interval(value, 0.9, error)
        scatter = f"{mean:.4g} ({low:.4g} to {high:.4g} from net to net)"
        if math.hypot(self.spread, error) < _SCATTERED:
            scatter = with_error(mean, mean * math.hypot(self.spread, error))
        return f"{scatter}, {self.reason}" if self.reason else scatter

    def interval(self, value: float, level: float, error: float = 0.0) -> tuple[float, float]:
        """Between which two numbers a share `level` of networks is expected, of a theory's value.

        `error` is the value's own, over it: independent of what networks scatter by.
        """
        if self.shift is None or self.spread is None:
            raise ValueError(f"no interval is known: {self.reason}")
        from statistics import NormalDist  # and a dozen modules, which nobody else asks for

        z = NormalDist().inv_cdf((1 + level_of(level)) / 2)
        middle, factor = value * (1 + self.shift), math.exp(min(math.hypot(self.spread, error) * z, 700.0))
        return middle / factor, middle * factor


def level_of(value: float) -> float:
    """A share of networks, above 0 and below 1."""
    level = _numbers.float_of("level", value, "in (0, 1)")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be in (0, 1), got {_numbers.shown(value)}")
    return level


_BEYOND = "the numbers of its layers leave the range of float64"


def uncertainty_of(fisher: Fisher) -> Uncertainty:
    """Of a result's own network, whose units are as many as they are."""
    if fisher.own_shift is not None and fisher.loss != "cross_entropy" and fisher.regime == "outlier":
        return Uncertainty(fisher.own_shift, None, _OWN_ALONE)
    if unknown := _unknown(fisher):
        return Uncertainty(None, None, unknown)
    try:
        with np.errstate(all="ignore"):  # what leaves the range of float64 is seen at the end
            return _known(fisher)
    except ValueError as refusal:  # of an integral beside those of the theory itself
        return Uncertainty(None, None, str(refusal))
    except ArithmeticError:
        return Uncertainty(None, None, _BEYOND)


def _known(fisher: Fisher) -> Uncertainty:
    net = fisher.network
    settings = Settings(fisher.theory, fisher.samples, fisher.overlap, fisher.length, fisher.biases)
    flat = net if len(net.input_shape) == 1 else _without_positions(net)
    sensitivities = calls.sensitivities(flat, settings)
    rows = rows_of(flat, sensitivities, held=fisher.theory == "exact")
    tilt, spread2 = tilt_of(sensitivities, rows, flat.input_shape[0]), spread_squared(rows)
    outputs, top = Outputs(), _outlier(fisher)
    if fisher.loss != "cross_entropy" and net.outputs > 1 and not (fisher.theory == "exact" and net._facts.last_normed):
        parts = calls.contributions(flat, settings).b
        outputs = outputs_of(rows, parts / np.sum(parts), fisher.b / top, net.outputs)
    tilt += outputs.tilt
    bulk = 0.0 if fisher.samples is None else (fisher.a - fisher.b) / fisher.samples
    share = bulk / top
    tilt /= 1 - min(share, 0.99)
    shift = (1 + outputs.shift) * (1 + tilt) - 1
    reasons: list[str] = []
    of_samples = 0.0
    if net._facts.all_normed and net._facts.batch_norm:
        edge = edge_of(net, settings, fisher.a - fisher.b) / top if fisher.theory == "exact" else math.nan
        (extra, of_samples), more, reasons = of_batch_norm(fisher, rows, tilt, edge)
        # what is added to b of independent units adds; other statistics of units multiply
        shift = shift + extra if fisher.theory == "exact" else (1 + shift) * (1 + extra) - 1
        spread2 += more
    spread2 += fisher.softmax_spread**2
    spread = math.sqrt(spread2 if outputs.spread is None else outputs.spread**2)
    if not (math.isfinite(shift) and math.isfinite(spread)):
        return Uncertainty(None, None, _BEYOND)
    if not abs(shift) < 1.0:
        return Uncertainty(None, None, "terms of order 1/N and 1/n are as large as lambda_max itself")
    if share > _HEAVY_BULK:
        reasons.append(f"the bulk is {share:.2f} of lambda_max, and beyond {_HEAVY_BULK} the shift is too small")
    if share <= _HEAVY_BULK and (words := _near_edge(fisher, settings, top)):
        reasons.append(words)
    if net._facts.sums:
        reasons.append(
            "units of a residual stream are the same in every block: networks spread by up to 1.5 times as much"
        )
    if len(net.input_shape) != 1:
        reasons.append("of a dense network with channels for units")
    if abs(of_samples) > _PRINTED_FROM:
        reasons.insert(0, f"{of_samples:+.1%} by {fisher.samples} samples alone, at any width")
    return Uncertainty(shift, spread, "; ".join(reasons), tilt, of_samples)


def _near_edge(fisher: Fisher, settings: Settings, top: float) -> str:
    """What is to be said of an edge near lambda_max; where it is known, a number above it decides first."""
    facts, n, difference = fisher.network._facts, fisher.samples, fisher.a - fisher.b
    root = 0.0 if n is None else n**-0.5
    if facts.roots is not None and settings.theory != "wei2019":
        if difference * (root + facts.roots) ** 2 <= _NEAR_EDGE * top:
            return ""
        edge = edge_of(fisher.network, settings, difference)
        if not math.isnan(edge):
            words = (
                f"the bulk's edge lies near lambda_max, at {edge / top:.2f} of it, and networks scatter more than this"
            )
            return words if edge > _NEAR_EDGE * top else ""
    rough = difference * (root + facts.fewest_inputs**-0.5) ** 2
    words = "the bulk's edge lies near lambda_max, where networks scatter more than this"
    return words if rough > _NEAR_ROUGH * top else ""


def _unknown(fisher: Fisher) -> str:
    """Why there is no formula; empty where there is one."""
    net = fisher.network
    untreated = next((step.layer.unscattered for step in net.steps if step.layer.unscattered), "")
    if fisher.theory == "wei2019" and (net._facts.batch_norm or net._facts.convolutional):
        return "sampled networks do not follow the recursion as published"
    facts, passes = net._facts, fisher.theory == "exact" and not (net._facts.last_normed or net._facts.convolutional)
    if facts.batch_norm and not (facts.all_normed or passes):  # whose outlier passes by an exact BatchNorm or behind it
        return (
            "BatchNorm is treated where it stands behind every hidden layer of a dense network, or not behind the last"
        )
    if fisher.drawing is not None and net.needs_units:
        return "networks that only sampled units can compute are not treated"
    if untreated:
        return f"networks of finite width are not treated with {untreated}"
    if fisher.regime != "outlier" or not fisher.b > 0:
        return "the bulk rules, whose scatter is not treated"
    if not 0.0 < fisher.lambda_max < math.inf or not _outlier(fisher) < math.inf:
        return "lambda_max leaves the range of float64"
    return ""


def _outlier(fisher: Fisher) -> float:
    """(a + (n-1) b)/n: of one output, whatever the loss."""
    return fisher.b + (0.0 if fisher.samples is None else (fisher.a - fisher.b) / fisher.samples)


def _without_positions(net: Network) -> Network:
    """A dense network of the same depth, with channels for units."""
    layers = (layer.mapped(lambda leaf: leaf.flat()) for layer in net.layers)
    return Network((math.prod(net.input_shape),), tuple(layer for layer in layers if layer is not None))


def rows_of(net: Network, derivatives: Sensitivities, held: bool) -> list[Row]:
    """Of all activations behind hidden layers; where none stands phi is the identity.

    `held`: an exact BatchNorm takes the mean over the data out of gradients, so that no t is left of what stands
    behind it.
    """
    steps, rows = net.steps, []
    for_t = np.array([1.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    for i in range(1, len(derivatives.step)):
        if derivatives.layer[i] == net.depth - 1:
            continue
        place = int(derivatives.step[i])
        layer = steps[place].layer if place < len(steps) else _LINEAR
        activation = cast("Activation", layer) if layer.pointwise else _LINEAR
        kept = for_t if held and derivatives.normed[i] else np.ones(6)
        xy, v, mean = (float(column[i]) for column in (derivatives.xy, derivatives.v, derivatives.mean))
        units = scatter(activation._compiled, xy, v, mean)
        rows.append(
            Row(
                float(derivatives.units[i]),
                int(derivatives.layer[i]),
                activation,
                bool(derivatives.normed[i]),
                xy,
                v,
                mean,
                float(derivatives.o[i]),
                kept * derivatives.lambda_rates[:, i],
                kept * derivatives.sample_rates[:, i],
                float(derivatives.worth[i]),
                float(derivatives.worth_d[i]),
                units,
            )
        )
    return rows


def spread_squared(rows: list[Row]) -> float:
    """sum_l (1/N_l) grad^T Cov grad of log lambda_max."""
    return float(sum(row.nets @ row.scatter.nets @ row.nets / row.units for row in rows))


def tilt_of(derivatives: Sensitivities, rows: list[Row], inputs: int) -> float:
    """Var over samples of the mean over y of Theta(x, y), over b^2: what turning towards it adds to the eigenvalue.

    Of one sample's lengths and means count half of what both inputs' lengths do.
    """
    half = np.array([0.5, 1.0, 0.5, 1.0, 0.5, 0.5])
    o, v = float(derivatives.xy[0]), float(derivatives.v[0])
    q, xy = derivatives.sample_rates[:2, 0] * half[:2]
    total = (q * q * (4 * o * v + 2 * v * v) + 4 * q * xy * o * v + xy * xy * o * v) / inputs
    for row in rows:
        rates = half * row.samples
        of_slopes = rates[3] * row.o * row.worth_d * row.scatter.slopes
        total += float(rates @ row.scatter.samples @ rates + of_slopes) / row.units
    return float(total)
