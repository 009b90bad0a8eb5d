"""Priors of the weights: against SciPy, PyMC, closed formulas, enumeration and numerical integration."""

import itertools
import json

import numpy as np
import preliz as pz
import pymc as pm
import pytest
from scipy import integrate, special, stats

import bayesmix as bm
from bayesmix.mixture import Mixture
from bayesmix.priors import from_plain, to_plain

GAMMA = pz.Gamma(2, 4)
PRIORS = {
    "one number": (bm.Dirichlet(0.4), 3),
    "three numbers": (bm.Dirichlet([0.5, 2.0, 1.0]), 3),
    "a hyperprior": (bm.Dirichlet(GAMMA), 3),
    "a Dirichlet process": (bm.StickBreaking(1.7), 3),
    "a Pitman-Yor process": (bm.StickBreaking(0.6, discount=0.3), 3),
    "a negative concentration": (bm.StickBreaking(-0.1, discount=0.3), 3),
    "sticks with a hyperprior": (bm.StickBreaking(GAMMA, discount=0.2), 3),
    "static": (bm.MFM(0.7), 3),
    "dynamic": (bm.MFM(2.0, pz.Poisson(1.5), dynamic=True), 3),
    "uniform": (bm.MFM(GAMMA, pz.DiscreteUniform(1, 30)), 3),
}
each = pytest.mark.parametrize("prior, k", PRIORS.values(), ids=PRIORS)
unordered = pytest.mark.parametrize(
    "alpha, discount, k", [(0.7, 0.0, 2), (2.3, 0.0, 5), (0.05, 0.6, 4), (-0.2, 0.5, 4)]
)


def at(prior):
    """A value of the concentration, where it is random."""
    return 0.8 if prior.hyper else None


def all_counts(n, k):
    """Counts (k^n, k) of every sequence of n labels."""
    return np.array([np.bincount(labels, minlength=k) for labels in itertools.product(range(k), repeat=n)])


def triangle(edge):
    """Gauss-Legendre points (n, 3) of the simplex with all weights above `edge`, and the area that each stands for."""
    u, du = special.roots_sh_legendre(80)
    first = edge + (1 - 3 * edge) * u[:, None]
    width = 1 - first - 2 * edge
    second = edge + width * u
    weights = np.stack([first + 0 * second, second, 1 - first - second], axis=-1)
    return weights.reshape(-1, 3), ((1 - 3 * edge) * du[:, None] * width * du).ravel()


# -- densities ---------------------------------------------------------------------------------------------------------
def test_dirichlet_density_is_scipys():
    weights = np.array([0.2, 0.5, 0.3])
    for prior, alpha, full in [
        (bm.Dirichlet(0.4), None, [0.4] * 3),
        (bm.Dirichlet([0.5, 2, 1]), None, [0.5, 2, 1]),
        (bm.Dirichlet(GAMMA), 1.7, [1.7] * 3),
    ]:
        np.testing.assert_allclose(prior.log_density(weights, alpha), stats.dirichlet(full).logpdf(weights), rtol=1e-12)


def test_stick_breaking_density_is_pymcs():
    weights = np.array([[0.2, 0.5, 0.05, 0.25], [0.9, 0.01, 0.05, 0.04]])
    for alpha in (0.3, 2.0):
        theirs = pm.logp(pm.StickBreakingWeights.dist(np.array(alpha), K=3), weights).eval()
        np.testing.assert_allclose(bm.StickBreaking(alpha).log_density(weights), theirs, rtol=1e-10)


@pytest.mark.parametrize("order", ["in order", "unordered"])
@pytest.mark.parametrize("alpha, discount", [(1.7, 0.0), (1.5, 0.4)])
def test_stick_breaking_density_integrates_to_one(order, alpha, discount):
    prior, edge = bm.StickBreaking(alpha, discount), 0.01
    weights, area = triangle(edge)  # without the poles at the edges; what is left out is drawn
    values = prior.log_density(weights) if order == "in order" else prior.log_density_unordered(np.log(weights))
    inside = np.exp(values) @ area
    rng = np.random.default_rng(1)
    drawn = np.array([prior.draw(3, rng)["weights"] for _ in range(10_000)])
    share = np.mean(drawn.min(axis=1) > edge)  # a region that is the same in every order
    assert abs(inside - share) < 4 * np.sqrt(share * (1 - share) / len(drawn))


@unordered
def test_unordered_density_is_the_mean_over_all_orders(alpha, discount, k):
    prior, rng = bm.StickBreaking(alpha, discount), np.random.default_rng(3)
    for weights in [prior.draw(k, rng)["weights"], np.full(k, 1.0 / k), special.softmax(-np.linspace(0, 60, k))]:
        each_order = [prior.log_density(weights[list(order)]) for order in itertools.permutations(range(k))]
        brute = special.logsumexp(each_order) - special.gammaln(k + 1)
        np.testing.assert_allclose(prior.log_density_unordered(np.log(weights)), brute, atol=1e-6)  # trapezoidal rule


def test_unordered_density_is_the_same_in_pytensor_with_its_gradient():
    import pytensor
    import pytensor.tensor as pt

    prior, rng = bm.StickBreaking(GAMMA, 0.3), np.random.default_rng(1)
    log_weights, alpha = pt.tensor("log_weights", shape=(4,), dtype="float64"), pt.dscalar("alpha")
    value = prior.log_density_unordered(log_weights, alpha)
    compiled = pytensor.function(
        [log_weights, alpha], [value, *pt.grad(value, [log_weights, alpha])], mode="FAST_COMPILE"
    )
    x = np.log(rng.dirichlet(np.ones(4)))
    got, by_weights, by_alpha = compiled(x, 0.8)

    def density(x, a):
        return float(prior.log_density_unordered(x, a))

    np.testing.assert_allclose(got, density(x, 0.8), rtol=1e-12)
    h = 1e-6
    differences = [(density(x + h * e, 0.8) - density(x - h * e, 0.8)) / (2 * h) for e in np.eye(4)]
    np.testing.assert_allclose(by_weights, differences, rtol=1e-6)
    np.testing.assert_allclose(by_alpha, (density(x, 0.8 + h) - density(x, 0.8 - h)) / (2 * h), rtol=1e-6)


def test_density_of_finite_mixtures_adds_up_over_the_number_of_components():
    prior = bm.MFM(1.8, pz.DiscreteUniform(1, 3))
    one = np.exp(prior.log_density(np.array([1.0, 0, 0])))
    first, length = special.roots_sh_legendre(40)
    two = np.exp(prior.log_density(np.column_stack([first, 1 - first, 0 * first]))) @ length
    weights, area = triangle(0.0)
    three = np.exp(prior.log_density(weights)) @ area
    np.testing.assert_allclose([one, two, three], 1 / 3, atol=1e-5)


def test_hyperprior_is_scipys():
    prior = bm.Dirichlet(GAMMA)
    grid = np.array([0.01, 0.5, 3.0])
    np.testing.assert_allclose(prior.log_hyperprior(grid), stats.gamma(2, scale=1 / 4).logpdf(grid), rtol=1e-10)
    assert prior.log_hyperprior(-1.0) == -np.inf
    assert bm.Dirichlet(1.0).log_hyperprior(1.0) == 0.0
    with pytest.raises(ValueError, match="is random: pass its value as alpha"):
        prior.log_density(np.full(3, 1 / 3))


def test_beta_negative_binomial_is_scipys():
    prior, x = bm.BetaNegativeBinomial(2, 4, 3), np.arange(60)
    np.testing.assert_allclose(prior.logpdf(x), stats.betanbinom(2, 4, 3).logpmf(x), rtol=1e-9)


# -- draws -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("alpha, discount", [(1.7, 0.0), (0.4, 0.0), (0.6, 0.3), (-0.1, 0.5)])
def test_sticks_have_the_means_of_the_process(alpha, discount):
    prior, rng, k = bm.StickBreaking(alpha, discount), np.random.default_rng(1), 6
    drawn = np.array([prior.draw(k, rng)["weights"] for _ in range(4000)])
    i = np.arange(1, k)
    rest = (alpha + i * discount) / (alpha + 1 + (i - 1) * discount)  # E(1 - V_i)
    expected = np.append(1 - rest, 1.0) * np.concatenate([[1.0], np.cumprod(rest)])
    if discount == 0:
        np.testing.assert_allclose(expected[:-1], (alpha / (1 + alpha)) ** (i - 1) / (1 + alpha))
    assert np.all(np.abs(drawn.mean(0) - expected) < 4 * drawn.std(0) / np.sqrt(len(drawn)))
    np.testing.assert_allclose(prior.truncation_mass(k), expected[-1])


@each
def test_draws_are_weights_and_repeat_with_their_seed(prior, k):
    first, second = (prior.draw(k, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_equal(first, second)
    np.testing.assert_allclose(first["weights"].sum(), 1.0)
    assert set(first) == {"weights", *prior.hyper}


def test_hyperprior_is_drawn():
    prior, rng = bm.Dirichlet(GAMMA), np.random.default_rng(1)
    drawn = [prior.draw(2, rng)["concentration"] for _ in range(500)]
    assert stats.kstest(drawn, stats.gamma(2, scale=1 / 4).cdf).pvalue > 1e-3  # by chance once in a thousand seeds


def test_number_of_components_of_finite_mixtures_is_drawn():
    prior, rng = bm.MFM(1.0, pz.Geometric(0.4)), np.random.default_rng(2)
    k = np.array([(prior.draw(5, rng)["weights"] > 0).sum() for _ in range(2000)])
    expected = stats.geom(0.4).pmf(np.arange(1, 6))
    expected /= expected.sum()
    assert stats.chisquare(np.bincount(k, minlength=6)[1:], 2000 * expected).pvalue > 1e-3
    np.testing.assert_allclose(np.exp(prior.log_prior_k(5)), expected)
    np.testing.assert_allclose(prior.truncation_mass(5), stats.geom(0.4).sf(5))


@pytest.mark.parametrize("name", ["three numbers", "a Dirichlet process", "a Pitman-Yor process"])
def test_draws_given_counts_have_the_conjugate_means(name):
    """E(pi_j | counts) is the probability that the next row has label j, a ratio of two `log_allocations`."""
    prior, k = PRIORS[name]
    counts, rng = np.array([5, 0, 2]), np.random.default_rng(1)
    drawn = np.array([prior.draw_given_counts(counts, rng) for _ in range(3000)])
    expected = np.exp(prior.log_allocations(counts + np.eye(k)) - prior.log_allocations(counts))
    assert np.all(np.abs(drawn.mean(0) - expected) < 4 * drawn.std(0) / np.sqrt(len(drawn)))


def test_finite_mixtures_given_counts_have_the_conjugate_means():
    prior, counts, rng = bm.MFM(0.7, pz.DiscreteUniform(1, 4)), np.array([5, 2, 0, 0]), np.random.default_rng(1)
    drawn = np.array([prior.draw_given_counts(counts, rng) for _ in range(3000)])
    log_k = prior.log_partition([5, 2], 4)
    p_k = np.exp(log_k - special.logsumexp(log_k))
    k = np.arange(1, 5)
    expected = (p_k * (0.7 + 5) / (0.7 * k + 7)).sum()
    assert abs(drawn[:, 0].mean() - expected) < 4 * drawn[:, 0].std() / np.sqrt(len(drawn))
    assert np.all(drawn[:, 1] > 0)
    with pytest.raises(ValueError, match="must come before those without"):
        prior.draw_given_counts(np.array([0, 3, 0]), rng)


# -- allocations -------------------------------------------------------------------------------------------------------
@each
def test_allocations_have_probability_one(prior, k):
    probabilities = np.exp(prior.log_allocations(all_counts(5, k), at(prior)))
    np.testing.assert_allclose(probabilities.sum(), 1.0, rtol=1e-12)


def expected_clusters(prior, n, k, alpha=None):
    counts = all_counts(n, k)
    return np.exp(prior.log_allocations(counts, alpha)) @ (counts > 0).sum(axis=1)


def test_number_of_clusters_of_a_dirichlet_process():
    """Sum of alpha / (alpha + i) over i < n (Antoniak 1974); at truncation 10 all but (alpha / (1 + alpha))^9 is there."""
    alpha, n = 0.3, 4
    closed = np.sum(alpha / (alpha + np.arange(n)))
    np.testing.assert_allclose(expected_clusters(bm.StickBreaking(alpha), n, 10), closed, atol=4 * n * (0.3 / 1.3) ** 9)


def test_number_of_clusters_of_a_pitman_yor_process():
    """(alpha / d) [(alpha + d)_n / (alpha)_n - 1] with rising factorials (Pitman 2006, eq. 3.13)."""
    alpha, d, n, k = 0.2, 0.1, 4, 10
    prior = bm.StickBreaking(alpha, d)
    closed = alpha / d * (special.poch(alpha + d, n) / special.poch(alpha, n) - 1)
    np.testing.assert_allclose(expected_clusters(prior, n, k), closed, atol=float(prior.truncation_error(k, n)))
    assert prior.truncation_error(k, n) < 0.01


@pytest.mark.parametrize("dynamic", [False, True])
def test_number_of_clusters_of_finite_mixtures(dynamic):
    """Given K a component is empty with probability B(gamma, (K - 1) gamma + n) / B(gamma, (K - 1) gamma)."""
    n, k = 4, np.arange(1, 6)
    prior = bm.MFM(0.9, pz.DiscreteUniform(1, 5), dynamic=dynamic)
    gamma = 0.9 / k if dynamic else np.full(5, 0.9)
    others = (k - 1) * gamma
    with np.errstate(all="ignore"):
        empty = np.where(k > 1, np.exp(special.betaln(gamma, others + n) - special.betaln(gamma, others)), 0.0)
    np.testing.assert_allclose(expected_clusters(prior, n, 5), np.mean(k * (1 - empty)), rtol=1e-10)


def test_partitions_of_finite_mixtures_have_millers_probability():
    """V_n(t) times a product of rising factorials, V_n(t) = sum_k k_(t) / (gamma k)^(n) p(k) (Miller & Harrison 2018)."""
    gamma, sizes, largest = 0.8, np.array([3, 1, 2]), 40
    prior = bm.MFM(gamma, pz.Poisson(1.5))
    k = np.arange(1, largest + 1)
    p_k = stats.poisson(1.5).pmf(k - 1)
    falling = np.array([np.prod([j - i for i in range(3)]) for j in k])
    v = np.sum(falling / special.poch(gamma * k, 6) * p_k)
    expected = v * np.prod(special.poch(gamma, sizes))
    np.testing.assert_allclose(np.exp(special.logsumexp(prior.log_partition(sizes, largest))), expected, rtol=1e-8)


# -- truncation --------------------------------------------------------------------------------------------------------
def test_truncation_error_bounds_that_of_ishwaran_and_james():
    """Their 4 [1 - E(1 - R)^n], exact: -log R is the sum of K - 1 exponentials with rate alpha."""
    alpha, k, n = 1.5, 12, 50
    prior = bm.StickBreaking(alpha)
    waiting = stats.gamma(k - 1, scale=1 / alpha)
    kept = integrate.quad(lambda x: (1 - np.exp(-x)) ** n * waiting.pdf(x), 0, np.inf)[0]
    exact, bound = 4 * (1 - kept), float(prior.truncation_error(k, n))
    assert exact <= bound < 2 * exact
    assert bound >= 4 * n * np.exp(-(k - 1) / alpha)
    assert prior.truncation_error(2, 1e6) == 2.0


def test_truncation_is_stated():
    said = bm.StickBreaking(1.0).notes({}, 11, 100)
    assert "cut off at 11 components" in said and "mass of 0.00098" in said and "at most 0.39" in said
    assert "take more" in said and "take more" not in bm.StickBreaking(1.0).notes({}, 40, 100)
    assert bm.Dirichlet(1.0).notes({}, 3, 10) == ""
    assert "not which entry of the prior" in bm.Dirichlet([1, 2]).notes({}, 2, 10)


# -- records -----------------------------------------------------------------------------------------------------------
@each
def test_priors_survive_json(prior, k):
    assert from_plain(json.loads(json.dumps(to_plain(prior)))) == prior
    mixture = bm.Mixture(bm.Normal(), k, weights=prior)
    assert Mixture.from_dict(json.loads(json.dumps(mixture.to_dict()))) == mixture
    assert hash(prior) == hash(from_plain(to_plain(prior)))


def test_priors_print_as_they_are_written():
    assert str(bm.Dirichlet(GAMMA)) == "Dirichlet(Gamma(alpha=2, beta=4))"
    assert str(bm.StickBreaking(1.5, discount=0.2)) == "StickBreaking(1.5, discount=0.2)"
    assert str(bm.MFM()) == "MFM(1, K - 1 ~ BetaNegativeBinomial(1, 4, 3))"
    assert (
        str(bm.MFM(2, pz.DiscreteUniform(1, 30), dynamic=True)) == "MFM(2 / K, K ~ DiscreteUniform(lower=1, upper=30))"
    )


@pytest.mark.parametrize(
    "make, error, words",
    [
        (
            lambda: bm.Dirichlet(pz.Normal(1, 1)),
            ValueError,
            r"the concentration of Dirichlet is Normal.*positive numbers",
        ),
        (lambda: bm.Dirichlet(pz.Poisson(2)), ValueError, "discrete"),
        (lambda: bm.Dirichlet(pz.Gamma([1, 2], 1)), ValueError, "is one number, but its prior"),
        (lambda: bm.StickBreaking(0.0), ValueError, "alpha=0.0 but StickBreaking needs a finite number > 0"),
        (lambda: bm.StickBreaking(-0.5, 0.3), ValueError, "needs a finite number > -0.3"),
        (lambda: bm.StickBreaking([1, 2]), ValueError, "alpha=.* but StickBreaking needs"),
        (lambda: bm.StickBreaking(1.0, 1.0), ValueError, "discount=1 but it must be at least 0 and less than 1"),
        (lambda: bm.StickBreaking(1.0, "much"), TypeError, "discount='much'"),
        (lambda: bm.MFM(1.0, 5), TypeError, "n_components=5 but it must be the prior"),
        (lambda: bm.MFM(1.0, pz.Gamma(1, 1)), ValueError, "which is continuous"),
        (lambda: bm.MFM(1.0, pz.DiscreteUniform(-2, 4)), ValueError, "values below 0"),
        (lambda: bm.MFM(1.0, dynamic=1), TypeError, "dynamic=1"),
        (lambda: bm.BetaNegativeBinomial(1, -4, 3), ValueError, "a=-4"),
        (lambda: bm.Mixture(bm.Normal(), 1, weights=bm.StickBreaking(1.0)), ValueError, "at least 2"),
        (lambda: bm.Mixture(bm.Normal(), 3, weights=bm.MFM(1.0, pz.DiscreteUniform(5, 9))), ValueError, "no mass to 3"),
    ],
)
def test_what_is_wrong_is_said(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("engine", [bm.em, bm.online_em, bm.nuts, bm.advi], ids=lambda engine: engine.__name__)
def test_only_gibbs_takes_a_random_number_of_components(engine):
    mixture = bm.Mixture(bm.Poisson(), 5, weights=bm.MFM())
    with pytest.raises(TypeError, match=r"MFM\(1, .*\), makes the number of components random, which bm.gibbs alone"):
        engine(mixture, np.arange(20), random_seed=1)
    with pytest.raises(TypeError, match="bm.gibbs"):
        mixture.to_pymc(np.arange(20))


def test_em_ignores_the_prior_of_the_weights():
    counts = np.random.default_rng(1).poisson([2.0] * 20 + [20.0] * 30)
    plain, sparse, sticks = (
        bm.em(bm.Mixture(bm.Poisson(), 2, weights=prior), counts, random_seed=1, progressbar=False).estimates
        for prior in (bm.Dirichlet(1.0), bm.Dirichlet(GAMMA), bm.StickBreaking(1.0))
    )
    np.testing.assert_equal(sparse, plain)
    np.testing.assert_equal(sticks, plain)
