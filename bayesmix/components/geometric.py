"""Geometric components for one column: trials up to the first success."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from ..priors import UNIT, Prior, Priors
from .normal import moments
from .probabilities import Trials


@dataclass(frozen=True)
class Geometric(Trials):
    r"""Geometric components for one column of counts 1, 2, ...: the number of trials up to the first success.

    :math:`p(x) = p (1 - p)^{x - 1}`, with the probability `p` of a success, 0 < p <= 1, of shape (cluster,); the mean is
    1 / p (Johnson, Kemp & Kotz 2005, ch. 5). Off the support the log probability is -inf. For the number of failures
    before the first success, which begins at 0, add 1 to the data.

    Parameters
    ----------
    p : PreliZ distribution, optional
        Prior of the probabilities, the same for every component: by default logit-normal about 1 / m for data of mean m,
        with standard deviation 1.5 of the logit. EM does not use it.

    Raises
    ------
    TypeError, ValueError
        If the prior is not a distribution, or puts mass outside the interval from 0 to 1.
    """

    p: object = None

    def check_data(self, data, n_components):
        """One column of whole numbers, at least 1."""
        super().check_data(data, n_components)
        x = data.values[:, 0]
        if np.any(x < 1):
            row = int(np.argmax(x < 1))
            raise ValueError(
                f"Geometric describes trials up to the first success, 1, 2, ..., but {int(np.sum(x < 1))} of {len(x)} rows "
                f"are 0; the first is row {row}. If these are failures before it, add 1 to the data."
            )

    def check_parameters(self, params, n_components):
        """Probabilities of shape (n_components,), above 0."""
        checked = super().check_parameters(params, n_components)
        if np.any(checked["p"] == 0):
            raise ValueError("p holds 0, but without a chance of success there is no first one: use p > 0.")
        return checked

    def statistics(self, x):
        """One success, x - 1 failures."""
        return np.concatenate([np.ones_like(x), x - 1.0], axis=1)

    def log_density(self, x, params):
        """Log probability, in nats; x (..., obs, 1) counts >= 1, p (..., cluster) -> (..., obs, cluster)."""
        p = params["p"]
        xp = namespace(x, p)
        possible = (x >= 1) & xp.equal(xp.floor(x), x)
        failures = xp.where(possible, x - 1.0, 0.0)
        return xp.where(possible, xp.log(p) + xp.xlog1py(failures, -p), -np.inf)

    def log_tails(self, x, params):
        """No success in x trials: (1 - p)^x."""
        p = params["p"]
        xp = namespace(x, p)
        inside = x >= 1
        above = xp.where(inside, xp.floor(x), 1.0) * xp.log1p(-p)
        return xp.where(inside, xp.log1mexpexp(xp.log(-above)), -np.inf), xp.where(inside, above, 0.0)

    def scipy(self, params):
        """`scipy.stats.geom`."""
        from scipy.stats import geom

        return geom(params["p"])

    def default_priors(self, data, n_components):
        """See the class."""
        mean = max(float(moments(data)[0][0]), 1.0 + 0.5 / data.total_weight)
        prior = Prior.of("LogitNormal", UNIT, mu=-np.log(mean - 1.0), sigma=1.5)
        return Priors({"p": prior}, {"p": "mean of the data"})

    def pymc_dist(self, params):
        """PyMC's distribution of the same name."""
        import pymc as pm

        return pm.Geometric.dist(p=params["p"])
