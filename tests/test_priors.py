"""Priors mean what SciPy's distributions of the same name mean; PreliZ's are taken over; wrong ones are refused."""

import json

import numpy as np
import pytest
from scipy import stats

import bayesmix as bm
from bayesmix.priors import POSITIVE, Prior, from_plain, to_plain

PYTHON = {"mode": "FAST_COMPILE"}


@pytest.fixture(scope="module")
def pz():
    return pytest.importorskip("preliz")


def log_prior(model, values):
    """Log density of the model's free variables at these values, on their own scale (no Jacobian)."""
    from bayesmix.model import start_vector

    point = start_vector(model, values)
    return float(model.compile_fn(model.logp(jacobian=False), **PYTHON)(point)), point


# -- densities ---------------------------------------------------------------------------------------------------------
def lower_triangle(size):
    return np.tril_indices(size)


@pytest.mark.parametrize("nu", ["smallest", "default", 20.0])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_inverse_wishart_is_scipys(d, nu):
    """Log density of the covariance, by change of variables from those that are sampled."""
    import pymc as pm
    import pytensor.tensor as pt

    nu = {"smallest": d - 0.5, "default": d + 2.0}.get(nu, nu)
    rng = np.random.default_rng(d)
    basis = rng.normal(size=(d, d))
    prior = bm.InverseWishart(nu, basis @ basis.T + np.eye(d))
    with pm.Model() as model:
        factor = prior.precision_factor("cov", ())
    where = lower_triangle(d)
    for seed in range(3):
        cov = stats.invwishart(d + 4, np.asarray(prior.psi)).rvs(random_state=seed).reshape(d, d)
        values = prior.start("cov", cov)
        density, point = log_prior(model, values)
        graph = model.replace_rvs_by_values([pt.linalg.inv(pt.matmul(factor.T, factor))])
        np.testing.assert_allclose(model.compile_fn(graph, inputs=model.value_vars, **PYTHON)(point)[0], cov, rtol=1e-9)

        def coordinates(packed, names=tuple(values)):
            matrix = np.zeros((d, d))
            matrix[where] = packed
            start = prior.start("cov", matrix + np.tril(matrix, -1).T)
            return np.concatenate([np.ravel(start[name]) for name in names])

        packed = cov[where]
        steps = 1e-6 * np.abs(packed).max() * np.eye(len(packed))
        jacobian = np.array([(coordinates(packed + s) - coordinates(packed - s)) / (2 * s.sum()) for s in steps])
        expected = stats.invwishart.logpdf(cov, nu, np.asarray(prior.psi))
        assert density + np.linalg.slogdet(jacobian)[1] == pytest.approx(expected, rel=1e-6)  # differences of h^2


def test_inverse_wishart_draws_have_scipys_mean():
    import pymc as pm
    import pytensor.tensor as pt

    prior = bm.InverseWishart(9.0, [[2.0, 0.8], [0.8, 1.0]])
    with pm.Model():
        factor = prior.precision_factor("cov", (4,))
        cov = pt.linalg.inv(pt.matmul(factor.mT, factor))
    drawn = pm.draw(cov, 1500, random_seed=1, **PYTHON).reshape(-1, 2, 2)
    theirs = stats.invwishart(9, np.asarray(prior.psi))
    error = drawn.std(axis=0) / np.sqrt(len(drawn))
    assert np.all(np.abs(drawn.mean(axis=0) - theirs.mean()) < 4.5 * error)
    quantiles = np.quantile(theirs.rvs(50_000, random_state=1), [0.1, 0.5, 0.9], axis=0)
    np.testing.assert_allclose(np.quantile(drawn, [0.1, 0.5, 0.9], axis=0), quantiles, atol=0.05)  # 4 standard errors


@pytest.mark.parametrize("nu, scale", [(3.0, 2.0), (0.5, 1e-3), (40.0, 1e4)])
def test_scaled_inverse_chi_squared_is_scipys_inverse_gamma(nu, scale):
    """Log density of sigma, by change of variables, against that of sigma^2 in SciPy."""
    import pymc as pm

    prior = bm.ScaledInverseChiSquared(nu, scale)
    with pm.Model() as model:
        prior.variable("sigma")
    for sigma in np.array([0.3, 1.0, 4.0]) * scale:
        values = prior.start("sigma", sigma)
        density, point = log_prior(model, values)
        graph = model.replace_rvs_by_values([model["sigma"]])
        assert model.compile_fn(graph, inputs=model.value_vars, **PYTHON)(point)[0] == pytest.approx(sigma, rel=1e-12)
        h = 1e-6 * sigma
        slope = abs(prior.start("sigma", sigma + h)["sigma_chi2"] - prior.start("sigma", sigma - h)["sigma_chi2"]) / (
            2 * h
        )
        expected = stats.invgamma.logpdf(sigma**2, nu / 2, scale=nu * scale**2 / 2) + np.log(2 * sigma)
        assert density + np.log(slope) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("eta", [1.0, 4.0])
def test_lkj_correlations_are_beta(eta):
    """Each correlation, from (-1, 1) to (0, 1), is Beta(b, b) with b = eta - 1 + D/2 (Lewandowski et al. 2009)."""
    import pymc as pm
    import pytensor

    half_normal = Prior.of("HalfNormal", POSITIVE, sigma=2.0)
    mixture = bm.Mixture(bm.MvNormal(sigma=half_normal, corr=bm.LKJ(eta)), 1)
    model = mixture.to_pymc(np.random.default_rng(1).normal(size=(20, 3)))
    with pytensor.config.change_flags(cxx=""):  # no C compiler for the loop in PyMC's sampler of correlations
        cov = pm.draw(model["cov"], 400, random_seed=1, **PYTHON).reshape(-1, 3, 3)
    sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
    b = eta - 1 + 3 / 2
    for i, j in ((1, 0), (2, 0), (2, 1)):
        correlation = cov[:, i, j] / (sd[:, i] * sd[:, j])
        assert stats.kstest((correlation + 1) / 2, stats.beta(b, b).cdf).pvalue > 1e-4, f"entry {i}, {j}"
    for i in range(3):
        assert stats.kstest(sd[:, i], stats.halfnorm(scale=2).cdf).pvalue > 1e-4, f"standard deviation {i}"


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: bm.InverseWishart(3, [[1.0, 2.0], [2.0, 1.0]]), "positive definite"),
        (lambda: bm.InverseWishart(3, [[1.0, 0.5], [0.0, 1.0]]), "symmetric"),
        (lambda: bm.InverseWishart(3, [1.0, 2.0]), "symmetric"),
        (lambda: bm.InverseWishart(1.0, np.eye(2)), "nu=1 .* needs nu > 1"),
        (lambda: bm.InverseWishart(float("nan"), np.eye(2)), "nu"),
        (lambda: bm.ScaledInverseChiSquared(0, 1.0), "positive"),
        (lambda: bm.ScaledInverseChiSquared(3, [1.0, -1.0]), "positive"),
        (lambda: bm.LKJ(0), "eta must be positive"),
        (lambda: bm.LKJ(float("nan")), "eta must be positive"),
    ],
    ids=["indefinite", "asymmetric", "vector", "nu", "nu nan", "chi nu", "chi scale", "eta", "eta nan"],
)
def test_hyperparameters_out_of_range_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_prior_for_another_number_of_features_is_refused():
    mixture = bm.Mixture(bm.MvNormal(cov=bm.InverseWishart(5, np.eye(3))), 2)
    with pytest.raises(ValueError, match="prior of cov is for 3 features, but the data have 2"):
        mixture.to_pymc(np.random.default_rng(0).normal(size=(20, 2)))


# -- priors in force ---------------------------------------------------------------------------------------------------
def test_priors_print_as_the_model_is_written():
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    priors = bm.Mixture(bm.Normal(), 2).priors(x)
    assert list(priors) == ["weights", "mu", "sigma"]
    assert repr(priors).splitlines() == [
        "weights ~ Dirichlet(1)",
        "mu      ~ Normal(mu=2, sigma=4)",  # midrange and range
        "          midrange and range of the data (Richardson & Green 1997)",
        "sigma   ~ ScaledInverseChiSquared(nu=3, scale=0.4082)",  # 3 scale^2 = variance / K^2 = 2 / 4
        "          3 rows' worth of the data's variance / K^2 (Fraley & Raftery 2007)",
    ]


def test_a_prior_that_is_given_replaces_the_default_only():
    half_normal = Prior.of("HalfNormal", POSITIVE, sigma=2.0)
    priors = bm.Mixture(bm.Normal(sigma=half_normal), 2).priors(np.arange(5.0))
    assert priors["sigma"] == half_normal
    assert "Normal(mu=2, sigma=4)" in repr(priors) and "Fraley" not in repr(priors)


def test_default_scale_of_covariances_is_fraley_and_rafterys():
    """mclust's defaultPrior: scale S / K^(2/D), D + 2 degrees of freedom, with S the covariance of the data."""
    x = np.random.default_rng(3).normal(size=(50, 2))
    prior = bm.Mixture(bm.MvNormal(), 4).priors(x)["cov"]
    assert prior.nu == 4
    np.testing.assert_allclose(prior.psi, np.cov(x.T, bias=True) / 4, rtol=1e-12)


@pytest.mark.parametrize("family", ["Normal", "MvNormal", "Poisson"])
def test_default_priors_see_weights_as_repeated_rows(family):
    rng = np.random.default_rng(4)
    x = rng.poisson(3, size=(40, 2 if family == "MvNormal" else 1)).astype(float)
    weights = rng.integers(0, 3, size=40)
    mixture = bm.Mixture(getattr(bm, family)(), 2)
    assert str(mixture.priors(x, weights)) == str(mixture.priors(np.repeat(x, weights, axis=0)))


# -- PreliZ ------------------------------------------------------------------------------------------------------------
def test_preliz_priors_are_taken_over(pz):
    component = bm.Normal(mu=pz.Normal(0, 10), sigma=pz.HalfNormal(2))
    assert str(component) == "Normal(mu=Normal(mu=0, sigma=10), sigma=HalfNormal(sigma=2))"
    assert component == bm.Normal(
        mu=Prior.of("Normal", mu=0.0, sigma=10.0), sigma=Prior.of("HalfNormal", POSITIVE, sigma=2.0)
    )
    assert bm.Mixture(bm.Normal(), 2, weights=pz.Dirichlet([1.0, 2.0])).weights == bm.Dirichlet([1.0, 2.0])


def test_every_preliz_prior_gives_its_own_density_in_the_model(pz):
    """The PyMC variable of a copied prior has the log density that PreliZ computes, to PreliZ's own 1e-7."""
    import pymc as pm

    priors = {
        "mu": [
            pz.Normal(1, 2),
            pz.StudentT(4, 1, 2),
            pz.Laplace(0, 1),
            pz.Cauchy(0, 2),
            pz.Truncated(pz.Normal(0, 2), -1, 3),
        ],
        "sigma": [
            pz.HalfNormal(2),
            pz.Gamma(alpha=2, beta=1),
            pz.LogNormal(0, 1),
            pz.Exponential(2),
            pz.InverseGamma(3, 2),
            pz.Truncated(pz.Normal(1, 2), lower=0.1, upper=np.inf),
        ],
    }
    at = np.array([0.3, 0.7, 2.0])
    for name, candidates in priors.items():
        for preliz in candidates:
            prior = getattr(bm.Normal(**{name: preliz}), name)
            with pm.Model():
                variable = prior.variable("v")
            ours = pm.logp(variable, at).eval(mode="FAST_COMPILE")
            np.testing.assert_allclose(ours, preliz.logpdf(at), rtol=1e-6, err_msg=f"{name} ~ {preliz}")


def test_preliz_priors_go_through_json(pz):
    for preliz in (
        pz.Normal(0, 1),
        pz.HalfNormal(2),
        pz.Truncated(pz.Normal(0, 1), -1, 3),
        pz.Truncated(pz.StudentT(3, 0, 1), 0, 5),
    ):
        prior = Prior.from_preliz(preliz)
        assert from_plain(json.loads(json.dumps(to_plain(prior)))) == prior, str(preliz)
    mixture = bm.Mixture(bm.Normal(mu=pz.Truncated(pz.Normal(0, 1), -1, 3), sigma=pz.Gamma(2, 1)), 2)
    assert bm.Mixture.from_dict(json.loads(json.dumps(mixture.to_dict()))) == mixture


def test_wrong_preliz_priors_are_refused(pz):
    cases = [
        (bm.Normal, {"sigma": pz.Normal(0, 1)}, ValueError, "prior of sigma .* positive numbers; try HalfNormal"),
        (bm.Normal, {"sigma": pz.Truncated(pz.Normal(0, 1), -1, 3)}, ValueError, "prior of sigma .* positive numbers"),
        (bm.Poisson, {"mu": pz.Normal(3, 1)}, ValueError, "prior of mu .* positive numbers"),
        (bm.Normal, {"mu": pz.Poisson(3)}, ValueError, "discrete"),
        (bm.Poisson, {"mu": pz.Poisson(3)}, ValueError, "discrete"),
        (bm.Normal, {"mu": pz.Normal()}, ValueError, "no value for mu, sigma"),
        (bm.Normal, {"mu": pz.Hurdle(pz.Gamma(2, 1), 0.5)}, ValueError, "atom at zero|Hurdle"),
        (bm.Normal, {"mu": pz.Normal}, (TypeError, ValueError), "prior"),
    ]
    for family, arguments, error, words in cases:
        with pytest.raises(error, match=words):
            family(**arguments)
            pytest.fail(f"{family.__name__}({arguments}) was accepted")


@pytest.mark.parametrize(
    "value", [0.0, "Normal", [0, 1], stats.norm(0, 1), bm.Dirichlet(1.0)], ids=lambda v: type(v).__name__
)
def test_what_is_no_distribution_is_refused(value):
    with pytest.raises(TypeError, match=r"prior of mu must be a PreliZ distribution, for example pz.Normal\(0, 10\)"):
        bm.Normal(mu=value)


def test_scaled_inverse_chi_squared_is_for_standard_deviations():
    with pytest.raises(ValueError, match="for standard deviations only"):
        bm.Normal(mu=bm.ScaledInverseChiSquared(3, 1.0))
