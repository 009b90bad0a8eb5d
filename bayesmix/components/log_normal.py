"""Log-normal components on the positive line."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE, Prior, Priors
from .base import Parameter
from .normal import moments
from .positive import WIDER, changed
from .univariate import Univariate, scale_prior


@dataclass(frozen=True)
class LogNormal(Univariate):
    r"""Log-normal components on one column of positive numbers: log x has a normal distribution.

    :math:`p(x) = (2\pi)^{-1/2} (x \sigma)^{-1} e^{-z^2 / 2}` with :math:`z = (\log x - \mu) / \sigma` for x > 0: `mu` and
    `sigma` > 0, each of shape (cluster,), are mean and standard deviation of log x (Johnson, Kotz & Balakrishnan 1994,
    ch. 14). The median is exp(mu), in the units of the data. A component collapses where sigma goes to zero, on tied
    values.

    Parameters
    ----------
    mu, sigma : PreliZ distribution, optional
        Priors of the Bayesian engines, the same for every component. By default mu ~ Normal with the mean of log x
        and 1.5 times its standard deviation over the data, and sigma as for `Normal` on log x. EM does not use them.

    Raises
    ------
    TypeError, ValueError
        If a prior is not a distribution, or puts mass where its parameter cannot be.
    """

    mu: object = None
    sigma: object = None

    @property
    def parameters(self):
        """Mu and sigma, (cluster,) each."""
        return Parameter("mu", moves=True), Parameter("sigma", support=POSITIVE)

    def support(self):
        """The positive numbers."""
        return POSITIVE

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 1), parameters (..., cluster) -> (..., obs, cluster)."""
        xp = namespace(x, *params.values())
        inside = x > 0
        log_x = xp.log(xp.where(inside, x, 1.0))
        z = (log_x - params["mu"]) / params["sigma"]
        return xp.where(inside, -0.5 * z * z - xp.log(params["sigma"]) - log_x - 0.5 * np.log(2.0 * np.pi), -np.inf)

    def log_tails(self, x, params):
        """Those of the normal distribution at log x."""
        xp = namespace(x, *params.values())
        inside = x > 0
        z = (xp.log(xp.where(inside, x, 1.0)) - params["mu"]) / params["sigma"]
        return xp.where(inside, xp.log_ndtr(z), -np.inf), xp.where(inside, xp.log_ndtr(-z), 0.0)

    def scipy(self, params):
        """`scipy.stats.lognorm`."""
        from scipy.stats import lognorm

        return lognorm(params["sigma"], scale=np.exp(params["mu"]))

    def start(self, moments):
        """The parameters of this mean and variance."""
        squared = np.log1p(moments.variance / moments.mean**2)
        return {"mu": np.log(moments.mean) - 0.5 * squared, "sigma": np.sqrt(squared)}

    def spread(self, params):
        """Sigma."""
        return params["sigma"]

    def default_priors(self, data, n_components):
        """See the class."""
        logarithms = changed(data, np.log)
        mean, variance = (float(moment[0]) for moment in moments(logarithms))
        sigma, note = scale_prior(logarithms, n_components)
        mu = Prior.of("Normal", mu=mean, sigma=WIDER * np.sqrt(variance))
        of_mu = "mean of log x, and 1.5 times its standard deviation"
        return Priors({"mu": mu, "sigma": sigma}, {"mu": of_mu, "sigma": f"of log x: {note}"})
