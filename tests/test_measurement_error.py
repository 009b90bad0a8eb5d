"""Normal components behind measurement errors of known size: extreme deconvolution (Bovy, Hogg & Roweis 2011)."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.optimize import minimize

import bayesmix as bm
from bayesmix.likelihood.likelihood import Likelihood

MU = np.array([[0.0, 0.0], [4.0, 1.0]])
COV = np.array([[[1.0, 0.5], [0.5, 1.0]], [[0.5, -0.2], [-0.2, 2.0]]])
WEIGHTS = np.array([0.4, 0.6])
ERRORS = ["sd_a", "sd_b"]


def rows(n=400, seed=1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    label = rng.choice(2, n, p=WEIGHTS)
    error = rng.gamma(2.0, 0.5, (n, 2))
    v = MU[label] + np.einsum("nij,nj->ni", np.linalg.cholesky(COV)[label], rng.standard_normal((n, 2)))
    w = v + error * rng.standard_normal((n, 2))
    return pd.DataFrame({"sd_b": error[:, 1], "a": w[:, 0], "b": w[:, 1], "sd_a": error[:, 0]})


def log_density(frame, params):
    """Of each row, by SciPy's normal distribution with its own covariance."""
    w, s = frame[["a", "b"]].to_numpy(), frame[ERRORS].to_numpy()
    out = np.empty(len(w))
    for i in range(len(w)):
        seen = ~np.isnan(w[i])
        joint = [
            np.log(weight) + stats.multivariate_normal(mu[seen], (cov + np.diag(s[i] ** 2))[np.ix_(seen, seen)]).logpdf(w[i][seen])
            for weight, mu, cov in zip(params["weights"], params["mu"], params["cov"], strict=True)
        ]  # fmt: skip
        out[i] = np.logaddexp.reduce(joint)
    return out


TRUTH = {"weights": WEIGHTS, "mu": MU, "cov": COV}


@pytest.fixture(scope="module")
def fit():
    return bm.em(bm.Mixture(bm.MvNormal(error=ERRORS), 2), rows(), init="kmeans", n_init=2, random_seed=1)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("covariance", ["full", "diag", "tied", "EVE"])
def test_likelihood_and_gradient(covariance, missing):
    frame = rows(60)
    if missing:
        frame.loc[[3, 7], "a"], frame.loc[9, "b"] = np.nan, np.nan
    family = bm.MvNormal(covariance=covariance, error=ERRORS)
    params = dict(TRUTH)
    if covariance == "diag":
        params["cov"] = COV * np.eye(2)
    elif covariance != "full":
        params["cov"] = COV[[0, 0]]
    fit = bm.Fit.from_parameters(bm.Mixture(family, 2), frame, **params)
    expected = log_density(frame, params)
    assert fit.log_likelihood == pytest.approx(expected.sum(), rel=1e-11)
    np.testing.assert_allclose(fit.logpdf(frame), expected, rtol=1e-10)
    likelihood = Likelihood(family, fit.data, 2)
    vector = likelihood.to_vector(fit.estimates)
    gradient = likelihood.value_and_gradient(vector)[1]
    for i, step in enumerate(1e-6 * np.eye(len(vector))):
        slope = (
            likelihood.value_and_gradient(vector + step)[0] - likelihood.value_and_gradient(vector - step)[0]
        ) / 2e-6
        assert gradient[i] == pytest.approx(slope, abs=1e-6), (covariance, i)


def test_one_step_is_that_of_the_paper():
    """The M-step of Bovy, Hogg & Roweis (2011), eq. 16 and 17, written with matrices of each row."""
    frame = rows(80)
    family = bm.MvNormal(error=ERRORS)
    data = bm.Mixture(family, 2).check(frame)
    likelihood = Likelihood(family, data, 2)
    new = likelihood.m_step(TRUTH, likelihood.statistics(TRUTH))
    w, s = frame[["a", "b"]].to_numpy(), frame[ERRORS].to_numpy()
    r = likelihood.responsibilities(TRUTH)
    for k in range(2):
        total = COV[k] + np.einsum("ni,ij->nij", s**2, np.eye(2))
        gain = COV[k] @ np.linalg.inv(total)
        b = MU[k] + np.einsum("nij,nj->ni", gain, w - MU[k])
        spread = COV[k] - gain @ COV[k]
        mu = r[:, k] @ b / r[:, k].sum()
        off = mu - b
        cov = np.einsum("n,nij->ij", r[:, k], off[:, :, None] * off[:, None, :] + spread) / r[:, k].sum()
        np.testing.assert_allclose(new["mu"][k], mu, rtol=1e-11)
        np.testing.assert_allclose(new["cov"][k], cov, rtol=1e-11)
    np.testing.assert_allclose(new["weights"], r.mean(axis=0), rtol=1e-12)


def test_em_ends_at_a_maximum_near_the_truth(fit):
    assert fit.converged
    order = np.argsort(fit.estimates["mu"][:, 0])
    np.testing.assert_allclose(fit.estimates["mu"][order], MU, atol=0.35)
    np.testing.assert_allclose(fit.estimates["cov"][order], COV, atol=0.8)
    frame = rows()
    assert fit.log_likelihood == pytest.approx(log_density(frame, fit.estimates).sum(), rel=1e-10)
    likelihood = Likelihood(fit.mixture.component, fit.data, 2)
    vector = likelihood.to_vector(fit.estimates)
    with_guard = likelihood.value_and_gradient(vector)[1]
    assert np.max(np.abs(with_guard)) < 0.5  # of the guard: 2 / sqrt(n) rows
    plain = bm.em(bm.Mixture(bm.MvNormal(), 2), frame[["a", "b"]], init="kmeans", n_init=2, random_seed=1)
    assert np.trace(plain.estimates["cov"].sum(axis=0)) > np.trace(fit.estimates["cov"].sum(axis=0)) + 2.0


def test_standard_errors_are_those_of_the_second_derivative(fit):
    family, data = fit.mixture.component, fit.data
    likelihood = Likelihood(family, data, 2)
    vector = likelihood.to_vector(fit.estimates)
    information = likelihood.information(vector)
    direction = np.random.default_rng(0).standard_normal(len(vector))
    direction *= 1e-3 / np.linalg.norm(direction)
    ends = [likelihood.value_and_gradient(vector + t * direction)[0] for t in (-1.0, 0.0, 1.0)]
    curvature = -(ends[0] - 2 * ends[1] + ends[2])
    assert direction @ information @ direction == pytest.approx(curvature, rel=1e-3)


@pytest.mark.parametrize("zero", ["one column", "two columns"])
def test_without_errors_it_is_the_plain_family(zero):
    frame = rows(200).assign(sd_a=0.0, sd_b=0.0)
    if zero == "one column":
        noisy, plain = bm.Normal(error="sd_a"), bm.Normal()
        columns = ["a"]
    else:
        noisy, plain = bm.MvNormal(error=ERRORS), bm.MvNormal()
        columns = ["a", "b"]
    given = ["sd_a"] if zero == "one column" else ERRORS
    options = {"init": "kmeans", "n_init": 1, "random_seed": 1}
    one = bm.em(bm.Mixture(noisy, 2), frame[columns + given], **options)
    other = bm.em(bm.Mixture(plain, 2), frame[columns], **options)
    assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-5)
    np.testing.assert_allclose(np.sort(one.estimates["mu"], axis=0), np.sort(other.estimates["mu"], axis=0), atol=1e-3)


def test_one_column_is_the_maximum_of_scipys_likelihood():
    frame = rows(300)[["a", "sd_a"]]
    mixture = bm.Mixture(bm.Normal(error="sd_a"), 2)
    assert str(mixture) == "Mixture of 2 Normal(error='sd_a') components, weights ~ Dirichlet(1)"
    fit = bm.em(mixture, frame, init="kmeans", n_init=2, random_seed=1, uncertainty="laplace", draws=20)
    x, s = frame["a"].to_numpy()[:, None], frame["sd_a"].to_numpy()[:, None]

    def loss(vector):
        share = 1.0 / (1.0 + np.exp(-vector[0]))
        law = stats.norm(vector[1:3], np.hypot(np.exp(vector[3:5]), s))
        return -np.sum(np.logaddexp.reduce(np.log([share, 1.0 - share]) + law.logpdf(x), axis=1))

    own = fit.estimates
    start = [np.log(own["weights"][0] / own["weights"][1]), *own["mu"], *np.log(own["sigma"])]
    assert -loss(start) == pytest.approx(fit.log_likelihood, rel=1e-11)
    assert -minimize(loss, start).fun == pytest.approx(fit.log_likelihood, abs=0.02)  # the guard costs this much
    assert np.all(np.isfinite(fit.standard_errors["sigma"]))
    np.testing.assert_allclose(
        fit.cdf(frame), (own["weights"] * stats.norm(own["mu"], np.hypot(own["sigma"], s)).cdf(x)).sum(1)
    )


def test_draws_have_the_errors_of_their_rows(fit, tmp_path):
    frame = pd.DataFrame({"a": 0.0, "b": 0.0, "sd_a": np.repeat([0.0, 5.0], 20_000), "sd_b": 1.0})
    drawn = np.asarray(fit.sample(data=frame, random_seed=1))
    own = fit.estimates
    mean = own["weights"] @ own["mu"]
    inner = np.einsum(
        "k,kij->ij", own["weights"], own["cov"] + (own["mu"] - mean)[:, :, None] * (own["mu"] - mean)[:, None]
    )
    for part, error in ((drawn[:20_000], (0.0, 1.0)), (drawn[20_000:], (5.0, 1.0))):
        expected = inner + np.diag(error) ** 2
        np.testing.assert_allclose(np.cov(part.T), expected, atol=6 * expected.max() / np.sqrt(20_000))
    fit.save(tmp_path / "fit.nc")
    again = bm.load(tmp_path / "fit.nc")
    assert str(again.mixture) == str(fit.mixture) and again.mixture == fit.mixture
    np.testing.assert_array_equal(again.classify(rows(9)), fit.classify(rows(9)))


def test_missing_cells_are_those_of_infinite_error(fit):
    frame = rows(30)
    far = frame.assign(sd_a=np.where(np.arange(30) < 5, 1e9, frame["sd_a"]))
    gone = frame.assign(a=np.where(np.arange(30) < 5, np.nan, frame["a"]))
    np.testing.assert_allclose(fit.responsibilities(gone)[:5], fit.responsibilities(far)[:5], atol=1e-6)
    filled = fit.impute(gone, draws=300, random_seed=1)
    spread = np.sqrt(np.asarray(filled["draws"])[:, 0, 0].var())
    assert spread == pytest.approx(float(filled["sd"][0, 0]), rel=4 / np.sqrt(2 * 300))


def test_nuts_and_pymc(fit):
    frame = rows(150)
    mixture = bm.Mixture(bm.MvNormal(error=ERRORS), 2)
    post = bm.nuts(mixture, frame, draws=150, tune=150, chains=2, random_seed=1, progressbar=False)
    own = post.estimates
    order = np.argsort(own["mu"][:, 0])
    np.testing.assert_allclose(own["mu"][order], MU, atol=0.8)
    assert post.tree["posterior_predictive"]["x"].shape[-2:] == (150, 2)
    model = bm.Mixture(bm.Normal(error="sd_a"), 1).to_pymc(frame[["a", "sd_a"]])
    names = {name: np.zeros_like(value) for name, value in model.initial_point().items()}
    value = model.compile_logp(vars=model.observed_RVs)(names)  # mu 0, sigma 1
    expected = stats.norm(0, np.hypot(1.0, frame["sd_a"])).logpdf(frame["a"]).sum()
    assert value == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: bm.em(bm.Mixture(bm.MvNormal(error=["sd_a"]), 2), rows()), "but there are 3 columns to model: 'sd_b'"),
        (lambda: bm.em(bm.Mixture(bm.MvNormal(error=ERRORS), 2), rows().assign(sd_a=-1.0)), "'sd_a' holds standard deviations"),
        (lambda: bm.em(bm.Mixture(bm.Normal(error="sd"), 2), rows()[["a"]]), "conditions on 'sd'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told(make, match):
    with pytest.raises(ValueError, match=match):
        make()
    with pytest.raises(TypeError, match="name of the column"):
        bm.Normal(error=0.5)
    with pytest.raises(TypeError, match="sd_a"):
        bm.MvNormal(error=0.5)
