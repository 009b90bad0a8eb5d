"""Ordering puts components in order."""

import numpy as np
import pytest

from bayesmix.labels import apply_permutation, ordering


def test_agrees_with_r(r_draws):
    found = ordering(r_draws.parameters[:, :, 0])
    np.testing.assert_array_equal(found.permutation, r_draws.permutation["aic_mean"])


def test_values_increase_with_the_label_and_the_margin_is_the_smallest_gap():
    values = np.random.default_rng(0).normal(size=(50, 4))
    found = ordering(values)
    ordered = apply_permutation(values, found.permutation, axis=1)
    assert (np.diff(ordered, axis=1) >= 0).all()
    np.testing.assert_allclose(found.margin, np.diff(ordered, axis=1).min(axis=1) / values.std())


def test_equal_values_keep_their_order_without_margin():
    found = ordering(np.ones((3, 2)))
    np.testing.assert_array_equal(found.permutation, [[0, 1]] * 3)
    np.testing.assert_array_equal(found.margin, 0.0)


def test_values_of_wrong_shape_are_refused():
    with pytest.raises(ValueError, match="draw, component"):
        ordering(np.ones(3))
