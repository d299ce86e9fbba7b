# SPDX-License-Identifier: BSD-3-Clause
"""Random networks, data and activations for hypothesis."""

from hypothesis import strategies as st

import fisherfield as ff

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
        layers.append(ff.Dense(draw(st.integers(1, 400)), draw(floats(0.3, 3.0)), draw(floats(0.05, 1.0))))
        last = place == count - 1
        if draw(st.booleans()) and (last_norm or not last):
            layers.append(draw(norms()))
        if not last:
            layers.append(ff.Activation(draw(st.sampled_from(activations))))
    return ff.Network(draw(st.integers(1, 400)), layers)


@st.composite
def conv_networks(draw, activations=CLOSED, depth=3, pooling=True):
    """Small convolutional networks: strides, paddings, kernels, pooling, BatchNorm, then a dense layer."""
    channels, height, width = draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    layers, size = [], [height, width]
    for _ in range(draw(st.integers(1, depth))):
        padding = draw(st.integers(0, 2))
        kernel = tuple(draw(st.integers(1, min(3, side + 2 * padding))) for side in size)
        stride = draw(st.integers(1, 2))
        channels_out, sigma_w2, sigma_b2 = draw(st.integers(1, 50)), draw(floats(0.3, 3.0)), draw(floats(0.05, 1.0))
        layers.append(ff.Conv2d(channels_out, kernel, stride, padding, sigma_w2, sigma_b2))
        size = [(side + 2 * padding - tap) // stride + 1 for side, tap in zip(size, kernel, strict=True)]
        if draw(st.booleans()):
            layers.append(draw(norms()))
        layers.append(ff.Activation(draw(st.sampled_from(activations))))
        if pooling and min(size) >= 2 and draw(st.booleans()):
            layers.append(ff.AvgPool2d(2, draw(st.integers(1, 2))))
            size = [(side - 2) // layers[-1].stride + 1 for side in size]
    if pooling and draw(st.booleans()):
        layers.append(ff.GlobalAvgPool2d())
    layers += [ff.Flatten(), ff.Dense(draw(st.integers(1, 10)), draw(floats(0.3, 3.0)), 0.1)]
    return ff.Network((channels, height, width), layers)


SAMPLES = st.one_of(st.none(), st.integers(2, 2000))


@st.composite
def data(draw, samples=SAMPLES):
    """samples, overlap, length; overlaps up to 0.9 of the length, where the reference's subtractions keep digits."""
    samples = draw(samples)
    length = draw(floats(0.3, 3.0))
    least = 0.0 if samples is None else -length / (samples - 1)
    share = draw(floats(0.0, 1.0))
    return {"samples": samples, "overlap": least + share * (0.9 * length - least), "length": length}
