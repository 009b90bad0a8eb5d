"""Truncated stick-breaking priors of the weights: the Dirichlet process and the Pitman-Yor process."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaln, xlogy

from .priors import _number, _text, storable
from .weight_priors import CONCENTRATION, WeightsPrior, checked_concentration


@storable
@dataclass(frozen=True)
class StickBreaking(WeightsPrior):
    r"""Truncated Dirichlet process, or Pitman-Yor process: weights broken off a stick of length 1.

    :math:`\pi_k = V_k \prod_{l<k} (1 - V_l)` with :math:`V_k \sim \mathrm{Beta}(1 - d, \alpha + k d)` for
    :math:`k = 1, \dots, K - 1` and :math:`V_K = 1`, so that ``n_components`` is the level of truncation (Ishwaran &
    James 2001). Discount d = 0 is the Dirichlet process (Sethuraman 1994), d > 0 the process of Pitman & Yor (1997).
    How much the truncation cuts off say `truncation_mass` and `truncation_error`.

    Weights are decreasing on average: the prior is not the same under a permutation of the components.

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
        """No: the first components are the larger ones, on average."""
        return False

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

    def best_order(self, weights):
        """Decreasing weights."""
        return np.argsort(-np.asarray(weights), kind="stable")

    def start_values(self, weights):
        """Breaks of the stick, (K - 1,), strictly between 0 and 1."""
        rest = np.cumsum(weights[::-1])[::-1]
        sticks = np.clip(weights[:-1] / np.maximum(rest[:-1], 1e-300), 1e-10, 1.0 - 1e-10)
        return {"sticks": sticks} | self._hyper_at(weights)

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
