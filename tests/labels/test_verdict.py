"""Each of the six verdicts, on draws constructed to deserve it."""

import re
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest

from bayesmix.labels import Verdict, apply_permutation, invariants, judge

CONVERGED = "converged"
SWITCHED = "labels switched only"
MODES = "several modes"
STUCK = "a chain is stuck"
UNIDENTIFIED = "not identified (too many components)"
LONGER = "not converged: run longer"


def slow(rng, shape, correlation):
    """Standard normal draws, autocorrelated along the second axis."""
    noise = rng.normal(size=shape)
    if correlation == 0.0:
        return noise
    for t in range(1, shape[1]):
        noise[:, t] = correlation * noise[:, t - 1] + np.sqrt(1.0 - correlation**2) * noise[:, t]
    return noise


def two_normals(seed=0, chains=4, draws=1000, correlation=0.0):
    """Posterior draws of a mixture of two well separated normals, 100 rows, labels known."""
    rng = np.random.default_rng(seed)
    shape = (chains, draws)
    return SimpleNamespace(
        mu=np.array([-3.0, 3.0]) + 0.15 * slow(rng, (*shape, 2), correlation),
        first_weight=0.6 + 0.05 * slow(rng, shape, correlation),
        log_likelihood=-210.0 - 0.5 * (slow(rng, (*shape, 3), correlation) ** 2).sum(axis=2),
        entropy=5.0 + slow(rng, shape, correlation),
        permutation=np.tile([0, 1], (*shape, 1)),
        margin=np.full(shape, 0.9),
        rng=rng,
    )


def judged(draws, **changes):
    """The verdict on draws relabelled correctly, their raw labels given by ``permutation``."""
    weights = np.stack([draws.first_weight, 1.0 - draws.first_weight], axis=2)
    relabelled = {"mu": draws.mu, "weights": weights}
    raw = {name: apply_permutation(values, draws.permutation, axis=2) for name, values in relabelled.items()}
    points = np.array([-3.0, 0.0, 3.0])
    density = (weights[:, :, None] * np.exp(-0.5 * (points[:, None] - draws.mu[:, :, None]) ** 2)).sum(axis=3)
    arguments = {
        "log_likelihood": draws.log_likelihood,
        "permutation": draws.permutation,
        "margin": draws.margin,
        "weights": weights,
    } | changes
    invariant = invariants(np.log(density), weights, draws.log_likelihood, draws.entropy)
    return judge(raw, relabelled, invariant, **arguments)


def switch_labels(draws, switched):
    draws.permutation = np.where(switched[:, :, None], [1, 0], [0, 1])
    return draws


# converged


def test_independent_draws_have_converged():
    verdict = judged(two_normals())
    assert isinstance(verdict, Verdict)
    assert verdict.outcome == CONVERGED
    assert max(verdict.rhat_raw, verdict.rhat_relabelled, verdict.rhat_invariant) < 1.01
    assert min(verdict.ess_raw, verdict.ess_relabelled, verdict.ess_invariant) > 2000
    assert verdict.low_margin_share == 0.0


@pytest.mark.parametrize(("chains", "draws"), [(4, 250), (2, 500), (8, 250)])
def test_short_but_perfect_chains_are_not_accused(chains, draws):
    # a fixed limit of 1.01 would reject some of these
    outcomes = [judged(two_normals(seed, chains, draws)).outcome for seed in range(10)]
    assert outcomes == [CONVERGED] * 10


def test_a_few_draws_of_unclear_labels_do_no_harm():
    draws = two_normals()
    unclear = draws.rng.random(draws.margin.shape) < 0.02
    draws.margin[unclear] = 0.001
    verdict = judged(switch_labels(draws, unclear))
    assert verdict.outcome == CONVERGED
    assert verdict.low_margin_share == pytest.approx(unclear.mean())


# labels switched only


@pytest.mark.parametrize("how", ["half of the chains", "now and then", "every draw"])
def test_switched_labels_are_only_that(how):
    draws = two_normals()
    switched = {
        "half of the chains": np.tile([[False], [True], [True], [False]], (1, 1000)),
        "now and then": np.tile(np.arange(1000) // 300 % 2 == 1, (4, 1)),
        "every draw": draws.rng.random((4, 1000)) < 0.5,  # raw R-hat is perfect here
    }[how]
    verdict = judged(switch_labels(draws, switched))
    assert verdict.outcome == SWITCHED
    assert verdict.rhat_relabelled < 1.01
    assert verdict.rhat_raw > 1.5 or how != "half of the chains"


# a chain is stuck


def stuck_chain(nats=40.0, chain=2):
    draws = two_normals()
    draws.log_likelihood[chain] -= nats
    draws.mu[chain] += 2.0
    return draws


def test_a_chain_below_the_others_is_stuck():
    verdict = judged(stuck_chain())
    assert verdict.outcome == STUCK
    assert "chain 2" in verdict.message
    assert "40.0 nats" in verdict.message


def test_one_of_two_chains_may_be_the_stuck_one():
    draws = two_normals(chains=2)
    draws.log_likelihood[0] -= 30.0
    draws.mu[0] += 2.0
    assert judged(draws).outcome == STUCK


def test_a_chain_that_never_moves_is_stuck():
    draws = two_normals()
    draws.mu[1] = draws.mu[1, 0]
    draws.first_weight[1] = draws.first_weight[1, 0]
    draws.log_likelihood[1] = draws.log_likelihood[1, 0]
    draws.entropy[1] = draws.entropy[1, 0]
    verdict = judged(draws)
    assert verdict.outcome == STUCK
    assert "Chain 1 does not move" in verdict.message


def test_stuck_comes_before_switched_labels():
    draws = switch_labels(stuck_chain(), np.tile([[False], [True], [True], [False]], (1, 1000)))
    assert judged(draws).outcome == STUCK


# several modes


def test_chains_settled_at_the_same_level_are_in_several_modes():
    draws = two_normals()
    draws.mu[2:, :, 1] += 2.0
    verdict = judged(draws)
    assert verdict.outcome == MODES
    assert verdict.rhat_invariant > 1.2
    assert "log_density" in verdict.message


def test_one_chain_alone_in_a_better_mode_makes_several_modes_not_three_stuck_chains():
    draws = stuck_chain(nats=-20.0)
    assert judged(draws).outcome == MODES


def test_a_low_chain_that_visits_the_others_is_not_stuck():
    draws = stuck_chain()
    other = two_normals(seed=1)
    draws.log_likelihood[2, 500:] = other.log_likelihood[2, 500:]
    draws.mu[2, 500:] = other.mu[2, 500:]
    assert judged(draws).outcome == MODES


def test_chains_that_seldom_jump_between_levels_are_in_several_modes():
    draws = two_normals()
    level = np.stack([np.roll(np.arange(1000) // 400 % 2, shift) for shift in (0, 130, 260, 390)])
    draws.mu[:, :, 1] += 3.0 * level
    verdict = judged(draws)
    assert verdict.outcome == MODES
    assert "jump" in verdict.message or "settled" in verdict.message


def test_frequent_jumps_are_mixing():
    draws = two_normals()
    draws.mu[:, :, 1] += 3.0 * (draws.rng.random((4, 1000)) < 0.5)
    assert judged(draws).outcome == CONVERGED


# not identified


def test_a_component_without_rows_is_not_identified():
    draws = two_normals()
    draws.first_weight = 1.0 - draws.rng.beta(1.0, 101.0, size=(4, 1000))
    draws.mu[:, :, 1] = 10.0 * draws.rng.normal(size=(4, 1000))
    verdict = judged(draws)
    assert verdict.outcome == UNIDENTIFIED
    assert "component 1" in verdict.message


def test_labels_that_are_a_coin_toss_are_not_identified():
    draws = two_normals()
    draws.margin = 0.05 * np.abs(draws.rng.normal(size=(4, 1000)))
    draws = switch_labels(draws, draws.rng.random((4, 1000)) < 0.5)
    verdict = judged(draws)
    assert verdict.outcome == UNIDENTIFIED
    assert verdict.low_margin_share > 0.9


def test_a_small_component_with_rows_behind_it_is_identified():
    draws = two_normals()
    draws.first_weight = 1.0 - draws.rng.beta(9.0, 4993.0, size=(4, 1000))  # 8 rows of 5000
    draws.margin[:] = 0.99  # swapping the two would misplace every row
    assert judged(draws).outcome == CONVERGED


# not converged: run longer


@pytest.mark.parametrize("seed", range(5))
def test_slow_chains_must_run_longer(seed):
    verdict = judged(two_normals(seed, correlation=0.98))
    assert verdict.outcome == LONGER
    assert "times as many draws" in verdict.message


def test_few_draws_must_run_longer():
    assert judged(two_normals(draws=50)).outcome == LONGER


def test_parameters_that_relabelling_leaves_unmixed_must_run_longer():
    draws = two_normals()
    draws.mu[..., 0] = draws.mu[..., 0] + 0.1 * np.array([[0], [1], [0], [1]])
    draws.margin[:] = 0.9
    verdict = judged(draws, log_likelihood=two_normals(seed=5).log_likelihood)
    assert verdict.outcome == LONGER
    assert re.search(r"worst is `\w+`", verdict.message)


def test_many_divergences_are_not_called_converged():
    assert judged(two_normals(), divergences=3).outcome == CONVERGED
    assert "3 transitions diverged" in judged(two_normals(), divergences=3).message
    verdict = judged(two_normals(), divergences=400)
    assert verdict.outcome == LONGER
    assert "diverged: tune for longer" in verdict.message


# one chain


def test_one_chain_is_judged_by_its_halves_and_says_so():
    verdict = judged(two_normals(chains=1))
    assert verdict.outcome == CONVERGED
    assert "one chain only" in verdict.message
    draws = two_normals(chains=1)
    draws.mu[:, 500:, 1] += 2.0
    assert judged(draws).outcome == MODES
    assert judged(switch_labels(two_normals(chains=1), np.arange(1000)[None] >= 500)).outcome == SWITCHED


# what is looked at


def judge_simply(quantity, **changes):
    chains, draws = quantity.shape[:2]
    arguments = {
        "log_likelihood": np.random.default_rng(9).normal(size=(chains, draws)),
        "permutation": np.zeros((chains, draws, 1), int),
        "margin": np.full((chains, draws), np.inf),
        "weights": np.ones((chains, draws, 1)),
    } | changes
    return judge({"q": quantity}, {"q": quantity}, {}, **arguments)


def test_constant_entries_and_repeated_ones_are_passed_over():
    rng = np.random.default_rng(0)
    cov = np.zeros((4, 500, 1, 3, 3))
    cov[..., [0, 1, 2], [0, 1, 2]] = 1.0 + rng.random((4, 500, 1, 3))
    cov[..., 0, 1] = cov[..., 1, 0] = rng.normal(size=(4, 500, 1))
    full = judge_simply(cov)
    entries = judge_simply(cov[:, :, 0, [0, 1, 1, 2], [0, 0, 1, 2]])
    assert full == entries
    assert full.outcome == CONVERGED
    assert full.message


def test_one_component_and_nothing_that_varies_still_get_a_verdict():
    verdict = judge_simply(np.ones((4, 500)))
    assert np.isnan(verdict.rhat_raw)
    assert verdict.outcome == CONVERGED


def test_infinite_log_densities_are_only_low():
    values = np.random.default_rng(0).normal(size=(4, 500))
    values[values < -2.0] = -np.inf
    assert judge_simply(values).outcome == CONVERGED


def test_draws_that_are_not_numbers_have_not_converged():
    values = np.random.default_rng(0).normal(size=(4, 500))
    values[0, 0] = np.nan
    verdict = judge_simply(values)
    assert verdict.outcome == LONGER
    assert verdict.rhat_relabelled == np.inf


def test_arrays_that_do_not_match_are_explained():
    values = np.ones((4, 500))
    with pytest.raises(ValueError, match="`margin` has shape"):
        judge_simply(values, margin=np.ones((3, 500)))
    with pytest.raises(ValueError, match="too few"):
        judge_simply(np.ones((2, 3)))
    with pytest.raises(ValueError, match="chain, draw"):
        judge_simply(values, log_likelihood=np.ones(500))


def test_every_number_of_the_verdict_is_a_float():
    verdict = judged(two_normals(draws=200))
    assert all(type(getattr(verdict, f.name)) is float for f in fields(verdict) if f.name not in ("outcome", "message"))


# invariants


def test_invariants_do_not_change_with_the_labels():
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(4), size=(2, 10))
    shuffle = rng.permuted(np.tile(np.arange(4), (2, 10, 1)), axis=2)
    rest = rng.normal(size=(2, 10, 5)), rng.normal(size=(2, 10)), rng.normal(size=(2, 10))
    first = invariants(rest[0], weights, *rest[1:])
    second = invariants(rest[0], apply_permutation(weights, shuffle, axis=2), *rest[1:])
    assert set(first) == {"log_likelihood", "weights_sorted", "entropy", "log_density"}
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert (np.diff(first["weights_sorted"], axis=2) <= 0).all()


def test_many_points_are_refused():
    with pytest.raises(ValueError, match="at most 10"):
        invariants(np.zeros((2, 10, 11)), np.ones((2, 10, 1)), np.zeros((2, 10)), np.zeros((2, 10)))
