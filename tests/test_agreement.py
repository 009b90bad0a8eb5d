"""Measures of agreement, against closed forms."""

import numpy as np
import pytest
from scipy.special import ndtr

import bayesmix as bm
from bayesmix.agreement import adjusted_rand_index, distance, distances, kernel_density, overlap
from bayesmix.fit import Fit

NORMALS = [
    (0.0, 1.0, 0.0, 1.0),
    (0.0, 1.0, 1.0, 1.0),
    (0.0, 1.0, 3.0, 1.0),
    (0.0, 1.0, 0.0, 2.5),
    (5e6, 1e-3, 5e6, 4e-3),
]


def exact_overlap(m1, s1, m2, s2):
    """1 minus the total variation distance of two normals, by quadrature in units of the first."""
    x = np.linspace(-60, 60, 400_001)
    p = np.exp(-0.5 * x**2)
    m, s = (m2 - m1) / s1, s2 / s1
    q = np.exp(-0.5 * ((x - m) / s) ** 2) / s
    return np.trapezoid(np.minimum(p, q), x) / np.sqrt(2 * np.pi)


@pytest.mark.parametrize("case", NORMALS)
def test_overlap_is_that_of_the_distributions(case):
    rng = np.random.default_rng(3)
    m1, s1, m2, s2 = case
    found = overlap(rng.normal(m1, s1, 4000), rng.normal(m2, s2, 4000))
    # sampling error of the area, and the bias of 0.02 that the docstring grants
    assert found == pytest.approx(exact_overlap(*case), abs=0.04), case


def test_overlap_of_identical_draws_is_one_and_of_distant_ones_zero():
    x = np.random.default_rng(0).gamma(2.0, size=1000)
    assert overlap(x, x) == pytest.approx(1.0, abs=1e-3)
    assert overlap(x, x + 1e3) == 0.0
    assert overlap(x, 1e-6 * x) < 0.05


def test_overlap_of_draws_that_do_not_vary_is_unknown():
    assert np.isnan(overlap(np.ones(100), np.random.default_rng(0).normal(size=100)))


def test_kernel_density_keeps_the_variance_and_integrates_to_one():
    x = np.random.default_rng(0).normal(3.0, 2.0, 2000)
    grid, density = kernel_density(x)
    step = grid[1] - grid[0]
    mean = (grid * density).sum() * step
    assert density.sum() * step == pytest.approx(1.0)
    assert ((grid - mean) ** 2 * density).sum() * step == pytest.approx(x.var(), rel=1e-3)


def one_normal(mu, sigma):
    """A mixture of one normal, as a fit on a few rows."""
    return Fit.from_parameters(
        bm.Mixture(bm.Normal(), 1), np.array([0.0, 1.0, 2.0]), weights=[1.0], mu=[mu], sigma=[sigma]
    )


@pytest.mark.parametrize(
    "case", [(0.0, 1.0, 0.3, 1.0), (0.0, 1.0, 2.0, 3.0), (0.0, 1e-6, 0.0, 1.0), (0.0, 1.0, 500.0, 1.0)]
)
def test_distances_of_two_normals_are_the_closed_forms(case):
    m1, s1, m2, s2 = case
    found = distances({"a": one_normal(m1, s1), "b": one_normal(m2, s2)}, [("a", "b")])[0]
    squared = 1 - np.sqrt(2 * s1 * s2 / (s1**2 + s2**2)) * np.exp(-((m1 - m2) ** 2) / (4 * (s1**2 + s2**2)))
    assert found["hellinger"] == pytest.approx(np.sqrt(squared), abs=1e-4), case
    if s1 == s2:
        assert found["total_variation"] == pytest.approx(2 * ndtr(abs(m1 - m2) / (2 * s1)) - 1, abs=1e-4), case
    assert found["hellinger_error"] == found["total_variation_error"] == 0.0


def test_distances_of_two_poisson_are_sums():
    def fit(mu):
        return Fit.from_parameters(bm.Mixture(bm.Poisson(), 1), np.array([0, 1, 2]), weights=[1.0], mu=[mu])

    found = distances({"a": fit(2.0), "b": fit(5.0)}, [("a", "b")])[0]
    squared = 1 - np.exp(-0.5 * (np.sqrt(2.0) - np.sqrt(5.0)) ** 2)
    assert found["hellinger"] == pytest.approx(np.sqrt(squared), rel=1e-10)


def test_distances_in_two_dimensions_are_within_their_error():
    rows = np.random.default_rng(0).normal(size=(20, 2))

    def fit(mu):
        return Fit.from_parameters(bm.Mixture(bm.MvNormal(), 1), rows, weights=[1.0], mu=[mu], cov=[np.eye(2)])

    found = distances({"a": fit([0.0, 0.0]), "b": fit([1.2, 0.0])}, [("a", "b")])[0]
    assert abs(found["hellinger"] - np.sqrt(1 - np.exp(-(1.2**2) / 8))) < 4 * found["hellinger_error"]
    assert abs(found["total_variation"] - (2 * ndtr(0.6) - 1)) < 4 * found["total_variation_error"]
    assert 0 < found["total_variation_error"] < 0.02


def test_distance_of_a_density_to_itself_is_zero():
    log_p = np.random.default_rng(0).normal(size=50)
    assert distance(log_p, log_p) == dict.fromkeys(
        ("hellinger", "total_variation", "hellinger_error", "total_variation_error"), 0.0
    )


def test_counts_and_continuous_values_have_no_distance():
    rows = np.array([0.0, 1.0, 2.0])
    counts = Fit.from_parameters(bm.Mixture(bm.Poisson(), 1), rows, weights=[1.0], mu=[1.0])
    found = distances({"a": one_normal(0.0, 1.0), "b": counts}, [("a", "b")])[0]
    assert np.isnan(found["total_variation"])


def test_adjusted_rand_index_is_that_of_scikit_learn():
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(0)
    for a, b in [(rng.integers(3, size=60), rng.integers(4, size=60)) for _ in range(5)] + [([0, 0, 1], [2, 2, 0])]:
        assert adjusted_rand_index(np.array(a), np.array(b)) == pytest.approx(adjusted_rand_score(a, b), abs=1e-12)
    assert adjusted_rand_index(np.zeros(5), np.zeros(5)) == 1.0
