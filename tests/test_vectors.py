"""Families of several columns against SciPy, scikit-learn and quadrature: what the contract does not ask of every family."""

import numpy as np
import pytest
from scipy import integrate, optimize, stats

import bayesmix as bm
from bayesmix.likelihood.likelihood import Likelihood

SCALE = np.array([[1.0, 0.5, -0.25], [0.5, 2.0, 0.5], [-0.25, 0.5, 0.75]])
CENTRES = np.array([[-2.0, 0.5, 1.0], [3.0, 3.0, -1.5]])


def heavy_tails(n, seed=0):
    """Rows of two t components, of 4 and of 9 degrees of freedom."""
    rng = np.random.default_rng(seed)
    laws = [stats.multivariate_t(CENTRES[0], SCALE, 4), stats.multivariate_t(CENTRES[1], 0.5 * SCALE, 9)]
    return np.vstack([law.rvs(n, random_state=rng) for law in laws])


def with_gaps(x, share=0.2, seed=1):
    return np.where(np.random.default_rng(seed).random(x.shape) < share, np.nan, x)


# -- multivariate t ----------------------------------------------------------------------------------------------------
T_PARAMS = {
    "weights": np.array([0.4, 0.6]),
    "mu": CENTRES,
    "scale": np.array([SCALE, 0.5 * SCALE]),
    "nu": np.array([4.0, 60.0]),
}


@pytest.mark.parametrize("structure", ["full", "diag"])
def test_rows_with_gaps_have_scipys_marginal_density(structure):
    """The t distribution of the cells that are there, row by row; the gradient of the pass is its derivative."""
    params = T_PARAMS if structure == "full" else T_PARAMS | {"scale": T_PARAMS["scale"] * np.eye(3)}
    x = with_gaps(heavy_tails(60))
    mixture = bm.Mixture(bm.MvStudentT(covariance=structure), 2)
    expected = []
    for row in x[~np.isnan(x).all(axis=1)]:
        there = np.flatnonzero(~np.isnan(row))
        own = [
            stats.multivariate_t(m[there], s[np.ix_(there, there)], nu).logpdf(row[there])
            for m, s, nu in zip(params["mu"], params["scale"], params["nu"], strict=True)
        ]
        expected.append(np.logaddexp(*(np.log(params["weights"]) + own)))
    fit = bm.Fit.from_parameters(mixture, **params)
    np.testing.assert_allclose(fit.logpdf(x)[~np.isnan(x).all(axis=1)], expected, rtol=1e-11)
    likelihood = Likelihood(mixture.component, mixture.check(x), 2)
    assert np.isclose(likelihood.log_likelihood(params), np.sum(expected), rtol=1e-12)
    vector = likelihood.to_vector(params)
    gradient, step = likelihood.value_and_gradient(vector)[1], 1e-5 * np.eye(len(vector))
    for i, h in enumerate(step):
        above, below = (likelihood.value_and_gradient(vector + s)[0] for s in (h, -h))
        assert abs((above - below) / 2e-5 - gradient[i]) < 1e-5 * max(1.0, abs(gradient[i])), i


def test_missing_cells_given_the_others_by_quadrature():
    """Mean and variance of a missing cell under each component, against integrals of SciPy's joint density."""
    x = np.array([[np.nan, 1.0, 0.5]])
    params = {name: value[None, None] for name, value in T_PARAMS.items() if name != "weights"}
    mean, variance = bm.MvStudentT().missing_moments(x, np.array([True, False, False]), params)
    for k in range(2):
        law = stats.multivariate_t(T_PARAMS["mu"][k], T_PARAMS["scale"][k], T_PARAMS["nu"][k])

        def moment(power, law=law, about=0.0):
            integrand = lambda v: (v - about) ** power * law.pdf([v, 1.0, 0.5])  # noqa: E731
            return integrate.quad(integrand, -np.inf, np.inf, epsabs=0, epsrel=1e-9, limit=200)[0]

        centre = moment(1) / moment(0)
        assert np.isclose(mean[0, 0, k, 0], centre, rtol=1e-6)
        assert np.isclose(variance[0, 0, k, 0], moment(2, about=centre) / moment(0), rtol=1e-6)


def test_missing_cells_are_drawn_from_the_conditional_distribution():
    x, n = np.array([[np.nan, 1.0, np.nan]]), 20_000
    params = {name: np.repeat(value[None, None], n, axis=0) for name, value in T_PARAMS.items() if name != "weights"}
    gone, labels = np.array([True, False, True]), np.zeros((n, 1), dtype=int)
    drawn = bm.MvStudentT().sample_missing(x, gone, params, labels, np.random.default_rng(2))[:, 0]
    family, own = bm.MvStudentT().conditional({1: 1.0}, {k: v[0, 0] for k, v in params.items()})
    assert isinstance(family, bm.MvStudentT) and own["nu"][0] == 5.0
    for j in range(2):  # Kolmogorov's test at one in a million; the marginals of the conditional distribution are t
        sd = np.sqrt(own["scale"][0, j, j])
        assert stats.kstest(drawn[:, j], stats.t(5.0, own["mu"][0, j], sd).cdf).pvalue > 1e-6


@pytest.mark.parametrize("known", [None, 5.0])
def test_one_t_component_is_the_maximum_of_scipys_likelihood(known):
    x = heavy_tails(100)[:100, :2]
    fit = bm.em(bm.Mixture(bm.MvStudentT(nu=known), 1), x, guard=None, random_seed=1, progressbar=False)

    def minus(vector):
        root = np.array([[np.exp(vector[2]), 0.0], [vector[3], np.exp(vector[4])]])
        nu = np.exp(vector[5]) if known is None else known
        return -stats.multivariate_t(vector[:2], root @ root.T, nu).logpdf(x).sum()

    best = optimize.minimize(minus, [-1.0, 0.0, 0.5, 0.0, 0.5, 2.0][: 6 if known is None else 5], method="BFGS")
    assert fit.converged and abs(fit.log_likelihood + best.fun) < 1e-6  # BFGS by differences stops this near
    if known is None:
        assert np.isclose(fit.estimates["nu"][0], np.exp(best.x[5]), rtol=1e-2)


def test_light_tails_end_at_the_normal_distribution():
    """Of uniform rows the likelihood rises with nu as far as EM goes: there the fit is that of normal components."""
    x = np.random.default_rng(3).uniform(size=(200, 2))
    fits = [
        bm.em(bm.Mixture(family, 1), x, random_seed=1, progressbar=False) for family in (bm.MvStudentT(), bm.MvNormal())
    ]
    assert fits[0].converged and fits[0].estimates["nu"][0] == 1e4
    np.testing.assert_allclose(fits[0].estimates["scale"], fits[1].estimates["cov"], rtol=2e-3)


def test_t_components_keep_what_outliers_take_from_normal_ones():
    """Forty rows far away, in a ring: the means of t components move by less than a tenth of the normal ones' error."""
    rng = np.random.default_rng(4)
    x = np.vstack([rng.normal([-4, 0], 1.0, (200, 2)), rng.normal([4, 0], 1.0, (200, 2)), rng.uniform(15, 40, (40, 2))])
    start = np.repeat([0, 1, 1], [200, 200, 40])
    for family, bound in ((bm.MvNormal(), np.inf), (bm.MvStudentT(), 0.4)):
        fit = bm.em(bm.Mixture(family, 2), x, init=start, random_seed=1, progressbar=False)
        error = np.abs(fit.estimates["mu"][fit.estimates["mu"][:, 0].argsort()] - [[-4, 0], [4, 0]]).max()
        assert error < bound
        if family == bm.MvNormal():
            assert error > 4.0


def test_a_fit_with_known_nu_survives_saving(tmp_path):
    x = with_gaps(heavy_tails(60))
    mixture = bm.Mixture(bm.MvStudentT(covariance="VEE", nu=5), 2)
    fit = bm.em(mixture, x, random_seed=1, progressbar=False)
    assert fit.n_parameters == 1 + 6 + 2 + 2 + 3 and np.all(fit.estimates["nu"] == 5.0)
    fit.save(tmp_path / "fit.nc")
    back = bm.load(tmp_path / "fit.nc")
    assert back.mixture == mixture
    np.testing.assert_array_equal(back.logpdf(x), fit.logpdf(x))


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"nu": 0.0}, "positive"),
        ({"covariance": "round"}, "not known"),
        ({"scale": 3.0}, "prior of scale must be bm.InverseWishart"),
        ({"covariance": "diag", "corr": bm.LKJ(2)}, "no correlations"),
    ],
)
def test_wrong_settings_of_t_components_are_told(settings, words):
    with pytest.raises((TypeError, ValueError), match=words):
        bm.MvStudentT(**settings)


def test_t_components_are_told_where_they_cannot_be():
    with pytest.raises(TypeError, match="sufficient statistics"):
        bm.online_em(bm.Mixture(bm.MvStudentT(), 2), heavy_tails(50))


@pytest.mark.slow
def test_the_posterior_of_t_components_lies_about_the_maximum():
    """By ADVI, with gaps: means within a few posterior standard deviations of EM's estimate, whose labels they have."""
    x = with_gaps(heavy_tails(100), 0.05)
    mixture = bm.Mixture(bm.MvStudentT(), 2)
    posterior = bm.advi(mixture, x, random_seed=1, progressbar=False).tree["posterior"]
    top = bm.em(mixture, x, random_seed=1, progressbar=False)
    order = np.argsort(top.estimates["mu"][:, 0])
    drawn = posterior["mu"].values[0]
    drawn = drawn[:, np.argsort(drawn.mean(axis=0)[:, 0])]
    assert np.all(np.abs(drawn.mean(axis=0) - top.estimates["mu"][order]) < 2.0 * drawn.std(axis=0))
    assert np.all(drawn.std(axis=0) < 0.4)


# -- Dirichlet -----------------------------------------------------------------------------------------------------------
ALPHA = np.array([[2.0, 6.0, 8.0], [20.0, 8.0, 4.0]])


def shares(n, seed=0):
    rng = np.random.default_rng(seed)
    return np.vstack([rng.dirichlet(one, n) for one in ALPHA])


def test_one_dirichlet_component_is_the_maximum_of_scipys_likelihood():
    """And Minka's (2000) fixed point, psi(alpha) = psi(alpha_0) + mean log x; row weights count."""
    from scipy.special import psi

    x, weights = shares(150)[:150], np.random.default_rng(1).integers(1, 4, 150)
    fit = bm.em(bm.Mixture(bm.Dirichlet(), 1), x, weights=weights, guard=None, progressbar=False)
    alpha = fit.estimates["alpha"][0]
    np.testing.assert_allclose(
        psi(alpha) - psi(alpha.sum()), np.average(np.log(x), axis=0, weights=weights), rtol=1e-10
    )

    def minus(logs):
        return -sum(w * stats.dirichlet(np.exp(logs)).logpdf(row) for w, row in zip(weights, x, strict=True))

    best = optimize.minimize(minus, np.zeros(3), method="BFGS", options={"gtol": 1e-4})
    assert np.isclose(fit.log_likelihood, -best.fun, atol=1e-6)
    np.testing.assert_allclose(alpha, np.exp(best.x), rtol=1e-4)


def test_dirichlet_components_are_found_and_survive_saving(tmp_path):
    """Estimates within five of their own standard errors of the truth; of two columns the family is the beta distribution."""
    x = shares(300)
    fit = bm.em(bm.Mixture(bm.Dirichlet(), 2), x, uncertainty="laplace", random_seed=1, progressbar=False)
    order = np.argsort(fit.estimates["alpha"][:, 0])
    drawn = fit.tree["posterior"]["alpha"].values[0]
    assert np.all(np.abs(fit.estimates["alpha"][order] - ALPHA) < 5.0 * drawn.std(axis=0)[order])
    fit.save(tmp_path / "fit.nc")
    back = bm.load(tmp_path / "fit.nc")
    assert back.mixture == fit.mixture == bm.Mixture(bm.Dirichlet(), 2)
    np.testing.assert_array_equal(back.logpdf(x), fit.logpdf(x))
    two = np.stack([x[:, 0], 1.0 - x[:, 0]], axis=1)
    settings = {"guard": None, "random_seed": 1, "progressbar": False}
    pair, single = (
        bm.em(bm.Mixture(bm.Dirichlet(), 2), two, **settings),
        bm.em(bm.Mixture(bm.Beta(), 2), two[:, 0], **settings),
    )
    assert np.isclose(pair.log_likelihood, single.log_likelihood, rtol=1e-9)


def test_tied_rows_do_not_end_in_a_spike():
    """Twelve equal rows have an unbounded density; the guard keeps a component's alpha_0 where it is among the others."""
    x = np.vstack([shares(60), np.tile([0.2, 0.3, 0.5], (12, 1))])
    labels = np.repeat([0, 1, 2], [60, 60, 12])
    fit = bm.em(bm.Mixture(bm.Dirichlet(), 3), x, init=labels, random_seed=1, progressbar=False)
    assert fit.converged and fit.estimates["alpha"].sum(axis=1).max() < 1e4
    wild = bm.em(
        bm.Mixture(bm.Dirichlet(), 3), x, init=labels, guard=None, random_seed=1, max_iter=200, progressbar=False
    )
    assert "collapsed" in wild.message or wild.estimates["alpha"].sum(axis=1).max() > 1e6


def test_the_information_counts_the_guard():
    mixture = bm.Mixture(bm.Dirichlet(), 2)
    likelihood = Likelihood(mixture.component, mixture.check(shares(40)), 2)
    guard = mixture.component.guard(likelihood.data, 3.0)
    vector = likelihood.to_vector({"weights": np.array([0.4, 0.6]), "alpha": ALPHA})
    expected = likelihood._differenced(vector, guard)
    np.testing.assert_allclose(likelihood.information(vector, guard), expected, rtol=1e-6, atol=1e-6)


def test_the_distribution_function_of_shares_by_quadrature():
    """P(X <= x) of three shares: an integral of the beta density of the first, the second beta given it."""
    alpha, x = ALPHA[0], np.array([0.25, 0.5, 0.6])
    first, second = stats.beta(alpha[0], alpha[1:].sum()), stats.beta(alpha[1], alpha[2])

    def inner(u):
        return first.pdf(u) * max(second.cdf(min(x[1] / (1 - u), 1)) - second.cdf(max(1 - x[2] / (1 - u), 0)), 0)

    expected = integrate.quad(inner, 0, x[0], epsrel=1e-10)[0]
    found = bm.Mixture(bm.Dirichlet(), 1).component.cdf(x[None], {"alpha": alpha[None]})
    assert abs(found[0, 0] - expected) < 1e-5


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda x: np.where(np.arange(60)[:, None] == 7, [0.0, 0.5, 0.5], x), r"row 7 with 0 in column 0.*Multinomial"),
        (lambda x: x * 100, r"60 of 60 do not.*row 0, which sums to 100.*Divide"),
        (lambda x: x[:, :1], "bm.Beta"),
        (lambda x: np.tile([0.25, 0.25, 0.5], (60, 1)), "the same"),
        (lambda x: np.where(np.arange(60)[:, None] == 3, [np.nan, 0.5, 0.5], x), "missing"),
    ],
)
def test_rows_that_are_no_shares_are_told(change, words):
    with pytest.raises(ValueError, match=words):
        bm.em(bm.Mixture(bm.Dirichlet(), 1), change(shares(30)))


def test_the_name_of_the_weights_prior_serves_both():
    import preliz as pz

    with pytest.raises(ValueError, match=r"give one, bm.Dirichlet\(1.0\)"):
        bm.Mixture(bm.Normal(), 2, weights=bm.Dirichlet())
    with pytest.raises(TypeError, match="it is estimated"):
        bm.Mixture(bm.Dirichlet(2.0), 2)
    mixture = bm.Mixture(bm.Dirichlet(pz.Gamma(2, 0.5)), 2)
    assert str(mixture) == "Mixture of 2 Dirichlet(alpha=Gamma(alpha=2, beta=0.5)) components, weights ~ Dirichlet(1)"
    assert bm.Mixture([bm.Dirichlet(), bm.Dirichlet()]) == bm.Mixture(bm.Dirichlet(), 2)


def test_shares_beside_other_columns():
    """Parts of a product and members of a list: with the guard, and information by differences."""
    rng = np.random.default_rng(5)
    x = np.column_stack([shares(80), np.repeat([0.0, 5.0], 80) + rng.normal(size=160)])
    product = bm.Mixture(bm.Product(mix=(bm.Dirichlet(), [0, 1, 2]), size=(bm.Normal(), [3])), 2)
    listed = bm.Mixture([bm.Product(mix=(bm.Dirichlet(), [0, 1, 2]), size=(bm.Normal(), [3]))] * 2)
    assert product == listed
    fit = bm.em(product, x, random_seed=1, progressbar=False)
    assert fit.converged
    likelihood = Likelihood(product.component, product.check(x), 2)
    guard = product.component.guard(likelihood.data, 2.0)
    vector = likelihood.to_vector(fit.estimates)
    step = 1e-5 * np.eye(len(vector))
    gradient = likelihood.value_and_gradient(vector, guard)[1]
    for i, h in enumerate(step):
        above, below = (likelihood.value_and_gradient(vector + s, guard)[0] for s in (h, -h))
        assert abs((above - below) / 2e-5 - gradient[i]) < 1e-4 * max(1.0, abs(gradient[i])), i
    expected = likelihood._differenced(vector, guard)
    np.testing.assert_allclose(likelihood.information(vector, guard), expected, rtol=1e-6, atol=1e-5)


def test_the_posterior_of_dirichlet_components_lies_about_the_maximum():
    """By ADVI: concentrations within a few posterior standard deviations of EM's estimate."""
    x, mixture = shares(100), bm.Mixture(bm.Dirichlet(), 2)
    drawn = bm.advi(mixture, x, random_seed=1, progressbar=False).tree["posterior"]["alpha"].values[0]
    drawn = drawn[:, np.argsort(drawn.mean(axis=0)[:, 0])]
    top = bm.em(mixture, x, random_seed=1, progressbar=False).estimates["alpha"]
    assert np.all(np.abs(drawn.mean(axis=0) - top[np.argsort(top[:, 0])]) < 2.0 * drawn.std(axis=0))


# -- factor analysers ------------------------------------------------------------------------------------------------------
def factors(n, d=8, q=2, seed=0, sigma=0.8):
    """Rows of two factor analysers, apart by their means and loadings."""
    rng = np.random.default_rng(seed)
    parts = []
    for shift in (0.0, 5.0):
        loadings = rng.normal(size=(d, q))
        parts.append(shift + rng.normal(size=(n, q)) @ loadings.T + sigma * rng.normal(size=(n, d)))
    return np.vstack(parts)


@pytest.mark.parametrize("d, q, n", [(6, 1, 200), (8, 2, 150), (20, 3, 300)])
def test_one_factor_analyser_is_scikit_learns(d, q, n):
    """The same likelihood, and the same covariance; weights are repeated rows."""
    from sklearn.decomposition import FactorAnalysis

    x = factors(n, d, q)[:n]
    theirs = FactorAnalysis(q, svd_method="lapack", tol=1e-12, max_iter=100_000).fit(x)
    fit = bm.em(bm.Mixture(bm.FactorAnalyser(n_factors=q), 1), x, guard=None, progressbar=False)
    assert np.isclose(fit.log_likelihood, n * theirs.score(x), rtol=1e-10)
    cov = bm.FactorAnalyser.covariances(fit.estimates)[0]
    np.testing.assert_allclose(cov, theirs.get_covariance(), atol=1e-4)  # where scikit-learn's EM stops
    assert fit.n_parameters == 2 * d + d * q - q * (q - 1) // 2
    loadings = fit.estimates["loadings"][0]
    assert np.all(np.triu(loadings, 1) == 0) and np.all(np.diag(loadings) > 0)


def test_derivatives_of_two_factors_are_differences():
    """Gradient and information in the coordinates of loadings with zeros above the diagonal, with guard and with gaps."""
    mixture = bm.Mixture(bm.FactorAnalyser(n_factors=2), 2)
    for x in (factors(60, 6), with_gaps(factors(60, 6))):
        likelihood = Likelihood(mixture.component, mixture.check(x), 2)
        guard = mixture.component.guard(likelihood.data, 2.0)
        params = {"weights": np.array([0.5, 0.5]), "mu": np.array([np.zeros(6), np.full(6, 5.0)])}
        params |= {"loadings": np.tri(6, 2) * np.random.default_rng(2).normal(size=(2, 6, 2)), "sigma": np.ones((2, 6))}
        vector = likelihood.to_vector(params)
        gradient = likelihood.value_and_gradient(vector, guard)[1]
        for i, h in enumerate(1e-5 * np.eye(len(vector))):
            above, below = (likelihood.value_and_gradient(vector + s, guard)[0] for s in (h, -h))
            assert abs((above - below) / 2e-5 - gradient[i]) < 1e-4 * max(1.0, abs(gradient[i])), i
        expected = likelihood._differenced(vector, guard)
        np.testing.assert_allclose(likelihood.information(vector, guard), expected, rtol=1e-5, atol=1e-4)


def test_many_columns_need_few_factors(tmp_path):
    """Of 30 columns and two factors: BIC finds two among one to three and prefers them to full matrices; fits are saved."""
    x = factors(150, 30, 2, seed=3)
    fits = {
        q: bm.em(bm.Mixture(family, 2), x, n_init=2, random_seed=1, progressbar=False)
        for q, family in {q: bm.FactorAnalyser(n_factors=q) for q in (1, 2, 3)}.items()
        | {"full": bm.MvNormal()}.items()
    }
    assert min(fits, key=lambda name: fits[name].bic) == 2
    labels = np.repeat([0, 1], 150)
    assert max(np.mean(fits[2].classify(x) == labels), np.mean(fits[2].classify(x) != labels)) == 1.0
    fits[2].save(tmp_path / "fit.nc")
    back = bm.load(tmp_path / "fit.nc")
    assert back.mixture == fits[2].mixture
    np.testing.assert_array_equal(back.logpdf(x[:5]), fits[2].logpdf(x[:5]))


def test_a_column_without_an_error_of_its_own_is_kept_from_zero():
    """A Heywood case: the likelihood rises as one sigma falls, which EM stops at a hundredth of the standard deviation."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 5)) + 1e-3 * rng.normal(size=(40, 5))
    fit = bm.em(bm.Mixture(bm.FactorAnalyser(n_factors=2), 1), x, guard=None, progressbar=False)
    share = fit.estimates["sigma"][0] ** 2 / np.diag(bm.FactorAnalyser.covariances(fit.estimates)[0])
    assert fit.converged and np.isclose(share.min(), 1e-4, rtol=1e-3)


def test_wrong_numbers_of_factors_are_told():
    with pytest.raises(ValueError, match="whole number"):
        bm.FactorAnalyser(n_factors=1.5)
    with pytest.raises(ValueError, match="at most 3 factors"):
        bm.em(bm.Mixture(bm.FactorAnalyser(n_factors=4), 2), factors(40, 6))
    with pytest.raises(ValueError, match="bm.sweep"):
        bm.Mixture(bm.FactorAnalyser(n_factors=[1, 2]), 2)


@pytest.mark.slow
def test_the_posterior_of_factor_analysers_lies_about_the_maximum():
    """By ADVI: covariances, which no rotation changes, within a few posterior standard deviations of EM's estimate."""
    x = with_gaps(factors(100, 5, 1), 0.05)
    mixture = bm.Mixture(bm.FactorAnalyser(n_factors=1), 2)
    posterior = bm.advi(mixture, x, random_seed=1, progressbar=False).tree["posterior"]
    order = np.argsort(posterior["mu"].values[0].mean(axis=0)[:, 0])
    drawn = bm.FactorAnalyser.covariances({name: posterior[name].values[0] for name in ("loadings", "sigma")})[:, order]
    top = bm.em(mixture, x, random_seed=1, progressbar=False).estimates
    expected = bm.FactorAnalyser.covariances(top)[np.argsort(top["mu"][:, 0])]
    assert np.all(np.abs(drawn.mean(axis=0) - expected) < 2.5 * drawn.std(axis=0))
    assert np.all(np.diagonal(posterior["loadings"].values, axis1=-2, axis2=-1) > 0)
