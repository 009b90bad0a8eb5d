"""Exponential components on the positive line."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE, Priors
from .base import Parameter
from .positive import MEAN_NOTE, log_normal, variation_of
from .univariate import Univariate


@dataclass(frozen=True)
class Exponential(Univariate):
    r"""Exponential components on one column: waiting times without memory; a mixture of them is hyperexponential.

    :math:`p(x) = \lambda e^{-\lambda x}` for x >= 0, with the rate `lam` > 0 of shape (cluster,), in one over the units
    of the data: the mean and the standard deviation are 1 / lam (Johnson, Kotz & Balakrishnan 1994, ch. 19). The
    likelihood is bounded, but for rows that are exactly zero, onto which a component can collapse.

    Parameters
    ----------
    lam : PreliZ distribution, optional
        Prior of the rates. By default log-normal: the means 1 / lam are half as variable again as the rows are. EM does
        not use it.

    Raises
    ------
    TypeError, ValueError
        If the prior is not a distribution of positive numbers.
    """

    lam: object = None
    closed = True
    collapses_at_ends = True

    @property
    def parameters(self):
        """The rates lam, (cluster,)."""
        return (Parameter("lam", support=POSITIVE),)

    def support(self):
        """From zero, which belongs to it."""
        return POSITIVE

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 1), lam (..., cluster) -> (..., obs, cluster)."""
        lam = params["lam"]
        xp = namespace(x, lam)
        return xp.where(x >= 0, xp.log(lam) - lam * x, -np.inf)

    def log_tails(self, x, params):
        """The survival function is exp(-lam x)."""
        lam = params["lam"]
        xp = namespace(x, lam)
        inside = x > 0
        x = xp.where(inside, x, 1.0)
        return (
            xp.where(inside, xp.log1mexpexp(xp.log(lam) + xp.log(x)), -np.inf),
            xp.where(inside, -lam * x, 0.0),
        )

    def scipy(self, params):
        """`scipy.stats.expon`."""
        from scipy.stats import expon

        return expon(scale=1.0 / params["lam"])

    def start(self, moments):
        """One over the mean."""
        return {"lam": 1.0 / np.maximum(moments.mean, 1e-8 * moments.largest)}

    def spread(self, params):
        """The root of the mean: its guard is the log density of imaginary rows that are exponential themselves."""
        xp = namespace(params["lam"])
        return 1.0 / xp.sqrt(params["lam"])

    def default_priors(self, data, n_components):
        """See the class."""
        rows = variation_of(data)
        return Priors({"lam": log_normal(1.0 / rows.median, rows.width)}, {"lam": f"of the mean 1 / lam: {MEAN_NOTE}"})
