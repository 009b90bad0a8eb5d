"""Variational inference: against the exact posterior where there is one, against NUTS elsewhere."""

import numpy as np
import pytest

import bayesmix as bm
from bayesmix.engines.advi import _elbo_and_gradient, _Normal, pareto_khat
from bayesmix.posterior import posterior_of
from bayesmix.posterior.mode import find_mode

FAITHFUL = bm.datasets.load("faithful")
QUIET = {"progressbar": False}


class Gaussian:
    """A posterior that is normal: ADVI is exact there."""

    def __init__(self, mean, cov):
        self.mean, self.precision, self.n_dim = mean, np.linalg.inv(cov), len(mean)

    def value_and_gradient(self, vector):
        slope = -self.precision @ (vector - self.mean)
        return 0.5 * (vector - self.mean) @ slope, slope

    def step_lengths(self, vector):
        return np.full(len(vector), 1e-4)


@pytest.mark.parametrize("method", ["fullrank", "meanfield"])
def test_gradient_of_the_elbo_is_its_derivative(method):
    rng = np.random.default_rng(1)
    root = rng.normal(size=(3, 3))
    posterior = Gaussian(rng.normal(size=3), root @ root.T + np.eye(3))
    family = _Normal.around(find_mode(posterior, np.zeros(3)), posterior, method)
    parameters = family.parameters + 0.3 * rng.normal(size=len(family.parameters))
    z = rng.normal(size=(16, 3))
    gradient = _elbo_and_gradient(posterior, family.at(parameters), z)[1]
    for i in range(len(parameters)):
        step = np.zeros_like(parameters)
        step[i] = 1e-6
        up = _elbo_and_gradient(posterior, family.at(parameters + step), z)[0]
        down = _elbo_and_gradient(posterior, family.at(parameters - step), z)[0]
        assert gradient[i] == pytest.approx((up - down) / 2e-6, abs=1e-6), i


def test_exact_for_a_normal_posterior():
    """Full rank finds mean, covariance and evidence; mean field the known variances 1 / precision (Bishop 2006, 10.1.2)."""
    from bayesmix.engines.advi import maximise_on_fixed_draws

    rng = np.random.default_rng(2)
    cov = np.array([[2.0, 0.9], [0.9, 1.0]])
    posterior = Gaussian(np.array([3.0, -1.0]), cov)
    mode = find_mode(posterior, np.zeros(2))
    found = maximise_on_fixed_draws(posterior, _Normal.around(mode, posterior, "fullrank"), rng)
    assert found.converged
    assert found.trace[-1] == pytest.approx(0.5 * np.log(np.linalg.det(2 * np.pi * cov)), abs=1e-6)
    spread = found.family.basis @ found.family.factor()
    np.testing.assert_allclose(found.family.draw(np.zeros((1, 2)))[0][0], posterior.mean, atol=1e-4)
    np.testing.assert_allclose(spread @ spread.T, cov, atol=1e-3)  # the optimiser's tolerance; the draws add nothing
    found = maximise_on_fixed_draws(posterior, _Normal.around(mode, posterior, "meanfield"), rng)
    spread = found.family.basis @ found.family.factor()
    np.testing.assert_allclose(np.diag(spread @ spread.T), 1 / np.diag(posterior.precision), rtol=1e-3)


@pytest.fixture(scope="module")
def nuts():
    return bm.nuts(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, random_seed=1, **QUIET)


@pytest.mark.parametrize(
    ("options", "widths"),
    [
        ({}, (0.85, 1.15)),
        ({"batch_size": 136}, (0.7, 1.3)),
        ({"method": "meanfield"}, (0.5, 1.15)),  # too narrow where coordinates are correlated: known, and not hidden
    ],
    ids=str,
)
def test_close_to_nuts_on_faithful(nuts, options, widths):
    fit = bm.advi(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, random_seed=1, **options, **QUIET)
    assert fit.converged, fit.message
    assert f"k-hat is {fit.tree.attrs['khat']:.2f}" in fit.message
    for name in ("weights", "mu", "cov"):
        ours, theirs = (
            f.tree["posterior"][name].values.reshape(-1, *f.tree["posterior"][name].shape[2:]) for f in (fit, nuts)
        )
        shift = np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) / theirs.std(axis=0)
        assert shift.max() < 0.35, (name, shift)  # in posterior sd; KL projection plus 1000 draws' error of 0.03
        width = ours.std(axis=0) / theirs.std(axis=0)
        assert widths[0] < width.min() and width.max() < widths[1], (name, width)


def test_schema_is_that_of_nuts(nuts):
    fit = bm.advi(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, random_seed=1, draws=200, **QUIET)
    for name in ("weights", "mu", "cov"):
        assert fit.tree["posterior"][name].dims == nuts.tree["posterior"][name].dims
    assert fit.tree["posterior"].sizes["chain"] == 1
    assert fit.tree["posterior"].sizes["draw"] == 200
    assert fit.tree["sample_stats/log_p"].shape == fit.tree["sample_stats/log_q"].shape == (1, 200)
    assert fit.tree["log_likelihood/x"].shape == (1, 200, 272)
    assert "labels" in fit.tree.children and "posterior_predictive" in fit.tree.children


def test_elbo_is_below_the_evidence():
    """One normal component with one row's worth of prior: Laplace's evidence is exact to 0.1 nats at N = 272."""
    mixture = bm.Mixture(bm.Normal(), 1)
    data = mixture.check(FAITHFUL["waiting"])
    fit = bm.advi(mixture, data, random_seed=1, **QUIET)
    posterior = posterior_of(mixture, data)
    mode = find_mode(posterior, posterior.to_vector(fit.estimates))
    assert fit.tree.attrs["elbo"] < mode.log_evidence + 0.1
    assert fit.tree.attrs["elbo"] > mode.log_evidence - 0.5


def test_khat_tells_good_from_bad():
    """A proposal half as wide as its normal target has ratios with tail index 1 - (1/2)^2 = 0.75, one wider has bounded ones.

    With x = z / 2 the ratio is exp(1.5 x^2), so P(ratio > t) falls like t^-(1 / 0.75): k = 0.75 in the limit; the
    logarithmic factor of the normal tail makes it smaller at 10 000 draws.
    """
    x = 0.5 * np.random.default_rng(1).standard_normal(10_000)
    assert 0.5 < pareto_khat(-0.5 * x**2 + 0.5 * (x / 0.5) ** 2) < 0.85
    wide = 1.5 * np.random.default_rng(2).standard_normal(10_000)
    assert pareto_khat(-0.5 * wide**2 + 0.5 * (wide / 1.5) ** 2) < 0.3


def test_same_seed_same_result():
    fits = [bm.advi(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, random_seed=4, draws=100, **QUIET) for _ in range(2)]
    np.testing.assert_array_equal(*(fit.tree["posterior/mu"].values for fit in fits))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "svgd"}, "fullrank"),
        ({"draws": 10}, "at least 100"),
        ({"batch_size": 1000}, "272"),
        ({"init": "x"}, "init="),
    ],
)
def test_bad_options(options, words):
    with pytest.raises(ValueError, match=words):
        bm.advi(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, **{**QUIET, **options})
