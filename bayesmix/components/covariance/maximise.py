r"""M-steps of covariance structures that have no closed form, compiled: iterations to convergence.

With scatter :math:`W_k` of :math:`n_k` rows each of these minimises
:math:`\sum_k n_k \log|\Sigma_k| + \operatorname{tr}(W_k \Sigma_k^{-1})` over a set of matrices.
"""

import math

import numba
import numpy as np

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
TURN = 1e-12  # radians: angles shorter than this end the search for axes
SWEEPS = 500
ROUNDS = 20_000
SAME = 1e-14  # relative change of a volume that ends alternation
ANGLES = 16  # tried where a pair of axes is at a maximum instead


@_compiled
def proportional_variances(w, n, out):
    """Write variances lambda_k b_d (K, D) for scatter w (K, D) into out: Celeux & Govaert's (1995) VEI, A.2.

    The problem is convex in log lambda and log b; each is found in turn.
    """
    components, d = w.shape
    shape, volume = np.zeros(d), np.ones(components)
    for k in range(components):
        for i in range(d):
            shape[i] += w[k, i]
    for _ in range(ROUNDS):
        change = 0.0
        for k in range(components):
            total = 0.0
            for i in range(d):
                total += w[k, i] / shape[i]
            total /= d * n[k]
            change = max(change, abs(total / volume[k] - 1.0))
            volume[k] = total
        log_size = 0.0
        for i in range(d):
            shape[i] = 0.0
            for k in range(components):
                shape[i] += w[k, i] / volume[k]
            log_size += math.log(shape[i])
        size = math.exp(log_size / d)
        for i in range(d):
            shape[i] /= size
        if not change > SAME:
            break
    for k in range(components):
        volume[k] = 0.0
        for i in range(d):
            volume[k] += w[k, i] / shape[i]
        for i in range(d):
            out[k, i] = volume[k] / (d * n[k]) * shape[i]


@_compiled
def proportional_matrices(w, n, out):
    """Write covariances lambda_k C (K, D, D) for scatter w (K, D, D) into out: Celeux & Govaert's (1995) VEE, A.4.

    Convex along geodesics of positive matrices; each of lambda and C is found in turn. NaN where C is singular.
    """
    components, d, _ = w.shape
    volume, common, lower, inverse = np.ones(components), np.zeros((d, d)), np.zeros((d, d)), np.zeros((d, d))
    for _ in range(ROUNDS):
        common[:, :] = 0.0
        for k in range(components):
            for i in range(d):
                for j in range(d):
                    common[i, j] += w[k, i, j] / volume[k]
        log_size = 0.0
        for i in range(d):
            for j in range(i + 1):
                s = common[i, j]
                for l in range(j):  # noqa: E741
                    s -= lower[i, l] * lower[j, l]
                lower[i, j] = math.sqrt(s) if i == j else s / lower[j, j]
            log_size += math.log(lower[i, i])
        size = math.exp(2.0 * log_size / d)
        for j in range(d):
            for i in range(j, d):
                s = 1.0 if i == j else 0.0
                for l in range(j, i):  # noqa: E741
                    s -= lower[i, l] * inverse[l, j]
                inverse[i, j] = s / lower[i, i]
        change = 0.0
        for k in range(components):
            total = 0.0
            for i in range(d):
                for j in range(i + 1):
                    inner = 0.0
                    for l in range(i + 1):  # noqa: E741
                        inner += inverse[i, l] * w[k, l, j]
                    total += inner * inverse[i, j]
            total *= size / (d * n[k])
            change = max(change, abs(total / volume[k] - 1.0))
            volume[k] = total
        if not change > SAME:
            break
    for k in range(components):
        for i in range(d):
            for j in range(d):
                out[k, i, j] = volume[k] / size * common[i, j]


@_compiled
def _gain(w, n, means, i, j, angle, equal):
    """How much the criterion changes when axes i and j are turned by an angle: see `common_axes`."""
    c, s = math.cos(angle), math.sin(angle)
    total, before, rows = 0.0, 0.0, 0.0
    for k in range(w.shape[0]):
        a, b, m = w[k, i, i], w[k, j, j], w[k, i, j]
        log_ratio = math.log((c * c * a + s * s * b - 2.0 * c * s * m) / a)
        log_ratio += math.log((s * s * a + c * c * b + 2.0 * c * s * m) / b)
        if equal:
            total += means[k] * math.exp(log_ratio / w.shape[1])
            before += means[k]
            rows += n[k]
        else:
            total += n[k] * log_ratio
    return rows * w.shape[1] * math.log(total / before) if equal else total


@_compiled
def _turn(w, axes, i, j, angle):
    """Turn axes i and j, and what is measured along them."""
    c, s = math.cos(angle), math.sin(angle)
    d = w.shape[1]
    for p in range(d):
        x, y = axes[p, i], axes[p, j]
        axes[p, i], axes[p, j] = c * x - s * y, s * x + c * y
    for k in range(w.shape[0]):
        for p in range(d):
            x, y = w[k, p, i], w[k, p, j]
            w[k, p, i], w[k, p, j] = c * x - s * y, s * x + c * y
        for p in range(d):
            x, y = w[k, i, p], w[k, j, p]
            w[k, i, p], w[k, j, p] = c * x - s * y, s * x + c * y


@_compiled
def _best_angle(w, n, means, i, j, equal):
    """The angle by which to turn axes i and j: a Newton step, halved until it leads down; 0 where none does.

    Where the pair is at a maximum, the best of a few angles.
    """
    slope, bend, spread, rows = 0.0, 0.0, 0.0, 0.0
    total_mean, total_rows = 0.0, 0.0
    for k in range(w.shape[0]):
        total_mean += means[k]
        total_rows += n[k]
    for k in range(w.shape[0]):
        a, b, m = w[k, i, i], w[k, j, j], w[k, i, j]
        c = total_rows * means[k] / total_mean if equal else n[k]
        first = 2.0 * m * (1.0 / b - 1.0 / a)
        second = 2.0 * (a - b) * (a - b) / (a * b) - 4.0 * m * m * (1.0 / (a * a) + 1.0 / (b * b))
        slope += c * first
        bend += c * second
        spread += c * first * first
        rows += c
    if equal:
        bend += (spread - slope * slope / rows) / w.shape[1]
    if bend > 0.0 and abs(slope) < 0.4 * bend:
        angle = -slope / bend
        if abs(angle) < 1e-7:
            return angle
        for _ in range(30):
            if _gain(w, n, means, i, j, angle, equal) < 0.0:
                return angle
            angle *= 0.5
    best, angle = -1e-13 * rows, 0.0
    for step in range(1, ANGLES):
        tried = (step / ANGLES - 0.5) * math.pi
        gain = _gain(w, n, means, i, j, tried, equal)
        if gain < best:
            best, angle = gain, tried
    return angle


@_compiled
def common_axes(w, n, equal, axes):
    r"""Turn `axes` (D, D), and w (K, D, D) with them, to the common axes D of greatest expected likelihood, in place.

    w holds the scatter along the axes, :math:`D' W_k D`. With variances free along each axis (VVE) the criterion is
    :math:`\sum_k n_k \log|\operatorname{diag}(D' W_k D)|`, with equal volumes (EVE)
    :math:`n D \log \sum_k |\operatorname{diag}(D' W_k D)|^{1/D}`. Pairs of axes are turned in cycles, as Flury & Gautschi
    (1986) do, here by Newton steps on the angle; the optima are those of the MM steps of Browne & McNicholas (2014),
    which take many more iterations.
    """
    components, d, _ = w.shape
    means = np.empty(components)
    for _ in range(SWEEPS):
        longest = 0.0
        for i in range(d):
            for j in range(i):
                if equal:
                    for k in range(components):
                        log_size = 0.0
                        for p in range(d):
                            log_size += math.log(w[k, p, p])
                        means[k] = math.exp(log_size / d)
                else:
                    means[:] = 1.0
                angle = _best_angle(w, n, means, i, j, equal)
                if angle != 0.0:
                    _turn(w, axes, i, j, angle)
                longest = max(longest, abs(angle))
        if not longest > TURN:
            break
