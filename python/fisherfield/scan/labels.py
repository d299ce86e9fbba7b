# SPDX-License-Identifier: BSD-3-Clause
"""What a scan varies and gives: names, what they mean, and symbols for figures; other rooms add what they compute."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from .._words import data_in_words, descent_in_words
from ..network.layer import axes

AXES = {
    **{name: (axis.words, axis.symbol) for name, axis in axes().items()},
    "width": ("units or channels of every hidden layer", r"$N$"),
    "depth": ("number of affine layers", r"$L$"),
    "blocks": ("number of residual blocks", r"$B$"),
    "activation": ("activation", "activation"),
    "momentum": ("momentum of gradient descent", r"$\mu$"),
    "samples": ("number of samples", r"$n$"),
    "length": ("mean square of an input", r"$\hat q^0$"),
    "overlap": ("mean product of two inputs", r"$\hat q_{xy}^0$"),
}

# One number a point.
POINTS = {
    "lambda_max": ("largest eigenvalue of the Fisher information", r"$\lambda_{\max}$"),
    "bulk": ("mean of the other non-zero eigenvalues", r"$(a - b)/n$"),
    "mean": ("mean of all eigenvalues", r"$\mathrm{tr} F/P$"),
    "second_moment": ("second moment of all eigenvalues", r"$\mathrm{tr} F^2/P$"),
    "max_learning_rate": ("largest stable learning rate", r"$\eta^*$"),
    "multiplicity": ("how many eigenvalues lie at lambda_max", "multiplicity"),
    "parameters": ("number of parameters", r"$P$"),
    "regime": ("whether the outlier, the bulk or one sample is the largest", "regime"),
    "a": ("tangent kernel of one output on the diagonal", r"$a$"),
    "b": ("tangent kernel of one output off the diagonal", r"$b$"),
    "shift": ("how far the mean over networks of these widths lies above lambda_max, over lambda_max", "shift"),
    "spread": ("standard deviation of lambda_max from network to network, over lambda_max", "spread"),
}
SCATTER = ("shift", "spread")  # these go network by network

# One number for each affine layer and point.
LAYERED = {
    "fan_in": ("units that feed the layer", r"$N_{l-1}$"),
    "q_hat": ("length of what feeds the layer", r"$\hat q$"),
    "q_hat_xy": ("overlap of what feeds the layer", r"$\hat q_{xy}$"),
    "v_hat": ("length less overlap of what feeds the layer", r"$\hat q - \hat q_{xy}$"),
    "q": ("length of pre-activations", r"$q$"),
    "q_xy": ("overlap of pre-activations", r"$q_{xy}$"),
    "v": ("length less overlap of pre-activations", r"$q - q_{xy}$"),
    "theta": ("diagonal of the tangent kernel", r"$D$"),
    "theta_xy": ("off-diagonal of the tangent kernel", r"$o$"),
    "d": ("diagonal less off-diagonal of the tangent kernel", r"$D - o$"),
    "c": ("correlation of pre-activations", r"$q_{xy}/q$"),
    "part_a": ("the layer's part of a", r"part of $a$"),
    "part_b": ("the layer's part of b", r"part of $b$"),
}


# What may be asked for: a point's numbers, ff.OrderParameters's columns, and the parts of a and b together.
QUANTITIES = (*POINTS, *(name for name in LAYERED if not name.startswith("part")), "contributions")

# Status of a point; -1 stands in a store where a chunk is still to come.
STATUSES = {
    -1: "not computed yet",
    0: "ok",
    1: "zero variance before a normalisation with eps = 0",
    2: "an integral's variance is out of range",
    3: "an integral does not converge",
    4: "an integral overflows",
    5: "a number leaves float64's range and stands as 0 or inf",
    6: "samples, overlap and length do not go together",
    7: "training exploded in every restart",
    8: "the bulk's edge, or one sample, may rule lambda_max and was not computed",
}
OUT_OF_RANGE, BEYOND_RANGE, INADMISSIBLE, EDGE_OPEN = 2, 5, 6, 8
KEPT = (BEYOND_RANGE, EDGE_OPEN)  # statuses beside ok of points that have numbers
_IN_CORE = {"contributions": ("part_a", "part_b"), "regime": ("outlier",)}
_ASKED = {False: "edge=True does", True: "its equations could not be solved"}
REGIMES = {-1: "none", 0: "bulk", 1: "outlier", 2: "sample"}


def status_in_words(status: int, settings: Mapping[str, Any]) -> str:
    """With what can be done about it, or why nothing was, which depends on what was asked for."""
    more = f" ({_ASKED[bool(settings.get('edge'))]})" if status == EDGE_OPEN else ""
    return STATUSES[status] + more


def core_names(quantities: tuple[str, ...]) -> tuple[str, ...]:
    """The core's words for what was asked for."""
    return tuple(name for quantity in quantities for name in _IN_CORE.get(quantity, (quantity,)))


@dataclass(frozen=True)
class Kind:
    """How the tables of one kind name what they hold.

    Attributes
    ----------
    what : str
        What was computed, for titles.
    mark : str
        The setting that tells it from other kinds.
    settings : tuple of str
        The names of all, in order.
    words : function of (settings, names of the axes, names of the arrays)
        The settings in words.
    labels : mapping
        Of every axis and result the meaning and a symbol in TeX.
    none : mapping
        What stands for None in a file, of settings where it is not "none".
    """

    what: str
    mark: str
    settings: tuple[str, ...]
    words: Callable[[Mapping[str, Any], Container[str], Container[str]], list[str]]
    labels: Mapping[str, tuple[str, str]]
    none: Mapping[str, str]


def _words(settings: Mapping[str, Any], axes: Container[str], arrays: Container[str]) -> list[str]:
    words = [f"theory {settings['theory']}"]
    if "samples" not in axes:
        words.append(data_in_words(settings["samples"]))
    words += [f"{name} {settings[name]:g}" for name in ("overlap", "length") if name not in axes]
    words.append("with biases" if settings["biases"] else "without biases")
    if "max_learning_rate" in arrays:
        words.append(f"loss {settings['loss']}")
        words += descent_in_words(settings, "momentum" not in axes)
    if settings.get("edge"):
        words.append("with the bulk's edge")
    if settings.get("units") is not None:
        words.append(f"by {settings['units']} sampled units")
    return words


THEORY = Kind(
    what="mean-field theory",
    mark="theory",
    settings=(
        *("theory", "samples", "overlap", "length", "biases", "loss", "momentum", "nesterov", "weight_decay"),
        *("backend", "tables", "edge", "units", "seed"),
    ),
    words=_words,
    labels={**AXES, **POINTS, **LAYERED},
    none={"samples": "infinitely many"},
)
_kinds = [THEORY]


def add(*kinds: Kind) -> None:
    """Makes kinds known; the first whose mark a table has is its own."""
    _kinds.extend(kinds)


def kind_of(settings: Mapping[str, Any]) -> Kind:
    """Whose settings, or a file's attributes, these are."""
    return _first(lambda kind: kind.mark in settings, THEORY.mark)


def meaning(name: str) -> str:
    """Of an axis or a result, in words."""
    layer, words, _ = _label(name)
    return f"{words}, of {layer} alone" if layer else words


def symbol(name: str) -> str:
    """Of an axis or a result, in TeX."""
    layer, _, tex = _label(name)
    return f"{tex} of {layer}" if layer else tex


def _label(name: str) -> tuple[str, str, str]:
    layer, _, field = name.rpartition(".")
    return layer, *_first(lambda kind: field in kind.labels, field).labels[field]


def _first(fits: Callable[[Kind], bool], name: str) -> Kind:
    """Of all kinds; those of training come when they are asked for."""
    if not any(map(fits, _kinds)):
        import_module("fisherfield.training")
    for kind in filter(fits, _kinds):
        return kind
    raise KeyError(name)
