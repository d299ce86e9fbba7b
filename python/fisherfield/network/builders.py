# SPDX-License-Identifier: BSD-3-Clause
"""Builders of networks from a few numbers: mlp and convnet."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import _numbers
from .._ways import to_sequence
from .activation import as_activation
from .affine import Affine, Conv2d, Dense
from .layer import Layer, kinds
from .network import Network, per_layer
from .norms import BatchNorm, Norm
from .pools import Flatten
from .residual import Residual

__all__ = ["convnet", "mlp"]


def mlp(
    widths: Sequence[int],
    activation: Any = "relu",
    batch_norm: bool = True,
    gamma: Any = 1.0,
    beta: Any = 0.0,
    eps: Any = 0.0,
    trained: Any = False,
    sigma_w2: Any = 2.0,
    sigma_b2: Any = 0.5,
    norm: str | None = "batch",
    residual: Any = False,
) -> Network:
    """A fully connected network of the given widths, input first and outputs last.

    z_1 = W_1 x + b_1, then with phi_l(z) = activation(norm(z)) after each of the hidden layers l = 1 .. L-1

        z_{l+1} = W_{l+1} phi_l(z_l) + b_{l+1},

    or, in a residual (pre-activation) network, for all of these but the outputs

        z_{l+1} = z_l + scale_l (W_{l+1} phi_l(z_l) + b_{l+1}).

    Where the width changes there, the skip is a Dense layer of its own on z_l with the same variances.

    Parameters
    ----------
    widths : sequence of int
        The inputs, the hidden layers and the outputs.
    activation : str, callable, Activation or a sequence
    batch_norm : bool
        False takes the BatchNorm of ``norm="batch"`` out, and changes nothing for other norms.
    gamma, beta, eps, trained : number, bool or a sequence
        Those of the norms; one a hidden layer.
    sigma_w2, sigma_b2 : number or a sequence
        One for each z_l. Defaults are those of Wei, Stokes and Schwab (2019), section 4.
    norm : str or None
        "batch" for BatchNorm, "layer" for LayerNorm, "rms" for RMSNorm, which has no beta; None is none.
    residual : bool, float or a sequence
        Whether to add skips; or the scale of the branches, one number or one for each of the L-2 sums. True is 1.

    Raises
    ------
    ValueError, TypeError
        In one sentence.

    Examples
    --------
    >>> ff.mlp([784, 1000, 1000, 1000, 10], gamma=0.25)
    >>> ff.mlp([784, *[1000] * 8, 10], norm="layer", residual=0.5)
    """
    widths = (
        [_numbers.integer("widths", width, 1) for width in _numbers.entries("widths", widths)]
        if _numbers.is_sequence(widths)
        else widths
    )
    if not isinstance(widths, list) or len(widths) < 2:
        raise ValueError(
            f"widths must hold at least the inputs and the outputs, got {_numbers.shown(widths)}{to_sequence(widths)}"
        )
    affine = [
        Dense(units, w2, b2)
        for units, w2, b2 in zip(
            widths[1:],
            per_layer("sigma_w2", sigma_w2, len(widths) - 1),
            per_layer("sigma_b2", sigma_b2, len(widths) - 1),
            strict=True,
        )
    ]
    between = norm_and_phi(len(affine) - 1, activation, norm, batch_norm, gamma, beta, eps, trained)
    scales = _scales(residual, max(len(affine) - 2, 0))
    return Network((widths[0],), (*_stack(affine[:-1], between, scales), affine[-1]))


def convnet(
    input_shape: tuple[int, int, int],
    channels: Sequence[int],
    outputs: int,
    kernel: Any = 3,
    stride: Any = 2,
    padding: Any = 1,
    activation: Any = "relu",
    batch_norm: bool = True,
    gamma: Any = 1.0,
    beta: Any = 0.0,
    eps: Any = 0.0,
    trained: Any = False,
    sigma_w2: Any = 2.0,
    sigma_b2: Any = 0.5,
    norm: str | None = "batch",
) -> Network:
    """A convolutional network: one Conv2d for each of `channels`, then Flatten and a Dense layer to the outputs.

    The norm stands after every Conv2d, then the activation. Parameters may be sequences as in `mlp`, and norm is one of
    its words; kernel, stride and padding hold for every convolution. Defaults are those of Wei, Stokes and Schwab
    (2019), section 4: stride 2 and padding 1, where a single Conv2d has PyTorch's 1 and 0. Raises ValueError or
    TypeError in one sentence.

    >>> ff.convnet((1, 28, 28), channels=[30, 60, 90], outputs=10)
    """
    channels = list(channels) if _numbers.is_sequence(channels) else channels
    if not isinstance(channels, list) or not channels:
        raise ValueError(
            f"channels must hold at least one number, got {_numbers.shown(channels)}{to_sequence(channels)}"
        )
    w2 = per_layer("sigma_w2", sigma_w2, len(channels) + 1)
    b2 = per_layer("sigma_b2", sigma_b2, len(channels) + 1)
    affine: list[Any] = [
        Conv2d(count, kernel, stride, padding, w, b) for count, w, b in zip(channels, w2, b2, strict=False)
    ]
    affine.append(Dense(_numbers.integer("outputs", outputs, 1), w2[-1], b2[-1]))
    between = norm_and_phi(len(channels), activation, norm, batch_norm, gamma, beta, eps, trained)
    return Network(input_shape, (*_stack(affine[:-1], between, ()), Flatten(), affine[-1]))


def norm_and_phi(
    hidden: int, activation: Any, norm: Any, batch_norm: Any, gamma: Any, beta: Any, eps: Any, trained: Any
) -> list[list[Layer]]:
    """What stands behind each hidden layer: its norm, if there is one, and phi."""
    words = {cls.word: cls for cls in kinds().values() if issubclass(cls, Norm) and cls.word}
    if norm is not None and (not isinstance(norm, str) or norm not in words):
        raise ValueError(f"norm must be one of {', '.join(words)}, or None, got {_numbers.shown(norm)}")
    kind = words[norm or BatchNorm.word]
    without = norm is None or (not _numbers.boolean("batch_norm", batch_norm) and kind is BatchNorm)
    columns = {"gamma": gamma, "beta": beta, "eps": eps, "trained": trained}
    columns = {name: per_layer(name, value, hidden) for name, value in columns.items()}
    if "beta" not in (field.name for field in dataclasses.fields(kind)):
        for value in columns.pop("beta"):
            if _numbers.real("beta", value) != 0.0:
                raise ValueError(
                    f"beta must be 0, or left out, with norm='{norm}', which has none, got {_numbers.shown(value)}"
                )
    norms = [kind(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
    phis = [as_activation(item) for item in per_layer("activation", activation, hidden)]
    return [[phi] if without else [one, phi] for one, phi in zip(norms, phis, strict=True)]


def _scales(residual: Any, blocks: int) -> list[float]:
    """The scale of each block; none where the network has no skips."""
    if isinstance(residual, (bool, np.bool_)):
        return [1.0] * blocks if residual else []
    several = _numbers.is_sequence(residual)
    if not several and not isinstance(residual, (int, float, np.number)):
        allowed = "True, False, or the branches' scale, a number or one a sum"
        raise TypeError(f"residual must be {allowed}, got {_numbers.shown(residual)}")
    scales = per_layer("residual", residual, blocks if several else 1)
    return [_numbers.SIGNED.convert("residual", scale) for scale in scales] * (1 if several else blocks)


def _stack(affine: Sequence[Affine], between: Sequence[list[Layer]], scales: Sequence[float]) -> Iterator[Layer]:
    """Hidden layers, each with what stands behind it; where there are scales all but the first are branches."""
    for place, layer in enumerate(affine):
        if place and scales:
            skip = () if layer.width == affine[place - 1].width else (layer,)
            yield Residual((*between[place - 1], layer), skip, scales[place - 1])
        else:
            yield layer
        if not scales or place + 1 == len(affine):
            yield from between[place]
