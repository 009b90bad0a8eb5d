"""Distances between partitions: Binder's loss and the variation of information, from the table of shared rows."""

import numpy as np


def binder(a, b) -> float:
    r"""Binder's loss between two partitions: the share of pairs on which they disagree.

    .. math:: B(a, b) = \frac{1}{N^2} \sum_{i \ne j} \left| 1[a_i = a_j] - 1[b_i = b_j] \right|
              = \frac{1}{N^2} \Big( \sum_k n_{k\cdot}^2 + \sum_l n_{\cdot l}^2 - 2 \sum_{kl} n_{kl}^2 \Big)

    with :math:`n_{kl}` the number of rows in cluster k of a and l of b. A metric, between 0 and 1 - 1/N: one cluster
    against all rows by themselves (Binder 1978; Wade & Ghahramani 2018, section 2, in its form that does not depend on
    the number of rows).

    Parameters
    ----------
    a, b : array_like (obs,)
        Labels; their names do not matter.
    """
    return float(_binder(_table(a, b)))


def variation_of_information(a, b) -> float:
    r"""Variation of information between two partitions, in nats.

    .. math:: VI(a, b) = H(a) + H(b) - 2 I(a, b) = 2 H(a, b) - H(a) - H(b)

    with H the entropy of the cluster of a row taken at random, and I the mutual information. A metric, between 0 and
    log N (Meila 2007). Wade & Ghahramani (2018) give it in bits: divide by log 2.

    Parameters
    ----------
    a, b : array_like (obs,)
        Labels; their names do not matter.
    """
    return float(_information(_table(a, b)))


def _table(a, b) -> np.ndarray:
    """Number of rows in each cluster of a and each of b."""
    a, b = np.asarray(a), np.asarray(b)
    if a.ndim != 1 or a.shape != b.shape or a.size == 0:
        raise ValueError(f"two partitions of the same rows are needed, but their shapes are {a.shape} and {b.shape}.")
    _, rows = np.unique(a, return_inverse=True)
    _, columns = np.unique(b, return_inverse=True)
    k = int(columns.max()) + 1
    return np.bincount(rows * k + columns, minlength=(int(rows.max()) + 1) * k).reshape(-1, k)


def _binder(table) -> float:
    table = table.astype(float)
    apart = (table.sum(axis=1) ** 2).sum() + (table.sum(axis=0) ** 2).sum() - 2.0 * (table**2).sum()
    return apart / table.sum() ** 2


def _information(table) -> float:
    n = table.sum()
    return max(0.0, (_x_log_x(table.sum(axis=1)) + _x_log_x(table.sum(axis=0)) - 2.0 * _x_log_x(table)) / n)


def _x_log_x(counts) -> float:
    counts = counts[counts > 0].astype(float)
    return float(np.sum(counts * np.log(counts)))


DISTANCES = {"binder": binder, "vi": variation_of_information}


def distances_to(labels, allocations: np.ndarray, loss: str) -> np.ndarray:
    """Distance from one partition (obs,) to each of many (draw, obs): (draw,)."""
    return np.array([DISTANCES[loss](labels, other) for other in allocations])
