"""Data that cannot be fitted are refused in words that name the column, the row, the number and the way out."""

import re

import numpy as np
import pandas as pd
import pytest

import bayesmix as bm

RNG = np.random.default_rng(1)
X = RNG.normal(size=(20, 2))
NORMAL = bm.Mixture(bm.Normal(), 2)
MVNORMAL = bm.Mixture(bm.MvNormal(), 2)
POISSON = bm.Mixture(bm.Poisson(), 2)
DIAGONAL = bm.Mixture(bm.MvNormal(covariance="diag"), 2)


def with_cell(value, row=3, column=1):
    x = X.copy()
    x[row, column] = value
    return x


CASES = {
    "no rows": (NORMAL, [], ValueError, "empty: 0 rows"),
    "no columns": (MVNORMAL, np.empty((5, 0)), ValueError, "empty: 5 rows and 0 columns"),
    "an empty frame": (MVNORMAL, pd.DataFrame({"a": [], "b": []}), ValueError, "empty: 0 rows"),
    "a single number": (NORMAL, 3.0, ValueError, "single number"),
    "fewer rows than components": (
        bm.Mixture(bm.Normal(), 5),
        [1.0, 2.0, 4.0],
        ValueError,
        "n_components=5 .* 3 rows; use at most 3",
    ),
    "fewer values than components": (
        bm.Mixture(bm.Normal(), 3),
        [1.0, 2.0] * 10,
        ValueError,
        "n_components=3 .* 2 distinct values .* at most 2",
    ),
    "fewer counts than components": (
        bm.Mixture(bm.Poisson(), 4),
        [0, 0, 1, 1, 5],
        ValueError,
        "n_components=4 .* 3 distinct values",
    ),
    "all missing": (NORMAL, np.full(10, np.nan), ValueError, "column 0 has no value in any of 10 rows"),
    "a column without values": (
        MVNORMAL,
        pd.DataFrame(with_cell(np.nan, row=slice(None)), columns=["a", "b"]),
        ValueError,
        "'b' has no value .* Drop that column",
    ),
    "fewer rows that say something than components": (NORMAL, [1.0, None, None], ValueError, "1 row; use at most 1"),
    "a missing cell in a constant column": (NORMAL, [3.0, None, 3.0, 3.0], ValueError, "always 3.*drop that column"),
    "infinity": (MVNORMAL, with_cell(np.inf), ValueError, r"infinite: in column 1 \(1\).* 3"),
    "minus infinity": (MVNORMAL, with_cell(-np.inf, row=7, column=0), ValueError, r"infinite: in column 0 \(1\).* 7"),
    "a constant column": (NORMAL, np.full(10, 3.0), ValueError, r"columns that vary.*always 3.*drop that column"),
    "a constant column among others": (
        MVNORMAL,
        np.column_stack([X, np.full(20, 7.0)]),
        ValueError,
        r"column 2 \(always 7\)",
    ),
    "a constant column, independent features": (
        DIAGONAL,
        np.column_stack([X, np.full(20, 7.0)]),
        ValueError,
        r"column 2 \(always 7\)",
    ),
    "a repeated column": (
        MVNORMAL,
        pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 0]}),
        ValueError,
        "'a' and 'c'.*Drop 'c'",
    ),
    "a rescaled column": (MVNORMAL, np.column_stack([X, 3 - 2 * X[:, 1]]), ValueError, "column 1 and column 2"),
    "a sum of columns": (
        MVNORMAL,
        np.column_stack([X, X.sum(axis=1)]),
        ValueError,
        "column 2 follows from column 0, column 1",
    ),
    "more columns than rows": (
        MVNORMAL,
        RNG.normal(size=(4, 6)),
        ValueError,
        "more rows than columns; .* 4 rows and 6 columns",
    ),
    "names given twice": (
        MVNORMAL,
        pd.DataFrame(X, columns=["a", "a"]),
        ValueError,
        r"distinct; repeated: 'a' \(2 times\)",
    ),
    "text": (NORMAL, ["1.5", "two"], ValueError, "column 0 holds text, e.g. '1.5'"),
    "a column of text": (
        MVNORMAL,
        pd.DataFrame({"a": X[:, 0], "species": ["x"] * 20}),
        ValueError,
        r"'species' holds text.*data\[\['a'\]\]",
    ),
    "dates": (NORMAL, np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[D]"), ValueError, "dates or times"),
    "complex numbers": (NORMAL, np.array([1 + 2j, 3.0, 2.0]), ValueError, "complex"),
    "three dimensions": (MVNORMAL, np.zeros((4, 3, 2)), ValueError, r"3-D array of shape \(4, 3, 2\)"),
    "a ragged list": (MVNORMAL, [[1.0, 2.0], [3.0]], ValueError, "ragged"),
    "two columns for one": (
        NORMAL,
        X,
        ValueError,
        "Normal describes one column, but the data have 2: column 0, column 1",
    ),
    "two named columns for one": (
        POISSON,
        pd.DataFrame({"a": [1, 2], "b": [3, 4]}),
        ValueError,
        r"'a', 'b'.*data\['a'\]",
    ),
    "negative counts": (POISSON, [0, 1, -2, 5], ValueError, "1 are negative and 0 are fractional, first -2 in row 2"),
    "fractional counts": (
        POISSON,
        [0.0, 1.5, 2.0, 5.0],
        ValueError,
        "0 are negative and 1 are fractional, first 1.5 in row 1",
    ),
    "a path": (NORMAL, "data.csv", TypeError, "str, .* read a file first"),
    "a dict": (NORMAL, {"a": [1.0, 2.0]}, TypeError, "dict, .* DataFrame"),
    "None": (NORMAL, None, TypeError, "NoneType"),
    "a generator": (NORMAL, (i for i in range(5)), TypeError, "generator, .* list"),
}


@pytest.mark.parametrize("mixture, data, error, words", CASES.values(), ids=CASES.keys())
def test_unusable_data_are_refused(mixture, data, error, words):
    with pytest.raises(error, match=re.compile(words, re.DOTALL)):
        bm.em(mixture, data, progressbar=False)


@pytest.mark.parametrize(
    "weights, error, words",
    [
        (np.ones(19), ValueError, "19 entries but the data have 20 rows"),
        (np.ones((20, 2)), ValueError, r"1-D, one number per row \(20\)"),
        (np.where(np.arange(20) == 4, -1.0, 1.0), ValueError, "1 of 20 weights are negative, first -1 in row 4"),
        (np.where(np.arange(20) == 4, np.nan, 1.0), ValueError, "missing or infinite, first nan in row 4"),
        (np.where(np.arange(20) == 4, np.inf, 1.0), ValueError, "missing or infinite, first inf in row 4"),
        (np.zeros(20), ValueError, "all 20 weights are zero"),
        (["a"] * 20, ValueError, "weights must be real numbers"),
        ("freq", TypeError, r"weights=data\['freq'\]"),
        (np.where(np.arange(20) == 4, 1.0, 0.0), ValueError, "vary|1 row"),
    ],
    ids=["too few", "2-D", "negative", "NaN", "infinite", "all zero", "text", "a name", "one row left"],
)
def test_unusable_weights_are_refused(weights, error, words):
    with pytest.raises(error, match=words):
        bm.em(NORMAL, X[:, 0], weights=weights, progressbar=False)


# -- arguments of the engines ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("engine", [bm.em, bm.nuts, bm.advi], ids=["em", "nuts", "advi"])
@pytest.mark.parametrize(
    "first, second, words",
    [
        (
            X,
            MVNORMAL,
            "the second the data; they seem to be swapped: the first is of type ndarray, the second a Mixture",
        ),
        (pd.DataFrame(X), MVNORMAL, "swapped: the first is of type DataFrame"),
        (X, 2, "must be a bm.Mixture, .* is of type ndarray; make one, for example bm.Mixture"),
        (bm.MvNormal(), X, r"is the family MvNormal\(\); .* bm.Mixture\(bm.MvNormal\(\), n_components=2\)"),
        (bm.Mixture, X, "is the class Mixture; make one"),
    ],
    ids=["swapped", "swapped with a frame", "no mixture", "a family", "a class"],
)
def test_engines_need_a_mixture_and_data(engine, first, second, words):
    with pytest.raises(TypeError, match=words):
        engine(first, second, progressbar=False)


@pytest.mark.parametrize(
    "argument, error, words",
    [
        ({"tol": "a"}, TypeError, "tol='a' but it must be a positive number, for example 1e-8"),
        ({"tol": None}, TypeError, "tol=None"),
        ({"tol": True}, TypeError, "tol=True"),
        ({"tol": np.nan}, ValueError, "tol=nan but it must be a positive finite number"),
        ({"tol": np.inf}, ValueError, "tol=inf but it must be a positive finite number"),
        ({"max_iter": "x"}, ValueError, "max_iter='x' but it must be a whole number of iterations, at least 1"),
        ({"max_iter": 2.5}, ValueError, "max_iter=2.5"),
        ({"uncertainty": "laplace", "draws": "x"}, ValueError, "draws='x' but it must be a whole number"),
        ({"uncertainty": "laplace", "draws": True}, ValueError, "draws=True"),
    ],
    ids=str,
)
def test_settings_of_em_are_checked(argument, error, words):
    with pytest.raises(error, match=words):
        bm.em(NORMAL, X[:, 0], progressbar=False, **argument)


SEEDS = {
    "negative": (-1, ValueError, "random_seed=-1 but a seed must be 0 or more"),
    "text": (
        "a",
        TypeError,
        "random_seed='a' of type str, but it must be a whole number, 0 or more, a numpy.random.Gen",
    ),
    "a fraction": (1.5, TypeError, "random_seed=1.5 of type float"),
    "a truth": (True, TypeError, "random_seed=True of type bool"),
    "a RandomState": (np.random.RandomState(1), TypeError, "legacy RandomState"),  # noqa: NPY002
}


@pytest.mark.parametrize("seed, error, words", SEEDS.values(), ids=SEEDS.keys())
def test_seeds_are_checked(fit, seed, error, words):
    for engine in (bm.em, bm.nuts, bm.advi):
        with pytest.raises(error, match=words):
            engine(NORMAL, X[:, 0], random_seed=seed, progressbar=False)
    with pytest.raises(error, match=words):
        fit.sample(3, random_seed=seed)


# -- priors --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("value", ["a", [1.0, "a"], [[1.0], [1.0, 2.0]], {}], ids=str)
def test_hyperparameters_are_numbers(value):
    for make, words in (
        (bm.Dirichlet, "but a Dirichlet prior needs positive finite numbers; 1.0 is uniform"),
        (bm.LKJ, "but LKJ needs a positive number"),
        (lambda nu: bm.InverseWishart(nu, np.eye(2)), "but InverseWishart needs a number of degrees of freedom"),
        (lambda psi: bm.InverseWishart(4, psi), r"but InverseWishart needs a symmetric \(D, D\) matrix"),
        (lambda nu: bm.ScaledInverseChiSquared(nu, 1.0), "but ScaledInverseChiSquared needs positive numbers"),
        (lambda scale: bm.ScaledInverseChiSquared(3, scale), "but ScaledInverseChiSquared needs positive numbers"),
    ):
        with pytest.raises(TypeError, match=f"={re.escape(repr(value))} {words}"):
            make(value)


def misfits():
    pz = pytest.importorskip("preliz")
    three = pz.Normal([0, 0, 0], 1)
    return {
        "cov": bm.MvNormal(cov=bm.InverseWishart(5, np.eye(3))),
        "mu": bm.MvNormal(mu=three),
        "mu, truncated": bm.MvNormal(mu=pz.Truncated(three, -9, 9)),
        "mu, a mixture": bm.MvNormal(mu=pz.Mixture([three, pz.Normal(0, 9)], [0.5, 0.5])),
        "mu, uniform": bm.MvNormal(mu=pz.Uniform([-9, -9, -9], [9, 9, 9])),
        "sigma": bm.MvNormal(covariance="diag", sigma=pz.HalfNormal([1, 2, 3])),
        "sigma, chi squared": bm.MvNormal(covariance="diag", sigma=bm.ScaledInverseChiSquared(3, [1, 2, 3])),
        "sigma with correlations": bm.MvNormal(sigma=pz.HalfNormal([1, 2, 3]), corr=bm.LKJ()),
    }


def test_priors_for_other_features_are_refused_with_the_data():
    frame = pd.DataFrame(X, columns=["height", "weight"])
    for case, component in misfits().items():
        words = f"the prior of {case.split()[0].strip(',')} is for 3 features, but the data have 2"
        mixture = bm.Mixture(component, 2)
        for look in (mixture.check, mixture.priors):
            with pytest.raises(ValueError, match=rf"{words}\."):
                look(X)
                pytest.fail(f"{component} was accepted")
        with pytest.raises(ValueError, match=f"{words}: 'height', 'weight'"):
            mixture.check(frame)
        rows = np.column_stack([X, X[:, 0] ** 2])
        assert mixture.check(rows).n_features == 3


def test_priors_that_suit_any_number_of_features_are_taken():
    pz = pytest.importorskip("preliz")
    for mu in (pz.Normal(0, 1), pz.Normal([0], 1), pz.Mixture([pz.Normal(i, 1) for i in range(3)], [0.2, 0.3, 0.5])):
        assert bm.Mixture(bm.MvNormal(mu=mu), 2).check(X).n_features == 2


def test_priors_are_the_same_for_every_component():
    pz = pytest.importorskip("preliz")
    with pytest.raises(ValueError, match="prior of mu is for 2 features, but the data have 1"):
        bm.Mixture(bm.Normal(mu=pz.Normal([0, 5], 1)), 2).priors(X[:, 0])
    with pytest.raises(ValueError, match="table of numbers; it is the same for every component"):
        bm.MvNormal(mu=pz.Normal([[0, 0], [5, 5]], 1))
    with pytest.raises(ValueError, match='"spherical" has one standard deviation for all features'):
        bm.MvNormal(covariance="spherical", sigma=pz.HalfNormal([1, 2]))


@pytest.mark.parametrize("covariance", ["diag", "spherical"])
def test_structures_without_covariances_take_dependent_columns(covariance):
    x = np.column_stack([X, X.sum(axis=1)])
    mixture = bm.Mixture(bm.MvNormal(covariance=covariance), 2)
    assert bm.em(mixture, x, n_init=2, random_seed=1, progressbar=False).n_parameters == 1 + 6 + (
        6 if covariance == "diag" else 2
    )


def test_counts_may_come_as_floats_and_booleans():
    for data in ([0.0, 1.0, 7.0, 8.0], np.array([0, 1, 7, 8], dtype=np.uint8)):
        fit = bm.em(POISSON, data, n_init=2, random_seed=1, progressbar=False)
        np.testing.assert_allclose(
            fit.log_likelihood, bm.em(POISSON, [0, 1, 7, 8], n_init=2, random_seed=1, progressbar=False).log_likelihood
        )


# -- new data for a fit ------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def fit():
    frame = pd.DataFrame(X, columns=["height", "weight"])
    return bm.em(MVNORMAL, frame, n_init=2, random_seed=1, progressbar=False)


METHODS = ["logpdf", "cdf", "responsibilities", "classify"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "data, words",
    [
        (
            pd.DataFrame(X, columns=["height", "wieght"]),
            "lack 1 column of the 2 expected: 'weight'.*'weight' may be 'wieght'",
        ),
        (pd.DataFrame(X[:, :1], columns=["height"]), "'weight'"),
        (np.zeros((3, 3)), r"expected 2 columns, 'height', 'weight'; got 2-D data with 3 columns"),
        (np.zeros(5), "1-D data"),
        (np.zeros(2), r"ambiguous.*x\[None, :\]"),
        (with_cell(np.inf), "infinite"),
        (np.zeros((0, 2)), "empty"),
    ],
    ids=[
        "a misspelt column",
        "a missing column",
        "too many columns",
        "1-D",
        "one row as 1-D",
        "infinity",
        "no rows",
    ],
)
def test_new_data_that_do_not_fit_are_refused(fit, method, data, words):
    with pytest.raises(ValueError, match=re.compile(words, re.DOTALL)):
        getattr(fit, method)(data)


def test_distribution_functions_need_all_cells(fit):
    with pytest.raises(ValueError, match="1 value is missing"):
        fit.cdf(with_cell(np.nan))


@pytest.mark.parametrize("q", [0.0, 1.0, -0.1, 1.5, np.nan, [0.5, 1.0]], ids=str)
def test_quantiles_need_probabilities(fit, q):
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        fit.quantile(q)


@pytest.mark.parametrize("n", [0, -1, 2.5, True, "a", None, np.nan, np.inf], ids=str)
def test_samples_need_a_number_of_rows(fit, n):
    with pytest.raises(ValueError, match="whole number, at least 1"):
        fit.sample(n)


@pytest.mark.parametrize("interval", [0, 1, 89, -0.5])
def test_intervals_need_a_probability(fit, interval):
    for method, argument in (("logpdf", X), ("cdf", X), ("responsibilities", X), ("quantile", 0.5)):
        with pytest.raises(ValueError, match="probability between 0 and 1"):
            getattr(fit, method)(argument, interval=interval)
