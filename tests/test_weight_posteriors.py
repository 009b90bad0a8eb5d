"""Posteriors under priors of the weights: against hand-written PyMC models and, where rows are certain, quadrature."""

import itertools

import arviz as az
import numpy as np
import preliz as pz
import pymc as pm
import pytest
from scipy import special

import bayesmix as bm
from bayesmix.model import sampling_model, start_values, start_vector
from bayesmix.posterior import posterior_of
from bayesmix.posterior.direct import DirectPosterior

SIZES = np.array([12, 5])
COUNTS = np.concatenate(
    [np.random.default_rng(1).poisson(rate, n) for rate, n in zip((1.0, 300.0), SIZES, strict=True)]
)
HYPER = pz.Gamma(2, 1)
PRIORS = {"Dirichlet": bm.Dirichlet(HYPER), "sticks": bm.StickBreaking(HYPER, discount=0.2)}
RATES = pz.Gamma(1, 0.01)


def mixture_of(prior):
    return bm.Mixture(bm.Poisson(mu=RATES), 2, weights=prior)


def written_by_hand(prior):
    with pm.Model(coords={"cluster": [0, 1]}) as model:
        concentration = pm.Gamma("concentration", np.array(2.0), np.array(1.0))
        if isinstance(prior, bm.Dirichlet):
            weights = pm.Dirichlet("weights", concentration * np.ones(2), dims="cluster")
        else:
            sticks = pm.Beta("sticks", np.array(0.8), concentration + 0.2, shape=1)
            weights = pm.Deterministic("weights", pm.math.concatenate([sticks, 1 - sticks]), dims="cluster")
        mu = pm.Gamma("mu", np.array(1.0), np.array(0.01), dims="cluster")
        pm.Mixture("x", w=weights, comp_dists=pm.Poisson.dist(mu, shape=(2,)), observed=COUNTS)
    return model


@pytest.mark.parametrize("name", PRIORS)
def test_the_model_is_the_one_written_by_hand(name):
    theirs, ours = written_by_hand(PRIORS[name]), mixture_of(PRIORS[name]).to_pymc(COUNTS)
    assert {v.name for v in ours.value_vars} == {v.name for v in theirs.value_vars}
    left, right = ours.compile_logp(mode="FAST_COMPILE"), theirs.compile_logp(mode="FAST_COMPILE")
    rng = np.random.default_rng(1)
    for _ in range(3):
        point = {k: v + rng.normal(0, 0.5, np.shape(v)) for k, v in theirs.initial_point(random_seed=1).items()}
        np.testing.assert_allclose(left(point), right(point), rtol=1e-10)


def test_to_pymc_draws_from_the_prior():
    mixture = bm.Mixture(bm.Poisson(mu=RATES), 4, weights=bm.StickBreaking(HYPER))
    with mixture.to_pymc(COUNTS):
        prior = pm.sample_prior_predictive(
            draws=400, random_seed=1, var_names=["weights", "concentration"], compile_kwargs={"mode": "FAST_COMPILE"}
        )["prior"].dataset
    assert prior["weights"].dims == ("chain", "draw", "cluster")
    np.testing.assert_allclose(prior["weights"].sum("cluster"), 1.0)
    expected = (1 / (1 + prior["concentration"])).mean()  # E(V_1 | alpha)
    assert abs(prior["weights"][..., 0].mean() - expected) < 4 * prior["weights"][..., 0].std() / np.sqrt(400)


def test_engines_sample_sticks_averaged_over_their_orders():
    """Value of the density that is sampled, against all orders of the sticks in the model written by hand."""
    prior = PRIORS["sticks"]
    mixture, model = mixture_of(prior), written_by_hand(prior)
    sampled = sampling_model(mixture, mixture.check(COUNTS)).compile_logp(jacobian=False, mode="FAST_COMPILE")
    by_hand = model.compile_logp(jacobian=False, mode="FAST_COMPILE")
    data = mixture.check(COUNTS)
    for weights, alpha in (([0.7, 0.3], 0.5), ([0.05, 0.95], 2.0)):
        params = {"weights": np.array(weights), "mu": np.array([1.3, 280.0]), "concentration": alpha}
        ours = sampled(start_vector(sampling_model(mixture, data), start_values(mixture, data, params)))
        orders = []
        for order in ([0, 1], [1, 0]):  # with two components the first stick is the first weight
            point = {"sticks": params["weights"][order][:1], "mu": params["mu"][order], "concentration": alpha}
            orders.append(by_hand(start_vector(model, point)))
        np.testing.assert_allclose(ours, special.logsumexp(orders) - np.log(2), rtol=1e-8)


@pytest.mark.parametrize("name", PRIORS)
def test_other_priors_of_the_weights_go_through_pytensor(name):
    mixture = mixture_of(PRIORS[name])
    assert not DirectPosterior.applies(mixture, mixture.check(COUNTS))
    assert DirectPosterior.applies(mixture_of(bm.Dirichlet(2.0)), mixture.check(COUNTS))


def test_components_start_in_the_order_that_an_unequal_prior_prefers():
    prior, weights = bm.Dirichlet([1.0, 9.0, 4.0]), np.array([0.5, 0.2, 0.3])
    densities = {order: prior.log_density(weights[list(order)]) for order in itertools.permutations(range(3))}
    assert tuple(prior.best_order(weights)) == max(densities, key=lambda order: densities[order])
    assert list(bm.Dirichlet(HYPER).best_order(weights)) == [0, 1, 2]


# -- sampled -----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module", params=PRIORS)
def fitted(request):
    prior = PRIORS[request.param]
    return prior, bm.nuts(mixture_of(prior), COUNTS, draws=500, chains=2, random_seed=1, progressbar=False)


def exact(prior):
    """Posterior means of concentration and smaller weight: no row is in doubt, so that counts of rows say it all."""
    alpha = np.geomspace(1e-4, 60, 4000)
    both = [SIZES, SIZES[::-1]]  # the order of the components, not known
    log_p = np.array([prior.log_allocations(np.tile(n, (len(alpha), 1)), alpha) for n in both])
    log_p += prior.log_hyperprior(alpha) + np.log(alpha)  # a grid in log alpha
    p = np.exp(log_p - special.logsumexp(log_p))
    more = [n + np.where(n == 5, 1, 0) for n in both]
    grown = np.array([prior.log_allocations(np.tile(n, (len(alpha), 1)), alpha) for n in more])
    now = np.array([prior.log_allocations(np.tile(n, (len(alpha), 1)), alpha) for n in both])
    return (p * alpha).sum(), (p * np.exp(grown - now)).sum()


def near(draws, expected):
    """Within four Monte Carlo standard errors."""
    assert abs(float(draws.mean()) - expected) < 4 * float(az.mcse(draws.values)), (float(draws.mean()), expected)


def test_nuts_finds_the_concentration_and_the_weights(fitted):
    prior, fit = fitted
    alpha, smaller = exact(prior)
    posterior = fit.tree["posterior"].dataset
    assert posterior["concentration"].dims == ("chain", "draw")
    near(posterior["concentration"], alpha)
    near(posterior["weights"].min("cluster"), smaller)
    assert fit.verdict in ("converged", "labels switched only")
    assert ("cut off at 2 components" in fit.message) == isinstance(prior, bm.StickBreaking)
    np.testing.assert_array_equal(fit.n_occupied(), [0, 1])


def test_gibbs_draws_sticks_and_their_concentration():
    """Against the same integrals as NUTS; the prior is that of the sticks averaged over their orders, as it has it."""
    prior = PRIORS["sticks"]
    fit = bm.gibbs(mixture_of(prior), COUNTS, random_seed=2, progressbar=False)
    alpha, smaller = exact(prior)
    posterior, stats = fit.tree["posterior"].dataset, fit.tree["sample_stats"].dataset
    near(posterior["concentration"], alpha)
    near(posterior["weights"].min("cluster"), smaller)
    assert "cut off at 2 components" in fit.message
    assert stats["concentration"].equals(posterior["concentration"])
    parts = fit.tree["log_prior"].dataset
    assert set(parts.data_vars) == {"weights", "concentration", "mu"}
    total = sum(parts[name].values for name in parts.data_vars)
    np.testing.assert_allclose(total, (stats["lp"] - stats["log_likelihood"]).values, rtol=1e-9)


def test_the_concentration_is_in_the_tables_and_survives_relabelling_and_files(fitted, tmp_path):
    prior, fit = fitted
    assert "concentration" in fit.summary().index and "concentration" in az.summary(fit.tree).index
    before = fit.tree["posterior"].dataset["concentration"]
    xr_equal = bm.relabel(fit, algorithm="stephens").tree["posterior"].dataset["concentration"].identical(before)
    fit.save(tmp_path / "fit.zarr")
    loaded = bm.load(tmp_path / "fit.zarr")
    assert xr_equal and loaded.mixture == fit.mixture and loaded.mixture.weights == prior
    assert loaded.tree["posterior"].dataset["concentration"].equals(before)
    np.testing.assert_allclose(loaded.logpdf(COUNTS[:3]), fit.logpdf(COUNTS[:3]))


def test_fits_with_and_without_a_concentration_are_compared(fitted):
    _, fit = fitted
    em = bm.em(mixture_of(bm.Dirichlet(1.0)), COUNTS, random_seed=1, progressbar=False)
    compared = bm.compare({"EM": em, "NUTS": fit}).parameters
    assert list(compared["fit"].values) == ["EM", "NUTS"] and set(compared.data_vars) == {"weights", "mu"}


@pytest.mark.slow  # thousands of draws through PyTensor
def test_advi_approximates_the_concentration():
    prior = PRIORS["Dirichlet"]
    fit = bm.advi(mixture_of(prior), COUNTS, random_seed=1, progressbar=False)
    log_alpha = np.log(fit.tree["posterior"].dataset["concentration"].values)
    alpha = np.geomspace(1e-4, 60, 4000)
    log_p = prior.log_allocations(np.tile(SIZES, (len(alpha), 1)), alpha) + prior.log_hyperprior(alpha) + np.log(alpha)
    p = special.softmax(log_p)
    mean = (p * np.log(alpha)).sum()
    spread = np.sqrt((p * (np.log(alpha) - mean) ** 2).sum())
    # a normal distribution for a skewed one: a tenth of its spread, and four standard errors of 1000 draws
    assert abs(log_alpha.mean() - mean) < (0.1 + 4 / np.sqrt(1000)) * spread
    np.testing.assert_array_equal(fit.n_occupied(), [0, 1])


def test_one_component_takes_a_hyperprior():
    one = bm.Mixture(bm.Poisson(mu=RATES), 1, weights=bm.Dirichlet(HYPER))
    posterior = posterior_of(one, one.check(COUNTS))
    params = {"weights": np.ones(1), "mu": np.array([80.0]), "concentration": 1.5}
    back = posterior.from_vector(posterior.to_vector(params))
    np.testing.assert_allclose(back["concentration"], 1.5)
    np.testing.assert_allclose(back["weights"], [1.0])
