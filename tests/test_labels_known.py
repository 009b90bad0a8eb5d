"""Rows whose component is known: the likelihood by brute force, the supervised limit in closed form, and no label switching."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logsumexp

import bayesmix as bm
from bayesmix.likelihood.likelihood import Likelihood
from bayesmix.units import exchangeable

IRIS = bm.datasets.load("iris")
NAMES = [str(name) for name in IRIS.data_vars if IRIS[name].dtype.kind == "f"]


def iris():
    """Measurements (150, 4) and species 0, 1, 2."""
    x = np.column_stack([IRIS[name].values for name in NAMES])
    species = next(IRIS[name].values for name in IRIS.data_vars if name not in NAMES)
    return x, np.unique(species, return_inverse=True)[1], species


def half(species, seed=0):
    """Labels of a random half of the rows, -1 elsewhere."""
    return np.where(np.random.default_rng(seed).random(len(species)) < 0.5, species, -1)


def test_a_labelled_row_counts_its_own_component_alone():
    x, species, _ = iris()
    labels, mixture = half(species), bm.Mixture(bm.MvNormal(), 3)
    mu = np.array([x[species == k].mean(axis=0) for k in range(3)]) + 0.1
    cov = np.array([np.cov(x[species == k].T) + 0.05 * np.eye(4) for k in range(3)])
    weights = np.array([0.2, 0.3, 0.5])
    params = {"weights": weights, "mu": mu, "cov": cov}
    joint = np.log(weights) + np.column_stack([stats.multivariate_normal(mu[k], cov[k]).logpdf(x) for k in range(3)])
    rows = np.where(labels >= 0, joint[np.arange(150), labels], logsumexp(joint, axis=1))
    row_weights = np.arange(150.0) % 3
    likelihood = Likelihood(mixture.component, mixture.check(x, row_weights, labels), 3)
    assert likelihood.log_likelihood(params) == pytest.approx(row_weights @ rows, rel=1e-12)
    vector = likelihood.to_vector(params)
    value = lambda v: likelihood.value_and_gradient(v)[0]  # noqa: E731
    numeric = [(value(vector + h) - value(vector - h)) / 2e-5 for h in 1e-5 * np.eye(len(vector))]
    np.testing.assert_allclose(likelihood.value_and_gradient(vector)[1], numeric, rtol=1e-6, atol=1e-4)


def test_all_rows_labelled_is_maximum_likelihood_within_classes():
    """Closed form: shares, means and covariances of the classes, divided by n (quadratic discriminant analysis)."""
    x, species, _ = iris()
    fit = bm.em(bm.Mixture(bm.MvNormal(), 3), x, labels=species, guard=None, n_init=3, random_seed=1, progressbar=False)
    assert fit.converged
    np.testing.assert_allclose(fit.estimates["weights"], np.bincount(species) / 150, atol=1e-9)
    total = 0.0
    for k in range(3):
        own = x[species == k]
        np.testing.assert_allclose(fit.estimates["mu"][k], own.mean(axis=0), atol=1e-8)
        np.testing.assert_allclose(fit.estimates["cov"][k], np.cov(own.T, bias=True), atol=1e-8)
        law = stats.multivariate_normal(own.mean(axis=0), np.cov(own.T, bias=True))
        total += law.logpdf(own).sum() + len(own) * np.log(len(own) / 150)
    assert fit.log_likelihood == pytest.approx(total, abs=1e-8)
    pointwise = fit.tree["log_likelihood"]["x"]
    assert pointwise.dims[-1] == "obs" and float(pointwise.sum()) == pytest.approx(total, abs=1e-8)


def test_half_of_the_labels_tell_the_classes_apart():
    """Each EM start ends with the classes in their places; the maximum is no lower than from the known classes."""
    x, species, _ = iris()
    labels, mixture = half(species), bm.Mixture(bm.MvNormal(), 3)
    fit = bm.em(mixture, x, labels=labels, random_seed=1, progressbar=False)
    known = bm.em(mixture, x, labels=labels, init=species, progressbar=False)
    assert fit.converged and fit.log_likelihood >= known.log_likelihood - 1e-6
    assert (fit.classify().values == species).mean() >= 0.96
    np.testing.assert_allclose(fit.responsibilities().values[labels >= 0].max(axis=1), 1.0)
    plain = fit.responsibilities(x).values  # of the rows as new ones, without their labels
    assert plain[labels >= 0].max(axis=1).min() < 1.0
    without = bm.em(mixture, x, init=fit, progressbar=False)
    assert fit.log_likelihood < without.log_likelihood  # labels are data too


def test_half_of_the_banknotes_are_labelled():
    """Genuine and forged: with half of the labels the others are told apart, and the estimate is near that of all labels."""
    notes = pd.read_csv(Path(__file__).parent / "data" / "banknote.csv")
    genuine, x = notes["status"] == "genuine", notes.drop(columns="status")
    mixture = bm.Mixture(bm.MvNormal(), 2)
    known = notes["status"].where(np.random.default_rng(1).random(len(notes)) < 0.5)
    fit = bm.em(mixture, x, labels=known, n_init=5, random_seed=1, progressbar=False)
    assert fit.label_names == ("counterfeit", "genuine")
    assert np.sum((fit.classify().values == 1) != genuine) <= 1
    whole = bm.em(mixture, x, labels=notes["status"], n_init=1, random_seed=1, progressbar=False)
    difference = np.abs(fit.estimates["mu"] - whole.estimates["mu"])
    np.testing.assert_array_less(difference, 0.5 * np.sqrt(np.diagonal(whole.estimates["cov"], axis1=1, axis2=2) / 50))


def test_names_and_columns_and_unknown_labels_of_every_kind():
    x, species, names = iris()
    labels = half(species)
    frame = pd.DataFrame(x, columns=NAMES)
    options = {"n_init": 2, "random_seed": 1, "progressbar": False}
    mixture = bm.Mixture(bm.MvNormal(covariance="diag"), 3)
    fit = bm.em(mixture, frame.assign(kind=np.where(labels >= 0, names, None)), labels="kind", **options)
    assert fit.label_names == tuple(sorted(set(names))) and fit.data.feature == tuple(NAMES)
    numbers = [int(label) if label >= 0 else None for label in labels]
    kinds = [
        labels, numbers, np.where(labels >= 0, labels, np.nan), pd.array(numbers, dtype="Int64"),
        pd.Series(np.where(labels >= 0, names, None)).astype("category"),
    ]  # fmt: skip
    for given in kinds:
        same = bm.em(mixture, x, labels=given, **options)
        assert same.log_likelihood == fit.log_likelihood
    none = bm.em(mixture, x, labels=np.full(150, -1), **options)
    assert none.data.units is None and none.log_likelihood == bm.em(mixture, x, **options).log_likelihood


def test_labels_survive_saving(tmp_path):
    x, species, names = iris()
    fit = bm.em(
        bm.Mixture(bm.MvNormal(covariance="diag"), 3), x, labels=names, n_init=1, random_seed=1, progressbar=False
    )
    fit.save(tmp_path / "fit.nc")
    again = bm.load(tmp_path / "fit.nc")
    assert again.label_names == fit.label_names
    np.testing.assert_array_equal(again.data.units.known, species)
    assert again.icl == pytest.approx(fit.icl, rel=1e-12) and again.icl == pytest.approx(again.bic, rel=1e-12)


def test_only_unlabelled_components_may_change_places():
    x, species, _ = iris()
    labels = np.where((species == 1) & (np.arange(150) % 2 == 0), 2, -1)
    mixture = bm.Mixture(bm.MvNormal(), 3)
    data = mixture.check(x, labels=labels)
    places = exchangeable(mixture.component, 3, data)
    assert places[0] == places[1] != places[2]
    fit = bm.em(mixture, x, labels=labels, n_init=10, random_seed=1, progressbar=False)
    np.testing.assert_allclose(fit.estimates["mu"][2], x[species == 1].mean(axis=0), atol=0.2)
    assert fit.estimates["mu"][0, 0] < fit.estimates["mu"][1, 0]  # the others in order


def test_draws_keep_their_labels():
    """Two components at nearly one place switch in every few draws; three labels on each side hold them."""
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(-0.6, 1, 40), rng.normal(0.6, 1, 40)])
    labels = np.full(80, -1)
    labels[:6], labels[40:46] = 1, 0  # component 1 is the lower one
    fit = bm.laplace(bm.Mixture(bm.Normal(), 2), x, labels=labels, draws=500, random_seed=1, progressbar=False)
    assert np.all(fit.tree["labels"]["permutation"].values == [0, 1])
    assert fit.estimates["mu"][1] < fit.estimates["mu"][0]
    approximate = bm.advi(bm.Mixture(bm.Normal(), 2), x, labels=labels, draws=500, random_seed=1, progressbar=False)
    assert np.all(approximate.tree["labels"]["permutation"].values == [0, 1])
    sd = fit.draws["mu"].std(axis=0)
    np.testing.assert_array_less(np.abs(approximate.estimates["mu"] - fit.estimates["mu"]), 0.5 * sd)


def test_the_model_in_pymc_has_the_same_likelihood():
    x, species, _ = iris()
    labels, mixture = half(species), bm.Mixture(bm.Normal(), 3)
    model = mixture.to_pymc(x[:, 2], labels=labels)
    point = model.initial_point(random_seed=1)
    weights, mu, sigma = np.array([0.2, 0.3, 0.5]), np.array([1.5, 4.0, 5.5]), np.array([0.2, 0.5, 0.6])
    from bayesmix.model import start_vector

    values = start_vector(model, {"weights": weights, "mu": mu, "sigma": sigma})
    joint = np.log(weights) + stats.norm.logpdf(x[:, 2:3], mu, sigma)
    rows = np.where(labels >= 0, joint[np.arange(150), labels], logsumexp(joint, axis=1))
    found = model.compile_logp(vars=[model["x"]], jacobian=False)({**point, **values})
    assert float(found) == pytest.approx(rows.sum(), rel=1e-10)


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        ([0, 1, 2] + [-1] * 7, ValueError, "from 0 to 1, or names; -1, NaN or None where unknown: row 2 has 2"),
        ([0.5] + [-1] * 9, ValueError, "row 0 has 0.5"),
        (["a", "b", "c"] + [None] * 7, ValueError, "3 names, 'a', 'b', 'c', but the mixture has 2"),
        (["a", 1] + [None] * 8, TypeError, "mix text and numbers"),
        ([0, 1], ValueError, "2 entries, but the data have 10 rows"),
    ],
)
def test_labels_that_cannot_be_are_told(labels, error, words):
    with pytest.raises(error, match=words):
        bm.em(bm.Mixture(bm.Normal(), 2), np.arange(10.0) ** 2, labels=labels, progressbar=False)


def test_what_takes_no_labels_says_so():
    x = np.arange(10.0) ** 2
    gaps = np.where(np.arange(10) == 3, np.nan, x)
    with pytest.raises(ValueError, match="all their cells are missing, counted from 0: 3"):
        bm.em(bm.Mixture(bm.Normal(), 2), gaps, labels=[-1, -1, -1, 0] + [-1] * 6, progressbar=False)
    with pytest.raises(ValueError, match="bm.gibbs draws the component of every row"):
        bm.gibbs(bm.Mixture(bm.Normal(), 2), x, labels=[0] * 10, progressbar=False)
    mixture = bm.Mixture(bm.Normal(), 2)
    labelled = bm.em(mixture, x, labels=[0] + [-1] * 9, n_init=1, random_seed=1, progressbar=False)
    plain = bm.em(mixture, x, n_init=1, random_seed=1, progressbar=False)
    with pytest.raises(ValueError, match="other groups or known labels"):
        bm.compare({"a": labelled, "b": plain})
