# SPDX-License-Identifier: BSD-3-Clause
"""Order parameters: lengths, overlaps and the tangent kernel, layer by layer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._html import InNotebooks
from .._numbers import Theory
from .._optional import optional
from ..network import Network
from . import calls
from . import units as sampled_units
from .inputs import inputs_of
from .settings import Settings

if TYPE_CHECKING:
    from ..data import Statistics

Column = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class OrderParameters(InNotebooks):
    """One row for each affine layer l = 1 .. L; for convolutions means over positions.

    Attributes
    ----------
    fan_in : ndarray
        N_{l-1}, the units (channels times taps) that feed the layer.
    q_hat, q_hat_xy, v_hat : ndarray
        Length, overlap and their difference of what feeds the layer, h^{l-1}; row 1 is the input.
    q, q_xy, v : ndarray
        The same of the pre-activations z^l: q = sigma_b2 + sigma_w2 q_hat, v = q - q_xy.
    theta, theta_xy, d : ndarray
        The tangent kernel of z^l, its diagonal D and off-diagonal o, and d = D - o. The last row (through a BatchNorm
        behind it, if there is one) gives the Fisher information's a and b.
    theory : str
    reason : str
        Says from which layer on numbers leave float64's range and stand as 0 or inf; empty if none does.
    where : tuple of str
        Where the layers stand, in networks with sums of branches; else empty.

    Notes
    -----
    Differences are carried from layer to layer, not formed at the end, so they keep their digits where q_xy/q has
    reached 1 in float64. docs/theory.md, section 4.
    """

    fan_in: Column
    q_hat: Column
    q_hat_xy: Column
    v_hat: Column
    q: Column
    q_xy: Column
    v: Column
    theta: Column
    theta_xy: Column
    d: Column
    theory: str
    reason: str
    where: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.q)

    @property
    def c(self) -> Column:
        """Correlation q_xy/q of the pre-activations; 1 where q = 0."""
        return np.divide(self.q_xy, self.q, out=np.ones_like(self.q), where=self.q != 0)

    def _columns(self) -> dict[str, Column]:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    def to_pandas(self) -> Any:
        """A pandas.DataFrame indexed by layer."""
        pandas = optional("pandas", "to_pandas needs pandas", "pandas")
        index = pandas.RangeIndex(1, len(self) + 1, name="layer")
        return pandas.DataFrame(self._columns(), index=index)

    def __repr__(self) -> str:
        columns = self._columns()
        shown = range(len(self)) if len(self) <= 20 else [*range(10), *range(len(self) - 10, len(self))]
        lines = [f"OrderParameters, theory {self.theory}", "layer" + "".join(f"{name:>11}" for name in columns)]
        for row in shown:
            if len(self) > 20 and row == len(self) - 10:
                lines.append("  ...")
            where = "".join(f"  {where}" for where in self.where[row : row + 1])
            lines.append(f"{row + 1:5}" + "".join(f"{column[row]:>11.5g}" for column in columns.values()) + where)
        return "\n".join(lines + ([self.reason] if self.reason else []))


def where_of(net: Network) -> tuple[str, ...]:
    """Where the affine layers stand, if not all of them in a chain."""
    steps = net.affine_steps
    return tuple(step.where for step in steps) if net._facts.sums else ()


def order_parameters(
    net: Network,
    theory: Theory = "exact",
    overlap: float = 0.0,
    length: float = 1.0,
    *,
    samples: int | None = None,
    biases: bool | None = None,
    units: int | str | None = "auto",
    seed: int = 0,
    memory: float | None = None,
    inputs: Statistics | None = None,
) -> OrderParameters:
    """Lengths q, overlaps q_xy and the tangent kernel (theta, theta_xy) after every affine layer.

    Parameters
    ----------
    net : Network
    theory : {"exact", "frozen", "wei2019"}
        What BatchNorm's gradient is taken to be: exact (through mean and variance), frozen (these two constant), or the
        recursion as published. Vanilla dense networks have the same under all three, but for the biases in theta.
    overlap, length : float
        q_hat_xy^0 = E x.y/N_0 of two inputs and q_hat^0 = E x.x/N_0 of one.
    samples : int, optional
        n; None is infinite data.
    biases : bool, optional
        Whether the biases' gradients count in theta; None: in all theories but "wei2019".
    units, seed, memory, inputs
        As in `fisher`; means over units.

    Returns
    -------
    OrderParameters

    Raises
    ------
    ValueError, TypeError
        For an argument out of range, zero variance before a normalisation with eps = 0, or an integral that
        cannot be formed.
    """
    covariances = None
    if inputs is not None:
        overlap, length, covariances = inputs_of(net, inputs, overlap, length)
    settings = Settings.of(net, theory, samples, overlap, length, biases, units is not None)
    how = sampled_units.drawing(net, settings, units, seed, memory, covariances)
    drawn = None if how is None else sampled_units.attempted(sampled_units.passes, net, settings, how, units)
    if drawn is not None:
        columns = {name: column.mean(axis=0) for name, column in drawn.rows.items()}
        return OrderParameters(**columns, theory=settings.theory, where=where_of(net), reason="")
    numbers = calls.order_parameters(net, settings)
    first = numbers.beyond_range
    return OrderParameters(
        fan_in=numbers.fan_in,
        q_hat=numbers.q_hat,
        q_hat_xy=numbers.q_hat_xy,
        v_hat=numbers.v_hat,
        q=numbers.q,
        q_xy=numbers.q_xy,
        v=numbers.v,
        theta=numbers.theta,
        theta_xy=numbers.theta_xy,
        d=numbers.d,
        theory=settings.theory,
        where=where_of(net),
        reason=f"numbers beyond the range of float64 are given as 0 or inf from layer {first} on" if first else "",
    )
