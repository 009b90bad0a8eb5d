"""Normal columns of which some cells are missing, inside a pass of several parts: by runs of rows that miss the same cells.

What `bayesmix.likelihood.kernel.full_missing` does for normal columns by themselves, block by block. The matrices of a
pattern are worked out anew wherever it changes from one row to the next, so that rows in any order are right, and those
sorted by their pattern quick.
"""

import numba
import numpy as np

from .kernel import _FAST, BLOCK, HALF_LOG_2PI, _complete_moments, _observed_factor

VERSION = 1  # raise with every change here
FUNCTIONS = ("covariance_of_factor", "add_observed_density", "add_expected_moments")  # for the passes that are written

# as in bayesmix.likelihood.kernel: compiled into its callers
_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST, forceinline=True)


@_compiled
def covariance_of_factor(factor, size, cov):
    """Write Sigma = (P'P)^-1 into cov, from the lower triangular P: both flat, (size * size,)."""
    root = np.zeros((size, size))
    for j in range(size):
        root[j, j] = 1.0 / factor[j * size + j]
        for i in range(j + 1, size):
            s = 0.0
            for e in range(j, i):
                s -= factor[i * size + e] * root[e, j]
            root[i, j] = s / factor[i * size + i]
    for i in range(size):
        for j in range(i + 1):
            s = 0.0
            for e in range(j + 1):
                s += root[i, e] * root[j, e]
            cov[i * size + j] = s
            cov[j * size + i] = s


@_compiled
def _pattern(x, row, at, size, columns):
    """List the features that a row has, then the others; return how many it has."""
    n_observed = 0
    for j in range(size):
        if not np.isnan(x[row, at + j]):
            columns[n_observed] = j
            n_observed += 1
    place = n_observed
    for j in range(size):
        if np.isnan(x[row, at + j]):
            columns[place] = j
            place += 1
    return n_observed


@_compiled
def _end_of_run(x, start, begin, rows, at, size):
    """The first row of a block behind `begin` that misses other cells."""
    for stop in range(begin + 1, rows):
        for j in range(size):
            if np.isnan(x[start + stop, at + j]) != np.isnan(x[start + begin, at + j]):
                return stop
    return rows


@_compiled
def add_observed_density(x, start, rows, at, size, mu, precision_factor, cov, joint):
    """Add to joint (BLOCK,) the log densities of the cells that are there, in the columns from `at` on.

    mu (size,), P and Sigma flat. -inf where a part of Sigma has no Cholesky factor.
    """
    columns, factor, z = np.empty(size, dtype=np.int64), np.zeros((size, size)), np.empty(BLOCK)
    precision, sigma = precision_factor.reshape((size, size)), cov.reshape((size, size))
    begin = 0
    while begin < rows:
        stop = _end_of_run(x, start, begin, rows, at, size)
        n_observed = _pattern(x, start + begin, at, size, columns)
        if not _observed_factor(sigma, precision, columns, n_observed, factor):
            for i in range(begin, stop):
                joint[i] = -np.inf
        else:
            constant = -n_observed * HALF_LOG_2PI
            for j in range(n_observed):
                constant += np.log(factor[j, j])
            for i in range(begin, stop):
                joint[i] += constant
            for j in range(n_observed):
                for i in range(begin, stop):
                    z[i] = 0.0
                for e in range(j + 1):
                    c, m, h = at + columns[e], mu[columns[e]], factor[j, e]
                    for i in range(begin, stop):
                        z[i] += h * (x[start + i, c] - m)
                for i in range(begin, stop):
                    joint[i] -= 0.5 * z[i] * z[i]
        begin = stop


@_compiled
def add_expected_moments(x, start, rows, at, size, mu, precision_factor, cov, joint, first, second):
    """Add to first (size,) and second (flat) the moments about mu that the rows are expected to have in all features.

    joint (BLOCK,) holds responsibilities times row weights.
    """
    columns, factor, z = np.empty(size, dtype=np.int64), np.zeros((size, size)), np.empty(BLOCK)
    precision, sigma = precision_factor.reshape((size, size)), cov.reshape((size, size))
    first_o, second_o, whole = np.empty(size), np.empty((size, size)), second.reshape((size, size))
    begin = 0
    while begin < rows:
        stop = _end_of_run(x, start, begin, rows, at, size)
        n_observed = _pattern(x, start + begin, at, size, columns)
        n = 0.0
        for i in range(begin, stop):
            n += joint[i]
        if n > 0.0 and _observed_factor(sigma, precision, columns, n_observed, factor):
            for j in range(n_observed):
                c, m = at + columns[j], mu[columns[j]]
                s = 0.0
                for i in range(begin, stop):
                    z[i] = joint[i] * (x[start + i, c] - m)
                    s += z[i]
                first_o[j] = s
                for e in range(j + 1):
                    c, m = at + columns[e], mu[columns[e]]
                    s = 0.0
                    for i in range(begin, stop):
                        s += z[i] * (x[start + i, c] - m)
                    second_o[j, e] = s
            _complete_moments(sigma, factor, columns, n_observed, n, first_o, second_o, first, whole)
        begin = stop
