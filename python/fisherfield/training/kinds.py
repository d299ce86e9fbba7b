# SPDX-License-Identifier: BSD-3-Clause
"""What scans of training hold: phase diagrams and boundaries."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Any

from ..scan.labels import Kind, add

# What phase diagrams and boundaries of training vary and give.
LABELS = {
    "restart": ("number of the restart", "restart"),
    "eta_c": ("learning rate at which training explodes", r"$\eta_c$"),
    "measured": ("largest stable learning rate of the Fisher information measured", r"$\eta^*$ measured"),
    "learning_rate": ("learning rate", r"$\eta$"),
    "train_loss": ("loss of the training samples at the end", "training loss"),
    "test_loss": ("loss of the test samples at the end", "test loss"),
    "train_accuracy": ("share of training samples classified rightly at the end", "training accuracy"),
    "test_accuracy": ("share of test samples classified rightly at the end", "test accuracy"),
    "exploded": ("share of restarts that exploded", "exploded"),
}


def _words(settings: Mapping[str, Any], axes: Container[str], arrays: Container[str]) -> list[str]:
    return [
        f"training on {settings['data']}, loss {settings['loss']}, momentum {settings['momentum']:g}",
        f"batch {settings['batch'] or 'full'}, {settings['epochs']} epochs, seeds {settings['seeds']}",
    ]


_DIAGRAMS = Kind(
    what="training",
    mark="data",
    settings=(
        *("data", "standardize", "n", "checksum", "loss", "momentum", "nesterov", "weight_decay", "batch", "epochs"),
        *("threshold", "dtype", "trained", "seeds"),
    ),
    words=_words,
    labels=LABELS,
    none={"batch": "full"},
)
_BOUNDARIES = replace(_DIAGRAMS, mark="tolerance", settings=(*_DIAGRAMS.settings, "tolerance", "reach"))
add(_BOUNDARIES, _DIAGRAMS)
