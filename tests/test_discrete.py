"""Families of counts and categories: estimates at the ends of intervals, digits, and settings left to the data."""

import math

import numpy as np
import pytest

import bayesmix as bm


def test_negative_binomial_keeps_its_digits_up_to_the_poisson_limit():
    """Against sums of logarithms without rounding, for alpha up to where EM stops."""
    for x, mu in ((0, 1e-8), (1, 0.5), (5, 40.0), (100, 40.0)):
        for alpha in (1e-6, 0.3, 49.9, 50.1, 1e3, 1e6):
            terms = [math.log((alpha + i) / (i + 1)) for i in range(x)]
            exact = math.fsum([*terms, x * math.log(mu / (mu + alpha)), -alpha * math.log1p(mu / alpha)])
            params = {"mu": np.array([mu]), "alpha": np.array([alpha])}
            ours = bm.NegativeBinomial().log_density(np.array([[float(x)]]), params)[0, 0]
            assert abs(ours - exact) < 1e-13 * max(1.0, abs(exact)), f"x={x}, mu={mu}, alpha={alpha}"


def test_probabilities_of_zero_and_one_are_estimates():
    """Rows of zeros beside a binomial component: p = 0 exactly, as for a Poisson rate; no warning, no NaN."""
    rng = np.random.default_rng(1)
    x = np.where(rng.random(400) < 0.4, 0, rng.binomial(15, 0.4, 400))
    fit = bm.em(bm.Mixture(bm.Binomial(n=15), 2), x, n_init=5, random_seed=1, progressbar=False)
    assert fit.converged and fit.estimates["p"].min() == 0.0
    sample = np.ones(9)
    fit = bm.em(
        bm.Mixture(bm.Bernoulli(), 1), sample, n_init=1, uncertainty="laplace", random_seed=1, progressbar=False
    )
    assert fit.estimates["p"] == 1.0 and fit.log_likelihood == 0.0
    assert "boundary" in fit.message


def test_categories_are_counted_where_they_are_not_given():
    x = np.array([0, 2, 1, 2, 2, 0])
    fit = bm.em(bm.Mixture(bm.Categorical(), 1), x, n_init=1, uncertainty="laplace", random_seed=1, progressbar=False)
    assert str(fit.mixture.component) == "Categorical(n_categories=3)"
    p = np.array([2, 1, 3]) / 6
    np.testing.assert_allclose(fit.estimates["p"][0], p, rtol=1e-12)
    np.testing.assert_allclose(fit.standard_errors["p"].values[0], np.sqrt(p * (1 - p) / 6), rtol=1e-6)
    assert fit.tree["point"]["p"].dims == ("cluster", "category")
    assert set(bm.Mixture(bm.Categorical(), 1).to_pymc(x).coords["category"]) == {0, 1, 2}
    with pytest.raises(ValueError, match=r"n_categories=2.*3 of 6 rows"):
        bm.em(bm.Mixture(bm.Categorical(n_categories=2), 1), x)


def test_multinomial_rows_keep_their_totals_and_predictions_draw_from_them():
    """The share of each outcome, whatever the totals; P(X <= x) against counting rows drawn."""
    rng = np.random.default_rng(2)
    x = rng.multinomial(rng.integers(3, 9, size=500), [0.5, 0.3, 0.2])
    fit = bm.em(bm.Mixture(bm.Multinomial(), 1), x, n_init=1, random_seed=1, progressbar=False)
    np.testing.assert_allclose(fit.estimates["p"][0], x.sum(axis=0) / x.sum(), rtol=1e-12)
    totals = fit.mixture.component.n
    assert min(totals) == 3 and max(totals) == 8 and len(totals) == 19
    point = np.array([[3.0, 2.0, 1.0]])
    drawn = fit.sample(20_000, random_seed=3).values
    share = np.mean(np.all(drawn <= point, axis=1))
    assert abs(fit.cdf(point).values[0] - share) < 4.5 * np.sqrt(share * (1 - share) / len(drawn))


@pytest.mark.parametrize(
    "component, x, exact",
    [
        (bm.Bernoulli(), [1] * 9 + [0], {"p": 10 / 12}),
        (bm.Multinomial(), [[3, 0, 1], [2, 0, 2], [4, 0, 0]], {"p": np.array([[10, 1, 4]]) / 15}),
    ],
)
def test_posterior_means_are_the_conjugate_ones(component, x, exact):
    """Uniform priors: a Beta and a Dirichlet posterior, also where the likelihood is highest at a probability of 0."""
    post = bm.nuts(bm.Mixture(component, 1), x, draws=1000, chains=2, random_seed=1, progressbar=False)
    for name, mean in exact.items():
        np.testing.assert_allclose(post.estimates[name], np.broadcast_to(mean, post.estimates[name].shape), atol=0.015)
