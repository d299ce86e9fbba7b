# SPDX-License-Identifier: BSD-3-Clause
"""`fisherfield init`: a network's file to begin with."""

from __future__ import annotations

from typing import Annotated

import typer

from .._numbers import choice
from .terminal import refusing

_NETWORKS = ("dense", "vanilla", "convnet", "convnet_cifar")
EPILOG = (
    "\b\nExample:\n  fisherfield init dense > net.toml\n  fisherfield lr net.toml --momentum 0.9\n\n"
    "\b\nNetworks of Wei, Stokes and Schwab (2019):\n"
    "  dense           784 inputs, three hidden layers of 1000, BatchNorm\n"
    "  vanilla         the same without BatchNorm\n"
    "  convnet         28 x 28 x 1, channels 30, 60, 90, BatchNorm\n"
    "  convnet_cifar   32 x 32 x 3, the same channels, BatchNorm"
)
_HEAD = """\
# The network {name!r} of Wei, Stokes and Schwab (2019), section 4. Left out of a layer, an argument has its
# default. Weights are drawn from N(0, sigma_w2 / fan_in), biases from N(0, sigma_b2); trained says whether gamma and
# beta are parameters of the network.
#
#     fisherfield lr net.toml --momentum 0.9

"""


def init(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help=f"Which network: {', '.join(_NETWORKS)}.", autocompletion=lambda: list(_NETWORKS)
        ),
    ],
) -> None:
    """Print a network's file to begin with, for > net.toml."""
    with refusing():
        choice("network", name, _NETWORKS)
    from ..plots.figures import wei2019_networks

    typer.echo(_HEAD.format(name=name) + wei2019_networks()[name]._to_toml(), nl=False)
