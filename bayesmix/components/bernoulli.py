"""Bernoulli components for one column of 0 and 1."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from ..priors import UNIT, Prior, Priors
from .probabilities import Trials


@dataclass(frozen=True)
class Bernoulli(Trials):
    r"""Bernoulli components for one column of 0 and 1, or of booleans.

    :math:`p(x) = p^x (1 - p)^{1 - x}`, with the probability `p` of a 1, of shape (cluster,) (Johnson, Kemp & Kotz 2005,
    ch. 3). Off the support the log probability is -inf.

    A mixture of Bernoulli distributions on one column is a Bernoulli distribution itself: the data say nothing of its
    components. It takes several columns, or several trials in each row (`Binomial`), to tell them apart.

    Parameters
    ----------
    p : PreliZ distribution, optional
        Prior of the probabilities, the same for every component: by default Beta(1, 1), uniform. EM does not use it.

    Raises
    ------
    TypeError, ValueError
        If the prior is not a distribution, or puts mass outside the interval from 0 to 1.
    """

    p: object = None
    mixes_to_itself = True

    def check_data(self, data, n_components):
        """One column of 0 and 1."""
        super().check_data(data, n_components)
        x = data.values[:, 0]
        if np.any(x > 1):
            row = int(np.argmax(x > 1))
            raise ValueError(
                f"Bernoulli describes 0 and 1, but {int(np.sum(x > 1))} of {len(x)} rows are larger; the first is "
                f"{x[row]:g}, in row {row}. Use bm.Binomial for successes out of a known number of trials, bm.Categorical "
                "for categories, bm.Poisson for counts."
            )

    def statistics(self, x):
        """Ones and zeros."""
        return np.concatenate([x, 1.0 - x], axis=1)

    def log_density(self, x, params):
        """Log probability, in nats; x (..., obs, 1) of 0 and 1, p (..., cluster) -> (..., obs, cluster)."""
        p = params["p"]
        xp = namespace(x, p)
        known = xp.equal(x, 0.0) | xp.equal(x, 1.0)
        x = xp.where(known, x, 0.0)
        return xp.where(known, xp.xlogy(x, p) + xp.xlog1py(1.0 - x, -p), -np.inf)

    def scipy(self, params):
        """`scipy.stats.bernoulli`."""
        from scipy.stats import bernoulli

        return bernoulli(params["p"])

    def default_priors(self, data, n_components):
        """See the class."""
        return Priors({"p": Prior.of("Beta", UNIT, alpha=1.0, beta=1.0)}, {"p": "uniform (Bayes 1763)"})

    def pymc_dist(self, params):
        """PyMC's distribution of the same name."""
        import pymc as pm

        return pm.Bernoulli.dist(p=params["p"])
