# SPDX-License-Identifier: BSD-3-Clause
"""The same bits for any number of threads, and a convolution's memory."""

import pytest

import fisherfield as ff

NETS = {
    "relu": ff.convnet((3, 17, 13), [8, 16], 10, stride=1, trained=True),
    "vanilla": ff.convnet((3, 17, 13), [8, 16], 10, stride=2, batch_norm=False),
    "gelu": ff.convnet((1, 9, 9), [8, 16], 10, activation="gelu", beta=0.3),
    "pooled": ff.Network(
        (2, 12, 12),
        [
            ff.Conv2d(8, 3, 1, 1),
            ff.BatchNorm(),
            ff.Activation("relu"),
            ff.AvgPool2d(2),
            ff.Conv2d(4, 3),
            ff.GlobalAvgPool2d(),
        ],
    ),
}


@pytest.mark.parametrize("net", NETS.values(), ids=NETS.keys())
@pytest.mark.parametrize("theory", ["exact", "frozen"])
def test_1_4_and_7_threads_give_the_same_bits(net, theory, threads):
    results = []
    for count in (1, 4, 7):
        threads(count)
        out = ff.fisher(net, theory, samples=100, overlap=0.2)
        results.append((out.a, out.b, out.lambda_max, tuple(out.layers.a), tuple(out.layers.b)))
    assert results[0] == results[1] == results[2]


def test_gaussian_integrals_do_not_depend_on_threads(threads):
    q = [0.1 * i for i in range(1, 100)]
    results = []
    for count in (1, 4, 7):
        threads(count)
        results.append(ff.gaussian.mean("gelu", q, shift=0.1).tolist())
    assert results[0] == results[1] == results[2]
