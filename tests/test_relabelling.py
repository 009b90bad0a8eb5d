"""Relabelling through the public name: what was switched is put back, and the verdict is not fooled."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import bayesmix as bm
from bayesmix.labels import apply_permutation, invert

FAITHFUL = bm.datasets.load("faithful")


@pytest.fixture(scope="module")
def fit():
    return bm.nuts(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, random_seed=1, progressbar=False)


def switched(fit, chains):
    """The same draws with the components of some chains in another order, as a sampler might have left them."""
    tree = fit.tree.copy()
    posterior = tree["posterior"].to_dataset()
    for chain in chains:
        for name in ("weights", "mu", "cov"):
            values = posterior[name].values.copy()
            values[chain] = values[chain][:, ::-1]
            posterior[name] = (posterior[name].dims, values)
    tree["posterior"] = xr.DataTree(posterior)
    return replace(fit, tree=tree)


@pytest.mark.parametrize("algorithm", ["ecr", "stephens", "pivot", "data", "ordering"])
def test_switched_labels_are_put_back(fit, algorithm):
    result = bm.relabel(switched(fit, [1, 2]), algorithm)
    assert result.tree.attrs["rhat_raw"] > 1.4
    assert result.tree.attrs["rhat_relabelled"] < 1.01
    assert result.verdict == "labels switched only"
    assert result.converged
    for name in ("weights", "mu", "cov"):
        np.testing.assert_array_equal(result.tree["posterior"][name].values, fit.tree["posterior"][name].values)


def test_raw_draws_can_be_had_back(fit):
    mixed = switched(fit, [0])
    result = bm.relabel(mixed)
    back = invert(result.tree["labels/permutation"].values)
    raw = apply_permutation(result.tree["posterior/mu"].values, back, axis=2)
    np.testing.assert_array_equal(raw, mixed.tree["posterior/mu"].values)


def test_relabelling_twice_changes_nothing(fit):
    once = bm.relabel(switched(fit, [3]))
    twice = bm.relabel(once)
    np.testing.assert_array_equal(once.tree["posterior/mu"].values, twice.tree["posterior/mu"].values)
    np.testing.assert_array_equal(once.tree["labels/permutation"].values, twice.tree["labels/permutation"].values)
    assert twice.tree.attrs["rhat_raw"] == pytest.approx(once.tree.attrs["rhat_raw"])


def test_margins_and_agreement_are_recorded(fit):
    labels = fit.tree["labels"]
    assert labels["margin"].shape == (4, 1000)
    assert float(labels["margin"].min()) > 0.5  # 272 rows in two clear groups
    assert labels.attrs["agreement"] == 1.0
    assert list(labels["agreement"].coords["algorithm"].values) == ["ecr", "stephens", "pivot", "data"]
    np.testing.assert_array_equal(labels["agreement"].values, 1.0)  # two groups so clear leave no room for opinions


@pytest.mark.parametrize("by", [None, "weights", "mu", ("mu", "waiting"), ("cov", "waiting")])
def test_an_ordering_orders_what_it_was_asked_to(fit, by):
    result = bm.relabel(switched(fit, [1]), "ordering", by=by)
    posterior = result.tree["posterior"].dataset
    name, feature = ("mu", "eruptions") if by in (None, "mu") else (by, None) if isinstance(by, str) else by
    value = posterior[name]
    if name == "cov":
        value = value.sel(feature=feature, feature_2=feature)
    elif feature:
        value = value.sel(feature=feature)
    ordered = np.diff(value.values, axis=2) > 0
    assert ordered.mean() in (0.0, 1.0) or name == "cov"  # variances may cross: the names are those of most draws
    assert result.tree["labels"].attrs["algorithm"] == "ordering"


def test_opinions_differ_where_labels_mean_little():
    """Two groups half a standard deviation apart: the algorithms disagree on some draws, and it is on record."""
    x = np.random.default_rng(3).normal(size=60)
    fit = bm.nuts(bm.Mixture(bm.Normal(), 2), x, draws=250, random_seed=1, progressbar=False)
    opinions = fit.tree["labels"]["agreement"].values
    np.testing.assert_array_equal(np.diag(opinions), 1.0)
    np.testing.assert_allclose(opinions, opinions.T)
    assert opinions.min() < 0.95


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"algorithm": "fastest"}, "ecr, stephens, pivot, data, ordering"),
        ({"algorithm": "ecr", "by": "mu"}, 'is for algorithm="ordering"'),
        ({"algorithm": "ordering", "by": "sigma"}, "weights, mu, cov"),
        ({"algorithm": "ordering", "by": ("mu", "age")}, "waiting"),
        ({"algorithm": "ordering", "by": ("weights", "waiting")}, "not one number"),
    ],
)
def test_unknown_algorithms_and_orders(fit, options, told):
    with pytest.raises(ValueError, match=told):
        bm.relabel(fit, **options)


def test_likelihood_does_not_depend_on_labels(fit):
    result = bm.relabel(switched(fit, [1]))
    np.testing.assert_array_equal(result.tree["log_likelihood/x"].values, fit.tree["log_likelihood/x"].values)
    np.testing.assert_allclose(result.logpdf(FAITHFUL), fit.logpdf(FAITHFUL), rtol=1e-12)


def test_original_is_left_alone(fit):
    before = fit.tree["posterior/mu"].values.copy()
    bm.relabel(switched(fit, [1]))
    np.testing.assert_array_equal(fit.tree["posterior/mu"].values, before)


def test_too_many_components_are_not_called_converged():
    """Five components on data from three: never "converged" or "labels switched only"."""
    rng = np.random.default_rng(8)
    x = np.concatenate([rng.normal(m, 1.0, 170) for m in (-6.0, 0.0, 6.0)])
    fit = bm.nuts(bm.Mixture(bm.Normal(), 5), x, random_seed=1, progressbar=False)
    assert fit.verdict not in ("converged", "labels switched only"), fit.message
    assert not fit.converged
    with pytest.warns(UserWarning, match="(?i)component|converged|modes|stuck"):
        fit.summary()


def test_nothing_to_relabel():
    em = bm.em(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, random_seed=1, progressbar=False)
    with pytest.raises(ValueError, match="no draws"):
        bm.relabel(em)


@pytest.mark.parametrize("chains", [(0, 1), (2, 3)])
def test_of_two_equally_common_names_those_of_the_first_draw_are_kept(fit, chains):
    """Half of the chains renamed: the names are those of the first chain, whichever half that is in."""
    halves = switched(fit, chains)
    repaired = bm.relabel(halves)
    first = halves.tree["posterior/mu"].values[0]
    np.testing.assert_array_equal(repaired.tree["posterior/mu"].values[0], first)
