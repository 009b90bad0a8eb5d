"""NUTS: the posterior of other people's models, labels, interrupts and seeds."""

import signal
import subprocess
import sys
import threading

import arviz as az
import numpy as np
import preliz as pz
import pytest
import xarray as xr
from reference import answers, columns

import bayesmix as bm
from bayesmix.engines import nuts as nuts_module
from bayesmix.engines import sampler
from bayesmix.engines.nuts import modes_of, starting_points
from bayesmix.posterior import posterior_of

FAITHFUL = bm.datasets.load("faithful")
OPTIONS = {"progressbar": False, "cores": 2}


@pytest.fixture(scope="module")
def faithful_fit():
    return bm.nuts(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, random_seed=1, **OPTIONS)


def test_posteriordb_low_dim_gauss_mix():
    """Every mean within 4 combined Monte Carlo errors of Stan's reference draws (posteriordb), with its priors."""
    component = bm.Normal(mu=pz.Normal(0, 2), sigma=pz.HalfNormal(2))
    mixture = bm.Mixture(component, 2, weights=bm.Dirichlet([5.0, 5.0]))
    fit = bm.nuts(mixture, columns("low_dim_gauss_mix.csv")["y"], draws=2500, random_seed=3, **OPTIONS)
    reference = answers("low_dim_gauss_mix")["posterior"]
    posterior = fit.tree["posterior"]
    ours = {
        "theta": posterior["weights"].values[..., 0],
        **{f"mu[{k + 1}]": posterior["mu"].values[..., k] for k in range(2)},
        **{f"sigma[{k + 1}]": posterior["sigma"].values[..., k] for k in range(2)},
    }
    for name, draws in ours.items():
        theirs = reference[name]
        z = (draws.mean() - theirs["mean"]) / np.hypot(float(az.mcse(draws)), theirs["mcse_mean"])
        assert abs(z) < 4, (name, z)
        z_sd = (draws.std() - theirs["sd"]) / np.hypot(float(az.mcse(draws, method="sd")), theirs["mcse_sd"])
        assert abs(z_sd) < 4, (name, "sd", z_sd)


def test_death_notices_posterior():
    """Poisson mixture with Gamma(2, 1) rates against exact importance sampling: ordered means within 4 errors."""
    data = bm.datasets.load("death_notices")
    mixture = bm.Mixture(bm.Poisson(mu=pz.Gamma(2, 1)), 2)
    fit = bm.nuts(mixture, data["deaths"], weights=data["freq"], draws=2000, random_seed=5, **OPTIONS)
    mu, weights = fit.tree["posterior/mu"].values, fit.tree["posterior/weights"].values
    order = np.argsort(mu, axis=-1)
    mu, weights = np.take_along_axis(mu, order, -1), np.take_along_axis(weights, order, -1)
    reference = answers("death_notices")["bayes_exact"]["k2"]["posterior_ordered"]
    for k in range(2):
        for name, draws in ((f"lambda[{k + 1}]", mu[..., k]), (f"w[{k + 1}]", weights[..., k])):
            z = (draws.mean() - reference[name]["mean"]) / np.hypot(float(az.mcse(draws)), reference[name]["mcse_mean"])
            assert abs(z) < 4, (name, z)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_faithful_converges(seed):
    fit = bm.nuts(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, random_seed=seed, **OPTIONS)
    assert fit.verdict == "converged", fit.message
    assert fit.tree.attrs["rhat_relabelled"] < 1.01
    assert fit.converged


def test_chains_of_different_seeds_agree(faithful_fit):
    """Four chains, each from a run of its own, put together: converged as one."""
    chains = [
        bm.nuts(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, chains=1, random_seed=seed, **OPTIONS)
        for seed in (11, 12, 13, 14)
    ]
    for name in ("weights", "mu", "cov"):
        together = np.concatenate([chain.tree["posterior"][name].values for chain in chains])
        for index in np.ndindex(together.shape[2:]):
            assert float(az.rhat(together[(..., *index)])) < 1.01, (name, index)


def test_same_seed_same_draws_on_any_number_of_cores(faithful_fit):
    again = bm.nuts(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, random_seed=1, progressbar=False, cores=1)
    np.testing.assert_array_equal(again.tree["posterior/mu"].values, faithful_fit.tree["posterior/mu"].values)


def test_groups_are_arvizs(faithful_fit):
    tree = faithful_fit.tree
    assert {"posterior", "sample_stats", "log_likelihood", "posterior_predictive", "observed_data", "labels"} <= set(
        tree.children
    )
    assert tree["posterior/mu"].dims == ("chain", "draw", "cluster", "feature")
    assert list(tree["posterior/mu"]["feature"].values) == ["eruptions", "waiting"]
    assert tree["log_likelihood/x"].shape == (4, 1000, 272)
    assert tree["labels/permutation"].shape == (4, 1000, 2)
    loo = az.loo(tree)
    assert loo.good_k > 0 and float((loo.pareto_k > loo.good_k).sum()) == 0
    assert set(az.summary(tree).columns) >= {"mean", "sd", "r_hat"}


def test_pointwise_log_likelihood_is_the_formula(faithful_fit):
    """Against SciPy, at some draws."""
    from scipy import stats

    x = faithful_fit.data.values
    posterior = faithful_fit.tree["posterior"]
    for chain, draw in ((0, 0), (3, 999)):
        at = {name: posterior[name].values[chain, draw] for name in ("weights", "mu", "cov")}
        density = sum(at["weights"][k] * stats.multivariate_normal(at["mu"][k], at["cov"][k]).pdf(x) for k in range(2))
        np.testing.assert_allclose(
            faithful_fit.tree["log_likelihood/x"].values[chain, draw], np.log(density), rtol=1e-10
        )


def test_interrupt_keeps_the_draws():
    """Ctrl-C in mid-run: a fit with the draws made so far, and a message that says how many."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-2, 1, 2_000), rng.normal(2, 1, 2_000)])
    mixture = bm.Mixture(bm.Normal(), 2)
    start = bm.Fit.from_parameters(mixture, weights=[0.5, 0.5], mu=[-2.0, 2.0], sigma=[1.0, 1.0])
    bm.nuts(mixture, x[::100], draws=20, tune=20, init=start, random_seed=1, **OPTIONS)  # compiles, imports
    main = threading.main_thread().ident
    timer = threading.Timer(1.5, lambda: signal.pthread_kill(main, signal.SIGINT))
    timer.start()
    try:
        fit = bm.nuts(mixture, x, draws=200_000, tune=50, chains=2, init=start, random_seed=1, **OPTIONS)
    finally:
        timer.cancel()
    kept = fit.tree["posterior/mu"].shape[1]
    assert 2 <= kept < 200_000
    assert f"interrupted: 2 chains of {kept} draws of the 200000" in fit.message
    assert np.all(np.isfinite(fit.tree["posterior/mu"].values))


KILLED = """
import os, sys, threading, time
import numpy as np, bayesmix as bm
folder = sys.argv[1]
x = np.load(folder + "/x.npy")

def kill():
    chunks = folder + "/run.zarr/mode-0.zarr/posterior/vector/c"
    while sum(len(os.listdir(f"{chunks}/{chain}")) if os.path.isdir(f"{chunks}/{chain}") else 0 for chain in (0, 1)) < 8:
        time.sleep(0.01)
    os.kill(os.getpid(), 9)

threading.Thread(target=kill, daemon=True).start()
bm.nuts(bm.Mixture(bm.Normal(), 2), x, draws=50_000, tune=50, chains=2, cores=2, random_seed=1, progressbar=False,
        store=folder + "/run.zarr")
"""


def test_what_a_killed_run_has_stored_can_be_read(tmp_path):
    """Killed without warning (SIGKILL) after some draws: the store gives them back as a fit, the same as those of the run."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-2, 1, 200), rng.normal(2, 1, 200)])
    np.save(tmp_path / "x.npy", x)
    run = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], timeout=300)
    assert run.returncode == -signal.SIGKILL
    fit = bm.recover(tmp_path / "run.zarr", x, random_seed=1)
    chains, kept = fit.tree["posterior/mu"].shape[:2]
    assert kept >= 4
    assert f"interrupted: {chains} chains of {kept} draws of the 50000" in fit.message
    assert np.all(np.isfinite(fit.tree["posterior/mu"].values))
    with pytest.raises(ValueError, match="the data differ"):
        bm.recover(tmp_path / "run.zarr", x + 1.0)
    with pytest.raises(FileExistsError, match="bm.recover"):
        bm.nuts(bm.Mixture(bm.Normal(), 2), x, store=tmp_path / "run.zarr", **OPTIONS)
    with pytest.raises(FileNotFoundError, match="no folder of a stored run"):
        bm.recover(tmp_path, x)


def test_a_stored_run_has_the_draws_of_one_that_is_not(tmp_path):
    waiting = FAITHFUL["waiting"]
    mixture, settings = bm.Mixture(bm.Normal(), 2), {"draws": 50, "tune": 50, "random_seed": 4, **OPTIONS}
    plain = bm.nuts(mixture, waiting, **settings)
    stored = bm.nuts(mixture, waiting, store=tmp_path / "run.zarr", **settings)
    again = bm.recover(tmp_path / "run.zarr", waiting, random_seed=4)
    for other in (stored, again):
        np.testing.assert_array_equal(other.tree["posterior/mu"].values, plain.tree["posterior/mu"].values)
    assert again.verdict == plain.verdict


def test_an_interrupt_while_draws_are_relabelled_loses_nothing(monkeypatch):
    """The result is finished first; the warning says so."""
    relabel = nuts_module.relabel

    def interrupted(fit):
        signal.raise_signal(signal.SIGINT)
        return relabel(fit)

    monkeypatch.setattr(nuts_module, "relabel", interrupted)
    waiting = FAITHFUL["waiting"]
    with pytest.warns(UserWarning, match="interrupted while the draws are relabelled"):
        fit = bm.nuts(bm.Mixture(bm.Normal(), 2), waiting, draws=20, tune=50, random_seed=1, **OPTIONS)
    assert fit.tree["posterior/mu"].shape == (4, 20, 2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_chains_far_behind_are_left_out():
    """Interrupted chains end with NaN: one with less than half the longest's draws goes, the others are cut alike."""
    energy = np.zeros((4, 100))
    for chain, length in enumerate((100, 3, 90, 49)):
        energy[chain, length:] = np.nan
    tree = xr.DataTree.from_dict({"sample_stats": xr.Dataset({"energy": (("chain", "draw"), energy)})})
    kept = nuts_module._finished(tree)
    assert kept["sample_stats/energy"].shape == (2, 90)
    assert np.all(np.isfinite(kept["sample_stats/energy"].values))
    vector = np.zeros((4, 100, 3))
    vector[2, 80:, 1] = np.nan  # a killed run had written some columns further than others
    tree["posterior"] = xr.DataTree(xr.Dataset({"vector": (("chain", "draw", "entry"), vector)}))
    kept = nuts_module._finished(tree)
    assert kept["posterior/vector"].shape == (2, 80, 3)


def test_a_row_of_weight_three_is_three_rows():
    """The same mode and labels, and posterior means within 5 combined Monte Carlo errors."""
    waiting = FAITHFUL["waiting"].values[:120]
    weights = np.where(np.arange(120) % 3 == 0, 3.0, 1.0)
    mixture = bm.Mixture(bm.Normal(mu=pz.Normal(70, 20), sigma=pz.HalfNormal(10)), 2)
    weighted = bm.nuts(mixture, waiting, weights=weights, draws=500, random_seed=1, **OPTIONS)
    repeated = bm.nuts(mixture, np.repeat(waiting, weights.astype(int)), draws=500, random_seed=2, **OPTIONS)
    _same_posterior(weighted, repeated)


def test_several_modes_get_chains_of_their_own():
    """Two ways to split four corners into two components: both optima are found and both are started from."""
    rng = np.random.default_rng(3)
    corners = np.array([[-4.0, -4.0], [-4.0, 4.0], [4.0, -4.0], [4.0, 4.0]])
    x = np.concatenate([corner + rng.normal(size=(60, 2)) for corner in corners])
    x = np.concatenate([x, x[:, ::-1]])  # exactly as likely along either axis
    mixture = bm.Mixture(bm.MvNormal(covariance="diag"), 2)
    data = mixture.check(x)
    modes = modes_of(posterior_of(mixture, data), starting_points(mixture, data, "em", np.random.default_rng(1), False))
    fit = bm.nuts(mixture, x, draws=300, random_seed=1, **OPTIONS)
    if len(modes) == 1:  # EM's runs ended in mirror images with one and the same objective
        pytest.fail("the two mirror-image optima were taken for one")
    assert fit.tree.attrs["starting_modes"] == 2
    assert fit.verdict == "several modes", fit.message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"draws": 0}, "draws=0"),
        ({"chains": 2.5}, "chains=2.5"),
        ({"sampler": "stan"}, "nutpie"),
        ({"tune": "long"}, "tune="),
        ({"init": "random"}, "init="),
    ],
)
def test_bad_options(options, words):
    with pytest.raises(ValueError, match=words):
        bm.nuts(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, **{**OPTIONS, **options})


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_pymc_sampler_and_graph_agree_with_the_direct_posterior(faithful_fit):
    """The same posterior by PyMC's own sampler: means within 5 combined Monte Carlo errors (18 numbers looked at)."""
    fit = bm.nuts(
        bm.Mixture(bm.MvNormal(), 2), FAITHFUL, sampler="pymc", draws=400, tune=400, chains=2, random_seed=2, **OPTIONS
    )
    _same_posterior(fit, faithful_fit)


def test_priors_outside_the_list_take_the_graph_under_nutpie(faithful_fit):
    """The default prior of mu as a wide truncated normal: the same posterior, through PyTensor and nutpie's compiler."""
    waiting = FAITHFUL["waiting"]
    direct = bm.nuts(bm.Mixture(bm.Normal(sigma=pz.Gamma(2, 0.2)), 2), waiting, random_seed=1, **OPTIONS)
    truncated = bm.Normal(mu=pz.Truncated(pz.Normal(69.5, 53), -1e4, 1e4), sigma=pz.Gamma(2, 0.2))
    graph = bm.nuts(bm.Mixture(truncated, 2), waiting, random_seed=1, **OPTIONS)
    _same_posterior(graph, direct)


def _same_posterior(left, right):
    for name in left._names:
        a, b = left.tree["posterior"][name].values, right.tree["posterior"][name].values
        for index in np.ndindex(a.shape[2:]):
            x, y = a[(..., *index)], b[(..., *index)]
            z = (x.mean() - y.mean()) / np.hypot(float(az.mcse(x)), float(az.mcse(y)))
            assert abs(z) < 5, (name, index, z)


# -- nutpie's inside -----------------------------------------------------------------------------------------------------
def test_draws_are_read_as_nutpie_reads_them():
    """Our conversion of its Arrow tables, which spares loading ArviZ's plots, gives what its own gives."""
    mixture = bm.Mixture(bm.Normal(), 2)
    data = mixture.check(np.random.default_rng(0).normal(size=300))
    posterior = posterior_of(mixture, data)
    (mode, *_) = modes_of(posterior, starting_points(mixture, data, "em", np.random.default_rng(1), False))
    model, nutpie = posterior.nutpie_model(mode, 1.0), sampler.load_nutpie()
    options = {"draws": 30, "tune": 20, "chains": 2, "cores": 1, "seed": 1, "progress_bar": False}
    ours = sampler.tree_of(nutpie.sample(model, return_raw_trace=True, **options), nuts_module._STATISTICS)
    theirs = nutpie.sample(model, **options)
    assert ours["sample_stats"].sizes == {"chain": 2, "draw": 30}
    for group in ("posterior", "sample_stats"):
        for name, variable in ours[group].data_vars.items():
            np.testing.assert_array_equal(variable.values, theirs[group][name].values, err_msg=name)
            assert variable.dtype == theirs[group][name].dtype
