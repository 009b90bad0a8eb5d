"""The assignment problem behind every relabelling: which raw component gets which label, draw by draw.

A permutation row ``perm`` (K,) means ``relabelled[c] = raw[perm[c]]``.
"""

from itertools import permutations

import numpy as np
from scipy.optimize import linear_sum_assignment

ENUMERATED = 6  # up to 6! = 720 permutations a matrix product beats 4000 calls of the Hungarian method
CHUNK = 2**21  # doubles held at once (16 MB)


def best_assignment(cost, groups=None):
    """Find the cheapest permutation of each draw, and by how much it beats the second cheapest.

    perm_s = argmin_p Σ_c cost[s, c, p(c)], exact. For K <= 6 all K! permutations are compared at once, above that each
    draw is solved by the Hungarian method.

    The second cheapest differs from the cheapest by one cycle of labels, so with
    M[c, d] = cost[c, perm[d]] − cost[c, perm[c]] (label c takes what label d has now) the margin is the weight of the
    lightest cycle of M, found for all draws together by the recursion of Floyd (1962).

    Parameters
    ----------
    cost : array_like (draw, label, component)
        Cost of giving raw component j the label c; finite.
    groups : array_like of int (component,), optional
        Only components of the same group change places; all of them where it is not given.

    Returns
    -------
    perm : ndarray of intp (draw, label)
        ``relabelled[c] = raw[perm[c]]``. Among permutations of equal cost any may be returned: the margin is then 0.
    margin : ndarray (draw,)
        Cost of the second cheapest permutation minus that of the cheapest, >= 0; inf where there is one only.

    References
    ----------
    Kuhn, H. W. (1955). The Hungarian method for the assignment problem. Naval Research Logistics Quarterly 2, 83-97.
    Floyd, R. W. (1962). Algorithm 97: shortest path. Communications of the ACM 5, 345.
    """
    cost = np.asarray(cost, dtype=float)
    if cost.ndim != 3 or cost.shape[1] != cost.shape[2] or cost.shape[1] == 0:
        raise ValueError(f"`cost` has shape {cost.shape}; it needs (draw, label, component) with as many of each.")
    if not np.isfinite(cost).all():
        raise ValueError("`cost` has entries that are not finite; clip probabilities away from zero before the log.")
    n_draws, k, _ = cost.shape
    groups = np.zeros(k, dtype=int) if groups is None else np.asarray(groups)
    apart = groups[:, None] != groups
    perm = np.empty((n_draws, k), dtype=np.intp)
    margin = np.empty(n_draws)
    per_draw = max(k * k, len(_every_permutation(k)) if k <= ENUMERATED else 0)
    step = max(1, CHUNK // per_draw)
    for start in range(0, n_draws, step):
        part = slice(start, start + step)
        perm[part] = (
            _enumerate(cost[part], groups) if k <= ENUMERATED else _hungarian(np.where(apart, np.inf, cost[part]))
        )
        margin[part] = _lightest_cycle(cost[part], perm[part], apart)
    return perm, margin


def _every_permutation(k):
    return np.array(list(permutations(range(k))), dtype=np.intp)


def _enumerate(cost, groups):
    n_draws, k, _ = cost.shape
    every = _every_permutation(k)
    every = every[np.all(groups[every] == groups, axis=1)]
    chosen = np.zeros((k, k, len(every)))  # 1 where permutation p gives component j the label c
    chosen[np.arange(k), every, np.arange(len(every))[:, None]] = 1.0
    cost = cost - cost.min(axis=2, keepdims=True)  # the same for every permutation; keeps digits
    total = cost.reshape(n_draws, k * k) @ chosen.reshape(k * k, -1)
    return every[total.argmin(axis=1)]


def _hungarian(cost):
    return np.array([linear_sum_assignment(one)[1] for one in cost], dtype=np.intp)


def _lightest_cycle(cost, perm, apart):
    k = perm.shape[1]
    taken = np.take_along_axis(cost, perm[:, None, :], axis=2)  # [s, c, d]: label c takes what label d has now
    weight = taken - np.diagonal(taken, axis1=1, axis2=2)[:, :, None]
    weight[:, np.arange(k), np.arange(k)] = np.inf  # a cycle moves at least two labels
    weight[:, apart] = np.inf
    for via in range(k):
        np.minimum(weight, weight[:, :, via, None] + weight[:, None, via, :], out=weight)
    return np.maximum(np.diagonal(weight, axis1=1, axis2=2).min(axis=1), 0.0)  # rounding may leave −1e-16


def apply_permutation(array, perm, axis):
    """Relabel an array: ``relabelled[..., c, ...] = array[..., perm[..., c], ...]`` along the component axis.

    Parameters
    ----------
    array : array_like (draw, ..., component, ...)
        Begins with the axes of the draws: one, or (chain, draw), or none, as ``perm`` does.
    perm : array_like of int (draw, component)
    axis : int
        The component axis of ``array``, after the axes of the draws.

    Returns
    -------
    ndarray, of the shape of ``array``
    """
    array, perm = np.asarray(array), np.asarray(perm, dtype=np.intp)
    n_draw_axes = perm.ndim - 1
    axis = axis + array.ndim if axis < 0 else axis
    if not n_draw_axes <= axis < array.ndim or array.shape[:n_draw_axes] + array.shape[axis : axis + 1] != perm.shape:
        raise ValueError(
            f"`array` of shape {array.shape} cannot be relabelled along axis {axis} by permutations of shape "
            f"{perm.shape}: it must begin with the axes {perm.shape[:-1]} and have {perm.shape[-1]} components there."
        )
    shape = [1] * array.ndim
    shape[:n_draw_axes] = perm.shape[:-1]
    shape[axis] = perm.shape[-1]
    return np.take_along_axis(array, perm.reshape(shape), axis=axis)


def relabel_allocations(allocations, perm):
    """Relabel allocations: a row in raw component ``perm[c]`` gets the label c.

    allocations: (draw, observation) of ints; perm: (draw, component); returns (draw, observation).
    """
    return np.take_along_axis(invert(perm), np.asarray(allocations, dtype=np.intp), axis=-1)


def compose(first, then):
    """Give the permutation that relabels by ``first`` and the result by ``then``: ``first[then]``. Shapes (..., K)."""
    first, then = np.broadcast_arrays(np.asarray(first, dtype=np.intp), np.asarray(then, dtype=np.intp))
    return np.take_along_axis(first, then, axis=-1)


def invert(perm):
    """Give the permutation that undoes ``perm``: composed with it, either way round, the identity. Shape (..., K)."""
    return np.argsort(np.asarray(perm, dtype=np.intp), axis=-1)


def agreement(first, second):
    """Share of draws on which two relabellings agree, up to one renaming of all labels. Shapes (draw, component).

    Two algorithms may well find the same labels and name them differently; that renaming is the commonest value over
    draws of ``compose(invert(first), second)``, and the draws that have it agree.
    """
    renaming = compose(invert(first), second)
    _, count = np.unique(renaming, axis=0, return_counts=True)
    return float(count.max() / len(renaming))
