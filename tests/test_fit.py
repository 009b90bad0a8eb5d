"""What a fit predicts is the mixture written out with SciPy; what it saves comes back equal."""

import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from oracles import LETTERED, ROWS, split
from scipy import integrate, stats

import bayesmix as bm

NORMAL = bm.Mixture(bm.Normal(), 2)
PARAMETERS = {"weights": [0.25, 0.75], "mu": [0.0, 3.0], "sigma": [1.0, 0.5]}


def draws_around(row, seed=0, shape=(2, 25)):
    """Posterior draws by hand: (chain, draw, cluster, ...) near the parameters of a row."""
    rng = np.random.default_rng(seed)
    params = {name: value for name, value in row.params.items() if name != "weights"}
    vector = row.component.to_vector(params)
    moved = vector + 0.05 * rng.standard_normal((*shape, len(vector)))
    weights = rng.dirichlet(200 * row.params["weights"], size=shape)
    return {"weights": weights} | row.component.from_vector(moved, row.n_components, row.n_features)


def posterior_fit(row, x, **kwargs):
    attrs = {"engine": "nuts", "converged": 1, "message": "Made by hand."}
    return bm.Fit.assemble(row.mixture, row.mixture.check(x), draws=draws_around(row, **kwargs), attrs=attrs, rng=1)


def scipy_log_joint(row, params, x):
    with np.errstate(divide="ignore"):
        return row.log_density(x, params) + np.log(params["weights"])


def each_draw(draws):
    chains, length = draws["weights"].shape[:2]
    return [{name: value[c, d] for name, value in draws.items()} for c in range(chains) for d in range(length)]


# What a fit says of covariances does not depend on how they came about. Vectors but normal ones have tests of their own.
# SciPy's distributions that the oracles make of its parts have no marginals, or a cdf of 1 below their support; Uniform has
# no parameter that is free, so that its intervals have no width.
NO_MARGINALS = ("Multinomial", "ZeroInflated", "Hurdle", "Uniform", "MvStudentT", "FactorAnalyser", "Dirichlet")
# Densities, distribution functions and quantiles of every family are compared with SciPy's by the contract; of families known
# by their formula, these stand for all in what is made of them: with SciPy's distribution function and without, of counts too.
WRITTEN = ("StudentT", "Gamma", "Geometric", "Beta", "VonMises", "Truncated")


def shapes():
    """Rows of the table, those of families that others stand for among the slow tests."""
    for row in ROWS:
        if getattr(row.component, "letters", "") in LETTERED or row.name.startswith(NO_MARGINALS):
            continue
        others = row.component.numeric and not row.component.multivariate and not row.name.startswith(WRITTEN)
        yield pytest.param(row, id=str(row), marks=pytest.mark.slow if others else ())


SHAPES = list(shapes())


@pytest.fixture(params=SHAPES)
def row(request):
    return request.param


# -- predictions of a point estimate -----------------------------------------------------------------------------------
def test_point_predictions_are_scipys_mixture(row):
    x = row.data(40, seed=1)
    fit = bm.Fit.from_parameters(row.mixture, data=x, **row.params)
    joint = scipy_log_joint(row, row.params, x)
    logpdf = np.logaddexp.reduce(joint, axis=1)
    np.testing.assert_allclose(fit.logpdf(x), logpdf, rtol=1e-11, atol=1e-12)
    responsibilities = np.exp(joint - logpdf[:, None])
    np.testing.assert_allclose(fit.responsibilities(x), responsibilities, rtol=1e-9, atol=1e-300)
    np.testing.assert_array_equal(fit.classify(x), responsibilities.argmax(axis=1))
    assert np.isclose(fit.log_likelihood, logpdf.sum(), rtol=1e-12)
    assert fit.logpdf(x).dims == ("obs",) and fit.responsibilities(x).dims == ("obs", "cluster")
    if not row.component.multivariate:
        cdf = np.stack([d.cdf(x[:, 0]) for d in row.components()], axis=1) @ row.params["weights"]
        np.testing.assert_allclose(fit.cdf(x), cdf, rtol=1e-12)


def test_information_criteria_are_their_formulas(row):
    x = row.data(60, seed=2)
    weights = np.random.default_rng(1).integers(1, 4, size=60)
    start = bm.Fit.from_parameters(row.mixture, **row.params)
    fit = bm.em(row.mixture, x, weights=weights, init=start, max_iter=3, progressbar=False)
    joint = scipy_log_joint(row, fit.estimates, x)
    rows = np.logaddexp.reduce(joint, axis=1)
    log_likelihood, d = weights @ rows, row.n_features
    if isinstance(row.component, bm.MvNormal):
        free = {"full": 3 * d * (d + 1) / 2, "tied": d * (d + 1) / 2, "diag": 3 * d, "spherical": 3}
        own = 3 * d + free[row.component.covariance]
    elif isinstance(row.component, bm.Categorical):
        own = 3 * (row.params["p"].shape[1] - 1)
    else:  # numbers, three of each
        own = 3 * sum(getattr(parameter, "known", None) is None for parameter in row.component.parameters)
    p = 2 + own
    assert fit.n_parameters == p
    assert fit.log_likelihood == pytest.approx(log_likelihood, rel=1e-11)
    assert fit.bic == pytest.approx(-2 * log_likelihood + p * np.log(weights.sum()), rel=1e-11)
    assert fit.aic == pytest.approx(-2 * log_likelihood + 2 * p, rel=1e-11)
    most_likely = joint.max(axis=1) - rows
    assert fit.icl == pytest.approx(fit.bic - 2 * weights @ most_likely, rel=1e-10)


def test_quantiles_invert_the_cdf(row):
    probabilities = [0.001, 0.05, 0.31, 0.5, 0.9, 0.999]
    fit = bm.Fit.from_parameters(row.mixture, data=row.data(5), **row.params)
    quantiles = fit.quantile(probabilities).values.reshape(len(probabilities), row.n_features)
    for j in range(row.n_features):
        marginals = [
            stats.norm(d.mean[j], np.sqrt(d.cov[j, j])) if row.component.multivariate else d for d in row.components()
        ]

        def cdf(x, marginals=marginals):
            return sum(w * d.cdf(x) for w, d in zip(row.params["weights"], marginals, strict=True))

        if row.component.discrete:
            assert np.all(cdf(quantiles[:, j]) >= probabilities) and np.all(cdf(quantiles[:, j] - 1) < probabilities)
        else:
            np.testing.assert_allclose(cdf(quantiles[:, j]), probabilities, rtol=1e-9, err_msg=f"feature {j}")
    one = fit.quantile(0.5)
    assert one.shape == ((row.n_features,) if row.component.multivariate else ())
    np.testing.assert_array_equal(np.ravel(one), quantiles[3])


def test_samples_are_the_mixtures(row):
    fit = bm.Fit.from_parameters(row.mixture, data=row.data(5), **row.params)
    n = 20_000
    drawn = fit.sample(n, random_seed=3)
    assert drawn.dims == (("obs", "feature") if row.component.multivariate else ("obs",))
    share = np.bincount(drawn["cluster"].values, minlength=3) / n
    error = np.sqrt(row.params["weights"] * (1 - row.params["weights"]) / n)
    assert np.all(np.abs(share - row.params["weights"]) < 4.5 * error), share
    for k, component in enumerate(row.components()):
        own = drawn.values[drawn["cluster"].values == k].reshape(-1, row.n_features)
        mean = component.mean if row.component.multivariate else component.mean()
        assert np.all(np.abs(own.mean(axis=0) - mean) < 4.5 * own.std(axis=0) / np.sqrt(len(own))), f"component {k}"
    np.testing.assert_array_equal(drawn, fit.sample(n, random_seed=3))
    assert not np.array_equal(drawn, fit.sample(n, random_seed=4))


# -- predictions of a posterior ----------------------------------------------------------------------------------------
def test_posterior_predictions_average_over_draws(row):
    x = row.data(20, seed=4)
    fit = posterior_fit(row, x)
    joint = np.array([scipy_log_joint(row, params, x) for params in each_draw(draws_around(row))])
    rows = np.logaddexp.reduce(joint, axis=2)  # (draw, obs)
    np.testing.assert_allclose(fit.logpdf(x), np.log(np.exp(rows).mean(axis=0)), rtol=1e-10)
    responsibilities = np.exp(joint - rows[:, :, None])
    np.testing.assert_allclose(fit.responsibilities(x), responsibilities.mean(axis=0), rtol=1e-8, atol=1e-300)
    np.testing.assert_array_equal(fit.classify(x), responsibilities.mean(axis=0).argmax(axis=1))
    np.testing.assert_allclose(
        fit.tree["log_likelihood/x"].values.reshape(len(rows), -1), rows, rtol=1e-10, err_msg="pointwise log-likelihood"
    )
    assert np.isclose(fit.log_likelihood, rows.sum(axis=1).mean(), rtol=1e-11)
    interval = fit.logpdf(x, interval=0.8)
    low, high = np.quantile(rows, [0.1, 0.9], axis=0)
    np.testing.assert_allclose(interval["lower"], low, rtol=1e-9)
    np.testing.assert_allclose(interval["upper"], high, rtol=1e-9)
    np.testing.assert_array_equal(interval["estimate"], fit.logpdf(x))


def test_posterior_cdf_averages_over_draws(row):
    x = row.data(5, seed=4)
    fit = posterior_fit(row, x, shape=(2, 4))
    expected = []
    for params in each_draw(draws_around(row, shape=(2, 4))):
        components = [row.scipy(one) for one in split(params)]
        values = [c.cdf(x if row.component.multivariate else x[:, 0]) for c in components]
        expected.append(params["weights"] @ np.array(values))
    tolerance = 1e-4 if row.component.multivariate else 1e-12  # SciPy integrates over vectors by quasi-Monte Carlo
    np.testing.assert_allclose(fit.cdf(x), np.mean(expected, axis=0), atol=tolerance)


def test_posterior_quantiles_invert_the_averaged_cdf(row):
    x, probabilities = row.data(20, seed=5), np.array([0.02, 0.5, 0.97])
    fit = posterior_fit(row, x)
    result = fit.quantile(probabilities, interval=0.9)
    estimate = result["estimate"].values.reshape(3, row.n_features)
    draws = each_draw(draws_around(row))
    for j in range(row.n_features):

        def cdfs(at, j=j):  # (draw,) the marginal cdf of each draw
            def one(component):
                marginal = (
                    stats.norm(component.mean[j], np.sqrt(component.cov[j, j]))
                    if row.component.multivariate
                    else component
                )
                return marginal.cdf(at)

            return np.array([p["weights"] @ [one(row.scipy(c)) for c in split(p)] for p in draws])

        for i, p in enumerate(probabilities):
            label = f"p={p}, feature {j}"
            if row.component.discrete:
                assert cdfs(estimate[i, j]).mean() >= p > cdfs(estimate[i, j] - 1).mean(), label
            else:
                assert cdfs(estimate[i, j]).mean() == pytest.approx(p, abs=1e-10), label
            # The lower end is the 5% quantile of the draws' quantiles: 5% of the draws' cdfs have reached p there.
            for end, share in (("lower", 0.05), ("upper", 0.95)):
                at = result[end].values.reshape(3, row.n_features)[i, j]
                reached = np.mean(cdfs(np.floor(at) if row.component.discrete else at) >= p)
                slack = 0.021 if not row.component.discrete else 1 - share  # one draw of fifty; counts jump
                assert share - 0.021 <= reached <= share + slack, f"{end}, {label}: {reached}"


def test_intervals_contain_estimates_and_grow(row):
    x = row.data(15, seed=6)
    fit = posterior_fit(row, x)
    for method, argument in (("logpdf", x), ("cdf", x[:2]), ("responsibilities", x), ("quantile", [0.1, 0.6])):
        narrow, wide = (getattr(fit, method)(argument, interval=p) for p in (0.5, 0.99))
        # The mean of skewed draws may leave a narrow interval, not one of 99 %.
        assert bool(((wide["lower"] <= wide["estimate"]) & (wide["estimate"] <= wide["upper"])).all()), method
        assert bool(((wide["lower"] <= narrow["lower"]) & (narrow["upper"] <= wide["upper"])).all()), method
        assert bool((narrow["lower"] <= narrow["upper"]).all()), method
        assert narrow.attrs["interval"] == 0.5


def test_predictive_density_integrates_to_one_over_draws():
    row = ROWS[0]
    fit = posterior_fit(row, row.data(10))
    total = integrate.quad(lambda v: float(np.exp(fit.logpdf([v]))[0]), -15, 25, points=[-2, 1, 4], limit=200)[0]
    assert total == pytest.approx(1.0, abs=1e-8)


def test_many_rows_are_predicted_in_pieces(monkeypatch):
    """The same, whatever the size of the pieces."""
    from bayesmix import prediction

    row = ROWS[1]
    x = row.data(50)
    fit = posterior_fit(row, x)
    whole, quantiles = fit.logpdf(x, interval=0.5), fit.tree["log_likelihood/x"]
    monkeypatch.setattr(prediction, "CELLS", 1)
    xr.testing.assert_allclose(fit.logpdf(x, interval=0.5), whole, rtol=1e-13)
    xr.testing.assert_allclose(posterior_fit(row, x).tree["log_likelihood/x"], quantiles, rtol=1e-13)


# -- names -------------------------------------------------------------------------------------------------------------
def test_columns_are_matched_by_name_and_rows_keep_their_labels():
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(rng.normal(size=(30, 2)) * [1, 5] + [0, 100], columns=["a", "b"], index=np.arange(100, 130))
    fit = bm.em(bm.Mixture(bm.MvNormal(), 2), frame, n_init=2, random_seed=1, progressbar=False)
    shuffled = frame.assign(other="text")[["other", "b", "a"]]
    for method in ("logpdf", "responsibilities", "classify"):
        expected = getattr(fit, method)(frame)
        xr.testing.assert_identical(getattr(fit, method)(shuffled), expected)
        np.testing.assert_array_equal(getattr(fit, method)(frame.to_numpy()), expected)  # by position without names
    np.testing.assert_array_equal(fit.logpdf(frame)["obs"], frame.index)
    assert list(fit.tree["point"]["feature"].values) == ["a", "b"]
    assert list(fit.sample(3, random_seed=1)["feature"].values) == ["a", "b"]
    assert list(fit.quantile(0.5)["feature"].values) == ["a", "b"]


def test_one_row_and_one_number_are_data():
    fit = bm.Fit.from_parameters(NORMAL, **PARAMETERS)
    expected = np.log(0.25 * stats.norm(0, 1).pdf(1.5) + 0.75 * stats.norm(3, 0.5).pdf(1.5))
    for x in (1.5, [1.5], [[1.5]], np.float32(1.5), pd.Series([1.5], name="other")):
        np.testing.assert_allclose(fit.logpdf(x), [expected], rtol=1e-12)


def test_far_tails_do_not_underflow():
    fit = bm.Fit.from_parameters(NORMAL, **PARAMETERS)
    expected = np.logaddexp(
        np.log(0.25) + stats.norm(0, 1).logpdf(-1e4), np.log(0.75) + stats.norm(3, 0.5).logpdf(-1e4)
    )
    np.testing.assert_allclose(fit.logpdf([-1e4]), [expected], rtol=1e-12)
    np.testing.assert_array_equal(fit.responsibilities([-1e4]), [[1.0, 0.0]])


# -- from parameters ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "change, error, words",
    [
        ({"sigma": None}, TypeError, "missing sigma"),
        ({"cov": [1, 1]}, TypeError, "unknown cov"),
        ({"weights": [0.5, 0.6]}, ValueError, "sum to 1.*1.1"),
        ({"weights": [1.5, -0.5]}, ValueError, "nonnegative"),
        ({"weights": [np.nan, 1.0]}, ValueError, "nonnegative and sum to 1"),
        ({"weights": [1.0]}, ValueError, r"shape \(1,\)"),
        ({"mu": [0.0, 1.0, 2.0]}, ValueError, r"mu has shape \(3,\)"),
        ({"mu": [0.0, np.nan]}, ValueError, "not finite"),
        ({"sigma": [1.0, 0.0]}, ValueError, "sigma is a standard deviation and must be positive"),
        ({"sigma": [1.0, -2.0]}, ValueError, "-2"),
        ({"sigma": 1.0}, ValueError, r"shape \(\)"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_impossible_parameters_are_refused(change, error, words):
    params = {name: value for name, value in (PARAMETERS | change).items() if value is not None}
    with pytest.raises(error, match=words):
        bm.Fit.from_parameters(NORMAL, **params)


@pytest.mark.parametrize(
    "structure, cov, words",
    [
        ("full", np.ones((2, 2, 2)), "positive definite, but the matrices of components \\[0, 1\\]"),
        ("full", [np.eye(2), [[1.0, 0.5], [0.0, 1.0]]], "symmetric"),
        ("full", np.eye(2), "cov has shape"),
        ("full", [np.eye(3)] * 2, "cov has shape"),
        ("tied", [np.eye(2), 2 * np.eye(2)], 'structure "tied"'),
        ("diag", [np.array([[1.0, 0.5], [0.5, 1.0]])] * 2, 'structure "diag"'),
        ("spherical", [np.diag([1.0, 2.0])] * 2, 'structure "spherical"'),
        ("diag", [[1.0, -1.0], [1.0, 1.0]], "positive definite"),
    ],
)
def test_impossible_covariances_are_refused(structure, cov, words):
    mixture = bm.Mixture(bm.MvNormal(covariance=structure), 2)
    with pytest.raises(ValueError, match=words):
        bm.Fit.from_parameters(mixture, weights=[0.5, 0.5], mu=np.zeros((2, 2)), cov=cov)


def test_negative_rates_are_refused():
    with pytest.raises(ValueError, match="rate and must not be negative"):
        bm.Fit.from_parameters(bm.Mixture(bm.Poisson(), 2), weights=[0.5, 0.5], mu=[1.0, -1.0])


@pytest.mark.parametrize(
    "structure, compact, full",
    [
        ("tied", [[2.0, 0.5], [0.5, 1.0]], [[[2.0, 0.5], [0.5, 1.0]]] * 3),
        ("diag", [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [np.diag(v) for v in ([1.0, 2.0], [3.0, 4.0], [5.0, 6.0])]),
        ("spherical", [1.0, 2.0, 3.0], [v * np.eye(2) for v in (1.0, 2.0, 3.0)]),
    ],
)
def test_compact_covariances_are_expanded(structure, compact, full):
    mixture = bm.Mixture(bm.MvNormal(covariance=structure), 3)
    fit = bm.Fit.from_parameters(mixture, weights=[0.2, 0.3, 0.5], mu=np.zeros((3, 2)), cov=compact)
    np.testing.assert_array_equal(fit.estimates["cov"], full)


def test_a_fit_without_data_has_no_likelihood():
    fit = bm.Fit.from_parameters(NORMAL, **PARAMETERS)
    assert fit.converged and fit.engine == "parameters"
    with pytest.raises(ValueError, match="pass data="):
        fit.log_likelihood  # noqa: B018


def test_posteriors_have_no_bic():
    fit = posterior_fit(ROWS[0], ROWS[0].data(10))
    for name in ("bic", "aic", "icl", "trace"):
        with pytest.raises(AttributeError, match=f"{name} belongs to a maximum-likelihood fit"):
            getattr(fit, name)


# -- files -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("kind", ["point", "posterior"])
def test_a_saved_fit_comes_back_equal(row, suffix, kind, tmp_path):
    x = row.data(12, seed=8)
    if kind == "point":
        start = bm.Fit.from_parameters(row.mixture, **row.params)
        fit = bm.em(row.mixture, x, weights=np.linspace(0.5, 2, 12), init=start, max_iter=2, progressbar=False)
    else:
        fit = posterior_fit(row, x, shape=(2, 3))
    path = tmp_path / f"fit{suffix}"
    bm.Fit.from_parameters(row.mixture, **row.params).save(path)
    fit.save(path)  # over an earlier one
    assert [found.name for found in tmp_path.iterdir()] == [path.name]  # nothing half-written stays behind
    again = bm.load(str(path))
    assert again.mixture == fit.mixture
    xr.testing.assert_identical(again.tree, fit.tree)
    assert again.message == fit.message and again.converged == fit.converged
    xr.testing.assert_identical(again.logpdf(x), fit.logpdf(x))


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_names_survive_a_file(suffix, tmp_path):
    frame = pd.DataFrame(
        np.random.default_rng(9).normal(size=(20, 2)),
        columns=["größe", "weight (kg)"],
        index=list("abcdefghijklmnopqrst"),
    )
    fit = bm.em(bm.Mixture(bm.MvNormal(), 2), frame, n_init=2, random_seed=1, progressbar=False)
    fit.save(tmp_path / f"fit{suffix}")
    again = bm.load(tmp_path / f"fit{suffix}")
    xr.testing.assert_identical(again.logpdf(frame[["weight (kg)", "größe"]]), fit.logpdf(frame))


def test_a_saved_fit_is_in_memory(tmp_path):
    fit = bm.Fit.from_parameters(NORMAL, data=[0.0, 1.0, 3.0], **PARAMETERS)
    fit.save(tmp_path / "fit.nc")
    again = bm.load(tmp_path / "fit.nc")
    (tmp_path / "fit.nc").unlink()
    np.testing.assert_array_equal(again.logpdf([0.5]), fit.logpdf([0.5]))


def test_a_truncated_file_is_told(tmp_path):
    path = tmp_path / "fit.nc"
    bm.Fit.from_parameters(NORMAL, data=[0.0, 1.0, 3.0], **PARAMETERS).save(path)
    whole = path.read_bytes()
    for keep in (0, 10, len(whole) // 2):
        path.write_bytes(whole[:keep])
        with pytest.raises(
            ValueError, match=rf"fit.nc \({keep} bytes\) cannot be read as a saved fit: it is truncated"
        ):
            bm.load(path)


def test_a_truncated_store_is_told(tmp_path):
    path = tmp_path / "fit.zarr"
    bm.Fit.from_parameters(NORMAL, data=[0.0, 1.0, 3.0], **PARAMETERS).save(path)
    shutil.rmtree(path / "point")
    (path / "zarr.json").unlink()
    with pytest.raises(ValueError, match="fit.zarr .* cannot be read as a saved fit"):
        bm.load(path)


def test_a_foreign_file_is_told(tmp_path):
    path = tmp_path / "other.nc"
    xr.Dataset({"a": ("x", [1.0, 2.0])}).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(ValueError, match="not a fit that bayesmix saved"):
        bm.load(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="another format"):
        bm.load(path)


def test_a_file_of_a_later_version_is_told(tmp_path):
    path = tmp_path / "fit.nc"
    fit = bm.Fit.from_parameters(NORMAL, data=[0.0, 1.0, 3.0], **PARAMETERS)
    fit.save(path)
    tree = xr.open_datatree(path, engine="h5netcdf").load()
    tree.close()
    tree.attrs["bayesmix_format"] = 99
    later = tmp_path / "later.nc"
    tree.to_netcdf(later, engine="h5netcdf")
    with pytest.raises(ValueError, match="format 99, .* upgrade"):
        bm.load(later)


def test_missing_files_and_folders_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file .*absent.nc"):
        bm.load(tmp_path / "absent.nc")
    with pytest.raises(FileNotFoundError, match="folder .*absent does not exist"):
        bm.Fit.from_parameters(NORMAL, **PARAMETERS).save(tmp_path / "absent" / "fit.nc")


def test_an_interrupted_save_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / "fit.nc"
    fit = bm.Fit.from_parameters(NORMAL, data=[0.0, 1.0, 3.0], **PARAMETERS)
    fit.save(path)
    whole = path.read_bytes()

    def fail(self, target, **kwargs):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(xr.DataTree, "to_netcdf", fail)
    with pytest.raises(OSError, match="disk full"):
        fit.save(path)
    assert path.read_bytes() == whole
    assert [found.name for found in tmp_path.iterdir()] == ["fit.nc"]


# -- what users see ----------------------------------------------------------------------------------------------------
def test_it_prints_engine_mixture_rows_and_message():
    fit = bm.Fit.from_parameters(NORMAL, data=[0.0, 1.0, 3.0], **PARAMETERS)
    text = repr(fit)
    for part in ("Fit by parameters", "2 Normal() components", "3 rows", "Parameters as given."):
        assert part in text


def test_arviz_reads_the_tree():
    import arviz as az

    row = ROWS[1]
    fit = posterior_fit(row, row.data(30), shape=(2, 50))
    table = az.summary(fit.tree, var_names=["weights", "mu"], kind="stats")
    assert len(table) == 3 + 9
    draws = draws_around(row, shape=(2, 50))["weights"]
    np.testing.assert_allclose(
        table["mean"].astype(float).to_numpy()[:3], draws.mean(axis=(0, 1)), atol=0.005
    )  # rounded
    assert fit.tree["posterior"]["cov"].dims == ("chain", "draw", "cluster", "feature", "feature_2")


def test_a_fit_cannot_be_changed():
    fit = bm.Fit.from_parameters(NORMAL, **PARAMETERS)
    with pytest.raises(AttributeError):
        fit.mixture = NORMAL
