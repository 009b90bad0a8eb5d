"""Equivalence classes representatives: labels by agreement of allocations with a pivot clustering."""

import numpy as np

from bayesmix.labels.assignment import best_assignment, relabel_allocations
from bayesmix.labels.base import Relabelling, central_draw, check_allocations, chunks, iterate


def ecr(allocations, n_components, pivot=None, max_iter=100, groups=None):
    """Relabel so that each draw's allocations agree with a pivot clustering on as many rows as possible.

    perm_s = argmin_p Σ_n 1[z_sn ≠ p(pivot_n)].

    With a ``pivot`` this is the ECR algorithm of Papastamoulis & Iliopoulos (2010): one pass. Without, it is its
    iterative version 1 (named so in Papastamoulis 2016): the pivot is each row's most frequent label over the
    relabelled draws, the draws are relabelled to it, and so on until nothing changes. It starts from a draw in the
    middle of the others, so the labels of the input do not matter.

    Two components that are empty in the same draw cannot be told apart by allocations: their margin is 0.

    Parameters
    ----------
    allocations : array_like of int (draw, observation)
        Component of each row in each draw, 0 to K − 1; chains joined end to end.
    n_components : int
    pivot : array_like of int (observation,), optional
        Clustering to agree with, e.g. of the draw with the highest posterior.
    max_iter : int
    groups : array_like of int (component,), optional
        Only components of the same group change places.

    Returns
    -------
    Relabelling
        ``margin`` is a share of the rows, in [0, 1]: agreement lost by the second best permutation.

    References
    ----------
    Papastamoulis, P. & Iliopoulos, G. (2010). J. Computational and Graphical Statistics 19, 313-331.
    Papastamoulis, P. (2016). label.switching. J. Statistical Software 69, code snippet 1.
    """
    allocations = check_allocations(allocations, n_components)
    n_draws, n_rows = allocations.shape
    if pivot is not None:
        pivot = check_allocations(np.asarray(pivot)[None], n_components)[0]
        if len(pivot) != n_rows:
            raise ValueError(f"`pivot` labels {len(pivot)} rows but `allocations` has {n_rows}.")
        perm, margin = best_assignment(disagreement(allocations, pivot, n_components), groups)
        return Relabelling(perm, margin / n_rows, 1, "ECR", True)

    first = allocations[
        central_draw(
            lambda one, draws: disagreement(allocations[draws], allocations[one], n_components), n_draws, groups
        )
    ]
    perm, _ = best_assignment(disagreement(allocations, first, n_components), groups)

    def cost_given(perm):
        return disagreement(allocations, _most_frequent(allocations, perm), n_components)

    perm, margin, n_iter, converged = iterate(cost_given, perm, max_iter, groups)
    return Relabelling(perm, margin / n_rows, n_iter, "ECR (iterative)", converged)


def disagreement(allocations, pivot, n_components):
    """Count, for each label and component, the pivot's rows of that label that are not in that component.

    allocations (draw, observation), pivot (observation,) → (draw, label, component).
    """
    n_draws, n_rows = allocations.shape
    k = n_components
    agreement = np.empty((n_draws, k, k))
    for part in chunks(n_draws, n_rows):
        z = allocations[part]
        cell = (np.arange(len(z))[:, None] * k + pivot) * k + z  # (draw, label, component) as one number
        agreement[part] = np.bincount(cell.ravel(), minlength=len(z) * k * k).reshape(-1, k, k)
    return np.bincount(pivot, minlength=k)[:, None] - agreement


def _most_frequent(allocations, perm):
    n_draws, n_rows = allocations.shape
    k = perm.shape[1]
    count = np.zeros(n_rows * k, dtype=np.intp)
    for part in chunks(n_draws, n_rows):
        label = relabel_allocations(allocations[part], perm[part])
        count += np.bincount((np.arange(n_rows) * k + label).ravel(), minlength=n_rows * k)
    return count.reshape(n_rows, k).argmax(axis=1)
