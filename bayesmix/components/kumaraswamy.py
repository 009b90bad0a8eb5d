"""Kumaraswamy components for shares between 0 and 1."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE, UNIT
from .base import Parameter
from .beta import of_moments, priors_about
from .univariate import Univariate

QUARTILES = 1.3489795  # interquartile range of a normal distribution, in standard deviations


@dataclass(frozen=True)
class Kumaraswamy(Univariate):
    r"""Kumaraswamy components on one column of numbers between 0 and 1: like `Beta`, with a cdf in closed form.

    :math:`p(x) = a b x^{a - 1} (1 - x^a)^{b - 1}` for 0 < x < 1, with `a` > 0 and `b` > 0, each of shape (cluster,)
    (Kumaraswamy 1980; Jones 2009); :math:`P(X \le x) = 1 - (1 - x^a)^b`. Rows that are exactly 0 or 1 are refused, as for
    `Beta`.

    Parameters
    ----------
    a, b : PreliZ distribution, optional
        Priors of the Bayesian engines, the same for every component. By default log-normal with log standard deviation 1
        about the values of the data's mean and their variance / K^2. EM does not use them.

    Raises
    ------
    TypeError, ValueError
        If a prior is not a distribution of positive numbers.
    """

    a: object = None
    b: object = None

    @property
    def parameters(self):
        """The parameters a and b, (cluster,) each."""
        return Parameter("a", support=POSITIVE), Parameter("b", support=POSITIVE)

    def support(self):
        """Between 0 and 1, which do not belong to it."""
        return UNIT

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 1), parameters (..., cluster) -> (..., obs, cluster)."""
        xp = namespace(x, *params.values())
        a, b = params["a"], params["b"]
        inside = (x > 0) & (x < 1)
        log_x = xp.log(xp.where(inside, x, 0.5))
        beyond = xp.log(-xp.expm1(a * log_x))  # log(1 - x^a)
        return xp.where(inside, xp.log(a) + xp.log(b) + (a - 1.0) * log_x + (b - 1.0) * beyond, -np.inf)

    def log_tails(self, x, params):
        """The survival function is (1 - x^a)^b."""
        xp = namespace(x, *params.values())
        a, b = params["a"], params["b"]
        above, inside = x > 0, x < 1
        log_power = a * xp.log(xp.where(above & inside, x, 0.5))
        beyond = xp.log(-xp.expm1(log_power))  # log(1 - x^a), about -x^a where that is small
        small = log_power < -35.0
        log_beyond = xp.where(small, log_power, xp.log(-xp.where(small, -1.0, beyond)))
        below = xp.where(inside, xp.log1mexpexp(xp.log(b) + log_beyond), 0.0)
        return xp.where(above, below, -np.inf), xp.where(above, xp.where(inside, b * beyond, -np.inf), 0.0)

    def scipy(self, params):
        """SciPy has none: -a log(x) is exponentiated exponential (`scipy.stats.exponweib`), not x."""
        raise NotImplementedError("SciPy has no Kumaraswamy distribution; use cdf, marginal_quantile and sample.")

    def cdf(self, x, params):
        """1 - (1 - x^a)^b."""
        with np.errstate(divide="ignore"):
            log_power = params["a"] * np.log(np.clip(x, 0.0, 1.0))
            near = log_power > -np.log(2.0)
            beyond = np.where(near, np.log(-np.expm1(log_power)), np.log1p(-np.exp(log_power)))
            return -np.expm1(params["b"] * beyond)

    def marginal_quantile(self, q, params):
        """Quantile of each component, (..., cluster, 1)."""
        return np.exp(log_quantile(np, q, params))[..., None]

    def sample(self, params, rng):
        """One value per row of the parameters, (rows, 1), by the quantile function."""
        return np.exp(log_quantile(np, rng.uniform(size=params["a"].shape), params))[:, None]

    def start(self, moments):
        """The beta distribution's alpha as a, and the b that puts the median at the mean."""
        a, b = _of_moments(moments.mean, moments.variance)
        return {"a": a, "b": b}

    def spread(self, params):
        """The interquartile range, as a standard deviation."""
        xp = namespace(*params.values())
        low, high = (log_quantile(xp, q, params) for q in (0.25, 0.75))
        return xp.exp(low) * xp.expm1(high - low) / QUARTILES

    def default_priors(self, data, n_components):
        """See the class."""
        return priors_about(_of_moments, ("a", "b"), data, n_components)


def log_quantile(xp, q, params):
    """Logarithm of the quantile: log(1 - (1 - q)^(1 / b)) / a."""
    return xp.log(-xp.expm1(np.log1p(-q) / params["b"])) / params["a"]


def _of_moments(mean, variance):
    a = of_moments(mean, variance)[0]
    return a, np.log(0.5) / np.log(-np.expm1(a * np.log(mean)))
