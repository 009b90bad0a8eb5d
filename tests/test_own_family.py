"""Families that users write themselves, of nothing but parameters and a log density."""

import json
import warnings

import numpy as np
import preliz as pz
import pytest
from scipy import stats

import bayesmix as bm
from bayesmix.components import FAMILIES, numeric


class Rayleigh(bm.Univariate):
    parameters = (bm.Parameter("sigma", support=(0, np.inf)),)

    def log_density(self, x, params):
        xp, sigma = bm.namespace(x, params["sigma"]), params["sigma"]
        inside = x > 0
        x = xp.where(inside, x, 1.0)
        return xp.where(inside, xp.log(x) - 2 * xp.log(sigma) - x**2 / (2 * sigma**2), -np.inf)

    def support(self):
        return 0, np.inf


class Secant(bm.Univariate):
    """Hyperbolic secant distribution, on all real numbers."""

    parameters = (bm.Parameter("mu", moves=True), bm.Parameter("sigma", support=(0, np.inf)))

    def log_density(self, x, params):
        xp = bm.namespace(x, *params.values())
        z = 0.5 * np.pi * xp.abs((x - params["mu"]) / params["sigma"])
        return -z - xp.log1p(xp.exp(-2.0 * z)) - xp.log(params["sigma"])


class Trials(bm.Univariate):
    """Failures before the first success."""

    parameters = (bm.Parameter("p", support=(0, 1)),)
    discrete = True

    def log_density(self, x, params):
        xp, p = bm.namespace(x, params["p"]), params["p"]
        is_count = (x >= 0) & xp.equal(xp.floor(x), x)
        return xp.where(is_count, xp.log(p) + x * xp.log1p(-p), -np.inf)

    def support(self):
        return 0, np.inf


def rows(seed=1):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.rayleigh(1.0, 400), rng.rayleigh(8.0, 600)])


@pytest.fixture(scope="module")
def fit():
    return bm.em(
        bm.Mixture(Rayleigh(), 2), rows(), n_init=5, uncertainty="laplace", draws=200, random_seed=1, progressbar=False
    )


# -- the integrals -----------------------------------------------------------------------------------------------------
CASES = [
    (bm.StudentT(), {"mu": [0.0, 5e3], "sigma": [1.0, 2.0], "nu": [1.0, 2.5]}),  # Cauchy tails
    (bm.Laplace(), {"mu": [0.0, -2.0], "b": [1.0, 1e-3]}),  # a kink
    (bm.Gamma(), {"alpha": [0.25, 1e4], "beta": [1.0, 1e-6]}),  # infinite at zero, and narrow far out
    (bm.LogNormal(), {"mu": [0.0, 3.0], "sigma": [0.0625, 2.0]}),
    (bm.Wald(), {"mu": [1.0, 10.0], "lam": [0.125, 100.0]}),
    (bm.Pareto(m=2.0), {"alpha": [0.5, 20.0]}),  # no mean
    (bm.Weibull(), {"alpha": [0.5, 8.0], "beta": [1.0, 3.0]}),
]


@pytest.mark.parametrize("component, params", CASES, ids=lambda case: type(case).__name__)
def test_integrals_are_scipys(component, params):
    params = {name: np.array(value) for name, value in params.items()}
    ours, theirs = numeric.distribution(component, params), component.scipy(params)
    q = np.array([1e-9, 1e-3, 0.3, 0.5, 0.9, 0.9999])[:, None]
    x = theirs.ppf(q)
    # values that rounding moves by spacing(x) cannot be told apart by less than that times the density
    rounding = np.exp(theirs.logpdf(x)) * np.spacing(np.abs(x))
    assert np.all(np.abs(ours.cdf(x) - theirs.cdf(x)) < 1e-10 + rounding)
    assert np.all(np.abs(theirs.cdf(ours.ppf(q)) - q) < 1e-10 + rounding)
    assert np.array_equal(ours.ppf([[0.0], [1.0]]), np.array(component.support())[:, None] * np.ones(2))


def test_integrals_between_two_ends():
    """A U-shaped density, infinite at both ends: the arcsine distribution."""

    class Arcsine(bm.Univariate):
        parameters = (bm.Parameter("width", support=(0, np.inf)),)

        def log_density(self, x, params):
            xp = bm.namespace(x, params["width"])
            inside = (x > 0) & (x < 1)
            x = xp.where(inside, x, 0.5)
            return xp.where(inside, -0.5 * xp.log(x) - 0.5 * xp.log1p(-x) - np.log(np.pi), -np.inf)

        def support(self):
            return 0, 1

    found = numeric.distribution(Arcsine(), {"width": np.array(1.0)})
    x = np.array([1e-6, 0.1, 0.5, 0.99])
    np.testing.assert_allclose(found.cdf(x), stats.arcsine.cdf(x), atol=1e-7)  # x = 1 - 1e-16 is as near as numbers go


def test_sums_are_scipys():
    p = np.array([0.75, 0.001953125])
    ours, theirs = numeric.distribution(Trials(), {"p": p}), stats.geom(p, loc=-1)
    x = np.array([-1.0, 0.0, 0.5, 3.0, 700.0])[:, None]
    np.testing.assert_allclose(ours.cdf(x), theirs.cdf(x), atol=1e-10)
    q = np.array([0.1, 0.5, 0.999])[:, None]
    np.testing.assert_array_equal(ours.ppf(q), theirs.ppf(q))


# -- fits --------------------------------------------------------------------------------------------------------------
def test_em_finds_what_the_data_are_made_of(fit):
    assert fit.converged, fit.message
    sd = fit.tree["posterior"]["sigma"].std(("chain", "draw")).values
    assert np.all(np.abs(fit.estimates["sigma"] - [1.0, 8.0]) < 4 * sd)


def test_one_component_is_scipys_maximum():
    x = np.random.default_rng(2).rayleigh(3.0, 500)
    one = bm.em(bm.Mixture(Rayleigh(), 1), x, n_init=1, progressbar=False)
    assert np.isclose(one.estimates["sigma"][0], stats.rayleigh.fit(x, floc=0)[1], rtol=1e-8)


@pytest.mark.slow
def test_one_component_is_scipys_maximum_on_the_line_and_of_counts():
    y = stats.hypsecant(50.0, 0.5).rvs(500, random_state=3)
    one = bm.em(bm.Mixture(Secant(), 1), y, n_init=1, progressbar=False)
    loc, scale = stats.hypsecant.fit(y)
    np.testing.assert_allclose([one.estimates["mu"][0], one.estimates["sigma"][0]], [loc, scale * np.pi / 2], rtol=1e-4)
    counts = np.random.default_rng(4).geometric(0.25, 500) - 1
    other = bm.em(bm.Mixture(Trials(), 1), counts, n_init=1, progressbar=False)
    assert np.isclose(other.estimates["p"][0], 1.0 / (1.0 + counts.mean()), rtol=1e-8)


def test_predictions_are_scipys(fit):
    scipy, weights = stats.rayleigh(scale=fit.estimates["sigma"]), fit.estimates["weights"]
    x = np.array([0.5, 2.0, 9.0, -1.0])
    np.testing.assert_allclose(fit.cdf(x), scipy.cdf(x[:, None]) @ weights, atol=1e-12)
    median = float(fit.quantile(0.5))
    assert abs(scipy.cdf(median) @ weights - 0.5) < 1e-10
    drawn = fit.sample(5000, random_seed=1).values
    assert stats.kstest(drawn, lambda v: scipy.cdf(np.reshape(v, (-1, 1))) @ weights).pvalue > 1e-3


def test_a_fit_is_saved_and_read(fit, tmp_path):
    fit.save(tmp_path / "fit.nc")
    again = bm.load(tmp_path / "fit.nc")
    assert type(again.mixture.component) is Rayleigh and again.mixture == fit.mixture
    given = bm.Mixture(Rayleigh(sigma=pz.HalfNormal(4.0)), 2)
    assert bm.Mixture.from_dict(json.loads(json.dumps(given.to_dict()))) == given
    for module, said in (("__main__", "script or notebook"), ("no_such_module", "No module named")):
        plain = given.to_dict() | {"module": module, "qualname": "Elsewhere"}
        with pytest.raises(ValueError, match=rf"Elsewhere.*{said}[\s\S]*load again"):
            bm.Mixture.from_dict(plain)


# -- posteriors --------------------------------------------------------------------------------------------------------
def test_default_priors_are_about_the_data():
    x = rows()
    found = bm.Mixture(Rayleigh(), 2).priors(x)["sigma"]
    assert found.family == "LogNormal" and np.isclose(np.exp(found.kwargs["mu"]), stats.rayleigh.fit(x, floc=0)[1])
    assert bm.Mixture(Rayleigh(sigma=pz.HalfNormal(4.0)), 2).priors(x)["sigma"].family == "HalfNormal"
    assert bm.Mixture(Secant(), 2).priors(x)["mu"].kwargs["sigma"] == np.ptp(x)
    assert bm.Mixture(Trials(), 2).priors(np.arange(9))["p"].family == "Beta"


def test_nuts_agrees_with_em():
    x = rows()[::4]
    mixture = bm.Mixture(Rayleigh(), 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few draws
        post = bm.nuts(mixture, x, draws=200, chains=1, random_seed=1, progressbar=False)
    estimate = bm.em(mixture, x, n_init=5, random_seed=1, progressbar=False).estimates["sigma"]
    sigma = post.tree["posterior"]["sigma"]
    # the prior is worth a row or two of 100 and more: a fifth of a standard deviation, and Monte Carlo error
    off = np.sort(sigma.mean(("chain", "draw")).values) - np.sort(estimate)
    assert np.all(np.abs(off) < 0.5 * np.sort(sigma.std(("chain", "draw")).values))


def test_prior_predictive_draws_are_the_familys():
    import pymc as pm

    model = bm.Mixture(Rayleigh(sigma=pz.Truncated(pz.Normal(2.0, 1e-6), 1.9, 2.1)), 1).to_pymc(rows()[:200])
    prior = pm.sample_prior_predictive(draws=20, model=model, random_seed=1, compile_kwargs={"mode": "FAST_COMPILE"})
    drawn = prior["prior_predictive"]["x"].values.ravel()
    assert stats.kstest(drawn, stats.rayleigh(scale=2.0).cdf).pvalue > 1e-3


# -- errors ------------------------------------------------------------------------------------------------------------
def density(formula, **more):
    """A family of one scale with this log density."""
    body = {"parameters": (bm.Parameter("sigma", support=(0, np.inf)),), "log_density": formula} | more
    return type("Mine", (bm.Univariate,), body)()


def test_a_density_that_does_not_integrate_to_one_is_refused():
    mine = density(lambda self, x, params: -0.5 * (x / params["sigma"]) ** 2)
    with pytest.raises(ValueError, match=r"density of Mine at sigma=\S+ integrates to .* not to 1: look whether"):
        bm.em(bm.Mixture(mine, 2), rows(), progressbar=False)
    mine = density(lambda self, x, params: -x / params["sigma"], discrete=True, support=lambda self: (0, np.inf))
    with pytest.raises(ValueError, match="probabilities of Mine .* sum to"):
        bm.em(bm.Mixture(mine, 2), np.arange(20), progressbar=False)


def test_numpys_functions_in_a_density_are_named():
    mine = density(lambda self, x, params: -0.5 * x**2 - np.log(params["sigma"]))
    with pytest.raises(TypeError) as error:
        bm.em(bm.Mixture(mine, 2), rows(), progressbar=False)
    assert "bm.namespace" in error.value.__notes__[0]


@pytest.mark.parametrize(
    "parameters, words",
    [
        (bm.Parameter("a"), "must be a tuple of bm.Parameter"),
        ((bm.Parameter("support"),), "'support': the name is taken"),
        ((bm.Parameter("weights"),), "'weights': the name is taken"),
        ((bm.Parameter("a"), bm.Parameter("a")), "'a': the name is taken"),
        ((bm.Parameter("a", support=(-np.inf, 0)),), "use its negative"),
        ((bm.Parameter("a", support=(1, 1)),), r"support \(1, 1\)"),
    ],
)
def test_wrong_parameters_are_refused_when_the_class_is_made(parameters, words):
    with pytest.raises((TypeError, ValueError), match=words):
        type("Mine", (bm.Univariate,), {"parameters": parameters, "log_density": Rayleigh.log_density})


def test_a_parameter_of_unknown_place_needs_a_prior():
    body = {"parameters": (bm.Parameter("a"),), "log_density": lambda self, x, params: -0.5 * (x - params["a"]) ** 2}
    mine = type("Mine", (bm.Univariate,), body | {"scipy": lambda self, params: stats.norm(params["a"])})
    with pytest.raises(ValueError, match=r"no default prior for a.*Mine\(a=pz.Normal\(0, 1\)\).*moves=True"):
        bm.Mixture(mine(), 2).priors(rows())
    with pytest.raises(ValueError, match="numbers between 1 and inf"):
        type("Other", (bm.Univariate,), {"parameters": (bm.Parameter("b", support=(1.0, np.inf)),)} | {
            "log_density": Rayleigh.log_density})(b=pz.Normal(0, 1))  # fmt: skip


def test_every_family_is_in_the_table_of_the_docs():
    from pathlib import Path

    page = (Path(__file__).parents[1] / "docs" / "families.md").read_text()
    assert [name for name in FAMILIES if f"{{class}}`~bayesmix.{name}`" not in page] == []
