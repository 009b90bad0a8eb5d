"""What every relabelling algorithm promises."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from bayesmix.labels import (
    Relabelling,
    agreement,
    compose,
    data_based,
    ecr,
    invert,
    ordering,
    pivot,
    relabel_allocations,
    stephens,
)

ALGORITHMS = {
    "ecr": lambda draws: ecr(draws.z, draws.k),
    "ecr to a pivot": lambda draws: ecr(draws.z, draws.k, pivot=relabel_allocations(draws.z[:1], draws.shuffle[:1])[0]),
    "stephens": lambda draws: stephens(draws.p),
    "pivot": lambda draws: pivot(draws.mu, draws.mu[0]),
    "data_based": lambda draws: data_based(draws.z, draws.x, draws.k),
    "ordering": lambda draws: ordering(draws.mu[:, :, 0]),
}
every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)


@every_algorithm
@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_shuffled_labels_of_separated_components_are_recovered_exactly(name, k, switched):
    draws = switched(noise=0.1, k=k)
    found = ALGORITHMS[name](draws)
    assert agreement(found.permutation, invert(draws.shuffle)) == 1.0
    assert found.converged
    assert (found.margin > 0).all()


@every_algorithm
@pytest.mark.parametrize("seed", range(5))
def test_the_labels_of_the_input_do_not_matter(name, seed, switched, shuffled):
    # odd numbers of rows and overlapping components: labels that are wrong sometimes, yet the same ones
    draws = switched(noise=1.2, seed=seed)
    rng = np.random.default_rng(seed)
    again = shuffled(draws, rng.permuted(np.tile(np.arange(draws.k), (len(draws.z), 1)), axis=1))
    first, second = ALGORITHMS[name](draws), ALGORITHMS[name](again)
    clear = first.margin > 1e-9  # without a margin either labelling is right
    assert clear.mean() > 0.9
    from_truth = compose(draws.shuffle, first.permutation)[clear], compose(again.shuffle, second.permutation)[clear]
    assert agreement(*from_truth) == 1.0
    np.testing.assert_allclose(first.margin, second.margin, atol=1e-9)


@every_algorithm
def test_the_result_is_a_record_of_one_permutation_per_draw(name, switched):
    draws = switched(noise=0.7)
    found = ALGORITHMS[name](draws)
    assert isinstance(found, Relabelling)
    assert found.permutation.dtype == np.intp
    assert_array_equal(np.sort(found.permutation, axis=1), np.tile(np.arange(draws.k), (len(draws.z), 1)))
    assert found.margin.shape == (len(draws.z),)
    assert found.n_iter >= 1
    assert found.name


@pytest.mark.parametrize("algorithm", [ecr, stephens, data_based])
def test_small_pieces_give_the_same_labels(algorithm, switched, monkeypatch):
    draws = switched(noise=0.7)
    name = algorithm.__name__
    whole = ALGORITHMS[name](draws)
    monkeypatch.setattr("bayesmix.labels.base.CHUNK", 1000)  # 200 draws of 81 rows: 12 draws a piece or fewer
    monkeypatch.setattr("bayesmix.labels.assignment.CHUNK", 1000)
    assert_array_equal(ALGORITHMS[name](draws).permutation, whole.permutation)


@pytest.mark.parametrize("algorithm", [ecr, stephens, data_based])
def test_running_out_of_passes_is_said_not_raised(algorithm, switched):
    draws = switched(noise=2.0)
    arguments = {ecr: (draws.z, 4), stephens: (draws.p,), data_based: (draws.z, draws.x, 4)}[algorithm]
    found = algorithm(*arguments, max_iter=1)
    assert found.n_iter == 1
    assert not found.converged
    with pytest.raises(ValueError, match="max_iter"):
        algorithm(*arguments, max_iter=0)
