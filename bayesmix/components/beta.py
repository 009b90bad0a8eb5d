"""Beta components for shares between 0 and 1."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE, UNIT, Prior, Priors
from .base import Parameter
from .normal import moments
from .univariate import Univariate

LEAST_ROWS = 0.05  # alpha + beta that components start from, at least
PER_COMPONENT = 3.0  # how many components narrow the default priors, where their number is random


@dataclass(frozen=True)
class Beta(Univariate):
    r"""Beta components on one column of numbers between 0 and 1: shares, rates, probabilities.

    :math:`p(x) = \frac{\Gamma(\alpha + \beta)}{\Gamma(\alpha) \Gamma(\beta)} x^{\alpha - 1} (1 - x)^{\beta - 1}` for
    0 < x < 1, with `alpha` > 0 and `beta` > 0, each of shape (cluster,) (Johnson, Kotz & Balakrishnan 1995, ch. 25). The
    mean m is alpha / (alpha + beta) and the variance m (1 - m) / (alpha + beta + 1). Rows that are exactly 0 or 1 have no
    finite density under all components and are refused.

    Parameters
    ----------
    alpha, beta : PreliZ distribution, optional
        Priors of the Bayesian engines, the same for every component. By default log-normal with log standard deviation 1
        about the values of this mean, and of the data's variance / K^2. EM does not use them.

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
        """Between 0 and 1, which do not belong to it."""
        return UNIT

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 1), parameters (..., cluster) -> (..., obs, cluster)."""
        xp = namespace(x, *params.values())
        alpha, beta = params["alpha"], params["beta"]
        inside = (x > 0) & (x < 1)
        x = xp.where(inside, x, 0.5)
        constant = xp.gammaln(alpha + beta) - xp.gammaln(alpha) - xp.gammaln(beta)
        return xp.where(inside, constant + (alpha - 1.0) * xp.log(x) + (beta - 1.0) * xp.log1p(-x), -np.inf)

    def log_tails(self, x, params):
        """Regularised incomplete beta functions."""
        xp = namespace(x, *params.values())
        alpha, beta = params["alpha"], params["beta"]
        above, inside = x > 0, x < 1
        x = xp.where(above & inside, x, 0.5)
        logit = xp.log(x) - xp.log1p(-x)
        below, beyond = xp.log_betainc(alpha, beta, logit), xp.log_betainc(beta, alpha, -logit)
        return (
            xp.where(above, xp.where(inside, below, 0.0), -np.inf),
            xp.where(above, xp.where(inside, beyond, -np.inf), 0.0),
        )

    def scipy(self, params):
        """`scipy.stats.beta`."""
        from scipy.stats import beta

        return beta(params["alpha"], params["beta"])

    def start(self, moments):
        """Alpha and beta of this mean and variance."""
        alpha, beta = of_moments(moments.mean, moments.variance)
        return {"alpha": alpha, "beta": beta}

    def spread(self, params):
        """The standard deviation."""
        xp = namespace(*params.values())
        alpha, beta = params["alpha"], params["beta"]
        total = alpha + beta
        return xp.sqrt(alpha * beta / (total + 1.0)) / total

    def default_priors(self, data, n_components):
        """See the class."""
        return priors_about(of_moments, ("alpha", "beta"), data, n_components)


def of_moments(mean, variance):
    """Alpha and beta of a beta distribution of this mean and variance, as far as there is one."""
    total = np.maximum(mean * (1.0 - mean) / variance - 1.0, LEAST_ROWS)
    return mean * total, (1.0 - mean) * total


def priors_about(of_moments, names, data, n_components):
    """Log-normal default priors about the parameters of the data's mean, and their variance shared by the components."""
    mean, variance = (float(moment[0]) for moment in moments(data))
    centres = of_moments(mean, variance / (n_components or PER_COMPONENT) ** 2)
    return Priors(
        {
            name: Prior.of("LogNormal", POSITIVE, mu=float(np.log(centre)), sigma=1.0)
            for name, centre in zip(names, centres, strict=True)
        },
        {name: "mean of the data, and their variance / K^2" for name in names},
    )
