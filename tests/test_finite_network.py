# SPDX-License-Identifier: BSD-3-Clause
"""The core's pass over the nodes of a real network: branches and their sums, against complex steps in NumPy."""

import numpy as np
import pytest

from fisherfield import _core

INPUTS, WIDTH, OUTPUTS, SAMPLES = 6, 5, 2, 7
EPS = 0.1
# Rounding of sums of some ten terms of order 1; a complex step of 1e-200 leaves nothing else.
TOLERANCE = 1e-12


def parameters(batch_norm):
    random = np.random.default_rng(3)
    shapes = [(WIDTH, INPUTS), (WIDTH, WIDTH), (WIDTH, WIDTH), (OUTPUTS, WIDTH)]
    arrays = [random.standard_normal(size) for shape in shapes for size in (shape, shape[:1])]
    if batch_norm:  # of the first branch: gamma, beta
        arrays[4:4] = [1.0 + 0.3 * random.standard_normal(WIDTH), random.standard_normal(WIDTH)]
    return arrays


def network(arrays, batch_norm):
    """x -> h; h + branch(h) + branch(branch(h)): the first value is read three times, the second one twice."""
    built = _core.Linearization64([INPUTS], True, True, True)
    rest = iter(arrays)
    tanh = _core.Activation("tanh")

    def affine():
        built.affine(next(rest), next(rest), True)

    affine()
    built.activation(tanh)
    stem = built.nodes - 1
    affine()
    if batch_norm:
        built.batch_norm(next(rest), next(rest), EPS, True)
    built.activation(tanh)
    first = built.nodes - 1
    affine()
    built.activation(tanh)
    built.add([stem, first, built.nodes - 1, stem])
    affine()
    return built


def forward(arrays, x, batch_norm):
    rest = iter(arrays)

    def affine(h):
        return h @ next(rest).T + next(rest)

    stem = np.tanh(affine(x))
    z = affine(stem)
    if batch_norm:
        centred = z - z.mean(axis=0)
        z = centred / np.sqrt((centred**2).mean(axis=0) + EPS) * next(rest) + next(rest)
    first = np.tanh(z)
    second = np.tanh(affine(first))
    return affine(stem + first + second + stem)


def jacobian(arrays, x, batch_norm):
    columns = []
    for place, array in enumerate(arrays):
        for index in np.ndindex(array.shape):
            moved = [other.astype(complex) for other in arrays]
            moved[place][index] += 1e-200j
            columns.append(forward(moved, x, batch_norm).imag.ravel() * 1e200)
    return np.array(columns).T


@pytest.mark.parametrize("batch_norm", [False, True])
def test_branches_are_summed_forwards_and_backwards(batch_norm):
    arrays = parameters(batch_norm)
    x = np.random.default_rng(4).standard_normal((SAMPLES, INPUTS))
    built = network(arrays, batch_norm)
    outputs = built.forward(x, 1e6, True)
    np.testing.assert_allclose(outputs, forward(arrays, x, batch_norm), rtol=0, atol=TOLERANCE)
    j = jacobian(arrays, x, batch_norm)
    assert built.parameters == j.shape[1]
    every = np.eye(len(j))
    np.testing.assert_allclose(built.pull(every), j, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(built.push(np.eye(j.shape[1])), j.T, rtol=0, atol=TOLERANCE)
    dual = j @ j.T
    scale = TOLERANCE * np.abs(dual).max()
    np.testing.assert_allclose(built.product(every), dual, rtol=0, atol=scale)
    last = j[:, -OUTPUTS * (WIDTH + 1) :]
    np.testing.assert_allclose(built.product_of_last(every), last @ last.T, rtol=0, atol=scale)
    if not batch_norm:  # nothing couples the samples: entry by entry, output by output
        by_output = dual.reshape(SAMPLES, OUTPUTS, SAMPLES, OUTPUTS).transpose(1, 0, 3, 2).reshape(dual.shape)
        np.testing.assert_allclose(built.gram(), by_output, rtol=0, atol=scale)
    built.prepare(1e9, 1e9)
    np.testing.assert_allclose(built.product(every), dual, rtol=0, atol=scale)


def test_a_batch_norm_behind_a_layer_that_others_read_takes_nothing_off_it():
    """The affine layer's mean must be there for the other reader: an offset of 1e3 in the inputs shows it."""
    random = np.random.default_rng(5)
    w, v = random.standard_normal((WIDTH, INPUTS)), random.standard_normal((OUTPUTS, WIDTH))
    x = random.standard_normal((SAMPLES, INPUTS)) + 1e3
    built = _core.Linearization64([INPUTS], True, True, True)
    built.affine(w, np.zeros(WIDTH), True)
    built.batch_norm(np.ones(WIDTH), np.zeros(WIDTH), EPS, False)
    built.add([0, 1])
    built.affine(v, np.zeros(OUTPUTS), True)
    z = x @ w.T
    u = (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + EPS)
    # z is about 1e4 large: 1e4 eps, times some ten terms
    np.testing.assert_allclose(built.forward(x, 1e6, True), (z + u) @ v.T, rtol=0, atol=1e-10)
