"""Factor analysers: normal components whose columns are correlated through a few factors."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE, REAL, Prior, Priors, ScaledInverseChiSquared, dim
from .base import Component, Parameter, full_shape
from .covariance.base import precision_factor, volume_scale
from .mvnormal import MvNormal, covariance
from .normal import is_empty, midrange, pooled_with_guard, recentre

LEAST = 1e-4  # share of a column's variance that is its own, at least
MOST_STEPS = 100  # of Newton's method in an M-step
SETTLED = 1e-13  # relative change of the variances, below which a step is the last
ROUNDING = 1e-12  # of the objective
FLAT = 1e-30  # decrement of the objective that rounding hides


@dataclass(frozen=True)
class FactorAnalyser(Component):
    r"""Factor analysers: normal components whose columns depend on each other through `n_factors` factors.

    :math:`x = \mu + \Lambda f + e` with standard normal factors f and independent errors of standard deviations sigma, so that

    .. math:: x \sim \text{Normal}(\mu, \Lambda \Lambda' + \text{diag}(\sigma^2))

    (Ghahramani & Hinton 1997; McLachlan & Peel 2000, ch. 8; UUU among the models of McNicholas & Murphy 2008). Parameters
    are means `mu` (cluster, feature), `loadings` Lambda (cluster, feature, factor) and `sigma` (cluster, feature). Of many
    columns this has far fewer parameters than a covariance matrix: D q - q (q - 1) / 2 + D for each component.

    Loadings are known up to a rotation of the factors. They are given with zeros above the diagonal, which is positive
    (Geweke & Zhou 1996); `covariances` gives the matrices, which no rotation changes. The M-step is the maximum of the
    likelihood of one factor analyser (Jöreskog 1967; second derivatives after Clarke 1970); the share of a column's variance
    that is its own is kept above 1e-4.

    Parameters
    ----------
    n_factors : int, or a list of int
        Number of factors q, at least 1; the fewer the columns, the fewer are possible: (D - q)^2 >= D + q (Ledermann 1937).
        A list stands for as many families, for `bayesmix.sweep` to choose from.
    mu : PreliZ distribution, optional
        Prior of every entry of the means, by default as of `MvNormal`.
    loadings : PreliZ Normal with mean 0, optional
        Prior of the loadings before the factors are rotated into the form above, so that the order of the columns does not
        matter (Leung & Drton 2016). By default half of a component's variance is shared among the factors.
    sigma : PreliZ distribution, optional
        Prior of the standard deviations of the errors. Default: scaled inverse chi-squared with 3 degrees of freedom and
        the other half of the variance.

    Raises
    ------
    TypeError, ValueError
        If the number of factors is not a positive whole number, or a prior does not fit its parameter.

    Examples
    --------
    >>> import bayesmix as bm
    >>> print(bm.Mixture(bm.FactorAnalyser(n_factors=2), n_components=3))
    Mixture of 3 FactorAnalyser(n_factors=2) components, weights ~ Dirichlet(1)
    """

    n_factors: int | tuple[int, ...]
    mu: object = None
    loadings: object = None
    sigma: object = None
    multivariate = True

    def __post_init__(self):
        given = self.n_factors
        several = isinstance(given, list | tuple | range)
        for q in given if several else [given]:
            if isinstance(q, bool) or not isinstance(q, int | np.integer) or q < 1:
                raise ValueError(f"n_factors={q!r} but the number of factors is a whole number, at least 1.")
        if several and not given:
            raise ValueError("n_factors=[] names no number of factors.")
        object.__setattr__(self, "n_factors", tuple(int(q) for q in given) if several else int(given))  # pyright: ignore
        self._check_priors(mu=REAL, loadings=REAL, sigma=POSITIVE)
        prior = self.loadings
        if isinstance(prior, Prior) and not (prior.family == "Normal" and np.all(prior.kwargs.get("mu") == 0.0)):
            raise ValueError(
                f"the prior of loadings is {prior}, but only normal ones with mean 0 are the same however the factors are "
                "rotated: give pz.Normal(0, sigma)."
            )

    def alternatives(self):
        """One family for each number of factors."""
        if isinstance(self.n_factors, int):
            return (self,)
        return tuple(replace(self, n_factors=q) for q in self.n_factors)

    @cached_property
    def _normal(self) -> MvNormal:
        return MvNormal(mu=self.mu)

    @property
    def _q(self) -> int:
        assert isinstance(self.n_factors, int)
        return self.n_factors

    @property
    def takes_missing(self):
        """The likelihood of the cells that are there is normal again."""
        return True

    @property
    def parameters(self):
        """Mu (cluster, feature), loadings (cluster, feature, factor) and sigma (cluster, feature)."""
        return (
            Parameter("mu", ("feature",)),
            Parameter("loadings", ("feature", "factor")),
            Parameter("sigma", ("feature",), POSITIVE),
        )

    @property
    def kernel(self):
        """The pass with full matrices."""
        return "full"

    def coords(self, data):
        """Columns, and factors by number."""
        return {"feature": np.array(data.feature), "factor": np.arange(self._q)}

    def check_data(self, data, n_components):
        """As of `MvNormal`, and enough columns for the factors."""
        d, q = data.n_features, self._q
        most = max((j for j in range(1, d) if (d - j) ** 2 >= d + j), default=0)
        if q > most:
            raise ValueError(
                f"n_factors={q}, but {d} columns have correlations for at most {most} factor{'s' * (most != 1)}: with more "
                "there are as many parameters as in a covariance matrix; use bm.MvNormal()."
            )
        self._normal.check_data(data, n_components)

    def check_parameters(self, params, n_components):
        """Mu and sigma of shape (K, D), loadings of shape (K, D, q), which are rotated to zeros above the diagonal."""
        mu = np.asarray(params["mu"], dtype=float)
        d, words = mu.shape[-1] if mu.ndim == 2 else 2, f"{n_components} components"
        mu, sigma = (full_shape(params[name], (n_components, d), name, words) for name in ("mu", "sigma"))
        loadings = full_shape(params["loadings"], (n_components, d, self._q), "loadings", words)
        if np.any(sigma <= 0):
            raise ValueError(f"sigma is a standard deviation and must be positive, but it holds {sigma.min():g}.")
        return {"mu": mu, "loadings": rotated(loadings), "sigma": sigma}

    @staticmethod
    def covariances(params: dict):
        """Covariance matrices (..., cluster, feature, feature), by NumPy or PyTensor."""
        loadings, sigma = params["loadings"], params["sigma"]
        xp = namespace(loadings, sigma)
        shared = xp.sum(loadings[..., :, None, :] * loadings[..., None, :, :], -1)
        return shared + sigma[..., :, None] ** 2 * np.eye(_static_size(sigma))

    def _as_normal(self, params):
        own = {"mu": params["mu"], "cov": self.covariances(params)}
        return own | {name: params[name] for name in ("weights", "precision_factor") if name in params}

    # -- the formula and prediction: as of normal components -------------------------------------------------------------------
    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, feature) -> (..., obs, cluster)."""
        return self._normal.log_density(x, self._as_normal(params))

    def observed_log_density(self, x, missing, params):
        """Normal again, with the rows of mu, loadings and sigma that belong to the cells that are there."""
        return self._normal.observed_log_density(x, missing, self._as_normal(params))

    def missing_moments(self, x, gone, params):
        """Conditional mean and variances."""
        return self._normal.missing_moments(x, gone, self._as_normal(params))

    def sample_missing(self, x, gone, params, labels, rng):
        """From the conditional distribution."""
        return self._normal.sample_missing(x, gone, self._as_normal(params), labels, rng)

    def marginal(self, kept, params):
        """Normal, with the entries of mu and the covariance that belong to these columns."""
        return self._normal.marginal(kept, self._as_normal(params))

    def conditional(self, given, params):
        """Normal, with the conditional mean and covariance."""
        return self._normal.conditional(given, self._as_normal(params))

    def cdf(self, x, params):
        """P(X_1 <= x_1, ..., X_D <= x_D), as of `MvNormal`."""
        return self._normal.cdf(x, self._as_normal(params))

    def marginal_cdf(self, x, params, feature):
        """Normal distribution function of one feature."""
        return self._normal.marginal_cdf(x, self._as_normal(params), feature)

    def marginal_quantile(self, q, params):
        """Normal quantiles, feature by feature."""
        return self._normal.marginal_quantile(q, self._as_normal(params))

    def sample(self, params, rng):
        """One row per row of the parameters: mu + Lambda f + e."""
        f = rng.standard_normal((*params["mu"].shape[:-1], self._q, 1))
        errors = params["sigma"] * rng.standard_normal(params["mu"].shape)
        return params["mu"] + np.matmul(params["loadings"], f)[..., 0] + errors

    # -- the pass --------------------------------------------------------------------------------------------------------
    def rows(self, data):
        """The columns as they are; rows in which the same cells are missing together."""
        return self._normal.rows(data)

    def kernel_arguments(self, params):
        """Mu and P."""
        return self._normal.kernel_arguments(self._as_normal(params))

    def initial_params(self, data, n_components):
        """The mean, and the factors of the data's covariance, for every component."""
        mean, cov = covariance(data)
        loadings, sigma = maximum(cov, self._q)
        return {
            "mu": np.repeat(mean[None], n_components, axis=0),
            "loadings": np.repeat(loadings[None], n_components, axis=0),
            "sigma": np.repeat(sigma[None], n_components, axis=0),
        }

    def m_step(self, params, statistics, guard=None):
        """Weighted means, and the factors of the scatter about them; a component without rows keeps what it had."""
        mean, scatter = recentre(params["mu"], statistics)
        cov = pooled_with_guard(scatter, statistics.n, guard)
        left = is_empty(statistics.n, guard)
        loadings, sigma = params["loadings"].copy(), params["sigma"].copy()
        for k in np.flatnonzero(~left):
            if not (np.all(np.isfinite(cov[k])) and np.all(np.diag(cov[k]) > 0)):
                sigma[k] = np.nan  # collapsed
                continue
            loadings[k], sigma[k] = maximum(cov[k], self._q, params["loadings"][k], params["sigma"][k])
        return {"mu": mean, "loadings": rotated(loadings), "sigma": sigma}

    def canonical(self, params):
        """Loadings with zeros above a positive diagonal."""
        return params | {"loadings": rotated(params["loadings"])}

    def guard(self, data, strength):
        """Rows of the data's own covariance."""
        return self._normal.guard(data, strength)

    def guard_around(self, params, strength):
        """Rows of the covariance pooled within the components."""
        return self._normal.guard_around(self._as_normal(params), strength)

    def collapsed(self, params, data):
        """Smallest eigenvalue of each covariance, every column scaled to unit variance within components."""
        return self._normal.collapsed(self._as_normal(params), data)

    def thin_direction(self, params, k):
        """Eigenvector of that smallest eigenvalue."""
        return self._normal.thin_direction(self._as_normal(params), k)

    # -- free coordinates: mu, then for each component the loadings that are free and log sigma ----------------------------------
    def n_free(self, n_components, n_features):
        """D q - q (q - 1) / 2 + 2 D for each component."""
        return n_components * (2 * n_features + len(self._places(n_features)[0]))

    def _places(self, d):
        """Rows and columns of the loadings on and below the diagonal."""
        return np.nonzero(np.tri(d, self._q))

    def to_vector(self, params):
        """Means, then loadings and log sigma of one component after the other."""
        rows, columns = self._places(params["mu"].shape[-1])
        own = np.concatenate([params["loadings"][:, rows, columns], np.log(params["sigma"])], axis=1)
        return np.concatenate([params["mu"].ravel(), own.ravel()])

    def from_vector(self, vector, n_components, n_features):
        """Parameters at these coordinates."""
        lead, k, d = vector.shape[:-1], n_components, n_features
        rows, columns = self._places(d)
        own = vector[..., k * d :].reshape(*lead, k, -1)
        loadings = np.zeros((*lead, k, d, self._q))
        loadings[..., rows, columns] = own[..., : len(rows)]
        mu = vector[..., : k * d].reshape(*lead, k, d)
        return {"mu": mu, "loadings": loadings, "sigma": np.maximum(np.exp(own[..., len(rows) :]), _least(loadings))}

    def vector_gradient(self, params, d_a, d_b):
        """Gradient in mu, 2 G Lambda in the loadings and 2 G_jj sigma_j^2 in log sigma, G that in the covariance.

        Where sigma is as small as it goes, it moves with the loadings.
        """
        rows, columns = self._places(params["mu"].shape[-1])
        g = _in_covariance(self.kernel_arguments(params)[1], d_b)
        of_sigma = 2.0 * np.diagonal(g, axis1=1, axis2=2) * params["sigma"] ** 2
        held = (params["sigma"] <= _least(params["loadings"]) * (1.0 + 1e-9)) & (of_sigma < 0)
        with_them = np.where(held, of_sigma / np.sum(params["loadings"] ** 2, axis=-1), 0.0)[..., None]
        of_loadings = (2.0 * g @ params["loadings"] + with_them * params["loadings"])[:, rows, columns]
        of_sigma = np.where(held, 0.0, of_sigma)
        return np.concatenate([d_a.ravel(), np.concatenate([of_loadings, of_sigma], axis=1).ravel()])

    def vector_curvature(self, params, d_a, d_b):
        """Derivative of `vector_gradient` with d_a and d_b held fixed, in blocks."""
        k, d = params["mu"].shape
        rows, columns = self._places(d)
        size, of_loadings = len(rows) + d, len(rows)
        factor = self.kernel_arguments(params)[1]
        whole = np.zeros((k * d + k * size,) * 2)
        for c in range(k):
            loadings, sigma = params["loadings"][c], params["sigma"][c]
            moved = np.zeros((size, d, d))  # the covariance, in each coordinate
            moved[np.arange(of_loadings), rows] = loadings[:, columns].T
            moved[of_loadings + np.arange(d), np.arange(d), np.arange(d)] = sigma**2
            moved = moved + moved.swapaxes(1, 2)
            g, bend = _in_covariance(factor[c], d_b[c]), _bend(factor[c], d_b[c], moved)
            block = np.empty((size, size))
            block[:, :of_loadings] = 2.0 * (bend @ loadings)[:, rows, columns]
            block[:, of_loadings:] = 2.0 * np.diagonal(bend, axis1=1, axis2=2) * sigma**2
            block[:of_loadings, :of_loadings] += 2.0 * (columns[:, None] == columns) * g[rows[:, None], rows]
            block[of_loadings:, of_loadings:] += np.diag(4.0 * np.diag(g) * sigma**2)
            own = slice(k * d + c * size, k * d + (c + 1) * size)
            whole[own, own] = 0.5 * (block + block.T)
        return whole

    def vector_jacobian(self, params):
        """1 for means and loadings, sigma for log sigma."""
        k, d = params["mu"].shape
        rows, columns = self._places(d)
        size, n = len(rows) + d, self.n_free(k, d)
        jacobian = {"mu": np.zeros((k, d, n)), "loadings": np.zeros((k, d, self._q, n)), "sigma": np.zeros((k, d, n))}
        jacobian["mu"].reshape(k * d, n)[range(k * d), range(k * d)] = 1.0
        for c in range(k):
            at = k * d + c * size
            jacobian["loadings"][c, rows, columns, at + np.arange(len(rows))] = 1.0
            jacobian["sigma"][c, range(d), at + len(rows) + np.arange(d)] = params["sigma"][c]
        return jacobian

    def coordinate_scale(self, params):
        """Standard deviations for means and loadings, 1 for log sigma."""
        sd = np.sqrt(np.diagonal(self.covariances(params), axis1=1, axis2=2))
        rows, _ = self._places(sd.shape[1])
        return np.concatenate([sd.ravel(), np.concatenate([sd[:, rows], np.ones_like(sd)], axis=1).ravel()])

    def inside(self, params):
        """Loadings in the form in which they are sampled, with a diagonal that is not zero."""
        loadings = rotated(params["loadings"])
        sd = np.sqrt(np.diagonal(self.covariances(params), axis1=1, axis2=2))
        every = np.arange(self._q)
        loadings[:, every, every] = np.maximum(loadings[:, every, every], 1e-3 * sd[:, : self._q])
        return {"loadings": loadings}

    # -- priors ----------------------------------------------------------------------------------------------------------
    def default_priors(self, data, n_components):
        """See the class."""
        middle, width = midrange(data)
        cov = covariance(data)[1]
        half = 0.5 * np.diag(cov) * volume_scale(n_components or 2, len(cov))
        return Priors(
            {
                "mu": Prior.of("Normal", mu=middle, sigma=width),
                "loadings": Prior.of("Normal", mu=0.0, sigma=np.sqrt(half / self._q)),
                "sigma": ScaledInverseChiSquared(3.0, np.sqrt(half / 3.0)),
            },
            {
                "mu": "midrange and range of each column (Richardson & Green 1997)",
                "loadings": "half of the data's variances, shared out over K components (Fraley & Raftery 2007)",
                "sigma": "the other half",
            },
        )

    def pymc_variables(self, priors, n_components, n_features):
        """Mu, loadings and sigma, with P beside them."""
        from .covariance.factor import precision_factor as factor_of
        from .loadings_variable import loadings as make

        feature = dim("feature")
        scale = np.broadcast_to(priors["loadings"].kwargs["sigma"], (n_features,))
        params = {
            "mu": priors["mu"].variable("mu", dims=("cluster", feature)),
            "loadings": make(scale, n_components, self._q),
            "sigma": priors["sigma"].variable("sigma", dims=("cluster", feature), shape=(n_components, n_features)),
        }
        factor: Any = factor_of(self.covariances(params))
        return params | {"precision_factor": factor}, (params["mu"], factor)

    def pymc_dist(self, params):
        """PyMC's normal distribution of this covariance."""
        import pymc as pm

        return pm.MvNormal.dist(params["mu"], cov=self.covariances(params))


def rotated(loadings: np.ndarray) -> np.ndarray:
    """The same loadings (..., feature, factor) for rotated factors: zeros above a diagonal that is not negative."""
    q, r = np.linalg.qr(np.swapaxes(loadings, -1, -2))
    signs = np.where(np.diagonal(r, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    lower = np.swapaxes(r * signs[..., :, None], -1, -2)
    return np.where(np.tri(*loadings.shape[-2:], dtype=bool), lower, 0.0)


def _least(loadings: np.ndarray) -> np.ndarray:
    """Smallest sigma (..., feature) that goes with these loadings."""
    return np.sqrt(LEAST / (1.0 - LEAST) * np.sum(loadings**2, axis=-1))


def _static_size(value) -> int:
    """Length of the last axis of an array, or of a PyTensor variable, whose type has to know it."""
    shape = value.shape if isinstance(value, np.ndarray) else value.type.shape
    return shape[-1]


def _in_covariance(factor, d_factor):
    """Gradient in the covariance, symmetric, from that in P.

    dP = -Phi(P dSigma P') P, where Phi keeps the lower triangle and half of the diagonal.
    """
    d = factor.shape[-1]
    half = (np.tri(d) - 0.5 * np.eye(d)) * (d_factor @ np.swapaxes(factor, -1, -2))
    return -0.5 * np.swapaxes(factor, -1, -2) @ (half + np.swapaxes(half, -1, -2)) @ factor


def _bend(factor, d_factor, moved):
    """Change of `_in_covariance` when the covariance moves in several directions (direction, D, D)."""
    d = len(factor)
    keep = np.tri(d) - 0.5 * np.eye(d)
    half = keep * (d_factor @ factor.T)
    middle = half + half.T
    change = -(keep * (factor @ moved @ factor.T)) @ factor  # of P
    half_change = keep * (d_factor @ change.swapaxes(1, 2))
    middle_change = half_change + half_change.swapaxes(1, 2)
    side = change.swapaxes(1, 2) @ (middle @ factor)
    return -0.5 * (side + side.swapaxes(1, 2) + factor.T @ middle_change @ factor)


# -- the maximum for one covariance matrix -----------------------------------------------------------------------------------
def maximum(cov: np.ndarray, n_factors: int, loadings=None, sigma=None) -> tuple[np.ndarray, np.ndarray]:
    r"""Loadings and sigma that maximise the normal likelihood of rows with this covariance matrix.

    Given the variances :math:`\psi = \sigma^2` the best loadings are known: with eigenvalues :math:`\theta_m` and
    eigenvectors :math:`\omega_m` of :math:`\Psi^{-1/2} S \Psi^{-1/2}` they are
    :math:`\Psi^{1/2} \omega_m (\theta_m - 1)^{1/2}` for the largest q that exceed 1. What is left to minimise is
    :math:`F = \sum_i \log \psi_i + \sum_{m \le q} (\log \theta_m + 1) + \sum_{m > q} \theta_m` (Jöreskog 1967), by Newton's
    method in log psi. It starts from loadings and sigma that are given, and returns nothing worse.
    """
    sd = np.sqrt(np.diag(cov))
    correlation = cov / (sd[:, None] * sd)
    if sigma is None:
        inverse = np.linalg.inv(correlation + 1e-6 * np.eye(len(sd)))
        log_psi = np.log((1.0 - 0.5 * n_factors / len(sd)) / np.diag(inverse))
    else:
        log_psi = 2.0 * np.log(sigma / sd)
    floor = np.full(len(sd), np.log(LEAST))
    log_psi, damping = np.maximum(log_psi, floor), 0.0
    value, values, vectors, left = _profile(correlation, log_psi, n_factors)
    for _ in range(MOST_STEPS):
        gradient, hessian = _derivatives(values, vectors, left)
        floor = np.log(LEAST) - np.log1p(-LEAST * np.maximum(gradient, 0.0))  # of the variance, where that is not cov's
        free = ~((log_psi <= floor) & (gradient > 0))
        if not free.any():
            break
        curvature, axes = np.linalg.eigh(hessian[np.ix_(free, free)])
        step = np.zeros_like(log_psi)
        size = np.maximum(np.abs(curvature), 1e-10) + damping
        step[free] = -axes @ ((axes.T @ gradient[free]) / size)
        step *= min(1.0, 3.0 / max(np.abs(step).max(), 1e-300))
        tried = np.maximum(log_psi + step, floor)
        found = _profile(correlation, tried, n_factors)
        if not found[0] <= value + 1e-15 * (abs(value) + len(sd) * values[-1]):
            damping = max(4.0 * damping, 1e-2)
            if damping > 1e8:
                break
            continue
        settled = np.abs(tried - log_psi).max() < SETTLED or gradient @ step > -FLAT
        damping = 0.0 if damping < 1e-2 else 0.1 * damping
        log_psi, (value, values, vectors, left) = tried, found
        if settled:
            break
    if loadings is not None and sigma is not None:
        before = _objective(correlation, loadings / sd[:, None], sigma / sd)
        if value > before + ROUNDING * max(1.0, abs(before)):
            return loadings, sigma
    root = np.exp(0.5 * log_psi)
    axes = vectors[:, ~left] * np.sqrt(values[~left] - 1.0)
    new = np.zeros((len(sd), n_factors))
    new[:, : axes.shape[1]] = root[:, None] * axes[:, ::-1]
    return rotated(new * sd[:, None]), root * sd


def _profile(cov, log_psi, n_factors):
    """F, eigenvalues, eigenvectors, and which of them are left to the errors."""
    root = np.exp(-0.5 * log_psi)
    values, vectors = np.linalg.eigh(root[:, None] * cov * root)
    left = (np.arange(len(values)) < len(values) - n_factors) | (values <= 1.0)
    return log_psi.sum() + np.sum(np.log(values[~left]) + 1.0) + values[left].sum(), values, vectors, left


def _derivatives(values, vectors, left):
    """Gradient and Hessian of F in log psi (Clarke 1970)."""
    residual, common = vectors[:, left], vectors[:, ~left]
    small, large = values[left], values[~left]
    gradient = residual**2 @ (1.0 - small)
    hessian = ((residual * small) @ residual.T) * (residual @ residual.T)
    with np.errstate(divide="ignore", invalid="ignore"):
        mixed = (1.0 - small[:, None]) * (small[:, None] + large) / (small[:, None] - large)
    pairs = (residual[:, :, None] * common[:, None, :]).reshape(len(vectors), -1)
    return gradient, hessian - (pairs * np.nan_to_num(mixed, posinf=0.0, neginf=0.0).ravel()) @ pairs.T


def _objective(cov, loadings, sigma):
    """Log determinant of the covariance, and the trace of its inverse times `cov`."""
    factor = precision_factor(loadings @ loadings.T + np.diag(sigma**2))
    return -2.0 * np.log(np.diag(factor)).sum() + np.sum((factor @ cov) * factor)
