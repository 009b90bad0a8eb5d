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


# -- densities ---------------------------------------------------------------------------------------------------------
def log_density(model, name, value):
    """Log density of one variable at a value: on its own scale, and in the coordinates that are sampled."""
    import pytensor.tensor as pt

    rv = model[name]
    to_coordinates = model.rvs_to_transforms[rv].forward(pt.as_tensor(np.asarray(value, dtype=float)), *rv.owner.inputs)
    point = to_coordinates.eval(mode="FAST_COMPILE")
    graphs = [model.logp(vars=rv, jacobian=jacobian) for jacobian in (False, True)]
    own, sampled = model.compile_fn(graphs, inputs=model.value_vars, point_fn=False, **PYTHON)(point)
    return float(own), float(sampled), point


def log_volume(model, name, point, free):
    """log |d value / d coordinates| at a point, by central differences; `free` picks the free entries of the value."""
    value = model.replace_rvs_by_values([model[name]])
    function = model.compile_fn(value, inputs=model.value_vars, point_fn=False, **PYTHON)
    steps = 1e-5 * np.eye(point.size).reshape(-1, *point.shape)
    columns = [(free(function(point + h)[0]) - free(function(point - h)[0])) / 2e-5 for h in steps]
    return np.linalg.slogdet(np.array(columns))[1]


def covariance_model(priors, k, d, make="matrices", **settings):
    """A model of nothing but the variable ``cov``."""
    import pymc as pm

    from bayesmix.components.covariance import variable

    with pm.Model(coords={"cluster": range(k), "feature": range(d), "feature_2": range(d)}) as model:
        getattr(variable, make)(priors, k, d, **settings)
    return model


def lower_triangles(cov):
    return cov[..., *np.tril_indices(cov.shape[-1])].ravel()


@pytest.mark.parametrize("nu", ["smallest", "default", 20.0])
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("shared", [False, True], ids=["full", "tied"])
def test_inverse_wishart_is_scipys(shared, d, nu):
    """Log density of the covariances; in the coordinates that are sampled with their Jacobian, counted once if tied."""
    nu = {"smallest": d - 0.5, "default": d + 2.0}.get(nu, nu)
    basis = np.random.default_rng(d).normal(size=(d, d))
    prior = bm.InverseWishart(nu, basis @ basis.T + np.eye(d))
    model = covariance_model({"cov": prior}, 2, d, shared=shared)
    psi = np.asarray(prior.psi)
    cov = stats.invwishart(d + 4, psi).rvs(2, random_state=1).reshape(2, d, d)
    if shared:
        cov[1] = cov[0]
    own, sampled, point = log_density(model, "cov", cov)
    expected = sum(stats.invwishart.logpdf(matrix, nu, psi) for matrix in (cov[:1] if shared else cov))
    assert own == pytest.approx(expected, rel=1e-9)
    volume = log_volume(model, "cov", point, lambda value: lower_triangles(value[:1] if shared else value))
    assert sampled == pytest.approx(expected + volume, abs=1e-6)  # differences of h^2


def test_inverse_wishart_draws_have_scipys_mean():
    import pymc as pm

    prior = bm.InverseWishart(9.0, [[2.0, 0.8], [0.8, 1.0]])
    model = covariance_model({"cov": prior}, 4, 2, shared=False)
    drawn = pm.draw(model["cov"], 1500, random_seed=1, **PYTHON).reshape(-1, 2, 2)
    theirs = stats.invwishart(9, np.asarray(prior.psi))
    error = drawn.std(axis=0) / np.sqrt(len(drawn))
    assert np.all(np.abs(drawn.mean(axis=0) - theirs.mean()) < 4.5 * error)
    quantiles = np.quantile(theirs.rvs(50_000, random_state=1), [0.1, 0.5, 0.9], axis=0)
    np.testing.assert_allclose(np.quantile(drawn, [0.1, 0.5, 0.9], axis=0), quantiles, atol=0.05)  # 4 standard errors


def test_draws_of_tied_matrices_are_equal():
    import pymc as pm

    model = covariance_model({"cov": bm.InverseWishart(9.0, np.eye(2))}, 3, 2, shared=True)
    drawn = pm.draw(model["cov"], 5, random_seed=1, **PYTHON)
    np.testing.assert_array_equal(drawn, np.broadcast_to(drawn[:, :1], drawn.shape))
    assert len(np.unique(drawn[:, 0, 0, 0])) == 5


@pytest.mark.parametrize("nu, scale", [(3.0, 2.0), (0.5, 1e-3), (40.0, 1e4)])
def test_scaled_inverse_chi_squared_is_scipys_inverse_gamma(nu, scale):
    """Log density of sigma against that of sigma^2 in SciPy, d sigma^2 = 2 sigma d sigma; log sigma is sampled."""
    import pymc as pm

    with pm.Model() as model:
        bm.ScaledInverseChiSquared(nu, scale).variable("sigma")
    for sigma in np.array([0.3, 1.0, 4.0]) * scale:
        own, sampled, _ = log_density(model, "sigma", sigma)
        expected = stats.invgamma.logpdf(sigma**2, nu / 2, scale=nu * scale**2 / 2) + np.log(2 * sigma)
        assert own == pytest.approx(expected, rel=1e-9)
        assert sampled == pytest.approx(expected + np.log(sigma), rel=1e-9)
    assert pm.logp(model["sigma"], -1.0).eval(mode="FAST_COMPILE") == -np.inf
    variance = pm.draw(model["sigma"], 2000, random_seed=1, **PYTHON) ** 2
    assert stats.kstest(variance, stats.invgamma(nu / 2, scale=nu * scale**2 / 2).cdf).pvalue > 1e-4


@pytest.mark.parametrize("family", ["ScaledInverseChiSquared", "HalfNormal"])
@pytest.mark.parametrize("spherical", [False, True], ids=["diag", "spherical"])
def test_diagonal_matrices_have_the_prior_of_their_standard_deviations(spherical, family):
    """The density is over variances; what is sampled are log standard deviations."""
    import pymc as pm

    scale = 2.0 if spherical else np.array([1.0, 2.0, 4.0])
    if family == "HalfNormal":
        prior, by_sigma = Prior.of("HalfNormal", POSITIVE, sigma=scale), stats.halfnorm(scale=scale).logpdf
    else:
        prior = bm.ScaledInverseChiSquared(3.0, scale)
        by_sigma = lambda s: stats.invgamma(1.5, scale=1.5 * scale**2).logpdf(s**2) + np.log(2 * s)  # noqa: E731
    model = covariance_model(prior, 2, 3, make="variances", spherical=spherical)
    sigma = np.random.default_rng(1).uniform(0.5, 3.0, size=(2, 1 if spherical else 3))
    cov = (sigma**2)[:, :, None] * np.eye(3)
    own, sampled, point = log_density(model, "cov", cov)
    expected = np.sum(by_sigma(sigma) - np.log(2 * sigma))
    assert own == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(point, np.log(sigma), rtol=1e-12)
    assert sampled == pytest.approx(np.sum(by_sigma(sigma) + np.log(sigma)), rel=1e-9)
    drawn = pm.draw(model["cov"], 300, random_seed=1, **PYTHON)
    sd = np.sqrt(np.diagonal(drawn, axis1=-2, axis2=-1))
    np.testing.assert_array_equal(drawn, (sd**2)[..., None] * np.eye(3) if spherical else drawn * np.eye(3))
    theirs = pm.draw(prior.dist(shape=(600, 1 if spherical else 3)), random_seed=2, **PYTHON)
    ours = sd.reshape(600, 3)[:, : theirs.shape[1]]
    assert all(stats.ks_2samp(a, b).pvalue > 1e-4 for a, b in zip(ours.T, theirs.T, strict=True))


@pytest.mark.parametrize("eta", [0.7, 1.0, 4.0])
@pytest.mark.parametrize("d", [2, 4])
def test_lkj_is_pymcs(d, eta):
    """Log density of the covariance against PyMC's of its Cholesky factor L, d Sigma = 2^D prod L_ii^(D-i+1) dL."""
    import pymc as pm

    half_normal = Prior.of("HalfNormal", POSITIVE, sigma=2.0)
    model = covariance_model({"sigma": half_normal, "corr": bm.LKJ(eta)}, 2, d, shared=False)
    cov = stats.invwishart(d + 4, np.eye(d) + 1.0).rvs(2, random_state=1)
    own, sampled, point = log_density(model, "cov", cov)
    expected = 0.0
    for matrix in cov:
        lower = np.linalg.cholesky(matrix)
        theirs = pm.LKJCholeskyCov.dist(n=d, eta=eta, sd_dist=half_normal.dist(shape=d), compute_corr=False)
        expected += float(pm.logp(theirs, lower[np.tril_indices(d)]).eval(mode="FAST_COMPILE"))
        expected -= d * np.log(2.0) + np.sum((d - np.arange(d)) * np.log(np.diag(lower)))
    assert own == pytest.approx(expected, rel=1e-9)
    assert sampled == pytest.approx(expected + log_volume(model, "cov", point, lower_triangles), abs=1e-6)


@pytest.mark.parametrize("eta", [1.0, 4.0])
def test_lkj_correlations_are_beta(eta):
    """Each correlation, from (-1, 1) to (0, 1), is Beta(b, b) with b = eta - 1 + D/2 (Lewandowski et al. 2009)."""
    import pymc as pm

    half_normal = Prior.of("HalfNormal", POSITIVE, sigma=2.0)
    mixture = bm.Mixture(bm.MvNormal(sigma=half_normal, corr=bm.LKJ(eta)), 1)
    model = mixture.to_pymc(np.random.default_rng(1).normal(size=(20, 3)))
    cov = pm.draw(model["cov"], 1000, random_seed=1, **PYTHON).reshape(-1, 3, 3)
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
