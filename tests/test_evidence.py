"""The evidence by bridge sampling: against exact integrals, other people's answers, and Laplace."""

import numpy as np
import preliz as pz
import pytest
from quadrature import log_evidence_of_two_poisson_components
from reference import answers, columns
from scipy import special, stats

import bayesmix as bm
from bayesmix.evidence import bridge

QUIET = {"progressbar": False, "random_seed": 1}
SAMPLER = {**QUIET, "cores": 2}
FAITHFUL = bm.datasets.load("faithful")


@pytest.mark.parametrize("k", [1, 2, 3])
def test_death_notices(k):
    """Poisson mixtures under Gamma(2, 1), by exact importance sampling; components overlap, so that labels mix."""
    data, reference = bm.datasets.load("death_notices"), answers("death_notices")["bayes_exact"]
    fit = bm.nuts(bm.Mixture(bm.Poisson(mu=pz.Gamma(2, 1)), k), data["deaths"], weights=data["freq"], **SAMPLER)
    found = bm.log_evidence(fit, random_seed=1)
    theirs = (reference["log_evidence_k1_exact"], 0.0)
    if k > 1:
        theirs = (reference[f"k{k}"]["log_evidence"], reference[f"k{k}"]["log_evidence_se"])
    assert abs(found.value - theirs[0]) < 4 * np.hypot(found.error, theirs[1]), (found, theirs)
    assert found.error < 0.05 and found.converged


@pytest.mark.parametrize("high", [[3, 4], [4, 9, 11], [30, 33, 35, 41]])
def test_two_poisson_components_by_quadrature(high):
    """Labellings that overlap entirely, in part, and not at all; the integral over rates and weight by quadrature."""
    x = np.array([0, 1, 2, 2, 3, *high])
    fit = bm.nuts(bm.Mixture(bm.Poisson(mu=pz.Gamma(1, 0.1)), 2), x, **SAMPLER)
    found = bm.log_evidence(fit, random_seed=1)
    exact = log_evidence_of_two_poisson_components(x, 1.0, 0.1)
    assert abs(found.value - exact) < 4 * found.error, (found, exact)
    assert found.error < 0.05


def test_one_normal_component_by_quadrature():
    """Mean and standard deviation under Normal and half-normal priors, integrated on a grid."""
    x = np.array([1.2, -0.3, 0.8, 2.9, 1.7, 0.1, 1.1])
    mixture = bm.Mixture(bm.Normal(mu=pz.Normal(0, 3), sigma=pz.HalfNormal(2)), 1)
    found = bm.log_evidence(bm.nuts(mixture, x, **SAMPLER), random_seed=1)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    nodes, weights = 0.5 * (nodes + 1), 0.5 * weights
    mu, sigma = stats.norm(0, 3).ppf(nodes), stats.halfnorm(scale=2).ppf(nodes)
    density = np.exp(stats.norm(mu[:, None, None], sigma[None, :, None]).logpdf(x).sum(axis=-1))
    assert abs(found.value - np.log(weights @ density @ weights)) < 4 * found.error
    assert found.error < 0.02


def test_low_dim_gauss_mix():
    """Evidence by someone else's importance sampling, priors and data of posteriordb."""
    component = bm.Normal(mu=pz.Normal(0, 2), sigma=pz.HalfNormal(2))
    mixture = bm.Mixture(component, 2, weights=bm.Dirichlet([5.0, 5.0]))
    fit = bm.nuts(mixture, columns("low_dim_gauss_mix.csv")["y"], draws=500, **SAMPLER)
    found, theirs = (
        bm.log_evidence(fit, random_seed=1),
        answers("low_dim_gauss_mix")["independent_importance_sampling"],
    )
    assert abs(found.value - theirs["log_evidence"]) < 4 * np.hypot(found.error, theirs["log_evidence_se"])


def test_agrees_with_laplace_whatever_drew():
    """NUTS and Laplace's own draws, bridged, against the mean importance weight."""
    mixture = bm.Mixture(bm.MvNormal(), 2)
    laplace = bm.laplace(mixture, FAITHFUL, **QUIET)
    value, error = (laplace.tree.attrs[name] for name in ("log_evidence", "log_evidence_error"))
    for fit in (laplace, bm.nuts(mixture, FAITHFUL, draws=500, **SAMPLER)):
        found = bm.log_evidence(fit, random_seed=1)
        assert found.converged, found.message
        assert abs(found.value - value) < 4 * np.hypot(found.error, error), fit.engine


def test_four_components_for_one_group():
    """24 labellings that all overlap, and empty components: the likelihood averaged over draws of the prior."""
    x, rng = np.array([1, 2, 2, 3, 5, 0, 2]), np.random.default_rng(0)
    weights, mu = rng.dirichlet(np.ones(4), 400_000), rng.gamma(2.0, 1.0, size=(400_000, 4))
    likelihood = np.ones(len(mu))
    for count in x:
        likelihood *= np.sum(weights * np.exp(count * np.log(mu) - mu - special.gammaln(count + 1.0)), axis=1)
    brute, brute_error = np.log(likelihood.mean()), likelihood.std() / likelihood.mean() / np.sqrt(len(mu))
    fit = bm.nuts(bm.Mixture(bm.Poisson(mu=pz.Gamma(2, 1)), 4), x, **SAMPLER)
    found = bm.log_evidence(fit, random_seed=1)
    assert abs(found.value - brute) < 4 * np.hypot(found.error, brute_error), (found, brute, brute_error)
    assert np.hypot(found.error, brute_error) < 0.05


@pytest.mark.parametrize("persistence", [0.0, 0.9])
def test_errors_of_the_bridge_are_those_made(persistence):
    """Between two normal densities, one known up to exp(3); draws from it are autocorrelated. 150 pairs of samples."""
    rng = np.random.default_rng(0)
    p, q = stats.norm(0.5, 1.0), stats.norm(0.0, 1.4)
    noise = rng.normal(size=(150, 4, 300))
    draws = noise.copy()
    for t in range(1, 300):
        draws[:, :, t] = persistence * draws[:, :, t - 1] + np.sqrt(1 - persistence**2) * noise[:, :, t]
    z = []
    for one in draws:
        x, y = 0.5 + one, q.rvs(500, random_state=rng)
        value, error, steady, _ = bridge(3.0 + p.logpdf(x) - q.logpdf(x), 3.0 + p.logpdf(y) - q.logpdf(y))
        assert steady
        z.append((value - 3.0) / error)
    # the mean of 150 squares of standard normal numbers is 1 within 4 sqrt(2 / 150); the effective number is estimated
    assert 0.5 < np.mean(np.square(z)) < 1.6, np.mean(np.square(z))
    assert abs(np.mean(z)) < 4 / np.sqrt(150)


def test_same_seed_same_result():
    fit = bm.laplace(bm.Mixture(bm.Normal(), 2), FAITHFUL["waiting"], **QUIET)
    assert bm.log_evidence(fit, random_seed=3) == bm.log_evidence(fit, random_seed=3)
    assert bm.log_evidence(fit, random_seed=3).value != bm.log_evidence(fit, random_seed=4).value


def test_what_it_cannot_use_is_refused_in_words():
    waiting, mixture = FAITHFUL["waiting"], bm.Mixture(bm.Normal(), 2)
    em = bm.em(mixture, waiting, uncertainty="laplace", **QUIET)
    with pytest.raises(ValueError, match="by em has draws of its estimate's sampling distribution"):
        bm.log_evidence(em)
    with pytest.raises(ValueError, match="by advi has draws of an approximation"):
        bm.log_evidence(bm.advi(mixture, waiting, draws=100, **QUIET))
    with pytest.raises(ValueError, match="no draws"):
        bm.log_evidence(bm.Fit.from_parameters(mixture, weights=[0.5, 0.5], mu=[50, 80], sigma=[5, 5]))
    with pytest.raises(TypeError, match="takes a Fit"):
        bm.log_evidence(mixture)
    with pytest.raises(ValueError, match="at least 90 are needed"):
        bm.log_evidence(bm.nuts(mixture, waiting, draws=10, **SAMPLER))
    uneven = bm.Mixture(bm.Normal(), 2, weights=bm.Dirichlet([1.0, 3.0]))
    with pytest.raises(ValueError, match="does not treat the components alike"):
        bm.log_evidence(bm.nuts(uneven, waiting, draws=50, **SAMPLER))


def test_draws_that_have_not_converged_are_spoken_of():
    """A chain in another place than the others: a number all the same, with a warning in words."""
    fit = bm.nuts(bm.Mixture(bm.Normal(), 2), FAITHFUL["waiting"], draws=50, **SAMPLER)
    assert not fit.converged  # 200 draws are too few
    found = bm.log_evidence(fit, random_seed=1)
    assert np.isfinite(found.value) and not found.converged
    assert "have not converged" in found.message and fit.message in found.message
