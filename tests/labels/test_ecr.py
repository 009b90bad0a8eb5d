"""ECR agrees with R's label.switching, and counts rows."""

import numpy as np
import pytest

from bayesmix.labels import agreement, ecr, relabel_allocations


def test_pivot_version_agrees_with_r(r_draws):
    found = ecr(r_draws.allocations, 2, pivot=r_draws.allocations[r_draws.pivot])
    np.testing.assert_array_equal(found.permutation, r_draws.permutation["ecr"])


@pytest.mark.parametrize("method", ["ecr1", "ecr2"])  # on these draws R's two iterative versions coincide
def test_iterative_version_agrees_with_r(r_draws, method):
    assert agreement(ecr(r_draws.allocations, 2).permutation, r_draws.permutation[method]) == 1.0


def test_margin_is_a_share_of_rows():
    pivot = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1, 1])
    draw = np.array([[1, 1, 0, 0, 0, 0, 0, 0, 0, 1]])  # swapped, but for rows 2 and 9
    found = ecr(draw, 2, pivot=pivot)
    np.testing.assert_array_equal(found.permutation, [[1, 0]])
    assert found.margin == pytest.approx([0.8 - 0.2])


def test_iteration_never_agrees_less_than_its_start(switched):
    draws = switched(noise=2.0, seed=3)

    def rows_off_the_mode(found):
        z = relabel_allocations(draws.z, found.permutation)
        mode = np.stack([(z == c).sum(axis=0) for c in range(draws.k)]).max(axis=0)
        return (len(z) - mode).sum()

    assert rows_off_the_mode(ecr(draws.z, 4)) <= rows_off_the_mode(ecr(draws.z, 4, max_iter=1))


def test_two_components_empty_together_cannot_be_told_apart():
    allocations = np.array([[0, 0, 1, 1], [0, 0, 1, 1]])
    assert ecr(allocations, 4).margin == pytest.approx(0.0)
    assert ecr(allocations, 3).margin == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("allocations", "message"),
    [(np.zeros(3, int), "draw, observation"), (np.zeros((2, 3)), "integers"), (np.full((2, 3), 2), "counts from 1")],
)
def test_bad_allocations_are_explained(allocations, message):
    with pytest.raises(ValueError, match=message):
        ecr(allocations, 2)


def test_a_pivot_of_other_length_is_refused():
    with pytest.raises(ValueError, match="4 rows"):
        ecr(np.zeros((2, 3), int), 2, pivot=np.zeros(4, int))
