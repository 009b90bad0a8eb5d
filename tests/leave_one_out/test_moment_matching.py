"""Moment matching against leave-one-out posteriors that are known in closed form."""

import numpy as np
import pytest
from scipy import stats

from bayesmix.leave_one_out.moment_matching import Affine, covariance, match_moments, scale, shift, smoothed


def gaussian(seed, variance, value, d=4):
    """A posterior N(m, S), the likelihood N(value | a'theta, variance) of a row in it, and the row's exact elpd.

    Made from the posterior without the row, N(m0, S0), so that the predictive density of the row is N(a'm0, v + a'S0 a).
    """
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(d, d))
    s0, a, m0 = root @ root.T + np.eye(d), rng.normal(size=d), rng.normal(size=d)
    precision = np.linalg.inv(s0) + np.outer(a, a) / variance
    s = np.linalg.inv(precision)
    m = s @ (np.linalg.solve(s0, m0) + a * value / variance)
    exact = stats.norm.logpdf(value, a @ m0, np.sqrt(variance + a @ s0 @ a))
    return (m, s), (lambda theta: stats.norm.logpdf(value, theta @ a, np.sqrt(variance))), exact


@pytest.mark.parametrize(("variance", "value"), [(2.0, 6.0), (0.5, 8.0)])
def test_it_finds_the_exact_density_where_importance_sampling_fails(variance, value):
    (m, s), at_row, exact = gaussian(1, variance, value)
    errors, plain = [], []
    for seed in range(10):
        vectors = np.random.default_rng(seed).multivariate_normal(m, s, 4000)
        found = match_moments(vectors, lambda v: stats.multivariate_normal.logpdf(v, m, s), at_row)
        log_weights, k = smoothed(-at_row(vectors))
        assert k > 0.7 > found.pareto_k
        errors.append(found.elpd - exact)
        plain.append(np.logaddexp.reduce(log_weights + at_row(vectors)) - exact)
    # standard deviation 0.012 over seeds: the mean of ten is within four standard errors of 0
    assert abs(np.mean(errors)) < 0.016
    assert np.abs(errors).max() < 0.06
    assert np.mean(plain) > 0.3


def test_draws_that_need_no_moving_are_left_alone():
    (m, s), _, _ = gaussian(1, 2.0, 6.0)
    vectors = np.random.default_rng(0).multivariate_normal(m, s, 1000)
    found = match_moments(vectors, lambda v: np.zeros(len(v)), lambda v: np.full(len(v), -1.5))
    assert found.moves == 0
    assert found.elpd == pytest.approx(-1.5)


def test_maps_match_the_moments_they_are_named_after():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 3))
    weights = rng.dirichlet(np.ones(500))
    goal = weights @ vectors
    wanted = (vectors - goal).T * weights @ (vectors - goal)
    for make in (shift, scale, covariance):
        step = make(vectors, weights)
        np.testing.assert_allclose(step(vectors).mean(axis=0), goal, atol=1e-12)
        if make is scale:
            np.testing.assert_allclose(step(vectors).var(axis=0), np.diag(wanted), rtol=1e-12)
        if make is covariance:
            np.testing.assert_allclose(np.cov(step(vectors).T, ddof=0), wanted, atol=1e-12)


def test_composed_maps_are_undone_exactly():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, 3))
    total = Affine(np.eye(3), np.zeros(3))
    expected = vectors
    for _ in range(4):
        step = Affine(np.eye(3) + 0.3 * rng.normal(size=(3, 3)), rng.normal(size=3))
        expected, total = step(expected), step.after(total)
    np.testing.assert_allclose(total(vectors), expected, atol=1e-12)
    np.testing.assert_allclose(total.inverse(expected), vectors, atol=1e-10)
    assert total.log_det == pytest.approx(np.log(abs(np.linalg.det(total.matrix))))


def test_weight_on_one_draw_does_not_break_the_maps():
    vectors, weights = np.random.default_rng(0).normal(size=(50, 2)), np.zeros(50)
    weights[3] = 1.0
    assert scale(vectors, weights) is None
    assert covariance(vectors, weights) is None
