"""Rows that share a component: the likelihood against SciPy by brute force, every family's pass, and every engine."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logsumexp

import bayesmix as bm
from bayesmix.likelihood import formula
from bayesmix.likelihood.kernel import BLOCK
from bayesmix.likelihood.likelihood import Likelihood
from bayesmix.units import Units

WEIGHTS = np.array([0.3, 0.7])
MU = np.array([[0.0, 0.5, 1.0], [1.0, 0.0, 2.0]])
COV = np.array([np.eye(3), 2.0 * np.eye(3) + 0.4])
RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 3)) + 0.5
GAPS = np.where(RNG.random(X.shape) < 0.2, np.nan, X)
GAPS = GAPS[~np.isnan(GAPS).all(axis=1)]
COUNTS = RNG.poisson(3.0, 400).astype(float)
PRODUCT = bm.Product(size=(bm.MvNormal(), ["a", "b"]), c=bm.Normal())
OF_PRODUCT = {"size_mu": MU[:, :2], "size_cov": COV[:, :2, :2], "c_mu": MU[:, 2], "c_sigma": np.array([1.0, 2.0])}
OF_REGRESSION = {"coef": np.array([[0.5, 0.2], [1.5, -0.1]])}
CASES = {
    "full": (bm.MvNormal(), X, {"mu": MU, "cov": COV}),
    "full with gaps": (bm.MvNormal(), GAPS, {"mu": MU, "cov": COV}),
    "diag with gaps": (bm.MvNormal(covariance="diag"), GAPS, {"mu": MU, "cov": COV * np.eye(3)}),
    "diagonal": (bm.Normal(), X[:, 0], {"mu": MU[:, 0], "sigma": np.array([1.0, 2.0])}),
    "linear": (bm.Poisson(), COUNTS, {"mu": np.array([2.0, 5.0])}),
    "formula": (bm.NegativeBinomial(), COUNTS, {"mu": np.array([2.0, 5.0]), "alpha": np.array([1.0, 3.0])}),
    "kinked": (bm.Laplace(), X[:, 0], {"mu": MU[:, 0], "b": np.array([1.0, 2.0])}),
    "t": (bm.MvStudentT(), X, {"mu": MU, "scale": COV, "nu": np.array([4.0, 9.0])}),
    "regression": (bm.Regression(bm.Poisson(), "y ~ x"), pd.DataFrame({"y": COUNTS, "x": X[:, 0]}), OF_REGRESSION),
    "parts": (PRODUCT, pd.DataFrame(X, columns=list("abc")), OF_PRODUCT),
    "parts with gaps": (PRODUCT, pd.DataFrame(GAPS, columns=list("abc")), OF_PRODUCT),
}


def brute_force(mixture, data, params, group, known=None):
    """Sum over groups of log sum_k pi_k prod_n p_k(x_n), by the formula of each row."""
    own = {name: value for name, value in params.items() if name != "weights"}
    density, total = formula.log_density(mixture.component, data.values, own), 0.0
    for g in np.unique(group):
        joint = np.log(params["weights"]) + density[group == g].sum(axis=0)
        k = -1 if known is None else known[group == g][0]
        w = 1.0 if data.weights is None else data.weights[group == g][0]
        total += w * (joint[k] if k >= 0 else logsumexp(joint))
    return total


@pytest.mark.parametrize("case", CASES)
def test_a_pass_over_groups_is_the_brute_force_sum(case):
    """Short groups and three of more rows than a block, of known and unknown components, weighted; and the gradient."""
    component, x, given = CASES[case]
    n = len(x)
    mixture = bm.Mixture(component, 2)
    mixture = mixture.resolved(mixture.check(x))
    params = {"weights": WEIGHTS} | given
    for groups, labelled in ((n // 3, 5), (2, 1)):
        group = np.random.default_rng(groups).integers(0, groups, n)
        assert groups > 2 or np.bincount(group).max() > BLOCK
        of_group = np.where(np.arange(groups) < labelled, np.arange(groups) % 2, -1)
        weights = np.arange(1.0, groups + 1.0)[group] % 3
        data = mixture.check(x, weights, of_group[group], group)
        likelihood = Likelihood(mixture.component, data, 2)
        expected = brute_force(mixture, data, params, group, of_group[group])
        assert likelihood.log_likelihood(params) == pytest.approx(expected, rel=1e-11), case
        if not component.smooth:
            continue
        vector = likelihood.to_vector(params) + 0.01
        value = lambda v: likelihood.value_and_gradient(v)[0]  # noqa: B023, E731
        numeric = [(value(vector + h) - value(vector - h)) / 2e-5 for h in 1e-5 * np.eye(len(vector))]
        np.testing.assert_allclose(likelihood.value_and_gradient(vector)[1], numeric, rtol=1e-6, atol=2e-5)


@pytest.mark.parametrize("case", CASES)
def test_one_row_in_every_group_is_the_plain_pass(case):
    component, x, given = CASES[case]
    mixture = bm.Mixture(component, 2)
    data = mixture.check(x)
    mixture, params = mixture.resolved(data), {"weights": WEIGHTS} | given
    plain = Likelihood(mixture.component, data, 2)
    order = np.random.default_rng(1).permutation(data.n_obs)
    alone = Likelihood(mixture.component, replace(data, units=Units(order, np.full(data.n_obs, -1))), 2)
    ours, theirs = alone.statistics(params), plain.statistics(params)
    assert ours.log_likelihood == pytest.approx(theirs.log_likelihood, rel=1e-13)
    for name in ("n", "first", "second"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-9, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(ours.members, theirs.n, rtol=1e-12)


@pytest.mark.parametrize("groups", [20_000, 3, 1])
def test_parts_of_many_rows_hold_whole_groups(groups):
    """60 000 rows are summed in eight parts by two threads; a group may be longer than a part."""
    rng = np.random.default_rng(3)
    x, group = rng.normal(size=60_000), np.unique(rng.integers(0, groups, 60_000), return_inverse=True)[1]
    mixture = bm.Mixture(bm.Normal(), 2)
    params = {"weights": WEIGHTS, "mu": np.array([0.0, 0.5]), "sigma": np.array([1.0, 1.3])}
    density = stats.norm.logpdf(x[:, None], params["mu"], params["sigma"])
    sums = np.array([np.bincount(group, weights=column) for column in density.T]).T + np.log(WEIGHTS)
    likelihood = Likelihood(mixture.component, mixture.check(x, group=group), 2, cores=2)
    found = likelihood.statistics(params)
    assert found.log_likelihood == pytest.approx(logsumexp(sums, axis=1).sum(), rel=1e-12)
    assert found.members.sum() == pytest.approx(len(sums)) and found.n.sum() == pytest.approx(60_000)


# -- EM ----------------------------------------------------------------------------------------------------------------------
def subjects(n_groups=80, size=5, seed=1):
    """Rows of subjects whose component is that of the subject, in random order."""
    rng = np.random.default_rng(seed)
    z, group = rng.random(n_groups) < 0.4, np.repeat(np.arange(n_groups), size)
    x = np.where(z[group], rng.normal(0.0, 1.0, len(group)), rng.normal(1.5, 1.0, len(group)))
    order = rng.permutation(len(group))
    return x[order], group[order], z


@pytest.fixture(scope="module")
def fitted():
    x, group, _ = subjects()
    return bm.em(bm.Mixture(bm.Normal(), 2), x, group=group, guard=None, uncertainty="laplace", draws=200,
                 random_seed=1, progressbar=False)  # fmt: skip


def test_em_finds_the_maximum_that_a_general_optimiser_finds(fitted):
    """SciPy's BFGS on sums of SciPy's densities by group."""
    from scipy.optimize import minimize

    x, group, _ = subjects()

    def loss(v):
        weights = np.array([1.0, np.exp(v[0])]) / (1.0 + np.exp(v[0]))
        density = stats.norm.logpdf(x[:, None], v[1:3], np.exp(v[3:5]))
        sums = np.array([np.bincount(group, weights=column) for column in density.T]).T
        return -logsumexp(sums + np.log(weights), axis=1).sum()

    found = minimize(loss, [0.0, 0.0, 1.5, 0.0, 0.0], method="BFGS", options={"gtol": 1e-8})
    assert fitted.converged and fitted.log_likelihood == pytest.approx(-found.fun, abs=1e-8)
    np.testing.assert_allclose(fitted.estimates["mu"], found.x[1:3], atol=1e-5)
    np.testing.assert_allclose(fitted.estimates["sigma"], np.exp(found.x[3:5]), atol=1e-5)
    assert fitted.estimates["weights"][1] == pytest.approx(1.0 / (1.0 + np.exp(-found.x[0])), abs=1e-5)
    assert np.diff(fitted.trace.values).min() > -1e-11


def test_standard_errors_are_those_of_the_hessian_of_groups(fitted):
    """Numerical Hessian of the sum over groups in the parameters themselves, at the estimate."""
    x, group, _ = subjects()
    point = np.concatenate([fitted.estimates["weights"][:1], fitted.estimates["mu"], fitted.estimates["sigma"]])

    def value(v):
        density = stats.norm.logpdf(x[:, None], v[1:3], v[3:5])
        sums = np.array([np.bincount(group, weights=column) for column in density.T]).T
        return logsumexp(sums + np.log([v[0], 1.0 - v[0]]), axis=1).sum()

    h, eye = 1e-4, np.eye(5)
    hessian = np.array([[(value(point + h * (a + b)) - value(point + h * (a - b)) - value(point - h * (a - b))
                          + value(point - h * (a + b))) / (4 * h * h) for b in eye] for a in eye])  # fmt: skip
    errors = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    found = fitted.standard_errors
    np.testing.assert_allclose(found["mu"], errors[1:3], rtol=1e-4)
    np.testing.assert_allclose(found["sigma"], errors[3:5], rtol=1e-4)
    np.testing.assert_allclose(found["weights"], errors[[0, 0]], rtol=1e-4)


def test_responsibilities_and_pointwise_values_are_those_of_groups(fitted):
    x, group, z = subjects()
    r = fitted.responsibilities()
    for g in (0, 17, 42):
        assert len(np.unique(r.values[group == g], axis=0)) == 1
    density = stats.norm.logpdf(x[:, None], fitted.estimates["mu"], fitted.estimates["sigma"])
    sums = np.array([np.bincount(group, weights=column) for column in density.T]).T + np.log(
        fitted.estimates["weights"]
    )
    np.testing.assert_allclose(r.values, np.exp(sums - logsumexp(sums, axis=1)[:, None])[group], atol=1e-12)
    assert (fitted.classify().values == np.where(z, 0, 1)[group]).mean() > 0.9
    new = fitted.responsibilities(x[:7], group=["a", "b", "a", "a", "b", "c", "a"])
    assert len(np.unique(new.values, axis=0)) == 3
    point = bm.em(bm.Mixture(bm.Normal(), 2), x, group=group, guard=None, init=fitted, progressbar=False)
    pointwise = point.tree["log_likelihood"]["x"]
    assert pointwise.dims == ("chain", "draw", "group")
    np.testing.assert_allclose(pointwise.values[0, 0], logsumexp(sums, axis=1), atol=1e-6)


def test_criteria_count_groups(fitted):
    assert fitted.n_units == 80 and fitted.total_weight == 400
    assert fitted.bic == pytest.approx(-2 * fitted.log_likelihood + 5 * np.log(80), abs=1e-12)
    r = fitted.responsibilities().values[fitted.data.units.first_rows]
    assert fitted.icl == pytest.approx(fitted.bic - 2 * np.log(r.max(axis=1)).sum(), abs=1e-9)
    loo = fitted.loo()
    assert loo.n_data_points == 80 and "80 groups" in loo.explanation[0]


def test_groups_survive_saving(fitted, tmp_path):
    fitted.save(tmp_path / "fit.nc")
    again = bm.load(tmp_path / "fit.nc")
    assert again.bic == fitted.bic and again.n_units == 80
    np.testing.assert_array_equal(again.responsibilities(), fitted.responsibilities())


def test_a_weight_counts_a_group_that_often():
    x, group, _ = subjects(30)
    weights = 1.0 + np.arange(30) % 3
    mixture = bm.Mixture(bm.Normal(), 2)
    start = bm.em(mixture, x, n_init=1, random_seed=1, progressbar=False)
    options = {"init": start, "guard": None, "progressbar": False}
    ours = bm.em(mixture, x, group=group, weights=weights[group], **options)
    times = weights[group].astype(int)
    copies = np.concatenate([np.arange(t) for t in times])
    names = [f"{g} {copy}" for g, copy in zip(np.repeat(group, times), copies, strict=True)]
    theirs = bm.em(mixture, np.repeat(x, times), group=names, **options)
    assert ours.log_likelihood == pytest.approx(theirs.log_likelihood, abs=1e-7)
    assert ours.bic == pytest.approx(theirs.bic, abs=1e-6)
    np.testing.assert_allclose(ours.estimates["mu"], theirs.estimates["mu"], atol=1e-5)


def test_a_column_of_the_data_names_the_groups():
    x, group, _ = subjects(30)
    frame = pd.DataFrame({"x": x, "subject": [f"s{g:02}" for g in group]})
    options = {"n_init": 2, "random_seed": 1, "progressbar": False}
    fit = bm.em(bm.Mixture(bm.Normal(), 2), frame, group="subject", **options)
    assert fit.data.feature == ("x",) and list(fit.data.units.names[:2]) == ["s00", "s01"]
    same = bm.em(bm.Mixture(bm.Normal(), 2), x, group=group, **options)
    assert fit.log_likelihood == pytest.approx(same.log_likelihood, abs=1e-9)


@pytest.mark.parametrize("method", ["bootstrap", "bayesian bootstrap", "parametric bootstrap"])
def test_the_bootstrap_draws_whole_groups(method, fitted):
    """Standard errors within a factor of those of Laplace: of rows drawn by themselves they would be wrong for the weights."""
    x, group, _ = subjects()
    fit = bm.em(bm.Mixture(bm.Normal(), 2), x, group=group, guard=None, init=fitted, uncertainty=method, draws=100,
                random_seed=2, progressbar=False)  # fmt: skip
    ratio = fit.standard_errors["weights"].values[0] / fitted.standard_errors["weights"].values[0]
    assert 0.7 < ratio < 1.4  # a standard deviation of 100 replicates is known to 7 %, Laplace's is an approximation


# -- posteriors --------------------------------------------------------------------------------------------------------------
def test_importance_sampling_and_nuts_agree_on_groups():
    x, group, _ = subjects()
    mixture = bm.Mixture(bm.Normal(), 2)
    options = {"group": group, "random_seed": 1, "progressbar": False}
    laplace = bm.laplace(mixture, x, draws=1000, **options)
    nuts = bm.nuts(mixture, x, draws=200, tune=200, **options)
    assert laplace.converged and nuts.tree["log_likelihood"]["x"].dims[-1] == "group"
    for name in (
        "mu",
        "sigma",
        "weights",
    ):  # 400 independent draws or more: a mean to a twentieth of the spread, thrice that
        sd = laplace.draws[name].std(axis=0)
        np.testing.assert_array_less(np.abs(nuts.estimates[name] - laplace.estimates[name]), 0.2 * sd, err_msg=name)
    occupied = nuts.n_occupied()
    assert float(occupied.sel(K_plus=2)) > 0.99
    same = nuts.coclustering(rows=np.flatnonzero(group == 3))
    np.testing.assert_allclose(same, 1.0)


# -- errors ------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"group": [1, 2, 3]}, ValueError, "group has 3 entries, but the data have 8 rows"),
        ({"group": [1, 1, 2, 2, None, 3, 3, 3]}, ValueError, "missing in 1 rows, counted from 0: 4"),
        ({"group": "subject"}, TypeError, "names a column"),
        (
            {"group": [1, 1, 2, 2, 3, 3, 4, 4], "weights": np.arange(8.0)},
            ValueError,
            "rows of group 1 have weights 0 and 1",
        ),
        ({"group": [1, 1, 2, 2, 3, 3, 4, 4], "labels": [0, 1, -1, -1, -1, -1, -1, -1]}, ValueError, "labels 0 and 1"),
    ],
)
def test_groups_that_cannot_be_are_told(options, error, words):
    with pytest.raises(error, match=words):
        bm.em(bm.Mixture(bm.Normal(), 2), np.arange(8.0) ** 2, progressbar=False, **options)


def test_what_has_no_groups_says_so():
    x, group, _ = subjects(20)
    mixture = bm.Mixture(bm.Normal(), 2)
    with pytest.raises(ValueError, match="batch_size= draws rows by themselves"):
        bm.advi(mixture, x, group=group, batch_size=20, progressbar=False)
    with pytest.raises(ValueError, match="kink"):
        bm.em(bm.Mixture(bm.Laplace(), 2), x, group=group, n_init=1, uncertainty="laplace", progressbar=False)
    frame = pd.DataFrame({"x": x})
    with pytest.raises(ValueError, match="no column 'subject'"):
        bm.em(mixture, frame, group="subject", progressbar=False)
