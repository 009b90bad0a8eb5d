"""Mixtures of regressions: their answers are flexmix's and mixtools', their limits those of least squares and of GLMs."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scipy import stats
from scipy.optimize import minimize

import bayesmix as bm
from bayesmix.components.links import LINKS
from bayesmix.likelihood.likelihood import Likelihood
from tests.reference import DATA, answers

FITTED = {"progressbar": False, "random_seed": 1}


def _made():
    """A response of each family with the same covariates, x and the categories g; a rate of exposure t."""
    rng = np.random.default_rng(0)
    n = 60
    frame = pd.DataFrame({"x": rng.normal(3.0, 1.0, n), "g": rng.choice(list("abc"), n), "t": rng.uniform(1.0, 2.0, n)})
    eta = (0.3 + 0.2 * frame["x"] + 0.1 * (frame["g"] == "b")).to_numpy()
    mean, p = np.exp(eta), 1.0 / (1.0 + np.exp(0.7 - eta))
    responses = {
        "Normal": eta + rng.normal(0, 0.5, n),
        "StudentT": eta + rng.standard_t(4, n),
        "Logistic": eta + rng.logistic(0, 1, n),
        "Gumbel": eta + rng.gumbel(0, 1, n),
        "SkewNormal": eta + rng.gumbel(0, 1, n),
        "LogNormal": np.exp(eta + rng.normal(0, 0.3, n)),
        "Poisson": rng.poisson(mean),
        "NegativeBinomial": rng.poisson(mean * rng.gamma(3.0, 1 / 3, n)),
        "Wald": rng.wald(mean, 4.0),
        "Gamma": rng.gamma(3.0, mean / 3.0),
        "Exponential": rng.exponential(mean),
        "Weibull": mean * rng.weibull(2.0, n),
        "HalfNormal": np.abs(rng.normal(0, mean)),
        "Bernoulli": rng.binomial(1, p),
        "Binomial": rng.binomial(8, p),
        "Geometric": rng.geometric(1.0 / (1.0 + mean)),
    }
    return frame, {name: np.asarray(value, dtype=float) for name, value in responses.items()}


FRAME, RESPONSES = _made()


def _family(name):
    return bm.Binomial(n=8) if name == "Binomial" else getattr(bm, name)()


def _likelihood(name, formula="y ~ x + g + offset(log(t))", k=2, common=(), weights=None):
    frame = FRAME.assign(y=RESPONSES[name])
    mixture = bm.Mixture(bm.Regression(_family(name), formula, common=common), k)
    data = mixture.check(frame, weights)
    return Likelihood(mixture.resolved(data).component, data, k)


def _near_start(likelihood, seed=0):
    """Free coordinates of different components not far from the regression of all rows."""
    rng = np.random.default_rng(seed)
    params = likelihood.component.initial_params(likelihood.data, likelihood.n_components)
    start = likelihood.to_vector({"weights": np.full(likelihood.n_components, 1 / likelihood.n_components)} | params)
    return start + 0.2 * likelihood.coordinate_scale(start) * rng.standard_normal(len(start))


# Passes are written from densities, and each is compiled: without further parameters, with one whose derivative does not
# change with the predictor, with one and with two where it does. The others are among the slow tests.
COMPILED = ("Normal", "Poisson", "NegativeBinomial", "SkewNormal")


def _families(names, quick):
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in names]


# -- somebody else's answers -----------------------------------------------------------------------------------------------
CASES = {
    "npreg_gaussian": (bm.Normal(), "yn ~ x + I(x**2)", "npreg.csv"),
    "npreg_poisson": (bm.Poisson(), "yp ~ x", "npreg.csv"),
    "co2data": (bm.Normal(), "co2 ~ gnp", "co2data.csv"),
    "aphids": (bm.Normal(), "plants_infected ~ aphids_released", "aphids.csv"),
    "fabric_faults": (bm.Poisson(), "faults ~ log(length)", "fabric_faults.csv"),
}


@pytest.mark.parametrize("name", CASES)
def test_em_finds_the_optimum_that_others_found(name):
    # R's flexmix 2.3 (Poisson) and mixtools 2.0 and weighted least squares (normal), from many starts
    family, formula, file = CASES[name]
    answer = answers(name, "regression_answers.json")
    fit = bm.em(bm.Mixture(bm.Regression(family, formula), 2), pd.read_csv(DATA / file), guard=None, **FITTED)
    if "mle" in answer:
        found = answer["mle"]
        weights, coef, loglik = np.array(found["weights"]), np.array(found["coef"]), found["loglik"]
        sigma = np.array(found["sigma"])
    else:
        found, sigma = answer["flexmix"], None
        weights, loglik = np.array(found["prior"]), found["loglik"]
        coef = np.array([list(one.values()) for one in found["parameters"].values()])
    order = np.argsort(coef[:, 0])
    assert fit.converged
    assert fit.log_likelihood == pytest.approx(loglik, rel=1e-6)
    assert_allclose(fit.estimates["coef"], coef[order], rtol=1e-3)
    assert_allclose(fit.estimates["weights"], weights[order], rtol=1e-3)
    if sigma is not None:
        assert_allclose(fit.estimates["sigma"], sigma[order], rtol=1e-3)
    assert fit.n_parameters == (answer.get("mle") or answer["flexmix"])["df"]
    assert fit.bic == pytest.approx((answer.get("mle") or {"bic": answer["flexmix"]["BIC"]})["bic"], rel=1e-6)


def test_a_common_slope_is_the_maximum_of_the_likelihood_with_one_slope():
    # the same likelihood, written with SciPy, climbed by BFGS from where EM ended and from beside it
    frame = pd.read_csv(DATA / "fabric_faults.csv")
    mixture = bm.Mixture(bm.Regression(bm.Poisson(), "faults ~ log(length)", common=["log(length)"]), 2)
    fit = bm.em(mixture, frame, **FITTED)
    x, y = np.log(frame["length"].to_numpy()), frame["faults"].to_numpy()

    def minus(v):
        weights = np.array([1.0, np.exp(v[3])]) / (1.0 + np.exp(v[3]))
        means = np.exp(v[:2] + v[2] * x[:, None])
        return -np.log(stats.poisson.pmf(y[:, None], means) @ weights).sum()

    found = fit.estimates
    start = np.array(
        [*found["coef"][:, 0], found["coef_common"][0, 0], np.log(found["weights"][1] / found["weights"][0])]
    )
    assert -minus(start) == pytest.approx(fit.log_likelihood, rel=1e-10)
    best = min((minimize(minus, start + d, method="BFGS") for d in (0.0, 0.05)), key=lambda one: one.fun)
    assert fit.log_likelihood == pytest.approx(-best.fun, abs=1e-6)
    assert_allclose(start, best.x, atol=2e-3)
    assert fit.n_parameters == 4
    assert fit.tree["point"]["coef_common"].dims == ("common_term",)


# -- one component ---------------------------------------------------------------------------------------------------------
def test_one_normal_component_is_ordinary_least_squares():
    likelihood = _likelihood("Normal", "y ~ x + g", k=1)
    fit = bm.em(
        bm.Mixture(bm.Regression(bm.Normal(), "y ~ x + g"), 1),
        FRAME.assign(y=RESPONSES["Normal"]),
        guard=None,
        **FITTED,
    )
    x, y = likelihood.data.values[:, 1:], likelihood.data.values[:, 0]
    beta, squares, *_ = np.linalg.lstsq(x, y)
    assert_allclose(fit.estimates["coef"][0], beta, rtol=1e-9)
    assert fit.estimates["sigma"][0] == pytest.approx(np.sqrt(squares[0] / len(y)), rel=1e-9)
    assert list(fit.tree["point"]["term"].values) == ["Intercept", "x", "g[b]", "g[c]"]


GLMS = {
    "Poisson": lambda y, eta: stats.poisson.logpmf(y, np.exp(eta)),
    "Bernoulli": lambda y, eta: stats.bernoulli.logpmf(y, 1 / (1 + np.exp(-eta))),
    "Binomial": lambda y, eta: stats.binom.logpmf(y, 8, 1 / (1 + np.exp(-eta))),
    "Exponential": lambda y, eta: stats.expon.logpdf(y, scale=np.exp(eta)),
    "Gamma": lambda y, eta, log_alpha: stats.gamma.logpdf(y, np.exp(log_alpha), scale=np.exp(eta - log_alpha)),
    "LogNormal": lambda y, eta, log_sigma: stats.lognorm.logpdf(y, np.exp(log_sigma), scale=np.exp(eta)),
    "NegativeBinomial": lambda y, eta, log_a: stats.nbinom.logpmf(y, np.exp(log_a), 1 / (1 + np.exp(eta - log_a))),
    "Weibull": lambda y, eta, log_a: stats.weibull_min.logpdf(y, np.exp(log_a), scale=np.exp(eta)),
}


@pytest.mark.parametrize("name", _families(GLMS, ("Poisson", "Binomial", "NegativeBinomial", "Gamma")))
def test_one_component_is_the_generalised_linear_model_that_scipy_maximises(name):
    frame = FRAME.assign(y=RESPONSES[name])
    fit = bm.em(bm.Mixture(bm.Regression(_family(name), "y ~ x + g"), 1), frame, guard=None, **FITTED)
    x, y = _likelihood(name, "y ~ x + g", k=1).data.values[:, 1:], RESPONSES[name]
    others = [value[0] for key, value in fit.estimates.items() if key not in ("weights", "coef")]
    start = np.concatenate([fit.estimates["coef"][0], np.log(others)])

    def minus(v):
        return -GLMS[name](y, x @ v[:4], *v[4:]).sum()

    found = minimize(minus, start + 0.02, method="BFGS")
    assert -minus(start) == pytest.approx(fit.log_likelihood, rel=1e-10)
    assert minus(start) <= found.fun + 1e-7
    assert_allclose(start, found.x, atol=1e-3)


# -- the pass --------------------------------------------------------------------------------------------------------------
SCIPYS = {
    "Normal": lambda eta, p: stats.norm(eta, p["sigma"]),
    "StudentT": lambda eta, p: stats.t(p["nu"], eta, p["sigma"]),
    "Logistic": lambda eta, p: stats.logistic(eta, p["s"]),
    "Gumbel": lambda eta, p: stats.gumbel_r(eta, p["beta"]),
    "SkewNormal": lambda eta, p: stats.skewnorm(p["alpha"], eta, p["sigma"]),
    "LogNormal": lambda eta, p: stats.lognorm(p["sigma"], scale=np.exp(eta)),
    "Poisson": lambda eta, p: stats.poisson(np.exp(eta)),
    "NegativeBinomial": lambda eta, p: stats.nbinom(p["alpha"], p["alpha"] / (p["alpha"] + np.exp(eta))),
    "Wald": lambda eta, p: stats.invgauss(np.exp(eta) / p["lam"], scale=p["lam"]),
    "Gamma": lambda eta, p: stats.gamma(p["alpha"], scale=np.exp(eta) / p["alpha"]),
    "Exponential": lambda eta, p: stats.expon(scale=np.exp(eta)),
    "Weibull": lambda eta, p: stats.weibull_min(p["alpha"], scale=np.exp(eta)),
    "HalfNormal": lambda eta, p: stats.halfnorm(scale=np.exp(eta)),
    "Bernoulli": lambda eta, p: stats.bernoulli(1 / (1 + np.exp(-eta))),
    "Binomial": lambda eta, p: stats.binom(8, 1 / (1 + np.exp(-eta))),
    "Geometric": lambda eta, p: stats.geom(1 / (1 + np.exp(eta))),
}


@pytest.mark.parametrize("name", LINKS)
def test_the_density_is_scipys(name):
    likelihood = _likelihood(name, "y ~ x + g")
    own = likelihood.from_vector(_near_start(likelihood))
    del own["weights"]
    y, design = likelihood.data.values[:, :1], likelihood.data.values[:, 1:]
    law = SCIPYS[name](design @ own["coef"].T, own)
    expected = getattr(law, "logpdf", getattr(law, "logpmf", None))(y)
    assert_allclose(likelihood.component.log_density(likelihood.data.values, own), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", _families(LINKS, COMPILED))
def test_the_pass_is_the_formula_and_its_gradient_the_slope(name):
    for common in ((), ("g",)):
        likelihood = _likelihood(name, common=common)
        vector = _near_start(likelihood)
        params = likelihood.from_vector(vector)
        own = {key: value for key, value in params.items() if key != "weights"}
        value, gradient = likelihood.value_and_gradient(vector)
        density = np.exp(likelihood.component.log_density(likelihood.data.values, own)) @ params["weights"]
        assert value == pytest.approx(np.log(density).sum(), rel=1e-12), name
        steps = 1e-5 * likelihood.coordinate_scale(vector)
        slopes = [
            (likelihood.value_and_gradient(vector + s)[0] - likelihood.value_and_gradient(vector - s)[0])
            / (2 * s.max())
            for s in np.diag(steps)
        ]
        # differences of values of size 100 over steps of 1e-5
        assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-6 * np.abs(gradient).max() + 1e-6, err_msg=name)
        assert_allclose(
            likelihood.information(vector),
            likelihood._differenced(vector, None),
            rtol=1e-6,
            atol=1e-6 * np.abs(likelihood.information(vector)).max(),
            err_msg=name,
        )
        assert_allclose(likelihood.to_vector(params), vector, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["Normal", "Poisson", "Gamma", "Binomial"])
def test_weights_are_repetitions_of_rows(name):
    counts = np.random.default_rng(1).integers(0, 4, len(FRAME))
    frame = FRAME.assign(y=RESPONSES[name])
    mixture = bm.Mixture(bm.Regression(_family(name), "y ~ x"), 2)
    init = np.arange(len(FRAME)) % 2
    weighted = bm.em(mixture, frame, weights=counts, init=init, guard=None, **FITTED)
    repeated = bm.em(
        mixture,
        frame.iloc[np.repeat(np.arange(len(frame)), counts)],
        init=np.repeat(init, counts),
        guard=None,
        **FITTED,
    )
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood, rel=1e-9)
    assert_allclose(weighted.estimates["coef"], repeated.estimates["coef"], rtol=1e-4, atol=1e-6)


def test_units_and_offsets_of_a_covariate_change_nothing_but_its_coefficients():
    frame = FRAME.assign(y=RESPONSES["Normal"], far=1e5 + 1e-2 * FRAME["x"])
    init = np.arange(len(FRAME)) % 2
    near, far = (
        bm.em(bm.Mixture(bm.Regression(bm.Normal(), f"y ~ {v}"), 2), frame, init=init, **FITTED) for v in ("x", "far")
    )
    assert near.log_likelihood == pytest.approx(far.log_likelihood, abs=1e-5)
    assert_allclose(far.estimates["coef"][:, 1], 1e2 * near.estimates["coef"][:, 1], rtol=1e-4)


def test_em_never_lowers_the_likelihood():
    frame = FRAME.assign(y=RESPONSES["Gamma"])
    mixture = bm.Mixture(bm.Regression(bm.Gamma(), "y ~ x", common=["x"]), 3)
    fit = bm.em(mixture, frame, n_init=3, **FITTED)
    assert np.all(np.diff(fit.trace.values) >= -1e-9)


# -- the design ------------------------------------------------------------------------------------------------------------
def test_any_frame_of_the_same_columns_gives_the_same_fit():
    polars = pytest.importorskip("polars")
    columns = {name: FRAME[name].to_list() for name in ("x", "g")} | {"y": RESPONSES["Normal"].tolist()}
    mixture = bm.Mixture(bm.Regression(bm.Normal(), "y ~ x * g"), 1)
    frames = [
        columns,
        pd.DataFrame(columns),
        polars.DataFrame(columns),
        xr.Dataset({n: ("row", v) for n, v in columns.items()}),
    ]
    values = [bm.em(mixture, frame, **FITTED).log_likelihood for frame in frames]
    assert np.ptp(values) == 0.0


def test_new_rows_are_transformed_by_what_the_old_ones_taught(tmp_path):
    frame = FRAME.assign(y=RESPONSES["Normal"], h=pd.Categorical(FRAME["g"], ["c", "a", "b"], ordered=True))
    formula = "y ~ scale(x) + poly(t, 2) + h"
    fit = bm.em(bm.Mixture(bm.Regression(bm.Normal(), formula), 2), frame, n_init=4, **FITTED)
    fit.save(tmp_path / "fit.nc")
    loaded = bm.load(tmp_path / "fit.nc")
    rows = frame.iloc[[5, 17]]
    whole = fit.logpdf(frame)
    assert list(fit.tree["point"]["term"].values) == [
        "Intercept",
        "scale(x)",
        "poly(t, 2)[0]",
        "poly(t, 2)[1]",
        "h[a]",
        "h[b]",
    ]
    assert_allclose(fit.logpdf(rows), whole[[5, 17]], rtol=1e-12)
    assert_allclose(loaded.logpdf(rows), fit.logpdf(rows), rtol=1e-12)
    assert_allclose(loaded.predict(rows[["x", "t", "h"]])["mean"], fit.predict(rows)["mean"], rtol=1e-12)
    assert str(loaded.mixture) == str(fit.mixture)


def test_a_row_without_a_response_says_nothing():
    frame = FRAME.assign(y=RESPONSES["Normal"])
    gone = frame.copy()
    gone.loc[:9, "y"] = np.nan
    mixture = bm.Mixture(bm.Regression(bm.Normal(), "y ~ x"), 1)
    some, fewer = bm.em(mixture, gone, **FITTED), bm.em(mixture, frame.iloc[10:], **FITTED)
    assert some.log_likelihood == pytest.approx(fewer.log_likelihood, rel=1e-12)
    assert some.data.n_obs == len(frame)


MISTAKES = [
    ("y ~ nosuch", {}, "uses 'nosuch', but the data have the columns"),
    ("y ~ X", {}, "Did you mean 'x'"),
    ("y ~ x + I(2 * x)", {}, r"linearly dependent: I\(2 \* x\)"),
    ("y ~ nosuch(x)", {}, "neither a column of the data nor a function"),
    ("y ~ x +", {}, "not understood"),
    ("y ~ x + (1 | g)", {}, "vary over groups"),
    ("x", {}, "names no response"),
    ("g ~ x", {}, "no number; code two categories as 0 and 1"),
    (
        "y ~ gap",
        {},
        r"covariate gap must be known in every row, but it is missing in 2 of 60 rows, counted from 0: 3, 8",
    ),
    ("y ~ log(x - 3)", {}, "not finite"),
    ("y ~ x", {"common": ["z"]}, "common names 'z', but the terms"),
    ("y ~ x", {"common": ["x", "Intercept"]}, "leave at least one coefficient"),
]


@pytest.mark.parametrize(("formula", "settings", "message"), MISTAKES)
def test_mistakes_are_named(formula, settings, message):
    frame = FRAME.assign(y=RESPONSES["Normal"], gap=np.where(np.isin(np.arange(60), (3, 8)), np.nan, 1.0))
    with pytest.raises(ValueError, match=message):
        bm.em(bm.Mixture(bm.Regression(bm.Normal(), formula, **settings), 2), frame, **FITTED)


def test_responses_off_the_support_and_data_without_names_are_refused():
    with pytest.raises(ValueError, match=r"the response y: Gamma describes values between 0 and inf"):
        bm.Mixture(bm.Regression(bm.Gamma(), "y ~ x"), 2).check(FRAME.assign(y=-1.0))
    with pytest.raises(ValueError, match=r"the response y: Binomial\(n=3\) describes counts from 0 to 3"):
        bm.Mixture(bm.Regression(bm.Binomial(n=3), "y ~ x"), 2).check(FRAME.assign(y=RESPONSES["Binomial"]))
    with pytest.raises(ValueError, match="no names of columns"):
        bm.Mixture(bm.Regression(bm.Normal(), "y ~ x"), 2).check(np.zeros((5, 2)))
    with pytest.raises(TypeError, match="products do not take"):
        bm.Product(y=bm.Regression(bm.Normal(), "y ~ x"))
    with pytest.raises(TypeError, match="lists of families do not take"):
        bm.Mixture([bm.Regression(bm.Normal(), "y ~ x"), bm.Normal()])
    with pytest.raises(TypeError, match="common= names terms"):
        bm.Regression(bm.Normal(sigma=bm.Shared()), "y ~ x")
    with pytest.raises(TypeError, match="MvNormal takes no covariates"):
        bm.Regression(bm.MvNormal(), "y ~ x")


def test_new_rows_need_their_covariates_and_known_categories():
    fit = bm.em(bm.Mixture(bm.Regression(bm.Normal(), "y ~ x + g"), 1), FRAME.assign(y=RESPONSES["Normal"]), **FITTED)
    with pytest.raises(ValueError, match="uses 'x'"):
        fit.predict({"g": ["a"]})
    with pytest.raises(ValueError, match="zz"):
        fit.predict({"x": [1.0], "g": ["zz"]})
    with pytest.raises(ValueError, match="uses 'y'"):
        fit.logpdf({"x": [1.0], "g": ["a"]})


# -- prediction ------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def known():
    mixture = bm.Mixture(bm.Regression(bm.Poisson(), "y ~ x"), 2)
    frame = FRAME.assign(y=RESPONSES["Poisson"])
    coef = np.array([[0.0, 0.2], [1.0, 0.3]])
    return bm.Fit.from_parameters(mixture, frame, weights=[0.25, 0.75], coef=coef)


def test_prediction_at_rows_is_that_of_scipy(known):
    rows = pd.DataFrame({"x": [0.5, 3.0], "y": [1, 4]})
    means = np.exp(np.array([[0.0, 1.0]]) + rows["x"].to_numpy()[:, None] * np.array([[0.2, 0.3]]))
    weights = np.array([0.25, 0.75])
    pmf, cdf = stats.poisson.pmf(rows[["y"]], means), stats.poisson.cdf(rows[["y"]], means)
    assert_allclose(known.logpdf(rows), np.log(pmf @ weights), rtol=1e-12)
    assert_allclose(known.cdf(rows), cdf @ weights, rtol=1e-12)
    assert_allclose(known.responsibilities(rows), pmf * weights / (pmf @ weights)[:, None], rtol=1e-12)
    found = known.predict(rows[["x"]])
    assert_allclose(found["component_mean"], means, rtol=1e-12)
    assert_allclose(found["mean"], means @ weights, rtol=1e-12)
    for q in (0.1, 0.5, 0.97):
        y = known.quantile(q, data=rows[["x"]]).values
        above, below = (stats.poisson.cdf((y - less)[:, None], means) @ weights for less in (0.0, 1.0))
        assert np.all(above >= q)
        assert np.all(below < q)


def test_draws_have_the_mean_of_their_row(known):
    rows = pd.DataFrame({"x": np.repeat([0.5, 3.0], 4000)})
    drawn = known.sample(data=rows, random_seed=0).values.reshape(2, 4000)
    mean = known.predict({"x": [0.5, 3.0]})["mean"].values
    assert np.all(np.abs(drawn.mean(axis=1) - mean) < 4 * drawn.std(axis=1) / np.sqrt(4000))


def test_quantiles_of_a_row_are_where_its_cdf_is():
    fit = bm.Fit.from_parameters(
        bm.Mixture(bm.Regression(bm.Normal(), "y ~ x"), 2),
        FRAME.assign(y=RESPONSES["Normal"]),
        weights=[0.3, 0.7],
        coef=[[0.0, 1.0], [5.0, -1.0]],
        sigma=[1.0, 2.0],
    )
    x = [0.0, 2.0, 4.0]
    y = fit.quantile(0.3, data={"x": x}).values
    assert_allclose(fit.cdf({"x": x, "y": y}), 0.3, rtol=1e-9)


# -- uncertainty -----------------------------------------------------------------------------------------------------------
def test_standard_errors_of_one_component_are_those_of_least_squares():
    frame = FRAME.assign(y=RESPONSES["Normal"])
    fit = bm.em(
        bm.Mixture(bm.Regression(bm.Normal(), "y ~ x + g"), 1), frame, guard=None, uncertainty="laplace", **FITTED
    )
    x = fit.data.values[:, 1:]
    expected = np.sqrt(fit.estimates["sigma"][0] ** 2 * np.diag(np.linalg.inv(x.T @ x)))
    assert_allclose(fit.standard_errors["coef"].values[0], expected, rtol=1e-6)


def test_nuts_agrees_with_the_estimate_and_its_standard_errors():
    frame = pd.read_csv(DATA / "npreg.csv")
    mixture = bm.Mixture(bm.Regression(bm.Normal(), "yn ~ x + I(x**2)"), 2)
    mle = bm.em(mixture, frame, uncertainty="laplace", draws=100, **FITTED)
    post = bm.nuts(mixture, frame, draws=200, tune=200, chains=2, **FITTED)
    se = mle.standard_errors["coef"].values
    # the priors are worth a thousandth of the data; 400 draws of half the efficiency leave 0.1 of a standard error
    assert np.all(np.abs(post.estimates["coef"] - mle.estimates["coef"]) < 0.4 * se)
    assert_allclose(post.tree["posterior"]["coef"].std(("chain", "draw")).values, se, rtol=0.3)
    assert post.tree["posterior"]["coef"].dims == ("chain", "draw", "cluster", "term")


def test_the_model_in_pymc_has_the_same_likelihood():
    frame = FRAME.assign(y=RESPONSES["Gamma"])
    mixture = bm.Mixture(bm.Regression(bm.Gamma(), "y ~ x + g", common=["g"]), 2)
    model = mixture.to_pymc(frame)
    assert list(model.coords["term"]) == ["Intercept", "x"]
    assert list(model.coords["common_term"]) == ["g[b]", "g[c]"]
    point = model.initial_point()
    values = {v.name: model.rvs_to_values[v] for v in model.free_RVs}
    logp = model.compile_logp([model["x"]], sum=False)(point)[0]
    given = {
        name: np.asarray(
            model.rvs_to_transforms[model[name]].backward(point[value.name], *model[name].owner.inputs).eval()
        )
        for name, value in values.items()
    }
    given["coef_common"] = np.repeat(given["coef_common"][None], 2, axis=0)
    fit = bm.Fit.from_parameters(mixture, frame, **given)
    assert_allclose(logp, fit.logpdf(frame).values, rtol=1e-10)


def test_default_priors_follow_the_scale_of_the_data():
    frame = FRAME.assign(y=100 * RESPONSES["Normal"], z=1000 * FRAME["x"])
    priors = bm.Mixture(bm.Regression(bm.Normal(), "y ~ z"), 2).priors(frame)
    sd = np.std(frame["y"]) / np.std(frame["z"])
    assert priors["coef"].kwargs["sigma"][1] == pytest.approx(2.5 * sd, rel=1e-9)
    assert priors["coef"].kwargs["mu"][0] == pytest.approx(frame["y"].mean(), rel=1e-9)
    assert "rstanarm" in priors.notes["coef"]


def test_the_picture_has_a_curve_for_each_component():
    fit = bm.em(
        bm.Mixture(bm.Regression(bm.Normal(), "y ~ x"), 2), FRAME.assign(y=RESPONSES["Normal"]), n_init=4, **FITTED
    )
    axes = fit.plot().axes[0]
    assert len(axes.lines) == 2
    assert axes.get_xlabel() == "x"
    assert axes.get_ylabel() == "y"


def test_fits_of_regressions_are_compared_and_their_rows_clustered():
    frame = FRAME.assign(y=RESPONSES["Normal"])
    mixture = bm.Mixture(bm.Regression(bm.Normal(), "y ~ x"), 2)
    init = np.arange(60) % 2
    fits = {str(seed): bm.em(mixture, frame, init=init, random_seed=seed, progressbar=False) for seed in (1, 2)}
    result = bm.compare(fits)
    assert float(result.agreement.density["hellinger"].max()) < 1e-3
    assert fits["1"].partition(draws=50, random_seed=1).labels.shape == (60,)


def test_known_labels_and_groups_go_with_regressions():
    frame = FRAME.assign(y=RESPONSES["Normal"])
    labels = np.where(np.arange(60) < 20, np.arange(60) % 2, -1)
    likelihood = _likelihood("Normal", "y ~ x")
    mixture = bm.Mixture(bm.Regression(bm.Normal(), "y ~ x"), 2)
    data = mixture.check(frame, None, labels, None)
    known = Likelihood(likelihood.component, data, 2)
    params = likelihood.from_vector(_near_start(likelihood))
    own = {name: value for name, value in params.items() if name != "weights"}
    joint = np.log(params["weights"]) + likelihood.component.log_density(data.values, own)
    expected = joint[np.arange(20), labels[:20]].sum() + np.logaddexp(*joint[20:].T).sum()
    assert known.log_likelihood(params) == pytest.approx(expected, rel=1e-10)
