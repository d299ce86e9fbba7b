# SPDX-License-Identifier: BSD-3-Clause
"""Figures of the theory: BatchNorm's effect on lambda_max and on the largest stable learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._numbers import THEORIES, Theory, entries, float_array, is_sequence
from .._optional import optional
from .._words import shown
from ..network import Network, convnet, mlp
from ..theory import LearningRate, fisher, max_learning_rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind tell apart; the dashes tell the curves apart in grey print.
STYLES: dict[str, dict[str, Any]] = {
    "exact": {"color": "#0072B2", "linestyle": "-", "linewidth": 2.8},
    "frozen": {"color": "#D55E00", "linestyle": (0, (6, 2)), "linewidth": 2.4},
    "wei2019": {"color": "#009E73", "linestyle": (0, (6, 1.5, 1.2, 1.5)), "linewidth": 2.4},
    "vanilla": {"color": "#000000", "linestyle": (0, (1.2, 1.4)), "linewidth": 2.2},
    "vanilla (wei2019)": {"color": "#6E6E6E", "linestyle": (0, (1.2, 3.2)), "linewidth": 2.2},
}
_FONTS: dict[Any, Any] = {
    "font.size": 14,
    "axes.labelsize": 15,
    "axes.titlesize": 16,
    "xtick.labelsize": 13,
    "ytick.labelsize": 13,
}


def wei2019_networks() -> dict[str, Network]:
    """The networks of Wei, Stokes and Schwab (2019), section 4, at gamma = 1; `examples/` holds the same as TOML.

    ``dense`` and ``convnet`` (MNIST), ``convnet_cifar`` (CIFAR-10), and ``vanilla``: ``dense`` without BatchNorm.
    """
    common: dict[str, Any] = {"activation": "relu", "gamma": 1.0, "sigma_w2": 2.0, "sigma_b2": 0.5}
    dense = mlp([784, 1000, 1000, 1000, 10], **common)
    return {
        "dense": dense,
        "vanilla": dense.replace(batch_norm=False),
        "convnet": convnet((1, 28, 28), channels=[30, 60, 90], outputs=10, kernel=3, stride=2, padding=1, **common),
        "convnet_cifar": convnet(
            (3, 32, 32), channels=[30, 60, 90], outputs=10, kernel=3, stride=2, padding=1, **common
        ),
    }


def crossing(
    net: Network, theory: Theory = "wei2019", biases: bool | None = False, low: float = 1e-3, high: float = 1e3
) -> float | None:
    """The gamma at which BatchNorm's lambda_max equals that of the same network without BatchNorm, by bisection.

    Infinite data. Below it BatchNorm allows the larger learning rate. None where there is no crossing in
    [`low`, `high`].
    """
    vanilla = fisher(net.replace(batch_norm=False), theory, biases=biases).lambda_max

    def excess(gamma: float) -> float:
        return fisher(net.replace(gamma=gamma), theory, biases=biases).lambda_max - vanilla

    if not excess(low) < 0 < excess(high):
        return None
    while high - low > 1e-10 * high:
        middle = math.sqrt(low * high) if high > 2 * low else (low + high) / 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return (low + high) / 2


def wei2019_figure_1(
    gammas: Iterable[float] | None = None, momentum: float = 0.9, biases: bool | None = False
) -> Figure:
    """Figure 1 of Wei, Stokes and Schwab (2019): lambda_max and eta_star against gamma, dense and convolutional.

    Parameters
    ----------
    gammas : iterable of float, optional
        BatchNorm's gamma, > 0; by default 100 values from 0.05 to 5.
    momentum : float
        mu in eta_star = 2 (1 + mu)/lambda_max.
    biases : bool, optional
        Whether the gradients of the biases count. The paper leaves them out, and so does the figure, for every curve;
        None keeps them for "exact" and "frozen".

    Returns
    -------
    matplotlib.figure.Figure
        One of pyplot's: a notebook shows it, so does `plt.show()`; or call its `savefig`.

    Notes
    -----
    All curves are for infinite data. On the convolutional network "wei2019" has a vanilla value of its own, for it
    treats positions in a simpler way than the position-resolved "exact" and "frozen", which agree without BatchNorm.
    """
    matplotlib = optional("matplotlib", "figures need matplotlib", "fisherfield[plot]")
    from .drawing import drawing

    if is_sequence(gammas) and not hasattr(gammas, "dtype"):
        gammas = entries("gammas", gammas)
    grid = np.linspace(0.05, 5.0, 100) if gammas is None else np.sort(float_array("gammas", gammas).ravel())
    if grid.size < 2 or not (grid[0] > 0 and np.isfinite(grid[-1])):
        raise ValueError(f"gammas must hold at least two numbers, all finite and > 0, got {shown(grid.tolist())}")
    networks = wei2019_networks()
    columns = {
        "Dense: 784 inputs, 3 x 1000 hidden units": networks["dense"],
        "Convolutional: 28 x 28 x 1, channels 30, 60, 90": networks["convnet"],
    }
    figure = drawing(15.5, 10.5)
    with matplotlib.rc_context(_FONTS):
        panels = figure.subplots(2, 2, sharex=True, squeeze=False)
        for place, (title, net) in enumerate(columns.items()):
            curves, bounded = _curves(net, grid, momentum, biases)
            meeting = crossing(net, "wei2019", biases)
            top, bottom = panels[0, place], panels[1, place]
            top.set_title(title, pad=12)
            bottom.set_xlabel(r"BatchNorm's scale $\gamma$")
            for row, axes in enumerate((top, bottom)):
                _draw(axes, grid, {name: values[row] for name, values in curves.items()}, meeting)
        panels[0, 0].set_ylabel(r"largest Fisher eigenvalue $\lambda_{\max}$")
        panels[1, 0].set_ylabel(
            r"largest stable learning rate" "\n" rf"$\eta^* = 2(1+\mu)/\lambda_{{\max}}$, momentum $\mu$ = {momentum:g}"
        )
        figure.supxlabel(_caption(biases, bounded), fontsize=12.5, x=0.01, ha="left")
    return figure


def _curves(
    net: Network, gammas: np.ndarray, momentum: float, biases: bool | None
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], set[str]]:
    """Name -> (lambda_max, eta_star) over gamma, and the names of those whose outputs spread the eigenvalue."""
    bare = net.replace(batch_norm=False)
    rates: dict[str, list[LearningRate]] = {
        theory: [max_learning_rate(net.replace(gamma=gamma), momentum, theory, biases=biases) for gamma in gammas]
        for theory in THEORIES
    }
    rates["vanilla"] = [max_learning_rate(bare, momentum, "exact", biases=biases)] * gammas.size
    published = max_learning_rate(bare, momentum, "wei2019", biases=biases)
    if not math.isclose(published, rates["vanilla"][0], rel_tol=1e-2):
        rates["vanilla (wei2019)"] = [published] * gammas.size
    curves = {
        name: (np.array([rate.fisher.lambda_max for rate in values]), np.array(values, dtype=np.float64))
        for name, values in rates.items()
    }
    spread = {name for name, values in rates.items() if "outputs' eigenvalues" in values[-1].reason}
    return curves, {name for name in spread if "wei2019" not in name}


def _draw(axes: Axes, gammas: np.ndarray, curves: dict[str, np.ndarray], meeting: float | None) -> None:
    axes.set_yscale("log")
    axes.set_xlim(0, gammas[-1])
    axes.grid(True, which="major", color="0.88", linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in ("top", "right"):
        axes.spines[spine].set_visible(False)
    for name, values in curves.items():
        axes.plot(gammas, values, label=name, **STYLES[name])
    # The log axis ends near the values at 2 % of the greatest gamma: towards 0 the curves run off it for ever.
    near = [value for values in curves.values() for value in (np.interp(0.02 * gammas[-1], gammas, values), values[-1])]
    axes.set_ylim(0.8 * min(near), 1.8 * max(near))
    _label_ends(axes, {name: values[-1] for name, values in curves.items()})
    if meeting is not None and gammas[0] < meeting < gammas[-1]:
        vanilla = curves.get("vanilla (wei2019)", curves["vanilla"])[0]
        rising = curves["wei2019"][-1] > curves["wei2019"][0]
        axes.plot([meeting], [vanilla], "o", markersize=11, markerfacecolor="white", markeredgewidth=2, color="black")
        axes.annotate(
            "wei2019 meets vanilla\n" rf"at $\gamma$ = {meeting:.2f}",
            (meeting, vanilla),
            xytext=(0.97, 0.40 if rising else 0.60),
            textcoords="axes fraction",
            ha="right",
            va="center",
            arrowprops={"arrowstyle": "-", "color": "black", "linewidth": 1, "shrinkB": 7, "relpos": (0.3, 0.5)},
        )


def _label_ends(axes: Axes, ends: dict[str, float]) -> None:
    """Each curve's name right of the axes at the height where the curve ends, moved apart where names would overlap."""
    low, high = np.log(axes.get_ylim())
    names = sorted(ends, key=lambda name: ends[name])
    heights = [(math.log(ends[name]) - low) / (high - low) for name in names]
    for name, height, moved in zip(names, heights, _apart(heights, gap=0.062), strict=True):
        axes.annotate(
            name,
            (1.0, height),
            xytext=(1.05, moved),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            color=STYLES[name]["color"],
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": STYLES[name]["color"], "linewidth": 1, "shrinkA": 2, "shrinkB": 2},
        )


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """The positions nearest to `heights` (ascending, least squares) that lie at least `gap` apart: pooled violators."""
    groups: list[list[float]] = []
    for index, height in enumerate(heights):
        groups.append([height - index * gap])
        while len(groups) > 1 and np.mean(groups[-2]) > np.mean(groups[-1]):
            groups[-2:] = [groups[-2] + groups[-1]]
    pooled = [float(np.mean(group)) for group in groups for _ in group]
    return [position + index * gap for index, position in enumerate(pooled)]


def _caption(biases: bool | None, bounded: set[str]) -> str:
    counted = {
        False: "gradients of the biases left out, as published",
        True: "gradients of the biases counted",
        None: "gradients of the biases counted by exact and frozen, not by wei2019",
    }[biases]
    lines = [
        r"Infinitely many samples, infinite width. ReLU, $\sigma_w^2$ = 2, $\sigma_b^2$ = 0.5. "
        rf"Loss: sum over outputs, mean over samples, 1/2; {counted}.",
        "vanilla: the same network without BatchNorm. exact: gradient through the batch statistics; "
        "frozen: statistics held constant; wei2019: as published.",
    ]
    if bounded:
        names = ", ".join(name for name in STYLES if name in bounded)
        lines.append(rf"With 10 outputs $\lambda_{{\max}}$ of networks lies above on average, $\eta^*$ below: {names}.")
    return "\n".join(lines)
