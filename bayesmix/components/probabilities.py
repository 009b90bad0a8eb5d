r"""What families of outcomes with probabilities share: Bernoulli, binomial, geometric, categorical, multinomial.

.. math:: \log p(x) = \sum_j T_j(x) \log p_j + \log h(x), \qquad \sum_j p_j = 1

with T_j how often outcome j occurred. A maximum-likelihood estimate of exactly 0 or 1 is legitimate: 0 times log 0
counts as 0.

Free coordinates are the logits of a sequence of choices, outcome j or a later one,
:math:`v_j = \log p_j - \log \sum_{i > j} p_i` (continuation ratios, Agresti 2013, sec. 8.3.4): of two outcomes the
logit. In them the log density is concave, with a diagonal Hessian, and any outcome can have probability 0.
"""

from abc import abstractmethod
from typing import Any

import numpy as np

from ..arrays import check_counts, check_one_column
from ..priors import UNIT, Prior
from .base import OUTCOMES, Component, Parameter, Rows, full_shape
from .normal import _weights

FLATTEST = 1e-8  # information of a logit per row, below which steps in it are not measured by it any more
INSIDE = 1e-4  # probability that an outcome is given where none at all has no finite logit


class Probabilities(Component):
    """A family whose parameters are the probabilities of J outcomes, the same J for every component."""

    compiled_step = "linear"

    # -- what a family states ------------------------------------------------------------------------------------------
    @abstractmethod
    def statistics(self, x):
        """How often each outcome occurred in each row, (obs, feature) -> (obs, J)."""

    @abstractmethod
    def outcomes(self, params: dict) -> np.ndarray:
        """Probability of each outcome, (..., cluster, J)."""

    @abstractmethod
    def named(self, p: np.ndarray) -> dict:
        """Parameters by name from the probabilities of outcomes (..., cluster, J)."""

    def log_base_measure(self, x) -> np.ndarray:
        """Part of the log density that does not depend on parameters, (obs,)."""
        return np.zeros(len(x))

    # -- the pass ------------------------------------------------------------------------------------------------------
    @property
    def kernel(self):
        """The pass over sufficient statistics: eta = log p, A = 0."""
        return "linear"

    def rows(self, data):
        """Statistics of the rows; of one column those of the distinct values, weighted by how often they occur."""
        x, weights = data.values, _weights(data)
        if not self.multivariate:
            x, where = np.unique(x[:, 0], return_inverse=True)
            weights = np.bincount(where.ravel(), weights=data.weights, minlength=len(x)).astype(float)
            x = x[:, None]
        base = self.log_base_measure(x)
        total = float(weights @ base) if weights.size else float(base.sum())
        return Rows(np.ascontiguousarray(self.statistics(x), dtype=float), weights, total)

    def linear_parts(self, n_features):
        """The outcomes."""
        return np.array([[OUTCOMES, self.n_outcomes(n_features)]])

    def kernel_arguments(self, params):
        """Eta = log p as (cluster, J), A = 0."""
        with np.errstate(divide="ignore"):
            eta = np.log(self.outcomes(params))
        return eta, np.zeros(len(eta))

    def initial_params(self, data, n_components):
        """The shares of all rows, for every component."""
        rows = self.rows(data)
        share = (rows.x.sum(axis=0) if rows.weights.size == 0 else rows.weights @ rows.x)[None]
        return self.named(np.repeat(share / share.sum(), n_components, axis=0))

    def m_step(self, params, statistics, guard=None):
        """Weighted shares of the outcomes; a component without rows keeps its probabilities."""
        total = statistics.first.sum(axis=1, keepdims=True)
        some = total > 0
        return self.named(np.where(some, statistics.first / np.where(some, total, 1.0), self.outcomes(params)))

    # -- free coordinates: logits of a sequence of choices -------------------------------------------------------------
    def n_free(self, n_components, n_features):
        """One less than there are outcomes, for each component."""
        return n_components * (self.n_outcomes(n_features) - 1)

    def n_outcomes(self, n_features: int) -> int:
        """Number of outcomes J."""
        return 2

    def to_vector(self, params):
        """The logits, of one component after the other."""
        p = self.outcomes(params)
        left = _left(p)
        with np.errstate(divide="ignore", invalid="ignore"):
            v = np.log(p[..., :-1]) - np.log(left[..., 1:])
        v = np.where(left[..., :-1] > 0, v, 0.0)  # no choice is made where nothing is left to choose from
        return v.reshape(*v.shape[:-2], -1)

    def from_vector(self, vector, n_components, n_features):
        """Products of the probabilities of the choices."""
        from scipy.special import expit

        v = np.asarray(vector, dtype=float)
        v = v.reshape(*v.shape[:-1], n_components, self.n_outcomes(n_features) - 1)
        one = np.ones((*v.shape[:-1], 1))
        later = np.cumprod(np.concatenate([one, expit(-v)], axis=-1), axis=-1)
        return self.named(later * np.concatenate([expit(v), one], axis=-1))

    def _choices(self, params):
        """Probability of outcome j where it or a later one occurs, (cluster, J - 1), and that of all of these."""
        p = self.outcomes(params)
        left = _left(p)[..., :-1]
        return p[..., :-1] / np.where(left > 0, left, 1.0), left

    def vector_gradient(self, params, d_a, d_b):
        """D / d v_j = (1 - s_j) d / d log p_j - s_j times the sum over later outcomes, s_j the probability of choice j."""
        s, _ = self._choices(params)
        return (d_a[:, :-1] - s * _left(d_a)[:, :-1]).ravel()

    def vector_curvature(self, params, d_a, d_b):
        """Diagonal: - s (1 - s) times the sum over this outcome and later ones."""
        s, _ = self._choices(params)
        return np.diag((-s * (1.0 - s) * _left(d_a)[:, :-1]).ravel())

    def vector_jacobian(self, params):
        """D p_j / d v_i = p_j ([i = j] - s_i) for i <= j, and 0 for i > j."""
        p, (s, _) = self.outcomes(params), self._choices(params)
        k, size = s.shape
        own = np.tril(np.ones((size + 1, size))) * -s[:, None, :] + np.eye(size + 1, size)
        jacobian = np.zeros((k, size + 1, k, size))
        jacobian[range(k), :, range(k), :] = p[:, :, None] * own
        slopes = np.moveaxis(jacobian.reshape(k, size + 1, -1), -1, 0)
        return {name: np.moveaxis(value, 0, -1) for name, value in self.named(slopes).items()}

    def coordinate_scale(self, params):
        """Standard error of the logit from one row."""
        s, left = self._choices(params)
        return (1.0 / np.sqrt(np.maximum(left * s * (1.0 - s), FLATTEST))).ravel()

    def inside(self, params):
        """No outcome without probability."""
        p = np.maximum(self.outcomes(params), INSIDE)
        return self.named(p / p.sum(axis=-1, keepdims=True))


class Trials(Probabilities):
    """A family of one column of whole numbers: each row is so many successes, of probability p, and so many failures."""

    discrete = True
    p: Any

    def __post_init__(self):
        self._check_priors(p=UNIT)

    @property
    def parameters(self):
        """The probability p of a success, (cluster,)."""
        return (Parameter("p", support=UNIT),)

    def outcomes(self, params):
        """P and 1 - p."""
        p = np.asarray(params["p"], dtype=float)
        return np.stack([p, 1.0 - p], axis=-1)

    def named(self, p):
        """P."""
        return {"p": np.ascontiguousarray(p[..., 0])}

    def kernel_arguments(self, params):
        """Eta = (log p, log(1 - p)), A = 0."""
        p = np.asarray(params["p"], dtype=float)
        with np.errstate(divide="ignore"):
            return np.stack([np.log(p), np.log1p(-p)], axis=-1), np.zeros(len(p))

    def check_data(self, data, n_components):
        """One column of nonnegative whole numbers."""
        check_one_column(data, self)
        check_counts(data, self)

    def check_parameters(self, params, n_components):
        """Probabilities of shape (n_components,)."""
        p = full_shape(params["p"], (n_components,), "p", f"{n_components} components")
        if np.any((p < 0) | (p > 1)):
            raise ValueError(f"p is a probability, from 0 to 1, but it holds {p[(p < 0) | (p > 1)][0]:g}.")
        return {"p": p}

    @abstractmethod
    def scipy(self, params: dict) -> Any:
        """SciPy's frozen distribution at these parameters, which broadcast."""

    def cdf(self, x, params):
        """Distribution function of each component, by SciPy."""
        return self.scipy(params).cdf(x)

    def marginal_cdf(self, x, params, feature):
        """The cdf itself: there is one feature."""
        return self.cdf(np.asarray(x)[:, None], params)

    def marginal_quantile(self, q, params):
        """Smallest value whose cdf reaches q, (..., cluster, 1)."""
        return np.asarray(self.scipy(params).ppf(q))[..., None]

    def sample(self, params, rng):
        """One value per row of the parameters, (rows, 1)."""
        return np.asarray(self.scipy(params).rvs(size=np.shape(params["p"]), random_state=rng), dtype=float)[:, None]

    def pymc_variables(self, priors, n_components, n_features):
        """P with dims cluster."""
        import pytensor.tensor as pt

        p: Any = priors["p"].variable("p", dims="cluster")
        both: Any = [pt.log(p), pt.log1p(-p)]
        return {"p": p}, (pt.stack(both, axis=1), pt.zeros(n_components))


def beta_about(mean: float, concentration: float) -> Prior:
    """Beta prior of this mean, worth `concentration` earlier trials; none of its two parameters below 0.5."""
    concentration = max(concentration, 0.5 / min(mean, 1.0 - mean))
    return Prior.of("Beta", UNIT, alpha=mean * concentration, beta=(1.0 - mean) * concentration)


def _left(p):
    """Sum of this entry and those behind it, along the last axis."""
    return np.cumsum(p[..., ::-1], axis=-1)[..., ::-1]
