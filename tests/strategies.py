# SPDX-License-Identifier: BSD-3-Clause
"""Random networks, data and activations for hypothesis."""

from dataclasses import fields, replace

import numpy as np
from hypothesis import strategies as st

import fisherfield as ff
from fisherfield.network import layer as base
from fisherfield.network.layer import DATA, GAUSSIAN, Stream
from fisherfield.network.norms import Norm

CLOSED = ("relu", "leaky_relu(0.3)", "abs", "linear", "step", "erf", "sin")
QUADRATURE = ("tanh", "sigmoid", "gelu", "silu", "softplus", "elu", "selu", "hardtanh", "relu6", "mish")
# One of every name that needs a parameter.
GIVEN = {
    "monomial": "monomial(3)",
    "rectified_monomial": "rectified_monomial(2)",
    "hermite": "hermite(4)",
    "polynomial": "polynomial(0.5, -1, 0, 0.25)",
}
HOMOGENEOUS = ("relu", "leaky_relu(0.3)", "abs")
THEORIES = st.sampled_from(("exact", "frozen", "wei2019"))


def floats(low, high):
    return st.floats(low, high, allow_subnormal=False)


def variances(draw):
    """sigma_w2 and sigma_b2."""
    return draw(floats(0.3, 3.0)), draw(floats(0.05, 1.0))


def plain(draw, kind, shape, names=None):
    """One of a kind, or the fields of these names, each from its own range: zeros where they are the default, too. Now
    and then a norm has gammas and betas of few units each."""
    values, own = {}, getattr(kind, "own", {}).values()
    many = shape[0] if len(shape) == 1 or issubclass(kind, ff.GroupNorm | ff.BatchNorm) else 0
    apart = own and 0 < many < 9 and draw(st.booleans())
    for each in fields(kind):
        axis = kind.axes().get(each.name)
        if names is not None and each.name not in names:
            continue
        if axis is None:
            assert isinstance(each.default, bool), f"{kind.__name__}.{each.name} needs an entry in SIZED"
            values[each.name] = draw(st.booleans())
        else:
            fitting = [x for x in VALUES if axis.range.fits(np.array([x])).all()]
            small = [x for x in SMALL if axis.range.fits(np.array([x])).all()]
            one = st.sampled_from(fitting if each.default else [0.0, *small, *fitting])
            together = not (apart and each.name in own) or draw(st.booleans())
            values[each.name] = draw(one if together else st.lists(one, min_size=many, max_size=many))
    return kind(**values) if names is None else values


VALUES = (0.3, 0.7, 1.0, 1.4, 2.0, 3.0, -0.7, -1.3)
SMALL = (0.0, 1e-5, 0.1)  # of what is 0 where nobody says otherwise


def affine(draw, kind, **sizes):
    bias = draw(st.sampled_from((True, True, False)))
    sigma_w2, sigma_b2 = variances(draw)
    return kind(**sizes, sigma_w2=sigma_w2, bias=bias, **({"sigma_b2": sigma_b2} if bias else {}))


def dense(draw, shape, activations):
    return affine(draw, ff.Dense, units=draw(st.one_of(st.integers(2, 8), st.integers(1, 400))))


def parts(draw, *counts, least=2):
    """A number of groups that two counts have in common, and that leaves `least` or more of the first to each."""
    common = [g for g in range(1, counts[0] // least + 1) if all(count % g == 0 for count in counts)]
    return draw(st.sampled_from(common or [1]))


def conv2d(draw, shape, activations, kind=ff.Conv2d, height=(0, 1)):
    padding, channels = draw(st.integers(0, 2)), draw(st.integers(1, 50))
    dilation = draw(st.sampled_from((1, 1, 2)))
    spans = [(shape[1:][side] + 2 * padding - 1) // dilation + 1 for side in height]
    kernel = tuple(draw(st.integers(1, min(3, span))) for span in spans)
    sizes = {"kernel": kernel if len(kernel) > 1 else kernel[0], "stride": draw(st.integers(1, 2))}
    if draw(st.booleans()):
        channels = shape[0] * draw(st.integers(1, 2))  # of which convolutions may be depthwise
    groups = parts(draw, shape[0], channels, least=1)
    return affine(draw, kind, channels=channels, padding=padding, dilation=dilation, groups=groups, **sizes)


def conv1d(draw, shape, activations):
    return conv2d(draw, shape, activations, ff.Conv1d, (1,)) if shape[1] == 1 else None


def group_norm(draw, shape, activations):
    if shape[0] == 1:
        return None
    return ff.GroupNorm(parts(draw, shape[0]), **plain(draw, ff.GroupNorm, shape, ("gamma", "beta", "eps", "trained")))


def activation(draw, shape, activations):
    return ff.Activation(draw(st.sampled_from(activations)))


def pool(kind):
    def drawn(draw, shape, activations):
        padding = draw(st.sampled_from((0, 0, 1)))
        kernel = tuple(draw(st.integers(2 * padding or 1, max(2 * padding, min(2, side)))) for side in shape[1:])
        return kind(kernel, draw(st.integers(1, 2)), padding)

    return drawn


def subsample(draw, shape, activations):
    return ff.Subsample(shape[0] + draw(st.integers(0, 5)), draw(st.sampled_from((1, 2, (1, 2)))))


def upsample(draw, shape, activations):
    return ff.Upsample(draw(st.sampled_from((1, (1, 2)) if shape[1] == 1 else (1, 2, (1, 2)))))


# Of the kinds whose sizes must fit what comes in one that does, or None; all others are drawn field by field.
SIZED = {
    ff.Dense: dense,
    ff.Conv2d: conv2d,
    ff.Conv1d: conv1d,
    ff.GroupNorm: group_norm,
    ff.Activation: activation,
    ff.AvgPool2d: pool(ff.AvgPool2d),
    ff.MaxPool2d: pool(ff.MaxPool2d),
    ff.Subsample: subsample,
    ff.Upsample: upsample,
}


def has_recursion(layer, spot):
    """Whether every step that a layer makes here has a closed recursion."""
    return not any(step.needs_units and not step.closed_nearly for step in layer.steps(spot))


def layers_behind(draw, spot, activations, most, side, depth=2, same_size=False, closed=True):
    """Layers in any order that they allow, sums of branches among them; where the next one comes to stand. `closed`:
    those that have a closed recursion."""
    layers = []
    for _ in range(draw(st.integers(0, most))):
        fitting = [kind for kind in base.kinds().values() if fits(kind, spot, closed) and kind is not ff.Subsample]
        layer = drawn(draw, draw(st.sampled_from(fitting)), spot, activations, side, depth, closed)
        after = spot.shape if layer is None else layer.shape_of(spot.shape)
        if (
            layer is None
            or (closed and not has_recursion(layer, spot))
            or (same_size and len(after) == 3 and after[1:] != spot.shape[1:])
            or max((1, *after[1:])) > side + 1
        ):
            continue
        layers.append(layer)
        spot = spot.behind(layer, after, 0)
    return layers, spot


# Where the kinds that have a closed recursion in some places alone have one.
CLOSED_BEHIND = {ff.BatchNorm: (Stream.UNITS,), ff.Activation: GAUSSIAN, ff.MaxPool2d: ()}


def fits(kind, spot, closed=True):
    """Norms over units stand where all have the same gamma and beta."""
    unequal = spot.unequal and issubclass(kind, Norm) and not kind.over_batch
    takes = CLOSED_BEHIND.get(kind, kind.takes) if closed else kind.takes
    return spot.stream in takes and kind.image in (None, len(spot.shape) == 3) and not unequal


def drawn(draw, kind, spot, activations, side, depth, closed=True):
    if kind is ff.Residual:
        return residual(draw, spot, activations, side, depth - 1, closed) if depth else None
    return SIZED[kind](draw, spot.shape, activations) if kind in SIZED else plain(draw, kind, spot.shape)


def residual(draw, spot, activations, side, depth, closed):
    """All kinds of skip: what comes in, as it is or normalised where it is Gaussian, or an affine layer of it; where
    nothing asks for a closed recursion also of other units, and without parameters where the shape changes."""
    branch, within = layers_behind(
        draw, spot, activations, 3, side, depth, same_size=len(spot.shape) == 3, closed=closed
    )
    image, summed = len(spot.shape) == 3, spot.stream in GAUSSIAN or not (closed or spot.stream in DATA)
    projected = not summed or draw(st.booleans())
    if len(within.shape) != len(spot.shape):
        return None
    if image and summed and not closed and draw(st.booleans()):
        skip = subsample(draw, spot.shape, activations)
        height, width = skip.shape_of(spot.shape)[1:]
        strides = [-(-size // wanted) for size, wanted in zip(spot.shape[1:], (height, width), strict=True)]
        branch.append(affine(draw, ff.Conv2d, channels=skip.channels, kernel=1, stride=tuple(strides)))
        fits_together = within.shape[1:] == spot.shape[1:] and branch[-1].shape_of(spot.shape)[1:] == (height, width)
        return ff.Residual(branch, [skip], draw(st.sampled_from((1.0, 0.5)))) if fits_together else None
    width = draw(st.integers(1, 50)) if projected else spot.shape[0]
    sizes = draw(st.sampled_from(({"kernel": 1}, {"kernel": 3, "padding": 1}))) if image else {}
    kind, name = (ff.Conv2d, "channels") if image else (ff.Dense, "units")
    skip = [affine(draw, kind, **{name: width}, **sizes)] if projected else []
    branch.append(affine(draw, kind, **{name: width}, **sizes))
    ends = [within.behind(branch[-1], (width, *within.shape[1:]), 0)]
    ends.append(ends[0] if projected else spot)
    for layers, end in zip((branch, skip), ends, strict=True):
        norms = [kind for kind in base.kinds().values() if issubclass(kind, Norm) and fits(kind, end, closed)]
        if norms and draw(st.booleans()):
            made = drawn(draw, draw(st.sampled_from(norms)), end, activations, side, depth)
            layers += [made] if made is not None else []
        if not closed and draw(st.integers(0, 3)) == 0:
            layers += [activation(draw, end.shape, activations)]
    return ff.Residual(branch, skip, draw(st.sampled_from((1.0, 0.5, -1.5, 0.0))))


def start(shape):
    """Where a network's first layer stands."""
    return base.Spot("", 0, shape, None, Stream.INPUT, True)


@st.composite
def networks(draw, activations=CLOSED, most=8, side=5, closed=True):
    """Networks of all kinds of layers, in any order that layers allow; a dense layer is the output. `closed`: those of
    which there is a closed recursion."""
    image = draw(st.booleans())
    sizes = (draw(st.integers(1, side)), draw(st.integers(1, side))) if image else ()
    inputs = (draw(st.integers(1, 3 if image else 400)), *sizes)
    layers, end = layers_behind(draw, start(inputs), activations, most, side, closed=closed)
    if len(end.shape) == 3:
        layers.append(ff.Flatten())
    return ff.Network(inputs, [*layers, affine(draw, ff.Dense, units=draw(st.integers(1, 10)))])


@st.composite
def norms(draw):
    return ff.BatchNorm(
        gamma=draw(floats(0.2, 3.0)) * draw(st.sampled_from((1, -1))),
        beta=draw(st.sampled_from((0.0, 0.0, 0.4, -0.7))),
        eps=draw(st.sampled_from((0.0, 1e-5, 0.1))),
        trained=draw(st.booleans()),
    )


@st.composite
def dense_networks(draw, activations=CLOSED, depth=5, last_norm=True):
    """Dense networks with BatchNorm after some layers."""
    layers = []
    count = draw(st.integers(1, depth))
    for place in range(count):
        layers.append(dense(draw, (), activations))
        last = place == count - 1
        if draw(st.booleans()) and (last_norm or not last):
            layers.append(draw(norms()))
        if not last:
            layers.append(activation(draw, (), activations))
    return ff.Network(draw(st.integers(1, 400)), layers)


@st.composite
def conv_networks(draw, activations=CLOSED, depth=3, pooling=True):
    """Small convolutional networks: strides, paddings, kernels, pooling, BatchNorm, then a dense layer."""
    inputs = shape = draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    layers = []
    for _ in range(draw(st.integers(1, depth))):
        conv = conv2d(draw, shape, activations)
        layers.append(replace(conv, groups=1) if conv.depthwise(shape) else conv)  # which has no recursion
        shape = layers[-1].shape_of(shape)
        if draw(st.booleans()):
            layers.append(draw(norms()))
        layers.append(activation(draw, shape, activations))
        if pooling and min(shape[1:]) >= 2 and draw(st.booleans()):
            layers.append(ff.AvgPool2d(2, draw(st.integers(1, 2))))
            shape = layers[-1].shape_of(shape)
    if pooling and draw(st.booleans()):
        layers.append(ff.GlobalAvgPool2d())
    layers += [ff.Flatten(), ff.Dense(draw(st.integers(1, 10)), draw(floats(0.3, 3.0)), 0.1)]
    return ff.Network(inputs, layers)


SAMPLES = st.one_of(st.none(), st.integers(2, 2000))


@st.composite
def data(draw, samples=SAMPLES):
    """samples, overlap, length; overlaps up to 0.9 of the length, where the reference's subtractions keep digits."""
    samples = draw(samples)
    length = draw(floats(0.3, 3.0))
    least = 0.0 if samples is None else -length / (samples - 1)
    share = draw(floats(0.0, 1.0))
    return {"samples": samples, "overlap": least + share * (0.9 * length - least), "length": length}
