"""Gamma components on the positive line."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE, Priors
from .base import Parameter
from .positive import MEAN_NOTE, PRECISION_NOTE, log_normal, proportional, variation_of
from .univariate import Univariate


@dataclass(frozen=True)
class Gamma(Univariate):
    r"""Gamma components on one column of positive numbers.

    :math:`p(x) = \beta^\alpha x^{\alpha - 1} e^{-\beta x} / \Gamma(\alpha)` for x > 0, with the shape `alpha` > 0 and the
    rate `beta` > 0, each of shape (cluster,), beta in one over the units of the data (Johnson, Kotz & Balakrishnan 1994,
    ch. 17). The mean is alpha / beta, the coefficient of variation 1 / sqrt(alpha). A component collapses where alpha
    grows without bound, on tied values.

    Parameters
    ----------
    alpha, beta : PreliZ distribution, optional
        Priors of the Bayesian engines, the same for every component. By default log-normal: alpha about the shape of
        components that are K times less variable than the data, and the mean alpha / beta, given alpha, half as variable
        again as the rows are (Wiper, Rios Insua & Ruggeri 2001 put theirs on shape and mean, too). EM does not use them.

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
        value = alpha * xp.log(beta) - xp.gammaln(alpha) + (alpha - 1.0) * xp.log(x) - beta * x
        return xp.where(inside, value, -np.inf)

    def log_tails(self, x, params):
        """Regularised incomplete gamma functions."""
        xp = namespace(x, *params.values())
        inside = x > 0
        x = xp.where(inside, x, 1.0)
        below, above = (
            xp.log_gammainc(params["alpha"], params["beta"] * x),
            xp.log_gammaincc(params["alpha"], params["beta"] * x),
        )
        return xp.where(inside, below, -np.inf), xp.where(inside, above, 0.0)

    def scipy(self, params):
        """`scipy.stats.gamma`."""
        from scipy.stats import gamma

        return gamma(params["alpha"], scale=1.0 / params["beta"])

    def start(self, moments):
        """The shape and rate of this mean and variance."""
        return {"alpha": moments.mean**2 / moments.variance, "beta": moments.mean / moments.variance}

    def spread(self, params):
        """The coefficient of variation."""
        xp = namespace(params["alpha"])
        return 1.0 / xp.sqrt(params["alpha"])

    def default_priors(self, data, n_components):
        """See the class."""
        rows = variation_of(data)
        return Priors(
            {
                "alpha": log_normal(rows.within(n_components) ** -2, 1.0),
                "beta": proportional("alpha", 1.0 / rows.median, rows.width),
            },
            {"alpha": PRECISION_NOTE, "beta": f"of the mean alpha / beta: {MEAN_NOTE}"},
        )
