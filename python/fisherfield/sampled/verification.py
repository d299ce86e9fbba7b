# SPDX-License-Identifier: BSD-3-Clause
"""The theory beside sampled networks: the table, the power of the width, and the verdict in words."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._html import InNotebooks, html, paragraph, table, together
from .._optional import optional
from .._words import plural, with_error
from ..network import Network
from ..scan.labels import POINTS
from ..theory import Fisher
from .measured import LOSS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

# What is measured of each network, and what the theory says of it.
QUANTITIES = {
    "lambda_max": POINTS["lambda_max"],
    "outlier": ("mean of the C largest eigenvalues", r"mean of the $C$ largest"),
    "bulk": ("mean of the other non-zero eigenvalues", "bulk"),
    "mean": POINTS["mean"],
    "second_moment": POINTS["second_moment"],
}
SECOND = "second"  # the eigenvalue next to the C largest, which lies where the bulk ends
LEVEL = 0.9  # of the interval that networks are counted in
# Standard errors that a gap must exceed to be taken for one.
_STANDS_OUT = 2.0
# chi2 a degree of freedom above which a fit is called poor: by chance 3 % of all fits to three widths, 0.4 % to five.
_POOR = 4.5


@dataclass(frozen=True)
class Power:
    """|sampled/theory - 1| = factor / width^exponent, fitted by weighted least squares of the logarithms.

    Attributes
    ----------
    exponent, error : float
        With its standard error, which is widened where the fit is worse than the gaps' errors explain.
    factor : float
    widths : int
        How many entered: those whose gap exceeds two of its standard errors.
    chi2 : float
        A degree of freedom; far above 1 where the gaps follow no single power.
    """

    exponent: float
    error: float
    factor: float
    widths: int
    chi2: float

    def __str__(self) -> str:
        return f"width^-({with_error(self.exponent, self.error)})"


@dataclass(frozen=True, eq=False, repr=False)
class Verification(InNotebooks):
    """Sampled networks beside the theory, at one width or several; W widths and S seeds.

    The quantities are "lambda_max", "outlier" (the mean of the C largest eigenvalues, which is the same for C = 1
    output), "bulk", "mean" and "second_moment", as of `Fisher`.

    Attributes
    ----------
    network : Network
        As it was given.
    settings : dict
        theory, statistics, samples, inputs, overlap, length, biases, vectors and dtype.
    widths : ndarray of int, (W,)
        Units or channels of the widest hidden layer.
    seeds : ndarray of int, (S,)
    runs : dict of ndarray, (W, S)
        Every quantity of every network.
    theory : dict of ndarray, (W,)
        Every quantity by the theory that goes with the statistics; NaN where none is known.
    others : dict of ndarray, (W,)
        lambda_max by the other theories; NaN where one refuses the network.
    fishers : tuple of Fisher or None, (W,)
        The theory's results, which say whether they hold; None where no theory is known (`Network.without_recursion`).
    sampled, errors : dict of ndarray, (W,)
        Mean over the seeds, and its standard error; NaN for a single seed.
    ratio, ratio_errors : dict of ndarray, (W,)
        sampled/theory, and its standard error.
    powers : dict of Power or None
        How the gap of each quantity closes; None where fewer than three widths have one that stands out of its errors.
    shift, spread, edge : ndarray, (W,)
        What the theory says of networks of these widths: `Fisher.shift`, `Fisher.spread` and, where the outlier is
        lambda_max and `second` was measured, `Fisher.edge`; NaN where none is known.
    intervals : ndarray, (W, 2)
        `Fisher.interval(0.9)`.
    sampled_spread, inside : ndarray, (W,)
        The standard deviation of lambda_max between the sampled networks, over its mean, and the share of them inside
        the interval.
    second : ndarray, (W, S), or None
        The eigenvalue next to the C largest; NaN where not all were computed and no equations of the bulk are known.
        By Lanczos to 1 %.
    spectra : tuple of ndarray or None, (W,)
        All eigenvalues of each width's first network, where all were computed.
    verdict : str
        In words.
    seconds : float
    rounding : float
        How far rounding may move the eigenvalues of a network, relative to its largest: the worst of all networks, as
        of `FisherSpectrum`. The verdict says so where it is more than 1e-8, in float32 1e-2.
    """

    network: Network
    settings: dict[str, Any]
    widths: NDArray[np.int64]
    seeds: NDArray[np.int64]
    runs: dict[str, Array]
    theory: dict[str, Array]
    others: dict[str, Array]
    fishers: tuple[Fisher | None, ...]
    seconds: float = 0.0
    rounding: float = 0.0
    second: Array | None = None
    spectra: tuple[Array | None, ...] = ()

    @cached_property
    def shift(self) -> Array:
        return np.array([_number(result and result.shift) for result in self.fishers])

    @cached_property
    def spread(self) -> Array:
        return np.array([_number(result and result.spread) for result in self.fishers])

    @cached_property
    def intervals(self) -> Array:
        known = [result is not None and result.spread is not None for result in self.fishers]
        ends = zip(self.fishers, known, strict=True)
        return np.array(
            [result.interval(LEVEL) if result and there else (math.nan, math.nan) for result, there in ends]
        )

    @cached_property
    def edge(self) -> Array:
        edges = []
        for row, result in enumerate(self.fishers):
            there = self.second is not None and np.isfinite(self.second[row]).any()
            edges.append(_number(result.edge if result and there and result.regime == "outlier" else None))
        return np.array(edges)

    @cached_property
    def sampled_spread(self) -> Array:
        values = self.runs["lambda_max"]
        if self.seeds.size < 2:
            return np.full(self.widths.size, np.nan)
        return _over(values.std(axis=1, ddof=1), self.sampled["lambda_max"])

    @cached_property
    def inside(self) -> Array:
        values, (low, high) = self.runs["lambda_max"], (self.intervals[:, [end]] for end in (0, 1))
        return np.where(np.isnan(low[:, 0]), np.nan, np.mean((low < values) & (values < high), axis=1))

    @cached_property
    def sampled(self) -> dict[str, Array]:
        return {name: np.asarray(values.mean(axis=1)) for name, values in self.runs.items()}

    @cached_property
    def errors(self) -> dict[str, Array]:
        count = self.seeds.size
        if count < 2:
            return {name: np.full(self.widths.size, np.nan) for name in self.runs}
        return {name: values.std(axis=1, ddof=1) / math.sqrt(count) for name, values in self.runs.items()}

    @cached_property
    def ratio(self) -> dict[str, Array]:
        return {name: _over(self.sampled[name], values) for name, values in self.theory.items()}

    @cached_property
    def ratio_errors(self) -> dict[str, Array]:
        return {name: _over(self.errors[name], np.abs(values)) for name, values in self.theory.items()}

    @cached_property
    def powers(self) -> dict[str, Power | None]:
        return {name: _power(self.widths, self.ratio[name] - 1.0, self.ratio_errors[name]) for name in self.runs}

    @property
    def verdict(self) -> str:
        return " ".join(_sentences(self))

    # ------------------------------------------------------------------------------------------------ in words

    def __repr__(self) -> str:
        settings = self.settings
        lines = [
            f"Theory {settings['theory']} beside sampled networks with statistics {settings['statistics']}",
            f"  {plural(self.seeds.size, 'network')} a width, {settings['samples']} samples, inputs "
            f"{settings['inputs']} of length {settings['length']:.4g} and overlap {settings['overlap']:.4g}, "
            f"{'with' if settings['biases'] else 'without'} biases",
            f"  {'width':>6}  {'':<14}{'sampled':<24}{'theory':<16}sampled/theory",
        ]
        for width, words, sampled, theory, ratio in rows_of(self):
            line = f"  {width:>6}  {words:<{14 if sampled else 38}}{sampled:<{24 if sampled else 0}}{theory:<16}{ratio}"
            lines.append(line.rstrip())
        verdicts = (
            textwrap.fill(verdict, 100, initial_indent="  ", subsequent_indent="  ") for verdict in self.verdicts
        )
        return "\n".join([*lines, *verdicts])

    def _repr_html_(self) -> str:
        first, second = repr(self).splitlines()[:2]
        rows = [("width", "", "sampled", "theory", "sampled/theory"), *rows_of(self)]
        return together(html(first), paragraph([second.strip()]), table(rows), paragraph(self.verdicts))

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The verdict's sentences."""
        return tuple(_sentences(self))

    @property
    def shown(self) -> tuple[str, ...]:
        """The quantities that differ: all, or without "outlier" for one output."""
        return tuple(name for name in self.runs if name != "outlier" or self.network.outputs > 1)

    # -------------------------------------------------------------------------------------------- to other things

    def to_pandas(self) -> Any:
        """A pandas.DataFrame indexed by width and quantity: sampled, error, theory, ratio and ratio_error.

        Raises ImportError without pandas.
        """
        pandas = optional("pandas", "to_pandas needs pandas", "pandas")
        columns = {
            "sampled": self.sampled,
            "error": self.errors,
            "theory": self.theory,
            "ratio": self.ratio,
            "ratio_error": self.ratio_errors,
        }
        frame = pandas.DataFrame(
            {
                name: np.stack([values[quantity] for quantity in self.runs], axis=1).ravel()
                for name, values in columns.items()
            },
            index=pandas.MultiIndex.from_product([self.widths, list(self.runs)], names=["width", "quantity"]),
        )
        frame.attrs = self._attributes()
        return frame

    def to_xarray(self) -> Any:
        """An xarray.Dataset over width and seed: every quantity of every network, and the theories' over width.

        "theory_lambda_max" and so on are the theory's that goes with the statistics, "frozen_lambda_max" and the like
        those of the others.

        Raises ImportError without xarray.
        """
        xarray = optional("xarray", "to_xarray needs xarray", "fisherfield[scan]")
        variables: dict[str, Any] = {
            name: (("width", "seed"), values, {"long_name": QUANTITIES[name][0], "units": "1"})
            for name, values in self.runs.items()
        }
        if self.second is not None:
            attributes = {"long_name": "eigenvalue next to the largest of every output", "units": "1"}
            variables[SECOND] = (("width", "seed"), self.second, attributes)
        for name, words in _OF_WIDTHS.items():
            attributes = {"long_name": f"{words}, theory {self.settings['theory']}", "units": "1"}
            variables[f"theory_{name}"] = (("width",), getattr(self, name), attributes)
        for name, values in self.theory.items():
            attributes = {"long_name": f"{QUANTITIES[name][0]}, theory {self.settings['theory']}", "units": "1"}
            variables[f"theory_{name}"] = (("width",), values, attributes)
        for other, values in self.others.items():
            attributes = {"long_name": f"{QUANTITIES['lambda_max'][0]}, theory {other}", "units": "1"}
            variables[f"{other}_lambda_max"] = (("width",), values, attributes)
        coordinates = {
            "width": (("width",), self.widths, {"long_name": "units or channels of the widest hidden layer"}),
            "seed": (("seed",), self.seeds, {"long_name": "seed of the network"}),
        }
        return xarray.Dataset(variables, coordinates, self._attributes())

    def _attributes(self) -> dict[str, Any]:
        from .. import __version__

        try:
            network = self.network._to_toml()
        except ValueError:  # a callable has no name
            network = repr(self.network)
        settings = {**self.settings, "biases": str(self.settings["biases"])}
        return {"fisherfield": __version__, "network": network, **settings, "verdict": self.verdict}

    def plot(self, quantity: str = "lambda_max", ax: Any = None) -> Figure:
        """A quantity against width, sampled and by theory, and beside it the gap of every quantity.

        Points are means over the networks, with two standard errors; small dots the networks themselves. Of lambda_max
        a band has the interval that 90 % of networks are expected in. Where all eigenvalues of a network were computed,
        and its bulk has equations, a third panel has them with their density by the theory (`spectral_density`).

        Parameters
        ----------
        quantity : {"lambda_max", "outlier", "bulk", "mean", "second_moment"}
        ax : matplotlib.axes.Axes, optional
            Where to draw the first of the panels alone; by default all go into a figure of their own, which a
            notebook or `plt.show()` shows.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ValueError
            For a quantity that is not there.
        ImportError
            Without matplotlib.
        """
        from ..plots.verify import plot

        return plot(self, quantity, ax)


_OF_WIDTHS = {"shift": POINTS["shift"][0], "spread": POINTS["spread"][0], "edge": "where the bulk ends"}
_WORDS = {name: name.replace("_", " ") if name != "lambda_max" else name for name in QUANTITIES}


def rows_of(verification: Verification) -> Iterator[tuple[str, str, str, str, str]]:
    """The table: width, quantity, sampled, theory and their ratio; other theories have nothing sampled of their own."""
    for row, (width, result) in enumerate(zip(verification.widths, verification.fishers, strict=True)):
        for name in verification.shown:
            bound = f"{result.bound} " if result and result.bound != "=" and name in ("lambda_max", "outlier") else ""
            if name == "outlier" and bound and verification.network.outputs > 1:
                bound = "~ "  # what holds for the largest of C does not for their mean
            yield (
                str(width) if name == "lambda_max" else "",
                _WORDS[name],
                with_error(verification.sampled[name][row], verification.errors[name][row]),
                "not known" if result is None else f"{bound}{verification.theory[name][row]:.5g}",
                ""
                if result is None
                else with_error(verification.ratio[name][row], verification.ratio_errors[name][row]),
            )
        yield from _of_width(verification, row)
        mean, error = verification.sampled["lambda_max"][row], verification.errors["lambda_max"][row]
        for other, values in verification.others.items():
            if differs(values[row], verification.theory["lambda_max"][row]):
                ratio = with_error(mean / values[row], error / values[row])
                yield "", f"lambda_max by {other}", "", f"{values[row]:.5g}", ratio


def _of_width(verification: Verification, row: int) -> Iterator[tuple[str, str, str, str, str]]:
    """What networks of one width have beside what the theory says of them: their mean and spread, and the edge."""
    mean, error = verification.sampled["lambda_max"][row], verification.errors["lambda_max"][row]
    count, spread = verification.seeds.size, verification.spread[row]
    if not math.isnan(verification.shift[row]):
        top = verification.theory["lambda_max"][row] * (1 + verification.shift[row])
        yield "", "with shift", with_error(mean, error), f"{top:.5g}", with_error(mean / top, error / top)
    if not math.isnan(spread) and count > 1:
        sampled = 100 * verification.sampled_spread[row]
        doubt = sampled / math.sqrt(2 * (count - 1))
        ratio = with_error(sampled / (100 * spread), doubt / (100 * spread)) if spread > 0 else ""
        yield "", "spread, %", with_error(sampled, doubt), f"{100 * spread:.3g}", ratio
        inside = f"{round(count * verification.inside[row])} of {count}"
        low, high = verification.intervals[row]
        yield "", f"in {100 * LEVEL:g} %", inside, f"{low:.4g} to {high:.4g}", ""
    edge = verification.edge[row]
    if not math.isnan(edge) and verification.second is not None:
        values = verification.second[row]
        mean = float(values.mean())
        error = float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
        name = "second, edge" if verification.network.outputs == 1 else "next, edge"
        yield "", name, with_error(mean, error), f"{edge:.5g}", with_error(mean / edge, error / edge)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _over(one: Array, other: Array) -> Array:
    return np.asarray(np.divide(one, other, out=np.full(one.shape, np.nan), where=other != 0))


def _power(widths: NDArray[np.int64], gaps: Array, errors: Array) -> Power | None:
    """log |gap| = log factor - exponent log width, each with the weight of its error."""
    with np.errstate(invalid="ignore"):
        used = np.abs(gaps) > _STANDS_OUT * errors
    if np.unique(widths[used]).size < 3 or np.any(errors[used] == 0) or np.unique(np.sign(gaps[used])).size > 1:
        return None
    y, weights = np.log(np.abs(gaps[used])), np.abs(gaps[used]) / errors[used]
    design = np.column_stack([np.ones(y.size), -np.log(widths[used])])
    weighted = design * weights[:, None]
    covariance = np.linalg.inv(weighted.T @ weighted)
    coefficients = covariance @ (weighted.T @ (weights * y))
    chi2 = float(np.sum((weights * (y - design @ coefficients)) ** 2)) / (y.size - 2)
    error = math.sqrt(covariance[1, 1] * max(1.0, chi2))
    return Power(float(coefficients[1]), error, math.exp(coefficients[0]), int(y.size), chi2)


def _percent(ratio: float, error: float) -> str:
    """E.g. "0.30 +- 0.03 % above", or to three digits where no error is known."""
    gap = 100 * (ratio - 1)
    size = f"{abs(gap):.3g}" if math.isnan(error) else with_error(abs(gap), 100 * error)
    return f"{size} % {'above' if gap > 0 else 'below'}"


def differs(other: float, value: float) -> bool:
    """Whether another theory's number is one of its own: on vanilla networks they nearly coincide."""
    return not math.isnan(other) and not math.isclose(other, value, rel_tol=1e-2)


def _sentences(verification: Verification) -> Iterator[str]:
    """The verdict, at the greatest width and over all of them."""
    row, name = int(np.argmax(verification.widths)), "lambda_max"
    theory, count = verification.settings["theory"], verification.seeds.size
    ratio, error = verification.ratio[name][row], verification.ratio_errors[name][row]
    where = f"At width {verification.widths[row]} " if verification.widths.size > 1 else ""
    whose = f"{count} networks" if count > 1 else "one network"
    sampled = with_error(verification.sampled[name][row], verification.errors[name][row])
    if verification.fishers[row] is None:
        who = f"{where}{whose}" if where else whose[0].upper() + whose[1:]
        yield f"{who} had lambda_max {sampled}, and no theory is known: {verification.network.without_recursion}."
        yield from _rounding(verification)
        return
    sentence = f"theory {theory} predicts lambda_max {verification.theory[name][row]:.5g}, and {whose} had {sampled}"
    sentence = where + sentence if where else sentence[0].upper() + sentence[1:]
    if math.isnan(ratio):
        yield f"{sentence}."
    elif math.isnan(error):
        yield f"{sentence}: {_percent(ratio, error)} the theory, with no error known of a single network."
    elif abs(ratio - 1) <= _STANDS_OUT * error:
        yield f"{sentence}: they agree within two standard errors ({_percent(ratio, error)} the theory)."
    else:
        yield f"{sentence}: {_percent(ratio, error)} the theory."
    if verification.network.outputs > 1 and not math.isnan(verification.ratio["outlier"][row]):
        gap = _percent(verification.ratio["outlier"][row], verification.ratio_errors["outlier"][row])
        yield f"The mean of the {verification.network.outputs} largest eigenvalues is {gap} the theory."
    if verification.widths.size > 1 and count > 1:
        yield _closing(verification)
    apart = [
        f"{other} lies {_percent(values[row] / verification.sampled[name][row], math.nan)}"
        for other, values in verification.others.items()
        if differs(values[row], verification.theory[name][row])
    ]
    if apart:
        yield f"Against the same networks theory {' and '.join(apart)}."
    yield from _rounding(verification)
    result = verification.fishers[row]
    if result and result.reason:
        yield f"{'Note' if result.holds else f'By its own word {theory} does not hold here'}: {result.reason}."


def _rounding(verification: Verification) -> Iterator[str]:
    if verification.rounding > LOSS[verification.settings["dtype"]]:
        yield (
            f"Rounding in {verification.settings['dtype']} may change the sampled eigenvalues by "
            f"{verification.rounding:.1g} times the largest: take common offsets off the inputs and betas."
        )


def _closing(verification: Verification) -> str:
    power = verification.powers["lambda_max"]
    gaps, errors = np.abs(verification.ratio["lambda_max"] - 1), verification.ratio_errors["lambda_max"]
    if power is None:
        standing = int(np.count_nonzero(gaps > _STANDS_OUT * errors))
        if standing == 0:
            return "At no width does the gap exceed two standard errors, so that no power of the width can be fitted."
        return (
            f"The gap exceeds two standard errors at {standing} of {gaps.size} widths, "
            f"{'too few' if standing < 3 else 'with both signs'} to fit a power of the width."
        )
    of = (
        ""
        if power.widths == gaps.size
        else f", by the {power.widths} of {gaps.size} widths where it exceeds its errors"
    )
    if power.chi2 > _POOR:
        of += f", but follows no single power (chi2 {power.chi2:.2g} a degree of freedom)"
    if power.exponent <= _STANDS_OUT * power.error:
        return f"The gap does not close as networks widen: it goes as {power}{of}."
    return f"The gap closes as {power}{of}."
