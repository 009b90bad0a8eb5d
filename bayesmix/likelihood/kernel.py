"""The fused pass over the data, compiled by Numba.

One pass at given parameters yields the log-likelihood and the expected statistics
``n_k = sum_n w_n r_nk`` and ``S_k = sum_n w_n r_nk T(x_n)``, where ``r_nk`` is the responsibility of component k for
row n and ``w_n`` the weight of the row. Rows are read in blocks that stay in the cache; nothing of size
obs x component is kept. Every kernel has the same signature::

    kernel(x, row_weights, log_weights, a, b) -> (log_likelihood, n, first, second)

=============  ==================================  =====================================================================
kernel         a, b                                first, second
=============  ==================================  =====================================================================
``diagonal``   mu (K, D), 1 / sigma (K, D)         sums of r (x - mu) and r (x - mu)^2, both (K, D)
``full``       mu (K, D), precision factor P       sums of r (x - mu), (K, D), and r (x - mu)(x - mu)', (K, D, D)
               (K, D, D), lower, z = P (x - mu)
``linear``     eta (K, P), A (K,): log density     sum of r T, (K, P), and an empty array
               eta'T(x) - A, x holds T (obs, P)
=============  ==================================  =====================================================================

The Gaussian moments are taken about each component's own mean, so that an offset of the data, or clusters far
apart, cost no precision. ``row_weights`` of size 0 stands for weights of one. Densities leave out whatever does not
depend on the parameters' kernel coordinates: the ``linear`` kernel leaves out the base measure of the family.

The companions ``*_score`` turn the statistics into the gradient of the log-likelihood with respect to a and b
(Fisher's identity: the gradient is the expected complete-data gradient). Everything is in this one file because
Numba's cache on disk looks at the file of the outermost function only.
"""

import math

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

BLOCK = 128  # rows per block: K x BLOCK doubles stay in the first-level cache for K up to about 30
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)

# Reassociation and contraction let the compiler vectorise sums; NaN and infinity keep their meaning (no nnan, ninf).
_FAST = {"contract", "arcp", "nsz", "reassoc", "afn"}
_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
_inlined = numba.njit(inline="always", error_model="numpy", fastmath=_FAST)


@intrinsic
def _float_from_bits(typing_context, bits):
    """Read the 64 bits of an integer as a double."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@_inlined
def _exp_nonpositive(x):
    """exp(x) for x <= 0, in a form that LLVM vectorises: x = m log 2 + r, a polynomial in r, and 2^m from bits.

    The Taylor polynomial of degree 13 on |r| <= log(2)/2 is exact to rounding. Below -708, where exp(x) is less than
    about 3e-308, the value is 0: nothing becomes denormal, and a weight of zero stays zero.
    """
    negligible = x < -708.0
    x = max(x, -708.0)
    m = np.floor(x * 1.4426950408889634 + 0.5)
    r = x - m * 0.693147180369123816490 - m * 1.90821492927058770002e-10
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    value = p * _float_from_bits((np.int64(np.int32(m)) + 1023) << 52)  # pyright: ignore[reportCallIssue]
    return 0.0 if negligible else value


@_inlined
def _softmax_block(joint, largest, total, row_weights, start, rows):
    """Turn the log joint (K, BLOCK) of a block into weighted responsibilities, in place; return its log-likelihood.

    Of unweighted rows the logarithms are taken of products of 64 sums at a time: each sum lies in [1, K].
    A row that no component can have produced has log-likelihood -inf and no responsibility.
    """
    n_components = joint.shape[0]
    for i in range(rows):
        largest[i] = joint[0, i]
    for k in range(1, n_components):
        for i in range(rows):
            largest[i] = max(largest[i], joint[k, i])
    impossible = 0
    for i in range(rows):
        if largest[i] == -np.inf:
            impossible += 1
    if impossible > 0:
        for i in range(rows):
            if largest[i] == -np.inf and (row_weights.size == 0 or row_weights[start + i] > 0.0):
                return -np.inf
            if largest[i] == -np.inf:
                largest[i] = 0.0
    for i in range(rows):
        total[i] = 0.0
    for k in range(n_components):
        for i in range(rows):
            e = _exp_nonpositive(joint[k, i] - largest[i])
            joint[k, i] = e
            total[i] += e
    log_likelihood = 0.0
    if row_weights.size == 0:
        product = 1.0
        for i in range(rows):
            log_likelihood += largest[i]
            product *= total[i]
            if (i & 63) == 63:
                log_likelihood += math.log(product)
                product = 1.0
        log_likelihood += math.log(product)
        for i in range(rows):
            total[i] = 1.0 / total[i]
    else:
        for i in range(rows):
            w = row_weights[start + i]
            if w > 0.0:
                log_likelihood += w * (largest[i] + math.log(total[i]))
            total[i] = w / total[i]
    for k in range(n_components):
        for i in range(rows):
            joint[k, i] *= total[i]
    return log_likelihood


@_inlined
def _load_block(x, start, rows, block):
    """Copy rows start ... start + rows of x (obs, D) into block (D, BLOCK), one feature per line."""
    for i in range(rows):
        for d in range(x.shape[1]):
            block[d, i] = x[start + i, d]


@_compiled
def diagonal(x, row_weights, log_weights, mu, inv_sigma):
    """Normal components with independent features; see the module's table."""
    n_obs, n_features = x.shape
    n_components = log_weights.shape[0]
    constant = np.empty(n_components)
    for k in range(n_components):
        constant[k] = log_weights[k] - n_features * HALF_LOG_2PI
        for d in range(n_features):
            constant[k] += math.log(inv_sigma[k, d])
    block = np.empty((n_features, BLOCK))
    joint = np.empty((n_components, BLOCK))
    largest = np.empty(BLOCK)
    total = np.empty(BLOCK)
    n = np.zeros(n_components)
    first = np.zeros((n_components, n_features))
    second = np.zeros((n_components, n_features))
    log_likelihood = 0.0
    for start in range(0, n_obs, BLOCK):
        rows = min(BLOCK, n_obs - start)
        _load_block(x, start, rows, block)
        for k in range(n_components):
            c = constant[k]
            for i in range(rows):
                joint[k, i] = c
            for d in range(n_features):
                m = mu[k, d]
                s = inv_sigma[k, d]
                for i in range(rows):
                    z = (block[d, i] - m) * s
                    joint[k, i] -= 0.5 * z * z
        log_likelihood += _softmax_block(joint, largest, total, row_weights, start, rows)
        if log_likelihood == -np.inf:
            break
        for k in range(n_components):
            s0 = 0.0
            for i in range(rows):
                s0 += joint[k, i]
            n[k] += s0
            for d in range(n_features):
                m = mu[k, d]
                s1 = 0.0
                s2 = 0.0
                for i in range(rows):
                    centred = block[d, i] - m
                    r = joint[k, i] * centred
                    s1 += r
                    s2 += r * centred
                first[k, d] += s1
                second[k, d] += s2
    return log_likelihood, n, first, second


@_compiled
def full(x, row_weights, log_weights, mu, precision_factor):
    """Normal components with full covariance, (x - mu)' P'P (x - mu); see the module's table."""
    n_obs, n_features = x.shape
    n_components = log_weights.shape[0]
    constant = np.empty(n_components)
    for k in range(n_components):
        constant[k] = log_weights[k] - n_features * HALF_LOG_2PI
        for d in range(n_features):
            constant[k] += math.log(precision_factor[k, d, d])
    block = np.empty((n_features, BLOCK))
    centred = np.empty((n_features, BLOCK))
    line = np.empty(BLOCK)
    joint = np.empty((n_components, BLOCK))
    largest = np.empty(BLOCK)
    total = np.empty(BLOCK)
    n = np.zeros(n_components)
    first = np.zeros((n_components, n_features))
    second = np.zeros((n_components, n_features, n_features))
    log_likelihood = 0.0
    for start in range(0, n_obs, BLOCK):
        rows = min(BLOCK, n_obs - start)
        _load_block(x, start, rows, block)
        for k in range(n_components):
            c = constant[k]
            for i in range(rows):
                joint[k, i] = c
            for d in range(n_features):
                m = mu[k, d]
                for i in range(rows):
                    centred[d, i] = block[d, i] - m
            for d in range(n_features):
                p = precision_factor[k, d, d]
                for i in range(rows):
                    line[i] = p * centred[d, i]
                for e in range(d):
                    p = precision_factor[k, d, e]
                    for i in range(rows):
                        line[i] += p * centred[e, i]
                for i in range(rows):
                    joint[k, i] -= 0.5 * line[i] * line[i]
        log_likelihood += _softmax_block(joint, largest, total, row_weights, start, rows)
        if log_likelihood == -np.inf:
            break
        for k in range(n_components):
            s0 = 0.0
            for i in range(rows):
                s0 += joint[k, i]
            n[k] += s0
            for d in range(n_features):
                m = mu[k, d]
                for i in range(rows):
                    centred[d, i] = block[d, i] - m
            for d in range(n_features):
                s1 = 0.0
                for i in range(rows):
                    r = joint[k, i] * centred[d, i]
                    line[i] = r
                    s1 += r
                first[k, d] += s1
                for e in range(d + 1):
                    s2 = 0.0
                    for i in range(rows):
                        s2 += line[i] * centred[e, i]
                    second[k, d, e] += s2
    for k in range(n_components):
        for d in range(n_features):
            for e in range(d):
                second[k, e, d] = second[k, d, e]
    return log_likelihood, n, first, second


@_compiled
def linear(x, row_weights, log_weights, eta, log_partition):
    """Any exponential family by its statistics T(x), without its base measure; see the module's table.

    eta may be -inf where T is zero: 0 times -inf counts as 0 (a Poisson rate of zero at a count of zero).
    """
    n_obs, n_statistics = x.shape
    n_components = log_weights.shape[0]
    block = np.empty((n_statistics, BLOCK))
    joint = np.empty((n_components, BLOCK))
    largest = np.empty(BLOCK)
    total = np.empty(BLOCK)
    n = np.zeros(n_components)
    first = np.zeros((n_components, n_statistics))
    second = np.zeros((n_components, 0))
    log_likelihood = 0.0
    for start in range(0, n_obs, BLOCK):
        rows = min(BLOCK, n_obs - start)
        _load_block(x, start, rows, block)
        for k in range(n_components):
            c = log_weights[k] - log_partition[k]
            for i in range(rows):
                joint[k, i] = c
            for p in range(n_statistics):
                slope = eta[k, p]
                for i in range(rows):
                    t = block[p, i]
                    joint[k, i] += slope * t if t != 0.0 else 0.0
        log_likelihood += _softmax_block(joint, largest, total, row_weights, start, rows)
        if log_likelihood == -np.inf:
            break
        for k in range(n_components):
            s0 = 0.0
            for i in range(rows):
                s0 += joint[k, i]
            n[k] += s0
            for p in range(n_statistics):
                s1 = 0.0
                for i in range(rows):
                    s1 += joint[k, i] * block[p, i]
                first[k, p] += s1
    return log_likelihood, n, first, second


@_compiled
def diagonal_score(mu, inv_sigma, n, first, second):
    """Gradient with respect to mu and 1 / sigma: first / sigma^2 and n sigma - second / sigma."""
    return inv_sigma * inv_sigma * first, n.reshape((-1, 1)) / inv_sigma - inv_sigma * second


@_compiled
def full_score(mu, precision_factor, n, first, second):
    """Gradient with respect to mu and the lower triangle of P: P'P first and n diag(1 / P) - P second."""
    n_components, n_features = mu.shape
    d_mu = np.zeros((n_components, n_features))
    d_factor = np.zeros((n_components, n_features, n_features))
    for k in range(n_components):
        for d in range(n_features):
            z = 0.0
            for e in range(d + 1):
                z += precision_factor[k, d, e] * first[k, e]
            for e in range(d + 1):
                d_mu[k, e] += precision_factor[k, d, e] * z
                inner = 0.0
                for f in range(d + 1):
                    inner += precision_factor[k, d, f] * second[k, f, e]
                d_factor[k, d, e] = -inner
            d_factor[k, d, d] += n[k] / precision_factor[k, d, d]
    return d_mu, d_factor


@_compiled
def linear_score(eta, log_partition, n, first, second):
    """Gradient with respect to eta and A: the statistics themselves, first and -n."""
    return first.copy(), -n


KERNELS = {"diagonal": diagonal, "full": full, "linear": linear}
SCORES = {"diagonal": diagonal_score, "full": full_score, "linear": linear_score}
