"""Weibull components on the positive line."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE, Priors
from .base import Parameter
from .positive import MEAN_NOTE, log_normal, variation_of
from .univariate import Univariate

POWER = -1.086  # shape = variation ** POWER, to 3% for shapes from 1 to 10 (Justus et al. 1978, eq. 16)


@dataclass(frozen=True)
class Weibull(Univariate):
    r"""Weibull components on one column of positive numbers: lifetimes.

    :math:`p(x) = (\alpha / \beta) (x / \beta)^{\alpha - 1} e^{-(x / \beta)^\alpha}` for x > 0, with the shape `alpha` > 0
    and the scale `beta` > 0, each of shape (cluster,), beta in the units of the data (Johnson, Kotz & Balakrishnan 1994,
    ch. 21). Beta is the quantile at 1 - 1/e; the hazard rises for alpha > 1. A component collapses where alpha grows
    without bound, on tied values.

    Parameters
    ----------
    alpha, beta : PreliZ distribution, optional
        Priors of the Bayesian engines, the same for every component. By default log-normal: alpha about the shape of
        components that are K times less variable than the data, beta half as variable again as the rows are. EM does
        not use them.

    Raises
    ------
    TypeError, ValueError
        If a prior is not a distribution of positive numbers.
    """

    alpha: object = None
    beta: object = None

    @property
    def parameters(self):
        """Alpha and beta, (cluster,) each."""
        return Parameter("alpha", support=POSITIVE), Parameter("beta", support=POSITIVE)

    def support(self):
        """The positive numbers."""
        return POSITIVE

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 1), parameters (..., cluster) -> (..., obs, cluster)."""
        xp = namespace(x, *params.values())
        alpha = params["alpha"]
        inside = x > 0
        log_x = xp.log(xp.where(inside, x, 1.0))
        log_power = alpha * (log_x - xp.log(params["beta"]))
        return xp.where(inside, xp.log(alpha) + log_power - log_x - xp.exp(log_power), -np.inf)

    def log_tails(self, x, params):
        """The survival function is exp(-(x / beta)^alpha)."""
        xp = namespace(x, *params.values())
        inside = x > 0
        log_power = params["alpha"] * (xp.log(xp.where(inside, x, 1.0)) - xp.log(params["beta"]))
        return xp.where(inside, xp.log1mexpexp(log_power), -np.inf), xp.where(inside, -xp.exp(log_power), 0.0)

    def scipy(self, params):
        """`scipy.stats.weibull_min`."""
        from scipy.stats import weibull_min

        return weibull_min(params["alpha"], scale=params["beta"])

    def start(self, moments):
        """The shape by the coefficient of variation, then the scale by the mean."""
        from scipy.special import gamma

        alpha = np.maximum(np.sqrt(moments.variance) / moments.mean, 1e-8) ** POWER
        return {"alpha": alpha, "beta": moments.mean / gamma(1.0 + 1.0 / alpha)}

    def spread(self, params):
        """1 / alpha: the width in log x, up to a number."""
        return 1.0 / params["alpha"]

    def default_priors(self, data, n_components):
        """See the class."""
        rows = variation_of(data)
        return Priors(
            {
                "alpha": log_normal(rows.within(n_components) ** POWER, 0.5),
                "beta": log_normal(rows.median, rows.width),
            },
            {
                "alpha": "components that vary K times less than the data (shape by Justus et al. 1978)",
                "beta": MEAN_NOTE,
            },
        )
