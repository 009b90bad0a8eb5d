"""Poisson components for counts."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import check_counts, check_one_column, namespace
from ..priors import POSITIVE, Prior, Priors
from .base import RATE, Component, Parameter, Rows, full_shape
from .normal import moments


@dataclass(frozen=True)
class Poisson(Component):
    r"""Poisson components for counts in one column.

    :math:`p(x) = \mu^x e^{-\mu} / x!` for x = 0, 1, 2, ..., with the rate `mu` >= 0 of shape (cluster,)
    (Johnson, Kemp & Kotz 2005, ch. 4). Off the support the log density is -inf.

    Parameters
    ----------
    mu : PreliZ distribution, optional
        Prior of the rates. By default a Gamma distribution with the mean of the data, whose shape matches the
        variance of the data to that of the Poisson-Gamma (negative binomial) mixture, mean + mean^2 / alpha
        (after Fruehwirth-Schnatter 2006, ch. 9), kept between 0.5 and 5. EM does not use it.

    Raises
    ------
    TypeError, ValueError
        If the prior is not a distribution of positive numbers.
    """

    mu: object = None
    discrete = True
    posterior_layout = "rate"
    compiled_step = "linear"

    def __post_init__(self):
        self._check_priors(mu=POSITIVE)

    @property
    def parameters(self):
        """The rates mu, (cluster,)."""
        return (Parameter("mu", support=POSITIVE),)

    @property
    def kernel(self):
        """The pass over sufficient statistics: T(x) = x, eta = log mu, A = mu."""
        return "linear"

    def check_data(self, data, n_components):
        """One column of nonnegative whole numbers."""
        check_one_column(data, self)
        check_counts(data, self)

    def check_parameters(self, params, n_components):
        """Rates of shape (n_components,), not negative."""
        mu = full_shape(params["mu"], (n_components,), "mu", f"{n_components} components")
        if np.any(mu < 0):
            raise ValueError(f"mu is a rate and must not be negative, but it holds {mu.min():g}.")
        return {"mu": mu}

    # -- the formula -----------------------------------------------------------------------------------------------------
    def log_density(self, x, params):
        """Log probability, in nats; x (..., obs, 1) counts, mu (..., cluster) -> (..., obs, cluster)."""
        xp = namespace(x, params["mu"])
        mu = params["mu"]
        is_count = (x >= 0) & xp.equal(xp.floor(x), x)
        count = xp.where(is_count, x, 0.0)
        return xp.where(is_count, xp.xlogy(count, mu) - mu - xp.gammaln(count + 1.0), -np.inf)

    def log_tails(self, x, params):
        """Regularised incomplete gamma functions at x + 1 events (Abramowitz & Stegun 1964, 26.4.21)."""
        mu = params["mu"]
        xp = namespace(x, mu)
        inside = x >= 0
        events = xp.floor(xp.where(inside, x, 0.0)) + 1.0
        below, above = xp.log_gammaincc(events, mu), xp.log_gammainc(events, mu)
        return xp.where(inside, below, -np.inf), xp.where(inside, above, 0.0)

    def cdf(self, x, params):
        """Poisson distribution function of each component."""
        from scipy.special import pdtr

        count = np.floor(x)
        return np.where(count >= 0, pdtr(np.maximum(count, 0.0), params["mu"]), 0.0)

    def marginal_cdf(self, x, params, feature):
        """The cdf itself: there is one feature."""
        return self.cdf(np.asarray(x)[:, None], params)

    def marginal_quantile(self, q, params):
        """Smallest count whose cdf reaches q, (..., cluster, 1)."""
        from scipy.stats import poisson

        return poisson.ppf(q, params["mu"])[..., None]

    def sample(self, params, rng):
        """One count per row of the parameters, (rows, 1)."""
        return rng.poisson(params["mu"]).astype(float)[:, None]

    def mean_and_variance(self, params):
        """Mu, twice."""
        return params["mu"], params["mu"]

    # -- the pass --------------------------------------------------------------------------------------------------------
    def rows(self, data):
        """Distinct counts, weighted by how often they occur: the pass costs the same for any number of rows."""
        from scipy.special import gammaln

        count, where = np.unique(data.values[:, 0], return_inverse=True)
        weights = np.bincount(where.ravel(), weights=data.weights, minlength=len(count)).astype(float)
        return Rows(np.ascontiguousarray(count[:, None]), weights, -float(weights @ gammaln(count + 1.0)))

    def linear_parts(self, n_features):
        """One rate."""
        return np.array([[RATE, 1]])

    def kernel_arguments(self, params):
        """Eta = log mu as (cluster, 1), A = mu."""
        with np.errstate(divide="ignore"):
            return np.log(params["mu"])[:, None], params["mu"]

    def initial_params(self, data, n_components):
        """The mean of the data, for every component."""
        return {"mu": np.repeat(moments(data)[0], n_components)}

    def m_step(self, params, statistics, guard=None):
        """Weighted mean of the counts; a component without rows keeps its rate."""
        n = np.where(statistics.n > 0, statistics.n, 1.0)
        return {"mu": np.where(statistics.n > 0, statistics.first[:, 0] / n, params["mu"])}

    # -- free coordinates: log mu ------------------------------------------------------------------------------------------
    def n_free(self, n_components, n_features):
        """One per component."""
        return n_components

    def to_vector(self, params):
        """The logarithm of the rates."""
        with np.errstate(divide="ignore"):
            return np.log(params["mu"])

    def from_vector(self, vector, n_components, n_features):
        """The rates."""
        return {"mu": np.exp(vector)}

    def vector_gradient(self, params, d_a, d_b):
        """D / d log mu = d / d eta + mu d / d A."""
        return d_a[:, 0] + params["mu"] * d_b

    def vector_curvature(self, params, d_a, d_b):
        """Eta is the coordinate; the second derivative of A = mu in log mu is mu."""
        return np.diag(params["mu"] * d_b)

    def vector_jacobian(self, params):
        """D mu / d log mu = mu."""
        return {"mu": np.diag(params["mu"])}

    def coordinate_scale(self, params):
        """1 for the logarithm of the rates."""
        return np.ones_like(params["mu"])

    # -- priors ----------------------------------------------------------------------------------------------------------
    def default_priors(self, data, n_components):
        """See the class."""
        mean, variance = (float(moment[0]) for moment in moments(data))
        mean = max(mean, 0.5 / data.total_weight)
        excess = max(variance - mean, 1e-300)
        alpha = float(np.clip(mean**2 / excess, 0.5, 5.0))
        return Priors(
            {"mu": Prior.of("Gamma", POSITIVE, alpha=alpha, beta=alpha / mean)},
            {"mu": "mean of the data, shape by moments of the overdispersed counts (Fruehwirth-Schnatter 2006)"},
        )

    def pymc_variables(self, priors, n_components, n_features):
        """Mu with dims cluster."""
        import pytensor.tensor as pt

        mu = priors["mu"].variable("mu", dims="cluster")
        log_mu: Any = pt.log(mu)
        return {"mu": mu}, (log_mu[:, None], mu)

    def pymc_dist(self, params):
        """PyMC's distribution of the same name."""
        import pymc as pm

        return pm.Poisson.dist(params["mu"])
