"""The co-clustering matrix against enumeration and counting; entropy of allocations."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import bayesmix as bm
from bayesmix.partitions import allocations, coclustering, sample_allocations
from bayesmix.partitions.coclustering import check_size


def test_it_sums_over_all_allocations_of_a_tiny_case(fit):
    """P(z_i = z_j) summed over all 2^4 allocations of four rows, at each of three draws."""
    rows, expected = [0, 20, 40, 50], np.zeros((4, 4))
    draws = {name: value[[0, 100, 239]] for name, value in fit.draws.items()}
    for s in range(3):
        mu, sigma, weights = (draws[name][s] for name in ("mu", "sigma", "weights"))
        joint = weights * stats.norm.pdf(fit.data.values[rows], mu, sigma)
        r = joint / joint.sum(axis=1, keepdims=True)
        for z in product(range(2), repeat=4):
            expected += np.prod(r[np.arange(4), z]) * np.equal.outer(z, z) / 3
    found = coclustering(at_draws(fit, [0, 100, 239]), rows)
    np.testing.assert_allclose(found.values, expected, atol=1e-12)


def at_draws(fit, which):
    """The same fit with some of its draws only, as one chain."""
    flat = {name: value[which][None] for name, value in fit.posterior_draws.items()}
    return bm.Fit.assemble(fit.mixture, fit.data, draws=flat, attrs=dict(fit.tree.attrs))


def test_it_is_the_share_of_sampled_allocations_that_agree(fit):
    rows, n = np.arange(fit.data.n_obs), 4000
    z = sample_allocations(fit, rows, n, np.random.default_rng(0))
    counted = np.mean([np.equal.outer(one, one) for one in z], axis=0)
    p = fit.coclustering().values
    error = np.sqrt(np.maximum(p * (1 - p), 1 / n) / n)
    assert np.abs(counted - p).max() < 5 * error.max()  # 1770 pairs: five standard errors


def test_renaming_components_draw_by_draw_changes_nothing(fit):
    order = np.random.default_rng(0).permuted(np.tile([0, 1], (240, 1)), axis=1).reshape(4, 60, 2)
    tree, posterior = fit.tree.copy(), fit.tree["posterior"].to_dataset()
    renamed = {
        name: (posterior[name].dims, np.take_along_axis(posterior[name].values, order, axis=2)) for name in posterior
    }
    tree["posterior"] = xr.DataTree(posterior.assign(renamed))
    shuffled = replace(fit, tree=tree)
    np.testing.assert_allclose(shuffled.coclustering(), fit.coclustering(), atol=1e-12)
    a, b = (one.partition("binder", random_seed=0) for one in (fit, shuffled))
    assert bm.partitions.binder(a.labels, b.labels) == 0


def test_pieces_add_up(fit, monkeypatch):
    whole = fit.coclustering().values
    monkeypatch.setattr(allocations, "CELLS", 700)  # three draws at a time
    np.testing.assert_allclose(fit.coclustering().values, whole, atol=1e-13)


def test_symmetry_is_exact_for_more_rows_than_a_block():
    data = np.random.default_rng(0).normal(size=600)
    fit = bm.Fit.from_parameters(bm.Mixture(bm.Normal(), 2), data, weights=[0.4, 0.6], mu=[-1, 1], sigma=[1, 1])
    p = fit.coclustering()
    r = fit.responsibilities(data).values
    expected = r @ r.T
    np.fill_diagonal(expected, 1)
    np.testing.assert_allclose(p.values, expected, atol=1e-12)
    np.testing.assert_array_equal(p.values, p.values.T)
    assert p.dims == ("obs", "obs_2")


def test_rows_keep_their_labels():
    import pandas as pd

    frame = pd.DataFrame({"x": [0.0, 0.1, 5.0, 5.1]}, index=list("abcd"))
    fit = bm.Fit.from_parameters(bm.Mixture(bm.Normal(), 2), frame, weights=[0.5, 0.5], mu=[0, 5], sigma=[1, 1])
    assert list(fit.coclustering(rows=[3, 0])["obs"].values) == ["d", "a"]
    assert list(fit.coclustering(rows=2)["obs_2"].values) == ["a", "d"]
    assert list(fit.coclustering(rows=[True, False, True, False])["obs"].values) == ["a", "c"]


def test_a_matrix_that_would_not_fit_says_its_size_and_the_way_out():
    with pytest.raises(ValueError, match=r"100000 rows would take 80.0 GB.*2 GB, 15811 rows.*rows=2000"):
        check_size(100_000)


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        (0, ValueError, "rows=0 but there are 60"),
        ([61], ValueError, "positions go from 0 to 59"),
        ([1, 1], ValueError, "more than once"),
        ([True], ValueError, "1 truth values"),
        ([0.5], TypeError, "list of their positions"),
    ],
)
def test_rows_that_do_not_exist_are_refused(fit, rows, error, words):
    with pytest.raises(error, match=words):
        fit.coclustering(rows=rows)


def test_a_fit_without_rows_says_so():
    fit = bm.Fit.from_parameters(bm.Mixture(bm.Normal(), 1), weights=[1], mu=[0], sigma=[1])
    with pytest.raises(ValueError, match="pass data= to Fit.from_parameters"):
        fit.coclustering()


def test_entropy_and_uncertainty_are_those_of_the_averaged_responsibilities(fit):
    found = fit.allocation_uncertainty(fit.data)
    r = fit.responsibilities(fit.data).values
    np.testing.assert_allclose(found["entropy"], stats.entropy(r, axis=1), atol=1e-12)
    np.testing.assert_allclose(found["uncertainty"], np.minimum(r[:, 0], r[:, 1]), atol=1e-12)
    np.testing.assert_allclose(found["normalised"], 2 * found["uncertainty"], atol=1e-12)


def test_uncertainty_at_its_ends():
    mixture = bm.Mixture(bm.Normal(), 3)
    fit = bm.Fit.from_parameters(mixture, weights=np.ones(3) / 3, mu=[0.0, 0.0, 0.0], sigma=[1, 1, 1])
    found = fit.allocation_uncertainty([0.3])
    assert float(found["entropy"][0]) == pytest.approx(np.log(3))
    assert float(found["normalised"][0]) == pytest.approx(1)
    one = bm.Fit.from_parameters(bm.Mixture(bm.Normal(), 1), weights=[1], mu=[0.0], sigma=[1])
    assert float(one.allocation_uncertainty([0.3]).to_array().max()) == 0
