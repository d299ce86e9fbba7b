# SPDX-License-Identifier: BSD-3-Clause
"""The picture of a Figure2: heat maps of training with the boundaries observed and the theories' lines."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._optional import optional
from .._words import plural, shown, standardised
from ..training.kinds import LABELS
from .figures import STYLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..training import Figure2
    from ..training.figure2 import Panel

_EXPLODED = "0.72"  # grey
_FONTS: dict[Any, Any] = {"font.size": 13, "axes.titlesize": 14, "axes.labelsize": 14}


def plot(drawn: Figure2, quantity: str | None) -> Figure:
    """See `Figure2.plot`."""
    matplotlib = optional("matplotlib", "plot needs matplotlib", "fisherfield[plot]")
    from matplotlib.colors import LogNorm, Normalize

    from .drawing import drawing

    panels = list(drawn.panels.items())
    allowed = tuple(panels[0][1].arrays)
    if quantity is None:
        quantity = "test_loss" if "test_loss" in allowed else "train_loss"
    if quantity not in allowed:
        raise ValueError(f"quantity must be one of {', '.join(allowed)}, got {shown(quantity)}")
    drawn_values = [np.where(panel.arrays["exploded"] > 0, np.nan, panel.arrays[quantity]) for _, panel in panels]
    kept = np.concatenate([values[np.isfinite(values)] for values in drawn_values])
    low, high = (kept.min(), kept.max()) if kept.size else (0.1, 1.0)
    norm: Any = LogNorm(low, high) if quantity.endswith("loss") and low > 0 else Normalize(low, high)
    figure = drawing(7.0 * len(panels) + 1.6, 8.0)
    with matplotlib.rc_context(_FONTS):
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        mesh: Any = None
        for ax, (title, panel), values in zip(axes, panels, drawn_values, strict=True):
            mesh = _map(ax, panel, values, norm)
            _lines(ax, drawn, title)
            ax.set_title(fill(title, 52))
        axes[0].set_ylabel(r"learning rate, $\log_{10} \eta$")
        meaning, _ = LABELS[quantity]
        figure.colorbar(mesh, ax=list(axes), label=f"{meaning}, mean over restarts", fraction=0.04, pad=0.01)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(
            handles, names, loc="outside upper center", ncols=3 if len(panels) == 1 else len(names), frameon=False
        )
        figure.supxlabel(_caption(drawn, 92 * len(panels)), fontsize=11.5, x=0.01, ha="left")
    result: Figure = figure
    return result


def _edges(places: NDArray[np.float64]) -> NDArray[np.float64]:
    if places.size == 1:
        return np.array([places[0] - 0.5, places[0] + 0.5])
    middle = (places[1:] + places[:-1]) / 2
    return np.array([2 * places[0] - middle[0], *middle, 2 * places[-1] - middle[-1]])


def _map(ax: Any, panel: Panel, values: NDArray[np.float64], norm: Any) -> Any:
    """gamma in equal steps of its logarithm, log10 eta upward."""
    across, up = _edges(np.log2(panel.gammas)), _edges(np.log10(panel.learning_rates))
    ax.set_facecolor(_EXPLODED)
    mesh = ax.pcolormesh(across, up, np.ma.masked_invalid(values).T, norm=norm, cmap="viridis", rasterized=True)
    ax.set_xlim(across[0], across[-1])
    ax.set_ylim(up[0], up[-1])
    ticks = panel.gammas[:: max(1, panel.gammas.size // 5)]
    ax.set_xticks(np.log2(ticks), [f"{gamma:.3g}" for gamma in ticks])
    ax.set_xlabel(r"BatchNorm's scale $\gamma$")
    return mesh


def _lines(ax: Any, drawn: Figure2, title: str) -> None:
    """Theories, the measured F, and the boundaries observed; each with a white rim, for the map is of all colours."""
    from matplotlib.patheffects import Normal, Stroke

    panel = drawn.panels[title]
    fine = np.geomspace(panel.gammas[0], panel.gammas[-1], 60)
    for name, rates in drawn.curves(title, fine).items():
        style = STYLES[name]
        rim = [Stroke(linewidth=style["linewidth"] + 2.2, foreground="white"), Normal()]
        ax.plot(np.log2(fine), np.log10(rates), label=rf"$\eta^*$ {name}", path_effects=rim, **style)
    measured = np.log(panel.measured).mean(axis=1) / np.log(10)
    dots = {"linestyle": "none", "marker": "o", "markersize": 7, "markeredgewidth": 1.6}
    label = r"$\eta^*$ of the measured $F$"
    ax.plot(np.log2(panel.gammas), measured, color="black", markerfacecolor="white", label=label, **dots)
    with np.errstate(divide="ignore"):
        observed = np.log10(panel.eta_c)
    gammas = np.broadcast_to(np.log2(panel.gammas)[:, None], observed.shape)
    seen = np.isfinite(observed)
    rim = [Stroke(linewidth=4.4, foreground="white"), Normal()]
    crosses: dict[str, Any] = {"linestyle": "none", "marker": "x", "markersize": 10, "markeredgewidth": 2.4}
    ax.plot(gammas[seen], observed[seen], color="black", label="explodes from here", path_effects=rim, **crosses)


def _caption(drawn: Figure2, width: int) -> str:
    settings = drawn.settings
    words = {
        "sum": "half the squared error summed over outputs",
        "mean": "half the squared error averaged over outputs",
        "mse": "squared error averaged over outputs (MSELoss)",
        "cross_entropy": "cross-entropy",
    }[settings["loss"]]
    fixed = "trained" if settings["trained"] else "fixed"
    batch = f"batches of {settings['batch']}" if settings["batch"] else "full batches"
    restarts, seeds = settings["restarts"], len(str(settings["seeds"]).split())
    caption = (
        f"Data: {settings['data']}, {settings['n']} samples, {standardised(settings['standardize'])}. "
        f"Loss: {words}. Momentum {settings['momentum']:g}, {batch}, {settings['epochs']} epochs, "
        f"gamma and beta {fixed}, {plural(restarts, 'restart')}. Grey: a restart exploded, "
        f"its loss above {settings['threshold']:g} times the first. "
        f"Crosses: where each of {plural(seeds, 'seed')} explodes, by bisection to {100 * settings['tolerance']:g} %"
    )
    absent = sum(int(np.isinf(panel.eta_c).sum()) for panel in drawn.panels.values())
    total = sum(panel.eta_c.size for panel in drawn.panels.values())
    if absent:
        caption += f"; {absent} of {total} did not explode up to {settings['reach']:g} times the measured rate"
    return fill(f"{caption}.", width)
