"""Stephens' Kullback-Leibler relabelling: labels by agreement of classification probabilities."""

import numpy as np

from bayesmix.labels.assignment import apply_permutation, best_assignment
from bayesmix.labels.base import Relabelling, central_draw, chunks, iterate

SMALLEST = 1e-6  # probabilities are kept at least this far from 0: one row can cost no more than 13.8 nats


def stephens(responsibilities, max_iter=100, groups=None):
    """Relabel so that the classification probabilities of all draws are close to their mean.

    Alternates between q_nc = mean over draws of p_{s,n,perm_s(c)} and
    perm_s = argmin_p Σ_n Σ_c p_{s,n,p(c)} log(p_{s,n,p(c)} / q_nc),
    the total Kullback-Leibler divergence in nats (Stephens 2000, algorithm 2), until nothing changes. q is clipped at
    1e-6 from below, so that a row which one draw classifies with certainty and another elsewhere costs 13.8 nats
    rather than infinity. It starts from a draw in the middle of the others, so the labels of the input do not matter.

    Uses more information than `ecr` (probabilities, not allocations), at the price of an array (draw, observation,
    component); that array may be a memory map or of single precision, it is read in pieces.

    Parameters
    ----------
    responsibilities : array_like (draw, observation, component)
        Probability of each component for each row in each draw; sums to 1 over components.
    max_iter : int
    groups : array_like of int (component,), optional
        Only components of the same group change places.

    Returns
    -------
    Relabelling
        ``margin`` is in nats per row: divergence added by the second best permutation, divided by the number of rows.

    References
    ----------
    Stephens, M. (2000). Dealing with label switching in mixture models. J. Royal Statistical Society B 62, 795-809.
    """
    p = np.asanyarray(responsibilities)
    if p.ndim != 3 or 0 in p.shape:
        raise ValueError(f"`responsibilities` has shape {p.shape}; it needs (draw, observation, component).")
    n_draws, n_rows, _ = p.shape

    central = central_draw(lambda one, draws: n_rows - _overlap(p[draws], p[one]), n_draws, groups)
    perm, _ = best_assignment(-_overlap(p, np.asarray(p[central])), groups)

    def cost_given(perm):
        return -_overlap(p, np.log(np.maximum(_mean_relabelled(p, perm), SMALLEST)))

    perm, margin, n_iter, converged = iterate(cost_given, perm, max_iter, groups)
    return Relabelling(perm, margin / n_rows, n_iter, "Stephens (Kullback-Leibler)", converged)


def _overlap(p, reference):
    """Σ_n p[s, n, j] reference[n, c]: (draw, observation, component) and (observation, label) → (draw, c, j)."""
    n_draws, n_rows, k = p.shape
    overlap = np.empty((n_draws, k, k))
    for part in chunks(n_draws, n_rows * k):
        overlap[part] = reference.T @ np.asarray(p[part], dtype=float)
    return overlap


def _mean_relabelled(p, perm):
    n_draws, n_rows, k = p.shape
    total = np.zeros((n_rows, k))
    for part in chunks(n_draws, n_rows * k):
        total += apply_permutation(np.asarray(p[part], dtype=float), perm[part], axis=2).sum(axis=0)
    return total / n_draws
