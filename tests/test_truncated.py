"""Families between bounds: logarithms of tails, truncation and censoring, against SciPy, PyMC and R's survival."""

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

import bayesmix as bm
from bayesmix.components.bounded import with_tails
from bayesmix.expressions import derivative, evaluate, parameter
from bayesmix.likelihood.generate import trace
from bayesmix.likelihood.special import _betainc, _gammainc

LAWS = {  # family, parameters, SciPy's law, points with some off the support
    "Normal": (bm.Normal(), {"mu": 1.0, "sigma": 2.0}, stats.norm(1, 2), (-60.0, -3.0, 1.0, 4.0, 61.0)),
    "LogNormal": (bm.LogNormal(), {"mu": 0.5, "sigma": 0.7}, stats.lognorm(0.7, scale=np.exp(0.5)), (-1.0, 0.01, 1.0, 90.0)),
    "Exponential": (bm.Exponential(), {"lam": 0.5}, stats.expon(scale=2.0), (-1.0, 0.0, 1e-9, 1.0, 300.0)),
    "Weibull": (bm.Weibull(), {"alpha": 1.7, "beta": 2.0}, stats.weibull_min(1.7, scale=2.0), (-1.0, 1e-5, 1.0, 40.0)),
    "Logistic": (bm.Logistic(), {"mu": 1.0, "s": 0.5}, stats.logistic(1, 0.5), (-80.0, 1.0, 2.0, 90.0)),
    "Gumbel": (bm.Gumbel(), {"mu": 1.0, "beta": 2.0}, stats.gumbel_r(1, 2), (-9.0, 1.0, 2.0, 120.0)),
    "Laplace": (bm.Laplace(), {"mu": 1.0, "b": 2.0}, stats.laplace(1, 2), (-90.0, 0.5, 2.0, 120.0)),
    "Pareto": (bm.Pareto(m=2.0), {"alpha": 1.5}, stats.pareto(1.5, scale=2.0), (1.0, 2.0, 2.5, 1e9)),
    "HalfNormal": (bm.HalfNormal(), {"sigma": 2.0}, stats.halfnorm(scale=2.0), (-1.0, 0.5, 2.0, 60.0)),
    "Kumaraswamy": (bm.Kumaraswamy(), {"a": 2.0, "b": 3.0}, stats.beta(1, 3), (-0.5, 1e-4, 0.3, 0.999, 1.5)),
    "Geometric": (bm.Geometric(), {"p": 0.3}, stats.geom(0.3), (0.0, 1.0, 2.0, 900.0)),
    "Uniform": (bm.Uniform(0.0, 4.0), {"lower": 0.0, "upper": 4.0}, stats.uniform(0, 4), (-1.0, 0.5, 3.0, 5.0)),
    "Wald": (bm.Wald(), {"mu": 1.5, "lam": 2.0}, stats.invgauss(0.75, scale=2.0), (-1.0, 0.05, 1.0, 20.0)),
    "Gamma": (bm.Gamma(), {"alpha": 2.5, "beta": 2.0}, stats.gamma(2.5, scale=0.5), (-1.0, 1e-3, 1.0, 60.0)),
    "InverseGamma": (bm.InverseGamma(), {"alpha": 2.5, "beta": 2.0}, stats.invgamma(2.5, scale=2.0), (-1.0, 0.05, 1.0, 60.0)),
    "ChiSquared": (bm.ChiSquared(), {"nu": 3.0}, stats.chi2(3), (-1.0, 0.05, 3.0, 90.0)),
    "Poisson": (bm.Poisson(), {"mu": 3.5}, stats.poisson(3.5), (-1.0, 0.0, 3.0, 4.5, 40.0)),
    "StudentT": (bm.StudentT(), {"mu": 1.0, "sigma": 2.0, "nu": 3.5}, stats.t(3.5, 1, 2), (-90.0, 0.5, 1.0, 1.2, 4.0, 1e4)),
    "Beta": (bm.Beta(), {"alpha": 2.0, "beta": 0.7}, stats.beta(2, 0.7), (-0.5, 1e-4, 0.3, 0.999, 1.5)),
    "Binomial": (bm.Binomial(9), {"p": 0.3}, stats.binom(9, 0.3), (-1.0, 0.0, 3.0, 4.5, 8.0, 9.0)),
    "NegativeBinomial": (
        bm.NegativeBinomial(), {"mu": 3.0, "alpha": 1.5}, stats.nbinom(1.5, 1.5 / 4.5), (-1.0, 0.0, 3.0, 4.5, 90.0)
    ),
}  # fmt: skip


def _tails_by_scipy(name, law, x):
    if name == "Kumaraswamy":  # x^2 is beta(1, 3)
        x = np.sign(x) * x**2
    with np.errstate(divide="ignore"):
        return law.logcdf(x), law.logsf(x)


@pytest.mark.parametrize("name", LAWS)
def test_logarithms_of_tails_are_scipys(name):
    family, params, law, points = LAWS[name]
    x = np.array(points)
    got = family.log_tails(x[:, None], {n: np.array([v]) for n, v in params.items()})
    for ours, theirs in zip(got, _tails_by_scipy(name, law, x), strict=True):
        np.testing.assert_allclose(ours[:, 0], theirs, rtol=1e-9, atol=1e-14, err_msg=f"{name} at {x}")


@pytest.mark.parametrize("name", LAWS)
def test_slopes_of_logarithms_of_tails_are_differences(name):
    family, params, _, points = LAWS[name]
    names = list(params)
    at = np.array([params[n] for n in names])
    for which in range(2):
        traced = trace(lambda x, p, which=which: family.log_tails(x, p)[which], names)
        slopes = [derivative(traced, parameter(i)) for i in range(len(names))]
        bends = [derivative(slope, parameter(j)) for slope in slopes for j in range(len(names))]
        for x in points:

            def value(nodes, p, x=x):
                return np.array(evaluate(nodes, [x], list(p)), dtype=float)

            if not np.isfinite(value([traced], at)[0]):
                continue
            for j in range(len(names)):
                step = np.zeros(len(names))
                step[j] = 1e-5 * max(1.0, abs(at[j]))
                for nodes, of in (([traced], slopes[j : j + 1]), (slopes, bends[j :: len(names)])):
                    above, below = value(nodes, at + step), value(nodes, at - step)
                    expected = (above - below) / (2.0 * step[j])
                    scale = 1e-6 * np.max(np.abs(above)) + 1e-8  # of differences, whose rounding is 1e-16 / 1e-5
                    np.testing.assert_allclose(
                        value(of, at), expected, rtol=1e-5, atol=scale, err_msg=f"{name}, {x}, {j}"
                    )


def test_every_family_with_tails_is_checked_here():
    assert set(with_tails()) == set(LAWS)


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize(
    "a, x", [(0.01, 0.5), (1.0, 0.2), (2.5, 3.4), (2.5, 3.6), (35.0, 30.0), (35.0, 60.0), (2e3, 2.1e3)]
)
def test_incomplete_gamma_function_and_its_slope_in_the_shape(a, x, upper):
    """By quadrature of the density of log t, whose mean is the slope plus digamma."""
    from scipy.special import digamma, gammainc, gammaincc, polygamma

    value, slope, bend = _gammainc(a, x, upper)
    assert value == pytest.approx(np.log((gammaincc if upper else gammainc)(a, x)), rel=1e-10)
    ends = (
        (np.log(x), np.log(x + a + 40 * np.sqrt(a) + 60))
        if upper
        else (np.log(x) - max(60.0 / a, 40.0 / np.sqrt(a)), np.log(x))
    )
    points = np.linspace(*ends, 400_001)
    log_weight = a * points - np.exp(points)
    weight = np.exp(log_weight - log_weight.max())
    total = integrate.simpson(weight, x=points)
    mean = integrate.simpson(weight * points, x=points) / total
    variance = integrate.simpson(weight * (points - mean) ** 2, x=points) / total
    assert slope == pytest.approx(mean - digamma(a), rel=1e-6, abs=1e-9)
    assert bend == pytest.approx(variance - polygamma(1, a), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("u", [-4.0, 0.3, 5.0])
@pytest.mark.parametrize("a, b", [(0.02, 0.5), (0.5, 0.5), (3.0, 2.0), (40.0, 700.0), (5e5, 0.5)])
def test_incomplete_beta_function_and_its_slope_in_the_shapes(a, b, u):
    """By quadrature in logits: the slopes are the means of log t and log(1 - t) below x, less those of all t."""
    from scipy.special import betainc, digamma, expit, log_expit, polygamma

    found = _betainc(a, b, u)
    if betainc(a, b, expit(u)) < 1e-300:
        return
    assert found[0] == pytest.approx(np.log(betainc(a, b, expit(u))), rel=1e-9)
    low = u - (60.0 + 700.0 * (a > 1e3)) / min(a, 1.0) if a < 1e3 else u - 1.0
    points = np.linspace(low, u, 2_000_001)
    log_weight = a * log_expit(points) + b * log_expit(-points)
    weight = np.exp(log_weight - log_weight.max())
    total = integrate.simpson(weight, x=points)
    logs, ends = (log_expit(points), log_expit(-points)), (digamma(a) - digamma(a + b), digamma(b) - digamma(a + b))
    means = [integrate.simpson(weight * y, x=points) / total for y in logs]
    for slope, mean, end in zip(found[1:3], means, ends, strict=True):
        assert slope == pytest.approx(mean - end, rel=1e-5, abs=1e-8)
    for bend, (i, j) in zip(found[3:], ((0, 0), (0, 1), (1, 1)), strict=True):
        moment = integrate.simpson(weight * (logs[i] - means[i]) * (logs[j] - means[j]), x=points) / total
        own = polygamma(1, (a, b)[i]) if i == j else 0.0
        assert bend == pytest.approx(moment - own + polygamma(1, a + b), rel=1e-4, abs=1e-7)


# -- densities -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("bounds", [(-1.0, 3.0), (None, 3.0), (-1.0, None), (50.0, 55.0), (61.0, None)])
def test_truncated_normal_is_scipys_far_out_too(bounds):
    lower, upper = bounds
    family = bm.Truncated(bm.Normal(), lower=lower, upper=upper)
    low, high = -np.inf if lower is None else lower, np.inf if upper is None else upper
    law = stats.truncnorm((low - 1) / 2, (high - 1) / 2, 1, 2)
    x = law.ppf([0.01, 0.5, 0.99])
    params = {"mu": np.array([1.0]), "sigma": np.array([2.0])}
    np.testing.assert_allclose(family.log_density(x[:, None], params)[:, 0], law.logpdf(x), rtol=1e-9)
    np.testing.assert_allclose(family.cdf(x[:, None], params)[:, 0], law.cdf(x), rtol=1e-9)
    np.testing.assert_allclose(family.marginal_quantile(0.3, params)[0, 0], law.ppf(0.3), rtol=1e-9)
    outside = [v for v in (low - 0.1, high + 0.1) if np.isfinite(v)]
    assert np.all(family.log_density(np.array(outside)[:, None], params) == -np.inf)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("kind", [bm.Truncated, bm.Censored])
def test_total_probability_is_one(name, kind):
    family, params, law, _ = LAWS[name]
    low, high = (float(q) for q in law.ppf([0.2, 0.9]))
    bounded = kind(family, lower=low, upper=high)
    own = {n: np.array([v]) for n, v in params.items()}

    def density(x):
        return np.exp(bounded.log_density(np.reshape(x, (-1, 1)), own))[:, 0]

    if family.discrete:
        total = density(np.arange(np.ceil(low), np.floor(high) + 1)).sum()
    else:
        inside = np.nextafter(low, high), np.nextafter(high, low)
        points = [1.0] if name == "Laplace" else None
        total = integrate.quad(lambda x: density(x)[0], *inside, points=points, epsabs=1e-11)[0]
        total += density([low, high]).sum() if kind is bm.Censored else 0.0
    assert total == pytest.approx(1.0, abs=1e-9)
    q = bounded.marginal_quantile(0.5, own)[0, 0]
    assert bounded.cdf(np.array([[q]]), own)[0, 0] >= 0.5 - 1e-9
    assert bounded.cdf(np.array([[np.nextafter(low, -9)]]), own)[0, 0] == 0.0
    assert bounded.cdf(np.array([[high]]), own)[0, 0] == 1.0
    drawn = bounded.sample({n: np.repeat(v, 4000) for n, v in own.items()}, np.random.default_rng(1))[:, 0]
    assert low <= drawn.min() and drawn.max() <= high
    share = float(bounded.cdf(np.array([[np.floor(q)]]), own)[0, 0]) if family.discrete else 0.5
    place = np.floor(q) if family.discrete else q
    if kind is bm.Truncated or family.discrete or low < q < high:
        assert np.mean(drawn <= place) == pytest.approx(share, abs=4 * 0.5 / np.sqrt(4000))


def test_pymc_agrees():
    import pymc as pm

    rows = np.array([[2.0], [3.0], [4.0], [6.0]])
    for name in ("Normal", "Exponential", "Gamma", "Weibull", "Poisson"):
        family, params, _, _ = LAWS[name]
        own = {n: np.array([v]) for n, v in params.items()}
        inner = getattr(pm, name).dist(**params)
        for ours, theirs in (
            (bm.Truncated(family, 2, 6), pm.Truncated.dist(inner, lower=2, upper=6)),
            (bm.Censored(family, 2, 6), pm.Censored.dist(inner, lower=2, upper=6)),
        ):
            expected = pm.logp(theirs, rows[:, 0].astype(int) if family.discrete else rows[:, 0]).eval()
            # PyMC's normal has a single for the root of 2
            np.testing.assert_allclose(ours.log_density(rows, own)[:, 0], expected, rtol=1e-6, err_msg=str(ours))


# -- fits ----------------------------------------------------------------------------------------------------------------
def test_truncated_normal_by_either_family_ends_in_the_same_place():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 900), rng.normal(4, 1, 600)])
    x = x[(x > -0.5) & (x < 5.5)]
    one, other = (
        bm.em(bm.Mixture(family, 2), x, init="kmeans", n_init=2, random_seed=1)
        for family in (bm.TruncatedNormal(lower=-0.5, upper=5.5), bm.Truncated(bm.Normal(), -0.5, 5.5))
    )
    assert other.log_likelihood == pytest.approx(one.log_likelihood, abs=1e-6)
    np.testing.assert_allclose(other.estimates["mu"], one.estimates["mu"], atol=1e-3)


def test_censored_exponential_has_the_rate_of_events_over_time():
    """The estimate of one component is the number of events over the total time, the textbook's answer."""
    rng = np.random.default_rng(1)
    time, end = rng.exponential(5.0, 500), rng.uniform(1, 12, 500)
    frame = pd.DataFrame({"end": end, "time": np.minimum(time, end)})
    fit = bm.em(bm.Mixture(bm.Censored(bm.Exponential(), upper="end"), 1), frame, random_seed=1)
    expected = np.sum(time < end) / frame["time"].sum()
    assert fit.estimates["lam"][0] == pytest.approx(expected, rel=1e-7)
    drawn = fit.sample(data=frame, random_seed=1)
    assert np.all(drawn <= end)
    share = np.mean(np.asarray(drawn) == end)
    assert share == pytest.approx(np.mean(time >= end), abs=5 * 0.5 / np.sqrt(500))


def test_truncated_poisson_solves_its_mean():
    """One component without zeros: mu / (1 - exp(-mu)) is the mean (Johnson, Kemp & Kotz 2005, sec. 4.10)."""
    counts = stats.poisson(1.3).rvs(800, random_state=3)
    counts = counts[counts > 0]
    fit = bm.em(bm.Mixture(bm.Truncated(bm.Poisson(), lower=1), 1), counts, random_seed=1)
    mu = fit.estimates["mu"][0]
    assert mu / -np.expm1(-mu) == pytest.approx(counts.mean(), rel=1e-7)


def test_gamma_with_bounds_is_the_maximum_of_scipys_likelihood():
    from scipy.optimize import minimize

    x = stats.gamma(3.0, scale=2.0).rvs(2000, random_state=4)
    x = x[x > 4.0]
    fit = bm.em(bm.Mixture(bm.Truncated(bm.Gamma(), lower=4.0), 1), x, random_seed=1)

    def loss(log_params):
        law = stats.gamma(np.exp(log_params[0]), scale=np.exp(-log_params[1]))
        return -np.sum(law.logpdf(x) - law.logsf(4.0))

    own = np.log([fit.estimates["alpha"][0], fit.estimates["beta"][0]])
    assert -fit.log_likelihood == pytest.approx(loss(own), rel=1e-10)
    best = minimize(loss, own, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10, "maxiter": 400})
    assert fit.log_likelihood == pytest.approx(-best.fun, abs=1e-6)


def test_laplace_with_bounds_is_the_maximum_of_scipys_likelihood():
    from scipy.optimize import minimize

    x = stats.laplace(1.0, 2.0).rvs(300, random_state=5)
    x = np.minimum(x, 2.5)
    fit = bm.em(bm.Mixture(bm.Censored(bm.Laplace(), upper=2.5), 1), x, random_seed=1)

    def loss(at):
        law = stats.laplace(at[0], np.exp(at[1]))
        return -np.sum(np.where(x < 2.5, law.logpdf(x), law.logsf(2.5)))

    starts = [(m, 0.7) for m in np.quantile(x, [0.4, 0.5, 0.6])]
    best = min(minimize(loss, s, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11}).fun for s in starts)
    assert fit.log_likelihood == pytest.approx(-best, abs=1e-3)  # of the guard, and of the simplex


def test_a_mixture_is_found_behind_its_bounds(tmp_path):
    rng = np.random.default_rng(2)
    lifetime = np.concatenate([2.0 * rng.weibull(3.0, 1500), 10.0 * rng.weibull(2.0, 1500)])
    late = np.minimum(lifetime, 9.0)
    mixture = bm.Mixture(bm.Censored(bm.Weibull(), upper=9), 2)
    fit = bm.em(mixture, late, init="kmeans", n_init=2, random_seed=1, uncertainty="laplace", draws=50)
    assert fit.converged
    errors = fit.standard_errors
    order = np.argsort(fit.estimates["beta"])
    for name, truth in (("beta", [2.0, 10.0]), ("alpha", [3.0, 2.0])):
        off = fit.estimates[name][order] - truth
        assert np.all(np.abs(off) < 4 * errors[name].values[order]), (name, fit.estimates[name])
    naive = bm.em(bm.Mixture(bm.Weibull(), 2), late, init="kmeans", n_init=2, random_seed=1)
    assert abs(naive.estimates["beta"].max() - 10.0) > 2 * abs(fit.estimates["beta"].max() - 10.0)
    fit.save(tmp_path / "fit.nc")
    again = bm.load(tmp_path / "fit.nc")
    assert str(again.mixture) == "Mixture of 2 Censored(Weibull(), upper=9) components, weights ~ Dirichlet(1)"
    np.testing.assert_array_equal(again.logpdf(late[:5]), fit.logpdf(late[:5]))
    assert float(fit.cdf([9.0])[0]) == 1.0 > float(fit.cdf([8.99])[0])


def test_missing_cells_between_bounds_are_imputed_there():
    x = np.array([2.1, 2.5, np.nan, 3.0, 5.0, 2.2])
    frame = pd.DataFrame({"x": x, "low": [2.0, 2.0, 4.0, 2.0, 2.0, 2.0]})
    mixture = bm.Mixture(bm.Truncated(bm.Exponential(), lower="low"), 1)
    fit = bm.Fit.from_parameters(mixture, frame, weights=[1.0], lam=[0.5])
    filled = fit.impute(draws=500, random_seed=1)
    assert float(filled["estimate"][2]) == pytest.approx(6.0, rel=0.02)  # 4 + 1 / 0.5, from quantiles
    assert filled["draws"].sel(obs=2).min() >= 4.0


def test_rows_with_bounds_of_their_own_may_have_none():
    frame = pd.DataFrame({"x": [0.5, 1.0, 2.0], "low": [0.0, -np.inf, 1.5], "high": [1.0, np.inf, np.inf]})
    family = bm.Truncated(bm.Normal(), "low", "high")
    fit = bm.Fit.from_parameters(bm.Mixture(family, 1), frame, weights=[1.0], mu=[0.0], sigma=[1.0])
    expected = [
        stats.truncnorm(0, 1).logpdf(0.5), stats.norm.logpdf(1.0), stats.norm.logpdf(2.0) - stats.norm.logsf(1.5)
    ]  # fmt: skip
    np.testing.assert_allclose(fit.logpdf(frame), expected, rtol=1e-12)
    from bayesmix.likelihood.likelihood import Likelihood

    likelihood = Likelihood(family, fit.data, 1)
    vector = likelihood.to_vector(fit.estimates)
    value, gradient = likelihood.value_and_gradient(vector)
    assert value == pytest.approx(np.sum(expected), rel=1e-12) and np.all(np.isfinite(gradient))
    for i in range(2):
        step = 1e-6 * np.eye(2)[i]
        slope = (
            likelihood.value_and_gradient(vector + step)[0] - likelihood.value_and_gradient(vector - step)[0]
        ) / 2e-6
        assert gradient[i] == pytest.approx(slope, abs=1e-8)


def test_as_part_of_a_product_and_with_shared_parameters():
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"x": np.minimum(rng.exponential(3.0, 300), 4.0), "y": rng.normal(size=300), "end": 4.0})
    product = bm.Product(x=bm.Censored(bm.Exponential(), upper="end"), y=bm.Normal())
    fit = bm.em(bm.Mixture(product, 1), frame, random_seed=1)
    expected = np.sum(frame["x"] < 4.0) / frame["x"].sum()
    assert fit.estimates["x_lam"][0] == pytest.approx(expected, rel=1e-6)
    x = np.concatenate([rng.normal(0, 1, 400), rng.normal(5, 1, 400)])
    shared = bm.Truncated(bm.Normal(sigma=bm.Shared()), lower=-1.0)
    fit = bm.em(bm.Mixture(shared, 2), x[x > -1], init="kmeans", n_init=1, random_seed=1)
    assert fit.estimates["sigma"][0] == fit.estimates["sigma"][1] == pytest.approx(1.0, abs=0.1)


def test_nuts_and_the_model_of_pymc_agree_with_the_likelihood():
    rng = np.random.default_rng(6)
    time, end = rng.exponential(2.0, 200), rng.uniform(1, 5, 200)
    frame = pd.DataFrame({"time": np.minimum(time, end), "end": end})
    mixture = bm.Mixture(bm.Censored(bm.Exponential(), upper="end"), 1)
    model = mixture.to_pymc(frame)
    lam = 0.37
    compiled = model.compile_logp(vars=model.observed_RVs)
    expected = np.sum(np.where(time < end, np.log(lam), 0.0) - lam * frame["time"])
    names = model.initial_point()
    point = {name: np.log([lam]) if "lam" in name else value for name, value in names.items()}
    assert compiled(point) == pytest.approx(expected, rel=1e-10)
    post = bm.nuts(mixture, frame, draws=200, tune=200, chains=2, random_seed=1, progressbar=False)
    mle = np.sum(time < end) / frame["time"].sum()
    assert float(post.tree["posterior"]["lam"].mean()) == pytest.approx(mle, abs=3 * mle / np.sqrt(np.sum(time < end)))
    predictive = post.tree["posterior_predictive"]["x"]
    assert np.all(predictive <= end + 1e-12)


# -- errors --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "make, kind, match",
    [
        (lambda: bm.Truncated(bm.SkewNormal(), lower=0), TypeError, "Exponential, Gamma"),
        (lambda: bm.Censored(bm.MvNormal(), lower=0), TypeError, "no formula"),
        (lambda: bm.Truncated(bm.Normal, lower=0), TypeError, r"call it: bm.Truncated\(bm.Normal\(\)\)"),
        (lambda: bm.Truncated(bm.Normal()), ValueError, "needs a bound"),
        (lambda: bm.Truncated(bm.Normal(), 3, 1), ValueError, "lower=3 must be below upper=1"),
        (lambda: bm.Truncated(bm.Normal(), [1, 2]), TypeError, "known number"),
    ],
)
def test_what_cannot_be_bounded_is_told(make, kind, match):
    with pytest.raises(kind, match=match):
        make()


def test_rows_beyond_the_bounds_are_told():
    x = np.array([0.5, 1.0, 3.0, 2.0])
    with pytest.raises(ValueError, match="1 of 4 rows are below the lower bound, the first is row 0"):
        bm.em(bm.Mixture(bm.Truncated(bm.Normal(), lower=0.75), 1), x)
    with pytest.raises(ValueError, match="row 2, 3 with bounds -inf and 2.5. Rows beyond a bound are recorded"):
        bm.em(bm.Mixture(bm.Censored(bm.Normal(), upper=2.5), 1), x)
    fit = bm.Fit.from_parameters(bm.Mixture(bm.Truncated(bm.Normal(), "low"), 1), weights=[1.0], mu=[0.0], sigma=[1.0])
    with pytest.raises(ValueError, match="differ from row to row"):
        fit.quantile(0.5)
