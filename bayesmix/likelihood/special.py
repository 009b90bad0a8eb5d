"""Special functions for compiled passes: Numba has log-gamma and erfc, but not what the derivatives of densities need."""

import math

import numba

VERSION = 1  # raise with every change here: Numba's cache on disk looks at the file of the outermost function only
_compiled = numba.njit(error_model="numpy")
_SQRT_HALF = math.sqrt(0.5)
_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
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
