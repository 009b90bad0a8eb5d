"""Stephens' algorithm agrees with R's label.switching, and lowers the divergence it says it lowers."""

import numpy as np
import pytest

from bayesmix.labels import agreement, apply_permutation, best_assignment, stephens


def divergence(p, perm):
    p = apply_permutation(p, perm, axis=2)
    q = p.mean(axis=0)
    return np.sum(p * np.log(np.maximum(p, 1e-300) / np.maximum(q, 1e-6)))


def test_agrees_with_r(r_draws):
    found = stephens(r_draws.responsibilities)
    assert agreement(found.permutation, r_draws.permutation["stephens"]) == 1.0
    relabelled = apply_permutation(r_draws.parameters[:, :, 0], found.permutation, axis=1)
    np.testing.assert_allclose(
        np.sort(relabelled.mean(axis=0)), np.sort(r_draws.answers["stephens"]["mean_mu"]), rtol=1e-9
    )


def test_divergence_is_lowest_at_the_labels_found(switched):
    draws = switched(noise=2.0, seed=1)
    found = stephens(draws.p)
    best = divergence(draws.p, found.permutation)
    rng = np.random.default_rng(0)
    for s in range(0, 200, 10):  # another permutation of any one draw raises it
        other = found.permutation.copy()
        other[s] = np.roll(other[s], rng.integers(1, draws.k))
        assert divergence(draws.p, other) >= best - 1e-9


def test_margin_is_in_nats_per_row():
    p = np.tile([[0.9, 0.1], [0.2, 0.8]], (5, 1, 1))
    log_q = np.log(p[0])
    _, margin = best_assignment(-(p[:1].swapaxes(1, 2) @ log_q).swapaxes(1, 2))
    assert stephens(p).margin == pytest.approx(np.full(5, margin[0] / 2))


def test_certain_draws_that_contradict_each_other_cost_a_finite_amount():
    p = np.tile(np.eye(2)[[0, 0, 1]], (10, 1, 1))
    p[0] = np.eye(2)[[0, 1, 1]]
    found = stephens(p)
    assert np.isfinite(found.margin).all()
    np.testing.assert_array_equal(np.ptp(found.permutation, axis=0), 0)


def test_single_precision_gives_the_same_labels(switched):
    draws = switched(noise=0.5)
    np.testing.assert_array_equal(stephens(draws.p.astype(np.float32)).permutation, stephens(draws.p).permutation)


def test_responsibilities_of_wrong_shape_are_refused():
    with pytest.raises(ValueError, match="draw, observation, component"):
        stephens(np.ones((3, 2)))
