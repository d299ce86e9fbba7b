# SPDX-License-Identifier: BSD-3-Clause
"""Random networks, data and activations for hypothesis."""

from hypothesis import assume
from hypothesis import strategies as st

import fisherfield as ff
from fisherfield.network.layer import Stream

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


def dense(draw, shape, activations):
    return ff.Dense(draw(st.integers(1, 400)), *variances(draw))


def conv2d(draw, shape, activations):
    padding = draw(st.integers(0, 2))
    kernel = tuple(draw(st.integers(1, min(3, side + 2 * padding))) for side in shape[1:])
    stride = draw(st.integers(1, 2))
    return ff.Conv2d(draw(st.integers(1, 50)), kernel, stride, padding, *variances(draw))


def batch_norm(draw, shape, activations):
    return draw(norms())


def activation(draw, shape, activations):
    return ff.Activation(draw(st.sampled_from(activations)))


def average_pool(draw, shape, activations):
    kernel = tuple(draw(st.integers(1, min(2, side))) for side in shape[1:])
    return ff.AvgPool2d(kernel, draw(st.integers(1, 2)))


# Of every kind of layer one that may stand behind a shape.
KINDS = {
    ff.Dense: dense,
    ff.Conv2d: conv2d,
    ff.BatchNorm: batch_norm,
    ff.Activation: activation,
    ff.AvgPool2d: average_pool,
    ff.GlobalAvgPool2d: lambda draw, shape, activations: ff.GlobalAvgPool2d(),
    ff.Flatten: lambda draw, shape, activations: ff.Flatten(),
}


@st.composite
def networks(draw, activations=CLOSED, most=8, side=5):
    """Networks of all kinds of layers, in any order that layers allow; a dense layer is the output."""
    image = draw(st.booleans())
    sizes = (draw(st.integers(1, side)), draw(st.integers(1, side))) if image else ()
    shape = (draw(st.integers(1, 3 if image else 400)), *sizes)
    inputs, layers, stream = shape, [], Stream.INPUT
    for _ in range(draw(st.integers(0, most))):
        fitting = [kind for kind in KINDS if stream in kind.takes and kind.image in (None, len(shape) == 3)]
        layers.append(KINDS[draw(st.sampled_from(fitting))](draw, shape, activations))
        shape, stream = layers[-1].shape_of(shape), layers[-1].gives(stream)
        assume(len(shape) == 1 or max(shape[1:]) <= side + 1)
    if len(shape) == 3:
        layers.append(ff.Flatten())
    return ff.Network(inputs, [*layers, ff.Dense(draw(st.integers(1, 10)), *variances(draw))])


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
        layers.append(conv2d(draw, shape, activations))
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
