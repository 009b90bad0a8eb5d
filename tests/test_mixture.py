"""A mixture is a value: it cannot change, prints as it is written, says what is wrong, and becomes a PyMC model."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesmix as bm
from bayesmix.model import start_values
from bayesmix.priors import Prior

HALF_NORMAL = Prior.of("HalfNormal", (0.0, np.inf), sigma=2.0)
MIXTURES = [
    bm.Mixture(bm.Normal(), 2),
    bm.Mixture(bm.Normal(mu=Prior.of("Normal", mu=0.0, sigma=10.0), sigma=HALF_NORMAL), 3, weights=bm.Dirichlet(2.5)),
    bm.Mixture(bm.Normal(sigma=bm.ScaledInverseChiSquared(3, 2.0)), 1),
    bm.Mixture(bm.MvNormal(), 2, weights=bm.Dirichlet([1, 2])),
    bm.Mixture(bm.MvNormal(cov=bm.InverseWishart(5, [[2.0, 0.5], [0.5, 1.0]])), 2),
    bm.Mixture(bm.MvNormal(covariance="tied", sigma=HALF_NORMAL, corr=bm.LKJ(4)), 2),
    bm.Mixture(bm.MvNormal(covariance="diag", sigma=bm.ScaledInverseChiSquared(4, [1.0, 2.0])), 2),
    bm.Mixture(bm.MvNormal(covariance="spherical", mu=Prior.of("Normal", mu=[0.0, 5.0], sigma=1.0)), 4),
    bm.Mixture(bm.Poisson(mu=Prior.of("Gamma", (0.0, np.inf), alpha=2.0, beta=1.0)), 2),
]


# -- a value -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mixture", MIXTURES, ids=str)
def test_a_mixture_cannot_be_changed(mixture):
    for owner, name in ((mixture, "n_components"), (mixture, "weights"), (mixture.component, "mu")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(owner, name, None)


@pytest.mark.parametrize("mixture", MIXTURES, ids=str)
def test_equal_specifications_are_equal(mixture):
    twin = dataclasses.replace(mixture, component=dataclasses.replace(mixture.component))
    assert twin == mixture and hash(twin) == hash(mixture)
    assert dataclasses.replace(mixture, n_components=mixture.n_components, weights=bm.Dirichlet(7.0)) != mixture


@pytest.mark.parametrize("mixture", MIXTURES, ids=str)
def test_a_mixture_goes_through_json_unchanged(mixture):
    assert bm.Mixture.from_dict(json.loads(json.dumps(mixture.to_dict()))) == mixture


def test_it_prints_as_it_is_written():
    assert str(MIXTURES[0]) == "Mixture of 2 Normal() components, weights ~ Dirichlet(1)"
    assert repr(MIXTURES[0]) == str(MIXTURES[0])
    assert str(MIXTURES[1]) == (
        "Mixture of 3 Normal(mu=Normal(mu=0, sigma=10), sigma=HalfNormal(sigma=2)) components, weights ~ Dirichlet(2.5)"
    )
    assert "of 1 Normal(" in str(MIXTURES[2]) and "component," in str(MIXTURES[2])
    assert "Dirichlet([1, 2])" in str(MIXTURES[3])
    assert "covariance='tied'" in str(MIXTURES[5]) and "LKJ(eta=4)" in str(MIXTURES[5])


def test_numpy_integers_count_components():
    assert bm.Mixture(bm.Normal(), np.int64(3)) == bm.Mixture(bm.Normal(), 3)


# -- what is wrong -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ({"n_components": 0}, ValueError, "n_components=0 .* at least 1"),
        ({"n_components": -1}, ValueError, "n_components=-1 .* at least 1"),
        ({"n_components": 2.5}, TypeError, "n_components=2.5 .* whole number"),
        ({"n_components": 2.0}, TypeError, "n_components=2.0 .* whole number"),
        ({"n_components": True}, TypeError, "n_components=True .* whole number"),
        ({"n_components": "2"}, TypeError, "n_components='2' .* whole number"),
        ({"n_components": [1, 2]}, TypeError, r"n_components=\[1, 2\] .* use bm.sweep"),
        ({"component": bm.Normal}, TypeError, r"the class Normal; call it .* bm.Normal\(\)"),
        ({"component": "normal"}, TypeError, "family of components such as .* 'normal' of type str"),
        ({"component": None}, TypeError, "family of components"),
        ({"weights": bm.Dirichlet([1, 2, 3])}, ValueError, "3 concentrations but the mixture has 2 components"),
        ({"weights": 1.0}, TypeError, "weights must be a prior such as bm.Dirichlet"),
        ({"weights": [0.5, 0.5]}, TypeError, "weights must be a prior"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_wrong_argument_is_named(arguments, error, words):
    with pytest.raises(error, match=words):
        bm.Mixture(**({"component": bm.Normal(), "n_components": 2} | arguments))


@pytest.mark.parametrize("alpha", [-1.0, 0.0, np.nan, np.inf, [1.0, -1.0], [], [[1.0]]], ids=str)
def test_concentrations_must_be_positive(alpha):
    with pytest.raises(ValueError, match="positive finite numbers"):
        bm.Dirichlet(alpha)


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        (
            {"covariance": "VIV"},
            ValueError,
            "covariance='VIV' is not known; use one of full, diag, tied, spherical, EII",
        ),
        ({"covariance": ["full", "ful"]}, ValueError, "covariance='ful' is not known"),
        ({"covariance": ["full", "vvv"]}, ValueError, "names 'full' more than once"),
        ({"cov": HALF_NORMAL}, TypeError, r"bm.InverseWishart\(nu, psi\)"),
        ({"corr": 2.0, "sigma": HALF_NORMAL}, TypeError, r"bm.LKJ\(eta\)"),
        ({"corr": bm.LKJ(2)}, ValueError, "corr needs a prior of the standard deviations"),
        ({"cov": bm.InverseWishart(4, np.eye(2)), "sigma": HALF_NORMAL}, ValueError, "not both"),
        ({"covariance": "diag", "corr": bm.LKJ(2)}, ValueError, '"diag" has no correlations'),
        (
            {"covariance": "spherical", "cov": bm.InverseWishart(4, np.eye(2))},
            ValueError,
            '"spherical" has no correlations',
        ),
        ({"sigma": bm.ScaledInverseChiSquared(3, 1.0)}, ValueError, "needs a PreliZ distribution"),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else "",
)
def test_priors_that_do_not_go_together_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        bm.MvNormal(**arguments)


# -- the PyMC model ----------------------------------------------------------------------------------------------------
FRAME = pd.DataFrame(
    np.random.default_rng(1).normal([[0, 5]], [[1, 2]], size=(30, 2)),
    columns=["height", "weight"],
    index=[f"row {i}" for i in range(30)],
)


@pytest.fixture(scope="module")
def multivariate():
    return bm.Mixture(bm.MvNormal(), n_components=3).to_pymc(FRAME)


def test_the_model_names_its_dims_and_coords(multivariate):
    model = multivariate
    assert list(model.coords["cluster"]) == [0, 1, 2]
    assert list(model.coords["feature"]) == ["height", "weight"]
    assert list(model.coords["obs"]) == list(FRAME.index)
    dims = model.named_vars_to_dims
    assert tuple(dims["weights"]) == ("cluster",)
    assert tuple(dims["mu"]) == ("cluster", "feature")
    assert tuple(dims["cov"]) == ("cluster", "feature", "feature_2")
    assert tuple(dims["x"]) == ("obs", "feature")


@pytest.mark.parametrize("weighted", [False, True], ids=["", "row weights"])
@pytest.mark.parametrize("family", ["Normal", "MvNormal", "Poisson"])
def test_the_model_does_what_a_pymc_model_does(family, weighted):
    """Prior, pointwise log-likelihood and posterior predictive, by PyMC's own functions."""
    import pymc as pm

    rng = np.random.default_rng(2)
    x = {"Normal": rng.normal(size=20), "MvNormal": rng.normal(size=(20, 2)), "Poisson": rng.poisson(3.0, size=20)}[
        family
    ]
    weights = rng.uniform(0.5, 2, size=20) if weighted else None
    mixture = bm.Mixture(getattr(bm, family)(), n_components=2)
    model, python = mixture.to_pymc(x, weights=weights), {"mode": "FAST_COMPILE"}
    tree = pm.sample_prior_predictive(draws=6, model=model, random_seed=1, compile_kwargs=python)
    assert tree["prior_predictive"]["x"].shape == (1, 6, *x.shape)
    assert len(np.unique(tree["prior_predictive"]["x"])) > 6
    tree["posterior"] = tree["prior"]
    pm.compute_log_likelihood(tree, model=model, progressbar=False, compile_kwargs=python)
    pointwise = tree["log_likelihood"]["x"]
    assert pointwise.dims == ("chain", "draw", "obs")
    for draw in range(6):
        at = {name: tree["prior"][name].values[0, draw] for name in ("weights", "mu")}
        if family == "Normal":
            density = stats.norm(at["mu"], tree["prior"]["sigma"].values[0, draw]).pdf(x[:, None])
        elif family == "Poisson":
            density = stats.poisson(at["mu"]).pmf(x[:, None])
        else:
            cov = tree["prior"]["cov"].values[0, draw]
            density = np.stack(
                [stats.multivariate_normal(m, c).pdf(x) for m, c in zip(at["mu"], cov, strict=True)], axis=1
            )
        expected = np.log(density @ at["weights"]) * (1.0 if weights is None else weights)
        np.testing.assert_allclose(pointwise.values[0, draw], expected, rtol=1e-8, err_msg=f"draw {draw}")
    predictive = pm.sample_posterior_predictive(
        tree, model=model, random_seed=1, progressbar=False, compile_kwargs=python
    )["posterior_predictive"]["x"]
    assert predictive.shape == (1, 6, *x.shape)
    assert np.all(np.isfinite(predictive))


FAR = {  # mixtures, with parameters far from where the priors of the data below are
    "Normal": (bm.Normal(), {"mu": [0.0, 100.0], "sigma": [1.0, 3.0]}),
    "Normal, given prior": (bm.Normal(sigma=HALF_NORMAL), {"mu": [0.0, 100.0], "sigma": [1.0, 3.0]}),
    "Poisson": (bm.Poisson(), {"mu": [50.0, 900.0]}),
    **{
        f"{covariance}, {name}": (bm.MvNormal(covariance=covariance, **given), None)
        for covariance in ("full", "tied", "diag", "spherical")
        for name, given in (("default prior", {}), ("given prior", {"sigma": HALF_NORMAL}))
    },
}


def far_parameters(case):
    component, params = FAR[case]
    if params is None:
        cov = {
            "full": [[[1e-2, 6e-3], [6e-3, 1e-2]], [[9e4, -3e4], [-3e4, 4e4]]],
            "tied": [[[9e4, -3e4], [-3e4, 4e4]]] * 2,
            "diag": [[[1e-2, 0.0], [0.0, 4e4]], [[9e4, 0.0], [0.0, 1e-2]]],
            "spherical": [[[1e-2, 0.0], [0.0, 1e-2]], [[4e4, 0.0], [0.0, 4e4]]],
        }[component.covariance]
        params = {"mu": [[-50.0, 0.0], [5000.0, 9000.0]], "cov": cov}
    return {"weights": np.array([0.2, 0.8])} | {name: np.asarray(value) for name, value in params.items()}


@pytest.mark.parametrize("case", FAR)
def test_posterior_predictive_uses_the_draws_of_a_fit(case):
    """Draws that are all the same, far from the prior: the replicated rows have their moments, in each component."""
    import pymc as pm

    component, params = FAR[case][0], far_parameters(case)
    x = np.random.default_rng(3).uniform(1.0, 9.0, size=(25, 2 if component.multivariate else 1)).round()
    mixture = bm.Mixture(component, 2)
    draws = {name: np.broadcast_to(value, (1, 400, *value.shape)) for name, value in params.items()}
    known = {"engine": "nuts", "converged": 1, "message": "", "seconds": 1.0}
    fit = bm.Fit.assemble(mixture, mixture.check(x), draws=draws, attrs=known, rng=np.random.default_rng(1))
    drawn = pm.sample_posterior_predictive(
        fit.tree, model=mixture.to_pymc(x), random_seed=1, progressbar=False, compile_kwargs={"mode": "FAST_COMPILE"}
    )["posterior_predictive"]["x"].values.reshape(-1, x.shape[1])
    n = len(drawn)
    assert n == 10_000
    means = params["mu"].reshape(2, -1)
    first = drawn[:, 0] < means[:, 0].mean()  # the components are 15 standard deviations apart
    assert abs(first.mean() - 0.2) < 4.5 * np.sqrt(0.16 / n)
    for k, part in enumerate((drawn[first], drawn[~first])):
        variance = params["sigma"] ** 2 if "sigma" in params else params["mu"]  # of one column
        cov = params.get("cov", variance)[k].reshape(x.shape[1], -1)
        sd = np.sqrt(np.diag(cov))
        assert np.all(np.abs(part.mean(axis=0) - means[k]) < 4.5 * sd / np.sqrt(len(part))), f"mean of component {k}"
        error = 4.5 * np.sqrt(2.0 / len(part)) * np.outer(sd, sd)  # of an entry of a covariance matrix, at most
        assert np.all(np.abs(np.cov(part.T) - cov) < error), f"covariance of component {k}: {np.cov(part.T)}"


@pytest.mark.parametrize("family", ["Normal", "MvNormal"])
def test_pymc_samples_the_model(family):
    """By `pm.sample` with nutpie; clusters so far apart that each has the conjugate posterior of its own rows.

    A scatter S of n rows about their mean leaves the covariance inverse Wishart with nu + n - 1 degrees of freedom and
    scale psi + S; the prior of the means is as good as flat.
    """
    import pymc as pm

    d = 2 if family == "MvNormal" else 1
    rng = np.random.default_rng(5)
    sizes = np.array([40, 80])
    parts = [rng.standard_normal((n, d)) @ (np.eye(d) + np.tri(d, k=-1)).T + 50.0 * i for i, n in enumerate(sizes)]
    x = np.concatenate(parts)
    mixture = bm.Mixture(getattr(bm, family)(), 2)
    prior = mixture.priors(x)["cov" if d == 2 else "sigma"]
    nu, psi = prior.nu, np.asarray(prior.psi) if d == 2 else np.array([[prior.nu * prior.scale**2]])
    shape = (2, *psi.shape) if d == 2 else (2,)
    scatter = np.array([n * np.cov(part.T, bias=True).reshape(d, d) for n, part in zip(sizes, parts, strict=True)])
    expected = {
        "weights": (sizes + 1.0) / (sizes.sum() + 2.0),
        "mu": np.array([part.mean(axis=0) for part in parts]).reshape(shape[:2] if d == 2 else (2,)),
        "cov": ((psi + scatter) / (nu + sizes - d - 2.0)[:, None, None]).reshape(shape),
    }
    start = expected if d == 2 else expected | {"sigma": np.sqrt(expected["cov"])}
    model = mixture.to_pymc(x)
    tree = pm.sample(
        draws=300, tune=300, chains=2, cores=1, random_seed=1, quiet=True, nuts_sampler="nutpie", model=model,
        initvals=start_values(mixture, mixture.check(x), start),
    )  # fmt: skip
    posterior = tree["posterior"].dataset
    assert set(posterior.data_vars) == {"weights", "mu", "cov" if d == 2 else "sigma"}
    for name in posterior.data_vars:
        assert posterior[name].dims[2:] == tuple(model.named_vars_to_dims[name])
    assert not tree["sample_stats"]["diverging"].any()
    if d == 1:
        posterior = posterior.assign(cov=posterior["sigma"] ** 2)
    for name, value in expected.items():
        mean, sd = (getattr(posterior[name], statistic)(("chain", "draw")).values for statistic in ("mean", "std"))
        # 4.5 standard errors of 200 effective draws of 600
        assert np.all(np.abs(mean - value) < 4.5 * sd / np.sqrt(200)), f"{name}: {mean}, not {value}; sd {sd}"


def test_one_component_has_a_fixed_weight():
    model = bm.Mixture(bm.Normal(), 1).to_pymc(np.arange(10.0))
    assert "weights" not in {rv.name for rv in model.free_RVs}
    assert model["weights"].eval() == [1.0]
