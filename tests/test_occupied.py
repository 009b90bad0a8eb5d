"""The number of occupied components: against enumeration of all allocations of a few rows, and closed formulas."""

import itertools
import tracemalloc

import arviz as az
import numpy as np
import pytest

import bayesmix as bm
from bayesmix import occupied
from bayesmix.occupied import count_occupied
from bayesmix.prediction import log_mean_exp

CASES = {
    2: {"weights": [0.7, 0.3], "mu": [0.0, 1.0], "sigma": [1.0, 0.5]},
    3: {"weights": [0.6, 0.3, 0.1], "mu": [0.0, 2.0, -1.0], "sigma": [1.0, 0.7, 2.0]},
}
ROWS = np.array([0.3, -0.5, 1.6, 0.9])
DRAWS = 4000


def repeated(params, n_draws, chains=2):
    """The same parameters at every draw, (chain, draw, ...)."""
    return {
        name: np.broadcast_to(value, (chains, n_draws // chains, *np.shape(value))).copy()
        for name, value in params.items()
    }


def enumerated(r, times):
    """Probabilities of K_plus = 1 ... K over all allocations, rows (obs, cluster) of r repeated so many times."""
    copies = np.repeat(r, times, axis=0)
    p = np.zeros(r.shape[1] + 1)
    for labels in itertools.product(range(r.shape[1]), repeat=len(copies)):
        p[len(set(labels))] += np.prod(copies[np.arange(len(copies)), labels])
    return p[1:]


def check_shares(counts, expected):
    """Shares of K_plus within four standard errors of a proportion."""
    shares = np.bincount(counts.ravel().astype(int), minlength=len(expected) + 1)[1:] / counts.size
    assert np.all(np.abs(shares - expected) < 4 * np.sqrt(expected * (1 - expected) / counts.size) + 1e-12), shares


@pytest.mark.parametrize("k", CASES)
@pytest.mark.parametrize("weights", [None, [2.0, 1.0, 0.0, 1.0], [1.0, 1.5, 0.0, 0.3]], ids=str)
def test_counts_have_the_probabilities_of_all_allocations(k, weights):
    mixture = bm.Mixture(bm.Normal(), k)
    fit = bm.Fit.from_parameters(mixture, **CASES[k])
    r = np.asarray(fit.responsibilities(ROWS))
    whole = np.ones(4) if weights is None else np.array(weights)
    expected = np.zeros(k)
    # a row of weight 1.5 is one row, and half of the time another
    for extra in itertools.product([0, 1], repeat=4):
        there = np.prod(np.where(extra, whole % 1, 1 - whole % 1))
        if there:
            expected += there * enumerated(r, np.floor(whole).astype(int) + extra)
    data = mixture.check(ROWS)
    data = data if weights is None else data.reweighted(whole)
    counts, said = count_occupied(mixture, data, repeated(CASES[k], DRAWS), np.random.default_rng(1))
    assert said == "" and counts.shape == (2, DRAWS // 2)
    check_shares(counts, expected)


def rare(n_rows, n_draws, weight=2e-4):
    """A component that a row in some thousand comes from, so that all rows must be looked at."""
    params = {"weights": np.array([1 - weight, weight]), "mu": np.array([0.0, 1.0]), "sigma": np.array([1.0, 1.0])}
    x = np.random.default_rng(1).standard_normal(n_rows)
    mixture = bm.Mixture(bm.Normal(), 2)
    return mixture, mixture.check(x), params, repeated(params, n_draws)


def test_a_rare_component_is_occupied_as_often_as_the_rows_say():
    """P(K_plus = 1) is the product over rows of 1 - r, over several blocks of rows."""
    mixture, data, params, draws = rare(2000, 4000)
    r = np.asarray(bm.Fit.from_parameters(mixture, **params).responsibilities(data.values[:, 0]))[:, 1]
    assert data.n_obs > 2 * occupied.FIRST_ROWS
    empty = np.prod(1 - r)
    check_shares(count_occupied(mixture, data, draws, np.random.default_rng(2))[0], np.array([empty, 1 - empty]))


def test_counts_repeat_with_their_seed():
    mixture, data, _, draws = rare(600, 200)
    first, second = (count_occupied(mixture, data, draws, np.random.default_rng(7))[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_too_much_to_do_leaves_evenly_spaced_draws(monkeypatch):
    mixture, data, _, draws = rare(2000, 400)
    monkeypatch.setattr(occupied, "OCCUPIED_CELLS", 2e5)
    counts, said = count_occupied(mixture, data, draws, np.random.default_rng(1))
    kept = np.isfinite(counts)
    assert np.all(kept == kept[0]) and len(set(np.diff(np.flatnonzero(kept[0])))) == 1
    assert said == f"K_plus is drawn at {kept[0].sum()} of the 200 draws of each chain, evenly spaced."
    assert kept.sum() * 2000 * 2 <= 4 * 2e5
    assert set(counts[kept]) <= {1.0, 2.0}


def test_components_of_no_weight_are_never_occupied():
    mixture = bm.Mixture(bm.Normal(), 3)
    params = {"weights": [0.5, 0.5, 0.0], "mu": [0.0, 1.0, 0.5], "sigma": [1.0, 1.0, 1.0]}
    data = mixture.check(np.linspace(0, 1, 50))
    counts, _ = count_occupied(mixture, data, repeated(params, 100), np.random.default_rng(1))
    assert np.all(counts == 2)


def test_memory_stays_small():
    """A component that stays empty, 20 000 rows and 400 draws: responsibilities of all would take 128 MB."""
    mixture, data, _, draws = rare(20_000, 400, weight=1e-12)
    tracemalloc.start()
    count_occupied(mixture, data, draws, np.random.default_rng(1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.2e8  # a few arrays of CELLS doubles, 8 MB each


# -- in a fit ----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def fit():
    """A sparse mixture of more components than the data need, with draws that share no component by chance."""
    x = np.concatenate([np.random.default_rng(1).normal(m, 1, 40) for m in (0, 8)])
    mixture = bm.Mixture(bm.Normal(), 3, weights=bm.Dirichlet(0.05))
    return bm.nuts(mixture, x, draws=200, chains=2, random_seed=1, progressbar=False)


def test_a_posterior_holds_the_number_of_occupied_components(fit):
    counts = fit.tree["sample_stats"].dataset["K_plus"]
    assert counts.dims == ("chain", "draw") and counts.dtype == int
    shares = fit.n_occupied()
    assert shares.dims == ("K_plus",) and list(shares["K_plus"].values) == [1, 2, 3]
    np.testing.assert_allclose(shares.sel(K_plus=2), np.mean(counts.values == 2))
    np.testing.assert_allclose(shares.sum(), 1.0)
    # that no row is in a component has probability prod(1 - r), averaged over draws
    r = np.stack([np.asarray(f) for f in _responsibilities(fit)])
    log_empty = np.log1p(-np.minimum(r, 1 - 1e-16)).sum(axis=1)
    expected = 3 - np.exp(log_mean_exp(log_empty, axis=0)).sum()
    error = counts.values.std() / np.sqrt(counts.size)
    assert abs(counts.values.mean() - expected) < 4 * error
    assert "number of occupied components is 2 in" in fit.message


def _responsibilities(fit):
    draws = fit.posterior_draws
    for i in range(len(draws["weights"])):
        at = {name: value[i] for name, value in draws.items()}
        at["weights"] = np.maximum(at["weights"], 1e-300) / at["weights"].sum()
        yield bm.Fit.from_parameters(fit.mixture, **at).responsibilities(fit.data.values[:, 0])


def test_arviz_reads_the_posterior_as_before(fit):
    assert "K_plus" not in "".join(az.summary(fit.tree).index)


def test_counts_survive_a_file(fit, tmp_path):
    fit.save(tmp_path / "fit.nc")
    loaded = bm.load(tmp_path / "fit.nc")
    assert loaded.n_occupied().identical(fit.n_occupied())


def test_only_posteriors_of_data_have_occupied_components():
    mixture = bm.Mixture(bm.Normal(), 2)
    em = bm.em(mixture, ROWS.repeat(3) + np.arange(12) / 7, uncertainty="laplace", random_seed=1, progressbar=False)
    for point in (em, bm.Fit.from_parameters(mixture, **CASES[2])):
        with pytest.raises(AttributeError, match=r"n_occupied is a posterior distribution, .* Use bm.nuts"):
            point.n_occupied()
