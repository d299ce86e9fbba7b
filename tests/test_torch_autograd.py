# SPDX-License-Identifier: BSD-3-Clause
"""The self-check of PyTorch's derivatives, and the judge that it has."""

from __future__ import annotations

import pytest

import fisherfield as ff

torch = pytest.importorskip("torch")

from fisherfield.torch import autograd  # noqa: E402  (PyTorch may be missing)


@pytest.fixture(scope="module")
def check():
    return ff.torch.check_autograd()


def test_what_measure_takes_is_right_with_the_installed_torch(check):
    assert check.trusted, repr(check)
    taken = [key for key in check.missing if key[1] in ("forward", "reverse", "forward over reverse")]
    assert taken == []
    assert len(check.errors) == 13 * 6


def test_nested_forward_mode_of_torch_2_13_is_wrong_for_two_norms(check):
    if not torch.__version__.startswith("2.13"):
        pytest.skip("of 2.13")
    wrong = {(name, mode) for name in ("batch_norm", "batch_norm 2d", "layer_norm") for mode in autograd.MODES[4:]}
    assert wrong <= set(check.wrong)
    assert {mode for _, mode in check.wrong} <= set(autograd.MODES[4:])


def test_the_table_says_so(check):
    words = repr(check)
    assert words.startswith(f"Derivatives of torch {torch.__version__}")
    assert "What ff.torch.measure takes (forward, reverse, forward over reverse) are right." in words
    assert words.count("wrong by") == len(check.wrong)
    bad = autograd.AutogradCheck("0", {("gelu", mode): 0.5 for mode in autograd.MODES})
    assert not bad.trusted
    assert "are WRONG" in repr(bad)


def test_primitives_have_the_second_derivatives_that_differences_have():
    """The judge of the judge: central differences of gradients of the primitives, whose error is 1e-7 here."""
    torch.manual_seed(3)
    step = 1e-5
    for name, (_, primitive, shapes) in autograd._OPERATIONS.items():
        z, u, v = (tuple(torch.randn(shape, dtype=torch.float64) for shape in shapes) for _ in range(3))
        phi = autograd._phi(primitive, torch.randn_like(primitive(*z)))
        value = autograd._derivatives(phi, z, u, v, ("reverse over reverse",))["reverse over reverse"]
        ends = [
            autograd._derivatives(
                phi, tuple(a + sign * step * b for a, b in zip(z, v, strict=True)), u, v, ("reverse",)
            )
            for sign in (1, -1)
        ]
        assert value == pytest.approx((ends[0]["reverse"] - ends[1]["reverse"]) / (2 * step), rel=1e-5, abs=1e-6), name


def test_operations_and_primitives_are_the_same_functions():
    torch.manual_seed(4)
    for name, (operation, primitive, shapes) in autograd._OPERATIONS.items():
        z = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
        assert torch.allclose(operation(*z), primitive(*z), rtol=1e-12, atol=1e-12), name


def test_nothing_is_left_of_it():
    state = torch.get_rng_state()
    ff.torch.check_autograd()
    assert torch.equal(state, torch.get_rng_state())
