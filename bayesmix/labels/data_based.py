"""Data-based relabelling: labels by the place in data space of the rows allocated to a component."""

import numpy as np

from bayesmix.labels.assignment import apply_permutation, best_assignment
from bayesmix.labels.base import Relabelling, central_draw, check_allocations, chunks, iterate
from bayesmix.labels.ecr import disagreement

SMALLEST = 1e-3  # a cluster's standard deviation, in units of the column's, is taken to be at least this


def data_based(allocations, x, n_components, max_iter=100, groups=None):
    """Relabel so that the rows of a component lie, in every draw, around the same centre.

    Alternates between centres m_c and dispersions s_c, the means over the relabelled draws of a group's mean and
    standard deviation (groups of no row, respectively one row, left out), and
    perm_s = argmin_p Σ_c Σ_{n: z_sn = p(c)} Σ_d ((x_nd − m_cd) / s_cd)²
    (Rodriguez & Walker 2014, algorithms 5 and 6). They update centres after each draw and pass once; here all draws are
    relabelled before the centres move, until nothing changes, starting from a draw in the middle of the others: the
    order and the labels of the draws do not matter.

    Suits components that differ in location. Use `ecr` or `stephens` where they differ in spread only.

    Parameters
    ----------
    allocations : array_like of int (draw, observation)
    x : array_like (observation,) or (observation, feature)
    n_components : int
    max_iter : int
    groups : array_like of int (component,), optional
        Only components of the same group change places.

    Returns
    -------
    Relabelling
        ``margin`` is in squared within-cluster standard deviations per row and feature, added by the second best
        permutation.

    References
    ----------
    Rodriguez, C. E. & Walker, S. G. (2014). Label switching in Bayesian mixture models: deterministic relabeling
    strategies. J. Computational and Graphical Statistics 23, 25-45.
    """
    allocations = check_allocations(allocations, n_components)
    x = np.asarray(x, dtype=float)
    x = x[:, None] if x.ndim == 1 else x
    n_draws, n_rows = allocations.shape
    if x.ndim != 2 or len(x) != n_rows:
        raise ValueError(f"`x` has shape {x.shape} but `allocations` labels {n_rows} rows.")
    spread = x.std(axis=0)
    x = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)

    count, total, square = _group_sums(allocations, x, n_components)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count[..., None]  # nan where a group is empty
        sd = np.sqrt(np.maximum(square - count[..., None] * mean**2, 0.0) / (count[..., None] - 1.0))
    mean[count < 1] = np.nan
    sd[count < 2] = np.nan

    def cost_of(centre, dispersion):
        precision = 1.0 / np.maximum(dispersion, SMALLEST) ** 2  # (label, feature)
        return (  # Σ ((x − m) / s)², multiplied out: (draw, component, feature) @ (feature, label)
            square @ precision.T
            - 2.0 * total @ (centre * precision).T
            + count[:, :, None] * (centre**2 * precision).sum(axis=1)
        ).swapaxes(1, 2)

    def cost_given(perm):
        return cost_of(
            _mean_or(apply_permutation(mean, perm, axis=1), 0.0), _mean_or(apply_permutation(sd, perm, axis=1), 1.0)
        )

    one = central_draw(lambda i, draws: disagreement(allocations[draws], allocations[i], n_components), n_draws, groups)
    perm, _ = best_assignment(cost_of(_mean_or(mean[[one]], 0.0), _mean_or(sd[[one]], 1.0)), groups)
    perm, margin, n_iter, converged = iterate(cost_given, perm, max_iter, groups)
    return Relabelling(perm, margin / x.size, n_iter, "data-based", converged)


def _group_sums(allocations, x, k):
    """Rows, sum and sum of squares of each group: (draw, component), twice (draw, component, feature)."""
    n_draws, n_features = len(allocations), x.shape[1]
    count = np.empty((n_draws, k))
    total, square = np.empty((n_draws, k, n_features)), np.empty((n_draws, k, n_features))
    for part in chunks(n_draws, allocations.shape[1]):
        z = allocations[part]
        cell = (np.arange(len(z))[:, None] * k + z).ravel()
        n_cells = len(z) * k
        count[part] = np.bincount(cell, minlength=n_cells).reshape(-1, k)
        for d in range(n_features):
            column = np.tile(x[:, d], len(z))
            total[part, :, d] = np.bincount(cell, column, n_cells).reshape(-1, k)
            square[part, :, d] = np.bincount(cell, column**2, n_cells).reshape(-1, k)
    return count, total, square


def _mean_or(values, otherwise):
    """Mean over draws of what is not nan, or ``otherwise`` (in units of the whole data) where nothing is left."""
    known = ~np.isnan(values)
    n_known = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(n_known > 0, total / np.maximum(n_known, 1), otherwise)
