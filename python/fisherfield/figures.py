# SPDX-License-Identifier: BSD-3-Clause
"""Figures of the theory: BatchNorm's effect on lambda_max and on the largest stable learning rate."""

from .plots.figures import crossing, wei2019_figure_1, wei2019_networks

__all__ = ["crossing", "wei2019_figure_1", "wei2019_networks"]
