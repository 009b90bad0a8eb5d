"""Parameters that are known, or one for all components: the optimum is that of the likelihood so constrained."""

import json
from pathlib import Path

import numpy as np
import preliz as pz
import pytest
import xarray as xr
from fits import posterior
from scipy import integrate, optimize, special, stats

import bayesmix as bm
from bayesmix.arrays import as_data
from bayesmix.components import FAMILIES
from bayesmix.likelihood.formula import log_joint
from bayesmix.likelihood.likelihood import Likelihood

DATA = Path(__file__).parent / "data"
RNG = np.random.default_rng(20261123)
LINE = np.concatenate([RNG.normal(m, 1.3, n) for m, n in ((0, 120), (5, 40), (10, 80))])
SCALES = np.concatenate([RNG.normal(1, s, n) for s, n in ((1, 160), (6, 120))])
COUNTS = np.concatenate([RNG.negative_binomial(4, 0.6, 120), RNG.negative_binomial(4, 0.25, 90)]).astype(float)
SPANS = np.concatenate([RNG.gamma(3.0, 1.0, 120), RNG.gamma(3.0, 5.0, 120)])
TURNS = np.concatenate([RNG.vonmises(-1.5, 6.0, 100), RNG.vonmises(1.5, 6.0, 100)])
TRIALS = np.concatenate([RNG.binomial(20, 0.15, 90), RNG.binomial(20, 0.4, 90)]).astype(float)
PLANE = np.vstack(
    [RNG.multivariate_normal([1, 2], c, n) for c, n in (([[1, 0.5], [0.5, 1]], 150), ([[9, -5], [-5, 9]], 120))]
)
NEAR = np.array([[1.0, 0.4], [0.4, 1.2]])
MIXED = np.column_stack([SCALES[:210], COUNTS])


def matrix(y):
    """A covariance matrix from three numbers."""
    root = np.array([[np.exp(y[0]), 0.0], [y[1], np.exp(y[2])]])
    return root @ root.T


def normal_2d(mu, cov):
    return stats.multivariate_normal(mu, cov)


# A family, K, the data, the laws of the components by SciPy as a function of what is left to estimate, and where that starts
CASES = {
    "known means, one sigma": (
        bm.Normal(mu=bm.Fixed([0, 5, 10]), sigma=bm.Shared()), 3, LINE,
        lambda y: [stats.norm(m, np.exp(y[0])) for m in (0, 5, 10)], [0.3],
    ),
    "one sigma": (
        bm.Normal(sigma=bm.Shared()), 3, LINE, lambda y: [stats.norm(m, np.exp(y[3])) for m in y[:3]], [0, 5, 10, 0.3],
    ),
    "one mean": (
        bm.Normal(mu=bm.Shared()), 2, SCALES, lambda y: [stats.norm(y[0], np.exp(s)) for s in y[1:]], [1, 0, 2],
    ),
    "known means": (
        bm.Normal(mu=bm.Fixed(1)), 2, SCALES, lambda y: [stats.norm(1, np.exp(s)) for s in y], [0, 2],
    ),
    "known sigmas": (
        bm.Normal(sigma=bm.Fixed([1.5, 1.2])), 2, LINE[:160], lambda y: [stats.norm(y[0], 1.5), stats.norm(y[1], 1.2)], [0, 5],
    ),
    "known rates": (
        bm.Poisson(mu=bm.Fixed([2, 11])), 2, COUNTS, lambda y: [stats.poisson(2), stats.poisson(11)], [],
    ),
    "one rate": (bm.Exponential(lam=bm.Shared()), 2, SPANS, lambda y: [stats.expon(scale=np.exp(y[0]))] * 2, [2.0]),
    "known probabilities": (
        bm.Binomial(n=20, p=bm.Fixed([0.1, 0.4])), 2, TRIALS, lambda y: [stats.binom(20, 0.1), stats.binom(20, 0.4)], [],
    ),
    "known degrees of freedom": (
        bm.StudentT(nu=bm.Fixed(4)), 2, LINE[:160],
        lambda y: [stats.t(4, y[0], np.exp(y[2])), stats.t(4, y[1], np.exp(y[3]))], [0, 5, 0, 0],
    ),
    "one shape of a gamma": (
        bm.Gamma(alpha=bm.Shared()), 2, SPANS, lambda y: [stats.gamma(np.exp(y[0]), scale=np.exp(-b)) for b in y[1:]],
        [1, 0, -1.6],
    ),
    "one dispersion": (
        bm.NegativeBinomial(alpha=bm.Shared()), 2, COUNTS,
        lambda y: [stats.nbinom(np.exp(y[0]), np.exp(y[0]) / (np.exp(y[0]) + np.exp(m))) for m in y[1:]], [1, 0.9, 2.4],
    ),
    "one concentration on the circle": (
        bm.VonMises(kappa=bm.Shared()), 2, TURNS, lambda y: [stats.vonmises(np.exp(y[0]), m) for m in y[1:]], [1.5, -1.5, 1.5],
    ),
    "a kink at a known place": (
        bm.Laplace(mu=bm.Fixed(1)), 2, SCALES, lambda y: [stats.laplace(1, np.exp(b)) for b in y], [0, 2],
    ),
    "one mean in the plane": (
        bm.MvNormal(mu=bm.Shared()), 2, PLANE, lambda y: [normal_2d(y[:2], matrix(c)) for c in (y[2:5], y[5:])],
        [1, 2, 0, 0.5, 0, 1, -1.5, 1],
    ),
    "known means in the plane": (
        bm.MvNormal(mu=bm.Fixed([1, 2])), 2, PLANE, lambda y: [normal_2d([1, 2], matrix(c)) for c in (y[:3], y[3:])],
        [0, 0.5, 0, 1, -1.5, 1],
    ),
    "one mean, one matrix": (
        bm.MvNormal("diag", mu=bm.Shared()), 2, PLANE,
        lambda y: [normal_2d(y[:2], np.diag(np.exp(s))) for s in (y[2:4], y[4:])], [1, 2, 0, 0, 2, 2],
    ),
    "known matrices": (
        bm.MvNormal(cov=bm.Fixed([NEAR, 9 * NEAR])), 2, PLANE,
        lambda y: [normal_2d(y[:2], NEAR), normal_2d(y[2:], 9 * NEAR)], [1, 2, 1, 2],
    ),
}  # fmt: skip


def optimum(laws, x, k, start):
    """Largest log-likelihood, by SciPy alone, in log ratios of the weights and what is left of the parameters."""

    def minus(y):
        log_weights = special.log_softmax(np.append(y[: k - 1], 0.0))
        densities = [getattr(law, "logpdf", getattr(law, "logpmf", None))(x) for law in laws(y[k - 1 :])]
        return -special.logsumexp(np.array(densities).T + log_weights, axis=1).sum()

    found = optimize.minimize(minus, np.concatenate([np.zeros(k - 1), start]), method="BFGS")
    return -optimize.minimize(minus, found.x, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11}).fun


@pytest.mark.parametrize("name", CASES)
def test_em_ends_at_the_optimum_that_scipy_finds(name):
    component, k, x, laws, start = CASES[name]
    if name == "one rate":  # components are alike, so that their weights mean nothing
        fit = bm.em(bm.Mixture(component, n_components=k), x, guard=None, random_seed=1, progressbar=False)
        np.testing.assert_allclose(fit.estimates["lam"], 1 / x.mean(), rtol=1e-8)
        return
    fit = bm.em(bm.Mixture(component, n_components=k), x, guard=None, n_init=20, random_seed=1, progressbar=False)
    assert fit.converged, fit.message
    assert fit.n_parameters == k - 1 + len(start)
    best = optimum(laws, x, k, start)
    assert fit.log_likelihood == pytest.approx(best, rel=1e-8), fit.log_likelihood - best
    trace = fit.trace.values
    assert np.all(np.diff(trace) >= -1e-10 * abs(trace[-1]))


@pytest.mark.parametrize("name", CASES)
def test_gradient_and_information_are_derivatives_in_what_is_left(name):
    component, k, x, _, start = CASES[name]
    likelihood = Likelihood(bm.Mixture(component, n_components=k).component, as_data(x), k)
    params = {"weights": np.full(k, 1 / k)} | likelihood.component.initial_params(likelihood.data, k)
    vector = likelihood.to_vector(params)
    vector = vector + 0.2 * likelihood.coordinate_scale(vector) * np.cos(np.arange(len(vector)))
    assert len(vector) == k - 1 + len(start)
    gradient, steps = likelihood.value_and_gradient(vector)[1], 1e-5 * likelihood.coordinate_scale(vector)
    shifts = np.diag(steps)
    differences = [
        (likelihood.value_and_gradient(vector + s)[0] - likelihood.value_and_gradient(vector - s)[0]) / (2 * h)
        for s, h in zip(shifts, steps, strict=True)
    ]
    # rounding of the values, 1e-13 of some 1000 nats, over steps of 2e-5
    np.testing.assert_allclose(gradient, differences, rtol=1e-5, atol=1e-4)
    information, by_differences = likelihood.information(vector), likelihood._differenced(vector, None)
    np.testing.assert_allclose(information, by_differences, rtol=1e-5, atol=1e-6 * np.abs(information).max())


@pytest.mark.parametrize("k", [1, 2])
def test_one_sigma_is_mclusts_model_e(k):
    theirs = {1: (-2201.789205, [70.89705882]), 2: (-2090.427277, [54.61674981, 80.09239334])}[k]
    fit = bm.em(
        bm.Mixture(bm.Normal(sigma=bm.Shared()), n_components=k),
        bm.datasets.load("faithful")["waiting"],
        guard=None, random_seed=1, progressbar=False,
    )  # fmt: skip
    assert -1e-5 <= -fit.bic - theirs[0] <= 0.02  # mclust stops at a relative change of 1e-5
    np.testing.assert_allclose(fit.estimates["mu"], theirs[1], rtol=1e-3)
    assert fit.tree["point"]["sigma"].dims == ()
    if k == 2:
        assert float(fit.tree["point"]["sigma"]) ** 2 == pytest.approx(34.44092757, rel=5e-3)


def test_one_sigma_has_mclusts_bic_on_acidity():
    table = json.loads((DATA / "mclust_bic.json").read_text())["cases"]["acidity"]["bic"]["E"]
    x = np.loadtxt(DATA / "acidity.csv", delimiter=",", skiprows=1, ndmin=2)[:, -1]
    for k in (1, 2, 3):
        mixture = bm.Mixture(bm.Normal(sigma=bm.Shared()), n_components=k)
        fit = bm.em(mixture, x, guard=None, random_seed=1, progressbar=False)
        assert -fit.bic >= table[str(k)] - 1e-3, k  # theirs is a local optimum, from one start


@pytest.mark.parametrize(
    ("component", "parameter"), [(bm.Normal(mu=bm.Shared()), "mu"), (bm.StudentT(nu=bm.Shared()), "nu")]
)
def test_weights_are_repeated_rows(component, parameter):
    mixture, counts = bm.Mixture(component, n_components=2), np.arange(len(SCALES)) % 3
    run = {"n_init": 5, "random_seed": 1, "progressbar": False}
    once = bm.em(mixture, np.repeat(SCALES, counts), **run)
    weighted = bm.em(mixture, SCALES, weights=counts, **run)
    assert weighted.log_likelihood == pytest.approx(once.log_likelihood, rel=1e-9)
    np.testing.assert_allclose(weighted.estimates[parameter], once.estimates[parameter], rtol=1e-4)


def test_missing_cells_leave_the_optimum_where_the_gradient_vanishes():
    x = PLANE.copy()
    x[::5, 0], x[1::7, 1] = np.nan, np.nan
    mixture = bm.Mixture(bm.MvNormal(mu=bm.Shared()), n_components=2)
    fit = bm.em(mixture, x, guard=None, n_init=10, random_seed=1, progressbar=False)
    likelihood = Likelihood(mixture.component, as_data(x, missing=True), 2)
    vector = likelihood.to_vector(fit.estimates)
    gradient = likelihood.value_and_gradient(vector)[1] * likelihood.coordinate_scale(vector)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-4)  # nats per standard deviation, of 1000 nats
    assert fit.n_parameters == 1 + 2 + 6


@pytest.mark.parametrize("covariance", ["spherical", "tied", "VEV", "EVE"])
def test_one_mean_for_every_structure_of_covariances(covariance):
    mixture = bm.Mixture(bm.MvNormal(covariance, mu=bm.Shared()), n_components=2)
    free = bm.Mixture(bm.MvNormal(covariance), n_components=2)
    fit = bm.em(mixture, PLANE, guard=None, n_init=10, random_seed=1, progressbar=False)
    likelihood = Likelihood(mixture.component, as_data(PLANE), 2)
    vector = likelihood.to_vector(fit.estimates)
    gradient = likelihood.value_and_gradient(vector)[1] * likelihood.coordinate_scale(vector)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-3)
    assert fit.n_parameters == 1 + free.component.n_free(2, 2) - 2


def test_parts_of_a_product_have_constraints_of_their_own():
    parts = {"a": bm.Normal(mu=bm.Shared()), "b": bm.Poisson(mu=bm.Fixed([2, 9]))}
    mixture = bm.Mixture(bm.Product(**parts), n_components=2)
    fit = bm.em(mixture, MIXED, guard=None, n_init=10, random_seed=1, progressbar=False)

    def laws(y):
        return [
            type(
                "Law",
                (),
                {
                    "logpdf": staticmethod(
                        lambda x, s=s, m=m: (
                            stats.norm(y[0], np.exp(s)).logpdf(x[:, 0]) + stats.poisson(m).logpmf(x[:, 1])
                        )
                    )
                },
            )
            for s, m in ((y[1], 2), (y[2], 9))
        ]

    assert fit.log_likelihood == pytest.approx(optimum(laws, MIXED, 2, [1, 0, 2]), rel=1e-8)
    assert fit.n_parameters == 1 + 3
    assert fit.tree["point"]["a_mu"].dims == ()
    np.testing.assert_array_equal(fit.estimates["b_mu"], [2, 9])


def test_probabilities_of_categories_can_be_known_or_shared():
    x = np.column_stack([RNG.integers(0, 3, 200), RNG.integers(0, 3, 200), TRIALS.repeat(2)[:200] > 5]).astype(float)
    product = bm.Product(
        a=bm.Categorical(3, p=bm.Shared()), b=bm.Categorical(3, p=bm.Fixed([0.2, 0.3, 0.5])), c=bm.Bernoulli()
    )
    fit = bm.em(
        bm.Mixture(product, n_components=2), x, init=(x[:, 2] > 0).astype(int), random_seed=1, progressbar=False
    )
    shares = np.bincount(x[:, 0].astype(int)) / len(x)  # what is the same for all components is estimated by all rows
    np.testing.assert_allclose(fit.estimates["a_p"], [shares, shares], atol=1e-10)
    np.testing.assert_array_equal(fit.estimates["b_p"], [[0.2, 0.3, 0.5]] * 2)
    assert fit.n_parameters == 1 + 2 + 2


@pytest.mark.slow
def test_every_family_of_single_numbers_takes_them():
    """One row of each family's own table: fixing all but the first parameter leaves one per component."""
    from oracles import ROWS

    names = {type(row.component).__name__: row for row in ROWS}
    tried = 0
    for name, row in names.items():
        parameters = row.component.parameters
        if row.component.multivariate or name not in FAMILIES or not hasattr(type(row.component), "start"):
            continue
        rest = [p.name for p in parameters[1:] if hasattr(row.component, p.name) and p.known is None]
        known = {n: bm.Fixed(row.params[n]) for n in rest}
        settings = {n: v for n, v in row.component._settings().items() if n not in known}
        k, x = row.n_components, row.data(60)
        component = bm.Mixture(type(row.component)(**settings, **known), n_components=k).component
        likelihood = Likelihood(component, as_data(x), k)
        vector = likelihood.to_vector(row.params)
        free = [p for p in parameters if p.name not in known and p.known is None]
        assert len(vector) == k - 1 + k * len(free), name
        back = likelihood.from_vector(vector)
        for n in rest:
            np.testing.assert_array_equal(back[n], row.params[n], err_msg=name)
        assert likelihood.log_likelihood(back) == pytest.approx(
            Likelihood(row.component, as_data(x), k).log_likelihood(row.params), rel=1e-12
        ), name
        tried += 1
    assert tried >= 25


# -- posteriors ----------------------------------------------------------------------------------------------------------
def test_evidence_with_known_components_is_an_integral_over_the_weight():
    mixture = bm.Mixture(bm.Normal(mu=bm.Fixed([0, 5]), sigma=bm.Fixed(1.3)), n_components=2)
    x = LINE[80:160]
    density = stats.norm([0, 5], 1.3).pdf(x[:, None])

    def likelihood(w, power=0):
        return w**power * np.exp(np.log(density @ [w, 1 - w]).sum() - level)

    level = np.log(density.mean(axis=1)).sum()
    whole, first = (integrate.quad(likelihood, 0, 1, args=(i,), epsabs=0, epsrel=1e-10)[0] for i in (0, 1))
    fit = bm.laplace(mixture, x, random_seed=1, progressbar=False)
    error = fit.tree.attrs["log_evidence_error"]
    assert fit.tree.attrs["log_evidence"] == pytest.approx(level + np.log(whole), abs=4.5 * error + 1e-6)
    posterior = fit.tree["posterior"]["weights"].values[..., 0]
    assert posterior.mean() == pytest.approx(first / whole, abs=4.5 * posterior.std() / np.sqrt(500))


@pytest.fixture(scope="module")
def sampled():
    mixture = bm.Mixture(bm.Normal(mu=bm.Fixed([0, 5, 10]), sigma=bm.Shared(pz.HalfNormal(3))), n_components=3)
    return bm.nuts(mixture, LINE, draws=500, tune=300, chains=2, random_seed=1, progressbar=False)


def test_what_is_shared_is_one_variable_without_the_dim_of_components(sampled):
    posterior = sampled.tree["posterior"]
    assert posterior["sigma"].dims == ("chain", "draw")
    assert posterior["mu"].dims == ("chain", "draw", "cluster")
    np.testing.assert_array_equal(posterior["mu"], np.broadcast_to([0.0, 5.0, 10.0], posterior["mu"].shape))
    assert sampled.estimates["sigma"].shape == (3,)
    table = sampled.summary()
    assert list(table.index) == ["weights[0]", "weights[1]", "weights[2]", "sigma"]
    assert table["r_hat"].notna().all()
    prior = sampled.tree["log_prior"]["sigma"].values
    np.testing.assert_allclose(prior, stats.halfnorm(scale=3).logpdf(posterior["sigma"].values), rtol=1e-10)


@pytest.mark.parametrize("algorithm", ["ecr", "stephens", "pivot", "data", "ordering"])
def test_only_components_with_the_same_known_values_change_places(algorithm):
    mixture = bm.Mixture(bm.Normal(mu=bm.Fixed([0, 7, 0])), n_components=3)
    np.testing.assert_array_equal(mixture.component.exchangeable(3), [0, 1, 0])
    x = np.concatenate([SCALES - 1, RNG.normal(7, 0.5, 60)])
    em = bm.em(mixture, x, n_init=10, random_seed=1, progressbar=False)
    swapped = np.random.default_rng(0).random((4, 60)) < 0.5
    made = posterior(mixture, x, em, "nuts")
    order = np.where(swapped[..., None], [2, 1, 0], [0, 1, 2])
    draws = {name: np.take_along_axis(value, order, axis=2) for name, value in made._values("posterior").items()}
    switched = bm.Fit.assemble(mixture, made.data, draws=draws, attrs={"engine": "nuts", "converged": 1, "message": ""})
    found = bm.relabel(switched, algorithm, by="sigma" if algorithm == "ordering" else None)
    permutation = found.tree["labels"]["permutation"].values
    assert np.all(permutation[..., 1] == 1)
    assert np.all((permutation[..., 0] == 2) == swapped) or np.all((permutation[..., 0] == 0) == swapped)


def test_a_fit_survives_saving(sampled, tmp_path):
    sampled.save(tmp_path / "fit.nc")
    back = bm.load(tmp_path / "fit.nc")
    assert back.mixture == sampled.mixture
    assert str(back.mixture.component) == "Normal(mu=Fixed([0, 5, 10]), sigma=Shared(HalfNormal(sigma=3)))"
    xr.testing.assert_equal(back.logpdf([0.0, 8.0]), sampled.logpdf([0.0, 8.0]))


def test_an_ordinary_model_has_one_variable_for_what_is_shared():
    mixture = bm.Mixture(bm.MvNormal(mu=bm.Shared(), cov=bm.Fixed(NEAR)), n_components=2)
    model = mixture.to_pymc(PLANE)
    dims = {rv.name: model.named_vars_to_dims[rv.name] for rv in model.free_RVs}
    assert dims == {"weights": ("cluster",), "mu": ("feature",)}
    point = {"weights": np.array([0.4, 0.6]), "mu": np.array([1.0, 2.0])}
    params = {"mu": np.tile(point["mu"], (2, 1)), "cov": np.tile(NEAR, (2, 1, 1))}
    observed = np.logaddexp.reduce(log_joint(mixture.component, PLANE, np.log(point["weights"]), params), axis=1).sum()
    graph = model.replace_rvs_by_values([model.logp(vars=[model["x"]])])[0]
    free = {model.rvs_to_values[rv]: rv.name for rv in model.free_RVs}
    transforms = [(value, model.rvs_to_transforms[model.values_to_rvs[value]]) for value in free]
    given = {v: point[free[v]] if t is None else t.forward(point[free[v]]).eval() for v, t in transforms}
    assert float(graph.eval(given, mode="FAST_COMPILE")) == pytest.approx(observed, rel=1e-10)


# -- words ---------------------------------------------------------------------------------------------------------------
def test_a_mixture_prints_its_constraints_and_survives_json():
    component = bm.Product(a=bm.Normal(mu=bm.Fixed([0, 1])), b=(bm.MvNormal(mu=bm.Shared(pz.Normal(0, 5))), ["c", "d"]))
    mixture = bm.Mixture(component, n_components=2)
    assert "a=Normal(mu=Fixed([0, 1])), b=(MvNormal(mu=Shared(Normal(mu=0, sigma=5))), ['c', 'd'])" in str(mixture)
    assert bm.Mixture.from_dict(json.loads(json.dumps(mixture.to_dict()))) == mixture


def test_priors_say_what_is_known_and_what_is_shared():
    priors = bm.Mixture(bm.Normal(mu=bm.Fixed(0), sigma=bm.Shared(pz.HalfNormal(2))), n_components=2).priors(LINE)
    assert str(priors["mu"]) == "Fixed(0)"
    assert str(priors["sigma"]) == "Shared(HalfNormal(sigma=2))"


@pytest.mark.parametrize(
    ("component", "words"),
    [
        (lambda: bm.Normal(mu=bm.Fixed([0, 1, 2])), r"mu is fixed at values of shape \(3,\), but 2 components need shape \(2,\)"),
        (lambda: bm.Normal(sigma=bm.Fixed(-1)), r"sigma must lie between 0 and inf, but it is fixed at -1"),
        (lambda: bm.Normal(mu=bm.Fixed("a")), r"known needs numbers"),
        (lambda: bm.Normal(mu=bm.Fixed(np.nan)), r"finite numbers"),
        (lambda: bm.Normal(sigma=bm.Shared(pz.Normal(0, 1))), r"sigma takes positive numbers"),
        (lambda: bm.MvNormal(sigma=bm.Shared()), r"sigma is no parameter of MvNormal: these are mu, cov"),
        (lambda: bm.MvNormal("diag", cov=bm.Fixed([[1, 0.5], [0.5, 1]])), r"do not have the structure"),
        (lambda: bm.MvNormal(cov=bm.Shared()), r"covariance=\"tied\""),
        (lambda: bm.Laplace(mu=bm.Shared()), r"has a kink at mu"),
        (lambda: bm.MvStudentT(nu=bm.Shared()), r"cannot hold parameters fixed or share them"),
        (lambda: bm.Categorical(p=bm.Fixed([0.2, 1.2])), r"p must lie between 0 and 1"),
        (lambda: bm.Categorical(p=bm.Fixed([0.2, 0.2])), r"probabilities sum to 1, and these to 0.4"),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(component, words):
    with pytest.raises((TypeError, ValueError), match=words):
        bm.Mixture(component(), n_components=2)


def test_parameters_of_a_fit_must_obey():
    mixture = bm.Mixture(bm.Normal(mu=bm.Fixed([0, 5]), sigma=bm.Shared()), n_components=2)
    fit = bm.Fit.from_parameters(mixture, weights=[0.5, 0.5], mu=[0, 5], sigma=1.5)
    np.testing.assert_array_equal(fit.estimates["sigma"], [1.5, 1.5])
    with pytest.raises(ValueError, match="mu is fixed at"):
        bm.Fit.from_parameters(mixture, weights=[0.5, 0.5], mu=[1, 5], sigma=1.5)
    with pytest.raises(ValueError, match="sigma is one for all components"):
        bm.Fit.from_parameters(mixture, weights=[0.5, 0.5], mu=[0, 5], sigma=[1, 2])


def test_engines_that_know_of_no_constraints_say_so():
    with pytest.raises(ValueError, match="use bm.nuts"):
        bm.gibbs(bm.Mixture(bm.Normal(sigma=bm.Shared()), n_components=2), LINE, random_seed=1, progressbar=False)
