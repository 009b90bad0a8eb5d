"""Point partitions against all partitions there are, and credible balls against their definition."""

import numpy as np
import pytest
import xarray as xr
from set_partitions import set_partitions

from bayesmix.partitions import binder, point, search, variation_of_information

BELL = {6: 203, 7: 877}


def sampled(n, seed, n_draws=12, k=4):
    """Allocations (draw, obs) about a common partition, some draws far from it."""
    rng = np.random.default_rng(seed)
    z = np.tile(rng.integers(0, k, n), (n_draws, 1))
    noise = rng.random(z.shape) < rng.choice([0.1, 0.3, 0.6])
    return np.where(noise, rng.integers(0, k, z.shape), z)


def expected_loss(labels, z, distance):
    return np.mean([distance(labels, one) for one in z])


@pytest.mark.parametrize("loss", ["vi", "binder"])
@pytest.mark.parametrize(("n", "seeds"), [(6, range(8)), (7, range(2))])
def test_the_search_finds_the_best_of_all_partitions(loss, n, seeds):
    everything = list(set_partitions(n))
    assert len(everything) == BELL[n]
    distance = variation_of_information if loss == "vi" else binder
    for seed in seeds:
        z = sampled(n, seed)
        matrix = np.mean([np.equal.outer(one, one) for one in z], axis=0)
        expected = search.ExpectedInformation.of(z, n) if loss == "vi" else search.ExpectedBinder(matrix, n)
        candidates = [np.zeros(n, dtype=int), *search.linked(matrix, n)]
        labels, value = search.least_expected_loss(expected, candidates, np.random.default_rng(seed))
        least = min(expected_loss(c, z, distance) for c in everything)
        assert value == pytest.approx(least, abs=1e-12), f"{n=} {seed=}"
        assert expected_loss(labels, z, distance) == pytest.approx(value, abs=1e-12), f"{n=} {seed=}"


@pytest.mark.parametrize("loss", ["vi", "binder"])
def test_no_row_moved_by_itself_lowers_the_loss_of_a_fit(fit, loss):
    found = fit.partition(loss, draws=300, random_seed=2)
    rows = np.arange(fit.data.n_obs)
    if loss == "vi":
        expected = search.ExpectedInformation.of(found.allocations, len(rows))
        exact = expected_loss(found.labels.values, found.allocations, variation_of_information)
        assert found.expected_loss == pytest.approx(exact, abs=1e-12)
    else:
        expected = search.ExpectedBinder(fit.coclustering(draws=300).values, len(rows))
    for i in rows:
        for c in range(found.n_clusters + 1):
            moved = found.labels.values.copy()
            moved[i] = c
            assert expected.loss(moved) >= found.expected_loss - 1e-9


def test_two_clear_groups_are_found_and_numbered_as_the_components_are(fit):
    found = fit.partition(random_seed=0)
    assert found.n_clusters == 2
    np.testing.assert_array_equal(found.labels.values, fit.classify(fit.data).values)
    np.testing.assert_array_equal(found.sizes, np.bincount(found.labels.values))


def test_the_same_seed_gives_the_same_partition_and_ball(fit):
    a, b = (fit.partition(random_seed=5) for _ in range(2))
    np.testing.assert_array_equal(a.labels, b.labels)
    assert a.credible_ball().radius == b.credible_ball().radius


def test_max_clusters_holds(fit):
    assert fit.partition(max_clusters=1, random_seed=0).n_clusters == 1
    assert fit.partition("binder", max_clusters=2, random_seed=0).n_clusters <= 2


def test_some_rows_can_be_asked_for(fit):
    lowest, next_to_it, *_, highest = np.argsort(fit.data.values[:, 0])
    found = fit.partition(rows=[lowest, next_to_it, highest], random_seed=0)
    assert list(found.labels["obs"].values) == [lowest, next_to_it, highest]
    assert found.labels.values[0] == found.labels.values[1] != found.labels.values[2]


@pytest.mark.parametrize("loss", ["vi", "binder"])
@pytest.mark.parametrize("prob", [0.5, 0.95])
def test_the_ball_holds_its_probability_and_no_smaller_one_does(loss, prob):
    z = sampled(12, 1, n_draws=200)
    distance = variation_of_information if loss == "vi" else binder
    labels = xr.DataArray(z[0], dims=("obs",), coords={"obs": np.arange(12)})
    ball = point.Partition(labels, loss, 0.0, z).credible_ball(prob)
    away = np.array([distance(z[0], one) for one in z])
    assert np.mean(away <= ball.radius + 1e-12) >= prob
    assert np.mean(away < ball.radius - 1e-12) < prob
    inside = [i for i in range(200) if away[i] <= ball.radius + 1e-12]
    clusters = {i: len(set(z[i])) for i in inside}
    for name, among in (
        ("horizontal", inside),
        ("upper", [i for i in inside if clusters[i] == min(clusters.values())]),
        ("lower", [i for i in inside if clusters[i] == max(clusters.values())]),
    ):
        bound = getattr(ball, name)
        assert distance(z[0], bound.values) == pytest.approx(max(away[i] for i in among)), name
        assert bound.attrs["n_clusters"] == len(set(bound.values)) == clusters[among[0]] or name == "horizontal"
        assert any(binder(bound.values, z[i]) == 0 for i in among), name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"loss": "rand"}, 'use "vi" or "binder"'),
        ({"draws": 0}, "draws=0"),
        ({"max_clusters": 0.5}, "max_clusters=0.5"),
        ({"rows": [99]}, "positions go from 0 to 59"),
    ],
)
def test_bad_arguments_are_refused(fit, arguments, words):
    with pytest.raises(ValueError, match=words):
        fit.partition(**arguments)


def test_a_ball_needs_a_probability(fit):
    with pytest.raises(ValueError, match="prob=95"):
        fit.partition(random_seed=0).credible_ball(95)
