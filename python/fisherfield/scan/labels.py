# SPDX-License-Identifier: BSD-3-Clause
"""What a scan varies and gives: names, what they mean, and symbols for figures."""

from __future__ import annotations

__all__ = [
    "AXES",
    "LAYERED",
    "POINTS",
    "QUANTITIES",
    "REGIMES",
    "STATUSES",
    "core_names",
]

AXES = {
    "gamma": ("BatchNorm's scale", r"$\gamma$"),
    "beta": ("BatchNorm's shift", r"$\beta$"),
    "eps": ("BatchNorm's addition to the variance", r"$\epsilon$"),
    "sigma_w2": ("variance of weights times fan_in", r"$\sigma_w^2$"),
    "sigma_b2": ("variance of biases", r"$\sigma_b^2$"),
    "width": ("units or channels of every hidden layer", r"$N$"),
    "depth": ("number of affine layers", r"$L$"),
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
    "regime": ("whether the outlier or the bulk is the larger", "regime"),
    "a": ("tangent kernel of one output on the diagonal", r"$a$"),
    "b": ("tangent kernel of one output off the diagonal", r"$b$"),
}

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
    1: "zero variance before a BatchNorm with eps = 0",
    2: "an integral's variance is out of range",
    3: "an integral does not converge",
    4: "an integral overflows",
    5: "a number leaves float64's range and stands as 0 or inf",
    6: "samples, overlap and length do not go together",
    7: "training exploded in every restart",
}
REGIMES = {-1: "none", 0: "bulk", 1: "outlier"}


def core_names(quantities: tuple[str, ...]) -> tuple[str, ...]:
    """The core's words for what was asked for."""
    other = {"contributions": ("part_a", "part_b"), "regime": ("outlier",)}
    return tuple(name for quantity in quantities for name in other.get(quantity, (quantity,)))
