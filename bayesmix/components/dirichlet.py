"""Dirichlet components for rows of shares."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE, Prior, Priors, dim
from ..weight_priors import Dirichlet as WeightsDirichlet
from .base import Component, Guard, Parameter, Rows, full_shape
from .beta import LEAST_ROWS, PER_COMPONENT, Beta
from .normal import _weights, moments

SUM = 1e-6  # by how much the sum of a row may miss 1
MOST_STEPS = 200  # of Newton's method in an M-step
SETTLED = 1e-14  # gain of a step, in nats per row, below which it is the last
ROUNDED = 1e-10  # gain, in nats per row, that rounding may hide: such a step is taken unseen
POINTS = 2**12  # of quasi-Monte Carlo integration


@dataclass(frozen=True)
class Dirichlet(Component):
    r"""Dirichlet components for rows of shares: compositions, proportions of a whole, each row positive with sum 1.

    .. math:: p(x) = \frac{\Gamma(\alpha_0)}{\prod_d \Gamma(\alpha_d)} \prod_d x_d^{\alpha_d - 1}, \qquad
              \alpha_0 = \sum_d \alpha_d

    with concentrations `alpha` > 0 of shape (cluster, feature); the density is with respect to all shares but one, as in
    SciPy and PyMC (Kotz, Balakrishnan & Johnson 2000, ch. 49). The mean of a share is alpha_d / alpha_0, its variance
    m (1 - m) / (alpha_0 + 1): one number says how widely all shares vary, and they are as little correlated as their sum
    allows. Rows must sum to 1 within 1e-6. A share of 0 lies off the support.

    ``bm.Dirichlet()`` makes it: the name is that of the prior of weights too, which becomes this family as the component of
    a mixture, ``bm.Mixture(bm.Dirichlet(), 3)``, as a part of a product, or in a list of families.

    Parameters
    ----------
    alpha : PreliZ distribution, optional
        Prior of every entry of alpha, for Bayesian engines. By default log-normal, with log standard deviation 1, about the
        values that give the data's means, and 1 / K^2 of their variance. EM does not use it.

    Raises
    ------
    TypeError, ValueError
        If the prior is not a distribution of positive numbers.
    """

    alpha: object = None
    multivariate = True
    guarded = True

    def __post_init__(self):
        self._check_priors(alpha=POSITIVE)

    @property
    def parameters(self):
        """The concentrations, (cluster, feature)."""
        return (Parameter("alpha", ("feature",), POSITIVE),)

    @property
    def kernel(self):
        """The pass over sufficient statistics: T = log x, eta = alpha - 1."""
        return "linear"

    def check_data(self, data, n_components):
        """At least two columns of positive shares whose sum is 1 in every row, not all rows the same."""
        if data.n_features < 2:
            raise ValueError(
                "Dirichlet shares 1 out over columns, but the data have one; use bm.Beta() for single shares."
            )
        x = data.values
        low = ~(x > 0)
        if low.any():
            row, column = (int(i) for i in np.argwhere(low)[0])
            raise ValueError(
                f"Dirichlet describes shares > 0, but {int(low.any(axis=1).sum())} of {len(x)} rows hold others; the first is "
                f"row {row} with {x[row, column]:g} in column {data.feature[column]!r}. A share of 0 has no finite density: "
                "shrink all rows a little, (x * (n - 1) + 1 / D) / n with n rows and D columns (Smithson & Verkuilen 2006), "
                "add such columns up with others, or describe the counts behind the shares by bm.Multinomial()."
            )
        total = x.sum(axis=1)
        off = np.abs(total - 1.0) > SUM
        if off.any():
            row = int(np.argmax(off))
            raise ValueError(
                f"Dirichlet describes rows that sum to 1 (within {SUM:g}), but {int(off.sum())} of {len(x)} do not; the "
                f"first is row {row}, which sums to {total[row]:.10g}. Divide each row by its sum, or add a column with the "
                "rest."
            )
        rows = x if data.weights is None else x[data.weights > 0]
        if np.all(rows == rows[0]):
            raise ValueError(f"all {len(rows)} rows are the same: there is no variation to learn concentrations from.")

    def check_parameters(self, params, n_components):
        """Positive concentrations of shape (n_components, feature)."""
        alpha = np.asarray(params["alpha"], dtype=float)
        d = alpha.shape[1] if alpha.ndim == 2 else 2
        alpha = full_shape(alpha, (n_components, d), "alpha", f"{n_components} components")
        if np.any(alpha <= 0):
            raise ValueError(f"alpha must be positive, but it holds {alpha.min():g}.")
        return {"alpha": alpha}

    def n_features_of(self, params):
        """Number of columns."""
        return params["alpha"].shape[1]

    # -- the formula -----------------------------------------------------------------------------------------------------
    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, feature), alpha (..., cluster, feature) -> (..., obs, cluster)."""
        alpha = params["alpha"]
        xp = namespace(x, alpha)
        total = xp.sum(x, -1)
        outside = xp.sum(xp.where(x > 0, 0.0, 1.0), -1) + xp.where(xp.abs(total - 1.0) <= SUM, 0.0, 1.0)
        logs = xp.log(xp.where(x > 0, x, 1.0))
        constant = xp.gammaln(xp.sum(alpha, -1)) - xp.sum(xp.gammaln(alpha), -1)
        density = constant + xp.sum((alpha - 1.0) * logs[..., None, :], -1)
        return xp.where((outside <= 0)[..., None], density, -np.inf)

    def marginal(self, kept, params):
        """Of one share: a beta distribution."""
        if len(kept) != 1:
            return super().marginal(kept, params)
        alpha = params["alpha"]
        return Beta(), {"alpha": alpha[..., kept[0]], "beta": alpha.sum(axis=-1) - alpha[..., kept[0]]}

    def cdf(self, x, params):
        """P(X_1 <= x_1, ..., X_D <= x_D) for each component, by quasi-Monte Carlo, to about 1e-5."""
        x, alpha = np.asarray(x, dtype=float), np.asarray(params["alpha"], dtype=float)
        lead = np.broadcast_shapes((*x.shape[:-1], 1), alpha.shape[:-1])
        points, alphas = (np.broadcast_to(a, (*lead, x.shape[-1])) for a in (x[..., None, :], alpha))
        out = np.empty(lead)
        for at in np.ndindex(*lead):
            out[at] = _cdf(points[at], alphas[at])
        return out

    def marginal_cdf(self, x, params, feature):
        """Beta distribution function of one share."""
        from scipy.special import betainc

        own = params["alpha"][..., feature]
        return betainc(own, params["alpha"].sum(axis=-1) - own, np.clip(np.asarray(x)[:, None], 0.0, 1.0))

    def marginal_quantile(self, q, params):
        """Quantile of the beta distribution of each share."""
        from scipy.special import betaincinv

        alpha = params["alpha"]
        return betaincinv(alpha, alpha.sum(axis=-1, keepdims=True) - alpha, q)

    def sample(self, params, rng):
        """One row per row of the parameters: gamma variables over their sum, in logarithms, so that none is 0."""
        alpha = np.asarray(params["alpha"], dtype=float)
        logs = np.log(rng.standard_gamma(alpha + 1.0)) + np.log(rng.uniform(size=alpha.shape)) / alpha
        shares = np.exp(logs - logs.max(axis=-1, keepdims=True))
        return shares / shares.sum(axis=-1, keepdims=True)

    # -- the pass --------------------------------------------------------------------------------------------------------
    def statistics(self, x):
        """Logarithms of the shares."""
        with np.errstate(divide="ignore"):
            return np.log(x)

    def rows(self, data):
        """Logarithms of the shares."""
        return Rows(np.ascontiguousarray(self.statistics(data.values)), _weights(data), 0.0)

    def kernel_arguments(self, params):
        """Eta = alpha - 1, A = sum of log Gamma(alpha) - log Gamma(alpha_0)."""
        from scipy.special import gammaln

        alpha = np.asarray(params["alpha"], dtype=float)
        return alpha - 1.0, gammaln(alpha).sum(axis=-1) - gammaln(alpha.sum(axis=-1))

    def initial_params(self, data, n_components):
        """Concentrations of the data's means and variances, for every component."""
        return {"alpha": np.repeat(_of_moments(*moments(data))[None], n_components, axis=0)}

    def m_step(self, params, statistics, guard=None):
        """The maximum, by Newton's method (Minka 2000, *Estimating a Dirichlet distribution*, sec. 1).

        Its Hessian is a diagonal matrix and a constant one, so that a step costs no more than the gradient. A component
        without rows keeps its concentrations.
        """
        from scipy.special import polygamma, psi

        alpha, n = np.array(params["alpha"], dtype=float), statistics.n[:, None]
        active = np.flatnonzero(statistics.n > 0)
        value = self._expected(alpha, statistics, guard)
        for _ in range(MOST_STEPS):
            if not len(active):
                break
            a, rows, total = alpha[active], n[active], alpha[active].sum(axis=1, keepdims=True)
            gradient = rows * (psi(total) - psi(a)) + statistics.first[active]
            along, common = -rows * polygamma(1, a), rows * polygamma(1, total)
            if guard is not None:
                slope, bend = self._of_guard(total, guard)[1:]
                gradient, common = gradient + slope, common + bend
            shift = (gradient / along).sum(axis=1, keepdims=True) / (
                1.0 / common + (1.0 / along).sum(axis=1, keepdims=True)
            )
            step = -(gradient - shift) / along
            gain = (gradient * step).sum(axis=1)
            down = np.where(step < 0, -a / np.where(step < 0, step, -1.0), np.inf).min(axis=1, keepdims=True)
            step, tried, new = step * np.minimum(1.0, 0.9 * down), alpha.copy(), value
            worse = np.zeros(len(active), dtype=bool)
            for _ in range(40):
                tried[active] = a + step
                new = self._expected(tried, statistics, guard)
                worse = (new[active] < value[active]) & (gain > ROUNDED * rows[:, 0])
                if not worse.any():
                    break
                step = np.where(worse[:, None], 0.5 * step, step)
            better = ~worse
            alpha[active[better]], value = tried[active[better]], np.maximum(new, value)
            active = active[better & (gain > SETTLED * np.maximum(rows[:, 0], 1e-300))]
        return {"alpha": alpha}

    def _expected(self, alpha, statistics, guard):
        """Expected log-likelihood of each component, (cluster,), and its guard."""
        eta, log_partition = self.kernel_arguments({"alpha": alpha})
        value = (eta * statistics.first).sum(axis=1) - statistics.n * log_partition
        return value if guard is None else value + self._of_guard(alpha.sum(axis=1), guard)[0]

    # -- the guard: normal rows of variance 1 / (alpha_0 + 1), whatever the mean --------------------------------------------
    @staticmethod
    def _of_guard(total, guard):
        """Value and first two derivatives in alpha_0 of n rows of such noise: n / 2 log(alpha_0 + 1) - S (alpha_0 + 1) / 2."""
        n, square = float(guard.n), float(np.ravel(guard.second)[0])
        own = total + 1.0
        return 0.5 * (n * np.log(own) - square * own), 0.5 * (n / own - square), -0.5 * n / own**2

    def guard(self, data, strength):
        """Rows that vary as one component for all of the data does."""
        return Guard(strength, np.atleast_1d(strength / (_of_moments(*moments(data)).sum() + 1.0)))

    def guard_around(self, params, strength):
        """Rows that vary as those within components do."""
        return Guard(strength, np.atleast_1d(strength * (params["weights"] @ _squared_spread(params))))

    def guard_value(self, params, guard):
        """Log density of such rows, summed over components."""
        return float(self._of_guard(params["alpha"].sum(axis=-1), guard)[0].sum())

    def guard_score(self, params, guard):
        """Gradient in eta, and none in A."""
        slope = self._of_guard(params["alpha"].sum(axis=-1), guard)[1]
        return np.repeat(slope[:, None], params["alpha"].shape[1], axis=1), np.zeros(len(slope))

    def guard_curvature(self, params, guard):
        """Second derivatives in eta, (cluster, feature, feature)."""
        bend, d = self._of_guard(params["alpha"].sum(axis=-1), guard)[2], params["alpha"].shape[1]
        return np.broadcast_to(bend[:, None, None], (len(bend), d, d))

    def collapsed(self, params, data):
        """1 / (alpha_0 + 1) of each component over that pooled within components."""
        squared = _squared_spread(params)
        return squared / (params["weights"] @ squared)

    # -- free coordinates: log alpha -----------------------------------------------------------------------------------------
    def n_free(self, n_components, n_features):
        """One for each share and component."""
        return n_components * n_features

    def to_vector(self, params):
        """Logarithms, of one component after the other."""
        return np.log(params["alpha"]).ravel()

    def from_vector(self, vector, n_components, n_features):
        """Concentrations at these coordinates."""
        return {"alpha": np.exp(vector).reshape(*vector.shape[:-1], n_components, -1)}

    def vector_gradient(self, params, d_a, d_b):
        """Alpha times the gradient in eta, and in A times its derivative, digamma(alpha) - digamma(alpha_0)."""
        return (params["alpha"] * self._in_alpha(params, d_a, d_b)).ravel()

    @staticmethod
    def _in_alpha(params, d_a, d_b):
        from scipy.special import psi

        alpha = params["alpha"]
        return d_a + d_b[:, None] * (psi(alpha) - psi(alpha.sum(axis=1, keepdims=True)))

    def vector_curvature(self, params, d_a, d_b):
        """Second derivatives of eta and A, within each component."""
        from scipy.special import polygamma

        alpha = params["alpha"]
        k, d = alpha.shape
        total = alpha.sum(axis=1)
        curvature = np.zeros((k, d, k, d))
        own = alpha * self._in_alpha(params, d_a, d_b) + d_b[:, None] * alpha**2 * polygamma(1, alpha)
        common = d_b * polygamma(1, total)
        for i in range(k):
            curvature[i, :, i, :] = np.diag(own[i]) - common[i] * np.outer(alpha[i], alpha[i])
        return curvature.reshape(k * d, k * d)

    def vector_jacobian(self, params):
        """Alpha itself, on the diagonal."""
        alpha = params["alpha"]
        return {"alpha": np.diag(alpha.ravel()).reshape(*alpha.shape, alpha.size)}

    def coordinate_scale(self, params):
        """1 for logarithms."""
        return np.ones(params["alpha"].size)

    # -- priors ----------------------------------------------------------------------------------------------------------
    def default_priors(self, data, n_components):
        """See the class."""
        mean, variance = moments(data)
        centre = _of_moments(mean, variance / (n_components or PER_COMPONENT) ** 2)
        prior = Prior.of("LogNormal", POSITIVE, mu=np.log(centre), sigma=1.0)
        return Priors({"alpha": prior}, {"alpha": "means of the data, and their variances / K^2"})

    def pymc_variables(self, priors, n_components, n_features):
        """Alpha with dims cluster and feature."""
        import pytensor.tensor as pt

        alpha: Any = priors["alpha"].variable("alpha", dims=("cluster", dim("feature")))
        each, total = pt.gammaln(alpha), cast(Any, pt.gammaln(pt.sum(alpha, axis=-1)))
        return {"alpha": alpha}, (alpha - 1.0, pt.sum(each, axis=-1) - total)

    def pymc_dist(self, params):
        """PyMC's distribution of the same name."""
        import pymc as pm

        return pm.Dirichlet.dist(params["alpha"])


def as_family(value):
    """The family of components that a Dirichlet distribution stands for where components are asked for."""
    if not isinstance(value, WeightsDirichlet):
        return value
    if value.alpha is not None and not value.hyper:
        raise TypeError(
            f"alpha of {value} components is {value.alpha!r}, but it is estimated: leave it out, bm.Dirichlet(), or give "
            "its prior, bm.Dirichlet(pz.Gamma(2, 0.5))."
        )
    return Dirichlet(value.alpha)


def _of_moments(mean, variance):
    """Concentrations (feature,) of these means; of alpha_0 the median of what the variances of the shares say."""
    some = variance > 0
    total = np.maximum(np.median((mean * (1.0 - mean))[some] / variance[some]) - 1.0, LEAST_ROWS) if some.any() else 1.0
    return mean * total


def _squared_spread(params):
    return 1.0 / (params["alpha"].sum(axis=-1) + 1.0)


def _cdf(x, alpha):
    """P(X <= x) of one row: shares are beta variables of what the ones before left (Genz's way of conditioning, 1992)."""
    from scipy.special import betainc, betaincinv
    from scipy.stats import qmc

    if np.any(x <= 0) or np.minimum(x, 1.0).sum() < 1.0:
        return 0.0
    d = len(x)
    engine: Any = qmc.Sobol
    draws = engine(d - 2, rng=np.random.default_rng(0)).random(POINTS) if d > 2 else np.empty((1, 0))
    left, value = np.ones(len(draws)), np.ones(len(draws))
    behind = np.cumsum(np.minimum(x, 1.0)[::-1])[::-1]  # what this share and later ones can take
    rest = np.cumsum(alpha[::-1])[::-1]
    for j in range(d - 1):
        high = np.clip(x[j] / left, 0.0, 1.0)
        low = np.clip((left - behind[j + 1]) / left, 0.0, 1.0)
        at_low, at_high = (betainc(alpha[j], rest[j + 1], end) for end in (low, high))
        value *= np.maximum(at_high - at_low, 0.0)
        if j < d - 2:
            q = at_low + draws[:, j] * np.maximum(at_high - at_low, 0.0)
            left = np.maximum(left * (1.0 - betaincinv(alpha[j], rest[j + 1], q)), 1e-300)
    return float(value.mean())
