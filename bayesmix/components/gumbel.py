"""Gumbel components on one column: largest values."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE
from .base import Parameter
from .univariate import Univariate, location_scale_priors

DEVIATIONS = np.pi / np.sqrt(6.0)  # standard deviation of a Gumbel distribution of scale 1


@dataclass(frozen=True)
class Gumbel(Univariate):
    r"""Gumbel components on one column: the largest of many values, skewed to the right.

    :math:`p(x) = \frac{1}{\beta} e^{-z - e^{-z}}` with :math:`z = (x - \mu) / \beta`: mode `mu` and scale `beta` > 0,
    each of shape (cluster,) and in the units of the data (Johnson, Kotz & Balakrishnan 1995, ch. 22). The mean is
    mu + 0.5772 beta and the standard deviation beta pi / sqrt(6). For smallest values take the negative of the data.

    Parameters
    ----------
    mu, beta : PreliZ distribution, optional
        Priors of the Bayesian engines, the same for every component. By default mu ~ Normal(midrange, range), and
        beta pi / sqrt(6) as the standard deviation of `Normal`. EM does not use them.

    Raises
    ------
    TypeError, ValueError
        If a prior is not a distribution, or puts mass where its parameter cannot be.
    """

    mu: object = None
    beta: object = None

    @property
    def parameters(self):
        """Mu and beta, (cluster,) each."""
        return Parameter("mu", moves=True), Parameter("beta", support=POSITIVE)

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 1), parameters (..., cluster) -> (..., obs, cluster)."""
        xp = namespace(x, *params.values())
        z = (x - params["mu"]) / params["beta"]
        return -z - xp.exp(-z) - xp.log(params["beta"])

    def log_tails(self, x, params):
        """-exp(-z), and the logarithm of the complement."""
        xp = namespace(x, *params.values())
        z = (x - params["mu"]) / params["beta"]
        return -xp.exp(-z), xp.log1mexpexp(-z)

    def scipy(self, params):
        """`scipy.stats.gumbel_r`."""
        from scipy.stats import gumbel_r

        return gumbel_r(params["mu"], params["beta"])

    def start(self, moments):
        """Mode and scale of this mean and variance."""
        beta = np.sqrt(moments.variance) / DEVIATIONS
        return {"mu": moments.mean - np.euler_gamma * beta, "beta": beta}

    def spread(self, params):
        """The standard deviation."""
        return DEVIATIONS * params["beta"]

    def default_priors(self, data, n_components):
        """See the class."""
        return location_scale_priors(data, n_components, "mu", "beta", DEVIATIONS)
