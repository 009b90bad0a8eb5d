"""Families of one column: what only one of them has, and the Bayesian engines on some of them."""

import numpy as np
import pytest
from scipy import stats

import bayesmix as bm
from bayesmix.arrays import as_data
from bayesmix.components.laplace import weighted_median
from bayesmix.likelihood.likelihood import Likelihood


# -- Laplace -----------------------------------------------------------------------------------------------------------
def test_weighted_median_has_the_least_weighted_deviation():
    """Against the best of all values of the rows: the sum is piecewise linear between them."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, weights = np.sort(rng.normal(size=31)), rng.exponential(size=31) * (rng.random(31) < 0.7)
        deviations = [weights @ np.abs(x - value) for value in x]
        assert weighted_median(x, weights) == x[np.argmin(deviations)]
    assert (
        weighted_median(np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.0, 1.0, 0.0, 2.0])) == 5.0
    )  # anything from 2 to 8


def test_laplace_information_is_fishers():
    """With one component, 1 / b^2 for mu and 1 for log b, per row (Johnson, Kotz & Balakrishnan 1995, ch. 24)."""
    x = stats.laplace(3.0, 2.0).rvs(size=40_000, random_state=np.random.default_rng(1))
    function = Likelihood(bm.Laplace(), as_data(x), 1)
    found = function.information(
        function.to_vector({"weights": np.ones(1), "mu": np.array([3.0]), "b": np.array([2.0])})
    )
    per_row = found / len(x)  # scores squared are 1/4, and (|z| - 1)^2 with variance 8: 4.5 standard errors are 0.064
    np.testing.assert_allclose(per_row, np.diag([0.25, 1.0]), atol=0.065)


def test_laplace_of_one_component_is_the_median():
    x = np.random.default_rng(2).standard_cauchy(101)
    fit = bm.em(bm.Mixture(bm.Laplace(), 1), x, guard=None, progressbar=False)
    assert fit.estimates["mu"][0] == np.median(x)
    assert np.isclose(fit.estimates["b"][0], np.abs(x - np.median(x)).mean(), rtol=1e-12)


def test_laplace_needs_all_rows_in_memory(tmp_path):
    x = stats.laplace(3.0, 2.0).rvs(size=50_000, random_state=np.random.default_rng(1))
    np.save(tmp_path / "x.npy", x[:, None])
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with pytest.raises(TypeError, match=r"Laplace\(\) components are fitted from all rows at once"):
        bm.em(bm.Mixture(bm.Laplace(), 2), mapped, progressbar=False)


# -- settings ----------------------------------------------------------------------------------------------------------
def test_uniform_takes_the_range_of_the_data_and_estimates_nothing():
    x = np.random.default_rng(0).uniform(2.0, 5.0, 300)
    fit = bm.em(bm.Mixture(bm.Uniform(), 1), x, uncertainty="laplace", progressbar=False)
    assert fit.estimates["lower"][0] == x.min() and fit.estimates["upper"][0] == x.max()
    assert np.isclose(fit.log_likelihood, -300 * np.log(np.ptp(x)), rtol=1e-12)
    assert np.isclose(fit.bic, -2 * fit.log_likelihood)  # no free parameters
    part = bm.em(bm.Mixture(bm.Uniform(upper=8.0), 1), x, progressbar=False)
    assert np.isclose(part.log_likelihood, -300 * np.log(8.0 - x.min()), rtol=1e-12)


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: bm.Uniform(2.0, 2.0), ValueError, "lower=2 must be below upper=2"),
        (lambda: bm.Uniform(0.0, np.inf), ValueError, "finite bounds"),
        (lambda: bm.TruncatedNormal(lower=[1]), TypeError, "or None for that of the data"),
        (lambda: bm.TruncatedNormal(lower="data"), TypeError, "known number"),
        (lambda: bm.TruncatedNormal(upper=0.0, lower=1.0), ValueError, "lower=1 must be below upper=0"),
    ],
)
def test_bounds_that_are_none_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_bounds_of_truncated_normal_components_are_estimated_by_the_extreme_rows(tmp_path):
    """No bounds within, beyond or between SciPy's best are better; they count as parameters, and stay in a saved fit."""
    from scipy import optimize, stats

    x = stats.truncnorm(-0.5, 1.5, 2.0, 1.0).rvs(400, random_state=1)
    mixture = bm.Mixture(bm.TruncatedNormal(lower=None, upper=None), 1)
    fit = bm.em(mixture, x, guard=None, progressbar=False)

    def minus(at):
        low, high, mu, sigma = x.min() - np.exp(at[0]), x.max() + np.exp(at[1]), at[2], np.exp(at[3])
        return -stats.truncnorm((low - mu) / sigma, (high - mu) / sigma, mu, sigma).logpdf(x).sum()

    best = optimize.minimize(
        minus, [-3.0, -3.0, 2.0, 0.0], method="Nelder-Mead", options={"maxiter": 4000, "maxfev": 4000}
    )
    assert fit.log_likelihood >= -best.fun - 1e-6 and np.isclose(fit.log_likelihood, -best.fun, atol=0.1)
    found = fit.mixture.component
    assert (found.lower, found.upper) == (x.min(), x.max()) and fit.n_parameters == 4
    known = bm.Mixture(bm.TruncatedNormal(lower=x.min(), upper=x.max()), 1)
    known = bm.em(known, x, guard=None, progressbar=False)
    assert known.n_parameters == 2 and np.isclose(known.log_likelihood, fit.log_likelihood, rtol=1e-12)
    fit.save(tmp_path / "fit.nc")
    assert bm.load(tmp_path / "fit.nc").mixture == fit.mixture
    one = bm.em(bm.Mixture(bm.TruncatedNormal(upper=None, lower=0.0), 2), x, random_seed=1, progressbar=False)
    assert one.mixture.component.estimated == ("upper",) and one.n_parameters == 6
    with pytest.raises(ValueError, match="bm.em does.*need known ones"):
        bm.nuts(mixture, x)


def test_rows_beyond_a_bound_are_refused():
    with pytest.raises(ValueError, match="between 0 and 1, but 1 of 4 rows are not there; the first is 1.5"):
        bm.em(bm.Mixture(bm.Uniform(0.0, 1.0), 1), [0.0, 0.5, 1.5, 1.0], progressbar=False)


@pytest.mark.parametrize("bounds", [{}, {"lower": -1.0}, {"upper": 2.5}, {"lower": -1.0, "upper": 2.5}])
def test_truncated_normal_density_is_scipys_with_any_bounds(bounds):
    """Also where all of the probability lies in a tail, 30 standard deviations away."""
    family = bm.TruncatedNormal(**bounds)
    x = np.linspace(-2.0, 4.0, 61)
    lower, upper = bounds.get("lower", -np.inf), bounds.get("upper", np.inf)
    for mu, sigma in ((0.5, 1.0), (-31.0, 1.0), (32.5, 1.0), (3.0, 50.0)):
        ours = family.log_density(x[:, None], {"mu": np.array([mu]), "sigma": np.array([sigma])})[:, 0]
        theirs = stats.truncnorm((lower - mu) / sigma, (upper - mu) / sigma, mu, sigma).logpdf(x)
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, err_msg=f"mu {mu}, sigma {sigma}")


# -- the circle --------------------------------------------------------------------------------------------------------
def test_von_mises_components_go_on_beyond_pi():
    """A component about pi, half of it at -pi: turned data have the same fit, turned."""
    rng = np.random.default_rng(3)
    x = np.concatenate([stats.vonmises(8.0, np.pi - 0.1).rvs(200, random_state=rng), rng.vonmises(0.5, 4.0, 200)])
    x = (x + np.pi) % (2 * np.pi) - np.pi
    turned = (x + 1.0 + np.pi) % (2 * np.pi) - np.pi
    settings = {"random_seed": 1, "progressbar": False, "n_init": 10}
    one, other = (bm.em(bm.Mixture(bm.VonMises(), 2), data, **settings) for data in (x, turned))
    assert np.isclose(one.log_likelihood, other.log_likelihood, rtol=1e-10)
    assert np.all(np.abs(np.concatenate([one.estimates["mu"], other.estimates["mu"]])) <= np.pi)
    order = np.argsort(one.estimates["kappa"]), np.argsort(other.estimates["kappa"])
    turn = other.estimates["mu"][order[1]] - one.estimates["mu"][order[0]]
    np.testing.assert_allclose(np.exp(1j * turn), np.exp(1j), rtol=1e-6)


def test_von_mises_of_one_component_has_the_mean_direction():
    """Mean direction, and A(kappa) = R, the mean resultant length (Mardia & Jupp 2000, sec. 5.3.1); SciPy's own fit."""
    x = np.random.default_rng(4).vonmises(-1.0, 3.0, 500)
    fit = bm.em(bm.Mixture(bm.VonMises(), 1), x, guard=None, progressbar=False)
    kappa, mu, _ = stats.vonmises.fit(x, fscale=1.0)
    np.testing.assert_allclose([fit.estimates["mu"][0], fit.estimates["kappa"][0]], [mu, kappa], rtol=1e-7)


def test_angles_in_degrees_are_refused_in_words():
    with pytest.raises(ValueError, match="radians from -pi to pi, but the data go from -170 to 180"):
        bm.em(bm.Mixture(bm.VonMises(), 2), [-170.0, 10.0, 180.0, 90.0], progressbar=False)


# -- skewness ----------------------------------------------------------------------------------------------------------
def test_em_leaves_the_saddle_of_the_skew_normal():
    """At alpha = 0 the gradient vanishes whatever the data (Azzalini 1985): EM started there ends where SciPy's fit does."""
    x = stats.skewnorm(4.0, 1.0, 2.0).rvs(size=400, random_state=np.random.default_rng(5))
    mixture = bm.Mixture(bm.SkewNormal(), 1)
    start = bm.Fit.from_parameters(mixture, weights=[1.0], mu=[x.mean()], sigma=[x.std()], alpha=[0.0])
    fit = bm.em(mixture, x, init=start, guard=None, progressbar=False)
    best = stats.skewnorm.logpdf(x, *stats.skewnorm.fit(x)).sum()
    assert fit.log_likelihood > best - 1e-4 and fit.estimates["alpha"][0] > 2


# -- the posterior, through PyTensor -------------------------------------------------------------------------------------
@pytest.mark.slow
def test_nuts_finds_the_directions_that_em_finds():
    """With 200 rows the posterior is normal about the estimate but for a fraction of its standard deviation."""
    rng = np.random.default_rng(6)
    x = np.concatenate([rng.vonmises(-1.0, 8.0, 100), rng.vonmises(2.0, 4.0, 100)])
    mixture = bm.Mixture(bm.VonMises(), 2)
    em = bm.em(mixture, x, uncertainty="laplace", random_seed=1, progressbar=False)
    nuts = bm.nuts(mixture, x, chains=2, draws=300, tune=300, random_seed=1, progressbar=False)
    draws = nuts.tree["posterior"]["mu"].values.reshape(-1, 2)
    order = np.argsort(draws.mean(axis=0))
    np.testing.assert_array_less(np.abs(draws.mean(axis=0)[order] - em.estimates["mu"]), 0.5 * em.standard_errors["mu"])
    np.testing.assert_allclose(draws.std(axis=0)[order], em.standard_errors["mu"], rtol=0.25)
