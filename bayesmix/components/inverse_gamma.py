"""Inverse gamma components on the positive line."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE, Priors
from .base import Parameter
from .positive import MEAN_NOTE, PRECISION_NOTE, log_normal, proportional, variation_of
from .univariate import Univariate


@dataclass(frozen=True)
class InverseGamma(Univariate):
    r"""Inverse gamma components on one column of positive numbers: 1 / x has a gamma distribution.

    :math:`p(x) = \beta^\alpha x^{-\alpha - 1} e^{-\beta / x} / \Gamma(\alpha)` for x > 0, with the shape `alpha` > 0 and
    the scale `beta` > 0, each of shape (cluster,), beta in the units of the data (Gelman et al. 2013, app. A). The tail
    falls like :math:`x^{-\alpha-1}`: the mean is beta / (alpha - 1), for alpha > 1. A component collapses where alpha
    grows without bound, on tied values.

    Parameters
    ----------
    alpha, beta : PreliZ distribution, optional
        Priors of the Bayesian engines, the same for every component. By default those of `Gamma` for 1 / x. EM does not
        use them.

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
        alpha, beta = params["alpha"], params["beta"]
        inside = x > 0
        x = xp.where(inside, x, 1.0)
        value = alpha * xp.log(beta) - xp.gammaln(alpha) - (alpha + 1.0) * xp.log(x) - beta * (1.0 / x)
        return xp.where(inside, value, -np.inf)

    def log_tails(self, x, params):
        """Regularised incomplete gamma functions, of 1 / x."""
        xp = namespace(x, *params.values())
        inside = x > 0
        inverse = params["beta"] / xp.where(inside, x, 1.0)
        below, above = xp.log_gammaincc(params["alpha"], inverse), xp.log_gammainc(params["alpha"], inverse)
        return xp.where(inside, below, -np.inf), xp.where(inside, above, 0.0)

    def scipy(self, params):
        """`scipy.stats.invgamma`."""
        from scipy.stats import invgamma

        return invgamma(params["alpha"], scale=params["beta"])

    def start(self, moments):
        """The shape and scale of this mean and variance."""
        alpha = 2.0 + moments.mean**2 / moments.variance
        return {"alpha": alpha, "beta": moments.mean * (alpha - 1.0)}

    def spread(self, params):
        """The coefficient of variation of 1 / x."""
        xp = namespace(params["alpha"])
        return 1.0 / xp.sqrt(params["alpha"])

    def default_priors(self, data, n_components):
        """See the class."""
        inverse = variation_of(data, np.reciprocal)
        return Priors(
            {
                "alpha": log_normal(inverse.within(n_components) ** -2, 1.0),
                "beta": proportional("alpha", 1.0 / inverse.median, inverse.width),
            },
            {"alpha": f"of 1 / x: {PRECISION_NOTE}", "beta": f"of alpha / beta, the mean of 1 / x: {MEAN_NOTE}"},
        )
