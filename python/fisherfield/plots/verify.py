# SPDX-License-Identifier: BSD-3-Clause
"""Figures of verifications: theory lines, sampled networks with error bars, and how far they are apart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _numbers
from .._optional import optional
from .._words import plural
from ..sampled.verification import LEVEL, differs
from ..theory.density import spectral_density
from .figures import STYLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..sampled import Verification

_FONTS: dict[Any, Any] = {"font.size": 12, "axes.labelsize": 13, "axes.titlesize": 13, "legend.fontsize": 11}
_SYMBOLS = {
    "lambda_max": r"$\lambda_{\max}$",
    "outlier": r"mean of the $C$ largest",
    "bulk": "bulk",
    "mean": "mean",
    "second_moment": "second moment",
}
# Of the density's largest value, and of all eigenvalues: the least lie far below.
_SEEN, _LEAST = 1e-3, 0.01
_POINTS = 200  # of the density
_DECADES = 300  # between the ends of an axis, below which 2 and 5 have ticks, too
# Okabe and Ito's colours, and a marker each.
_MARKS = {
    "lambda_max": ("#0072B2", "o"),
    "outlier": ("#56B4E9", "P"),
    "bulk": ("#D55E00", "s"),
    "mean": ("#009E73", "^"),
    "second_moment": ("#CC79A7", "D"),
}


def plot(verification: Verification, quantity: str, ax: Any) -> Figure:
    """See `Verification.plot`."""
    matplotlib = optional("matplotlib", "plot needs matplotlib", "fisherfield[plot]")
    from .drawing import drawing

    _numbers.axes_of(ax)
    _numbers.choice("quantity", quantity, tuple(verification.runs))
    known = any(result is not None for result in verification.fishers)
    row = _whole(verification) if ax is None and known else -1
    figure: Figure = drawing((18 if row >= 0 else 12) if known else 6, 6) if ax is None else ax.figure
    with matplotlib.rc_context(_FONTS):
        if ax is not None or not known:  # where no theory is known, nothing is to be drawn beside the values
            _values(figure.subplots() if ax is None else ax, verification, quantity)
            return figure
        values, closeness, *more = figure.subplots(1, 2 if row < 0 else 3)
        _values(values, verification, quantity)
        if verification.widths.size > 1:
            _gaps(closeness, verification)
        else:
            _ratios(closeness, verification)
        for panel in more:
            _spectrum(panel, verification, row)
        figure.suptitle(_title(verification), fontsize=13)
    return figure


def _whole(verification: Verification) -> int:
    """The widest network all of whose eigenvalues are there, and whose bulk has equations; -1 if there is none."""
    rows = [
        row
        for row, (values, result) in enumerate(zip(verification.spectra, verification.fishers, strict=False))
        if values is not None and result is not None and result.edge is not None
    ]
    return max(rows, key=lambda row: int(verification.widths[row]), default=-1)


def _spectrum(ax: Any, verification: Verification, row: int) -> None:
    """All eigenvalues of one network, and the density that the theory gives them, both over the logarithm."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    values, result = verification.spectra[row], verification.fishers[row]
    assert values is not None
    assert result is not None
    samples, outputs = result.samples, result.network.outputs
    theory: Any = result.theory
    assert samples is not None
    density = spectral_density(
        result.network, samples, theory, result.overlap, result.length, result.biases, points=_POINTS
    )
    seen = density.density * density.x > _SEEN * np.max(density.density * density.x)
    low = min(float(density.x[seen].min()), float(np.quantile(values[values > 0], _LEAST)))
    high = float(max(values.max(), density.outlier))
    bins = np.geomspace(low / 1.5, 1.2 * high, max(12, min(60, values.size // 4)))
    counts, _ = np.histogram(values, bins)
    ax.stairs(counts / (outputs * samples * np.diff(np.log(bins))), bins, fill=True, color="0.8", label="one network")
    colour = STYLES[theory]["color"]
    inside = density.x >= bins[0]
    ax.plot(density.x[inside], (density.x * density.density)[inside], color=colour, linewidth=1.8, label="bulk")
    ax.axvline(density.edge, color=colour, linestyle="--", label=f"edge {density.edge:.4g}")
    ax.axvline(density.outlier, color=colour, linestyle=":", linewidth=2, label=f"outlier {density.outlier:.4g}")
    ax.set_xscale("log")
    ax.set_xlim(bins[0], bins[-1])
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if bins[-1] < _DECADES * bins[0] else (1.0,)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("eigenvalue of F")
    ax.set_ylabel("share of eigenvalues, over the logarithm")
    ax.set_title(
        f"width {verification.widths[row]}, seed {verification.seeds[0]}", fontsize=11, loc="right", color="0.35"
    )
    _legend(ax)
    _clean(ax)


def _title(verification: Verification) -> str:
    count, norms = verification.seeds.size, verification.network.batch_norms
    parts = ["without BatchNorm"]
    if norms:
        gammas = sorted({norm.gamma for norm in norms})
        parts = [rf"BatchNorm, $\gamma$ = {gammas[0]:g}" if len(gammas) == 1 else "BatchNorm"]
        parts.append(
            {"exact": "gradients through its statistics", "frozen": "statistics frozen"}[
                verification.settings["statistics"]
            ]
        )
    many = plural(count, "network")
    parts.append(f"{many} a width" if verification.widths.size > 1 else many)
    parts.append(f"{verification.settings['samples']} samples")
    parts[0] = parts[0][0].upper() + parts[0][1:]
    return ", ".join(parts)


def _clean(ax: Any) -> None:
    ax.grid(True, which="major", color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)
    for spine in ("top", "right"):
        ax.spines[spine].set_visible(False)


def _legend(ax: Any) -> None:
    """Below the axes, where it hides nothing."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False, columnspacing=1.5)


def _across(ax: Any, verification: Verification) -> None:
    """The axis of widths, with the widths as ticks."""
    from matplotlib.ticker import NullFormatter, NullLocator

    ax.set_xscale("log")
    ax.set_xlabel("width")
    shown = np.sort(verification.widths)
    far = [width for place, width in enumerate(shown) if place == 0 or width >= 1.25 * shown[place - 1]]
    ax.set_xticks(far, [str(width) for width in far])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(shown[0] / 1.3, shown[-1] * 1.3)


def _values(ax: Any, verification: Verification, quantity: str) -> None:
    """Theory lines and sampled points of one quantity."""
    several = verification.widths.size > 1
    order = np.argsort(verification.widths)
    at = verification.widths[order].astype(np.float64) if several else np.zeros(1)
    lines = {verification.settings["theory"]: verification.theory[quantity]}
    if quantity in ("lambda_max", "outlier"):
        for name, values in verification.others.items():
            if any(differs(*pair) for pair in zip(values, verification.theory[quantity], strict=True)):
                lines[name] = values
    for name, values in lines.items():
        if np.isnan(values).all():
            continue
        if several:
            ax.plot(at, values[order], label=f"theory {name}", **STYLES[name])
        else:
            ax.axhline(values[0], label=f"theory {name}", **STYLES[name])
    band = verification.intervals[order] if quantity == "lambda_max" else np.full((len(order), 2), np.nan)
    if np.isfinite(band).any():
        style = {"color": STYLES[verification.settings["theory"]]["color"], "alpha": 0.18, "linewidth": 0}
        words = f"{100 * LEVEL:g} % of networks expected"
        if several:
            ax.fill_between(at, band[:, 0], band[:, 1], label=words, **style)
        else:
            ax.axhspan(*band[0], label=words, **style)
    runs, seeds = verification.runs[quantity][order], verification.seeds.size
    spread = np.linspace(-1, 1, seeds) if seeds > 1 else np.zeros(1)
    places = at[:, None] * 1.06**spread if several else 0.25 * spread[None, :]
    label = "sampled: mean, two standard errors" if seeds > 1 else "sampled"
    if seeds > 1:
        ax.plot(places.ravel(), runs.ravel(), "o", color="0.55", markersize=3.5, alpha=0.6, label="each network")
    ax.errorbar(
        at,
        verification.sampled[quantity][order],
        2 * np.nan_to_num(verification.errors[quantity][order]),
        fmt="o",
        color="black",
        markersize=6.5,
        capsize=4,
        linewidth=1.6,
        label=label,
        zorder=3,
    )
    if several:
        _across(ax, verification)
    else:
        ax.set_xticks([0], [f"width {verification.widths[0]}"])
        ax.set_xlim(-1, 1)
    drawn = np.concatenate([*(values[np.isfinite(values)] for values in lines.values()), runs.ravel()])
    if drawn.min() > 0 and drawn.max() > 8 * drawn.min():
        ax.set_yscale("log")
    elif drawn.min() >= 0:
        ax.set_ylim(0, 1.12 * drawn.max())
    ax.set_ylabel({"lambda_max": r"largest Fisher eigenvalue $\lambda_{\max}$"}.get(quantity, _SYMBOLS[quantity]))
    _legend(ax)
    _clean(ax)


def _gaps(ax: Any, verification: Verification) -> None:
    """|sampled/theory - 1| in percent over the widths; hollow where it is within two standard errors."""
    order = np.argsort(verification.widths)
    widths = verification.widths[order].astype(np.float64)
    low, high = math.inf, 0.0
    for place, name in enumerate(verification.shown):
        colour, marker = _MARKS[name]
        gaps = 100 * np.abs(verification.ratio[name] - 1)[order]
        errors = 100 * np.nan_to_num(verification.ratio_errors[name])[order]
        clear = gaps > 2 * errors
        if not np.any(gaps > 0):
            continue
        at = widths * 1.05 ** (place - (len(verification.shown) - 1) / 2)
        power = verification.powers[name]
        label = _SYMBOLS[name] + (
            "" if power is None else rf": width$^{{-{power.exponent:.2f} \pm {power.error:.2f}}}$"
        )
        down = np.minimum(2 * errors, 0.999 * gaps)
        for which, face, alpha in ((clear, colour, 1.0), (~clear, "white", 0.5)):
            ax.errorbar(
                at[which],
                gaps[which],
                [down[which], 2 * errors[which]],
                fmt=marker,
                color=colour,
                markerfacecolor=face,
                alpha=alpha,
                markersize=6.5,
                capsize=3,
                linewidth=1.3,
            )
        ax.plot([], [], marker, color=colour, label=label)
        if power is not None:
            ax.plot(widths, 100 * power.factor * widths**-power.exponent, color=colour, linewidth=1.3, alpha=0.8)
        low = min(low, gaps[clear].min() if clear.any() else (gaps + 2 * errors).min())
        high = max(high, (gaps + 2 * errors).max())
    ax.set_yscale("log")
    if high > 0:
        ax.set_ylim(low / 5, 1.5 * high)
    _across(ax, verification)
    _plain(ax)
    ax.set_ylabel("distance of sampled mean from theory, %")
    _legend(ax)
    _clean(ax)
    ax.set_title("bars: two standard errors; hollow: the gap is smaller", fontsize=11, loc="right", color="0.35")


def _plain(ax: Any) -> None:
    """Percent as one would say them."""
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _ratios(ax: Any, verification: Verification) -> None:
    """(sampled/theory - 1) in percent of every quantity at one width."""
    names = [name for name in verification.shown if np.isfinite(verification.ratio[name][0])]
    ax.axhline(0, color="black", linewidth=1.2)
    for place, name in enumerate(names):
        colour, marker = _MARKS[name]
        if verification.seeds.size > 1:
            each = 100 * (verification.runs[name][0] / verification.theory[name][0] - 1)
            places = place + np.linspace(-0.22, 0.22, each.size)
            ax.plot(places, each, "o", color="0.55", markersize=3.5, alpha=0.6)
        ax.errorbar(
            [place],
            100 * (verification.ratio[name] - 1),
            200 * np.nan_to_num(verification.ratio_errors[name]),
            fmt=marker,
            color=colour,
            markersize=7.5,
            capsize=5,
            linewidth=1.8,
            zorder=3,
        )
    ax.set_xticks(range(len(names)), [_SYMBOLS[name].replace(" ", "\n", 1) for name in names])
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_ylabel(f"sampled above theory {verification.settings['theory']}, %")
    _clean(ax)
