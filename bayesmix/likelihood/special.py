"""Special functions for compiled passes: Numba has log-gamma and erfc, but not what the derivatives of densities need."""

import math

import numba
import numpy as np

VERSION = 3  # raise with every change here: Numba's cache on disk looks at the file of the outermost function only
_compiled = numba.njit(error_model="numpy")
_SQRT_HALF = math.sqrt(0.5)
_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)
_NATS = 45.0  # below its start, an integrand counts no more
_FAR = 25.0  # from here on the asymptotic series of Bessel functions are exact to rounding


@_compiled
def digamma(x):
    """Derivative of log Gamma at x > 0: recurrence up to 10, then Stirling's series (Abramowitz & Stegun 1964, 6.3.18)."""
    if not x > 0.0:
        return math.nan
    shift = 0.0
    while x < 10.0:
        shift -= 1.0 / x
        x += 1.0
    y = 1.0 / (x * x)
    series = y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y * (1 / 132 - y * (691 / 32760 - y / 12))))))
    return shift + math.log(x) - 0.5 / x - series


@_compiled
def trigamma(x):
    """Second derivative of log Gamma at x > 0 (Abramowitz & Stegun 1964, 6.4.12)."""
    if not x > 0.0:
        return math.nan
    shift = 0.0
    while x < 10.0:
        shift += 1.0 / (x * x)
        x += 1.0
    y = 1.0 / (x * x)
    series = y * (1 / 6 - y * (1 / 30 - y * (1 / 42 - y * (1 / 30 - y * (5 / 66 - y * (691 / 2730 - y * 7 / 6))))))
    return shift + (1.0 + 0.5 / x + series) / x


@_compiled
def log_ndtr(x):
    """Logarithm of the standard normal distribution function, to rounding in both tails (A. & S. 1964, 26.2.12)."""
    if x > 0.0:
        return math.log1p(-0.5 * math.erfc(x * _SQRT_HALF))
    if x > -30.0:
        return math.log(0.5 * math.erfc(-x * _SQRT_HALF))
    y = 1.0 / (x * x)
    series = 1.0 - y * (1.0 - 3.0 * y * (1.0 - 5.0 * y * (1.0 - 7.0 * y * (1.0 - 9.0 * y))))
    return -0.5 * x * x - math.log(-x) - _HALF_LOG_2PI + math.log(series)


@_compiled
def _scaled_bessel(order, x):
    """exp(-x) I_order(x), order 0 or 1, x >= 0: the power series (A. & S. 9.6.10), far out the asymptotic one (9.7.1)."""
    if x < _FAR:
        term = 1.0 if order == 0 else 0.5 * x
        total, quarter, k = term, 0.25 * x * x, 1.0
        while term > 1e-17 * total:
            term *= quarter / (k * (k + order))
            total += term
            k += 1.0
        return math.exp(-x) * total
    four = 4.0 * order * order
    term, total, k = 1.0, 1.0, 1.0
    while abs(term) > 1e-17 and k < 60.0:
        term *= -(four - (2.0 * k - 1.0) ** 2) / (k * 8.0 * x)
        total += term
        k += 1.0
    return total / math.sqrt(2.0 * math.pi * x)


@_compiled
def log_i0e(x):
    """Logarithm of exp(-x) I_0(x), x >= 0."""
    return math.log(_scaled_bessel(0, x))


@_compiled
def bessel_ratio(x):
    """I_1(x) / I_0(x), x >= 0: the mean resultant length of a von Mises distribution."""
    return _scaled_bessel(1, x) / _scaled_bessel(0, x)


# -- incomplete gamma functions --------------------------------------------------------------------------------------------
# With t of density t^(a-1) exp(-t) on one side of x, the derivative of log P or log Q in a is E[log t] - digamma(a), and
# the second one Var[log t] - trigamma(a): they are moments of y = |log t - log x|.


@_compiled
def _tail_moments(a, x, sign):
    """Log of the integral of exp(sign a y - x expm1(sign y)) over y > 0, and mean and variance of y, by 40 nodes.

    The logarithm of the integrand is concave; Newton's method finds from the far side where it has fallen far enough.
    """
    if sign > 0.0:
        away = x - a
        end = (math.sqrt(away * away + 2.0 * _NATS * x) - away) / x
    else:
        end = (x + _NATS) / a
    for _ in range(12):
        e = math.exp(sign * end)
        step = (sign * a * end - x * (e - 1.0) + _NATS) / (sign * (a - x * e))
        end -= step
        if abs(step) < 1e-3 * end:
            break
    total, first, second, half = 0.0, 0.0, 0.0, 0.5 * end
    for i in range(_NODES.shape[0]):
        y = half * (1.0 + _NODES[i])
        w = _WEIGHTS[i] * math.exp(sign * a * y - x * math.expm1(sign * y))
        total += w
        first += w * y
        second += w * y * y
    first /= total
    return math.log(total * half), first, second / total - first * first


@_compiled
def _lower_series(a, x):
    """Log P, and its first and second derivatives in a, from P = sum x^(a+n) exp(-x) / Gamma(a+n+1) (A. & S. 6.5.29)."""
    psi, psi_1, term, n = digamma(a + 1.0), trigamma(a + 1.0), 1.0, 0.0
    origin = psi  # about which the variance is taken
    total, first, second, third = 1.0, 0.0, 0.0, psi_1
    while term > 1e-18 * total and n < 2000.0:
        n += 1.0
        term *= x / (a + n)
        psi += 1.0 / (a + n)
        psi_1 -= 1.0 / ((a + n) * (a + n))
        total += term
        first += term * (psi - origin)
        second += term * (psi - origin) * (psi - origin)
        third += term * psi_1
    mean = first / total
    log_x = math.log(x)
    value = a * log_x - x - math.lgamma(a + 1.0) + math.log(total)
    return value, log_x - origin - mean, second / total - mean * mean - third / total


@_compiled
def _gammainc(a, x, upper):
    """Log P (or log Q, if `upper`) and its first and second derivatives in a; a > 0, x > 0."""
    if not (a > 0.0 and x >= 0.0):
        return math.nan, math.nan, math.nan
    if x == 0.0:
        return (0.0, 0.0, 0.0) if upper else (-math.inf, -math.inf, 0.0)
    if x == math.inf:
        return (-math.inf, 0.0, 0.0) if upper else (0.0, 0.0, 0.0)
    of_upper = x >= a + 1.0
    if of_upper or a > 30.0:
        sign = 1.0 if of_upper else -1.0
        log_total, mean, variance = _tail_moments(a, x, sign)
        log_x = math.log(x)
        value = a * log_x - x - math.lgamma(a) + log_total
        slope, bend = log_x + sign * mean - digamma(a), variance - trigamma(a)
    else:
        value, slope, bend = _lower_series(a, x)
    if of_upper == upper:
        return value, slope, bend
    odds = 1.0 / math.expm1(-value)  # of this side against the other
    other = -odds * slope
    value = math.log1p(-math.exp(value)) if value < -0.7 else math.log(-math.expm1(value))
    return value, other, -odds * (bend + slope * slope) - other * other


@_compiled
def log_gammainc(a, x):
    """Logarithm of the lower regularised incomplete gamma function P(a, x)."""
    return _gammainc(a, x, False)[0]


@_compiled
def log_gammaincc(a, x):
    """Logarithm of the upper regularised incomplete gamma function Q(a, x)."""
    return _gammainc(a, x, True)[0]


@_compiled
def gammainc_slope(a, x):
    """Derivative of log P(a, x) in a."""
    return _gammainc(a, x, False)[1]


@_compiled
def gammaincc_slope(a, x):
    """Derivative of log Q(a, x) in a."""
    return _gammainc(a, x, True)[1]


@_compiled
def gammainc_bend(a, x):
    """Second derivative of log P(a, x) in a."""
    return _gammainc(a, x, False)[2]


@_compiled
def gammaincc_bend(a, x):
    """Second derivative of log Q(a, x) in a."""
    return _gammainc(a, x, True)[2]


# -- incomplete beta function ----------------------------------------------------------------------------------------------
# With t of density t^(a-1) (1-t)^(b-1) below x, derivatives of log I_x(a, b) are moments of log t and log(1 - t), as above.
# The argument is u = logit(x), in which neither tail loses digits; above x it is log I_(1-x)(b, a), at -u.


@_compiled
def _log_expit(v):
    """Logarithm of 1 / (1 + exp(-v))."""
    return -math.log1p(math.exp(-v)) if v > 0.0 else v - math.log1p(math.exp(v))


@_compiled
def _log_beta(a, b):
    """Logarithm of the beta function; where one argument is large, by Stirling's series, as logarithms of Gamma cancel."""
    x, h = max(a, b), min(a, b)
    if x < 50.0:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    y, z = 1.0 / (x * x), 1.0 / ((x + h) * (x + h))
    at_x = (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y / 1680))) / x
    at_sum = (1 / 12 - z * (1 / 360 - z * (1 / 1260 - z / 1680))) / (x + h)
    return math.lgamma(h) - (x + h - 0.5) * math.log1p(h / x) - h * math.log(x) + h - at_sum + at_x


@_compiled
def _below(a, b, u):
    """Log I, and its derivatives in a, b, a a, a b and b b, for u below the mode or not far above: by quadrature in logits.

    The logarithm of the integrand a log t + b log(1 - t) is concave in v = logit(t); it bends about v = 0, where the
    pieces are short.
    """
    log_t, log_rest = _log_expit(u), _log_expit(-u)
    top = a * log_t + b * log_rest
    end = u - (top - _NATS) / a  # so far below u at least
    for _ in range(60):
        v = u - end
        short = a * _log_expit(v) + b * _log_expit(-v) - top + _NATS
        step = short / (a - (a + b) * math.exp(_log_expit(v)))
        end += step
        if abs(step) < 1e-3 * end:
            break
    low, total, first, second, both, one, two = u - end, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    while low < u:
        high = u
        for edge in (-36.0, -6.0, 6.0, 36.0):
            if low < edge < high:
                high = edge
        half = 0.5 * (high - low)
        for i in range(_NODES.shape[0]):
            v = low + half * (1.0 + _NODES[i])
            y, z = _log_expit(v) - log_t, _log_expit(-v) - log_rest
            w = half * _WEIGHTS[i] * math.exp(a * y + b * z)
            total += w
            one += w * y
            two += w * z
            first += w * y * y
            second += w * z * z
            both += w * y * z
        low = high
    one /= total
    two /= total
    psi, psi_1 = digamma(a + b), trigamma(a + b)
    return (
        top + math.log(total) - _log_beta(a, b),
        log_t + one - digamma(a) + psi,
        log_rest + two - digamma(b) + psi,
        first / total - one * one - trigamma(a) + psi_1,
        both / total - one * two + psi_1,
        second / total - two * two - trigamma(b) + psi_1,
    )


@_compiled
def _betainc(a, b, u):
    """Log I_x(a, b) at u = logit(x), and its derivatives in a, b, a a, a b and b b; a > 0, b > 0."""
    if not (a > 0.0 and b > 0.0) or math.isnan(u):
        return math.nan, math.nan, math.nan, math.nan, math.nan, math.nan
    if u == -math.inf:
        return -math.inf, 0.0, 0.0, 0.0, 0.0, 0.0
    if u == math.inf:
        return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    if a - (a + b) * math.exp(_log_expit(u)) >= -1.0:
        return _below(a, b, u)
    value, in_b, in_a, in_bb, in_ab, in_aa = _below(b, a, -u)
    odds = 1.0 / math.expm1(-value)
    of_a, of_b = -odds * in_a, -odds * in_b
    value = math.log1p(-math.exp(value)) if value < -0.7 else math.log(-math.expm1(value))
    return (
        value,
        of_a,
        of_b,
        -odds * (in_aa + in_a * in_a) - of_a * of_a,
        -odds * (in_ab + in_a * in_b) - of_a * of_b,
        -odds * (in_bb + in_b * in_b) - of_b * of_b,
    )


@_compiled
def log_betainc(a, b, u):
    """Logarithm of the regularised incomplete beta function at logit u."""
    return _betainc(a, b, u)[0]


@_compiled
def betainc_slope_a(a, b, u):
    """Derivative of `log_betainc` in a."""
    return _betainc(a, b, u)[1]


@_compiled
def betainc_slope_b(a, b, u):
    """Derivative of `log_betainc` in b."""
    return _betainc(a, b, u)[2]


@_compiled
def betainc_bend_aa(a, b, u):
    """Second derivative of `log_betainc` in a."""
    return _betainc(a, b, u)[3]


@_compiled
def betainc_bend_ab(a, b, u):
    """Derivative of `log_betainc` in a and b."""
    return _betainc(a, b, u)[4]


@_compiled
def betainc_bend_bb(a, b, u):
    """Second derivative of `log_betainc` in b."""
    return _betainc(a, b, u)[5]
