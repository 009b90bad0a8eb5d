"""Newton's method up the expected log-likelihood of components whose parameters are single numbers; a step is compiled.

Free coordinates phi of a parameter theta: itself, log(theta - low), or log((theta - low) / (high - theta)), whichever
its interval (low, high) asks for. Components do not share parameters, so that each takes a step of its own.
"""

import math

import numba
import numpy as np

VERSION = 2  # raise with every change here: Numba's cache on disk looks at the file of the outermost function only
LONGEST = 2.0  # largest change of a coordinate in a step, in its own scale
_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")  # no reassociation: copies round alike


@_compiled
def to_free(theta, low, high):
    """The free coordinate of a parameter in an interval."""
    if low > -math.inf and high < math.inf:
        return math.log(theta - low) - math.log(high - theta)
    return math.log(theta - low) if low > -math.inf else theta


@_compiled
def from_free(phi, low, high):
    """The parameter at a free coordinate."""
    if low > -math.inf and high < math.inf:
        if phi >= 0.0:
            return low + (high - low) / (1.0 + math.exp(-phi))
        e = math.exp(phi)
        return low + (high - low) * e / (1.0 + e)
    return low + math.exp(phi) if low > -math.inf else phi


@_compiled
def slopes(theta, low, high):
    """First and second derivative of the parameter in its free coordinate."""
    if low > -math.inf and high < math.inf:
        slope = (theta - low) * (high - theta) / (high - low)
        return slope, slope * (low + high - 2.0 * theta) / (high - low)
    return (theta - low, theta - low) if low > -math.inf else (1.0, 0.0)


@_compiled
def newton(a, n, first, second, low, high, least, most, scale):
    """Coordinates (K, P) after one step, and the gain in nats that it promises.

    a (K, P) parameters, n (K,) rows of each component, first (K, P) and second (K, P, P) derivatives of the objective in
    the parameters, scale (K, P) lengths of the coordinates. Where the Hessian is not negative, its sign is turned in
    those directions (so that the step leads up), and no coordinate moves by more than `LONGEST`. Parameters at `least` or
    `most` (P,) whose gradient leads beyond stay, the others step as if they were known. A component without rows stays.
    """
    n_components, p = a.shape
    moved, gain = np.empty((n_components, p)), 0.0
    slope, hessian, gradient = np.empty(p), np.empty((p, p)), np.empty(p)
    for k in range(n_components):
        for i in range(p):
            moved[k, i] = to_free(a[k, i], low[i], high[i])
        if not n[k] > 0.0:
            continue
        for i in range(p):
            slope[i], bend = slopes(a[k, i], low[i], high[i])
            gradient[i] = first[k, i] * slope[i] * scale[k, i]
            hessian[i, i] = first[k, i] * bend * scale[k, i] * scale[k, i]
            for j in range(i):
                hessian[i, j] = 0.0
                hessian[j, i] = 0.0
        finite = True
        for i in range(p):
            for j in range(p):
                hessian[i, j] += second[k, i, j] * slope[i] * slope[j] * scale[k, i] * scale[k, j]
                finite = finite and math.isfinite(hessian[i, j])
            finite = finite and math.isfinite(gradient[i])
        if not finite:
            continue
        for i in range(p):
            if (a[k, i] <= least[i] and gradient[i] < 0.0) or (a[k, i] >= most[i] and gradient[i] > 0.0):
                gradient[i] = 0.0
                for j in range(p):
                    hessian[i, j] = 0.0
                    hessian[j, i] = 0.0
                hessian[i, i] = -n[k]
        curvature, directions = np.linalg.eigh(-hessian)
        flattest = 1e-8 * max(np.max(np.abs(curvature)), 1e-12 * n[k])
        inside = directions.T @ gradient
        for i in range(p):
            size = max(abs(curvature[i]), flattest)
            gain += 0.5 * inside[i] * inside[i] / size
            inside[i] /= size
        step = directions @ inside
        longest = np.max(np.abs(step))
        shrink = min(1.0, LONGEST / longest) if longest > 0.0 else 1.0
        for i in range(p):
            moved[k, i] += shrink * step[i] * scale[k, i]
    return moved, gain


@_compiled
def parameters_at(moved, low, high, least, most):
    """Parameters (K, P) at free coordinates (K, P), none below `least` (P,) or above `most`."""
    a = np.empty_like(moved)
    for k in range(moved.shape[0]):
        for i in range(moved.shape[1]):
            a[k, i] = min(max(from_free(moved[k, i], low[i], high[i]), least[i]), most[i])
    return a


@_compiled
def coordinates_of(a, low, high):
    """Free coordinates (K, P) of parameters (K, P)."""
    moved = np.empty_like(a)
    for k in range(a.shape[0]):
        for i in range(a.shape[1]):
            moved[k, i] = to_free(a[k, i], low[i], high[i])
    return moved


def maximise(functions, x, responsibilities, a, guard, bounds, moves, most_steps, settled):
    """Parameters (K, P) that maximise the expected log-likelihood plus the guard, from `a` (K, P) on, and its value there.

    functions: of a written pass (`bayesmix.likelihood.generate`); x: rows as it reads them; responsibilities (obs, K); guard:
    its rows and their squares; bounds: low, high, least and most of each parameter; moves (P,): which are measured in widths
    of their component. Ends where a step promises less than `settled` nats a row. Only what is called here is compiled: the
    loop would have to be compiled for each family anew.
    """
    low, high, least, most = bounds

    def visit(a):
        value, first, second = functions.complete(x, responsibilities, a)
        if guard[0] > 0.0:
            of_guard = functions.guard(a, *guard)
            return value.sum() + of_guard[0].sum(), first + of_guard[1], second + of_guard[2]
        return value.sum(), first, second

    with np.errstate(all="ignore"):
        n = responsibilities.sum(axis=0)
        best, first, second = visit(a)
        for _ in range(most_steps):
            scale = np.where(moves, functions.widths(a)[:, None], 1.0)
            here = coordinates_of(a, low, high)
            there, gain = newton(a, n, first, second, low, high, least, most, scale)
            for _ in range(40):
                candidate = parameters_at(there, low, high, least, most)
                value, first, second = visit(candidate)
                if value >= best:
                    break
                there = here + 0.25 * (there - here)
            else:
                break
            a, best = candidate, value
            if gain < settled * max(n.sum(), 1.0):
                break
    return a, best
