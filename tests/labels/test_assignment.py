"""The cheapest permutation is the cheapest, and its margin is the distance to the second."""

from itertools import permutations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linear_sum_assignment

from bayesmix.labels import (
    agreement,
    apply_permutation,
    best_assignment,
    compose,
    invert,
    ordering,
    relabel_allocations,
)


def cost_of(cost, perm):
    return np.take_along_axis(cost, perm[:, :, None], axis=2).sum(axis=(1, 2))


@pytest.mark.parametrize("k", [2, 3, 4, 5, 7])  # 5 on the enumerated side, 7 on the Hungarian one
def test_permutation_and_margin_equal_brute_force(k):
    cost = np.random.default_rng(k).normal(size=(20, k, k))
    every = np.array(list(permutations(range(k))))
    total = np.sort(cost[:, np.arange(k), every].sum(axis=2), axis=1)
    perm, margin = best_assignment(cost)
    assert_allclose(cost_of(cost, perm), total[:, 0], atol=1e-12)
    assert_allclose(margin, total[:, 1] - total[:, 0], atol=1e-12)


@pytest.mark.parametrize("k", [2, 6, 7, 20, 50])
def test_permutation_costs_what_scipy_finds(k):
    cost = np.random.default_rng(k).normal(size=(30, k, k))
    perm, margin = best_assignment(cost)
    assert_allclose(cost_of(cost, perm), [one[linear_sum_assignment(one)].sum() for one in cost], atol=1e-12)
    assert (margin > 0).all()
    assert_array_equal(np.sort(perm, axis=1), np.tile(np.arange(k), (30, 1)))


@pytest.mark.parametrize("k", [6, 9, 25])
def test_margin_equals_forbidding_each_chosen_pair_in_turn(k):
    cost = np.random.default_rng(k).normal(size=(5, k, k))
    perm, margin = best_assignment(cost)
    for s in range(5):
        second = []
        for c in range(k):
            without = cost[s].copy()
            without[c, perm[s, c]] = 1e6
            second.append(without[linear_sum_assignment(without)].sum())
        assert min(second) - cost_of(cost, perm)[s] == pytest.approx(margin[s], abs=1e-9)


def test_margin_survives_a_large_common_cost():
    cost = np.random.default_rng(0).integers(0, 50, size=(50, 4, 4)).astype(float)
    perm, margin = best_assignment(cost + 2.0**40)  # integers: exact
    expected, expected_margin = best_assignment(cost)
    assert_array_equal(cost_of(cost, perm), cost_of(cost, expected))
    assert_array_equal(margin, expected_margin)


@pytest.mark.parametrize("k", [3, 8])
def test_equal_costs_have_no_margin(k):
    assert_array_equal(best_assignment(np.ones((3, k, k)))[1], np.zeros(3))


def test_one_component_has_nothing_to_choose():
    perm, margin = best_assignment(np.zeros((3, 1, 1)))
    assert_array_equal(perm, np.zeros((3, 1)))
    assert_array_equal(margin, np.full(3, np.inf))


def test_costs_of_the_wrong_kind_are_refused():
    with pytest.raises(ValueError, match="draw, label, component"):
        best_assignment(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="not finite"):
        best_assignment(np.full((1, 2, 2), np.inf))


def test_applying_follows_the_convention_on_any_axis():
    rng = np.random.default_rng(1)
    perm = rng.permuted(np.tile(np.arange(3), (2, 5, 1)), axis=2)
    raw = rng.normal(size=(2, 5, 4, 3, 6))
    expected = np.empty_like(raw)
    for chain, draw, c in np.ndindex(perm.shape):
        expected[chain, draw, :, c] = raw[chain, draw, :, perm[chain, draw, c]]
    assert_array_equal(apply_permutation(raw, perm, axis=3), expected)
    assert_array_equal(apply_permutation(raw, perm, axis=-2), expected)
    assert_array_equal(apply_permutation(raw[0, 0], perm[0, 0], axis=1), raw[0, 0][:, perm[0, 0]])
    with pytest.raises(ValueError, match="cannot be relabelled"):
        apply_permutation(raw, perm, axis=2)


def test_allocations_follow_their_components():
    rng = np.random.default_rng(2)
    z = rng.integers(0, 4, size=(6, 10))
    perm = rng.permuted(np.tile(np.arange(4), (6, 1)), axis=1)
    one_hot = apply_permutation((z[:, :, None] == np.arange(4)).astype(int), perm, axis=2)
    assert_array_equal(relabel_allocations(z, perm), one_hot.argmax(axis=2))


def test_composing_is_applying_one_after_the_other_and_inverting_undoes():
    rng = np.random.default_rng(3)
    raw = rng.normal(size=(7, 5))
    first, then = (rng.permuted(np.tile(np.arange(5), (7, 1)), axis=1) for _ in range(2))
    twice = apply_permutation(apply_permutation(raw, first, axis=1), then, axis=1)
    assert_array_equal(apply_permutation(raw, compose(first, then), axis=1), twice)
    assert_array_equal(compose(first, invert(first)), np.tile(np.arange(5), (7, 1)))
    assert_array_equal(compose(invert(first), first), np.tile(np.arange(5), (7, 1)))


def test_agreement_does_not_mind_one_renaming_of_all_labels():
    perm = np.random.default_rng(4).permuted(np.tile(np.arange(3), (10, 1)), axis=1)
    renamed = compose(perm, np.array([2, 0, 1]))
    assert agreement(perm, renamed) == 1.0
    renamed[0] = renamed[0][[1, 0, 2]]
    assert agreement(perm, renamed) == 0.9


@pytest.mark.parametrize("k", [4, 7])
def test_only_components_of_a_group_change_places(k):
    cost, groups = np.random.default_rng(k).normal(size=(20, k, k)), np.arange(k) % 2
    every = np.array([p for p in permutations(range(k)) if np.all(groups[list(p)] == groups)])
    total = np.sort(cost[:, np.arange(k), every].sum(axis=2), axis=1)
    perm, margin = best_assignment(cost, groups)
    assert_array_equal(groups[perm], np.tile(groups, (20, 1)))
    assert_allclose(cost_of(cost, perm), total[:, 0], atol=1e-12)
    assert_allclose(margin, total[:, 1] - total[:, 0], atol=1e-12)
    alone = best_assignment(cost, np.arange(k))
    assert_array_equal(alone[0], np.tile(np.arange(k), (20, 1)))
    assert np.all(alone[1] == np.inf)


def test_ordering_sorts_within_groups():
    perm = ordering(np.array([[3.0, 9.0, 1.0, 5.0]]), [0, 1, 0, 1]).permutation
    assert_array_equal(perm, [[2, 3, 0, 1]])
