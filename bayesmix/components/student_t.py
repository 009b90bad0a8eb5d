"""Student t components on one column."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE, Prior, Priors
from .base import Parameter
from .univariate import Univariate, location_scale_priors

MOST_NORMAL = 1e4  # degrees of freedom: beyond, a t distribution is a normal one to 1e-4 in its kurtosis
NEAR_CENTRE = 1e-6  # scales from mu within which the distribution function is a line, to 1e-18


@dataclass(frozen=True)
class StudentT(Univariate):
    r"""Student t components on one column: normal ones with heavy tails.

    :math:`p(x) = \frac{\Gamma((\nu + 1) / 2)}{\Gamma(\nu / 2) \sqrt{\nu \pi}\, \sigma} (1 + z^2 / \nu)^{-(\nu + 1) / 2}`
    with :math:`z = (x - \mu) / \sigma`: degrees of freedom `nu` > 0, location `mu` and scale `sigma` > 0, each of shape
    (cluster,) (Peel & McLachlan 2000; Johnson, Kotz & Balakrishnan 1995, ch. 28). Location and scale are in the units of
    the data; the standard deviation is sigma sqrt(nu / (nu - 2)), for nu > 2.

    Parameters
    ----------
    nu, mu, sigma : PreliZ distribution, optional
        Priors of the Bayesian engines, the same for every component. By default nu ~ Gamma(2, 0.1) (Juárez & Steel 2010),
        mu ~ Normal(midrange, range), and sigma as for `Normal`. EM does not use them; its
        estimate of nu goes up to 10 000, where a component is normal.

    Raises
    ------
    TypeError, ValueError
        If a prior is not a distribution, or puts mass where its parameter cannot be.
    """

    nu: object = None
    mu: object = None
    sigma: object = None

    @property
    def parameters(self):
        """Mu, sigma and nu, (cluster,) each."""
        nu = Parameter("nu", support=POSITIVE, reach=(0.0, MOST_NORMAL))
        return Parameter("mu", moves=True), Parameter("sigma", support=POSITIVE), nu

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 1), parameters (..., cluster) -> (..., obs, cluster)."""
        xp = namespace(x, *params.values())
        nu, sigma = params["nu"], params["sigma"]
        z = (x - params["mu"]) / sigma
        constant = _log_gamma_ratio(xp, 0.5 * nu) - 0.5 * xp.log(np.pi * nu) - xp.log(sigma)
        return constant - (0.5 * nu + 0.5) * xp.log1p(z * z / nu)

    def log_tails(self, x, params):
        """Half of an incomplete beta function beyond abs(z) (Abramowitz & Stegun 1964, 26.7.1), and the complement."""
        xp = namespace(x, *params.values())
        z = (x - params["mu"]) / params["sigma"]
        nu, left = params["nu"], z < 0
        size = xp.where(left, -z, z)
        near = size < NEAR_CENTRE
        beyond = xp.log_betainc(0.5 * nu, 0.5, xp.log(nu) - 2.0 * xp.log(xp.where(near, 1.0, size))) - np.log(2.0)
        slope = xp.exp(_log_gamma_ratio(xp, 0.5 * nu) - 0.5 * xp.log(np.pi * nu))  # the density at the centre
        beyond = xp.where(near, xp.log(0.5 - slope * xp.where(near, size, 0.0)), beyond)
        rest = xp.log1p(-xp.exp(beyond))
        return xp.where(left, beyond, rest), xp.where(left, rest, beyond)

    def scipy(self, params):
        """`scipy.stats.t`."""
        from scipy.stats import t

        return t(params["nu"], params["mu"], params["sigma"])

    def start(self, moments):
        """The mean, and the scale of a t distribution of 8 degrees of freedom with this variance."""
        return {"mu": moments.mean, "sigma": np.sqrt(0.75 * moments.variance), "nu": 8.0}

    def spread(self, params):
        """Sigma."""
        return params["sigma"]

    def default_priors(self, data, n_components):
        """See the class."""
        shared = location_scale_priors(data, n_components, "mu", "sigma")
        nu = Prior.of("Gamma", POSITIVE, alpha=2.0, beta=0.1)
        return Priors({**shared, "nu": nu}, shared.notes | {"nu": "Juárez & Steel (2010)"})


def _log_gamma_ratio(xp, x):
    """Log Gamma(x + 1/2) - log Gamma(x); for large x by its series (Tricomi & Erdelyi 1951), as the two cancel."""
    large = x > 50.0
    small, big = xp.where(large, 1.0, x), xp.where(large, x, 50.0)
    y = 1.0 / (big * big)
    series = 0.5 * xp.log(big) - (1 / 8 - y * (1 / 192 - y * (1 / 640 - y * 17 / 14336))) / big
    return xp.where(large, series, xp.gammaln(small + 0.5) - xp.gammaln(small))
