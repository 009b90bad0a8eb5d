"""Logistic components on one column."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE
from .base import Parameter
from .univariate import Univariate, location_scale_priors

DEVIATIONS = np.pi / np.sqrt(3.0)  # standard deviation of a logistic distribution of scale 1


@dataclass(frozen=True)
class Logistic(Univariate):
    r"""Logistic components on one column: like normal ones, with tails like :math:`e^{-|x| / s}`.

    :math:`p(x) = \frac{e^{-z}}{s (1 + e^{-z})^2}` with :math:`z = (x - \mu) / s`: mean `mu` and scale `s` > 0, each of
    shape (cluster,) and in the units of the data (Johnson, Kotz & Balakrishnan 1995, ch. 23). The standard deviation is
    s pi / sqrt(3).

    Parameters
    ----------
    mu, s : PreliZ distribution, optional
        Priors of the Bayesian engines, the same for every component. By default mu ~ Normal(midrange, range), and
        s pi / sqrt(3) as the standard deviation of `Normal`. EM does not use them.

    Raises
    ------
    TypeError, ValueError
        If a prior is not a distribution, or puts mass where its parameter cannot be.
    """

    mu: object = None
    s: object = None

    @property
    def parameters(self):
        """Mu and s, (cluster,) each."""
        return Parameter("mu", moves=True), Parameter("s", support=POSITIVE)

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 1), parameters (..., cluster) -> (..., obs, cluster)."""
        xp = namespace(x, *params.values())
        z = (x - params["mu"]) / params["s"]
        below = xp.where(z < 0, z, -z)  # the density is symmetric, and exp of this cannot overflow
        return below - xp.log(params["s"]) - 2.0 * xp.log1p(xp.exp(below))

    def log_tails(self, x, params):
        """-log(1 + exp(-z)), and the same of -z."""
        xp = namespace(x, *params.values())
        z = (x - params["mu"]) / params["s"]
        left = z < 0
        rest = xp.log1p(xp.exp(xp.where(left, z, -z)))
        return xp.where(left, z, 0.0) - rest, xp.where(left, 0.0, -z) - rest

    def scipy(self, params):
        """`scipy.stats.logistic`."""
        from scipy.stats import logistic

        return logistic(params["mu"], params["s"])

    def start(self, moments):
        """The mean, and the scale of this variance."""
        return {"mu": moments.mean, "s": np.sqrt(moments.variance) / DEVIATIONS}

    def spread(self, params):
        """The standard deviation."""
        return DEVIATIONS * params["s"]

    def default_priors(self, data, n_components):
        """See the class."""
        return location_scale_priors(data, n_components, "mu", "s", DEVIATIONS)
