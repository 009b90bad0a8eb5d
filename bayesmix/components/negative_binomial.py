"""Negative binomial components for overdispersed counts."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from .counts import NegativeBinomialLaw
from .univariate import Univariate

LAW = NegativeBinomialLaw()


@dataclass(frozen=True)
class NegativeBinomial(Univariate):
    r"""Negative binomial components for overdispersed counts in one column.

    :math:`p(x) = \frac{\Gamma(x + \alpha)}{x!\, \Gamma(\alpha)} \left(\frac{\alpha}{\mu + \alpha}\right)^\alpha
    \left(\frac{\mu}{\mu + \alpha}\right)^x` for x = 0, 1, 2, ..., with mean `mu` > 0 and `alpha` > 0, each of shape
    (cluster,): the variance is mu + mu^2 / alpha, and alpha to infinity gives a Poisson distribution (Johnson, Kemp & Kotz
    2005, ch. 5). Off the support the log probability is -inf.

    Parameters
    ----------
    mu, alpha : PreliZ distribution, optional
        Priors of the Bayesian engines, the same for every component. By default mu has that of `Poisson`, and
        alpha ~ Gamma(2, 0.1), whose mode is 10. EM does not use them; its estimate of alpha goes up to 1 000 000, where a
        component is Poisson.

    Raises
    ------
    TypeError, ValueError
        If a prior is not a distribution of positive numbers.
    """

    mu: object = None
    alpha: object = None
    discrete = True

    @property
    def parameters(self):
        """Mu and alpha, (cluster,) each."""
        return LAW.parameters

    def log_density(self, x, params):
        """Log probability, in nats; x (..., obs, 1) counts, parameters (..., cluster) -> (..., obs, cluster)."""
        xp = namespace(x, *params.values())
        possible = LAW.is_possible(xp, x)
        return xp.where(possible, LAW.log_pmf(xp, xp.where(possible, x, 0.0), params), -np.inf)

    def log_tails(self, x, params):
        """Regularised incomplete beta functions (Abramowitz & Stegun 1964, 26.5.26)."""
        xp = namespace(x, *params.values())
        mu, alpha = params["mu"], params["alpha"]
        inside = x >= 0
        events = xp.floor(xp.where(inside, x, 0.0)) + 1.0
        logit = xp.log(alpha) - xp.log(mu)
        below, above = xp.log_betainc(alpha, events, logit), xp.log_betainc(events, alpha, -logit)
        return xp.where(inside, below, -np.inf), xp.where(inside, above, 0.0)

    def scipy(self, params):
        """`scipy.stats.nbinom`."""
        return LAW.scipy(params)

    def start(self, moments):
        """From both moments."""
        return LAW.start(moments.mean, moments.variance)

    def default_priors(self, data, n_components):
        """See the class."""
        return LAW.default_priors(data, n_components)
