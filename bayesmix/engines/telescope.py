r"""The partition of the rows into occupied components, and what is drawn given it: K, alpha, and the weights.

A symmetric Dirichlet prior of the weights with concentration gamma gives a partition into K_+ occupied components of
N_1, ..., N_{K_+} rows the probability (Frühwirth-Schnatter, Malsiner-Walli & Grün 2021, eq. 2.4)

.. math:: p(C \mid K, \gamma) = \frac{K!}{(K - K_+)!} \frac{\Gamma(\gamma K)}{\Gamma(\gamma K + N)}
          \prod_{k: N_k > 0} \frac{\Gamma(N_k + \gamma)}{\Gamma(\gamma)},

with gamma = alpha in a static and gamma = alpha / K in a dynamic mixture. K and alpha depend on the data through the
partition alone: the telescoping sampler draws both from this formula, without moves between dimensions.

Weights broken off a stick, :math:`V_k \sim \mathrm{Beta}(1 - d, \alpha + k d)`, depend on the order of the components, and
labels :math:`z` have the probability (Ishwaran & James 2001, sec. 5.2, with the sticks integrated out)

.. math:: p(z \mid \alpha) = \prod_{k<K} \frac{B(1 - d + N_k, \alpha + k d + N_{k+1} + \dots + N_K)}
          {B(1 - d, \alpha + k d)},

from which alpha is drawn, and by which two components exchange their places (Papaspiliopoulos & Roberts 2008).
"""

import math

import numba
import numpy as np

from ..posterior.kernel import log_prior

KERNEL_VERSION = 3  # of bayesmix.posterior.kernel: Numba's cache on disk looks at this file only
VECTOR, STATIC, DYNAMIC, STICKS = range(4)  # one concentration for each component; alpha for each; alpha / K; sticks
TARGET_ACCEPTANCE = 0.44  # of a random walk in one dimension (Gelman, Roberts & Gilks 1996)
_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def log_gamma_draw(rng, shape):
    """Logarithm of a draw from Gamma(shape, 1); below 1 by Gamma(shape + 1) U^(1 / shape), which never is zero."""
    if shape < 1.0:
        return math.log(rng.standard_gamma(shape + 1.0)) + math.log(1.0 - rng.random()) / shape
    return math.log(rng.standard_gamma(shape))


@_compiled
def log_sum_exp(values, size):
    """Logarithm of the sum of the exponentials of the first `size` values."""
    largest = -np.inf
    for k in range(size):
        largest = max(largest, values[k])
    total = 0.0
    for k in range(size):
        total += math.exp(values[k] - largest)
    return largest + math.log(total)


@_compiled
def draw_log_weights(rng, concentration, n, size, out):
    """Log weights from Dirichlet(concentration + n), both (size,), into `out`."""
    for k in range(size):
        out[k] = log_gamma_draw(rng, concentration[k] + n[k])
    total = log_sum_exp(out, size)
    for k in range(size):
        out[k] -= total


@_compiled
def log_dirichlet(log_weights, concentration, size):
    """Log density of the Dirichlet distribution at these weights."""
    total, value = 0.0, 0.0
    for k in range(size):
        total += concentration[k]
        value += (concentration[k] - 1.0) * log_weights[k] - math.lgamma(concentration[k])
    return value + math.lgamma(total)


@_compiled
def log_partition(n, occupied, n_components, concentration):
    """Log probability of the partition: `n` holds the rows of each component, of which so many are occupied."""
    total, value = 0.0, 0.0
    own = math.log(concentration) - math.lgamma(1.0 + concentration)
    for k in range(len(n)):
        if n[k] > 0.0:
            total += n[k]
            value += math.lgamma(n[k] + concentration) + own
    everything = concentration * n_components
    value += math.lgamma(everything) - math.lgamma(everything + total)
    return value + math.lgamma(n_components + 1.0) - math.lgamma(n_components - occupied + 1.0)


@_compiled
def _log_beta(a, b):
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


@_compiled
def log_sticks(n, size, alpha, discount):
    """Log probability of labels with these rows `n` in each of `size` components, the sticks integrated out."""
    value, after = 0.0, 0.0
    for i in range(1, size):
        after += n[size - i]
        k = size - i  # the stick, counted from 1
        a, b = 1.0 - discount, alpha + k * discount
        value += _log_beta(a + n[k - 1], b + after) - _log_beta(a, b)
    return value


@_compiled
def draw_log_sticks(rng, n, size, alpha, discount, out):
    """Log weights broken off a stick, V_k ~ Beta(1 - d + N_k, alpha + k d + the rows after k), into `out`."""
    after = 0.0
    for k in range(size):
        after += n[k]
    rest = 0.0
    for k in range(size - 1):
        after -= n[k]
        left = log_gamma_draw(rng, 1.0 - discount + n[k])
        right = log_gamma_draw(rng, alpha + (k + 1) * discount + after)
        top = max(left, right)
        whole = top + math.log(math.exp(left - top) + math.exp(right - top))
        out[k] = rest + left - whole
        rest += right - whole
    out[size - 1] = rest


@_compiled
def draw_n_components(rng, n, occupied, alpha, kind, log_prior_k):
    """K given the partition and alpha: log_prior_k (K_max,) is the log probability of K = 1, 2, ..., up to a constant."""
    score = np.full(len(log_prior_k), -np.inf)
    for i in range(occupied - 1, len(log_prior_k)):
        if log_prior_k[i] > -np.inf:
            k = i + 1.0
            score[i] = log_prior_k[i] + log_partition(n, occupied, k, alpha / k if kind == DYNAMIC else alpha)
    total = log_sum_exp(score, len(score))
    point, last = rng.random(), occupied - 1
    for i in range(occupied - 1, len(score)):
        if score[i] > -np.inf:
            last = i
            point -= math.exp(score[i] - total)
            if point <= 0.0:
                break
    return last + 1


@_compiled
def _log_alpha_density(log_alpha, n, occupied, n_components, kind, prior):
    """Log density of log alpha given the partition and K; prior holds code, p, q, r of `posterior.kernel`, and d."""
    alpha = math.exp(log_alpha)
    if not 1e-300 < alpha < 1e300:
        return -np.inf
    if kind == STICKS:
        return log_alpha_prior(alpha, prior) + log_alpha + log_sticks(n, n_components, alpha, prior[4])
    each = alpha / n_components if kind == DYNAMIC else alpha
    return log_alpha_prior(alpha, prior) + log_alpha + log_partition(n, occupied, n_components, each)


@_compiled
def log_alpha_prior(alpha, prior):
    """Log prior density of alpha; prior holds code, p, q, r of `posterior.kernel`."""
    return log_prior(int(prior[0]), alpha, prior[1], prior[2], prior[3])[0]


@_compiled
def draw_alpha(rng, n, occupied, n_components, kind, prior, alpha, walk, adapt):
    """One step of a random walk in log alpha; returns alpha. walk holds the log step length and the steps so far.

    While `adapt` is true the step length goes towards an acceptance rate of 0.44 (Robbins & Monro 1951).
    """
    here = math.log(alpha)
    there = here + math.exp(walk[0]) * rng.standard_normal()
    gain = _log_alpha_density(there, n, occupied, n_components, kind, prior)
    gain -= _log_alpha_density(here, n, occupied, n_components, kind, prior)
    if adapt:
        walk[1] += 1.0
        walk[0] += (math.exp(min(gain, 0.0)) - TARGET_ACCEPTANCE) / math.sqrt(walk[1])
    return math.exp(there) if math.log(1.0 - rng.random()) < gain else alpha
