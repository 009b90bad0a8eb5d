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

``diagonal_missing`` and ``full_missing`` take rows of which some cells are missing (NaN): the density is that of the
cells that are there, and in place of what is missing the statistics hold its expectation given these, so that they are
those of complete rows (Ghahramani & Jordan 1994; Little & Rubin 2019, sec. 8.2), and everything that is made of them
stays as it is.

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

VERSION = 6  # raise with every change here, and with it the number in each file that compiles these functions in
BLOCK = 128  # rows per block: what a block needs stays in the first- and second-level cache
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)

# Reassociation and contraction let the compiler vectorise sums; NaN and infinity keep their meaning (no nnan, ninf).
_FAST = {"contract", "arcp", "nsz", "reassoc", "afn"}
# Each is compiled into its callers, and so must be what calls it there: LLVM optimises a function again in the module of
# every caller, reassociation then rounds otherwise, and of several copies by one name a process takes the one that it
# happens to load first. In one piece, the code is the same whether it was compiled here, came from the cache, or when.
_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST, forceinline=True)
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

    The polynomial is 1 + r + r^2 q(r), q of degree 9 interpolating at the Chebyshev nodes: on |r| <= log(2)/2 it is exp(r)
    to 1.6e-17 of it, and at 0 exactly 1. Below -708, where exp(x) is less than about 3e-308, the value is 0: nothing becomes
    denormal, and a weight of zero stays zero.
    """
    negligible = x < -708.0
    x = max(x, -708.0)
    m = np.floor(x * 1.4426950408889634 + 0.5)
    r = x - m * 0.6931471805599453
    p = 2.510038549551032e-08
    p = p * r + 2.7620088445409746e-07
    p = p * r + 2.7557268459997064e-06
    p = p * r + 2.4801521295954376e-05
    p = p * r + 0.00019841269863053618
    p = p * r + 0.0013888888917213717
    p = p * r + 0.008333333333330062
    p = p * r + 0.04166666666662413
    p = p * r + 0.16666666666666669
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
        for begin in range(0, rows, 64):
            product = 1.0
            for i in range(begin, min(begin + 64, rows)):
                product *= total[i]
            log_likelihood += math.log(product)
        for i in range(rows):
            log_likelihood += largest[i]
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


@_compiled
def softmax_block(joint, largest, total, row_weights, start, rows):
    """`_softmax_block` as a function of its own, for passes that are written later (`bayesmix.likelihood.generate`)."""
    return _softmax_block(joint, largest, total, row_weights, start, rows)


@_inlined
def _load_block(x, start, rows, block):
    """Copy rows start ... start + rows of x (obs, D) into block (D, BLOCK), one feature per line.

    Few features are written out, so that LLVM shuffles registers full of rows.
    """
    n_features = x.shape[1]
    part = x[start : start + rows]
    if n_features == 1:
        for i in range(rows):
            block[0, i] = part[i, 0]
    elif n_features == 2:
        for i in range(rows):
            block[0, i] = part[i, 0]
            block[1, i] = part[i, 1]
    elif n_features == 3:
        for i in range(rows):
            block[0, i] = part[i, 0]
            block[1, i] = part[i, 1]
            block[2, i] = part[i, 2]
    elif n_features == 4:
        for i in range(rows):
            block[0, i] = part[i, 0]
            block[1, i] = part[i, 1]
            block[2, i] = part[i, 2]
            block[3, i] = part[i, 3]
    else:
        for i in range(rows):
            for d in range(n_features):
                block[d, i] = part[i, d]


@_compiled
def load_block(x, start, rows, block):
    """`_load_block` as a function of its own, for passes that are written later (`bayesmix.likelihood.generate`)."""
    _load_block(x, start, rows, block)


# The loops below take features two at a time, and matrices in tiles of two lines and four columns: what is loaded for
# one is used for all. An odd feature out comes first, where it needs no tile.
@_inlined
def _diagonal_exponent(block, mu, inv_sigma, constant, joint, rows):
    """Write constant - sum_d ((x_d - mu_d) / sigma_d)^2 / 2 into joint (BLOCK,)."""
    n_features = block.shape[0]
    d = n_features % 2
    if d == 1:
        m0, h0 = mu[0], 0.5 * inv_sigma[0] * inv_sigma[0]
        for i in range(rows):
            c0 = block[0, i] - m0
            joint[i] = constant - h0 * c0 * c0
    else:
        for i in range(rows):
            joint[i] = constant
    while d < n_features:
        m0, h0 = mu[d], 0.5 * inv_sigma[d] * inv_sigma[d]
        m1, h1 = mu[d + 1], 0.5 * inv_sigma[d + 1] * inv_sigma[d + 1]
        for i in range(rows):
            c0 = block[d, i] - m0
            c1 = block[d + 1, i] - m1
            joint[i] -= h0 * c0 * c0 + h1 * c1 * c1
        d += 2


@_inlined
def _add_diagonal_moments(block, mu, responsibility, first, second, rows):
    """Add the sums over a block of r (x_d - mu_d) and r (x_d - mu_d)^2 to first and second, (D,)."""
    n_features = block.shape[0]
    d = n_features % 2
    if d == 1:
        m0 = mu[0]
        s0, t0 = 0.0, 0.0
        for i in range(rows):
            c0 = block[0, i] - m0
            r0 = responsibility[i] * c0
            s0 += r0
            t0 += r0 * c0
        first[0] += s0
        second[0] += t0
    while d < n_features:
        m0, m1 = mu[d], mu[d + 1]
        s0, t0, s1, t1 = 0.0, 0.0, 0.0, 0.0
        for i in range(rows):
            c0 = block[d, i] - m0
            c1 = block[d + 1, i] - m1
            r0 = responsibility[i] * c0
            r1 = responsibility[i] * c1
            s0 += r0
            t0 += r0 * c0
            s1 += r1
            t1 += r1 * c1
        first[d] += s0
        second[d] += t0
        first[d + 1] += s1
        second[d + 1] += t1
        d += 2


@_inlined
def _centre(block, mu, centred, rows):
    """Write x - mu of a block, one feature per line, into centred (D, BLOCK)."""
    for d in range(block.shape[0]):
        m = mu[d]
        for i in range(rows):
            centred[d, i] = block[d, i] - m


@_inlined
def _full_exponent(centred, factor, constant, lines, joint, rows):
    """Write constant - |P c|^2 / 2 into joint (BLOCK,); P (D, D) lower, c the columns of centred; lines (2, BLOCK)."""
    n_features = centred.shape[0]
    d = n_features % 2
    if d == 1:
        h = 0.5 * factor[0, 0] * factor[0, 0]
        for i in range(rows):
            joint[i] = constant - h * centred[0, i] * centred[0, i]
    else:
        for i in range(rows):
            joint[i] = constant
    while d < n_features:
        p0, q0, q1 = factor[d, d], factor[d + 1, d], factor[d + 1, d + 1]
        for i in range(rows):
            lines[0, i] = p0 * centred[d, i]
            lines[1, i] = q0 * centred[d, i] + q1 * centred[d + 1, i]
        e = 0
        while e + 4 <= d:
            p0, p1, p2, p3 = factor[d, e], factor[d, e + 1], factor[d, e + 2], factor[d, e + 3]
            q0, q1, q2, q3 = factor[d + 1, e], factor[d + 1, e + 1], factor[d + 1, e + 2], factor[d + 1, e + 3]
            for i in range(rows):
                c0, c1, c2, c3 = centred[e, i], centred[e + 1, i], centred[e + 2, i], centred[e + 3, i]
                lines[0, i] += p0 * c0 + p1 * c1 + p2 * c2 + p3 * c3
                lines[1, i] += q0 * c0 + q1 * c1 + q2 * c2 + q3 * c3
            e += 4
        while e < d:
            p0, q0 = factor[d, e], factor[d + 1, e]
            for i in range(rows):
                lines[0, i] += p0 * centred[e, i]
                lines[1, i] += q0 * centred[e, i]
            e += 1
        for i in range(rows):
            joint[i] -= 0.5 * (lines[0, i] * lines[0, i] + lines[1, i] * lines[1, i])
        d += 2


@_inlined
def _add_full_moments(centred, lines, responsibility, first, second, rows):
    """Add the sums over a block of r c to first (D,), and of r c c' to the lower triangle of second (D, D)."""
    n_features = centred.shape[0]
    d = n_features % 2
    if d == 1:
        s0, t0 = 0.0, 0.0
        for i in range(rows):
            r0 = responsibility[i] * centred[0, i]
            s0 += r0
            t0 += r0 * centred[0, i]
        first[0] += s0
        second[0, 0] += t0
    while d < n_features:
        s0, s1, t00, t10, t11 = 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(rows):
            c0, c1 = centred[d, i], centred[d + 1, i]
            r0, r1 = responsibility[i] * c0, responsibility[i] * c1
            lines[0, i] = r0
            lines[1, i] = r1
            s0 += r0
            s1 += r1
            t00 += r0 * c0
            t10 += r1 * c0
            t11 += r1 * c1
        first[d] += s0
        first[d + 1] += s1
        second[d, d] += t00
        second[d + 1, d] += t10
        second[d + 1, d + 1] += t11
        e = 0
        while e + 4 <= d:
            t00, t01, t02, t03, t10, t11, t12, t13 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for i in range(rows):
                r0, r1 = lines[0, i], lines[1, i]
                c0, c1, c2, c3 = centred[e, i], centred[e + 1, i], centred[e + 2, i], centred[e + 3, i]
                t00 += r0 * c0
                t01 += r0 * c1
                t02 += r0 * c2
                t03 += r0 * c3
                t10 += r1 * c0
                t11 += r1 * c1
                t12 += r1 * c2
                t13 += r1 * c3
            second[d, e] += t00
            second[d, e + 1] += t01
            second[d, e + 2] += t02
            second[d, e + 3] += t03
            second[d + 1, e] += t10
            second[d + 1, e + 1] += t11
            second[d + 1, e + 2] += t12
            second[d + 1, e + 3] += t13
            e += 4
        while e < d:
            t00, t10 = 0.0, 0.0
            for i in range(rows):
                t00 += lines[0, i] * centred[e, i]
                t10 += lines[1, i] * centred[e, i]
            second[d, e] += t00
            second[d + 1, e] += t10
            e += 1
        d += 2


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
            _diagonal_exponent(block, mu[k], inv_sigma[k], constant[k], joint[k], rows)
        log_likelihood += _softmax_block(joint, largest, total, row_weights, start, rows)
        if log_likelihood == -np.inf:
            break
        for k in range(n_components):
            s0 = 0.0
            for i in range(rows):
                s0 += joint[k, i]
            n[k] += s0
            _add_diagonal_moments(block, mu[k], joint[k], first[k], second[k], rows)
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
    lines = np.empty((2, BLOCK))
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
            _centre(block, mu[k], centred, rows)
            _full_exponent(centred, precision_factor[k], constant[k], lines, joint[k], rows)
        log_likelihood += _softmax_block(joint, largest, total, row_weights, start, rows)
        if log_likelihood == -np.inf:
            break
        for k in range(n_components):
            s0 = 0.0
            for i in range(rows):
                s0 += joint[k, i]
            n[k] += s0
            _centre(block, mu[k], centred, rows)
            _add_full_moments(centred, lines, joint[k], first[k], second[k], rows)
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
def diagonal_missing(x, row_weights, log_weights, mu, inv_sigma):
    """Normal components with independent features, on rows with missing cells.

    A missing cell adds nothing to the log density and to `first`, and its variance to `second`.
    """
    n_obs, n_features = x.shape
    n_components = log_weights.shape[0]
    constant = np.empty((n_components, n_features))
    for k in range(n_components):
        for d in range(n_features):
            constant[k, d] = math.log(inv_sigma[k, d]) - HALF_LOG_2PI
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
            for i in range(rows):
                joint[k, i] = log_weights[k]
            for d in range(n_features):
                m, g, h = mu[k, d], constant[k, d], 0.5 * inv_sigma[k, d] * inv_sigma[k, d]
                for i in range(rows):
                    c = block[d, i] - m
                    joint[k, i] += 0.0 if math.isnan(c) else g - h * c * c
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
                s, t, unseen = 0.0, 0.0, 0.0
                for i in range(rows):
                    c = block[d, i] - m
                    r = joint[k, i] * c
                    s += 0.0 if math.isnan(c) else r
                    t += 0.0 if math.isnan(c) else r * c
                    unseen += joint[k, i] if math.isnan(c) else 0.0
                first[k, d] += s
                second[k, d] += t + unseen / (inv_sigma[k, d] * inv_sigma[k, d])
    return log_likelihood, n, first, second


@_compiled
def _observed_factor(cov, precision_factor, observed, n_observed, factor):
    """Write P of the first `n_observed` features listed in `observed` into factor; False if there is none.

    The marginal covariance is a part of Sigma; P is the inverse of its lower Cholesky factor.
    """
    n_features = cov.shape[0]
    if n_observed == n_features:  # listed in order
        for i in range(n_features):
            for j in range(i + 1):
                factor[i, j] = precision_factor[i, j]
        return True
    root = np.empty((n_observed, n_observed))
    for i in range(n_observed):
        for j in range(i + 1):
            s = cov[observed[i], observed[j]]
            for e in range(j):
                s -= root[i, e] * root[j, e]
            if i > j:
                root[i, j] = s / root[j, j]
            elif s > 0.0:
                root[i, i] = math.sqrt(s)
            else:
                return False
    for j in range(n_observed):
        factor[j, j] = 1.0 / root[j, j]
        for i in range(j + 1, n_observed):
            s = 0.0
            for e in range(j, i):
                s -= root[i, e] * factor[e, j]
            factor[i, j] = s / root[i, i]
    return True


@_compiled
def _complete_moments(cov, factor, columns, n_observed, n, first_o, second_o, first, second):
    """Add to first (D,) and second (D, D) what rows of one pattern are expected to have in all features.

    `columns` lists the observed features, then the missing ones; n, first_o and second_o (lower triangle) are the
    statistics of the observed ones. With B = Sigma_mo Sigma_oo^-1 and A = [I; B] they are A first_o and
    A second_oo A' + n C, C = Sigma_mm - B Sigma_om.
    """
    n_features = cov.shape[0]
    for i in range(n_observed):
        for j in range(i):
            second_o[j, i] = second_o[i, j]
    a = np.zeros((n_features, n_observed))
    whitened = np.zeros((n_features, n_observed))
    for i in range(n_features):
        if i < n_observed:
            a[i, i] = 1.0
            continue
        for e in range(n_observed):  # Sigma_mo P', then times P
            s = 0.0
            for f in range(e + 1):
                s += cov[columns[i], columns[f]] * factor[e, f]
            whitened[i, e] = s
        for f in range(n_observed):
            s = 0.0
            for e in range(f, n_observed):
                s += whitened[i, e] * factor[e, f]
            a[i, f] = s
    for i in range(n_features):
        for f in range(n_observed):
            first[columns[i]] += a[i, f] * first_o[f]
    half = np.zeros((n_features, n_observed))
    for i in range(n_features):
        for e in range(n_observed):
            if a[i, e] != 0.0:
                for f in range(n_observed):
                    half[i, f] += a[i, e] * second_o[e, f]
    for i in range(n_features):
        for j in range(n_features):
            s = 0.0
            if i >= n_observed and j >= n_observed:
                s = cov[columns[i], columns[j]]
                for e in range(n_observed):
                    s -= whitened[i, e] * whitened[j, e]
                s *= n
            for f in range(n_observed):
                s += half[i, f] * a[j, f]
            second[columns[i], columns[j]] += s


@_compiled
def full_missing(x, row_weights, log_weights, mu, precision_factor):
    """Normal components with full covariance, on rows with missing cells; quick where rows of a pattern lie together.

    The log-likelihood is NaN where a covariance has no Cholesky factor.
    """
    n_obs, n_features = x.shape
    n_components = log_weights.shape[0]
    cov = np.empty((n_components, n_features, n_features))
    identity = np.empty((n_features, n_features))
    for k in range(n_components):  # Sigma = L L', with L the inverse of P
        for j in range(n_features):
            for i in range(n_features):
                identity[i, j] = 0.0
            identity[j, j] = 1.0 / precision_factor[k, j, j]
            for i in range(j + 1, n_features):
                s = 0.0
                for e in range(j, i):
                    s -= precision_factor[k, i, e] * identity[e, j]
                identity[i, j] = s / precision_factor[k, i, i]
        for i in range(n_features):
            for j in range(i + 1):
                s = 0.0
                for e in range(j + 1):
                    s += identity[i, e] * identity[j, e]
                cov[k, i, j] = s
                cov[k, j, i] = s
    columns = np.empty(n_features, dtype=np.int64)
    own_mu = np.empty((n_components, n_features))
    factor = np.zeros((n_components, n_features, n_features))
    constant = np.empty(n_components)
    block = np.empty((n_features, BLOCK))
    centred = np.empty((n_features, BLOCK))
    lines = np.empty((2, BLOCK))
    joint = np.empty((n_components, BLOCK))
    largest = np.empty(BLOCK)
    total = np.empty(BLOCK)
    n = np.zeros(n_components)
    first = np.zeros((n_components, n_features))
    second = np.zeros((n_components, n_features, n_features))
    n_own = np.empty(n_components)
    first_own = np.empty((n_components, n_features))
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
        stop = begin + 1
        alike = True
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
            constant[k] = log_weights[k] - n_observed * HALF_LOG_2PI
            n_own[k] = 0.0
            for i in range(n_observed):
                own_mu[k, i] = mu[k, columns[i]]
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
                _full_exponent(centred[:n_observed], factor[k], constant[k], lines, joint[k], rows)
            log_likelihood += _softmax_block(joint, largest, total, row_weights, start, rows)
            if log_likelihood == -np.inf:
                return log_likelihood, n, first, second
            for k in range(n_components):
                s0 = 0.0
                for i in range(rows):
                    s0 += joint[k, i]
                n_own[k] += s0
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


KERNELS = {
    "diagonal": diagonal,
    "full": full,
    "linear": linear,
    "diagonal_missing": diagonal_missing,
    "full_missing": full_missing,
}
SCORES = {
    "diagonal": diagonal_score,
    "full": full_score,
    "linear": linear_score,
    "diagonal_missing": diagonal_score,
    "full_missing": full_score,
}
