"""Wald, or inverse Gaussian, components on the positive line."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE, Priors
from .base import Parameter
from .positive import MEAN_NOTE, PRECISION_NOTE, log_normal, proportional, variation_of
from .univariate import Univariate


@dataclass(frozen=True)
class Wald(Univariate):
    r"""Wald (inverse Gaussian) components on one column of positive numbers: times at which a drift reaches a level.

    :math:`p(x) = \sqrt{\lambda / 2 \pi x^3}\, e^{-\lambda (x - \mu)^2 / 2 \mu^2 x}` for x > 0, with the mean `mu` > 0 and
    `lam` > 0, each of shape (cluster,) and in the units of the data (Johnson, Kotz & Balakrishnan 1994, ch. 15). The
    squared coefficient of variation is mu / lam. A component collapses where lam grows without bound, on tied values.

    Parameters
    ----------
    mu, lam : PreliZ distribution, optional
        Priors of the Bayesian engines, the same for every component. By default log-normal: mu half as variable again as the
        rows are, and lam / mu, given mu, about that of components that are K times less variable than the
        data. EM does not use them.

    Raises
    ------
    TypeError, ValueError
        If a prior is not a distribution of positive numbers.
    """

    mu: object = None
    lam: object = None

    @property
    def parameters(self):
        """Mu and lam, (cluster,) each."""
        return Parameter("mu", support=POSITIVE), Parameter("lam", support=POSITIVE)

    def support(self):
        """The positive numbers."""
        return POSITIVE

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 1), parameters (..., cluster) -> (..., obs, cluster)."""
        xp = namespace(x, *params.values())
        lam = params["lam"]
        inside = x > 0
        x = xp.where(inside, x, 1.0)
        off = x / params["mu"] - 1.0
        value = 0.5 * xp.log(lam) - 0.5 * lam * off * off * (1.0 / x) - 1.5 * xp.log(x) - 0.5 * np.log(2.0 * np.pi)
        return xp.where(inside, value, -np.inf)

    def log_tails(self, x, params):
        """Sums and differences of two normal tails (Johnson, Kotz & Balakrishnan 1994, eq. 15.9)."""
        xp = namespace(x, *params.values())
        mu, lam = params["mu"], params["lam"]
        inside = x > 0
        x = xp.where(inside, x, 1.0)
        root, away = xp.sqrt(lam / x), x / mu
        near, far = root * (away - 1.0), 2.0 * lam / mu + xp.log_ndtr(-root * (away + 1.0))
        above = xp.log_ndtr(-near)
        above = above + xp.log(-xp.expm1(far - above))
        return xp.where(inside, xp.logaddexp(xp.log_ndtr(near), far), -np.inf), xp.where(inside, above, 0.0)

    def scipy(self, params):
        """`scipy.stats.invgauss`."""
        from scipy.stats import invgauss

        return invgauss(params["mu"] / params["lam"], scale=params["lam"])

    def start(self, moments):
        """The mean, and lam by the variance."""
        return {"mu": moments.mean, "lam": moments.mean**3 / moments.variance}

    def spread(self, params):
        """The coefficient of variation."""
        xp = namespace(*params.values())
        return xp.sqrt(params["mu"] / params["lam"])

    def default_priors(self, data, n_components):
        """See the class."""
        rows = variation_of(data)
        return Priors(
            {
                "mu": log_normal(rows.median, rows.width),
                "lam": proportional("mu", rows.within(n_components) ** -2, 1.0),
            },
            {"mu": MEAN_NOTE, "lam": f"lam / mu: {PRECISION_NOTE}"},
        )
