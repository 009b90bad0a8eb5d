"""EM of families by their formula, compiled but for the pass, so that small data pay for little Python in between.

The same algorithm as `bayesmix.engines.climb`, which says what it does and keeps the readable form; tests hold the two
equal. The M-step is one step of Newton's method, or weighted least squares, see
`bayesmix.components.base.NewtonStep`. Each family has a pass of
its own, and all else is compiled once for all of them: so it is not called by what calls the passes, but the other way
round (reverse communication, as in L-BFGS-B or ARPACK). `proceed` is told what the pass found at the place that it asked
for, and writes down the place that it wants to know next.

A place is a vector: the logarithms of the weights (K,), then the free coordinates of the parameters (K, P) of the pass,
component by component.
"""

import math

import numba
import numpy as np

from ..likelihood.ascent import coordinates_of, newton, parameters_at
from .loop import (
    _BEST,
    _LONGEST,
    _PREVIOUS,
    COLLAPSED,
    CONVERGED,
    DISTANCE,
    LOG_LIKELIHOOD,
    MEMORY,
    OBJECTIVE,
    RUNNING,
    STALLED,
    _all_finite,
    _copy,
    _jump,
    _length,
    _remember_rate,
    _slowest_rate,
)

ASCENT_VERSION = 2  # of bayesmix.likelihood.ascent: Numba's cache on disk looks at this file only
VISIT = 4  # how a call of `proceed` ends, beside the ways that a run ends
_BEGIN, _FIRST, _EXTRAPOLATED, _SECOND = range(4)  # what the place is that was asked for
_HERE, _BEFORE, _LATER, _ASKED, _HALVED = range(5)  # places of a run: rows of `places`
N_PLACES = 5
MOST_HALVINGS = 30  # of a step that lowers the objective
SNAP = 1e-12  # relative distance from the end of how far EM goes that is rounding

# What a run remembers beside the memory of `bayesmix.engines.loop`.
STAGE, HALVINGS, USED, WRITTEN, STEP, BASE, ROUNDING = range(MEMORY, MEMORY + 7)
N_MEMORY = MEMORY + 7
MAX_ITER, TOL, ACCELERATE, NOISE, THINNEST, LEAST_SQUARES = range(6)  # settings of a run

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _to_parameters(place, n_components, bounds, a, log_weights):
    """Write the parameters (K, P) at a place, as far as EM goes, and weights that sum to one; then the place of these."""
    p, total = a.shape[1], 0.0
    largest = place[:n_components].max()
    for k in range(n_components):
        total += math.exp(place[k] - largest)
    for k in range(n_components):
        log_weights[k] = place[k] - largest - math.log(total)
        place[k] = log_weights[k]
    own = place[n_components:].copy().reshape((n_components, p))
    found = parameters_at(own, bounds[0], bounds[1], bounds[2], bounds[3])
    for k in range(n_components):
        for i in range(p):
            least, most = bounds[2, i], bounds[3, i]
            if math.isfinite(most) and found[k, i] >= most - SNAP * abs(most):
                found[k, i] = most
            if math.isfinite(least) and found[k, i] <= least + SNAP * abs(least):
                found[k, i] = least
    _copy(found, a)
    _copy(coordinates_of(a, bounds[0], bounds[1]), place[n_components:])


@_compiled
def _least_squares(a, n, first, second, guard_n, guard_square):
    """Coefficients and standard deviation (first) of each component, from gradient and Hessian: residuals are linear."""
    found, p = a.copy(), a.shape[1] - 1
    gram, right = np.empty((p, p)), np.empty(p)
    for k in range(a.shape[0]):
        sigma = a[k, 0]
        left = (first[k, 0] + n[k] / sigma) * sigma**3
        if n[k] > 0.0:
            for i in range(p):
                right[i] = first[k, 1 + i] * sigma**2
                for j in range(p):
                    gram[i, j] = -second[k, 1 + i, 1 + j] * sigma**2
            ridge = gram.copy()
            for i in range(p):
                ridge[i, i] += 1e-12 * n[k]
            step = np.linalg.solve(ridge, right)
            for i in range(p):
                left -= 2.0 * step[i] * right[i]
                for j in range(p):
                    left += gram[i, j] * step[i] * step[j]
                found[k, 1 + i] += step[i]
        if n[k] + guard_n > 0.0:
            found[k, 0] = math.sqrt(max(left + guard_square, 0.0) / (n[k] + guard_n))
    return found


@_compiled
def _update(a, n, first, second, width, bounds, moves, settings, guard_n, guard_square, place):
    """Write the place that one EM update leads to."""
    n_components, total = n.shape[0], n.sum()
    for k in range(n_components):
        place[k] = math.log(n[k] / total) if n[k] > 0.0 else -np.inf
    if settings[LEAST_SQUARES] > 0.0:
        found = _least_squares(a, n, first, second, guard_n, guard_square)
    else:
        scale = np.ones(a.shape)
        for k in range(n_components):
            for i in range(a.shape[1]):
                if moves[i]:
                    scale[k, i] = width[k]
        moved, _ = newton(a, n, first, second, bounds[0], bounds[1], bounds[2], bounds[3], scale)
        found = parameters_at(moved, bounds[0], bounds[1], bounds[2], bounds[3])
    _copy(coordinates_of(found, bounds[0], bounds[1]), place[n_components:])


@_compiled
def _thinnest(place, width):
    """The smallest squared spread of a component, against that pooled within components."""
    pooled, smallest = 0.0, np.inf
    for k in range(width.shape[0]):
        pooled += math.exp(place[k]) * width[k] ** 2
        smallest = min(smallest, width[k] ** 2)
    return smallest / pooled


@_compiled
def proceed(
    bounds, moves, scale, settings, guard_n, guard_square, found, guarded, asked_width,
    memory, places, a, n, first, second, width, asked, log_weights, trace,
):  # fmt: skip
    """Take what was found at the place asked for: how the run goes on, and the place to visit if it does.

    found: what the pass returns at the parameters `asked` (K, P) and `log_weights`; guarded: value, gradient and Hessian of
    the guard there. a, n, first, second and width are what is known of where the run stands. All of these from memory on
    are changed in place.
    """
    k_all, stage = n.shape[0], int(memory[STAGE])
    here, before, later, place, halved = places[_HERE], places[_BEFORE], places[_LATER], places[_ASKED], places[_HALVED]
    log_likelihood = found[0] + memory[BASE]
    objective = log_likelihood + guarded[0].sum()
    usable = math.isfinite(objective) and _all_finite(found[1])
    usable = usable and _all_finite(found[2].ravel()) and _all_finite(found[3].ravel())
    step = memory[STEP]
    if stage == _BEGIN:
        memory[_LONGEST], memory[DISTANCE], memory[_BEST] = 1.0, np.inf, objective
        memory[ROUNDING] *= max(1.0, abs(objective) + 2.0 * abs(memory[BASE]))
        if not usable:
            return COLLAPSED
    elif stage == _EXTRAPOLATED:
        taken = usable and objective >= memory[OBJECTIVE] and _thinnest(place, asked_width) >= settings[THINNEST]
        if not taken:
            memory[_LONGEST] = max(1.0, memory[_LONGEST] / 4.0)
            return _ask(later, k_all, bounds, _SECOND, memory, place, halved, asked, log_weights)
    else:
        short = not (usable and objective >= memory[_BEST] - memory[ROUNDING])
        if short and memory[HALVINGS] < MOST_HALVINGS:
            memory[HALVINGS] += 1.0
            for i in range(halved.shape[0]):
                halved[i] = 0.5 * (halved[i] + here[i])
            _copy(halved, place)
            _to_parameters(place, k_all, bounds, asked, log_weights)
            return VISIT
        if stage == _FIRST:
            memory[USED] += 1.0 + memory[HALVINGS]
        if not usable or _thinnest(place, asked_width) < settings[THINNEST]:
            return COLLAPSED
        if stage == _FIRST:
            step = _length(place, here, scale)
            if memory[_PREVIOUS] > settings[NOISE]:
                _remember_rate(memory, step, memory[_PREVIOUS])
        memory[DISTANCE] = step / (1.0 - _slowest_rate(memory))
        least = memory[_BEST] if stage == _FIRST else memory[OBJECTIVE]
        if objective < least - memory[ROUNDING]:
            return STALLED

    _copy(here, before)
    _copy(place, here)
    _copy(asked, a)
    _copy(found[1], n)
    for k in range(k_all):
        width[k] = asked_width[k]
        for i in range(a.shape[1]):
            first[k, i] = found[2][k, i] + guarded[1][k, i]
            for j in range(a.shape[1]):
                second[k, i, j] = found[3][k, i, j] + guarded[2][k, i, j]
    if settings[LEAST_SQUARES] > 0.0:  # whose update knows of the guard itself
        _copy(found[2], first)
        _copy(found[3], second)
    memory[OBJECTIVE], memory[LOG_LIKELIHOOD] = objective, log_likelihood
    memory[_BEST] = max(memory[_BEST], objective)
    trace[int(memory[WRITTEN])] = memory[_BEST]
    memory[WRITTEN] += 1.0

    if stage == _FIRST:
        if step == 0.0 or (memory[_PREVIOUS] > 0.0 and memory[DISTANCE] <= settings[TOL]):
            return CONVERGED
        memory[_PREVIOUS] = step
        if settings[ACCELERATE] > 0.0 and memory[USED] < settings[MAX_ITER] and _all_finite(here):
            _update(a, n, first, second, width, bounds, moves, settings, guard_n, guard_square, later)
            memory[USED] += 1.0
            step = _length(later, here, scale)
            if memory[_PREVIOUS] > settings[NOISE]:
                _remember_rate(memory, step, memory[_PREVIOUS])
            memory[_PREVIOUS], memory[STEP] = 0.0, step  # no ratio across an extrapolated point
            if _jump(before, here, later, scale, k_all, memory, halved):
                return _ask(halved, k_all, bounds, _EXTRAPOLATED, memory, place, halved, asked, log_weights)
            memory[_LONGEST] = max(1.0, memory[_LONGEST] / 4.0)
            return _ask(later, k_all, bounds, _SECOND, memory, place, halved, asked, log_weights)
    elif stage != _BEGIN:
        memory[DISTANCE] = step / (1.0 - _slowest_rate(memory))
        if memory[DISTANCE] <= settings[TOL]:
            return CONVERGED
    if memory[USED] >= settings[MAX_ITER]:
        return RUNNING
    _update(a, n, first, second, width, bounds, moves, settings, guard_n, guard_square, later)
    return _ask(later, k_all, bounds, _FIRST, memory, place, halved, asked, log_weights)


@_compiled
def _ask(wanted, n_components, bounds, stage, memory, place, halved, asked, log_weights):
    """Ask for a place; steps are halved from there, if they have to be."""
    _copy(wanted, place)
    if stage != _EXTRAPOLATED:
        _copy(wanted, halved)
    _to_parameters(place, n_components, bounds, asked, log_weights)
    memory[STAGE], memory[HALVINGS] = stage, 0.0
    return VISIT
