"""Laplace (double exponential) components on one column."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE
from .base import Parameter
from .univariate import Univariate, location_scale_priors


@dataclass(frozen=True)
class Laplace(Univariate):
    r"""Laplace (double exponential) components on one column: a peak, and tails like :math:`e^{-|x| / b}`.

    :math:`p(x) = \frac{1}{2 b} e^{-|x - \mu| / b}` with the median `mu` and the mean absolute deviation `b` > 0, each of
    shape (cluster,) and in the units of the data (Johnson, Kotz & Balakrishnan 1995, ch. 24). The standard deviation is
    sqrt(2) b.

    The density has a kink at mu. EM's update is exact, a weighted median and a weighted mean absolute deviation, and
    needs all rows in memory; it ends with each mu at the value of a row. With ``uncertainty="laplace"`` the information
    is the sum of outer products of the scores (Berndt, Hall, Hall & Hausman 1974), as there are no second derivatives.

    Parameters
    ----------
    mu, b : PreliZ distribution, optional
        Priors of the Bayesian engines, the same for every component. By default mu ~ Normal(midrange, range), and
        sqrt(2) b as the standard deviation of `Normal`. EM does not use them.

    Raises
    ------
    TypeError, ValueError
        If a prior is not a distribution, or puts mass where its parameter cannot be.
    """

    mu: object = None
    b: object = None
    smooth = False

    @property
    def parameters(self):
        """Mu and b, (cluster,) each."""
        return Parameter("mu", moves=True), Parameter("b", support=POSITIVE)

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 1), parameters (..., cluster) -> (..., obs, cluster)."""
        xp = namespace(x, *params.values())
        mu, b = params["mu"], params["b"]
        return -xp.abs(x - mu) / b - xp.log(b) - np.log(2.0)

    def log_tails(self, x, params):
        """Half of exp(-abs(z)) on the far side, and the complement."""
        xp = namespace(x, *params.values())
        z = (x - params["mu"]) / params["b"]
        tail = xp.where(z < 0, z, -z) - np.log(2.0)
        rest = xp.log1p(-xp.exp(tail))
        return xp.where(z < 0, tail, rest), xp.where(z < 0, rest, tail)

    def scipy(self, params):
        """`scipy.stats.laplace`."""
        from scipy.stats import laplace

        return laplace(params["mu"], params["b"])

    def start(self, moments):
        """The mean, and the b of this variance."""
        return {"mu": moments.mean, "b": np.sqrt(0.5 * moments.variance)}

    def spread(self, params):
        """The standard deviation, sqrt(2) b."""
        return np.sqrt(2.0) * params["b"]

    def maximise_given(self, data, responsibilities, guard=None):
        r"""Weighted median and weighted mean absolute deviation.

        With the guard, whose density is :math:`-n \log s - q / (2 s^2)` at :math:`s = \sqrt 2 b`, b solves
        :math:`(N + n) b^2 - S b - q / 2 = 0`, where N is the sum of the responsibilities and S of the weighted deviations.
        """
        whole = self.initial_params(data, 1)
        order = np.argsort(data.values[:, 0], kind="stable")
        x, w = data.values[order, 0], np.asarray(responsibilities, dtype=float)[order]
        n_guard, square = (0.0, 0.0) if guard is None else (float(guard.n), float(np.ravel(guard.second)[0]))
        total = w.sum(axis=0)
        mu = np.array([weighted_median(x, w[:, k]) if total[k] > 0 else whole["mu"][0] for k in range(w.shape[1])])
        deviations = (w * np.abs(x[:, None] - mu)).sum(axis=0)
        rows = np.where(total + n_guard > 0, total + n_guard, 1.0)
        b = (deviations + np.sqrt(deviations**2 + 2.0 * rows * square)) / (2.0 * rows)
        return {"mu": mu, "b": np.where(total + n_guard > 0, b, whole["b"][0])}

    def default_priors(self, data, n_components):
        """See the class."""
        return location_scale_priors(data, n_components, "mu", "b", np.sqrt(2.0))


def weighted_median(x, weights):
    """Smallest value of x (obs,), sorted, with half of the weight at or below it; halfway to the next if just half is."""
    reached = np.cumsum(weights)
    half = 0.5 * reached[-1]
    i = np.searchsorted(reached, half)
    above = np.searchsorted(reached, half, side="right")
    return 0.5 * (x[i] + x[min(above, len(x) - 1)]) if reached[i] == half else x[i]
