r"""How the families of one column depend on covariates: one parameter is a function of the linear predictor eta.

==========================================================  =========================================================
family                                                      link
==========================================================  =========================================================
Normal, StudentT, Logistic, Gumbel, SkewNormal              mu = eta
LogNormal                                                   mu = eta, the mean of log y
Poisson, NegativeBinomial, Wald                             mu = exp(eta)
Gamma                                                       mean alpha / beta = exp(eta)
Exponential                                                 mean 1 / lam = exp(eta)
Weibull                                                     scale beta = exp(eta) (accelerated failure times)
HalfNormal                                                  sigma = exp(eta)
Bernoulli, Binomial                                         p = 1 / (1 + exp(-eta))
Geometric                                                   mean number of failures 1 / p - 1 = exp(eta)
==========================================================  =========================================================
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Link(NamedTuple):
    """How one parameter of a family comes from the linear predictor."""

    parameter: str  # the one that is not estimated by itself
    natural: Callable  # (xp, eta, other parameters) -> its value
    scale: Callable  # (family, y) -> what y is on the scale of eta, roughly: starts and priors look at it
    width: Callable | None = None  # (xp, other parameters) -> spread of a component; None if it cannot collapse
    density: Callable | None = None  # (xp, family, y, eta, other parameters), where the family's own would lose digits
    in_units: bool = False  # is eta in the units of what `scale` returns? Otherwise a logarithm
    normal: bool = False  # is `scale` of y normal about eta with standard deviation sigma?


def softplus(xp, eta):
    """Log(1 + exp(eta)), with two derivatives everywhere."""
    up = eta > 0
    return xp.where(up, eta, 0.0) + xp.log1p(xp.exp(xp.where(up, -eta, eta)))


def expit(xp, eta):
    """1 / (1 + exp(-eta))."""
    return xp.exp(-softplus(xp, -eta))


def _choose(xp, n, y):
    from .binomial import log_choose

    return log_choose(xp, n, y)


def _trials(family) -> int:
    return getattr(family, "n", 1)


def _poisson(xp, family, y, eta, other):
    return y * eta - xp.exp(eta) - xp.gammaln(y + 1.0)


def _gamma(xp, family, y, eta, other):
    alpha = other["alpha"]
    return alpha * (xp.log(alpha) - eta - y * xp.exp(-eta)) - xp.gammaln(alpha) + (alpha - 1.0) * xp.log(y)


def _exponential(xp, family, y, eta, other):
    return -eta - y * xp.exp(-eta)


def _binomial(xp, family, y, eta, other):
    n = _trials(family)
    constant = _choose(xp, n, y) if n > 1 else 0.0
    return y * eta - n * softplus(xp, eta) + constant


def _geometric(xp, family, y, eta, other):
    return (y - 1.0) * eta - y * softplus(xp, eta)


def _as_it_is(family, y):
    return y


def _logarithm(family, y):
    return np.log(y)


def _half_logarithm(family, y):
    """Log of y, halfway to the mean, so that zeros have one."""
    return np.log(0.5 * (y + np.mean(y)) + 1e-8 * np.max(np.abs(y)) + 1e-300)


def _logit(family, y):
    n = _trials(family)
    return np.log(y + 0.5) - np.log(n - y + 0.5)


def _failures(family, y):
    return np.log(y - 0.5)


def _location(width: str, name: str = "mu") -> Link:
    return Link(name, lambda xp, eta, other: eta, _as_it_is, lambda xp, other: other[width], in_units=True)


def _mean(**options: Any) -> Link:
    return Link("mu", lambda xp, eta, other: xp.exp(eta), _half_logarithm, **options)


LINKS = {
    "Normal": _location("sigma")._replace(normal=True),
    "StudentT": _location("sigma"),
    "Logistic": _location("s"),
    "Gumbel": _location("beta"),
    "SkewNormal": _location("sigma"),
    "LogNormal": _location("sigma")._replace(scale=_logarithm, normal=True),
    "Poisson": _mean(density=_poisson),
    "NegativeBinomial": _mean(),
    "Wald": _mean(width=lambda xp, other: 1.0 / xp.sqrt(other["lam"])),
    "Gamma": Link(
        "beta", lambda xp, eta, other: other["alpha"] * xp.exp(-eta), _half_logarithm,
        lambda xp, other: 1.0 / xp.sqrt(other["alpha"]), _gamma,
    ),
    "Exponential": Link("lam", lambda xp, eta, other: xp.exp(-eta), _half_logarithm, density=_exponential),
    "Weibull": Link(
        "beta", lambda xp, eta, other: xp.exp(eta), _half_logarithm, lambda xp, other: 1.0 / other["alpha"]
    ),
    "HalfNormal": Link("sigma", lambda xp, eta, other: xp.exp(eta), _half_logarithm),
    "Bernoulli": Link("p", lambda xp, eta, other: expit(xp, eta), _logit, density=_binomial),
    "Binomial": Link("p", lambda xp, eta, other: expit(xp, eta), _logit, density=_binomial),
    "Geometric": Link("p", lambda xp, eta, other: expit(xp, -eta), _failures, density=_geometric),
}  # fmt: skip
