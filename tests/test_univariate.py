"""Families of one column: what only one of them has, and the Bayesian engines on some of them."""

import numpy as np
import pytest
from scipy import stats

import bayesmix as bm
from bayesmix.arrays import as_data
from bayesmix.components.laplace import weighted_median
from bayesmix.likelihood.likelihood import Likelihood


# -- Laplace -----------------------------------------------------------------------------------------------------------
def test_weighted_median_has_the_least_weighted_deviation():
    """Against the best of all values of the rows: the sum is piecewise linear between them."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, weights = np.sort(rng.normal(size=31)), rng.exponential(size=31) * (rng.random(31) < 0.7)
        deviations = [weights @ np.abs(x - value) for value in x]
        assert weighted_median(x, weights) == x[np.argmin(deviations)]
    assert (
        weighted_median(np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.0, 1.0, 0.0, 2.0])) == 5.0
    )  # anything from 2 to 8


def test_laplace_information_is_fishers():
    """With one component, 1 / b^2 for mu and 1 for log b, per row (Johnson, Kotz & Balakrishnan 1995, ch. 24)."""
    x = stats.laplace(3.0, 2.0).rvs(size=40_000, random_state=np.random.default_rng(1))
    function = Likelihood(bm.Laplace(), as_data(x), 1)
    found = function.information(
        function.to_vector({"weights": np.ones(1), "mu": np.array([3.0]), "b": np.array([2.0])})
    )
    per_row = found / len(x)  # scores squared are 1/4, and (|z| - 1)^2 with variance 8: 4.5 standard errors are 0.064
    np.testing.assert_allclose(per_row, np.diag([0.25, 1.0]), atol=0.065)


def test_laplace_of_one_component_is_the_median():
    x = np.random.default_rng(2).standard_cauchy(101)
    fit = bm.em(bm.Mixture(bm.Laplace(), 1), x, guard=None, progressbar=False)
    assert fit.estimates["mu"][0] == np.median(x)
    assert np.isclose(fit.estimates["b"][0], np.abs(x - np.median(x)).mean(), rtol=1e-12)


def test_laplace_needs_all_rows_in_memory(tmp_path):
    x = stats.laplace(3.0, 2.0).rvs(size=50_000, random_state=np.random.default_rng(1))
    np.save(tmp_path / "x.npy", x[:, None])
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with pytest.raises(TypeError, match=r"Laplace\(\) components are fitted from all rows at once"):
        bm.em(bm.Mixture(bm.Laplace(), 2), mapped, progressbar=False)
