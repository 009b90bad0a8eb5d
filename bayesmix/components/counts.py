"""Laws of counts, for families that are one of them or one of them with another share of zeros.

A law knows its probabilities, its probability of zero with all its digits, SciPy's distribution, where its parameters
start from, and their default priors; `ZeroInflated` and `Hurdle` add what becomes of zeros.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..priors import POSITIVE, UNIT, Prior, Priors
from .base import Parameter
from .binomial import log_choose
from .poisson import Poisson

LARGE = 50.0  # alpha from which log Gamma is taken by its series
LEAST, MOST = 1e-8, 1e6  # how far EM goes: a mean of next to 0, and a dispersion of next to none
EDGE = 1e-8  # how near EM goes to a probability of 0 or 1


class Law(ABC):
    """A distribution of counts 0, 1, 2, ... with parameters that are single numbers."""

    parameters: tuple[Parameter, ...]
    most: float = np.inf  # largest count

    @abstractmethod
    def log_pmf(self, xp, x, params: dict):
        """Log probability of counts x in the support, in nats, by the functions of a namespace."""

    @abstractmethod
    def log_zero(self, xp, params: dict):
        """Log probability of 0, with its digits where it is close to 0 or far below."""

    @abstractmethod
    def scipy(self, params: dict) -> Any:
        """SciPy's frozen distribution at these parameters, which broadcast."""

    @abstractmethod
    def start(self, mean, variance) -> dict:
        """Rough parameters (cluster,) for counts with these moments."""

    @abstractmethod
    def default_priors(self, data, n_components) -> Priors:
        """Weakly informative priors made from the data."""

    def log_some(self, xp, params: dict):
        """Log probability of 1 or more."""
        return xp.log(-xp.expm1(self.log_zero(xp, params)))

    def is_possible(self, xp, x):
        """Is x in the support?"""
        possible = (x >= 0) & xp.equal(xp.floor(x), x)
        return possible & (x <= self.most) if np.isfinite(self.most) else possible


@dataclass(frozen=True)
class PoissonLaw(Law):
    """Rate `mu`."""

    parameters = (Parameter("mu", support=POSITIVE, reach=(LEAST, np.inf)),)

    def log_pmf(self, xp, x, params):
        """The rate's law (Johnson, Kemp & Kotz 2005, ch. 4)."""
        mu = params["mu"]
        return xp.xlogy(x, mu) - mu - xp.gammaln(x + 1.0)

    def log_zero(self, xp, params):
        """Minus the rate."""
        return -params["mu"]

    def scipy(self, params):
        """`scipy.stats.poisson`."""
        from scipy.stats import poisson

        return poisson(params["mu"])

    def start(self, mean, variance):
        """The mean."""
        return {"mu": np.maximum(mean, LEAST)}

    def default_priors(self, data, n_components):
        """Those of `Poisson`."""
        return Poisson().default_priors(data, n_components)


@dataclass(frozen=True)
class NegativeBinomialLaw(Law):
    """Mean `mu` and dispersion `alpha`: variance mu + mu^2 / alpha."""

    parameters = (
        Parameter("mu", support=POSITIVE, reach=(LEAST, np.inf)),
        Parameter("alpha", support=POSITIVE, reach=(1.0 / MOST, MOST)),
    )

    def log_pmf(self, xp, x, params):
        """The rising factorial of alpha over x!, times powers (Johnson, Kemp & Kotz 2005, ch. 5)."""
        mu, alpha = params["mu"], params["alpha"]
        return (
            log_rising_over_powers(xp, alpha, x)
            + x * (xp.log(mu) + xp.log1p(x / alpha) - xp.log1p(mu / alpha))
            - alpha * xp.log1p(mu / alpha)
            - xp.gammaln(x + 1.0)
        )

    def log_zero(self, xp, params):
        """Alpha log(alpha / (alpha + mu))."""
        return -params["alpha"] * xp.log1p(params["mu"] / params["alpha"])

    def scipy(self, params):
        """`scipy.stats.nbinom`."""
        from scipy.stats import nbinom

        return nbinom(params["alpha"], params["alpha"] / (params["alpha"] + params["mu"]))

    def start(self, mean, variance):
        """Both moments; where there is no more variance than a Poisson distribution has, little dispersion."""
        mean = np.maximum(mean, LEAST)
        excess = np.maximum(variance - mean, 1e-2 * mean)
        return {"mu": mean, "alpha": np.clip(mean**2 / excess, 0.1, 100.0)}

    def default_priors(self, data, n_components):
        """Mu as for `Poisson`; alpha from overdispersed to nearly Poisson."""
        of_mu = PoissonLaw().default_priors(data, n_components)
        alpha = Prior.of("Gamma", POSITIVE, alpha=2.0, beta=0.1)
        return Priors(
            {**of_mu, "alpha": alpha}, of_mu.notes | {"alpha": "mode 10: from overdispersed to nearly Poisson counts"}
        )


@dataclass(frozen=True)
class BinomialLaw(Law):
    """Successes out of `n` trials, of probability `p`."""

    n: int
    parameters = (Parameter("p", support=UNIT, reach=(EDGE, 1.0 - EDGE)),)

    @property
    def most(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """All trials."""
        return float(self.n)

    def log_pmf(self, xp, x, params):
        """The law of `Binomial`."""
        p = params["p"]
        return log_choose(xp, self.n, x) + x * xp.log(p) + (self.n - x) * xp.log1p(-p)

    def log_zero(self, xp, params):
        """N log(1 - p)."""
        return self.n * xp.log1p(-params["p"])

    def scipy(self, params):
        """`scipy.stats.binom`."""
        from scipy.stats import binom

        return binom(self.n, params["p"])

    def start(self, mean, variance):
        """The share of successes."""
        return {"p": np.clip(mean / self.n, 0.01, 0.99)}

    def default_priors(self, data, n_components):
        """Those of `Binomial`."""
        from .binomial import Binomial

        return Binomial(self.n).default_priors(data, n_components)


def log_rising_over_powers(xp, alpha, x):
    """Log Gamma(x + alpha) / (Gamma(alpha) (x + alpha)^x), without cancellation for large alpha: there by Stirling's series.

    It goes to 0 as alpha grows.
    """
    large = alpha > LARGE
    big, small = xp.where(large, alpha, LARGE), xp.where(large, 1.0, alpha)
    series = (big - 0.5) * xp.log1p(x / big) - x + _stirling(x + big) - _stirling(big)
    exact = xp.gammaln(x + small) - xp.gammaln(small) - x * xp.log(x + small)
    return xp.where(large, series, exact)


def _stirling(z):
    """What Stirling's formula for log Gamma leaves out (Abramowitz & Stegun 1964, 6.1.41)."""
    y = 1.0 / (z * z)
    return (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y / 1680))) / z
