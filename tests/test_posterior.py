"""The log posterior in free coordinates: against PyMC's model of the same specification, and against SciPy."""

import numpy as np
import preliz as pz
import pytest
from scipy import stats

import bayesmix as bm
from bayesmix.model import sampling_model, start_values, start_vector
from bayesmix.posterior import kernel as posterior_kernel
from bayesmix.posterior import posterior_of
from bayesmix.posterior.direct import DirectPosterior
from bayesmix.posterior.mode import find_mode

FAITHFUL = bm.datasets.load("faithful")
COUNTS = np.random.default_rng(4).poisson([2.0] * 30 + [9.0] * 20)

CASES = {
    "normal": (bm.Normal(), FAITHFUL["waiting"], 2),
    "full": (bm.MvNormal(), FAITHFUL, 2),
    "tied": (bm.MvNormal(covariance="tied"), FAITHFUL, 3),
    "diag": (bm.MvNormal(covariance="diag"), FAITHFUL, 2),
    "spherical": (bm.MvNormal(covariance="spherical"), FAITHFUL, 2),
    "poisson": (bm.Poisson(), COUNTS, 2),
    "one component": (bm.MvNormal(), FAITHFUL, 1),
    "given priors": (
        bm.Normal(mu=pz.StudentT(4, 70, 20), sigma=pz.Gamma(2, 0.2)),
        FAITHFUL["waiting"],
        3,
    ),
    "given diag priors": (
        bm.MvNormal(covariance="diag", mu=pz.Cauchy(3, 50), sigma=pz.LogNormal(1, 1)),
        FAITHFUL,
        2,
    ),
}


def build(name):
    component, data, k = CASES[name]
    mixture = bm.Mixture(component, k, weights=bm.Dirichlet(np.arange(1.0, k + 1)))
    checked = mixture.check(data)
    params = bm.em(mixture, checked, random_seed=1, progressbar=False).estimates
    return mixture, checked, DirectPosterior(mixture, checked), params


def near(posterior, vector, seed, size=0.3):
    """A point away from the optimum, a few standard deviations of a component at most."""
    lengths = posterior.step_lengths(vector) * 1e4
    return vector + size * lengths * np.random.default_rng(seed).standard_normal(len(vector))


@pytest.mark.parametrize("name", CASES)
def test_gradient_is_the_derivative(name):
    _, _, posterior, params = build(name)
    vector = near(posterior, posterior.to_vector(params), 1)
    gradient = posterior.value_and_gradient(vector)[1]
    steps = posterior.step_lengths(vector)
    differences = [
        (posterior.value_and_gradient(vector + h)[0] - posterior.value_and_gradient(vector - h)[0]) / (2 * h.sum())
        for h in np.diag(steps)
    ]
    # central differences with steps of 1e-4 scales: error of about 1e-8 relative plus rounding of a value near 1e3
    np.testing.assert_allclose(gradient * steps, differences * steps, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_posterior_is_that_of_the_pymc_model(name):
    """In the same coordinates, but for the weights: PyMC's are y_k = r_k - mean(r), where ours are r_k, the log ratios
    to the last weight (r_K = 0). Then r_k = y_k + sum_j y_j, with the determinant K.
    """
    mixture, data, posterior, params = build(name)
    k = mixture.n_components
    model = sampling_model(mixture, data)
    theirs = model.compile_logp(mode="FAST_COMPILE")
    for seed in range(3):
        vector = near(posterior, posterior.to_vector(params), seed)
        point = start_vector(model, start_values(mixture, data, posterior.from_vector(vector)))
        rest = np.concatenate([np.ravel(point[v.name]) for v in model.value_vars if not v.name.startswith("weights")])
        np.testing.assert_allclose(rest, vector[k - 1 :], rtol=1e-9, atol=1e-9)
        difference = posterior.value_and_gradient(vector)[0] - float(theirs(point))
        assert difference == pytest.approx(-np.log(k), abs=1e-8)


SCIPY = {
    "Normal": ((1.0, 2.0), stats.norm(1, 2)),
    "StudentT": ((4.0, 1.0, 2.0), stats.t(4, 1, 2)),
    "Cauchy": ((1.0, 2.0), stats.cauchy(1, 2)),
    "Laplace": ((1.0, 2.0), stats.laplace(1, 2)),
    "HalfNormal": ((2.0,), stats.halfnorm(scale=2)),
    "HalfStudentT": ((4.0, 2.0), None),
    "HalfCauchy": ((2.0,), stats.halfcauchy(scale=2)),
    "Exponential": ((0.5,), stats.expon(scale=2)),
    "Gamma": ((3.0, 0.5), stats.gamma(3, scale=2)),
    "InverseGamma": ((3.0, 2.0), stats.invgamma(3, scale=2)),
    "LogNormal": ((0.3, 0.8), stats.lognorm(0.8, scale=np.exp(0.3))),
    "Weibull": ((1.5, 2.0), stats.weibull_min(1.5, scale=2)),
    "ScaledInverseChiSquared": ((3.0, 2.0), None),
}


@pytest.mark.parametrize("family", SCIPY)
def test_prior_densities_are_scipys(family):
    hyper, oracle = SCIPY[family]
    code, names = posterior_kernel.PRIOR_CODES[family]
    assert len(names) == len(hyper)
    padded = (*hyper, 0.0, 0.0)[:3]
    points = np.array([0.2, 0.9, 1.7, 4.0])
    values = np.array([posterior_kernel.log_prior(code, v, *padded) for v in points])
    if family == "HalfStudentT":
        expected = np.log(2) + stats.t(4, 0, 2).logpdf(points)
    elif family == "ScaledInverseChiSquared":  # sigma^2 ~ InverseGamma(nu / 2, nu s^2 / 2), and d sigma^2 = 2 sigma
        expected = stats.invgamma(1.5, scale=6.0).logpdf(points**2) + np.log(2 * points)
    else:
        expected = oracle.logpdf(points)
    np.testing.assert_allclose(values[:, 0], expected, rtol=1e-12, atol=1e-12)
    slopes = [
        (
            posterior_kernel.log_prior(code, v + 1e-5, *padded)[0]
            - posterior_kernel.log_prior(code, v - 1e-5, *padded)[0]
        )
        / 2e-5
        for v in points
    ]
    np.testing.assert_allclose(values[:, 1], slopes, rtol=1e-7, atol=1e-7)


def test_every_prior_of_the_list_is_tested():
    assert set(SCIPY) == set(posterior_kernel.PRIOR_CODES) - {"none"}


def test_inverse_wishart_is_normalised():
    """With the likelihood taken away the posterior is the prior, in coordinates (log P_11, P_21, log P_22)."""
    psi, nu = np.array([[2.0, 0.6], [0.6, 1.0]]), 5.0
    component = bm.MvNormal(cov=bm.InverseWishart(nu, psi))
    data = bm.Mixture(component, 1).check(FAITHFUL)
    posterior = DirectPosterior(bm.Mixture(component, 1), data)
    prior_only = posterior.on_rows(np.array([0]), 1e-300)
    for seed in range(3):
        vector = np.concatenate([posterior.to_vector(_at(data))[:2], np.random.default_rng(seed).normal(0, 0.3, 3)])
        params = posterior.from_vector(vector)
        mu_prior = component.priors(data, 1)["mu"].kwargs
        value = (
            prior_only.value_and_gradient(vector)[0]
            - stats.norm(mu_prior["mu"], mu_prior["sigma"]).logpdf(vector[:2]).sum()
        )
        # density of Sigma by SciPy, and the volume d Sigma / d coordinates by differences
        cov = params["cov"][0]
        expected = stats.invwishart(nu, psi).logpdf(cov) + np.log(abs(np.linalg.det(_jacobian(posterior, vector))))
        assert value == pytest.approx(expected, abs=1e-6)


def _at(data):
    return {"weights": np.ones(1), "mu": data.values.mean(axis=0)[None], "cov": np.cov(data.values.T)[None]}


def _jacobian(posterior, vector):
    def free(v):
        cov = posterior.from_vector(v)["cov"][0]
        return cov[np.tril_indices(2)]

    columns = []
    for i in (2, 3, 4):
        step = np.zeros(5)
        step[i] = 1e-5
        columns.append((free(vector + step) - free(vector - step)) / 2e-5)
    return np.array(columns).T


@pytest.mark.parametrize("name", ["normal", "full", "poisson"])
def test_rows_of_a_minibatch_count_for_all(name):
    """Half of the rows counting twice, plus the other half counting twice, is twice the whole likelihood."""
    _, data, posterior, params = build(name)
    vector = near(posterior, posterior.to_vector(params), 2)
    rows = np.random.default_rng(0).permutation(data.n_obs)
    halves = [posterior.on_rows(np.sort(part), 2.0) for part in (rows[: data.n_obs // 2], rows[data.n_obs // 2 :])]
    prior = posterior.on_rows(np.array([0]), 1e-300).value_and_gradient(vector)
    whole = posterior.value_and_gradient(vector)
    sums = [half.value_and_gradient(vector) for half in halves]
    assert sums[0][0] + sums[1][0] == pytest.approx(2 * whole[0], rel=1e-10)
    np.testing.assert_allclose(sums[0][1] + sums[1][1], 2 * whole[1], rtol=1e-8, atol=1e-8 * np.abs(prior[1]).max())


def test_other_priors_take_the_graph():
    mixture = bm.Mixture(bm.Normal(sigma=pz.Truncated(pz.Normal(5, 2), 0.1, np.inf)), 2)
    data = mixture.check(FAITHFUL["waiting"])
    assert not DirectPosterior.applies(mixture, data)
    assert DirectPosterior.applies(bm.Mixture(bm.Normal(), 2), data)


def test_mode_has_no_gradient_and_whitens():
    """In the basis of the mode the negative Hessian is the identity."""
    _, _, posterior, params = build("full")
    mode = find_mode(posterior, posterior.to_vector(params))
    assert mode.regular
    slope = mode.basis.T @ posterior.value_and_gradient(mode.vector)[1]
    assert np.abs(slope).max() < 1e-3  # in posterior standard deviations
    u = 1e-3 * np.eye(posterior.n_dim)
    up = np.array([mode.basis.T @ posterior.value_and_gradient(mode.vector + mode.basis @ e)[1] for e in u])
    down = np.array([mode.basis.T @ posterior.value_and_gradient(mode.vector - mode.basis @ e)[1] for e in u])
    np.testing.assert_allclose((down - up) / 2e-3, np.eye(posterior.n_dim), atol=1e-4)


def test_mode_is_found_from_a_tail_without_curvature():
    """From probabilities of 0 and 1, where EM of two Bernoulli components ends: their logits go on for ever.

    There the density rises by a nat for each unit on the way back, and has no curvature that says how far that is.
    """
    x = np.repeat([0.0, 1.0], [84, 116])
    mixture = bm.Mixture(bm.Bernoulli(), 2)
    posterior = posterior_of(mixture, mixture.check(x))
    start = {"weights": np.array([0.42, 0.58]), "p": np.array([1e-4, 1.0 - 1e-4])}
    mode = find_mode(posterior, posterior.to_vector(start))
    assert np.abs(mode.basis.T @ posterior.value_and_gradient(mode.vector)[1]).max() < 1e-3
    falls = [mode.log_density - posterior.value_and_gradient(mode.vector + axis)[0] for axis in mode.basis.T]
    np.testing.assert_allclose(falls, 0.5, atol=0.5)  # of a normal density one standard deviation off


def test_evidence_of_poisson_mixture():
    """death_notices, K = 2, against an independent evaluation (quadrature): -1995.860 over both labellings.

    Laplace's approximation is not exact: half a nat is what a skewed posterior of this size leaves.
    """
    data = bm.datasets.load("death_notices")
    mixture = bm.Mixture(bm.Poisson(mu=pz.Gamma(2, 1)), 2)
    checked = mixture.check(data["deaths"], data["freq"])
    posterior = posterior_of(mixture, checked)
    params = bm.em(mixture, checked, random_seed=1, progressbar=False).estimates
    mode = find_mode(posterior, posterior.to_vector(params))
    assert mode.log_evidence + np.log(2) == pytest.approx(-1995.860065, abs=0.5)
