"""Normal components on one column."""

from dataclasses import dataclass

import numpy as np

from ..arrays import check_not_constant, check_one_column, namespace
from ..priors import POSITIVE, REAL, HierarchicalInverseGamma, Prior, Priors, ScaledInverseChiSquared
from .base import Component, Guard, Parameter, Rows, full_shape


@dataclass(frozen=True)
class Normal(Component):
    r"""Normal components on one column.

    :math:`p(x) = (2\pi\sigma^2)^{-1/2} \exp(-(x-\mu)^2 / 2\sigma^2)`, with `mu` the mean and `sigma` the standard
    deviation (not the variance), both of shape (cluster,) and in the units of the data.

    Parameters
    ----------
    mu, sigma : PreliZ distribution, optional
        Priors of the Bayesian engines, the same for every component. By default
        mu ~ Normal(midrange, range) (after Richardson & Green 1997) and
        sigma^2 ~ scaled-inverse-chi-squared with 3 degrees of freedom and the sum of squares s^2 / K^2
        (Fraley & Raftery 2007); with a random number of components sigma^-2 ~ Gamma(2, beta), beta ~ Gamma(0.2,
        10 / range^2) (Richardson & Green 1997). EM does not use them.
    error : str, optional
        Column of the data that holds the standard deviation :math:`s_n` of each row's measurement error, 0 where there
        is none. Rows then have the density :math:`N(\mu, \sigma^2 + s_n^2)`; `mu` and `sigma` are those of what was
        measured.

    Raises
    ------
    TypeError, ValueError
        If a prior is not a distribution, or puts mass where its parameter cannot be.
    """

    mu: object = None
    sigma: object = None
    error: str | int | None = None
    posterior_layout = "scale"
    compiled_step = "diag"

    def __new__(cls, mu=None, sigma=None, error=None):
        """The family with errors, where there are some."""
        if error is None or cls is not Normal:
            return object.__new__(cls)
        from .noisy import NoisyNormal

        return NoisyNormal(mu, sigma, error)

    def __post_init__(self):
        self._check_priors(mu=REAL, sigma=POSITIVE)

    @property
    def parameters(self):
        """Mu and sigma, (cluster,) each."""
        return Parameter("mu"), Parameter("sigma", support=POSITIVE)

    @property
    def kernel(self):
        """The pass with independent features, at one feature."""
        return "diagonal"

    def check_data(self, data, n_components):
        """One column, not constant."""
        check_one_column(data, self)
        check_not_constant(data, self)

    def check_parameters(self, params, n_components):
        """Mu finite and sigma positive, of shape (n_components,)."""
        checked = {
            name: full_shape(params[name], (n_components,), name, f"{n_components} components")
            for name in ("mu", "sigma")
        }
        if np.any(checked["sigma"] <= 0):
            raise ValueError(
                f"sigma is a standard deviation and must be positive, but it holds {checked['sigma'].min():g}."
            )
        return checked

    # -- the formula -----------------------------------------------------------------------------------------------------
    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 1), mu and sigma (..., cluster) -> (..., obs, cluster)."""
        xp = namespace(x, *params.values())
        mu, sigma = params["mu"], params["sigma"]
        z = (x - mu) / sigma
        return -0.5 * z**2 - xp.log(sigma) - 0.5 * np.log(2 * np.pi)

    def log_tails(self, x, params):
        """Those of the standard normal distribution at z."""
        xp = namespace(x, *params.values())
        z = (x - params["mu"]) / params["sigma"]
        return xp.log_ndtr(z), xp.log_ndtr(-z)

    def cdf(self, x, params):
        """Normal distribution function of each component."""
        from scipy.special import ndtr

        return ndtr((x - params["mu"]) / params["sigma"])

    def marginal_cdf(self, x, params, feature):
        """The cdf itself: there is one feature."""
        return self.cdf(np.asarray(x)[:, None], params)

    def marginal_quantile(self, q, params):
        """Mu + sigma times the standard normal quantile, (..., cluster, 1)."""
        from scipy.special import ndtri

        return (params["mu"] + params["sigma"] * ndtri(q))[..., None]

    def sample(self, params, rng):
        """One value per row of the parameters, (rows, 1)."""
        return rng.normal(params["mu"], params["sigma"])[:, None]

    def mean_and_variance(self, params):
        """Mu and sigma^2."""
        return params["mu"], params["sigma"] ** 2

    # -- the pass --------------------------------------------------------------------------------------------------------
    def rows(self, data):
        """The column as it is."""
        return Rows(data.values, _weights(data), 0.0)

    def kernel_arguments(self, params):
        """Mu and 1 / sigma as (cluster, 1)."""
        return params["mu"][:, None], 1.0 / params["sigma"][:, None]

    def initial_params(self, data, n_components):
        """Mean and standard deviation of the column, for every component."""
        mean, variance = moments(data)
        return {"mu": np.repeat(mean, n_components), "sigma": np.repeat(np.sqrt(variance), n_components)}

    def m_step(self, params, statistics, guard=None):
        """Weighted mean and standard deviation; a component without rows keeps what it had."""
        mean, scatter = recentre(params["mu"][:, None], statistics)
        variance = pooled_with_guard(scatter, statistics.n, guard)[:, 0]
        return {"mu": mean[:, 0], "sigma": np.where(is_empty(statistics.n, guard), params["sigma"], np.sqrt(variance))}

    def guard(self, data, strength):
        """Rows of the data's own variance."""
        return Guard(strength, strength * moments(data)[1])

    def guard_around(self, params, strength):
        """Rows of the variance pooled within the components."""
        return Guard(strength, strength * np.atleast_1d(params["weights"] @ params["sigma"] ** 2))

    def collapsed(self, params, data):
        """Variance of each component over the variance pooled within components."""
        variance = params["sigma"] ** 2
        return variance / (params["weights"] @ variance)

    def thin_direction(self, params, k):
        """There is one column."""
        return np.ones(1)

    # -- free coordinates: mu and log sigma --------------------------------------------------------------------------------
    def n_free(self, n_components, n_features):
        """Two per component."""
        return 2 * n_components

    def to_vector(self, params):
        """Mu, then log sigma."""
        return np.concatenate([params["mu"], np.log(params["sigma"])])

    def from_vector(self, vector, n_components, n_features):
        """Split the coordinates into mu and sigma."""
        return {"mu": vector[..., :n_components], "sigma": np.exp(vector[..., n_components:])}

    def vector_gradient(self, params, d_a, d_b):
        """D / d log sigma = -(1 / sigma) d / d (1 / sigma)."""
        return np.concatenate([d_a[:, 0], -d_b[:, 0] / params["sigma"]])

    def vector_curvature(self, params, d_a, d_b):
        """The second derivative of 1 / sigma in log sigma is 1 / sigma."""
        return np.diag(np.concatenate([np.zeros_like(params["mu"]), d_b[:, 0] / params["sigma"]]))

    def vector_jacobian(self, params):
        """1 for mu; d sigma / d log sigma = sigma."""
        k = len(params["mu"])
        none = np.zeros((k, k))
        return {"mu": np.hstack([np.eye(k), none]), "sigma": np.hstack([none, np.diag(params["sigma"])])}

    def coordinate_scale(self, params):
        """Sigma for the means, 1 for log sigma."""
        return np.concatenate([params["sigma"], np.ones_like(params["sigma"])])

    # -- priors ----------------------------------------------------------------------------------------------------------
    def default_priors(self, data, n_components):
        """See the class."""
        middle, width = midrange(data)
        if n_components is None:
            return Priors(
                {"mu": Prior.of("Normal", mu=middle[0], sigma=width[0]), "sigma": shared_scale(width[0])},
                {
                    "mu": "midrange and range of the data (Richardson & Green 1997)",
                    "sigma": "one scale for all components, itself random (Richardson & Green 1997)",
                },
            )
        scale = np.sqrt(moments(data)[1][0] / 3.0) / n_components
        return Priors(
            {
                "mu": Prior.of("Normal", mu=middle[0], sigma=width[0]),
                "sigma": ScaledInverseChiSquared(3.0, scale),
            },
            {
                "mu": "midrange and range of the data (Richardson & Green 1997)",
                "sigma": "3 rows' worth of the data's variance / K^2 (Fraley & Raftery 2007)",
            },
        )

    def pymc_variables(self, priors, n_components, n_features):
        """Mu and sigma with dims cluster."""
        params = {name: priors[name].variable(name, dims="cluster") for name in ("mu", "sigma")}
        return params, (params["mu"][:, None], 1.0 / params["sigma"][:, None])

    def pymc_dist(self, params):
        """PyMC's distribution of the same name."""
        import pymc as pm

        return pm.Normal.dist(params["mu"], params["sigma"])


# -- shared by the Gaussian families -----------------------------------------------------------------------------------------
def _weights(data):
    return np.empty(0) if data.weights is None else data.weights


def moments(data):
    """Weighted mean and variance of each column, each (feature,); two passes, so that an offset costs nothing.

    Of the cells that are not missing.
    """
    if not hasattr(data, "values"):  # not in memory: `bayesmix.chunks.Streamed` knows what one pass found
        return data.mean, np.diag(data.covariance)
    if data.missing:
        return _moments_of_seen(data)
    x = data.modelled
    mean = np.average(x, axis=0, weights=data.weights)
    return mean, np.average((x - mean) ** 2, axis=0, weights=data.weights)


def _moments_of_seen(data):
    mean = np.average(data.filled(), axis=0, weights=data.weights)  # missing cells hold the mean
    weights = np.ones(data.n_obs) if data.weights is None else data.weights
    x = data.modelled
    squared = np.where(np.isnan(x), 0.0, x - mean) ** 2
    return mean, weights @ squared / (weights @ ~np.isnan(x))


def ends(data):
    """Smallest and largest value of each column, over rows with weight."""
    if not hasattr(data, "values"):
        return data.low, data.high
    x = data.modelled if data.weights is None else data.modelled[data.weights > 0]
    return (np.nanmin(x, axis=0), np.nanmax(x, axis=0)) if data.missing else (x.min(axis=0), x.max(axis=0))


def midrange(data):
    """Middle and width of the range of each column, over rows with weight."""
    low, high = ends(data)
    return low + 0.5 * (high - low), high - low


def shared_scale(width):
    """Richardson & Green's (1997) prior of sigma for data of this range, a number or one for each feature."""
    beta = Prior.of("Gamma", POSITIVE, alpha=np.full(np.shape(width), 0.2), beta=10.0 / np.asarray(width) ** 2)
    return HierarchicalInverseGamma(2.0, beta)


def recentre(mu, statistics):
    """Move moments about `mu` to each component's new mean: the means, and the scatter about them.

    mu (cluster, feature); returns the means and second - first first' / n, of the shape of `statistics.second`.
    A component without rows keeps its place, with no scatter.
    """
    n = np.where(statistics.n > 0, statistics.n, 1.0)
    shift = statistics.first / n[:, None]
    if statistics.second.ndim == 2:
        return mu + shift, statistics.second - statistics.first * shift
    return mu + shift, statistics.second - statistics.first[:, :, None] * shift[:, None, :]


def pooled_with_guard(scatter, n, guard):
    """Scatter over rows, the guard's imaginary rows counted in: (cluster, ...) like `scatter`; 0 where none are."""
    rows = np.where(is_empty(n, guard), 1.0, n)
    if guard is not None:
        scatter, rows = scatter + guard.second, rows + guard.n
    return scatter / rows.reshape(rows.shape + (1,) * (scatter.ndim - rows.ndim))


def is_empty(n, guard):
    """Has a component no rows at all, imaginary ones included? (cluster,)"""
    return (np.asarray(n) <= 0) & (guard is None)
