"""Binomial components for successes out of a known number of trials, in one column."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from ..priors import Priors
from ..whole_numbers import is_whole
from .normal import moments
from .probabilities import Trials, beta_about


@dataclass(frozen=True)
class Binomial(Trials):
    r"""Binomial components for one column of counts: successes out of `n` trials.

    :math:`p(x) = \binom{n}{x} p^x (1 - p)^{n - x}` for x = 0, 1, ..., n, with the probability `p` of a success, of shape
    (cluster,) (Johnson, Kemp & Kotz 2005, ch. 3). Off the support the log probability is -inf. At most (n + 1) / 2
    components can be told apart (Teicher 1963).

    Parameters
    ----------
    n : int
        Number of trials behind every row, known, at least 1.
    p : PreliZ distribution, optional
        Prior of the probabilities, the same for every component. By default a Beta distribution about the share of
        successes in the data, as wide as their variance says if it came from a beta-binomial distribution (moments of
        Skellam 1948), but worth 1 to 10 trials. EM does not use it.

    Raises
    ------
    TypeError, ValueError
        If n is not a positive whole number, or the prior not a distribution of numbers between 0 and 1.
    """

    n: int
    p: object = None

    def __post_init__(self):
        super().__post_init__()
        check_trials(self.n, "Binomial")
        object.__setattr__(self, "n", int(self.n))

    def check_data(self, data, n_components):
        """One column of whole numbers from 0 to n."""
        super().check_data(data, n_components)
        check_most(data, self.n, "Binomial")

    def statistics(self, x):
        """Successes and failures."""
        return np.concatenate([x, self.n - x], axis=1)

    def log_base_measure(self, x):
        """Logarithm of the binomial coefficient."""
        return log_choose(namespace(x), self.n, x)[:, 0]

    def log_density(self, x, params):
        """Log probability, in nats; x (..., obs, 1) counts up to n, p (..., cluster) -> (..., obs, cluster)."""
        p, n = params["p"], self.n
        xp = namespace(x, p)
        possible = (x >= 0) & (x <= n) & xp.equal(xp.floor(x), x)
        x = xp.where(possible, x, 0.0)
        return xp.where(possible, log_choose(xp, n, x) + xp.xlogy(x, p) + xp.xlog1py(n - x, -p), -np.inf)

    def log_tails(self, x, params):
        """Regularised incomplete beta functions (Abramowitz & Stegun 1964, 26.5.24)."""
        p, n = params["p"], self.n
        xp = namespace(x, p)
        above, inside = x >= 0, x < n
        x = xp.where(above & inside, xp.floor(x), 0.0)
        logit = xp.log(p) - xp.log1p(-p)
        below, beyond = xp.log_betainc(n - x, x + 1.0, -logit), xp.log_betainc(x + 1.0, n - x, logit)
        return (
            xp.where(above, xp.where(inside, below, 0.0), -np.inf),
            xp.where(above, xp.where(inside, beyond, -np.inf), 0.0),
        )

    def scipy(self, params):
        """`scipy.stats.binom`."""
        from scipy.stats import binom

        return binom(self.n, params["p"])

    def default_priors(self, data, n_components):
        """See the class."""
        mean, variance = (float(moment[0]) / self.n**power for power, moment in enumerate(moments(data), 1))
        few = 0.5 / (data.total_weight * self.n + 1.0)
        mean = min(max(mean, few), 1.0 - few)
        if self.n == 1:
            correlation = 1.0
        else:  # variance of the share: mean (1 - mean) (1 + (n - 1) correlation) / n
            correlation = (variance * self.n / (mean * (1.0 - mean)) - 1.0) / (self.n - 1.0)
        concentration = float(np.clip(1.0 / max(correlation, 1e-300) - 1.0, 1.0, 10.0))
        return Priors(
            {"p": beta_about(mean, concentration)},
            {"p": "share of successes in the data, width by moments of the beta-binomial distribution (Skellam 1948)"},
        )

    def pymc_dist(self, params):
        """PyMC's distribution of the same name."""
        import pymc as pm

        return pm.Binomial.dist(n=self.n, p=params["p"])


def check_trials(n, family: str) -> None:
    """Raise unless a number of trials is a whole number, at least 1."""
    if not is_whole(n):
        raise ValueError(
            f"n={n!r} but {family} needs the number of trials behind each row, a whole number, at least 1."
        )


def check_most(data, n: int, family: str) -> None:
    """Raise `ValueError` if a count is larger than the number of trials."""
    x = data.values[:, 0]
    if np.any(x > n):
        row = int(np.argmax(x > n))
        raise ValueError(
            f"{family}(n={n}) describes counts from 0 to {n}, but {int(np.sum(x > n))} of {len(x)} rows are larger; the "
            f"first is {x[row]:g}, in row {row}. Give n, the number of trials behind each row, or use bm.Poisson."
        )


def log_choose(xp, n, x):
    """Logarithm of the binomial coefficient, by the functions of a namespace."""
    n = xp.asarray(float(n))
    return xp.gammaln(n + 1.0) - xp.gammaln(x + 1.0) - xp.gammaln(n - x + 1.0)
