"""What every relabelling algorithm returns, and what they share."""

from dataclasses import dataclass

import numpy as np

from bayesmix.labels.assignment import best_assignment

CHUNK = 2**22  # numbers worked on at once (32 MB of doubles)


@dataclass(frozen=True)
class Relabelling:
    """One permutation of the components per draw.

    Attributes
    ----------
    permutation : ndarray of intp (draw, component)
        ``relabelled[c] = raw[permutation[c]]``.
    margin : ndarray (draw,)
        By how much the permutation beats the second best one; 0 means that the labels of this draw are a coin toss,
        inf that there is one component only. Its unit depends on the algorithm, see there.
    n_iter : int
        Passes over the draws.
    name : str
        The algorithm, for people.
    converged : bool
        Whether the last pass changed nothing (always true for algorithms of one pass).
    """

    permutation: np.ndarray
    margin: np.ndarray
    n_iter: int
    name: str
    converged: bool


def chunks(n_draws, per_draw):
    """Slices over the draws such that each holds about `CHUNK` numbers, ``per_draw`` of them for each draw."""
    step = max(1, CHUNK // max(1, per_draw))
    return [slice(start, min(start + step, n_draws)) for start in range(0, n_draws, step)]


def iterate(cost_given, perm, max_iter, groups=None):
    """Alternate between a reference (from the relabelled draws) and the labels (from the reference), until still.

    ``cost_given(perm)`` returns the cost (draw, label, component) against the reference that ``perm`` implies.
    Returns (perm, margin, number of passes, whether the last pass changed nothing).
    """
    if max_iter < 1:
        raise ValueError(f"`max_iter`={max_iter}; it takes at least one pass to label the draws.")
    n_iter, still = 0, False
    while n_iter < max_iter and not still:
        previous = perm
        perm, margin = best_assignment(cost_given(perm), groups)
        n_iter, still = n_iter + 1, np.array_equal(perm, previous)
    return perm, margin, n_iter, still


def central_draw(cost_between, n_draws, groups=None, n_candidates=10, n_compared=100):
    """Index of a draw close to the others, whatever their labels: where an iterative algorithm starts.

    Starting from a draw, rather than from the labels as they came, makes the result the same (up to one renaming of
    all labels) for any relabelling of the input.

    ``cost_between(pivot, draws)`` returns the cost (len(draws), label, component) of labelling draws as draw ``pivot``
    is; of ``n_candidates`` evenly spaced draws the one wins whose total cost to ``n_compared`` evenly spaced draws
    is lowest after relabelling.
    """
    candidates = np.unique(np.linspace(0, n_draws - 1, n_candidates).astype(int))
    compared = np.unique(np.linspace(0, n_draws - 1, n_compared).astype(int))
    totals = []
    for candidate in candidates:
        cost = cost_between(candidate, compared)
        perm, _ = best_assignment(cost, groups)
        totals.append(np.take_along_axis(cost, perm[:, :, None], axis=2).sum())
    return int(candidates[np.argmin(totals)])


def check_allocations(allocations, n_components):
    """Return allocations (draw, observation) as intp, or say what is wrong with them."""
    allocations = np.asarray(allocations)
    if allocations.ndim != 2 or 0 in allocations.shape or not np.issubdtype(allocations.dtype, np.integer):
        raise ValueError(
            f"`allocations` has shape {allocations.shape} and type {allocations.dtype}; "
            "it needs integers of shape (draw, observation), chains joined end to end."
        )
    low, high = allocations.min(), allocations.max()
    if low < 0 or high >= n_components:
        raise ValueError(
            f"`allocations` runs from {low} to {high}; with {n_components} components it must stay within "
            f"0 and {n_components - 1}. If it counts from 1, subtract 1."
        )
    return allocations.astype(np.intp, copy=False)
