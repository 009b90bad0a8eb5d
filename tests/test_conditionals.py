"""Marginal and conditional distributions: ratios of the joint density, SciPy's own, and what is independent."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.integrate import quad

import bayesmix as bm
from bayesmix.components.covariance import LETTERS

COV = np.array(
    [[[2.0, 0.7, -0.3], [0.7, 1.5, 0.4], [-0.3, 0.4, 1.0]], [[1.0, -0.5, 0.2], [-0.5, 2.5, 0.1], [0.2, 0.1, 0.5]]]
)
MU = np.array([[0.0, 1.0, 2.0], [3.0, -1.0, 0.5]])
WEIGHTS = np.array([0.35, 0.65])
ROWS = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)) * 2, columns=["a", "b", "c"])


@pytest.fixture(scope="module")
def normal():
    return bm.Fit.from_parameters(bm.Mixture(bm.MvNormal(), 2), ROWS, weights=WEIGHTS, mu=MU, cov=COV)


@pytest.fixture(scope="module")
def mixed():
    product = bm.Product(size=(bm.MvNormal(), ["a", "b"]), visits=bm.Poisson(), late=bm.Bernoulli())
    data = ROWS[["a", "b"]].assign(visits=np.arange(60) % 5, late=np.arange(60) % 2)
    params = {"size_mu": MU[:, :2], "size_cov": COV[:, :2, :2], "visits_mu": [1.0, 6.0], "late_p": [0.2, 0.7]}
    return bm.Fit.from_parameters(bm.Mixture(product, 2), data, weights=WEIGHTS, **params)


def test_a_conditional_density_is_the_joint_density_over_that_of_what_is_given(normal):
    given = normal.condition(b=0.4)
    points = pd.DataFrame({"a": [-1.0, 0.5, 2.0], "c": [0.3, 1.0, -2.0]})
    joint = normal.logpdf(points.assign(b=0.4)[["a", "b", "c"]])
    np.testing.assert_allclose(given.logpdf(points), joint - normal.marginal("b").logpdf([0.4]).values, rtol=1e-12)


def test_one_column_given_the_others_integrates_and_has_the_joint_density(normal):
    given = normal.condition({"a": 1.0, "b": 0.4})
    assert isinstance(given.mixture.component, bm.Normal)

    def joint(c):
        return float(np.exp(normal.logpdf(np.array([[1.0, 0.4, c]])))[0])

    total = quad(joint, -12, 12, epsabs=1e-13)[0]
    for c in (-1.0, 0.7, 3.0):
        assert float(np.exp(given.logpdf([c]))[0]) == pytest.approx(joint(c) / total, rel=1e-9)
        assert float(given.cdf([c])[0]) == pytest.approx(quad(joint, -12, c, epsabs=1e-13)[0] / total, abs=1e-9)
    assert float(given.cdf([given.quantile(0.3).item()])[0]) == pytest.approx(0.3, abs=1e-9)


def test_moments_of_each_component_are_those_of_regression(normal):
    """By the precision matrix, as in Anderson (2003, sec. 2.5) the other way round: cov = inverse of its block."""
    given = normal.condition(b=0.4).estimates
    for k in range(2):
        precision = np.linalg.inv(COV[k])
        block = precision[np.ix_([0, 2], [0, 2])]
        np.testing.assert_allclose(given["cov"][k], np.linalg.inv(block), rtol=1e-12)
        mean = MU[k, [0, 2]] - np.linalg.solve(block, precision[[0, 2], 1] * (0.4 - MU[k, 1]))
        np.testing.assert_allclose(given["mu"][k], mean, rtol=1e-12)
    joint = WEIGHTS * stats.norm.pdf(0.4, MU[:, 1], np.sqrt(COV[:, 1, 1]))
    np.testing.assert_allclose(given["weights"], joint / joint.sum(), rtol=1e-13)


def test_a_marginal_density_integrates_the_joint_one(normal):
    part = normal.marginal(["a", "c"])
    for a, c in ((0.0, 1.0), (2.5, 0.0)):
        found = quad(lambda b, a=a, c=c: float(np.exp(normal.logpdf(np.array([[a, b, c]])))[0]), -12, 12, epsabs=1e-13)[
            0
        ]
        assert float(np.exp(part.logpdf(np.array([[a, c]])))[0]) == pytest.approx(found, rel=1e-9)
    assert part.data.feature == ("a", "c")
    np.testing.assert_array_equal(part.data.values, ROWS[["a", "c"]])


@pytest.mark.parametrize("letters", LETTERS)
def test_a_structure_that_is_stated_holds_in_some_of_the_columns(letters):
    """`check_parameters` refuses covariances that do not have the structure."""
    data = np.random.default_rng(1).normal(size=(80, 4)) @ np.random.default_rng(2).normal(size=(4, 4))
    fit = bm.em(
        bm.Mixture(bm.MvNormal(covariance=letters), 2), data, n_init=1, max_iter=20, random_seed=1, progressbar=False
    )
    for made in (fit.marginal([0, 1, 3]), fit.condition({2: 0.5})):
        component = made.mixture.component
        assert component.letters[0] == letters[0] or component.letters == "VVV" or letters == "EVI"
        own = {name: value for name, value in made.estimates.items() if name != "weights"}
        component.check_parameters(own, 2)


def test_values_of_other_parts_of_a_product_change_the_weights_alone(mixed):
    given = mixed.condition(visits=5, late=1)
    assert str(given.mixture.component) == str(bm.MvNormal())
    joint = WEIGHTS * stats.poisson.pmf(5, [1.0, 6.0]) * np.array([0.2, 0.7])
    np.testing.assert_allclose(given.estimates["weights"], joint / joint.sum(), rtol=1e-13)
    np.testing.assert_array_equal(given.estimates["mu"], MU[:, :2])


def test_a_part_of_several_columns_is_conditioned_within(mixed):
    given = mixed.condition(a=1.5)
    points = pd.DataFrame({"b": [0.2, -1.0], "visits": [0, 7], "late": [1, 0]})
    joint = mixed.logpdf(points.assign(a=1.5)[["a", "b", "visits", "late"]])
    np.testing.assert_allclose(given.logpdf(points), joint - mixed.marginal("a").logpdf([1.5]).values, rtol=1e-12)
    counts = mixed.marginal(["visits", "late"])
    table = np.exp(counts.logpdf(np.array([[count, late] for count in range(60) for late in (0, 1)])))
    assert float(table.sum()) == pytest.approx(1.0, abs=1e-12)
    assert isinstance(mixed.marginal("visits").mixture.component, bm.Poisson)


def test_a_t_distribution_given_some_columns_has_more_degrees_of_freedom():
    """By the ratio of SciPy's joint and marginal densities (Ding 2016): nu + d, and a scale that grows with the distance."""
    nu = np.array([3.0, 7.0])
    fit = bm.Fit.from_parameters(bm.Mixture(bm.MvStudentT(), 2), ROWS, weights=WEIGHTS, mu=MU, scale=COV, nu=nu)
    given = fit.condition(b=0.4)
    np.testing.assert_allclose(given.estimates["nu"], nu + 1.0)
    points = np.array([[-1.0, 0.3], [0.5, 1.0], [2.0, -2.0]])
    whole = np.insert(points, 1, 0.4, axis=1)
    joint = [w * stats.multivariate_t(m, s, n).pdf(whole) for w, m, s, n in zip(WEIGHTS, MU, COV, nu, strict=True)]
    alone = [w * stats.t.pdf(0.4, n, m[1], np.sqrt(s[1, 1])) for w, m, s, n in zip(WEIGHTS, MU, COV, nu, strict=True)]
    np.testing.assert_allclose(np.exp(given.logpdf(points)), np.sum(joint, axis=0) / np.sum(alone), rtol=1e-11)
    one = fit.marginal("b")
    assert isinstance(one.mixture.component, bm.StudentT)
    assert float(np.exp(one.logpdf([0.4]))[0]) == pytest.approx(np.sum(alone), rel=1e-11)


def test_every_draw_of_a_posterior_is_conditioned_by_itself():
    fit = bm.laplace(
        bm.Mixture(bm.MvNormal(), 2), bm.datasets.load("faithful"), draws=100, random_seed=1, progressbar=False
    )
    given, draws = fit.condition(eruptions=3.0), fit.draws
    slope = draws["cov"][:, :, 1, 0] / draws["cov"][:, :, 0, 0]
    mean = draws["mu"][:, :, 1] + slope * (3.0 - draws["mu"][:, :, 0])
    np.testing.assert_allclose(given.draws["mu"], mean, rtol=1e-12)
    left = draws["cov"][:, :, 1, 1] - slope * draws["cov"][:, :, 0, 1]
    np.testing.assert_allclose(given.draws["sigma"], np.sqrt(left), rtol=1e-9)
    assert set(given.tree.children) == {"posterior", "observed_data"}
    assert len(given.summary()) == 6 and given.sample(5, random_seed=1).shape == (5,)
    assert given.quantile(0.5, interval=0.9)["lower"] < given.quantile(0.5)
    given.plot()
    fit.marginal("waiting").plot()


def test_samples_are_those_of_the_conditional(normal):
    given = normal.condition(b=0.4, c=1.0)
    x = given.sample(4000, random_seed=2).values
    assert stats.kstest(x, lambda at: given.cdf(at).values).pvalue > 1e-3


def test_conditional_fits_survive_saving(mixed, tmp_path):
    given = mixed.condition(a=1.5)
    given.save(tmp_path / "given.nc")
    again = bm.load(tmp_path / "given.nc")
    assert again.mixture == given.mixture and again.message == given.message
    points = np.array([[0.2, 3.0, 1.0]])
    assert float(again.logpdf(points)[0]) == float(given.logpdf(points)[0])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda fit: fit.condition(d=1.0), ValueError, "no column 'd'; the columns of this fit are 'a', 'b', 'c'"),
        (lambda fit: fit.condition(a=1.0, b=2.0, c=0.0), ValueError, "nothing is left"),
        (lambda fit: fit.condition(), TypeError, r"for example fit.condition\(a=3.0\)"),
        (lambda fit: fit.condition(a="high"), TypeError, "a='high'"),
        (lambda fit: fit.condition(a=[1.0, 2.0]), TypeError, "one number"),
        (lambda fit: fit.condition(a=np.nan), ValueError, "finite"),
        (lambda fit: fit.marginal(["a", "d"]), ValueError, "no column 'd'"),
        (lambda fit: fit.marginal(["a", "a"]), ValueError, "more than once"),
        (lambda fit: fit.marginal([]), ValueError, "no columns are named"),
        (lambda fit: fit.marginal(["c", "a", "b"]), ValueError, "the fit itself"),
        (lambda fit: fit.marginal(["a"]).bic, ValueError, "no log-likelihood"),
    ],
)
def test_what_cannot_be_asked_is_said(normal, call, error, words):
    with pytest.raises(error, match=words):
        call(normal)


def test_what_is_impossible_and_what_is_not_closed_is_said(mixed):
    with pytest.raises(ValueError, match="density zero"):
        mixed.condition(visits=0.5)
    one = bm.Fit.from_parameters(bm.Mixture(bm.Poisson(), 2), [1, 2, 3, 9], weights=[0.5, 0.5], mu=[1.0, 8.0])
    with pytest.raises(ValueError, match="all columns"):
        one.condition({0: 1.0})
    counts = bm.Fit.from_parameters(
        bm.Mixture(bm.Multinomial(n=6), 2), weights=[0.5, 0.5], p=[[0.2, 0.3, 0.5], [0.6, 0.2, 0.2]]
    )
    with pytest.raises(ValueError, match="no family that bayesmix knows"):
        counts.marginal([0])
