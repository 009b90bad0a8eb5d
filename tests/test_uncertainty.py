"""Sampling distributions of estimates: against formulas and other people's derivatives, and the methods against each other."""

import os
import signal
import threading

import numpy as np
import pytest
from oracles import ROWS

import bayesmix as bm
from bayesmix.cores import in_order
from bayesmix.engines.uncertainty import RESAMPLES
from bayesmix.likelihood import formula, information
from bayesmix.likelihood.information import parameter_jacobian
from bayesmix.likelihood.likelihood import Likelihood
from bayesmix.tables import entries

QUIET = {"progressbar": False}
FAITHFUL = bm.datasets.load("faithful")
BOOTSTRAPS = tuple(RESAMPLES)


def spread(fit, name):
    return fit.tree["posterior"][name].values.std(axis=(0, 1))


def weighted_likelihood(row, n=200):
    x = row.data(n)
    weights = np.random.default_rng(1).uniform(0.0, 2.0, n)
    return Likelihood(row.component, row.mixture.check(x, weights), row.n_components)


def away_from_any_optimum(function, row):
    vector = function.to_vector(row.params)
    return vector + 0.3 * np.random.default_rng(2).standard_normal(len(vector))


# Families with a Hessian: no kinks, and some parameter that is free.
SMOOTH = [row for row in ROWS if row.component.smooth and row.component.n_free(3, row.n_features)]


@pytest.fixture(params=SMOOTH, ids=str)
def row(request):
    return request.param


WRITTEN_OUT = {"Normal", "Poisson", *(f"MvNormal {name}" for name in ("full", "tied", "diag", "spherical"))}


# -- the information -----------------------------------------------------------------------------------------------------
def test_information_is_minus_the_derivative_of_the_gradient(row):
    """Central differences of the exact gradient, weighted rows, away from any optimum, with and without the guard."""
    function = weighted_likelihood(row)
    vector = away_from_any_optimum(function, row)
    steps = 4e-5 * function.coordinate_scale(vector)
    for guard in (None, row.component.guard(function.data, 20.0)):
        exact = function.information(vector, guard)
        size = np.sqrt(np.abs(np.outer(np.diag(exact), np.diag(exact))))
        for i, step in enumerate(steps):
            shift = step * (np.arange(len(vector)) == i)
            below, above = (function.value_and_gradient(vector + sign * shift, guard)[1] for sign in (-1, 1))
            # third derivatives of the gradient times step^2, and its rounding of 1e-13 over the step
            assert np.all(np.abs((below - above) / (2 * step) - exact[i]) < 1e-5 * size[i]), f"coordinate {i}, {guard}"


@pytest.mark.parametrize("row", [row for row in ROWS if row.name in WRITTEN_OUT], ids=str)
def test_information_is_pytensors_hessian_of_the_formula(row):
    """The coordinates written out again, the family's formula for density, and PyTensor's second derivatives."""
    import pytensor
    import pytensor.tensor as pt
    from pytensor.compile.mode import Mode

    function = weighted_likelihood(row, n=20)
    vector = away_from_any_optimum(function, row)
    k, d = row.n_components, row.n_features
    theta = pt.dvector("theta")
    ratios = pt.concatenate([theta[: k - 1], pt.zeros(1)])
    rest = theta[k - 1 :]
    if row.name == "Poisson":
        params = {"mu": pt.exp(rest)}
    elif row.name == "Normal":
        params = {"mu": rest[:k], "sigma": pt.exp(rest[k:])}
    else:
        scales = rest[k * d :]
        params = {"mu": rest[: k * d].reshape((k, d)), "cov": pt.zeros((k, d, d))}
        if row.component.kernel == "diagonal":
            one_each = 1 if row.component.covariance == "spherical" else d
            inverse = pt.exp(-scales).reshape((k, one_each)) * pt.ones((k, d))
            params["precision_factor"] = inverse[:, :, None] * np.eye(d)
        else:
            i, j = np.tril_indices(d)
            matrices = 1 if row.component.covariance == "tied" else k
            flat = scales.reshape((matrices, len(i))) * pt.ones((k, len(i)))
            factor = pt.set_subtensor(pt.zeros((k, d, d))[:, i, j], flat)
            on = np.eye(d, dtype=bool)
            params["precision_factor"] = pt.where(on, pt.exp(pt.where(on, factor, 0.0)), factor)
    log_weights = pt.log(pt.special.softmax(ratios))
    rows = formula.log_likelihood(row.component, pt.as_tensor(function.data.values), log_weights, params)
    total = pt.sum(pt.as_tensor(function.data.weights) * rows)
    direction = pt.dvector("direction")
    along = pytensor.grad(pt.sum(pytensor.grad(total, theta) * direction), theta)
    mode = Mode(linker="py", optimizer="fast_compile")  # nothing is compiled
    hessian_times = pytensor.function([theta, direction], [total, along], mode=mode)
    values, second = zip(*(hessian_times(vector, one) for one in np.eye(len(vector))), strict=True)
    assert np.isclose(values[0], function.log_likelihood(function.from_vector(vector)), rtol=1e-12)
    exact = function.information(vector)
    np.testing.assert_allclose(exact, -np.array(second), rtol=1e-9, atol=1e-11 * np.abs(exact).max())


def test_information_does_not_depend_on_blocks_or_repeated_rows(row, monkeypatch):
    x, counts = row.data(600), np.random.default_rng(3).integers(0, 4, 600)
    weighted = Likelihood(row.component, row.mixture.check(x, counts), row.n_components)
    repeated = Likelihood(row.component, row.mixture.check(np.repeat(x, counts, axis=0)), row.n_components)
    vector = away_from_any_optimum(weighted, row)
    expected = weighted.information(vector)
    monkeypatch.setattr(information, "CELLS", 1)  # blocks of 256 rows
    for function in (weighted, repeated):
        np.testing.assert_allclose(function.information(vector), expected, rtol=1e-10, atol=1e-11 * expected.max())


def test_information_keeps_its_digits_far_from_zero_and_in_any_unit():
    """Data at 1e8, in units of 1e-6: mu is stored to 1.5e-8, of a spread of 1."""
    mixture, x = bm.Mixture(bm.Normal(), 2), ROWS[0].data(500)
    params = {"weights": np.array([0.4, 0.6]), "mu": np.array([-2.0, 2.0]), "sigma": np.array([1.0, 1.5])}
    near = Likelihood(mixture.component, mixture.check(x), 2)
    expected = near.information(near.to_vector(params))
    for offset, unit in ((1e8, 1.0), (0.0, 1e-6), (1e8, 1e-6), (0.0, 1e9)):
        moved = params | {"mu": (params["mu"] + offset) * unit, "sigma": params["sigma"] * unit}
        far = Likelihood(mixture.component, mixture.check((x + offset) * unit), 2)
        units = np.array([1.0, unit, unit, 1.0, 1.0])
        scaled = far.information(far.to_vector(moved)) * np.outer(units, units)
        tolerance = (1e-7 if offset else 1e-12) * expected.max()
        np.testing.assert_allclose(scaled, expected, rtol=1e-6, atol=tolerance, err_msg=f"{offset}, {unit}")


def test_jacobian_is_the_derivative_of_the_parameters(row):
    function = weighted_likelihood(row)
    vector = away_from_any_optimum(function, row)
    params = function.from_vector(vector)
    step = 1e-5
    for name, exact in parameter_jacobian(row.component, params).items():
        assert exact.shape == (*params[name].shape, len(vector)), name
        for i in range(len(vector)):
            shift = step * (np.arange(len(vector)) == i)
            below, above = (function.from_vector(vector + sign * shift)[name] for sign in (-1, 1))
            # third derivatives times step^2, and rounding of 1e-16 over the step
            np.testing.assert_allclose((above - below) / (2 * step), exact[..., i], rtol=1e-6, atol=1e-8, err_msg=name)


# -- standard errors -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("structure", ["full", "tied", "diag", "spherical"])
def test_one_multivariate_component_has_textbook_standard_errors(structure):
    """sqrt(Sigma_ii / n) and sqrt((Sigma_ii Sigma_jj + Sigma_ij^2) / n) (Anderson 2003, section 3.4); spherical shares D."""
    mixture = bm.Mixture(bm.MvNormal(covariance=structure), 1)
    fit = bm.em(mixture, FAITHFUL, guard=None, uncertainty="laplace", draws=2, random_seed=1, **QUIET)
    se, cov, n = fit.standard_errors, fit.estimates["cov"][0], len(FAITHFUL["waiting"])
    variance = np.diag(cov)
    of_cov = np.sqrt((np.outer(variance, variance) + cov**2) / n)
    if structure in ("diag", "spherical"):
        of_cov = np.diag(variance) * np.sqrt(2.0 / n)
    if structure == "spherical":
        of_cov /= np.sqrt(2.0)
    np.testing.assert_allclose(se["mu"][0], np.sqrt(variance / n), rtol=1e-9)
    np.testing.assert_allclose(se["cov"][0], of_cov, rtol=1e-9, atol=1e-12)
    assert se["weights"].values == [0.0]


def test_one_normal_component_has_textbook_standard_errors():
    """sigma / sqrt(n) for the mean, sigma / sqrt(2 n) for sigma; 4000 draws know a sd to 1.1 % (one Monte Carlo sd)."""
    x = FAITHFUL["waiting"]
    fit = bm.em(bm.Mixture(bm.Normal(), 1), x, guard=None, uncertainty="laplace", draws=4000, random_seed=1, **QUIET)
    for name, expected in {
        "mu": float(x.std()) / np.sqrt(x.size),
        "sigma": float(x.std()) / np.sqrt(2 * x.size),
    }.items():
        assert fit.standard_errors[name].values[0] == pytest.approx(expected, rel=1e-9), name
        assert spread(fit, name)[0] == pytest.approx(expected, rel=0.05), name


def test_one_poisson_component_has_textbook_standard_error():
    """sqrt(mu / n)."""
    x = np.random.default_rng(1).poisson(4.0, 300)
    fit = bm.em(bm.Mixture(bm.Poisson(), 1), x, uncertainty="laplace", draws=4000, random_seed=1, **QUIET)
    assert fit.standard_errors["mu"].values[0] == pytest.approx(np.sqrt(x.mean() / 300), rel=1e-9)
    assert spread(fit, "mu")[0] == pytest.approx(np.sqrt(x.mean() / 300), rel=0.05)


def test_known_labels_leave_binomial_standard_errors_of_weights():
    """Components so far apart that nothing is missing: sqrt(p (1 - p) / n), and those of each sample by itself."""
    x = np.concatenate([FAITHFUL["waiting"].values, 1e4 + FAITHFUL["waiting"].values[:68]])
    fit = bm.em(bm.Mixture(bm.Normal(), 2), x, guard=None, uncertainty="laplace", draws=2, random_seed=1, **QUIET)
    np.testing.assert_allclose(fit.standard_errors["weights"], np.sqrt(0.8 * 0.2 / 340), rtol=1e-9)
    np.testing.assert_allclose(fit.standard_errors["mu"], fit.estimates["sigma"] / np.sqrt([272, 68]), rtol=1e-9)


def test_standard_errors_are_a_group_like_point_and_are_saved(tmp_path):
    fit = bm.em(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, uncertainty="laplace", draws=10, random_seed=1, **QUIET)
    group, point = fit.tree["standard_error"].to_dataset(), fit.tree["point"].to_dataset()
    assert {name: v.dims for name, v in group.items()} == {name: v.dims for name, v in point.items()}
    assert group["mu"].sel(feature="waiting").shape == (2,)
    fit.save(tmp_path / "fit.nc")
    assert bm.load(tmp_path / "fit.nc").standard_errors.identical(fit.standard_errors)


def test_standard_errors_of_a_bootstrap_are_the_spread_of_its_replicates():
    fit = bm.em(bm.Mixture(bm.Normal(), 2), FAITHFUL["waiting"], uncertainty="bootstrap", draws=20, **QUIET)
    assert "standard_error" not in fit.tree.children
    expected = fit.tree["posterior/sigma"].values[0].std(axis=0, ddof=1)
    np.testing.assert_allclose(fit.standard_errors["sigma"], expected, rtol=1e-12)


def test_fits_without_standard_errors_say_how_to_get_them():
    fit = bm.em(bm.Mixture(bm.Normal(), 1), FAITHFUL["waiting"], **QUIET)
    with pytest.raises(AttributeError, match='uncertainty="laplace"'):
        _ = fit.standard_errors


def test_boundary_estimates_say_that_there_are_no_standard_errors():
    """All counts of one group are zero, so its rate is too: no information there, and the fit is kept."""
    x = np.array([0] * 30 + [20, 22, 19, 25, 21, 18, 20, 23, 24, 17])
    fit = bm.em(bm.Mixture(bm.Poisson(), 2), x, uncertainty="laplace", random_seed=1, **QUIET)
    assert not fit.has_draws and "standard_error" not in fit.tree.children
    assert "no standard errors" in fit.message
    assert fit.estimates["mu"][0] == pytest.approx(0.0, abs=1e-6)


# -- the methods against each other --------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", BOOTSTRAPS)
def test_bootstraps_agree_with_laplace_on_simulated_data(method):
    """A true model and n = 1000: all estimate the same spread. 300 replicates know a sd to 4 %: 4 sd is 16 %."""
    mixture = bm.Mixture(bm.Normal(), 2)
    truth = bm.Fit.from_parameters(mixture, weights=[0.4, 0.6], mu=[-2.0, 2.0], sigma=[1.0, 0.7])
    x = truth.sample(1000, random_seed=3)
    laplace = bm.em(mixture, x, uncertainty="laplace", random_seed=1, **QUIET)
    fit = bm.em(mixture, x, uncertainty=method, draws=300, random_seed=1, **QUIET)
    for name in ("weights", "mu", "sigma"):
        np.testing.assert_allclose(fit.standard_errors[name], laplace.standard_errors[name], rtol=0.17, err_msg=name)
    assert "doubtful in 0 of 300 replicates (0.0%)" in fit.message
    assert fit.tree.attrs["replicates_doubtful"] == 0.0 and fit.tree.attrs["replicates"] == 300
    assert fit.tree["posterior/mu"].shape == (1, 300, 2)


def sandwich(likelihood, vector, guard):
    """Standard errors that hold without the model being true: I^-1 (sum of s_n s_n') I^-1 (Huber 1967; White 1982)."""
    rows = [Likelihood(likelihood.component, likelihood.data.take(np.array([n])), likelihood.n_components)
            for n in range(likelihood.data.n_obs)]  # fmt: skip
    scores = np.array([one.value_and_gradient(vector)[1] for one in rows])
    bread = np.linalg.inv(likelihood.information(vector, guard))
    covariance = bread @ scores.T @ scores @ bread
    jacobian = parameter_jacobian(likelihood.component, likelihood.from_vector(vector))
    return {name: np.sqrt(np.einsum("...i,ij,...j->...", j, covariance, j)) for name, j in jacobian.items()}


def test_methods_on_old_faithful():
    """Within 10 % of each other where they answer the same question; 3000 replicates know a sd to 1.3 %, or 2 % if skewed.

    The parametric bootstrap, whose data are normal mixtures, agrees with the information everywhere. The others agree
    with it in means and weights. Variances of data that are not normal within their groups have other standard errors
    than the model says (by 38 % for that of the short eruptions); these the sandwich formula gives.
    """
    mixture, settings = bm.Mixture(bm.MvNormal(), 2), {"random_seed": 1, **QUIET}
    laplace = bm.em(mixture, FAITHFUL, uncertainty="laplace", **settings)
    fits = {
        m: bm.em(mixture, FAITHFUL, init=laplace, uncertainty=m, draws=3000, **settings).standard_errors
        for m in BOOTSTRAPS
    }
    likelihood = Likelihood(mixture.component, mixture.check(FAITHFUL), 2)
    robust = sandwich(likelihood, likelihood.to_vector(laplace.estimates), None)
    by_model = laplace.standard_errors
    for entry in entries(laplace.tree["point"].to_dataset()):
        at = lambda errors, e=entry: float(np.asarray(errors[e.variable])[e.index])  # noqa: E731
        assert at(fits["parametric bootstrap"]) == pytest.approx(at(by_model), rel=0.1), entry.label
        for method in ("bootstrap", "bayesian bootstrap"):
            expected = robust if entry.variable == "cov" else by_model
            assert at(fits[method]) == pytest.approx(at(expected), rel=0.1), (entry.label, method)
    ratio = fits["bootstrap"]["cov"].values[0, 0, 0] / by_model["cov"].values[0, 0, 0]
    assert 1.3 < ratio < 1.5  # the model's standard error is too small there, and the bootstrap shows it


# -- replicates ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", BOOTSTRAPS)
def test_draws_do_not_depend_on_the_number_of_cores(method):
    """To rounding: the pass may sum in another order where its memory lies elsewhere. Other numbers would differ by 1e-2."""
    settings = {"uncertainty": method, "draws": 40, "random_seed": 4, **QUIET}
    one, three = (bm.em(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, cores=c, **settings) for c in (1, 3))
    for name in one.estimates:
        pair = (fit.tree["posterior"][name].values for fit in (one, three))
        np.testing.assert_allclose(*pair, rtol=1e-5, err_msg=name)  # replicates converge to 1e-6
    with pytest.raises(ValueError, match="cores=0"):
        bm.em(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, cores=0, **settings)


@pytest.mark.parametrize("method", BOOTSTRAPS)
def test_row_weights_say_how_many_rows_a_row_stands_for(method):
    """Rows of weight w spread as w rows do, here 200 rows 3 times against 600; 600 replicates know a sd to 2.9 %: 4 sd."""
    x = next(row for row in ROWS if row.name == "Poisson").data(200)
    mixture, settings = bm.Mixture(bm.Poisson(), 1), {"uncertainty": method, "draws": 600, "random_seed": 1, **QUIET}
    weighted = bm.em(mixture, x, weights=np.full(200, 3.0), **settings).standard_errors["mu"]
    repeated = bm.em(mixture, np.repeat(x, 3), **settings).standard_errors["mu"]
    np.testing.assert_allclose(weighted, repeated, rtol=0.17)


def test_weights_of_the_bayesian_bootstrap_are_dirichlet():
    """n Dirichlet(1, ..., 1): sum n, variance (n - 1) / (n + 1)."""
    mixture = bm.Mixture(bm.Normal(), 1)
    likelihood = Likelihood(mixture.component, mixture.check(np.arange(50.0)), 1)
    rng = np.random.default_rng(5)
    weights = np.array([RESAMPLES["bayesian bootstrap"](likelihood, {}, rng).weights for _ in range(4000)])
    np.testing.assert_allclose(weights.sum(axis=1), 50.0, rtol=1e-12)
    assert weights.var() == pytest.approx(49 / 51, rel=0.02)  # 200000 weights, of kurtosis 9: 0.6 %


def test_bootstrap_labels_are_aligned():
    """Every replicate keeps the components where the estimate has them, far apart as they are."""
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.normal(m, 1, 40) for m in (0.0, 8.0, 16.0)])
    fit = bm.em(bm.Mixture(bm.Normal(), 3), x, uncertainty="bootstrap", draws=50, random_seed=2, **QUIET)
    assert np.abs(fit.tree["posterior/mu"].values[0] - [0.0, 8.0, 16.0]).max() < 2.0


def test_doubtful_labels_are_counted():
    """Two components for one normal sample: which is which is anyone's guess."""
    x = np.random.default_rng(6).normal(size=100)
    fit = bm.em(bm.Mixture(bm.Normal(), 2), x, uncertainty="bootstrap", draws=60, random_seed=1, **QUIET)
    share = fit.tree.attrs["replicates_doubtful"]
    assert share > 0.0 and f"({share:.1%})" in fit.message


@pytest.mark.parametrize("cores", [1, 2])
def test_draws_of_an_interrupted_bootstrap_are_kept(cores):
    mixture = bm.Mixture(bm.MvNormal(), 2)
    settings = {"uncertainty": "bootstrap", "random_seed": 1, "cores": cores, **QUIET}
    start = bm.em(mixture, FAITHFUL, random_seed=1, **QUIET)
    timer = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    fit = bm.em(mixture, FAITHFUL, init=start, draws=1_000_000, **settings)
    timer.cancel()
    assert "interrupted before 1000000 replicates" in fit.message
    made = fit.tree["posterior"].sizes["draw"]
    assert 2 <= made < 1_000_000
    whole = bm.em(mixture, FAITHFUL, init=start, draws=20, **settings)
    kept, expected = (one.tree["posterior/mu"].values[0, : min(made, 20)] for one in (fit, whole))
    np.testing.assert_allclose(kept, expected, rtol=1e-5)


def test_threads_keep_the_order_and_pass_errors_on():
    taken = []

    def items():
        for i in range(1000):
            taken.append(i)
            yield i

    assert list(in_order(lambda i: i**2, range(50), 3)) == [i**2 for i in range(50)]
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda i: 1 / (7 - i), items(), 2))
    assert len(taken) < 20  # not far ahead
