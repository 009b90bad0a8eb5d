"""Distances between partitions: the formulas of others, and what makes them metrics."""

from itertools import product

import numpy as np
import pytest
from set_partitions import set_partitions
from sklearn.metrics import mutual_info_score, rand_score

from bayesmix.partitions import binder, variation_of_information

PAIRS = [tuple(np.random.default_rng(seed).integers(0, k, (2, 40))) for seed, k in ((0, 2), (1, 5), (2, 30))]


def entropy(labels):
    share = np.bincount(labels) / len(labels)
    return -np.sum(share[share > 0] * np.log(share[share > 0]))


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_variation_of_information_is_two_entropies_less_twice_the_information(a, b):
    expected = entropy(a) + entropy(b) - 2 * mutual_info_score(a, b)
    assert variation_of_information(a, b) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_binder_is_one_minus_the_rand_index(a, b):
    n = len(a)
    assert binder(a, b) == pytest.approx((1 - rand_score(a, b)) * (n - 1) / n, abs=1e-12)


@pytest.mark.parametrize("distance", [binder, variation_of_information])
def test_both_are_metrics(distance):
    partitions = list(set_partitions(4))
    assert len(partitions) == 15  # Bell number
    d = np.array([[distance(a, b) for b in partitions] for a in partitions])
    np.testing.assert_array_equal(d, d.T)
    np.testing.assert_array_equal(d == 0, np.eye(15, dtype=bool))
    for i, j, k in product(range(15), repeat=3):
        assert d[i, k] <= d[i, j] + d[j, k] + 1e-12


def test_their_largest_values():
    one, single = np.zeros(9), np.arange(9)
    assert variation_of_information(one, single) == pytest.approx(np.log(9))
    assert binder(one, single) == pytest.approx(1 - 1 / 9)


def test_names_of_clusters_do_not_matter():
    a, b = PAIRS[1]
    renamed = np.array([7, 3, 11, 0, 2])[a]
    assert variation_of_information(renamed, b) == pytest.approx(variation_of_information(a, b), abs=1e-12)
    assert binder(renamed, a) == 0


def test_partitions_must_be_of_the_same_rows():
    with pytest.raises(ValueError, match=r"shapes are \(2,\) and \(3,\)"):
        binder([0, 1], [0, 1, 1])
