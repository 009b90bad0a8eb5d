"""Data-based relabelling agrees with R's label.switching, and minds neither units nor offset of the data."""

import numpy as np
import pytest

from bayesmix.labels import agreement, data_based


def test_agrees_with_r(r_draws):
    found = data_based(r_draws.allocations, r_draws.x, 2)
    assert agreement(found.permutation, r_draws.permutation["databased"]) == 1.0


def test_offset_and_units_of_the_data_do_not_matter(switched):
    draws = switched(noise=0.7)
    found = data_based(draws.z, draws.x, 4)
    again = data_based(draws.z, draws.x * [1e-6, 1e3] + 1e5, 4)
    np.testing.assert_array_equal(found.permutation, again.permutation)
    np.testing.assert_allclose(found.margin, again.margin, rtol=1e-4)  # an offset of 1e11 units leaves 5 digits


def test_margin_is_what_the_other_labelling_adds_per_row():
    x = np.array([-3.0, -1.0, 1.0, 3.0])
    z = np.tile([0, 0, 1, 1], (6, 1))
    # centres −2 and 2, dispersion √2: 2·(1/2) per cluster as it is, (3² + 5²)/2 the other way
    assert data_based(z, x, 2).margin == pytest.approx(np.full(6, (34 - 2) / 4))


def test_empty_and_single_groups_are_left_out_of_the_centres():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 20), rng.normal(20, 1, 20)])
    z = np.tile(np.repeat([0, 1], 20), (30, 1))
    z[::2, 0] = 2  # the third component has one row, or none
    found = data_based(z, x, 3)
    assert np.isfinite(found.margin).all()
    assert len(np.unique(found.permutation, axis=0)) == 1


def test_a_constant_column_is_harmless(switched):
    draws = switched(noise=0.3)
    with_constant = np.column_stack([draws.x, np.ones(len(draws.x))])
    np.testing.assert_array_equal(
        data_based(draws.z, with_constant, 4).permutation, data_based(draws.z, draws.x, 4).permutation
    )


def test_data_of_other_length_are_refused():
    with pytest.raises(ValueError, match="3 rows"):
        data_based(np.zeros((2, 3), int), np.ones(4), 2)
