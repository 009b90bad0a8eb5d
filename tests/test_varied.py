"""A family for each component: against SciPy, against mixtures of one family, and the contract of families."""

import numpy as np
import pytest
from contract import MODEL_PROMISES, PROMISES
from oracles import WEIGHTS, Oracle
from scipy import optimize, stats

import bayesmix as bm
from bayesmix.arrays import as_data
from bayesmix.comparison import permuted
from bayesmix.components.varied import Heterogeneous

NAN = np.nan


# -- the contract --------------------------------------------------------------------------------------------------------
def _continuous(p):
    if np.isfinite(p["normal_mu"]):
        return stats.norm(p["normal_mu"], p["normal_sigma"])
    if np.isfinite(p["student_t_mu"]):
        return stats.t(p["student_t_nu"], p["student_t_mu"], p["student_t_sigma"])
    return stats.uniform(p["uniform_lower"], p["uniform_upper"] - p["uniform_lower"])


def _counts(p):
    if np.isfinite(p["poisson_mu"]):
        return stats.poisson(p["poisson_mu"])
    alpha = p["negative_binomial_alpha"]
    return stats.nbinom(alpha, alpha / (alpha + p["negative_binomial_mu"]))


def _columns(p):
    name = "mv_normal_0" if np.isfinite(p["mv_normal_0_mu"]).all() else "mv_normal_1"
    return stats.multivariate_normal(p[f"{name}_mu"], p[f"{name}_cov"])


def _none(p):
    raise NotImplementedError


FULL, NONE = np.array([[2.0, 0.5], [0.5, 1.0]]), np.full((2, 2), NAN)
ROWS = [
    Oracle(
        "Normal, StudentT and Uniform",
        Heterogeneous((bm.Normal(), bm.StudentT(), bm.Uniform(-8.0, 12.0))),
        {
            "weights": WEIGHTS,
            "normal_mu": np.array([-2.0, NAN, NAN]),
            "normal_sigma": np.array([0.5, NAN, NAN]),
            "student_t_mu": np.array([NAN, 3.0, NAN]),
            "student_t_sigma": np.array([NAN, 1.5, NAN]),
            "student_t_nu": np.array([NAN, 6.0, NAN]),
            "uniform_lower": np.array([NAN, NAN, -8.0]),
            "uniform_upper": np.array([NAN, NAN, 12.0]),
        },
        _continuous,
        _none,
    ),
    Oracle(
        "Poisson beside NegativeBinomial beside Poisson",
        Heterogeneous((bm.Poisson(), bm.NegativeBinomial(), bm.Poisson())),
        {
            "weights": WEIGHTS,
            "poisson_mu": np.array([0.5, NAN, 12.0]),
            "negative_binomial_mu": np.array([NAN, 6.0, NAN]),
            "negative_binomial_alpha": np.array([NAN, 2.0, NAN]),
        },
        _counts,
        _none,
    ),
    Oracle(
        "MvNormal of two structures",
        Heterogeneous((bm.MvNormal(), bm.MvNormal(covariance="diag"), bm.MvNormal(covariance="diag")), 2),
        {
            "weights": WEIGHTS,
            "mv_normal_0_mu": np.array([[-4.0, 0.0], [NAN, NAN], [NAN, NAN]]),
            "mv_normal_0_cov": np.array([FULL, NONE, NONE]),
            "mv_normal_1_mu": np.array([[NAN, NAN], [2.0, 2.0], [4.0, -3.0]]),
            "mv_normal_1_cov": np.array([NONE, np.diag([1.0, 0.5]), np.diag([0.25, 2.0])]),
        },
        _columns,
        _none,
    ),
]
# What looks at the statistics of the pass, which every family has in its own shape and which its own rows check; at one
# component of several by itself; at PyMC's law of one component; or moves components across families.
ELSEWHERE = {
    "pass_is_the_formula", "total_probability_is_one", "log_density_is_pymcs", "pymc_draws_have_scipys_cdf",
    "permutations_change_nothing", "m_step_climbs", "a_component_of_weight_zero_is_not_there",
}  # fmt: skip
CASES = [
    pytest.param(check, row, id=f"{row}-{check.__name__}")
    for check, applies in PROMISES
    for row in ROWS
    if check.__name__ not in ELSEWHERE
    and applies(row)
    and not (row is ROWS[1] and check.__name__.startswith("a_row_that"))  # every count has a probability under it
]
MODEL_CASES = [pytest.param(check, row, id=f"{row}-{check.__name__}") for check in MODEL_PROMISES for row in ROWS[::2]]


@pytest.mark.parametrize("check, row", CASES)
def test_families_together_keep(check, row):
    check(row)


@pytest.mark.parametrize("check, row", MODEL_CASES)
def test_models_of_them_keep(check, row):
    check(row)


# -- against others ------------------------------------------------------------------------------------------------------
def two_clusters_and_noise(seed=1):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(2, 0.5, 120), rng.normal(6, 0.4, 80), rng.uniform(0, 10, 50)])


@pytest.fixture(scope="module")
def noisy():
    """EM on two normal clusters and uniform noise, the noise between them, with draws of the estimates."""
    mixture = bm.Mixture([bm.Normal(), bm.Uniform(0, 10), bm.Normal()])
    options = {"uncertainty": "laplace", "draws": 60, "random_seed": 1, "progressbar": False}
    return bm.em(mixture, two_clusters_and_noise(), n_init=10, guard=None, **options)


def test_equal_families_are_a_mixture_of_that_family():
    assert bm.Mixture([bm.Normal(), bm.Normal()]) == bm.Mixture(bm.Normal(), n_components=2)
    assert bm.Mixture((bm.Poisson(),), 1) == bm.Mixture(bm.Poisson(), 1)


@pytest.mark.parametrize("family", [bm.Normal, bm.Poisson, bm.StudentT])
def test_families_that_differ_in_priors_alone_have_the_estimate_of_one_family(family):
    """EM does not use priors: components apart by their priors only are a mixture of one family, found by other code."""
    x = two_clusters_and_noise()
    x = np.round(3 * x) if family is bm.Poisson else x
    prior = bm.priors.Prior.of("LogNormal", (0, np.inf), mu=0.0, sigma=1.0)
    other = family(**{"mu" if family is bm.Poisson else "sigma": prior})
    options = {"n_init": 10, "random_seed": 1, "progressbar": False, "guard": None}
    one, apart = bm.em(bm.Mixture(family(), 2), x, **options), bm.em(bm.Mixture([family(), other]), x, **options)
    assert np.isclose(one.log_likelihood, apart.log_likelihood, rtol=1e-10)
    assert np.isclose(one.bic, apart.bic, rtol=1e-10)
    order = np.argsort(np.nansum([v for n, v in apart.estimates.items() if n.endswith("_mu")], axis=0))
    np.testing.assert_allclose(apart.estimates["weights"][order], one.estimates["weights"], rtol=1e-6)


def test_noise_beside_clusters_is_scipys_optimum(noisy):
    x = two_clusters_and_noise()

    def minus_log_likelihood(v):
        weights = np.exp(np.append(v[:2], 0.0))
        weights /= weights.sum()
        first, second = (stats.norm.pdf(x, v[i], np.exp(v[i + 2])) for i in (2, 3))
        return -np.log(weights[0] * first + weights[1] * second + weights[2] * 0.1).sum()

    found = optimize.minimize(minus_log_likelihood, [0.0, 0.0, 2.5, 5.5, 0.0, 0.0], options={"gtol": 1e-7})
    assert abs(noisy.log_likelihood + found.fun) < 1e-7
    np.testing.assert_allclose(noisy.estimates["normal_mu"][[0, 2]], found.x[2:4], rtol=1e-4)
    np.testing.assert_allclose(noisy.estimates["normal_sigma"][[0, 2]], np.exp(found.x[4:]), rtol=1e-4)
    assert noisy.n_parameters == 6 and noisy.converged


def test_zeros_of_their_own_are_zero_inflation():
    """A point at zero beside Poisson counts is the zero-inflated Poisson distribution, which has a family of its own."""
    rng = np.random.default_rng(1)
    x = np.where(rng.random(400) < 0.3, 0, rng.poisson(4.0, 400)).astype(float)
    options = {"random_seed": 1, "progressbar": False, "n_init": 4}
    apart = bm.em(bm.Mixture([bm.Poisson(mu=bm.Fixed(0.0)), bm.Poisson()]), x, **options)
    inflated = bm.em(bm.Mixture(bm.ZeroInflatedPoisson(), 1), x, **options)
    assert np.isclose(apart.log_likelihood, inflated.log_likelihood, rtol=1e-12)
    assert np.isclose(apart.estimates["weights"][1], inflated.estimates["psi"][0], rtol=1e-7)
    assert apart.n_parameters == inflated.n_parameters == 2


def test_families_may_have_supports_of_their_own():
    """Negative values are of the normal component alone: an exponential one has no density there."""
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.exponential(0.5, 150), rng.normal(0.5, 2.0, 100)])
    mixture = bm.Mixture([bm.Exponential(), bm.Normal()])
    fit = bm.Fit.from_parameters(
        mixture, x, weights=[0.6, 0.4], exponential_lam=[2.0], normal_mu=[0.5], normal_sigma=[2.0]
    )
    expected = np.log(0.6 * stats.expon.pdf(x, scale=0.5) + 0.4 * stats.norm.pdf(x, 0.5, 2.0))
    assert np.isclose(fit.log_likelihood, expected.sum(), rtol=1e-13)
    np.testing.assert_allclose(fit.logpdf(x), expected, rtol=1e-12)
    assert np.all(np.asarray(fit.responsibilities(x))[x < 0, 0] == 0)
    estimate = bm.em(mixture, x, n_init=4, random_seed=1, progressbar=False)
    assert estimate.converged and estimate.log_likelihood > fit.log_likelihood


def test_missing_cells_leave_the_density_of_the_others():
    """Of ellipsoids beside independent columns: the log-likelihood is that of SciPy's marginal distributions."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], 60), rng.normal([4, 1], 1.0, (60, 2))])
    x[::7, 0], x[3::11, 1], x[5] = NAN, NAN, NAN
    means, covs = [np.zeros(2), np.array([4.0, 1.0])], [np.array([[1.0, 0.8], [0.8, 1.0]]), np.diag([0.25, 1.44])]
    expected = 0.0
    for row in x[np.isfinite(x).any(axis=1)]:
        on = np.isfinite(row)
        laws = [stats.multivariate_normal(m[on], c[np.ix_(on, on)]) for m, c in zip(means, covs, strict=True)]
        expected += np.log(0.3 * laws[0].pdf(row[on]) + 0.7 * laws[1].pdf(row[on]))
    mixture = bm.Mixture([bm.MvNormal(), bm.MvNormal(covariance="diag")])
    params = {f"mv_normal_{k}_{name}": [v[k]] for name, v in (("mu", means), ("cov", covs)) for k in range(2)}
    fit = bm.Fit.from_parameters(mixture, x, weights=[0.3, 0.7], **params)
    assert np.isclose(fit.log_likelihood, expected, rtol=1e-12)
    assert np.isfinite(fit.impute()["estimate"]).all()
    estimate = bm.em(mixture, x, n_init=4, random_seed=1, progressbar=False)
    assert estimate.converged and estimate.log_likelihood > expected


def test_the_search_finds_which_cluster_is_of_which_family():
    """The order of the list says which component is which, and nothing else: the same optimum from any."""
    x = two_clusters_and_noise()
    options = {"n_init": 10, "random_seed": 3, "progressbar": False, "guard": None}
    members = [bm.Uniform(0, 10), bm.Normal(), bm.Normal()]
    found = [bm.em(bm.Mixture([members[i] for i in order]), x, **options) for order in ((0, 1, 2), (1, 2, 0))]
    assert np.isclose(found[0].log_likelihood, found[1].log_likelihood, rtol=1e-10)
    np.testing.assert_allclose(found[0].estimates["weights"][[1, 2, 0]], found[1].estimates["weights"], rtol=1e-6)
    assert found[0].estimates["normal_mu"][1] < found[0].estimates["normal_mu"][2]


def test_a_component_by_itself_in_its_family_does_not_shrink_onto_a_row():
    x = np.random.default_rng(0).uniform(-30, 30, 60)
    fit = bm.em(bm.Mixture([bm.Normal(), bm.Uniform(-30, 30)]), x, n_init=10, random_seed=1, progressbar=False)
    assert fit.converged and fit.estimates["normal_sigma"][0] > 1e-2


def test_a_component_on_one_row_is_called_collapsed():
    x = np.append(np.random.default_rng(0).uniform(-30, 30, 60), 5.0)
    component = Heterogeneous((bm.Normal(), bm.Uniform(-30, 30)))
    params = {
        "weights": np.array([0.02, 0.98]),
        "normal_mu": np.array([5.0, NAN]),
        "uniform_lower": np.array([NAN, -30.0]),
        "uniform_upper": np.array([NAN, 30.0]),
    }
    thin = [
        component.collapsed(params | {"normal_sigma": np.array([s, NAN])}, as_data(x))[0] for s in (10.0, 1e-3, 1e-6)
    ]
    assert thin[0] == 1.0 and 1e-10 < thin[1] < 1e-4 and thin[2] < 1e-10


# -- labels ----------------------------------------------------------------------------------------------------------------
def test_labels_change_within_families_only(noisy):
    """Every second draw with its normal components swapped: each algorithm swaps them back, and never moves the noise."""
    tree = noisy.tree.copy()
    posterior = tree["posterior"].to_dataset()
    odd = np.arange(posterior.sizes["draw"]) % 2 == 1
    for name, swapped in (("weights", [2, 1, 0]), ("normal_mu", [1, 0]), ("normal_sigma", [1, 0])):
        values = posterior[name].values.copy()
        values[:, odd] = values[:, odd][:, :, swapped]
        posterior[name] = posterior[name].dims, values
    tree["posterior"] = posterior
    mixed = bm.Fit(noisy.mixture, tree)
    for algorithm in ("ecr", "stephens", "pivot", "data", "ordering"):
        fit = bm.relabel(mixed, algorithm)
        permutation = fit.tree["labels"].dataset["permutation"].values[0]
        assert np.all(permutation[:, 1] == 1), algorithm
        np.testing.assert_array_equal(permutation[odd] != permutation[~odd], np.tile([True, False, True], (30, 1)))
        above = fit.tree["posterior"]["normal_mu"].values[0] > 4
        assert np.all(above == above[0]) and above[0].sum() == 1, algorithm


def test_fits_are_matched_within_families_only(noisy):
    swapped = permuted(noisy, np.array([2, 1, 0]))
    np.testing.assert_array_equal(swapped.estimates["normal_mu"], noisy.estimates["normal_mu"][[2, 1, 0]])
    np.testing.assert_array_equal(swapped.estimates["uniform_upper"], noisy.estimates["uniform_upper"])
    result = bm.compare({"one": noisy, "other": swapped})
    assert result.agreement.classification["alike"].item() == 1.0
    np.testing.assert_array_equal(*result.parameters["normal_mu"].sel(quantity="estimate").values)


# -- results ---------------------------------------------------------------------------------------------------------------
def test_results_name_the_family_and_the_component(noisy, tmp_path):
    assert str(noisy.mixture) == "Mixture of Normal(), Uniform(lower=0.0, upper=10.0), Normal(), weights ~ Dirichlet(1)"
    rows = [f"weights[{k}]" for k in range(3)] + [f"normal_{p}[{k}]" for p in ("mu", "sigma") for k in (0, 2)]
    assert list(noisy.summary().index) == rows
    point = noisy.tree["point"]
    assert list(point["normal_cluster"].values) == [0, 2] and list(point["uniform_cluster"].values) == [1]
    assert not any(np.isnan(value).any() for value in point.data_vars.values())
    errors = noisy.standard_errors["normal_mu"].values
    np.testing.assert_allclose(errors, noisy.tree["posterior"]["normal_mu"].std(("chain", "draw")), rtol=0.3)

    noisy.save(tmp_path / "fit.nc")
    loaded = bm.load(tmp_path / "fit.nc")
    assert loaded.mixture == noisy.mixture
    for name, value in noisy.estimates.items():
        np.testing.assert_array_equal(loaded.estimates[name], value)
    x = [0.5, 2.0, 9.0]
    np.testing.assert_array_equal(loaded.logpdf(x), noisy.logpdf(x))


def test_parameters_are_given_for_a_family_or_for_all_components(noisy):
    data = two_clusters_and_noise()
    whole = bm.Fit.from_parameters(noisy.mixture, data, **noisy.estimates)
    own = {name: value[np.isfinite(value)] for name, value in noisy.estimates.items()}
    assert whole.log_likelihood == bm.Fit.from_parameters(noisy.mixture, data, **own).log_likelihood
    assert np.isclose(whole.log_likelihood, noisy.log_likelihood, rtol=1e-12)
    with pytest.raises(ValueError, match=r"normal_mu holds values for components 1, but those of Normal\(\) are 0, 2"):
        bm.Fit.from_parameters(noisy.mixture, **noisy.estimates | {"normal_mu": [1.0, 2.0, 3.0]})


def test_predictions_are_scipys(noisy):
    p, x = noisy.estimates, np.linspace(-1, 11, 9)
    laws = [stats.norm(p["normal_mu"][0], p["normal_sigma"][0]), stats.uniform(0, 10)]
    laws.append(stats.norm(p["normal_mu"][2], p["normal_sigma"][2]))
    cdf = np.sum([w * law.cdf(x) for w, law in zip(p["weights"], laws, strict=True)], axis=0)
    np.testing.assert_allclose(noisy.cdf(x), cdf, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(noisy.cdf(noisy.quantile([0.1, 0.5, 0.9])), [0.1, 0.5, 0.9], atol=1e-8)
    drawn = noisy.sample(20_000, random_seed=1)
    # Kolmogorov-Smirnov of each component against its law: 1e-4 is the chance of any of three to fail
    for k, law in enumerate(laws):
        assert stats.kstest(drawn.values[drawn["cluster"].values == k], law.cdf).pvalue > 3e-5


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: bm.Mixture([bm.Normal(), bm.Uniform()], 3), ValueError, "n_components=3, but the list has 2"),
        (lambda: bm.Mixture([bm.Normal(), bm.Uniform]), TypeError, r"component 1 is the class Uniform; call it"),
        (lambda: bm.Mixture([bm.Normal(), "uniform"]), TypeError, "component 1 must be a family"),
        (lambda: bm.Mixture([]), TypeError, "the list of components is empty"),
        (lambda: bm.Mixture([bm.Normal(), bm.Poisson()]), ValueError, r"Poisson\(\) has probabilities and Normal\(\) a density"),
        (lambda: bm.Mixture([bm.Normal(), bm.MvNormal()]), ValueError, r"MvNormal\(\) describes several columns, Normal\(\) one"),
        (lambda: bm.Mixture([bm.Normal(), bm.StudentT()], weights=bm.StickBreaking()), ValueError, "take bm.Dirichlet"),
        (lambda: bm.Mixture([bm.MvNormal(covariance=["full", "diag"]), bm.MvNormal()]), ValueError, "several families"),
        (lambda: bm.Mixture(bm.Normal()), TypeError, "needs a number of components"),
        (
            lambda: bm.Mixture([bm.Beta(), bm.Exponential()]).check([0.5, 2.0, -1.0, 0.2, 0.3]),
            ValueError,
            "1 of 5 rows have density zero under every component",
        ),
        (
            lambda: bm.Mixture([bm.Beta(), bm.Normal()]).check([3.5, 2.0, -1.0, 4.2]),
            ValueError,
            r"component 0, Beta\(\): none of 4 rows has a positive density",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# -- posteriors ------------------------------------------------------------------------------------------------------------
def test_nuts_finds_clusters_and_noise():
    """Means within five posterior standard deviations of the truth, labels as they are given, and no NaN for ArviZ."""
    mixture, x = bm.Mixture([bm.Normal(), bm.Uniform(0, 10), bm.Normal()]), two_clusters_and_noise()
    fit = bm.nuts(mixture, x, draws=200, tune=200, chains=2, cores=1, random_seed=1, progressbar=False)
    posterior = fit.tree["posterior"].dataset
    assert not any(np.isnan(value).any() for value in posterior.data_vars.values())
    mean, sd = (getattr(posterior["normal_mu"], what)(("chain", "draw")).values for what in ("mean", "std"))
    assert np.all(np.abs(mean - [2.0, 6.0]) < 5 * sd) and np.all(sd < 0.2)
    assert np.all(fit.tree["labels"]["permutation"].values[..., 1] == 1)
    assert float(fit.tree.attrs["rhat_relabelled"]) < 1.1

    evidence = bm.laplace(mixture, x, draws=200, random_seed=1, progressbar=False)
    bridge = bm.log_evidence(fit, random_seed=1)
    apart = abs(bridge.value - evidence.tree.attrs["log_evidence"])
    assert apart < 5 * np.hypot(bridge.error, evidence.tree.attrs["log_evidence_error"]) + 0.02
