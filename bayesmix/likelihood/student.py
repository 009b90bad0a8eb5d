r"""The fused pass of multivariate t components, compiled by Numba.

A row of a t component is normal with covariance Sigma / u, where u has a gamma distribution of shape and rate nu / 2.
Given the row u is expected to be :math:`u = (\nu + D) / (\nu + \delta)`, with :math:`\delta` the squared distance
(Peel & McLachlan 2000, eq. 20), and the moments are those of normal components with rows that count u times:

====================  ================================  ===============================================================
kernel                a, b                              first, second
====================  ================================  ===============================================================
``student_diagonal``  mu and nu (K, D + 1), 1 / sigma   sum of r u (x - mu), the derivative of the log-likelihood in
                      (K, D)                            nu, and the sum of r u: (K, D + 2); sum of r u (x - mu)^2, (K, D)
``student_full``      the same, precision factor P      the same, and sum of r u (x - mu)(x - mu)', (K, D, D)
                      (K, D, D)
====================  ================================  ===============================================================

With missing cells (``..._missing``) the cells that are there have a t distribution of the same nu; what the statistics
lack is expected given these, u times the cells and their squares. Everything else is as in `bayesmix.likelihood.kernel`.
"""

import math

import numba
import numpy as np

from .kernel import (
    _FAST,
    BLOCK,
    _add_full_moments,
    _centre,
    _complete_moments,
    _full_exponent,
    _load_block,
    _observed_factor,
    _softmax_block,
    diagonal_score,
    full_score,
)
from .special import digamma

KERNEL_VERSION = 6  # of bayesmix.likelihood.kernel: Numba's cache on disk looks at this file only
LARGE = 50.0  # arguments of log-gamma from which Stirling's series is exact to rounding

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST, forceinline=True)
_inlined = numba.njit(inline="always", error_model="numpy", fastmath=_FAST)


def log_gamma_ratio(xp, x, h):
    """Log Gamma(x + h) - log Gamma(x) for x, h > 0, by the namespace; for large x by Stirling's series, as the two cancel."""
    large = x > LARGE
    small, big = xp.where(large, 1.0, x), xp.where(large, x, LARGE)
    stirling = (big + h - 0.5) * xp.log1p(h / big) + h * xp.log(big) - h + _stirling(big + h) - _stirling(big)
    return xp.where(large, stirling, xp.gammaln(small + h) - xp.gammaln(small))


def _stirling(x):
    """What Stirling's formula for log Gamma(x) leaves (Abramowitz & Stegun 1964, 6.1.41)."""
    y = 1.0 / (x * x)
    return (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y / 1680))) / x


@_inlined
def _series(x):
    y = 1.0 / (x * x)
    return (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y / 1680))) / x


@_compiled
def _log_constant(nu, d):
    """Log density of d whitened cells at their centre."""
    x, h = 0.5 * nu, 0.5 * d
    if x > LARGE:
        ratio = (x + h - 0.5) * math.log1p(h / x) + h * math.log(x) - h + _series(x + h) - _series(x)
    else:
        ratio = math.lgamma(x + h) - math.lgamma(x)
    return ratio - h * math.log(nu * math.pi)


@_compiled
def _slope(nu, d):
    """Twice the derivative of `_log_constant` in nu."""
    return digamma(0.5 * (nu + d)) - digamma(0.5 * nu) - d / nu


@_inlined
def _heavy_tails(joint, ratio, constant, nu, d, rows):
    """Turn minus half the squared distances in joint into log densities; their ratio to nu goes into ratio."""
    half = 0.5 * (nu + d)
    for i in range(rows):
        s = -2.0 * joint[i] / nu
        ratio[i] = s
        joint[i] = constant - half * math.log1p(s)


@_inlined
def _weigh(responsibility, ratio, slope, nu, d, first, rows):
    """Sum r, the derivative in nu and r u into n, first[-2] and first[-1]; responsibilities become r u, in place."""
    most = 1.0 + d / nu
    s0, s1, s2 = 0.0, 0.0, 0.0
    for i in range(rows):
        r, s = responsibility[i], ratio[i]
        u = most / (1.0 + s)
        s0 += r
        if r > 0.0:  # far away the logarithm may be infinite
            s1 += r * (u * s - math.log1p(s))
            s2 += r * u
            responsibility[i] = r * u
    first[first.size - 2] += 0.5 * (s0 * slope + s1)
    first[first.size - 1] += s2
    return s0


@_compiled
def student_full(x, row_weights, log_weights, a, precision_factor):
    """Components of t distributions with full scale matrices; see the module's table."""
    n_obs, n_features = x.shape
    n_components = log_weights.shape[0]
    nu = a[:, n_features]
    constant, slope = np.empty(n_components), np.empty(n_components)
    for k in range(n_components):
        slope[k] = _slope(nu[k], n_features)
        constant[k] = log_weights[k] + _log_constant(nu[k], n_features)
        for d in range(n_features):
            constant[k] += math.log(precision_factor[k, d, d])
    block, centred = np.empty((n_features, BLOCK)), np.empty((n_features, BLOCK))
    lines = np.empty((2, BLOCK))
    joint, ratio = np.empty((n_components, BLOCK)), np.empty((n_components, BLOCK))
    largest, total = np.empty(BLOCK), np.empty(BLOCK)
    n, first = np.zeros(n_components), np.zeros((n_components, n_features + 2))
    second = np.zeros((n_components, n_features, n_features))
    log_likelihood = 0.0
    for start in range(0, n_obs, BLOCK):
        rows = min(BLOCK, n_obs - start)
        _load_block(x, start, rows, block)
        for k in range(n_components):
            _centre(block, a[k], centred, rows)
            _full_exponent(centred, precision_factor[k], 0.0, lines, joint[k], rows)
            _heavy_tails(joint[k], ratio[k], constant[k], nu[k], n_features, rows)
        log_likelihood += _softmax_block(joint, largest, total, row_weights, start, rows)
        if log_likelihood == -np.inf:
            break
        for k in range(n_components):
            n[k] += _weigh(joint[k], ratio[k], slope[k], nu[k], n_features, first[k], rows)
            _centre(block, a[k], centred, rows)
            _add_full_moments(centred, lines, joint[k], first[k], second[k], rows)
    for k in range(n_components):
        for d in range(n_features):
            for e in range(d):
                second[k, e, d] = second[k, d, e]
    return log_likelihood, n, first, second


@_compiled
def _covariances(precision_factor, cov):
    """Write Sigma = L L', with L the inverse of P, into cov (K, D, D)."""
    n_components, n_features, _ = cov.shape
    lower = np.zeros((n_features, n_features))
    for k in range(n_components):
        for j in range(n_features):
            lower[j, j] = 1.0 / precision_factor[k, j, j]
            for i in range(j + 1, n_features):
                s = 0.0
                for e in range(j, i):
                    s -= precision_factor[k, i, e] * lower[e, j]
                lower[i, j] = s / precision_factor[k, i, i]
        for i in range(n_features):
            for j in range(i + 1):
                s = 0.0
                for e in range(j + 1):
                    s += lower[i, e] * lower[j, e]
                cov[k, i, j] = s
                cov[k, j, i] = s


@_compiled
def student_full_missing(x, row_weights, log_weights, a, precision_factor):
    """The same on rows with missing cells; quick where rows of a pattern lie together.

    The log-likelihood is NaN where a scale matrix has no Cholesky factor.
    """
    n_obs, n_features = x.shape
    n_components = log_weights.shape[0]
    nu = a[:, n_features]
    cov = np.empty((n_components, n_features, n_features))
    _covariances(precision_factor, cov)
    columns = np.empty(n_features, dtype=np.int64)
    own_mu = np.empty((n_components, n_features))
    factor = np.zeros((n_components, n_features, n_features))
    constant, slope = np.empty(n_components), np.empty(n_components)
    block, centred = np.empty((n_features, BLOCK)), np.empty((n_features, BLOCK))
    lines = np.empty((2, BLOCK))
    joint, ratio = np.empty((n_components, BLOCK)), np.empty((n_components, BLOCK))
    largest, total = np.empty(BLOCK), np.empty(BLOCK)
    n, first = np.zeros(n_components), np.zeros((n_components, n_features + 2))
    second = np.zeros((n_components, n_features, n_features))
    n_own, first_own = np.empty(n_components), np.empty((n_components, n_features))
    second_own = np.empty((n_components, n_features, n_features))
    log_likelihood = 0.0
    begin = 0
    while begin < n_obs:
        n_observed = 0
        for d in range(n_features):
            if not math.isnan(x[begin, d]):
                columns[n_observed] = d
                n_observed += 1
        place = n_observed
        for d in range(n_features):
            if math.isnan(x[begin, d]):
                columns[place] = d
                place += 1
        stop, alike = begin + 1, True
        while stop < n_obs:
            for d in range(n_features):
                if math.isnan(x[stop, d]) != math.isnan(x[begin, d]):
                    alike = False
            if not alike:
                break
            stop += 1
        for k in range(n_components):
            if not _observed_factor(cov[k], precision_factor[k], columns, n_observed, factor[k]):
                return np.nan, n, first, second
            constant[k] = log_weights[k] + _log_constant(nu[k], n_observed)
            slope[k] = _slope(nu[k], n_observed)
            n_own[k] = 0.0
            for i in range(n_observed):
                own_mu[k, i] = a[k, columns[i]]
                constant[k] += math.log(factor[k, i, i])
                first_own[k, i] = 0.0
                for j in range(n_observed):
                    second_own[k, i, j] = 0.0
        for start in range(begin, stop, BLOCK):
            rows = min(BLOCK, stop - start)
            for i in range(rows):
                for d in range(n_observed):
                    block[d, i] = x[start + i, columns[d]]
            for k in range(n_components):
                _centre(block[:n_observed], own_mu[k], centred, rows)
                _full_exponent(centred[:n_observed], factor[k], 0.0, lines, joint[k], rows)
                _heavy_tails(joint[k], ratio[k], constant[k], nu[k], n_observed, rows)
            log_likelihood += _softmax_block(joint, largest, total, row_weights, start, rows)
            if log_likelihood == -np.inf:
                return log_likelihood, n, first, second
            for k in range(n_components):
                n_own[k] += _weigh(joint[k], ratio[k], slope[k], nu[k], n_observed, first[k], rows)
                _centre(block[:n_observed], own_mu[k], centred, rows)
                _add_full_moments(centred[:n_observed], lines, joint[k], first_own[k], second_own[k], rows)
        for k in range(n_components):
            n[k] += n_own[k]
            _complete_moments(
                cov[k], factor[k], columns, n_observed, n_own[k], first_own[k], second_own[k], first[k], second[k]
            )
        begin = stop
    return log_likelihood, n, first, second


@_compiled
def student_diagonal(x, row_weights, log_weights, a, inv_sigma):
    """Components of t distributions with diagonal scale matrices, on rows with missing cells too; see the module's table."""
    n_obs, n_features = x.shape
    n_components = log_weights.shape[0]
    constant, slope = np.empty((n_components, n_features + 1)), np.empty((n_components, n_features + 1))
    for k in range(n_components):
        for d in range(n_features + 1):  # by the number of cells that are there
            constant[k, d] = log_weights[k] + _log_constant(a[k, n_features], d)
            slope[k, d] = _slope(a[k, n_features], d)
    log_inv_sigma = np.log(inv_sigma)
    seen = np.empty(BLOCK, dtype=np.int64)
    block = np.empty((n_features, BLOCK))
    joint, ratio = np.empty((n_components, BLOCK)), np.empty((n_components, BLOCK))
    largest, total = np.empty(BLOCK), np.empty(BLOCK)
    n, first = np.zeros(n_components), np.zeros((n_components, n_features + 2))
    second = np.zeros((n_components, n_features))
    log_likelihood = 0.0
    for start in range(0, n_obs, BLOCK):
        rows = min(BLOCK, n_obs - start)
        _load_block(x, start, rows, block)
        for i in range(rows):
            seen[i] = 0
        for d in range(n_features):
            for i in range(rows):
                seen[i] += 0 if math.isnan(block[d, i]) else 1
        for k in range(n_components):
            nu = a[k, n_features]
            for i in range(rows):
                joint[k, i] = 0.0
                ratio[k, i] = 0.0
            for d in range(n_features):
                m, g, h = a[k, d], log_inv_sigma[k, d], inv_sigma[k, d] * inv_sigma[k, d] / nu
                for i in range(rows):
                    c = block[d, i] - m
                    ratio[k, i] += 0.0 if math.isnan(c) else h * c * c
                    joint[k, i] += 0.0 if math.isnan(c) else g
            for i in range(rows):
                joint[k, i] += constant[k, seen[i]] - 0.5 * (nu + seen[i]) * math.log1p(ratio[k, i])
        log_likelihood += _softmax_block(joint, largest, total, row_weights, start, rows)
        if log_likelihood == -np.inf:
            break
        for k in range(n_components):
            nu = a[k, n_features]
            s0, s1, s2 = 0.0, 0.0, 0.0
            for i in range(rows):
                r, s = joint[k, i], ratio[k, i]
                u = (1.0 + seen[i] / nu) / (1.0 + s)
                s0 += r
                if r > 0.0:
                    s1 += r * (slope[k, seen[i]] + u * s - math.log1p(s))
                    s2 += r * u
                    ratio[k, i] = r * u
                else:
                    ratio[k, i] = 0.0
            n[k] += s0
            first[k, n_features] += 0.5 * s1
            first[k, n_features + 1] += s2
            for d in range(n_features):
                m, v = a[k, d], 1.0 / (inv_sigma[k, d] * inv_sigma[k, d])
                s, t, unseen = 0.0, 0.0, 0.0
                for i in range(rows):
                    c = block[d, i] - m
                    w = ratio[k, i] * c
                    s += 0.0 if math.isnan(c) else w
                    t += 0.0 if math.isnan(c) else w * c
                    unseen += joint[k, i] if math.isnan(c) else 0.0
                first[k, d] += s
                second[k, d] += t + unseen * v
    return log_likelihood, n, first, second


@_compiled
def student_full_score(a, precision_factor, n, first, second):
    """Gradient with respect to mu, nu and the lower triangle of P: that of a normal component, and what the pass found."""
    d = a.shape[1] - 1
    d_a = np.empty_like(a)
    d_mu, d_factor = full_score(a[:, :d], precision_factor, n, first[:, :d], second)
    d_a[:, :d] = d_mu
    d_a[:, d] = first[:, d]
    return d_a, d_factor


@_compiled
def student_diagonal_score(a, inv_sigma, n, first, second):
    """The same with respect to mu, nu and 1 / sigma."""
    d = a.shape[1] - 1
    d_a = np.empty_like(a)
    d_mu, d_inv_sigma = diagonal_score(a[:, :d], inv_sigma, n, first[:, :d], second)
    d_a[:, :d] = d_mu
    d_a[:, d] = first[:, d]
    return d_a, d_inv_sigma


KERNELS = {
    "student_diagonal": student_diagonal,
    "student_full": student_full,
    "student_diagonal_missing": student_diagonal,
    "student_full_missing": student_full_missing,
}
SCORES = {
    "student_diagonal": student_diagonal_score,
    "student_full": student_full_score,
    "student_diagonal_missing": student_diagonal_score,
    "student_full_missing": student_full_score,
}
