"""Truncated stick-breaking priors of the weights: the Dirichlet process and the Pitman-Yor process."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaln, gammaln, xlogy

from .arrays import namespace
from .priors import _number, _text, storable
from .weight_priors import CONCENTRATION, WeightsPrior, checked_concentration

POINTS = 256  # of the integral over the order of the sticks
CELLS = 4e6  # weights x points at a time, some 30 MB


@storable
@dataclass(frozen=True)
class StickBreaking(WeightsPrior):
    r"""Truncated Dirichlet process, or Pitman-Yor process: weights broken off a stick of length 1.

    :math:`\pi_k = V_k \prod_{l<k} (1 - V_l)` with :math:`V_k \sim \mathrm{Beta}(1 - d, \alpha + k d)` for
    :math:`k = 1, \dots, K - 1` and :math:`V_K = 1`, so that ``n_components`` is the level of truncation (Ishwaran &
    James 2001). Discount d = 0 is the Dirichlet process (Sethuraman 1994), d > 0 the process of Pitman & Yor (1997).
    How much the truncation cuts off say `truncation_mass` and `truncation_error`.

    Weights are decreasing on average, but which stick a component is, data cannot say. `bayesmix.nuts` and
    `bayesmix.advi` average the prior over all orders of the sticks (`log_density_unordered`): what does not depend on
    labels has the same posterior, and chains need not find their way through K! labellings of unequal mass.
    `bayesmix.gibbs` draws the sticks in order, and lets components exchange their places.
    ``mixture.to_pymc`` writes the sticks in order.

    Parameters
    ----------
    alpha : float or PreliZ distribution
        Concentration, > -discount; about :math:`\alpha \log(1 + n / \alpha)` components are occupied by n rows when d
        is 0. Or a distribution of positive numbers, sampled under the name ``concentration``.
    discount : float
        The discount d of Pitman and Yor, 0 <= d < 1.

    Raises
    ------
    TypeError, ValueError
        If the concentration or the discount is out of range.
    """

    alpha: Any = 1.0
    discount: float = 0.0

    def __post_init__(self):
        discount = _number(self.discount, "discount", "StickBreaking needs a number from 0 up to, but not including, 1")
        if not 0.0 <= discount < 1.0:
            raise ValueError(f"discount={discount:g} but it must be at least 0 and less than 1.")
        object.__setattr__(self, "discount", discount)
        object.__setattr__(self, "alpha", checked_concentration(self.alpha, "StickBreaking", above=discount))

    def check(self, n_components: int) -> None:
        """Raise `ValueError` if there is no stick to break."""
        if n_components < 2:
            raise ValueError(
                f"n_components={n_components} but StickBreaking breaks a stick in at least 2; n_components is the level of "
                "truncation, for example 20."
            )

    @property
    def exchangeable(self) -> bool:
        """Yes, as engines on densities see it: the order of the sticks is averaged out."""
        return True

    def _beta(self, n_components, alpha):
        """Both parameters of the Beta distributions of V_1 ... V_{K-1}, (..., K - 1)."""
        k = np.arange(1, n_components)
        second = self._value(alpha)[..., None] + k * self.discount
        return np.full_like(second, 1.0 - self.discount), second

    def log_density(self, weights, alpha=None):
        """Log density of weights (..., K); see `WeightsPrior.log_density`."""
        weights = np.asarray(weights, dtype=float)
        a, b = self._beta(weights.shape[-1], alpha)
        rest = np.cumsum(weights[..., ::-1], axis=-1)[..., ::-1]  # of the stick, before each break
        with np.errstate(divide="ignore"):
            log_rest = np.log(rest)
        here, after = log_rest[..., :-1], log_rest[..., 1:]
        broken = xlogy(a - 1.0, weights[..., :-1]) - (a - 1.0) * here + (b - 1.0) * (after - here)
        return (broken - betaln(a, b) - here).sum(-1)

    def log_density_unordered(self, log_weights, alpha=None):
        r"""Log density of weights, averaged over the K! orders of the sticks, from log weights (..., K).

        The density of weights in order is :math:`C \, \pi_K^{\alpha + K d} \prod_k \pi_k^{-d} / T_k` with
        :math:`T_k = \sum_{l \ge k} \pi_l` and :math:`C = \prod_{k<K} 1 / B(1 - d, \alpha + k d)`. Because
        :math:`\prod_k \pi_k / T_k` is the probability that components drawn one after another, in proportion to their
        weights, come in this order, the sum over all orders is

        .. math:: C \prod_k \pi_k^{-d-1} \sum_j \pi_j^{\alpha + K d} P(j \text{ comes last}), \quad
                  P(j \text{ comes last}) = \int_0^\infty \pi_j e^{-\pi_j t} \prod_{i \ne j} (1 - e^{-\pi_i t}) dt,

        as if each component waited for an exponential time. The integral is taken over log t by the trapezoidal rule,
        whose error is below 1e-4 for weights down to e^-200 and far smaller for larger ones. On NumPy arrays and
        PyTensor variables alike.
        """
        if isinstance(log_weights, np.ndarray) and log_weights.size * POINTS > CELLS and log_weights.ndim > 1:
            return self._in_pieces(log_weights, alpha)
        xp = namespace(log_weights, alpha)
        k = log_weights.shape[-1] if isinstance(log_weights, np.ndarray) else log_weights.type.shape[-1]
        a: Any = self._value(alpha) if alpha is None or isinstance(alpha, float | np.ndarray) else alpha
        d = self.discount
        b = a[..., None] + np.arange(1, k) * d
        above: Any = xp.gammaln(1.0 - d + b)
        log_c = xp.sum(above - xp.gammaln(b), -1) - (k - 1) * float(gammaln(1.0 - d))

        lowest: Any = -xp.max(log_weights, -1) - 40.0 / k - 2.0  # beyond, the integrand is less than e^-40 of its peak
        highest: Any = xp.max(-log_weights, -1) + 4.0
        lowest = xp.constant(lowest)
        step = (xp.constant(highest) - lowest) / (POINTS - 1)
        log_t = (lowest[..., None] + step[..., None] * np.arange(POINTS))[..., None]
        log_rate = log_weights[..., None, :]
        log_here = _log1mexp(xp, log_rate + log_t)  # log of 1 - exp(-pi_k t), (..., point, cluster)
        last = (a + k * d + 1.0)[..., None, None] * log_rate - xp.exp(log_rate + log_t) - log_here
        integrand = log_t[..., 0] + xp.logsumexp(last, -1) + xp.sum(log_here, -1)
        integral = xp.logsumexp(integrand, -1) + xp.log(step)
        return log_c - float(gammaln(k + 1.0)) - (1.0 + d) * xp.sum(log_weights, -1) + integral

    def _in_pieces(self, log_weights, alpha):
        """`log_density_unordered` of many weights, in pieces that fit into memory."""
        flat, lead = log_weights.reshape(-1, log_weights.shape[-1]), log_weights.shape[:-1]
        alphas = np.broadcast_to(self._value(alpha), lead).reshape(-1)
        step = max(1, int(CELLS // (flat.shape[1] * POINTS)))
        pieces = [slice(begin, begin + step) for begin in range(0, len(flat), step)]
        found = [self.log_density_unordered(flat[piece], alphas[piece]) for piece in pieces]
        return np.concatenate(found).reshape(lead)

    def draw_given_counts(self, counts, rng, alpha=None):
        """Break sticks V_k ~ Beta(1 - d + N_k, alpha + k d + the rows after k) (Ishwaran & James 2001, sec. 5.2)."""
        counts = np.asarray(counts, dtype=float)
        a, b = self._beta(len(counts), alpha)
        after = np.cumsum(counts[::-1])[::-1][1:]
        # two gamma draws rather than one beta draw: both parts of the break keep their relative accuracy
        left, right = rng.standard_gamma(a + counts[:-1]), rng.standard_gamma(b + after)
        whole = left + right
        rest = np.concatenate([[1.0], np.cumprod(right / whole)])
        return np.concatenate([rest[:-1] * left / whole, rest[-1:]])

    def log_allocations(self, counts, alpha=None):
        r""":math:`\prod_{k<K} B(1 - d + N_k, \alpha + k d + N_{>k}) / B(1 - d, \alpha + k d)`."""
        counts = np.asarray(counts, dtype=float)
        a, b = self._beta(counts.shape[-1], alpha)
        after = np.cumsum(counts[..., ::-1], axis=-1)[..., ::-1][..., 1:]
        return (betaln(a + counts[..., :-1], b + after) - betaln(a, b)).sum(-1)

    def pymc_variables(self, n_components):
        """``sticks`` (V, one less than components), ``weights`` made of them, and ``concentration`` if it is random."""
        import pymc as pm
        import pytensor.tensor as pt

        b: Any = self._variable() + self.discount * np.arange(1, n_components)
        sticks: Any = pm.Beta("sticks", 1.0 - self.discount, b, shape=n_components - 1)
        # in logarithms, which PyTensor makes log-sigmoids of the coordinates: weights far out keep their gradient
        before: Any = pt.concatenate([pt.zeros(1), pt.cumsum(pt.log1p(-sticks))])
        broken: Any = pt.concatenate([pt.log(sticks), pt.zeros(1)])
        log_weights = before + broken
        return pm.Deterministic("weights", pt.exp(log_weights), dims="cluster")

    def pymc_sampled(self, n_components):
        """``weights``, with the order of the sticks averaged out, and ``concentration`` if it is random."""
        import pymc as pm
        import pytensor.tensor as pt

        alpha: Any = pt.as_tensor_variable(self._variable())
        weights: Any = pm.Dirichlet("weights", np.ones(n_components), dims="cluster")
        flat = float(gammaln(n_components))  # log density of Dirichlet(1), which stands in for the variable's own
        density: Any = self.log_density_unordered(pt.log(weights), alpha)
        pm.Potential("weights_prior", density - flat)
        return weights

    def truncation_mass(self, n_components: int, alpha=None) -> np.ndarray:
        r"""Expected weight of the last component, :math:`E \prod_{k<K} (1 - V_k)`.

        In the process without truncation it is spread over all the components from K on. For d = 0 it is
        :math:`(\alpha / (1 + \alpha))^{K-1}`.
        """
        a, b = self._beta(n_components, alpha)
        return np.exp(np.sum(np.log(b) - np.log(a + b), axis=-1))

    def truncation_error(self, n_components: int, n_obs: float, alpha=None) -> np.ndarray:
        r"""Bound on what the truncation changes in the distribution of n rows: total L1 distance of the densities.

        Ishwaran & James (2001, Theorem 2): at most :math:`4 [1 - E(1 - R)^n]`, with R the weight of the last component;
        returned is :math:`4 n\, E R`, which is not less, or 2, the largest distance there is. (For d = 0 theirs is
        about :math:`4 n e^{-(K-1)/\alpha}`.)
        """
        return np.minimum(2.0, 4.0 * n_obs * self.truncation_mass(n_components, alpha))

    def notes(self, draws, n_components, n_obs):
        """How much the truncation cuts off, at the concentrations that were drawn."""
        alpha = draws.get(CONCENTRATION)
        mass = float(np.mean(self.truncation_mass(n_components, alpha)))
        error = float(np.mean(self.truncation_error(n_components, n_obs, alpha)))
        text = (
            f"The process is cut off at {n_components} components, where a mass of {mass:.2g} is expected to be left; "
            f"this changes the distribution of the rows by at most {error:.2g} (L1 distance, Ishwaran & James 2001)."
        )
        return text if error < 0.05 else f"{text} If the last components are occupied, take more."

    def __str__(self):
        discount = f", discount={self.discount:g}" if self.discount else ""
        return f"StickBreaking({_text(self.alpha)}{discount})"


def _log1mexp(xp, log_x):
    """Logarithm of 1 - exp(-x), from the logarithm of x > 0; a series for small x."""
    small = log_x < np.log(0.01)
    x = xp.exp(xp.where(small, log_x, 0.0))
    large = xp.exp(xp.where(small, 0.0, log_x))
    return xp.where(small, log_x - x / 2.0 + x**2 / 24.0 - x**4 / 2880.0, xp.log1p(-xp.exp(-large)))
