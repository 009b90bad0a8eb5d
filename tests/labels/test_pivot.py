"""Pivotal reordering agrees with R's label.switching, and does not mind units."""

import numpy as np
import pytest

from bayesmix.labels import agreement, pivot


def test_agrees_with_r_in_its_units(r_draws):
    parameters = r_draws.parameters
    found = pivot(parameters, parameters[r_draws.pivot], scale=1.0)
    np.testing.assert_array_equal(found.permutation, r_draws.permutation["pra"])


def test_standardised_units_agree_with_r_on_most_draws(r_draws):
    parameters = r_draws.parameters
    found = pivot(parameters, parameters[r_draws.pivot])
    # another criterion: means and variances of five rows overlap, and the weights now count as much
    assert agreement(found.permutation, r_draws.permutation["pra"]) > 0.9


def test_least_distance_is_largest_scalar_product(r_draws):
    parameters = r_draws.parameters
    point = parameters[r_draws.pivot]
    straight = np.einsum("skj,kj->s", parameters, point)
    swapped = np.einsum("skj,kj->s", parameters[:, ::-1], point)
    np.testing.assert_array_equal(pivot(parameters, point, scale=1.0).permutation[:, 0], swapped > straight)


def test_units_of_the_parameters_do_not_matter(switched):
    draws = switched(noise=0.7)
    units = np.array([1e6, 1e-3])
    found, again = pivot(draws.mu, draws.mu[0]), pivot(draws.mu * units, draws.mu[0] * units)
    np.testing.assert_array_equal(found.permutation, again.permutation)
    np.testing.assert_allclose(found.margin, again.margin)


def test_margin_is_one_at_the_pivot_and_zero_half_way():
    point = np.array([[0.0], [2.0]])
    found = pivot(np.array([[[0.0], [2.0]], [[1.0], [1.0]]]), point)
    np.testing.assert_allclose(found.margin, [1.0, 0.0])


def test_a_parameter_that_never_varies_is_harmless():
    parameters = np.random.default_rng(0).normal([[0.0], [9.0]], size=(20, 2, 1))
    constant = np.concatenate([parameters, np.ones((20, 2, 1))], axis=2)
    found = pivot(constant, constant[0])
    np.testing.assert_array_equal(found.permutation, pivot(parameters, parameters[0]).permutation)


def test_a_pivot_of_other_shape_is_refused():
    with pytest.raises(ValueError, match=r"\(component, parameter\)"):
        pivot(np.ones((5, 2, 1)), np.ones((3, 1)))
