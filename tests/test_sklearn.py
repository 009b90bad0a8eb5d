"""bayesmix.sklearn: scikit-learn's own checks, and agreement with its GaussianMixture."""

import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError, SkipTestWarning
from sklearn.mixture import GaussianMixture as Theirs
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

import bayesmix as bm
from bayesmix.sklearn import GaussianMixture, PoissonMixture

ROOT = Path(__file__).resolve().parent.parent
TYPES = ["full", "tied", "diag", "spherical"]
FAITHFUL = bm.datasets.load("faithful").to_dataframe()
IRIS = bm.datasets.load("iris").to_dataframe().select_dtypes("number")
COUNTS = np.concatenate([np.random.default_rng(0).poisson(2.0, 80), np.random.default_rng(1).poisson(12.0, 40)])


def run(code: str):
    """Run code in a new interpreter."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


# -- scikit-learn's own checks -----------------------------------------------------------------------------------------
def impossible(estimator):
    """Checks whose data have no maximum-likelihood estimate, as no covariance matrix of theirs has full rank."""
    if estimator.covariance_type not in ("full", "tied"):
        return {}
    return {
        "check_sample_weight_equivalence_on_dense_data": "its data have 12 distinct rows of 30 columns",
        "check_array_api_input": "2 of its 10 columns follow from the others (run only where SCIPY_ARRAY_API=1)",
    }


# Two components in one structure only: among 12 rows of 30 columns, where weights are checked, optima are many, and
# which one is found depends on the order of the rows. Weights of two components are tested below.
@parametrize_with_checks(
    [*(GaussianMixture(covariance_type=kind) for kind in TYPES), GaussianMixture(2, random_state=0)],
    expected_failed_checks=impossible,
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_scikit_learns_checks_do_not_cover_estimators_of_one_column():
    with pytest.warns(SkipTestWarning):
        assert {result["status"] for result in check_estimator(PoissonMixture())} == {"passed"}


# -- against scikit-learn's GaussianMixture ----------------------------------------------------------------------------
def theirs(ours: GaussianMixture) -> Theirs:
    """scikit-learn's estimator with our parameters."""
    other = Theirs(len(ours.weights_), covariance_type=ours.covariance_type)
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        setattr(other, name, getattr(ours, name))
    return other


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("data", "k"), [(FAITHFUL, 2), (IRIS, 3)], ids=["faithful", "iris"])
def test_predictions_are_scikit_learns_at_the_same_parameters(kind, data, k):
    ours = GaussianMixture(k, covariance_type=kind, n_init=4, random_state=1).fit(data)
    other = theirs(ours)
    rows = data.iloc[::3] + 0.1
    for name in ("score_samples", "predict_proba", "score", "bic", "aic"):
        np.testing.assert_allclose(getattr(ours, name)(rows), getattr(other, name)(rows.to_numpy()), rtol=1e-10)
    np.testing.assert_array_equal(ours.predict(rows), other.predict(rows.to_numpy()))


@pytest.mark.parametrize("kind", TYPES)
def test_attributes_have_scikit_learns_shapes_and_belong_together(kind):
    ours = GaussianMixture(3, covariance_type=kind, n_init=4, random_state=1).fit(IRIS)
    other = Theirs(3, covariance_type=kind, random_state=1).fit(IRIS)
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        assert getattr(ours, name).shape == getattr(other, name).shape
    if kind in ("full", "tied"):
        upper = ours.precisions_cholesky_
        np.testing.assert_array_equal(upper, np.triu(upper))
        np.testing.assert_allclose(upper @ np.swapaxes(upper, -1, -2), ours.precisions_, rtol=1e-12)
        np.testing.assert_allclose(ours.covariances_ @ ours.precisions_ - np.eye(4), 0, atol=1e-10)
    else:
        np.testing.assert_allclose(ours.covariances_ * ours.precisions_, 1, rtol=1e-12)
        np.testing.assert_allclose(ours.precisions_cholesky_**2, ours.precisions_, rtol=1e-12)
    np.testing.assert_array_equal(ours.feature_names_in_, IRIS.columns)
    assert ours.fit_.data.feature == tuple(IRIS.columns)
    assert (ours.n_features_in_, ours.converged_) == (4, True)
    assert ours.n_iter_ >= 1
    assert ours.lower_bound_ == pytest.approx(ours.score(IRIS), rel=1e-12)
    assert ours.bic(IRIS) == pytest.approx(ours.fit_.bic, rel=1e-12)
    assert ours.aic(IRIS) == pytest.approx(ours.fit_.aic, rel=1e-12)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("data", "k"), [(FAITHFUL, 2), (IRIS, 2), (IRIS, 3)], ids=["faithful", "iris2", "iris3"])
def test_likelihood_is_at_least_scikit_learns_best(kind, data, k):
    starts = [("kmeans", 0), ("kmeans", 1), ("random_from_data", 2), ("random_from_data", 3), ("k-means++", 4)]
    best = max(
        Theirs(k, covariance_type=kind, init_params=init, random_state=seed, tol=1e-7, max_iter=1000)
        .fit(data)
        .score(data)
        for init, seed in starts
    )
    plain = GaussianMixture(k, covariance_type=kind, guard=None, random_state=1).fit(data)
    assert plain.score(data) >= best - 1e-9
    guarded = GaussianMixture(k, covariance_type=kind, random_state=1).fit(data)
    assert len(data) * (best - guarded.score(data)) < 0.1  # nats: the guard's price


def test_starts_from_the_parameters_given():
    given = GaussianMixture(2, random_state=1).fit(FAITHFUL)
    start = {"means_init": given.means_[::-1], "weights_init": given.weights_[::-1]}
    for kind in TYPES:
        own = GaussianMixture(2, covariance_type=kind, random_state=1).fit(FAITHFUL)
        again = GaussianMixture(2, covariance_type=kind, **start, precisions_init=own.precisions_[::-1])
        if kind == "tied":
            again.set_params(precisions_init=own.precisions_)
        again.fit(FAITHFUL)
        np.testing.assert_allclose(again.means_, own.means_[::-1], rtol=1e-6)
        np.testing.assert_allclose(again.score(FAITHFUL), own.score(FAITHFUL), rtol=1e-10)
        means_only = GaussianMixture(2, covariance_type=kind, means_init=given.means_[::-1]).fit(FAITHFUL)
        np.testing.assert_allclose(means_only.means_, own.means_[::-1], rtol=1e-6)
    at_optimum = GaussianMixture(2, **start, precisions_init=given.precisions_[::-1]).fit(FAITHFUL)
    assert at_optimum.n_iter_ <= 4


def test_warm_start_goes_on_from_the_last_solution():
    estimator = GaussianMixture(3, init_params="random", n_init=1, max_iter=3, warm_start=True, random_state=0)
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        first = estimator.fit(IRIS).score(IRIS)
    assert not estimator.converged_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert estimator.fit(IRIS).score(IRIS) > first


# -- weights, randomness, data -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "estimator", [*(GaussianMixture(2, covariance_type=kind) for kind in TYPES), PoissonMixture(2)], ids=str
)
def test_whole_weights_are_repeated_rows(estimator):
    data = pd.DataFrame({"counts": COUNTS}) if isinstance(estimator, PoissonMixture) else FAITHFUL
    weight = np.random.default_rng(0).integers(0, 4, len(data))
    repeated = data.loc[data.index.repeat(weight)]
    one = clone(estimator).set_params(random_state=1).fit(data, sample_weight=pd.Series(weight))
    two = clone(estimator).set_params(random_state=1).fit(repeated)
    np.testing.assert_allclose(one.predict_proba(data), two.predict_proba(data), rtol=1e-6)
    assert one.lower_bound_ == pytest.approx(two.lower_bound_, rel=1e-10)
    assert one.fit_.bic == pytest.approx(two.bic(repeated), rel=1e-10)


def test_a_seed_is_that_of_em():
    ours = GaussianMixture(3, random_state=5).fit(IRIS)
    fit = bm.em(bm.Mixture(bm.MvNormal(), 3), IRIS, random_seed=5, progressbar=False)
    np.testing.assert_array_equal(ours.means_, fit.estimates["mu"])


@pytest.mark.parametrize("seed", [None, np.random.RandomState(3), np.random.default_rng(3), np.int64(3)], ids=type)
def test_any_random_state_of_scikit_learns_will_do(seed):
    estimator = GaussianMixture(2, random_state=seed).fit(FAITHFUL)
    assert estimator.sample(3)[0].shape == (3, 2)


def test_numpys_global_seed_counts_where_there_is_no_random_state():
    estimator = GaussianMixture(2, n_init=1).fit(FAITHFUL)
    rows = []
    for _ in range(2):
        np.random.seed(7)  # noqa: NPY002
        rows.append(estimator.sample(5)[0])
    np.testing.assert_array_equal(*rows)


def test_samples_and_their_labels():
    estimator = GaussianMixture(2, random_state=1).fit(FAITHFUL.to_numpy())
    rows, labels = estimator.sample(4000)
    assert (rows.shape, labels.shape) == ((4000, 2), (4000,))
    np.testing.assert_allclose(np.bincount(labels) / 4000, estimator.weights_, atol=0.03)
    for k in (0, 1):
        np.testing.assert_allclose(rows[labels == k].mean(axis=0), estimator.means_[k], rtol=0.02)
    assert (estimator.predict(rows) == labels).mean() > 0.98
    np.testing.assert_array_equal(estimator.sample(4000)[0], rows)


@pytest.mark.parametrize("kind", TYPES)
def test_one_column(kind):
    data = FAITHFUL[["waiting"]].astype(float)
    estimator = GaussianMixture(2, covariance_type=kind, random_state=1).fit(data)
    np.testing.assert_allclose(estimator.score(data), theirs(estimator).score(data.to_numpy()), rtol=1e-12)
    assert estimator.sample(2)[0].shape == (2, 1)


def test_estimates_are_copies():
    estimator = GaussianMixture(2, covariance_type="diag", random_state=1).fit(FAITHFUL)
    before = estimator.score(FAITHFUL)
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        getattr(estimator, name)[:] = 0.0
    assert estimator.score(FAITHFUL) == before


def test_poisson():
    estimator = PoissonMixture(2, random_state=1)
    labels = estimator.fit_predict(COUNTS)
    fit = bm.em(bm.Mixture(bm.Poisson(), 2), COUNTS, random_seed=1, progressbar=False)
    np.testing.assert_array_equal(estimator.rates_, fit.estimates["mu"])
    np.testing.assert_array_equal(labels, fit.classify(COUNTS))
    column = COUNTS[:, None]
    np.testing.assert_array_equal(estimator.score_samples(column), fit.logpdf(COUNTS))
    np.testing.assert_array_equal(estimator.predict_proba(column), fit.responsibilities(COUNTS))
    assert (estimator.bic(column), estimator.aic(column)) == (pytest.approx(fit.bic), pytest.approx(fit.aic))
    rows, labels = estimator.sample(7)
    assert (rows.shape, labels.shape) == ((7, 1), (7,))
    again = pickle.loads(pickle.dumps(clone(estimator).fit(column)))
    np.testing.assert_array_equal(again.rates_, estimator.rates_)
    assert again.warm_start is False
    with pytest.raises(ValueError, match="one column"):
        estimator.fit(FAITHFUL.astype(int))
    with pytest.raises(ValueError, match="for counts"):
        estimator.fit(COUNTS + 0.5)


# -- inside scikit-learn -----------------------------------------------------------------------------------------------
def test_in_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), GaussianMixture(2, random_state=1))
    labels = pipeline.fit_predict(FAITHFUL)
    alone = GaussianMixture(2, random_state=1).fit(FAITHFUL)
    np.testing.assert_array_equal(labels, alone.predict(FAITHFUL))  # scaling changes nothing for full covariances
    np.testing.assert_allclose(pipeline.predict_proba(FAITHFUL), alone.predict_proba(FAITHFUL), atol=1e-5)
    pipeline.fit(FAITHFUL, gaussianmixture__sample_weight=np.ones(len(FAITHFUL)))


def test_in_a_search_over_the_number_of_components():
    grid = {"n_components": [1, 2], "covariance_type": ["full", "diag"]}
    search = GridSearchCV(GaussianMixture(n_init=4, random_state=1), grid, cv=3, error_score="raise").fit(FAITHFUL)
    assert search.best_params_["n_components"] == 2
    criteria = [GaussianMixture(k, n_init=4, random_state=1).fit(FAITHFUL).bic(FAITHFUL) for k in (1, 2, 3)]
    assert np.argmin(criteria) == 1


def test_clone_and_pickle():
    estimator = GaussianMixture(2, covariance_type="tied", random_state=1, guard=0.1).fit(FAITHFUL)
    fresh = clone(estimator)
    assert fresh.get_params() == estimator.get_params()
    assert not hasattr(fresh, "fit_")
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(again.predict_proba(FAITHFUL), estimator.predict_proba(FAITHFUL))
    assert again.fit_.message == estimator.fit_.message


def test_frames_of_other_libraries():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({name: FAITHFUL[name].to_numpy() for name in FAITHFUL})
    estimator = GaussianMixture(2, random_state=1).fit(frame)
    np.testing.assert_array_equal(estimator.feature_names_in_, FAITHFUL.columns)
    np.testing.assert_array_equal(estimator.predict(FAITHFUL), estimator.predict(frame))
    with pytest.raises(ValueError, match="feature names"):
        estimator.predict(FAITHFUL[["waiting", "eruptions"]])


def test_parameters_are_scikit_learns_and_one_more():
    ours, other = set(GaussianMixture().get_params()), set(Theirs().get_params())
    assert ours - other == {"guard"}
    assert other - ours == {"verbose_interval"}


# -- errors ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"reg_covar": 1e-6}, "guard"),
        ({"verbose": 2}, "progress bar"),
        ({"init_params": "sobol"}, "k-means"),
        ({"init_params": ["kmeans"]}, "k-means"),
        ({"covariance_type": "VVV"}, "covariance_type='VVV'.*spherical"),
        ({"n_components": 0}, "n_components=0"),
        ({"n_init": 0}, "n_init=0"),
        ({"max_iter": 0}, "max_iter=0"),
        ({"tol": 0.0}, "tol=0.0"),
        ({"guard": "strong"}, "guard='strong'"),
        ({"random_state": "1"}, "seed"),
        ({"weights_init": [0.5, 0.5]}, "weights_init without means_init"),
        ({"precisions_init": [1, 1]}, "precisions_init without means_init"),
        ({"means_init": [[2, 50]]}, r"means_init has shape \(1, 2\).*2 components of 2 features"),
        ({"means_init": [[2, 50], [4, 80]], "weights_init": [0.5, 0.6]}, "weights_init must be positive and sum to 1"),
        ({"means_init": [[2, 50], [4, 80]], "weights_init": [1.0]}, "weights_init has shape"),
        ({"means_init": [[2, 50], [4, 80]], "precisions_init": [1, 1]}, "precisions_init has shape"),
        ({"means_init": [[2, 50], [4, 80]], "precisions_init": [[[1, 2], [2, 1]]] * 2}, "positive definite"),
        ({"means_init": [[2, 50], [4, 80]], "precisions_init": [[[1, 0.1], [0, 1]]] * 2}, "symmetric"),
        (
            {"means_init": [[2, 50], [4, 80]], "precisions_init": [1, 0], "covariance_type": "spherical"},
            "must be positive",
        ),
    ],
)
def test_what_has_no_equivalent_is_refused(params, match):
    with pytest.raises(ValueError, match=match):
        GaussianMixture(**({"n_components": 2} | params)).fit(FAITHFUL)


def test_unsuitable_data_are_refused():
    with pytest.raises(NotFittedError):
        GaussianMixture().predict(FAITHFUL)
    with pytest.raises(NotFittedError):
        GaussianMixture().sample()
    with pytest.raises(ValueError, match="NaN"):
        GaussianMixture().fit([[1.0, np.nan], [2.0, 1.0], [0.0, 1.0]])
    constant = FAITHFUL.assign(unit=1.0)
    for params in ({}, {"means_init": [[2, 50, 1], [4, 80, 1]]}):
        with pytest.raises(ValueError, match="unit"):
            GaussianMixture(2, **params).fit(constant)
    with pytest.raises(ValueError, match="n="):
        GaussianMixture().fit(FAITHFUL).sample(0)


def test_a_collapse_is_told():
    data = np.concatenate([np.random.default_rng(0).normal(size=(30, 1)), [[50.0], [50.0]]])
    with pytest.warns(ConvergenceWarning, match="collapsed"):
        GaussianMixture(2, guard=None, random_state=1).fit(data)


# -- scikit-learn is optional ------------------------------------------------------------------------------------------
def test_importing_bayesmix_leaves_scikit_learn_alone():
    result = run("import sys, bayesmix as bm; bm.em; print('sklearn' in sys.modules)")
    assert result.stdout.strip() == "False", result.stderr


def test_without_scikit_learn_the_extra_is_named():
    result = run("""
import sys
sys.modules["sklearn"] = None
import bayesmix as bm
print("sklearn" in dir(bm), "sklearn" in bm.__all__)
for code in ("bm.sklearn", "import bayesmix.sklearn"):
    try:
        exec(code)
    except ImportError as error:
        print(error)
""")
    listed, *errors = result.stdout.strip().splitlines()
    assert listed.split() == ["False", "False"] and len(errors) == 2, result.stdout + result.stderr
    for error in errors:
        assert "bayesmix.sklearn needs scikit-learn" in error and "bayesmix[sklearn]" in error
