"""Rows that occur many times, collapsed into one row with a weight: integers, categories, rounded measurements.

A pass over distinct rows costs the same for any number of repetitions. Whether it pays is first looked at in a few
rows, so that data which never repeat lose nothing.
"""

import numpy as np

from ..components.base import Rows

FEW = 4096  # rows: below, a pass is so short that nothing is gained
GLANCE = 1024  # rows looked at first
PAYS = 4  # times fewer rows, at least


def collapse(rows: Rows) -> Rows:
    """Distinct rows, weighted by how often they occur, where that leaves at most a quarter; otherwise as they are."""
    n = len(rows.x)
    if n < FEW or not promising(rows.x):
        return rows
    found = distinct(rows.x, rows.weights)
    if found is None or PAYS * len(found[0]) > n:
        return rows
    return Rows(*found, rows.log_base_measure)


def promising(x: np.ndarray) -> bool:
    """Are at least half of about a thousand rows, spread over x (row, column), repetitions of others?

    Rows drawn evenly from m values are: 1024 rows of 600 values hold about 490 of them.
    """
    glance = x[np.linspace(0, len(x) - 1, min(len(x), GLANCE)).astype(int)]
    return 2 * len(np.unique(_keys(glance))) <= len(glance)


def distinct(x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Distinct rows of x and the sum of the weights of each, sorted; `weights` of size 0 stands for ones.

    Rows are sorted by one number each, a projection with irrational coefficients. None in the unheard-of case that
    rows of different values share that number.
    """
    _, first, where = np.unique(_keys(x), return_index=True, return_inverse=True)
    where = where.ravel()
    counts = np.bincount(where, weights=weights if weights.size else None, minlength=len(first)).astype(float)
    found = np.ascontiguousarray(x[first], dtype=float)
    if x.shape[1] > 1 and any(np.any(x[:, j] != found[where, j]) for j in range(x.shape[1])):
        return None
    return found, counts


def _keys(x):
    """One number for each row of x (row, column)."""
    if x.shape[1] == 1:
        return x[:, 0]
    return x @ np.sqrt(np.arange(2.0, 2.0 + x.shape[1]) * np.pi)
