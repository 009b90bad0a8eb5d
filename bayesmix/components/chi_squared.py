"""Chi-squared components on the positive line."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE, Priors
from .base import Parameter
from .positive import MEAN_NOTE, log_normal, variation_of
from .univariate import Univariate


@dataclass(frozen=True)
class ChiSquared(Univariate):
    r"""Chi-squared components on one column of positive numbers, which have no unit: sums of squares, test statistics.

    :math:`p(x) = x^{\nu/2 - 1} e^{-x/2} / (2^{\nu/2} \Gamma(\nu/2))` for x > 0, with the degrees of freedom `nu` > 0 of
    shape (cluster,) (Johnson, Kotz & Balakrishnan 1994, ch. 18): the mean is nu, the variance 2 nu. The likelihood is
    bounded.

    Parameters
    ----------
    nu : PreliZ distribution, optional
        Prior of the degrees of freedom, which are the means. By default log-normal, half as variable again as the rows
        are. EM does not use it.

    Raises
    ------
    TypeError, ValueError
        If the prior is not a distribution of positive numbers.
    """

    nu: object = None

    @property
    def parameters(self):
        """The degrees of freedom nu, (cluster,)."""
        return (Parameter("nu", support=POSITIVE),)

    def support(self):
        """The positive numbers."""
        return POSITIVE

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 1), nu (..., cluster) -> (..., obs, cluster)."""
        half = 0.5 * params["nu"]
        xp = namespace(x, half)
        inside = x > 0
        x = xp.where(inside, x, 1.0)
        return xp.where(inside, (half - 1.0) * xp.log(x) - 0.5 * x - half * np.log(2.0) - xp.gammaln(half), -np.inf)

    def log_tails(self, x, params):
        """Regularised incomplete gamma functions."""
        xp = namespace(x, *params.values())
        inside = x > 0
        x = xp.where(inside, x, 1.0)
        below, above = xp.log_gammainc(0.5 * params["nu"], 0.5 * x), xp.log_gammaincc(0.5 * params["nu"], 0.5 * x)
        return xp.where(inside, below, -np.inf), xp.where(inside, above, 0.0)

    def scipy(self, params):
        """`scipy.stats.chi2`."""
        from scipy.stats import chi2

        return chi2(params["nu"])

    def start(self, moments):
        """The mean."""
        return {"nu": moments.mean}

    def default_priors(self, data, n_components):
        """See the class."""
        rows = variation_of(data)
        return Priors({"nu": log_normal(rows.median, rows.width)}, {"nu": MEAN_NOTE})
