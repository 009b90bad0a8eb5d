"""Priors of the weights of a mixture: what each promises, and the Dirichlet distribution."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import gammaln, xlogy

from .priors import POSITIVE, Prior, _floats, _immutable, _text, as_prior, is_univariate_distribution, storable

CONCENTRATION = "concentration"  # the name where it is sampled; families may have a parameter `alpha` of their own
NEEDS_GIBBS = (
    "makes the number of components random, which bm.gibbs alone can fit; use it, or bm.Dirichlet for a fixed number."
)


class WeightsPrior(ABC):
    r"""What a prior of the weights promises to engines.

    A frozen record: its fields are its settings, equal records are equal priors, ``str`` writes it as a model is
    written, and `bayesmix.priors.to_plain` and ``from_plain`` carry it through JSON (decorate the class with
    ``storable``). A mixture of K components gives it K on each call.

    **The concentration.** Every prior here has one concentration ``alpha``, a number or itself random: then `hyper` is
    ``{"concentration": its prior}``, engines sample it beside the weights, and it is a variable ``concentration``
    (chain, draw) of group ``posterior``. (It is not called ``alpha`` there, because families have parameters of that
    name.) Methods take the value in force as ``alpha``; None stands for the number in the record, and is an error
    where the concentration is random.

    **For an engine that samples allocations**: `draw_given_counts` is the conditional of the weights given how many
    rows each component has; `log_allocations` is the probability of one allocation of the rows with the weights
    integrated out, which with `log_hyperprior` gives the conditional of the concentration.

    **For an engine that works on densities**: `pymc_sampled` makes the variables in the open model, `start_values` gives
    their values at given weights. `log_density` is the density for everyone else.
    """

    fixed_n_components: ClassVar[bool] = True
    """Is the number of components the one of the mixture, or (`MFM`) random up to it?"""

    known: ClassVar[Any] = None
    """The weights, (cluster,), where they are not estimated but known (`bayesmix.Fixed`)."""

    alpha: Any

    # -- what each prior says for itself -----------------------------------------------------------------------------------
    @abstractmethod
    def check(self, n_components: int) -> None:
        """Raise `ValueError` if this prior cannot serve so many components."""

    @property
    @abstractmethod
    def exchangeable(self) -> bool:
        """Does a permutation of the components leave the density as it is that `pymc_sampled` gives to engines?"""

    @abstractmethod
    def log_density(self, weights: np.ndarray, alpha=None) -> np.ndarray:
        """Log density of weights (..., K), in nats, with respect to the first K - 1 of them; returns (...)."""

    @abstractmethod
    def draw_given_counts(self, counts: np.ndarray, rng: np.random.Generator, alpha=None) -> np.ndarray:
        """Draw weights (K,) from their distribution given counts (K,) >= 0 of rows; counts of zero give the prior."""

    @abstractmethod
    def log_allocations(self, counts: np.ndarray, alpha=None) -> np.ndarray:
        """Log probability of one sequence of labels with counts (..., K), the weights integrated out; returns (...)."""

    @abstractmethod
    def pymc_variables(self, n_components: int):
        """Make the variables of this prior, for a user to read; return the weights, (cluster,), named ``weights``."""

    # -- what they share -----------------------------------------------------------------------------------------------------
    @property
    def hyper(self) -> Mapping[str, Prior]:
        """Priors of the quantities that are sampled beside the weights, by name; all are single positive numbers."""
        return {CONCENTRATION: self.alpha} if isinstance(self.alpha, Prior) else {}

    def n_free(self, n_components: int) -> int:
        """Count the weights that are left to estimate: the last is what the others leave."""
        return n_components - 1

    def log_hyperprior(self, alpha) -> np.ndarray:
        """Log density of the prior of the concentration at alpha, in nats; 0 where it is a number."""
        if not self.hyper:
            return np.zeros(np.shape(alpha))
        alpha = np.asarray(alpha, dtype=float)
        inside = np.where(alpha > 0, alpha, 1.0)
        return np.where(alpha > 0, self.alpha.logpdf(inside), -np.inf)

    def draw(self, n_components: int, rng: np.random.Generator) -> dict:
        """Draw from the prior: ``weights`` (K,), and every name of `hyper`."""
        self.check(n_components)
        drawn = {name: float(prior.draw(rng)) for name, prior in self.hyper.items()}
        weights = self.draw_given_counts(np.zeros(n_components), rng, drawn.get(CONCENTRATION))
        return {"weights": weights, **drawn}

    def best_order(self, weights: np.ndarray) -> np.ndarray:
        """Order of the components (K,) in which weights (K,) have their largest density; as they are if it is no matter."""
        return np.arange(len(weights))

    def pymc_sampled(self, n_components: int):
        """Make the variables that engines sample: `pymc_variables`, if there is nothing better."""
        return self.pymc_variables(n_components)

    def start_values(self, weights: np.ndarray) -> dict:
        """Values of the free variables of `pymc_sampled` at weights (K,): where a search for the mode may start."""
        return ({"weights": weights} if len(weights) > 1 else {}) | self._hyper_at(weights)

    def notes(self, draws: Mapping[str, np.ndarray], n_components: int, n_obs: float) -> str:
        """Sentences on this prior that belong in the message of a fit, from draws of `hyper`; "" if there are none."""
        if self.exchangeable:
            return ""
        return (
            f"The prior of the weights, {self}, does not treat the components alike: after relabelling, a label says which "
            "draws belong together, not which entry of the prior they had."
        )

    def _hyper_at(self, weights):
        """The concentration of largest density given the weights, on a grid of its logarithm."""
        if not self.hyper:
            return {}
        grid = np.geomspace(1e-3, 1e3, 121)
        values = self.log_hyperprior(grid) + np.log(grid)
        if len(weights) > 1:
            values = values + np.array([float(self.log_density(weights, alpha)) for alpha in grid])
        return {CONCENTRATION: float(grid[int(np.nanargmax(values))])}

    def _value(self, alpha):
        if alpha is not None:
            return np.asarray(alpha, dtype=float)
        if self.hyper:
            raise ValueError(f"the concentration of {self} is random: pass its value as alpha.")
        return np.asarray(self.alpha, dtype=float)

    def _variable(self):
        """The concentration as a number, or as a PyMC variable in the open model."""
        return self.alpha.variable(CONCENTRATION) if self.hyper else np.asarray(self.alpha, dtype=float)


def checked_concentration(value, owner: str, most_dims: int = 0, above: float = 0.0):
    """Check a concentration given by a user: a number (or several, where that is allowed), or a distribution."""
    if is_univariate_distribution(value) or isinstance(value, Prior):
        prior = as_prior(value, f"the concentration of {owner}", POSITIVE)
        if prior is not None and prior.n_features is not None:
            raise ValueError(
                f"the concentration of {owner} is one number, but its prior {prior} holds several numbers."
            )
        return prior
    needed = f"a {owner} prior needs positive finite numbers; 1.0 is uniform"
    if owner != "Dirichlet":
        needed = f"{owner} needs a finite number > {0.0 - above:g}, or a prior such as pz.Gamma(2, 2)"
    alpha = _floats(value, "alpha", needed)
    if alpha.ndim > most_dims or alpha.size == 0 or not np.all(np.isfinite(alpha) & (alpha > -above)):
        raise ValueError(f"alpha={value!r} but {needed}.")
    return _immutable(alpha)


@storable
@dataclass(frozen=True)
class Dirichlet(WeightsPrior):
    r"""Dirichlet prior of the weights, :math:`p(\pi) \propto \prod_k \pi_k^{\alpha_k - 1}`.

    With ``alpha`` well below 1 and more components than are needed it is the *sparse finite mixture*: the posterior
    empties what is superfluous, if alpha is less than half the number of free parameters of a component (Rousseau &
    Mengersen 2011); 0.01 is far below. A distribution on alpha lets the data say: Malsiner-Walli, Frühwirth-Schnatter &
    Grün (2016) take ``pz.Gamma(10, 10 * K)`` for K components.

    Parameters
    ----------
    alpha : float, sequence of float or PreliZ distribution, optional
        Concentration, > 0, which a prior of weights needs: one number for all components, or one for each; 1 is uniform
        over the simplex, and components that are exchangeable have equal entries. Or a distribution of
        positive numbers: the prior of one concentration that all components share, sampled beside the weights under the
        name ``concentration``.

    As the component of a mixture, ``bm.Mixture(bm.Dirichlet(), 3)``, it stands for the family of rows of shares
    (`bayesmix.components.dirichlet.Dirichlet`): there alpha is the prior of its concentrations, and may be left out.

    Raises
    ------
    TypeError, ValueError
        If a concentration is not a positive finite number, or its prior not one of positive numbers.
    """

    alpha: Any = None

    def __post_init__(self):
        if self.alpha is not None:
            object.__setattr__(self, "alpha", checked_concentration(self.alpha, "Dirichlet", most_dims=1))

    def check(self, n_components: int) -> None:
        """Raise `ValueError` unless there is one concentration, or one for each component."""
        if self.alpha is None:
            raise ValueError(
                "bm.Dirichlet() without a concentration is no prior of probabilities; give one, bm.Dirichlet(1.0) for "
                "example, which is uniform over the simplex."
            )
        if isinstance(self.alpha, tuple) and len(self.alpha) != n_components:
            raise ValueError(
                f"the Dirichlet prior has {len(self.alpha)} concentrations but the mixture has {n_components} components; "
                "give one number, or one for each component."
            )

    @property
    def exchangeable(self) -> bool:
        """Are all concentrations equal?"""
        return not isinstance(self.alpha, tuple) or len(set(self.alpha)) == 1

    def concentration(self, n_components: int, alpha=None) -> np.ndarray:
        """One concentration per component, shape (..., n_components); alpha (...) is its value where it is random."""
        self.check(n_components)
        value = self._value(alpha)
        value = value if isinstance(self.alpha, tuple) else value[..., None]
        return np.broadcast_to(value, (*value.shape[:-1], n_components)).copy()

    def log_density(self, weights, alpha=None):
        """Log density of weights (..., K); see `WeightsPrior.log_density`."""
        a = self.concentration(np.shape(weights)[-1], alpha)
        return gammaln(a.sum(-1)) - gammaln(a).sum(-1) + xlogy(a - 1.0, weights).sum(-1)

    def draw_given_counts(self, counts, rng, alpha=None):
        """Dirichlet with the counts added to the concentrations."""
        return rng.dirichlet(self.concentration(len(counts), alpha) + counts)

    def log_allocations(self, counts, alpha=None):
        r""":math:`\Gamma(A) / \Gamma(A + n) \prod_k \Gamma(\alpha_k + N_k) / \Gamma(\alpha_k)`, A the sum of alpha."""
        counts = np.asarray(counts, dtype=float)
        a = self.concentration(counts.shape[-1], alpha)
        total = a.sum(-1)
        return gammaln(total) - gammaln(total + counts.sum(-1)) + (gammaln(a + counts) - gammaln(a)).sum(-1)

    def best_order(self, weights):
        """Largest weight to the component of largest concentration, if the concentrations differ."""
        if self.exchangeable:
            return np.arange(len(weights))
        order = np.empty(len(weights), dtype=int)
        order[np.argsort(self.alpha, kind="stable")] = np.argsort(weights, kind="stable")
        return order

    def pymc_variables(self, n_components):
        """``weights``, and ``concentration`` if it is random."""
        import pymc as pm
        import pytensor.tensor as pt

        alpha = self._variable()
        if n_components == 1:
            return pm.Deterministic("weights", pt.ones(1), dims="cluster")
        shared = pt.ones(n_components) * alpha if self.hyper else self.concentration(n_components)
        return pm.Dirichlet("weights", shared, dims="cluster")

    def __str__(self):
        return f"Dirichlet({'' if self.alpha is None else _text(self.alpha)})"
