"""Sampling distributions of estimates: against formulas, and the bootstrap against the normal approximation."""

import os
import signal
import threading

import numpy as np
import pytest

import bayesmix as bm
from bayesmix.likelihood.likelihood import Likelihood

QUIET = {"progressbar": False}


def spread(fit, name):
    return fit.tree["posterior"][name].values.std(axis=(0, 1))


def test_one_normal_component_has_textbook_standard_errors():
    """sigma / sqrt(n) for the mean, sigma / sqrt(2 n) for sigma; 4000 draws know a sd to 1.1 % (one Monte Carlo sd)."""
    x = bm.datasets.load("faithful")["waiting"]
    fit = bm.em(bm.Mixture(bm.Normal(), 1), x, guard=None, uncertainty="laplace", draws=4000, random_seed=1, **QUIET)
    sigma, n = float(x.std()), x.size
    assert spread(fit, "mu")[0] == pytest.approx(sigma / np.sqrt(n), rel=0.05)
    assert spread(fit, "sigma")[0] == pytest.approx(sigma / np.sqrt(2 * n), rel=0.05)


def test_one_poisson_component_has_textbook_standard_error():
    """sqrt(mu / n)."""
    x = np.random.default_rng(1).poisson(4.0, 300)
    fit = bm.em(bm.Mixture(bm.Poisson(), 1), x, uncertainty="laplace", draws=4000, random_seed=1, **QUIET)
    assert spread(fit, "mu")[0] == pytest.approx(np.sqrt(x.mean() / 300), rel=0.05)


def test_information_is_minus_the_hessian():
    """Second differences of the log-likelihood itself, without its gradient."""
    mixture = bm.Mixture(bm.MvNormal(), 2)
    data = mixture.check(bm.datasets.load("faithful"))
    likelihood = Likelihood(mixture.component, data, 2)
    theta = likelihood.to_vector(bm.em(mixture, data, random_seed=1, **QUIET).estimates)
    information = likelihood.information(theta)
    steps = 3e-3 * likelihood.coordinate_scale(theta)

    def value(vector):
        return likelihood.log_likelihood(likelihood.from_vector(vector))

    for i, j in ((0, 0), (1, 1), (2, 5), (3, 8), (6, 6), (10, 7)):
        a, b = np.eye(len(theta))[i] * steps[i], np.eye(len(theta))[j] * steps[j]
        second = value(theta + a + b) - value(theta + a - b) - value(theta - a + b) + value(theta - a - b)
        expected = -second / (4 * steps[i] * steps[j])
        size = np.sqrt(information[i, i] * information[j, j])
        # fourth derivatives times the step squared, and rounding of a sum near 1e3 over the step squared
        assert information[i, j] == pytest.approx(expected, abs=1e-3 * size), (i, j)


def test_bootstrap_agrees_with_laplace_on_simulated_data():
    """A true model and n = 1000: both estimate the same spread. 300 replicates know a sd to 4 %: 4 sd is 16 %."""
    mixture = bm.Mixture(bm.Normal(), 2)
    truth = bm.Fit.from_parameters(mixture, weights=[0.4, 0.6], mu=[-2.0, 2.0], sigma=[1.0, 0.7])
    x = truth.sample(1000, random_seed=3)
    laplace = bm.em(mixture, x, uncertainty="laplace", draws=4000, random_seed=1, **QUIET)
    bootstrap = bm.em(mixture, x, uncertainty="bootstrap", draws=300, random_seed=1, **QUIET)
    for name in ("weights", "mu", "sigma"):
        np.testing.assert_allclose(spread(bootstrap, name), spread(laplace, name), rtol=0.17, err_msg=name)
    assert "doubtful in 0 of 300" in bootstrap.message
    assert bootstrap.tree["posterior/mu"].shape == (1, 300, 2)


def test_bootstrap_labels_are_aligned():
    """Every replicate keeps the components where the estimate has them, far apart as they are."""
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.normal(m, 1, 40) for m in (0.0, 8.0, 16.0)])
    fit = bm.em(bm.Mixture(bm.Normal(), 3), x, uncertainty="bootstrap", draws=50, random_seed=2, **QUIET)
    assert np.abs(fit.tree["posterior/mu"].values[0] - [0.0, 8.0, 16.0]).max() < 2.0


def test_boundary_estimates_say_that_there_are_no_standard_errors():
    """All counts of one group are zero, so its rate is too: no information there, and the fit is kept."""
    x = np.array([0] * 30 + [20, 22, 19, 25, 21, 18, 20, 23, 24, 17])
    fit = bm.em(bm.Mixture(bm.Poisson(), 2), x, uncertainty="laplace", random_seed=1, **QUIET)
    assert not fit.has_draws
    assert "no standard errors" in fit.message
    assert fit.estimates["mu"][0] == pytest.approx(0.0, abs=1e-6)


def test_draws_of_an_interrupted_bootstrap_are_kept():
    x = bm.datasets.load("faithful")
    mixture = bm.Mixture(bm.MvNormal(), 2)
    start = bm.em(mixture, x, random_seed=1, **QUIET)
    timer = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    fit = bm.em(mixture, x, init=start, uncertainty="bootstrap", draws=1_000_000, random_seed=1, **QUIET)
    timer.cancel()
    assert "interrupted before 1000000 replicates" in fit.message
    assert 2 <= fit.tree["posterior"].sizes["draw"] < 1_000_000
