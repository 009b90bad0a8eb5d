"""Mixtures of finite mixtures: a prior of the weights whose number of components is random."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import betaln, gammaln, logsumexp

from .priors import Prior, _number, _text, is_univariate_distribution, storable
from .weight_priors import NEEDS_GIBBS, WeightsPrior, checked_concentration

_DISCRETE = "use a discrete one such as pz.DiscreteUniform(1, 30) or bm.BetaNegativeBinomial(1, 4, 3)"


@storable
@dataclass(frozen=True)
class BetaNegativeBinomial:
    r"""Prior of K - 1, for the number K of components: a negative binomial whose probability is Beta distributed.

    :math:`p(K) = \Gamma(r + K - 1)\, B(r + a, K - 1 + b) / [\Gamma(r)\, \Gamma(K)\, B(a, b)]` for K = 1, 2, ...,
    with mean :math:`E K = 1 + r b / (a - 1)`. (1, 4, 3) has mean 2 and a tail heavy enough for many components
    (Frühwirth-Schnatter, Malsiner-Walli & Grün 2021).

    Parameters
    ----------
    r, a, b : float
        Size of the negative binomial and parameters of the Beta distribution, all > 0.
    """

    r: float = 1.0
    a: float = 4.0
    b: float = 3.0

    def __post_init__(self):
        for name in ("r", "a", "b"):
            value = _number(getattr(self, name), name, "BetaNegativeBinomial needs positive numbers")
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name}={value:g} but BetaNegativeBinomial needs positive finite numbers.")
            object.__setattr__(self, name, value)

    support = (0.0, math.inf)

    def logpdf(self, x) -> np.ndarray:
        """Log probability of x = K - 1 = 0, 1, 2, ..."""
        x = np.asarray(x, dtype=float)
        log_binomial = gammaln(self.r + x) - gammaln(self.r) - gammaln(x + 1.0)
        return log_binomial + betaln(self.r + self.a, x + self.b) - betaln(self.a, self.b)

    def __str__(self):
        return f"BetaNegativeBinomial({self.r:g}, {self.a:g}, {self.b:g})"


@storable
@dataclass(frozen=True)
class MFM(WeightsPrior):
    r"""Mixture of finite mixtures: the number K of components is itself random.

    :math:`K \sim p(K)`, and given K the weights are Dirichlet with concentration :math:`\gamma_K` for each component:
    :math:`\gamma_K = \alpha` (static; Miller & Harrison 2018), or :math:`\gamma_K = \alpha / K` (dynamic;
    Frühwirth-Schnatter, Malsiner-Walli & Grün 2021). The mixture's ``n_components`` is the largest K: p(K) is cut off
    there. Weights of components beyond K are exactly 0. Fitted by `bayesmix.gibbs` alone, as densities over a random
    number of components have no gradient in it.

    Parameters
    ----------
    alpha : float or PreliZ distribution
        Concentration, > 0; or a distribution of positive numbers, sampled under the name ``concentration``.
    n_components : BetaNegativeBinomial, PreliZ discrete distribution or None
        Prior of K. A distribution that starts at 0 (Poisson) is that of K - 1; one that starts later, such as
        ``pz.DiscreteUniform(1, 30)`` or ``pz.Geometric(0.3)``, that of K. None: ``bm.BetaNegativeBinomial(1, 4, 3)``.
    dynamic : bool
        Whether the concentration is shared out over the components.

    Raises
    ------
    TypeError, ValueError
        If the concentration is out of range, or the prior of K not a discrete distribution of counts.
    """

    alpha: Any = 1.0
    n_components: Any = None
    dynamic: bool = False

    fixed_n_components: ClassVar[bool] = False

    def __post_init__(self):
        object.__setattr__(self, "alpha", checked_concentration(self.alpha, "MFM"))
        prior: Any = BetaNegativeBinomial() if self.n_components is None else self.n_components
        if is_univariate_distribution(prior):
            if prior.kind != "discrete":
                raise ValueError(f"the prior of the number of components is {prior}, which is continuous; {_DISCRETE}.")
            prior = Prior.from_preliz(prior)
        if not isinstance(prior, Prior | BetaNegativeBinomial):
            raise TypeError(
                f"n_components={self.n_components!r} but it must be the prior of the number of components; {_DISCRETE}. "
                "For a fixed number use bm.Dirichlet."
            )
        if prior.support[0] < 0:
            raise ValueError(f"the prior of the number of components is {prior}, with values below 0; {_DISCRETE}.")
        object.__setattr__(self, "n_components", prior)
        if not isinstance(self.dynamic, bool):
            raise TypeError(f"dynamic={self.dynamic!r} but it must be True or False.")

    def check(self, n_components: int) -> None:
        """Raise `ValueError` if the prior gives no mass to any number of components up to n_components."""
        if not np.isfinite(logsumexp(self._log_prior(n_components))):
            raise ValueError(
                f"{self} gives no mass to {n_components} components or fewer; n_components of the mixture is the largest "
                "number that is considered: raise it."
            )

    @property
    def exchangeable(self) -> bool:
        """Yes: given K, all components are alike."""
        return True

    def _log_prior(self, largest):
        k = np.arange(1, largest + 1)
        first = self.n_components.support[0]
        values = np.asarray(self.n_components.logpdf(k - 1 if first == 0 else k), dtype=float)
        return np.where(np.isnan(values), -np.inf, values)

    def log_prior_k(self, largest: int) -> np.ndarray:
        """Log probability of K = 1 ... largest, (largest,), cut off and normalised there."""
        values = self._log_prior(largest)
        return values - logsumexp(values)

    def truncation_mass(self, n_components: int) -> float:
        """Prior probability of more than n_components components, which is cut off."""
        return float(max(0.0, -np.expm1(logsumexp(self._log_prior(n_components)))))

    def concentration(self, k, alpha=None) -> np.ndarray:
        """Concentration of each of k components: alpha, or alpha / k if dynamic; k and alpha broadcast."""
        value = self._value(alpha)
        return value / np.asarray(k, dtype=float) if self.dynamic else value + np.zeros(np.shape(k))

    def log_partition(self, sizes: np.ndarray, largest: int, alpha=None) -> np.ndarray:
        r"""Log probability of K = 1 ... largest together with a partition of the rows into clusters of these sizes.

        :math:`p(K) \frac{K!}{(K - K_+)!} \frac{\Gamma(K \gamma_K)}{\Gamma(K \gamma_K + n)}
        \prod_{c} \frac{\Gamma(\gamma_K + N_c)}{\Gamma(\gamma_K)}`, (largest,), -inf for K less than the :math:`K_+`
        sizes > 0; its `logsumexp` is the log probability of the partition (Frühwirth-Schnatter, Malsiner-Walli & Grün
        2021, eq. 2.4-2.6), and normalised it is p(K | partition) of their telescoping sampler.
        """
        sizes = np.asarray(sizes, dtype=float)
        occupied = len(sizes)
        k = np.arange(1, largest + 1)
        gamma = self.concentration(k, alpha)
        with np.errstate(divide="ignore"):
            ways = gammaln(k + 1.0) - np.where(k < occupied, np.inf, gammaln(np.maximum(k - occupied, 0) + 1.0))
        shares = (gammaln(gamma[:, None] + sizes) - gammaln(gamma)[:, None]).sum(axis=1)
        return self.log_prior_k(largest) + ways + gammaln(k * gamma) - gammaln(k * gamma + sizes.sum()) + shares

    def log_allocations(self, counts, alpha=None):
        """Of labels 1 ... n_components: K summed out, and the K components anywhere among the labels with equal odds."""
        counts = np.asarray(counts, dtype=float)
        flat = counts.reshape(-1, counts.shape[-1])
        largest = counts.shape[-1]
        alphas = np.broadcast_to(np.nan if alpha is None else alpha, counts.shape[:-1]).reshape(-1)
        values = np.empty(len(flat))
        for i, row in enumerate(flat):
            sizes = row[row > 0]
            labellings = gammaln(largest + 1.0) - gammaln(largest - len(sizes) + 1.0)
            own = self.log_partition(sizes, largest, None if alpha is None else alphas[i])
            values[i] = logsumexp(own) - labellings
        return values.reshape(counts.shape[:-1])

    def log_density(self, weights, alpha=None):
        """Log of p(K) times the density of the K weights that are not 0, which come first in each row of weights."""
        weights = np.asarray(weights, dtype=float)
        k = (weights > 0).sum(-1)
        gamma = self.concentration(k, alpha)
        logs = np.where(weights > 0, np.log(np.where(weights > 0, weights, 1.0)), 0.0)
        prior = self.log_prior_k(weights.shape[-1])[k - 1]
        return prior + gammaln(k * gamma) - k * gammaln(gamma) + (gamma - 1.0) * logs.sum(-1)

    def draw_given_counts(self, counts, rng, alpha=None):
        """K given the counts of its K_+ occupied components, then weights (n_components,) with 0 beyond K.

        Occupied components must come first.
        """
        counts = np.asarray(counts, dtype=float)
        occupied = int((counts > 0).sum())
        if np.any(counts[occupied:] > 0):
            raise ValueError("components with rows must come before those without; reorder them.")
        log_k = self.log_partition(counts[:occupied], len(counts), alpha)
        k = 1 + int(rng.choice(len(counts), p=np.exp(log_k - logsumexp(log_k))))
        weights = np.zeros(len(counts))
        weights[:k] = rng.dirichlet(self.concentration(k, alpha) + counts[:k])
        return weights

    def pymc_variables(self, n_components):
        """Refuse: `TypeError`, as PyMC cannot express it."""
        raise TypeError(f"{self} {NEEDS_GIBBS}")

    def __str__(self):
        k = "K - 1" if self.n_components.support[0] == 0 else "K"
        return f"MFM({_text(self.alpha)}{' / K' if self.dynamic else ''}, {k} ~ {self.n_components})"
