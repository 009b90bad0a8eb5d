"""Multivariate t columns inside a pass of several parts, on rows of which cells may be missing.

What `bayesmix.likelihood.student` does for such columns by themselves, block by block. The responsibilities are those of all
parts, so that the distances of the rows are worked out twice, for the densities and for the statistics.
"""

import math

import numba
import numpy as np

from .kernel import _FAST, BLOCK, _complete_moments, _observed_factor
from .patterns import _end_of_run, _pattern
from .student import _log_constant, _slope

VERSION = 1  # raise with every change here, and in bayesmix.likelihood.student
FUNCTIONS = (
    "add_student_density",
    "add_student_moments",
    "add_diagonal_student_density",
    "add_diagonal_student_moments",
)

# as in bayesmix.likelihood.kernel: compiled into its callers
_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST, forceinline=True)


@_compiled
def _squared_distances(x, start, begin, stop, at, columns, n_observed, mu, factor, z, squared):
    """Write the squared distances of rows that have the same cells into squared (BLOCK,)."""
    for i in range(begin, stop):
        squared[i] = 0.0
    for j in range(n_observed):
        for i in range(begin, stop):
            z[i] = 0.0
        for e in range(j + 1):
            c, m, h = at + columns[e], mu[columns[e]], factor[j, e]
            for i in range(begin, stop):
                z[i] += h * (x[start + i, c] - m)
        for i in range(begin, stop):
            squared[i] += z[i] * z[i]


@_compiled
def add_student_density(x, start, rows, at, size, mu, precision_factor, cov, joint):
    """Add to joint (BLOCK,) the log densities of the cells that are there, in the columns from `at` on.

    mu (size + 1,) with nu behind it, P and Sigma flat. -inf where a part of Sigma has no Cholesky factor.
    """
    columns, factor = np.empty(size, dtype=np.int64), np.zeros((size, size))
    z, squared, nu = np.empty(BLOCK), np.empty(BLOCK), mu[size]
    precision, sigma = precision_factor.reshape((size, size)), cov.reshape((size, size))
    begin = 0
    while begin < rows:
        stop = _end_of_run(x, start, begin, rows, at, size)
        n_observed = _pattern(x, start + begin, at, size, columns)
        if not _observed_factor(sigma, precision, columns, n_observed, factor):
            for i in range(begin, stop):
                joint[i] = -np.inf
        else:
            constant, half = _log_constant(nu, n_observed), 0.5 * (nu + n_observed)
            for j in range(n_observed):
                constant += math.log(factor[j, j])
            _squared_distances(x, start, begin, stop, at, columns, n_observed, mu, factor, z, squared)
            for i in range(begin, stop):
                joint[i] += constant - half * math.log1p(squared[i] / nu)
        begin = stop


@_compiled
def add_student_moments(x, start, rows, at, size, mu, precision_factor, cov, joint, first, second):
    """Add to first (size + 2,) and second (flat) what ``student_full`` sums; see `bayesmix.likelihood.student`.

    joint (BLOCK,) holds responsibilities times row weights.
    """
    columns, factor = np.empty(size, dtype=np.int64), np.zeros((size, size))
    z, squared, nu = np.empty(BLOCK), np.empty(BLOCK), mu[size]
    precision, sigma = precision_factor.reshape((size, size)), cov.reshape((size, size))
    first_o, second_o, whole = np.empty(size), np.empty((size, size)), second.reshape((size, size))
    begin = 0
    while begin < rows:
        stop = _end_of_run(x, start, begin, rows, at, size)
        n_observed = _pattern(x, start + begin, at, size, columns)
        if _observed_factor(sigma, precision, columns, n_observed, factor):
            _squared_distances(x, start, begin, stop, at, columns, n_observed, mu, factor, z, squared)
            most, slope, s0, s1, s2 = 1.0 + n_observed / nu, _slope(nu, n_observed), 0.0, 0.0, 0.0
            for i in range(begin, stop):
                r, s = joint[i], squared[i] / nu
                squared[i] = 0.0
                s0 += r
                if r > 0.0:  # far away the logarithm may be infinite
                    u = most / (1.0 + s)
                    s1 += r * (slope + u * s - math.log1p(s))
                    s2 += r * u
                    squared[i] = r * u
            first[size] += 0.5 * s1
            first[size + 1] += s2
            for j in range(n_observed):
                c, m = at + columns[j], mu[columns[j]]
                s = 0.0
                for i in range(begin, stop):
                    z[i] = squared[i] * (x[start + i, c] - m)
                    s += z[i]
                first_o[j] = s
                for e in range(j + 1):
                    c, m = at + columns[e], mu[columns[e]]
                    s = 0.0
                    for i in range(begin, stop):
                        s += z[i] * (x[start + i, c] - m)
                    second_o[j, e] = s
            _complete_moments(sigma, factor, columns, n_observed, s0, first_o, second_o, first, whole)
        begin = stop


@_compiled
def _ratios(x, start, rows, at, size, mu, inv_sigma, ratio, seen, log_scale):
    """Write squared distances over nu, numbers of cells and log determinants of P of each row of a block."""
    nu = mu[size]
    for i in range(rows):
        ratio[i], seen[i], log_scale[i] = 0.0, 0, 0.0
    for d in range(size):
        m, h, g = mu[d], inv_sigma[d] * inv_sigma[d] / nu, math.log(inv_sigma[d])
        for i in range(rows):
            c = x[start + i, at + d] - m
            if not math.isnan(c):
                ratio[i] += h * c * c
                seen[i] += 1
                log_scale[i] += g


@_compiled
def add_diagonal_student_density(x, start, rows, at, size, mu, inv_sigma, joint):
    """The same for a diagonal scale matrix, of 1 / sigma (size,)."""
    nu, constant = mu[size], np.empty(size + 1)
    ratio, seen, log_scale = np.empty(BLOCK), np.empty(BLOCK, dtype=np.int64), np.empty(BLOCK)
    for d in range(size + 1):  # by the number of cells that are there
        constant[d] = _log_constant(nu, d)
    _ratios(x, start, rows, at, size, mu, inv_sigma, ratio, seen, log_scale)
    for i in range(rows):
        joint[i] += constant[seen[i]] + log_scale[i] - 0.5 * (nu + seen[i]) * math.log1p(ratio[i])


@_compiled
def add_diagonal_student_moments(x, start, rows, at, size, mu, inv_sigma, joint, first, second):
    """Add to first (size + 2,) and second (size,) what ``student_diagonal`` sums."""
    nu, slope = mu[size], np.empty(size + 1)
    ratio, seen, log_scale = np.empty(BLOCK), np.empty(BLOCK, dtype=np.int64), np.empty(BLOCK)
    for d in range(size + 1):
        slope[d] = _slope(nu, d)
    _ratios(x, start, rows, at, size, mu, inv_sigma, ratio, seen, log_scale)
    s1, s2 = 0.0, 0.0
    for i in range(rows):
        r, s = joint[i], ratio[i]
        ratio[i] = 0.0
        if r > 0.0:
            u = (1.0 + seen[i] / nu) / (1.0 + s)
            s1 += r * (slope[seen[i]] + u * s - math.log1p(s))
            s2 += r * u
            ratio[i] = r * u
    first[size] += 0.5 * s1
    first[size + 1] += s2
    for d in range(size):
        m, v = mu[d], 1.0 / (inv_sigma[d] * inv_sigma[d])
        s, t, unseen = 0.0, 0.0, 0.0
        for i in range(rows):
            c = x[start + i, at + d] - m
            if math.isnan(c):
                unseen += joint[i]
            else:
                w = ratio[i] * c
                s += w
                t += w * c
        first[d] += s
        second[d] += t + unseen * v
