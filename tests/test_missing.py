"""Rows with missing cells: the likelihood of what is there, in every engine, and what is expected in the rest."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesmix as bm
from bayesmix.likelihood import kernel
from bayesmix.likelihood.likelihood import Likelihood

WEIGHTS = np.array([0.3, 0.7])
MU = np.array([[0.0, 0.0, 0.0], [4.0, 3.0, -4.0]])
COV = np.array(
    [[[1.0, 0.6, -0.3], [0.6, 2.0, 0.2], [-0.3, 0.2, 0.8]], [[2.0, -0.5, 0.4], [-0.5, 1.0, 0.3], [0.4, 0.3, 1.5]]]
)
STRUCTURES = ["full", "tied", "diag", "spherical", "VEV", "EVI"]


def rows(n, seed=0, share=0.3):
    """Rows of the mixture, complete, and with cells missing completely at random."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(2, n, p=WEIGHTS)
    x = np.array([rng.multivariate_normal(MU[k], COV[k]) for k in labels])
    return x, np.where(rng.random(x.shape) < share, np.nan, x)


def structured(structure):
    """Covariances with a structure, from those above."""
    variances = np.array([np.diag(c) for c in COV])
    if structure == "tied":
        return np.repeat(COV[:1], 2, axis=0)
    if structure == "VEV":
        turn = stats.special_ortho_group(3, seed=1).rvs()
        return np.array([np.diag([1.0, 2.0, 0.5]), 3.0 * turn @ np.diag([1.0, 2.0, 0.5]) @ turn.T])
    if structure == "EVI":
        return np.array([np.diag(v / np.prod(v) ** (1 / 3)) for v in variances])
    if structure in ("diag", "spherical"):
        return np.array([np.diag(v if structure == "diag" else np.full(3, v[0])) for v in variances])
    return COV


def log_joint(x, cov, scale=1.0, offset=0.0):
    """SciPy's log pi_k + log density of the observed cells, (obs, cluster)."""
    out = np.zeros((len(x), 2)) + np.log(WEIGHTS)
    for i, k in np.ndindex(*out.shape):
        seen = ~np.isnan(x[i])
        if seen.any():
            mean, part = scale * MU[k][seen] + offset, scale**2 * cov[k][np.ix_(seen, seen)]
            out[i, k] += stats.multivariate_normal(mean, part).logpdf(x[i, seen])
    return out


@pytest.mark.parametrize("structure", STRUCTURES)
def test_likelihood_is_that_of_the_observed_cells(structure):
    _, x = rows(200)
    cov = structured(structure)
    mixture = bm.Mixture(bm.MvNormal(covariance=structure), 2)
    weights = np.random.default_rng(1).integers(0, 3, len(x)).astype(float)
    params = {"weights": WEIGHTS, "mu": MU, "cov": cov}
    joint = log_joint(x, cov)
    expected = np.logaddexp.reduce(joint, axis=1)
    for w in (None, weights):
        found = Likelihood(mixture.component, mixture.check(x, w), 2).log_likelihood(params)
        assert found == pytest.approx((expected * (1.0 if w is None else w)).sum(), rel=1e-12)
    fit = bm.Fit.from_parameters(mixture, x, **params)
    assert fit.log_likelihood == pytest.approx(expected.sum(), rel=1e-12)
    np.testing.assert_allclose(fit.tree["log_likelihood/x"].values[0, 0], expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(fit.logpdf(x), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(fit.responsibilities(x), np.exp(joint - expected[:, None]), atol=1e-12)
    assert np.abs(fit.logpdf(x).values[np.isnan(x).all(axis=1)]).max() < 1e-15, "a row without cells says nothing"


@pytest.mark.parametrize(("offset", "scale"), [(1e6, 1.0), (0.0, 1e6), (0.0, 1e-6)])
def test_offset_and_units_cost_no_digits(offset, scale):
    _, x = rows(200)
    x = x * scale + offset
    mixture = bm.Mixture(bm.MvNormal(), 2)
    params = {"weights": WEIGHTS, "mu": MU * scale + offset, "cov": COV * scale**2}
    found = Likelihood(mixture.component, mixture.check(x), 2).log_likelihood(params)
    expected = np.logaddexp.reduce(log_joint(x, COV, scale, offset), axis=1).sum()
    assert found == pytest.approx(expected, rel=1e-9)  # data rounded to 1e6 * 2^-53


@pytest.mark.parametrize("structure", STRUCTURES)
def test_gradient_is_the_derivative(structure):
    _, x = rows(150)
    mixture = bm.Mixture(bm.MvNormal(covariance=structure), 2)
    likelihood = Likelihood(mixture.component, mixture.check(x), 2)
    vector = likelihood.to_vector({"weights": WEIGHTS, "mu": MU + 0.3, "cov": structured(structure)})
    guard = mixture.component.guard(likelihood.data, 1.0)
    value = lambda v: likelihood.value_and_gradient(v, guard)[0]  # noqa: E731
    steps = 1e-5 * np.eye(len(vector))
    numeric = [(value(vector + h) - value(vector - h)) / 2e-5 for h in steps]
    np.testing.assert_allclose(likelihood.value_and_gradient(vector, guard)[1], numeric, rtol=1e-6, atol=1e-5)


def test_complete_rows_give_the_same_statistics():
    x, _ = rows(300)
    factor = np.linalg.inv(np.linalg.cholesky(COV))
    inverse = 1.0 / np.sqrt(np.diagonal(COV, axis1=1, axis2=2))
    for name, b in (("full", factor), ("diagonal", inverse)):
        complete, same = (kernel.KERNELS[n](x, np.empty(0), np.log(WEIGHTS), MU, b) for n in (name, f"{name}_missing"))
        for one, other in zip(complete, same, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-9)


def test_em_is_the_closed_form_where_patterns_are_monotone():
    """Anderson (1957): x by all rows, y by its regression on x in the rows that have both."""
    rng = np.random.default_rng(3)
    x = rng.normal(2.0, 1.5, 80)
    y = 1.0 + 0.7 * x + rng.normal(0.0, 0.5, 80)
    y[50:] = np.nan
    fit = bm.em(bm.Mixture(bm.MvNormal(), 1), np.column_stack([x, y]), guard=None, tol=1e-10, progressbar=False)
    slope, intercept = np.polyfit(x[:50], y[:50], 1)
    residual = np.var(y[:50] - intercept - slope * x[:50])
    mean, variance = x.mean(), x.var()
    assert fit.converged
    np.testing.assert_allclose(fit.estimates["mu"][0], [mean, intercept + slope * mean], rtol=1e-7)
    expected = [[variance, slope * variance], [slope * variance, residual + slope**2 * variance]]
    np.testing.assert_allclose(fit.estimates["cov"][0], expected, rtol=1e-6)


@pytest.mark.parametrize("structure", ["full", "diag"])
def test_em_climbs_and_finds_the_parameters(structure):
    _, x = rows(1500, seed=4)
    x[0] = np.nan
    cov = structured(structure)
    if structure == "diag":
        rng = np.random.default_rng(5)
        labels = rng.choice(2, len(x), p=WEIGHTS)
        x = np.where(
            np.isnan(x), np.nan, MU[labels] + rng.normal(size=x.shape) * np.sqrt(np.diagonal(cov[labels], 0, 1, 2))
        )
    fit = bm.em(
        bm.Mixture(bm.MvNormal(covariance=structure), 2),
        x,
        n_init=4,
        uncertainty="laplace",
        random_seed=1,
        progressbar=False,
    )
    assert fit.converged
    assert np.diff(fit.trace.values).min() > -1e-11, "but for rounding"
    order = np.argsort(fit.estimates["mu"][:, 0])
    error = fit.estimates["mu"][order] - MU
    assert np.abs(error / fit.standard_errors["mu"].values[order]).max() < 4.0, "six means within four standard errors"
    assert np.abs(fit.standard_errors["mu"].values[order] / np.sqrt(np.diagonal(cov, 0, 1, 2))).max() < 0.12


def test_a_column_by_itself_is_fitted_to_the_rows_that_have_it():
    x, _ = rows(200, share=0.0)
    gaps = np.where(np.arange(len(x)) % 4 == 0, np.nan, x[:, 0])
    for family in (bm.Normal(), bm.StudentT()):
        options = {"n_init": 2, "random_seed": 1, "progressbar": False}
        with_gaps = bm.em(bm.Mixture(family, 2), gaps, **options)
        without = bm.em(bm.Mixture(family, 2), gaps[~np.isnan(gaps)], **options)
        assert with_gaps.log_likelihood == pytest.approx(without.log_likelihood, rel=1e-10)
        assert with_gaps.n_obs == len(gaps)
        assert np.abs(with_gaps.tree["log_likelihood/x"].values[..., ::4]).max() < 1e-15
        np.testing.assert_allclose(with_gaps.responsibilities([np.nan]), with_gaps.estimates["weights"][None])


PRODUCT = bm.Product(a=bm.Normal(), b=bm.Poisson(), c=bm.Bernoulli(), d=bm.StudentT())
OF_PRODUCT = {
    "weights": WEIGHTS,
    "a_mu": np.array([0.0, 3.0]),
    "a_sigma": np.array([1.0, 0.5]),
    "b_mu": np.array([1.0, 6.0]),
    "c_p": np.array([0.2, 0.7]),
    "d_nu": np.array([4.0, 8.0]),
    "d_mu": np.array([-1.0, 2.0]),
    "d_sigma": np.array([1.0, 0.7]),
}


def mixed(n, seed=0):
    """Rows of the product, complete and with gaps."""
    draws = bm.Fit.from_parameters(bm.Mixture(PRODUCT, 2), **OF_PRODUCT).sample(n, random_seed=seed).values
    gaps = np.where(np.random.default_rng(seed).random(draws.shape) < 0.25, np.nan, draws)
    return (pd.DataFrame(values, columns=list("abcd")) for values in (draws, gaps))


def log_joint_of_product(x):
    p, out = OF_PRODUCT, []
    for k in range(2):
        laws = [
            stats.norm(p["a_mu"][k], p["a_sigma"][k]).logpdf,
            stats.poisson(p["b_mu"][k]).logpmf,
            stats.bernoulli(p["c_p"][k]).logpmf,
            stats.t(p["d_nu"][k], p["d_mu"][k], p["d_sigma"][k]).logpdf,
        ]
        columns = [
            np.where(np.isnan(c), 0.0, law(np.nan_to_num(c))) for law, c in zip(laws, x.to_numpy().T, strict=True)
        ]
        out.append(np.log(WEIGHTS[k]) + np.sum(columns, axis=0))
    return np.array(out).T


def test_product_leaves_out_what_is_missing():
    _, x = mixed(300)
    mixture = bm.Mixture(PRODUCT, 2)
    fit = bm.Fit.from_parameters(mixture, x, **OF_PRODUCT)
    expected = np.logaddexp.reduce(log_joint_of_product(x), axis=1)
    assert fit.log_likelihood == pytest.approx(expected.sum(), rel=1e-11)
    np.testing.assert_allclose(fit.logpdf(x), expected, rtol=1e-10, atol=1e-12)
    likelihood = Likelihood(mixture.component, mixture.check(x), 2)
    vector = likelihood.to_vector(fit.estimates) + 0.1
    value = lambda v: likelihood.value_and_gradient(v)[0]  # noqa: E731
    numeric = [(value(vector + h) - value(vector - h)) / 2e-5 for h in 1e-5 * np.eye(len(vector))]
    np.testing.assert_allclose(likelihood.value_and_gradient(vector)[1], numeric, rtol=1e-6, atol=1e-5)


def test_product_is_fitted():
    _, x = mixed(1500, seed=2)
    fit = bm.em(bm.Mixture(PRODUCT, 2), x, n_init=4, uncertainty="laplace", random_seed=1, progressbar=False)
    assert fit.converged and np.diff(fit.trace.values).min() > -1e-11
    for name in ("a_mu", "b_mu", "c_p", "d_mu"):
        error = fit.estimates[name] - OF_PRODUCT[name]
        assert np.all(np.abs(error) < 4.0 * fit.standard_errors[name].values), name
    fit = bm.Fit.from_parameters(fit.mixture, x, **fit.estimates)
    imputed = fit.impute()
    own = fit.responsibilities(x).values
    gone = np.isnan(x["b"].to_numpy())
    np.testing.assert_allclose(imputed["estimate"].sel(feature="b").values[gone], (own @ fit.estimates["b_mu"])[gone])


# two groups of correlated columns that miss cells of their own, beside a count
CORRELATED = bm.Product(
    size=(bm.MvNormal(), ["a", "b", "c"]), shape=(bm.MvNormal(covariance="tied"), ["d", "e"]), visits=bm.Poisson()
)
OF_CORRELATED = {
    "size_mu": MU, "size_cov": COV, "shape_mu": MU[:, :2] * 0.3, "shape_cov": COV[[1, 1], 1:, 1:], "visits_mu": [1.0, 4.0]
}  # fmt: skip


def correlated(n, seed=0, share=0.3):
    """Rows of that product, with cells missing completely at random; some rows have no cell of a part."""
    rng = np.random.default_rng(seed)
    labels, gone = rng.choice(2, n, p=WEIGHTS), rng.random((n, 6)) < share
    size = np.array([rng.multivariate_normal(MU[k], COV[k]) for k in labels])
    shape = np.array([rng.multivariate_normal(0.3 * MU[k, :2], COV[1, 1:, 1:]) for k in labels])
    x = np.column_stack([size, shape, rng.poisson(np.array([1.0, 4.0])[labels])])
    return pd.DataFrame(np.where(gone, np.nan, x), columns=list("abcde") + ["visits"])


def test_correlated_parts_of_a_product_are_observed_cell_by_cell():
    """Against SciPy, row by row, at 200 rows of 50 patterns or so; and the gradient against differences."""
    frame = correlated(200)
    weights = np.random.default_rng(3).integers(0, 3, 200).astype(float)
    mixture = bm.Mixture(CORRELATED, 2)
    fit = bm.Fit.from_parameters(mixture, frame, weights=WEIGHTS, **OF_CORRELATED)
    x, joint = frame.to_numpy(), np.tile(np.log(WEIGHTS), (200, 1))
    for i, k in np.ndindex(*joint.shape):
        for at, mu, cov in ((slice(0, 3), MU, COV), (slice(3, 5), 0.3 * MU, COV[[1, 1], 1:, 1:])):
            seen = np.flatnonzero(~np.isnan(x[i, at]))
            if len(seen):
                law = stats.multivariate_normal(mu[k][seen], cov[k][np.ix_(seen, seen)])
                joint[i, k] += law.logpdf(x[i, at][seen])
        joint[i, k] += 0.0 if np.isnan(x[i, 5]) else stats.poisson([1.0, 4.0][k]).logpmf(x[i, 5])
    expected = np.logaddexp.reduce(joint, axis=1)
    assert fit.log_likelihood == pytest.approx(expected.sum(), rel=1e-12)
    np.testing.assert_allclose(fit.logpdf(frame), expected, rtol=1e-11, atol=1e-12)
    likelihood = Likelihood(mixture.component, mixture.check(frame, weights), 2)
    assert likelihood.log_likelihood(fit.estimates) == pytest.approx(weights @ expected, rel=1e-12)
    vector = likelihood.to_vector(fit.estimates) + 0.1
    value = lambda v: likelihood.value_and_gradient(v)[0]  # noqa: E731
    numeric = [(value(vector + h) - value(vector - h)) / 2e-5 for h in 1e-5 * np.eye(len(vector))]
    np.testing.assert_allclose(likelihood.value_and_gradient(vector)[1], numeric, rtol=1e-6, atol=1e-4)


def test_the_order_of_rows_changes_no_statistic_of_correlated_parts():
    """The pass follows the patterns as they come: sorted rows are quick, any order is right."""
    mixture, frame = bm.Mixture(CORRELATED, 2), correlated(500, seed=1)
    likelihood = Likelihood(mixture.component, mixture.check(frame), 2)
    params = {"weights": WEIGHTS} | {name: np.asarray(value) for name, value in OF_CORRELATED.items()}
    a, b = map(np.ascontiguousarray, mixture.component.kernel_arguments(params))
    run, x = mixture.component.expected_statistics(missing=True), likelihood.rows.x
    mixed = np.ascontiguousarray(x[np.random.default_rng(0).permutation(len(x))])
    for sorted_, shuffled in zip(*(run(rows, np.empty(0), np.log(WEIGHTS), a, b) for rows in (x, mixed)), strict=True):
        np.testing.assert_allclose(shuffled, sorted_, rtol=1e-10, atol=1e-8)


def test_a_correlated_part_alone_in_a_product_is_the_family_itself():
    _, x = rows(300, seed=5)
    frame = pd.DataFrame(x, columns=list("abc"))
    product = bm.Mixture(bm.Product(size=(bm.MvNormal(), ["a", "b", "c"])), 2)
    alone = bm.Mixture(bm.MvNormal(), 2)
    ours, theirs = (
        bm.em(mixture, frame, n_init=3, guard=None, random_seed=1, progressbar=False) for mixture in (product, alone)
    )
    assert ours.log_likelihood == pytest.approx(theirs.log_likelihood, abs=1e-6)
    np.testing.assert_allclose(ours.estimates["size_cov"], theirs.estimates["cov"], rtol=1e-4)


def test_correlated_parts_are_fitted_in_spite_of_gaps():
    fit = bm.em(bm.Mixture(CORRELATED, 2), correlated(1500, seed=2), n_init=4, random_seed=1, progressbar=False)
    assert fit.converged and np.diff(fit.trace.values).min() > -1e-11
    for name, truth in OF_CORRELATED.items():  # standard errors are at most 0.1 or so with 450 rows, 70 % of them seen
        np.testing.assert_allclose(fit.estimates[name], truth, atol=0.45, err_msg=name)


def test_columns_that_are_never_seen_together_are_told():
    x, _ = rows(100)
    x[:50, 0], x[50:, 1] = np.nan, np.nan
    with pytest.warns(UserWarning, match="no row has values of both columns: column 0 and column 1"):
        bm.Mixture(bm.MvNormal(), 2).check(x)


def test_imputation_is_the_conditional_distribution():
    _, x = rows(60, seed=6)
    mixture = bm.Mixture(bm.MvNormal(), 2)
    fit = bm.Fit.from_parameters(mixture, x, weights=WEIGHTS, mu=MU, cov=COV)
    found = fit.impute(interval=0.8, draws=2000, random_seed=1)
    joint = log_joint(x, COV)
    r = np.exp(joint - np.logaddexp.reduce(joint, axis=1)[:, None])
    for i in range(len(x)):
        seen, gone = np.flatnonzero(~np.isnan(x[i])), np.flatnonzero(np.isnan(x[i]))
        means, variances = np.empty((2, len(gone))), np.empty((2, len(gone)))
        for k in range(2):
            gain = COV[k][np.ix_(gone, seen)] @ np.linalg.inv(COV[k][np.ix_(seen, seen)])
            means[k] = MU[k][gone] + gain @ (x[i, seen] - MU[k][seen])
            variances[k] = np.diag(COV[k][np.ix_(gone, gone)] - gain @ COV[k][np.ix_(seen, gone)])
        mean = r[i] @ means
        sd = np.sqrt(r[i] @ (variances + (means - mean) ** 2))
        np.testing.assert_allclose(found["estimate"].values[i, gone], mean, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found["sd"].values[i, gone], sd, rtol=1e-9)
        drawn = found["draws"].values[:, i, gone]
        assert np.all(np.abs(drawn.mean(axis=0) - mean) < 4.5 * sd / np.sqrt(2000)), "4.5 Monte Carlo errors"
        for j, low, high in zip(
            range(len(gone)), found["lower"].values[i, gone], found["upper"].values[i, gone], strict=True
        ):
            inside = r[i] @ [
                np.subtract(*stats.norm(means[k, j], variances[k, j] ** 0.5).cdf([high, low])) for k in range(2)
            ]
            assert inside == pytest.approx(0.8, abs=5 * np.sqrt(0.8 * 0.2 / 4000))
        assert np.array_equal(found["estimate"].values[i, seen], x[i, seen])
        assert np.all(found["sd"].values[i, seen] == 0.0)


def test_other_data_are_imputed_by_the_names_of_their_columns():
    x, _ = rows(200)
    fit = bm.em(
        bm.Mixture(bm.MvNormal(), 2), pd.DataFrame(x, columns=list("abc")), n_init=2, random_seed=1, progressbar=False
    )
    new = pd.DataFrame({"c": [np.nan, -4.0], "a": [0.1, None], "b": [0.2, 3.0]})
    found = fit.impute(new)
    assert np.isnan(found["estimate"]).sum() == 0
    assert found["sd"].sel(feature="c").values[0] > 0 and found["sd"].sel(feature="b").values.tolist() == [0.0, 0.0]


@pytest.mark.slow
def test_the_posterior_is_that_of_the_observed_cells(tmp_path):
    _, x = rows(150, seed=7)
    mixture = bm.Mixture(bm.MvNormal(covariance="spherical"), 2)
    fit = bm.nuts(mixture, x, draws=150, tune=150, chains=2, random_seed=1, progressbar=False)
    mean, sd = (getattr(fit.tree["posterior"].dataset["mu"], f)(("chain", "draw")).values for f in ("mean", "std"))
    order = np.argsort(mean[:, 0])
    assert np.abs((mean[order] - MU) / sd[order]).max() < 4.0
    at = {name: value[5] for name, value in fit.draws.items()}
    pointwise = fit.tree["log_likelihood/x"].values.reshape(-1, len(x))[5]
    assert pointwise.sum() == pytest.approx(Likelihood(mixture.component, mixture.check(x), 2).log_likelihood(at))
    fit.save(tmp_path / "fit.nc")
    again = bm.load(tmp_path / "fit.nc")
    np.testing.assert_array_equal(again.data.values, x)
    assert np.all(again.impute()["sd"].values[np.isnan(x)] > 0)
    assert fit.plot() is not None


@pytest.mark.parametrize("family", ["mvnormal", "product"])
def test_pymc_models_have_the_same_likelihood(family):
    if family == "mvnormal":
        (_, x), mixture = rows(40), bm.Mixture(bm.MvNormal(), 2)
    else:
        (_, x), mixture = mixed(40), bm.Mixture(PRODUCT, 2)
    model = mixture.to_pymc(x)
    assert not any("unobserved" in v.name for v in model.free_RVs), "PyMC makes no parameters of missing cells"
    point = model.initial_point(random_seed=1)
    names = ["weights", *(p.name for p in mixture.component.parameters)]
    values = model.compile_fn(
        model.replace_rvs_by_values([model[n] for n in names]), inputs=model.value_vars, point_fn=True
    )
    at = dict(zip(names, values(point), strict=True))
    found = model.compile_fn(model.logp(vars=model.observed_RVs, sum=False), mode="FAST_COMPILE")(point)[0]
    np.testing.assert_allclose(found, bm.Fit.from_parameters(mixture, x, **at).logpdf(x), rtol=1e-8, atol=1e-10)


def test_gibbs_says_what_takes_missing_cells():
    _, x = rows(50)
    with pytest.raises(ValueError, match=r"bm.gibbs needs complete rows, but \d+ cells are missing.*bm.nuts"):
        bm.gibbs(bm.Mixture(bm.MvNormal(), 2), x, progressbar=False)
