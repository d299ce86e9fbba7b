# SPDX-License-Identifier: BSD-3-Clause
"""Figures as pyplot makes them, so that a notebook's cell and plt.show() show them."""

from __future__ import annotations

from matplotlib.figure import Figure


class Drawing(Figure):  # type: ignore[misc, unused-ignore]
    """A figure that a notebook shows once: pyplot shows its own at the end of a cell, a cell also its last value."""

    def _ipython_display_(self) -> None:
        import matplotlib
        import matplotlib.pyplot as plt

        if "inline" in matplotlib.get_backend().lower():
            plt.close(self)  # it is shown now
        raise NotImplementedError  # IPython then takes its own way


def drawing(width: float, height: float) -> Figure:
    """A new figure, in inches; pyplot's current one from now on.

    Not within matplotlib's rc_context: the first figure has a notebook set what must last.
    """
    import matplotlib.pyplot as plt

    figure: Figure = plt.figure(FigureClass=Drawing, figsize=(width, height), dpi=100, layout="constrained")
    return figure
