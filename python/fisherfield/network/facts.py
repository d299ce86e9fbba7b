# SPDX-License-Identifier: BSD-3-Clause
"""What decides whether a theory's number holds for a network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from .layer import Step

if TYPE_CHECKING:
    from .activation import Activation
    from .norms import BatchNorm

_DEEPEST = 32  # layers whose bulk is solved: bulk.hpp has the same number


@dataclass(frozen=True)
class Facts:
    """Of one network; gathered once."""

    depth: int
    batch_norm: bool  # it has one at all
    trained: bool  # one with trained gamma and beta
    image_norm: bool  # behind a convolution
    padded_norm: bool  # behind padding, where what two inputs have in common differs between positions
    pooled_norm: bool  # the same, and AvgPool2d somewhere before it
    first_normed: bool  # the first affine layer has one: it takes the mean, and with it the inputs' overlap
    last_normed: bool  # the last hidden affine layer has one
    all_normed: bool  # every hidden affine layer of a dense chain has one
    closed: bool  # every BatchNorm has its exact finite-batch form
    convolutional: bool
    sums: bool  # of branches
    chain: bool  # of affine layers, BatchNorms, activations and pooling alone
    unpublished: str  # what of it the recursion of Wei, Stokes and Schwab does not treat
    narrowest: int | None  # units of the narrowest hidden layer, positions counted; None if there is none
    fewest_channels: int | None  # of a hidden convolution
    last_width: int | None  # N_{L-1}
    last_channels: int  # of the last hidden layer, or its units; 0 if there is none
    fewest_inputs: int  # of an affine layer, positions counted
    fewest_of_norms: tuple[int | None, int | None]  # weights of a unit before a BatchNorm: of one tap, of more
    fewest_read: int | None  # channels, 2 or more, that a group of a convolution reads; None if there is none
    fewest_normed: int | None  # channels of a group that a normalisation takes statistics of
    roots: float | None  # sum of 1/sqrt(N_l), of a chain whose bulk has equations; None of any other network
    relu_normed: bool  # it has, with ReLU behind BatchNorm everywhere
    no_scale: bool  # phi(t y) = t phi(y) for all gammas that are not 0, as this network's are, and without beta
    inverse_widths: float  # sum of 1/N_l

    @classmethod
    def of(cls, steps: tuple[Step, ...]) -> Facts:
        affine = [at for at, step in enumerate(steps) if step.layer.affine]
        readers = [[to for to, step in enumerate(steps) if at in step.reads] for at in range(len(steps))]
        norms = [at for at, step in enumerate(steps) if step.layer.over_batch]
        hidden = [steps[at] for at in affine[:-1]]
        units = [math.prod(step.after) for step in hidden]
        layers = [step.layer for step in steps]
        sums = any(len(step.reads) > 1 for step in steps)

        behind_padding = [at for at in norms if steps[at].closed_nearly]
        grouped = [
            (step.layer.affine, step.before[0] // step.layer.channel_groups)
            for step in steps
            if step.layer.channel_groups > 1 and not _of_single_units(step)
        ]

        homogeneous = _homogeneous(steps, readers)

        def closed(at: int) -> bool:
            norm = cast("BatchNorm", layers[at])
            if steps[at].image or at > affine[-1] or not all(homogeneous[to] for to in readers[at]):
                return False
            return not np.any(norm.beta) and norm.eps == 0.0 and bool(np.all(norm.gamma))

        # Dense layers one after another, BatchNorm behind all hidden ones or none, and nothing behind the last.
        plain = not sums and not any(step.layer.unpublished or step.image for step in steps)
        over_batch = [cast("BatchNorm", layers[at]) for at in norms]
        equal = not any(np.ndim(norm.gamma) or np.ndim(norm.beta) for norm in over_batch)
        ends = affine[-1] == len(steps) - 1 and len(affine) <= _DEEPEST
        bulk = plain and equal and ends and len(norms) in (0, len(hidden))
        read = [math.prod(steps[at].before) for at in affine]
        relus = bool(norms) and all(str(layer) == "relu" for layer in layers if layer.pointwise)

        return cls(
            roots=sum(width**-0.5 for width in read) if bulk and len(steps[0].before) == 1 else None,
            relu_normed=bulk and relus and not any(np.any(norm.beta) for norm in over_batch),
            no_scale=all(cast("Activation", layer).homogeneous for layer in layers if layer.pointwise)
            and not any(np.any(norm.beta) or not np.all(norm.gamma) for norm in over_batch),
            inverse_widths=sum(1 / width for width in read),
            depth=len(affine),
            batch_norm=bool(norms),
            trained=any(cast("BatchNorm", layers[at]).trained for at in norms),
            image_norm=any(steps[at].image for at in norms),
            padded_norm=bool(behind_padding),
            pooled_norm=any(layer.averages for at in behind_padding for layer in layers[:at]),
            first_normed=bool(readers[affine[0]]) and all(layers[to].over_batch for to in readers[affine[0]]),
            last_normed=not hidden or _normed(steps, affine[-1]),
            all_normed=not (sums or any(steps[at].image for at in affine))
            and all(_normed(steps, at) for at in affine[1:]),
            closed=all(closed(at) for at in norms),
            convolutional=any(steps[at].image for at in affine),
            sums=sums,
            chain=all(layer.over_batch or layer.image or not layer.unpublished for layer in layers),
            unpublished=next((layer.unpublished for layer in layers if layer.unpublished), ""),
            narrowest=min(units, default=None),
            fewest_channels=min((step.after[0] for step in hidden if step.image), default=None),
            last_width=units[-1] if units else None,
            last_channels=hidden[-1].after[0] if hidden else 0,
            fewest_inputs=min(math.prod(steps[at].before) for at in affine),
            fewest_of_norms=_fewest_of_norms(steps, norms),
            fewest_read=min((channels for of_affine, channels in grouped if of_affine), default=None),
            fewest_normed=min((channels for of_affine, channels in grouped if not of_affine), default=None),
        )


def _homogeneous(steps: tuple[Step, ...], readers: list[list[int]]) -> list[bool]:
    """Whether all phi behind each, or behind the sums that it is a part of, are positively homogeneous."""
    out = [False] * len(steps)
    for at in reversed(range(len(steps))):
        if steps[at].layer.pointwise:
            out[at] = cast("Activation", steps[at].layer).homogeneous
        elif len(steps[at].reads) > 1:
            out[at] = all(out[to] for to in readers[at])
        else:
            out[at] = not steps[at].layer.reads_units
    return out


def _of_single_units(step: Step) -> bool:
    """Whether each of its units reads one unit: its weights are drawn with units, and not taken for many."""
    return step.layer.affine and bool(step.needs_units)


def _fewest_of_norms(steps: tuple[Step, ...], norms: list[int]) -> tuple[int | None, int | None]:
    """The least fan-in of affine layers that feed a BatchNorm, of those with one tap and of those with more."""
    fans: tuple[list[int], list[int]] = ([], [])
    for feeding in (steps[steps[at].reads[0]] for at in norms if steps[at].reads[0] >= 0):
        if feeding.layer.affine and not _of_single_units(feeding):
            window = feeding.layer.window(feeding.before)
            taps = math.prod(window.kernel) if window else 1
            fans[taps > 1].append(taps * feeding.before[0] // feeding.layer.channel_groups)
    return min(fans[0], default=None), min(fans[1], default=None)


def _normed(steps: tuple[Step, ...], at: int) -> bool:
    """Whether a BatchNorm stands before a step and behind whatever layer or sum comes before that."""
    while (at := steps[at].reads[0]) >= 0 and not (steps[at].layer.affine or len(steps[at].reads) > 1):
        if steps[at].layer.over_batch:
            return True
    return False
