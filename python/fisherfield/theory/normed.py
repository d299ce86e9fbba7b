# SPDX-License-Identifier: BSD-3-Clause
"""Finite width and few samples under BatchNorm: units are normalised each by its own statistics; theory.md, section 13.

nu    the variance over samples of |z|^2/N about its mean: 2/N_0, then k/N_l + he^2 nu
tau   the mean square of the correlation of two samples: 1/N_0, then 1/N_l + (g^2 (E phi')^2/Var phi)^2 tau
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import calls
from .scatter import Hermite, Row, hermite
from .settings import Settings

if TYPE_CHECKING:
    from .fisher import Fisher

# With statistics frozen sampled networks of fewer samples or units spread by up to 2.5 times as much.
_FEW_FROZEN, _NARROW_FROZEN = 200, 300
# What sampled networks under exact BatchNorm spread by beyond their last layer's own scatter, over the tilt: an
# estimate by ReLU networks of three shapes, which had 0.10 to 0.12. Held to others it left 0.9 to 1.2 of the spread.
_OF_TILT = 0.1


def of_batch_norm(fisher: Fisher, rows: Sequence[Row], tilt: float) -> tuple[float, float, list[str]]:
    """What is added to the shift and to the spread's square, and what is to be said of them."""
    exact, n = fisher.theory == "exact", fisher.samples
    units = [hermite(row.activation._compiled, row.xy + row.v, row.mean) for row in rows]
    before = _before(rows, units, fisher.network.input_shape[0])
    if exact:
        return *_exact(rows[-1], units[-1], *before[-1], n, tilt), []
    few = [f"below {_FEW_FROZEN} samples"] if n is not None and n < _FEW_FROZEN else []
    narrow = [f"below {_NARROW_FROZEN} units"] if min(row.units for row in rows) < _NARROW_FROZEN else []
    words = " and ".join(few + narrow)
    notes = [f"{words} networks with frozen statistics spread by up to 2.5 times as much"] if words else []
    return _frozen(fisher, rows, units, before), 0.0, notes


def _before(rows: Sequence[Row], units: Sequence[Hermite], inputs: int) -> list[tuple[float, float]]:
    """(nu, tau) of what each activation reads."""
    nu, tau, out = 2 / inputs, 1 / inputs, []
    for row, at in zip(rows, units, strict=True):
        out.append((nu, tau))
        share = (row.xy + row.v) * at.slope[0] ** 2 / at.variance if at.variance > 0 else 0.0
        nu = at.fourth / row.units + at.squared**2 * nu
        tau = 1 / row.units + share**2 * tau
    return out


def _exact(row: Row, at: Hermite, nu: float, tau: float, n: int | None, tilt: float) -> tuple[float, float]:
    """The last activation's: its mean over the data, of which each unit has another, gives lambda_max."""
    one_over_n = 0.0 if n is None else 1 / n
    m, _, second, _, fourth = at.phi
    shift = row.samples[1] * (m * fourth / 4 * (nu - 2 * tau) - (second**2 + m * fourth) * one_over_n / 2)
    # Var over units of m_i: (1/n) sum_k>2 E_k^2/k!, and the fourth's part of what correlated samples have
    rest = max(at.variance - at.phi[1] ** 2 - second**2 / 2, 0.0)
    of_unit = rest * one_over_n + fourth**2 / 24 * 3 * tau**2
    return float(shift), float((2 * m * row.samples[1]) ** 2 * of_unit / row.units + (_OF_TILT * tilt) ** 2)


def _overlap(values: np.ndarray, one_over_n: float) -> float:
    """(E F)^2 of two samples of n, normalised together."""
    rest = 0.0 if one_over_n == 1 else one_over_n / (1 - one_over_n)
    return float(values[0] ** 2 - values[1] ** 2 * rest - (values[2] ** 2 + values[0] * values[4]) * one_over_n / 2)


def _frozen(
    fisher: Fisher, rows: Sequence[Row], units: Sequence[Hermite], before: Sequence[tuple[float, float]]
) -> float:
    """lambda_max with every unit's own statistics, over that with the mean of them, less 1."""
    net, one_over_n = fisher.network, 0.0 if fisher.samples is None else 1 / fisher.samples
    settings = Settings(fisher.theory, fisher.samples, fisher.overlap, fisher.length, fisher.biases)
    variances, parts = calls.order_parameters(net, settings).v, fisher.layers
    a, b, wider = np.array(parts.a), np.array(parts.b), 1.0
    for place, (row, at, (nu, tau)) in enumerate(zip(rows, units, before, strict=True)):
        m = at.phi[0]
        v = variances[place] * (1 - one_over_n) * wider
        eps = net.batch_norms[place].eps
        gain = (variances[place] + eps) / (v + eps) * (1 + 2 * (one_over_n + tau))
        slope = at.slope[0] ** 2
        a[: place + 1] *= gain
        b[: place + 1] *= gain * (_overlap(at.slope, one_over_n) / slope if slope > 0 else 1.0)
        off = _overlap(at.phi, one_over_n)
        wider = (at.variance + m * m - off) / at.variance if at.variance > 0 else 1.0
        own = off + m * at.phi[4] / 4 * (nu - 2 * tau)
        bias = float(fisher.biases and net.affine_layers[place + 1].bias)
        if row.units * m * m + bias > 0:
            b[place + 1] *= (row.units * own + bias) / (row.units * m * m + bias)
    total = float(np.sum(b)) + (float(np.sum(a)) - float(np.sum(b))) * one_over_n
    plain = fisher.b + (fisher.a - fisher.b) * one_over_n
    return total / plain - 1 if math.isfinite(total) else math.nan
