"""Weights that depend on covariates: against SciPy's maximum of the same likelihood, and against what they reduce to."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from scipy.optimize import minimize
from scipy.special import log_softmax

import bayesmix as bm
from bayesmix.likelihood.likelihood import Likelihood

FITTED = {"progressbar": False, "random_seed": 1}


def _made(n=300):
    rng = np.random.default_rng(0)
    z, x = rng.normal(50.0, 10.0, n), rng.uniform(0.0, 5.0, n)
    k = rng.binomial(1, 1.0 / (1.0 + np.exp(-0.5 - 0.15 * (z - 50.0))))
    y = np.where(k == 1, 4.0 - x, x) + rng.normal(0, 0.5, n)
    u, v = np.where(k == 1, 2.5, 0.0) + rng.normal(0, 1, n), rng.normal(0, 1, n)
    return pd.DataFrame({"z": z, "x": x, "y": y, "u": u, "v": v, "c": rng.poisson(np.where(k == 1, 9, 2)), "g": k})


FRAME = _made()
CASES = {
    "normal": (bm.Normal(), ["u"]),
    "several normal columns": (bm.MvNormal(), ["u", "v"]),
    "counts": (bm.Poisson(), ["c"]),
    "a family by its formula": (bm.Gumbel(), ["u"]),
    "regressions": (bm.Regression(bm.Normal(), "y ~ x"), ["x", "y"]),
}


def _case(name, k=2):
    family, columns = CASES[name]
    mixture = bm.Mixture(family, k, weights=bm.Gating("~ z"))
    frame = FRAME[[*columns, "z"]]
    data = mixture.check(frame)
    return mixture, frame, Likelihood(mixture.resolved(data).component, data, k)


def test_em_is_the_maximum_that_scipy_finds():
    mixture, frame, _ = _case("normal")
    fit = bm.em(mixture, frame, guard=None, **FITTED)
    z, u = frame["z"].to_numpy(), frame["u"].to_numpy()

    def minus(v):  # gating (2,), mu (2,), log sigma (2,)
        eta = np.stack([np.zeros(len(z)), v[0] + v[1] * z], axis=1)
        joint = log_softmax(eta, axis=1) + stats.norm.logpdf(u[:, None], v[2:4], np.exp(v[4:6]))
        return -np.logaddexp(*joint.T).sum()

    found = fit.estimates
    start = np.concatenate([found["gating"][1], found["mu"], np.log(found["sigma"])])
    assert -minus(start) == pytest.approx(fit.log_likelihood, rel=1e-12)
    best = minimize(
        minus, start * 1.01, method="Nelder-Mead", options={"maxiter": 20_000, "xatol": 1e-9, "fatol": 1e-11}
    )
    assert fit.log_likelihood == pytest.approx(-best.fun, abs=1e-6)
    assert_allclose(start, best.x, rtol=1e-3)
    assert np.all(found["gating"][0] == 0.0)
    assert fit.n_parameters == 6


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_the_slope(name):
    for k in (2, 3):
        _, _, likelihood = _case(name, k)
        rng = np.random.default_rng(2)
        r = rng.dirichlet(np.ones(k), len(FRAME))
        vector = likelihood.to_vector(likelihood.maximise_given(r))
        vector = vector + 0.1 * rng.standard_normal(len(vector))
        assert len(vector) == likelihood.n_parameters
        assert_allclose(likelihood.to_vector(likelihood.from_vector(vector)), vector, rtol=1e-8, atol=1e-8)
        steps = 1e-5 * np.diag(likelihood.coordinate_scale(vector))
        slopes = [
            (likelihood.value_and_gradient(vector + s)[0] - likelihood.value_and_gradient(vector - s)[0])
            / (2 * s.max())
            for s in steps
        ]
        gradient = likelihood.value_and_gradient(vector)[1]
        assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-6 * np.abs(gradient).max() + 1e-6, err_msg=name)


def test_without_covariates_weights_are_as_ever():
    plain = bm.em(bm.Mixture(bm.Normal(), 2), FRAME[["u"]], guard=None, **FITTED)
    gated = bm.em(bm.Mixture(bm.Normal(), 2, weights=bm.Gating("~ 1")), FRAME[["u"]], guard=None, **FITTED)
    assert gated.log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-7)
    assert gated.n_parameters == plain.n_parameters
    assert_allclose(gated.estimates["weights"], plain.estimates["weights"], atol=1e-5)


def test_known_components_leave_a_logistic_regression():
    # components so far apart that their rows are known: the gating is the logistic regression of the labels
    frame = pd.DataFrame({"u": 100.0 * FRAME["g"] + FRAME["v"], "z": FRAME["z"]})
    fit = bm.em(bm.Mixture(bm.Normal(), 2, weights=bm.Gating("~ z")), frame, uncertainty="laplace", **FITTED)
    z, g = FRAME["z"].to_numpy(), FRAME["g"].to_numpy()
    x = np.stack([np.ones(len(z)), z], axis=1)
    found = minimize(
        lambda b: np.logaddexp(0.0, x @ b).sum() - g @ (x @ b), [0.0, 0.0], method="BFGS", options={"gtol": 1e-9}
    )
    p = 1.0 / (1.0 + np.exp(-x @ fit.estimates["gating"][1]))
    covariance = np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x)
    assert_allclose(fit.estimates["gating"][1], found.x, rtol=1e-4)
    assert_allclose(fit.standard_errors["gating"].values[1], np.sqrt(np.diag(covariance)), rtol=1e-4)
    assert fit.estimates["weights"][1] == pytest.approx(g.mean(), abs=1e-6)  # the score of the intercept


@pytest.mark.parametrize("name", ["normal", "regressions"])
def test_weights_are_repetitions_of_rows(name):
    mixture, frame, _ = _case(name)
    counts = np.random.default_rng(1).integers(0, 3, len(frame))
    init = FRAME["g"].to_numpy()
    weighted = bm.em(mixture, frame, weights=counts, init=init, **FITTED)
    repeated = bm.em(
        mixture, frame.iloc[np.repeat(np.arange(len(frame)), counts)], init=np.repeat(init, counts), **FITTED
    )
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood, rel=1e-9)
    assert_allclose(weighted.estimates["gating"], repeated.estimates["gating"], rtol=1e-4, atol=1e-6)


def test_prediction_uses_the_weights_of_each_row(tmp_path):
    mixture, frame, _ = _case("regressions")
    fit = bm.em(mixture, frame, **FITTED)
    rows = pd.DataFrame({"x": [1.0, 1.0], "z": [30.0, 70.0], "y": [2.0, 2.0]})
    found = fit.estimates
    eta = found["gating"][:, 0] + rows["z"].to_numpy()[:, None] * found["gating"][:, 1]
    weights = np.exp(log_softmax(eta, axis=1))
    means = found["coef"][:, 0] + rows["x"].to_numpy()[:, None] * found["coef"][:, 1]
    density = stats.norm.pdf(rows[["y"]], means, found["sigma"])
    assert_allclose(fit.logpdf(rows), np.log((weights * density).sum(axis=1)), rtol=1e-10)
    assert_allclose(fit.responsibilities(rows), weights * density / (weights * density).sum(axis=1)[:, None], rtol=1e-9)
    assert_allclose(
        fit.cdf(rows), (weights * stats.norm.cdf(rows[["y"]], means, found["sigma"])).sum(axis=1), rtol=1e-9
    )
    assert_allclose(fit.predict(rows[["x", "z"]])["mean"], (weights * means).sum(axis=1), rtol=1e-10)
    y = fit.quantile(0.2, data=rows[["x", "z"]]).values
    assert_allclose(fit.cdf(rows.assign(y=y)), 0.2, rtol=1e-8)
    many = rows.iloc[np.repeat([0, 1], 3000)]
    shares = fit.sample(data=many, random_seed=3)["cluster"].values.reshape(2, 3000).mean(axis=1)
    assert np.all(np.abs(shares - weights[:, 1]) < 4 * np.sqrt(weights.prod(axis=1) / 3000))
    fit.save(tmp_path / "fit.nc")
    assert_allclose(bm.load(tmp_path / "fit.nc").logpdf(rows), fit.logpdf(rows), rtol=1e-12)


def test_covariates_of_weights_are_not_modelled_and_names_are_kept():
    mixture, frame, _ = _case("several normal columns")
    fit = bm.em(mixture, frame, n_init=4, **FITTED)
    assert fit.data.feature == ("u", "v")
    assert list(fit.tree["point"]["gating_term"].values) == ["Intercept", "z"]
    assert fit.tree["point"]["gating"].dims == ("cluster", "gating_term")
    assert str(mixture).endswith("weights ~ Gating('~ z')")


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r'no response, but the formula is .y ~ z.; write "~ z"'):
        bm.Gating("y ~ z")
    with pytest.raises(ValueError, match="needs an intercept"):
        bm.Mixture(bm.Normal(), 2, weights=bm.Gating("~ 0 + z")).check(FRAME[["u", "z"]])
    with pytest.raises(ValueError, match="uses 'w', but the data have the columns"):
        bm.Mixture(bm.Normal(), 2, weights=bm.Gating("~ w")).check(FRAME[["u", "z"]])
    with pytest.raises(ValueError, match="none is left to model"):
        bm.Mixture(bm.Normal(), 2, weights=bm.Gating("~ z")).check(FRAME[["z"]])
    with pytest.raises(ValueError, match="only if there are two"):
        bm.Mixture(bm.Normal(), 1, weights=bm.Gating("~ z"))
    with pytest.raises(TypeError, match="families without kinks, parts or constraints"):
        bm.Mixture(bm.Laplace(), 2, weights=bm.Gating("~ z"))
    with pytest.raises(ValueError, match="take no labels= and no group="):
        bm.em(bm.Mixture(bm.Normal(), 2, weights=bm.Gating("~ z")), FRAME[["u", "z"]], group=FRAME.index // 2, **FITTED)
    gone = FRAME[["u", "z"]].assign(z=FRAME["z"].where(FRAME.index != 7))
    with pytest.raises(ValueError, match=r"covariate z must be known in every row.*counted from 0: 7"):
        bm.Mixture(bm.Normal(), 2, weights=bm.Gating("~ z")).check(gone)


def test_nuts_agrees_with_the_estimate_and_its_standard_errors():
    mixture, frame, _ = _case("normal")
    mle = bm.em(mixture, frame, uncertainty="laplace", draws=100, **FITTED)
    post = bm.nuts(mixture, frame, draws=200, tune=200, chains=2, **FITTED)
    posterior = post.tree["posterior"]
    assert float(np.abs(posterior["gating"].sel(cluster=0)).max()) == 0.0
    se = mle.standard_errors["gating"].values[1]
    # the posterior of logits is skewed by about a quarter of a standard error; 400 draws add a tenth
    assert np.all(np.abs(post.estimates["gating"][1] - mle.estimates["gating"][1]) < 0.6 * se)
    assert_allclose(posterior["gating"].std(("chain", "draw")).values[1], se, rtol=0.35)
    assert_allclose(posterior["weights"].sum("cluster"), 1.0, rtol=1e-10)
