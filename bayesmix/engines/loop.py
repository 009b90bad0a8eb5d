"""EM runs compiled whole, pass, M-step and acceleration, so that small data pay for no Python in between.

The same algorithm as `bayesmix.engines.climb`, which says what it does and keeps the readable form; tests hold the two
equal. A run is a vector ``theta``: the logarithms of the weights (K,), then the family's own free coordinates, as its
`to_vector` gives them. There is one M-step for each entry of `STEPS`:

=============  =====================================================================================================
``diag``       mu (K, D), log sigma (K, D); kernel ``diagonal``
``spherical``  mu (K, D), log sigma (K,); kernel ``diagonal``
``full``       mu (K, D), K lower triangles of P row by row, logarithms on the diagonal; kernel ``full``
``tied``       mu (K, D), one such triangle; kernel ``full``
``linear``     part by part, log mu (K,) of rates, or logits (K, J - 1) of a sequence of choices; kernel ``linear``
=============  =====================================================================================================

Families of the kernel ``linear`` say of what parts they are, (part, 2): `RATE`, with one statistic x, eta = log mu and
A = mu; or `OUTCOMES`, with J statistics and eta the logarithms of J probabilities, as of
`bayesmix.components.probabilities`. Other families have none. A product of such families is one of them.

The statistics ``second`` have the shape that the kernel gives them, and by their number of dimensions Numba knows which
kernel is meant: (K, D) ``diagonal``, (K, D, D) ``full``, (0,) ``linear``. A family compiles what it needs, and no more.
"""

import math

import numba
import numpy as np

from ..components.base import RATE
from ..likelihood.kernel import diagonal, diagonal_score, full, full_score, linear

KERNEL_VERSION = 6  # of bayesmix.likelihood.kernel: Numba's cache on disk looks at this file only
STEPS = {"diag": 0, "spherical": 1, "full": 2, "tied": 3, "linear": 4}
DIAG, SPHERICAL, FULL, TIED, LINEAR = range(5)

# How a call of `advance` ended.
RUNNING, CONVERGED, COLLAPSED, STALLED = range(4)
_FIRST, _EXTRAPOLATED, _SECOND = range(3)  # the places of a cycle

# What a run remembers from call to call: a few numbers, then the latest rates of convergence.
MEMORY = 28
DISTANCE, OBJECTIVE, LOG_LIKELIHOOD, _LONGEST, _PREVIOUS, _BEST, _COUNT, _RATES = range(8)
N_RATES = MEMORY - _RATES

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
# what calls a pass and is no entry itself: see bayesmix.likelihood.kernel
_in_callers = numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
_inlined = numba.njit(inline="always", error_model="numpy")


@_inlined
def _copy(values, out):
    """Write values into out, number by number: an assignment of slices would compile its error messages, for seconds."""
    source, target = values.ravel(), out.ravel()
    for i in range(target.shape[0]):
        target[i] = source[i]


@_compiled
def _invert_lower(lower, inverse):
    """Write the inverse of a lower triangular matrix into `inverse`, which holds zeros: line by line, as memory runs."""
    for i in range(lower.shape[0]):
        for q in range(i):
            for j in range(q + 1):
                inverse[i, j] -= lower[i, q] * inverse[q, j]
        for j in range(i):
            inverse[i, j] /= lower[i, i]
        inverse[i, i] = 1.0 / lower[i, i]


@_compiled
def _inverse_lower(matrix, size, log_diagonal):
    """Write P with P matrix P' = I, row by row, logarithms on the diagonal; False if the matrix is not positive."""
    lower = np.zeros((size, size))
    for i in range(size):
        for j in range(i + 1):
            s = matrix[i, j]
            for q in range(j):
                s -= lower[i, q] * lower[j, q]
            if i == j:
                if not s > 0.0:
                    return False
                lower[i, i] = math.sqrt(s)
            else:
                lower[i, j] = s / lower[j, j]
    inverse = np.zeros((size, size))
    _invert_lower(lower, inverse)
    at = 0
    for i in range(size):
        for j in range(i):
            log_diagonal[at] = inverse[i, j]
            at += 1
        log_diagonal[at] = math.log(inverse[i, i])
        at += 1
    return True


@_compiled
def _factors(coordinates, n_components, n_features, shared):
    """P of all components, (K, D, D), from its coordinates."""
    factor = np.zeros((n_components, n_features, n_features))
    at = 0
    for k in range(n_components):
        if shared:
            at = 0
        for i in range(n_features):
            for j in range(i):
                factor[k, i, j] = coordinates[at]
                at += 1
            factor[k, i, i] = math.exp(coordinates[at])
            at += 1
    return factor


@_compiled
def _log_of_choice(v):
    """Log probabilities of a choice with logit v, and of none."""
    return -math.log1p(math.exp(-v)), -math.log1p(math.exp(v))


@_compiled
def _natural(parts, own, n_components, n_statistics):
    """Eta (K, P) and A (K,) of the kernel ``linear``, from the parts' coordinates."""
    eta, log_partition = np.empty((n_components, n_statistics)), np.zeros(n_components)
    at, column = 0, 0
    for part in range(parts.shape[0]):
        size = parts[part, 1]
        if parts[part, 0] == RATE:
            for k in range(n_components):
                eta[k, column] = own[at + k]
                log_partition[k] += math.exp(own[at + k])
            at += n_components
        else:
            for k in range(n_components):
                left = 0.0
                for j in range(size - 1):
                    chosen, other = _log_of_choice(own[at])
                    eta[k, column + j] = left + chosen
                    left += other
                    at += 1
                eta[k, column + size - 1] = left
        column += size
    return eta, log_partition


@_compiled
def _natural_update(parts, own, n, first, n_statistics, out):
    """Write the coordinates of the parts' M-steps into out; a component without rows keeps what it had."""
    at, column = 0, 0
    for part in range(parts.shape[0]):
        size = parts[part, 1]
        for k in range(n.shape[0]):
            sums = first[k * n_statistics + column : k * n_statistics + column + size]
            if parts[part, 0] == RATE:
                out[at] = (math.log(sums[0] / n[k]) if sums[0] > 0.0 else -np.inf) if n[k] > 0.0 else own[at]
                at += 1
                continue
            later = 0.0
            for j in range(size - 1, -1, -1):
                if j < size - 1:
                    if sums[j] > 0.0 and later > 0.0:
                        out[at + j] = math.log(sums[j] / later)
                    elif sums[j] + later > 0.0:
                        out[at + j] = np.inf if sums[j] > 0.0 else -np.inf
                    else:  # no choice is made where nothing is left to choose from
                        out[at + j] = 0.0
                later += sums[j]
            if not later > 0.0:
                for j in range(size - 1):
                    out[at + j] = own[at + j]
            at += size - 1
        column += size


@_compiled
def _natural_gradient(parts, own, n, first, n_statistics, gradient):
    """Write the gradient in the parts' coordinates."""
    at, column = 0, 0
    for part in range(parts.shape[0]):
        size = parts[part, 1]
        for k in range(n.shape[0]):
            sums = first[k * n_statistics + column : k * n_statistics + column + size]
            if parts[part, 0] == RATE:
                gradient[at] = sums[0] - n[k] * math.exp(own[at])
                at += 1
                continue
            later = sums[size - 1]
            for j in range(size - 2, -1, -1):
                later += sums[j]
                gradient[at + j] = sums[j] - later * math.exp(_log_of_choice(own[at + j])[0])
            at += size - 1
        column += size


@_in_callers
def _visit(kind, parts, theta, x, row_weights, n_components, guard_n, guard_second, n, first, second):
    """One pass at theta: log-likelihood and objective; the statistics are written into n, first (flat), second."""
    d = x.shape[1]
    log_weights = theta[:n_components].copy()
    own = theta[n_components:]
    value = 0.0
    if second.ndim == 1:
        eta, log_partition = _natural(parts, own, n_components, d)
        log_likelihood, counts, sums, _ = linear(x, row_weights, log_weights, eta, log_partition)
        _copy(counts, n)
        _copy(sums, first)
        return log_likelihood, log_likelihood
    mu = own[: n_components * d].copy().reshape((n_components, d))
    rest = own[n_components * d :]
    if second.ndim == 3:
        factor = _factors(rest, n_components, d, kind == TIED)
        log_likelihood, counts, sums, squares = full(x, row_weights, log_weights, mu, factor)
        _copy(squares, second)
        if guard_n > 0.0:
            for k in range(n_components):
                for i in range(d):
                    value += guard_n * math.log(factor[k, i, i])
                    for j in range(i + 1):
                        inner = 0.0
                        for l in range(i + 1):  # noqa: E741
                            inner += factor[k, i, l] * guard_second[l * d + j]
                        value -= 0.5 * inner * factor[k, i, j]
    else:
        inverse = np.empty((n_components, d))
        for k in range(n_components):
            for i in range(d):
                inverse[k, i] = math.exp(-rest[k if kind == SPHERICAL else k * d + i])
        log_likelihood, counts, sums, squares = diagonal(x, row_weights, log_weights, mu, inverse)
        _copy(squares, second)
        if guard_n > 0.0:
            for k in range(n_components):
                for i in range(d):
                    value += guard_n * math.log(inverse[k, i]) - 0.5 * inverse[k, i] ** 2 * guard_second[i]
    _copy(counts, n)
    _copy(sums, first)
    return log_likelihood, log_likelihood + value


@_compiled
def _update(kind, parts, theta, n_features, n_components, guard_n, guard_second, n, first, second, out):
    """Write the M-step from the statistics found at theta into out; False where a component has no spread left."""
    d, k_all = n_features, n_components
    total = 0.0
    for k in range(k_all):
        total += n[k]
    for k in range(k_all):
        out[k] = math.log(n[k] / total) if n[k] > 0.0 else -np.inf
    at_mu = k_all
    if second.ndim == 1:
        _natural_update(parts, theta[at_mu:], n, first, d, out[at_mu:])
        return True
    at_rest = at_mu + k_all * d
    for k in range(k_all):
        for i in range(d):
            shift = first[k * d + i] / n[k] if n[k] > 0.0 else 0.0
            out[at_mu + k * d + i] = theta[at_mu + k * d + i] + shift
    if second.ndim == 2:
        for k in range(k_all):
            rows = n[k] + guard_n
            pooled = 0.0
            for i in range(d):
                shift = first[k * d + i] / n[k] if n[k] > 0.0 else 0.0
                scatter = second[k, i] - first[k * d + i] * shift + guard_second[i]
                pooled += scatter
                if kind == DIAG:
                    at = at_rest + k * d + i
                    if not rows > 0.0:
                        out[at] = theta[at]
                    elif scatter > 0.0:
                        out[at] = 0.5 * math.log(scatter / rows)
                    else:
                        return False
            if kind == SPHERICAL:
                if not rows > 0.0:
                    out[at_rest + k] = theta[at_rest + k]
                elif pooled > 0.0:
                    out[at_rest + k] = 0.5 * math.log(pooled / (rows * d))
                else:
                    return False
        return True
    size = d * (d + 1) // 2
    matrix = np.zeros((d, d))
    all_rows = 0.0
    for k in range(k_all):
        at = at_rest + k * size
        rows = n[k] + guard_n
        all_rows += rows
        if kind == FULL:
            if not rows > 0.0:
                _copy(theta[at : at + size], out[at : at + size])
                continue
            matrix[:, :] = 0.0
        for i in range(d):
            shift = first[k * d + i] / n[k] if n[k] > 0.0 else 0.0
            for j in range(i + 1):
                scatter = second[k, i, j] - shift * first[k * d + j] + guard_second[i * d + j]
                matrix[i, j] += scatter / rows if kind == FULL else scatter
        if kind == FULL:
            if not _inverse_lower(matrix, d, out[at : at + size]):
                return False
    if kind == TIED:
        return _inverse_lower(matrix / all_rows, d, out[at_rest:])
    return True


@_compiled
def _thinnest(kind, theta, n_components, n_features):
    """Harmonic mean of the eigenvalues of a covariance, columns scaled to unit variance within components: smallest."""
    if kind == LINEAR:
        return 1.0
    d, k_all = n_features, n_components
    rest = theta[k_all + k_all * d :]
    within = np.zeros(d)
    if kind == DIAG or kind == SPHERICAL:
        for k in range(k_all):
            for i in range(d):
                within[i] += math.exp(theta[k] + 2.0 * rest[k if kind == SPHERICAL else k * d + i])
        thinnest = np.inf
        for k in range(k_all):
            total = 0.0
            for i in range(d):
                total += math.exp(-2.0 * rest[k if kind == SPHERICAL else k * d + i]) * within[i]
            thinnest = min(thinnest, d / total)
        return thinnest
    inverse = _factors(rest, k_all, d, kind == TIED)  # P
    for k in range(k_all):
        weight = math.exp(theta[k])
        lower = np.zeros((d, d))  # inverse of P: the variances are the squared lengths of its rows
        _invert_lower(inverse[k], lower)
        for i in range(d):
            for j in range(i + 1):
                within[i] += weight * lower[i, j] ** 2
    thinnest = np.inf
    for k in range(k_all):
        total = 0.0
        for i in range(d):
            for j in range(i + 1):
                total += inverse[k, i, j] ** 2 * within[j]
        thinnest = min(thinnest, d / total)
    return thinnest


@_compiled
def _length(new, old, scale):
    """Largest scaled difference; entries that are not finite (weights of zero) do not count."""
    longest = 0.0
    for i in range(new.shape[0]):
        step = abs(new[i] - old[i]) / scale[i]
        if step < np.inf:
            longest = max(longest, step)
    return longest


@_compiled
def _remember_rate(memory, step, previous):
    count = int(memory[_COUNT])
    memory[_RATES + count % N_RATES] = min(step / previous, 0.9999)
    memory[_COUNT] = count + 1


@_compiled
def _slowest_rate(memory):
    slowest = 0.5 if memory[_COUNT] < N_RATES else 0.0
    for i in range(min(int(memory[_COUNT]), N_RATES)):
        slowest = max(slowest, memory[_RATES + i])
    return slowest


@_compiled
def _all_finite(values):
    for value in values:
        if not np.isfinite(value):
            return False
    return True


@_compiled
def _usable(objective, n, first, second):
    return np.isfinite(objective) and _all_finite(n) and _all_finite(first) and _all_finite(second.reshape(second.size))


@_compiled
def begin(kind, parts, theta, x, row_weights, log_base_measure, guard_n, guard_second, n, first, second, memory):
    """Visit the start: False where it has no likelihood. n, first, second and memory are filled."""
    memory[:] = 0.0
    memory[_LONGEST] = 1.0
    memory[DISTANCE] = np.inf
    log_likelihood, objective = _visit(
        kind, parts, theta, x, row_weights, n.shape[0], guard_n, guard_second, n, first, second
    )
    memory[LOG_LIKELIHOOD] = log_likelihood + log_base_measure
    memory[OBJECTIVE] = objective + log_base_measure
    memory[_BEST] = memory[OBJECTIVE]
    return _usable(objective, n, first, second)


@_compiled
def _jump(theta0, theta1, theta2, scale, n_components, memory, out):
    """Write the extrapolation of two EM steps (SQUAREM, scheme S3) into out; False where there is none."""
    change, bend = 0.0, 0.0
    for i in range(out.shape[0]):
        change += ((theta1[i] - theta0[i]) / scale[i]) ** 2
        bend += ((theta2[i] - 2.0 * theta1[i] + theta0[i]) / scale[i]) ** 2
    length = math.sqrt(change / max(bend, 1e-300))
    if not (length < np.inf and length > 1.0):
        return False
    bounded = min(length, memory[_LONGEST])
    if bounded == memory[_LONGEST]:
        memory[_LONGEST] *= 4.0
    for i in range(out.shape[0]):
        first_step = theta1[i] - theta0[i]
        out[i] = theta0[i] + 2.0 * bounded * first_step + bounded**2 * (theta2[i] - theta1[i] - first_step)
    largest, total = out[:n_components].max(), 0.0
    for k in range(n_components):
        total += math.exp(out[k] - largest)
    for k in range(n_components):
        out[k] -= largest + math.log(total)
    return _all_finite(out)


@_compiled
def advance(
    kind, parts, theta, x, row_weights, log_base_measure, guard_n, guard_second, n, first, second, memory,
    scale, budget, tol, accelerate, rounding, noise, collapsed, trace,
):  # fmt: skip
    """Run EM on from theta for about `budget` updates: how it ended, updates made, entries of the trace written.

    theta, the statistics at theta and memory are changed in place. A cycle goes through up to three places: the first
    update, the extrapolation from two updates, and, where that is not taken, the second update. They are visited in one
    place of the code, because every call of a pass is compiled again.
    """
    k_all, d, size = n.shape[0], x.shape[1], theta.shape[0]
    n_new, first_new, second_new = np.empty_like(n), np.empty_like(first), np.empty_like(second)
    theta0, places = np.empty(size), np.empty((3, size))
    stage, step, previous = _FIRST, 0.0, 0.0
    made, written = 0, 0
    while made < budget or stage != _FIRST:
        if stage == _FIRST:
            made += 1
            if not _update(kind, parts, theta, d, k_all, guard_n, guard_second, n, first, second, places[_FIRST]):
                return COLLAPSED, made, written
        place = places[stage]
        log_likelihood, objective = _visit(
            kind, parts, place, x, row_weights, k_all, guard_n, guard_second, n_new, first_new, second_new
        )
        log_likelihood += log_base_measure
        objective += log_base_measure
        usable = _usable(objective, n_new, first_new, second_new)
        if stage == _EXTRAPOLATED:
            if not (usable and objective >= memory[OBJECTIVE]):
                memory[_LONGEST] = max(1.0, memory[_LONGEST] / 4.0)
                stage = _SECOND
                continue
        else:
            if not usable or _thinnest(kind, place, k_all, d) < collapsed:
                return COLLAPSED, made, written
            if stage == _FIRST:
                step, previous = _length(place, theta, scale), memory[_PREVIOUS]
                if previous > noise:
                    _remember_rate(memory, step, previous)
            memory[DISTANCE] = step / (1.0 - _slowest_rate(memory))
            if objective < memory[OBJECTIVE] - rounding:
                return STALLED, made, written
        _copy(theta, theta0)
        _copy(place, theta)
        _copy(n_new, n)
        _copy(first_new, first)
        _copy(second_new, second)
        memory[OBJECTIVE] = objective
        memory[LOG_LIKELIHOOD] = log_likelihood
        memory[_BEST] = max(memory[_BEST], objective)
        trace[written] = memory[_BEST]
        written += 1
        memory[DISTANCE] = step / (1.0 - _slowest_rate(memory))
        if stage != _FIRST:
            if memory[DISTANCE] <= tol:
                return CONVERGED, made, written
            stage = _FIRST
            continue
        if step == 0.0 or (previous > 0.0 and memory[DISTANCE] <= tol):
            return CONVERGED, made, written
        memory[_PREVIOUS] = step
        if not accelerate or made >= budget or not _all_finite(theta):
            continue

        made += 1
        theta2 = places[_SECOND]
        if not _update(kind, parts, theta, d, k_all, guard_n, guard_second, n, first, second, theta2):
            return COLLAPSED, made, written
        step = _length(theta2, theta, scale)
        if memory[_PREVIOUS] > noise:
            _remember_rate(memory, step, memory[_PREVIOUS])
        memory[_PREVIOUS] = 0.0  # the next step starts from an extrapolated point: no ratio across it
        jump = places[_EXTRAPOLATED]
        if _jump(theta0, theta, theta2, scale, k_all, memory, jump) and _thinnest(kind, jump, k_all, d) >= collapsed:
            stage = _EXTRAPOLATED
        else:
            memory[_LONGEST] = max(1.0, memory[_LONGEST] / 4.0)
            stage = _SECOND
    return RUNNING, made, written


@_compiled
def value_and_gradient(kind, parts, vector, x, row_weights, guard_n, guard_second, n, first, second):
    """Objective without the base measure, and its gradient, in free coordinates as `Likelihood.to_vector` has them.

    These are log ratios of the weights to the last one, (K - 1,), then the coordinates of ``theta``. The statistics are
    written into n, first, second.
    """
    k_all, d = n.shape[0], x.shape[1]
    theta = np.zeros(vector.shape[0] + 1)
    _copy(vector[: k_all - 1], theta[: k_all - 1])
    _copy(vector[k_all - 1 :], theta[k_all:])
    largest, total = theta[:k_all].max(), 0.0
    for k in range(k_all):
        total += math.exp(theta[k] - largest)
    for k in range(k_all):
        theta[k] -= largest + math.log(total)
    _, objective = _visit(kind, parts, theta, x, row_weights, k_all, guard_n, guard_second, n, first, second)
    gradient = np.zeros(vector.shape[0])
    all_rows = n.sum()
    for k in range(k_all - 1):
        gradient[k] = n[k] - all_rows * math.exp(theta[k])
    own = gradient[k_all - 1 :]
    if second.ndim == 1:
        _natural_gradient(parts, theta[k_all:], n, first, d, own)
        return objective, gradient
    mu = theta[k_all : k_all + k_all * d].copy().reshape((k_all, d))
    rest, of_rest = theta[k_all + k_all * d :], own[k_all * d :]
    sums = first.reshape((k_all, d))
    if second.ndim == 3:
        factor = _factors(rest, k_all, d, kind == TIED)
        squares = second + guard_second.reshape((d, d))
        of_mu, of_factor = full_score(mu, factor, n + guard_n, sums, squares)
        at = 0
        for k in range(k_all):
            if kind == TIED:
                at = 0
            for i in range(d):
                for j in range(i):
                    of_rest[at] += of_factor[k, i, j]
                    at += 1
                of_rest[at] += of_factor[k, i, i] * factor[k, i, i]
                at += 1
    else:
        inverse = np.empty((k_all, d))
        for k in range(k_all):
            for i in range(d):
                inverse[k, i] = math.exp(-rest[k if kind == SPHERICAL else k * d + i])
        squares = second + guard_second[:d]
        of_mu, of_inverse = diagonal_score(mu, inverse, n + guard_n, sums, squares)
        for k in range(k_all):
            for i in range(d):
                of_rest[k if kind == SPHERICAL else k * d + i] -= of_inverse[k, i] * inverse[k, i]
    for i in range(k_all * d):
        own[i] = of_mu[i // d, i % d]
    return objective, gradient
