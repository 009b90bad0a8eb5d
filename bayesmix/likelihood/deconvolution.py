r"""The pass of normal components behind measurement errors of known size, row by row: extreme deconvolution.

A row is w = v + e, with v of a normal component and e of independent normal errors whose standard deviations s stand
behind the columns in x. Then w has the covariance :math:`T = \Sigma + \mathrm{diag}(s^2)`, and given w the value v has
the mean :math:`\mu + b` and the covariance :math:`B`, with :math:`b = \Sigma T^{-1} (w - \mu)` and
:math:`B = \Sigma - \Sigma T^{-1} \Sigma` (Bovy, Hogg & Roweis 2011, eq. 17). The statistics are those of `kernel`'s normal
components, expected given w: ``first`` is the sum of r b, ``second`` that of :math:`r (b b' + B)`. The M-step and, by
Fisher's identity, the score are therefore those of normal components. A missing cell is one of infinite error.
"""

import math

import numba
import numpy as np

from .kernel import _FAST, HALF_LOG_2PI, diagonal_score, full_score
from .student import _covariances

KERNEL_VERSION = 6  # of bayesmix.likelihood.kernel: Numba's cache on disk looks at this file only
_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST, forceinline=True)


@_compiled
def _normalise(joint, weight):
    """Log of the sum of exponentials of joint (K,), which becomes shares times the weight; -inf leaves them at 0."""
    largest = -np.inf
    for k in range(joint.shape[0]):
        largest = max(largest, joint[k])
    if not largest > -np.inf:
        joint[:] = 0.0
        return -np.inf
    total = 0.0
    for k in range(joint.shape[0]):
        joint[k] = math.exp(joint[k] - largest)
        total += joint[k]
    for k in range(joint.shape[0]):
        joint[k] *= weight / total
    return largest + math.log(total)


@_compiled
def noisy_full(x, row_weights, log_weights, mu, precision_factor):
    """Full covariances: x (N, 2 D) holds w and s, the others are as of the pass ``full``."""
    n_obs, d = x.shape[0], x.shape[1] // 2
    n_components = log_weights.shape[0]
    cov = np.empty((n_components, d, d))
    _covariances(precision_factor, cov)
    joint, z = np.empty(n_components), np.zeros((n_components, d))
    factor, lower, inverse = np.zeros((d, d)), np.zeros((d, d)), np.zeros((n_components, d, d))
    line = np.empty(d)
    seen = np.empty(d, dtype=np.int64)
    n, away = np.zeros(n_components), np.zeros((n_components, d))
    spread = np.zeros((n_components, d, d))  # sum of r (z z' - inverse of T)
    log_likelihood = 0.0
    for row in range(n_obs):
        weight = row_weights[row] if row_weights.size else 1.0
        if weight == 0.0:
            continue
        m = 0
        for i in range(d):
            if not math.isnan(x[row, i]):
                seen[m] = i
                m += 1
        for k in range(n_components):
            value = log_weights[k] - m * HALF_LOG_2PI
            for i in range(m):  # T = L L', and L^-1
                for j in range(i + 1):
                    s = cov[k, seen[i], seen[j]]
                    if i == j:
                        s += x[row, d + seen[i]] * x[row, d + seen[i]]
                    for e in range(j):
                        s -= factor[i, e] * factor[j, e]
                    factor[i, j] = math.sqrt(s) if i == j else s / factor[j, j]
                lower[i, i] = 1.0 / factor[i, i]
                for j in range(i):
                    s = 0.0
                    for e in range(j, i):
                        s -= factor[i, e] * lower[e, j]
                    lower[i, j] = s * lower[i, i]
                s = 0.0
                for j in range(i + 1):
                    s += lower[i, j] * (x[row, seen[j]] - mu[k, seen[j]])
                line[i] = s
                value -= math.log(factor[i, i]) + 0.5 * s * s
            for i in range(m):  # T^-1, and T^-1 (w - mu)
                z[k, i] = 0.0
                for e in range(i, m):
                    z[k, i] += lower[e, i] * line[e]
                for j in range(i + 1):
                    s = 0.0
                    for e in range(i, m):
                        s += lower[e, i] * lower[e, j]
                    inverse[k, i, j] = s
            joint[k] = value
        log_likelihood += weight * _normalise(joint, weight)
        if log_likelihood == -np.inf:
            break
        for k in range(n_components):
            r = joint[k]
            n[k] += r
            if r > 0.0:
                for i in range(m):
                    away[k, seen[i]] += r * z[k, i]
                    for j in range(i + 1):
                        spread[k, seen[i], seen[j]] += r * (z[k, i] * z[k, j] - inverse[k, i, j])
    first, second = np.zeros((n_components, d)), np.zeros((n_components, d, d))
    half = np.zeros((d, d))
    for k in range(n_components):
        for i in range(d):
            for j in range(i):
                spread[k, j, i] = spread[k, i, j]
        for i in range(d):
            for j in range(d):
                first[k, i] += cov[k, i, j] * away[k, j]
                s = 0.0
                for e in range(d):
                    s += cov[k, i, e] * spread[k, e, j]
                half[i, j] = s
        for i in range(d):
            for j in range(i + 1):
                s = n[k] * cov[k, i, j]
                for e in range(d):
                    s += half[i, e] * cov[k, e, j]
                second[k, i, j] = s
                second[k, j, i] = s
    return log_likelihood, n, first, second


@_compiled
def noisy_diagonal(x, row_weights, log_weights, mu, inv_sigma):
    """Diagonal covariances: second statistics (K, D)."""
    n_obs, d = x.shape[0], x.shape[1] // 2
    n_components = log_weights.shape[0]
    variance = 1.0 / (inv_sigma * inv_sigma)
    joint = np.empty(n_components)
    n, first, second = np.zeros(n_components), np.zeros((n_components, d)), np.zeros((n_components, d))
    log_likelihood = 0.0
    for row in range(n_obs):
        weight = row_weights[row] if row_weights.size else 1.0
        if weight == 0.0:
            continue
        for k in range(n_components):
            value = log_weights[k]
            for i in range(d):
                if not math.isnan(x[row, i]):
                    total = variance[k, i] + x[row, d + i] * x[row, d + i]
                    c = x[row, i] - mu[k, i]
                    value -= HALF_LOG_2PI + 0.5 * (math.log(total) + c * c / total)
            joint[k] = value
        log_likelihood += weight * _normalise(joint, weight)
        if log_likelihood == -np.inf:
            break
        for k in range(n_components):
            r = joint[k]
            n[k] += r
            if r > 0.0:
                for i in range(d):
                    v = variance[k, i]
                    if math.isnan(x[row, i]):
                        second[k, i] += r * v
                        continue
                    error = x[row, d + i] * x[row, d + i]
                    share = v / (v + error)
                    b = share * (x[row, i] - mu[k, i])
                    first[k, i] += r * b
                    second[k, i] += r * (b * b + share * error)
    return log_likelihood, n, first, second


KERNELS = {
    "noisy_full": noisy_full,
    "noisy_full_missing": noisy_full,
    "noisy_diagonal": noisy_diagonal,
    "noisy_diagonal_missing": noisy_diagonal,
}
SCORES = {name: full_score if "full" in name else diagonal_score for name in KERNELS}
