"""Neighbours of an optimum: some of its rows change their component, and EM starts from there.

With few rows for many parameters the likelihood has more optima than starts can visit, and the good ones lie close to
each other. Iterated local search (Lourenço, Martin & Stützle 2003) goes from one to the next: a neighbour that climbs
higher is the new place to look from. Moves of three kinds take turns at random: a few rows that lie together, a few rows
from anywhere, and two components made anew from all rows of both (the split and merge of Ueda et al. 2000 in one).
"""

import numpy as np

from ..components.base import Guard
from ..likelihood.likelihood import Likelihood
from .starts import one_hot

KEPT = 0.9  # of a row's responsibility goes to its new component, the rest to all alike


def neighbour(likelihood: Likelihood, labels: np.ndarray, guard: Guard | None, rng: np.random.Generator) -> dict:
    """Parameters of one M-step after some rows changed their labels (obs,)."""
    k = likelihood.n_components
    moved = [_together, _anywhere, _two_anew][rng.integers(3)](likelihood.standardised, labels, k, rng)
    return likelihood.maximise_given(KEPT * one_hot(moved, k) + (1.0 - KEPT) / k, guard)


def _together(x, labels, n_components, rng):
    """The rows nearest to some row, up to a tenth of all, go to one component."""
    n_rows = rng.integers(2, max(3, len(x) // 10) + 1)
    near = np.argsort(((x - x[rng.integers(len(x))]) ** 2).sum(axis=1), kind="stable")[:n_rows]
    moved = labels.copy()
    moved[near] = rng.integers(n_components)
    return moved


def _anywhere(x, labels, n_components, rng):
    """Random rows, up to a fifth of all, go to random components."""
    n_rows = rng.integers(2, max(3, len(x) // 5) + 1)
    rows = rng.choice(len(x), min(n_rows, len(x)), replace=False)
    moved = labels.copy()
    moved[rows] = rng.integers(n_components, size=len(rows))
    return moved


def _two_anew(x, labels, n_components, rng):
    """The rows of two components go to the nearer of two of these rows."""
    first, second = rng.choice(n_components, 2, replace=False)
    rows = np.flatnonzero((labels == first) | (labels == second))
    if len(rows) < 2:
        return _anywhere(x, labels, n_components, rng)
    a, b = rng.choice(rows, 2, replace=False)
    nearer = ((x[rows] - x[a]) ** 2).sum(axis=1) < ((x[rows] - x[b]) ** 2).sum(axis=1)
    moved = labels.copy()
    moved[rows] = np.where(nearer, first, second)
    return moved
