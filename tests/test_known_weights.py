"""Weights of a mixture that are known: the optimum and the posterior are those of the likelihood with these weights."""

import json

import numpy as np
import preliz as pz
import pytest
import xarray as xr
from fits import posterior
from scipy import optimize, special, stats

import bayesmix as bm
from bayesmix.likelihood.likelihood import Likelihood

QUIET = {"progressbar": False, "random_seed": 1}
RNG = np.random.default_rng(20261124)
LINE = np.concatenate([RNG.normal(m, s, n) for m, s, n in ((0, 1.0, 150), (4, 0.7, 90), (7, 1.2, 60))])
COUNTS = np.concatenate([RNG.poisson(3, 40), RNG.poisson(9, 20)]).astype(float)
PLANE = np.vstack([RNG.normal([0, 0], 1, (90, 2)), RNG.normal([2, 1], [2, 0.5], (60, 2))])
SPANS = np.concatenate([RNG.gamma(3.0, 1.0, 120), RNG.gamma(3.0, 5.0, 80)])
UNEQUAL = bm.Fixed([0.5, 0.3, 0.2])


def factor(y):
    root = np.array([[np.exp(y[0]), 0.0], [y[1], np.exp(y[2])]])
    return root @ root.T


# Family, weights, data, the components' laws by SciPy as a function of what is left, and where that starts
CASES = {
    "normal": (
        bm.Normal(), [0.5, 0.3, 0.2], LINE, lambda y: [stats.norm(m, np.exp(s)) for m, s in zip(y[:3], y[3:], strict=True)],
        [0, 4, 7, 0, 0, 0],
    ),
    "far from the shares of rows": (
        bm.Normal(), [0.1, 0.9], LINE[:240],
        lambda y: [stats.norm(m, np.exp(s)) for m, s in zip(y[:2], y[2:], strict=True)], [3, 1, 0.7, 1],
    ),
    "counts": (bm.Poisson(), [0.8, 0.2], COUNTS, lambda y: [stats.poisson(np.exp(m)) for m in y], [1, 2]),
    "in the plane": (
        bm.MvNormal(), [0.6, 0.4], PLANE,
        lambda y: [stats.multivariate_normal(y[:2], factor(y[4:7])), stats.multivariate_normal(y[2:4], factor(y[7:]))],
        [0, 0, 2, 1, 0, 0, 0, 0.7, 0, -0.7],
    ),
    "by a formula": (
        bm.Gamma(), [0.6, 0.4], SPANS,
        lambda y: [stats.gamma(np.exp(a), scale=np.exp(-b)) for a, b in zip(y[:2], y[2:], strict=True)], [1, 1, 0, -1.6],
    ),
    "one known, one shared": (
        bm.Normal(mu=bm.Fixed([0, 4, 7]), sigma=bm.Shared()), [0.5, 0.3, 0.2], LINE,
        lambda y: [stats.norm(m, np.exp(y[0])) for m in (0, 4, 7)], [0],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_em_ends_at_the_optimum_that_scipy_finds(name):
    component, weights, x, laws, start = CASES[name]

    def minus(y):
        densities = [getattr(law, "logpdf", getattr(law, "logpmf", None))(x) for law in laws(y)]
        return -special.logsumexp(np.array(densities).T + np.log(weights), axis=1).sum()

    with np.errstate(all="ignore"):
        best = min(
            (optimize.minimize(minus, np.array(start) + shift, method="BFGS") for shift in (0, 0.05)),
            key=lambda found: found.fun,
        )
    fit = bm.em(
        bm.Mixture(component, len(weights), bm.Fixed(weights)), x, guard=None, n_init=12, uncertainty="laplace", **QUIET
    )
    assert fit.converged, fit.message
    assert fit.log_likelihood >= -best.fun - 1e-6 * abs(best.fun), (fit.log_likelihood, best.fun)
    assert fit.log_likelihood == pytest.approx(-best.fun, rel=1e-6)
    np.testing.assert_array_equal(fit.estimates["weights"], weights)
    assert np.all(np.diff(fit.trace) >= -1e-9 * abs(fit.log_likelihood))
    assert fit.n_parameters == len(start)
    assert fit.bic == pytest.approx(-2 * fit.log_likelihood + len(start) * np.log(len(x)))
    np.testing.assert_array_equal(fit.standard_errors["weights"], 0.0)
    assert not any(label.startswith("weights") for label in fit.summary().index)


@pytest.mark.parametrize("name", CASES)
def test_gradient_and_information_are_derivatives_without_the_weights(name):
    component, weights, x, _, start = CASES[name]
    mixture = bm.Mixture(component, len(weights), bm.Fixed(weights))
    likelihood = Likelihood.of(mixture, mixture.check(x))
    assert likelihood.n_parameters == len(start)
    params = likelihood.maximise_given(np.random.default_rng(1).dirichlet(np.ones(len(weights)), len(x)))
    vector = likelihood.to_vector(params)
    np.testing.assert_allclose(likelihood.to_vector(likelihood.from_vector(vector)), vector, rtol=1e-10, atol=1e-12)
    gradient, information = likelihood.value_and_gradient(vector)[1], likelihood.information(vector)
    steps = 1e-5 * likelihood.coordinate_scale(vector)
    for i, step in enumerate(steps):
        ends = [likelihood.value_and_gradient(vector + sign * step * np.eye(len(vector))[i]) for sign in (1, -1)]
        # 1e-6: a central difference of step 1e-5 scales, whose rounding is 1e-16 of the value over the step
        assert (ends[0][0] - ends[1][0]) / (2 * step) == pytest.approx(gradient[i], rel=1e-5, abs=1e-5 / step * 1e-3)
        np.testing.assert_allclose(
            (ends[1][1] - ends[0][1]) / (2 * step), information[i], rtol=1e-5, atol=1e-6 * np.abs(information).max()
        )


def test_only_components_of_equal_weight_change_places():
    mixture = bm.Mixture(bm.Normal(), 3, bm.Fixed([0.4, 0.4, 0.2]))
    np.testing.assert_array_equal(mixture.exchangeable(), [1, 1, 0])
    em = bm.em(mixture, LINE, n_init=10, **QUIET)
    made = posterior(mixture, LINE, em, "nuts", chains=2, draws=40)
    swapped = np.random.default_rng(0).random((2, 40)) < 0.5
    order = np.where(swapped[..., None], [1, 0, 2], [0, 1, 2])
    draws = {name: np.take_along_axis(value, order, axis=2) for name, value in made._values("posterior").items()}
    attrs = {"engine": "nuts", "converged": 1, "message": ""}
    found = bm.relabel(bm.Fit.assemble(mixture, made.data, draws=draws, attrs=attrs))
    permutation = found.tree["labels"]["permutation"].values
    assert np.all(permutation[..., 2] == 2)
    assert np.all((permutation[..., 0] == 1) == swapped) or np.all((permutation[..., 0] == 0) == swapped)
    apart = bm.Mixture(bm.Normal(mu=bm.Fixed([0, 5, 0])), 3, UNEQUAL)
    assert len(np.unique(apart.exchangeable())) == 3


# -- posteriors ----------------------------------------------------------------------------------------------------------
def two_rates(weights, counts):
    """A mixture of two Poisson components, with the exact evidence and means of the rates by quadrature on a grid."""
    weights = np.array(weights)
    mixture = bm.Mixture(bm.Poisson(mu=pz.Gamma(alpha=2, beta=0.3)), 2, bm.Fixed(weights))
    nodes, quadrature = np.polynomial.legendre.leggauss(300)
    rate, mass = 8.0 * (nodes + 1.0), 8.0 * quadrature  # (0, 16)
    values, times = np.unique(counts, return_counts=True)
    own = stats.poisson(rate[:, None]).pmf(values)
    log_p = np.log(weights[0] * own[:, None] + weights[1] * own[None]) @ times
    log_prior = stats.gamma(2, scale=1 / 0.3).logpdf(rate) + np.log(mass)
    log_p += log_prior[:, None] + log_prior
    share = np.exp(log_p - special.logsumexp(log_p))
    if weights[0] == weights[1]:  # labels mean nothing: the smaller and the larger rate
        means = np.sum(share * np.minimum.outer(rate, rate)), np.sum(share * np.maximum.outer(rate, rate))
    else:
        means = np.sum(share * rate[:, None]), np.sum(share * rate)
    return mixture, float(special.logsumexp(log_p)), means


@pytest.mark.parametrize("weights", [(0.7, 0.3), pytest.param((0.5, 0.5), marks=pytest.mark.slow)])
def test_laplace_finds_the_evidence_and_the_means_of_quadrature(weights):
    mixture, log_evidence, means = two_rates(weights, COUNTS)  # of unequal weights it finds both modes
    fit = bm.laplace(mixture, COUNTS, **QUIET)
    error = fit.tree.attrs["log_evidence_error"]
    assert fit.tree.attrs["log_evidence"] == pytest.approx(log_evidence, abs=4.5 * error + 1e-6)
    draws = fit.tree["posterior"]["mu"].values.reshape(-1, 2)
    draws = np.sort(draws, axis=1) if weights == (0.5, 0.5) else draws
    np.testing.assert_allclose(draws.mean(axis=0), means, atol=4.5 * draws.std(axis=0).max() / np.sqrt(500))
    np.testing.assert_array_equal(fit.tree["posterior"]["weights"], np.broadcast_to(weights, (1, 1000, 2)))
    assert "weights" not in fit.tree["log_prior"]


@pytest.mark.slow
@pytest.mark.parametrize("engine", [bm.nuts, bm.advi])
def test_nuts_and_advi_draw_from_the_posterior_of_quadrature(engine, tmp_path):
    counts = np.repeat(COUNTS, 5)  # the other mode is then negligible
    mixture, _, means = two_rates((0.7, 0.3), counts)
    options = {"draws": 500, "tune": 200, "chains": 2} if engine is bm.nuts else {}
    fit = engine(mixture, counts, **options, **QUIET)
    draws = fit.tree["posterior"]["mu"].values.reshape(-1, 2)
    # 0.25 standard deviations: a normal approximation has some bias; 4.5 Monte Carlo errors of 300 draws otherwise
    np.testing.assert_allclose(draws.mean(axis=0), means, atol=0.25 * draws.std(axis=0).max())
    assert list(fit.summary().index) == ["mu[0]", "mu[1]"]
    fit.save(tmp_path / "fit.nc")
    back = bm.load(tmp_path / "fit.nc")
    assert back.mixture == fit.mixture
    xr.testing.assert_equal(back.logpdf([0.0, 8.0]), fit.logpdf([0.0, 8.0]))


def test_an_ordinary_model_has_the_weights_as_a_constant():
    mixture = bm.Mixture(bm.Poisson(), 2, bm.Fixed([0.7, 0.3]))
    model = mixture.to_pymc(COUNTS)
    assert [rv.name for rv in model.free_RVs] == ["mu"]
    graph = model.replace_rvs_by_values([model.logp(vars=[model["x"]])])[0]
    (value,) = model.value_vars
    expected = np.log(stats.poisson([3.0, 9.0]).pmf(COUNTS[:, None]) @ [0.7, 0.3]).sum()
    assert float(graph.eval({value: np.log([3.0, 9.0])}, mode="FAST_COMPILE")) == pytest.approx(expected, rel=1e-10)


# -- other ways to the same ----------------------------------------------------------------------------------------------
def test_components_of_several_families_take_them():
    mixture = bm.Mixture([bm.Normal(), bm.Normal(), bm.Uniform(-5, 15)], weights=bm.Fixed([0.45, 0.45, 0.1]))
    np.testing.assert_array_equal(mixture.exchangeable(), [0, 0, 1])
    fit = bm.em(mixture, LINE, n_init=10, guard=None, **QUIET)
    y = np.concatenate([fit.estimates["normal_mu"][:2], np.log(fit.estimates["normal_sigma"][:2])])

    def minus(y):
        return -np.log(0.45 * stats.norm(y[:2], np.exp(y[2:])).pdf(LINE[:, None]).sum(axis=1) + 0.1 / 20).sum()

    assert fit.log_likelihood == pytest.approx(-optimize.minimize(minus, y, method="BFGS").fun, rel=1e-9)
    assert fit.n_parameters == 4


def test_rows_read_in_passes_and_rows_online_give_the_same(tmp_path):
    x = np.random.default_rng(5).permutation(np.tile(LINE, 20))[:, None]
    np.save(tmp_path / "rows.npy", x)
    mixture = bm.Mixture(bm.Normal(), 3, UNEQUAL)
    whole = bm.em(mixture, x, n_init=6, **QUIET)
    read = bm.em(mixture, np.load(tmp_path / "rows.npy", mmap_mode="r"), n_init=6, uncertainty="laplace", **QUIET)
    assert read.n_parameters == 6
    online = bm.online_em(mixture, x, random_seed=1)
    for name in ("weights", "mu", "sigma"):
        np.testing.assert_allclose(read.estimates[name], whole.estimates[name], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(online.estimates[name], whole.estimates[name], rtol=0.05, atol=0.05)


def test_a_start_from_a_fit_with_free_weights_takes_the_known_ones():
    free = bm.em(bm.Mixture(bm.Normal(), 3), LINE, n_init=5, **QUIET)
    fit = bm.em(bm.Mixture(bm.Normal(), 3, UNEQUAL), LINE, init=free, **QUIET)
    np.testing.assert_array_equal(fit.estimates["weights"], [0.5, 0.3, 0.2])
    assert fit.converged


def test_given_columns_the_weights_are_no_longer_the_known_ones():
    mixture = bm.Mixture(bm.MvNormal(), 2, bm.Fixed([0.6, 0.4]))
    fit = bm.em(mixture, PLANE, n_init=5, **QUIET)
    assert fit.marginal([0]).mixture.weights == mixture.weights
    given = fit.condition({0: 4.0})
    assert given.mixture.weights == bm.Dirichlet(1.0)
    assert given.estimates["weights"][1] > 0.9


# -- words ---------------------------------------------------------------------------------------------------------------
def test_a_mixture_prints_its_weights_and_survives_json():
    mixture = bm.Mixture(bm.Normal(), 2, bm.Fixed([0.7, 0.3]))
    assert str(mixture) == "Mixture of 2 Normal() components, weights = Fixed([0.7, 0.3])"
    assert bm.Mixture.from_dict(json.loads(json.dumps(mixture.to_dict()))) == mixture
    assert bm.Mixture(bm.Normal(), 2, bm.Fixed(0.5)) == bm.Mixture(bm.Normal(), 2, bm.Fixed([0.5, 0.5]))
    assert str(mixture.priors(LINE)["weights"]) == "Fixed([0.7, 0.3])"


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (bm.Fixed([0.5, 0.3, 0.2]), r"fixed at values of shape \(3,\), but 2 components need shape \(2,\)"),
        (bm.Fixed([0.5, 0.4]), r"those that are fixed, \[0.5, 0.4\], sum to 0.9"),
        (bm.Fixed(0.3), r"sum to 0.6"),
        (bm.Fixed([1.2, -0.2]), r"that of component 1 is fixed at -0.2"),
        (bm.Fixed([1.0, 0.0]), r"component 1 is fixed at 0: no row comes from it"),
        ([0.7, 0.3], r"or known, bm.Fixed\(\[0.7, 0.3\]\)"),
    ],
)
def test_errors_say_what_is_wrong(weights, words):
    with pytest.raises((TypeError, ValueError), match=words):
        bm.Mixture(bm.Normal(), 2, weights)


def test_engines_say_what_they_cannot_do():
    mixture = bm.Mixture(bm.Normal(), 2, bm.Fixed([0.7, 0.3]))
    with pytest.raises(ValueError, match="use bm.nuts"):
        bm.gibbs(mixture, LINE, **QUIET)
    with pytest.raises(ValueError, match="belong to one number of components"):
        bm.sweep(bm.Normal(), LINE, n_components=[1, 2], prior=bm.Fixed([0.7, 0.3]), **QUIET)
    with pytest.raises(ValueError, match="weights are fixed at"):
        bm.Fit.from_parameters(mixture, weights=[0.6, 0.4], mu=[0, 5], sigma=[1, 1])
    known = bm.Mixture(bm.Normal(mu=bm.Fixed([0, 5]), sigma=bm.Fixed(1)), 2, bm.Fixed([0.7, 0.3]))
    fit = bm.em(known, LINE, **QUIET)
    expected = np.log(stats.norm([0, 5], 1).pdf(LINE[:, None]) @ [0.7, 0.3]).sum()
    assert (fit.n_parameters, fit.log_likelihood) == (0, pytest.approx(expected, rel=1e-12))
    with pytest.raises(ValueError, match="every parameter of this Mixture"):
        bm.laplace(known, LINE, **QUIET)
