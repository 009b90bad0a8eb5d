"""Pareto components above a known smallest value."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE, Priors
from .base import Parameter
from .positive import MEAN_NOTE, log_normal, variation_of
from .univariate import Univariate


@dataclass(frozen=True)
class Pareto(Univariate):
    r"""Pareto components on one column: power laws above a known smallest value m.

    :math:`p(x) = \alpha m^\alpha x^{-\alpha - 1}` for x >= m, with the tail index `alpha` > 0 of shape (cluster,)
    (Johnson, Kotz & Balakrishnan 1994, ch. 20): log(x / m) is exponential with rate alpha, and the mean is
    m alpha / (alpha - 1), for alpha > 1. The smallest value is no parameter but a setting, the same for all components:
    where the support depends on it, likelihoods have no derivative in it, and standard errors and gradients nothing to
    rest on. Its maximum likelihood estimate is the smallest row. The likelihood is bounded, but for rows that are exactly
    m, onto which a component can collapse.

    Parameters
    ----------
    m : float
        The smallest value possible, > 0, in the units of the data.
    alpha : PreliZ distribution, optional
        Prior of the tail indices. By default the one of `Exponential` for log(x / m). EM does not use it.

    Raises
    ------
    TypeError, ValueError
        If m is missing or not a positive number, or the prior not a distribution of positive numbers.
    """

    m: Any = None
    alpha: object = None
    closed = True
    collapses_at_ends = True

    def __post_init__(self):
        if self.m is None:
            raise TypeError(
                "Pareto needs m, the smallest value that is possible, a known number: bm.Pareto(m=1.0). If it is not known, "
                "take the smallest of your rows, bm.Pareto(m=x.min()): that is its maximum likelihood estimate."
            )
        if isinstance(self.m, bool) or not isinstance(self.m, int | float | np.number):
            raise TypeError(f"m={self.m!r} but Pareto needs one positive number, the same for all components.")
        if not 0 < self.m < np.inf:
            raise ValueError(f"m={self.m:g} but Pareto needs a smallest value that is positive and finite.")
        object.__setattr__(self, "m", float(self.m))
        super().__post_init__()

    @property
    def parameters(self):
        """The tail indices alpha, (cluster,)."""
        return (Parameter("alpha", support=POSITIVE),)

    def support(self):
        """From m, which belongs to it."""
        return self.m, np.inf

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 1), alpha (..., cluster) -> (..., obs, cluster)."""
        alpha = params["alpha"]
        xp = namespace(x, alpha)
        inside = x >= self.m
        x = xp.where(inside, x, self.m)
        return xp.where(inside, xp.log(alpha) - alpha * xp.log(x / self.m) - xp.log(x), -np.inf)

    def log_tails(self, x, params):
        """The survival function is (m / x)^alpha."""
        alpha = params["alpha"]
        xp = namespace(x, alpha)
        inside = x > self.m
        log_x = xp.log(xp.where(inside, x, 2.0 * self.m) / self.m)
        return (
            xp.where(inside, xp.log1mexpexp(xp.log(alpha) + xp.log(log_x)), -np.inf),
            xp.where(inside, -alpha * log_x, 0.0),
        )

    def scipy(self, params):
        """`scipy.stats.pareto`."""
        from scipy.stats import pareto

        return pareto(params["alpha"], scale=self.m)

    def start(self, moments):
        """The tail index of this mean."""
        return {"alpha": moments.mean / np.maximum(moments.mean - self.m, 1e-8 * moments.mean)}

    def spread(self, params):
        """The root of the mean of log(x / m): as for `Exponential`."""
        xp = namespace(params["alpha"])
        return 1.0 / xp.sqrt(params["alpha"])

    def default_priors(self, data, n_components):
        """See the class."""
        excess = variation_of(data, lambda x: np.log(x / self.m))
        alpha = log_normal(1.0 / excess.median, excess.width)
        return Priors({"alpha": alpha}, {"alpha": f"of 1 / alpha, the mean of log(x / m): {MEAN_NOTE}"})

    def pymc_dist(self, params):
        """PyMC's distribution of the same name, above m."""
        import pymc as pm

        return pm.Pareto.dist(params["alpha"], m=np.asarray(self.m))
