r"""Sweeps of the Gibbs sampler, compiled by Numba: allocations, parameters, number of components, weights.

One pass over the rows draws every allocation and adds the row to the statistics of its component, taken about that
component's mean: n, sums of x - mu, and of its squares or outer products. Neither allocations nor anything of size
obs x component is kept. The layouts are those of `bayesmix.posterior.kernel`; E is D for ``FACTOR``, otherwise 1.

==========  ======================================  =================================  ==================================
layout      location, factor, spread                scale                              full conditionals
==========  ======================================  =================================  ==================================
``SCALE``   mu (K, D), 1 / sigma and sigma^2        rate b of sigma^-2 ~ Gamma(a, b)   normal; inverse gamma
            (K, D, 1)
``FACTOR``  mu (K, D), P and Sigma (K, D, D) with   Psi of Sigma^-1 ~ W(nu, Psi^-1)    normal; inverse Wishart
            Sigma^-1 = P'P
``RATE``    rate (K, 1), unused                     rate b of mu ~ Gamma(a, b)         gamma
==========  ======================================  =================================  ==================================

mu ~ Normal(location_prior[0], 1 / location_prior[1]) whatever the spread. A `scale` with a Gamma or Wishart prior of its
own is drawn too. The order of a sweep is that of Frühwirth-Schnatter, Malsiner-Walli & Grün (2021, algorithm 1), which for a fixed
number of components is the sampler of Diebolt & Robert (1994): empty components come after the hyperparameters. With weights
broken off a stick, components exchange their places on it after the rows were allocated.
"""

import math
from typing import NamedTuple

import numba
import numpy as np

from ..likelihood.kernel import _FAST, BLOCK, HALF_LOG_2PI, _exp_nonpositive
from .telescope import (
    DYNAMIC,
    STICKS,
    VECTOR,
    draw_alpha,
    draw_log_sticks,
    draw_log_weights,
    draw_n_components,
    log_alpha_prior,
    log_dirichlet,
    log_gamma_draw,
    log_sticks,
)

KERNEL_VERSION = 6  # of bayesmix.likelihood.kernel and telescope: Numba's cache on disk looks at this file only
SCALE, FACTOR, RATE = range(3)
SINGLY = 4  # repetitions of a row up to which each is drawn by itself; above, numbers by component are drawn
TINY = 1e-290  # least rate: of a Gamma prior with a small shape, draws can be zero in floating point

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_inlined = numba.njit(inline="always", error_model="numpy")  # called from one place: compiled once
# compiled into every caller, and so are those: see bayesmix.likelihood.kernel on copies that round otherwise
_fast = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST, forceinline=True)
_in_callers = numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)


class Problem(NamedTuple):
    """What a run keeps fixed."""

    x: np.ndarray  # (feature, row)
    counts: np.ndarray  # (row,) whole numbers: how often a row occurs; size 0: once each
    layout: int
    shared: bool  # one variance for all features (SCALE), one matrix for all components (FACTOR)
    location_prior: np.ndarray  # (2, feature): mean and precision; for RATE the shape, and nothing
    shape: float  # a, or nu
    hyper: np.ndarray  # (2, feature): shape and rate of the Gamma prior of `scale`; for FACTOR nu_0, and below it
    #     the inverse scale matrix of its Wishart prior, (1 + feature, feature); no columns: `scale` is fixed
    kind: int  # of the concentrations: see `telescope`
    concentration: np.ndarray  # (component,), for kind VECTOR
    log_prior_k: np.ndarray  # (component,) log prior of K = 1, 2, ...; -inf for all but one where K is fixed
    alpha_prior: np.ndarray  # (5,) code and hyperparameters; code 0: alpha is fixed; the discount of sticks


class State(NamedTuple):
    """Where a chain is; arrays have room for the largest number of components."""

    location: np.ndarray  # (component, feature)
    factor: np.ndarray  # (component, feature, E)
    spread: np.ndarray  # (component, feature, E)
    scale: np.ndarray  # (feature, E)
    log_weights: np.ndarray  # (component,)
    n: np.ndarray  # (component,) rows allocated
    first: np.ndarray  # (component, feature)
    second: np.ndarray  # (component, feature, E)
    n_components: np.ndarray  # (2,) whole numbers: K, and how many are occupied
    alpha: np.ndarray  # (1,)
    walk: np.ndarray  # (2,) of `draw_alpha`
    exchanges: np.ndarray  # (2,) places of sticks: tried and made


class Record(NamedTuple):
    """Draws of a number of sweeps, (sweep, ...)."""

    log_weights: np.ndarray  # (sweep, component)
    location: np.ndarray
    spread: np.ndarray
    scale: np.ndarray  # (sweep, feature, E)
    occupied: np.ndarray  # (sweep, component)
    n_components: np.ndarray  # (sweep, 2)
    alpha: np.ndarray  # (sweep,)
    log_likelihood: np.ndarray  # (sweep,) BEFORE the sweep: that of the draw before
    log_prior: np.ndarray  # (sweep,) after it
    exchanged: np.ndarray  # (sweep,) share of the exchanges of sticks that were made


# -- allocations ------------------------------------------------------------------------------------------------------------
@_fast
def _joint_block(problem, state, n_components, start, rows, joint, z):
    """Log weights plus log densities of a block of rows, (component, BLOCK)."""
    x, n_features = problem.x, problem.x.shape[0]
    for k in range(n_components):
        constant = state.log_weights[k]
        if problem.layout == RATE:
            log_rate, rate = math.log(state.location[k, 0]), state.location[k, 0]
            for i in range(rows):
                joint[k, i] = constant - rate + x[0, start + i] * log_rate
            continue
        factor, mean = state.factor[k], state.location[k]
        for j in range(n_features):
            constant += math.log(factor[j, j if problem.layout == FACTOR else 0]) - HALF_LOG_2PI
        for i in range(rows):
            joint[k, i] = constant
        for j in range(n_features):
            if problem.layout == SCALE:
                shift, slope = mean[j], factor[j, 0]  # scalars, which the compiler need not read again for each row
                for i in range(rows):
                    z[i] = (x[j, start + i] - shift) * slope
            else:
                for i in range(rows):
                    z[i] = 0.0
                for q in range(j + 1):
                    shift, slope = mean[q], factor[j, q]
                    for i in range(rows):
                        z[i] += (x[q, start + i] - shift) * slope
            for i in range(rows):
                joint[k, i] -= 0.5 * z[i] * z[i]


@_fast
def _softmax(joint, counts, start, rows, largest, total):
    """Turn log joints into exp(joint - largest) in place, with their sums; returns the log-likelihood of the rows.

    Of rows that occur once logarithms are taken of products of 64 sums: each lies in [1, K].
    """
    n_components = joint.shape[0]
    for i in range(rows):
        largest[i] = joint[0, i]
        total[i] = 0.0
    for k in range(1, n_components):
        for i in range(rows):
            largest[i] = max(largest[i], joint[k, i])
    for k in range(n_components):
        for i in range(rows):
            e = _exp_nonpositive(joint[k, i] - largest[i])
            joint[k, i] = e
            total[i] += e
    log_likelihood, product = 0.0, 1.0
    for i in range(rows):
        if counts.size > 0:
            log_likelihood += counts[start + i] * (largest[i] + math.log(total[i]))
            continue
        log_likelihood += largest[i]
        product *= total[i]
        if i % 64 == 63 or i == rows - 1:
            log_likelihood += math.log(product)
            product = 1.0
    return log_likelihood


@_inlined
def _add_row(x, layout, location, n, first, second, k, times, row):
    """Count a row to component k so many times."""
    n[k] += times
    if layout == RATE:
        first[k, 0] += times * x[0, row]
    elif layout == SCALE:
        for j in range(x.shape[0]):
            d = x[j, row] - location[k, j]
            first[k, j] += times * d
            second[k, j, 0] += times * d * d
    else:
        for j in range(x.shape[0]):
            d = times * (x[j, row] - location[k, j])
            first[k, j] += d
            for q in range(j + 1):
                second[k, j, q] += d * (x[q, row] - location[k, q])


@_in_callers
def _draw_block(rng, x, counts, layout, start, rows, joint, total, location, n, first, second):
    """Draw the components of a block of rows and add these to the statistics.

    Of a row that occurs many times the numbers by component are drawn, which is multinomial.
    """
    n_components = joint.shape[0]
    for i in range(rows):
        times = 1 if counts.size == 0 else counts[start + i]
        if times <= SINGLY:
            for _ in range(times):
                point, k = rng.random() * total[i], 0
                for q in range(n_components - 1):  # the component up to which the sum is less than the point
                    point -= joint[q, i]
                    k += point >= 0.0
                _add_row(x, layout, location, n, first, second, k, 1.0, start + i)
            continue
        rest, left = total[i], times
        for k in range(n_components):
            share = 1.0 if k == n_components - 1 or rest <= 0.0 else min(joint[k, i] / rest, 1.0)
            here = left if share >= 1.0 else rng.binomial(left, share)
            if here > 0:
                _add_row(x, layout, location, n, first, second, k, float(here), start + i)
            rest, left = rest - joint[k, i], left - here
            if left == 0:
                break


@_in_callers
def allocate(rng, problem, state):
    """Draw the component of every row, gather the statistics, and return the log-likelihood at the state."""
    n_components, n_rows = state.n_components[0], problem.x.shape[1]
    state.n[:] = 0.0
    state.first[:] = 0.0
    state.second[:] = 0.0
    joint = np.empty((n_components, BLOCK))
    z, largest, total = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    log_likelihood = 0.0
    for start in range(0, n_rows, BLOCK):
        rows = min(BLOCK, n_rows - start)
        _joint_block(problem, state, n_components, start, rows, joint, z)
        log_likelihood += _softmax(joint, problem.counts, start, rows, largest, total)
        _draw_block(
            rng, problem.x, problem.counts, problem.layout, start, rows, joint, total,
            state.location, state.n, state.first, state.second,
        )  # fmt: skip
    return log_likelihood


@_inlined
def _occupied_first(state):
    """Renumber the components so that the occupied ones come first, in the order they have; return how many."""
    n_components, place = state.n_components[0], 0
    for k in range(n_components):
        if state.n[k] > 0.0:
            if place < k:
                state.n[place], state.n[k] = state.n[k], 0.0
                for j in range(state.location.shape[1]):
                    state.location[place, j] = state.location[k, j]
                    state.first[place, j], state.first[k, j] = state.first[k, j], 0.0
                    for q in range(state.factor.shape[2]):
                        state.factor[place, j, q] = state.factor[k, j, q]
                        state.spread[place, j, q] = state.spread[k, j, q]
                        state.second[place, j, q], state.second[k, j, q] = state.second[k, j, q], 0.0
            place += 1
    return place


@_compiled
def _exchange(state, a, b):
    """Give two components each other's place: parameters, rows and statistics."""
    state.n[a], state.n[b] = state.n[b], state.n[a]
    for j in range(state.location.shape[1]):
        state.location[a, j], state.location[b, j] = state.location[b, j], state.location[a, j]
        state.first[a, j], state.first[b, j] = state.first[b, j], state.first[a, j]
        for q in range(state.factor.shape[2]):
            state.factor[a, j, q], state.factor[b, j, q] = state.factor[b, j, q], state.factor[a, j, q]
            state.spread[a, j, q], state.spread[b, j, q] = state.spread[b, j, q], state.spread[a, j, q]
            state.second[a, j, q], state.second[b, j, q] = state.second[b, j, q], state.second[a, j, q]


@_inlined
def _exchange_sticks(rng, problem, state):
    """Metropolis steps on the order of the sticks: any two components in turn with two neighbours, K times each."""
    size, discount = state.n_components[0], problem.alpha_prior[4]
    here = log_sticks(state.n, size, state.alpha[0], discount)
    for i in range(2 * size):
        if i % 2 == 0:
            a = min(int(rng.random() * size), size - 1)
            b = (a + 1 + min(int(rng.random() * (size - 1)), size - 2)) % size
        else:
            a = min(int(rng.random() * (size - 1)), size - 2)
            b = a + 1
        state.n[a], state.n[b] = state.n[b], state.n[a]
        there = log_sticks(state.n, size, state.alpha[0], discount)
        state.n[a], state.n[b] = state.n[b], state.n[a]
        state.exchanges[0] += 1.0
        if math.log(1.0 - rng.random()) < there - here:
            _exchange(state, a, b)
            here = there
            state.exchanges[1] += 1.0


# -- parameters -------------------------------------------------------------------------------------------------------------
@_compiled
def _draw_scale_component(rng, problem, state, k):
    """Mean given variance, variance given mean, feature by feature; from the prior where there are no rows."""
    n, prior = state.n[k], problem.location_prior
    everything, n_features = 0.0, problem.x.shape[0]
    for j in range(n_features):
        precision = state.factor[k, j, 0] ** 2 if n > 0.0 else 0.0
        total = n * precision + prior[1, j]
        pull = state.first[k, j] * precision + (prior[0, j] - state.location[k, j]) * prior[1, j]
        shift = pull / total + rng.standard_normal() / math.sqrt(total)
        state.location[k, j] += shift
        squares = max(state.second[k, j, 0] - shift * (2.0 * state.first[k, j] - n * shift), 0.0)
        everything += squares
        if not problem.shared:
            rate = state.scale[j, 0] + 0.5 * squares
            state.spread[k, j, 0] = rate / rng.standard_gamma(problem.shape + 0.5 * n)
    if problem.shared:
        rate = state.scale[0, 0] + 0.5 * everything
        state.spread[k, :, 0] = rate / rng.standard_gamma(problem.shape + 0.5 * n * n_features)
    for j in range(n_features):
        state.factor[k, j, 0] = 1.0 / math.sqrt(state.spread[k, j, 0])


@_compiled
def _cholesky(matrix):
    """Lower triangular L with L L' = matrix, of which the lower triangle is read."""
    size = len(matrix)
    lower = np.zeros((size, size))
    for i in range(size):
        for j in range(i + 1):
            s = matrix[i, j]
            for q in range(j):
                s -= lower[i, q] * lower[j, q]
            lower[i, j] = math.sqrt(s) if i == j else s / lower[j, j]
    return lower


@_compiled
def _draw_mean(rng, problem, state, k, scatter):
    """Mean of component k given its matrix; adds the scatter about the new mean to the lower triangle of `scatter`."""
    n, n_features, prior = state.n[k], problem.x.shape[0], problem.location_prior
    precision, pull = np.zeros((n_features, n_features)), np.zeros(n_features)
    for i in range(n_features):
        for j in range(i + 1 if n > 0.0 else 0):
            entry = 0.0  # of P'P
            for q in range(i, n_features):
                entry += state.factor[k, q, i] * state.factor[k, q, j]
            precision[i, j] = n * entry
            pull[i] += entry * state.first[k, j]
            if j < i:
                pull[j] += entry * state.first[k, i]
        precision[i, i] += prior[1, i]
        pull[i] += (prior[0, i] - state.location[k, i]) * prior[1, i]
    lower = _cholesky(precision)
    for i in range(n_features):  # L v = pull
        for q in range(i):
            pull[i] -= lower[i, q] * pull[q]
        pull[i] /= lower[i, i]
    for i in range(n_features - 1, -1, -1):  # L' shift = v + standard normals
        pull[i] += rng.standard_normal()
        for q in range(i + 1, n_features):
            pull[i] -= lower[q, i] * pull[q]
        pull[i] /= lower[i, i]
    for i in range(n_features):
        state.location[k, i] += pull[i]
        for j in range(i + 1):
            scatter[i, j] += state.second[k, i, j] - pull[i] * state.first[k, j] - state.first[k, i] * pull[j]
            scatter[i, j] += n * pull[i] * pull[j]


@_compiled
def _draw_matrix(rng, nu, psi, factor, spread):
    """Write P and Sigma of a draw with Sigma^-1 ~ W(nu, Psi^-1) into `factor` and `spread`.

    Bartlett (1933): with Psi = L L' and an upper triangular B of normals and chi variables, P = B' L^-1.
    """
    size = len(psi)
    lower = _cholesky(psi)
    bartlett = np.zeros((size, size))  # B', lower triangular
    for i in range(size):
        for j in range(i):
            bartlett[i, j] = rng.standard_normal()
        bartlett[i, i] = math.sqrt(2.0 * rng.standard_gamma(0.5 * (nu - size + 1 + i)))
    for i in range(size):  # P L = B', line by line from the right
        for j in range(i, -1, -1):
            s = bartlett[i, j]
            for q in range(j + 1, i + 1):
                s -= factor[i, q] * lower[q, j]
            factor[i, j] = s / lower[j, j]
        for j in range(i + 1, size):
            factor[i, j] = 0.0
    inverse = np.zeros((size, size))
    for i in range(size):
        inverse[i, i] = 1.0 / factor[i, i]
        for j in range(i):
            for q in range(j, i):
                inverse[i, j] -= factor[i, q] * inverse[q, j]
            inverse[i, j] /= factor[i, i]
    for i in range(size):
        for j in range(i + 1):
            entry = 0.0
            for q in range(j + 1):
                entry += inverse[i, q] * inverse[j, q]
            spread[i, j] = entry
            spread[j, i] = entry


@_inlined
def _draw_occupied(rng, problem, state):
    """Parameters of the components that have rows."""
    n_components, n_features = state.n_components[0], problem.x.shape[0]
    together, total = state.scale.copy(), problem.shape
    for k in range(n_components):
        if state.n[k] <= 0.0:
            continue
        if problem.layout == RATE:
            shape = problem.location_prior[0, 0] + state.first[k, 0]
            state.location[k, 0] = max(rng.standard_gamma(shape) / (state.scale[0, 0] + state.n[k]), TINY)
        elif problem.layout == SCALE:
            _draw_scale_component(rng, problem, state, k)
        elif problem.shared:
            _draw_mean(rng, problem, state, k, together)
            total += state.n[k]
        else:
            psi = state.scale.copy()
            _draw_mean(rng, problem, state, k, psi)
            _draw_matrix(rng, problem.shape + state.n[k], psi, state.factor[k], state.spread[k])
    if problem.layout == FACTOR and problem.shared:
        factor, spread = np.zeros((n_features, n_features)), np.zeros((n_features, n_features))
        _draw_matrix(rng, total, together, factor, spread)
        for k in range(n_components):
            state.factor[k], state.spread[k] = factor, spread


@_compiled
def _draw_empty(rng, problem, state, k):
    """Parameters of a component without rows: from the prior."""
    if problem.layout == RATE:
        draw = math.exp(log_gamma_draw(rng, problem.location_prior[0, 0])) / state.scale[0, 0]
        state.location[k, 0] = max(draw, TINY)
        return
    n_features = problem.x.shape[0]
    for j in range(n_features):
        state.location[k, j] = problem.location_prior[0, j]
    if problem.layout == SCALE:
        _draw_scale_component(rng, problem, state, k)
        return
    _draw_mean(rng, problem, state, k, np.empty((n_features, n_features)))
    if not problem.shared:
        _draw_matrix(rng, problem.shape, state.scale, state.factor[k], state.spread[k])
        return
    for i in range(n_features):
        for j in range(n_features):
            state.factor[k, i, j], state.spread[k, i, j] = state.factor[0, i, j], state.spread[0, i, j]


@_inlined
def _draw_hyperparameters(rng, problem, state):
    """The random rate b, or Psi, of the prior of variances or rates, given those of the occupied components."""
    if problem.layout == FACTOR and problem.hyper.size:
        n_features, nu = problem.x.shape[0], problem.hyper[0, 0]
        total = problem.hyper[1:].copy()  # of Psi ~ W(nu_0, total^-1)
        for k in range(state.n_components[0]):
            if state.n[k] > 0.0:
                nu += problem.shape
                for i in range(n_features):
                    for j in range(n_features):
                        for q in range(max(i, j), n_features):
                            total[i, j] += state.factor[k, q, i] * state.factor[k, q, j]
                if problem.shared:
                    break
        factor, inverse = np.empty((n_features, n_features)), np.empty((n_features, n_features))
        _draw_matrix(rng, nu, total, factor, inverse)
        for i in range(n_features):
            for j in range(n_features):
                state.scale[i, j] = 0.0
                for q in range(max(i, j), n_features):
                    state.scale[i, j] += factor[q, i] * factor[q, j]
    for j in range(problem.hyper.shape[1] if problem.layout != FACTOR else 0):
        shape, rate = problem.hyper[0, j], problem.hyper[1, j]
        for k in range(state.n_components[0]):
            if state.n[k] > 0.0:
                if problem.layout == RATE:
                    shape += problem.location_prior[0, 0]
                    rate += state.location[k, 0]
                else:
                    shape += problem.shape
                    rate += 1.0 / state.spread[k, j, 0]
        state.scale[j, 0] = rng.standard_gamma(shape) / rate


# -- the prior, for the record ------------------------------------------------------------------------------------------------
@_compiled
def _log_gamma(x, shape, rate):
    """Log density of Gamma(shape, rate) at x > 0."""
    return shape * math.log(rate) - math.lgamma(shape) + (shape - 1.0) * math.log(x) - rate * x


@_compiled
def _log_inverse_wishart(factor, nu, psi, psi_factor):
    """Log density of an inverse Wishart matrix, without the constants that depend on nu and D alone.

    `factor` is P of the matrix; `psi_factor` the lower Cholesky factor of psi.
    """
    size, value = len(psi), 0.0
    for i in range(size):
        value += nu * math.log(psi_factor[i, i]) + (nu + size + 1.0) * math.log(factor[i, i])
        for j in range(i + 1):  # tr(Psi Sigma^-1) = |P L|^2
            entry = 0.0
            for q in range(j, i + 1):
                entry += factor[i, q] * psi_factor[q, j]
            value -= 0.5 * entry * entry
    return value


@_compiled
def _concentrations(problem, state):
    """Concentration of each of the K components."""
    n_components = state.n_components[0]
    if problem.kind == VECTOR:
        return problem.concentration
    return np.full(n_components, state.alpha[0] / (n_components if problem.kind == DYNAMIC else 1))


@_compiled
def log_prior_density(problem, state):
    """Log prior density of all K components' parameters, the weights, K, alpha and the random rates.

    That of sigma, not of sigma^2; of inverse Wishart matrices without the constants that depend on nu and D alone. Not
    that of weights broken off a stick, which has no name for the components only when all orders are averaged.
    """
    n_components, n_features = state.n_components[0], problem.x.shape[0]
    value = problem.log_prior_k[n_components - 1]
    if problem.kind != STICKS:
        value += log_dirichlet(state.log_weights, _concentrations(problem, state), n_components)
    if problem.alpha_prior[0] != 0.0:
        value += log_alpha_prior(state.alpha[0], problem.alpha_prior)
    for j in range(problem.hyper.shape[1] if problem.layout != FACTOR else 0):
        value += _log_gamma(state.scale[j, 0], problem.hyper[0, j], problem.hyper[1, j])
    if problem.layout == RATE:
        for k in range(n_components):
            value += _log_gamma(state.location[k, 0], problem.location_prior[0, 0], state.scale[0, 0])
        return value
    for k in range(n_components):
        for j in range(n_features):
            z = (state.location[k, j] - problem.location_prior[0, j]) * math.sqrt(problem.location_prior[1, j])
            value += 0.5 * math.log(problem.location_prior[1, j]) - HALF_LOG_2PI - 0.5 * z * z
    if problem.layout == FACTOR:
        lower = _cholesky(state.scale)
        if problem.hyper.size:  # Wishart: the density of Psi, but for a constant
            for i in range(n_features):
                value += (problem.hyper[0, 0] - n_features - 1.0) * math.log(lower[i, i])
                for j in range(n_features):
                    value -= 0.5 * problem.hyper[1 + i, j] * state.scale[i, j]
        for k in range(1 if problem.shared else n_components):
            value += _log_inverse_wishart(state.factor[k], problem.shape, state.scale, lower)
        return value
    for k in range(n_components):
        for j in range(1 if problem.shared else n_features):
            precision = state.factor[k, j, 0] ** 2
            value += _log_gamma(precision, problem.shape, state.scale[j, 0])
            value += math.log(2.0) + 1.5 * math.log(precision)  # |d sigma^-2 / d sigma| = 2 sigma^-3
    return value


# -- sweeps ---------------------------------------------------------------------------------------------------------------------
@_inlined
def sweep(rng, problem, state, adapt):
    """One sweep: allocations, occupied components, hyperparameters, K, alpha, empty components, weights.

    Returns the log-likelihood at the state that it starts from. K = n_components[0] <= the room there is.
    """
    log_likelihood = allocate(rng, problem, state)
    if problem.kind == STICKS:
        _exchange_sticks(rng, problem, state)
    elif problem.kind != VECTOR:
        _occupied_first(state)
    occupied = 0
    for k in range(state.n_components[0]):
        occupied += state.n[k] > 0.0
    state.n_components[1] = occupied
    _draw_occupied(rng, problem, state)
    _draw_hyperparameters(rng, problem, state)
    if problem.kind != VECTOR:
        alpha, kind = state.alpha[0], problem.kind
        n_components = state.n_components[0]
        if kind != STICKS:
            n_components = draw_n_components(rng, state.n, occupied, alpha, kind, problem.log_prior_k)
            state.n_components[0] = n_components
        if problem.alpha_prior[0] != 0.0:
            alpha = draw_alpha(
                rng, state.n, occupied, n_components, kind, problem.alpha_prior, alpha, state.walk, adapt
            )
            state.alpha[0] = alpha
    for k in range(state.n_components[0]):
        if state.n[k] <= 0.0:
            _draw_empty(rng, problem, state, k)
    if problem.kind == STICKS:
        draw_log_sticks(rng, state.n, state.n_components[0], state.alpha[0], problem.alpha_prior[4], state.log_weights)
    else:
        draw_log_weights(rng, _concentrations(problem, state), state.n, state.n_components[0], state.log_weights)
    return log_likelihood


@_compiled
def run(rng, problem, state, record, thin, adapt):
    """Fill a record, with `thin` sweeps for each entry."""
    for i in range(len(record.alpha)):
        state.exchanges[:] = 0.0
        for j in range(thin):
            log_likelihood = sweep(rng, problem, state, adapt)
            if j == 0:
                record.log_likelihood[i] = log_likelihood
        record.log_prior[i] = log_prior_density(problem, state)
        record.log_weights[i] = state.log_weights
        record.location[i] = state.location
        record.spread[i] = state.spread
        record.scale[i] = state.scale
        record.occupied[i] = state.n > 0.0
        record.n_components[i] = state.n_components
        record.alpha[i] = state.alpha[0]
        record.exchanged[i] = state.exchanges[1] / max(state.exchanges[0], 1.0)
