"""Networks from end to end: a plain mixture as their special case, laws of probability, data as users have them."""

import functools

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import integrate, stats

import bayesmix as bm
from bayesmix.mdn.fit import MDNFit
from bayesmix.mdn.problem import Model

QUICK = {"progressbar": False, "random_seed": 1, "epochs": 20}


def two_lines(n=300, seed=0):
    """y = 1 + 2 x or -1 - 2 x by the toss of a coin, with noise of sd 0.2."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=n)
    sign = rng.choice([-1.0, 1.0], size=n)
    return x, sign * (1 + 2 * x) + 0.2 * rng.normal(size=n)


@pytest.fixture(scope="module")
def point():
    return bm.map_estimate(bm.MDN(bm.Normal(), n_components=2), *two_lines(), members=2, **QUICK)


@pytest.fixture(scope="module")
def variational():
    return bm.advi(bm.MDN(bm.Normal(), n_components=2), *two_lines(), temperature=0.3, draws=30, **QUICK)


# -- one likelihood --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "component, y",
    [
        (bm.Normal(), stats.norm(3, 2).rvs(60, random_state=1)),
        (bm.Gamma(), stats.gamma(3).rvs(60, random_state=1)),
        (bm.Poisson(), stats.poisson(5).rvs(60, random_state=1)),
        (bm.MvNormal(), stats.multivariate_normal([0, 5], [[1, 0.5], [0.5, 2]]).rvs(60, random_state=1)),
        (bm.Product(a=bm.Normal(), b=bm.Bernoulli()), np.column_stack([np.linspace(0, 9, 60), np.arange(60) % 2])),
    ],
    ids=["Normal", "Gamma", "Poisson", "MvNormal", "Product"],
)
def test_a_network_without_slopes_is_the_plain_mixture(component, y):
    """With all matrices zero the offsets of the last layer are one mixture for all rows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    y = pd.DataFrame(y, columns=["a", "b"]) if np.ndim(y) == 2 else y
    mdn = bm.MDN(component, n_components=3, hidden=(4,))
    model, inputs, data = Model.learn(mdn, x, y)
    weights = np.zeros((1, 1, model.layout.n_weights))
    offsets = model.layout.views(weights[0])[-1][1]
    offsets[:] = rng.normal(size=offsets.shape)
    fit = MDNFit.assemble(
        model, inputs, x, data, weights, {}, {"engine": "map_estimate", "method": "point", "message": ""}
    )
    found = fit.components(x).isel(member=0, draw=0, obs=0)
    params = {name: value.values for name, value in found.items()}
    plain = bm.Fit.from_parameters(bm.Mixture(component, n_components=3), y, **params)
    np.testing.assert_allclose(fit.logpdf(x, y), plain.logpdf(y), rtol=1e-10, atol=1e-10)
    columns = y.shape[1] if np.ndim(y) == 2 else 1
    expected = plain.quantile([0.1, 0.9]).values.reshape(2, columns)
    np.testing.assert_allclose(fit.quantile(x[:2], [0.1, 0.9]).values[:, 1].reshape(2, columns), expected, rtol=1e-10)
    if columns == 1:
        np.testing.assert_allclose(fit.cdf(x, y), plain.cdf(y), rtol=1e-10)


# -- laws of probability ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("which", ["point", "variational"])
def test_density_integrates_to_one_and_is_the_slope_of_the_cdf(which, request):
    fit = request.getfixturevalue(which)
    x = np.array([0.3])

    def density(y):
        return float(np.exp(fit.logpdf(x, [y]).item()))

    total = integrate.quad(density, -12, 12, points=[-2, -1.6, 0, 1.6, 2], limit=400)[0]
    assert total == pytest.approx(1.0, abs=1e-4)
    for y in (-1.5, 0.0, 1.4):
        slope = (fit.cdf(x, [y + 1e-5]).item() - fit.cdf(x, [y - 1e-5]).item()) / 2e-5
        assert slope == pytest.approx(density(y), rel=1e-5, abs=1e-8)


def test_quantiles_invert_the_cdf(variational):
    x = np.linspace(-0.9, 0.9, 7)
    for q in (0.05, 0.5, 0.9):
        np.testing.assert_allclose(variational.cdf(x, variational.quantile(x, q).values), q, atol=1e-9)
    assert variational.quantile(x, [0.1, 0.9]).dims == ("quantile", "obs")


def test_moments_are_those_of_draws(variational):
    x = np.array([-0.5, 0.4])
    draws = variational.sample(x, 20_000, random_seed=2)
    mean, var = variational.mean(x), variational.var(x)
    error = np.sqrt(var.total / 20_000)
    assert np.all(np.abs(draws.mean("sample") - mean) < 5 * error)
    np.testing.assert_allclose(draws.var("sample"), var.total, rtol=0.06)  # 5 errors of a variance of 20 000 draws
    np.testing.assert_allclose(var.aleatoric + var.epistemic, var.total)
    assert np.all(var.epistemic > 0)


def test_variance_of_one_set_of_weights_is_aleatoric(point):
    assert np.all(point.members()[0].var([0.1, 0.5]).epistemic == 0.0)
    assert np.all(point.var([0.1, 0.5]).epistemic > 0.0)


@pytest.mark.parametrize("which", ["point", "variational"])
def test_crps_is_that_of_draws(which, request):
    """E|Y - y| - E|Y - Y'| / 2 over draws (Gneiting & Raftery 2007, eq. 21): closed form and quadrature."""
    fit = request.getfixturevalue(which)
    x, y = np.array([0.3]), np.array([1.0])
    draws = fit.sample(x, 40_000, random_seed=3).values[:, 0]
    each = np.abs(draws - y) - 0.5 * np.abs(draws - np.random.default_rng(0).permutation(draws))
    assert abs(fit.crps(x, y).item() - each.mean()) < 5 * each.std() / np.sqrt(len(each))


def test_crps_in_closed_form_is_the_integral(point):
    from bayesmix.mdn import predictive

    x, y = two_lines(20, seed=5)
    closed = point.crps(x, y).values
    most, predictive.PAIRS = predictive.PAIRS, 0
    try:
        np.testing.assert_allclose(point.crps(x, y).values, closed, rtol=5e-5)
    finally:
        predictive.PAIRS = most


def test_modes_are_the_lines(point):
    modes = point.modes([0.5]).values[0]
    np.testing.assert_allclose(np.sort(modes[:2]), [-2.0, 2.0], atol=0.3)


def test_pit_is_uniform_where_the_model_is_right(variational):
    x, y = two_lines(500, seed=9)
    assert stats.kstest(variational.pit(x, y).values, "uniform").pvalue > 1e-3


# -- units and labels ------------------------------------------------------------------------------------------------------
def test_units_change_nothing_but_the_density():
    x, y = two_lines()
    mdn = bm.MDN(bm.Normal(), n_components=2)
    one = bm.map_estimate(mdn, x, y, **QUICK)
    other = bm.map_estimate(mdn, 1e6 * x + 3e6, 1e-6 * y + 5e-5, **QUICK)
    density = other.logpdf(1e6 * x + 3e6, 1e-6 * y + 5e-5) + np.log(1e-6)
    np.testing.assert_allclose(density, one.logpdf(x, y), atol=1e-6)


def test_the_same_seed_gives_the_same_network():
    x, y = two_lines(100)
    one, other, third = (
        bm.advi(bm.MDN(bm.Normal()), x, y, temperature=1.0, epochs=5, random_seed=seed, progressbar=False)
        for seed in (4, 4, 5)
    )
    assert np.array_equal(one.weights, other.weights)
    assert not np.array_equal(one.weights, third.weights)


def test_frames_keep_their_labels_and_are_matched_by_name():
    rng = np.random.default_rng(0)
    x = pd.DataFrame(
        {"size": rng.normal(size=80), "colour": rng.choice(["red", "blue"], size=80), "age": rng.normal(size=80)},
        index=[f"r{i}" for i in range(80)],
    )
    x.loc["r3", "age"] = np.nan
    y = pd.Series(x["size"] + (x["colour"] == "red") + 0.1 * rng.normal(size=80), name="height")
    fit = bm.map_estimate(bm.MDN(bm.Normal(), n_components=1), x, y, progressbar=False, random_seed=0)
    found = fit.mean(x[["age", "colour", "size"]])
    assert list(found.obs.values[:2]) == ["r0", "r1"]
    assert np.corrcoef(found, y)[0, 1] > 0.95
    with pytest.raises(ValueError, match="no covariate 'size'"):
        fit.mean(x[["age", "colour"]])
    with pytest.raises(ValueError, match="'green' in row 0.*'blue', 'red'"):
        fit.mean(x.assign(colour="green"))
    with pytest.raises(ValueError, match="'size' is missing in 1 row"):
        fit.mean(x.assign(size=[np.nan] + [0.0] * 79))


def test_a_saved_network_predicts_the_same(variational, tmp_path):
    x, y = two_lines(20, seed=3)
    for name in ("fit.nc", "fit.zarr"):
        variational.save(tmp_path / name)
        again = bm.load(tmp_path / name)
        np.testing.assert_array_equal(again.logpdf(x, y), variational.logpdf(x, y))
        assert again.mdn == variational.mdn and again.message == variational.message


def test_the_tree_is_arvizs(variational):
    import arviz as az

    assert isinstance(variational.tree, xr.DataTree)
    summary = az.summary(variational.tree, var_names=["network"])
    assert len(summary) == variational.weights.shape[1]
    np.testing.assert_allclose(
        variational.tree["log_likelihood"]["y"].values.reshape(30, -1)[7],
        variational._mixture(variational.tree["constant_data"]["inputs"].values).log_densities(two_lines()[1][:, None])[
            7
        ],
        rtol=1e-9,
    )


# -- families ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "component, y",
    [
        (bm.Poisson(), lambda x, rng: rng.poisson(np.exp(1 + x))),
        (bm.Bernoulli(), lambda x, rng: rng.random(len(x)) < 1 / (1 + np.exp(-3 * x))),
        (bm.Categorical(), lambda x, rng: (x > -0.3).astype(int) + (x > 0.4)),
        ([bm.Normal(), bm.StudentT()], lambda x, rng: x + 0.3 * rng.standard_t(3, size=len(x))),
        (bm.MvNormal(), lambda x, rng: np.column_stack([x, -x]) + 0.1 * rng.normal(size=(len(x), 2))),
    ],
    ids=["Poisson", "Bernoulli", "Categorical", "list", "MvNormal"],
)
def test_predictions_of_other_families_follow_the_covariate(component, y):
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, size=400)
    values = np.asarray(y(x, rng), dtype=float)
    fit = bm.map_estimate(bm.MDN(component, n_components=2), x, values, random_seed=1, progressbar=False)
    mean = np.asarray(fit.mean(x)).reshape(400, -1)
    expected = values.reshape(400, -1)
    for j in range(mean.shape[1]):
        assert np.corrcoef(mean[:, j], x)[0, 1] * np.sign(np.corrcoef(expected[:, j], x)[0, 1]) > 0.9
    draws = fit.sample(x, 200, random_seed=0)
    assert draws.sizes["sample"] == 200 and np.isfinite(draws).all()
    np.testing.assert_allclose(
        np.asarray(draws.mean("sample")).reshape(400, -1).mean(axis=0), mean.mean(axis=0), atol=0.15
    )
    quantiles = fit.quantile(x[:5], [0.1, 0.9])
    assert np.all(quantiles.isel(quantile=0) <= quantiles.isel(quantile=1))


# -- hard data -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "change",
    [
        lambda x, y: (x, np.round(y)),
        lambda x, y: (np.column_stack([x, np.ones(len(x))]), y),
        lambda x, y: (x, 1e9 * y),
        lambda x, y: (x, np.where(np.arange(len(y)) < 40, 5.0, y)),
        lambda x, y: (x[:8], y[:8]),
    ],
    ids=["rounded", "constant column", "large unit", "repeated", "eight rows"],
)
def test_hard_data_give_finite_densities(change):
    x, y = change(*two_lines(120))
    for k in (1, 10):
        fit = bm.advi(
            bm.MDN(bm.Normal(), n_components=k),
            x,
            y,
            temperature=0.1,
            epochs=10,
            draws=5,
            random_seed=0,
            progressbar=False,
        )
        assert np.all(np.isfinite(fit.logpdf(x, y)))


def test_rounded_responses_make_a_least_width():
    """Responses rounded to delta know a place only up to delta / sqrt(12), the standard deviation of a uniform error."""
    x, y = two_lines()
    fit = bm.map_estimate(bm.MDN(bm.Normal()), x, np.round(y, 1), progressbar=False, random_seed=0, epochs=1)
    assert fit.model.floor[0] == pytest.approx(0.1 / np.sqrt(12) / np.round(y, 1).std(), abs=1e-6)


# -- wrong use -------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda x, y: bm.MDN("normal"), TypeError, "bm.Normal"),
        (lambda x, y: bm.MDN([bm.Normal(), bm.Poisson()]), ValueError, "no common unit"),
        (lambda x, y: bm.MDN(bm.Normal(), n_components=0), ValueError, "at least 1"),
        (lambda x, y: bm.MDN(bm.Normal(), activation="cosine"), ValueError, "relu"),
        (lambda x, y: bm.map_estimate(bm.MDN(bm.Normal()), x, y[:-1]), ValueError, "300 rows of covariates, but 299"),
        (lambda x, y: bm.map_estimate(bm.Mixture(bm.Normal(), 2), x, y), TypeError, "bm.MDN"),
        (lambda x, y: bm.map_estimate(bm.MDN(bm.Poisson()), x, y), ValueError, "Poisson"),
        (lambda x, y: bm.advi(bm.MDN(bm.Normal()), x, y, temperature=-1), ValueError, "temperature=-1"),
        (lambda x, y: bm.advi(bm.MDN(bm.Normal()), x, y, method="fullrank"), ValueError, "meanfield"),
        (lambda x, y: bm.advi(bm.Mixture(bm.Normal(), 2), y, x), TypeError, "bm.MDN"),
    ],
)
def test_wrong_use_is_told_at_once(call, error, words):
    with pytest.raises(error, match=words):
        call(*two_lines())


# -- beside others -----------------------------------------------------------------------------------------------------------------
def test_networks_are_compared_by_rows_held_out(point, variational):
    x, y = two_lines(150, seed=8)
    result = bm.compare({"point": point, "variational": variational}, X=x, y=y)
    best, other = result.elpd.index
    fits = {"point": point, "variational": variational}
    each = {name: fit.logpdf(x, y).values for name, fit in fits.items()}
    assert result.elpd.elpd[best] == pytest.approx(each[best].sum()) and result.elpd.elpd_diff[best] == 0.0
    off = each[other] - each[best]
    assert result.elpd.dse[other] == pytest.approx(np.sqrt(150) * off.std(ddof=1))
    with pytest.raises(TypeError, match="not fitted to"):
        bm.compare({"point": point})


def test_folds_are_a_loop_by_hand():
    x, y = two_lines(90, seed=8)
    frame = pd.DataFrame({"x": x}, index=[f"r{i}" for i in range(90)])
    specifications = {k: bm.MDN(bm.Normal(), n_components=int(k[0]), hidden=(5,)) for k in ("1 line", "2 lines")}
    short = functools.partial(bm.map_estimate, members=1, epochs=15)
    engines = {"1 line": short, "2 lines": functools.partial(bm.advi, temperature=0.3, epochs=15)}
    result = bm.compare(specifications, X=frame, y=y, folds=3, engine=engines, random_seed=5, progressbar=False)
    rng = np.random.default_rng(5)
    fold = rng.permutation(90) % 3
    seeds = rng.integers(2**31 - 1, size=3)
    assert np.array_equal(result.folds, fold) and list(result.pointwise.index[:2]) == ["r0", "r1"]
    for name, mdn in specifications.items():
        each, crps = np.empty(90), np.empty(90)
        for f in range(3):
            held = fold == f
            fit = engines[name](mdn, x[~held], y[~held], random_seed=int(seeds[f]), progressbar=False)
            each[held], crps[held] = fit.logpdf(x[held], y[held]), fit.crps(x[held], y[held])
        np.testing.assert_allclose(result.pointwise[name], each, rtol=1e-12)
        assert result.elpd.elpd[name] == pytest.approx(each.sum())
        assert result.elpd.se[name] == pytest.approx(np.sqrt(90) * each.std(ddof=1))
        assert result.elpd.crps[name] == pytest.approx(crps.mean())
        assert len(result.fits[name]) == 3
    off = result.pointwise["1 line"] - result.pointwise["2 lines"]
    assert result.elpd.index[0] == "2 lines" and result.elpd.elpd_diff["1 line"] == pytest.approx(off.sum())
    assert result.elpd.dse["1 line"] == pytest.approx(np.sqrt(90) * off.std(ddof=1))
    assert result.plot().get_xlabel()


@pytest.mark.parametrize(
    "kind",
    [list, pd.Series, lambda a: xr.DataArray(a, dims="obs"), lambda a: {"x": a}, np.ma.asarray],
    ids=["list", "series", "data array", "dict", "masked array"],  # the same in every worker
)
def test_rows_of_any_table_are_taken(kind):
    from bayesmix.mdn.tables import take_rows

    found = take_rows(kind(np.arange(5.0)), np.array([3, 1]))
    assert list(np.asarray(found["x"] if isinstance(found, dict) else found)) == [3.0, 1.0]


@pytest.mark.parametrize(
    "more, error, words",
    [
        ({"folds": 1}, ValueError, "between 2 and 300"),
        ({"folds": 3, "engine": "map"}, TypeError, "bm.map_estimate"),
        ({"folds": 3, "engine": {"b": bm.map_estimate}}, TypeError, "none for a"),
        ({}, TypeError, "a is not fitted"),
        ({"random_seed": 1}, TypeError, "give folds= too"),
        ({"folds": 3, "X": None}, TypeError, "X=..., y=..."),
    ],
)
def test_wrong_folds_are_told_at_once(more, error, words):
    x, y = two_lines()
    with pytest.raises(error, match=words):
        bm.compare({"a": bm.MDN(bm.Normal())}, **({"X": x, "y": y} | more))


@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks():
    from sklearn.utils.estimator_checks import check_estimator

    check_estimator(bm.sklearn.MDNRegressor(n_components=1, hidden=(5,), epochs=5, random_state=0))


def test_the_estimator_is_the_fit():
    x, y = two_lines()
    model = bm.sklearn.MDNRegressor(n_components=2, epochs=10, random_state=3).fit(x[:, None], y)
    np.testing.assert_array_equal(model.predict(x[:5, None]), model.fit_.mean(x[:5, None]))
    np.testing.assert_array_equal(model.log_density(x[:5, None], y[:5]), model.fit_.logpdf(x[:5, None], y[:5]))
    both = bm.sklearn.MDNRegressor(n_components=1, epochs=5, random_state=3).fit(x[:, None], np.column_stack([y, x]))
    assert both.predict(x[:4, None]).shape == (4, 2)


@pytest.mark.parametrize("kind", ["density", "weights", "pit"])
def test_plots(kind, point):
    import matplotlib.pyplot as plt

    x, y = two_lines(50, seed=4)
    ax = point.plot(x, y, kind=kind)
    assert ax.get_xlabel() and ax.get_ylabel() and ax.get_title()
    plt.close(ax.figure)
