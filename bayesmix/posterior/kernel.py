"""Log posterior densities and their gradients in free coordinates, compiled by Numba: prior, transform and fused pass.

There is one function per layout of the free coordinates. Each reads everything but the coordinates from one block of
doubles, so that a C function pointer can be made of it for nutpie; the block is written by `bayesmix.posterior.direct`.
The first coordinates are log ratios of the weights to the last weight, (K - 1,); their Dirichlet prior has the density
``sum_k alpha_k log pi_k`` there, Jacobian included. Then:

=========  ======================================================================  ========================
layout     coordinates after the weights                                           families
=========  ======================================================================  ========================
``scale``  mu (K, D), log sigma (K, S) with S = D, or S = 1 for one per component  Normal, MvNormal diag and
                                                                                   spherical
``factor`` mu (K, D), lower triangles of P with logarithms on the diagonal,        MvNormal full and tied
           (M, D (D + 1) / 2) with M = K matrices, or M = 1 shared one
``rate``   log mu (K,)                                                             Poisson
=========  ======================================================================  ========================
"""

import math

import numba
import numpy as np
from numba import types

from ..likelihood.kernel import diagonal, diagonal_score, full, full_score, linear

KERNEL_VERSION = 6  # of bayesmix.likelihood.kernel: Numba's cache on disk looks at this file only
carray = numba.carray  # pyright: ignore[reportPrivateImportUsage]
_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
# what calls a pass and is no entry itself: see bayesmix.likelihood.kernel
_in_callers = numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
_inlined = numba.njit(inline="always", error_model="numpy")

# Priors of single entries, by code: name, hyperparameters in order. Values on the parameter's own scale.
PRIOR_CODES = {
    "none": (0, ()),
    "Normal": (1, ("mu", "sigma")),
    "StudentT": (2, ("nu", "mu", "sigma")),
    "Cauchy": (3, ("alpha", "beta")),
    "Laplace": (4, ("mu", "b")),
    "HalfNormal": (5, ("sigma",)),
    "HalfStudentT": (6, ("nu", "sigma")),
    "HalfCauchy": (7, ("beta",)),
    "Exponential": (8, ("lam",)),
    "Gamma": (9, ("alpha", "beta")),
    "InverseGamma": (10, ("alpha", "beta")),
    "LogNormal": (11, ("mu", "sigma")),
    "Weibull": (12, ("alpha", "beta")),
    "ScaledInverseChiSquared": (13, ("nu", "scale")),
}
_LOG_2PI = math.log(2.0 * math.pi)


@_compiled
def log_prior(code, v, p, q, r):
    """Log density of one entry at v, and its derivative; hyperparameters p, q, r as in `PRIOR_CODES`."""
    if code == 1:
        z = (v - p) / q
        return -0.5 * z * z - math.log(q) - 0.5 * _LOG_2PI, -z / q
    if code == 2:
        z = (v - q) / r
        constant = math.lgamma(0.5 * (p + 1.0)) - math.lgamma(0.5 * p) - 0.5 * math.log(p * math.pi) - math.log(r)
        return constant - 0.5 * (p + 1.0) * math.log1p(z * z / p), -(p + 1.0) * z / (p + z * z) / r
    if code == 3:
        z = (v - p) / q
        return -math.log(math.pi * q) - math.log1p(z * z), -2.0 * z / (1.0 + z * z) / q
    if code == 4:
        return -math.log(2.0 * q) - abs(v - p) / q, -np.sign(v - p) / q
    if code == 5:
        z = v / p
        return 0.5 * math.log(2.0 / math.pi) - math.log(p) - 0.5 * z * z, -z / p
    if code == 6:
        z = v / q
        constant = math.lgamma(0.5 * (p + 1.0)) - math.lgamma(0.5 * p) - 0.5 * math.log(p * math.pi) - math.log(q)
        return math.log(2.0) + constant - 0.5 * (p + 1.0) * math.log1p(z * z / p), -(p + 1.0) * z / (p + z * z) / q
    if code == 7:
        z = v / p
        return math.log(2.0 / (math.pi * p)) - math.log1p(z * z), -2.0 * z / (1.0 + z * z) / p
    if code == 8:
        return math.log(p) - p * v, -p
    if code == 9:
        return p * math.log(q) - math.lgamma(p) + (p - 1.0) * math.log(v) - q * v, (p - 1.0) / v - q
    if code == 10:
        return p * math.log(q) - math.lgamma(p) - (p + 1.0) * math.log(v) - q / v, -(p + 1.0) / v + q / (v * v)
    if code == 11:
        z = (math.log(v) - p) / q
        return -math.log(v * q) - 0.5 * _LOG_2PI - 0.5 * z * z, -(1.0 + z / q) / v
    if code == 12:
        power = (v / q) ** p
        return math.log(p / q) + (p - 1.0) * math.log(v / q) - power, (p - 1.0 - p * power) / v
    if code == 13:
        half = 0.5 * p * q * q
        value = (
            0.5 * p * math.log(half) - math.lgamma(0.5 * p) - (p + 1.0) * math.log(v) - half / (v * v) + math.log(2.0)
        )
        return value, -(p + 1.0) / v + 2.0 * half / (v * v * v)
    return 0.0, 0.0


@_inlined
def _entry(theta, grad, i, is_log, table):
    """Add the prior of coordinate i to its gradient; return its log density. table holds code, p, q, r."""
    code = int(table[0])
    if is_log:
        v = math.exp(theta[i])
        value, slope = log_prior(code, v, table[1], table[2], table[3])
        if code != 0:
            grad[i] += slope * v + 1.0
            value += theta[i]
        return value
    value, slope = log_prior(code, theta[i], table[1], table[2], table[3])
    grad[i] += slope
    return value


@_inlined
def _log_weights(theta, n_components):
    """Log weights from log ratios to the last one."""
    out = np.zeros(n_components)
    largest = 0.0
    for k in range(n_components - 1):
        out[k] = theta[k]
        largest = max(largest, theta[k])
    total = 0.0
    for k in range(n_components):
        total += math.exp(out[k] - largest)
    shift = largest + math.log(total)
    for k in range(n_components):
        out[k] -= shift
    return out


@_inlined
def _weights_part(grad, log_weights, n, alpha, constant):
    """Gradient of likelihood and Dirichlet prior in the log ratios; return the log density of the prior."""
    n_components = log_weights.shape[0]
    mass = 0.0
    value = constant
    for k in range(n_components):
        mass += n[k] + alpha[k]
        value += alpha[k] * log_weights[k]
    if n_components == 1:
        return 0.0
    for k in range(n_components - 1):
        grad[k] = n[k] + alpha[k] - mass * math.exp(log_weights[k])
    return value


# The block: a head of HEAD numbers, then arrays one after another, in this order.
HEAD = 12
# 0 rows N, 1 columns D, 2 row weights given, 3 components K, 4 dimension n, 5 S or M, 6 log base measure,
# 7 constant of the weights' prior, 8 inverse Wishart given, 9 its degrees of freedom, 10 its constant, 11 length
# arrays: alpha (K), table (n - K + 1, 4), C'(D, D) if inverse Wishart: scale matrix, mode (n), A (n, n), x (N, D), w (N)


@_inlined
def _read(block):
    n_rows, n_columns, weighted = int(block[0]), int(block[1]), int(block[2])
    k, n = int(block[3]), int(block[4])
    start = HEAD
    alpha = block[start : start + k]
    start += k
    size = n - k + 1
    table = block[start : start + 4 * size].reshape((size, 4))
    start += 4 * size
    d = n_columns if int(block[8]) else 0
    psi = block[start : start + d * d].reshape((d, d))
    start += d * d
    mode = block[start : start + n]
    start += n
    basis = block[start : start + n * n].reshape((n, n))
    start += n * n
    x = block[start : start + n_rows * n_columns].reshape((n_rows, n_columns))
    start += n_rows * n_columns
    w = block[start : start + weighted * n_rows]
    return k, n_columns, alpha, table, psi, mode, basis, x, w


@_in_callers
def scale(theta, grad, block):
    """Log posterior of the ``scale`` layout; the gradient is written into grad."""
    k_all, d_all, alpha, table, _, _, _, x, w = _read(block)
    per = int(block[5])
    log_weights = _log_weights(theta, k_all)
    first_mu = k_all - 1
    first_sigma = first_mu + k_all * d_all
    mu = theta[first_mu:first_sigma].copy().reshape((k_all, d_all))
    inverse = np.empty((k_all, d_all))
    for k in range(k_all):
        for d in range(d_all):
            inverse[k, d] = math.exp(-theta[first_sigma + k * per + (d if per > 1 else 0)])
    log_likelihood, n, first, second = diagonal(x, w, log_weights, mu, inverse)
    d_mu, d_inverse = diagonal_score(mu, inverse, n, first, second)
    value = log_likelihood + block[6] + _weights_part(grad, log_weights, n, alpha, block[7])
    for i in range(first_mu, theta.shape[0]):
        grad[i] = 0.0
    for k in range(k_all):
        for d in range(d_all):
            grad[first_mu + k * d_all + d] = d_mu[k, d]
            grad[first_sigma + k * per + (d if per > 1 else 0)] -= d_inverse[k, d] * inverse[k, d]
    for i in range(first_mu, theta.shape[0]):
        value += _entry(theta, grad, i, i >= first_sigma, table[i - first_mu])
    return value


@_in_callers
def factor(theta, grad, block):
    """Log posterior of the ``factor`` layout; the gradient is written into grad."""
    k_all, d_all, alpha, table, psi, _, _, x, w = _read(block)
    matrices = int(block[5])
    log_weights = _log_weights(theta, k_all)
    first_mu = k_all - 1
    first_factor = first_mu + k_all * d_all
    size = d_all * (d_all + 1) // 2
    mu = theta[first_mu:first_factor].copy().reshape((k_all, d_all))
    p = np.zeros((k_all, d_all, d_all))
    for k in range(k_all):
        at = first_factor + (k if matrices > 1 else 0) * size
        for i in range(d_all):
            for j in range(i):
                p[k, i, j] = theta[at]
                at += 1
            p[k, i, i] = math.exp(theta[at])
            at += 1
    log_likelihood, n, first, second = full(x, w, log_weights, mu, p)
    d_mu, d_p = full_score(mu, p, n, first, second)
    value = log_likelihood + block[6] + _weights_part(grad, log_weights, n, alpha, block[7])
    for i in range(first_mu, theta.shape[0]):
        grad[i] = 0.0
    for k in range(k_all):
        for d in range(d_all):
            grad[first_mu + k * d_all + d] = d_mu[k, d]
        at = first_factor + (k if matrices > 1 else 0) * size
        for i in range(d_all):
            for j in range(i):
                grad[at] += d_p[k, i, j]
                at += 1
            grad[at] += d_p[k, i, i] * p[k, i, i]
            at += 1
    for i in range(first_mu, first_factor):
        value += _entry(theta, grad, i, False, table[i - first_mu])
    # Inverse Wishart: in these coordinates sum_i (nu - D + i) log P_ii - tr(P Psi P') / 2 plus a constant.
    for m in range(matrices):
        at = first_factor + m * size
        value += block[10]
        for i in range(d_all):
            degrees = block[9] - d_all + 1.0 + i
            for j in range(i + 1):
                inner = 0.0
                for l in range(i + 1):  # noqa: E741
                    inner += p[m, i, l] * psi[l, j]
                value -= 0.5 * inner * p[m, i, j]
                if j < i:
                    grad[at] -= inner
                else:
                    value += degrees * theta[at]
                    grad[at] += degrees - inner * p[m, i, i]
                at += 1
    return value


@_in_callers
def rate(theta, grad, block):
    """Log posterior of the ``rate`` layout; the gradient is written into grad."""
    k_all, _, alpha, table, _, _, _, x, w = _read(block)
    log_weights = _log_weights(theta, k_all)
    first_mu = k_all - 1
    eta = theta[first_mu:].copy().reshape((k_all, 1))
    mu = np.exp(theta[first_mu:])
    log_likelihood, n, first, _ = linear(x, w, log_weights, eta, mu)
    value = log_likelihood + block[6] + _weights_part(grad, log_weights, n, alpha, block[7])
    for k in range(k_all):
        grad[first_mu + k] = first[k, 0] - n[k] * mu[k]
    for i in range(first_mu, theta.shape[0]):
        value += _entry(theta, grad, i, True, table[i - first_mu])
    return value


LAYOUTS = {"scale": scale, "factor": factor, "rate": rate}

# -- C functions for nutpie: the posterior in coordinates u, with theta = mode + A u ---------------------------------------
_double = types.CPointer(types.double)
LOGP_SIGNATURE = types.int64(types.uint64, _double, _double, _double, _double)
EXPAND_SIGNATURE = types.int64(types.uint64, types.uint64, _double, _double, _double)
_NOT_FINITE = 4  # returned where the density or its gradient is not finite: nutpie refuses the step


@_inlined
def _theta_of(u, mode, basis):
    theta = mode.copy()
    for i in range(theta.shape[0]):
        for j in range(theta.shape[0]):
            theta[i] += basis[i, j] * u[j]
    return theta


@_inlined
def _pull_back(grad, basis, value, out):
    """Gradient in u from the gradient in theta, into out; is everything finite?"""
    finite = np.isfinite(value)
    for j in range(grad.shape[0]):
        slope = 0.0
        for i in range(grad.shape[0]):
            slope += basis[i, j] * grad[i]
        out[j] = slope
        finite = finite and np.isfinite(slope)
    return finite


@_inlined
def _whole(block):
    """The block behind a pointer, whose length it holds itself."""
    return carray(block, (int(carray(block, (HEAD,))[11]),))


@_inlined
def _scale_body(u, out, block):
    _, _, _, _, _, mode, basis, _, _ = _read(block)
    grad = np.empty(mode.shape[0])
    value = scale(_theta_of(u, mode, basis), grad, block)
    return value, _pull_back(grad, basis, value, out)


@_inlined
def _factor_body(u, out, block):
    _, _, _, _, _, mode, basis, _, _ = _read(block)
    grad = np.empty(mode.shape[0])
    value = factor(_theta_of(u, mode, basis), grad, block)
    return value, _pull_back(grad, basis, value, out)


@_inlined
def _rate_body(u, out, block):
    _, _, _, _, _, mode, basis, _, _ = _read(block)
    grad = np.empty(mode.shape[0])
    value = rate(_theta_of(u, mode, basis), grad, block)
    return value, _pull_back(grad, basis, value, out)


def _scale_c(n, u, out, value, block):
    result, finite = _scale_body(carray(u, (n,)), carray(out, (n,)), _whole(block))
    carray(value, (1,))[0] = result
    return 0 if finite else _NOT_FINITE


def _factor_c(n, u, out, value, block):
    result, finite = _factor_body(carray(u, (n,)), carray(out, (n,)), _whole(block))
    carray(value, (1,))[0] = result
    return 0 if finite else _NOT_FINITE


def _rate_c(n, u, out, value, block):
    result, finite = _rate_body(carray(u, (n,)), carray(out, (n,)), _whole(block))
    carray(value, (1,))[0] = result
    return 0 if finite else _NOT_FINITE


def _expand_c(n, n_out, u, out, block):
    _, _, _, _, _, mode, basis, _, _ = _read(_whole(block))
    theta, target = _theta_of(carray(u, (n,)), mode, basis), carray(out, (n,))
    for i in range(theta.shape[0]):
        target[i] = theta[i]
    return 0


_FUNCTIONS = {"scale": _scale_c, "factor": _factor_c, "rate": _rate_c}
_MADE = {}


def c_functions(layout: str):
    """The C functions (log posterior, expansion) of a layout, compiled once per machine."""
    if layout not in _MADE:
        _MADE[layout] = numba.cfunc(LOGP_SIGNATURE, cache=True, error_model="numpy")(_FUNCTIONS[layout])
    if "expand" not in _MADE:
        _MADE["expand"] = numba.cfunc(EXPAND_SIGNATURE, cache=True, error_model="numpy")(_expand_c)
    return _MADE[layout], _MADE["expand"]
