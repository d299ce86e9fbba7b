# SPDX-License-Identifier: BSD-3-Clause
"""The same bits for any number of threads, and a convolution's memory."""

import subprocess
import sys

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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in KiB on Linux alone")
def test_a_convolution_holds_no_more_than_a_few_matrices():
    """Five |K| x |K| matrices live at a time (measured: 5.0); the sixth stands for what the allocator keeps."""
    code = """
import resource, fisherfield as ff
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
ff.fisher(ff.convnet((3, 4, 4), [64] * 3, 10, stride=1))
before = peak()
ff.fisher(ff.convnet((3, 32, 32), [64] * 3, 10, stride=1))
print((peak() - before) / (8 * 1024**2))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(out.stdout) < 6.0
