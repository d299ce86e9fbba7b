# SPDX-License-Identifier: BSD-3-Clause
"""If only one file is run, then this one: an installed wheel works, without any optional part."""

import subprocess
import sys

import pytest

import fisherfield as ff


def test_the_first_line_of_the_readme_gives_the_paper_s_network_its_learning_rate():
    net = ff.mlp([784, 1000, 1000, 1000, 10], gamma=1.0)
    # docs/theory.md, section 4: b = N gamma^2/(2 pi) + 1
    assert ff.fisher(net).lambda_max == pytest.approx(1000 / (2 * 3.141592653589793) + 1, rel=1e-14)
    assert ff.max_learning_rate(net, momentum=0.9) == pytest.approx(2 * 1.9 / 160.15494309189535, rel=1e-14)


def test_three_theories_and_a_convolutional_network():
    net = ff.convnet((1, 28, 28), channels=[30, 60, 90], outputs=10)
    values = [ff.fisher(net, theory, samples=600, units=None).lambda_max for theory in ("exact", "frozen")]
    assert values == pytest.approx([306.0, 371.0], abs=0.05)  # as printed, section 9
    assert ff.fisher(net, "wei2019").lambda_max == pytest.approx(262.6, abs=0.05)


def test_the_core_agrees_with_the_reference():
    net = ff.mlp([20, 300, 300, 3], activation="leaky_relu(0.2)", gamma=0.7, trained=True)
    for theory in ("exact", "frozen", "wei2019"):
        core, slow = ff.fisher(net, theory, samples=100), ff.reference.fisher(net, theory, samples=100)
        assert core.lambda_max == pytest.approx(slow.lambda_max, rel=1e-13)  # closed forms


def test_import_leaves_the_slow_and_the_optional_parts_alone():
    code = (
        "import sys, fisherfield; slow = ('scipy', 'mpmath', 'typer', 'matplotlib', 'torch', 'fisherfield.reference'); "
        "print([m for m in slow if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_command_line_answers():
    out = subprocess.run([sys.executable, "-m", "fisherfield", "--version"], capture_output=True, text=True, check=True)
    assert ff.__version__ in out.stdout
