"""Skew-normal components on one column."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE, Prior, Priors
from .base import Parameter
from .univariate import Univariate, location_scale_priors

MOST_SKEWED = 50.0  # alpha: beyond, the density is a half normal one, but for a fiftieth of sigma beside mu
LEAST_SKEWED = 0.3  # delta to start from: at delta 0 the gradient of alpha says nothing that mu does not
STRAIGHT = 0.2  # alpha below which a component may have stopped at alpha = 0
LARGEST_SKEWNESS = 0.9  # of data that start a component; the family reaches 0.9953


@dataclass(frozen=True)
class SkewNormal(Univariate):
    r"""Skew-normal components on one column: normal ones that lean to one side.

    :math:`p(x) = \frac{2}{\sigma} \phi(z) \Phi(\alpha z)` with :math:`z = (x - \mu) / \sigma`: location `mu`, scale
    `sigma` > 0 and shape `alpha`, each of shape (cluster,) (Azzalini 1985; in mixtures Lin, Lee & Yen 2007). Alpha 0 is
    the normal distribution, alpha > 0 leans to the right. Location and scale are in the units of the data, but are not mean
    and standard deviation: with :math:`\delta = \alpha / \sqrt{1 + \alpha^2}` these are
    :math:`\mu + \sigma \delta \sqrt{2 / \pi}` and :math:`\sigma \sqrt{1 - 2 \delta^2 / \pi}`. At alpha = 0 the information
    is singular: of data that are not skewed standard errors and intervals of mu and alpha say little.

    Parameters
    ----------
    mu, sigma, alpha : PreliZ distribution, optional
        Priors of the Bayesian engines, the same for every component. By default mu ~ Normal(midrange, range), sigma as
        for `Normal`, and alpha ~ Normal(0, 4). EM does not use them; its estimate of alpha goes from -50 to 50, where
        a component is a half normal distribution.

    Raises
    ------
    TypeError, ValueError
        If a prior is not a distribution, or puts mass where its parameter cannot be.
    """

    mu: object = None
    sigma: object = None
    alpha: object = None

    @property
    def parameters(self):
        """Mu, sigma and alpha, (cluster,) each."""
        alpha = Parameter("alpha", reach=(-MOST_SKEWED, MOST_SKEWED))
        return Parameter("mu", moves=True), Parameter("sigma", support=POSITIVE), alpha

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 1), parameters (..., cluster) -> (..., obs, cluster)."""
        xp = namespace(x, *params.values())
        z = (x - params["mu"]) / params["sigma"]
        normal = -0.5 * z * z - 0.5 * np.log(2.0 * np.pi) - xp.log(params["sigma"])
        return np.log(2.0) + normal + xp.log_ndtr(params["alpha"] * z)

    def scipy(self, params):
        """`scipy.stats.skewnorm`."""
        from scipy.stats import skewnorm

        return skewnorm(params["alpha"], params["mu"], params["sigma"])

    def beside_saddle(self, params):
        """Each component of hardly any skewness, leaned to either side at the same mean and standard deviation.

        At alpha = 0 the likelihood has a stationary point whatever the data (Azzalini 1985), mostly no maximum.
        """
        places = []
        for k in np.flatnonzero(np.abs(params["alpha"]) < STRAIGHT):
            shape = params["alpha"][k] / np.sqrt(1.0 + params["alpha"][k] ** 2)
            mean = params["mu"][k] + params["sigma"][k] * shape * np.sqrt(2.0 / np.pi)
            variance = params["sigma"][k] ** 2 * (1.0 - 2.0 * shape**2 / np.pi)
            for delta in (-2.0 * LEAST_SKEWED, -LEAST_SKEWED, LEAST_SKEWED, 2.0 * LEAST_SKEWED):
                leaned = {name: value.copy() for name, value in params.items()}
                leaned["mu"][k], leaned["sigma"][k], leaned["alpha"][k] = _of_moments(mean, variance, delta)
                places.append(leaned)
        return places

    def start(self, moments):
        """Method of moments (Azzalini 1985), skewness kept within what the family reaches and away from 0."""
        skewness = np.clip(moments.skewness, -LARGEST_SKEWNESS, LARGEST_SKEWNESS)
        power = np.abs(skewness) ** (2.0 / 3.0)
        size = np.sqrt(0.5 * np.pi * power / (power + (2.0 - 0.5 * np.pi) ** (2.0 / 3.0)))
        delta = np.copysign(np.maximum(size, LEAST_SKEWED), skewness)
        mu, sigma, alpha = _of_moments(moments.mean, moments.variance, delta)
        return {"mu": mu, "sigma": sigma, "alpha": alpha}

    def spread(self, params):
        """Sigma."""
        return params["sigma"]

    def sample(self, params, rng):
        """One value per row of the parameters, (rows, 1): delta abs(u) + sqrt(1 - delta^2) v of standard normal u and v."""
        alpha = params["alpha"]
        u, v = rng.standard_normal((2, *alpha.shape))
        value = (alpha * np.abs(u) + v) / np.sqrt(1.0 + alpha**2)
        return (params["mu"] + params["sigma"] * value)[:, None]

    def default_priors(self, data, n_components):
        """See the class."""
        shared = location_scale_priors(data, n_components, "mu", "sigma")
        note = "any skewness: half of them between -2.7 and 2.7, where it is 0.6 of the largest"
        return Priors({**shared, "alpha": Prior.of("Normal", mu=0.0, sigma=4.0)}, shared.notes | {"alpha": note})


def _of_moments(mean, variance, delta):
    """Mu, sigma and alpha of this mean, variance and delta."""
    sigma = np.sqrt(variance / (1.0 - 2.0 * delta**2 / np.pi))
    return mean - sigma * delta * np.sqrt(2.0 / np.pi), sigma, delta / np.sqrt(1.0 - delta**2)
