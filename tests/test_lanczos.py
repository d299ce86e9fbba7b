# SPDX-License-Identifier: BSD-3-Clause
"""When Lanczos' method ends, and what it says of its errors, on matrices whose eigenvalues are known."""

import numpy as np
import pytest

from fisherfield.reference import lanczos as reference
from fisherfield.sampled.lanczos import largest_eigenpairs

CONFIRM, MARGIN = 2, 4.0  # ff.torch.measure's, the margin for more than one eigenvalue
MOST = 1000


def clustered(random, size):
    """A few that are near each other by 1e-6 to 1e-1 of them, far above the rest."""
    few = random.integers(2, 8)
    return np.concatenate([1.0 + 10.0 ** random.uniform(-6, -1) * random.random(few), 0.6 * random.random(size - few)])


def slowly_falling(random, size):
    return np.arange(1.0, size + 1) ** -random.uniform(0.1, 1.5)


def without_a_gap(random, size):
    """The edge of a random matrix's: distances to the largest fall as size^(-2/3)."""
    gram = random.standard_normal((size, random.integers(size // 2, 2 * size)))
    return np.linalg.eigvalsh(gram @ gram.T / gram.shape[1])


def outliers(random, size):
    return np.concatenate([10.0 ** random.uniform(0, 3, 5), random.random(size - 5)])


def copies(random, size):
    """Each of a few values many times, zeros among them."""
    return random.choice([0.0, 1.0, 1.5, *random.random(5)], size)


def indefinite(random, size):
    """A Hessian's: a bulk around 0, some far above, some far below, at times farther."""
    bulk = random.standard_normal(size - 6) / 3
    return np.concatenate([bulk, random.uniform(1.0, 5.0, 3), -random.uniform(0.5, 8.0, 3)])


FAMILIES = (clustered, slowly_falling, without_a_gap, outliers, copies, indefinite)


def drawn(seed):
    """A matrix, its eigenvalues with the largest first, a start, how many are wanted, and how exactly."""
    random = np.random.default_rng(seed)
    size, k = int(random.integers(60, 240)), int(random.choice([1, 1, 2, 4]))
    values = np.sort(FAMILIES[seed % len(FAMILIES)](random, size))[::-1]
    vectors = np.linalg.qr(random.standard_normal((size, size)))[0]
    matrix = vectors * values @ vectors.T
    return (matrix + matrix.T) / 2, values, random.standard_normal((k, size)), k, 10.0 ** -random.uniform(1, 8)


def settings(k, careful):
    """As in ff.torch.measure, or without its care."""
    return {"confirm": CONFIRM, "margin": MARGIN if k > 1 else 1.0, "series": True} if careful else {}


def found(matrix, start, k, tolerance, careful=True):
    random = np.random.default_rng(1)
    return largest_eigenpairs(lambda w: matrix @ w, start, k, tolerance, MOST, random, **settings(k, careful))


def test_bounds_hold_and_estimates_do_where_the_start_does_not_mislead():
    """Residuals are bounds by a theorem, and Ritz values lie below the eigenvalues of their rank by another.

    Errors are estimates: a start may have little of an eigenvector. Of 40 matrices a family they were too small for 5
    with clusters narrower than the residual, which are seen as one eigenvalue, and for 1 with copies.
    """
    wrong: dict[bool, list[str]] = {True: [], False: []}
    for seed in range(240):
        matrix, values, start, k, tolerance = drawn(seed)
        family = FAMILIES[seed % len(FAMILIES)].__name__
        rounding = 1e-13 * np.abs(values).max()  # of products and of the known values: some 100 ulp
        for careful, names in wrong.items():
            result = found(matrix, start, k, tolerance, careful)
            distances = np.abs(values[None, :] - result.values[:, None]).min(1)
            off = values[:k] - result.values
            assert np.all(distances <= result.residuals + rounding), seed
            assert np.all(off >= -rounding), seed
            assert result.products < MOST
            assert np.all(result.errors <= result.target + rounding), seed
            if np.any(off > result.errors + rounding):
                names.append(family)
            if careful and family == "clustered":
                assert np.all(off <= 5 * np.maximum(result.errors, result.residuals)), seed
    for family in {each.__name__ for each in FAMILIES} - {"clustered", "copies"}:
        assert family not in wrong[True]
    assert wrong[True].count("clustered") <= 6  # one more than here, where rounding decides
    assert wrong[True].count("copies") <= 2
    assert len(wrong[False]) > 4 * len(wrong[True])  # 31 and 6: what the care is for


@pytest.mark.parametrize("careful", [False, True])
def test_it_ends_where_the_reference_does(careful):
    for seed in range(0, 240, 3):
        matrix, values, start, k, tolerance = drawn(seed)
        result = found(matrix, start, k, tolerance, careful)
        expected, errors, residuals, products = reference.largest_eigenvalues(
            matrix, start, k, tolerance, MOST, np.random.default_rng(1), **settings(k, careful)
        )
        assert result.products == products, seed
        # Rounding in the basis turns Ritz vectors by eps over the gap, and values by its square.
        rounding = 1e-12 * np.abs(values).max()
        np.testing.assert_allclose(result.values, expected, rtol=0, atol=rounding)
        np.testing.assert_allclose(result.residuals, residuals, rtol=1e-4, atol=1e-9 * np.abs(values).max())
        np.testing.assert_allclose(result.errors, errors, rtol=1e-3, atol=1e-9 * np.abs(values).max())
