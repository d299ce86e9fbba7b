# SPDX-License-Identifier: BSD-3-Clause
"""The same bits for any number of threads, and a convolution's memory."""

import os
import subprocess
import sys

import pytest

import fisherfield as ff
from fisherfield import threads as of_threads

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


def at_start(warnings="error", before="", **environment):
    """The number of threads of a fresh interpreter."""
    names = ("FISHERFIELD_NUM_THREADS", "OMP_NUM_THREADS")
    kept = {key: value for key, value in os.environ.items() if key not in names}
    code = f"import os; {before}\nimport fisherfield as ff; print(ff.num_threads())"
    command = [sys.executable, "-W", warnings, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={**kept, **environment})


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": " 5, 2"}, 5),
        ({"OMP_NUM_THREADS": "3", "FISHERFIELD_NUM_THREADS": "7"}, 7),
        ({"OMP_NUM_THREADS": "3", "FISHERFIELD_NUM_THREADS": " "}, 3),
    ],
)
def test_openmp_s_variable_is_taken_where_there_is_none_of_our_own(environment, expected):
    assert int(at_start(**environment).stdout) == expected


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "FISHERFIELD_NUM_THREADS"])
def test_a_variable_that_is_no_number_is_warned_of_and_ignored(name):
    out = at_start("always", **{name: "many"})
    usable = of_threads.usable_processors()
    assert int(out.stdout) == usable
    assert f"{name} must be a whole number >= 1, got 'many': using {usable} threads" in out.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone binds processes to processors")
def test_a_process_bound_to_one_processor_starts_with_one_thread():
    bind = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    assert int(at_start(before=bind).stdout) == 1


def control_groups(root, lines, files):
    """A tree of control groups, and the list of those of a process."""
    for name, text in files.items():
        (root / "mount" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "mount" / name).write_text(text)
    (root / "groups").write_text(lines)
    return list(of_threads._quotas(root / "mount", root / "groups"))


def test_quotas_of_control_groups_are_read_up_to_the_root(tmp_path):
    second = control_groups(
        tmp_path / "2",
        "0::/job/step\n",
        {"cpu.max": "400000 100000\n", "job/cpu.max": "max 100000\n", "job/step/cpu.max": "150000 100000\n"},
    )
    assert second == [(150000, 100000), (400000, 100000)]
    first = control_groups(
        tmp_path / "1",
        "7:memory:/job\n4:cpu,cpuacct:/gone\n2:cpuset:/job\n",
        {
            "cpu/cpu.cfs_quota_us": "50000\n",
            "cpu/cpu.cfs_period_us": "100000\n",
            "memory/job/cpu.cfs_quota_us": "1\n",
            "memory/job/cpu.cfs_period_us": "1\n",
        },
    )
    assert first == [(50000, 100000)]
    assert (
        control_groups(tmp_path / "0", "4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "1"}) == []
    )
    assert list(of_threads._quotas(tmp_path, tmp_path / "nothing")) == []


def test_a_part_of_a_processor_counts_as_one_and_a_quota_never_adds_any(monkeypatch):
    there = of_threads.usable_processors()
    for quota, expected in ((1, 1), (100, 1), (101, min(2, there)), (10**9, there)):
        monkeypatch.setattr(of_threads, "_quotas", lambda quota=quota: [(quota, 100)])
        assert of_threads.usable_processors() == expected
