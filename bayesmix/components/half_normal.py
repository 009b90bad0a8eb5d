"""Half-normal components on the positive line."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE, Priors
from .base import Parameter
from .positive import MEAN_NOTE, log_normal, variation_of
from .univariate import Univariate


@dataclass(frozen=True)
class HalfNormal(Univariate):
    r"""Half-normal components on one column: absolute values of normal ones about zero, of different widths.

    :math:`p(x) = \sqrt{2 / \pi}\, \sigma^{-1} e^{-x^2 / 2\sigma^2}` for x >= 0, with `sigma` > 0 of shape (cluster,), in
    the units of the data (Johnson, Kotz & Balakrishnan 1994, ch. 13.10): sigma^2 is the mean of x^2, and the mean
    sigma sqrt(2 / pi). The likelihood is bounded, but for rows that are exactly zero, onto which a component can collapse.

    Parameters
    ----------
    sigma : PreliZ distribution, optional
        Prior of the scales. By default log-normal: the means sigma sqrt(2 / pi) are half as variable again as the rows
        are. EM does not use it.

    Raises
    ------
    TypeError, ValueError
        If the prior is not a distribution of positive numbers.
    """

    sigma: object = None
    closed = True
    collapses_at_ends = True

    @property
    def parameters(self):
        """The scales sigma, (cluster,)."""
        return (Parameter("sigma", support=POSITIVE),)

    def support(self):
        """From zero, which belongs to it."""
        return POSITIVE

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 1), sigma (..., cluster) -> (..., obs, cluster)."""
        sigma = params["sigma"]
        xp = namespace(x, sigma)
        z = x / sigma
        return xp.where(x >= 0, 0.5 * np.log(2.0 / np.pi) - xp.log(sigma) - 0.5 * z * z, -np.inf)

    def log_tails(self, x, params):
        """The survival function is twice that of the normal distribution."""
        sigma = params["sigma"]
        xp = namespace(x, sigma)
        inside = x > 0
        above = np.log(2.0) + xp.log_ndtr(-xp.where(inside, x, 1.0) / sigma)
        return xp.where(inside, xp.log(-xp.expm1(above)), -np.inf), xp.where(inside, above, 0.0)

    def scipy(self, params):
        """`scipy.stats.halfnorm`."""
        from scipy.stats import halfnorm

        return halfnorm(scale=params["sigma"])

    def start(self, moments):
        """The root of the mean square."""
        return {"sigma": np.maximum(np.sqrt(moments.mean**2 + moments.variance), 1e-8 * moments.largest)}

    def spread(self, params):
        """Sigma."""
        return params["sigma"]

    def default_priors(self, data, n_components):
        """See the class."""
        rows = variation_of(data)
        sigma = log_normal(rows.median * np.sqrt(0.5 * np.pi), rows.width)
        return Priors({"sigma": sigma}, {"sigma": f"of the mean: {MEAN_NOTE}"})
