"""ArviZ reads the tree of every fit as it is."""

import arviz as az
import matplotlib
import matplotlib.pyplot
import numpy as np
import preliz as pz
import pymc as pm
import pytensor
import pytest
from fits import posterior

import bayesmix as bm
from bayesmix.log_prior import log_prior

matplotlib.use("Agg")

FAITHFUL = bm.datasets.load("faithful")


@pytest.fixture(scope="module", params=["em", "nuts", "advi"])
def fit(request):
    mixture = bm.Mixture(bm.MvNormal(), 2)
    options = {"draws": 250, "random_seed": 1, "progressbar": False}
    if request.param == "em":
        return bm.em(mixture, FAITHFUL, uncertainty="laplace", **options)
    return getattr(bm, request.param)(mixture, FAITHFUL, **options)


@pytest.fixture(scope="module")
def one():
    """NUTS on one component, which predicts the same rows worse."""
    return bm.nuts(bm.Mixture(bm.MvNormal(), 1), FAITHFUL, draws=250, random_seed=1, progressbar=False)


def only_posteriors(fit):
    if fit.engine == "em":
        pytest.skip("draws of a sampling distribution have no prior")


def test_numbers(fit):
    table = az.summary(fit.tree)
    assert table.loc["mu[1, waiting]", "mean"] == pytest.approx(80.0, abs=0.5)
    assert np.isfinite(az.ess(fit.tree)["mu"].values).all()
    assert az.loo(fit.tree).elpd == pytest.approx(-1141.5, abs=3.0)
    assert az.hdi(fit.tree, prob=0.9)["mu"].shape == (2, 2, 2)
    rhat = az.rhat(fit.tree)["mu"].values
    assert np.isnan(rhat).all() if fit.engine != "nuts" else (rhat < 1.05).all()


def test_two_components_beat_one(fit, one):
    table = az.compare({"one": az.loo(one.tree), "two": fit.loo()}, round_to="none")
    assert list(table.index) == ["two", "one"]
    assert table.loc["one", "elpd_diff"] < -10 * table.loc["one", "dse"] / 3
    assert az.plot_khat(fit.loo(), backend="matplotlib") is not None
    matplotlib.pyplot.close("all")


def test_a_default_prior_says_little_beside_272_rows(fit):
    """Power scaling (Kallioinen et al. 2024): sensitive to the likelihood, hardly to the prior."""
    only_posteriors(fit)
    table = az.psense_summary(fit.tree, var_names=["mu"], round_to=4)
    assert (table["prior"].astype(float) < 0.05).all(), table
    assert (table["likelihood"].astype(float) > 0.05).all(), table


def test_a_prior_that_pulls_is_found_out():
    rows = np.random.default_rng(0).normal(size=30)
    mixture = bm.Mixture(bm.Normal(mu=pz.Normal(2, 0.2)), 1)
    fit = bm.nuts(mixture, rows, draws=250, random_seed=1, progressbar=False)
    table = az.psense_summary(fit.tree, var_names=["mu"], round_to=4)
    assert float(table["prior"].iloc[0]) > 0.05


PRIORS = {
    "normal": bm.Mixture(bm.Normal(mu=pz.StudentT(4, 70, 10)), 2),
    "poisson": bm.Mixture(bm.Poisson(), 2, bm.Dirichlet([1.0, 3.0])),
    "full": bm.Mixture(bm.MvNormal(), 2),
    "tied": bm.Mixture(bm.MvNormal(covariance="tied"), 2),
    "diag": bm.Mixture(bm.MvNormal(covariance="diag"), 2),
    "spherical": bm.Mixture(bm.MvNormal(covariance="spherical"), 2),
}


@pytest.mark.parametrize("case", PRIORS)
def test_the_log_prior_is_that_of_pymc(case):
    mixture = PRIORS[case]
    data = FAITHFUL if mixture.component.multivariate else FAITHFUL["waiting"]
    em = bm.em(mixture, data, n_init=2, random_seed=1, progressbar=False)
    fit = posterior(mixture, data, em, "nuts", chains=2, draws=3)
    with pytensor.config.change_flags(mode="FAST_COMPILE", cxx=""):
        theirs = pm.stats.compute_log_prior(fit.tree.copy(), model=mixture.to_pymc(data), progressbar=False)[
            "log_prior"
        ]
    own = fit.tree["log_prior"]
    for name in own.data_vars:
        in_pymc = "cov" if name == "sigma" and "cov" in theirs.data_vars else name
        expected = theirs[in_pymc].values
        expected = expected.reshape(2, 3, -1)
        if case == "tied" and name == "cov":
            expected = expected[..., :1]
        expected = expected.sum(axis=2)
        if in_pymc != name:  # density of the variances: 2 sigma for each
            sd = np.sqrt(np.diagonal(fit.tree["posterior/cov"].values, axis1=-2, axis2=-1))
            sd = sd[..., :1] if case == "spherical" else sd
            expected = expected + np.log(2 * sd).sum(axis=(2, 3))
        np.testing.assert_allclose(own[name].values, expected, rtol=1e-9, err_msg=name)


def test_a_prior_without_a_formula_leaves_no_group():
    mixture = bm.Mixture(bm.MvNormal(sigma=pz.HalfNormal(2.0), corr=bm.LKJ(2.0)), 2)
    checked = mixture.check(FAITHFUL)
    em = bm.em(mixture, FAITHFUL, n_init=2, random_seed=1, progressbar=False)
    draws = {name: value[None, None] for name, value in em.estimates.items()}
    assert log_prior(mixture, checked, draws) is None


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "plot",
    [
        "plot_dist",
        "plot_forest",
        "plot_trace_dist",
        "plot_rank_dist",
        "plot_pair",
        "plot_ppc_dist",
        "plot_ess",
        "plot_mcse",
    ],
)
def test_plots(fit, plot):
    if plot == "plot_rank_dist" and fit.engine != "nuts":
        pytest.skip("rank plots compare chains, and independent draws are one chain")
    options = {} if plot == "plot_ppc_dist" else {"var_names": ["mu"]}
    assert getattr(az, plot)(fit.tree, backend="matplotlib", **options) is not None
    matplotlib.pyplot.close("all")
